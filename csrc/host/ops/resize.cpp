// Upsampling and resizing of the last axes: x [..., H1, W1] to y [..., H2, W2]. The sampling tables
// are made when the operation is planned.
#include "host/ops/resize_core.h"

namespace milane::host {

// Whole factors repeat each sample; for fractional ones the factor is recomputed from the sizes.
RunFn op_upsample_nearest_neighbor(OpSite& site) {
  return resize_nearest(site.in("x"), site.out(), 2, Sampling::kDefault);
}

// align_corners, half_pixel_centers: T, F as resize_bilinear's STRICT_ALIGN_CORNERS; F, T as
// UNALIGN_CORNERS; F, F as DEFAULT. The factor is recomputed from the sizes (iOS15 documentation).
RunFn op_upsample_bilinear(OpSite& site) {
  const bool align = site.args.boolean("align_corners");
  const bool half =
      site.args.known("half_pixel_centers") ? site.args.boolean("half_pixel_centers") : !align;
  if (align && half) {
    site.args.fail("half_pixel_centers", "expected false with align_corners, got true");
  }
  const Sampling mode = align  ? Sampling::kStrictAlignCorners
                        : half ? Sampling::kUnalignCorners
                               : Sampling::kDefault;
  return resize_linear(site.in("x"), site.out(), 2, mode);
}

RunFn op_resize_nearest_neighbor(OpSite& site) {
  return resize_nearest(site.in("x"), site.out(), 2, Sampling::kDefault);
}

RunFn op_resize_bilinear(OpSite& site) {
  return resize_linear(site.in("x"), site.out(), 2, sampling_of(site));
}

// iOS17: the last `resized_dims` axes; `shape` is known by now, in the output's type.
RunFn op_resize(OpSite& site) {
  const Operand x = site.in("x"), out = site.out();
  const auto axes = static_cast<std::size_t>(site.args.integer("resized_dims"));
  if (axes < 1 || axes > x.dims.size() || x.dims.size() > kMaxRank) {
    site.args.fail("resized_dims", "expected 1 to " + std::to_string(x.dims.size()) + ", got " +
                                       std::to_string(axes));
  }
  if (site.args.text("interpolation_mode") == "NEAREST_NEIGHBOR") {
    return resize_nearest(x, out, axes, sampling_of(site));
  }
  if (x.dtype == DType::kInt32) {
    site.args.fail("interpolation_mode", "expected NEAREST_NEIGHBOR for int32, got LINEAR");
  }
  return resize_linear(x, out, axes, sampling_of(site));
}

}  // namespace milane::host
