"""Cases of the gradient rules of convolutions, pools, moves, slices, gathers and resizing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from gradient_harness import GradientCase, grid
from milane.graph import ops
from reference.convolution import same_padding
from reference.image import op_resize, op_resize_bilinear, op_upsample_bilinear

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}

# x without its first axis, weight, arguments
CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((3, 7), (4, 3, 3), {}),
    ((4, 6), (6, 2, 2), {"strides": [2], "groups": 2}),
    ((3, 1, 5), (4, 3, 1, 1), {}),
    ((3, 5, 6), (2, 3, 3, 2), {"pad_type": "custom", "pad": [1, 0, 2, 1]}),
    ((3, 6, 7), (2, 3, 3, 3), {"pad_type": "same", "strides": [2, 3]}),
    ((3, 6, 7), (2, 3, 2, 4), {"pad_type": "same_lower", "strides": [1, 2]}),
    ((3, 8, 9), (2, 3, 2, 3), {"dilations": [3, 2], "strides": [2, 1]}),
    ((4, 6, 5), (4, 1, 3, 3), {"groups": 4, "pad_type": "custom", "pad": [1, 1, 1, 1]}),
    ((4, 8, 8), (6, 2, 1, 2), {"groups": 2, "strides": [3, 3]}),
    ((2, 3, 4, 5), (3, 2, 2, 2, 3), {"strides": [1, 2, 2]}),
    ((4, 3, 4, 4), (4, 2, 2, 2, 2), {"groups": 2, "pad_type": "same"}),
]


def _sides(sizes: Any, kernel: Any, given: dict[str, Any]) -> list[int]:
    """Before and after for every axis, as MIL lists them."""
    n = len(sizes)
    if given.get("pad_type", "valid") == "valid":
        return [0] * (2 * n)
    if given["pad_type"] == "custom":
        return list(given["pad"])
    found: list[int] = []
    strides, dilations = given.get("strides", [1] * n), given.get("dilations", [1] * n)
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        pair = same_padding(size, (k - 1) * d + 1, s)
        found += pair if given["pad_type"] == "same" else pair[::-1]
    return found


def _padded(x: Any, sides: list[int], value: float = 0.0) -> Any:
    pairs = [sides[i : i + 2] for i in range(0, len(sides), 2)]
    return F.pad(x, [n for pair in reversed(pairs) for n in pair], value=value)


def convolutions() -> Iterator[GradientCase]:
    for batch in (1, 2):
        for shape, kernel, given in CONVS:
            sides = _sides(shape[1:], kernel[2:], given)

            def same(x: Any, w: Any, b: Any, *, a: Any = given, s: Any = sides) -> Any:
                return CONV[w.ndim - 2](
                    _padded(x, s), w, b, stride=a.get("strides", 1),
                    dilation=a.get("dilations", 1), groups=a.get("groups", 1),
                )  # fmt: skip

            yield GradientCase(
                f"conv of {(batch, *shape)} by {kernel}, {given}",
                ("conv",),
                lambda x, w, b, a=given: ops.conv(x, w, b, **a),
                same,
                {
                    "x": grid((batch, *shape)),
                    "weight": grid(kernel, -1, 1, seed=1),
                    "bias": grid(kernel[:1], seed=2),
                },
            )
    x, w = grid((1, 3, 4, 5)), grid((2, 3, 2, 2), seed=1)
    yield GradientCase(
        "conv by a constant", ("conv",), ops.conv, F.conv2d,
        {"x": x, "weight": w}, baked=("weight",),
    )  # fmt: skip


# x without its first axis, weight, arguments, output_padding of PyTorch
TRANSPOSES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], list[int]]] = [
    ((3, 4), (3, 2, 3), {}, [0]),
    ((3, 4, 3), (3, 2, 3, 2), {"strides": [2, 3]}, [0, 0]),
    ((4, 3, 4), (4, 3, 3, 3), {"groups": 2, "pad_type": "custom", "pad": [1, 1, 2, 2]}, [0, 0]),
    ((3, 4, 3), (3, 2, 2, 2), {"dilations": [2, 3], "strides": [1, 2]}, [0, 0]),
    ((3, 4, 3), (3, 2, 3, 3), {"strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1]}, [1, 0]),
    ((2, 2, 3, 2), (2, 2, 2, 2, 2), {"strides": [2, 1, 2]}, [0, 0, 0]),
]  # fmt: skip


def transposed() -> Iterator[GradientCase]:
    for shape, kernel, given, more in TRANSPOSES:

        def same(x: Any, w: Any, b: Any, *, a: Any = given, more: Any = more) -> Any:
            return TRANSPOSED[w.ndim - 2](
                x, w, b, stride=a.get("strides", 1), padding=a.get("pad", [0, 0] * len(more))[::2],
                output_padding=more, groups=a.get("groups", 1), dilation=a.get("dilations", 1),
            )  # fmt: skip

        operands = {
            "x": grid((2, *shape)),
            "weight": grid(kernel, -1, 1, seed=1),
            "bias": grid((kernel[1] * given.get("groups", 1),), seed=2),
        }
        arguments = dict(given)
        if any(more):
            tensors = [torch.tensor(a) for a in operands.values()]
            arguments["output_shape"] = list(same(*tensors).shape)
        yield GradientCase(
            f"conv_transpose of {shape} by {kernel}, {arguments}",
            ("conv_transpose",),
            lambda x, w, b, a=arguments: ops.conv_transpose(x, w, b, **a),
            same,
            operands,
        )


# x without its first axis, arguments, PyTorch's
POOLS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 7), {"kernel_sizes": [3]}),
    ((3, 6, 8), {"kernel_sizes": [2, 2], "strides": [2, 2]}),
    ((3, 6, 7), {"kernel_sizes": [3, 2], "strides": [2, 3]}),
    ((2, 5, 5), {"kernel_sizes": [3, 3], "strides": [2, 1], "pad": [1, 1, 1, 1]}),
    ((2, 6, 5), {"kernel_sizes": [3, 2], "strides": [2, 2], "pad": [1, 1, 1, 1], "ceil_mode": True}),
    ((2, 6, 5), {"kernel_sizes": [3, 2], "strides": [2, 2], "ceil_mode": True}),
    ((2, 4, 3), {"kernel_sizes": [4, 3]}),
    ((2, 4, 3), {"kernel_sizes": [1, 1], "strides": [2, 2]}),
    ((2, 3, 4, 4), {"kernel_sizes": [2, 2, 3], "strides": [1, 2, 1]}),
]  # fmt: skip


def pools() -> Iterator[GradientCase]:
    for shape, given in POOLS:
        n = len(shape) - 1
        arguments = {**given, "pad_type": "custom" if "pad" in given else "valid"}
        x = {"x": grid((2, *shape))}
        options = {
            "kernel_size": given["kernel_sizes"],
            "stride": given.get("strides", [1] * n),
            "padding": given.get("pad", [0, 0] * n)[::2],
            "ceil_mode": given.get("ceil_mode", False),
        }
        yield GradientCase(
            f"max_pool of {shape}, {given}", ("max_pool",),
            lambda x, a=arguments: ops.max_pool(x, **a),
            lambda x, n=n, o=options: MAX[n](x, **o), x,
        )  # fmt: skip
        for apart in (False, True):
            yield GradientCase(
                f"avg_pool of {shape}, {given}, padding {'ex' if apart else 'in'}cluded",
                ("avg_pool",),
                lambda x, a=arguments, e=apart: ops.avg_pool(
                    x, **a, exclude_padding_from_average=e
                ),
                lambda x, n=n, o=options, e=apart: AVG[n](x, **o, count_include_pad=not e),
                x,
            )
        count = int(np.prod(given["kernel_sizes"]))
        if not given.get("ceil_mode"):
            yield GradientCase(
                f"l2_pool of {shape}, {given}", ("l2_pool",),
                lambda x, a=arguments: ops.l2_pool(x, **a),
                lambda x, n=n, o=options, c=count: (AVG[n](x.square(), **o) * c).sqrt(), x,
            )  # fmt: skip
    for kind in ("same", "same_lower"):
        given = {"kernel_sizes": [3, 2], "strides": [2, 2], "pad_type": kind}
        sides = _sides((5, 6), (3, 2), given)
        yield GradientCase(
            f"max_pool, {kind}", ("max_pool",), lambda x, a=given: ops.max_pool(x, **a),
            lambda x, s=sides: F.max_pool2d(_padded(x, s, -1e30), [3, 2], [2, 2]),
            {"x": grid((1, 2, 5, 6))},
        )  # fmt: skip
        yield GradientCase(
            f"avg_pool, {kind}", ("avg_pool",), lambda x, a=given: ops.avg_pool(x, **a),
            lambda x, s=sides: F.avg_pool2d(_padded(x, s), [3, 2], [2, 2]),
            {"x": grid((1, 2, 5, 6))},
        )  # fmt: skip
    equal = np.array([[[[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [2.0, 2.0, 2.0]]]])
    yield GradientCase(
        "max_pool of equal elements", ("max_pool",),
        lambda x: ops.max_pool(x, kernel_sizes=[2, 2]), lambda x: F.max_pool2d(x, 2, 1),
        {"x": equal}, differences=False,
    )  # fmt: skip


def moves() -> Iterator[GradientCase]:
    x4 = {"x": grid((2, 3, 4, 5))}
    one = [
        ("identity", ops.identity, lambda x: x * 1.0, (3, 4)),
        ("reshape", lambda x: ops.reshape(x, [4, -1]), lambda x: x.reshape(4, -1), (2, 3, 4)),
        ("expand_dims", lambda x: ops.expand_dims(x, axes=[0, 2]), lambda x: x[None, :, None], (3, 4)),
        ("squeeze", lambda x: ops.squeeze(x, axes=[1]), lambda x: x.squeeze(1), (3, 1, 4)),
        ("flatten2d", lambda x: ops.flatten2d(x, axis=2), lambda x: x.reshape(6, 20), (2, 3, 4, 5)),
        ("transpose", lambda x: ops.transpose(x, [2, 0, -1, 1]), lambda x: x.permute(2, 0, 3, 1), (2, 3, 4, 5)),
        ("reverse", lambda x: ops.reverse(x, axes=[0, 2]), lambda x: x.flip(0, 2), (2, 3, 4)),
        ("reverse", ops.reverse, lambda x: x.flip(0, 1), (3, 4)),
        ("tile", lambda x: ops.tile(x, [3]), lambda x: x.repeat(3), (4,)),
        ("tile", lambda x: ops.tile(x, [2, 1, 3, 2]), lambda x: x.repeat(2, 1, 3, 2), (1, 3, 2, 4)),
        ("sliding_windows", lambda x: ops.sliding_windows(x, axis=1, size=3, stride=2), lambda x: x.unfold(1, 3, 2).movedim(-1, 2), (2, 8, 3)),
        ("space_to_depth", lambda x: ops.space_to_depth(x, block_size=2), _space_to_depth, (2, 3, 4, 6)),
        ("depth_to_space", lambda x: ops.depth_to_space(x, block_size=2), _depth_to_space, (2, 8, 3, 2)),
        ("pixel_shuffle", lambda x: ops.pixel_shuffle(x, upscale_factor=2), lambda x: F.pixel_shuffle(x, 2), (2, 8, 3, 2)),
        ("pixel_unshuffle", lambda x: ops.pixel_unshuffle(x, downscale_factor=2), lambda x: F.pixel_unshuffle(x, 2), (2, 2, 4, 6)),
        ("band_part", lambda x: ops.band_part(x, lower=1, upper=2), lambda x: x.tril(2).triu(-1), (2, 5, 6)),
        ("band_part", lambda x: ops.band_part(x, lower=-1, upper=0), lambda x: x.tril(0), (5, 6)),
        ("crop", lambda x: ops.crop(x, crop_height=[1, 0], crop_width=[1, 2]), lambda x: x[..., 1:, 1:-2], (1, 2, 4, 6)),
    ]  # fmt: skip
    for name, build, same, shape in one:
        yield GradientCase(f"{name} of {shape}", (name,), build, same, {"x": grid(shape)})
    yield GradientCase(
        "reshape_like", ("reshape_like",),
        lambda x, ref: ops.reshape_like(x, [ref], begins=[0], ends=[0], end_masks=[True]),
        lambda x, ref: x.reshape(ref.shape), {"x": grid((2, 6))}, others={"ref": np.zeros((3, 4))},
    )  # fmt: skip
    yield GradientCase(
        "reverse_sequence", ("reverse_sequence",),
        lambda x, n: ops.reverse_sequence(x, n, seq_axis=1, batch_axis=0),
        lambda x, n: torch.stack(
            [torch.cat([r[:k].flip(0), r[k:]]) for r, k in zip(x, n.tolist(), strict=True)]
        ),
        {"x": grid((3, 5, 2))}, others={"n": np.array([2, 5, 1], np.int32)},
    )  # fmt: skip
    edges = [[1, 1], [0, 2]]
    for begin in ("space_to_batch", "batch_to_space"):
        build = {
            "space_to_batch": lambda x: ops.space_to_batch(x, block_shape=[2, 3], paddings=edges),
            "batch_to_space": lambda x: ops.batch_to_space(x, block_shape=[2, 3], crops=edges),
        }[begin]
        same = {"space_to_batch": _space_to_batch, "batch_to_space": _batch_to_space}[begin]
        shape = (1, 2, 4, 4) if begin == "space_to_batch" else (6, 2, 3, 2)
        yield GradientCase(begin, (begin,), build, same, {"x": grid(shape)})
    for axis in (0, 1, -1):
        a, b = (
            grid((2, 3, 4)),
            grid(tuple(n + (i == axis % 3) for i, n in enumerate((2, 3, 4))), seed=1),
        )
        yield GradientCase(
            f"concat along {axis}", ("concat",), lambda a, b, c=axis: ops.concat([a, b, a], axis=c),
            lambda a, b, c=axis: torch.cat([a, b, a], c), {"a": a, "b": b},
        )  # fmt: skip
        yield GradientCase(
            f"stack along {axis}", ("stack",), lambda a, b, c=axis: ops.stack([a, b], axis=c),
            lambda a, b, c=axis: torch.stack([a, b], c), {"a": a, "b": grid((2, 3, 4), seed=1)},
        )  # fmt: skip
    yield GradientCase(
        "concat, interleaved", ("concat",), lambda a, b: ops.concat([a, b], axis=1, interleave=True),
        lambda a, b: torch.stack([a, b], 2).reshape(2, 6, 4),
        {"a": grid((2, 3, 4)), "b": grid((2, 3, 4), seed=1)},
    )  # fmt: skip
    yield GradientCase(
        "split into equal parts", ("split",),
        lambda x: ops.split(x, axis=1, num_splits=2), lambda x: x.split(2, 1), {"x": grid((3, 4, 2))},
    )  # fmt: skip
    yield GradientCase(
        "split, of which two parts are used", ("split",),
        lambda x: ops.split(x, axis=-1, split_sizes=[1, 2, 1, 3])[1::2],
        lambda x: x.split([1, 2, 1, 3], -1)[1::2], {"x": grid((3, 7))},
    )  # fmt: skip
    for mode in ("constant", "reflect", "replicate"):
        for shape, sides in (((2, 3, 4, 5), [1, 2, 3, 0]), ((2, 5), [2, 1]), ((2, 2, 4), [3, 3])):
            if mode != "constant" and len(sides) // 2 + 2 != len(shape) and shape != (2, 5):
                continue
            yield GradientCase(
                f"pad of {shape} by {sides}, {mode}", ("pad",),
                lambda x, s=sides, m=mode: ops.pad(x, s, mode=m),
                lambda x, s=sides, m=mode: F.pad(x, [*s[2:], *s[:2]], m), {"x": grid(shape)},
            )  # fmt: skip
    yield GradientCase("pad of every axis", ("pad",), lambda x: ops.pad(x, [1, 0, 0, 2, 1, 1], constant_val=3.0),
                       lambda x: F.pad(x, [1, 1, 0, 2, 1, 0], value=3.0), {"x": grid((2, 3, 4))})  # fmt: skip
    slices = [
        (np.s_[1:, :, 2:4, -3:-1], (2, 3, 4, 5)),
        (np.s_[:, ::2, 1::3, :], (2, 3, 4, 5)),
        (np.s_[0, ..., -1], (2, 3, 4, 5)),
        (np.s_[2:9:3], (10,)),
        (np.s_[:, 1], (3, 4, 2)),
    ]
    for key, shape in slices:
        yield GradientCase(
            f"x[{key}] of {shape}", ("slice_by_index",), lambda x, k=key: x[k],
            lambda x, k=key: x[k] * 1.0, {"x": grid(shape)},
        )  # fmt: skip
    yield GradientCase(
        "slice_by_index backwards", ("slice_by_index",), lambda x: x[::-1, 4:0:-2],
        lambda x: x.flip(0)[:, [4, 2]], {"x": grid((3, 6))},
    )  # fmt: skip
    yield GradientCase(
        "slice_by_size", ("slice_by_size",), lambda x: ops.slice_by_size(x, [1, 0, -3, 0], [1, 2, 2, -1]),
        lambda x: x[1:, :2, 1:3], x4,
    )  # fmt: skip
    yield GradientCase(
        "slice_update", ("slice_update",),
        lambda x, u: ops.slice_update(x, u, [0, 1, 0], [2, 3, 5], stride=[1, 1, 2]),
        _updated, {"x": grid((2, 3, 5)), "u": grid((2, 2, 3), seed=1)},
    )  # fmt: skip


def _updated(x: Any, u: Any) -> Any:
    y = x.clone()
    y[0:2, 1:3, 0:5:2] = u
    return y


def _space_to_depth(x: Any) -> Any:
    n, c, h, w = x.shape
    split = x.reshape(n, c, h // 2, 2, w // 2, 2)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


def _depth_to_space(x: Any) -> Any:
    n, c, h, w = x.shape
    split = x.reshape(n, 2, 2, c // 4, h, w)
    return split.permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)


def _space_to_batch(x: Any) -> Any:
    x = F.pad(x, [0, 2, 1, 1])
    n, c, h, w = x.shape
    split = x.reshape(n, c, h // 2, 2, w // 3, 3)
    return split.permute(3, 5, 0, 1, 2, 4).reshape(6 * n, c, h // 2, w // 3)


def _batch_to_space(x: Any) -> Any:
    n, c, h, w = x.shape
    split = x.reshape(2, 3, n // 6, c, h, w).permute(2, 3, 4, 0, 5, 1)
    return split.reshape(n // 6, c, 2 * h, 3 * w)[:, :, 1:-1, :-2]


def gathers() -> Iterator[GradientCase]:
    rows = np.array([[1, 0, 2], [2, 2, 4]], np.int32)
    for axis, shape in ((0, (5, 3)), (1, (2, 5, 3)), (-1, (2, 3, 5))):
        yield GradientCase(
            f"gather along {axis} of {shape}", ("gather",),
            lambda x, i, a=axis: ops.gather(x, i, axis=a),
            lambda x, i, a=axis: x.index_select(a, i.reshape(-1).long()).reshape(
                [*x.shape[: a % x.ndim], *i.shape, *x.shape[a % x.ndim + 1 :]]
            ),
            {"x": grid(shape)}, others={"i": rows},
        )  # fmt: skip
    yield GradientCase(
        "gather from the end", ("gather",), lambda x: ops.gather(x, np.array([-1, 0, -1]), axis=0),
        lambda x: x[[-1, 0, -1]], {"x": grid((4, 3))},
    )  # fmt: skip
    yield GradientCase(
        "gather_along_axis", ("gather_along_axis",), lambda x, i: ops.gather_along_axis(x, i, axis=1),
        lambda x, i: x.gather(1, i.long()), {"x": grid((2, 5))}, others={"i": rows},
    )  # fmt: skip
    pairs = np.array([[1, 0], [0, 2], [1, 0]], np.int32)
    yield GradientCase(
        "gather_nd", ("gather_nd",), ops.gather_nd,
        lambda x, i: x[i[:, 0].long(), i[:, 1].long()], {"x": grid((2, 3, 4))}, others={"i": pairs},
    )  # fmt: skip
    for mode, sign in (("add", 1.0), ("sub", -1.0)):
        yield GradientCase(
            f"scatter, {mode}", ("scatter",), lambda x, u, i, m=mode: ops.scatter(x, i, u, axis=1, mode=m),
            lambda x, u, i, s=sign: x.index_add(1, i.long(), s * u),
            {"x": grid((2, 5)), "u": grid((2, 3), seed=1)}, others={"i": np.array([1, 4, 1], np.int32)},
        )  # fmt: skip
        yield GradientCase(
            f"scatter_along_axis, {mode}", ("scatter_along_axis",),
            lambda x, u, i, m=mode: ops.scatter_along_axis(x, i, u, axis=1, mode=m),
            lambda x, u, i, s=sign: x.scatter_add(1, i.long(), s * u),
            {"x": grid((2, 5)), "u": grid((2, 3), seed=1)}, others={"i": rows},
        )  # fmt: skip
        yield GradientCase(
            f"scatter_nd, {mode}", ("scatter_nd",),
            lambda x, u, i, m=mode: ops.scatter_nd(x, i, u, mode=m),
            lambda x, u, i, s=sign: x.index_put(
                (i[:, 0].long(), i[:, 1].long()), s * u, accumulate=True
            ),
            {"x": grid((2, 3, 4)), "u": grid((3, 4), seed=1)}, others={"i": pairs},
        )  # fmt: skip
    yield GradientCase(
        "scatter, update", ("scatter",), lambda x, u, i: ops.scatter(x, i, u, axis=0, mode="update"),
        lambda x, u, i: x.index_copy(0, i.long(), u),
        {"x": grid((5, 2)), "u": grid((3, 2), seed=1)}, others={"i": np.array([3, 0, 4], np.int32)},
    )  # fmt: skip


def _matrix(function: Any, shape: tuple[int, ...]) -> Any:
    """What a linear function of images does, as a matrix: column for column, by the reference."""
    columns = [function(e.reshape(shape)) for e in np.eye(int(np.prod(shape)))]
    return np.stack([c.reshape(-1) for c in columns], axis=1), columns[0].shape


def images() -> Iterator[GradientCase]:
    shape = (1, 2, 4, 5)

    def case(name: str, build: Any, exact: Any) -> GradientCase:
        matrix, result = _matrix(exact, shape)
        return GradientCase(
            name, (name.partition(",")[0],), build,
            lambda x: (torch.tensor(matrix) @ x.reshape(-1)).reshape(result), {"x": grid(shape)},
        )  # fmt: skip

    for mode in (
        "DEFAULT",
        "STRICT_ALIGN_CORNERS",
        "ALIGN_CORNERS",
        "UNALIGN_CORNERS",
        "OFFSET_CORNERS",
    ):
        for h, w in ((7, 3), (1, 5)):
            yield case(
                f"resize_bilinear, {mode} to {h}x{w}",
                lambda x, h=h, w=w, m=mode: ops.resize_bilinear(
                    x, target_size_height=h, target_size_width=w, sampling_mode=m
                ),
                lambda x, h=h, w=w, m=mode: op_resize_bilinear(x, h, w, m),
            )
        yield case(
            f"resize, {mode}",
            lambda x, m=mode: ops.resize(x, [6, 0], resized_dims=2, sampling_mode=m),
            lambda x, m=mode: op_resize(x, np.array([6, 0]), 2, "LINEAR", m),
        )
    yield case(
        "resize, nearest",
        lambda x: ops.resize(x, [3, 9], resized_dims=2, interpolation_mode="NEAREST_NEIGHBOR"),
        lambda x: op_resize(x, np.array([3, 9]), 2, "NEAREST_NEIGHBOR"),
    )
    for aligned, centres in ((True, None), (False, None), (False, True), (False, False)):
        yield case(
            f"upsample_bilinear, {aligned}, {centres}",
            lambda x, a=aligned, c=centres: ops.upsample_bilinear(
                x,
                scale_factor_height=2,
                scale_factor_width=1.5,
                align_corners=a,
                half_pixel_centers=c,
            ),
            lambda x, a=aligned, c=centres: op_upsample_bilinear(x, 2, 1.5, a, c),
        )
    yield GradientCase(
        "upsample_nearest_neighbor", ("upsample_nearest_neighbor",),
        lambda x: ops.upsample_nearest_neighbor(x, scale_factor_height=2, scale_factor_width=3),
        lambda x: x.repeat_interleave(2, 2).repeat_interleave(3, 3), {"x": grid(shape)},
    )  # fmt: skip
    yield GradientCase(
        "resize_nearest_neighbor", ("resize_nearest_neighbor",),
        lambda x: ops.resize_nearest_neighbor(x, target_size_height=3, target_size_width=7),
        lambda x: x[:, :, [0, 1, 2]][..., [0, 0, 1, 2, 2, 3, 4]], {"x": grid(shape)},
    )  # fmt: skip


CASES = [
    case
    for family in (convolutions, transposed, pools, moves, gathers, images)
    for case in family()
]
