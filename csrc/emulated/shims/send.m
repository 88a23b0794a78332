// One Objective-C message from ctypes, for the tests of the emulation itself: an exception must not
// pass through Python's frames.
#import <Foundation/Foundation.h>

#include <objc/message.h>
#include <objc/runtime.h>
#include <stdint.h>
#include <string.h>

#include "emulated/control/control.h"

typedef intptr_t (*Method9)(id, SEL, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,
                            intptr_t, intptr_t, intptr_t);

// Integers and pointers only, nine of them; the others are ignored. `exception` gets
// "name: reason", or nothing.
MILANE_EXPORT __attribute__((no_sanitize("function"))) intptr_t milane_emulated_send(
    void *receiver, const char *selector, const intptr_t *a, char *exception, size_t size) {
  if (size > 0) exception[0] = '\0';
  @try {
    const SEL sel = sel_registerName(selector);
    const Method9 method = (Method9)(void (*)(void))objc_msg_lookup((id)receiver, sel);
    return method((id)receiver, sel, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]);
  } @catch (NSException *e) {
    @autoreleasepool {
      strncpy(exception, [[NSString stringWithFormat:@"%@: %@", [e name], [e reason]] UTF8String],
              size - 1);
      exception[size - 1] = '\0';
    }
    return 0;
  }
}
