// Exceptions of two languages in one frame (facts: clang's gcc runtime "has no mixed EH").
//
// With -fobjc-runtime=gcc clang gives every function of a .mm file the personality of libobjc,
// which cannot read a C++ catch clause: `catch (const std::exception&)` would end the process.
// Linked with -Wl,--wrap=__gnu_objc_personality_v0, this hands those frames to libstdc++'s
// personality, and only the one frame that holds the product's @try/@catch to libobjc's.
#include <stdint.h>
#include <unwind.h>

typedef _Unwind_Reason_Code Personality(int version, _Unwind_Action actions,
                                        _Unwind_Exception_Class exception_class,
                                        struct _Unwind_Exception* exception,
                                        struct _Unwind_Context* context);

extern Personality __gxx_personality_v0, __real___gnu_objc_personality_v0;
Personality __wrap___gnu_objc_personality_v0;

// csrc/apple/objc_guard.m
extern int milane_objc_guard(void (*)(void*), void*, void (*)(void*, void*), void*)
    __attribute__((weak));

_Unwind_Reason_Code __wrap___gnu_objc_personality_v0(int version, _Unwind_Action actions,
                                                     _Unwind_Exception_Class exception_class,
                                                     struct _Unwind_Exception* exception,
                                                     struct _Unwind_Context* context) {
  const int is_guard = _Unwind_GetRegionStart(context) == (uintptr_t)&milane_objc_guard;
  Personality* const chosen = is_guard ? __real___gnu_objc_personality_v0 : __gxx_personality_v0;
  return chosen(version, actions, exception_class, exception, context);
}
