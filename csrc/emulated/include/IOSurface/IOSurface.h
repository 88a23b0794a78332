// IOSurface's C interface, over page-aligned memory of this process.
#pragma once

#include <CoreFoundation/CoreFoundation.h>
#include <mach/mach.h>

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

typedef struct __IOSurface* IOSurfaceRef;
typedef uint32_t IOSurfaceID;
typedef uint32_t IOSurfaceLockOptions;

enum { kIOSurfaceLockReadOnly = 1, kIOSurfaceLockAvoidSync = 2 };

extern const CFStringRef kIOSurfaceWidth, kIOSurfaceHeight, kIOSurfaceBytesPerElement,
    kIOSurfaceBytesPerRow, kIOSurfaceAllocSize, kIOSurfacePixelFormat, kIOSurfaceOffset,
    kIOSurfaceCacheMode, kIOSurfaceName;

// NULL for a size of 0, and for an allocation that its own rows exceed.
IOSurfaceRef IOSurfaceCreate(CFDictionaryRef properties);
// Both give +1, NULL where there is no such surface in this process.
IOSurfaceRef IOSurfaceLookup(IOSurfaceID surface);
IOSurfaceRef IOSurfaceLookupFromMachPort(mach_port_t port);
mach_port_t IOSurfaceCreateMachPort(IOSurfaceRef surface);

IOSurfaceID IOSurfaceGetID(IOSurfaceRef surface);
kern_return_t IOSurfaceLock(IOSurfaceRef surface, IOSurfaceLockOptions options, uint32_t* seed);
kern_return_t IOSurfaceUnlock(IOSurfaceRef surface, IOSurfaceLockOptions options, uint32_t* seed);
void* IOSurfaceGetBaseAddress(IOSurfaceRef surface);
// Exactly what was asked for, though whole pages are there: too small a surface shows.
size_t IOSurfaceGetAllocSize(IOSurfaceRef surface);
size_t IOSurfaceGetWidth(IOSurfaceRef surface);
size_t IOSurfaceGetHeight(IOSurfaceRef surface);
size_t IOSurfaceGetBytesPerElement(IOSurfaceRef surface);
size_t IOSurfaceGetBytesPerRow(IOSurfaceRef surface);
uint32_t IOSurfaceGetPixelFormat(IOSurfaceRef surface);
uint32_t IOSurfaceGetSeed(IOSurfaceRef surface);

void IOSurfaceIncrementUseCount(IOSurfaceRef surface);
void IOSurfaceDecrementUseCount(IOSurfaceRef surface);
int32_t IOSurfaceGetUseCount(IOSurfaceRef surface);
bool IOSurfaceIsInUse(IOSurfaceRef surface);

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
