// Maximum over windows of halves as they are: mapped to integers of the same order, twice as many
// to a register as floats, and no conversion. NaN and -0 are left to the loops over floats.
#include <cstring>

#include "host/kernels/kernels.h"
#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr std::int64_t kLanes = 2 * kWidth, kBand = 8;  // rows that are maxima down columns
typedef std::int16_t Keys __attribute__((vector_size(kWidth * 4)));
constexpr std::int16_t kNan = 0x7C00;  // above the key of infinity, and below that of -infinity
static_assert(kLanes <= MaxHalves::kSlack / 2);

MILANE_INLINE Keys load_keys(const void* p) {
  Keys k;
  std::memcpy(&k, p, sizeof(Keys));
  return k;
}
MILANE_INLINE void store_keys(void* p, Keys k) { std::memcpy(p, &k, sizeof(Keys)); }
MILANE_INLINE Keys splat_key(std::int16_t x) { return x - Keys{}; }

MILANE_INLINE Keys larger(Keys a, Keys b) {
#if defined(MILANE_ISA_v4)
  return reinterpret_cast<Keys>(
      _mm512_max_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(MILANE_ISA_v3)
  return reinterpret_cast<Keys>(
      _mm256_max_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(MILANE_ISA_v2)
  return reinterpret_cast<Keys>(
      _mm_max_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return a > b ? a : b;
#endif
}

// Halves to integers of the same order, and back: a negative one's magnitude is inverted.
MILANE_INLINE Keys turned(Keys h) { return h ^ ((h >> 15) & 0x7FFF); }

MILANE_INLINE Keys even_lanes(Keys a, Keys b) {
#if defined(MILANE_ISA_v4)
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
                                 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 62);
#elif defined(MILANE_ISA_v3)
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#else
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#endif
}

// keys[rows][pitch] <- x[rows][columns]; false where there is a NaN or -0
MILANE_INLINE bool fill(const MaxHalves& m, std::int16_t* keys, const Half* x) {
  const Half* const end = x + m.in_rows * m.in_columns;
  Keys most = splat_key(0), least = splat_key(0), zero = {};
  Keys lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = static_cast<std::int16_t>(i);
  const auto take = [&](Keys h) {
    const Keys key = turned(h);
    most = larger(most, key);
    least = larger(least, ~key);
    zero |= key == -1;
    return key;
  };
  for (std::int64_t r = 0; r < m.rows; ++r, x += m.in_columns, keys += m.pitch) {
    if (m.columns >= kLanes) {
      for (std::int64_t i = 0; i + kLanes < m.columns; i += kLanes)
        store_keys(keys + i, take(load_keys(x + i)));
      const std::int64_t last = m.columns - kLanes;
      store_keys(keys + last, take(load_keys(x + last)));
      continue;
    }
    Keys h = {};
    if (x + kLanes <= end) {
      h = load_keys(x);
    } else {
      std::memcpy(&h, x, static_cast<std::size_t>(m.columns) * sizeof(Half));
    }
    const Keys inside = lane < static_cast<std::int16_t>(m.columns);
    const Keys key = take(h & inside);
    store_keys(keys, (key & inside) | (~inside & MaxHalves::kLowest));
  }
  bool plain = true;
  for (int i = 0; i < kLanes; ++i)
    plain = plain && most[i] <= kNan && least[i] <= kNan && zero[i] == 0;
  return plain;
}

// The largest of `kernel` neighbours of every second place from x on, or of every place.
template <int kStep>
MILANE_INLINE Keys along(const std::int16_t* x, std::int64_t kernel) {
  Keys best[kStep];
  MILANE_UNROLL
  for (int s = 0; s < kStep; ++s) best[s] = load_keys(x + s * kLanes);
  for (std::int64_t k = 1; k < kernel; ++k) {
    MILANE_UNROLL
    for (int s = 0; s < kStep; ++s) best[s] = larger(best[s], load_keys(x + s * kLanes + k));
  }
  return kStep == 2 ? even_lanes(best[0], best[kStep - 1]) : best[0];
}

template <int kStep>
MILANE_INLINE void windows(const MaxHalves& m, const std::int16_t* keys, std::int16_t* band,
                           Half* y) {
  const Half* const end = y + m.out_rows * m.out_columns;
  for (std::int64_t first = 0; first < m.out_rows; first += kBand) {
    const std::int64_t rows = m.out_rows - first < kBand ? m.out_rows - first : kBand;
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int16_t* const from = keys + (first + r) * m.row_stride * m.pitch;
      for (std::int64_t i = 0; i < m.pitch; i += kLanes) {
        Keys best = load_keys(from + i);
        for (std::int64_t k = 1; k < m.kernel_rows; ++k)
          best = larger(best, load_keys(from + k * m.pitch + i));
        store_keys(band + r * m.pitch + i, best);
      }
    }
    for (std::int64_t r = 0; r < rows; ++r, y += m.out_columns) {
      for (std::int64_t i = 0; i < m.out_columns; i += kLanes) {
        // The last columns again, where they do not fill a register.
        const std::int64_t last = m.out_columns - kLanes;
        const std::int64_t at = last > 0 && i > last ? last : i;
        const Keys best = turned(along<kStep>(band + r * m.pitch + at * kStep, m.kernel_columns));
        if (y + at + kLanes <= end) {
          store_keys(y + at, best);
        } else {
          std::memcpy(y + at, &best, static_cast<std::size_t>(m.out_columns - at) * sizeof(Half));
        }
      }
    }
  }
}

}  // namespace

bool max_halves(const MaxHalves& m, std::int16_t* keys, Half* y, const Half* x) {
  if (!fill(m, keys + m.before, x)) return false;
  std::int16_t* const band = keys + m.keys();
  m.column_stride == 2 ? windows<2>(m, keys, band, y) : windows<1>(m, keys, band, y);
  return true;
}

}  // namespace milane::host::MILANE_ISA
