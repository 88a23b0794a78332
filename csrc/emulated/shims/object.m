#import "emulated/shims/object.h"

@implementation MilaneEmulated

+ (id)allocWithZone:(NSZone*)zone {
  id object = [super allocWithZone:zone];
  if (object != nil) milane_live_add(class_getName(self), 1);
  return object;
}

- (void)dealloc {
  milane_live_add(class_getName(object_getClass(self)), -1);
  [super dealloc];
}

- (id)retain {
  __atomic_fetch_add(&_references, 1, __ATOMIC_RELAXED);
  return self;
}

- (oneway void)release {
  if (__atomic_fetch_sub(&_references, 1, __ATOMIC_ACQ_REL) == 0) [self dealloc];
}

- (NSUInteger)retainCount {
  return (NSUInteger)(__atomic_load_n(&_references, __ATOMIC_RELAXED) + 1);
}

- (BOOL)retainIfLiving {
  long references = __atomic_load_n(&_references, __ATOMIC_RELAXED);
  while (references >= 0) {
    if (__atomic_compare_exchange_n(&_references, &references, references + 1, false,
                                    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
      return YES;
    }
  }
  return NO;
}

// What the fault missing.selector takes away is not answered, by instances and by classes.
+ (BOOL)instancesRespondToSelector:(SEL)selector {
  return !milane_selector_missing(self, selector) && [super instancesRespondToSelector:selector];
}

+ (BOOL)respondsToSelector:(SEL)selector {
  return !milane_selector_missing(self, selector) && [super respondsToSelector:selector];
}

- (BOOL)respondsToSelector:(SEL)selector {
  return !milane_selector_missing([self class], selector) && [super respondsToSelector:selector];
}

- (NSMethodSignature*)methodSignatureForSelector:(SEL)selector {
  if (milane_selector_missing([self class], selector)) return nil;
  return [super methodSignatureForSelector:selector];
}

@end
