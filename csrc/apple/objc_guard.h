// Between C++ and Objective-C exceptions.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// Runs call(context). On an NSException: on_exception(exception_context, the exception), returns 1.
// C++ exceptions pass through.
int milane_objc_guard(void (*call)(void*), void* context, void (*on_exception)(void*, void*),
                      void* exception_context);

#ifdef __cplusplus
}
#endif
