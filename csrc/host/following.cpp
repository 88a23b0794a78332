#include "host/following.h"

#include <algorithm>
#include <cstring>

namespace milane::host {

void Following::run(DType dtype, void* y, std::int64_t count) const {
  if (code.empty()) return;
  constexpr std::int64_t kTile = 256;  // registers stay in the first-level cache
  alignas(64) float space[kSteps + 1][kTile];
  float* registers[kSteps + 1];
  for (int i = 0; i <= kSteps; ++i) registers[i] = space[i];
  const Kernels& k = kernels();
  for (std::int64_t i = 0; i < count; i += kTile) {
    const auto n = static_cast<std::size_t>(std::min(kTile, count - i));
    if (dtype == DType::kFp16) {
      Half* const at = static_cast<Half*>(y) + i;
      k.half_to_float(registers[0], at, n);
      k.chain(code.data(), steps(), registers, static_cast<int>(n));
      k.float_to_half(at, registers[steps()], n);
    } else {
      float* const at = static_cast<float*>(y) + i;
      std::memcpy(registers[0], at, n * sizeof(float));
      k.chain(code.data(), steps(), registers, static_cast<int>(n));
      std::memcpy(at, registers[steps()], n * sizeof(float));
    }
  }
}

}  // namespace milane::host
