// softmax over one axis: the maximum is subtracted, everything is fp32 until the one rounding.
#include "host/ops/rows.h"

namespace milane::host {
namespace {

// Floats of one part's scratch when several columns are normalised together: 128 KB where the axis
// allows it, so that the passes over it stay in the second-level cache.
constexpr std::int64_t kColumnFloats = 32 << 10;

// v[n] in place
void softmax_row(float* v, std::int64_t n) {
  const float total = kernels().exp_sum(v, v, kernels().max(v, n), n);
  kernels().scale_shift(v, v, 1.0f / total, 0.0f, n);
}

// y[outer][n] from x of the same shape
template <class T>
RunFn softmax_rows(OpSite& site, const Lines& l) {
  const Operand x = site.in("x"), y = site.out();
  if constexpr (std::is_same_v<T, float>) {
    return [=](const Exec& e) {
      const float* from = e.in<float>(x);
      float* to = e.out<float>(y);
      parallel_for(l.outer, grain_for_work(l.n * 4), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t o = begin; o < end; ++o) {
          store_row(to + o * l.n, from + o * l.n, l.n);
          softmax_row(to + o * l.n, l.n);
        }
      });
    };
  } else {
    const Parts parts = Parts::of(l.outer, kMaxParts, l.n * 4);
    const Scratch rows = site.scratch(static_cast<std::size_t>(parts.count * l.n) * sizeof(float));
    return [=](const Exec& e) {
      parts.run([&](std::int64_t part, std::int64_t begin, std::int64_t end) {
        float* v = e.scratch<float>(rows) + part * l.n;
        for (std::int64_t o = begin; o < end; ++o) {
          kernels().half_to_float(v, e.in<T>(x) + o * l.n, l.n);
          softmax_row(v, l.n);
          store_row(e.out<T>(y) + o * l.n, v, l.n);
        }
      });
    };
  }
}

// v[n][width] in place, down the columns
void softmax_columns(float* v, std::int64_t n, std::int64_t width) {
  float row[kBlock];
  std::copy(v, v + width, row);
  for (std::int64_t k = 1; k < n; ++k) {
    const float* r = v + k * width;
    for (std::int64_t i = 0; i < width; ++i) row[i] = r[i] > row[i] || r[i] != r[i] ? r[i] : row[i];
  }
  for (std::int64_t k = 0; k < n; ++k) {
    float* r = v + k * width;
    for (std::int64_t i = 0; i < width; ++i) r[i] -= row[i];
  }
  kernels().exp_sum(v, v, 0.0f, n * width);
  std::fill(row, row + width, 0.0f);
  for (std::int64_t k = 0; k < n; ++k) kernels().axpy(row, v + k * width, 1.0f, width);
  for (std::int64_t i = 0; i < width; ++i) row[i] = 1.0f / row[i];
  for (std::int64_t k = 0; k < n; ++k) {
    float* r = v + k * width;
    for (std::int64_t i = 0; i < width; ++i) r[i] *= row[i];
  }
}

// y[outer][n][inner] from x of the same shape, a block of columns at a time in scratch
template <class T>
RunFn softmax_inner(OpSite& site, const Lines& l) {
  const Operand x = site.in("x"), y = site.out();
  const std::int64_t fit = kColumnFloats / l.n / 16 * 16;
  const std::int64_t width = std::min(std::clamp<std::int64_t>(fit, 16, kBlock), l.inner);
  const std::int64_t blocks = (l.inner + width - 1) / width;
  const Parts parts = Parts::of(l.outer * blocks, kMaxParts, l.n * width * 4);
  const Scratch columns =
      site.scratch(static_cast<std::size_t>(parts.count * l.n * width) * sizeof(float));
  return [=](const Exec& e) {
    parts.run([&](std::int64_t part, std::int64_t begin, std::int64_t end) {
      float* v = e.scratch<float>(columns) + part * l.n * width;
      for (std::int64_t u = begin; u < end; ++u) {
        const std::int64_t first = u % blocks * width, w = std::min(width, l.inner - first);
        const std::int64_t at = u / blocks * l.n * l.inner + first;
        for (std::int64_t k = 0; k < l.n; ++k) {
          const T* row = e.in<T>(x) + at + k * l.inner;
          if constexpr (std::is_same_v<T, float>) {
            std::copy(row, row + w, v + k * w);
          } else {
            kernels().half_to_float(v + k * w, row, w);
          }
        }
        softmax_columns(v, l.n, w);
        for (std::int64_t k = 0; k < l.n; ++k) {
          store_row(e.out<T>(y) + at + k * l.inner, v + k * w, w);
        }
      }
    });
  };
}

}  // namespace

RunFn op_softmax(OpSite& site) {
  const Operand x = site.in("x");
  if (x.dims.empty()) site.args.fail("x", "expected rank 1 or more, got 0");
  const Lines l = lines_along(x.dims, site.args.axis("axis", x.dims.size()));
  if (x.count() == 0) return [](const Exec&) {};
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    return l.inner == 1 ? softmax_rows<T>(site, l) : softmax_inner<T>(site, l);
  });
}

}  // namespace milane::host
