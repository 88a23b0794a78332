// What this CPU can do at most: multiply-adds that wait for nothing, reads and copies of memory.
#include "host/limits.h"

#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {
namespace {

// Chains of dependent multiply-adds: at least latency times units, fewer than there are registers,
// and no more than MILANE_UNROLL unrolls, or they are kept in memory.
#if defined(__x86_64__) && !defined(MILANE_ISA_v4)
constexpr int kChains = 12;
#else
constexpr int kChains = 16;
#endif

constexpr int kUnrolled = 8;  // registers in one step of a read or a copy

std::int64_t multiply_add_steps(std::int64_t steps, float* kept) {
  Vec acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = splat(static_cast<float>(i) + *kept);
  // Each chain tends to a constant: no overflow, nothing subnormal.
  const Vec factor = splat(0.5F + *kept), term = splat(1.0F + *kept);
  for (std::int64_t s = 0; s < steps; ++s) {
    MILANE_UNROLL
    for (int i = 0; i < kChains; ++i) acc[i] = multiply_add(acc[i], factor, term);
  }
  Vec total = acc[0];
  for (int i = 1; i < kChains; ++i) total += acc[i];
  *kept = total[0];
  return 2LL * kChains * kWidth;
}

typedef std::uint32_t Words __attribute__((vector_size(kWidth * 4)));
typedef std::uint32_t WordsUnaligned
    __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));

std::uint32_t read_words(const std::uint32_t* src, std::size_t n) {
  Words acc[kUnrolled] = {};
  constexpr std::size_t kStep = static_cast<std::size_t>(kUnrolled) * kWidth;
  std::size_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    MILANE_UNROLL
    for (int j = 0; j < kUnrolled; ++j) {
      acc[j] += *reinterpret_cast<const WordsUnaligned*>(src + i + j * kWidth);
    }
  }
  for (; i < n; i += kWidth) acc[0] += *reinterpret_cast<const WordsUnaligned*>(src + i);
  std::uint32_t sum = 0;
  for (const Words& words : acc) {
    for (int lane = 0; lane < kWidth; ++lane) sum += words[lane];
  }
  return sum;
}

MILANE_INLINE void stream_vec(float* p, Vec v) {
#if defined(MILANE_ISA_v4)
  _mm512_stream_ps(p, v);
#elif defined(MILANE_ISA_v3)
  _mm256_stream_ps(p, v);
#elif defined(MILANE_ISA_v2)
  _mm_stream_ps(p, v);
#else
  store_vec(p, v);
#endif
}

void copy_words(float* dst, const float* src, std::size_t n, bool streaming) {
  if (!streaming) {
    for (std::size_t i = 0; i < n; i += kWidth) store_vec(dst + i, load_vec(src + i));
    return;
  }
  for (std::size_t i = 0; i < n; i += kWidth) stream_vec(dst + i, load_vec(src + i));
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace

const LimitLoops* limit_loops() {
  static constexpr LimitLoops kLoops = {
      .multiply_add = multiply_add_steps,
      .read = read_words,
      .copy = copy_words,
  };
  return &kLoops;
}

}  // namespace milane::host::MILANE_ISA
