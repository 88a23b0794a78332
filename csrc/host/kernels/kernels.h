// The numeric inner loops that are compiled once per instruction set. Sources in this folder take
// only raw pointers and include no standard container: a template instantiated under AVX-512 must
// never be the copy the linker keeps for the whole library.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/half.h"

namespace milane::host {

struct Micro;  // one instruction of an elementwise chain (elementwise.h)

// Panels of the packed weight layout are this many rows wide: fp16 [rows/16][depth][16].
inline constexpr std::int64_t kPanel = 16;

struct Kernels {
  // --- matrix products. Tile is mr x nr; mr divides kPanel, kPanel divides nr or nr divides it.
  int mr, nr;
  // acc[i*nr + j] (+)= sum_k a[k*lda + i] * b[k*nr + j] for i < mr, j < nr; starts at 0 when
  // `first`.
  void (*gemm_tile)(const float* a, std::int64_t lda, const float* b, std::int64_t depth,
                    float* acc, bool first);
  // y[i] += sum_k w[k*16 + i] * x[k], i < 16 : one packed panel times a vector, fp32 accumulation.
  void (*gemv_panel_half)(const Half* w, const float* x, std::int64_t depth, float* y);
  void (*gemv_panel_float)(const float* w, const float* x, std::int64_t depth, float* y);

  // dst[k*pitch + i] = src[i*inner + k*outer] for i < count, k < depth: a panel of either operand.
  void (*pack_half)(float* dst, std::int64_t pitch, const Half* src, std::int64_t inner,
                    std::int64_t outer, std::int64_t count, std::int64_t depth);
  void (*pack_float)(float* dst, std::int64_t pitch, const float* src, std::int64_t inner,
                     std::int64_t outer, std::int64_t count, std::int64_t depth);
  // c[i*ldc + j] = acc[i*lda + j] + row_bias[i] + column_bias[j], rounded once; biases may be null.
  void (*store_half)(Half* c, std::int64_t ldc, const float* acc, std::int64_t lda,
                     const float* row_bias, const float* column_bias, std::int64_t rows,
                     std::int64_t columns);
  void (*store_float)(float* c, std::int64_t ldc, const float* acc, std::int64_t lda,
                      const float* row_bias, const float* column_bias, std::int64_t rows,
                      std::int64_t columns);

  // --- windows: y[i] = sum_t w[t] * rows[t][i], and y[i] = max_t rows[t][i] (NaN wins). Rows are
  // readable, and y writable, up to n rounded up to 16.
  void (*weighted_rows)(float* y, const float* const* rows, const float* w, std::int64_t taps,
                        std::size_t n);
  void (*max_rows)(float* y, const float* const* rows, std::int64_t taps, std::size_t n);

  // --- softmax down the columns of s[keys][nr], continued over tiles: raises the running maximum,
  // sets s = exp(s - maximum), sum = sum * factor + the column sums, factor = exp(old - new
  // maximum).
  void (*softmax_tile)(float* s, std::int64_t keys, float* maximum, float* sum, float* factor);

  // --- conversions; dst and src do not overlap.
  void (*half_to_float)(float* dst, const Half* src, std::size_t n);
  void (*float_to_half)(Half* dst, const float* src, std::size_t n);
  // x[i] = the nearest half, as a float.
  void (*round_to_half)(float* x, std::size_t n);

  // --- rows of n floats, used by reductions, softmax and norms. Sums run in a fixed order (16
  // interleaved partial sums, then a tree), the same on every instruction set.
  float (*sum)(const float* x, std::size_t n);
  float (*sum_of_squares)(const float* x, float minus, std::size_t n);  // sum (x - minus)^2
  float (*max)(const float* x, std::size_t n);
  // y[i] = exp(x[i] - minus); returns the sum of y.
  float (*exp_sum)(float* y, const float* x, float minus, std::size_t n);
  // y[i] = a * x[i] + b, and y[i] += a * x[i].
  void (*scale_shift)(float* y, const float* x, float a, float b, std::size_t n);
  void (*axpy)(float* y, const float* x, float a, std::size_t n);

  // --- elementwise chains: runs `count` instructions over registers of n floats each.
  void (*chain)(const Micro* code, int count, float* const* registers, int n);
};

// The table of this CPU (cpu_isa()).
const Kernels& kernels();

}  // namespace milane::host
