"""What a case of a gradient rule is, the program it becomes, and what it is held against."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import milane
from milane.graph import Graph, Tensor
from milane.graph.backward import gradient
from reference import evaluate

Array = NDArray[Any]
SHIFT = 2.0**-10  # of finite differences: added to the operands it stays exact in fp32


def grid(shape: tuple[int, ...], low: float = -2.0, high: float = 2.0, seed: int = 0) -> Array:
    """Numbers exact in fp16, no two equal where that is possible, and none a multiple of 1/64."""
    count = int(np.prod(shape))
    points = (np.arange(np.ceil(low * 64), np.floor(high * 64)) + 0.5) / 64
    random = np.random.default_rng(zlib.crc32(f"{shape}{low}{high}{seed}".encode()))
    return random.choice(points, count, replace=count > points.size).reshape(shape)


@dataclass(frozen=True)
class GradientCase:
    """A use of an operation: what builds it, PyTorch's same, and the operands to differentiate.

    ``baked`` operands are constants of the graph. ``others`` are inputs that have no gradient; they
    go to both functions behind the operands, by name.
    """

    id: str
    covers: tuple[str, ...]
    build: Callable[..., Tensor | tuple[Tensor, ...]]
    torch: Callable[..., Any]
    operands: Mapping[str, Array]
    baked: tuple[str, ...] = ()
    others: Mapping[str, Array] = field(default_factory=dict)
    differences: bool = True  # whether finite differences hold: no kink is near

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True)
class Built:
    """A case as a program: its text, what it takes, and its outputs in the order of operands."""

    program: milane.mil.MILProgram
    feeds: dict[str, Array]
    results: tuple[str, ...]
    gradients: tuple[str, ...]


def traced(case: GradientCase, graph: Graph, dtype: str) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The operands of a case in a graph, and its results that are floats."""
    tensors = {}
    for name, array in case.operands.items():
        if name in case.baked:
            tensors[name] = graph.constant(array, dtype=dtype, name=name)
        else:
            tensors[name] = graph.input(name, array.shape, dtype)
    others = [graph.input(n, a.shape, mil_name(a, dtype)) for n, a in case.others.items()]
    made = case.build(*tensors.values(), *others)
    results = made if isinstance(made, tuple) else (made,)
    return tensors, [y for y in results if y.dtype in ("fp16", "fp32")]


def built(case: GradientCase, dtype: str) -> Built:
    """The program of a case: the results as y0, y1, …, gradients as d_NAME; dy is an input."""
    graph = Graph()
    tensors, floats = traced(case, graph, dtype)
    dys = {f"dy{i}": grid(y.shape, -1, 1, seed=i + 7) for i, y in enumerate(floats)}
    seeds = [graph.input(name, a.shape, dtype) for name, a in dys.items()]
    found = gradient(floats, list(tensors.values()), output_gradients=seeds)
    for i, y in enumerate(floats):
        graph.output(f"y{i}", y)
    for name, dx in zip(tensors, found, strict=True):
        graph.output(f"d_{name}", dx)
    feeds = {n: a for n, a in case.operands.items() if n not in case.baked}
    names = tuple(f"y{i}" for i in range(len(floats)))
    return Built(
        graph.program(), {**feeds, **case.others, **dys}, names, tuple(f"d_{n}" for n in tensors)
    )


def mil_name(array: Array, dtype: str) -> str:
    """The MIL type of an input: floats take the case's."""
    return {"f": dtype, "b": "bool"}.get(array.dtype.kind, "int32")


def autograd(case: GradientCase, made: Built) -> list[Array]:
    """The gradients of PyTorch in float64."""
    return pytorch(case, made)[-len(case.operands) :]


def pytorch(case: GradientCase, made: Built) -> list[Array]:
    """The results of PyTorch, then the gradients, in float64."""
    import torch  # noqa: PLC0415

    operands = [
        torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in case.operands.values()
    ]
    others = [torch.tensor(a) for a in case.others.values()]
    results = case.torch(*operands, *others)
    results = results if isinstance(results, tuple) else (results,)
    dys = [torch.tensor(made.feeds[f"dy{i}"], dtype=torch.float64) for i in range(len(results))]
    found = torch.autograd.grad(results, operands, dys)
    return [array.detach().numpy() for array in (*results, *found)]


def exactly(made: Built, changed: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """All outputs of the program in float64, by this project's reference."""
    return evaluate(str(made.program), None, {**made.feeds, **(changed or {})})


def difference(made: Built, name: str, direction: Array) -> float:
    """The slope of the weighted sum of results along a direction of one input.

    By central differences of two widths, whose errors in the square of the width cancel.
    """

    def total(step: float) -> float:
        outputs = exactly(made, {name: made.feeds[name] + step * direction})
        return sum(
            float(np.sum(outputs[y] * made.feeds[f"dy{i}"])) for i, y in enumerate(made.results)
        )

    wide, narrow = ((total(step) - total(-step)) / (2 * step) for step in (SHIFT, SHIFT / 2))
    return (4 * narrow - wide) / 3
