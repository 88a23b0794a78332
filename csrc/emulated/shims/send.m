#import "emulated/shims/send.h"

#include <objc/message.h>
#include <objc/runtime.h>
#include <string.h>

__attribute__((no_sanitize("function"))) intptr_t milane_emulated_send(
    void* receiver, const char* selector, const intptr_t* a, char* exception, size_t size) {
  if (size > 0) exception[0] = '\0';
  @try {
    const SEL sel = sel_registerName(selector);
    const MilaneMethod method = (MilaneMethod)(void (*)(void))objc_msg_lookup((id)receiver, sel);
    return method((id)receiver, sel, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]);
  } @catch (NSException* e) {
    @autoreleasepool {
      NSString* text = [NSString stringWithFormat:@"%@: %@", [e name], [e reason]];
      strncpy(exception, [text UTF8String], size - 1);
      exception[size - 1] = '\0';
    }
    return 0;
  }
}
