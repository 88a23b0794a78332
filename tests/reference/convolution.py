"""Convolutions and pools over 1 to 3 spatial dimensions, by summing over the kernel's places."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ._args import Array, Ints, Number, ints, scalar


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Smallest padding with ceil(size / stride) results; the odd element goes after.

    The documents also give a formula from the kernel alone, which contradicts this for even
    kernels and for strides; coremltools infers shapes with this one, and so does TensorFlow.
    """
    total = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def _pads(
    pad_type: str,
    pad: Ints | None,
    sizes: tuple[int, ...],
    kernel: list[int],
    strides: list[int],
) -> list[tuple[int, int]]:
    kind = pad_type.lower()
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        flat = [0] * (2 * len(sizes)) if pad is None else ints(pad)
        return [(flat[2 * i], flat[2 * i + 1]) for i in range(len(sizes))]
    found = [same_padding(*args) for args in zip(sizes, kernel, strides, strict=True)]
    return [(b, a) for a, b in found] if kind == "same_lower" else found


def _ints_or(value: Ints | None, rank: int, otherwise: int) -> list[int]:
    return [otherwise] * rank if value is None else ints(value)


def _taps(
    x: Array, kernel: list[int], out: list[int], strides: list[int], dilations: list[int]
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each place of the kernel: the elements of padded x that it meets, [N, C, *out]."""
    for place in np.ndindex(*kernel):
        where = [
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, dilations, out, strides, strict=True)
        ]
        yield place, x[(slice(None), slice(None), *where)]


def op_conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: Number = 1,
) -> Array:
    """x [N, C, *D], weight [O, C/g, *K] to [N, O, *out]; cross-correlation, zero padding."""
    x, weight = np.asarray(x), np.asarray(weight)
    rank, g = x.ndim - 2, int(scalar(groups))
    step, dilation = _ints_or(strides, rank, 1), _ints_or(dilations, rank, 1)
    kernel = list(weight.shape[2:])
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    amounts = _pads(pad_type, pad, x.shape[2:], reach, step)
    padded = np.pad(x, [(0, 0), (0, 0), *amounts])
    out = [(n - r) // s + 1 for n, r, s in zip(padded.shape[2:], reach, step, strict=True)]
    n, o = x.shape[0], weight.shape[0]
    total = np.zeros((n, g, o // g, *out))
    grouped = weight.reshape(g, o // g, *weight.shape[1:])
    for place, seen in _taps(padded, kernel, out, step, dilation):
        tap = grouped[(slice(None), slice(None), slice(None), *place)]
        split = seen.reshape(n, g, x.shape[1] // g, *out)
        total += np.einsum("ngc...,goc->ngo...", split, tap)
    result = total.reshape(n, o, *out)
    return result if bias is None else result + _channel(bias, rank)


def _channel(vector: Array, rank: int) -> Array:
    return np.asarray(vector).reshape(1, -1, *([1] * rank))


def op_conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    pad_type: str = "valid",
    strides: Ints | None = None,
    dilations: Ints | None = None,
    groups: Number = 1,
) -> Array:
    """x [N, C, *D], weight [C, O/g, *K] to [N, O, *out]: the gradient of conv.

    Each element of x adds weight·x to the result; then `pad` is cut off. `output_shape` gives
    the size instead, counted from the cut at the front. `same`: out = D · stride.
    """
    x, weight = np.asarray(x), np.asarray(weight)
    rank, g = x.ndim - 2, int(scalar(groups))
    step, dilation = _ints_or(strides, rank, 1), _ints_or(dilations, rank, 1)
    kernel, sizes = list(weight.shape[2:]), list(x.shape[2:])
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip(sizes, step, reach, strict=True)]
    shape = None if output_shape is None else ints(output_shape)[2:]
    if pad_type.lower().startswith("same") and shape is None:
        shape = [n * s for n, s in zip(sizes, step, strict=True)]
    amounts = _pads(pad_type, pad, tuple(shape or full), reach, step)
    if shape is None:
        shape = [n - before - after for n, (before, after) in zip(full, amounts, strict=True)]
    n, c, o = x.shape[0], x.shape[1], weight.shape[1] * g
    canvas = [max(f, b + s) for f, (b, _), s in zip(full, amounts, shape, strict=True)]
    total = np.zeros((n, g, o // g, *canvas))
    split = x.reshape(n, g, c // g, *sizes)
    grouped = weight.reshape(g, c // g, *weight.shape[1:])
    for place in np.ndindex(*kernel):
        tap = grouped[(slice(None), slice(None), slice(None), *place)]
        where = [
            slice(p * d, p * d + (m - 1) * s + 1, s)
            for p, d, m, s in zip(place, dilation, sizes, step, strict=True)
        ]
        total[(..., *where)] += np.einsum("ngc...,gco->ngo...", split, tap)
    kept = [slice(before, before + s) for (before, _), s in zip(amounts, shape, strict=True)]
    result = total.reshape(n, o, *canvas)[(..., *kept)]
    return result if bias is None else result + _channel(bias, rank)


class _Pool:
    """The geometry of a pool: what every window sees, and how much of it is real."""

    def __init__(
        self,
        x: Array,
        kernel_sizes: Ints,
        *,
        strides: Ints | None,
        pad_type: str,
        pad: Ints | None,
        ceil_mode: bool | Array,
    ) -> None:
        self.x = np.asarray(x)
        rank = self.x.ndim - 2
        sizes = self.x.shape[2:]
        self.kernel = ints(kernel_sizes)
        self.strides = _ints_or(strides, rank, 1)
        self.pads = _pads(pad_type, pad, sizes, self.kernel, self.strides)
        self.out: list[int] = []
        self.extra: list[int] = []  # reach of the last window beyond the padding
        geometry = zip(sizes, self.kernel, self.strides, self.pads, strict=True)
        for n, k, s, (before, after) in geometry:
            span = n + before + after
            count = (span - k) // s + 1
            if scalar(ceil_mode):
                count = -(-(span - k) // s) + 1
                # PyTorch: the last window must start inside the input or the left padding.
                if (count - 1) * s >= n + before:
                    count -= 1
            self.out.append(count)
            self.extra.append(max(0, (count - 1) * s + k - span))

    def windows(self, inside: float, beyond: float, source: Array | None = None) -> Array:
        """[places, N, C, *out]; padding holds `inside`, what lies beyond it `beyond`."""
        x = self.x if source is None else source
        padded = np.pad(x, [(0, 0), (0, 0), *self.pads], constant_values=inside)
        padded = np.pad(
            padded, [(0, 0), (0, 0), *((0, e) for e in self.extra)], constant_values=beyond
        )
        ones = [1] * len(self.kernel)
        taps = _taps(padded, self.kernel, self.out, self.strides, ones)
        return np.stack([seen for _, seen in taps])


def op_max_pool(
    x: Array,
    kernel_sizes: Ints,
    *,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Array:
    """Largest element of each window; padding never wins."""
    pool = _Pool(x, kernel_sizes, strides=strides, pad_type=pad_type, pad=pad, ceil_mode=ceil_mode)
    return pool.windows(-np.inf, -np.inf).max(axis=0)


def op_avg_pool(
    x: Array,
    kernel_sizes: Ints,
    *,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Array:
    """Sum of each window over its count.

    The count includes padding unless excluded, and never what ceil_mode adds beyond it.
    """
    pool = _Pool(x, kernel_sizes, strides=strides, pad_type=pad_type, pad=pad, ceil_mode=ceil_mode)
    padding = 0.0 if scalar(exclude_padding_from_average) else 1.0
    count = pool.windows(padding, 0.0, np.ones_like(pool.x)).sum(axis=0)
    return pool.windows(0.0, 0.0).sum(axis=0) / count


def op_l2_pool(
    x: Array,
    kernel_sizes: Ints,
    *,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Array:
    """sqrt of the sum of squares of each window."""
    pool = _Pool(x, kernel_sizes, strides=strides, pad_type=pad_type, pad=pad, ceil_mode=ceil_mode)
    return np.sqrt((pool.windows(0.0, 0.0) ** 2).sum(axis=0))
