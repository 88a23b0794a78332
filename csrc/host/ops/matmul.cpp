// linear and matmul: packed constant weights where there are any.
#include <algorithm>
#include <array>
#include <utility>

#include "host/baking.h"
#include "host/ops/bf16_product.h"
#include "host/ops/operands.h"

namespace milane::host {
namespace {

// Weights [rows, depth] of a product: packed when planned, or at every run.
struct PackedOperand {
  PackedMatrix constant;
  Operand operand;
  MatrixRef shape;  // strides; data of the constant or null
  std::int64_t rows = 0, depth = 0;
  Scratch scratch;

  PackedOperand(OpSite& site, const Operand& o, std::int64_t row_stride, std::int64_t column_stride,
                std::int64_t n, std::int64_t k)
      : operand(o), shape{o.dtype, o.constant, row_stride, column_stride}, rows(n), depth(k) {
    if (o.is_constant()) {
      constant = pack_constant(site, o, {o.dtype, n, k},
                               [&](const PackedView& to) { pack_rows(to, shape, 0, k); });
    } else {
      scratch = site.scratch(packed_bytes_of(o.dtype, n, k));
    }
  }
  PackedView view(const Exec& e) const {
    if (operand.is_constant()) return constant.view();
    const PackedView packed{operand.dtype, e.scratch<std::byte>(scratch), rows, depth};
    MatrixRef from = shape;
    from.data = e.in<std::byte>(operand);
    pack_rows(packed, from, 0, depth);
    return packed;
  }
};

// y[b, n] = x[b, k] w[n, k]^T + bias[n]; rows of x are `x_row` apart.
RunFn packed_product(OpSite& site, const Operand& x, PackedOperand w, FloatValues bias,
                     std::int64_t b, std::int64_t x_row, std::int64_t x_column) {
  const int slots = num_threads();
  const Scratch work = site.scratch(linear_packed_bytes(b, w.rows, w.depth, slots));
  return [=, y = site.out(), following = site.following()](const Exec& e) {
    OutputRef to{y.dtype, e.out<std::byte>(y), w.rows, nullptr, bias.get(e)};
    to.following = following.get();
    linear_packed({x.dtype, e.in<std::byte>(x), x_row, x_column}, b, w.view(e), to,
                  {e.scratch<std::byte>(work), slots});
  };
}

// Strides of an operand's batch axes along those of the output; 0 where it is broadcast.
Dims batch_strides(const Dims& dims, std::size_t batch_rank) {
  const Dims strides = contiguous_strides(dims);
  Dims out(batch_rank, 0);
  const std::size_t own = dims.size() - 2;
  for (std::size_t i = 0; i < own; ++i) {
    out[batch_rank - own + i] = dims[i] == 1 ? 0 : strides[i];
  }
  return out;
}

// Of x as [m, k] and y as [k, n], in elements.
struct FactorStrides {
  std::int64_t x_row, x_column, y_row, y_column;
};

// out[batch, m, n] = x[batch, m, k] y[batch, k, n] in int32, wrapping; index arithmetic of
// programs, never large.
RunFn integer_matmul(const BatchedMatmul& op, const Operand& x, const Operand& y,
                     const Operand& out, const FactorStrides& s) {
  return [=](const Exec& e) {
    const auto [m, n, k] = std::array{op.shape.m, op.shape.n, op.shape.k};
    for (std::int64_t b = 0; b < element_count(op.batch); ++b) {
      std::int64_t rest = b, x_at = 0, y_at = 0;
      for (std::size_t i = op.batch.size(); i-- > 0; rest /= op.batch[i]) {
        x_at += rest % op.batch[i] * op.a_strides[i];
        y_at += rest % op.batch[i] * op.b_strides[i];
      }
      const auto* const xs = e.in<std::uint32_t>(x) + x_at;
      const auto* const ys = e.in<std::uint32_t>(y) + y_at;
      auto* const to = e.out<std::uint32_t>(out) + b * m * n;
      for (std::int64_t i = 0; i < m * n; ++i) {
        std::uint32_t sum = 0;
        for (std::int64_t l = 0; l < k; ++l) {
          sum += xs[i / n * s.x_row + l * s.x_column] * ys[l * s.y_row + i % n * s.y_column];
        }
        to[i] = sum;
      }
    }
  };
}

std::int64_t batch_count(const Dims& dims) {
  return element_count(Dims(dims.begin(), dims.end() - 2));
}

// A matmul with one constant matrix under numerics "bf16"; nothing where it is none.
RunFn bf16_matmul(OpSite& site, const MatmulShape& s, const FactorStrides& f) {
  const Operand x = site.in("x"), y = site.in("y");
  if (x.dims.size() < 2 || y.dims.size() < 2) return {};
  const bool left = !y.is_constant();
  if (batch_count((left ? x : y).dims) != 1) return {};
  if (left) {
    return bf16_product(site, {x, y, s.m, s.k, s.n, f.x_row, f.x_column, f.y_column, f.y_row,
                               batch_count(y.dims), true});
  }
  std::int64_t vectors = s.m, images = batch_count(x.dims);
  if (f.x_row == s.k && f.x_column == 1) vectors *= std::exchange(images, 1);  // dense rows
  return bf16_product(
      site, {y, x, s.n, s.k, vectors, f.y_column, f.y_row, f.x_row, f.x_column, images, false});
}

}  // namespace

RunFn op_linear(OpSite& site) {
  const Operand x = site.in("x"), weight = site.in("weight"), bias = site.in("bias");
  require_float(site, {x, weight, bias});
  const std::int64_t n = weight.dims[0], k = weight.dims[1];
  const std::int64_t b =
      k == 0 ? element_count(site.out().dims) / std::max<std::int64_t>(n, 1) : x.count() / k;
  if (auto run = bf16_product(site, {weight, x, n, k, b, k, 1, k, 1}, bias)) return run;
  PackedOperand w(site, weight, k, 1, n, k);
  return packed_product(site, x, std::move(w), FloatValues(site, bias), b, k, 1);
}

RunFn op_matmul(OpSite& site) {
  const Operand x = site.in("x"), y = site.in("y");
  if (x.dtype != DType::kInt32) require_float(site, {x, y});
  Dims xd = x.dims, yd = y.dims;
  if (xd.size() == 1) xd = {1, xd[0]};
  if (yd.size() == 1) yd = {yd[0], 1};
  const bool tx = site.args.boolean("transpose_x"), ty = site.args.boolean("transpose_y");
  const std::int64_t m = xd.end()[tx ? -1 : -2], k = xd.end()[tx ? -2 : -1],
                     n = yd.end()[ty ? -2 : -1];
  const std::int64_t x_row = tx ? 1 : k, x_column = tx ? m : 1;
  const std::int64_t y_row = ty ? 1 : n, y_column = ty ? k : 1;  // of y as [k, n]

  if (auto run = bf16_matmul(site, {m, n, k}, {x_row, x_column, y_row, y_column})) return run;
  if (x.dtype != DType::kInt32 && y.is_constant() && batch_count(yd) == 1 &&
      (!tx || batch_count(xd) == 1)) {
    PackedOperand w(site, y, y_column, y_row, n, k);
    return packed_product(site, x, std::move(w), {}, batch_count(xd) * m, x_row, x_column);
  }

  BatchedMatmul op{{m, n, k}, {}, {}, {}};
  const std::size_t rank = std::max(xd.size(), yd.size()) - 2;
  op.a_strides = batch_strides(xd, rank);
  op.b_strides = batch_strides(yd, rank);
  op.batch.assign(rank, 1);
  for (std::size_t i = 0; i < rank; ++i) {
    const auto dim = [&](const Dims& d) {
      return i + d.size() < rank + 2 ? 1 : d[i + d.size() - rank - 2];
    };
    op.batch[i] = dim(xd) == 1 ? dim(yd) : dim(xd);
  }
  if (x.dtype == DType::kInt32) {
    return integer_matmul(op, x, y, site.out(), {x_row, x_column, y_row, y_column});
  }
  const int slots = num_threads();
  const Scratch work = site.scratch(matmul_batched_bytes(op, slots));
  return [=, out = site.out()](const Exec& e) {
    matmul_batched(op, {x.dtype, e.in<std::byte>(x), x_row, x_column},
                   {y.dtype, e.in<std::byte>(y), y_row, y_column},
                   {out.dtype, e.out<std::byte>(out), n}, {e.scratch<std::byte>(work), slots});
  };
}

}  // namespace milane::host
