// layer_norm, instance_norm, l2_norm, local_response_norm. Means and variances come from two fp32
// passes over the data as stored, and the result is rounded once.
#include <cmath>
#include <string>

#include "host/ops/rows.h"

namespace milane::host {
namespace {

float epsilon_of(const OpSite& site, float otherwise) {
  return site.args.known("epsilon") ? static_cast<float>(site.args.number("epsilon")) : otherwise;
}

struct Moments {
  float mean = 0, scale = 1;  // (x - mean) * scale has unit variance
};

// Of x[n]; the variance is the biased one.
template <class T>
Moments moments_of(const T* x, std::int64_t n, float epsilon) {
  float buffer[kBlock];
  const auto length = static_cast<float>(n);
  float total = 0, squares = 0;
  for_blocks(n, [&](std::int64_t i, std::int64_t width) {
    total += kernels().sum(load_row(buffer, x + i, width), width);
  });
  const float mean = total / length;
  for_blocks(n, [&](std::int64_t i, std::int64_t width) {
    squares += kernels().sum_of_squares(load_row(buffer, x + i, width), mean, width);
  });
  return {mean, 1.0f / std::sqrt(squares / length + epsilon)};
}

// gamma and beta, each as long as what is normalised; either may be absent.
struct Affine {
  FloatVector gamma, beta;

  Affine(OpSite& site, std::int64_t count)
      : gamma(site, site.in("gamma")), beta(site, site.in("beta")) {
    if (gamma.present() && gamma.count() != count) wrong(site, "gamma", count);
    if (beta.present() && beta.count() != count) wrong(site, "beta", count);
  }
  [[noreturn]] static void wrong(const OpSite& site, const char* name, std::int64_t count) {
    site.args.fail(name, "expected " + std::to_string(count) + " elements, got shape " +
                             to_string(site.in(name).dims));
  }
};

// v[n] = (x[n] - mean) * scale
inline void normalise(float* v, const float* x, const Moments& m, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) v[i] = (x[i] - m.mean) * m.scale;
}

// y[outer][n] from x of the same shape, gamma[n], beta[n]
template <class T>
void layer_norm_rows(const Lines& l, float epsilon, const T* x, T* y, const float* gamma,
                     const float* beta) {
  parallel_for(l.outer, grain_for_work(l.n * 4), [&](std::int64_t begin, std::int64_t end) {
    float buffer[kBlock];
    for (std::int64_t o = begin; o < end; ++o) {
      const T* from = x + o * l.n;
      const Moments m = moments_of(from, l.n, epsilon);
      for_blocks(l.n, [&](std::int64_t i, std::int64_t n) {
        normalise(buffer, load_row(buffer, from + i, n), m, n);
        for (std::int64_t j = 0; gamma != nullptr && j < n; ++j) buffer[j] *= gamma[i + j];
        for (std::int64_t j = 0; beta != nullptr && j < n; ++j) buffer[j] += beta[i + j];
        store_row(y + o * l.n + i, buffer, n);
      });
    }
  });
}

// y[outer][n][inner] from x of the same shape, gamma[n], beta[n]: down the columns, a block at a
// time
template <class T>
void layer_norm_columns(const Lines& l, float epsilon, const T* x, T* y, const float* gamma,
                        const float* beta) {
  constexpr std::int64_t kWidth = 256;
  const std::int64_t blocks = (l.inner + kWidth - 1) / kWidth;
  const auto length = static_cast<float>(l.n);
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    float mean[kWidth], scale[kWidth], buffer[kWidth];
    for (std::int64_t u = begin; u < end; ++u) {
      const std::int64_t first = u % blocks * kWidth, n = std::min(kWidth, l.inner - first);
      const std::int64_t at = u / blocks * l.n * l.inner + first;
      const auto each_row = [&](auto&& visit) {
        for (std::int64_t k = 0; k < l.n; ++k) {
          visit(load_row(buffer, x + at + k * l.inner, n), k);
        }
      };
      std::fill(mean, mean + n, 0.0f);
      std::fill(scale, scale + n, 0.0f);
      each_row([&](const float* v, std::int64_t) {
        for (std::int64_t i = 0; i < n; ++i) mean[i] += v[i];
      });
      for (std::int64_t i = 0; i < n; ++i) mean[i] /= length;
      each_row([&](const float* v, std::int64_t) {
        for (std::int64_t i = 0; i < n; ++i) scale[i] += (v[i] - mean[i]) * (v[i] - mean[i]);
      });
      for (std::int64_t i = 0; i < n; ++i) scale[i] = 1.0f / std::sqrt(scale[i] / length + epsilon);
      each_row([&](const float* v, std::int64_t k) {
        const float g = gamma != nullptr ? gamma[k] : 1.0f, b = beta != nullptr ? beta[k] : 0.0f;
        for (std::int64_t i = 0; i < n; ++i) buffer[i] = (v[i] - mean[i]) * scale[i] * g + b;
        store_row(y + at + k * l.inner, buffer, n);
      });
    }
  };
  parallel_for(l.outer * blocks, grain_for_work(l.n * std::min(l.inner, kWidth) * 4), body);
}

// Normalised axes that are not neighbours: each group is gathered into a row of fp32, normalised,
// and put back.
template <class T>
RunFn layer_norm_scattered(OpSite& site, const std::vector<bool>& normalised, float epsilon) {
  const Operand x = site.in("x"), y = site.out();
  const Dims strides = contiguous_strides(x.dims);
  AxisWalk kept, group;
  for (std::size_t i = 0; i < x.dims.size(); ++i) {
    (normalised[i] ? group : kept).push(x.dims[i], strides[i]);
  }
  const std::int64_t n = group.count();
  const Affine affine(site, n);
  const Parts parts = Parts::of(kept.count(), kMaxParts, n * 4);
  const Scratch rows = site.scratch(static_cast<std::size_t>(parts.count * n) * sizeof(float));
  return [=](const Exec& e) {
    const float *gamma = affine.gamma.get(e), *beta = affine.beta.get(e);
    parts.run([&](std::int64_t part, std::int64_t begin, std::int64_t end) {
      float* v = e.scratch<float>(rows) + part * n;
      for (std::int64_t o = begin; o < end; ++o) {
        const std::int64_t at = kept.offset(o);
        for (std::int64_t i = 0; i < n; ++i) v[i] = load(e.in<T>(x)[at + group.offset(i)]);
        const Moments m = moments_of(v, n, epsilon);
        normalise(v, v, m, n);
        for (std::int64_t i = 0; i < n; ++i) {
          const float scaled = gamma != nullptr ? v[i] * gamma[i] : v[i];
          store(e.out<T>(y)[at + group.offset(i)], beta != nullptr ? scaled + beta[i] : scaled);
        }
      }
    });
  };
}

template <class T>
RunFn layer_norm_lines(OpSite& site, const Lines& l, float epsilon) {
  const Operand x = site.in("x"), y = site.out();
  const Affine affine(site, l.n);
  return [=](const Exec& e) {
    const float *gamma = affine.gamma.get(e), *beta = affine.beta.get(e);
    if (l.inner == 1) return layer_norm_rows(l, epsilon, e.in<T>(x), e.out<T>(y), gamma, beta);
    layer_norm_columns(l, epsilon, e.in<T>(x), e.out<T>(y), gamma, beta);
  };
}

}  // namespace

RunFn op_layer_norm(OpSite& site) {
  const Operand x = site.in("x");
  const std::size_t rank = x.dims.size();
  const float epsilon = epsilon_of(site, 1e-5f);
  std::vector<bool> normalised(rank, !site.args.has("axes"));
  if (site.args.has("axes")) {
    for (const std::int64_t a : site.args.axes("axes", rank)) normalised[a] = true;
  }
  // The span from the first normalised axis to the last, axes of one element aside.
  std::size_t first = rank, last = rank;
  bool together = true;
  for (std::size_t i = 0; i < rank; ++i) {
    if (!normalised[i] || x.dims[i] == 1) continue;
    if (first == rank) first = i;
    for (std::size_t j = last; first < i && j < i; ++j) together = together && x.dims[j] == 1;
    last = i + 1;
  }
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    if (!together) return layer_norm_scattered<T>(site, normalised, epsilon);
    return layer_norm_lines<T>(site, lines_of(x.dims, first, last), epsilon);
  });
}

// Each plane x[n, c, ...] on its own; gamma and beta hold one number per channel.
RunFn op_instance_norm(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  if (x.dims.size() < 2) site.args.fail("x", "expected rank 3 or 4, got " + to_string(x.dims));
  const std::int64_t channels = x.dims[1];
  const Lines l = lines_along(x.dims, 1);
  const float epsilon = epsilon_of(site, 1e-5f);
  const Affine affine(site, channels);
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    return [=](const Exec& e) {
      const float *gamma = affine.gamma.get(e), *beta = affine.beta.get(e);
      // [outer * channels][inner]
      const auto body = [&](std::int64_t begin, std::int64_t end) {
        float buffer[kBlock];
        for (std::int64_t p = begin; p < end; ++p) {
          const T* from = e.in<T>(x) + p * l.inner;
          const Moments m = moments_of(from, l.inner, epsilon);
          const float g = gamma != nullptr ? gamma[p % channels] : 1.0f;
          const float b = beta != nullptr ? beta[p % channels] : 0.0f;
          for_blocks(l.inner, [&](std::int64_t i, std::int64_t n) {
            normalise(buffer, load_row(buffer, from + i, n), m, n);
            kernels().scale_shift(buffer, buffer, g, b, n);
            store_row(e.out<T>(y) + p * l.inner + i, buffer, n);
          });
        }
      };
      parallel_for(l.outer * channels, grain_for_work(l.inner * 4), body);
    };
  });
}

// x / sqrt(sum of squares + epsilon) over the last three axes, the ones before them being batch.
RunFn op_l2_norm(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const std::size_t rank = x.dims.size();
  const Lines l = lines_of(x.dims, rank > 3 ? rank - 3 : 0, rank);
  const float epsilon = epsilon_of(site, 1e-6f);
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    return [=](const Exec& e) {
      // [outer][n]
      parallel_for(l.outer, grain_for_work(l.n * 3), [&](std::int64_t begin, std::int64_t end) {
        float buffer[kBlock];
        for (std::int64_t o = begin; o < end; ++o) {
          const T* from = e.in<T>(x) + o * l.n;
          float squares = 0;
          for_blocks(l.n, [&](std::int64_t i, std::int64_t n) {
            squares += kernels().sum_of_squares(load_row(buffer, from + i, n), 0.0f, n);
          });
          const float scale = 1.0f / std::sqrt(squares + epsilon);
          for_blocks(l.n, [&](std::int64_t i, std::int64_t n) {
            kernels().scale_shift(buffer, load_row(buffer, from + i, n), scale, 0.0f, n);
            store_row(e.out<T>(y) + o * l.n + i, buffer, n);
          });
        }
      });
    };
  });
}

namespace {

struct Response {
  std::int64_t size;
  float scale, beta, k;  // scale = alpha / size
};

// y[outer][channels][inner]: x / (k + scale * sum of squares over channels c - size/2 ...
// c + (size-1)/2) ^ beta
template <class T>
void local_response(const Lines& l, const Response& r, const T* x, T* y) {
  const std::int64_t blocks = (l.inner + kBlock - 1) / kBlock;
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    float squares[kBlock], buffer[kBlock];
    for (std::int64_t u = begin; u < end; ++u) {
      const std::int64_t c = u / blocks % l.n, first = u % blocks * kBlock;
      const std::int64_t at = u / blocks / l.n * l.n * l.inner + first;
      const std::int64_t n = std::min(kBlock, l.inner - first);
      const std::int64_t low = std::max<std::int64_t>(c - r.size / 2, 0);
      const std::int64_t high = std::min(c + (r.size - 1) / 2, l.n - 1);
      std::fill(squares, squares + n, 0.0f);
      for (std::int64_t j = low; j <= high; ++j) {
        const float* v = load_row(buffer, x + at + j * l.inner, n);
        for (std::int64_t i = 0; i < n; ++i) squares[i] += v[i] * v[i];
      }
      const float* v = load_row(buffer, x + at + c * l.inner, n);
      for (std::int64_t i = 0; i < n; ++i) {
        buffer[i] = v[i] / std::pow(r.k + r.scale * squares[i], r.beta);
      }
      store_row(y + at + c * l.inner, buffer, n);
    }
  };
  parallel_for(l.outer * l.n * blocks, grain_for_work(std::min(l.inner, kBlock) * (r.size + 16)),
               body);
}

}  // namespace

RunFn op_local_response_norm(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  if (x.dims.size() < 2) site.args.fail("x", "expected rank 3 or 4, got " + to_string(x.dims));
  const std::int64_t size = site.args.integer("size");
  if (size < 1) site.args.fail("size", "expected 1 or more, got " + std::to_string(size));
  const Response r{size, static_cast<float>(site.args.number("alpha")) / static_cast<float>(size),
                   static_cast<float>(site.args.number("beta")),
                   static_cast<float>(site.args.number("k"))};
  const Lines l = lines_along(x.dims, 1);
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    return [=](const Exec& e) { local_response(l, r, e.in<T>(x), e.out<T>(y)); };
  });
}

}  // namespace milane::host
