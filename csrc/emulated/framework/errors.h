// Failures as NSError, and the exceptions that faults raise.
#pragma once

#import "emulated/shims/object.h"

#include "emulated/framework/engine.h"

// YES for kSucceeded; otherwise NO, and *error, where there is a place for it.
BOOL milane_report(MilaneFailure failure, NSError** error);
// The same with a reason of the emulation's own (milane_set_reason).
BOOL milane_refuse(MilaneFailure failure, const char* reason, NSError** error);
// Raises where the fault is on.
void milane_raise_if(MilaneFault fault, const char* where);
// Raises what a call with an argument of another class comes to.
void milane_expect(id object, Class cls, const char* what);
