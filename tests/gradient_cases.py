"""Cases of the gradient rules of arithmetic, activations, reductions, products and norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from gradient_harness import GradientCase, grid
from milane.graph import ops

SHAPES = [(7,), (3, 5), (2, 3, 4), (1, 2, 3, 5), (2, 1, 3, 2, 2)]


def _channels(vector: Any, rank: int) -> Any:
    return vector.reshape(1, -1, *[1] * (rank - 2))


def _product(x: Any, axes: list[int], keep: bool) -> Any:
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


# name: PyTorch's same, smallest and largest element
UNARY: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "abs": (lambda x: x.abs(), -2, 2),
    "acos": (lambda x: x.acos(), -0.9, 0.9),
    "asin": (lambda x: x.asin(), -0.9, 0.9),
    "atan": (lambda x: x.atan(), -3, 3),
    "atanh": (lambda x: x.atanh(), -0.9, 0.9),
    "cos": (lambda x: x.cos(), -3, 3),
    "cosh": (lambda x: x.cosh(), -2, 2),
    "erf": (lambda x: x.erf(), -2, 2),
    "exp": (lambda x: x.exp(), -2, 2),
    "exp2": (lambda x: x.exp2(), -2, 2),
    "sin": (lambda x: x.sin(), -3, 3),
    "sinh": (lambda x: x.sinh(), -2, 2),
    "sqrt": (lambda x: x.sqrt(), 0.25, 4),
    "square": (lambda x: x.square(), -2, 2),
    "tan": (lambda x: x.tan(), -1, 1),
    "tanh": (lambda x: x.tanh(), -2, 2),
    "relu": (lambda x: x.relu(), -2, 2),
    "relu6": (F.relu6, -2, 8),
    "sigmoid": (lambda x: x.sigmoid(), -4, 4),
    "silu": (F.silu, -4, 4),
    "softplus": (F.softplus, -4, 4),
    "softsign": (F.softsign, -4, 4),
}

# id: operation, arguments, PyTorch's same, smallest and largest element
WITH_ARGUMENTS: dict[str, tuple[str, dict[str, Any], Callable[[Any], Any], float, float]] = {
    "inverse": ("inverse", {"epsilon": 0.5}, lambda x: 1 / (x + 0.5), 0.25, 3),
    "log": ("log", {"epsilon": 0.25}, lambda x: (x + 0.25).log(), 0.25, 3),
    "log without epsilon": ("log", {}, lambda x: x.log(), 0.25, 3),
    "rsqrt": ("rsqrt", {"epsilon": 0.25}, lambda x: (x + 0.25).rsqrt(), 0.25, 3),
    "clamped_relu": (
        "clamped_relu", {"alpha": 0.125, "beta": 1.5},
        lambda x: torch.where(x > 0, x, 0.125 * x).clamp(max=1.5), -3, 3,
    ),
    "clip": ("clip", {"alpha": -1.0, "beta": 0.5}, lambda x: x.clamp(-1.0, 0.5), -2, 2),
    "elu": ("elu", {"alpha": 0.75}, lambda x: F.elu(x, 0.75), -3, 3),
    "exact gelu": ("gelu", {}, F.gelu, -4, 4),
    "gelu by tanh": (
        "gelu", {"mode": "TANH_APPROXIMATION"}, lambda x: F.gelu(x, approximate="tanh"), -4, 4,
    ),
    "gelu by sigmoid": (
        "gelu", {"mode": "SIGMOID_APPROXIMATION"}, lambda x: x * (1.702 * x).sigmoid(), -4, 4,
    ),
    "leaky_relu": ("leaky_relu", {"alpha": 0.125}, lambda x: F.leaky_relu(x, 0.125), -2, 2),
    "linear_activation": (
        "linear_activation", {"alpha": -1.5, "beta": 0.25}, lambda x: -1.5 * x + 0.25, -2, 2,
    ),
    "scaled_tanh": (
        "scaled_tanh", {"alpha": 1.75, "beta": 0.625}, lambda x: 1.75 * (0.625 * x).tanh(), -3, 3,
    ),
    "sigmoid_hard": (
        "sigmoid_hard", {"alpha": 0.25, "beta": 0.5}, lambda x: (0.25 * x + 0.5).clamp(0, 1), -4, 4,
    ),
    "threshold": ("threshold", {"alpha": 0.25}, lambda x: x.clamp(min=0.25), -2, 2),
    "thresholded_relu": (
        "thresholded_relu", {"alpha": 0.5}, lambda x: F.threshold(x, 0.5, 0.0), -2, 2,
    ),
    "cast to fp32 and back": (
        "cast", {"dtype": "fp32"}, lambda x: x, -2, 2,
    ),
    "softmax of the last axis": ("softmax", {}, lambda x: x.softmax(-1), -3, 3),
    "softmax of the first axis": ("softmax", {"axis": 0}, lambda x: x.softmax(0), -3, 3),
    "cumsum": ("cumsum", {}, lambda x: x.cumsum(0), -2, 2),
    "cumsum from the end": (
        "cumsum", {"axis": -1, "reverse": True}, lambda x: x.flip(-1).cumsum(-1).flip(-1), -2, 2,
    ),
    "cumsum without itself": (
        "cumsum", {"axis": -1, "exclusive": True}, lambda x: x.cumsum(-1) - x, -2, 2,
    ),
}  # fmt: skip

# name: PyTorch's same, range of x, range of y
BINARY: dict[str, tuple[Callable[[Any, Any], Any], tuple[float, float], tuple[float, float]]] = {
    "add": (lambda x, y: x + y, (-2, 2), (-2, 2)),
    "sub": (lambda x, y: x - y, (-2, 2), (-2, 2)),
    "mul": (lambda x, y: x * y, (-2, 2), (-2, 2)),
    "real_div": (lambda x, y: x / y, (-2, 2), (0.5, 3)),
    "pow": (lambda x, y: x**y, (0.25, 2), (-2, 2)),
    "maximum": (torch.maximum, (-2, 2), (-2, 2)),
    "minimum": (torch.minimum, (-2, 2), (-2, 2)),
    "mod": (torch.remainder, (-4, 4), (1, 2)),
}
PAIRS = [
    ((7,), (7,)),
    ((3, 5), (5,)),
    ((4, 1, 3), (2, 1)),
    ((1, 3, 1, 5), (1, 3, 1, 1)),
    ((2, 1, 3, 1, 2), (1, 2, 1, 2, 1)),
    ((), (3, 2)),
]

REDUCTIONS: dict[str, tuple[Callable[..., Any], float, float]] = {
    "reduce_l1_norm": (lambda x, a, k: x.abs().sum(a, k), -2, 2),
    "reduce_l2_norm": (lambda x, a, k: x.square().sum(a, k).sqrt(), -2, 2),
    "reduce_log_sum": (lambda x, a, k: x.sum(a, k).log(), 0.25, 2),
    "reduce_log_sum_exp": (lambda x, a, k: x.logsumexp(a, k), -3, 3),
    "reduce_max": (lambda x, a, k: x.amax(a, k), -2, 2),
    "reduce_mean": (lambda x, a, k: x.mean(a, k), -2, 2),
    "reduce_min": (lambda x, a, k: x.amin(a, k), -2, 2),
    "reduce_prod": (_product, -2, 2),
    "reduce_sum": (lambda x, a, k: x.sum(a, k), -2, 2),
    "reduce_sum_square": (lambda x, a, k: x.square().sum(a, k), -2, 2),
}
AXES: list[tuple[tuple[int, ...], list[int] | None, bool]] = [
    ((7,), None, False),
    ((3, 5), [-1], False),
    ((3, 5), [0], True),
    ((2, 3, 4), [0, 2], False),
    ((1, 2, 3, 5), [2, 3], True),
    ((2, 2, 3, 2, 2), [1, 3, 4], False),
    ((3, 1, 4), [1], False),
]


def arithmetic() -> Iterator[GradientCase]:
    for op, (same, low, high) in UNARY.items():
        for shape in SHAPES:
            x = {"x": grid(shape, low, high)}
            yield GradientCase(f"{op} of rank {len(shape)}", (op,), getattr(ops, op), same, x)
    for name, (op, arguments, same, low, high) in WITH_ARGUMENTS.items():
        for shape in SHAPES:
            x = {"x": grid(shape, low, high)}

            def build(x: Any, op: str = op, arguments: dict[str, Any] = arguments) -> Any:
                made = getattr(ops, op)(x, **arguments)
                return ops.cast(made, dtype=x.dtype) if op == "cast" else made

            yield GradientCase(f"{name} of rank {len(shape)}", (op,), build, same, x)
    for op, (same, of_x, of_y) in BINARY.items():
        for a, b in PAIRS:
            pair = {"x": grid(a, *of_x), "y": grid(b, *of_y, seed=1)}
            smooth = op != "mod" or a == b  # no quotient is near a whole number there
            yield GradientCase(
                f"{op} of {a} and {b}", (op,), getattr(ops, op), same, pair, differences=smooth
            )
    for a, b in PAIRS:
        cond = grid(np.broadcast_shapes(a, b), -1, 1) > 0
        yield GradientCase(
            f"select of {a} and {b}",
            ("select",),
            lambda a, b, c: ops.select(c > 0, a, b),
            lambda a, b, c: torch.where(c > 0, a, b),
            {"a": grid(a), "b": grid(b, seed=1)},
            others={"c": np.where(cond, 1.0, -1.0)},
        )
    yield GradientCase(
        "pow with a constant of 2", ("pow",), lambda x: x**2.0, lambda x: x**2, {"x": grid((3, 5))}
    )
    yield GradientCase(
        "pow with a constant of -0.5", ("pow",), lambda x: x**-0.5, lambda x: x**-0.5,
        {"x": grid((3, 5), 0.25, 2)},
    )  # fmt: skip
    for op in ("maximum", "minimum"):
        yield GradientCase(
            f"{op} of equal operands",
            (op,),
            getattr(ops, op),
            lambda x, y, op=op: getattr(torch, op)(x, y),
            {"x": np.array([1.0, 2.0, -1.0]), "y": np.array([1.0, 1.0, -1.0])},
            differences=False,
        )


def per_channel() -> Iterator[GradientCase]:
    for shape in SHAPES[2:]:
        rank, channels = len(shape), (shape[1],)
        x, alpha = grid(shape, -2, 2), grid(channels, 0.25, 2)
        yield GradientCase(
            f"prelu of rank {rank}", ("prelu",), ops.prelu, F.prelu,
            {"x": x, "alpha": alpha}, baked=("alpha",),
        )  # fmt: skip
        yield GradientCase(
            f"softplus_parametric of rank {rank}",
            ("softplus_parametric",),
            ops.softplus_parametric,
            lambda x, a, b: _channels(a, x.ndim) * F.softplus(_channels(b, x.ndim) * x),
            {"x": x, "alpha": alpha, "beta": grid(channels, 0.5, 2, seed=1)},
            baked=("alpha", "beta"),
        )
        yield GradientCase(
            f"batch_norm of rank {rank}",
            ("batch_norm",),
            ops.batch_norm,
            _batch_norm,
            {
                "x": x,
                "mean": grid(channels, seed=1),
                "variance": grid(channels, 0.5, 2, seed=2),
                "gamma": grid(channels, seed=3),
                "beta": grid(channels, seed=4),
            },
            baked=("mean", "variance", "gamma", "beta"),
        )


def _batch_norm(x: Any, mean: Any, variance: Any, gamma: Any, beta: Any) -> Any:
    m, v, g, b = (_channels(vector, x.ndim) for vector in (mean, variance, gamma, beta))
    return (x - m) / (v + 1e-5).sqrt() * g + b


def reducing() -> Iterator[GradientCase]:
    for op, (same, low, high) in REDUCTIONS.items():
        for shape, axes, keep in AXES:
            every = axes or list(range(len(shape)))
            yield GradientCase(
                f"{op} of {shape} over {axes}{', kept' if keep else ''}",
                (op,),
                lambda x, op=op, a=axes, k=keep: getattr(ops, op)(x, axes=a, keep_dims=k),
                lambda x, same=same, a=every, k=keep: same(x, a, k),
                {"x": grid(shape, low, high)},
            )
    yield GradientCase(
        "reduce_prod with zeros", ("reduce_prod",), lambda x: ops.reduce_prod(x, axes=[1]),
        lambda x: x.prod(1), {"x": np.array([[2.0, 0, 3], [0, 5, 0], [1, 2, 3]])},
    )  # fmt: skip
    yield GradientCase(
        "reduce_max of equal elements", ("reduce_max",), lambda x: ops.reduce_max(x, axes=[1]),
        lambda x: x.amax(1), {"x": np.array([[2.0, 2, 1], [0, 5, 0]])}, differences=False,
    )  # fmt: skip
    yield GradientCase(
        "reduce_l2_norm of zeros", ("reduce_l2_norm",), lambda x: ops.reduce_l2_norm(x, axes=[1]),
        lambda x: torch.linalg.vector_norm(x, dim=1), {"x": np.array([[0.0, 0], [3, 4]])},
        differences=False,
    )  # fmt: skip
    for axis, ascending in ((-1, False), (0, True)):
        yield GradientCase(
            f"topk along {axis}{', ascending' if ascending else ''}",
            ("topk",),
            lambda x, a=axis, up=ascending: ops.topk(x, k=2, axis=a, ascending=up),
            lambda x, a=axis, up=ascending: x.topk(2, a, largest=not up)[0],
            {"x": grid((3, 5))},
        )


def products() -> Iterator[GradientCase]:
    shapes = [
        ((3,), (3,), False, False),
        ((3,), (3, 2), False, False),
        ((2, 3), (3,), False, False),
        ((2, 3), (3, 4), False, False),
        ((3, 2), (3, 4), True, False),
        ((2, 3), (4, 3), False, True),
        ((3, 2), (4, 3), True, True),
        ((2, 4, 3), (3, 5), False, False),
        ((2, 4, 3), (5, 3), False, True),
        ((2, 3, 4), (3, 5), True, False),
        ((2, 3), (2, 3, 4), False, False),
        ((2, 1, 4, 3), (3, 3, 2), False, False),
        ((1, 2, 1, 4, 3), (2, 2, 3, 3), False, True),
        ((2, 4, 3), (3,), False, False),
        ((3,), (2, 3, 2), False, False),
    ]
    for a, b, tx, ty in shapes:
        yield GradientCase(
            f"matmul of {a}{' turned' * tx} and {b}{' turned' * ty}",
            ("matmul",),
            lambda x, y, tx=tx, ty=ty: ops.matmul(x, y, transpose_x=tx, transpose_y=ty),
            lambda x, y, tx=tx, ty=ty: torch.matmul(x.mT if tx else x, y.mT if ty else y),
            {"x": grid(a), "y": grid(b, seed=1)},
        )
    for shape in [(4,), (3, 4), (2, 3, 4), (1, 2, 3, 4), (1, 2, 1, 3, 4)]:
        given = {"x": grid(shape), "weight": grid((3, 4), seed=1), "bias": grid((3,), seed=2)}
        yield GradientCase(
            f"linear of rank {len(shape)}", ("linear",), ops.linear,
            F.linear, given, baked=("weight", "bias"),
        )  # fmt: skip
    equations = [
        ("ab,bc->ac", (2, 3), (3, 4)),
        ("abc,acd->abd", (2, 3, 4), (2, 4, 3)),
        ("nchw,nwhu->nchu", (2, 3, 2, 4), (2, 4, 2, 3)),
        ("bnqd,bnkd->bnqk", (1, 2, 3, 4), (1, 2, 5, 4)),
        ("bmnd,bmnk->bmdk", (1, 2, 3, 4), (1, 2, 3, 5)),
        ("abc,abc->cab", (2, 3, 4), (2, 3, 4)),
        ("abc,acd->abd", (2, 3, 4), (1, 4, 3)),
        ("ab,cd->dcba", (2, 3), (4, 2)),
    ]
    for equation, a, b in equations:
        yield GradientCase(
            f"einsum {equation} of {a} and {b}",
            ("einsum",),
            lambda x, y, e=equation: ops.einsum([x, y], equation=e),
            lambda x, y, e=equation: torch.einsum(e, x, y),
            {"x": grid(a), "y": grid(b, seed=1)},
        )
    attention = {
        "query": grid((1, 2, 3, 4)),
        "key": grid((1, 2, 5, 4), seed=1),
        "value": grid((1, 2, 5, 6), seed=2),
    }
    name = "scaled_dot_product_attention"
    dot = ops.scaled_dot_product_attention
    yield GradientCase(
        "attention", (name,), dot, lambda q, k, v: _attention(q, k, v, 0.0), attention
    )
    yield GradientCase(
        "attention with a mask that is added", (name,), dot, _attention,
        {**attention, "mask": grid((3, 5), seed=3)},
    )  # fmt: skip
    yield GradientCase(
        "attention of rank 3 with a bool mask",
        (name,),
        lambda q, k, v, m: dot(q, k, v, m > 0),
        lambda q, k, v, m: _attention(q, k, v, torch.where(m > 0, 0.0, -math.inf)),
        {n: a[0] for n, a in attention.items()},
        others={"m": np.array([[1.0, -1, 1, 1, -1], [1, 1, 1, 1, 1], [-1, -1, -1, 1, -1]])},
    )


def _attention(q: Any, k: Any, v: Any, mask: Any) -> Any:
    return (q @ k.mT / math.sqrt(q.shape[-1]) + mask).softmax(-1) @ v


def norms() -> Iterator[GradientCase]:
    layers: list[tuple[tuple[int, ...], list[int] | None]] = [
        ((7,), None),
        ((3, 5), [-1]),
        ((2, 3, 4), [1, 2]),
        ((1, 4, 1, 5), [1]),
        ((2, 1, 2, 3, 2), [2, 4]),
    ]
    for shape, axes in layers:
        where = [a % len(shape) for a in axes or range(len(shape))]
        sizes = tuple(shape[a] for a in where)
        yield GradientCase(
            f"layer_norm of {shape} over {axes}",
            ("layer_norm",),
            lambda x, g, b, a=axes: ops.layer_norm(x, axes=a, gamma=g, beta=b),
            lambda x, g, b, w=where: _layer_norm(x, w, g, b, 1e-5),
            {"x": grid(shape), "gamma": grid(sizes, seed=1), "beta": grid(sizes, seed=2)},
            baked=("gamma", "beta"),
        )
    yield GradientCase(
        "layer_norm without gamma and beta, with a large epsilon",
        ("layer_norm",),
        lambda x: ops.layer_norm(x, axes=[-1], epsilon=0.25),
        lambda x: F.layer_norm(x, x.shape[-1:], eps=0.25),
        {"x": grid((3, 5))},
    )
    for shape in [(2, 3, 5), (2, 3, 2, 4)]:
        channels = (shape[1],)
        yield GradientCase(
            f"instance_norm of {shape}",
            ("instance_norm",),
            ops.instance_norm,
            lambda x, g, b: F.instance_norm(x, weight=g, bias=b, eps=1e-5),
            {"x": grid(shape), "gamma": grid(channels, seed=1), "beta": grid(channels, seed=2)},
            baked=("gamma", "beta"),
        )
    for shape in SHAPES[2:]:
        yield GradientCase(
            f"l2_norm of rank {len(shape)}",
            ("l2_norm",),
            lambda x: ops.l2_norm(x, epsilon=0.25),
            lambda x: x / (x.square().sum((-3, -2, -1), keepdim=True) + 0.25).sqrt(),
            {"x": grid(shape)},
        )
        for size in (2, 3, 5):
            yield GradientCase(
                f"local_response_norm of {size} channels, rank {len(shape)}",
                ("local_response_norm",),
                lambda x, n=size: ops.local_response_norm(x, size=n, alpha=0.5, beta=0.75, k=1.5),
                lambda x, n=size: F.local_response_norm(x, n, alpha=0.5, beta=0.75, k=1.5),
                {"x": grid((2, 6, *shape[2:]))},
            )


def _layer_norm(x: Any, axes: list[int], gamma: Any, beta: Any, epsilon: float) -> Any:
    sizes = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    centred = x - x.mean(axes, keepdim=True)
    variance = centred.square().mean(axes, keepdim=True)
    return centred / (variance + epsilon).sqrt() * gamma.reshape(sizes) + beta.reshape(sizes)


CASES = [c for family in (arithmetic, per_channel, reducing, products, norms) for c in family()]
