// The one backend of this library, and compiling for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/session.h"

namespace milane::bridge {

// Opened at the first call, as MILANE_BACKEND says; never closed. Throws kNoAne, kInvalidArgument:
// the next call then tries again.
Backend& backend();
// Its name; valid for ever.
const char* backend_name();

// Compiles of this library.
CompileCounter& compiles();

struct WeightBytes {
  std::string path;
  std::span<const std::uint8_t> bytes;
};

// What a caller says of a program, to be held against it.
struct Sizes {
  std::vector<std::size_t> inputs, outputs;  // bytes of dense tensors
};

// The program on the backend, with surfaces. Copies the bytes. Throws as parsing, verifying and
// Backend::compile() do, and kInvalidArgument where ports or sizes are not the program's: before
// it is compiled, unless only the compile shows it (flexible shapes).
std::unique_ptr<Session> compile(std::string_view text, const std::vector<WeightBytes>& weights,
                                 const Sizes& sizes);

}  // namespace milane::bridge
