// gather, gather_along_axis, gather_nd: bits copied from positions known at run time.
#include <cstring>
#include <string>

#include "host/ops/indices.h"
#include "host/ops/movement.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

std::int64_t product(const Dims& dims, std::size_t first, std::size_t last) {
  std::int64_t n = 1;
  for (std::size_t i = first; i < last; ++i) n *= dims[i];
  return n;
}

std::int64_t batch_dims(const OpSite& site, std::size_t rank) {
  const std::int64_t b = site.args.known("batch_dims") ? site.args.integer("batch_dims") : 0;
  if (b < 0 || b > static_cast<std::int64_t>(rank)) {
    site.args.fail("batch_dims", "expected batch_dims in [0, " + std::to_string(rank) + "], got " +
                                     std::to_string(b));
  }
  return b;
}

void check_count(const OpSite& site, const Operand& y, std::int64_t count) {
  if (y.count() != count) {
    site.args.fail("indices", "expected indices that fill " + to_string(y.dims) + ", got " +
                                  std::to_string(count) + " elements");
  }
}

void check_not_empty(const OpSite& site, std::int64_t bound, std::int64_t wanted) {
  if (bound == 0 && wanted > 0) site.args.fail("x", "expected elements to gather from, got none");
}

// memcpy with the sizes of single elements inlined.
inline void copy_slice(std::byte* dst, const std::byte* src, std::int64_t bytes) {
  switch (bytes) {
    case 1:
      std::memcpy(dst, src, 1);
      return;
    case 2:
      std::memcpy(dst, src, 2);
      return;
    case 4:
      std::memcpy(dst, src, 4);
      return;
    default:
      std::memcpy(dst, src, bytes);
  }
}

}  // namespace

RunFn op_gather(OpSite& site) {
  const Operand x = site.in("x"), indices = site.in("indices"), y = site.out();
  expect_index_dtype(site, "indices");
  const std::size_t rank = x.dims.size();
  const auto axis = static_cast<std::size_t>(site.args.axis("axis", rank));
  const auto b = static_cast<std::size_t>(batch_dims(site, indices.dims.size()));
  if (b > axis) site.args.fail("batch_dims", "expected batch_dims up to axis");
  // y[batch][outer][n][inner] = x[batch][outer][index[batch][n]][inner]
  const std::int64_t batch = product(x.dims, 0, b), outer = product(x.dims, b, axis);
  const std::int64_t bound = x.dims[axis], inner = product(x.dims, axis + 1, rank);
  const std::int64_t n = product(indices.dims, b, indices.dims.size());
  check_count(site, y, batch * outer * n * inner);
  if (indices.count() != batch * n) {
    site.args.fail("indices", "expected the batch dimensions of x, got " + to_string(indices.dims));
  }
  check_not_empty(site, bound, y.count());
  const std::int64_t bytes = inner * static_cast<std::int64_t>(element_bytes(site, x));
  const bool validate = wants_validation(site);
  const std::string where = site_name(site);
  return [=](const Exec& e) {
    const std::byte* from = e.in<std::byte>(x);
    const std::byte* at = e.in<std::byte>(indices);
    std::byte* to = e.out<std::byte>(y);
    if (validate) validate_indices(where, at, indices.dtype, batch * n, bound);
    const auto body = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const std::int64_t slab = r / n;
        const std::int64_t i = read_index(at, indices.dtype, slab / outer * n + r % n);
        copy_slice(to + r * bytes, from + (slab * bound + clamp_index(i, bound)) * bytes, bytes);
      }
    };
    parallel_for(batch * outer * n, grain_for_bytes(bytes), body);
  };
}

RunFn op_gather_along_axis(OpSite& site) {
  const Operand x = site.in("x"), indices = site.in("indices"), y = site.out();
  expect_index_dtype(site, "indices");
  const std::size_t rank = x.dims.size();
  const auto axis = static_cast<std::size_t>(site.args.axis("axis", rank));
  for (std::size_t i = 0; i < rank; ++i) {
    if (indices.dims.size() == rank && (i == axis || indices.dims[i] == x.dims[i])) continue;
    site.args.fail("indices", "expected the shape of x but for axis " + std::to_string(axis) +
                                  ", got " + to_string(indices.dims) + " for " + to_string(x.dims));
  }
  // y[o][k][i] = x[o][index[o][k][i]][i]
  const std::int64_t inner = product(x.dims, axis + 1, rank), bound = x.dims[axis];
  const std::int64_t n = indices.dims[axis], rows = product(x.dims, 0, axis) * n;
  check_count(site, y, rows * inner);
  check_not_empty(site, bound, y.count());
  const auto size = static_cast<std::int64_t>(element_bytes(site, x));
  const bool validate = wants_validation(site);
  const std::string where = site_name(site);
  return [=](const Exec& e) {
    const std::byte* from = e.in<std::byte>(x);
    const std::byte* at = e.in<std::byte>(indices);
    std::byte* to = e.out<std::byte>(y);
    if (validate) validate_indices(where, at, indices.dtype, rows * inner, bound);
    const auto body = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const std::byte* slab = from + r / n * bound * inner * size;
        for (std::int64_t i = 0; i < inner; ++i) {
          const std::int64_t k = clamp_index(read_index(at, indices.dtype, r * inner + i), bound);
          copy_slice(to + (r * inner + i) * size, slab + (k * inner + i) * size, size);
        }
      }
    };
    parallel_for(rows, grain_for_bytes(inner * size * 4), body);
  };
}

// The last axis of `indices` holds `depth` coordinates into x's axes after the batch ones.
RunFn op_gather_nd(OpSite& site) {
  const Operand x = site.in("x"), indices = site.in("indices"), y = site.out();
  expect_index_dtype(site, "indices");
  const std::size_t rank = x.dims.size(), index_rank = indices.dims.size();
  if (index_rank == 0) site.args.fail("indices", "expected rank 1 or more, got 0");
  const auto b = static_cast<std::size_t>(batch_dims(site, index_rank - 1));
  const std::int64_t depth = indices.dims.back();
  if (static_cast<std::int64_t>(b) + depth > static_cast<std::int64_t>(rank)) {
    site.args.fail("indices", "expected at most " + std::to_string(rank - b) +
                                  " coordinates, got " + std::to_string(depth));
  }
  const std::int64_t batch = product(x.dims, 0, b);
  const std::int64_t rows = product(indices.dims, b, index_rank - 1);
  const Dims pitches = contiguous_strides(x.dims);
  const std::int64_t inner = product(x.dims, b + static_cast<std::size_t>(depth), rank);
  const std::int64_t slab = product(x.dims, b, rank);
  check_count(site, y, batch * rows * inner);
  if (product(indices.dims, 0, b) != batch) {
    site.args.fail("indices", "expected the batch dimensions of x, got " + to_string(indices.dims));
  }
  check_not_empty(site, slab, y.count());
  const auto size = static_cast<std::int64_t>(element_bytes(site, x));
  const bool validate = wants_validation(site);
  const std::string where = site_name(site);
  return [=](const Exec& e) {
    const std::byte* from = e.in<std::byte>(x);
    const std::byte* at = e.in<std::byte>(indices);
    std::byte* to = e.out<std::byte>(y);
    for (std::int64_t i = 0; validate && i < batch * rows * depth; ++i) {
      const std::int64_t v = read_index(at, indices.dtype, i), bound = x.dims[b + i % depth];
      if (v < 0 || v >= bound) throw_bad_index(where, v, bound);
    }
    const auto body = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        std::int64_t offset = r / rows * slab;
        for (std::int64_t j = 0; j < depth; ++j) {
          const std::int64_t i = read_index(at, indices.dtype, r * depth + j);
          offset += clamp_index(i, x.dims[b + j]) * pitches[b + j];
        }
        copy_slice(to + r * inner * size, from + offset * size, inner * size);
      }
    };
    parallel_for(batch * rows, grain_for_bytes(inner * size), body);
  };
}

}  // namespace milane::host
