// concat, stack and split: one strided copy per piece.
#include <utility>

#include "host/ops/movement.h"

namespace milane::host {
namespace {

std::int64_t product(const Dims& dims, std::size_t first, std::size_t last) {
  std::int64_t n = 1;
  for (std::size_t i = first; i < last; ++i) n *= dims[i];
  return n;
}

struct Piece {
  Operand operand;
  StridedCopy copy;
  std::int64_t offset = 0;  // bytes into the whole
};

// Pieces lie end to end along an axis: each is outer x run, the whole is outer x pitch.
std::vector<Piece> lay_out(const OpSite& site, const std::vector<Operand>& operands,
                           std::size_t axis, std::int64_t pitch, bool joining) {
  std::vector<Piece> pieces;
  std::int64_t offset = 0;
  for (const Operand& o : operands) {
    const std::size_t bytes = element_bytes(site, o);
    const std::int64_t outer = product(o.dims, 0, axis), run = product(o.dims, axis, o.dims.size());
    const Dims part{run, 1}, whole{pitch, 1};
    pieces.push_back(
        {o, StridedCopy(bytes, {outer, run}, joining ? part : whole, joining ? whole : part),
         offset * static_cast<std::int64_t>(bytes)});
    offset += run;
  }
  return pieces;
}

RunFn run_join(const Operand& y, std::vector<Piece> pieces) {
  return [y, pieces = std::move(pieces)](const Exec& e) {
    std::byte* out = e.out<std::byte>(y);
    for (const Piece& p : pieces) p.copy.run(out + p.offset, e.in<std::byte>(p.operand));
  };
}

// Checks that the pieces fill the whole exactly, so that no copy can leave it.
void check_total(const OpSite& site, const char* argument, const std::vector<Operand>& pieces,
                 const Operand& whole) {
  std::int64_t total = 0;
  for (const Operand& p : pieces) total += p.count();
  if (total != whole.count()) {
    site.args.fail(argument, "expected pieces of " + std::to_string(whole.count()) +
                                 " elements in all, got " + std::to_string(total));
  }
}

}  // namespace

RunFn op_concat(OpSite& site) {
  const std::vector<Operand>& values = site.list("values");
  const Operand y = site.out();
  const std::size_t rank = y.dims.size();
  const auto axis = static_cast<std::size_t>(site.args.axis("axis", rank));
  check_total(site, "values", values, y);
  if (!site.args.boolean("interleave")) {
    return run_join(y, lay_out(site, values, axis, product(y.dims, axis, rank), true));
  }
  // Element k of value v goes to k * n + v on the axis.
  const auto n = static_cast<std::int64_t>(values.size());
  const std::int64_t outer = product(y.dims, 0, axis), inner = product(y.dims, axis + 1, rank);
  const std::int64_t length = n == 0 ? 0 : y.dims[axis] / n;
  std::vector<Piece> pieces;
  for (const Operand& v : values) {
    if (v.dims != values.front().dims) {
      site.args.fail("values", "expected equal shapes to interleave, got " +
                                   to_string(values.front().dims) + " and " + to_string(v.dims));
    }
    const std::size_t bytes = element_bytes(site, v);
    const auto index = static_cast<std::int64_t>(pieces.size());
    pieces.push_back({v,
                      StridedCopy(bytes, {outer, length, inner}, {length * inner, inner, 1},
                                  {n * length * inner, n * inner, 1}),
                      index * inner * static_cast<std::int64_t>(bytes)});
  }
  return run_join(y, std::move(pieces));
}

// Each value is a slab of length 1 along the new axis.
RunFn op_stack(OpSite& site) {
  const std::vector<Operand>& values = site.list("values");
  const Operand y = site.out();
  const std::size_t rank = y.dims.size();
  const auto axis = static_cast<std::size_t>(site.args.axis("axis", rank));
  check_total(site, "values", values, y);
  return run_join(y, lay_out(site, values, axis, product(y.dims, axis, rank), true));
}

// The sizes are the outputs' own.
RunFn op_split(OpSite& site) {
  const Operand x = site.in("x");
  const std::size_t rank = x.dims.size();
  const auto axis = static_cast<std::size_t>(site.args.axis("axis", rank));
  std::vector<Operand> outputs;
  for (std::size_t i = 0; i < site.outputs(); ++i) outputs.push_back(site.out(i));
  check_total(site, "x", outputs, x);
  std::vector<Piece> pieces = lay_out(site, outputs, axis, product(x.dims, axis, rank), false);
  return [x, pieces = std::move(pieces)](const Exec& e) {
    const std::byte* from = e.in<std::byte>(x);
    for (const Piece& p : pieces) {
      if (p.operand.present()) p.copy.run(e.out<std::byte>(p.operand), from + p.offset);
    }
  };
}

}  // namespace milane::host
