// Images: the last two axes are height and width.
#include <cmath>

#include "mil/rules.h"

namespace milane::mil {
namespace {

const std::initializer_list<std::string_view> kSampling = {
    "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "UNALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS"};

Types resized(const OpArgs& args, std::int64_t height, std::int64_t width) {
  check_rank(args, "x", 3);
  auto out = args.type("x");
  out.dims.end()[-2] = height;
  out.dims.end()[-1] = width;
  return {out};
}

std::int64_t scaled(const OpArgs& args, std::string_view name, std::int64_t size) {
  const auto factor = args.number(name);
  if (!(factor > 0) || !std::isfinite(factor)) {
    args.fail(name, "expected a positive " + std::string(name) + ", got " + std::to_string(factor));
  }
  if (size < 0) return kUnknownDim;
  const auto result = std::floor(factor * static_cast<double>(size));
  if (!(result >= 1 && result < 0x1p40)) {
    args.fail(name, "expected a size of 1 or more after scaling, got " + std::to_string(result));
  }
  return static_cast<std::int64_t>(result);
}

}  // namespace

Types rule_upsample(const OpArgs& args) {
  check_rank(args, "x", 3);
  const auto& x = args.dims("x");
  return resized(args, scaled(args, "scale_factor_height", x.end()[-2]),
                 scaled(args, "scale_factor_width", x.end()[-1]));
}

Types rule_resize_bilinear(const OpArgs& args) {
  choice(args, "sampling_mode", kSampling);
  return resized(args, positive(args, "target_size_height"), positive(args, "target_size_width"));
}

Types rule_resize_nearest_neighbor(const OpArgs& args) {
  return resized(args, positive(args, "target_size_height"), positive(args, "target_size_width"));
}

// The last `resized_dims` sizes of `shape` replace those of x; 0 keeps one (ios17).
Types rule_resize(const OpArgs& args) {
  auto out = args.type("x");
  choice(args, "interpolation_mode", {"LINEAR", "NEAREST_NEIGHBOR"});
  choice(args, "sampling_mode", kSampling);
  check_rank(args, "shape", 1, 1);
  const auto n = positive(args, "resized_dims");
  const auto given = args.dims("shape")[0];
  if (n > static_cast<std::int64_t>(out.dims.size()) || (given >= 0 && n > given)) {
    args.fail("resized_dims",
              "expected resized_dims of at most the rank of x and the length of "
              "shape, got " +
                  std::to_string(n));
  }
  const bool known = args.known("shape");
  const auto shape = known ? args.integers("shape") : Dims();
  for (std::size_t i = 1; i <= static_cast<std::size_t>(n); ++i) {
    auto& size = *(out.dims.end() - static_cast<std::ptrdiff_t>(i));
    const auto wanted = known ? shape[shape.size() - i] : kUnknownDim;
    if (known && wanted < 0) {
      args.fail("shape", "expected sizes of 0 or more, got " + std::to_string(wanted));
    }
    if (wanted != 0) size = wanted;
  }
  return {out};
}

Types rule_resample(const OpArgs& args) {
  check_rank(args, "x", 4, 4);
  check_rank(args, "coordinates", 4, 4);
  auto out = args.type("x");
  check_shape(args, "coordinates", {out.dims[0], kUnknownDim, kUnknownDim, 2});
  choice(args, "sampling_mode", {"nearest", "bilinear"});
  choice(args, "padding_mode", {"constant", "border", "reflection", "symmetric"});
  choice(args, "coordinates_mode",
         {"unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one"});
  const auto& coordinates = args.dims("coordinates");
  out.dims[2] = coordinates[1];
  out.dims[3] = coordinates[2];
  return {out};
}

Types rule_affine(const OpArgs& args) {
  check_rank(args, "x", 4, 4);
  check_rank(args, "transform_matrix", 2, 2);
  const auto batch = args.dims("x")[0];
  check_shape(args, "transform_matrix", {args.dims("transform_matrix")[0] == 1 ? 1 : batch, 6});
  choice(args, "sampling_mode", {"bilinear"});
  choice(args, "padding_mode", {"constant"});
  choice(args, "coordinates_mode", {"normalized_minus_one_to_one"});
  return resized(args, positive(args, "output_height"), positive(args, "output_width"));
}

// ios15: roi [N, 1, 4 or 5, 1, 1] gives [N, B, C, h, w]; ios17: boxes [N, 4] give [N, C, h, w].
Types rule_crop_resize(const OpArgs& args) {
  check_rank(args, "x", 4, 4);
  choice(args, "sampling_mode", kSampling);
  choice(args, "box_coordinate_mode",
         {"CORNERS_HEIGHT_FIRST", "CORNERS_WIDTH_FIRST", "CENTER_SIZE_HEIGHT_FIRST",
          "CENTER_SIZE_WIDTH_FIRST"});
  const auto& x = args.type("x");
  const auto height = positive(args, "target_height"), width = positive(args, "target_width");
  if (args.has("boxes")) {
    check_rank(args, "boxes", 2, 2);
    const auto n = args.dims("boxes")[0];
    check_shape(args, "boxes", {n, 4});
    if (args.has("box_indices")) check_shape(args, "box_indices", {n});
    return tensor_of(x.dtype, {n, x.dims[1], height, width});
  }
  if (!args.has("roi"))
    args.fail("x", "expected an argument `boxes` (ios17) or `roi`, got neither");
  check_rank(args, "roi", 5, 5);
  // Five numbers per box name their image; four mean every image.
  const auto& roi = args.dims("roi");
  const auto images = roi[2] == 5 ? 1 : x.dims[0];
  return tensor_of(x.dtype, {roi[0], images, x.dims[1], height, width});
}

// ios17 dropped score_threshold, the fourth output, and put the boxes last.
Types rule_non_maximum_suppression(const OpArgs& args) {
  check_rank(args, "boxes", 3, 3);
  check_rank(args, "scores", 3, 3);
  const auto &boxes = args.type("boxes"), &scores = args.type("scores");
  const auto n = positive(args, "max_boxes"), batch = boxes.dims[0];
  const auto picked = Type::tensor(DType::kInt32, {batch, n});
  if (args.has("score_threshold")) {
    check_shape(args, "boxes", {kUnknownDim, kUnknownDim, 4});
    return {Type::tensor(boxes.dtype, {batch, n, 4}),
            Type::tensor(scores.dtype, {batch, n, scores.dims[2]}), picked,
            Type::tensor(DType::kInt32, {batch})};
  }
  check_shape(args, "boxes", {kUnknownDim, 4, kUnknownDim});
  return {Type::tensor(boxes.dtype, {batch, 4, n}),
          Type::tensor(scores.dtype, {batch, scores.dims[1], n}), picked};
}

}  // namespace milane::mil
