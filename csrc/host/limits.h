// Loops that reach what this CPU can do at most, for measurements beside them: benchmarks/ divides
// by these. Each works on all threads of the pool and returns what it has done.
#pragma once

#include <cstddef>
#include <cstdint>

namespace milane::host {

// The loops of one instruction set.
struct LimitLoops {
  // `steps` rounds of independent multiply-adds in registers; returns the floating-point operations
  // of one step, and a value that depends on all of them in *kept.
  std::int64_t (*multiply_add)(std::int64_t steps, float* kept);
  // The sum of n 32-bit words, n a multiple of 64.
  std::uint32_t (*read)(const std::uint32_t* src, std::size_t n);
  // n a multiple of 64; with `streaming` past the caches where the CPU can, dst aligned to 64.
  void (*copy)(float* dst, const float* src, std::size_t n, bool streaming);
};

// Floating-point operations done by `steps` steps on each thread.
std::int64_t run_multiply_adds(std::int64_t steps);
// The same of bf16 dot products; 0 where bf16_kernels() has none.
std::int64_t run_bf16_dots(std::int64_t steps);
// Reads all bytes, a multiple of 256; returns a checksum, so that the reads are not left out.
std::uint32_t run_read(const void* src, std::size_t bytes);
// Copies all bytes, a multiple of 256.
void run_copy(void* dst, const void* src, std::size_t bytes, bool streaming);

}  // namespace milane::host
