// How far ahead a stream from memory is asked for.
#pragma once

#include <cstdint>

namespace milane {

// Bytes, of all that is read side by side: less, and the CPU waits at every page, where its own
// prefetching stops; more, and the first-level cache does not hold them (measured: up to twice the
// speed from memory).
constexpr std::int64_t kAhead = 8192;

}  // namespace milane
