// GNUstep's headers ask for this one when blocks are on; Debian's libBlocksRuntime has it as
// Block.h.
#pragma once
#include <Block.h>
