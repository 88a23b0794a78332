#include "host/gemm_bf16.h"

#include <algorithm>

#include "core/integers.h"
#include "host/kernels/bf16.h"

namespace milane::host {
namespace {

// Up to this many vectors fp16 is as fast (measured for convolutions): it is bound by memory.
constexpr std::int64_t kFewVectors = 8;
// Vectors are packed in pieces of about this many elements.
constexpr std::int64_t kPieceElements = std::int64_t{1} << 22;
// Columns that a task multiplies one panel of rows with stay in the second-level cache.
constexpr std::int64_t kGroupElements = std::int64_t{1} << 18;
// Columns of a tile.
constexpr std::int64_t kWide = Bf16Kernels::kPanels * kPanel;

std::int64_t panel_elements(std::int64_t depth) { return round_up(depth, 2) * kPanel; }
std::int64_t element_of(const PackedView& v, std::int64_t row) {
  return row / kPanel * panel_elements(v.depth);
}
const Bf16* data_of(const PackedView& v) { return reinterpret_cast<const Bf16*>(v.data); }

// Vectors packed at a time: whole panels.
std::int64_t piece_of(std::int64_t vectors, std::int64_t depth) {
  const std::int64_t fit = kPieceElements / panel_elements(std::max<std::int64_t>(depth, 1));
  return std::min(ceil_div(vectors, kPanel), std::max<std::int64_t>(fit, kPanel)) * kPanel;
}

void pack_panel(const PackedView& to, const MatrixRef& from, std::int64_t index) {
  const std::int64_t row = index * kPanel;
  bf16_kernels()->pack(reinterpret_cast<Bf16*>(to.data) + element_of(to, row),
                       static_cast<const Half*>(from.data) + row * from.row_stride, from.row_stride,
                       from.column_stride, std::min(kPanel, to.rows - row), to.depth);
}

struct Product {
  PackedView a, b;  // rows of C, and its columns
  OutputRef c;
  std::int64_t row, column;  // of C, where they begin
};

// Panels of the next tile, of so many left: one alone would have too few sums to hide their
// latency.
std::int64_t tile_panels(std::int64_t left) {
  constexpr std::int64_t kMost = Bf16Kernels::kPanels;
  return left == kMost + 1 ? kMost - 1 : std::min(left, kMost);
}

// One panel of A's rows times columns [from, to) of B.
void multiply_panel(const Product& p, std::int64_t row, std::int64_t from, std::int64_t to) {
  const Bf16Kernels& kernel = *bf16_kernels();
  const std::int64_t rows = std::min(kPanel, p.a.rows - row);
  alignas(64) float acc[kPanel * kWide];
  for (std::int64_t j = from, panels = 0; j < to; j += panels * kPanel) {
    panels = tile_panels(ceil_div(to - j, kPanel));
    const std::int64_t columns = std::min(panels * kPanel, to - j);
    kernel.tile(data_of(p.a) + element_of(p.a, row), data_of(p.b) + element_of(p.b, j),
                panel_elements(p.b.depth), ceil_div(p.b.depth, 2), rows, panels, acc, kWide);
    store_tile(p.c, p.row + row, p.column + j, acc, kWide, rows, columns);
  }
}

void multiply(const Product& p, int slots) {
  const std::int64_t fit = kGroupElements / std::max<std::int64_t>(p.b.depth, 1) / kWide * kWide;
  const std::int64_t group = std::max(fit, kWide);
  const std::int64_t row_panels = ceil_div(p.a.rows, kPanel);
  if (p.a.rows * p.b.rows * p.b.depth < kSmallProduct) slots = 1;
  run_slots(slots, ceil_div(p.b.rows, group) * row_panels, [&](int, std::int64_t task) {
    const std::int64_t from = task / row_panels * group;
    multiply_panel(p, task % row_panels * kPanel, from, std::min(from + group, p.b.rows));
  });
}

// Packs the vectors in pieces, and gives each with its first one to body.
template <class Body>
void over_pieces(const MatrixRef& x, std::int64_t vectors, std::int64_t depth, const Workspace& ws,
                 Body body) {
  const std::int64_t step = piece_of(vectors, depth);
  for (std::int64_t at = 0; at < vectors; at += step) {
    const PackedView piece{DType::kBf16, ws.data, std::min(step, vectors - at), depth};
    MatrixRef from = x;
    from.data = static_cast<const Half*>(x.data) + at * x.row_stride;
    const int slots = piece.rows * depth < kSmallProduct / kPanel ? 1 : ws.slots;
    run_slots(slots, ceil_div(piece.rows, kPanel),
              [&](int, std::int64_t task) { pack_panel(piece, from, task); });
    body(piece, at);
  }
}

}  // namespace

bool pays_in_bf16(std::int64_t vectors) { return vectors > kFewVectors; }

void pack_bf16(const PackedView& to, const MatrixRef& from) {
  parallel_for(ceil_div(to.rows, kPanel), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) pack_panel(to, from, p);
  });
}

void bf16_weights_times(const PackedView& w, const MatrixRef& x, std::int64_t n, const OutputRef& c,
                        const Workspace& ws) {
  over_pieces(x, n, w.depth, ws, [&](const PackedView& piece, std::int64_t at) {
    multiply({w, piece, c, 0, at}, ws.slots);
  });
}

void bf16_times_weights(const MatrixRef& x, std::int64_t b, const PackedView& w, const OutputRef& c,
                        const Workspace& ws) {
  over_pieces(x, b, w.depth, ws, [&](const PackedView& piece, std::int64_t at) {
    multiply({piece, w, c, at, 0}, ws.slots);
  });
}

std::size_t bf16_product_bytes(std::int64_t vectors, std::int64_t k) {
  return packed_bytes_of(DType::kBf16, piece_of(vectors, k), k);
}

}  // namespace milane::host
