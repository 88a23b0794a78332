#include "host/gemm.h"

#include <algorithm>
#include <atomic>

#include "core/integers.h"
#include "host/gemv.h"

namespace milane::host {
namespace {

// Rows of x that a task widens are about this many floats: they stay in the second-level cache.
constexpr std::int64_t kStripFloats = std::int64_t{1} << 17;
// Depth that sums pass before they go to memory; so that deep products have tasks of many rows.
constexpr std::int64_t kDepth = 1024;
// An operand known only at run time is packed in pieces of about this many elements.
constexpr std::int64_t kPieceElements = std::int64_t{1} << 23;
// Panels of so many elements stay in the second-level cache while all rows pass.
constexpr std::int64_t kResident = std::int64_t{1} << 18;
// Tasks per thread, so that threads end together; of at least so many panels, because each widens
// its rows.
constexpr std::int64_t kTasks = 4, kLeastPanels = 16;
constexpr std::int64_t kRun = ProductTile::kRun;

const std::byte* element(const MatrixRef& m, std::int64_t row, std::int64_t column) {
  return static_cast<const std::byte*>(m.data) + (row * m.row_stride + column * m.column_stride) *
                                                     static_cast<std::int64_t>(dtype_size(m.dtype));
}

int slots_for(const MatmulShape& s, int slots) {
  return s.m * s.n * s.k < kSmallProduct ? 1 : slots;
}

// How a product with packed columns is cut: tasks of some tiles of rows by some panels, which pass
// pieces of the depth.
struct Cut {
  std::int64_t height, tiles, panels, depth, row_blocks, panel_blocks;
  std::int64_t sums;  // floats that go to memory between pieces
  bool resident;      // all panels stay in the second-level cache

  Cut(const MatmulShape& s, int slots) {
    const std::int64_t unit = kernels().product_panels;
    const std::int64_t rows = std::max<std::int64_t>(s.m, 1);
    const std::int64_t all = std::max<std::int64_t>(ceil_div(s.n, kPanel), 1);
    height = equal_part(rows, kernels().product_rows, 2);
    resident = s.n * s.k <= kResident;
    depth = equal_part(s.k, resident ? 4 * kDepth : kDepth, kRun);
    const std::int64_t row_tiles = ceil_div(rows, height);
    const std::int64_t most = kStripFloats / tile_floats();
    tiles = resident ? 1 : equal_part(row_tiles, std::max<std::int64_t>(most, 1), 1);
    panels = round_up(all, unit);
    if (s.k > depth) {  // sums go to memory in between
      panels = equal_part(all, std::max(kStripFloats / (tiles * height * kPanel), unit), unit);
    }
    const auto count = [&] {
      row_blocks = ceil_div(row_tiles, tiles);
      panel_blocks = ceil_div(all, panels);
      return row_blocks * panel_blocks;
    };
    while (count() < kTasks * slots && slots > 1) {
      if (panels > kLeastPanels) {
        panels = equal_part(all, panels / 2, unit);
      } else if (tiles > 1) {
        tiles = equal_part(row_tiles, tiles / 2, 1);
      } else {
        break;
      }
    }
    sums = s.k > depth ? tiles * kernels().product_rows * panels * kPanel : 0;
  }
  std::int64_t tile_floats() const {
    return kernels().product_rows * std::max(round_up(depth, kRun), kRun);
  }
  std::int64_t strip_floats() const { return tiles * tile_floats(); }
  std::int64_t slot_floats() const { return round_up(strip_floats() + sums, kPanel); }
};

// Columns of a product, sixteen side by side for every unit of depth: packed, or as they lie where
// they are rows of a whole number of panels.
struct Panels {
  DType dtype;
  const std::byte* data;
  std::int64_t rows, depth;  // of the panels' matrix: C's columns
  std::int64_t apart, step;  // elements from panel to panel, and along the depth

  Panels(const PackedView& w)
      : dtype(w.dtype),
        data(w.data),
        rows(w.rows),
        depth(w.depth),
        apart(w.depth * kPanel),
        step(kPanel) {}
  Panels(const MatrixRef& b, const MatmulShape& s)
      : dtype(b.dtype),
        data(static_cast<const std::byte*>(b.data)),
        rows(s.n),
        depth(s.k),
        apart(kPanel),
        step(b.row_stride) {}
  std::int64_t size() const { return static_cast<std::int64_t>(dtype_size(dtype)); }
  const std::byte* at(std::int64_t p, std::int64_t k) const {
    return data + (p * apart + k * step) * size();
  }
};

// Rows times such columns: C(m x n) = X(m x k) W(n x k)^T.
class RowsProduct {
 public:
  RowsProduct(const MatrixRef& x, std::int64_t m, const Panels& w, const OutputRef& c, int slots)
      : x_(x),
        w_(w),
        c_(c),
        m_(m),
        slots_(slots_for({m, w.rows, w.depth}, slots)),
        cut_({m, w.rows, w.depth}, slots_) {}

  static std::int64_t floats(const MatmulShape& s, int slots) {
    slots = slots_for(s, slots);
    return slots * Cut(s, slots).slot_floats();
  }

  void run(float* memory) const {
    run_slots(slots_, cut_.row_blocks * cut_.panel_blocks, [&](int slot, std::int64_t task) {
      const std::int64_t row = task % cut_.row_blocks * cut_.tiles * cut_.height;
      const std::int64_t panel = task / cut_.row_blocks * cut_.panels;
      run_task({row, std::min(cut_.tiles, ceil_div(m_ - row, cut_.height)), panel,
                std::min(panel + cut_.panels, ceil_div(w_.rows, kPanel))},
               memory + slot * cut_.slot_floats());
    });
  }

 private:
  // So many tiles from a row on, by panels up to `end`.
  struct Task {
    std::int64_t row, tiles, panel, end;
  };
  void run_task(const Task& task, float* strip) const {
    std::int64_t k0 = 0;
    do {  // once for no depth at all: the result is the bias
      const std::int64_t depth = std::min(cut_.depth, w_.depth - k0);
      widen_strip(task, k0, depth, strip);
      run_piece(task, k0, depth, strip);
      k0 += cut_.depth;
    } while (k0 < w_.depth);
  }

  void run_piece(const Task& task, std::int64_t k0, std::int64_t depth, float* strip) const {
    const std::int64_t wide = kernels().product_panels;
    float* const sums = strip + cut_.strip_floats();
    ProductTile to = piece(k0, depth);
    Ahead ahead = rows_ahead(task.row + task.tiles * cut_.height,
                             ceil_div(task.end - task.panel, wide) * depth);
    const std::int64_t panel_step = ceil_div(kPanel * w_.size(), task.tiles);
    for (std::int64_t p = task.panel; p < task.end; p += wide) {
      to.panels = std::min(wide, task.end - p);
      to.columns = std::min(to.panels * kPanel, w_.rows - p * kPanel);
      to.column_bias = c_.column_bias != nullptr ? c_.column_bias + p * kPanel : nullptr;
      const std::byte* const w = w_.at(p, k0);
      if (!cut_.resident) {
        const bool packed = w_.step == kPanel && p + wide < task.end;
        ahead =
            packed ? Ahead{w_.at(p + wide, k0), w_.apart * w_.size(), panel_step} : Ahead{w, 0, 0};
      }
      to.next_apart = ahead.apart;
      to.next_step = ahead.step;
      for (std::int64_t t = 0; t < task.tiles; ++t) {
        const std::int64_t first = task.row + t * cut_.height;
        to.x = strip + t * cut_.tile_floats();
        to.rows = std::min(cut_.height, m_ - first);
        to.row_bias = c_.row_bias != nullptr ? c_.row_bias + first : nullptr;
        to.sums = sums + (t * cut_.panels + p - task.panel) * kernels().product_rows * kPanel;
        to.y =
            static_cast<std::byte*>(c_.data) +
            (first * c_.row_stride + p * kPanel) * static_cast<std::int64_t>(dtype_size(c_.dtype));
        to.next = ahead.from;
        ahead.from += ahead.step * depth;
        if (w_.dtype == DType::kFp16) {
          kernels().product_tile_half(to, reinterpret_cast<const Half*>(w));
        } else {
          kernels().product_tile_float(to, reinterpret_cast<const float*>(w));
        }
      }
    }
  }

  // What tiles bring nearer on the way: two streams, so many bytes of each for a unit of depth.
  struct Ahead {
    const std::byte* from;
    std::int64_t apart, step;
  };
  // The next task's rows, while all tiles of this one pass so much depth.
  Ahead rows_ahead(std::int64_t row, std::int64_t depth) const {
    const std::int64_t rows = std::min(cut_.height, m_ - row);
    if (!cut_.resident || rows <= 0 || x_.column_stride != 1 || depth == 0) return {w_.data, 0, 0};
    const std::int64_t half =
        rows * x_.row_stride * static_cast<std::int64_t>(dtype_size(x_.dtype)) / 2;
    return {element(x_, row, 0), half, ceil_div(half, depth)};
  }

  // What the tiles of a piece of the depth have in common.
  ProductTile piece(std::int64_t k0, std::int64_t depth) const {
    ProductTile t{};
    t.depth = depth;
    t.panel = w_.apart;
    t.panel_step = w_.step;
    t.first = k0 == 0;
    t.last = k0 + depth >= w_.depth;
    t.half = c_.dtype == DType::kFp16;
    t.add = c_.add;
    t.row_stride = c_.row_stride;
    if (c_.following != nullptr) {
      t.after = c_.following->code.data();
      t.steps = c_.following->steps();
    }
    return t;
  }

  // Tiles of rows, each [depth / kRun][product_rows][kRun].
  void widen_strip(const Task& task, std::int64_t k0, std::int64_t depth, float* strip) const {
    // Where rows lie across, a line is of several tiles.
    const std::int64_t run = x_.column_stride == 1 ? depth : kRun;
    for (std::int64_t k = 0; k < depth; k += run) {
      if (x_.row_stride == 1 && k + run < depth)
        bring_nearer(task, k0 + k + run, std::min(run, depth - k - run));
      for (std::int64_t t = 0; t < task.tiles; ++t) {
        widen(task.row + t * cut_.height, k0 + k, std::min(run, depth - k),
              strip + t * cut_.tile_floats() + k * kernels().product_rows);
      }
    }
  }

  // Rows of x that lie across, side by side: no CPU sees by itself what comes next.
  void bring_nearer(const Task& task, std::int64_t k0, std::int64_t depth) const {
    const std::int64_t rows = std::min(task.tiles * cut_.height, m_ - task.row);
    const std::int64_t bytes = rows * static_cast<std::int64_t>(dtype_size(x_.dtype));
    for (std::int64_t k = 0; k < depth; ++k) {
      const std::byte* const from = element(x_, task.row, k0 + k);
      for (std::int64_t at = 0; at < bytes + 63; at += 64) __builtin_prefetch(from + at);
    }
  }

  // to[depth / kRun][product_rows][kRun] from a tile's rows of x; of one run where they lie across.
  // An odd row more is read, for nobody.
  void widen(std::int64_t row, std::int64_t k0, std::int64_t depth, float* to) const {
    const std::int64_t rows = std::min(cut_.height, m_ - row), block = kernels().product_rows;
    const std::byte* const from = element(x_, row, k0);
    if (rows % 2 != 0) {
      for (std::int64_t k = 0; k < depth; k += kRun)
        std::fill_n(to + k * block + rows * kRun, kRun, 0.0f);
    }
    if (x_.column_stride != 1) {
      return pack_tile(x_.dtype, to, kRun, from, x_.column_stride, x_.row_stride, depth, rows);
    }
    if (x_.dtype == DType::kFp16) {
      kernels().cut_rows_half(to, reinterpret_cast<const Half*>(from), x_.row_stride, rows, depth);
    } else {
      kernels().cut_rows_float(to, reinterpret_cast<const float*>(from), x_.row_stride, rows,
                               depth);
    }
  }

  MatrixRef x_;
  Panels w_;
  OutputRef c_;
  std::int64_t m_;
  int slots_;
  Cut cut_;
};

// Whether so few rows pass that packing columns, which lie side by side, costs more than it brings.
bool reads_in_place(const MatmulShape& s, const MatrixRef& b) {
  return b.column_stride == 1 && s.n % kPanel == 0 && s.m <= 2 * kernels().product_rows;
}

// Columns of a run-time operand that are packed at a time.
std::int64_t piece_columns(const MatmulShape& s) {
  const std::int64_t fit = kPieceElements / std::max<std::int64_t>(s.k, 1) / kPanel * kPanel;
  return std::min(round_up(s.n, kPanel), std::max(fit, 8 * kPanel));
}
std::int64_t piece_floats(const MatmulShape& s) {
  return round_up(piece_columns(s) * s.k, kPanel);  // halves need fewer
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

void linear_packed(const MatrixRef& x, std::int64_t b, const PackedView& w, const OutputRef& c,
                   const Workspace& ws) {
  float* const memory = reinterpret_cast<float*>(ws.data);
  if (b <= most_vectors()) {  // [k][b]
    pack_tile(x.dtype, memory, b, x.data, x.row_stride, x.column_stride, b, w.depth);
    run_vectors(w, memory, b, c, false, ws.slots);
    if (c.following != nullptr) c.following->run(c.dtype, c.data, b * w.rows);
    return;
  }
  RowsProduct(x, b, w, c, ws.slots).run(memory);
}

std::size_t linear_packed_bytes(std::int64_t b, std::int64_t n, std::int64_t k, int slots) {
  const std::int64_t floats =
      b <= most_vectors() ? round_up(k * b, kPanel) : RowsProduct::floats({b, n, k}, slots);
  return static_cast<std::size_t>(floats) * sizeof(float);
}

bool is_tiled(const MatmulShape& s) { return s.m > kFewRows && s.n > 1; }

void matmul_dynamic(const MatmulShape& s, const MatrixRef& a, const MatrixRef& b,
                    const OutputRef& c, const Workspace& ws) {
  const bool column =
      s.n == 1 && s.m > 1 && c.row_stride == 1 && c.row_bias == nullptr && c.column_bias == nullptr;
  if (column) {  // a matrix times a vector is the vector times its transpose
    const MatrixRef left{b.dtype, b.data, b.column_stride, b.row_stride};
    const MatrixRef right{a.dtype, a.data, a.column_stride, a.row_stride};
    OutputRef row = c;
    row.row_stride = s.m;
    return run_few_rows({1, s.m, s.k}, left, right, row, ws);
  }
  if (s.m <= kFewRows) return run_few_rows(s, a, b, c, ws);
  if (reads_in_place(s, b)) {
    RowsProduct(a, s.m, Panels(b, s), c, ws.slots).run(reinterpret_cast<float*>(ws.data));
    return;
  }
  const std::int64_t step = piece_columns(s);
  float* const memory = reinterpret_cast<float*>(ws.data);
  for (std::int64_t n0 = 0; n0 < s.n; n0 += step) {
    const PackedView piece{b.dtype, ws.data, std::min(step, s.n - n0), s.k};
    pack_rows(piece, {b.dtype, element(b, 0, n0), b.column_stride, b.row_stride}, 0, s.k);
    OutputRef to = c;
    to.data = static_cast<std::byte*>(c.data) + n0 * static_cast<std::int64_t>(dtype_size(c.dtype));
    if (to.column_bias != nullptr) to.column_bias += n0;
    RowsProduct(a, s.m, piece, to, ws.slots).run(memory + piece_floats(s));
  }
}

std::size_t matmul_dynamic_bytes(const MatmulShape& s, int slots) {
  const std::int64_t step = piece_columns(s), rest = s.n % std::max<std::int64_t>(step, 1);
  const auto floats = [&](std::int64_t n) { return RowsProduct::floats({s.m, n, s.k}, slots); };
  const std::int64_t tiled =
      std::max(floats(s.n), piece_floats(s) + std::max(floats(std::min(step, s.n)), floats(rest)));
  return std::max(run_few_rows_bytes(s, slots), static_cast<std::size_t>(tiled) * sizeof(float));
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
    const int slots = slots_for({jobs * s.m, s.n, s.k}, ws.slots);
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
