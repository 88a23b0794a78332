// Names of Mach types; a port is a number that means something in this process only.
#pragma once

#include <stdint.h>

typedef uint32_t mach_port_t;
typedef int kern_return_t;

#define MACH_PORT_NULL ((mach_port_t)0)
#define KERN_SUCCESS 0
#define KERN_FAILURE 5
