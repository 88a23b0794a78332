#include "host/gemm.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "core/integers.h"
#include "host/gemv.h"

namespace milane::host {
namespace {

// Measured: depth blocks of 256 keep a widened panel in the first-level cache, groups of 256 rows
// or columns amortise widening it.
constexpr std::int64_t kDepthBlock = 256;
constexpr std::int64_t kGroup = 256;
// The operand that all tasks share is packed in pieces of about this many floats.
constexpr std::int64_t kSharedFloats = std::int64_t{1} << 21;

const std::byte* element(const MatrixRef& m, std::int64_t row, std::int64_t column) {
  return static_cast<const std::byte*>(m.data) + (row * m.row_stride + column * m.column_stride) *
                                                     static_cast<std::int64_t>(dtype_size(m.dtype));
}

// Rows of `w` as the outer dimension of a panel.
void pack_from(const PackedView& w, float* panel, std::int64_t pitch, std::int64_t k0,
               std::int64_t depth, std::int64_t first, std::int64_t count) {
  const auto size = static_cast<std::int64_t>(dtype_size(w.dtype));
  for (std::int64_t i = 0; i < count;) {
    const std::int64_t inside = (first + i) % kPanel;
    const std::int64_t width = std::min(kPanel - inside, count - i);
    const std::int64_t at = ((first + i) / kPanel * w.depth + k0) * kPanel + inside;
    pack_tile(w.dtype, panel + i, pitch, w.data + at * size, 1, kPanel, width, depth);
    i += width;
  }
}

// Pads what the callback leaves: tiles always compute whole panels.
void fill_panel(PackFn pack, float* panel, std::int64_t pitch, std::int64_t k0, std::int64_t depth,
                std::int64_t first, std::int64_t count) {
  if (count < pitch) std::memset(panel, 0, static_cast<std::size_t>(depth * pitch) * sizeof(float));
  pack(panel, pitch, k0, depth, first, count);
}

// acc[16][nr] (+)= a[depth][16]^T b[depth][nr]; only the tiles that hold some of `rows`.
void panel_product(const float* a, const float* b, std::int64_t depth, float* acc,
                   std::int64_t rows, bool first) {
  const Kernels& k = kernels();
  for (std::int64_t i = 0; i < rows; i += k.mr)
    k.gemm_tile(a + i, kPanel, b, depth, acc + i * k.nr, first);
}

int slots_for(std::int64_t m, std::int64_t n, std::int64_t k, int slots) {
  return m * n * k < kSmallProduct ? 1 : slots;
}

// The two ways to run a product: everything shared is packed ahead, panels of the other operand are
// packed (widened) by the task that uses them.
struct Product {
  std::int64_t m, n, k;
  PackFn a, b;  // a: panels of 16 rows; b: panels of nr columns
  OutputRef c;
};

// Columns packed at a time, when B is shared.
std::int64_t shared_columns(std::int64_t n, std::int64_t k) {
  const std::int64_t fit =
      std::max(kGroup, kSharedFloats / std::max<std::int64_t>(k, 1) / kGroup * kGroup);
  return std::min(round_up(n, kernels().nr), fit);
}
// Rows packed at a time, when A is shared.
std::int64_t shared_rows(std::int64_t m, std::int64_t k) {
  const std::int64_t fit =
      std::max(kGroup, kSharedFloats / std::max<std::int64_t>(k, 1) / kGroup * kGroup);
  return std::min(round_up(m, kPanel), fit);
}

std::int64_t slot_floats() {
  const std::int64_t nr = std::max<std::int64_t>(kernels().nr, kPanel);
  return kDepthBlock * nr + kGroup * nr;  // one widened panel, one group of accumulators
}
std::size_t shared_b_bytes(std::int64_t n, std::int64_t k, int slots) {
  return static_cast<std::size_t>(shared_columns(n, k) * k + slots * slot_floats()) * sizeof(float);
}
std::size_t shared_a_bytes(std::int64_t m, std::int64_t k, int slots) {
  return static_cast<std::size_t>(shared_rows(m, k) * k + slots * slot_floats()) * sizeof(float);
}

// One task: 16 rows of A times a group of columns [g0, g0 + count) of the shared block.
void row_panel_task(const Product& p, const float* shared, std::int64_t n0, std::int64_t g0,
                    std::int64_t count, std::int64_t row, float* scratch) {
  const std::int64_t nr = kernels().nr;
  const std::int64_t rows = std::min(kPanel, p.m - row);
  float* const acc = scratch + kDepthBlock * kPanel;
  if (p.k == 0) std::memset(acc, 0, static_cast<std::size_t>(kGroup * kPanel) * sizeof(float));
  for (std::int64_t k0 = 0; k0 < p.k; k0 += kDepthBlock) {
    const std::int64_t depth = std::min(kDepthBlock, p.k - k0);
    fill_panel(p.a, scratch, kPanel, k0, depth, row, rows);
    for (std::int64_t j = 0; j < count; j += nr) {
      const float* b = shared + (g0 + j) * p.k + k0 * nr;
      panel_product(scratch, b, depth, acc + j * kPanel, rows, k0 == 0);
    }
  }
  for (std::int64_t j = 0; j < count; j += nr) {
    store_tile(p.c, row, n0 + g0 + j, acc + j * kPanel, nr, rows, std::min(nr, count - j));
  }
}

// C(m x n), B packed ahead: [n/nr][k][nr].
void run_shared_b(const Product& p, const Workspace& ws) {
  const std::int64_t nr = kernels().nr;
  const int slots = slots_for(p.m, p.n, p.k, ws.slots);
  float* const shared = reinterpret_cast<float*>(ws.data);
  const std::int64_t step = shared_columns(p.n, p.k);
  float* const scratch = shared + step * p.k;
  const std::int64_t blocks = ceil_div(p.k, kDepthBlock);
  const std::int64_t row_panels = ceil_div(p.m, kPanel);
  for (std::int64_t n0 = 0; n0 < p.n; n0 += step) {
    const std::int64_t columns = std::min(step, p.n - n0);
    run_slots(slots, ceil_div(columns, nr) * blocks, [&](int, std::int64_t task) {
      const std::int64_t j = task / blocks * nr, k0 = task % blocks * kDepthBlock;
      fill_panel(p.b, shared + j * p.k + k0 * nr, nr, k0, std::min(kDepthBlock, p.k - k0), n0 + j,
                 std::min(nr, columns - j));
    });
    run_slots(slots, ceil_div(columns, kGroup) * row_panels, [&](int slot, std::int64_t task) {
      const std::int64_t g0 = task / row_panels * kGroup;
      row_panel_task(p, shared, n0, g0, std::min(kGroup, columns - g0), task % row_panels * kPanel,
                     scratch + slot * slot_floats());
    });
  }
}

// One task: a panel of nr columns of B times a group of rows [g0, g0 + count) of the shared block.
void column_panel_task(const Product& p, const float* shared, std::int64_t m0, std::int64_t g0,
                       std::int64_t count, std::int64_t column, float* scratch) {
  const std::int64_t nr = kernels().nr;
  const std::int64_t columns = std::min(nr, p.n - column);
  float* const acc = scratch + kDepthBlock * nr;
  if (p.k == 0) std::memset(acc, 0, static_cast<std::size_t>(kGroup * nr) * sizeof(float));
  for (std::int64_t k0 = 0; k0 < p.k; k0 += kDepthBlock) {
    const std::int64_t depth = std::min(kDepthBlock, p.k - k0);
    fill_panel(p.b, scratch, nr, k0, depth, column, columns);
    for (std::int64_t i = 0; i < count; i += kPanel) {
      const float* a = shared + (g0 + i) * p.k + k0 * kPanel;
      panel_product(a, scratch, depth, acc + i * nr, std::min(kPanel, count - i), k0 == 0);
    }
  }
  store_tile(p.c, m0 + g0, column, acc, nr, count, columns);
}

// C(m x n), A packed ahead: [m/16][k][16].
void run_shared_a(const Product& p, const Workspace& ws) {
  const std::int64_t nr = kernels().nr;
  const int slots = slots_for(p.m, p.n, p.k, ws.slots);
  float* const shared = reinterpret_cast<float*>(ws.data);
  const std::int64_t step = shared_rows(p.m, p.k);
  float* const scratch = shared + step * p.k;
  const std::int64_t blocks = ceil_div(p.k, kDepthBlock);
  const std::int64_t column_panels = ceil_div(p.n, nr);
  for (std::int64_t m0 = 0; m0 < p.m; m0 += step) {
    const std::int64_t rows = std::min(step, p.m - m0);
    run_slots(slots, ceil_div(rows, kPanel) * blocks, [&](int, std::int64_t task) {
      const std::int64_t i = task / blocks * kPanel, k0 = task % blocks * kDepthBlock;
      fill_panel(p.a, shared + i * p.k + k0 * kPanel, kPanel, k0, std::min(kDepthBlock, p.k - k0),
                 m0 + i, std::min(kPanel, rows - i));
    });
    run_slots(slots, ceil_div(rows, kGroup) * column_panels, [&](int slot, std::int64_t task) {
      const std::int64_t g0 = task / column_panels * kGroup;
      column_panel_task(p, shared, m0, g0, std::min(kGroup, rows - g0), task % column_panels * nr,
                        scratch + slot * slot_floats());
    });
  }
}

// Packing all of A once per group of columns, or all of B once per group of rows.
bool prefers_shared_a(const MatmulShape& s) {
  return s.m + s.n * ceil_div(s.m, kGroup) < s.n + s.m * ceil_div(s.n, kGroup);
}

}  // namespace

void pack_tile(DType dtype, float* panel, std::int64_t pitch, const void* src, std::int64_t inner,
               std::int64_t outer, std::int64_t count, std::int64_t depth) {
  if (dtype == DType::kFp16) {
    kernels().pack_half(panel, pitch, static_cast<const Half*>(src), inner, outer, count, depth);
  } else {
    kernels().pack_float(panel, pitch, static_cast<const float*>(src), inner, outer, count, depth);
  }
}

void store_tile(const OutputRef& c, std::int64_t row, std::int64_t column, const float* acc,
                std::int64_t lda, std::int64_t rows, std::int64_t columns) {
  const float* row_bias = c.row_bias != nullptr ? c.row_bias + row : nullptr;
  const float* column_bias = c.column_bias != nullptr ? c.column_bias + column : nullptr;
  const std::int64_t at = row * c.row_stride + column;
  if (c.dtype == DType::kFp16) {
    kernels().store_half(static_cast<Half*>(c.data) + at, c.row_stride, acc, lda, row_bias,
                         column_bias, rows, columns);
  } else if (c.add) {
    float* const to = static_cast<float*>(c.data) + at;
    for (std::int64_t i = 0; i < rows; ++i) {
      kernels().axpy(to + i * c.row_stride, acc + i * lda, 1.0f, static_cast<std::size_t>(columns));
    }
  } else {
    kernels().store_float(static_cast<float*>(c.data) + at, c.row_stride, acc, lda, row_bias,
                          column_bias, rows, columns);
  }
}

void run_slots(int slots, std::int64_t tasks, FunctionRef<void(int, std::int64_t)> body) {
  slots = static_cast<int>(std::min<std::int64_t>(slots, tasks));
  if (slots <= 1) {
    for (std::int64_t t = 0; t < tasks; ++t) body(0, t);
    return;
  }
  std::atomic<std::int64_t> next{0};
  parallel_for(slots, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t slot = begin; slot < end; ++slot) {
      for (std::int64_t t; (t = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
        body(static_cast<int>(slot), t);
      }
    }
  });
}

void matmul_packed_rows(const PackedView& a, std::int64_t n, PackFn columns, const OutputRef& c,
                        const Workspace& ws) {
  if (n <= most_vectors()) {
    float* const x = reinterpret_cast<float*>(ws.data);  // [k][n]
    columns(x, n, 0, a.depth, 0, n);
    return run_vectors(a, x, n, c, true, ws.slots);
  }
  const auto rows = [&](float* panel, std::int64_t pitch, std::int64_t k0, std::int64_t depth,
                        std::int64_t first, std::int64_t count) {
    pack_from(a, panel, pitch, k0, depth, first, count);
  };
  run_shared_b({a.rows, n, a.depth, rows, columns, c}, ws);
}

std::size_t matmul_packed_rows_bytes(std::int64_t, std::int64_t n, std::int64_t k, int slots) {
  return shared_b_bytes(n, k, slots);
}

void linear_packed(const MatrixRef& x, std::int64_t b, const PackedView& w, const OutputRef& c,
                   const Workspace& ws) {
  if (b <= most_vectors()) {
    float* const columns = reinterpret_cast<float*>(ws.data);  // [k][b]
    pack_tile(x.dtype, columns, b, element(x, 0, 0), x.row_stride, x.column_stride, b, w.depth);
    return run_vectors(w, columns, b, c, false, ws.slots);
  }
  const auto a = [&](float* panel, std::int64_t pitch, std::int64_t k0, std::int64_t depth,
                     std::int64_t first, std::int64_t count) {
    pack_tile(x.dtype, panel, pitch, element(x, first, k0), x.row_stride, x.column_stride, count,
              depth);
  };
  const auto columns = [&](float* panel, std::int64_t pitch, std::int64_t k0, std::int64_t depth,
                           std::int64_t first, std::int64_t count) {
    pack_from(w, panel, pitch, k0, depth, first, count);
  };
  run_shared_a({b, w.rows, w.depth, a, columns, c}, ws);
}

std::size_t linear_packed_bytes(std::int64_t b, std::int64_t, std::int64_t k, int slots) {
  return shared_a_bytes(b, k, slots);
}

bool is_tiled(const MatmulShape& s) { return s.m > kFewRows && s.n > 1; }

void matmul_dynamic(const MatmulShape& s, const MatrixRef& a, const MatrixRef& b,
                    const OutputRef& c, const Workspace& ws) {
  const bool column =
      s.n == 1 && s.m > 1 && c.row_stride == 1 && c.row_bias == nullptr && c.column_bias == nullptr;
  if (column) {  // a matrix times a vector is the vector times its transpose
    const MatrixRef left{b.dtype, b.data, b.column_stride, b.row_stride};
    const MatrixRef right{a.dtype, a.data, a.column_stride, a.row_stride};
    return run_few_rows({1, s.m, s.k}, left, right, {c.dtype, c.data, s.m}, ws);
  }
  if (s.m <= kFewRows) return run_few_rows(s, a, b, c, ws);
  const auto rows = [&](float* panel, std::int64_t pitch, std::int64_t k0, std::int64_t depth,
                        std::int64_t first, std::int64_t count) {
    pack_tile(a.dtype, panel, pitch, element(a, first, k0), a.row_stride, a.column_stride, count,
              depth);
  };
  const auto columns = [&](float* panel, std::int64_t pitch, std::int64_t k0, std::int64_t depth,
                           std::int64_t first, std::int64_t count) {
    pack_tile(b.dtype, panel, pitch, element(b, k0, first), b.column_stride, b.row_stride, count,
              depth);
  };
  const Product product{s.m, s.n, s.k, rows, columns, c};
  prefers_shared_a(s) ? run_shared_a(product, ws) : run_shared_b(product, ws);
}

std::size_t matmul_dynamic_bytes(const MatmulShape& s, int slots) {
  const std::size_t tiled =
      prefers_shared_a(s) ? shared_a_bytes(s.m, s.k, slots) : shared_b_bytes(s.n, s.k, slots);
  return std::max(run_few_rows_bytes(s, slots), tiled);
}

void matmul_batched(const BatchedMatmul& op, const MatrixRef& a, const MatrixRef& b,
                    const OutputRef& c, const Workspace& ws) {
  const std::int64_t jobs = element_count(op.batch);
  const MatmulShape& s = op.shape;
  const auto run = [&](std::int64_t job, const Workspace& space) {
    std::int64_t a_at = 0, b_at = 0, rest = job;
    for (std::size_t axis = op.batch.size(); axis-- > 0;) {
      const std::int64_t i = rest % op.batch[axis];
      rest /= op.batch[axis];
      a_at += i * op.a_strides[axis];
      b_at += i * op.b_strides[axis];
    }
    MatrixRef left = a, right = b;
    OutputRef out = c;
    left.data = static_cast<const std::byte*>(a.data) +
                a_at * static_cast<std::int64_t>(dtype_size(a.dtype));
    right.data = static_cast<const std::byte*>(b.data) +
                 b_at * static_cast<std::int64_t>(dtype_size(b.dtype));
    out.data = static_cast<std::byte*>(c.data) +
               job * s.m * c.row_stride * static_cast<std::int64_t>(dtype_size(c.dtype));
    matmul_dynamic(s, left, right, out, space);
  };
  // Many jobs share the threads out among themselves, few jobs share each one's tiles.
  if (ws.slots > 1 && (jobs >= 2 * ws.slots || (jobs > 1 && s.m * s.n * s.k < kSmallProduct))) {
    const std::size_t slice = matmul_dynamic_bytes(s, 1);
    const int slots = slots_for(jobs * s.m, s.n, s.k, ws.slots);
    run_slots(slots, jobs, [&](int slot, std::int64_t job) {
      run(job, {ws.data + static_cast<std::size_t>(slot) * slice, 1});
    });
    return;
  }
  for (std::int64_t job = 0; job < jobs; ++job) run(job, ws);
}

std::size_t matmul_batched_bytes(const BatchedMatmul& op, int slots) {
  return std::max(matmul_dynamic_bytes(op.shape, slots),
                  static_cast<std::size_t>(slots) * matmul_dynamic_bytes(op.shape, 1));
}

}  // namespace milane::host
