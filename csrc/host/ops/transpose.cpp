// transpose: one strided copy.
#include "host/ops/movement.h"

namespace milane::host {

RunFn op_transpose(OpSite& site) {
  const Operand x = site.in("x"), y = site.out();
  const auto rank = static_cast<std::int64_t>(x.dims.size());
  const Dims strides = contiguous_strides(x.dims);
  Dims permuted;
  for (const std::int64_t axis : site.args.integers("perm")) {
    const std::int64_t a = axis < 0 ? axis + rank : axis;
    if (a < 0 || a >= rank) {
      site.args.fail("perm", "expected axes in [-" + std::to_string(rank) + ", " +
                                 std::to_string(rank) + "), got " + std::to_string(axis));
    }
    permuted.push_back(strides[a]);
  }
  if (permuted.size() != x.dims.size()) {
    site.args.fail("perm", "expected " + std::to_string(rank) + " axes, got " +
                               std::to_string(permuted.size()));
  }
  return run_copy(
      x, y, StridedCopy(element_bytes(site, x), y.dims, permuted, contiguous_strides(y.dims)));
}

}  // namespace milane::host
