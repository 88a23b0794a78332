#include "host/gemv.h"

#include <algorithm>
#include <cstring>

#include "core/integers.h"

namespace milane::host {
namespace {

constexpr std::int64_t kMostVectors = 32;
constexpr std::int64_t kGroup = 4;  // panels that share a pass over the vectors
constexpr std::int64_t kDepthBlock = 256;
constexpr std::int64_t kPieces = 16;  // for each thread
// Columns of a task with few rows, or rows of its matrix.
constexpr std::int64_t kColumns = 64;

// y[16] = panel `index` of w times x[depth]
void panel_times_vector(const PackedView& w, std::int64_t index, const float* x, float* y) {
  const std::int64_t at = index * w.depth * kPanel;
  std::fill_n(y, kPanel, 0.0f);
  if (w.dtype == DType::kFp16) {
    kernels().gemv_panel_half(reinterpret_cast<const Half*>(w.data) + at, x, w.depth, y);
  } else {
    kernels().gemv_panel_float(reinterpret_cast<const float*>(w.data) + at, x, w.depth, y);
  }
}

// y[count][panels][16] = panels of w from `index` on times x[depth][count]
void panels_times_vectors(const PackedView& w, std::int64_t index, std::int64_t panels,
                          const float* x, std::int64_t count, float* y) {
  if (count == 1) {
    for (std::int64_t p = 0; p < panels; ++p) panel_times_vector(w, index + p, x, y + p * kPanel);
    return;
  }
  const std::int64_t at = index * w.depth * kPanel;
  if (w.dtype == DType::kFp16) {
    kernels().gemm_panels_half(reinterpret_cast<const Half*>(w.data) + at, panels, x, count,
                               w.depth, y);
  } else {
    kernels().gemm_panels_float(reinterpret_cast<const float*>(w.data) + at, panels, x, count,
                                w.depth, y);
  }
}

// y[m][pitch] = x[m][depth] times columns [first, first + n) of b, both read as they lie.
void vectors_times_columns(const MatrixRef& b, const float* x, const MatmulShape& s,
                           std::int64_t first, std::int64_t n, float* y, std::int64_t pitch) {
  const Kernels& k = kernels();
  const bool along = b.row_stride == 1;
  const std::int64_t stride = along ? b.column_stride : b.row_stride;
  const std::int64_t at = first * b.column_stride;
  if (b.dtype == DType::kFp16) {
    const Half* const from = static_cast<const Half*>(b.data) + at;
    (along ? k.dot_rows_half : k.sum_rows_half)(from, stride, n, x, s.m, s.k, y, pitch);
  } else {
    const float* const from = static_cast<const float*>(b.data) + at;
    (along ? k.dot_rows_float : k.sum_rows_float)(from, stride, n, x, s.m, s.k, y, pitch);
  }
}

// y[n] of one vector and a matrix that is contiguous neither way, packed in scratch[256][16].
void vector_times_packed(const MatrixRef& b, const float* x, std::int64_t depth, std::int64_t first,
                         std::int64_t n, float* y, float* scratch) {
  const auto size = static_cast<std::int64_t>(dtype_size(b.dtype));
  for (std::int64_t j = 0; j < n; j += kPanel) {
    const std::int64_t columns = std::min(kPanel, n - j);
    alignas(64) float sums[kPanel] = {};
    if (columns < kPanel) std::memset(scratch, 0, kDepthBlock * kPanel * sizeof(float));
    for (std::int64_t k0 = 0; k0 < depth; k0 += kDepthBlock) {
      const std::int64_t count = std::min(kDepthBlock, depth - k0);
      const std::int64_t at = k0 * b.row_stride + (first + j) * b.column_stride;
      pack_tile(b.dtype, scratch, kPanel, static_cast<const std::byte*>(b.data) + at * size,
                b.column_stride, b.row_stride, columns, count);
      kernels().gemv_panel_float(scratch, x + k0, count, sums);
    }
    std::copy_n(sums, columns, y + j);
  }
}

}  // namespace

std::int64_t most_vectors() {
  return std::clamp<std::int64_t>(kernels().nr, kFewRows, kMostVectors);
}

void run_vectors(const PackedView& w, const float* x, std::int64_t count, const OutputRef& c,
                 bool transposed, int slots) {
  const std::int64_t panels = ceil_div(w.rows, kPanel);
  const std::int64_t work = kGroup * kPanel * std::max<std::int64_t>(w.depth, 1) * count;
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    alignas(64) float y[kMostVectors * kGroup * kPanel];
    alignas(64) float turned[kMostVectors * kGroup * kPanel];
    for (std::int64_t group = begin; group < end; ++group) {
      const std::int64_t first = group * kGroup, some = std::min(kGroup, panels - first);
      const std::int64_t row = first * kPanel, pitch = some * kPanel;
      const std::int64_t rows = std::min(pitch, w.rows - row);
      panels_times_vectors(w, first, some, x, count, y);
      if (!transposed) {
        store_tile(c, 0, row, y, pitch, count, rows);
      } else if (count == 1) {
        store_tile(c, row, 0, y, 1, rows, 1);
      } else {
        kernels().pack_float(turned, count, y, pitch, 1, count, rows);
        store_tile(c, row, 0, turned, count, rows, count);
      }
    }
  };
  const std::int64_t groups = ceil_div(panels, kGroup);
  if (slots == 1) return body(0, groups);
  // Every piece begins with weights that nobody asked for yet: few pieces where there is much.
  const std::int64_t grain = std::max(kSmallProduct / work, groups / (kPieces * num_threads()));
  parallel_for(groups, std::max<std::int64_t>(1, grain), body);
}

void run_few_rows(const MatmulShape& s, const MatrixRef& a, const MatrixRef& b, const OutputRef& c,
                  const Workspace& ws) {
  float* const x = reinterpret_cast<float*>(ws.data);  // [m][k]
  float* const scratch = x + round_up(s.m * s.k, kPanel);
  const auto size = static_cast<std::int64_t>(dtype_size(a.dtype));
  for (std::int64_t i = 0; i < s.m; ++i) {
    pack_tile(a.dtype, x + i * s.k, s.k,
              static_cast<const std::byte*>(a.data) + i * a.row_stride * size, a.column_stride, 0,
              s.k, 1);
  }
  const bool contiguous = b.row_stride == 1 || b.column_stride == 1;
  const int slots = s.m * s.n * s.k < kSmallProduct ? 1 : ws.slots;
  run_slots(slots, ceil_div(s.n, kColumns), [&](int slot, std::int64_t task) {
    alignas(64) float y[kFewRows * kColumns];
    const std::int64_t first = task * kColumns, n = std::min(kColumns, s.n - first);
    if (contiguous) {
      vectors_times_columns(b, x, s, first, n, y, kColumns);
    } else {
      for (std::int64_t i = 0; i < s.m; ++i) {
        vector_times_packed(b, x + i * s.k, s.k, first, n, y + i * kColumns,
                            scratch + slot * kDepthBlock * kPanel);
      }
    }
    store_tile(c, 0, first, y, kColumns, s.m, n);
  });
}

std::size_t run_few_rows_bytes(const MatmulShape& s, int slots) {
  return static_cast<std::size_t>(round_up(kFewRows * s.k, kPanel) + slots * kDepthBlock * kPanel) *
         sizeof(float);
}

}  // namespace milane::host
