// Picks the kernels of this CPU, once.
#include "core/cpu.h"
#include "training/kernels/blocks.h"

#if defined(__x86_64__)
namespace milane::host::isa_v2 {
const training::Kernels* training_table();
}
namespace milane::host::isa_v3 {
const training::Kernels* training_table();
}
namespace milane::host::isa_v4 {
const training::Kernels* training_table();
}
#else
namespace milane::host::isa_neon {
const training::Kernels* training_table();
}
#endif

namespace milane::training {

const Kernels& kernels() {
  static const Kernels* const table = [] {
#if defined(__x86_64__)
    switch (cpu_isa()) {
      case Isa::kV4:
        return host::isa_v4::training_table();
      case Isa::kV3:
        return host::isa_v3::training_table();
      default:
        return host::isa_v2::training_table();
    }
#else
    return host::isa_neon::training_table();
#endif
  }();
  return *table;
}

}  // namespace milane::training
