// The only @try of the package, in plain Objective-C: frames of Objective-C++ cannot mix the two
// kinds of handlers on every runtime.
#import <Foundation/Foundation.h>

#include "apple/objc_guard.h"

__attribute__((noinline)) int milane_objc_guard(void (*call)(void*), void* context,
                                                void (*on_exception)(void*, void*),
                                                void* exception_context) {
  @try {
    call(context);
  } @catch (NSException* exception) {
    on_exception(exception_context, (void*)exception);
    return 1;
  }
  return 0;
}
