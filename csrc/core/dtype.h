// Element types of MIL and of MIL Blob Storage v2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace milane {

enum class DType : std::uint8_t {
  kBool,
  kString,
  kFp16,
  kFp32,
  kFp64,
  kBf16,
  kFp8E4M3FN,
  kFp8E5M2,
  kInt4,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUInt1,
  kUInt2,
  kUInt3,
  kUInt4,
  kUInt6,
  kUInt8,
  kUInt16,
  kUInt32,
  kUInt64,
};
inline constexpr int kDTypeCount = static_cast<int>(DType::kUInt64) + 1;

// Name in MIL text ("fp16", "int32", ...).
std::string_view dtype_name(DType t);
std::optional<DType> dtype_from_name(std::string_view name);

// Bits per element in storage; bool is 8, string is 0.
int dtype_bits(DType t);
inline bool is_sub_byte(DType t) { return dtype_bits(t) % 8 != 0; }
// Bytes per element; only for whole-byte types.
inline std::size_t dtype_size(DType t) { return static_cast<std::size_t>(dtype_bits(t)) / 8; }

bool is_float(DType t);    // fp16 fp32 fp64 bf16 fp8*
bool is_integer(DType t);  // every int and uint, not bool
bool is_signed(DType t);   // signed integers

// Bytes that `count` elements occupy: sub-byte types are one bit stream, lowest bit first.
inline std::size_t packed_bytes(DType t, std::int64_t count) {
  return (static_cast<std::size_t>(count) * static_cast<std::size_t>(dtype_bits(t)) + 7) / 8;
}

}  // namespace milane
