// Slices and reversals: strided copies whose origin may be known only at run time.
#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"
#include "host/ops/indices.h"
#include "host/ops/movement.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

// What one axis of a slice covers.
struct Range {
  std::int64_t begin = 0, count = 0;
};

// NumPy's x[begin:end:stride] on an axis of `dim`; a masked bound is the far end for the stride's
// direction. A squeezed axis takes x[begin] alone; out of bounds it covers nothing.
Range locate(std::int64_t dim, std::int64_t begin, std::int64_t end, std::int64_t stride,
             bool begin_masked, bool end_masked, bool squeezed) {
  if (squeezed) {
    const std::int64_t b = begin_masked ? 0 : wrap_index(begin, dim);
    return b >= 0 && b < dim ? Range{b, 1} : Range{};
  }
  const std::int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? dim : dim - 1;
  const auto bound = [&](std::int64_t v) { return std::clamp(wrap_index(v, dim), low, high); };
  const std::int64_t b = begin_masked ? (stride > 0 ? low : high) : bound(begin);
  const std::int64_t e = end_masked ? (stride > 0 ? high : low) : bound(end);
  const std::int64_t span = stride > 0 ? e - b : b - e, step = stride > 0 ? stride : -stride;
  return {b, span > 0 ? (span + step - 1) / step : 0};
}

// begin, end, stride and the masks of slice_by_index and slice_update, with the extent every axis
// must have. Bounds that are not constant are read at run time and held to that extent.
class Slice {
 public:
  // `whole` is the tensor sliced; `part` the shape of the slice, squeezed axes left out.
  Slice(const OpSite& site, const Dims& whole, const Dims& part);

  const Dims& extent() const { return extent_; }    // per axis of `whole`
  const Dims& strides() const { return strides_; }  // elements of `whole`
  // Offset of the slice's first element, in elements.
  std::int64_t origin(const Exec& e) const {
    if (!begin_.present() && !end_.present()) return origin_;
    return find_origin(&e);
  }

 private:
  std::int64_t find_origin(const Exec* e) const;
  // The constant list, or an empty one and the operand to read at run time.
  static Dims constant_or_operand(const OpSite& site, std::string_view name, std::size_t rank,
                                  Operand* operand);

  std::string where_;
  Dims dims_, begins_, ends_, steps_, extent_, strides_, pitches_;
  std::vector<bool> begin_mask_, end_mask_, squeeze_mask_;
  Operand begin_, end_;  // present when read at run time
  std::int64_t origin_ = 0;
};

Dims Slice::constant_or_operand(const OpSite& site, std::string_view name, std::size_t rank,
                                Operand* operand) {
  if (site.args.known(name)) {
    Dims values = site.args.integers(name);
    if (values.size() != rank) {
      site.args.fail(name, "expected " + std::to_string(rank) + " values, got " +
                               std::to_string(values.size()));
    }
    return values;
  }
  expect_index_dtype(site, name);
  *operand = site.in(name);
  if (operand->count() != static_cast<std::int64_t>(rank)) {
    site.args.fail(name, "expected " + std::to_string(rank) + " values, got " +
                             std::to_string(operand->count()));
  }
  return {};
}

Slice::Slice(const OpSite& site, const Dims& whole, const Dims& part)
    : where_(site_name(site)), dims_(whole), pitches_(contiguous_strides(whole)) {
  const std::size_t rank = whole.size();
  begins_ = constant_or_operand(site, "begin", rank, &begin_);
  ends_ = constant_or_operand(site, "end", rank, &end_);
  steps_ = site.args.integers_or("stride", rank, 1);
  begin_mask_ = site.args.booleans_or("begin_mask", rank, false);
  end_mask_ = site.args.booleans_or("end_mask", rank, false);
  squeeze_mask_ = site.args.booleans_or("squeeze_mask", rank, false);
  if (!is_static(part)) {
    site.args.fail("begin", "expected a constant on the host engine, got a run-time value");
  }
  std::size_t next = 0;
  for (std::size_t i = 0; i < rank; ++i) {
    if (squeeze_mask_[i]) steps_[i] = 1;
    if (steps_[i] == 0) site.args.fail("stride", "expected strides other than 0, got 0");
    const bool has_axis = !squeeze_mask_[i] && next < part.size();
    extent_.push_back(has_axis ? part[next++] : 1);
    strides_.push_back(pitches_[i] * steps_[i]);
  }
  if (next != part.size()) {
    site.args.fail("squeeze_mask", "expected a slice of shape " + to_string(part) +
                                       ", got one of rank " + std::to_string(next));
  }
  if (!begin_.present() && !end_.present()) origin_ = find_origin(nullptr);
}

std::int64_t Slice::find_origin(const Exec* e) const {
  std::int64_t origin = 0;
  for (std::size_t i = 0; i < dims_.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const std::int64_t begin =
        begin_.present() ? read_index(e->in<std::byte>(begin_), begin_.dtype, at) : begins_[i];
    const std::int64_t end =
        end_.present() ? read_index(e->in<std::byte>(end_), end_.dtype, at) : ends_[i];
    const Range range =
        locate(dims_[i], begin, end, steps_[i], begin_mask_[i], end_mask_[i], squeeze_mask_[i]);
    if (range.count != extent_[i]) {
      throw Error(e != nullptr ? ErrorCode::kEval : ErrorCode::kVerify,
                  where_ + ": expected " + std::to_string(extent_[i]) + " elements on axis " +
                      std::to_string(i) + " of " + std::to_string(dims_[i]) + ", got " +
                      std::to_string(range.count) + " from begin " + std::to_string(begin) +
                      " and end " + std::to_string(end));
    }
    if (range.count > 0) origin += range.begin * pitches_[i];
  }
  return origin;
}

}  // namespace

RunFn op_slice_by_index(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const Slice slice(site, x.dims, y.dims);
  const std::size_t bytes = element_bytes(site, x);
  const StridedCopy copy(bytes, slice.extent(), slice.strides(),
                         contiguous_strides(slice.extent()));
  const auto size = static_cast<std::int64_t>(bytes);
  return [=](const Exec& e) {
    copy.run(e.out<std::byte>(y), e.in<std::byte>(x) + slice.origin(e) * size);
  };
}

RunFn op_slice_update(OpSite& site) {
  const Operand x = site.in("x"), update = site.in("update"), y = site.out();
  const Slice slice(site, x.dims, update.dims);
  const std::size_t bytes = element_bytes(site, x);
  const StridedCopy copy(bytes, slice.extent(), contiguous_strides(slice.extent()),
                         slice.strides());
  const auto size = static_cast<std::int64_t>(bytes);
  return [=](const Exec& e) {
    const std::int64_t origin = slice.origin(e) * size;  // before anything is written: may throw
    std::byte* out = e.out<std::byte>(y);
    parallel_copy(out, e.in<std::byte>(x), static_cast<std::int64_t>(y.bytes()));
    copy.run(out + origin, e.in<std::byte>(update));
  };
}

// `begin` may come at run time; the sizes are the output's.
RunFn op_slice_by_size(OpSite& site) {
  const Operand x = site.in("x"), y = site.out(), begin = site.in("begin");
  const std::size_t rank = x.dims.size();
  if (!is_static(y.dims)) {
    site.args.fail("size", "expected a constant on the host engine, got a run-time value");
  }
  const Dims pitches = contiguous_strides(x.dims);
  const std::size_t bytes = element_bytes(site, x);
  const StridedCopy copy(bytes, y.dims, pitches, contiguous_strides(y.dims));
  const bool known = site.args.known("begin");
  const Dims begins = known ? site.args.integers("begin") : Dims{};
  if (!known) expect_index_dtype(site, "begin");
  const std::int64_t given = known ? static_cast<std::int64_t>(begins.size()) : begin.count();
  if (given != static_cast<std::int64_t>(rank) || y.dims.size() != rank) {
    site.args.fail("begin",
                   "expected " + std::to_string(rank) + " values, got " + std::to_string(given));
  }
  const std::string where = site_name(site);
  const auto origin = [=](const Exec* e) {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < rank; ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const std::int64_t raw =
          known ? begins[i] : read_index(e->in<std::byte>(begin), begin.dtype, at);
      const std::int64_t b = wrap_index(raw, x.dims[i]), last = x.dims[i] - y.dims[i];
      if (b < 0 || b > last) {
        throw Error(e != nullptr ? ErrorCode::kEval : ErrorCode::kVerify,
                    where + ": expected begin in [0, " + std::to_string(last) + "] on axis " +
                        std::to_string(i) + ", got " + std::to_string(raw));
      }
      offset += b * pitches[i];
    }
    return offset * static_cast<std::int64_t>(bytes);
  };
  if (known) return run_copy(x, y, copy, origin(nullptr));
  return [=](const Exec& e) { copy.run(e.out<std::byte>(y), e.in<std::byte>(x) + origin(&e)); };
}

RunFn op_crop(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const std::size_t rank = x.dims.size(), bytes = element_bytes(site, x);
  const auto height = site.args.integers("crop_height"), width = site.args.integers("crop_width");
  if (height.size() != 2) site.args.fail("crop_height", "expected 2 values");
  if (width.size() != 2) site.args.fail("crop_width", "expected 2 values");
  if (rank < 2) site.args.fail("x", "expected rank 3 or more, got " + std::to_string(rank));
  const Dims pitches = contiguous_strides(x.dims);
  if (height[0] < 0 || width[0] < 0 || height[0] + y.dims[rank - 2] > x.dims[rank - 2] ||
      width[0] + y.dims[rank - 1] > x.dims[rank - 1]) {
    site.args.fail("crop_height", "expected crops inside " + to_string(x.dims) + ", got " +
                                      to_string(height) + " and " + to_string(width));
  }
  const std::int64_t origin = height[0] * pitches[rank - 2] + width[0];
  return run_copy(x, y, StridedCopy(bytes, y.dims, pitches, contiguous_strides(y.dims)),
                  origin * static_cast<std::int64_t>(bytes));
}

RunFn op_reverse(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const std::size_t rank = x.dims.size(), bytes = element_bytes(site, x);
  std::vector<bool> reversed(rank, !site.args.has("axes"));
  if (site.args.has("axes")) {
    for (const std::int64_t a : site.args.axes("axes", rank)) reversed[a] = true;
  }
  const Dims dense = contiguous_strides(x.dims);
  Dims strides = dense;
  std::int64_t origin = 0;
  for (std::size_t i = 0; i < rank; ++i) {
    if (!reversed[i] || x.dims[i] == 0) continue;
    origin += (x.dims[i] - 1) * dense[i];
    strides[i] = -dense[i];
  }
  return run_copy(x, y, StridedCopy(bytes, x.dims, strides, dense),
                  origin * static_cast<std::int64_t>(bytes));
}

// For each batch b the first lengths[b] positions of seq_axis are reversed, the rest kept.
RunFn op_reverse_sequence(OpSite& site) {
  const Operand x = site.in("x"), y = site.out(), lengths = site.in("lengths");
  const std::size_t rank = x.dims.size();
  const std::int64_t seq = site.args.axis("seq_axis", rank);
  const std::int64_t batch = site.args.axis("batch_axis", rank);
  if (seq == batch) site.args.fail("seq_axis", "expected an axis other than batch_axis");
  expect_index_dtype(site, "lengths");
  const std::int64_t steps = x.dims[seq], batches = x.dims[batch];
  if (lengths.count() != batches) {
    site.args.fail("lengths", "expected " + std::to_string(batches) + " values, got " +
                                  std::to_string(lengths.count()));
  }
  const Dims pitches = contiguous_strides(x.dims);
  const std::int64_t inner = pitches[std::max(seq, batch)];
  const std::int64_t row = inner * static_cast<std::int64_t>(element_bytes(site, x));
  const std::int64_t rows = inner == 0 ? 0 : x.count() / inner;
  const std::int64_t seq_rows = inner == 0 ? 0 : pitches[seq] / inner;
  const std::int64_t batch_rows = inner == 0 ? 0 : pitches[batch] / inner;
  const std::string where = site_name(site);
  return [=](const Exec& e) {
    const std::byte* from = e.in<std::byte>(x);
    const std::byte* length = e.in<std::byte>(lengths);
    std::byte* to = e.out<std::byte>(y);
    for (std::int64_t b = 0; b < batches; ++b) {
      const std::int64_t n = read_index(length, lengths.dtype, b);
      if (n < 0 || n > steps) throw_bad_index(where, n, steps + 1);
    }
    // rows x [inner]; the two axes are somewhere among the rows
    parallel_for(rows, grain_for_bytes(row), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const std::int64_t s = r / seq_rows % steps, b = r / batch_rows % batches;
        const std::int64_t n = read_index(length, lengths.dtype, b);
        const std::int64_t source = s < n ? r + (n - 1 - 2 * s) * seq_rows : r;
        std::memcpy(to + r * row, from + source * row, row);
      }
    });
  };
}

}  // namespace milane::host
