// Picks the kernel table of this CPU, once.
#include "host/kernels/by_isa.h"
#include "host/kernels/kernels.h"

namespace milane::host {

MILANE_TABLE_BY_ISA(Kernels, table)

const Kernels& kernels() {
  static const Kernels* const chosen = table();
  return *chosen;
}

}  // namespace milane::host
