// scatter, scatter_along_axis, scatter_nd: updates combined into positions known at run time.
// Updates are applied in the order they are written, so with several at one position the result
// does not depend on threads. An out-of-range index throws with validate_indices, and without it
// its update is dropped (the opset leaves that open, as long as it is memory safe).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>

#include "core/error.h"
#include "host/kernels/kernels.h"
#include "host/ops/indices.h"
#include "host/ops/movement.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

enum class Mode { kUpdate, kAdd, kSub, kMul, kDiv, kMax, kMin };

Mode scatter_mode(const OpSite& site) {
  static constexpr const char* kNames[] = {"update", "add", "sub", "mul", "div", "max", "min"};
  const std::string& mode = site.args.text("mode");
  for (int i = 0; i < 7; ++i) {
    if (mode == kNames[i]) return static_cast<Mode>(i);
  }
  site.args.fail("mode", "expected update, add, sub, mul, div, max or min, got " + mode);
}

// NaN on either side wins a max or min.
inline float combine(Mode mode, float a, float b) {
  switch (mode) {
    case Mode::kUpdate:
      return b;
    case Mode::kAdd:
      return a + b;
    case Mode::kSub:
      return a - b;
    case Mode::kMul:
      return a * b;
    case Mode::kDiv:
      return a / b;
    case Mode::kMax:
      return b > a || b != b ? b : a;
    case Mode::kMin:
      return b < a || b != b ? b : a;
  }
  return b;
}

// Integers wrap; a quotient is truncated toward zero, and is 0 for a divisor of 0.
inline std::int32_t combine(Mode mode, std::int32_t a, std::int32_t b) {
  const std::int64_t wide_a = a, wide_b = b;
  switch (mode) {
    case Mode::kUpdate:
      return b;
    case Mode::kAdd:
      return static_cast<std::int32_t>(wide_a + wide_b);
    case Mode::kSub:
      return static_cast<std::int32_t>(wide_a - wide_b);
    case Mode::kMul:
      return static_cast<std::int32_t>(wide_a * wide_b);
    case Mode::kDiv:
      return b == 0 ? 0 : static_cast<std::int32_t>(wide_a / wide_b);
    case Mode::kMax:
      return std::max(a, b);
    case Mode::kMin:
      return std::min(a, b);
  }
  return b;
}

// Where update element [row][k][i] goes: everything an evaluation needs besides its pointers.
struct Shape {
  std::int64_t outer = 1;    // independent slabs of data and updates
  std::int64_t bound = 1;    // positions of a slab that an index chooses from
  std::int64_t updates = 1;  // indices per slab
  std::int64_t inner = 1;    // elements per position
  bool per_element = false;  // one index per element (scatter_along_axis), else one per position
  bool per_slab = false;     // slabs have indices of their own
};

// data, out [outer][bound][inner]; updates [outer][updates][inner]
template <class A, class T, class Position>
void apply(const Shape& s, Mode mode, A* data, const T* updates, const Position& position) {
  const auto widen = [](T v) {
    if constexpr (std::is_same_v<A, float>) {
      return load(v);
    } else {
      return v;
    }
  };
  const auto slabs = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t o = begin; o < end; ++o) {
      A* to = data + o * s.bound * s.inner;
      for (std::int64_t u = 0; u < s.updates; ++u) {
        const T* from = updates + (o * s.updates + u) * s.inner;
        const std::int64_t base = s.per_slab ? o * s.updates + u : u;
        std::int64_t k = s.per_element ? 0 : position(base);
        for (std::int64_t i = 0; i < s.inner; ++i) {
          if (s.per_element) k = position(base * s.inner + i);
          if (k < 0) continue;
          A& slot = to[k * s.inner + i];
          slot = combine(mode, slot, widen(from[i]));
        }
      }
    }
  };
  parallel_for(s.outer, grain_for_bytes(s.updates * s.inner * 4), slabs);
}

// Copies data, then applies the updates. fp16 goes through fp32 in `wide`, so that several updates
// of one position are still rounded once.
template <class Position>
void run_scatter(const Exec& e, const Shape& s, Mode mode, const Operand& data,
                 const Operand& updates, const Operand& y, Scratch wide, const Position& position) {
  const std::int64_t count = y.count();
  if (y.dtype == DType::kFp16) {
    float* sums = e.scratch<float>(wide);
    kernels().half_to_float(sums, e.in<Half>(data), count);
    apply(s, mode, sums, e.in<Half>(updates), position);
    kernels().float_to_half(e.out<Half>(y), sums, count);
    return;
  }
  parallel_copy(e.out<std::byte>(y), e.in<std::byte>(data), static_cast<std::int64_t>(y.bytes()));
  if (y.dtype == DType::kFp32) {
    apply(s, mode, e.out<float>(y), e.in<float>(updates), position);
  } else {
    apply(s, mode, e.out<std::int32_t>(y), e.in<std::int32_t>(updates), position);
  }
}

Scratch plan_scatter(OpSite& site) {
  const Operand& y = site.out();
  expect_index_dtype(site, "indices");
  if (y.dtype != DType::kFp16 && y.dtype != DType::kFp32 && y.dtype != DType::kInt32) {
    site.args.fail("data", "expected fp16, fp32 or int32, got " + std::string(dtype_name(y.dtype)));
  }
  if (site.in("updates").dtype != y.dtype) {
    site.args.fail("updates", "expected the dtype of data");
  }
  return site.scratch(y.dtype == DType::kFp16 ? static_cast<std::size_t>(y.count()) * 4 : 0);
}

void check_updates(const OpSite& site, const Operand& updates, std::int64_t count) {
  if (updates.count() != count) {
    site.args.fail("updates", "expected " + std::to_string(count) + " elements, got shape " +
                                  to_string(updates.dims));
  }
}

// The position an index names, -1 for none.
inline std::int64_t checked(std::int64_t index, std::int64_t bound) {
  const std::int64_t i = wrap_index(index, bound);
  return i >= 0 && i < bound ? i : -1;
}

// The two forms with an axis differ in the shape alone.
RunFn scatter_on_axis(OpSite& site, const Shape& s) {
  const Operand data = site.in("data"), indices = site.in("indices"), y = site.out();
  const Operand updates = site.in("updates");
  const Scratch wide = plan_scatter(site);
  const Mode mode = scatter_mode(site);
  check_updates(site, updates, s.outer * s.updates * s.inner);
  const bool validate = wants_validation(site);
  const std::string where = site_name(site);
  return [=](const Exec& e) {
    const std::byte* at = e.in<std::byte>(indices);
    if (validate) validate_indices(where, at, indices.dtype, indices.count(), s.bound);
    run_scatter(e, s, mode, data, updates, y, wide,
                [&](std::int64_t i) { return checked(read_index(at, indices.dtype, i), s.bound); });
  };
}

}  // namespace

RunFn op_scatter(OpSite& site) {
  const Dims dims = site.in("data").dims;
  const auto axis = static_cast<std::size_t>(site.args.axis("axis", dims.size()));
  Shape s;
  for (std::size_t i = 0; i < axis; ++i) s.outer *= dims[i];
  s.bound = dims[axis];
  s.inner = contiguous_strides(dims)[axis];
  s.updates = site.in("indices").count();
  return scatter_on_axis(site, s);
}

RunFn op_scatter_along_axis(OpSite& site) {
  const Dims dims = site.in("data").dims, places = site.in("indices").dims;
  const auto axis = static_cast<std::size_t>(site.args.axis("axis", dims.size()));
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (places.size() == dims.size() && (i == axis || places[i] == dims[i])) continue;
    site.args.fail("indices", "expected the shape of data but for axis " + std::to_string(axis) +
                                  ", got " + to_string(places) + " for " + to_string(dims));
  }
  Shape s;
  for (std::size_t i = 0; i < axis; ++i) s.outer *= dims[i];
  s.bound = dims[axis];
  s.inner = contiguous_strides(dims)[axis];
  s.updates = places[axis];
  s.per_element = s.per_slab = true;
  return scatter_on_axis(site, s);
}

// The last axis of `indices` holds coordinates into data's leading axes: one slab, whose positions
// are numbered in row-major order.
RunFn op_scatter_nd(OpSite& site) {
  const Operand data = site.in("data"), indices = site.in("indices"), y = site.out();
  const Operand updates = site.in("updates");
  const Scratch wide = plan_scatter(site);
  const Mode mode = scatter_mode(site);
  const std::int64_t depth = indices.dims.empty() ? 0 : indices.dims.back();
  if (indices.dims.empty() || depth > static_cast<std::int64_t>(data.dims.size())) {
    site.args.fail("indices", "expected at most " + std::to_string(data.dims.size()) +
                                  " coordinates, got shape " + to_string(indices.dims));
  }
  Shape s;
  for (std::size_t i = 0; i < data.dims.size(); ++i) {
    (static_cast<std::int64_t>(i) < depth ? s.bound : s.inner) *= data.dims[i];
  }
  for (std::size_t i = 0; i + 1 < indices.dims.size(); ++i) s.updates *= indices.dims[i];
  check_updates(site, updates, s.updates * s.inner);
  const bool validate = wants_validation(site);
  const std::string where = site_name(site);
  return [=](const Exec& e) {
    const std::byte* at = e.in<std::byte>(indices);
    for (std::int64_t i = 0; validate && i < s.updates * depth; ++i) {
      const std::int64_t v = read_index(at, indices.dtype, i), bound = data.dims[i % depth];
      if (v < 0 || v >= bound) throw_bad_index(where, v, bound);
    }
    run_scatter(e, s, mode, data, updates, y, wide, [&](std::int64_t u) {
      std::int64_t position = 0;
      for (std::int64_t j = 0; j < depth; ++j) {
        const std::int64_t bound = data.dims[j];
        const std::int64_t k = checked(read_index(at, indices.dtype, u * depth + j), bound);
        if (k < 0) return std::int64_t{-1};
        position = position * bound + k;
      }
      return position;
    });
  };
}

}  // namespace milane::host
