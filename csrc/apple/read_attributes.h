// `modelAttributes`, from the framework's dictionaries into plain data.
#pragma once

#import <Foundation/Foundation.h>

#include "apple/attributes.h"

namespace milane::apple {

// Throws kLayout for a dictionary that is missing, or has not the structure of ane_facts C.2.
ModelAttributes read_attributes(NSDictionary* dictionary);

}  // namespace milane::apple
