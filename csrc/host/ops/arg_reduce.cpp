// reduce_argmax, reduce_argmin. Equal values give the first; a NaN counts as the extreme, as in
// NumPy, so the first NaN wins.
#include <limits>
#include <string>
#include <type_traits>

#include "host/ops/rows.h"

namespace milane::host {
namespace {

void store_index(const Operand& y, std::byte* out, std::int64_t at, std::int64_t index) {
  if (y.dtype == DType::kUInt16) {
    reinterpret_cast<std::uint16_t*>(out)[at] = static_cast<std::uint16_t>(index);
  } else {
    reinterpret_cast<std::int32_t*>(out)[at] = static_cast<std::int32_t>(index);
  }
}

template <class V>
inline bool beats(V v, V best, bool smallest) {
  if constexpr (std::is_same_v<V, float>) {
    if (v != v) return best == best;
  }
  return smallest ? v < best : v > best;
}

// Position of the extreme of x[n]: whole blocks are compared first, and searched only when they
// hold a new extreme.
template <class T>
std::int64_t find_extreme(const T* x, std::int64_t n, bool smallest) {
  float buffer[kBlock];
  float best = -std::numeric_limits<float>::infinity();
  std::int64_t index = 0;
  for_blocks(n, [&](std::int64_t first, std::int64_t length) {
    const float* v = load_row(buffer, x + first, length);
    if (smallest) {
      for (std::int64_t i = 0; i < length; ++i) buffer[i] = -v[i];
      v = buffer;
    }
    const float top = kernels().max(v, length);
    if (!beats(top, best, false)) return;
    std::int64_t i = 0;
    while (i < length && !(v[i] == top || v[i] != v[i])) ++i;
    best = top;
    index = first + i;
  });
  return index;
}

// y[outer] from x[outer][n]
template <class T>
void arg_of_rows(const Lines& l, bool smallest, const T* x, const Operand& y, std::byte* out) {
  parallel_for(l.outer, grain_for_work(l.n), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t o = begin; o < end; ++o) {
      store_index(y, out, o, find_extreme(x + o * l.n, l.n, smallest));
    }
  });
}

// y[outer][inner] from x[outer][n][inner], a block of columns at a time; V is float or int32
template <class V, class T>
void arg_of_columns(const Lines& l, bool smallest, const T* x, const Operand& y, std::byte* out) {
  const std::int64_t blocks = (l.inner + kBlock - 1) / kBlock;
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    V best[kBlock];
    [[maybe_unused]] float buffer[kBlock];
    std::int32_t index[kBlock];
    for (std::int64_t u = begin; u < end; ++u) {
      const std::int64_t o = u / blocks, first = u % blocks * kBlock;
      const std::int64_t width = std::min(kBlock, l.inner - first);
      std::fill(index, index + width, 0);
      std::fill(best, best + width, V{});
      for (std::int64_t k = 0; k < l.n; ++k) {
        const T* row = x + (o * l.n + k) * l.inner + first;
        const V* v;
        if constexpr (std::is_same_v<V, T>) {
          v = row;
        } else {
          v = load_row(buffer, row, width);
        }
        for (std::int64_t i = 0; i < width; ++i) {
          if (k > 0 && !beats(v[i], best[i], smallest)) continue;
          best[i] = v[i];
          index[i] = static_cast<std::int32_t>(k);
        }
      }
      for (std::int64_t i = 0; i < width; ++i) {
        store_index(y, out, o * l.inner + first + i, index[i]);
      }
    }
  };
  parallel_for(l.outer * blocks, grain_for_work(l.n * std::min(l.inner, kBlock)), body);
}

RunFn arg_reduce(OpSite& site, bool smallest) {
  const Operand x = site.in("x"), y = site.out();
  if (y.dtype != DType::kInt32 && y.dtype != DType::kUInt16) {
    site.args.fail("output_dtype",
                   "expected int32 or uint16, got " + std::string(dtype_name(y.dtype)));
  }
  const Lines l = lines_along(x.dims, site.args.axis("axis", x.dims.size()));
  if (x.dtype == DType::kInt32) {
    return [=](const Exec& e) {
      arg_of_columns<std::int32_t>(l, smallest, e.in<std::int32_t>(x), y, e.out<std::byte>(y));
    };
  }
  if (x.dtype != DType::kFp16 && x.dtype != DType::kFp32) {
    site.args.fail("x", "expected fp16, fp32 or int32, got " + std::string(dtype_name(x.dtype)));
  }
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    return [=](const Exec& e) {
      if (l.inner == 1) return arg_of_rows(l, smallest, e.in<T>(x), y, e.out<std::byte>(y));
      arg_of_columns<float>(l, smallest, e.in<T>(x), y, e.out<std::byte>(y));
    };
  });
}

}  // namespace

RunFn op_reduce_argmax(OpSite& site) { return arg_reduce(site, false); }
RunFn op_reduce_argmin(OpSite& site) { return arg_reduce(site, true); }

}  // namespace milane::host
