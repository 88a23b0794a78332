// Sampling an image [B, C, H, W] at computed points: crop_resize, resample, affine. The points are
// run-time values, so they are computed per output position and used for every channel.
#include <cmath>
#include <limits>

#include "host/ops/indices.h"
#include "host/ops/resize_core.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

enum class Padding : std::uint8_t { kConstant, kBorder, kReflection, kSymmetric };
enum class Coordinates : std::uint8_t { kUnnormalized, kMinusOneToOne, kZeroToOne };

// Element i of a tensor of coordinates.
float coordinate(const std::byte* data, DType dtype, std::int64_t i) {
  if (dtype == DType::kFp16) return load(reinterpret_cast<const Half*>(data)[i]);
  if (dtype == DType::kFp32) return reinterpret_cast<const float*>(data)[i];
  return static_cast<float>(read_index(data, dtype, i));
}

// How a point outside the image is answered.
struct Rule {
  Padding padding = Padding::kConstant;
  Coordinates coordinates = Coordinates::kUnnormalized;
  bool align_corners = true;
  bool nearest = false;
  float value = 0.0f;
};

Rule rule_of(const OpSite& site) {
  Rule rule;
  const std::string &padding = site.args.text("padding_mode"),
                    &mode = site.args.text("coordinates_mode");
  rule.padding = padding == "border"       ? Padding::kBorder
                 : padding == "reflection" ? Padding::kReflection
                 : padding == "symmetric"  ? Padding::kSymmetric
                                           : Padding::kConstant;
  rule.coordinates = mode == "normalized_minus_one_to_one" ? Coordinates::kMinusOneToOne
                     : mode == "normalized_zero_to_one"    ? Coordinates::kZeroToOne
                                                           : Coordinates::kUnnormalized;
  rule.align_corners = site.args.boolean("align_corners");
  rule.nearest = site.args.text("sampling_mode") == "nearest";
  rule.value = static_cast<float>(site.args.number("padding_value"));
  return rule;
}

// A coordinate in samples. Corners are the centres of the corner samples when aligned, else their
// outer edges, half a sample further out.
double to_samples(const Rule& rule, float c, std::int64_t size) {
  const double zero_to_one = rule.coordinates == Coordinates::kMinusOneToOne ? (c + 1.0) / 2.0 : c;
  const auto n = static_cast<double>(size);
  if (rule.coordinates == Coordinates::kUnnormalized) return c;
  return rule.align_corners ? zero_to_one * (n - 1.0) : zero_to_one * n - 0.5;
}

// Sample i of an axis of n as the padded image has it; -1 stands for the padding value.
std::int64_t padded_index(Padding padding, std::int64_t i, std::int64_t n) {
  if (i >= 0 && i < n) return i;
  switch (padding) {
    case Padding::kConstant:
      return -1;
    case Padding::kBorder:
      return i < 0 ? 0 : n - 1;
    case Padding::kReflection: {  // 2 1 | 0 1 2 | 1 0
      if (n == 1) return 0;
      const std::int64_t period = 2 * (n - 1), at = ((i % period) + period) % period;
      return at < n ? at : period - at;
    }
    case Padding::kSymmetric: {  // 1 0 | 0 1 2 | 2 1
      const std::int64_t period = 2 * n, at = ((i % period) + period) % period;
      return at < n ? at : period - 1 - at;
    }
  }
  return -1;
}

// The two samples around a point and the weight of the second.
Tap taps_around(const Rule& rule, double point, std::int64_t n) {
  // Far away every padding repeats or is constant; this also keeps NaN out of the conversion.
  constexpr double kFar = 0x1p40;
  if (!(point > -kFar)) point = -kFar;
  if (point > kFar) point = kFar;
  const double low = rule.nearest ? std::nearbyint(point) : std::floor(point);
  const auto i = static_cast<std::int64_t>(low);
  const float weight = rule.nearest ? 0.0f : static_cast<float>(point - low);
  return {padded_index(rule.padding, i, n), padded_index(rule.padding, i + 1, n), weight};
}

template <class T>
float pick(const T* plane, std::int64_t width, std::int64_t h, std::int64_t w, float otherwise) {
  return h < 0 || w < 0 ? otherwise : load(plane[h * width + w]);
}

// One output position, all channels; image strides in elements.
template <class T>
void sample(const Rule& rule, const T* image, const Dims& x, double px, double py, T* y,
            std::int64_t y_stride) {
  const std::int64_t H = x[2], W = x[3];
  const Tap h = taps_around(rule, py, H), w = taps_around(rule, px, W);
  for (std::int64_t c = 0; c < x[1]; ++c, image += H * W) {
    const float top = pick(image, W, h.low, w.low, rule.value);
    if (rule.nearest) {
      store(y[c * y_stride], top);
      continue;
    }
    const float bottom = pick(image, W, h.high, w.low, rule.value);
    const float left = lerp(top, bottom, h.weight);
    const float right = lerp(pick(image, W, h.low, w.high, rule.value),
                             pick(image, W, h.high, w.high, rule.value), h.weight);
    store(y[c * y_stride], lerp(left, right, w.weight));
  }
}

// Calls point(b, h, w, &px, &py) for every output position and samples there.
template <class Point>
void sample_all(const Rule& rule, const Exec& e, const Operand& x, const Operand& y, Point point) {
  const std::int64_t C = x.dims[1], H2 = y.dims[2], W2 = y.dims[3];
  dispatch_float(x.dtype, [&]<class T>() {
    parallel_for(y.dims[0] * H2,
                 std::max<std::int64_t>(1, 4096 / std::max<std::int64_t>(1, W2 * C)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     const std::int64_t b = row / H2, h = row % H2;
                     const T* image = e.in<T>(x) + b * C * x.dims[2] * x.dims[3];
                     T* out = e.out<T>(y) + (b * C * H2 + h) * W2;
                     for (std::int64_t w = 0; w < W2; ++w) {
                       double px = 0.0, py = 0.0;
                       point(b, h, w, &px, &py);
                       sample(rule, image, x.dims, px, py, out + w, H2 * W2);
                     }
                   }
                 });
  });
}

// Position i of n on [-1, 1]: the corner samples' centres, or half a sample inside the edges.
double normalized(std::int64_t i, std::int64_t n, bool align_corners) {
  const auto at = static_cast<double>(i), count = static_cast<double>(n);
  if (!align_corners) return (2.0 * at + 1.0) / count - 1.0;
  return n == 1 ? 0.0 : 2.0 * at / (count - 1.0) - 1.0;
}

// How boxes are written and where they point.
struct Boxes {
  Operand values, indices;
  std::int64_t per_box = 4;  // 5 when an image index comes first (iOS15 roi)
  bool every_image = false;  // iOS15 roi without index: each box crops all images
  bool normalized = false, height_first = true, center_size = false;
  double scale = 1.0;
  std::string name;

  double at(const Exec& e, std::int64_t box, std::int64_t i) const {
    return coordinate(e.in<std::byte>(values), values.dtype, box * per_box + i);
  }
  std::int64_t image(const Exec& e, std::int64_t box) const {
    if (per_box == 5) {
      const double index = at(e, box, 0);
      return index >= 0.0 && index < 0x1p31 ? static_cast<std::int64_t>(index) : -1;
    }
    return indices.present() ? read_index(e.in<std::byte>(indices), indices.dtype, box) : box;
  }
  // Start and end on an axis of `size` samples (0: height, 1: width).
  void interval(const Exec& e, std::int64_t box, int axis, std::int64_t size, double* start,
                double* end) const {
    const std::int64_t first = per_box - 4 + (height_first ? axis : 1 - axis);
    const double unit = scale * (normalized ? static_cast<double>(size - 1) : 1.0);
    const double a = at(e, box, first) * unit, b = at(e, box, first + 2) * unit;
    *start = center_size ? a - b / 2.0 : a;
    *end = center_size ? a + b / 2.0 : b;
  }
};

Boxes boxes_of(const OpSite& site) {
  Boxes boxes;
  const bool roi = site.has("roi");
  boxes.values = site.in(roi ? "roi" : "boxes");
  if (site.has("box_indices")) {
    boxes.indices = site.in("box_indices");
    expect_index_dtype(site, "box_indices");
  }
  boxes.per_box = roi ? boxes.values.dims[2] : 4;
  if (boxes.per_box != 4 && boxes.per_box != 5) {
    site.args.fail("roi", "expected 4 or 5 numbers per box, got " + std::to_string(boxes.per_box));
  }
  boxes.every_image = roi && boxes.per_box == 4;
  boxes.normalized = site.args.boolean("normalized_coordinates");
  boxes.scale = site.args.number("spatial_scale");
  const std::string& mode = site.args.text("box_coordinate_mode");
  boxes.height_first = mode.ends_with("HEIGHT_FIRST");
  boxes.center_size = mode.starts_with("CENTER_SIZE");
  boxes.name = site_name(site);
  return boxes;
}

// Point i of n between start and end, as resize_bilinear places it on an axis of their distance
// + 1.
double box_point(Sampling mode, double start, double end, std::int64_t n, std::int64_t i) {
  const double length = std::abs(end - start), sign = end < start ? -1.0 : 1.0;
  const double point = grid_point(mode, length + 1.0, n, i);
  return start + sign * std::fmin(std::fmax(point, 0.0), length);
}

// A point outside the image has the padding value, as extrapolation_value of crop_and_resize.
bool inside(double point, std::int64_t size) {
  return point >= 0.0 && point <= static_cast<double>(size - 1);
}

// One crop: image [C, H, W] and box to y [C, h, w].
template <class T>
void crop(const Boxes& boxes, const Exec& e, Sampling mode, float pad, std::int64_t box,
          const T* image, const Dims& x, T* y, std::int64_t height, std::int64_t width) {
  double h0, h1, w0, w1;
  boxes.interval(e, box, 0, x[2], &h0, &h1);
  boxes.interval(e, box, 1, x[3], &w0, &w1);
  for (std::int64_t i = 0; i < height * width; ++i) {
    const double py = box_point(mode, h0, h1, height, i / width);
    const double px = box_point(mode, w0, w1, width, i % width);
    if (inside(py, x[2]) && inside(px, x[3])) {
      Rule rule;
      rule.padding = Padding::kBorder;  // the neighbour beyond the last sample has weight 0
      sample(rule, image, x, px, py, y + i, height * width);
    } else {
      for (std::int64_t c = 0; c < x[1]; ++c) store(y[c * height * width + i], pad);
    }
  }
}

}  // namespace

// x [B, C, H1, W1], coordinates [B, H2, W2, 2] as (x, y).
RunFn op_resample(OpSite& site) {
  const Operand x = site.in("x"), points = site.in("coordinates"), out = site.out();
  if (!is_float(points.dtype)) expect_index_dtype(site, "coordinates");
  const Rule rule = rule_of(site);
  return [x, points, out, rule](const Exec& e) {
    const auto* data = e.in<std::byte>(points);
    sample_all(rule, e, x, out,
               [&](std::int64_t b, std::int64_t h, std::int64_t w, double* px, double* py) {
                 const std::int64_t i = ((b * out.dims[2] + h) * out.dims[3] + w) * 2;
                 *px = to_samples(rule, coordinate(data, points.dtype, i), x.dims[3]);
                 *py = to_samples(rule, coordinate(data, points.dtype, i + 1), x.dims[2]);
               });
  };
}

// x' = a0 x + a1 y + a2, y' = b0 x + b1 y + b2 in normalized coordinates; transform_matrix is
// [B or 1, 6] of a0 a1 a2 b0 b1 b2.
RunFn op_affine(OpSite& site) {
  const Operand x = site.in("x"), matrix = site.in("transform_matrix"), out = site.out();
  const Rule rule = rule_of(site);
  return [x, matrix, out, rule](const Exec& e) {
    const auto* data = e.in<std::byte>(matrix);
    sample_all(
        rule, e, x, out,
        [&](std::int64_t b, std::int64_t h, std::int64_t w, double* px, double* py) {
          const std::int64_t m = matrix.dims[0] == 1 ? 0 : b * 6;
          auto at = [&](std::int64_t i) {
            return static_cast<double>(coordinate(data, matrix.dtype, m + i));
          };
          const double u = normalized(w, out.dims[3], rule.align_corners);
          const double v = normalized(h, out.dims[2], rule.align_corners);
          *px = to_samples(rule, static_cast<float>(at(0) * u + at(1) * v + at(2)), x.dims[3]);
          *py = to_samples(rule, static_cast<float>(at(3) * u + at(4) * v + at(5)), x.dims[2]);
        });
  };
}

// boxes [N, 4] of x [B, C, H, W] to [N, C, h, w] (iOS17); roi [N, 1, 4 or 5, 1, 1] to
// [N, B or 1, C, h, w] (iOS15).
RunFn op_crop_resize(OpSite& site) {
  const Operand x = site.in("x"), out = site.out();
  const Boxes boxes = boxes_of(site);
  const Sampling mode = sampling_of(site);
  const auto pad = static_cast<float>(site.args.number("pad_value"));
  const std::int64_t images = boxes.every_image ? x.dims[0] : 1;
  const Dims wanted{boxes.values.dims[0] * images, x.dims[1], out.dims.end()[-2],
                    out.dims.end()[-1]};
  if (out.count() != element_count(wanted)) {
    site.args.fail(boxes.per_box == 5 ? "roi" : "x",
                   "expected a result of " + to_string(wanted) + ", got " + to_string(out.dims));
  }
  return [x, out, boxes, mode, pad, images](const Exec& e) {
    const std::int64_t crops = boxes.values.dims[0] * images;
    const std::int64_t height = out.dims.end()[-2], width = out.dims.end()[-1];
    for (std::int64_t i = 0; i < crops; ++i) {  // before any thread starts: a body must not throw
      const std::int64_t image = boxes.every_image ? i % images : boxes.image(e, i);
      if (image >= 0 && image < x.dims[0]) continue;
      throw Error(ErrorCode::kEval, boxes.name + ": expected image indices in [0, " +
                                        std::to_string(x.dims[0]) + "), got " +
                                        std::to_string(image) + " for box " + std::to_string(i));
    }
    dispatch_float(x.dtype, [&]<class T>() {
      parallel_for(crops, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t box = i / images,
                             image = boxes.every_image ? i % images : boxes.image(e, i);
          crop(boxes, e, mode, pad, box, e.in<T>(x) + image * x.dims[1] * x.dims[2] * x.dims[3],
               x.dims, e.out<T>(out) + i * x.dims[1] * height * width, height, width);
        }
      });
    });
  };
}

}  // namespace milane::host
