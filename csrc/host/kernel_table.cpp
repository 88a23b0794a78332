// Picks the kernel tables of this CPU, once.
#include "host/kernels/bf16.h"
#include "host/kernels/by_isa.h"
#include "host/kernels/kernels.h"

namespace milane::host {

MILANE_TABLE_BY_ISA(Kernels, table)

const Kernels& kernels() {
  static const Kernels* const chosen = table();
  return *chosen;
}

#if defined(__x86_64__)
namespace isa_v4_bf16 {
const Bf16Kernels* bf16_table();
}
const Bf16Kernels* bf16_kernels() {
  static const Bf16Kernels* const chosen = cpu_has_bf16() ? isa_v4_bf16::bf16_table() : nullptr;
  return chosen;
}
#else
const Bf16Kernels* bf16_kernels() { return nullptr; }
#endif

}  // namespace milane::host
