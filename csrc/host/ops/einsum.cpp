// einsum of two operands: every label is a batch, a left, a right or a summed axis, so it is a
// batched product once each group of axes has one stride; where it has not, a copy gives it one.
#include <algorithm>

#include "host/ops/operands.h"

namespace milane::host {
namespace {

struct Labels {
  std::string batch, left, right, sum;
};

[[noreturn]] void refuse(const std::string& equation, const std::string& why) {
  throw Error(ErrorCode::kUnsupportedOp, "einsum: " + why + " in \"" + equation + "\"");
}

bool has(const std::string& labels, char c) { return labels.find(c) != std::string::npos; }

// Extent and stride of every label of one operand; absent or size-1 labels have stride 0.
struct Axes {
  std::string labels;
  Dims dims, strides;

  Axes(std::string l, const Dims& d)
      : labels(std::move(l)), dims(d), strides(contiguous_strides(d)) {}
  std::int64_t stride(char c) const {
    const auto at = labels.find(c);
    return at == std::string::npos || dims[at] == 1 ? 0 : strides[at];
  }
  std::int64_t extent(char c) const {
    const auto at = labels.find(c);
    return at == std::string::npos ? 1 : dims[at];
  }
};

Labels classify(const std::string& equation, const std::string& x, const std::string& y,
                const std::string& out) {
  for (const std::string* s : {&x, &y, &out}) {
    for (const char c : *s) {
      if (std::count(s->begin(), s->end(), c) > 1) refuse(equation, "repeated label");
    }
  }
  Labels l;
  for (const char c : out) (has(x, c) && has(y, c) ? l.batch : has(x, c) ? l.left : l.right) += c;
  for (const char c : x) {
    if (has(out, c)) continue;
    if (!has(y, c)) refuse(equation, "label summed over one operand alone");
    l.sum += c;
  }
  for (const char c : y) {
    if (!has(out, c) && !has(x, c)) refuse(equation, "label summed over one operand alone");
  }
  return l;
}

// One stride for the whole group of axes, or -1 when it takes more.
std::int64_t common_stride(const std::string& group, const Axes& axes, const std::string& sizes_of,
                           const Dims& sizes) {
  std::int64_t stride = 0, expected = -1;
  for (auto c = group.rbegin(); c != group.rend(); ++c) {
    const std::int64_t extent = sizes[sizes_of.find(*c)];
    if (extent == 1) continue;
    const std::int64_t s = axes.stride(*c);
    if (expected < 0) {
      stride = s;
    } else if (s != expected) {
      return -1;
    }
    expected = s * extent;
  }
  return stride;
}

// dst, row-major over `order`, from an operand's elements; broadcast axes repeat.
template <class T>
void permute(T* dst, const T* src, const Dims& extents, const Dims& strides) {
  const std::size_t rank = extents.size();
  const std::int64_t inner = rank == 0 ? 1 : extents[rank - 1];
  const std::int64_t step = rank == 0 ? 0 : strides[rank - 1];
  const std::int64_t rows = inner == 0 ? 0 : element_count(extents) / inner;
  parallel_for(rows, std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(inner, 1)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   std::int64_t at = 0, rest = row;
                   for (std::size_t axis = rank == 0 ? 0 : rank - 1; axis-- > 0;) {
                     at += rest % extents[axis] * strides[axis];
                     rest /= extents[axis];
                   }
                   for (std::int64_t i = 0; i < inner; ++i)
                     dst[row * inner + i] = src[at + i * step];
                 }
               });
}

// An operand as [batch..., rows, sum]: where it is, or copied.
struct Side {
  Operand operand;
  bool copied = false;
  Scratch scratch;
  Dims extents, strides;  // of the copy
  Dims batch_strides;     // in elements
  std::int64_t row = 0, sum = 0;

  MatrixRef matrix(const Exec& e) const {
    const std::byte* data = e.in<std::byte>(operand);
    if (copied) {
      dispatch_float(operand.dtype, [&]<class T>() {
        permute(e.scratch<T>(scratch), e.in<T>(operand), extents, strides);
      });
      data = e.scratch<std::byte>(scratch);
    }
    return {operand.dtype, data, row, sum};
  }
};

Side make_side(OpSite& site, const Operand& o, const Axes& axes, const Labels& l,
               const std::string& rows, const std::string& all, const Dims& sizes) {
  Side side;
  side.operand = o;
  side.row = common_stride(rows, axes, all, sizes);
  side.sum = common_stride(l.sum, axes, all, sizes);
  side.copied = side.row < 0 || side.sum < 0;
  for (const char c : l.batch + rows + l.sum) {
    side.extents.push_back(sizes[all.find(c)]);
    side.strides.push_back(axes.stride(c));
  }
  for (const char c : l.batch) side.batch_strides.push_back(axes.stride(c));
  if (!side.copied) return side;
  side.scratch = site.scratch(packed_bytes(o.dtype, element_count(side.extents)));
  const Dims dense = contiguous_strides(side.extents);
  std::copy_n(dense.begin(), l.batch.size(), side.batch_strides.begin());
  side.sum = 1;
  side.row = 1;
  for (const char c : l.sum) side.row *= sizes[all.find(c)];
  return side;
}

}  // namespace

RunFn op_einsum(OpSite& site) {
  const auto& values = site.list("values");
  require_float(site, {values[0], values[1], site.out()});
  std::string equation;
  for (const char c : site.args.text("equation")) {
    if (c != ' ') equation += c;
  }
  const auto comma = equation.find(','), arrow = equation.find("->");
  const std::string xs = equation.substr(0, comma), out = equation.substr(arrow + 2);
  const std::string ys = equation.substr(comma + 1, arrow - comma - 1);
  const Labels l = classify(equation, xs, ys, out);

  const Axes x(xs, values[0].dims), y(ys, values[1].dims);
  const std::string all = l.batch + l.left + l.right + l.sum;
  Dims sizes;
  for (const char c : all) sizes.push_back(std::max(x.extent(c), y.extent(c)));
  const auto extent = [&](const std::string& group) {
    std::int64_t n = 1;
    for (const char c : group) n *= sizes[all.find(c)];
    return n;
  };
  const Side a = make_side(site, values[0], x, l, l.left, all, sizes);
  const Side b = make_side(site, values[1], y, l, l.right, all, sizes);
  BatchedMatmul op{
      {extent(l.left), extent(l.right), extent(l.sum)}, {}, a.batch_strides, b.batch_strides};
  for (const char c : l.batch) op.batch.push_back(sizes[all.find(c)]);

  // The product's own axis order, and how the output's axes lie in it.
  const std::string order = l.batch + l.left + l.right;
  Dims order_dims, out_dims, out_strides;
  for (const char c : order) order_dims.push_back(sizes[all.find(c)]);
  const Dims dense = contiguous_strides(order_dims);
  for (const char c : out) {
    out_dims.push_back(sizes[all.find(c)]);
    out_strides.push_back(dense[order.find(c)]);
  }
  const bool direct = order == out;
  const Operand result = site.out();
  const Scratch unordered = direct ? Scratch{} : site.scratch(result.bytes());
  const int slots = num_threads();
  const Scratch work = site.scratch(matmul_batched_bytes(op, slots));
  return [=](const Exec& e) {
    std::byte* const c = direct ? e.out<std::byte>(result) : e.scratch<std::byte>(unordered);
    MatrixRef right = b.matrix(e);
    std::swap(right.row_stride, right.column_stride);  // as [sum, right]
    matmul_batched(op, a.matrix(e), right, {result.dtype, c, op.shape.n},
                   {e.scratch<std::byte>(work), slots});
    if (direct) return;
    dispatch_float(result.dtype, [&]<class T>() {
      permute(e.out<T>(result), e.scratch<T>(unordered), out_dims, out_strides);
    });
  };
}

}  // namespace milane::host
