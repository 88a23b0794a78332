// The register tile of each instruction set.
#pragma once

#include "host/kernels/kernels.h"
#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {

#if defined(MILANE_ISA_v4)
constexpr int kConvColumns = 14, kConvPanels = 2;  // 28 accumulators of 32 registers
#elif defined(MILANE_ISA_v3)
constexpr int kConvColumns = 6, kConvPanels = 1;  // 12 of 16
#elif defined(MILANE_ISA_v2)
constexpr int kConvColumns = 2, kConvPanels = 1;  // 8 of 16
#else
constexpr int kConvColumns = 6, kConvPanels = 1;  // 24 of 32
#endif

#if defined(MILANE_ISA_v4)
constexpr int kTileRows = 8, kTileColumns = 32;  // 16 accumulators of 32 registers
#elif defined(MILANE_ISA_v3)
constexpr int kTileRows = 4, kTileColumns = 16;  // 8 of 16: as many as hide the latency
#elif defined(MILANE_ISA_v2)
constexpr int kTileRows = 4, kTileColumns = 8;
#else
constexpr int kTileRows = 8, kTileColumns = 8;  // 16 of 32
#endif

// Of products with packed weights, whose lanes are columns too.
constexpr int kProductRows = kConvColumns, kProductPanels = kConvPanels;

}  // namespace milane::host::MILANE_ISA
