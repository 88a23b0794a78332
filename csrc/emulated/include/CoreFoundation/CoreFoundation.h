// The part of Core Foundation that csrc/apple uses, over GNUstep objects.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

typedef const void* CFTypeRef;
typedef const struct __CFString* CFStringRef;
typedef const struct __CFDictionary* CFDictionaryRef;
typedef const struct __CFArray* CFArrayRef;
typedef const struct __CFData* CFDataRef;
typedef const struct __CFNumber* CFNumberRef;
typedef const struct __CFBoolean* CFBooleanRef;
typedef const struct __CFAllocator* CFAllocatorRef;
typedef long CFIndex;

#define kCFAllocatorDefault ((CFAllocatorRef)0)
#define CFSTR(s) ((CFStringRef) @s)

CFTypeRef CFRetain(CFTypeRef object);
void CFRelease(CFTypeRef object);
CFIndex CFGetRetainCount(CFTypeRef object);
bool CFEqual(CFTypeRef a, CFTypeRef b);

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
