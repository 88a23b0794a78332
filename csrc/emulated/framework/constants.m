#import "emulated/framework/constants.h"

#define MILANE_CONSTANT(name, value) NSString* const name = @value;
#include "emulated/framework/constants.def"
#undef MILANE_CONSTANT
