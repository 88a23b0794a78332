// Blocks of pixels to channels or batch and back; x is [batch, channels, height, width].
#include "mil/rules.h"

namespace milane::mil {
namespace {

void check_factor(const OpArgs& args, std::string_view name, std::string_view what,
                  std::int64_t size, std::int64_t factor) {
  if (size < 0 || size % factor == 0) return;
  args.fail(name, "expected " + std::string(what) + " divisible by " + std::to_string(factor) +
                      ", got " + std::to_string(size));
}

std::int64_t divided(std::int64_t size, std::int64_t by) { return size < 0 ? size : size / by; }

// Channels to blocks of b x b pixels.
Types spread(const OpArgs& args, std::string_view name) {
  check_rank(args, "x", 4, 4);
  const auto b = positive(args, name);
  auto out = args.type("x");
  check_factor(args, "x", "channels", out.dims[1], b * b);
  out.dims[1] = divided(out.dims[1], b * b);
  out.dims[2] = dim_product(out.dims[2], b);
  out.dims[3] = dim_product(out.dims[3], b);
  return {out};
}

// Blocks of b x b pixels to channels.
Types gathered(const OpArgs& args, std::string_view name) {
  check_rank(args, "x", 4, 4);
  const auto b = positive(args, name);
  auto out = args.type("x");
  check_factor(args, "x", "height", out.dims[2], b);
  check_factor(args, "x", "width", out.dims[3], b);
  out.dims[1] = dim_product(out.dims[1], b * b);
  out.dims[2] = divided(out.dims[2], b);
  out.dims[3] = divided(out.dims[3], b);
  return {out};
}

struct Blocks {
  Dims shape, edges;
};

// block_shape [2] and, before and after for each axis, paddings or crops [2, 2].
Blocks blocks(const OpArgs& args, std::string_view edges) {
  check_rank(args, "x", 4, 4);
  check_shape(args, "block_shape", {2});
  check_shape(args, edges, {2, 2});
  Blocks b{args.integers("block_shape"), args.integers(edges)};
  for (const auto size : b.shape) {
    if (size <= 0) {
      args.fail("block_shape", "expected a positive block_shape, got " + to_string(b.shape));
    }
  }
  for (const auto edge : b.edges) {
    if (edge < 0) {
      args.fail(edges,
                "expected " + std::string(edges) + " of 0 or more, got " + std::to_string(edge));
    }
  }
  return b;
}

}  // namespace

Types rule_space_to_depth(const OpArgs& args) { return gathered(args, "block_size"); }
Types rule_depth_to_space(const OpArgs& args) { return spread(args, "block_size"); }
Types rule_pixel_shuffle(const OpArgs& args) { return spread(args, "upscale_factor"); }
Types rule_pixel_unshuffle(const OpArgs& args) { return gathered(args, "downscale_factor"); }

Types rule_space_to_batch(const OpArgs& args) {
  const auto b = blocks(args, "paddings");
  auto out = args.type("x");
  for (std::size_t i = 0; i < 2; ++i) {
    auto& size = out.dims[2 + i];
    if (size >= 0) size += b.edges[2 * i] + b.edges[2 * i + 1];
    check_factor(args, "block_shape", "padded size", size, b.shape[i]);
    size = divided(size, b.shape[i]);
    out.dims[0] = dim_product(out.dims[0], b.shape[i]);
  }
  return {out};
}

Types rule_batch_to_space(const OpArgs& args) {
  const auto b = blocks(args, "crops");
  auto out = args.type("x");
  check_factor(args, "x", "batch", out.dims[0], b.shape[0] * b.shape[1]);
  out.dims[0] = divided(out.dims[0], b.shape[0] * b.shape[1]);
  for (std::size_t i = 0; i < 2; ++i) {
    auto& size = out.dims[2 + i];
    size = dim_product(size, b.shape[i]);
    if (size < 0) continue;
    size -= b.edges[2 * i] + b.edges[2 * i + 1];
    if (size <= 0)
      args.fail("crops", "expected to crop less than everything, got " + to_string(b.edges));
  }
  return {out};
}

}  // namespace milane::mil
