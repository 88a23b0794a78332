"""Other shapes and places for the same elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from milane.graph.body import Node, apply, apply_all
from milane.graph.gradients import Gradients, argument, gradient, operand, reshaped, summed
from milane.graph.ops._parts import inserted, part, parts, put
from milane.graph.tensor import Operand, Tensor

# Without moving data.


def identity(x: Operand, *, name: str | None = None) -> Tensor:
    """``x`` again, as a result of its own."""
    return apply("identity", name, x=x)


@gradient("identity")
def _identity_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy}


def reshape(x: Operand, shape: Sequence[int] | Tensor, *, name: str | None = None) -> Tensor:
    """The elements of ``x`` in another shape of as many elements, in row-major order.

    A 0 keeps the size of ``x`` there, counted from the right; one -1 takes what is left.
    """
    return apply("reshape", name, x=x, shape=_list(shape))


def reshape_like(
    x: Operand,
    ref_tensors: Sequence[Tensor],
    *,
    begins: Sequence[int],
    ends: Sequence[int],
    end_masks: Sequence[bool],
    name: str | None = None,
) -> Tensor:
    """``x`` in the shape that pieces of other tensors' shapes make, one after the other (ios16).

    The piece of ``ref_tensors[i]`` is its shape ``[begins[i]:ends[i]]``, to its end where
    ``end_masks[i]`` is set.
    """
    return apply(
        "reshape_like",
        name,
        x=x,
        ref_tensors=tuple(ref_tensors),
        begins=list(begins),
        ends=list(ends),
        end_masks=list(end_masks),
    )


def expand_dims(x: Operand, *, axes: Sequence[int], name: str | None = None) -> Tensor:
    """``x`` with axes of size 1 at these places of the result."""
    return apply("expand_dims", name, x=x, axes=list(axes))


def squeeze(x: Operand, *, axes: Sequence[int] | None = None, name: str | None = None) -> Tensor:
    """``x`` without these axes of size 1; by default without any. Larger ones stay."""
    return apply("squeeze", name, x=x, axes=None if axes is None else list(axes))


def flatten2d(x: Operand, *, axis: int = 1, name: str | None = None) -> Tensor:
    """A matrix of ``x``: the axes before ``axis`` joined to one, and the others to another."""
    return apply("flatten2d", name, x=x, axis=axis)


@gradient("expand_dims", "flatten2d", "reshape", "reshape_like", "squeeze")
def _reshape_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": reshaped(dy, operand(node, "x").shape)}


# Whole axes.


def transpose(x: Operand, perm: Sequence[int], *, name: str | None = None) -> Tensor:
    """``x`` with axis ``perm[i]`` as axis ``i``."""
    return apply("transpose", name, x=x, perm=list(perm))


@gradient("transpose")
def _transpose_gradient(node: Node, dy: Tensor) -> Gradients:
    perm = [axis % dy.rank for axis in argument(node, "perm")]
    return {"x": transpose(dy, [perm.index(axis) for axis in range(dy.rank)])}


def reverse(x: Operand, *, axes: Sequence[int] | None = None, name: str | None = None) -> Tensor:
    """``x`` backwards along these axes, by default along all."""
    return apply("reverse", name, x=x, axes=None if axes is None else list(axes))


@gradient("reverse")
def _reverse_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": reverse(dy, axes=argument(node, "axes"))}


def reverse_sequence(
    x: Operand, lengths: Operand, *, seq_axis: int = 0, batch_axis: int = 0, name: str | None = None
) -> Tensor:
    """``x`` with the first ``lengths[b]`` places of ``seq_axis`` backwards for each batch ``b``."""
    return apply(
        "reverse_sequence", name, x=x, lengths=lengths, seq_axis=seq_axis, batch_axis=batch_axis
    )


@gradient("reverse_sequence")
def _reverse_sequence_gradient(node: Node, dy: Tensor) -> Gradients:
    return {
        "x": reverse_sequence(
            dy,
            operand(node, "lengths"),
            seq_axis=argument(node, "seq_axis", 0),
            batch_axis=argument(node, "batch_axis", 0),
        )
    }


def tile(x: Operand, reps: Sequence[int] | Tensor, *, name: str | None = None) -> Tensor:
    """``x`` repeated ``reps[i]`` times along axis ``i``."""
    return apply("tile", name, x=x, reps=_list(reps))


@gradient("tile")
def _tile_gradient(node: Node, dy: Tensor) -> Gradients:
    """The sum of the copies, axis by axis: no tensor has more than four axes then."""
    for axis, (size, reps) in enumerate(
        zip(operand(node, "x").shape, argument(node, "reps"), strict=True)
    ):
        if reps > 1:
            outer, inner = dy.shape[:axis], dy.shape[axis + 1 :]
            split = reshaped(dy, [math.prod(outer), reps, size, math.prod(inner)])
            dy = summed(split, [1], [*outer, size, *inner])
    return {"x": dy}


def concat(
    values: Sequence[Operand], *, axis: int, interleave: bool = False, name: str | None = None
) -> Tensor:
    """The tensors one after the other along an axis, or with ``interleave`` element by element."""
    return apply("concat", name, values=tuple(values), axis=axis, interleave=interleave)


@gradient("concat")
def _concat_gradient(node: Node, dy: Tensor) -> Gradients:
    values = node.inputs["values"]
    values = values if isinstance(values, tuple) else (values,)
    if not values[0].shape:
        split = parts(dy, 0, [1] * len(values))
        return {"values": tuple(reshaped(one, ()) for one in split)}
    axis = argument(node, "axis") % dy.rank
    if argument(node, "interleave", False):
        count = len(values)
        return {
            "values": tuple(
                part(dy, axis, number, dy.shape[axis] - count + number + 1, count)
                for number in range(count)
            )
        }
    return {"values": parts(dy, axis, [value.shape[axis] for value in values])}


def stack(values: Sequence[Operand], *, axis: int, name: str | None = None) -> Tensor:
    """Tensors of one shape along a new axis of the result."""
    return apply("stack", name, values=tuple(values), axis=axis)


@gradient("stack")
def _stack_gradient(node: Node, dy: Tensor) -> Gradients:
    values = node.inputs["values"]
    values = values if isinstance(values, tuple) else (values,)
    split = parts(dy, argument(node, "axis") % dy.rank, [1] * len(values))
    return {"values": tuple(reshaped(one, values[0].shape) for one in split)}


def split(
    x: Operand,
    *,
    axis: int,
    num_splits: int | None = None,
    split_sizes: Sequence[int] | None = None,
    name: str | None = None,
) -> tuple[Tensor, ...]:
    """The parts of ``x`` along an axis: ``num_splits`` equal ones, or parts of these sizes."""
    return apply_all(
        "split",
        name,
        x=x,
        num_splits=num_splits,
        split_sizes=None if split_sizes is None else list(split_sizes),
        axis=axis,
    )


@gradient("split")
def _split_gradient(node: Node, *dys: Tensor | None) -> Gradients:
    """What came of each part, one after the other; zeros where nothing did."""
    x = operand(node, "x")
    axis = argument(node, "axis") % x.rank
    at, runs, begin = 0, [], 0
    pieces: list[Tensor] = []
    for result, dy in [*zip(node.outputs, dys, strict=True), (x, None)]:
        if dy is not None:
            begin = begin if pieces else at
            pieces.append(dy)
        elif pieces:
            run = pieces[0] if len(pieces) == 1 else concat(pieces, axis=axis)
            runs.append(put(run, axis, begin, x.shape[axis]))
            pieces = []
        at += result.shape[axis]
    total = runs[0]
    for run in runs[1:]:
        total = total + run
    return {"x": total}


def pad(
    x: Operand,
    pad: Sequence[int] | Tensor,
    *,
    mode: Literal["constant", "reflect", "replicate"] = "constant",
    constant_val: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """``x`` with more around it: ``pad`` is before and after for each of the last axes.

    ``"reflect"`` mirrors without the edge, ``"replicate"`` repeats the edge.
    """
    return apply("pad", name, x=x, pad=_list(pad), mode=mode, constant_val=constant_val)


@gradient("pad")
def _pad_gradient(node: Node, dy: Tensor) -> Gradients:
    x, amounts = operand(node, "x"), argument(node, "pad")
    mode, first = argument(node, "mode", "constant"), x.rank - len(amounts) // 2
    for axis in range(first, x.rank):
        before, after = amounts[2 * (axis - first) : 2 * (axis - first) + 2]
        if before or after:
            dy = _unpadded(dy, axis, before, after, mode)
    return {"x": dy}


def _unpadded(dy: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """The middle, and what the padding copied added to where it came from."""
    full = dy.shape[axis]
    size = full - before - after
    total = part(dy, axis, before, full - after)
    for begin, end in ((0, before), (full - after, full)):
        if mode == "constant" or begin == end:
            continue
        piece = part(dy, axis, begin, end)
        if mode == "replicate":
            piece = summed(piece, [axis], [1 if i == axis else n for i, n in enumerate(dy.shape)])
            at = 0 if begin == 0 else size - 1
        else:
            piece = reverse(piece, axes=[axis])
            at = 1 if begin == 0 else size - 1 - after
        total = total + put(piece, axis, at, size)
    return total


def band_part(x: Operand, *, lower: int = -1, upper: int = -1, name: str | None = None) -> Tensor:
    """``x`` with zeros but for the diagonal and so many beside it in the last axes; -1: all."""
    return apply("band_part", name, x=x, lower=lower, upper=upper)


@gradient("band_part")
def _band_part_gradient(node: Node, dy: Tensor) -> Gradients:
    lower, upper = argument(node, "lower", -1), argument(node, "upper", -1)
    return {"x": band_part(dy, lower=lower, upper=upper)}


def sliding_windows(
    x: Operand, *, axis: int, size: int, stride: int = 1, name: str | None = None
) -> Tensor:
    """Every ``stride``-th window of an axis, one after the other: ``[..., windows, size, ...]``."""
    return apply("sliding_windows", name, x=x, axis=axis, size=size, stride=stride)


@gradient("sliding_windows")
def _sliding_windows_gradient(node: Node, dy: Tensor) -> Gradients:
    x, stride = operand(node, "x"), argument(node, "stride", 1)
    axis = argument(node, "axis") % x.rank
    count, size = dy.shape[axis : axis + 2]
    total: Tensor | None = None
    for place in range(size):
        piece = reshaped(
            part(dy, axis + 1, place, place + 1), [*x.shape[:axis], count, *x.shape[axis + 1 :]]
        )
        placed = put(inserted(piece, axis, stride), axis, place, x.shape[axis])
        total = placed if total is None else total + placed
    return {"x": total}


# Pixels to channels or batch, and back: [batch, channels, height, width].


def space_to_depth(x: Operand, *, block_size: int, name: str | None = None) -> Tensor:
    """Blocks of pixels as channels: ``[N, C, H b, W b]`` to ``[N, b b C, H, W]``, block first."""
    return apply("space_to_depth", name, x=x, block_size=block_size)


def depth_to_space(x: Operand, *, block_size: int, name: str | None = None) -> Tensor:
    """Channels as blocks of pixels: the inverse of :func:`space_to_depth`."""
    return apply("depth_to_space", name, x=x, block_size=block_size)


def pixel_shuffle(x: Operand, *, upscale_factor: int, name: str | None = None) -> Tensor:
    """Channels as blocks of pixels, as PyTorch: ``[N, C r r, H, W]`` to ``[N, C, H r, W r]``."""
    return apply("pixel_shuffle", name, x=x, upscale_factor=upscale_factor)


def pixel_unshuffle(x: Operand, *, downscale_factor: int, name: str | None = None) -> Tensor:
    """Blocks of pixels as channels: the inverse of :func:`pixel_shuffle` (ios16)."""
    return apply("pixel_unshuffle", name, x=x, downscale_factor=downscale_factor)


def space_to_batch(
    x: Operand,
    *,
    block_shape: Sequence[int],
    paddings: Sequence[Sequence[int]],
    name: str | None = None,
) -> Tensor:
    """Blocks of pixels as batches: ``[N, C, H, W]`` to ``[N h w, C, H / h, W / w]``.

    ``paddings`` is before and after for height and for width.
    """
    return apply(
        "space_to_batch",
        name,
        x=x,
        block_shape=list(block_shape),
        paddings=[list(pair) for pair in paddings],
    )


def batch_to_space(
    x: Operand,
    *,
    block_shape: Sequence[int],
    crops: Sequence[Sequence[int]],
    name: str | None = None,
) -> Tensor:
    """Batches as blocks of pixels: the inverse of :func:`space_to_batch`."""
    return apply(
        "batch_to_space",
        name,
        x=x,
        block_shape=list(block_shape),
        crops=[list(pair) for pair in crops],
    )


@gradient("space_to_depth")
def _space_to_depth_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": depth_to_space(dy, block_size=argument(node, "block_size"))}


@gradient("depth_to_space")
def _depth_to_space_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": space_to_depth(dy, block_size=argument(node, "block_size"))}


@gradient("pixel_shuffle")
def _pixel_shuffle_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": pixel_unshuffle(dy, downscale_factor=argument(node, "upscale_factor"))}


@gradient("pixel_unshuffle")
def _pixel_unshuffle_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": pixel_shuffle(dy, upscale_factor=argument(node, "downscale_factor"))}


@gradient("space_to_batch")
def _space_to_batch_gradient(node: Node, dy: Tensor) -> Gradients:
    block, edges = argument(node, "block_shape"), argument(node, "paddings")
    return {"x": batch_to_space(dy, block_shape=block, crops=edges)}


@gradient("batch_to_space")
def _batch_to_space_gradient(node: Node, dy: Tensor) -> Gradients:
    block, edges = argument(node, "block_shape"), argument(node, "crops")
    return {"x": space_to_batch(dy, block_shape=block, paddings=edges)}


def _list(given: Sequence[int] | Tensor) -> list[int] | Tensor:
    return given if isinstance(given, Tensor) else [int(n) for n in given]
