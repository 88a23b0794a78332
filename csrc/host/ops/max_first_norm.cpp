#include "host/ops/max_first_norm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "host/ops/operands.h"
#include "host/ops/rows.h"

namespace milane::host {
namespace {

constexpr std::int64_t kColumns = 128;  // of one task: their sums stay in the first-level cache
constexpr float kLeast = -std::numeric_limits<float>::infinity();

// The numbers of each column while a block is computed.
class Columns {
 public:
  Columns(const MaxFirstNorm& norm, std::int64_t count) : norm_(norm), count_(count) {
    for (int r = 0; r < MaxFirstNorm::kRegisters; ++r) registers_[r] = tiles_[r];
    for (const auto& [value, reg] : norm.scalars) std::fill_n(tiles_[reg], count, value);
  }

  float* largest() { return tiles_[0]; }
  float* sum() { return tiles_[1]; }

  const float* divisor() {
    run(norm_.divisor_code);
    return tiles_[norm_.divisor];
  }
  const float* factor(bool round) {
    const auto length = static_cast<float>(norm_.n);
    if (norm_.mean) {
      for (std::int64_t i = 0; i < count_; ++i) sum()[i] /= length;
    }
    if (round) kernels().round_to_half(sum(), static_cast<std::size_t>(count_));
    run(norm_.factor_code);
    return tiles_[norm_.factor];
  }

 private:
  void run(const std::vector<Micro>& code) {
    kernels().chain(code.data(), static_cast<int>(code.size()), registers_,
                    static_cast<int>(count_));
  }

  const MaxFirstNorm& norm_;
  std::int64_t count_;
  alignas(64) float tiles_[MaxFirstNorm::kRegisters][kColumns];
  float* registers_[MaxFirstNorm::kRegisters];
};

// Columns side by side, x and y [n][inner]: y holds the ratios until they are scaled.
template <class T>
void norm_columns(const MaxFirstNorm& f, const T* x, T* y, const float* weight,
                  std::int64_t count) {
  const Kernels& k = kernels();
  Columns columns(f, count);
  std::fill_n(columns.largest(), count, kLeast);
  std::fill_n(columns.sum(), count, 0.0f);
  if constexpr (std::is_same_v<T, Half>) {
    k.largest_rows_half(columns.largest(), x, f.inner, f.n, count);
    k.divide_rows_half(y, columns.sum(), x, f.inner, columns.divisor(), f.n, count);
    k.scale_rows_half(y, y, f.inner, columns.factor(true), weight, f.n, count);
  } else {
    k.largest_rows_float(columns.largest(), x, f.inner, f.n, count);
    k.divide_rows_float(y, columns.sum(), x, f.inner, columns.divisor(), f.n, count);
    k.scale_rows_float(y, y, f.inner, columns.factor(false), weight, f.n, count);
  }
}

// One row, x and y [n], through the instructions of the operations themselves.
template <class T>
void norm_row(const MaxFirstNorm& f, const T* x, T* y, const float* weight) {
  constexpr bool kRound = std::is_same_v<T, Half>;
  const Kernels& k = kernels();
  alignas(64) float value[kBlock], by[kBlock], scaled[kBlock];
  Columns numbers(f, 1);
  float largest = kLeast, sum = 0;
  for_blocks(f.n, [&](std::int64_t i, std::int64_t n) {
    const float* const v = load_row(value, x + i, n);
    for (std::int64_t j = 0; j < n; ++j) scaled[j] = std::fabs(v[j]);
    const float b = k.max(scaled, static_cast<std::size_t>(n));
    largest = b > largest || b != b ? b : largest;
  });
  *numbers.largest() = largest;
  std::fill_n(by, std::min(f.n, kBlock), *numbers.divisor());
  const Micro divide[] = {{MicroOp::kDiv, kRound, 0, 0, 1}, {MicroOp::kMul, kRound, 2, 0, 0}};
  for_blocks(f.n, [&](std::int64_t i, std::int64_t n) {
    float* const registers[] = {value, by, scaled};
    if (const float* const v = load_row(value, x + i, n); v != value) std::copy_n(v, n, value);
    k.chain(divide, 2, registers, static_cast<int>(n));
    store_row(y + i, value, n);
    sum += k.sum(scaled, static_cast<std::size_t>(n));
  });
  *numbers.sum() = sum;
  std::fill_n(by, std::min(f.n, kBlock), *numbers.factor(kRound));
  const Micro scale[] = {{MicroOp::kMul, kRound, 0, 0, 1}, {MicroOp::kMul, kRound, 0, 0, 2}};
  for_blocks(f.n, [&](std::int64_t i, std::int64_t n) {
    float* const registers[] = {value, by, scaled};
    if (const float* const v = load_row(value, y + i, n); v != value) std::copy_n(v, n, value);
    if (weight != nullptr) std::copy_n(weight + i, n, scaled);
    k.chain(scale, weight != nullptr ? 2 : 1, registers, static_cast<int>(n));
    store_row(y + i, value, n);
  });
}

}  // namespace

std::size_t MaxFirstNorm::prepare() {
  if (!weight.present() || weight.dtype == DType::kFp32) return 0;
  const auto bytes = static_cast<std::size_t>(n) * sizeof(float);
  if (!weight.is_constant()) {
    weight_scratch = {0, bytes};
    return bytes;
  }
  auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(n));
  to_floats(values->data(), weight.dtype, weight.constant, n);
  constant_weight = std::move(values);
  return 0;
}

void MaxFirstNorm::run(const Exec& e) const {
  const float* w = nullptr;
  if (constant_weight) {
    w = constant_weight->data();
  } else if (weight.present() && weight.dtype == DType::kFp32) {
    w = e.in<float>(weight);
  } else if (weight.present()) {
    float* const values = e.scratch<float>(weight_scratch);
    kernels().half_to_float(values, e.in<Half>(weight), static_cast<std::size_t>(n));
    w = values;
  }
  const std::int64_t blocks = (inner + kColumns - 1) / kColumns;
  dispatch_float(x.dtype, [&]<class T>() {
    const T* const from = e.in<T>(x);
    T* const to = e.out<T>(y);
    parallel_for(outer * blocks, grain_for_work(2 * n * std::min(inner, kColumns)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t u = begin; u < end; ++u) {
                     const std::int64_t first = u % blocks * kColumns;
                     const std::int64_t at = u / blocks * n * inner + first;
                     if (inner == 1) {
                       norm_row(*this, from + at, to + at, w);
                     } else {
                       norm_columns(*this, from + at, to + at, w,
                                    std::min(kColumns, inner - first));
                     }
                   }
                 });
  });
}

}  // namespace milane::host
