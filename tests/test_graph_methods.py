"""The operations that a graph has as methods: every name of the Rust bindings, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the witness")

import torch
import torch.nn.functional as F  # noqa: N812

import milane
from gradient_harness import grid
from milane import Graph, PadFillMode, PadMode, Shape
from milane.graph.methods import Methods

X = grid((1, 4, 6, 8), -2, 2)
Y = grid((1, 4, 1, 8), 0.5, 2, seed=1)
POSITIVE = grid((1, 4, 6, 8), 0.25, 3)
KERNEL = grid((6, 4, 3, 2), -0.5, 0.5, seed=2)
GROUPED = grid((6, 2, 3, 3), -0.5, 0.5, seed=3)
PIXEL = grid((6, 4, 1, 1), -0.5, 0.5, seed=4)
BACK = grid((4, 3, 3, 2), -0.5, 0.5, seed=5)
BIAS = grid((6,), seed=6)
PARAMS = grid((8,), 0.5, 2, seed=7)
P = torch.tensor

# name: the use of it, and PyTorch's same; both of X, or of POSITIVE where the name is listed below
Use = tuple[Callable[[Graph, Any], Any], Callable[[Any], Any]]
USES: dict[str, list[Use]] = {
    "inner_product": [
        (lambda g, x: g.inner_product(x, PIXEL.reshape(6, 4), 4, 6), lambda x: F.conv2d(x, P(PIXEL))),
        (lambda g, x: g.inner_product(x, PIXEL.reshape(-1), 4, 6), lambda x: F.conv2d(x, P(PIXEL))),
    ],
    "matrix_multiplication": [
        (lambda g, x: g.matrix_multiplication(x, x, False, True), lambda x: x @ x.mT),
        (lambda g, x: g.matrix_multiplication(x, x, True), lambda x: x.mT @ x),
    ],
    "addition": [(lambda g, x: g.addition(x, Y), lambda x: x + P(Y))],
    "subtraction": [(lambda g, x: g.subtraction(Y, x), lambda x: P(Y) - x)],
    "multiplication": [(lambda g, x: g.multiplication(x, Y), lambda x: x * P(Y))],
    "division": [(lambda g, x: g.division(x, Y), lambda x: x / P(Y))],
    "power": [(lambda g, x: g.power(Y, x), lambda x: P(Y) ** x)],
    "maximum": [(lambda g, x: g.maximum(x, Y), lambda x: torch.maximum(x, P(Y)))],
    "minimum": [(lambda g, x: g.minimum(x, Y), lambda x: torch.minimum(x, P(Y)))],
    "absolute": [(lambda g, x: g.absolute(x), torch.abs)],
    "square_root": [(lambda g, x: g.square_root(x), torch.sqrt)],
    "reciprocal_square_root": [(lambda g, x: g.reciprocal_square_root(x), torch.rsqrt)],
    "exponent": [(lambda g, x: g.exponent(x), torch.exp)],
    "logarithm": [(lambda g, x: g.logarithm(x), torch.log)],
    "reciprocal": [(lambda g, x: g.reciprocal(x), torch.reciprocal)],
    "relu": [(lambda g, x: g.relu(x), torch.relu)],
    "sigmoid": [(lambda g, x: g.sigmoid(x), torch.sigmoid)],
    "tanh": [(lambda g, x: g.tanh(x), torch.tanh)],
    "leaky_relu": [(lambda g, x: g.leaky_relu(x, 0.125), lambda x: F.leaky_relu(x, 0.125))],
    "elu": [(lambda g, x: g.elu(x, 0.5), lambda x: F.elu(x, 0.5))],
    "hard_sigmoid": [(lambda g, x: g.hard_sigmoid(x, 0.25, 0.5), lambda x: (0.25 * x + 0.5).clamp(0, 1))],
    "linear": [(lambda g, x: g.linear(x, -2.0, 0.5), lambda x: -2 * x + 0.5)],
    "softplus": [(lambda g, x: g.softplus(x), F.softplus)],
    "softsign": [(lambda g, x: g.softsign(x), F.softsign)],
    "reshape": [(lambda g, x: g.reshape(x, Shape(1, 8, 3, 8)), lambda x: x.reshape(1, 8, 3, 8))],
    "transpose": [(lambda g, x: g.transpose(x, [0, 3, 1, 2]), lambda x: x.permute(0, 3, 1, 2))],
    "slice": [(lambda g, x: g.slice(x, [0, 1, 2, 0], [1, 2, 3, 8]), lambda x: x[:, 1:3, 2:5])],
    "concat": [(lambda g, x: g.concat([x, Y], 2), lambda x: torch.cat([x, P(Y)], 2))],
    "flatten_2d": [(lambda g, x: g.flatten_2d(x), lambda x: x.reshape(1, -1, 1, 1))],
    "reduce_sum": [(lambda g, x: g.reduce_sum(x, 1), lambda x: x.sum(1, keepdim=True))],
    "reduce_mean": [(lambda g, x: g.reduce_mean(x, -1), lambda x: x.mean(-1, keepdim=True))],
    "reduce_min": [(lambda g, x: g.reduce_min(x, 2), lambda x: x.amin(2, keepdim=True))],
    "reduce_max": [(lambda g, x: g.reduce_max(x, 3), lambda x: x.amax(3, keepdim=True))],
    "soft_max": [
        (lambda g, x: g.soft_max(x, -1), lambda x: x.softmax(-1)),
        (lambda g, x: g.soft_max(x, 1), lambda x: x.softmax(1)),
    ],
    "instance_norm": [
        (lambda g, x: g.instance_norm(x, g.constant(PARAMS), 1e-4),
         lambda x: F.instance_norm(x, weight=P(PARAMS[:4]), bias=P(PARAMS[4:]), eps=1e-4)),
        (lambda g, x: g.instance_norm(x, g.constant(PARAMS, Shape.of_channels(8)) * 1, 1e-4),
         lambda x: F.instance_norm(x, weight=P(PARAMS[:4]), bias=P(PARAMS[4:]), eps=1e-4)),
    ],
    "convolution_2d": [
        (lambda g, x: g.convolution_2d(x, g.constant(KERNEL)), lambda x: F.conv2d(x, P(KERNEL))),
        (lambda g, x: g.convolution_2d(x, KERNEL, BIAS), lambda x: F.conv2d(x, P(KERNEL), P(BIAS))),
        (lambda g, x: g.convolution_2d(x, GROUPED, g.constant(BIAS), groups=2, pad_mode=PadMode.SAME),
         lambda x: F.conv2d(x, P(GROUPED), P(BIAS), padding=1, groups=2)),
    ],
    "convolution_2d_1x1": [
        (lambda g, x: g.convolution_2d_1x1(x, g.constant(PIXEL), g.constant(BIAS, Shape.of_channels(6))),
         lambda x: F.conv2d(x, P(PIXEL), P(BIAS))),
    ],
    "convolution_2d_1x1_dynamic": [
        (lambda g, x: g.convolution_2d_1x1_dynamic(x, g.constant(PIXEL) * 2),
         lambda x: F.conv2d(x, 2 * P(PIXEL))),
    ],
    "convolution_transpose_2d": [
        (lambda g, x: g.convolution_transpose_2d(x, BACK, BIAS[:3], stride_height=2, stride_width=3),
         lambda x: F.conv_transpose2d(x, P(BACK), P(BIAS[:3]), stride=(2, 3))),
        (lambda g, x: g.convolution_transpose_2d(x, BACK[:, :, :2, :2], groups=2, stride_height=2,
                                                 stride_width=2, pad_mode=PadMode.SAME),
         lambda x: F.conv_transpose2d(x, P(BACK[:, :, :2, :2]), stride=2, groups=2)),
    ],
    "max_pool": [
        (lambda g, x: g.max_pool(x, 3, 2, 2, 2, PadMode.VALID), lambda x: F.max_pool2d(x, (3, 2), 2)),
        (lambda g, x: g.max_pool(x, 3, 3, 1, 1, PadMode.SAME), lambda x: F.max_pool2d(x, 3, 1, 1)),
    ],
    "avg_pool": [
        (lambda g, x: g.avg_pool(x, 2, 4, 2, 4, PadMode.VALID), lambda x: F.avg_pool2d(x, (2, 4))),
        (lambda g, x: g.avg_pool(x, 3, 3, 1, 1, PadMode.SAME),
         lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)),
    ],
    "global_avg_pool": [(lambda g, x: g.global_avg_pool(x), lambda x: x.mean((2, 3), keepdim=True))],
    "pad": [
        (lambda g, x: g.pad(x, 1, 2, 3, 0, PadFillMode.CONSTANT, 0.5),
         lambda x: F.pad(x, [3, 0, 1, 2], value=0.5)),
        (lambda g, x: g.pad(x, 1, 2, 3, 1, PadFillMode.REFLECT), lambda x: F.pad(x, [3, 1, 1, 2], "reflect")),
        (lambda g, x: g.pad(x, 1, 2, 3, 1, PadFillMode.REPLICATE), lambda x: F.pad(x, [3, 1, 1, 2], "replicate")),
    ],
}  # fmt: skip
OF_POSITIVE = {"square_root", "reciprocal_square_root", "logarithm", "reciprocal"}
VALUES = {"placeholder", "constant", "constant_with_scalar", "constant_with_f16_bytes"}
CASES = [(name, i) for name, uses in USES.items() for i in range(len(uses))]


@pytest.mark.parametrize(("name", "number"), CASES, ids=[f"{name}, use {i}" for name, i in CASES])
def test_a_method_computes_what_pytorch_does(
    name: str, number: int, runtime: milane.Runtime
) -> None:
    use, same = USES[name][number]
    x = POSITIVE if name in OF_POSITIVE else X
    graph = Graph()
    made = use(graph, graph.placeholder(Shape(*x.shape)))
    graph.output("y", made)
    with graph.compile(runtime) as kernel:
        found = kernel(x.astype(np.float16))["y"].astype(np.float64)
    want = same(P(x)).numpy()
    assert found.shape == want.shape == made.shape
    # The operands are exact in fp16 but for constants' last bit; a method is a few roundings, of
    # results no larger than the largest one.
    np.testing.assert_allclose(
        found, want, rtol=4 * 2.0**-11, atol=4 * 2.0**-11 * np.abs(want).max()
    )


def test_every_method_is_tried() -> None:
    own = {name for name in vars(Methods) if not name.startswith("_")}
    assert own - VALUES == set(USES)


# --- values


def test_placeholders_are_named_in_the_order_of_their_bytes() -> None:
    graph = Graph()
    names = [graph.placeholder(Shape.of_channels(4)).name for _ in range(12)]
    assert names == sorted(names)
    assert graph.input("own", (1,)).name == "own"
    assert graph.placeholder((1, 2, 3, 4)).type.shape == (1, 2, 3, 4)


def test_constants_hold_their_numbers(runtime: milane.Runtime) -> None:
    graph = Graph()
    x = graph.placeholder(Shape(1, 2, 2, 8))
    numbers = np.arange(32, dtype=np.float16).reshape(1, 2, 2, 8)
    graph.output("a", x + graph.constant_with_f16_bytes(numbers.tobytes(), Shape(1, 2, 2, 8)))
    graph.output("b", x + graph.constant_with_scalar(2.5, Shape(1, 2, 2, 8)))
    graph.output("c", x + graph.constant(numbers.reshape(-1).tolist(), Shape(1, 2, 2, 8)))
    with graph.compile(runtime) as kernel:
        found = kernel(np.ones((1, 2, 2, 8)))
    assert (found["a"] == numbers + 1).all()
    assert (found["b"] == 3.5).all()
    assert (found["c"] == numbers + 1).all()


# --- what does not fit


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda g, x: g.inner_product(x, np.ones((3, 4)), 4, 6), "inner_product: expected 6 × 4 weights"),
        (lambda g, x: g.constant_with_f16_bytes(b"\0" * 6, (4,)), "expected 2 bytes for each element"),
        (lambda g, x: g.instance_norm(x, np.ones(7), 1e-5), "a scale and a bias for each of 4 channels"),
        (lambda g, x: g.constant([1, 2, 3], Shape.of_channels(4)), "expected shape"),
        (lambda g, x: g.convolution_2d(x, np.ones((6, 3, 1, 1))), "expected weight for 4 input channels"),
        (lambda g, x: g.concat([x, np.ones((1, 4, 6, 7))], 1), "concat: expected size 8 along axis 3"),
        (lambda g, x: g.slice(x, [0, 0, 0, 6], [1, 4, 6, 3]), "slice_by_size: expected a size of at most 2"),
    ],
    ids=["inner_product", "bytes", "instance_norm", "constant", "convolution_2d", "concat", "slice"],
)  # fmt: skip
def test_a_method_says_what_does_not_fit(use: Any, message: str) -> None:
    graph = Graph()
    with pytest.raises(milane.AneError, match=message):
        use(graph, graph.placeholder(Shape(1, 4, 6, 8)))


@pytest.mark.parametrize("use", [lambda g, x: g.max_pool(x, 2, 2, 1, 1, "full"),
                                 lambda g, x: g.pad(x, 1, 1, 1, 1, "wrap")],
                         ids=["max_pool", "pad"])  # fmt: skip
def test_an_unknown_mode_is_refused(use: Any) -> None:
    graph = Graph()
    with pytest.raises(milane.InvalidArgumentError, match="expected .*(same|replicate), got"):
        use(graph, graph.placeholder(Shape(1, 4, 6, 8)))
