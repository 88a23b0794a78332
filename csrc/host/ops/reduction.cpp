#include "host/ops/reduction.h"

#include <cmath>
#include <limits>
#include <string>

namespace milane::host {
namespace {

// Merges neighbouring axes of one kind; axes of one element belong to both.
Reduction plan_reduction(const Dims& dims, const std::vector<bool>& reduced) {
  struct Group {
    std::int64_t dim, stride;
    bool reduced;
  };
  const Dims strides = contiguous_strides(dims);
  std::vector<Group> groups;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 1) continue;
    if (!groups.empty() && groups.back().reduced == reduced[i]) {
      groups.back().dim *= dims[i];
      groups.back().stride = strides[i];
    } else {
      groups.push_back({dims[i], strides[i], reduced[i]});
    }
  }
  Reduction r;
  if (groups.empty()) return r;
  r.run = groups.back().dim;
  r.run_reduced = groups.back().reduced;
  groups.pop_back();
  for (const Group& g : groups) (g.reduced ? r.reduced : r.kept).push(g.dim, g.stride);
  return r;
}

// Truncated toward zero, held to the range; NaN gives 0.
std::int32_t truncate(double v) {
  if (v != v) return 0;
  constexpr double kLow = std::numeric_limits<std::int32_t>::min();
  constexpr double kHigh = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(std::clamp(v, kLow, kHigh));
}

// body(v) over the elements that output `u` is made of
template <class Body>
void for_each_int(const Reduction& r, const std::int32_t* x, std::int64_t u, Body&& body) {
  const std::int64_t columns = r.run_reduced ? 1 : r.run, rows = r.run_reduced ? r.run : 1;
  const std::int32_t* from = x + r.kept.offset(u / columns) + u % columns;
  for (std::int64_t k = 0; k < r.reduced.count(); ++k) {
    const std::int32_t* row = from + r.reduced.offset(k);
    for (std::int64_t i = 0; i < rows; ++i) body(row[i]);
  }
}

}  // namespace

Reduction plan_reduction(const OpSite& site) {
  const Dims dims = site.in("x").dims;
  std::vector<bool> reduced(dims.size(), !site.args.has("axes"));
  if (site.args.has("axes")) {
    for (const std::int64_t a : site.args.axes("axes", dims.size())) reduced[a] = true;
  }
  Reduction r = plan_reduction(dims, reduced);
  if (r.outputs() != site.out().count()) {
    site.args.fail("x", "expected " + std::to_string(r.outputs()) + " results, got shape " +
                            to_string(site.out().dims));
  }
  return r;
}

void reduce_ints(const Reduction& r, const IntOp& op, const std::int32_t* x, std::int32_t* y) {
  parallel_for(r.outputs(), grain_for_work(r.length()), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t u = begin; u < end; ++u) {
      std::int64_t total = op.start;
      for_each_int(r, x, u, [&](std::int32_t v) { total = op.step(total, v); });
      y[u] = op.finish == nullptr ? static_cast<std::int32_t>(total)
                                  : truncate(op.finish(total, static_cast<double>(r.length())));
    }
  });
}

void log_sum_exp_ints(const Reduction& r, const std::int32_t* x, std::int32_t* y) {
  for (std::int64_t u = 0; u < r.outputs(); ++u) {
    std::int32_t maximum = std::numeric_limits<std::int32_t>::min();
    for_each_int(r, x, u, [&](std::int32_t v) { maximum = std::max(maximum, v); });
    double total = 0;
    for_each_int(r, x, u, [&](std::int32_t v) { total += std::exp(double{1} * v - maximum); });
    y[u] = truncate(std::log(total) + maximum);
  }
}

}  // namespace milane::host
