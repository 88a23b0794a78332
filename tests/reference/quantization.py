"""Quantisation at run time, and the constexpr operations that unpack weights."""

from __future__ import annotations

import numpy as np

from ._args import Array, Number, along, ints, scalar, wide
from .values import NUMPY, unpack_bits


def op_quantize(
    input: Array,
    scale: Array,
    output_dtype: str,
    zero_point: Array | None = None,
    axis: Number | None = None,
) -> Array:
    """clip(round(input / scale) + zero_point), halves to even."""
    rank, at = np.ndim(input), 0 if axis is None else int(scalar(axis))
    zero = 0 if zero_point is None else along(wide(zero_point), at, rank)
    limits = np.iinfo(NUMPY[output_dtype])
    levels = np.round(input / along(scale, at, rank)) + zero
    return np.clip(levels, limits.min, limits.max).astype(NUMPY[output_dtype])


def op_dequantize(
    input: Array,
    scale: Array,
    zero_point: Array | None = None,
    axis: Number | None = None,
) -> Array:
    """scale · (input - zero_point)."""
    rank, at = np.ndim(input), 0 if axis is None else int(scalar(axis))
    zero = 0 if zero_point is None else along(wide(zero_point), at, rank)
    return along(scale, at, rank) * (wide(input) - zero).astype(np.float64)


def op_constexpr_affine_dequantize(
    quantized_data: Array, zero_point: Array, scale: Array, axis: Number
) -> Array:
    """scale · (quantized_data - zero_point), both scalar or along one axis."""
    rank, at = np.ndim(quantized_data), int(scalar(axis))
    zero = along(np.asarray(zero_point).astype(np.float64), at, rank)
    return along(scale, at, rank) * (np.asarray(quantized_data).astype(np.float64) - zero)


def _blocks(small: Array, shape: tuple[int, ...]) -> Array:
    """Repeat each element so that the shape is reached: one value per block."""
    out = np.asarray(small).astype(np.float64)
    for axis, size in enumerate(shape):
        out = np.repeat(out, size // out.shape[axis], axis=axis)
    return out


def op_constexpr_blockwise_shift_scale(
    data: Array, scale: Array, offset: Array | None = None
) -> Array:
    """scale · (data - offset), one scale and offset per block of data.shape / scale.shape."""
    shape = np.shape(data)
    zero = 0.0 if offset is None else _blocks(offset, shape)
    return _blocks(scale, shape) * (np.asarray(data).astype(np.float64) - zero)


def op_constexpr_cast(source_val: Array, output_dtype: str) -> Array:
    """The same values in another float dtype."""
    return np.asarray(source_val).astype(np.float64)


def op_constexpr_lut_to_dense(
    indices: Array,
    lut: Array,
    shape: Array | None = None,
    vector_axis: Number | None = None,
) -> Array:
    """lut[index].

    ios16 (with `shape`): indices are a byte stream of log2(len(lut)) bits each, lowest first.
    ios18: lut is [*tables, palette, vector]; tables divide the tensor into blocks, and a vector
    fills `vector_axis`.
    """
    lut = np.asarray(lut)
    if shape is not None:
        dims = ints(shape)
        bits = int(lut.size).bit_length() - 1
        flat = unpack_bits(np.asarray(indices), bits, int(np.prod(dims, dtype=np.int64)))
        return lut[flat.astype(int)].reshape(dims)
    return _tables(np.asarray(indices), lut, vector_axis)


def _tables(indices: Array, lut: Array, vector_axis: Number | None) -> Array:
    rank, vector = indices.ndim, lut.shape[-1]
    axis = 0 if vector_axis is None else int(scalar(vector_axis)) % rank
    # Tables divide the decompressed shape; along the vector axis it is `vector` times longer,
    # which cancels, since a block of indices grows with it.
    where = []
    for i, (size, tables) in enumerate(zip(indices.shape, lut.shape, strict=False)):
        step = [1] * rank
        step[i] = size
        where.append((np.arange(size) // (size // tables)).reshape(step))
    found = lut[(*where, indices.astype(int))]  # [*indices, vector]
    moved = np.moveaxis(found, -1, axis + 1)
    out = list(indices.shape)
    out[axis] *= vector
    return moved.reshape(out)


def op_constexpr_sparse_to_dense(
    nonzero_data: Array, mask: Array, shape: Array | None = None
) -> Array:
    """nonzero_data, in order, where the mask has a 1; zero elsewhere.

    ios16 (with `shape`): the mask is a byte stream, lowest bit first. ios18: one bit an element.
    """
    data = np.asarray(nonzero_data)
    bits = np.asarray(mask)
    if shape is not None:
        dims = ints(shape)
        bits = unpack_bits(bits, 1, int(np.prod(dims, dtype=np.int64))).reshape(dims)
    out = np.zeros(bits.shape, data.dtype)
    out[bits != 0] = data
    return out


def op_constexpr_lut_to_sparse(
    indices_mask: Array,
    indices_nonzero_data: Array,
    lut: Array,
    vector_axis: Number | None = None,
) -> tuple[Array, Array]:
    """The mask (widened along the vector axis) and lut[index] of the non-zero elements."""
    mask = np.asarray(indices_mask)
    dense = op_constexpr_sparse_to_dense(indices_nonzero_data, mask)
    values = _tables(dense, np.asarray(lut), vector_axis)
    vector = np.shape(lut)[-1]
    if vector > 1:
        mask = np.repeat(mask, vector, axis=int(scalar(vector_axis)))
    return mask, values[mask != 0]


def op_constexpr_sparse_blockwise_shift_scale(
    data_mask: Array, nonzero_data: Array, scale: Array, offset: Array | None = None
) -> tuple[Array, Array]:
    """The mask, and scale · (data - offset) of the non-zero elements in their blocks."""
    mask = np.asarray(data_mask)
    dense = op_constexpr_sparse_to_dense(nonzero_data, mask)
    return mask, op_constexpr_blockwise_shift_scale(dense, scale, offset)[mask != 0]
