// Compressed constants: constexpr_* of iOS16 (packed bytes and a `shape`) and of iOS18 (sub-byte
// tensors). They are evaluated once, when a kernel is planned, so these loops are plain; each
// result is computed in float and rounded once, which gives the bits of a program that was
// decompressed beforehand.
#include <bit>

#include "host/ops/blocks.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements that are worth waking a thread for

// A bit mask: bit i of the bytes (uint8, iOS16), or element i of uint1 or of one byte each.
struct Mask {
  Operand operand;
  int bits = 1;

  bool at(const std::byte* data, std::int64_t i) const {
    return blob::packed_at(data, bits, static_cast<std::uint64_t>(i)) != 0;
  }
};

Mask mask_of(const OpSite& site, std::string_view name) {
  const Operand operand = site.in(name);
  return {operand, site.has("shape") ? 1 : dtype_bits(operand.dtype)};
}

// The mask covers `elements`, and marks as many as there are values, where that is known already.
void check_mask(const OpSite& site, const Mask& mask, std::int64_t elements,
                std::string_view data) {
  if (mask.operand.bytes() * 8 / static_cast<std::size_t>(mask.bits) <
      static_cast<std::size_t>(elements)) {
    site.args.fail("mask", "expected a mask of " + std::to_string(elements) + " elements, got " +
                               std::to_string(mask.operand.bytes()) + " bytes");
  }
  if (!mask.operand.is_constant()) return;
  std::int64_t set = 0;
  for (std::int64_t i = 0; i < elements; ++i) set += mask.at(mask.operand.constant, i);
  if (set != site.in(data).count()) {
    site.args.fail(data, "expected " + std::to_string(set) +
                             " values, one per bit of the mask, got " +
                             std::to_string(site.in(data).count()));
  }
}

// Calls body<T>() with an unsigned integer as wide as the dtype; values are only moved.
template <class Body>
void dispatch_width(DType dtype, Body&& body) {
  switch (dtype_bits(dtype)) {
    case 8:
      return body.template operator()<std::uint8_t>();
    case 16:
      return body.template operator()<std::uint16_t>();
    default:
      return body.template operator()<std::uint32_t>();
  }
}

RunFn dequantize(Affine affine, const Operand& data, const Operand& out) {
  return [affine = std::move(affine), data, out](const Exec& e) {
    const auto* in = e.in<std::byte>(data);
    auto* result = e.out<std::byte>(out);
    const std::int64_t grain =
        std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, affine.blocks.row_length()));
    parallel_for(affine.blocks.rows(), grain, [&](std::int64_t begin, std::int64_t end) {
      dispatch_storage(data.dtype, [&]<DType D>() {
        dequantize_rows<D>(affine, in, out.dtype, result, begin, end);
      });
    });
  };
}

// lut [blocks..., 2^bits, vector], indices of `bits` bits in a tensor of `tensor`'s shape. Vectors
// lie along `axis` of the output: index (q, p) gives the outputs (q * vector + v, p), v < vector.
struct Palette {
  Operand lut;
  Blocks blocks;
  int bits = 8;
  std::int64_t vector = 1;
  std::int64_t outer = 1, inner = 1;

  template <class T>
  T value(const T* table, std::int64_t element, std::uint8_t index, std::int64_t v) const {
    return table[((blocks.block(element) << bits) + index) * vector + v];
  }
};

Palette palette_of(const OpSite& site, DType index_dtype, const Dims& tensor) {
  const Operand lut = site.in("lut");
  const Dims grid(lut.dims.begin(), lut.dims.end() - 2);
  Palette palette{lut, Blocks(tensor, grid), dtype_bits(index_dtype), lut.dims.back(), 1, 1};
  const auto axis =
      palette.vector == 1 ? std::int64_t{0} : site.args.axis("vector_axis", tensor.size());
  const auto middle = tensor.begin() + axis + (tensor.empty() ? 0 : 1);
  palette.outer = element_count(Dims(tensor.begin(), middle));
  palette.inner = element_count(Dims(middle, tensor.end()));
  return palette;
}

// iOS16: one flat table, indices packed into bytes.
Palette flat_palette(const OpSite& site, std::int64_t count) {
  const Operand lut = site.in("lut"), indices = site.in("indices");
  const auto entries = static_cast<std::uint64_t>(lut.count());
  const int bits = std::countr_zero(entries);
  if (!std::has_single_bit(entries) || bits < 1 || bits > 8) {
    site.args.fail("lut",
                   "expected 2, 4, 8, 16, 64 or 256 entries, got " + std::to_string(entries));
  }
  if (indices.count() * 8 / bits < count) {
    site.args.fail("indices", "expected " + std::to_string((count * bits + 7) / 8) + " bytes for " +
                                  std::to_string(count) + " indices of " + std::to_string(bits) +
                                  " bits, got " + std::to_string(indices.count()));
  }
  return {lut, Blocks({count}, {1}), bits, 1, count, 1};
}

}  // namespace

RunFn op_constexpr_affine_dequantize(OpSite& site) {
  const Operand data = site.in("quantized_data");
  expect_storage_dtype(site, "quantized_data", data.dtype);
  return dequantize(affine_along_axis(site, data.dims), data, site.out());
}

// scale and offset [n0, n1, ...]: data [d0, d1, ...] has blocks of d_i / n_i.
RunFn op_constexpr_blockwise_shift_scale(OpSite& site) {
  const Operand data = site.in("data");
  expect_storage_dtype(site, "data", data.dtype);
  Blocks blocks(data.dims, site.in("scale").dims);
  const std::int64_t n = blocks.count();
  return dequantize(
      {std::move(blocks), constant_floats(site, "scale", n), constant_floats(site, "offset", n)},
      data, site.out());
}

RunFn op_constexpr_cast(OpSite& site) {
  const Operand x = site.in("source_val"), out = site.out();
  expect_storage_dtype(site, "source_val", x.dtype);
  const std::int64_t n = out.count();
  return dequantize({Blocks({n}, {1}), {1.0f}, {0.0f}}, x, out);
}

RunFn op_constexpr_lut_to_dense(OpSite& site) {
  const Operand indices = site.in("indices"), out = site.out();
  const Palette palette = site.has("shape") ? flat_palette(site, out.count())
                                            : palette_of(site, indices.dtype, indices.dims);
  return [palette, indices, out](const Exec& e) {
    const auto* in = e.in<std::byte>(indices);
    dispatch_width(out.dtype, [&]<class T>() {
      const T* table = e.in<T>(palette.lut);
      T* result = e.out<T>(out);
      for (std::int64_t q = 0; q < palette.outer; ++q) {
        for (std::int64_t p = 0; p < palette.inner; ++p) {
          const std::int64_t i = q * palette.inner + p;
          const auto index = blob::packed_at(in, palette.bits, static_cast<std::uint64_t>(i));
          for (std::int64_t v = 0; v < palette.vector; ++v) {
            result[(q * palette.vector + v) * palette.inner + p] =
                palette.value(table, i, index, v);
          }
        }
      }
    });
  };
}

RunFn op_constexpr_sparse_to_dense(OpSite& site) {
  const Operand data = site.in("nonzero_data"), out = site.out();
  const Mask mask = mask_of(site, "mask");
  check_mask(site, mask, out.count(), "nonzero_data");
  return [data, mask, out](const Exec& e) {
    const auto* bits = e.in<std::byte>(mask.operand);
    const std::int64_t n = out.count(), values = data.count();
    std::int64_t next = 0;
    std::memset(e.out<std::byte>(out), 0, out.bytes());
    if (is_sub_byte(out.dtype)) {
      const int width = dtype_bits(out.dtype);
      for (std::int64_t i = 0; i < n && next < values; ++i) {
        if (!mask.at(bits, i)) continue;
        const auto value =
            blob::packed_at(e.in<std::byte>(data), width, static_cast<std::uint64_t>(next++));
        blob::set_packed(e.out<std::byte>(out), width, static_cast<std::uint64_t>(i), value);
      }
      return;
    }
    dispatch_width(out.dtype, [&]<class T>() {
      for (std::int64_t i = 0; i < n && next < values; ++i) {
        if (mask.at(bits, i)) e.out<T>(out)[i] = e.in<T>(data)[next++];
      }
    });
  };
}

// Results: the mask, widened along vector_axis, and the values it marks, in row-major order.
RunFn op_constexpr_lut_to_sparse(OpSite& site) {
  const Operand indices = site.in("indices_nonzero_data"), out_mask = site.out(0),
                out = site.out(1);
  const Mask mask = mask_of(site, "indices_mask");
  check_mask(site, mask, mask.operand.count(), "indices_nonzero_data");
  const Palette palette = palette_of(site, indices.dtype, mask.operand.dims);
  return [indices, mask, palette, out_mask, out](const Exec& e) {
    const auto* bits = e.in<std::byte>(mask.operand);
    const auto* in = e.in<std::byte>(indices);
    std::memset(e.out<std::byte>(out_mask), 0, out_mask.bytes());
    dispatch_width(out.dtype, [&]<class T>() {
      const T* table = e.in<T>(palette.lut);
      std::int64_t row_start = 0, written = 0, at = 0;
      for (std::int64_t q = 0; q < palette.outer; ++q) {
        std::int64_t next = row_start;
        for (std::int64_t v = 0; v < palette.vector; ++v) {
          next = row_start;  // each element of the vectors passes over the same indices
          for (std::int64_t p = 0; p < palette.inner; ++p, ++at) {
            const std::int64_t i = q * palette.inner + p;
            if (!mask.at(bits, i) || next >= indices.count() || written >= out.count()) continue;
            const auto index =
                blob::packed_at(in, palette.bits, static_cast<std::uint64_t>(next++));
            e.out<T>(out)[written++] = palette.value(table, i, index, v);
            blob::set_packed(e.out<std::byte>(out_mask), dtype_bits(out_mask.dtype),
                             static_cast<std::uint64_t>(at), 1);
          }
        }
        row_start = next;
      }
    });
  };
}

// Results: the mask as it is, and the values it marks, each with the scale of its place.
RunFn op_constexpr_sparse_blockwise_shift_scale(OpSite& site) {
  const Operand data = site.in("nonzero_data"), out_mask = site.out(0), out = site.out(1);
  const Mask mask = mask_of(site, "data_mask");
  expect_storage_dtype(site, "nonzero_data", data.dtype);
  check_mask(site, mask, mask.operand.count(), "nonzero_data");
  Blocks blocks(mask.operand.dims, site.in("scale").dims);
  const std::int64_t n = blocks.count();
  const Affine affine{std::move(blocks), constant_floats(site, "scale", n),
                      constant_floats(site, "offset", n)};
  return [data, mask, affine, out_mask, out](const Exec& e) {
    const auto* bits = e.in<std::byte>(mask.operand);
    std::memcpy(e.out<std::byte>(out_mask), bits, out_mask.bytes());
    dispatch_storage(data.dtype, [&]<DType D>() {
      std::int64_t next = 0;
      for (std::int64_t i = 0; i < mask.operand.count() && next < data.count(); ++i) {
        if (!mask.at(bits, i)) continue;
        const auto block = static_cast<std::size_t>(affine.blocks.block(i));
        const float value =
            (element<D>(e.in<std::byte>(data), next) - affine.offset[block]) * affine.scale[block];
        store_floats(out.dtype, e.out<std::byte>(out), next++, &value, 1);
      }
    });
  };
}

}  // namespace milane::host
