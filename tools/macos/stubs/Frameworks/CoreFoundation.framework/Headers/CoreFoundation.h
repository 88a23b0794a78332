// Hand-written subset of CoreFoundation for the cross check: only what csrc/apple uses.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <objc/objc.h>
#include <os/availability.h>

#define CF_EXPORT OBJC_EXPORT
#define CF_RETURNS_RETAINED __attribute__((cf_returns_retained))
#define CF_BRIDGED_TYPE(T) __attribute__((objc_bridge(T)))
// As in C++: the name is the integer, its values are constants of that integer.
#define CF_OPTIONS(type, name) \
  type name;                   \
  enum : type

typedef const void *CFTypeRef;
typedef const struct CF_BRIDGED_TYPE(NSString) __CFString *CFStringRef;
typedef const struct CF_BRIDGED_TYPE(NSDictionary) __CFDictionary *CFDictionaryRef;

CF_EXPORT CFTypeRef CFRetain(CFTypeRef cf);
CF_EXPORT void CFRelease(CFTypeRef cf);
