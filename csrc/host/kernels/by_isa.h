// The table of loops that this CPU runs, of those that one source was compiled into.
#pragma once

#include "core/cpu.h"

// Inside namespace milane::host: declares `const Table* function()` of every instruction set, and
// defines `const Table* function()`, which gives that of cpu_isa(). core/cpu.h lists the sets.
#if defined(__x86_64__)
#define MILANE_TABLE_BY_ISA(Table, function) \
  namespace isa_v2 {                         \
  const Table* function();                   \
  }                                          \
  namespace isa_v3 {                         \
  const Table* function();                   \
  }                                          \
  namespace isa_v4 {                         \
  const Table* function();                   \
  }                                          \
  static const Table* function() {           \
    switch (cpu_isa()) {                     \
      case Isa::kV4:                         \
        return isa_v4::function();           \
      case Isa::kV3:                         \
        return isa_v3::function();           \
      default:                               \
        return isa_v2::function();           \
    }                                        \
  }
#else
#define MILANE_TABLE_BY_ISA(Table, function) \
  namespace isa_neon {                       \
  const Table* function();                   \
  }                                          \
  static const Table* function() { return isa_neon::function(); }
#endif
