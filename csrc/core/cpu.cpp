#include "core/cpu.h"

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace milane {
namespace {

Isa widest() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512cd");
  return v4 ? Isa::kV4 : v3 ? Isa::kV3 : Isa::kV2;
#else
  return Isa::kNeon;
#endif
}

Isa choose() {
  const Isa limit = widest();
  const char* wish = std::getenv("MILANE_ISA");
  if (wish == nullptr || limit == Isa::kNeon) return limit;
  const std::string name = wish;
  if (name != "v2" && name != "v3" && name != "v4") {
    throw Error(ErrorCode::kInvalidArgument, "MILANE_ISA: expected v2, v3 or v4, got " + name);
  }
  const Isa wanted = name == "v2" ? Isa::kV2 : name == "v3" ? Isa::kV3 : limit;
  return wanted < limit ? wanted : limit;
}

}  // namespace

Isa cpu_isa() {
  static const Isa isa = choose();
  return isa;
}

bool cpu_has_bf16() {
#if defined(__x86_64__)
  return cpu_isa() == Isa::kV4 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kV2:
      return "x86-64-v2";
    case Isa::kV3:
      return "x86-64-v3";
    case Isa::kV4:
      return "x86-64-v4";
    case Isa::kNeon:
      return "neon";
  }
  return "";
}

}  // namespace milane
