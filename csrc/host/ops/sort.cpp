// topk, argsort, cumsum: along one axis. Sorting is stable: equal values keep the order of their
// indices, ascending or descending. NaN counts as greater than everything, -0 equals 0.
#include <algorithm>
#include <bit>
#include <string>
#include <type_traits>

#include "host/ops/movement.h"
#include "host/ops/rows.h"

namespace milane::host {
namespace {

// --- sort keys: unsigned numbers in the order of the values they stand for.
inline std::uint32_t sort_key(float v) {
  if (v != v) return 0xFFFFFFFFu;
  const auto bits = std::bit_cast<std::uint32_t>(v == 0.0f ? 0.0f : v);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
inline std::uint32_t sort_key(Half v) { return sort_key(half_to_float(v)); }
inline std::uint32_t sort_key(std::int32_t v) {
  return static_cast<std::uint32_t>(v) ^ 0x80000000u;
}
inline std::uint32_t sort_key(std::int16_t v) { return sort_key(std::int32_t{v}); }
inline std::uint32_t sort_key(std::int8_t v) { return sort_key(std::int32_t{v}); }
inline std::uint32_t sort_key(std::uint16_t v) { return v; }
inline std::uint32_t sort_key(std::uint8_t v) { return v; }

template <class Body>
auto dispatch_sortable(const OpSite& site, DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kFp16:
      return body.template operator()<Half>();
    case DType::kFp32:
      return body.template operator()<float>();
    case DType::kInt32:
      return body.template operator()<std::int32_t>();
    case DType::kInt16:
      return body.template operator()<std::int16_t>();
    case DType::kUInt16:
      return body.template operator()<std::uint16_t>();
    case DType::kInt8:
      return body.template operator()<std::int8_t>();
    case DType::kUInt8:
      return body.template operator()<std::uint8_t>();
    default:
      break;
  }
  site.args.fail("x", "expected a number type, got " + std::string(dtype_name(dtype)));
}

// What topk and argsort run: the first k of every line, in order, as values and as indices.
struct Selection {
  Lines lines;
  std::int64_t k = 0;
  bool ascending = false;
  Operand x, values, indices;  // either output may be absent
  Parts parts;
  Scratch entries;  // per part, n of them
};

// entries[k] of x[n]: key above, index below, so that entries are distinct and their order stable
template <class T>
void select_line(const Selection& s, const T* x, std::uint64_t* entries) {
  const std::int64_t n = s.lines.n, stride = s.lines.inner;
  const std::uint32_t flip = s.ascending ? 0u : 0xFFFFFFFFu;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t key = sort_key(x[i * stride]) ^ flip;
    entries[i] = key << 32 | static_cast<std::uint32_t>(i);
  }
  if (s.k < n) std::nth_element(entries, entries + s.k, entries + n);
  std::sort(entries, entries + s.k);
}

template <class I>
void write_indices(I* out, std::int64_t stride, const std::uint64_t* entries, std::int64_t k) {
  for (std::int64_t i = 0; i < k; ++i) {
    out[i * stride] = static_cast<I>(entries[i] & 0xFFFFFFFFu);
  }
}

// values, indices [outer][k][inner] from x [outer][n][inner]
template <class T>
void run_selection(const Selection& s, const Exec& e) {
  const std::int64_t n = s.lines.n, inner = s.lines.inner;
  s.parts.run([&](std::int64_t part, std::int64_t begin, std::int64_t end) {
    std::uint64_t* entries = e.scratch<std::uint64_t>(s.entries) + part * n;
    for (std::int64_t line = begin; line < end; ++line) {
      const T* x = e.in<T>(s.x) + line / inner * n * inner + line % inner;
      const std::int64_t to = line / inner * s.k * inner + line % inner;
      select_line(s, x, entries);
      if (s.values.present()) {
        T* values = e.out<T>(s.values) + to;
        for (std::int64_t i = 0; i < s.k; ++i) {
          values[i * inner] = x[static_cast<std::int64_t>(entries[i] & 0xFFFFFFFFu) * inner];
        }
      }
      if (!s.indices.present()) continue;
      if (s.indices.dtype == DType::kUInt16) {
        write_indices(e.out<std::uint16_t>(s.indices) + to, inner, entries, s.k);
      } else {
        write_indices(e.out<std::int32_t>(s.indices) + to, inner, entries, s.k);
      }
    }
  });
}

RunFn plan_selection(OpSite& site, Selection s) {
  s.x = site.in("x");
  const std::int64_t axis = site.args.axis("axis", s.x.dims.size());
  s.lines = lines_along(s.x.dims, axis);
  s.k = site.out().dims[axis];
  s.ascending = site.args.boolean("ascending");
  if (s.k > s.lines.n) {
    site.args.fail(
        "k", "expected at most " + std::to_string(s.lines.n) + ", got " + std::to_string(s.k));
  }
  if (s.indices.present() && s.indices.dtype != DType::kInt32 &&
      s.indices.dtype != DType::kUInt16) {
    site.args.fail("output_indices_dtype",
                   "expected int32 or uint16, got " + std::string(dtype_name(s.indices.dtype)));
  }
  s.parts = Parts::of(s.lines.outer * s.lines.inner, kMaxParts, s.lines.n * 8);
  s.entries = site.scratch(static_cast<std::size_t>(s.parts.count * s.lines.n) * 8);
  return dispatch_sortable(site, s.x.dtype, [&]<class T>() -> RunFn {
    return [s](const Exec& e) { run_selection<T>(s, e); };
  });
}

}  // namespace

// sort = false leaves the order open; sorted it is.
RunFn op_topk(OpSite& site) {
  Selection s;
  s.values = site.out(0);
  if (site.outputs() > 1) s.indices = site.out(1);
  return plan_selection(site, s);
}

RunFn op_argsort(OpSite& site) {
  Selection s;
  s.indices = site.out();
  return plan_selection(site, s);
}

namespace {

// y[outer][n][inner] from x of the same shape: running totals down the columns, a block at a time;
// A is float, or uint32 for integers that wrap
template <class A, class T>
void cumulate(const Lines& l, bool exclusive, bool reverse, const T* x, T* y) {
  const std::int64_t blocks = (l.inner + kBlock - 1) / kBlock;
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    A total[kBlock];
    for (std::int64_t u = begin; u < end; ++u) {
      const std::int64_t first = u / blocks * l.n * l.inner + u % blocks * kBlock;
      const std::int64_t width = std::min(kBlock, l.inner - u % blocks * kBlock);
      std::fill(total, total + width, A{});
      for (std::int64_t step = 0; step < l.n; ++step) {
        const std::int64_t at = first + (reverse ? l.n - 1 - step : step) * l.inner;
        for (std::int64_t i = 0; i < width; ++i) {
          const A before = total[i];
          if constexpr (std::is_same_v<A, float>) {
            total[i] += load(x[at + i]);
            store(y[at + i], exclusive ? before : total[i]);
          } else {
            total[i] += static_cast<A>(x[at + i]);
            y[at + i] = static_cast<T>(exclusive ? before : total[i]);
          }
        }
      }
    }
  };
  parallel_for(l.outer * blocks, grain_for_work(l.n * std::min(l.inner, kBlock)), body);
}

}  // namespace

RunFn op_cumsum(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const Lines l = lines_along(x.dims, site.args.axis("axis", x.dims.size()));
  const bool exclusive = site.args.boolean("exclusive"), reverse = site.args.boolean("reverse");
  if (x.dtype == DType::kInt32) {
    return [=](const Exec& e) {
      cumulate<std::uint32_t>(l, exclusive, reverse, e.in<std::int32_t>(x), e.out<std::int32_t>(y));
    };
  }
  if (x.dtype != DType::kFp16 && x.dtype != DType::kFp32) {
    site.args.fail("x", "expected fp16, fp32 or int32, got " + std::string(dtype_name(x.dtype)));
  }
  return dispatch_float(x.dtype, [&]<class T>() -> RunFn {
    return [=](const Exec& e) { cumulate<float>(l, exclusive, reverse, e.in<T>(x), e.out<T>(y)); };
  });
}

}  // namespace milane::host
