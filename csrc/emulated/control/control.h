// What tests steer and read: faults, counters of living objects, the log of calls. The functions
// whose names begin with milane_emulated_ are for ctypes (python/milane/_testing.py).
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MILANE_EXPORT __attribute__((visibility("default")))

typedef enum {
#define MILANE_FAULT(id, name, value, effect) id,
#include "emulated/control/faults.def"
#undef MILANE_FAULT
  kFaultCount,
} MilaneFault;

// Whether the fault is on; takes one of its hits.
MILANE_EXPORT bool milane_fault(MilaneFault fault);
// Its number; `absent` while it is off, `plain` where it was set without one.
MILANE_EXPORT long milane_fault_number(MilaneFault fault, long absent, long plain);
// Whether its list has this name.
MILANE_EXPORT bool milane_fault_names(MilaneFault fault, const char* name);
// Whether a member of its list occurs in this text.
MILANE_EXPORT bool milane_fault_occurs(MilaneFault fault, const char* text);
MILANE_EXPORT void milane_sleep_ms(long milliseconds);

// Counts what lives, by kind. `kind` has to outlive the process.
MILANE_EXPORT void milane_live_add(const char* kind, long change);
MILANE_EXPORT long milane_live_count(const char* kind);

// One line of the call log; cheap while nobody records.
MILANE_EXPORT void milane_log_call(char sign, const char* cls, const char* selector);
// Why the emulation refused last, for the reader of a failed test: the device would not say.
MILANE_EXPORT void milane_set_reason(const char* text);

// 0; 1: no such fault; 2: a value it cannot take. An empty value is none.
MILANE_EXPORT int milane_emulated_fault_set(const char* name, const char* value);
// NULL: all of them.
MILANE_EXPORT int milane_emulated_fault_clear(const char* name);
// The following give JSON text and the bytes it needs, with its zero; it is cut at `size`.
MILANE_EXPORT size_t milane_emulated_faults(char* text, size_t size);  // {name: [value, effect]}
MILANE_EXPORT size_t milane_emulated_live(char* text, size_t size);    // {kind: count}
MILANE_EXPORT size_t milane_emulated_calls(char* text, size_t size);   // ["-[_ANEModel program]"]
MILANE_EXPORT size_t milane_emulated_reason(char* text, size_t size);  // plain text
// Starts the log anew, or ends it.
MILANE_EXPORT void milane_emulated_record(bool on);

// Called after the list of missing selectors has changed (shims/runtime.m).
void milane_missing_selectors_changed(void);

#ifdef __cplusplus
}
#endif
