// Elements traded between space and depth, or between space and batch: strided copies.
#include <algorithm>
#include <string>
#include <utility>

#include "host/ops/movement.h"

namespace milane::host {
namespace {

void expect_rank4(const OpSite& site) {
  const Dims dims = site.in("x").dims;
  if (dims.size() != 4) site.args.fail("x", "expected rank 4, got shape " + to_string(dims));
}

// Where the block position (i, j) of side b sits in the channel index of the deep tensor.
enum class DepthOrder {
  kBlockFirst,    // (i * b + j) * C + c
  kChannelFirst,  // (c * b + i) * b + j, as PyTorch's pixel shuffle
};

// Between deep [n, C * b * b, h, w] and wide [n, C, h * b, w * b].
RunFn rearrange_depth(const OpSite& site, std::int64_t b, DepthOrder order, bool to_depth) {
  expect_rank4(site);
  const Operand x = site.in("x"), y = site.out();
  const Dims &deep = to_depth ? y.dims : x.dims, &wide = to_depth ? x.dims : y.dims;
  if (b < 1 || y.dims.size() != 4 || deep[0] != wide[0] || deep[1] != wide[1] * b * b ||
      wide[2] != deep[2] * b || wide[3] != deep[3] * b) {
    site.args.fail("x", "expected shapes that blocks of " + std::to_string(b) + " divide, got " +
                            to_string(x.dims) + " to " + to_string(y.dims));
  }
  const Dims d = contiguous_strides(deep), w = contiguous_strides(wide);
  const std::int64_t channel = order == DepthOrder::kBlockFirst ? d[1] : d[1] * b * b;
  const std::int64_t j = order == DepthOrder::kBlockFirst ? d[1] * wide[1] : d[1];
  // (n, c, y, i, x, j): row-major in the wide tensor
  const Dims dims{wide[0], wide[1], deep[2], b, deep[3], b};
  const Dims in_wide{w[0], w[1], w[2] * b, w[2], b, 1};
  const Dims in_deep{d[0], channel, d[2], j * b, 1, j};
  const std::size_t bytes = element_bytes(site, x);
  return run_copy(x, y,
                  to_depth ? StridedCopy(bytes, dims, in_wide, in_deep)
                           : StridedCopy(bytes, dims, in_deep, in_wide));
}

}  // namespace

RunFn op_space_to_depth(OpSite& site) {
  return rearrange_depth(site, site.args.integer("block_size"), DepthOrder::kBlockFirst, true);
}

RunFn op_depth_to_space(OpSite& site) {
  return rearrange_depth(site, site.args.integer("block_size"), DepthOrder::kBlockFirst, false);
}

RunFn op_pixel_shuffle(OpSite& site) {
  return rearrange_depth(site, site.args.integer("upscale_factor"), DepthOrder::kChannelFirst,
                         false);
}

RunFn op_pixel_unshuffle(OpSite& site) {
  return rearrange_depth(site, site.args.integer("downscale_factor"), DepthOrder::kChannelFirst,
                         true);
}

namespace {

// The part of one image that one block position (i, j) holds: offsets in bytes on both sides.
struct Phase {
  StridedCopy copy;
  std::int64_t many = 0, one = 0;
};

// Positions p of an axis of `small` for which p * block + shift lies in [0, large).
struct Reach {
  std::int64_t first, count;
};
Reach reach(std::int64_t small, std::int64_t block, std::int64_t shift, std::int64_t large) {
  const auto ceil_div = [block](std::int64_t v) { return v <= 0 ? 0 : (v + block - 1) / block; };
  const std::int64_t first = ceil_div(-shift), last = std::min(small, ceil_div(large - shift));
  return {first, last > first ? last - first : 0};
}

// Between many [bh * bw * n, C, h, w] and one [n, C, H, W], where (h, w) of block position (i, j)
// is (h * bh + i - top, w * bw + j - left) of the one. Positions outside it are padding.
std::vector<Phase> plan_phases(const OpSite& site, const Dims& many, const Dims& one,
                               std::string_view margins_name, bool to_batch) {
  const auto block = site.args.integers("block_shape");
  const auto margins = site.args.integers(margins_name);
  if (block.size() != 2 || block[0] < 1 || block[1] < 1) {
    site.args.fail("block_shape", "expected 2 positive values, got " + to_string(block));
  }
  if (margins.size() != 4 || *std::min_element(margins.begin(), margins.end()) < 0) {
    site.args.fail(margins_name, "expected 2 x 2 values of 0 or more, got " + to_string(margins));
  }
  if (many.size() != 4 || many[0] != one[0] * block[0] * block[1] || many[1] != one[1]) {
    site.args.fail("x", "expected batches that blocks divide, got " + to_string(many) + " and " +
                            to_string(one));
  }
  const Dims m = contiguous_strides(many), o = contiguous_strides(one);
  const std::size_t bytes = element_bytes(site, site.in("x"));
  const Dims in_one{o[0], o[1], o[2] * block[0], block[1]};
  std::vector<Phase> phases;
  for (std::int64_t i = 0; i < block[0]; ++i) {
    for (std::int64_t j = 0; j < block[1]; ++j) {
      const std::int64_t down = i - margins[0], right = j - margins[2];
      const Reach rows = reach(many[2], block[0], down, one[2]);
      const Reach columns = reach(many[3], block[1], right, one[3]);
      const Dims dims{one[0], one[1], rows.count, columns.count};
      Phase p;
      p.copy = to_batch ? StridedCopy(bytes, dims, in_one, m) : StridedCopy(bytes, dims, m, in_one);
      p.many = (i * block[1] + j) * one[0] * m[0] + rows.first * m[2] + columns.first;
      p.one = (rows.first * block[0] + down) * o[2] + columns.first * block[1] + right;
      p.many *= static_cast<std::int64_t>(bytes);
      p.one *= static_cast<std::int64_t>(bytes);
      phases.push_back(p);
    }
  }
  return phases;
}

}  // namespace

RunFn op_space_to_batch(OpSite& site) {
  expect_rank4(site);
  const Operand x = site.in("x"), y = site.out();
  std::vector<Phase> phases = plan_phases(site, y.dims, x.dims, "paddings", true);
  const bool padded = x.count() != y.count();
  const Cell zero = encode_cell(y.dtype, 0);
  return [=, phases = std::move(phases)](const Exec& e) {
    std::byte* out = e.out<std::byte>(y);
    if (padded) fill_cells(out, zero, y.count());
    for (const Phase& p : phases) p.copy.run(out + p.many, e.in<std::byte>(x) + p.one);
  };
}

RunFn op_batch_to_space(OpSite& site) {
  expect_rank4(site);
  const Operand x = site.in("x"), y = site.out();
  std::vector<Phase> phases = plan_phases(site, x.dims, y.dims, "crops", false);
  return [=, phases = std::move(phases)](const Exec& e) {
    for (const Phase& p : phases) {
      p.copy.run(e.out<std::byte>(y) + p.one, e.in<std::byte>(x) + p.many);
    }
  };
}

}  // namespace milane::host
