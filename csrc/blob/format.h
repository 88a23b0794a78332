// MIL Blob Storage v2: the file of weights that a MIL program's BLOBFILE(...) points into.
//
//   0    FileHeader     64 bytes
//   64   RecordHeader   64 bytes; BLOBFILE's `offset` is the offset of this, not of the data
//   128  data, then zero bytes up to the next multiple of 64
//        RecordHeader, data, RecordHeader, data, ...; nothing after the last data
//
// Source: coremltools, mlmodel/src/MILBlob/Blob/StorageFormat.hpp and BlobDataType.hpp; every field
// was compared with files that Apple's writer produced.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "core/dtype.h"

namespace milane::blob {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

inline constexpr std::uint64_t kAlignment = 64;
inline constexpr std::uint32_t kVersion = 2;
inline constexpr std::uint32_t kSentinel = 0xDEADBEEF;

struct FileHeader {
  std::uint32_t count;    // number of records
  std::uint32_t version;  // kVersion
  std::uint64_t reserved[7];
};
static_assert(sizeof(FileHeader) == kAlignment);
static_assert(offsetof(FileHeader, version) == 4);
static_assert(offsetof(FileHeader, reserved) == 8);

struct RecordHeader {
  std::uint32_t sentinel;  // kSentinel
  std::uint32_t dtype;     // 1-based index into kDTypes
  std::uint64_t bytes;
  std::uint64_t data_offset;  // from the start of the file
  // Unused high bits of the last data byte. Meaningful for sub-byte types only: coremltools 7 and
  // older left this field and `reserved` uninitialised (heap addresses are found in real files).
  std::uint64_t padding_bits;
  std::uint64_t reserved[4];
};
static_assert(sizeof(RecordHeader) == kAlignment);
static_assert(offsetof(RecordHeader, dtype) == 4);
static_assert(offsetof(RecordHeader, bytes) == 8);
static_assert(offsetof(RecordHeader, data_offset) == 16);
static_assert(offsetof(RecordHeader, padding_bits) == 24);
static_assert(offsetof(RecordHeader, reserved) == 32);

// Code 1 first (BlobDataType.hpp).
inline constexpr std::array<DType, 17> kDTypes{
    DType::kFp16,      DType::kFp32,    DType::kUInt8, DType::kInt8,  DType::kBf16,
    DType::kInt16,     DType::kUInt16,  DType::kInt4,  DType::kUInt1, DType::kUInt2,
    DType::kUInt4,     DType::kUInt3,   DType::kUInt6, DType::kInt32, DType::kUInt32,
    DType::kFp8E4M3FN, DType::kFp8E5M2,
};

constexpr std::optional<DType> dtype_from_code(std::uint32_t code) {
  if (code < 1 || code > kDTypes.size()) return std::nullopt;
  return kDTypes[code - 1];
}

// Nothing for types that the format does not know (bool, string, fp64, the 64-bit integers).
constexpr std::optional<std::uint32_t> code_from_dtype(DType dtype) {
  for (std::uint32_t i = 0; i < kDTypes.size(); ++i) {
    if (kDTypes[i] == dtype) return i + 1;
  }
  return std::nullopt;
}

// The next multiple of 64; the caller keeps `n` at least 64 below the top of the range.
constexpr std::uint64_t align_up(std::uint64_t n) {
  return (n + kAlignment - 1) / kAlignment * kAlignment;
}

// Element `i` of a stream of `bits`-wide (1 to 8) elements, lowest bit first, no gaps between
// elements: uint3 1, 0, 1, 1, 0 is 41 02.
inline std::uint8_t packed_at(const std::byte* data, int bits, std::uint64_t i) {
  const std::uint64_t bit = i * static_cast<std::uint64_t>(bits);
  const auto shift = static_cast<int>(bit % 8);
  unsigned word = std::to_integer<unsigned>(data[bit / 8]);
  if (shift + bits > 8) word |= std::to_integer<unsigned>(data[bit / 8 + 1]) << 8;
  return static_cast<std::uint8_t>((word >> shift) & ((1u << bits) - 1u));
}

// Sets element `i`, whose bits must be zero before.
inline void set_packed(std::byte* data, int bits, std::uint64_t i, std::uint8_t value) {
  const std::uint64_t bit = i * static_cast<std::uint64_t>(bits);
  const auto shift = static_cast<int>(bit % 8);
  const unsigned word = static_cast<unsigned>(value) << shift;
  data[bit / 8] |= static_cast<std::byte>(word & 0xFFu);
  if (shift + bits > 8) data[bit / 8 + 1] |= static_cast<std::byte>(word >> 8);
}

// Two's complement of a `bits`-wide field.
constexpr std::int8_t sign_extend(std::uint8_t field, int bits) {
  const int sign = 1 << (bits - 1);
  return static_cast<std::int8_t>((field ^ sign) - sign);
}

// A header read from any address; the caller has checked that 64 bytes are there.
template <class Header>
Header read_header(std::span<const std::byte> file, std::uint64_t offset) {
  Header header;
  std::memcpy(&header, file.data() + offset, sizeof header);
  return header;
}

}  // namespace milane::blob
