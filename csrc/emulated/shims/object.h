// The root of every emulated class: counted, and deaf to the selectors that a fault takes away.
#pragma once

#import <Foundation/Foundation.h>

#include "emulated/control/control.h"

// First line of every emulated method: writes it down, for tests of call order.
#define MILANE_CALL                                                     \
  milane_log_call(class_isMetaClass(object_getClass(self)) ? '+' : '-', \
                  class_getName([self class]), sel_getName(_cmd))

// Whether the fault missing.selector takes this one from a class or its instances.
MILANE_EXPORT BOOL milane_selector_missing(Class cls, SEL selector);

// The class of its name is counted in milane_emulated_live().
__attribute__((visibility("default")))
@interface MilaneEmulated : NSObject {
 @private
  long _references;  // beyond the first. Ours, so that ThreadSanitizer sees the last release
}
// +1 unless the object is on its way out already.
- (BOOL)retainIfLiving;
@end
