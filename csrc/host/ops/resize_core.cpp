#include "host/ops/resize_core.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "host/ops/operands.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

constexpr std::int64_t kGrain = 1 << 13;   // output elements that are worth waking a thread for
constexpr std::int64_t kRowFloats = 4096;  // longest input row that is blended on the stack

std::int64_t grain_rows(std::int64_t width) {
  return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, width));
}

// x and out as [outer, resized axes...], with a table per resized axis.
template <class Table>
struct Plan {
  Operand x, out;
  std::vector<Table> tables;          // outermost resized axis first
  std::vector<std::int64_t> sizes;    // of x
  std::vector<std::int64_t> strides;  // of x, in elements
  std::int64_t width = 1;             // of a row of out
  std::int64_t rows = 1;
  bool doubles = false;  // every sample of the last axis occurs twice

  // Splits a row of out into indices of the resized axes but the last; returns where its plane
  // starts.
  std::int64_t split(std::int64_t row, std::array<std::int64_t, kMaxRank>* index) const {
    for (std::size_t axis = tables.size() - 1; axis-- > 0;) {
      const auto n = static_cast<std::int64_t>(tables[axis].size());
      (*index)[axis] = row % n;
      row /= n;
    }
    return row * sizes[0] * strides[0];
  }
};

template <class Table, class Make>
Plan<Table> make_plan(const Operand& x, const Operand& out, std::size_t axes, Make make) {
  Plan<Table> plan{x, out, {}, {}, {}};
  const std::size_t first = x.dims.size() - axes;
  const Dims strides = contiguous_strides(x.dims);
  for (std::size_t axis = first; axis < x.dims.size(); ++axis) {
    plan.tables.push_back(make(x.dims[axis], out.dims[axis]));
    plan.sizes.push_back(x.dims[axis]);
    plan.strides.push_back(strides[axis]);
  }
  plan.width = out.dims.back();
  plan.rows = element_count(Dims(out.dims.begin(), out.dims.end() - 1));
  return plan;
}

using LinearPlan = Plan<std::vector<Tap>>;
using NearestPlan = Plan<std::vector<std::int64_t>>;

// x at `offset`, blended over the first `axes` resized axes, the outermost innermost in the
// formula.
template <class T>
float blend(const LinearPlan& plan, const T* x, std::int64_t offset,
            const std::array<std::int64_t, kMaxRank>& index, std::size_t axes) {
  if (axes == 0) return load(x[offset]);
  const std::size_t axis = axes - 1;
  const Tap& tap = plan.tables[axis][static_cast<std::size_t>(index[axis])];
  return lerp(blend(plan, x, offset + tap.low * plan.strides[axis], index, axis),
              blend(plan, x, offset + tap.high * plan.strides[axis], index, axis), tap.weight);
}

// Two resized axes, the usual case: blends two input rows, then along the row. Same formula as
// blend.
template <class T>
void linear_row_2d(const LinearPlan& plan, const T* x, std::int64_t plane, std::int64_t h, T* y) {
  constexpr std::size_t kPiece = 256;
  float row[kRowFloats], other[kRowFloats], piece[kPiece];
  const Tap& tap = plan.tables[0][static_cast<std::size_t>(h)];
  to_floats(row, plan.x.dtype, x + plane + tap.low * plan.strides[0], plan.sizes[1]);
  to_floats(other, plan.x.dtype, x + plane + tap.high * plan.strides[0], plan.sizes[1]);
  for (std::int64_t w = 0; w < plan.sizes[1]; ++w) row[w] = lerp(row[w], other[w], tap.weight);
  const auto& taps = plan.tables[1];
  for (std::size_t first = 0; first < taps.size(); first += kPiece) {
    const std::size_t count = std::min(kPiece, taps.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      const Tap& t = taps[first + i];
      piece[i] = lerp(row[t.low], row[t.high], t.weight);
    }
    from_floats(plan.out.dtype, y + first, piece, static_cast<std::int64_t>(count));
  }
}

template <class T>
void linear_rows(const LinearPlan& plan, const T* x, T* y, std::int64_t begin, std::int64_t end) {
  std::array<std::int64_t, kMaxRank> index{};
  const std::size_t axes = plan.tables.size();
  const bool fast = axes == 2 && plan.sizes[1] <= kRowFloats;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t plane = plan.split(row, &index);
    T* result = y + row * plan.width;
    if (fast) {
      linear_row_2d(plan, x, plane, index[0], result);
      continue;
    }
    for (std::int64_t w = 0; w < plan.width; ++w) {
      index[axes - 1] = w;
      store(result[w], blend(plan, x, plane, index, axes));
    }
  }
}

template <class T>
void nearest_rows(const NearestPlan& plan, const T* x, T* y, std::int64_t begin, std::int64_t end) {
  std::array<std::int64_t, kMaxRank> index{};
  const auto& last = plan.tables.back();
  const T* before = nullptr;
  for (std::int64_t row = begin; row < end; ++row) {
    const T* source = x + plan.split(row, &index);
    for (std::size_t axis = 0; axis + 1 < plan.tables.size(); ++axis) {
      source += plan.tables[axis][static_cast<std::size_t>(index[axis])] * plan.strides[axis];
    }
    T* result = y + row * plan.width;
    if (source == before) {  // what the row above was made of
      std::copy_n(result - plan.width, plan.width, result);
    } else if (plan.doubles) {
      for (std::int64_t w = 0; w < plan.width / 2; ++w)
        result[2 * w] = result[2 * w + 1] = source[w];
    } else {
      for (std::int64_t w = 0; w < plan.width; ++w)
        result[w] = source[last[static_cast<std::size_t>(w)]];
    }
    before = source;
  }
}

}  // namespace

Sampling sampling_of(const OpSite& site) {
  const std::string& name = site.args.text("sampling_mode");
  if (name == "STRICT_ALIGN_CORNERS") return Sampling::kStrictAlignCorners;
  if (name == "ALIGN_CORNERS") return Sampling::kAlignCorners;
  if (name == "DEFAULT") return Sampling::kDefault;
  if (name == "OFFSET_CORNERS") return Sampling::kOffsetCorners;
  if (name == "UNALIGN_CORNERS") return Sampling::kUnalignCorners;
  site.args.fail("sampling_mode",
                 "expected STRICT_ALIGN_CORNERS, ALIGN_CORNERS, DEFAULT, OFFSET_CORNERS "
                 "or UNALIGN_CORNERS, got " +
                     name);
}

double grid_point(Sampling mode, double size, std::int64_t n, std::int64_t i) {
  const auto count = static_cast<double>(n), at = static_cast<double>(i);
  switch (mode) {
    case Sampling::kAlignCorners:
      if (n == 1) return (size - 1.0) / 2.0;
      [[fallthrough]];
    case Sampling::kStrictAlignCorners:
      return n == 1 ? 0.0 : at * (size - 1.0) / (count - 1.0);
    case Sampling::kDefault:
      return at * size / count;  // (size - size/n) / (n - 1) = size/n
    case Sampling::kOffsetCorners:
      return (at + 0.5) * std::max(1.0, size - 1.0) / count;
    case Sampling::kUnalignCorners:
      return (at + 0.5) * size / count - 0.5;
  }
  return 0.0;
}

std::vector<Tap> linear_taps(Sampling mode, std::int64_t in, std::int64_t out) {
  std::vector<Tap> taps;
  taps.reserve(static_cast<std::size_t>(out));
  for (std::int64_t i = 0; i < out; ++i) {
    const double point = grid_point(mode, static_cast<double>(in), out, i);
    taps.push_back(tap_at(std::clamp(point, 0.0, static_cast<double>(in - 1)), in));
  }
  return taps;
}

// The default mode takes the sample before the point, as upsampling by a whole factor repeats; the
// others the nearest one, halves upwards.
std::vector<std::int64_t> nearest_taps(Sampling mode, std::int64_t in, std::int64_t out) {
  std::vector<std::int64_t> taps;
  taps.reserve(static_cast<std::size_t>(out));
  for (std::int64_t i = 0; i < out; ++i) {
    if (mode == Sampling::kDefault) {
      taps.push_back(i * in / out);  // exact where a quotient of doubles is not
      continue;
    }
    const double point = std::floor(grid_point(mode, static_cast<double>(in), out, i) + 0.5);
    taps.push_back(static_cast<std::int64_t>(std::clamp(point, 0.0, static_cast<double>(in - 1))));
  }
  return taps;
}

RunFn resize_linear(const Operand& x, const Operand& out, std::size_t axes, Sampling mode) {
  auto make = [mode](std::int64_t in, std::int64_t n) { return linear_taps(mode, in, n); };
  return [plan = make_plan<std::vector<Tap>>(x, out, axes, make)](const Exec& e) {
    dispatch_float(plan.x.dtype, [&]<class T>() {
      parallel_for(plan.rows, grain_rows(plan.width), [&](std::int64_t begin, std::int64_t end) {
        linear_rows(plan, e.in<T>(plan.x), e.out<T>(plan.out), begin, end);
      });
    });
  };
}

RunFn resize_nearest(const Operand& x, const Operand& out, std::size_t axes, Sampling mode) {
  auto make = [mode](std::int64_t in, std::int64_t n) { return nearest_taps(mode, in, n); };
  NearestPlan plan = make_plan<std::vector<std::int64_t>>(x, out, axes, make);
  const auto& last = plan.tables.back();
  plan.doubles = plan.width == 2 * plan.sizes.back();
  for (std::size_t i = 0; i < last.size(); ++i)
    plan.doubles = plan.doubles && last[i] == static_cast<std::int64_t>(i / 2);
  return [plan = std::move(plan)](const Exec& e) {
    auto run = [&]<class T>() {
      parallel_for(plan.rows, grain_rows(plan.width), [&](std::int64_t begin, std::int64_t end) {
        nearest_rows(plan, e.in<T>(plan.x), e.out<T>(plan.out), begin, end);
      });
    };
    if (dtype_size(plan.x.dtype) == 2) {  // values are only moved
      run.template operator()<std::uint16_t>();
    } else {
      run.template operator()<std::uint32_t>();
    }
  };
}

}  // namespace milane::host
