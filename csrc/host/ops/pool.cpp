// max_pool, avg_pool and l2_pool.
#include <algorithm>

#include "host/ops/operands.h"
#include "host/ops/window.h"

namespace milane::host {
namespace {

RunFn pool(OpSite& site, Pool::Kind kind) {
  const Operand x = site.in("x"), y = site.out();
  require_float(site, {x});
  const std::size_t n = x.dims.size() - 2;
  const Spatial in = spatial_of(x.dims), out = spatial_of(y.dims);
  const Spatial kernel = spatial_list(site.args.integers("kernel_sizes"), 1);
  const Spatial stride = spatial_list(site.args.integers_or("strides", n, 1), 1);
  const auto pad = site.args.integers_or("pad", 2 * n, 0);
  const std::string& type = site.args.text("pad_type");
  Spatial before{0, 0, 0}, after{0, 0, 0};
  for (std::size_t i = 3 - n; i < 3; ++i) {
    const std::size_t at = 2 * (i + n - 3);
    before[i] = padding_before(type, pad[at], in[i], out[i], kernel[i], stride[i]);
    const bool same = type.starts_with("same");
    after[i] =
        type == "custom" ? pad[at + 1]
        : same ? std::max<std::int64_t>((out[i] - 1) * stride[i] + kernel[i] - in[i], 0) - before[i]
               : 0;
  }
  Pool p{kind, Window(in, out, kernel, stride, {1, 1, 1}, before), x.dims[0] * x.dims[1]};
  if (kind == Pool::Kind::kAverage) {
    p.count_elements(after, site.args.boolean("exclude_padding_from_average"));
  }
  const int slots = num_threads();
  const Scratch work = site.scratch(static_cast<std::size_t>(slots) * p.slot_bytes());
  return [=](const Exec& e) {
    p.run(x.dtype, e.in<std::byte>(x), y.dtype, e.out<std::byte>(y),
          {e.scratch<std::byte>(work), slots});
  };
}

}  // namespace

RunFn op_max_pool(OpSite& site) { return pool(site, Pool::Kind::kMax); }
RunFn op_avg_pool(OpSite& site) { return pool(site, Pool::Kind::kAverage); }
RunFn op_l2_pool(OpSite& site) { return pool(site, Pool::Kind::kL2); }

}  // namespace milane::host
