#include "host/ops/fused_norm.h"

#include <algorithm>

#include "host/ops/rows.h"

namespace milane::host {
namespace {

constexpr std::int64_t kColumns = 128;  // of one task: their sums stay in the first-level cache

// One block of columns of one outer position.
template <class T>
void norm_block(const FusedNorm& f, const T* x, T* y, std::int64_t columns) {
  alignas(64) float tiles[FusedNorm::kRegisters][kColumns];
  float* registers[FusedNorm::kRegisters];
  for (int r = 0; r < FusedNorm::kRegisters; ++r) registers[r] = tiles[r];
  const Kernels& k = kernels();
  const auto count = static_cast<std::size_t>(columns);
  float* const sum = tiles[0];
  std::fill_n(sum, columns, 0.0f);
  if constexpr (std::is_same_v<T, Half>) {
    k.add_squares_half(sum, x, f.inner, f.n, columns);
  } else {
    k.add_squares_float(sum, x, f.inner, f.n, columns);
  }
  const auto length = static_cast<float>(f.n);
  if (f.mean) {
    for (std::int64_t i = 0; i < columns; ++i) sum[i] /= length;
  }
  if (f.round_sum) k.round_to_half(sum, count);
  for (const auto& [value, reg] : f.scalars) std::fill_n(tiles[reg], columns, value);
  k.chain(f.code.data(), static_cast<int>(f.code.size()), registers, static_cast<int>(columns));
  const float* const factor = f.code.empty() ? sum : tiles[f.code.back().dst];
  const float* const weight = f.weight ? f.weight->data() : nullptr;
  if constexpr (std::is_same_v<T, Half>) {
    k.scale_rows_half(y, x, f.inner, factor, weight, f.n, columns);
  } else {
    k.scale_rows_float(y, x, f.inner, factor, weight, f.n, columns);
  }
}

}  // namespace

void FusedNorm::run(const Exec& e) const {
  const std::int64_t blocks = (inner + kColumns - 1) / kColumns;
  dispatch_float(x.dtype, [&]<class T>() {
    const T* const from = e.in<T>(x);
    T* const to = e.out<T>(y);
    parallel_for(outer * blocks, grain_for_work(n * std::min(inner, kColumns)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t u = begin; u < end; ++u) {
                     const std::int64_t first = u % blocks * kColumns;
                     const std::int64_t at = u / blocks * n * inner + first;
                     norm_block(*this, from + at, to + at, std::min(kColumns, inner - first));
                   }
                 });
  });
}

}  // namespace milane::host
