// The framework's exported strings (ane_facts B.8). Some say something else than their name.
#pragma once

#import <Foundation/Foundation.h>

#include "emulated/control/control.h"

#define MILANE_CONSTANT(name, value) MILANE_EXPORT extern NSString* const name;
#include "emulated/framework/constants.def"
#undef MILANE_CONSTANT
