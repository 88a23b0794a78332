// Picks the kernels of this CPU, once.
#include "host/kernels/by_isa.h"
#include "training/kernels/blocks.h"

namespace milane::host {

MILANE_TABLE_BY_ISA(training::Kernels, training_table)

}  // namespace milane::host

namespace milane::training {

const Kernels& kernels() {
  static const Kernels* const chosen = host::training_table();
  return *chosen;
}

}  // namespace milane::training
