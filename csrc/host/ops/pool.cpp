// max_pool, avg_pool and l2_pool: along rows, then along columns.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "host/ops/operands.h"
#include "host/ops/window.h"

namespace milane::host {
namespace {

// What the loop over halves needs to take maxima.
std::optional<MaxHalves> max_halves(const Window& w) {
  if (w.in[0] != 1 || w.reach[0] != 1 || w.stride[2] > 2) return std::nullopt;
  MaxHalves m{};
  const std::int64_t wide = (w.out[2] - 1) * w.stride[2] + w.kernel[2];
  m.padded_rows = (w.out[1] - 1) * w.stride[1] + w.kernel[1];
  m.pitch = (wide + 31) / 32 * 32;
  m.before = w.before[1] * m.pitch + w.before[2];
  m.rows = std::min(w.in[1], m.padded_rows - w.before[1]);
  m.columns = std::min(w.in[2], wide - w.before[2]);
  m.in_rows = w.in[1];
  m.in_columns = w.in[2];
  m.out_rows = w.out[1];
  m.out_columns = w.out[2];
  m.kernel_rows = w.kernel[1];
  m.kernel_columns = w.kernel[2];
  m.row_stride = w.stride[1];
  m.column_stride = w.stride[2];
  if (m.rows <= 0 || m.columns <= 0) return std::nullopt;
  return m;
}

// Pooling of every plane: along rows, then along columns.
struct Pool {
  enum class Kind { kMax, kAverage, kL2 };
  Pool(Kind kind, const Window& window, std::int64_t planes);

  Kind kind;
  Window window;
  std::int64_t planes;
  std::shared_ptr<const std::vector<WindowTap>> along_rows, along_columns;
  std::shared_ptr<const std::vector<float>> ones;  // a weight for each of them
  // Elements under each window, as the outputs lie; average only.
  std::shared_ptr<const std::vector<float>> counts;
  bool whole;                       // one window that is the plane
  std::optional<MaxHalves> halves;  // the loop over halves, where there is one for such windows

  // `after` is the padding behind, which counts unless `exclude_padding`.
  void count_elements(const Spatial& after, bool exclude_padding);
  std::size_t slot_bytes() const;  // of working memory per thread
  void run(DType dtype, const std::byte* x, DType out_dtype, std::byte* y,
           const Workspace& workspace) const;

 private:
  void pool_whole(DType dtype, const std::byte* x, std::int64_t count, DType out_dtype,
                  std::byte* y, float* memory) const;
  void pool_plane(DType dtype, const std::byte* x, DType out_dtype, std::byte* y,
                  float* memory) const;
  std::size_t plane_bytes() const {
    return float_bytes(window.plane_floats()) + float_bytes(window.middle_floats());
  }
};

Pool::Pool(Kind k, const Window& w, std::int64_t n)
    : kind(k),
      window(w),
      planes(n),
      along_rows(std::make_shared<const std::vector<WindowTap>>(w.taps_along_rows())),
      along_columns(std::make_shared<const std::vector<WindowTap>>(w.taps_along_columns())),
      ones(std::make_shared<const std::vector<float>>(w.taps(), 1.0f)),
      whole(volume(w.out) == 1 && w.kernel == w.in && w.before == Spatial{0, 0, 0}),
      halves(k == Kind::kMax ? max_halves(w) : std::nullopt) {}

void Pool::count_elements(const Spatial& after, bool exclude_padding) {
  const Window& w = window;
  std::array<std::vector<float>, 3> along;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::int64_t o = 0; o < w.out[i]; ++o) {
      const std::int64_t begin = o * w.stride[i] - w.before[i], end = begin + w.kernel[i];
      const std::int64_t low = exclude_padding ? std::max<std::int64_t>(begin, 0) : begin;
      // ceil_mode windows may reach past the padding: what lies there never counts.
      const std::int64_t high = std::min(end, exclude_padding ? w.in[i] : w.in[i] + after[i]);
      along[i].push_back(static_cast<float>(std::max<std::int64_t>(high - low, 1)));
    }
  }
  auto all = std::make_shared<std::vector<float>>();
  for (const float d : along[0]) {
    for (const float h : along[1]) {
      for (const float x : along[2]) all->push_back(d * h * x);
    }
  }
  all->resize(all->size() + 16, 1.0f);  // read a register at a time
  counts = std::move(all);
}

std::size_t Pool::slot_bytes() const {
  if (whole) return float_bytes(kMostPlanes * (volume(window.in) + 1));
  const std::int64_t keys = halves ? halves->memory() : 0;
  return plane_bytes() + static_cast<std::size_t>(keys) * sizeof(std::int16_t);
}

// y[count] from x[count][in]
void Pool::pool_whole(DType dtype, const std::byte* x, std::int64_t count, DType out_dtype,
                      std::byte* y, float* memory) const {
  const Kernels& k = kernels();
  const std::int64_t size = volume(window.in);
  float* const result = memory;
  if (kind == Kind::kAverage) {
    if (dtype == DType::kFp16) {
      k.sum_each_half(result, reinterpret_cast<const Half*>(x), size, count);
    } else {
      k.sum_each_float(result, reinterpret_cast<const float*>(x), size, count);
    }
    const float elements = counts->front();
    for (std::int64_t i = 0; i < count; ++i) result[i] /= elements;
  } else {
    float* const values = memory + kMostPlanes;
    pack_tile(dtype, values, count * size, x, 1, 0, count * size, 1);
    for (std::int64_t i = 0; i < count; ++i) {
      const float* const from = values + i * size;
      const auto n = static_cast<std::size_t>(size);
      result[i] = kind == Kind::kMax ? k.max(from, n) : std::sqrt(k.sum_of_squares(from, 0.0f, n));
    }
  }
  store_tile({out_dtype, y, count}, 0, 0, result, count, 1, count);
}

void Pool::pool_plane(DType dtype, const std::byte* x, DType out_dtype, std::byte* y,
                      float* memory) const {
  const Window& w = window;
  const auto kernel = kind == Kind::kMax ? kernels().window_max : kernels().window_sum;
  float* const middle = memory + float_bytes(w.plane_floats()) / sizeof(float);
  float* const plane = memory + w.lead();
  w.fill(plane, dtype, x);
  if (kind == Kind::kL2) {
    for (std::int64_t i = 0; i < w.plane_floats(); ++i) memory[i] *= memory[i];
  }
  WindowTile tile{};
  tile.weights = ones->data();
  tile.taps = along_rows->data();
  tile.count = std::ssize(*along_rows);
  tile.row_step = w.pitch;
  tile.row_stride = w.middle_pitch();
  tile.rows = w.reach[1];
  tile.columns = w.out[2];
  for (std::int64_t i = 0; i < w.reach[0] * w.phase[1]; ++i) {
    tile.x = plane + i * w.phase_floats();
    tile.y = middle + i * w.reach[1] * w.middle_pitch();
    kernel(tile, {});
  }
  tile.taps = along_columns->data();
  tile.count = std::ssize(*along_columns);
  tile.row_step = w.middle_pitch();
  tile.row_stride = w.out[2];
  tile.rows = w.out[1];
  tile.half = out_dtype == DType::kFp16;
  tile.root = kind == Kind::kL2;
  const std::int64_t step = w.stride[0] * w.phase[1] * w.reach[1] * w.middle_pitch();
  for (std::int64_t d = 0; d < w.out[0]; ++d) {
    tile.x = middle + d * step;
    tile.y = y + bytes_of(out_dtype, d * w.out[1] * w.out[2]);
    if (kind == Kind::kAverage) tile.divisors = counts->data() + d * w.out[1] * w.out[2];
    kernel(tile, {});
  }
}

// y[planes, out...] from x[planes, in...]
void Pool::run(DType dtype, const std::byte* x, DType out_dtype, std::byte* y,
               const Workspace& ws) const {
  const float outside = kind == Kind::kMax ? -std::numeric_limits<float>::infinity() : 0.0f;
  const std::int64_t in = volume(window.in), out = volume(window.out);
  const bool by_halves = halves && dtype == DType::kFp16 && out_dtype == DType::kFp16;
  for_planes(ws.slots, planes, in, [&](int slot, std::int64_t begin, std::int64_t end) {
    float* const memory =
        reinterpret_cast<float*>(ws.data + static_cast<std::size_t>(slot) * slot_bytes());
    if (whole) {
      return pool_whole(dtype, x + bytes_of(dtype, begin * in), end - begin, out_dtype,
                        y + bytes_of(out_dtype, begin), memory);
    }
    auto* const keys =
        reinterpret_cast<std::int16_t*>(reinterpret_cast<std::byte*>(memory) + plane_bytes());
    if (by_halves) std::fill_n(keys, halves->memory(), MaxHalves::kLowest);
    bool filled = false;
    for (std::int64_t job = begin; job < end; ++job) {
      const std::byte* const from = x + bytes_of(dtype, job * in);
      std::byte* const to = y + bytes_of(out_dtype, job * out);
      if (by_halves && kernels().max_halves(*halves, keys, reinterpret_cast<Half*>(to),
                                            reinterpret_cast<const Half*>(from))) {
        continue;
      }
      if (!filled) std::fill_n(memory, window.plane_floats(), outside);
      filled = true;
      pool_plane(dtype, from, out_dtype, to, memory);
    }
  });
}

RunFn pool(OpSite& site, Pool::Kind kind) {
  const Operand x = site.in("x"), y = site.out();
  require_float(site, {x});
  const std::size_t n = x.dims.size() - 2;
  const Spatial in = spatial_of(x.dims), out = spatial_of(y.dims);
  const Spatial kernel = spatial_list(site.args.integers("kernel_sizes"), 1);
  const Spatial stride = spatial_list(site.args.integers_or("strides", n, 1), 1);
  const auto pad = site.args.integers_or("pad", 2 * n, 0);
  const std::string& type = site.args.text("pad_type");
  Spatial before{0, 0, 0}, after{0, 0, 0};
  for (std::size_t i = 3 - n; i < 3; ++i) {
    const std::size_t at = 2 * (i + n - 3);
    before[i] = padding_before(type, pad[at], in[i], out[i], kernel[i], stride[i]);
    const bool same = type.starts_with("same");
    after[i] =
        type == "custom" ? pad[at + 1]
        : same ? std::max<std::int64_t>((out[i] - 1) * stride[i] + kernel[i] - in[i], 0) - before[i]
               : 0;
  }
  Pool p{kind, Window(in, out, kernel, stride, {1, 1, 1}, before), x.dims[0] * x.dims[1]};
  if (kind == Pool::Kind::kAverage) {
    p.count_elements(after, site.args.boolean("exclude_padding_from_average"));
  }
  const int slots = num_threads();
  const Scratch work = site.scratch(static_cast<std::size_t>(slots) * p.slot_bytes());
  return [=](const Exec& e) {
    p.run(x.dtype, e.in<std::byte>(x), y.dtype, e.out<std::byte>(y),
          {e.scratch<std::byte>(work), slots});
  };
}

}  // namespace

RunFn op_max_pool(OpSite& site) { return pool(site, Pool::Kind::kMax); }
RunFn op_avg_pool(OpSite& site) { return pool(site, Pool::Kind::kAverage); }
RunFn op_l2_pool(OpSite& site) { return pool(site, Pool::Kind::kL2); }

}  // namespace milane::host
