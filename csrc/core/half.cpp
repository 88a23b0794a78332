#include "core/half.h"

#include "core/cpu.h"

namespace milane {

#define MILANE_DECLARE(isa)                                                       \
  namespace isa {                                                                 \
  void widen_array(float* dst, const Half* src, std::size_t n, std::size_t all);  \
  void narrow_array(Half* dst, const float* src, std::size_t n, std::size_t all); \
  }
#if defined(__x86_64__)
MILANE_DECLARE(isa_v2)
MILANE_DECLARE(isa_v3)
MILANE_DECLARE(isa_v4)
#else
MILANE_DECLARE(isa_neon)
#endif
#undef MILANE_DECLARE

void convert_half_to_float(float* dst, const Half* src, std::size_t n, std::size_t all) {
  all = all > n ? all : n;
#if defined(__x86_64__)
  switch (cpu_isa()) {
    case Isa::kV4:
      return isa_v4::widen_array(dst, src, n, all);
    case Isa::kV3:
      return isa_v3::widen_array(dst, src, n, all);
    default:
      return isa_v2::widen_array(dst, src, n, all);
  }
#else
  isa_neon::widen_array(dst, src, n, all);
#endif
}

void convert_float_to_half(Half* dst, const float* src, std::size_t n, std::size_t all) {
  all = all > n ? all : n;
#if defined(__x86_64__)
  switch (cpu_isa()) {
    case Isa::kV4:
      return isa_v4::narrow_array(dst, src, n, all);
    case Isa::kV3:
      return isa_v3::narrow_array(dst, src, n, all);
    default:
      return isa_v2::narrow_array(dst, src, n, all);
  }
#else
  isa_neon::narrow_array(dst, src, n, all);
#endif
}

void finish_conversion() {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#endif
}

}  // namespace milane
