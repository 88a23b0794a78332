#include "mil/literal.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string_view>
#include <system_error>
#if !defined(__cpp_lib_to_chars)
#include <locale.h>
#if defined(__APPLE__)
#include <xlocale.h>
#endif
#endif

#include "core/half.h"

namespace milane::mil {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '@';
}
int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The exponent behind `p` or `e`; nullptr without digits. Clamped: nothing finite is that far out.
const char* scan_exponent(const char* p, int& exponent) {
  const bool negative = *p == '-';
  if (*p == '-' || *p == '+') ++p;
  if (!is_digit(*p)) return nullptr;
  int e = 0;
  for (; is_digit(*p); ++p) e = std::min(e * 10 + (*p - '0'), 1000000);
  exponent += negative ? -e : e;
  return p;
}

// Behind `0x`. Bits beyond 64 only matter for rounding, so one sticky bit stands for them.
const char* scan_hex(const char* p, bool want_value, Number& number) {
  std::uint64_t mantissa = 0;
  int exponent = 0;
  bool any = false;
  bool sticky = false;
  bool point = false;
  for (;; ++p) {
    if (*p == '.' && !point) {
      point = true;
      continue;
    }
    const int digit = hex_digit(*p);
    if (digit < 0) break;
    any = true;
    if (mantissa >> 60) {
      sticky = sticky || digit != 0;
      exponent += point ? 0 : 4;
      number.too_big = true;
    } else {
      mantissa = mantissa * 16 + static_cast<std::uint64_t>(digit);
      exponent -= point ? 4 : 0;
    }
  }
  if (!any) return nullptr;
  const bool power = *p == 'p' || *p == 'P';
  number.is_integer = !point && !power;
  number.magnitude = mantissa;
  if (power) p = scan_exponent(p + 1, exponent);
  if (p != nullptr && want_value) {
    number.value = std::ldexp(static_cast<double>(mantissa | (sticky ? 1u : 0u)), exponent);
  }
  return p;
}

// Correctly rounded, whatever LC_NUMERIC says. [first, last) is a valid unsigned decimal number.
double slow_decimal(const char* first, const char* last, bool tiny) {
#if defined(__cpp_lib_to_chars)
  double value = 0;
  const auto result = std::from_chars(first, last, value);
  if (result.ec == std::errc::result_out_of_range) {
    return tiny ? 0.0 : std::numeric_limits<double>::infinity();
  }
  return value;
#else
  static const locale_t c_locale = newlocale(LC_ALL_MASK, "C", nullptr);
  (void)tiny;
  return strtod_l(std::string(first, last).c_str(), nullptr, c_locale);
#endif
}

const char* scan_decimal(const char* p, bool want_value, Number& number) {
  static constexpr std::array<double, 23> kPowers{1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  const char* first = p;
  std::uint64_t mantissa = 0;
  int exponent = 0;
  bool any = false;
  bool point = false;
  for (;; ++p) {
    if (*p == '.' && !point) {
      point = true;
      continue;
    }
    if (!is_digit(*p)) break;
    any = true;
    const auto digit = static_cast<std::uint64_t>(*p - '0');
    if (number.too_big || mantissa > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) {
      number.too_big = true;
      exponent += point ? 0 : 1;
    } else {
      mantissa = mantissa * 10 + digit;
      exponent -= point ? 1 : 0;
    }
  }
  if (!any) return nullptr;
  const bool power = *p == 'e' || *p == 'E';
  if (power) p = scan_exponent(p + 1, exponent);
  number.is_integer = !point && !power;
  number.magnitude = mantissa;
  if (p == nullptr || !want_value) return p;
  // Both factors exact in a double: one correctly rounded operation (Clinger's fast path).
  if (!number.too_big && mantissa < (1ull << 53) && exponent >= -22 && exponent <= 22) {
    const auto m = static_cast<double>(mantissa);
    number.value = exponent < 0 ? m / kPowers[static_cast<std::size_t>(-exponent)]
                                : m * kPowers[static_cast<std::size_t>(exponent)];
  } else if (mantissa != 0) {
    number.value = slow_decimal(first, p, exponent < 0);
  }
  return p;
}

struct FloatFormat {
  int exponent_bits, mantissa_bits;
  bool has_infinity;
};

FloatFormat format_of(DType dtype) {
  switch (dtype) {
    case DType::kFp16:
      return {5, 10, true};
    case DType::kBf16:
      return {8, 7, true};
    case DType::kFp8E5M2:
      return {5, 2, true};
    default:
      return {4, 3, false};
  }
}

std::uint64_t small_float_to_bits(const FloatFormat& f, double value) {
  const int width = f.exponent_bits + f.mantissa_bits;
  const std::uint64_t ones = (1ull << width) - 1;
  const std::uint64_t infinity = ones ^ ((1ull << f.mantissa_bits) - 1);
  const std::uint64_t nan = f.has_infinity ? infinity | (1ull << (f.mantissa_bits - 1)) : ones;
  if (std::isnan(value)) return nan;
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const std::uint64_t sign = (bits >> 63) << width;
  const int exponent = static_cast<int>((bits >> 52) & 0x7FF);
  if (exponent == 0x7FF) return sign | (f.has_infinity ? infinity : nan);
  if (exponent == 0) return sign;  // below every small type's least subnormal
  const std::uint64_t significand = (bits & ((1ull << 52) - 1)) | (1ull << 52);
  const int biased = exponent - 1023 + (1 << (f.exponent_bits - 1)) - 1;
  const int shift = 52 - f.mantissa_bits + (biased < 1 ? 1 - biased : 0);
  if (shift > 54) return sign;
  std::uint64_t kept = significand >> shift;
  const std::uint64_t rest = significand & ((1ull << shift) - 1);
  const std::uint64_t half = 1ull << (shift - 1);
  if (rest > half || (rest == half && (kept & 1))) ++kept;
  // `kept` carries the leading one of a normal number, which adds one to the exponent field.
  if (biased > 1) {
    if (biased > (1 << f.exponent_bits)) return sign | (f.has_infinity ? infinity : nan);
    kept += static_cast<std::uint64_t>(biased - 1) << f.mantissa_bits;
  }
  if (f.has_infinity) return sign | std::min(kept, infinity);
  return sign | std::min(kept, nan);
}

double small_float_from_bits(const FloatFormat& f, std::uint64_t bits) {
  const auto mantissa = bits & ((1ull << f.mantissa_bits) - 1);
  const int top = (1 << f.exponent_bits) - 1;
  const int exponent = static_cast<int>(bits >> f.mantissa_bits) & top;
  const int bias = (1 << (f.exponent_bits - 1)) - 1;
  const bool negative = (bits >> (f.exponent_bits + f.mantissa_bits)) & 1;
  double value = 0;
  if (exponent == top && f.has_infinity) {
    value = mantissa ? std::numeric_limits<double>::quiet_NaN()
                     : std::numeric_limits<double>::infinity();
  } else if (exponent == top && mantissa == (1ull << f.mantissa_bits) - 1) {
    value = std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<double>(mantissa), 1 - bias - f.mantissa_bits);
  } else {
    value = std::ldexp(static_cast<double>(mantissa | (1ull << f.mantissa_bits)),
                       exponent - bias - f.mantissa_bits);
  }
  return negative ? -value : value;
}

}  // namespace

const char* scan_number(const char* p, bool want_value, Number& number) {
  number = {};
  if (*p == '-' || *p == '+') number.negative = *p++ == '-';
  if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
    p = scan_hex(p + 2, want_value, number);
  } else if (std::strncmp(p, "inf", 3) == 0) {
    p += std::strncmp(p, "infinity", 8) == 0 ? 8 : 3;
    number.value = std::numeric_limits<double>::infinity();
  } else if (std::strncmp(p, "nan", 3) == 0) {
    p += 3;
    number.value = std::numeric_limits<double>::quiet_NaN();
    number.negative = false;
  } else {
    p = scan_decimal(p, want_value, number);
  }
  if (number.negative) number.value = -number.value;
  return p == nullptr || is_word(*p) || *p == '.' ? nullptr : p;
}

std::int64_t integer_min(DType dtype) {
  if (!is_signed(dtype)) return 0;
  return std::numeric_limits<std::int64_t>::min() >> (64 - dtype_bits(dtype));
}

std::uint64_t integer_max(DType dtype) {
  return ~0ull >> (64 - dtype_bits(dtype) + (is_signed(dtype) ? 1 : 0));
}

std::uint64_t float_to_bits(DType dtype, double value) {
  if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
  if (dtype == DType::kFp64) return std::bit_cast<std::uint64_t>(value);
  if (dtype == DType::kFp32) return std::bit_cast<std::uint32_t>(static_cast<float>(value));
  return small_float_to_bits(format_of(dtype), value);
}

double float_from_bits(DType dtype, std::uint64_t bits) {
  if (dtype == DType::kFp64) return std::bit_cast<double>(bits);
  if (dtype == DType::kFp32) {
    return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  if (dtype == DType::kFp16) {
    return static_cast<double>(half_to_float({static_cast<std::uint16_t>(bits)}));
  }
  return small_float_from_bits(format_of(dtype), bits);
}

void ElementWriter::put_bits(std::uint64_t bits) {
  for (int left = bits_; left > 0;) {
    if (used_ == 0) out_->push_back(std::byte{0});
    const int n = std::min(left, 8 - used_);
    const auto part = static_cast<unsigned>(bits & ((1ull << n) - 1)) << used_;
    out_->back() |= static_cast<std::byte>(part);
    bits >>= n;
    left -= n;
    used_ = (used_ + n) % 8;
  }
}

std::uint64_t element_bits(DType dtype, const std::byte* data, std::size_t i) {
  const auto bits = static_cast<std::size_t>(dtype_bits(dtype));
  std::uint64_t value = 0;
  if (bits % 8 == 0) {
    const std::byte* p = data + i * (bits / 8);
    for (std::size_t k = 0; k < bits / 8; ++k) value |= static_cast<std::uint64_t>(p[k]) << (8 * k);
    return value;
  }
  for (std::size_t k = 0; k < bits; ++k) {
    const std::size_t at = i * bits + k;
    value |= ((static_cast<std::uint64_t>(data[at / 8]) >> (at % 8)) & 1u) << k;
  }
  return value;
}

std::int64_t element_integer(DType dtype, const std::byte* data, std::size_t i) {
  const std::uint64_t bits = element_bits(dtype, data, i);
  if (!is_signed(dtype)) return static_cast<std::int64_t>(bits);
  const int unused = 64 - dtype_bits(dtype);
  return static_cast<std::int64_t>(bits << unused) >> unused;
}

void append_hex_float(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "nan";
    return;
  }
  if (std::signbit(value)) out += '-';
  value = std::fabs(value);
  if (std::isinf(value)) {
    out += "inf";
    return;
  }
  if (value == 0) {
    out += "0x0p+0";
    return;
  }
  int exponent = 0;
  // frexp gives [0.5, 1): the leading digit is always 1, subnormals included.
  const auto mantissa = static_cast<std::uint64_t>(std::ldexp(std::frexp(value, &exponent), 53));
  --exponent;
  out += "0x1";
  std::uint64_t fraction = mantissa << 12;  // the leading one falls off the top
  if (fraction != 0) out += '.';
  for (; fraction != 0; fraction <<= 4) out += "0123456789abcdef"[fraction >> 60];
  out += exponent < 0 ? "p-" : "p+";
  std::array<char, 8> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), std::abs(exponent));
  out.append(digits.data(), end.ptr);
}

void append_decimal_float(std::string& out, double value) {
  if (!std::isfinite(value)) {
    append_hex_float(out, value);
    return;
  }
  std::array<char, 40> text;
  const int n = std::snprintf(text.data(), text.size(), "%.17g", value);
  for (int i = 0; i < n; ++i) {
    const char c = text[static_cast<std::size_t>(i)];
    // snprintf follows LC_NUMERIC; whatever stands where the point should be is made a point.
    if (is_word(c) || c == '-' || c == '+') {
      out += c;
    } else if (out.back() != '.') {
      out += '.';
    }
  }
}

void append_element(std::string& out, DType dtype, const std::byte* data, std::size_t i) {
  if (dtype == DType::kBool) {
    out += std::to_integer<int>(data[i]) ? "true" : "false";
  } else if (is_float(dtype)) {
    append_hex_float(out, float_from_bits(dtype, element_bits(dtype, data, i)));
  } else {
    std::array<char, 24> digits;
    const auto bits = element_bits(dtype, data, i);
    const auto end = is_signed(dtype)
                         ? std::to_chars(digits.data(), digits.data() + digits.size(),
                                         element_integer(dtype, data, i))
                         : std::to_chars(digits.data(), digits.data() + digits.size(), bits);
    out.append(digits.data(), end.ptr);
  }
}

void append_string(std::string& out, const std::string& text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += c;
    }
  }
  out += '"';
}

}  // namespace milane::mil
