// What a training step does on the CPU: norms, loss, embedding, optimiser. All in fp32; matrices
// are channel-first, [channels][positions], as the programs for the device have them. Sums run in
// an order that no number of threads changes.
#pragma once

#include <cstdint>

#include "host/gemm.h"

namespace milane::training {

// out[i][s] = x[i][s] w[i] / sqrt(mean_i x[i][s]^2 + eps), i < d, s < positions.
void rmsnorm(float* out, const float* x, const float* w, std::int64_t d, std::int64_t positions,
             float eps);

// The gradients of rmsnorm: dx, and dw added to what is there.
void rmsnorm_backward(float* dx, float* dw, const float* dy, const float* x, const float* w,
                      std::int64_t d, std::int64_t positions, float eps);

struct Adam {
  std::int64_t t = 1;  // counts from 1
  float lr = 0, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0, grad_scale = 1;
};
// One step of AdamW in place, the gradient multiplied by grad_scale first.
void adam_update(float* w, const float* g, float* m, float* v, std::int64_t n, const Adam& adam);

// sum_i x[i]^2
double sum_of_squares(const float* x, std::int64_t n);

// c[m][n] = a b, or c += a b: a(m x k) and b(k x n) of halves or floats anywhere in memory, sums in
// fp32. What a training step multiplies on the CPU, by the host engine's own kernels: a library
// with threads of its own would fight with them.
void product(float* c, const host::MatrixRef& a, const host::MatrixRef& b,
             const host::MatmulShape& shape, bool add);

// The mean over positions of -log softmax(logits)[target]; dlogits = its gradient times `scale`.
// Positions whose target is negative count for nothing. dlogits may be logits.
double cross_entropy(float* dlogits, const float* logits, const std::int32_t* targets,
                     std::int64_t vocab, std::int64_t positions, float scale);

// x[i][s] = table[tokens[s]][i], and table_gradient[tokens[s]][i] += dx[i][s].
void embed_lookup(float* x, const float* table, const std::int32_t* tokens, std::int64_t dim,
                  std::int64_t positions);
void embed_backward(float* table_gradient, const float* dx, const std::int32_t* tokens,
                    std::int64_t dim, std::int64_t positions);

}  // namespace milane::training
