#include "training/ops.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/aligned.h"
#include "host/parallel.h"
#include "training/kernels/blocks.h"

namespace milane::training {
namespace {

using host::parallel_for;

// Elements of a vector that one task takes: enough that waking a thread pays.
constexpr std::int64_t kElements = std::int64_t{1} << 16;

std::int64_t blocks_of(std::int64_t positions) { return (positions + kBlock - 1) / kBlock; }

// body(first column, columns) for each block.
template <class Body>
void for_each_block(std::int64_t positions, const Body& body) {
  parallel_for(blocks_of(positions), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block * kBlock;
      body(first, std::min(kBlock, positions - first));
    }
  });
}

}  // namespace

// out, x[d][positions]; w[d]
void rmsnorm(float* out, const float* x, const float* w, std::int64_t d, std::int64_t positions,
             float eps) {
  const Blocks& k = kernels().blocks;
  for_each_block(positions, [&](std::int64_t first, std::int64_t count) {
    float inverse[kBlock];
    k.inverse_rms(inverse, x + first, d, positions, count, eps);
    k.rmsnorm(out + first, x + first, w, inverse, d, positions, count);
  });
}

// dx, dy, x[d][positions]; dw, w[d]
void rmsnorm_backward(float* dx, float* dw, const float* dy, const float* x, const float* w,
                      std::int64_t d, std::int64_t positions, float eps) {
  const Blocks& k = kernels().blocks;
  std::vector<float> parts(static_cast<std::size_t>(blocks_of(positions) * d));
  for_each_block(positions, [&](std::int64_t first, std::int64_t count) {
    float inverse[kBlock];
    k.inverse_rms(inverse, x + first, d, positions, count, eps);
    k.rmsnorm_backward(dx + first, parts.data() + first / kBlock * d, dy + first, x + first, w,
                       inverse, d, positions, count);
  });
  for (std::int64_t i = 0; i < d; ++i) {
    double sum = 0;
    for (std::int64_t block = 0; block < blocks_of(positions); ++block) {
      sum += static_cast<double>(parts[static_cast<std::size_t>(block * d + i)]);
    }
    dw[i] += static_cast<float>(sum);
  }
}

// w, g, m, v[n]
void adam_update(float* w, const float* g, float* m, float* v, std::int64_t n, const Adam& adam) {
  const double t = static_cast<double>(adam.t);
  AdamStep step{};
  step.beta1 = adam.beta1;
  step.beta2 = adam.beta2;
  step.eps = adam.eps;
  step.rate = static_cast<float>(static_cast<double>(adam.lr) /
                                 (1.0 - std::pow(static_cast<double>(adam.beta1), t)));
  step.correction = static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(adam.beta2), t)));
  step.decay = adam.lr * adam.weight_decay;
  step.grad_scale = adam.grad_scale;
  parallel_for(n, kElements, [&](std::int64_t begin, std::int64_t end) {
    kernels().adam(w + begin, g + begin, m + begin, v + begin,
                   static_cast<std::size_t>(end - begin), step);
  });
}

// x[n]
double sum_of_squares(const float* x, std::int64_t n) {
  const std::int64_t pieces = (n + kElements - 1) / kElements;
  std::vector<double> parts(static_cast<std::size_t>(pieces));
  parallel_for(pieces, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t count = std::min(kElements, n - i * kElements);
      parts[static_cast<std::size_t>(i)] =
          kernels().sum_of_squares(x + i * kElements, static_cast<std::size_t>(count));
    }
  });
  double sum = 0;
  for (const double part : parts) sum += part;
  return sum;
}

// c[m][n]
void product(float* c, const host::MatrixRef& a, const host::MatrixRef& b,
             const host::MatmulShape& shape, bool add) {
  // Kept from call to call: a new one would be paged in each time.
  thread_local std::shared_ptr<std::byte> memory;
  thread_local std::size_t size = 0;
  const int slots = host::num_threads();
  const std::size_t needed = host::matmul_dynamic_bytes(shape, slots);
  if (needed > size) {
    memory = aligned_bytes(needed);
    size = needed;
  }
  host::OutputRef out{DType::kFp32, c, shape.n};
  out.add = add;
  host::matmul_dynamic(shape, a, b, out, {memory.get(), slots});
}

// dlogits, logits[vocab][positions]; targets[positions]
double cross_entropy(float* dlogits, const float* logits, const std::int32_t* targets,
                     std::int64_t vocab, std::int64_t positions, float scale) {
  const Blocks& k = kernels().blocks;
  const auto counted =
      std::count_if(targets, targets + positions, [](std::int32_t target) { return target >= 0; });
  const double share = counted > 0 ? 1.0 / static_cast<double>(counted) : 0.0;
  std::vector<double> losses(static_cast<std::size_t>(blocks_of(positions)));
  for_each_block(positions, [&](std::int64_t first, std::int64_t count) {
    float maximum[kBlock], factor[kBlock], at_target[kBlock] = {};
    double sum[kBlock];
    const std::int32_t* const target = targets + first;
    for (std::int64_t j = 0; j < count; ++j) {
      if (target[j] >= 0) at_target[j] = logits[target[j] * positions + first + j];
    }
    k.exponentials(dlogits + first, maximum, sum, logits + first, vocab, positions, count);
    double loss = 0;
    for (std::int64_t j = 0; j < count; ++j) {
      const bool counts = target[j] >= 0;
      factor[j] = counts ? static_cast<float>(static_cast<double>(scale) * share / sum[j]) : 0.0f;
      if (counts) {
        loss += std::log(sum[j]) +
                (static_cast<double>(maximum[j]) - static_cast<double>(at_target[j]));
      }
    }
    k.scale_columns(dlogits + first, factor, vocab, positions, count);
    for (std::int64_t j = 0; j < count; ++j) {
      if (target[j] < 0) continue;
      dlogits[target[j] * positions + first + j] -=
          static_cast<float>(static_cast<double>(scale) * share);
    }
    losses[static_cast<std::size_t>(first / kBlock)] = loss;
  });
  double total = 0;
  for (const double loss : losses) total += loss;
  return total * share;
}

// x[dim][positions]; table[vocab][dim]; tokens[positions]
void embed_lookup(float* x, const float* table, const std::int32_t* tokens, std::int64_t dim,
                  std::int64_t positions) {
  for_each_block(positions, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t i = 0; i < dim; ++i) {
      for (std::int64_t s = first; s < first + count; ++s) {
        x[i * positions + s] = table[tokens[s] * dim + i];
      }
    }
  });
}

// Each task owns some channels, so equal tokens add up in their own order.
void embed_backward(float* table_gradient, const float* dx, const std::int32_t* tokens,
                    std::int64_t dim, std::int64_t positions) {
  parallel_for(dim, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = 0; s < positions; ++s) {
      float* const row = table_gradient + tokens[s] * dim;
      for (std::int64_t i = begin; i < end; ++i) row[i] += dx[i * positions + s];
    }
  });
}

}  // namespace milane::training
