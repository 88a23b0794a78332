// A counter that several objects may stand for: IOSurfaceSharedEvent and Metal's, by one port.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "emulated/control/control.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct MilaneEvent MilaneEvent;

MilaneEvent* milane_event_create(void);
// +1; NULL where no living event of this process has this port.
MilaneEvent* milane_event_from_port(uint32_t port);
void milane_event_release(MilaneEvent* event);
MILANE_EXPORT uint32_t milane_event_port(const MilaneEvent* event);
MILANE_EXPORT uint64_t milane_event_value(const MilaneEvent* event);
MILANE_EXPORT void milane_event_set(MilaneEvent* event, uint64_t value);
// Whether it reached `value` in time.
MILANE_EXPORT bool milane_event_wait(MilaneEvent* event, uint64_t value, uint64_t milliseconds);

#ifdef __cplusplus
}
#endif
