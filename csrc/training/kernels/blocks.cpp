#include "training/kernels/blocks.h"

#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {
namespace {

using training::AdamStep;
using training::kBlock;

// Sums of many floats run in pieces of this many, which join as doubles.
constexpr std::int64_t kPiece = 64;
constexpr int kVecs = static_cast<int>(kBlock) / kWidth;

// Row `i` of a block, padded with `fill` where it has fewer columns than kBlock. Full blocks are
// read in place.
MILANE_INLINE const float* row_of(const float* x, std::int64_t i, std::int64_t pitch,
                                  std::int64_t count, float* padded, float fill = 0.0f) {
  const float* const row = x + i * pitch;
  if (count == kBlock) return row;
  for (std::int64_t j = 0; j < kBlock; ++j) padded[j] = j < count ? row[j] : fill;
  return padded;
}

MILANE_INLINE void put_row(float* x, std::int64_t i, std::int64_t pitch, std::int64_t count,
                           const float* row) {
  for (std::int64_t j = 0; j < count; ++j) x[i * pitch + j] = row[j];
}

// Sums of products of rows, column by column: total[j] = sum_i a[i][j] b[i][j] w[i].
struct ColumnSums {
  double total[kBlock] = {};
  float piece[kBlock] = {};

  MILANE_INLINE void add(ColumnSums& s, const float* a, const float* b, float w) {
    for (int k = 0; k < kVecs; ++k) {
      const int at = k * kWidth;
      const Vec product = load_vec(a + at) * load_vec(b + at) * w;
      store_vec(s.piece + at, load_vec(s.piece + at) + product);
    }
  }
  MILANE_INLINE void flush(ColumnSums& s) {
    for (std::int64_t j = 0; j < kBlock; ++j) {
      s.total[j] += static_cast<double>(s.piece[j]);
      s.piece[j] = 0;
    }
  }
};

// x[rows][count]
void inverse_rms(float* inverse, const float* x, std::int64_t rows, std::int64_t pitch,
                 std::int64_t count, float eps) {
  ColumnSums sums;
  float padded[kBlock];
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const row = row_of(x, i, pitch, count, padded);
    ColumnSums::add(sums, row, row, 1.0f);
    if (i % kPiece == kPiece - 1) ColumnSums::flush(sums);
  }
  ColumnSums::flush(sums);
  for (std::int64_t j = 0; j < count; ++j) {
    const double mean = sums.total[j] / static_cast<double>(rows);
    inverse[j] = static_cast<float>(1.0 / __builtin_sqrt(mean + static_cast<double>(eps)));
  }
}

// out, x[rows][count]; w[rows]; inverse[count]
void rmsnorm(float* out, const float* x, const float* w, const float* inverse, std::int64_t rows,
             std::int64_t pitch, std::int64_t count) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < count; ++j) {
      out[i * pitch + j] = x[i * pitch + j] * inverse[j] * w[i];
    }
  }
}

// dx, dy, x[rows][count]; dw, w[rows]; inverse[count]
void rmsnorm_backward(float* dx, float* dw, const float* dy, const float* x, const float* w,
                      const float* inverse, std::int64_t rows, std::int64_t pitch,
                      std::int64_t count) {
  ColumnSums sums;
  float dy_padded[kBlock], x_padded[kBlock];
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const dy_row = row_of(dy, i, pitch, count, dy_padded);
    const float* const x_row = row_of(x, i, pitch, count, x_padded);
    ColumnSums::add(sums, dy_row, x_row, w[i]);
    if (i % kPiece == kPiece - 1) ColumnSums::flush(sums);
    float product = 0;
    for (std::int64_t j = 0; j < count; ++j) product += dy_row[j] * x_row[j] * inverse[j];
    dw[i] = product;
  }
  ColumnSums::flush(sums);
  float pull[kBlock];
  for (std::int64_t j = 0; j < count; ++j) {
    const double r = static_cast<double>(inverse[j]);
    pull[j] = static_cast<float>(sums.total[j] * r * r / static_cast<double>(rows));
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < count; ++j) {
      const std::int64_t at = i * pitch + j;
      dx[at] = inverse[j] * (w[i] * dy[at] - x[at] * pull[j]);
    }
  }
}

// dlogits, logits[rows][count]; maximum, sum[count]
void exponentials(float* dlogits, float* maximum, double* sum, const float* logits,
                  std::int64_t rows, std::int64_t pitch, std::int64_t count) {
  float padded[kBlock], most[kBlock], piece[kBlock];
  for (std::int64_t j = 0; j < kBlock; ++j) most[j] = -__builtin_inff();
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const row = row_of(logits, i, pitch, count, padded);
    for (int k = 0; k < kVecs; ++k) {
      const int at = k * kWidth;
      store_vec(most + at, host::MILANE_ISA::maximum(load_vec(most + at), load_vec(row + at)));
    }
  }
  for (std::int64_t j = 0; j < kBlock; ++j) piece[j] = 0;
  for (std::int64_t j = 0; j < count; ++j) sum[j] = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const row = row_of(logits, i, pitch, count, padded);
    float result[kBlock];
    for (int k = 0; k < kVecs; ++k) {
      const int at = k * kWidth;
      const Vec e = exp_vec(load_vec(row + at) - load_vec(most + at));
      store_vec(result + at, e);
      store_vec(piece + at, load_vec(piece + at) + e);
    }
    put_row(dlogits, i, pitch, count, result);
    if (i % kPiece == kPiece - 1 || i == rows - 1) {
      for (std::int64_t j = 0; j < count; ++j) sum[j] += static_cast<double>(piece[j]);
      for (std::int64_t j = 0; j < kBlock; ++j) piece[j] = 0;
    }
  }
  for (std::int64_t j = 0; j < count; ++j) maximum[j] = most[j];
}

// x[rows][count]; factor[count]
void scale_columns(float* x, const float* factor, std::int64_t rows, std::int64_t pitch,
                   std::int64_t count) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < count; ++j) x[i * pitch + j] *= factor[j];
  }
}

// w, g, m, v[n]
void adam(float* w, const float* g, float* m, float* v, std::size_t n, const AdamStep& s) {
  for (std::size_t i = 0; i < n; ++i) {
    const float gradient = g[i] * s.grad_scale;
    m[i] = s.beta1 * m[i] + (1.0f - s.beta1) * gradient;
    v[i] = s.beta2 * v[i] + (1.0f - s.beta2) * gradient * gradient;
    const float root = __builtin_sqrtf(v[i] * s.correction);
    w[i] -= s.rate * m[i] / (root + s.eps) + s.decay * w[i];
  }
}

// x[n]
double sum_of_squares(const float* x, std::size_t n) {
  double total = 0;
  for (std::size_t at = 0; at < n; at += 1024) {
    const std::size_t end = at + 1024 < n ? at + 1024 : n;
    Vec sums{};
    std::size_t i = at;
    for (; i + kWidth <= end; i += kWidth) sums += load_vec(x + i) * load_vec(x + i);
    float lanes[kWidth];
    store_vec(lanes, sums);
    for (int j = 0; j < kWidth; ++j) total += static_cast<double>(lanes[j]);
    for (; i < end; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return total;
}

}  // namespace

const training::Kernels* training_table() {
  static constexpr training::Kernels kTable = {
      .blocks = {.inverse_rms = inverse_rms,
                 .rmsnorm = rmsnorm,
                 .rmsnorm_backward = rmsnorm_backward,
                 .exponentials = exponentials,
                 .scale_columns = scale_columns},
      .adam = adam,
      .sum_of_squares = sum_of_squares,
  };
  return &kTable;
}

}  // namespace milane::host::MILANE_ISA
