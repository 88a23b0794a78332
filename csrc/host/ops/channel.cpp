// batch_norm, prelu, softplus_parametric: parameters that differ per channel, which is axis 1.
#include <cmath>
#include <string>
#include <utility>

#include "host/ops/rows.h"

namespace milane::host {
namespace {

// x as [outer][channels][inner]
Lines channel_lines(const OpSite& site) {
  const Dims dims = site.in("x").dims;
  if (dims.size() < 2) site.args.fail("x", "expected rank 3 to 5, got shape " + to_string(dims));
  return lines_along(dims, 1);
}

// A parameter with one number per channel, or one for all.
FloatVector channel_parameter(OpSite& site, const char* name, std::int64_t channels) {
  FloatVector values(site, site.in(name));
  if (values.present() && values.count() != channels && values.count() != 1) {
    site.args.fail(name, "expected " + std::to_string(channels) + " elements, got shape " +
                             to_string(site.in(name).dims));
  }
  return values;
}

// One channel's number; `otherwise` when the parameter is absent.
inline float pick(const FloatVector& values, const float* data, std::int64_t channel,
                  float otherwise) {
  if (data == nullptr) return otherwise;
  return data[values.count() == 1 ? 0 : channel];
}

// y[outer * channels][inner]: body(to, from, n, channel) on blocks of fp32
template <class T, class Body>
void for_channels(const Lines& l, const T* x, T* y, const Body& body) {
  parallel_for(l.outer * l.n, grain_for_work(l.inner), [&](std::int64_t begin, std::int64_t end) {
    float buffer[kBlock];
    for (std::int64_t p = begin; p < end; ++p) {
      for_blocks(l.inner, [&](std::int64_t i, std::int64_t n) {
        body(buffer, load_row(buffer, x + p * l.inner + i, n), n, p % l.n);
        store_row(y + p * l.inner + i, buffer, n);
      });
    }
  });
}

}  // namespace

// (x - mean) * (gamma / sqrt(variance + epsilon)) + beta
RunFn op_batch_norm(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const Lines l = channel_lines(site);
  const FloatVector mean = channel_parameter(site, "mean", l.n);
  const FloatVector variance = channel_parameter(site, "variance", l.n);
  const FloatVector gamma = channel_parameter(site, "gamma", l.n);
  const FloatVector beta = channel_parameter(site, "beta", l.n);
  const auto epsilon = static_cast<float>(site.args.number("epsilon"));
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    return [=](const Exec& e) {
      const float *m = mean.get(e), *v = variance.get(e), *g = gamma.get(e), *b = beta.get(e);
      const auto body = [&](float* to, const float* from, std::int64_t n, std::int64_t c) {
        const float minus = pick(mean, m, c, 0.0f), plus = pick(beta, b, c, 0.0f);
        const float scale =
            pick(gamma, g, c, 1.0f) / std::sqrt(pick(variance, v, c, 1.0f) + epsilon);
        for (std::int64_t i = 0; i < n; ++i) to[i] = (from[i] - minus) * scale + plus;
      };
      for_channels(l, e.in<T>(x), e.out<T>(y), body);
    };
  });
}

RunFn op_prelu(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const Lines l = channel_lines(site);
  const FloatVector alpha = channel_parameter(site, "alpha", l.n);
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    return [=](const Exec& e) {
      const float* a = alpha.get(e);
      const auto body = [&](float* to, const float* from, std::int64_t n, std::int64_t c) {
        const float slope = pick(alpha, a, c, 0.0f);
        for (std::int64_t i = 0; i < n; ++i) to[i] = from[i] > 0 ? from[i] : slope * from[i];
      };
      for_channels(l, e.in<T>(x), e.out<T>(y), body);
    };
  });
}

// alpha * log(1 + exp(beta * x)), in the form that does not overflow
RunFn op_softplus_parametric(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const Lines l = channel_lines(site);
  const FloatVector alpha = channel_parameter(site, "alpha", l.n);
  const FloatVector beta = channel_parameter(site, "beta", l.n);
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    return [=](const Exec& e) {
      const float *a = alpha.get(e), *b = beta.get(e);
      const auto body = [&](float* to, const float* from, std::int64_t n, std::int64_t c) {
        const float scale = pick(alpha, a, c, 1.0f), slope = pick(beta, b, c, 1.0f);
        for (std::int64_t i = 0; i < n; ++i) {
          const float z = slope * from[i];
          const float positive = z < 0 ? 0.0f : z;  // NaN goes through
          to[i] = scale * (positive + std::log1p(std::exp(-std::fabs(z))));
        }
      };
      for_channels(l, e.in<T>(x), e.out<T>(y), body);
    };
  });
}

}  // namespace milane::host
