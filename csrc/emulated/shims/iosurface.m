// CoreFoundation and IOSurface over GNUstep and page-aligned memory.
#import "emulated/shims/object.h"

#import <IOSurface/IOSurface.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

CFTypeRef CFRetain(CFTypeRef object) { return (CFTypeRef)[(id)object retain]; }
void CFRelease(CFTypeRef object) { [(id)object release]; }
CFIndex CFGetRetainCount(CFTypeRef object) { return (CFIndex)[(id)object retainCount]; }
bool CFEqual(CFTypeRef a, CFTypeRef b) { return [(id)a isEqual:(id)b]; }

const CFStringRef kIOSurfaceWidth = (CFStringRef) @"IOSurfaceWidth";
const CFStringRef kIOSurfaceHeight = (CFStringRef) @"IOSurfaceHeight";
const CFStringRef kIOSurfaceBytesPerElement = (CFStringRef) @"IOSurfaceBytesPerElement";
const CFStringRef kIOSurfaceBytesPerRow = (CFStringRef) @"IOSurfaceBytesPerRow";
const CFStringRef kIOSurfaceAllocSize = (CFStringRef) @"IOSurfaceAllocSize";
const CFStringRef kIOSurfacePixelFormat = (CFStringRef) @"IOSurfacePixelFormat";
const CFStringRef kIOSurfaceOffset = (CFStringRef) @"IOSurfaceOffset";
const CFStringRef kIOSurfaceCacheMode = (CFStringRef) @"IOSurfaceCacheMode";
const CFStringRef kIOSurfaceName = (CFStringRef) @"IOSurfaceName";

enum { kPage = 16384, kSlackByte = 0xA5, kPortBase = 0x20000 };

@interface IOSurface : MilaneEmulated {
 @public
  char* base;
  size_t size, width, height, element, row;
  uint32_t format, number;
  int32_t locks, uses;
  uint32_t seed;
}
@end

// The living surfaces by number; not retained.
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static NSMapTable* registry;
static uint32_t last_number;

static size_t page_rounded(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// The engine may read to the end of the page, and must not write there: guard builds look.
static void check_slack(const IOSurface* surface) {
#ifdef MILANE_GUARDS
  for (size_t i = surface->size; i < page_rounded(surface->size); ++i) {
    if ((unsigned char)surface->base[i] == kSlackByte) continue;
    fprintf(stderr, "milane: a write went past IOSurface %u of %zu bytes, at byte %zu\n",
            surface->number, surface->size, i);
    abort();
  }
#else
  (void)surface;
#endif
}

@implementation IOSurface

- (void)dealloc {
  pthread_mutex_lock(&registry_lock);
  if (number != 0) NSMapRemove(registry, (const void*)(uintptr_t)number);
  pthread_mutex_unlock(&registry_lock);
  if (base != NULL) check_slack(self);
  if (locks != 0) milane_live_add("IOSurface locks left", locks);
  free(base);
  [super dealloc];
}

@end

static size_t property(NSDictionary* properties, CFStringRef key) {
  return [[properties objectForKey:(id)key] unsignedLongValue];
}

IOSurfaceRef IOSurfaceCreate(CFDictionaryRef dictionary) {
  NSDictionary* properties = (NSDictionary*)dictionary;
  const size_t width = property(properties, kIOSurfaceWidth);
  const size_t height = property(properties, kIOSurfaceHeight);
  size_t element = property(properties, kIOSurfaceBytesPerElement);
  if (element == 0) element = 1;
  size_t row = property(properties, kIOSurfaceBytesPerRow);
  if (row == 0) row = width * element;
  size_t size = property(properties, kIOSurfaceAllocSize);
  if (size == 0) size = row * height;
  if (size == 0 || row < width * element || size < row * height) return NULL;
  if (milane_fault(kNilIosurface)) return NULL;

  IOSurface* surface = [IOSurface new];
  surface->base = aligned_alloc(kPage, page_rounded(size));
  if (surface->base == NULL) {
    [surface release];
    return NULL;
  }
  memset(surface->base, 0, size);
  memset(surface->base + size, kSlackByte, page_rounded(size) - size);
  surface->size = size;
  surface->width = width;
  surface->height = height;
  surface->element = element;
  surface->row = row;
  surface->format = (uint32_t)property(properties, kIOSurfacePixelFormat);
  pthread_mutex_lock(&registry_lock);
  if (registry == nil) {
    registry = NSCreateMapTable(NSIntegerMapKeyCallBacks, NSNonOwnedPointerMapValueCallBacks, 64);
  }
  surface->number = ++last_number;
  NSMapInsert(registry, (const void*)(uintptr_t)surface->number, surface);
  pthread_mutex_unlock(&registry_lock);
  return (IOSurfaceRef)surface;
}

IOSurfaceRef IOSurfaceLookup(IOSurfaceID number) {
  pthread_mutex_lock(&registry_lock);
  IOSurface* found = registry == nil ? nil : NSMapGet(registry, (const void*)(uintptr_t)number);
  if (found != nil && ![found retainIfLiving]) found = nil;
  pthread_mutex_unlock(&registry_lock);
  return (IOSurfaceRef)found;
}

IOSurfaceRef IOSurfaceLookupFromMachPort(mach_port_t port) {
  return port > kPortBase ? IOSurfaceLookup(port - kPortBase) : NULL;
}

mach_port_t IOSurfaceCreateMachPort(IOSurfaceRef surface) {
  return kPortBase + ((IOSurface*)surface)->number;
}

kern_return_t IOSurfaceLock(IOSurfaceRef surface, IOSurfaceLockOptions options, uint32_t* seed) {
  IOSurface* s = (IOSurface*)surface;
  __atomic_fetch_add(&s->locks, 1, __ATOMIC_ACQUIRE);
  if (!(options & kIOSurfaceLockReadOnly)) __atomic_fetch_add(&s->seed, 1, __ATOMIC_RELAXED);
  if (seed != NULL) *seed = __atomic_load_n(&s->seed, __ATOMIC_RELAXED);
  return KERN_SUCCESS;
}

kern_return_t IOSurfaceUnlock(IOSurfaceRef surface, IOSurfaceLockOptions options, uint32_t* seed) {
  (void)options;
  IOSurface* s = (IOSurface*)surface;
  int32_t locks = __atomic_load_n(&s->locks, __ATOMIC_RELAXED);
  do {
    if (locks == 0) return KERN_FAILURE;  // it was not locked
  } while (!__atomic_compare_exchange_n(&s->locks, &locks, locks - 1, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
  if (seed != NULL) *seed = __atomic_load_n(&s->seed, __ATOMIC_RELAXED);
  check_slack(s);
  return KERN_SUCCESS;
}

void IOSurfaceIncrementUseCount(IOSurfaceRef surface) {
  __atomic_fetch_add(&((IOSurface*)surface)->uses, 1, __ATOMIC_RELAXED);
}

void IOSurfaceDecrementUseCount(IOSurfaceRef surface) {
  __atomic_fetch_sub(&((IOSurface*)surface)->uses, 1, __ATOMIC_RELAXED);
}

int32_t IOSurfaceGetUseCount(IOSurfaceRef surface) {
  return __atomic_load_n(&((IOSurface*)surface)->uses, __ATOMIC_RELAXED);
}

bool IOSurfaceIsInUse(IOSurfaceRef surface) { return IOSurfaceGetUseCount(surface) > 0; }

uint32_t IOSurfaceGetSeed(IOSurfaceRef surface) {
  return __atomic_load_n(&((IOSurface*)surface)->seed, __ATOMIC_RELAXED);
}

IOSurfaceID IOSurfaceGetID(IOSurfaceRef surface) { return ((IOSurface*)surface)->number; }
void* IOSurfaceGetBaseAddress(IOSurfaceRef surface) { return ((IOSurface*)surface)->base; }
size_t IOSurfaceGetAllocSize(IOSurfaceRef surface) { return ((IOSurface*)surface)->size; }
size_t IOSurfaceGetWidth(IOSurfaceRef surface) { return ((IOSurface*)surface)->width; }
size_t IOSurfaceGetHeight(IOSurfaceRef surface) { return ((IOSurface*)surface)->height; }
size_t IOSurfaceGetBytesPerElement(IOSurfaceRef s) { return ((IOSurface*)s)->element; }
size_t IOSurfaceGetBytesPerRow(IOSurfaceRef surface) { return ((IOSurface*)surface)->row; }
uint32_t IOSurfaceGetPixelFormat(IOSurfaceRef surface) { return ((IOSurface*)surface)->format; }
