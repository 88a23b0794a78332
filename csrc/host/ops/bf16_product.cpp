#include "host/ops/bf16_product.h"

#include "host/baking.h"
#include "host/gemm_bf16.h"

namespace milane::host {

RunFn bf16_product(OpSite& site, const Bf16Product& p, const Operand& bias) {
  const bool halves = p.weight.dtype == DType::kFp16 && p.x.dtype == DType::kFp16;
  if (!site.bf16_products() || !halves || !p.weight.is_constant() || !pays_in_bf16(p.vectors)) {
    return {};
  }
  const PackedMatrix weights =
      pack_constant(site, p.weight, {DType::kBf16, p.rows, p.depth}, [&](const PackedView& to) {
        pack_bf16(to, {p.weight.dtype, p.weight.constant, p.w_row, p.w_depth});
      });
  const FloatValues values(site, bias);
  const Scratch work = site.scratch(bf16_product_bytes(p.vectors, p.depth));
  const int slots = num_threads();
  return [=, y = site.out()](const Exec& e) {
    const Workspace space{e.scratch<std::byte>(work), slots};
    const float* const b = values.get(e);
    const auto size = static_cast<std::int64_t>(dtype_size(y.dtype));
    for (std::int64_t i = 0; i < p.images; ++i) {
      const MatrixRef x{p.x.dtype, e.in<Half>(p.x) + i * p.vectors * p.depth, p.x_vector,
                        p.x_depth};
      std::byte* const to = e.out<std::byte>(y) + i * p.vectors * p.rows * size;
      if (p.weights_left) {
        bf16_weights_times(weights.view(), x, p.vectors, {y.dtype, to, p.vectors, b}, space);
      } else {
        bf16_times_weights(x, p.vectors, weights.view(), {y.dtype, to, p.rows, nullptr, b}, space);
      }
    }
  };
}

}  // namespace milane::host
