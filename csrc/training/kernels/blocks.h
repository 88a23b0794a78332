// Loops over a block of columns, or over a piece of a vector; compiled once per instruction set.
// Sources take only raw pointers and include no standard container, as those of the host engine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace milane::training {

// Columns of one block: a block is the unit of work and of summation, so that no result depends on
// the number of threads.
inline constexpr std::int64_t kBlock = 64;

// A block of `count` <= kBlock columns of matrices [rows][pitch]: pointers are to its first column.
struct Blocks {
  // inverse[j] = 1 / sqrt(mean_i x[i][j]^2 + eps)
  void (*inverse_rms)(float* inverse, const float* x, std::int64_t rows, std::int64_t pitch,
                      std::int64_t count, float eps);
  // out[i][j] = x[i][j] * inverse[j] * w[i]
  void (*rmsnorm)(float* out, const float* x, const float* w, const float* inverse,
                  std::int64_t rows, std::int64_t pitch, std::int64_t count);
  // dx = inverse * (w dy - x inverse^2 mean_i(w dy x)); dw[i] = sum_j dy x inverse
  void (*rmsnorm_backward)(float* dx, float* dw, const float* dy, const float* x, const float* w,
                           const float* inverse, std::int64_t rows, std::int64_t pitch,
                           std::int64_t count);
  // dlogits = exp(logits - maximum); the columns' maxima and sums.
  void (*exponentials)(float* dlogits, float* maximum, double* sum, const float* logits,
                       std::int64_t rows, std::int64_t pitch, std::int64_t count);
  // x[i][j] *= factor[j]
  void (*scale_columns)(float* x, const float* factor, std::int64_t rows, std::int64_t pitch,
                        std::int64_t count);
};

// One step of Adam over n elements (docs/training.md has the formula).
struct AdamStep {
  float beta1, beta2, eps;
  float rate;        // lr / (1 - beta1^t)
  float correction;  // 1 / (1 - beta2^t)
  float decay;       // lr * weight_decay
  float grad_scale;  // g is multiplied by this first
};

struct Kernels {
  Blocks blocks;
  void (*adam)(float* w, const float* g, float* m, float* v, std::size_t n, const AdamStep& step);
  double (*sum_of_squares)(const float* x, std::size_t n);
};

const Kernels& kernels();

}  // namespace milane::training
