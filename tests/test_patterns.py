"""Groups of operations that the host engine runs as one step: bit for bit what they give apart.

The witness is the same program compiled with ``fuse=False``, whose operations are each tested
against NumPy and PyTorch elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

import milane
from milane.graph import Graph, Tensor, ops

Array = npt.NDArray[np.float16]
Feeds = dict[str, tuple[int, ...]]
EXTREMES = np.array([np.nan, np.inf, -np.inf, 65504, -65504], np.float16)


def values(shape: tuple[int, ...], scale: float, seed: int, *, extremes: bool = False) -> Array:
    rng = np.random.default_rng(seed)
    made = (rng.standard_normal(shape) * scale).astype(np.float16)
    if extremes:
        flat = made.reshape(-1)
        flat[rng.integers(0, flat.size, flat.size // 1000 + 1)] = rng.choice(EXTREMES)
    return made


def steps(kernel: milane.Kernel) -> list[str]:
    return [step.op for step in kernel.eval_with_stats(per_op=True).steps]


def same_bits(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> bool:
    """Whether every element is the same, signs of zeros included; any NaN is as good as another."""
    equal = (one == other) & (np.signbit(one) == np.signbit(other))
    return bool(np.all(equal | (np.isnan(one) & np.isnan(other))))


def check(build: Callable[[], Graph], fused: str, scales: list[float], **options: str) -> None:
    """Compile with and without fusing; every step list, then every output bit, on every scale."""
    with milane.open("host") as runtime:
        program = build().program()
        together = runtime.compile(program, **options)
        apart = runtime.compile(program, fuse=False, **options)
        assert fused in steps(together)
        assert fused not in steps(apart)
        for seed, scale in enumerate(scales):
            for extremes in (False, True):
                for i, name in enumerate(together.inputs):
                    shape = tuple(together.inputs[name].shape)
                    made = values(shape, scale, 10 * seed + i, extremes=extremes)
                    for kernel in (together, apart):
                        kernel.inputs[name].surface.write(made)
                together.eval()
                apart.eval()
                found = together.outputs["out"].surface.read()
                expected = apart.outputs["out"].surface.read()
                assert same_bits(found, expected), f"values of about {scale}"


@dataclass(frozen=True)
class Attention:
    """A form of attention: sizes, and what stands around the products."""

    heads: int = 2
    length: int = 70
    keys: int = 70
    size: int = 20
    mask: str = "causal"  # "causal", "infinite", "any", "input" or ""
    scaled: bool = True
    columns: bool = False  # q, k, v and the result are [1, heads, D, S]

    def graph(self) -> Graph:
        graph, h = Graph(), self.heads
        q, k, v = (
            self.operand(graph, name, rows)
            for name, rows in (("a_q", self.length), ("b_k", self.keys), ("c_v", self.keys))
        )
        scores = ops.matmul(q, k, transpose_y=True)
        if self.scaled:
            scores = ops.mul(scores, np.float16(self.size**-0.5))
        shape = (1, h if self.mask == "any" else 1, self.length, self.keys)
        if self.mask == "input":
            scores = ops.add(scores, graph.input("d_mask", shape))
        elif self.mask:
            scores = ops.add(scores, graph.weight("mask", shape, data=self.mask_values(shape)))
        found = ops.matmul(ops.softmax(scores, axis=-1), v)
        if self.columns:
            found = ops.transpose(found, [0, 1, 3, 2])
        graph.output("out", found)
        return graph

    def operand(self, graph: Graph, name: str, rows: int) -> Tensor:
        if not self.columns:
            return graph.input(name, (1, self.heads, rows, self.size))
        made = graph.input(name, (1, self.heads, self.size, rows))
        return ops.transpose(made, [0, 1, 3, 2])

    def mask_values(self, shape: tuple[int, ...]) -> Array:
        if self.mask == "any":
            return values(shape, 1.0, 7)
        above = -np.inf if self.mask == "infinite" else -40000
        return np.triu(np.full(shape, above, np.float16), 1)

    def step(self) -> str:
        inner = ["matmul", *["mul"] * self.scaled, *["add"] * bool(self.mask), "softmax", "matmul"]
        around = ["transpose"] if self.columns else []
        return "+".join([*around * 3, *inner, *around])


FORMS = {
    "causal": Attention(),
    "whole tiles": Attention(length=128, keys=128, size=64),
    "columns in and out": Attention(columns=True),
    "minus infinity": Attention(mask="infinite"),
    "a mask for every head": Attention(mask="any", keys=33),
    "a mask at run time": Attention(mask="input", keys=100),
    "no mask": Attention(mask="", length=7, keys=9, size=3),
    "no scale": Attention(scaled=False, size=130),
}


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_attention_in_one_step_keeps_every_bit(form: Attention, numerics: str) -> None:
    """Also where scores are so large that nothing may be left out, and with NaN and infinities."""
    check(form.graph, form.step(), [1.0, 30.0, 1000.0], numerics=numerics)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_attention_in_one_step_does_not_depend_on_threads(threads: int) -> None:
    before = milane.num_threads()
    try:
        milane.set_num_threads(threads)
        form = Attention(heads=1, length=300, keys=300, size=33)
        check(form.graph, form.step(), [1.0])
    finally:
        milane.set_num_threads(before)


def norm(channels: int, seq: int, *, mean: bool, weight: bool) -> Graph:
    graph = Graph()
    x = graph.input("x", (1, channels, 1, seq))
    squares = ops.mul(x, x)
    if mean:
        found = ops.reduce_mean(squares, axes=[1], keep_dims=True)
    else:
        found = ops.reduce_sum(squares, axes=[1], keep_dims=True)
        found = ops.mul(found, np.float16(1 / channels))
    factor = ops.pow(ops.add(found, np.float16(1e-5)), np.float16(-0.5))
    y = ops.mul(x, factor)
    if weight:
        y = ops.mul(
            y, graph.weight("w", (1, channels, 1, 1), data=values((1, channels, 1, 1), 1, 3))
        )
    graph.output("out", y)
    return graph


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize(
    ("channels", "seq", "mean", "weight"),
    [(768, 256, False, True), (77, 37, True, True), (5, 130, False, False), (64, 2, True, True)],
)
def test_rms_norm_in_one_step_keeps_every_bit(
    channels: int, seq: int, mean: bool, weight: bool, numerics: str
) -> None:
    middle = "reduce_mean" if mean else "reduce_sum+mul"
    step = f"mul+{middle}+add+pow+mul" + ("+mul" if weight else "")
    build = lambda: norm(channels, seq, mean=mean, weight=weight)  # noqa: E731
    check(build, step, [0.01, 1.0, 300.0], numerics=numerics)


@dataclass(frozen=True)
class MaxFirst:
    """A norm that divides by the largest element first: its shape, and how it is written."""

    shape: tuple[int, ...] = (1, 77, 1, 37)
    axis: int = 1
    mean: bool = True
    square: bool = False  # instead of a product with itself
    shares_eps: bool = True  # epsilon relative to the largest; else as it is
    weight: str = "constant"  # "input" or ""

    def graph(self) -> Graph:
        graph = Graph()
        x = graph.input("a_x", self.shape)
        along = [1] * len(self.shape)
        along[self.axis] = self.shape[self.axis]
        largest = ops.reduce_max(ops.abs(x), axes=[self.axis], keep_dims=True)
        largest = ops.maximum(largest, np.float16(2e-4))
        small = ops.real_div(x, largest)
        squares = ops.square(small) if self.square else ops.mul(small, small)
        reduce = ops.reduce_mean if self.mean else ops.reduce_sum
        found = reduce(squares, axes=[self.axis], keep_dims=True)
        if self.shares_eps:
            eps = ops.real_div(np.float16(3e-3), largest)
            found = ops.add(found, ops.mul(eps, eps))
        else:
            found = ops.add(found, np.float16(1e-5))
        y = ops.mul(small, ops.pow(found, np.float16(-0.5)))
        if self.weight == "constant":
            y = ops.mul(y, graph.weight("w", tuple(along), data=values(tuple(along), 1, 3)))
        elif self.weight:
            y = ops.mul(graph.input("b_w", tuple(along)), y)
        graph.output("out", y)
        return graph

    def step(self) -> str:
        middle = "real_div+mul+add" if self.shares_eps else "add"
        inner = [
            *("abs", "reduce_max", "maximum", "real_div", "square" if self.square else "mul"),
            *("reduce_mean" if self.mean else "reduce_sum", middle, "pow", "mul"),
        ]
        return "+".join([*inner, *["mul"] * bool(self.weight)])


NORMS = {
    "columns": MaxFirst(),
    "many columns": MaxFirst((2, 130, 1, 300), weight="input"),
    "a single column": MaxFirst((1, 768, 1, 1)),
    "a long single column": MaxFirst((1, 2500, 1, 1), weight="input"),
    "rows": MaxFirst((3, 5, 70), axis=2, weight=""),
    "the middle": MaxFirst((3, 50, 7), mean=False, square=True, shares_eps=False),
}


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize("form", NORMS.values(), ids=NORMS)
def test_a_norm_that_divides_by_the_largest_keeps_every_bit(form: MaxFirst, numerics: str) -> None:
    """Also of columns of zeros, whose largest element is the least one allowed."""
    check(form.graph, form.step(), [0.0, 0.01, 1.0, 300.0, 12000.0], numerics=numerics)


def test_a_norm_whose_factor_is_returned_stays_apart() -> None:
    graph = Graph()
    x = graph.input("x", (1, 20, 1, 4))
    largest = ops.reduce_max(ops.abs(x), axes=[1], keep_dims=True)
    small = ops.real_div(x, largest)
    factor = ops.pow(ops.reduce_mean(ops.mul(small, small), axes=[1], keep_dims=True), -0.5)
    graph.output("factor", factor)
    graph.output("out", ops.mul(small, factor))
    with milane.open("host") as runtime:
        kernel = runtime.compile(graph.program())
        assert "reduce_max" in steps(kernel)


@dataclass(frozen=True)
class Convolution:
    """A convolution, and what follows: every way that computes one has its own."""

    channels: int = 5
    size: tuple[int, int] = (9, 20)
    out: int = 37
    kernel: tuple[int, int] = (3, 3)
    groups: int = 1
    transposed: bool = False
    bias: bool = True

    def graph(self, after: list[Callable[[Tensor], Tensor]]) -> Graph:
        graph = Graph()
        rows, columns = self.channels, self.out
        if not self.transposed:
            rows, columns = columns, rows
        size = (rows, columns // self.groups, *self.kernel)
        bias = graph.weight("b", (self.out,), data=values((self.out,), 1, 4)) if self.bias else None
        y = (ops.conv_transpose if self.transposed else ops.conv)(
            graph.input("x", (2, self.channels, *self.size)),
            graph.weight("w", size, data=values(size, 0.3, 3)),
            pad_type="custom",
            pad=[0, 0, 0, 0],
            strides=[2, 2] if self.transposed else [1, 1],
            groups=self.groups,
            bias=bias,
        )
        for function in after:
            y = function(y)
        graph.output("out", y)
        return graph


CONVOLUTIONS = {
    "output channels in lanes": Convolution(channels=12, size=(5, 47), bias=False),
    "output channels in lanes, a bias": Convolution(channels=12),
    "columns in lanes": Convolution(channels=6, size=(4, 66), bias=False),
    "pointwise": Convolution(channels=20, size=(8, 9), kernel=(1, 1)),
    "a few columns": Convolution(size=(4, 4)),
    "in groups": Convolution(channels=6, out=9, groups=3),
    "depthwise": Convolution(channels=6, out=6, groups=6),
    "transposed": Convolution(kernel=(2, 2), transposed=True),
}

AFTER: dict[str, list[Callable[[Tensor], Tensor]]] = {
    "relu": [ops.relu],
    "silu": [ops.silu],
    "leaky_relu+gelu+abs": [lambda x: ops.leaky_relu(x, alpha=0.1), ops.gelu, ops.abs],
}


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("conv", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_activations_in_one_step_with_their_convolution_keep_every_bit(
    conv: Convolution, after: str, numerics: str
) -> None:
    """Small values too: what is rounded to -0 passes a rectifier as -0."""
    name = "conv_transpose" if conv.transposed else "conv"
    build = lambda: conv.graph(AFTER[after])  # noqa: E731
    check(build, f"{name}+{after}", [1e-7, 1.0, 300.0], numerics=numerics)


def layer(rows: int, bias: bool, after: str) -> Graph:
    """A linear layer, or a product with a constant, and what follows."""
    graph = Graph()
    x, w = graph.input("x", (rows, 70)), values((37, 70), 0.3, 3)
    if bias:
        b = graph.weight("b", (37,), data=values((37,), 1, 4))
        y = ops.linear(x, graph.weight("w", w.shape, data=w), b)
    else:
        y = ops.matmul(x, graph.weight("w", w.T.shape, data=w.T))
    for function in AFTER[after]:
        y = function(y)
    graph.output("out", y)
    return graph


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("bias", [False, True], ids=["matmul", "linear"])
@pytest.mark.parametrize("rows", [1, 3, 45], ids=["a vector", "a few", "tiles"])
def test_activations_in_one_step_with_their_layer_keep_every_bit(
    rows: int, bias: bool, after: str, numerics: str
) -> None:
    name = "linear" if bias else "matmul"
    build = lambda: layer(rows, bias, after)  # noqa: E731
    check(build, f"{name}+{after}", [1e-7, 1.0, 300.0], numerics=numerics)


def test_no_more_than_three_operations_join_a_convolution() -> None:
    """The fourth is a step of its own."""
    graph = Convolution().graph([ops.relu, ops.abs, ops.silu, ops.tanh])
    with milane.open("host") as runtime:
        assert steps(runtime.compile(graph.program())) == ["conv+relu+abs+silu", "tanh"]


def test_a_convolution_that_is_returned_too_keeps_its_activation_apart() -> None:
    """Both results are wanted."""
    graph = Graph()
    x, w = (
        graph.input("x", (1, 4, 8, 8)),
        graph.weight("w", (4, 4, 1, 1), data=np.ones((4, 4, 1, 1))),
    )
    y = ops.conv(x, w)
    graph.output("conv", y)
    graph.output("out", ops.relu(y))
    with milane.open("host") as runtime:
        assert steps(runtime.compile(graph.program())) == ["conv", "relu"]


def test_a_result_that_something_else_reads_is_made() -> None:
    """Weights of an attention that are returned: the group stays apart."""
    graph = Graph()
    q, k = graph.input("a_q", (1, 2, 40, 16)), graph.input("b_k", (1, 2, 40, 16))
    weights = ops.softmax(ops.matmul(q, k, transpose_y=True), axis=-1)
    graph.output("weights", weights)
    graph.output("out", ops.matmul(weights, k))
    with milane.open("host") as runtime:
        kernel = runtime.compile(graph.program())
        assert steps(kernel) == ["matmul", "softmax", "matmul"]
