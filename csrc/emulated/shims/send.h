// One Objective-C message from ctypes, for the tests of the emulation itself: an exception must not
// pass through Python's frames.
#pragma once

#import <Foundation/Foundation.h>

#include <stdint.h>

#include "emulated/control/control.h"

// A method as any caller of integers and pointers sees it; it ignores those beyond its own.
typedef intptr_t (*MilaneMethod)(id, SEL, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,
                                 intptr_t, intptr_t, intptr_t, intptr_t);

// `arguments` are nine. `exception` gets "name: reason", or nothing.
MILANE_EXPORT intptr_t milane_emulated_send(void* receiver, const char* selector,
                                            const intptr_t* arguments, char* exception,
                                            size_t size);
