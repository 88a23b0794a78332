"""Depthwise convolution and pooling on maps of every shape that has a loop of its own.

The witness is NumPy in float64, over windows of the padded input. Products of halves are exact in
fp32 and sums run in one order, so that every instruction set must give the same bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from instruction_sets import assert_same_bits, leave, narrower_sets
from milane.graph import Graph, ops
from tolerance import assert_close, reduced

Array = NDArray[Any]
# Channels, height, width; kernel and padding, by height and width. One row of outputs, long lines,
# rows of half a register and of one, and wider ones.
SHAPES = [
    ((5, 1, 40), (3, 3), (1, 1)),
    ((5, 3, 40), (3, 3), (0, 1)),
    ((3, 1, 1500), (1, 31), (0, 15)),
    ((3, 1, 777), (1, 12), (0, 0)),
    ((3, 1, 200), (1, 70), (0, 20)),
    ((3, 1, 17), (1, 5), (0, 2)),
    ((33, 7, 7), (3, 3), (1, 1)),
    ((18, 4, 5), (3, 3), (1, 1)),
    ((18, 8, 8), (5, 5), (2, 2)),
    ((19, 2, 2), (3, 3), (1, 1)),
    ((17, 14, 14), (3, 3), (1, 1)),
    ((6, 20, 21), (5, 3), (2, 0)),
    ((4, 56, 57), (3, 3), (1, 1)),
]
STRIDES = [1, 2]


def values(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float16)


def windows(x: Array, kernel: Any, pad: Any, stride: int, outside: float) -> Array:
    """Return [1, channels, out height, out width, kernel height, kernel width]."""
    sides = ((0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1]))
    padded = np.pad(x.astype(np.float64), sides, constant_values=outside)
    seen = np.lib.stride_tricks.sliding_window_view(padded, kernel, (2, 3))
    return seen[:, :, ::stride, ::stride]


def run(graph: Graph, x: Array, numerics: str) -> Array:
    with milane.open("host") as runtime:
        kernel = runtime.compile(graph.program(), numerics=numerics)
        kernel.inputs["x"].surface.write(x)
        kernel.eval()
        return np.array(kernel.outputs["y"].surface.read())


def depthwise(
    x: Array, w: Array, b: Array, pad: Any, *, stride: int, numerics: str, dilation: int = 1
) -> Array:
    graph = Graph()
    weights = graph.weight("w", w.shape, data=w), graph.weight("b", b.shape, data=b)
    how: Any = {"pad_type": "custom", "pad": [pad[0], pad[0], pad[1], pad[1]]}
    value = graph.input("x", x.shape)
    groups = x.shape[1]
    how |= {"strides": [stride] * 2, "dilations": [1, dilation], "groups": groups}
    y = ops.conv(value, weights[0], weights[1], **how)
    graph.output("y", y)
    return run(graph, x, numerics)


def pooled(kind: str, x: Array, kernel: Any, pad: Any, *, stride: int, numerics: str) -> Array:
    graph = Graph()
    how: Any = {"pad_type": "custom", "pad": [pad[0], pad[0], pad[1], pad[1]]}
    pool: Any = ops.max_pool if kind == "max" else ops.avg_pool
    value = graph.input("x", x.shape)
    graph.output("y", pool(value, kernel_sizes=list(kernel), strides=[stride] * 2, **how))
    return run(graph, x, numerics)


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_depthwise_convolution(case: Any, stride: int, numerics: str) -> None:
    shape, kernel, pad = case
    x, w, b = values((1, *shape), 1), values((shape[0], 1, *kernel), 2), values(shape[:1], 3)
    seen = windows(x, kernel, pad, stride, 0.0)
    taps, bias = w[:, 0].astype(np.float64), b.astype(np.float64)[:, None, None]
    expected = np.einsum("nchwij,cij->nchw", seen, taps) + bias
    size = np.einsum("nchwij,cij->nchw", np.abs(seen), np.abs(taps)) + np.abs(bias)
    got = depthwise(x, w, b, pad, stride=stride, numerics=numerics)
    assert_close(got, expected, reduced(taps[0].size).of(size), numerics)


@pytest.mark.parametrize("dilation", [2, 3, 8, 16, 17, 32])
def test_dilated_lines(dilation: int) -> None:
    taps, pad = 9, 20
    x, w, b = values((1, 2, 1, 300), 1), values((2, 1, 1, taps), 2), values((2,), 3)
    seen = windows(x, (1, (taps - 1) * dilation + 1), (0, pad), 1, 0.0)[..., ::dilation]
    kernel, bias = w[:, 0].astype(np.float64), b.astype(np.float64)[:, None, None]
    expected = np.einsum("nchwij,cij->nchw", seen, kernel) + bias
    size = np.einsum("nchwij,cij->nchw", np.abs(seen), np.abs(kernel)) + np.abs(bias)
    got = depthwise(x, w, b, (0, pad), stride=1, numerics="fp16", dilation=dilation)
    assert_close(got, expected, reduced(taps).of(size), "fp16")


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kind", ["ordinary", "NaN in a plane", "zeros of both signs", "infinite"])
@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_max_pooling(case: Any, kind: str, stride: int, numerics: str) -> None:
    shape, kernel, pad = case
    x = values((1, *shape), 1)
    if kind == "NaN in a plane":
        x[0, 1, 0, 2 % shape[2]] = np.nan
        x[0, 2, -1, 0] = -np.float16(np.nan)
    elif kind == "zeros of both signs":
        x = np.where(x > 0.5, np.float16(0), np.where(x < -0.5, -np.float16(0), -np.abs(x)))
    elif kind == "infinite":
        x = np.where(x > 1, np.float16(np.inf), np.where(x < 0.5, -np.float16(np.inf), x))
    pad = tuple(min(p, k // 2) for p, k in zip(pad, kernel, strict=True))
    expected = windows(x, kernel, pad, stride, -np.inf).max(axis=(-2, -1))
    got = pooled("max", x, kernel, pad, stride=stride, numerics=numerics)
    assert np.array_equal(got.astype(np.float64), expected, equal_nan=True)


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize("size", [(1, 3), (5, 7), (7, 7), (8, 8), (13, 30)])
@pytest.mark.parametrize("channels", [1, 16, 53, 300])
def test_the_average_of_whole_planes(channels: int, size: Any, numerics: str) -> None:
    x = values((1, channels, *size), 1)
    wide = x.astype(np.float64)
    magnitude = np.abs(wide).mean((2, 3), keepdims=True)
    expected = wide.mean((2, 3), keepdims=True)
    got = pooled("average", x, size, (0, 0), stride=1, numerics=numerics)
    assert_close(got, expected, reduced(size[0] * size[1]).of(magnitude), numerics)


def everything() -> dict[str, Array]:
    """What every instruction set must give the same bits of."""
    found = {}
    for shape, kernel, pad in SHAPES:
        x, w, b = values((1, *shape), 1), values((shape[0], 1, *kernel), 2), values(shape[:1], 3)
        for stride in STRIDES:
            name = f"{shape} {kernel} {stride}"
            found[name] = depthwise(x, w, b, pad, stride=stride, numerics="fp16")
            zeros = np.where(x > 0, np.float16(0), -np.float16(0))
            sides = tuple(min(p, k // 2) for p, k in zip(pad, kernel, strict=True))
            for kind, data in (("plain", x), ("zeros", zeros)):
                found[f"{name} {kind}"] = pooled(
                    "max", data, kernel, sides, stride=stride, numerics="fp16"
                )
            found[f"{name} average"] = pooled(
                "average", x, shape[1:], (0, 0), stride=1, numerics="fp16"
            )
    return found


@pytest.mark.parametrize("name", narrower_sets())
def test_every_instruction_set_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    assert_same_bits(name, __file__, tmp_path, everything())


if __name__ == "__main__":
    leave(everything())
