// Calls of the framework that report failure through an NSError.
#pragma once

#include "apple/device_error.h"
#include "apple/objc.h"

namespace milane::apple {

inline Error error_of(const char* stage, NSError* error) {
  if (!error) return nil_error(stage, "success");
  return device_error(stage, {text([error domain]), std::int64_t{[error code]},
                              text([error localizedDescription])});
}

// call(&error) returns BOOL; NO throws the stage's error.
template <class Call>
void check(const char* stage, Call&& call) {
  NSError* error = nil;
  if (!call(&error)) throw error_of(stage, error);
}

}  // namespace milane::apple
