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

// So many elementwise operations may follow in a tile.
inline constexpr int kFollowing = 3;

// A tile of a product: rows of x times neighbouring packed panels, and a piece of the depth.
struct ProductTile {
  static constexpr std::int64_t kRun = 64;
  const float* x;  // [ceil(depth / kRun)][product_rows][kRun]
  std::int64_t rows, depth;
  // Elements from panel to panel and along the depth; how many panels, up to product_panels.
  std::int64_t panel, panel_step, panels;
  // Sums so far, [product_rows][panels * 16]: read unless this piece is the first, and left there
  // unless it is the last.
  float* sums;
  bool first, last;
  // The result: row-major, after the biases of each row and column (may be null), rounded once;
  // then what follows, as of ConvTile, or added to what is there.
  void* y;
  bool half, add;
  std::int64_t row_stride, columns;
  const float *row_bias, *column_bias;
  const Micro* after;
  int steps;
  // Where the panels that follow are brought nearer, so many bytes of each for a unit of depth.
  const void* next;
  std::int64_t next_apart, next_step;
};

// A tile of a convolution: `columns` neighbours of `panels` packed panels.
struct ConvTap {
  const float* x;       // [channels][pitch], at the first column
  std::int64_t weight;  // of its first channel: an offset into a panel
};
struct ConvTile {
  const ConvTap* tap;
  std::int64_t taps, channels, pitch;
  std::int64_t column;  // added to every tap's x
  std::int64_t panel;   // elements of a panel
  std::int64_t columns, panels;
  // The result: row-major, rounded once, after the bias of each row (may be null).
  void* y;
  bool half;
  std::int64_t rows, row_stride;
  const float* bias;
  // Elementwise operations on every rounded result, each of the one before: register 0 is the
  // result, step i reads register i and writes register i + 1.
  const Micro* after;
  int steps;
  // As of ProductTile; not for columns in lanes.
  const void* next;
  std::int64_t next_apart, next_step;
};

// Taps of a window that lie in `rows` rows below each other: a row of x serves so many of outputs.
struct WindowTap {
  static constexpr int kRows = 3;
  std::int64_t x;              // of the first, for the first output
  std::int64_t weight[kRows];  // indices
  int rows;
};
// Rows of outputs that see the same taps of one plane.
struct WindowTile {
  // A single row of outputs is computed as rows of so many: where row_step is this, too, its taps
  // are a line's, in rows that are parts of it.
  static constexpr std::int64_t kLine = 16;
  const float* x;
  const WindowTap* taps;  // those of most rows first
  std::int64_t count, row_step;
  void* y;  // rounded once
  bool half;
  std::int64_t row_stride, rows, columns;
  // Of sums only. After the bias: divided by divisors[r*row_stride + i], then the square root.
  const float* weights;
  float bias;
  const float* divisors;  // may be null
  bool root;
};
// The same for planes one after the other, whose outputs follow each other.
struct WindowPlanes {
  std::int64_t count = 1;
  std::int64_t x_step = 0, weight_step = 0;
  const float* bias = nullptr;  // of each plane; null: the tile's for all
};

// Maxima over the windows of a plane of halves.
struct MaxHalves {
  static constexpr std::int64_t kSlack = 64;
  static constexpr std::int16_t kLowest = -31745;  // what stands for -infinity
  std::int64_t rows, columns;                      // that windows see, of in_rows x in_columns
  std::int64_t in_rows, in_columns;
  std::int64_t pitch, padded_rows, before;  // with the padding; where the first element lies in it
  std::int64_t out_rows, out_columns, kernel_rows, kernel_columns;
  std::int64_t row_stride, column_stride;  // the latter 1 or 2

  std::int64_t keys() const { return padded_rows * pitch + kSlack; }
  // A multiple of 32.
  std::int64_t memory() const { return keys() + 8 * pitch + 2 * kSlack; }
};

struct Kernels {
  // --- matrix products. Tile is mr x nr; mr divides kPanel, kPanel divides nr or nr divides it.
  int mr, nr;
  // acc[i*nr + j] (+)= sum_k a[k*lda + i] * b[k*nr + j] for i < mr, j < nr; starts at 0 when
  // `first`.
  void (*gemm_tile)(const float* a, std::int64_t lda, const float* b, std::int64_t depth,
                    float* acc, bool first);
  // scores[i*nr + j] = sum_k keys[k*16 + i] * queries[k*nr + j] for i < 16, rounded to half where
  // asked for. Those of queries before `first`, a multiple of 16, need not be there.
  void (*score_tile)(const float* keys, const float* queries, std::int64_t depth, float* scores,
                     std::int64_t first, bool round);
  // y[i*row_stride + p*16 + j] = sum_k x[k/64][i][k%64] * w[p*panel + k*panel_step + j], i < rows.
  int product_rows, product_panels;
  void (*product_tile_half)(const ProductTile& tile, const Half* w);
  void (*product_tile_float)(const ProductTile& tile, const float* w);
  // y[i] += sum_k w[k*16 + i] * x[k], i < 16 : one packed panel times a vector, fp32 accumulation.
  void (*gemv_panel_half)(const Half* w, const float* x, std::int64_t depth, float* y);
  void (*gemv_panel_float)(const float* w, const float* x, std::int64_t depth, float* y);
  // y[j*16*panels + p*16 + i] = sum_k w[(p*depth + k)*16 + i] * x[k*count + j], for i < 16,
  // j < count, p < panels: packed panels times a few vectors, every sum one chain from zero.
  void (*gemm_panels_half)(const Half* w, std::int64_t panels, const float* x, std::int64_t count,
                           std::int64_t depth, float* y);
  void (*gemm_panels_float)(const float* w, std::int64_t panels, const float* x, std::int64_t count,
                            std::int64_t depth, float* y);
  // A matrix as it lies in memory times vectors x[j*depth + k], j < vectors.
  // dot: y[j*pitch + i] = sum_k w[i*stride + k] * x_j[k], i < rows, in the order of `sum` below.
  // sum: y[j*pitch + i] = sum_k w[k*stride + i] * x_j[k], i < columns, even and odd k apart.
  // The same bits on every instruction set where products are exact in fp32, as of halves.
  void (*dot_rows_half)(const Half* w, std::int64_t stride, std::int64_t rows, const float* x,
                        std::int64_t vectors, std::int64_t depth, float* y, std::int64_t pitch);
  void (*dot_rows_float)(const float* w, std::int64_t stride, std::int64_t rows, const float* x,
                         std::int64_t vectors, std::int64_t depth, float* y, std::int64_t pitch);
  void (*sum_rows_half)(const Half* w, std::int64_t stride, std::int64_t columns, const float* x,
                        std::int64_t vectors, std::int64_t depth, float* y, std::int64_t pitch);
  void (*sum_rows_float)(const float* w, std::int64_t stride, std::int64_t columns, const float* x,
                         std::int64_t vectors, std::int64_t depth, float* y, std::int64_t pitch);

  // dst[k*pitch + i] = src[i*inner + k*outer] for i < count, k < depth: a panel of either operand.
  void (*pack_half)(float* dst, std::int64_t pitch, const Half* src, std::int64_t inner,
                    std::int64_t outer, std::int64_t count, std::int64_t depth);
  void (*pack_float)(float* dst, std::int64_t pitch, const float* src, std::int64_t inner,
                     std::int64_t outer, std::int64_t count, std::int64_t depth);
  // dst[k/64][i][k%64] = src[i*stride + k] for i < rows <= product_rows, k < depth: a tile's x;
  // what is past the depth is undefined.
  void (*cut_rows_half)(float* dst, const Half* src, std::int64_t stride, std::int64_t rows,
                        std::int64_t depth);
  void (*cut_rows_float)(float* dst, const float* src, std::int64_t stride, std::int64_t rows,
                         std::int64_t depth);
  // dst[k*16 + i] = src[i*stride + k] for i < 16, k < count: a panel of packed weights.
  void (*turn_rows)(Half* dst, const Half* src, std::int64_t stride, std::int64_t count);
  // y[r][2i] = a[r][i] and y[r][2i + 1] = b[r][i] for i < n, rows a stride of their own apart.
  void (*zip_rows_half)(Half* y, std::int64_t y_stride, const Half* a, std::int64_t a_stride,
                        const Half* b, std::int64_t b_stride, std::int64_t rows, std::int64_t n);
  void (*zip_rows_float)(float* y, std::int64_t y_stride, const float* a, std::int64_t a_stride,
                         const float* b, std::int64_t b_stride, std::int64_t rows, std::int64_t n);
  // c[i*ldc + j] = acc[i*lda + j] + row_bias[i] + column_bias[j], rounded once; biases may be null.
  void (*store_half)(Half* c, std::int64_t ldc, const float* acc, std::int64_t lda,
                     const float* row_bias, const float* column_bias, std::int64_t rows,
                     std::int64_t columns);
  void (*store_float)(float* c, std::int64_t ldc, const float* acc, std::int64_t lda,
                      const float* row_bias, const float* column_bias, std::int64_t rows,
                      std::int64_t columns);

  // --- convolution. y[(p*16 + i)*row_stride + j] = bias[p*16 + i] + sum over taps t and channels c
  // of weights[p*panel + (weight_t + c*16) + i] * x_t[column + c*pitch + j], for i < 16,
  // j < columns <= conv_columns, p < panels <= conv_panels.
  int conv_columns, conv_panels;
  void (*conv_tile_half)(const ConvTile& tile, const Half* weights);
  void (*conv_tile_float)(const ConvTile& tile, const float* weights);
  // The same with columns in lanes, for rows <= mr and columns <= nr; x is readable up to nr
  // columns.
  void (*conv_wide)(const ConvTile& tile, const float* weights);

  // --- windows: y[r][i] = bias + the sum over taps t and their rows k of
  // weights[t.weight[k]] * x[t.x + (r + k)*row_step + i], and the maximum of these x (NaN wins).
  // x is readable 16 floats past the last column of every row, and one row of 8 floats more.
  void (*window_sum)(const WindowTile& tile, const WindowPlanes& planes);
  void (*window_max)(const WindowTile& tile, const WindowPlanes& planes);
  // y[out_rows][out_columns] from x[in_rows][in_columns], unless that has a NaN or -0: then false.
  // keys[memory] holds kLowest where there is padding.
  bool (*max_halves)(const MaxHalves& m, std::int16_t* keys, Half* y, const Half* x);
  // dst[p*step + r*pitch + i] = src[p][r][i] for i < columns, r < rows, p < planes; zeros may
  // follow up to 16 floats from where a row begins, or two rows where pitch is 8.
  void (*widen_planes_half)(float* dst, std::int64_t step, std::int64_t pitch, const Half* src,
                            std::int64_t columns, std::int64_t rows, std::int64_t planes);
  void (*widen_planes_float)(float* dst, std::int64_t step, std::int64_t pitch, const float* src,
                             std::int64_t columns, std::int64_t rows, std::int64_t planes);

  // --- softmax down the columns of s[keys][nr], continued over tiles: raises the running maximum,
  // sets s = exp(s - maximum), sum = sum * factor + the column sums, factor = exp(old - new
  // maximum).
  void (*softmax_tile)(float* s, std::int64_t keys, float* maximum, float* sum, float* factor);

  // --- columns side by side (columns.cpp). Softmax down the first `columns` of s[keys][nr], whole
  // registers, with the sums of exp_sum and the results rounded to half where asked for.
  void (*softmax_columns)(float* s, std::int64_t keys, std::int64_t columns, bool round);
  // The largest sum of squares down a column of panel[depth][width]; NaN when there is one.
  float (*largest_square_sum)(const float* panel, std::int64_t depth, std::int64_t width);
  // Over rows `stride` apart: sum[i] += x[r][i]^2, and y[r][i] = (x[r][i] * scale[i]) * weight[r],
  // every product rounded to x's type; weight may be null.
  void (*add_squares_half)(float* sum, const Half* x, std::int64_t stride, std::int64_t rows,
                           std::int64_t n);
  void (*add_squares_float)(float* sum, const float* x, std::int64_t stride, std::int64_t rows,
                            std::int64_t n);
  // largest[i] = the largest of |x[r][i]| and largest[i], NaN wins.
  void (*largest_rows_half)(float* largest, const Half* x, std::int64_t stride, std::int64_t rows,
                            std::int64_t n);
  void (*largest_rows_float)(float* largest, const float* x, std::int64_t stride, std::int64_t rows,
                             std::int64_t n);
  // y[r][i] = x[r][i] / divisor[i], rounded to x's type, and sum[i] += y[r][i]^2, so rounded too.
  void (*divide_rows_half)(Half* y, float* sum, const Half* x, std::int64_t stride,
                           const float* divisor, std::int64_t rows, std::int64_t n);
  void (*divide_rows_float)(float* y, float* sum, const float* x, std::int64_t stride,
                            const float* divisor, std::int64_t rows, std::int64_t n);
  void (*scale_rows_half)(Half* y, const Half* x, std::int64_t stride, const float* scale,
                          const float* weight, std::int64_t rows, std::int64_t n);
  void (*scale_rows_float)(float* y, const float* x, std::int64_t stride, const float* scale,
                           const float* weight, std::int64_t rows, std::int64_t n);

  // --- conversions; dst and src do not overlap.
  void (*half_to_float)(float* dst, const Half* src, std::size_t n);
  void (*float_to_half)(Half* dst, const float* src, std::size_t n);
  // x[i] = the nearest half, as a float.
  void (*round_to_half)(float* x, std::size_t n);

  // --- rows of n floats, used by reductions, softmax and norms. Sums run in a fixed order (16
  // interleaved partial sums, then a tree), the same on every instruction set.
  float (*sum)(const float* x, std::size_t n);
  // y[i] = sum(x + i*n, n) for i < rows, the same bits.
  void (*sum_each_half)(float* y, const Half* x, std::int64_t n, std::int64_t rows);
  void (*sum_each_float)(float* y, const float* x, std::int64_t n, std::int64_t rows);
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
