// tile, pad, band_part, sliding_windows: outputs that repeat, surround or mask their input.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "host/ops/movement.h"
#include "host/parallel.h"

namespace milane::host {

// Each axis becomes (repetition, position), the repetition with a source stride of zero. The
// repetitions are read off the shapes, so `reps` itself may be a run-time value.
RunFn op_tile(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  if (x.dims.size() != y.dims.size() || !is_static(y.dims)) {
    site.args.fail("reps", "expected a constant on the host engine, got a run-time value");
  }
  const Dims from = contiguous_strides(x.dims), to = contiguous_strides(y.dims);
  Dims dims, src, dst;
  for (std::size_t i = 0; i < x.dims.size(); ++i) {
    const std::int64_t d = x.dims[i], reps = d == 0 ? 0 : y.dims[i] / d;
    if (d != 0 && y.dims[i] % d != 0) {
      site.args.fail("reps", "expected " + to_string(y.dims) + " to be whole repetitions of " +
                                 to_string(x.dims));
    }
    dims.insert(dims.end(), {reps, d});
    src.insert(src.end(), {0, from[i]});
    dst.insert(dst.end(), {to[i] * d, to[i]});
  }
  return run_copy(x, y, StridedCopy(element_bytes(site, x), dims, src, dst));
}

namespace {

enum class PadMode { kConstant, kReflect, kReplicate };

// Source position of output position `at` on an axis of `dim`; -1 where the constant goes.
inline std::int64_t pad_source(PadMode mode, std::int64_t at, std::int64_t dim) {
  if (at >= 0 && at < dim) return at;
  if (mode == PadMode::kConstant) return -1;
  if (mode == PadMode::kReplicate) return at < 0 ? 0 : dim - 1;
  return at < 0 ? -at : 2 * (dim - 1) - at;
}

// x seen as [axes..., row] blocks of `block` elements: trailing axes without padding form the
// block.
struct Padding {
  PadMode mode = PadMode::kConstant;
  int outer = 0;  // axes before the row
  std::array<std::int64_t, kMaxAxes> src_dims{}, dst_dims{}, before{}, src_pitch{};
  std::int64_t src_row = 1, dst_row = 1, row_before = 0;  // in blocks
  std::int64_t block_bytes = 1, rows = 1;
  Cell cell;

  void fill(std::byte* dst, std::int64_t blocks) const {
    if (blocks > 0)
      fill_cells(dst, cell, blocks * block_bytes / static_cast<std::int64_t>(cell.size));
  }
  // Source row of output row `r`, or -1.
  std::int64_t source_row(std::int64_t r) const {
    std::int64_t row = 0;
    for (int a = outer; a-- > 0;) {
      const std::int64_t s = pad_source(mode, r % dst_dims[a] - before[a], src_dims[a]);
      if (s < 0) return -1;
      row += s * src_pitch[a];
      r /= dst_dims[a];
    }
    return row;
  }
  void run_row(std::byte* dst, const std::byte* src) const;
};

// dst [dst_row][block] from src [src_row][block]: what comes before, the middle, what comes after
void Padding::run_row(std::byte* dst, const std::byte* src) const {
  const std::int64_t low = std::clamp<std::int64_t>(row_before, 0, dst_row);
  const std::int64_t high = std::clamp(row_before + src_row, low, dst_row);
  if (high > low) {
    std::memcpy(dst + low * block_bytes, src + (low - row_before) * block_bytes,
                (high - low) * block_bytes);
  }
  if (mode == PadMode::kConstant) {
    fill(dst, low);
    fill(dst + high * block_bytes, dst_row - high);
    return;
  }
  const auto edge = [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t s = pad_source(mode, i - row_before, src_row);
      std::memcpy(dst + i * block_bytes, src + s * block_bytes, block_bytes);
    }
  };
  edge(0, low);
  edge(high, dst_row);
}

PadMode pad_mode(const OpSite& site) {
  const std::string& mode = site.args.text("mode");
  if (mode == "constant") return PadMode::kConstant;
  if (mode == "reflect") return PadMode::kReflect;
  if (mode == "replicate") return PadMode::kReplicate;
  site.args.fail("mode", "expected constant, reflect or replicate, got " + mode);
}

// Amount before each axis; `pad` lists pairs for the last axes. Amounts after follow from the
// shapes; both are held to what the mode can reach, so that no row is read outside the input.
Dims pads_before(const OpSite& site, const Operand& x, const Operand& y, PadMode mode) {
  if (!site.args.known("pad")) {
    site.args.fail("pad", "expected a constant on the host engine, got a run-time value");
  }
  const auto pads = site.args.integers("pad");
  const std::size_t rank = x.dims.size(), padded = pads.size() / 2;
  if (pads.size() % 2 != 0 || padded > rank || y.dims.size() != rank) {
    site.args.fail("pad", "expected at most " + std::to_string(2 * rank) +
                              " values in pairs, got " + std::to_string(pads.size()));
  }
  Dims before(rank, 0);
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t d = x.dims[i];
    const std::size_t pair = 2 * (i + padded - rank);
    const bool listed = i + padded >= rank;
    before[i] = listed ? pads[pair] : 0;
    const std::int64_t after = y.dims[i] - d - before[i];
    const bool empty = mode == PadMode::kReplicate && d == 0;
    const std::int64_t reach = mode == PadMode::kReflect ? std::max<std::int64_t>(d - 1, 0)
                               : empty                   ? 0
                                                         : -1;  // no limit
    if (after != (listed ? pads[pair + 1] : 0)) {
      site.args.fail("pad", "expected the padded shape " + to_string(y.dims) + " on axis " +
                                std::to_string(i) + ", got another");
    }
    if (reach >= 0 && (before[i] > reach || after > reach)) {
      site.args.fail("pad", "expected at most " + std::to_string(reach) + " on axis " +
                                std::to_string(i) + ", got " +
                                std::to_string(std::max(before[i], after)));
    }
  }
  return before;
}

Padding plan_padding(const OpSite& site, const Operand& x, const Operand& y) {
  Padding p;
  p.mode = pad_mode(site);
  const Dims before = pads_before(site, x, y, p.mode);
  const auto bytes = static_cast<std::int64_t>(element_bytes(site, x));
  p.cell =
      encode_cell(y.dtype, p.mode == PadMode::kConstant ? site.args.number("constant_val") : 0);
  int row = static_cast<int>(x.dims.size()) - 1;
  p.block_bytes = bytes;
  while (row > 0 && x.dims[row] == y.dims[row] && before[row] == 0) p.block_bytes *= x.dims[row--];
  if (row < 0) return p;  // rank 0
  p.outer = row;
  p.src_row = x.dims[row];
  p.dst_row = y.dims[row];
  p.row_before = before[row];
  std::int64_t pitch = 1;
  for (int a = row; a-- > 0;) {
    p.src_dims[a] = x.dims[a];
    p.dst_dims[a] = y.dims[a];
    p.before[a] = before[a];
    p.src_pitch[a] = pitch;
    pitch *= x.dims[a];
    p.rows *= y.dims[a];
  }
  return p;
}

}  // namespace

RunFn op_pad(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const Padding p = plan_padding(site, x, y);
  const std::int64_t src_bytes = p.src_row * p.block_bytes, dst_bytes = p.dst_row * p.block_bytes;
  return [=](const Exec& e) {
    const std::byte* src = e.in<std::byte>(x);
    std::byte* dst = e.out<std::byte>(y);
    parallel_for(p.rows, grain_for_bytes(dst_bytes), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const std::int64_t s = p.source_row(r);
        if (s < 0) {
          p.fill(dst + r * dst_bytes, p.dst_row);
        } else {
          p.run_row(dst + r * dst_bytes, src + s * src_bytes);
        }
      }
    });
  };
}

// Keeps (m, n) with m - n <= lower and n - m <= upper; a negative bound keeps that whole side.
RunFn op_band_part(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const std::size_t rank = x.dims.size();
  if (rank < 2) site.args.fail("x", "expected rank 2 or more, got " + std::to_string(rank));
  const std::int64_t lower = site.args.integer("lower"), upper = site.args.integer("upper");
  const std::int64_t height = x.dims[rank - 2], width = x.dims[rank - 1];
  const auto size = static_cast<std::int64_t>(element_bytes(site, x));
  const std::int64_t rows = width == 0 ? 0 : x.count() / width, row_bytes = width * size;
  return [=](const Exec& e) {
    const std::byte* src = e.in<std::byte>(x);
    std::byte* dst = e.out<std::byte>(y);
    // rows x [width]: zeros, the band, zeros; the zero of every dtype is all bits clear
    parallel_for(rows, grain_for_bytes(row_bytes), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const std::int64_t m = r % height;
        const std::int64_t low = lower < 0 ? 0 : std::clamp<std::int64_t>(m - lower, 0, width);
        const std::int64_t high =
            upper < 0 ? width : std::clamp<std::int64_t>(m + upper + 1, low, width);
        std::byte* to = dst + r * row_bytes;
        std::memset(to, 0, low * size);
        std::memcpy(to + low * size, src + r * row_bytes + low * size, (high - low) * size);
        std::memset(to + high * size, 0, (width - high) * size);
      }
    });
  };
}

// [..., d, ...] -> [..., windows, size, ...]: the two new axes both walk the old one.
RunFn op_sliding_windows(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const std::size_t rank = x.dims.size();
  const auto axis = static_cast<std::size_t>(site.args.axis("axis", rank));
  const std::int64_t size = site.args.integer("size"), stride = site.args.integer("stride");
  if (y.dims.size() != rank + 1 || y.dims[axis + 1] != size || stride < 1 || y.dims[axis] < 1 ||
      (y.dims[axis] - 1) * stride + size > x.dims[axis]) {
    site.args.fail("size", "expected windows inside an axis of " + std::to_string(x.dims[axis]) +
                               ", got size " + std::to_string(size) + " and stride " +
                               std::to_string(stride));
  }
  Dims strides = contiguous_strides(x.dims);
  const std::int64_t pitch = strides[axis];
  strides[axis] = pitch * stride;
  strides.insert(strides.begin() + static_cast<std::ptrdiff_t>(axis) + 1, pitch);
  return run_copy(x, y,
                  StridedCopy(element_bytes(site, x), y.dims, strides, contiguous_strides(y.dims)));
}

}  // namespace milane::host
