// Hand-written subset of IOSurface for the cross check: only what csrc/apple uses.
#pragma once

#include <CoreFoundation/CoreFoundation.h>
#include <mach/mach.h>

#pragma clang assume_nonnull begin

typedef struct CF_BRIDGED_TYPE(id) __IOSurface *IOSurfaceRef API_AVAILABLE(macos(10.6));

typedef CF_OPTIONS(uint32_t, IOSurfaceLockOptions) {
  kIOSurfaceLockReadOnly = 0x00000001,
  kIOSurfaceLockAvoidSync = 0x00000002,
};

CF_EXPORT const CFStringRef kIOSurfaceAllocSize API_AVAILABLE(macos(10.6));
CF_EXPORT const CFStringRef kIOSurfaceBytesPerElement API_AVAILABLE(macos(10.6));
CF_EXPORT const CFStringRef kIOSurfaceBytesPerRow API_AVAILABLE(macos(10.6));
CF_EXPORT const CFStringRef kIOSurfaceHeight API_AVAILABLE(macos(10.6));
CF_EXPORT const CFStringRef kIOSurfacePixelFormat API_AVAILABLE(macos(10.6));
CF_EXPORT const CFStringRef kIOSurfaceWidth API_AVAILABLE(macos(10.6));

CF_EXPORT IOSurfaceRef _Nullable IOSurfaceCreate(CFDictionaryRef properties)
    CF_RETURNS_RETAINED API_AVAILABLE(macos(10.6));
CF_EXPORT kern_return_t IOSurfaceLock(IOSurfaceRef buffer, IOSurfaceLockOptions options,
                                      uint32_t *_Nullable seed) API_AVAILABLE(macos(10.6));
CF_EXPORT kern_return_t IOSurfaceUnlock(IOSurfaceRef buffer, IOSurfaceLockOptions options,
                                        uint32_t *_Nullable seed) API_AVAILABLE(macos(10.6));
CF_EXPORT void *IOSurfaceGetBaseAddress(IOSurfaceRef buffer) API_AVAILABLE(macos(10.6));
CF_EXPORT size_t IOSurfaceGetAllocSize(IOSurfaceRef buffer) API_AVAILABLE(macos(10.6));

#pragma clang assume_nonnull end
