"""Operations that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._args import Array, Ints, Number, axes_of, ints, scalar
from .values import NUMPY


def op_reshape(x: Array, shape: Ints) -> Array:
    """Same elements, other shape.

    -1 takes what is left. 0 copies the dimension of x counted from the right, or is 1 beyond
    its rank (the ios17 rule; where the ranks agree it is the ios15 rule).
    """
    x = np.asarray(x)
    wanted = ints(shape)
    for i, size in enumerate(wanted):
        from_right = len(wanted) - i
        if size == 0:
            wanted[i] = x.shape[-from_right] if from_right <= x.ndim else 1
    return x.reshape(wanted)


def op_reshape_like(
    x: Array,
    ref_tensors: Sequence[Array],
    begins: Sequence[Number],
    ends: Sequence[Number],
    end_masks: Sequence[bool],
) -> Array:
    """x with the shape glued from pieces [begin:end] of the shapes of the references."""
    shape: list[int] = []
    for ref, begin, end, mask in zip(ref_tensors, begins, ends, end_masks, strict=True):
        stop = None if scalar(mask) else int(scalar(end))
        shape.extend(np.shape(ref)[int(scalar(begin)) : stop])
    return np.asarray(x).reshape(shape)


def op_expand_dims(x: Array, axes: Ints) -> Array:
    """New dimensions of size 1; axes count in the result."""
    return np.expand_dims(x, tuple(ints(axes)))


def op_squeeze(x: Array, axes: Ints | None = None) -> Array:
    """x without dimensions of size 1; a named axis of another size stays (as PyTorch does)."""
    x = np.asarray(x)
    gone = {a for a in axes_of(axes, x.ndim) if x.shape[a] == 1}
    return x.reshape([n for i, n in enumerate(x.shape) if i not in gone])


def op_flatten2d(x: Array, axis: Number = 1) -> Array:
    """[product of shape[:axis], product of shape[axis:]]."""
    x = np.asarray(x)
    axis = int(scalar(axis))
    return x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)


def op_shape(x: Array) -> Array:
    """The shape, int32."""
    return np.array(np.shape(x), np.int32)


def op_transpose(x: Array, perm: Ints) -> Array:
    """out.shape[i] = x.shape[perm[i]]."""
    rank = np.ndim(x)
    return np.transpose(x, [p % rank for p in ints(perm)])


def op_concat(values: Sequence[Array], axis: Number, interleave: bool = False) -> Array:
    """One after the other along an axis, or element by element; scalars make a vector."""
    axis = int(scalar(axis))
    # Text may write a single value without parentheses.
    given = [values] if isinstance(values, np.ndarray) else values
    parts = [np.atleast_1d(v) for v in given]
    if not scalar(interleave):
        return np.concatenate(parts, axis=axis)
    axis %= parts[0].ndim
    joined = np.stack(parts, axis=axis + 1)
    shape = list(parts[0].shape)
    shape[axis] *= len(parts)
    return joined.reshape(shape)


def op_stack(values: Sequence[Array], axis: Number) -> Array:
    """Along a new axis."""
    return np.stack(values, axis=int(scalar(axis)))


def op_split(
    x: Array, axis: Number, num_splits: Number | None = None, split_sizes: Ints | None = None
) -> tuple[Array, ...]:
    """Pieces along an axis: `split_sizes`, or `num_splits` equal ones."""
    axis = int(scalar(axis))
    if split_sizes is None:
        return tuple(np.split(x, int(scalar(num_splits)), axis=axis))
    return tuple(np.split(x, np.cumsum(ints(split_sizes))[:-1], axis=axis))


def op_reverse(x: Array, axes: Ints | None = None) -> Array:
    """Back to front along some axes, all when absent."""
    return np.flip(x, axes_of(axes, np.ndim(x)))


def op_reverse_sequence(
    x: Array, lengths: Ints, seq_axis: Number = 0, batch_axis: Number = 0
) -> Array:
    """The first lengths[b] elements of seq_axis reversed, for each b of batch_axis."""
    out = np.array(x)
    seq, batch = int(scalar(seq_axis)) % out.ndim, int(scalar(batch_axis)) % out.ndim
    moved = np.moveaxis(out, (batch, seq), (0, 1))  # a view of out
    for b, length in enumerate(ints(lengths)):
        moved[b, :length] = moved[b, :length][::-1].copy()
    return out


def op_tile(x: Array, reps: Ints) -> Array:
    """x repeated reps[i] times along each dimension i."""
    return np.tile(x, ints(reps))


def op_pad(x: Array, pad: Ints, mode: str = "constant", constant_val: Number = 0.0) -> Array:
    """pad = [before, after] of the last len(pad)/2 dimensions.

    reflect leaves the edge out, replicate repeats it.
    """
    x = np.asarray(x)
    amounts = np.reshape(ints(pad), (-1, 2)).tolist()
    amounts = [[0, 0]] * (x.ndim - len(amounts)) + amounts
    if mode == "constant":
        return np.pad(x, amounts, constant_values=scalar(constant_val))
    return np.pad(x, amounts, mode={"reflect": "reflect", "replicate": "edge"}[mode])  # type: ignore[call-overload]


def op_crop(x: Array, crop_height: Ints, crop_width: Ints) -> Array:
    """Without crop_height = [top, bottom] rows and crop_width = [left, right] columns."""
    height, width = np.shape(x)[-2:]
    (top, bottom), (left, right) = ints(crop_height), ints(crop_width)
    return np.asarray(x)[..., top : height - bottom, left : width - right]


def op_band_part(x: Array, lower: Number = -1, upper: Number = -1) -> Array:
    """x where (m - n) <= lower and (n - m) <= upper, else 0; a negative bound is no bound."""
    rows, columns = np.shape(x)[-2:]
    below = np.arange(rows)[:, None] - np.arange(columns)[None, :]
    low, high = int(scalar(lower)), int(scalar(upper))
    inside = ((low < 0) | (below <= low)) & ((high < 0) | (-below <= high))
    return np.where(inside, x, np.asarray(x).dtype.type(0))


def op_sliding_windows(x: Array, axis: Number, size: Number, stride: Number = 1) -> Array:
    """[..., (n - size) // stride + 1, size, ...]: windows at `axis`, their elements behind it."""
    axis = int(scalar(axis)) % np.ndim(x)
    windows = np.lib.stride_tricks.sliding_window_view(x, int(scalar(size)), axis=axis)
    windows = np.moveaxis(windows, -1, axis + 1)
    step = [slice(None)] * axis + [slice(None, None, int(scalar(stride)))]
    return np.array(windows[tuple(step)])


def op_space_to_depth(x: Array, block_size: Number) -> Array:
    """[N, C, H, W] to [N, b·b·C, H/b, W/b]; channel (i·b + j)·C + c, as TensorFlow orders it."""
    b = int(scalar(block_size))
    n, c, h, w = np.shape(x)
    split = np.reshape(x, (n, c, h // b, b, w // b, b))
    return split.transpose(0, 3, 5, 1, 2, 4).reshape(n, b * b * c, h // b, w // b)


def op_depth_to_space(x: Array, block_size: Number) -> Array:
    """[N, C, H, W] to [N, C/b², H·b, W·b]: the inverse of space_to_depth."""
    b = int(scalar(block_size))
    n, c, h, w = np.shape(x)
    split = np.reshape(x, (n, b, b, c // (b * b), h, w))
    return split.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


def op_pixel_shuffle(x: Array, upscale_factor: Number) -> Array:
    """[N, C·f², H, W] to [N, C, H·f, W·f]; channel c·f² + i·f + j, as PyTorch orders it."""
    f = int(scalar(upscale_factor))
    n, c, h, w = np.shape(x)
    split = np.reshape(x, (n, c // (f * f), f, f, h, w))
    return split.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // (f * f), h * f, w * f)


def op_pixel_unshuffle(x: Array, downscale_factor: Number) -> Array:
    """[N, C, H, W] to [N, C·f², H/f, W/f]: the inverse of pixel_shuffle."""
    f = int(scalar(downscale_factor))
    n, c, h, w = np.shape(x)
    split = np.reshape(x, (n, c, h // f, f, w // f, f))
    return split.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * f * f, h // f, w // f)


def op_space_to_batch(x: Array, block_shape: Ints, paddings: Ints) -> Array:
    """Zero-padded, then blocks to the batch: out batch (i·bw + j)·N + n, as TensorFlow does."""
    bh, bw = ints(block_shape)
    top, bottom, left, right = ints(paddings)
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    n, c, h, w = padded.shape
    split = padded.reshape(n, c, h // bh, bh, w // bw, bw)
    return split.transpose(3, 5, 0, 1, 2, 4).reshape(bh * bw * n, c, h // bh, w // bw)


def op_batch_to_space(x: Array, block_shape: Ints, crops: Ints) -> Array:
    """The inverse of space_to_batch: blocks from the batch, then cropped."""
    bh, bw = ints(block_shape)
    top, bottom, left, right = ints(crops)
    n, c, h, w = np.shape(x)
    split = np.reshape(x, (bh, bw, n // (bh * bw), c, h, w))
    whole = split.transpose(2, 3, 4, 0, 5, 1).reshape(n // (bh * bw), c, h * bh, w * bw)
    return whole[:, :, top : h * bh - bottom, left : w * bw - right]


def op_fill(shape: Ints, value: Number | bool = 0.0) -> Array:
    """A tensor of one value."""
    return np.full(ints(shape), np.asarray(value).reshape(())[()])


def op_fill_like(ref_tensor: Array, value: Number | bool = 0.0) -> Array:
    """A tensor of one value with the shape of another; the dtype is the value's."""
    return np.full(np.shape(ref_tensor), np.asarray(value).reshape(())[()])


def op_range_1d(end: Number, start: Number, step: Number) -> Array:
    """start + i · step for i in 0 .. ceil((end - start) / step) - 1."""
    first = np.asarray(start).reshape(())
    count = int(np.ceil((scalar(end) - scalar(start)) / scalar(step)))
    values = scalar(start) + np.arange(max(count, 0)) * scalar(step)
    return values.astype(first.dtype)


def op_one_hot(
    indices: Array,
    one_hot_vector_size: Number,
    axis: Number = -1,
    on_value: Number | bool = 1,
    off_value: Number | bool = 0,
) -> Array:
    """on_value where the new axis equals the index, else off_value; no match: all off."""
    size = int(scalar(one_hot_vector_size))
    axis = int(scalar(axis))
    axis = axis + np.ndim(indices) + 1 if axis < 0 else axis
    places = np.arange(size).reshape(
        [size if i == axis else 1 for i in range(np.ndim(indices) + 1)]
    )
    hit = np.expand_dims(indices, axis) == places
    on, off = (np.asarray(v).reshape(())[()] for v in (on_value, off_value))
    plain = np.asarray(on_value).dtype == np.int64 and not isinstance(on_value, np.ndarray)
    result = np.where(hit, on, off)
    return result.astype(NUMPY["int32"]) if plain else result
