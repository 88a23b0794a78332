// Scales and offsets that are shared by blocks of a tensor, and elements of any storage type.
// For constexpr_*, quantize and dequantize.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "blob/format.h"
#include "host/op.h"

namespace milane::host {

// Element i as a float: exact for every type below, int32 beyond 2^24 excepted.
template <DType D>
float element(const std::byte* data, std::int64_t i) {
  if constexpr (D == DType::kFp16) {
    return half_to_float(reinterpret_cast<const Half*>(data)[i]);
  } else if constexpr (D == DType::kFp32) {
    return reinterpret_cast<const float*>(data)[i];
  } else if constexpr (D == DType::kInt8) {
    return static_cast<float>(reinterpret_cast<const std::int8_t*>(data)[i]);
  } else if constexpr (D == DType::kUInt8) {
    return static_cast<float>(reinterpret_cast<const std::uint8_t*>(data)[i]);
  } else if constexpr (D == DType::kInt32) {
    return static_cast<float>(reinterpret_cast<const std::int32_t*>(data)[i]);
  } else if constexpr (D == DType::kInt4) {
    return blob::sign_extend(blob::packed_at(data, 4, static_cast<std::uint64_t>(i)), 4);
  } else {
    static_assert(D == DType::kUInt4);
    return blob::packed_at(data, 4, static_cast<std::uint64_t>(i));
  }
}

// Calls body<D>() for the storage types of compressed data; false for any other.
template <class Body>
bool dispatch_storage(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kFp16:
      body.template operator()<DType::kFp16>();
      return true;
    case DType::kFp32:
      body.template operator()<DType::kFp32>();
      return true;
    case DType::kInt8:
      body.template operator()<DType::kInt8>();
      return true;
    case DType::kUInt8:
      body.template operator()<DType::kUInt8>();
      return true;
    case DType::kInt32:
      body.template operator()<DType::kInt32>();
      return true;
    case DType::kInt4:
      body.template operator()<DType::kInt4>();
      return true;
    case DType::kUInt4:
      body.template operator()<DType::kUInt4>();
      return true;
    default:
      return false;
  }
}

inline void expect_storage_dtype(const OpSite& site, std::string_view name, DType dtype) {
  if (!dispatch_storage(dtype, []<DType>() {})) {
    site.args.fail(name, "expected fp16, fp32, int32, int8, uint8, int4 or uint4, got " +
                             std::string(dtype_name(dtype)));
  }
}

// Rounds n floats once, into elements [first, first + n) of an fp16 or fp32 tensor.
inline void store_floats(DType dtype, std::byte* data, std::int64_t first, const float* values,
                         std::int64_t n) {
  const auto size = static_cast<std::size_t>(n);
  if (dtype == DType::kFp16) {
    convert_float_to_half(reinterpret_cast<Half*>(data) + first, values, size);
  } else {
    std::memcpy(reinterpret_cast<float*>(data) + first, values, size * sizeof(float));
  }
}

// Which block an element belongs to. Every dimension of the block grid divides that of the tensor;
// a row is the last axis, and the blocks of a row follow each other.
class Blocks {
 public:
  Blocks(Dims tensor, Dims grid) : tensor_(std::move(tensor)), grid_(std::move(grid)) {
    if (tensor_.empty()) tensor_ = grid_ = {1};
    strides_ = contiguous_strides(grid_);
  }

  std::int64_t row_length() const { return tensor_.back(); }
  std::int64_t rows() const { return element_count(Dims(tensor_.begin(), tensor_.end() - 1)); }
  std::int64_t count() const { return element_count(grid_); }
  // Elements of a row that share a block.
  std::int64_t run() const { return std::max<std::int64_t>(1, tensor_.back() / grid_.back()); }
  // The block of a row's first element.
  std::int64_t row_block(std::int64_t row) const {
    std::int64_t block = 0;
    for (std::size_t axis = tensor_.size() - 1; axis-- > 0;) {
      const std::int64_t i = row % tensor_[axis];
      row /= tensor_[axis];
      block += i / (tensor_[axis] / grid_[axis]) * strides_[axis];
    }
    return block;
  }
  std::int64_t block(std::int64_t element) const {
    return row_block(element / row_length()) + element % row_length() / run();
  }

 private:
  Dims tensor_, grid_, strides_;
};

// A scale and an offset per block: value = (data - offset) * scale.
struct Affine {
  Blocks blocks;
  std::vector<float> scale, offset;
};

// The constant `name` as `n` floats: one value stands for all, an absent argument for zeros.
inline std::vector<float> constant_floats(const OpSite& site, std::string_view name,
                                          std::int64_t n) {
  std::vector<float> values(static_cast<std::size_t>(n), 0.0f);
  const Operand operand = site.in(name);
  if (!operand.present()) return values;
  if (!operand.is_constant()) site.args.fail(name, "expected a constant");
  expect_storage_dtype(site, name, operand.dtype);
  if (operand.count() != 1 && operand.count() != n) {
    site.args.fail(name, "expected 1 or " + std::to_string(n) + " values, got " +
                             std::to_string(operand.count()));
  }
  dispatch_storage(operand.dtype, [&]<DType D>() {
    for (std::int64_t i = 0; i < n; ++i) {
      values[static_cast<std::size_t>(i)] =
          element<D>(operand.constant, operand.count() == 1 ? 0 : i);
    }
  });
  return values;
}

// One scale for the tensor, or one per slice along `axis` (iOS16 and iOS17 operations).
inline Affine affine_along_axis(const OpSite& site, const Dims& dims) {
  Dims grid(dims.size(), 1);
  const std::int64_t wanted = std::max(site.in("scale").count(),
                                       site.has("zero_point") ? site.in("zero_point").count() : 1);
  if (wanted != 1) {
    if (!site.args.known("axis"))
      site.args.fail("scale", "expected an argument `axis` for a vector");
    const auto axis = static_cast<std::size_t>(site.args.axis("axis", dims.size()));
    if (wanted != dims[axis]) {
      site.args.fail("scale", "expected " + std::to_string(dims[axis]) + " values along axis " +
                                  std::to_string(axis) + ", got " + std::to_string(wanted));
    }
    grid[axis] = wanted;
  }
  Blocks blocks(dims, grid);
  const std::int64_t n = blocks.count();
  return {std::move(blocks), constant_floats(site, "scale", n),
          constant_floats(site, "zero_point", n)};
}

// Rows [begin, end): out = (data - offset) * scale, each element rounded once.
template <DType D>
void dequantize_rows(const Affine& affine, const std::byte* data, DType out_dtype, std::byte* out,
                     std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kChunk = 512;
  float values[kChunk];
  const std::int64_t length = affine.blocks.row_length(), run = affine.blocks.run();
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t base = affine.blocks.row_block(row);
    for (std::int64_t first = 0; first < length; first += kChunk) {
      const std::int64_t n = std::min(kChunk, length - first);
      for (std::int64_t i = 0; i < n;) {  // one block at a time
        const std::int64_t in_row = (first + i) / run;
        const auto block = static_cast<std::size_t>(base + in_row);
        const float scale = affine.scale[block], offset = affine.offset[block];
        const std::int64_t stop = std::min(n, (in_row + 1) * run - first);
        for (; i < stop; ++i) {
          values[i] = (element<D>(data, row * length + first + i) - offset) * scale;
        }
      }
      store_floats(out_dtype, out, row * length + first, values, n);
    }
  }
}

}  // namespace milane::host
