// Numbers: their spelling in MIL text and their bits in blob encoding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace milane::mil {

// One number as the text spells it.
struct Number {
  bool is_integer = false;  // no point, no exponent, not inf or nan
  bool negative = false;
  bool too_big = false;         // an integer whose magnitude needs more than 64 bits
  std::uint64_t magnitude = 0;  // of an integer
  double value = 0;             // nearest double, only when asked for
};

// Reads `[+-]? (decimal | hex | inf | nan)` from a zero-terminated text. Returns the first
// character behind the number, or nullptr when there is none (or it runs into a letter, as `12ab`
// does).
const char* scan_number(const char* first, bool want_value, Number& number);

// Least and greatest integer of an integer type.
std::int64_t integer_min(DType dtype);
std::uint64_t integer_max(DType dtype);

// Bits of a float type nearest to `value`, ties to even, straight from double. Too large values
// become infinity; fp8e4m3fn has none and takes NaN. NaN is made the positive quiet one.
std::uint64_t float_to_bits(DType dtype, double value);
double float_from_bits(DType dtype, std::uint64_t bits);

// Appends elements in blob encoding: little-endian bytes, sub-byte types as one bit stream with the
// lowest bit first.
class ElementWriter {
 public:
  ElementWriter(DType dtype, std::vector<std::byte>& out)
      : bits_(dtype_bits(dtype)), whole_(bits_ % 8 == 0), out_(&out) {}
  void put(std::uint64_t bits) {
    if (whole_) {
      const auto at = out_->size();
      const auto n = static_cast<std::size_t>(bits_) / 8;
      out_->resize(at + n);
      for (std::size_t i = 0; i < n; ++i) (*out_)[at + i] = static_cast<std::byte>(bits >> (8 * i));
    } else {
      put_bits(bits);
    }
  }

 private:
  void put_bits(std::uint64_t bits);

  int bits_;
  bool whole_;
  std::vector<std::byte>* out_;
  int used_ = 0;  // bits taken in the last byte
};

// Element i, not sign-extended.
std::uint64_t element_bits(DType dtype, const std::byte* data, std::size_t i);
// Element i of a signed type, sign-extended; other integer types as they are.
std::int64_t element_integer(DType dtype, const std::byte* data, std::size_t i);

// `0x1.8p-3`, `inf`, `nan`: C's %a in its shortest form, whatever the locale.
void append_hex_float(std::string& out, double value);
// Seventeen digits, as C's %.17g in the C locale.
void append_decimal_float(std::string& out, double value);
// The element as MIL text writes it.
void append_element(std::string& out, DType dtype, const std::byte* data, std::size_t i);
// Quotes and escapes.
void append_string(std::string& out, const std::string& text);

}  // namespace milane::mil
