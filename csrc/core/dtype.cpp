#include "core/dtype.h"

#include <array>

namespace milane {
namespace {

struct Row {
  std::string_view name;
  std::int8_t bits;
  char kind;  // b bool, s string, f float, i signed, u unsigned
};

// In the order of the enum.
constexpr std::array<Row, kDTypeCount> kRows{{
    {"bool", 8, 'b'},    {"string", 0, 's'},  {"fp16", 16, 'f'},     {"fp32", 32, 'f'},
    {"fp64", 64, 'f'},   {"bf16", 16, 'f'},   {"fp8e4m3fn", 8, 'f'}, {"fp8e5m2", 8, 'f'},
    {"int4", 4, 'i'},    {"int8", 8, 'i'},    {"int16", 16, 'i'},    {"int32", 32, 'i'},
    {"int64", 64, 'i'},  {"uint1", 1, 'u'},   {"uint2", 2, 'u'},     {"uint3", 3, 'u'},
    {"uint4", 4, 'u'},   {"uint6", 6, 'u'},   {"uint8", 8, 'u'},     {"uint16", 16, 'u'},
    {"uint32", 32, 'u'}, {"uint64", 64, 'u'},
}};

const Row& row(DType t) { return kRows[static_cast<std::size_t>(t)]; }

}  // namespace

std::string_view dtype_name(DType t) { return row(t).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

int dtype_bits(DType t) { return row(t).bits; }
bool is_float(DType t) { return row(t).kind == 'f'; }
bool is_integer(DType t) { return row(t).kind == 'i' || row(t).kind == 'u'; }
bool is_signed(DType t) { return row(t).kind == 'i'; }

}  // namespace milane
