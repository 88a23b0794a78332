#include "host/limits.h"

#include <atomic>

#include "host/kernels/bf16.h"
#include "host/kernels/by_isa.h"
#include "host/parallel.h"

namespace milane::host {

MILANE_TABLE_BY_ISA(LimitLoops, limit_loops)

namespace {

// Shares that threads claim: small enough to end together, large enough to cost nothing.
constexpr std::int64_t kShares = 16;
constexpr std::size_t kPart = std::size_t{1} << 20;

// body(first byte, bytes) over parts of all of them.
template <class Body>
void over_parts(std::size_t bytes, Body body) {
  const auto parts = static_cast<std::int64_t>((bytes + kPart - 1) / kPart);
  parallel_for(parts, 1, [&](std::int64_t begin, std::int64_t end) {
    const std::size_t from = static_cast<std::size_t>(begin) * kPart;
    const std::size_t to = static_cast<std::size_t>(end) * kPart;
    body(from, (to < bytes ? to : bytes) - from);
  });
}

using Steps = std::int64_t (*)(std::int64_t, float*);

// All threads do `steps` steps; the operations of all.
std::int64_t run_steps(Steps loop, std::int64_t steps) {
  const std::int64_t share = (steps + kShares - 1) / kShares;
  std::atomic<std::int64_t> operations{0};
  std::atomic<float> kept{0};
  parallel_for(kShares * num_threads(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float value = 0;
      operations.fetch_add(loop(share, &value) * share);
      kept.store(value, std::memory_order_relaxed);
    }
  });
  return operations.load();
}

}  // namespace

std::int64_t run_multiply_adds(std::int64_t steps) {
  return run_steps(limit_loops()->multiply_add, steps);
}

std::int64_t run_bf16_dots(std::int64_t steps) {
  const Bf16Kernels* const own = bf16_kernels();
  return own == nullptr ? 0 : run_steps(own->dots, steps);
}

std::uint32_t run_read(const void* src, std::size_t bytes) {
  const LimitLoops& own = *limit_loops();
  const auto* const from = static_cast<const std::uint32_t*>(src);
  std::atomic<std::uint32_t> sum{0};
  over_parts(bytes, [&](std::size_t at, std::size_t count) {
    sum.fetch_add(own.read(from + at / 4, count / 4), std::memory_order_relaxed);
  });
  return sum.load();
}

void run_copy(void* dst, const void* src, std::size_t bytes, bool streaming) {
  const LimitLoops& own = *limit_loops();
  auto* const to = static_cast<float*>(dst);
  const auto* const from = static_cast<const float*>(src);
  over_parts(bytes, [&](std::size_t at, std::size_t count) {
    own.copy(to + at / 4, from + at / 4, count / 4, streaming);
  });
}

}  // namespace milane::host
