// quantize and dequantize (iOS17): per tensor or per slice along `axis`.
#include <limits>

#include "host/ops/blocks.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

constexpr std::int64_t kGrain = 1 << 14;

std::int64_t grain_rows(const Blocks& blocks) {
  return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, blocks.row_length()));
}

const float* as_floats(const Half* x, std::int64_t n, float* buffer) {
  convert_half_to_float(buffer, x, static_cast<std::size_t>(n));
  return buffer;
}
const float* as_floats(const float* x, std::int64_t, float*) { return x; }

// saturate(round(x / scale) + zero_point), ties to even; NaN gives the lowest value. Beyond 1024
// the result saturates whatever the zero point; within, adding 1.5 * 2^23 leaves no bits for a
// fraction.
template <class Q>
Q quantized(float x, float scale, float zero_point) {
  constexpr float kFar = 1024.0f, kNoFraction = 0x1.8p23f;
  constexpr auto kLow = static_cast<float>(std::numeric_limits<Q>::min());
  constexpr auto kHigh = static_cast<float>(std::numeric_limits<Q>::max());
  float v = x / scale;
  v = v > -kFar ? v : -kFar;
  v = v < kFar ? v : kFar;
  v = (v + kNoFraction) - kNoFraction + zero_point;
  v = v > kLow ? v : kLow;
  v = v < kHigh ? v : kHigh;
  return static_cast<Q>(v);
}

// Rows [begin, end) of x to q.
template <class T, class Q>
void quantize_rows(const Affine& affine, const T* x, Q* q, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kChunk = 512;
  float buffer[kChunk];
  const std::int64_t length = affine.blocks.row_length(), run = affine.blocks.run();
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t base = affine.blocks.row_block(row);
    for (std::int64_t first = 0; first < length; first += kChunk) {
      const std::int64_t n = std::min(kChunk, length - first);
      const float* values = as_floats(x + row * length + first, n, buffer);
      Q* result = q + row * length + first;
      for (std::int64_t i = 0; i < n;) {  // one block at a time
        const std::int64_t in_row = (first + i) / run;
        const auto block = static_cast<std::size_t>(base + in_row);
        const float scale = affine.scale[block], zero_point = affine.offset[block];
        const std::int64_t stop = std::min(n, (in_row + 1) * run - first);
        for (; i < stop; ++i) result[i] = quantized<Q>(values[i], scale, zero_point);
      }
    }
  }
}

}  // namespace

RunFn op_quantize(OpSite& site) {
  const Operand x = site.in("input"), out = site.out();
  Affine affine = affine_along_axis(site, x.dims);
  return [affine = std::move(affine), x, out](const Exec& e) {
    parallel_for(affine.blocks.rows(), grain_rows(affine.blocks),
                 [&](std::int64_t begin, std::int64_t end) {
                   dispatch_float(x.dtype, [&]<class T>() {
                     if (out.dtype == DType::kInt8) {
                       quantize_rows(affine, e.in<T>(x), e.out<std::int8_t>(out), begin, end);
                     } else {
                       quantize_rows(affine, e.in<T>(x), e.out<std::uint8_t>(out), begin, end);
                     }
                   });
                 });
  };
}

RunFn op_dequantize(OpSite& site) {
  const Operand q = site.in("input"), out = site.out();
  expect_storage_dtype(site, "input", q.dtype);
  Affine affine = affine_along_axis(site, q.dims);
  return [affine = std::move(affine), q, out](const Exec& e) {
    parallel_for(affine.blocks.rows(), grain_rows(affine.blocks),
                 [&](std::int64_t begin, std::int64_t end) {
                   dispatch_storage(q.dtype, [&]<DType D>() {
                     dequantize_rows<D>(affine, e.in<std::byte>(q), out.dtype,
                                        e.out<std::byte>(out), begin, end);
                   });
                 });
  };
}

}  // namespace milane::host
