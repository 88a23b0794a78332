// reduce_*: any axes to one value, accumulated in fp32 in an order that shapes alone decide.
// int32 accumulates in 64 bits and wraps; its means, roots and logarithms are truncated.
#include <cmath>
#include <limits>
#include <string>

#include "host/ops/reduction.h"

namespace milane::host {
namespace {

// --- what one kind of reduction does to an element, to two partial results, and at the end.
struct SumOp {
  static constexpr float kStart = 0;
  static float map(float v) { return v; }
  static float join(float a, float b) { return a + b; }
  static float row(float* v, std::int64_t n) { return kernels().sum(v, n); }
  static float finish(float a, float) { return a; }
};
struct MeanOp : SumOp {
  static float finish(float a, float length) { return a / length; }
};
struct L1Op : SumOp {
  static float map(float v) { return std::fabs(v); }
};
struct SquareOp : SumOp {
  static float map(float v) { return v * v; }
};
struct L2Op : SquareOp {
  static float finish(float a, float) { return std::sqrt(a); }
};
struct LogOp : SumOp {
  static float finish(float a, float) { return std::log(a); }
};
// NaN wins a maximum and a minimum, as in NumPy.
struct MaxOp : SumOp {
  static constexpr float kStart = -std::numeric_limits<float>::infinity();
  static float join(float a, float b) { return b > a || b != b ? b : a; }
  static float row(float* v, std::int64_t n) { return kernels().max(v, n); }
};
struct MinOp : MaxOp {
  static float map(float v) { return -v; }
  static float finish(float a, float) { return -a; }
};
struct ProdOp : SumOp {
  static constexpr float kStart = 1;
  static float join(float a, float b) { return a * b; }
  // v[n]: sixteen interleaved products, then a tree, as sums have
  static float row(float* v, std::int64_t n) {
    constexpr std::int64_t kLanes = 16;
    float lanes[kLanes];
    std::fill(lanes, lanes + kLanes, 1.0f);
    for (std::int64_t i = 0; i < n; ++i) lanes[i % kLanes] *= v[i];
    for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
      for (std::int64_t j = 0; j < half; ++j) lanes[j] *= lanes[j + half];
    }
    return lanes[0];
  }
};

// buffer[n] = map(x[n])
template <class Op, class T>
void load_mapped(float* buffer, const T* x, std::int64_t n) {
  const float* v = load_row(buffer, x, n);
  for (std::int64_t i = 0; i < n; ++i) buffer[i] = Op::map(v[i]);
}

// y[kept] from x [kept][reduced][run]: rows along the run
template <class Op, class T>
void reduce_runs(const Reduction& r, const T* x, T* y) {
  const auto length = static_cast<float>(r.length());
  parallel_for(r.kept.count(), grain_for_work(r.length()),
               [&](std::int64_t begin, std::int64_t end) {
                 float buffer[kBlock];
                 for (std::int64_t o = begin; o < end; ++o) {
                   const T* from = x + r.kept.offset(o);
                   float total = Op::kStart;
                   for (std::int64_t k = 0; k < r.reduced.count(); ++k) {
                     const T* row = from + r.reduced.offset(k);
                     for_blocks(r.run, [&](std::int64_t i, std::int64_t n) {
                       load_mapped<Op>(buffer, row + i, n);
                       total = Op::join(total, Op::row(buffer, n));
                     });
                   }
                   store(y[o], Op::finish(total, length));
                 }
               });
}

// y[kept][run] from x [kept][reduced][run]: rows are joined element by element, a block of columns
// at a time
template <class Op, class T>
void reduce_rows(const Reduction& r, const T* x, T* y) {
  const std::int64_t blocks = (r.run + kBlock - 1) / kBlock;
  const auto length = static_cast<float>(r.length());
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    float total[kBlock], buffer[kBlock];
    for (std::int64_t u = begin; u < end; ++u) {
      const std::int64_t o = u / blocks, first = u % blocks * kBlock;
      const std::int64_t n = std::min(kBlock, r.run - first);
      const T* from = x + r.kept.offset(o) + first;
      std::fill(total, total + n, Op::kStart);
      for (std::int64_t k = 0; k < r.reduced.count(); ++k) {
        const float* v = load_row(buffer, from + r.reduced.offset(k), n);
        for (std::int64_t i = 0; i < n; ++i) total[i] = Op::join(total[i], Op::map(v[i]));
      }
      for (std::int64_t i = 0; i < n; ++i) total[i] = Op::finish(total[i], length);
      store_row(y + o * r.run + first, total, n);
    }
  };
  parallel_for(r.kept.count() * blocks, grain_for_work(r.length() * std::min(r.run, kBlock)), body);
}

// The maximum that log_sum_exp subtracts; 0 where there is no finite one, so that infinities and
// NaN come out of the exponentials themselves.
inline float finite_or_zero(float maximum) { return std::isfinite(maximum) ? maximum : 0.0f; }

// log sum exp, along the run
template <class T>
void log_sum_exp_runs(const Reduction& r, const T* x, T* y) {
  parallel_for(r.kept.count(), grain_for_work(r.length() * 4),
               [&](std::int64_t begin, std::int64_t end) {
                 float buffer[kBlock], exps[kBlock];
                 for (std::int64_t o = begin; o < end; ++o) {
                   const T* from = x + r.kept.offset(o);
                   const auto each_block = [&](auto&& body) {
                     for (std::int64_t k = 0; k < r.reduced.count(); ++k) {
                       const T* row = from + r.reduced.offset(k);
                       for_blocks(r.run, [&](std::int64_t i, std::int64_t n) {
                         body(load_row(buffer, row + i, n), n);
                       });
                     }
                   };
                   float maximum = MaxOp::kStart, total = 0;
                   each_block([&](const float* v, std::int64_t n) {
                     maximum = MaxOp::join(maximum, kernels().max(v, n));
                   });
                   const float minus = finite_or_zero(maximum);
                   each_block([&](const float* v, std::int64_t n) {
                     total += kernels().exp_sum(exps, v, minus, n);
                   });
                   store(y[o], std::log(total) + minus);
                 }
               });
}

// log sum exp, of rows
template <class T>
void log_sum_exp_rows(const Reduction& r, const T* x, T* y) {
  const std::int64_t blocks = (r.run + kBlock - 1) / kBlock;
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    float maximum[kBlock], total[kBlock], buffer[kBlock];
    for (std::int64_t u = begin; u < end; ++u) {
      const std::int64_t o = u / blocks, first = u % blocks * kBlock;
      const std::int64_t n = std::min(kBlock, r.run - first);
      const T* from = x + r.kept.offset(o) + first;
      std::fill(maximum, maximum + n, MaxOp::kStart);
      std::fill(total, total + n, 0.0f);
      for (std::int64_t k = 0; k < r.reduced.count(); ++k) {
        const float* v = load_row(buffer, from + r.reduced.offset(k), n);
        for (std::int64_t i = 0; i < n; ++i) maximum[i] = MaxOp::join(maximum[i], v[i]);
      }
      for (std::int64_t i = 0; i < n; ++i) maximum[i] = finite_or_zero(maximum[i]);
      for (std::int64_t k = 0; k < r.reduced.count(); ++k) {
        const float* v = load_row(buffer, from + r.reduced.offset(k), n);
        for (std::int64_t i = 0; i < n; ++i) buffer[i] = v[i] - maximum[i];
        kernels().exp_sum(buffer, buffer, 0.0f, n);
        for (std::int64_t i = 0; i < n; ++i) total[i] += buffer[i];
      }
      for (std::int64_t i = 0; i < n; ++i) total[i] = std::log(total[i]) + maximum[i];
      store_row(y + o * r.run + first, total, n);
    }
  };
  parallel_for(r.kept.count() * blocks, grain_for_work(r.length() * std::min(r.run, kBlock) * 4),
               body);
}

std::int64_t add(std::int64_t a, std::int64_t v) { return a + v; }

// Wraps in 64 bits: a square may need 62 of them.
std::int64_t add_square(std::int64_t a, std::int64_t v) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) +
                                   static_cast<std::uint64_t>(v * v));
}

void check_dtype(const OpSite& site) {
  const DType t = site.in("x").dtype;
  if (t != DType::kFp16 && t != DType::kFp32 && t != DType::kInt32) {
    site.args.fail("x", "expected fp16, fp32 or int32, got " + std::string(dtype_name(t)));
  }
}

template <class Op>
RunFn reduce(OpSite& site, const IntOp& ints) {
  check_dtype(site);
  const Operand x = site.in("x"), y = site.out();
  const Reduction r = plan_reduction(site);
  if (x.dtype == DType::kInt32) {
    return
        [=](const Exec& e) { reduce_ints(r, ints, e.in<std::int32_t>(x), e.out<std::int32_t>(y)); };
  }
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    if (r.run_reduced) return [=](const Exec& e) { reduce_runs<Op>(r, e.in<T>(x), e.out<T>(y)); };
    return [=](const Exec& e) { reduce_rows<Op>(r, e.in<T>(x), e.out<T>(y)); };
  });
}

}  // namespace

RunFn op_reduce_sum(OpSite& site) { return reduce<SumOp>(site, {0, add, nullptr}); }

RunFn op_reduce_mean(OpSite& site) {
  return reduce<MeanOp>(site, {0, add, [](std::int64_t a, double length) {
                                 return static_cast<double>(a) / length;
                               }});
}

RunFn op_reduce_max(OpSite& site) {
  return reduce<MaxOp>(site,
                       {std::numeric_limits<std::int32_t>::min(),
                        [](std::int64_t a, std::int64_t v) { return std::max(a, v); }, nullptr});
}

RunFn op_reduce_min(OpSite& site) {
  return reduce<MinOp>(site,
                       {std::numeric_limits<std::int32_t>::max(),
                        [](std::int64_t a, std::int64_t v) { return std::min(a, v); }, nullptr});
}

// Only the low 32 bits of a product matter, and they never need more than 64.
RunFn op_reduce_prod(OpSite& site) {
  return reduce<ProdOp>(site, {1,
                               [](std::int64_t a, std::int64_t v) {
                                 return std::int64_t{static_cast<std::int32_t>(a * v)};
                               },
                               nullptr});
}

RunFn op_reduce_l1_norm(OpSite& site) {
  return reduce<L1Op>(
      site, {0, [](std::int64_t a, std::int64_t v) { return a + (v < 0 ? -v : v); }, nullptr});
}

RunFn op_reduce_sum_square(OpSite& site) {
  return reduce<SquareOp>(site, {0, add_square, nullptr});
}

RunFn op_reduce_l2_norm(OpSite& site) {
  return reduce<L2Op>(site, {0, add_square, [](std::int64_t a, double) {
                               return std::sqrt(static_cast<double>(a));
                             }});
}

RunFn op_reduce_log_sum(OpSite& site) {
  return reduce<LogOp>(
      site, {0, add, [](std::int64_t a, double) { return std::log(static_cast<double>(a)); }});
}

RunFn op_reduce_log_sum_exp(OpSite& site) {
  check_dtype(site);
  const Operand x = site.in("x"), y = site.out();
  const Reduction r = plan_reduction(site);
  if (x.dtype == DType::kInt32) {
    return
        [=](const Exec& e) { log_sum_exp_ints(r, e.in<std::int32_t>(x), e.out<std::int32_t>(y)); };
  }
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    if (r.run_reduced) return [=](const Exec& e) { log_sum_exp_runs(r, e.in<T>(x), e.out<T>(y)); };
    return [=](const Exec& e) { log_sum_exp_rows(r, e.in<T>(x), e.out<T>(y)); };
  });
}

}  // namespace milane::host
