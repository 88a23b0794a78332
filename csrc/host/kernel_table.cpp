// Picks the kernel table of this CPU, once.
#include "core/cpu.h"
#include "host/kernels/kernels.h"

namespace milane::host {

#if defined(__x86_64__)
namespace isa_v2 {
const Kernels* table();
}
namespace isa_v3 {
const Kernels* table();
}
namespace isa_v4 {
const Kernels* table();
}
#else
namespace isa_neon {
const Kernels* table();
}
#endif

namespace {

const Kernels* choose() {
#if defined(__x86_64__)
  switch (cpu_isa()) {
    case Isa::kV4:
      return isa_v4::table();
    case Isa::kV3:
      return isa_v3::table();
    default:
      return isa_v2::table();
  }
#else
  return isa_neon::table();
#endif
}

}  // namespace

const Kernels& kernels() {
  static const Kernels* const table = choose();
  return *table;
}

}  // namespace milane::host
