// Compressed constants: what they expand to.
#include <bit>

#include "mil/rules.h"

namespace milane::mil {
namespace {

// One scale per block: every dimension of `scale` divides that of `data` (ios18).
void check_blocks(const OpArgs& args, std::string_view data) {
  const auto &dims = args.dims(data), &scale = args.dims("scale");
  check_rank(args, "scale", dims.size(), dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 0 || scale[i] < 0) continue;
    if (scale[i] == 0 || dims[i] % scale[i] != 0) {
      args.fail("scale", "expected scale to divide " + std::string(data) + " " + to_string(dims) +
                             ", got " + to_string(scale));
    }
  }
  if (args.has("offset")) check_shape(args, "offset", scale);
}

// lut is [blocks..., palettes, vector]: palettes is 2 to the number of bits of an index (ios18).
std::int64_t check_lut(const OpArgs& args, const Dims& indices, DType index) {
  const auto& lut = args.dims("lut");
  check_rank(args, "lut", indices.size() + 2, indices.size() + 2);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < 0 || lut[i] < 0) continue;
    if (lut[i] == 0 || indices[i] % lut[i] != 0) {
      args.fail("lut", "expected lut to divide the indices " + to_string(indices) + ", got " +
                           to_string(lut));
    }
  }
  const auto palettes = std::int64_t{1} << dtype_bits(index);
  if (!dims_agree(lut.end()[-2], palettes)) {
    args.fail("lut", "expected " + std::to_string(palettes) + " entries for " +
                         std::string(dtype_name(index)) + " indices, got " +
                         std::to_string(lut.end()[-2]));
  }
  if (lut.back() > 1 && !args.has("vector_axis")) {
    args.fail("lut", "expected an argument `vector_axis` for vectors of " +
                         std::to_string(lut.back()) + ", got none");
  }
  return lut.back();
}

Dims expanded(const OpArgs& args, Dims dims, std::int64_t vector) {
  if (vector == 1) return dims;
  auto& size = dims[static_cast<std::size_t>(args.axis("vector_axis", dims.size()))];
  size = dim_product(size, vector);
  return dims;
}

}  // namespace

Types rule_constexpr_affine_dequantize(const OpArgs& args) {
  const auto& data = args.dims("quantized_data");
  const auto axis = static_cast<std::size_t>(args.axis("axis", data.size()));
  for (const auto name : {"scale", "zero_point"}) {
    if (!args.dims(name).empty()) check_shape(args, name, {data[axis]});
  }
  return tensor_of(args.type("scale").dtype, data);
}

Types rule_constexpr_blockwise_shift_scale(const OpArgs& args) {
  check_blocks(args, "data");
  return tensor_of(args.type("scale").dtype, args.dims("data"));
}

Types rule_constexpr_cast(const OpArgs& args) {
  const auto dtype = named_dtype(args, "output_dtype", {DType::kFp16, DType::kFp32});
  return tensor_of(dtype, args.dims("source_val"));
}

// ios16: packed indices, a flat lut and the shape; ios18: indices in shape.
Types rule_constexpr_lut_to_dense(const OpArgs& args) {
  const auto dtype = args.type("lut").dtype;
  if (args.has("shape")) {
    check_rank(args, "lut", 1, 1);
    const auto entries = args.dims("lut")[0];
    if (entries >= 0 && (entries < 2 || entries > 256 ||
                         !std::has_single_bit(static_cast<std::uint64_t>(entries)))) {
      args.fail("lut", "expected 2, 4, 16, 64 or 256 entries, got " + std::to_string(entries));
    }
    return tensor_of(dtype, args.integers("shape"));
  }
  const auto& indices = args.type("indices");
  const auto vector = check_lut(args, indices.dims, indices.dtype);
  return tensor_of(dtype, expanded(args, indices.dims, vector));
}

Types rule_constexpr_sparse_to_dense(const OpArgs& args) {
  check_rank(args, "nonzero_data", 1, 1);
  const auto dtype = args.type("nonzero_data").dtype;
  if (args.has("shape")) return tensor_of(dtype, args.integers("shape"));  // ios16: mask in bytes
  return tensor_of(dtype, args.dims("mask"));
}

Types rule_constexpr_lut_to_sparse(const OpArgs& args) {
  const auto &mask = args.type("indices_mask"), &data = args.type("indices_nonzero_data");
  check_rank(args, "indices_nonzero_data", 1, 1);
  const auto vector = check_lut(args, mask.dims, data.dtype);
  return {Type::tensor(mask.dtype, expanded(args, mask.dims, vector)),
          Type::tensor(args.type("lut").dtype, {dim_product(data.dims[0], vector)})};
}

Types rule_constexpr_sparse_blockwise_shift_scale(const OpArgs& args) {
  check_rank(args, "nonzero_data", 1, 1);
  check_blocks(args, "data_mask");
  return {args.type("data_mask"),
          Type::tensor(args.type("scale").dtype, args.dims("nonzero_data"))};
}

}  // namespace milane::mil
