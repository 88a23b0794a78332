// Tensors made from little or nothing: fill, fill_like, range_1d, shape, one_hot.
#include <cstring>
#include <string>

#include "host/ops/indices.h"
#include "host/ops/movement.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

RunFn run_fill(const Operand& y, const Cell& cell) {
  const std::int64_t count = y.count();
  const auto size = static_cast<std::int64_t>(cell.size);
  return [=](const Exec& e) {
    std::byte* out = e.out<std::byte>(y);
    parallel_for(count, grain_for_bytes(size), [&](std::int64_t begin, std::int64_t end) {
      fill_cells(out + begin * size, cell, end - begin);
    });
  };
}

// `value`, which may be left out, as the output stores it.
Cell value_cell(const OpSite& site) {
  element_bytes(site, site.out());
  return encode_cell(site.out().dtype, site.args.number("value"));
}

}  // namespace

// The shape is the output's: a run-time `shape` is no obstacle where the program declares it.
RunFn op_fill(OpSite& site) {
  if (!is_static(site.out().dims)) {
    site.args.fail("shape", "expected a constant on the host engine, got a run-time value");
  }
  return run_fill(site.out(), value_cell(site));
}

RunFn op_fill_like(OpSite& site) { return run_fill(site.out(), value_cell(site)); }

// y[i] = start + i * step, one rounding; the length is the output's. start and step may come at
// run time where the program declares the length.
RunFn op_range_1d(OpSite& site) {
  const Operand y = site.out(), start = site.in("start"), step = site.in("step");
  if (!is_static(y.dims)) {
    site.args.fail("end", "expected a constant on the host engine, got a run-time value");
  }
  const std::int64_t count = y.count();
  const auto scalar = [](const Exec& e, const Operand& o) -> double {
    switch (o.dtype) {
      case DType::kFp16:
        return half_to_float(*e.in<Half>(o));
      case DType::kFp32:
        return *e.in<float>(o);
      default:
        return static_cast<double>(read_index(e.in<std::byte>(o), o.dtype, 0));
    }
  };
  const auto size = static_cast<std::int64_t>(element_bytes(site, y));
  return [=](const Exec& e) {
    const double first = scalar(e, start), by = scalar(e, step);
    std::byte* out = e.out<std::byte>(y);
    for (std::int64_t i = 0; i < count; ++i) {
      const Cell cell = encode_cell(y.dtype, first + static_cast<double>(i) * by);
      std::memcpy(out + i * size, cell.bytes.data(), size);
    }
  };
}

RunFn op_shape(OpSite& site) {
  const Operand y = site.out();
  const Dims dims = site.in("x").dims;
  if (y.count() != static_cast<std::int64_t>(dims.size())) {
    site.args.fail("x", "expected a shape of " + std::to_string(y.count()) + " values, got " +
                            std::to_string(dims.size()));
  }
  const std::size_t size = element_bytes(site, y);
  return [=](const Exec& e) {
    std::byte* out = e.out<std::byte>(y);
    for (const std::int64_t d : dims) {
      const Cell cell = encode_cell(y.dtype, static_cast<double>(d));
      std::memcpy(out, cell.bytes.data(), size);
      out += size;
    }
  };
}

// An index outside [0, one_hot_vector_size), negative ones included, leaves its vector all off.
RunFn op_one_hot(OpSite& site) {
  const Operand indices = site.in("indices"), y = site.out();
  expect_index_dtype(site, "indices");
  const std::size_t rank = y.dims.size();
  if (rank != indices.dims.size() + 1 || !is_static(y.dims)) {
    site.args.fail("one_hot_vector_size",
                   "expected a constant on the host engine, got a run-time value");
  }
  const auto axis = static_cast<std::size_t>(site.args.axis("axis", rank));
  const Cell on = encode_cell(y.dtype, site.args.number("on_value"));
  const Cell off = encode_cell(y.dtype, site.args.number("off_value"));
  const auto size = static_cast<std::int64_t>(element_bytes(site, y));
  const std::int64_t depth = y.dims[axis], inner = contiguous_strides(y.dims)[axis];
  const std::int64_t count = indices.count(), slab = depth * inner;
  const std::int64_t outer = inner == 0 ? 0 : count / inner;
  return [=](const Exec& e) {
    const std::byte* index = e.in<std::byte>(indices);
    std::byte* out = e.out<std::byte>(y);
    // outer x [depth][inner]
    parallel_for(outer, grain_for_bytes(slab * size), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t o = begin; o < end; ++o) {
        std::byte* to = out + o * slab * size;
        fill_cells(to, off, slab);
        for (std::int64_t i = 0; i < inner; ++i) {
          const std::int64_t k = read_index(index, indices.dtype, o * inner + i);
          if (k >= 0 && k < depth) std::memcpy(to + (k * inner + i) * size, on.bytes.data(), size);
        }
      }
    });
  };
}

}  // namespace milane::host
