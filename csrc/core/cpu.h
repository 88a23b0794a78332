// Which of the compiled instruction sets this process uses.
#pragma once

#include <string_view>

namespace milane {

// One source is compiled once per set: namespaces isa_v2 (SSE4.2), isa_v3 (AVX2, FMA, F16C),
// isa_v4 (AVX-512 F/BW/DQ/VL) on x86-64; isa_neon elsewhere.
enum class Isa { kV2, kV3, kV4, kNeon };

// The widest set this CPU runs; MILANE_ISA=v2|v3|v4 lowers it (never raises it). Fixed at first
// call.
Isa cpu_isa();
std::string_view isa_name(Isa isa);
// Whether it also has AVX512-BF16, which only numerics "bf16" uses; never with a lowered set.
bool cpu_has_bf16();

}  // namespace milane
