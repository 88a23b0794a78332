"""Random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from milane.graph.body import apply
from milane.graph.gradients import no_gradient
from milane.graph.ops._made import apply_in
from milane.graph.tensor import Operand, Tensor

if TYPE_CHECKING:
    from milane.graph.graph import Graph


def random_bernoulli(
    shape: Sequence[int] | Tensor,
    *,
    prob: float = 0.5,
    seed: int = -1,
    graph: Graph | None = None,
    name: str | None = None,
) -> Tensor:
    """1 with a chance of ``prob`` and 0 otherwise.

    ``shape`` may be an int32 tensor; a list needs the ``graph``. ``seed`` is chosen at run time
    where it is -1. No backend here runs it.
    """
    return apply_in(graph, "random_bernoulli", name, shape=shape, prob=prob, seed=seed)


def random_categorical(
    x: Operand,
    *,
    mode: str = "logits",
    size: int = 1,
    seed: int = -1,
    name: str | None = None,
) -> Tensor:
    """Positions along the last axis, drawn by the weights there.

    x holds logits, or with ``mode="probs"`` probabilities. Shapes: x ``[N, C]``, result ``[N,
    size]``. ``seed`` is chosen at run time where it is -1. No backend here runs it.
    """
    return apply("random_categorical", name, x=x, mode=mode, size=size, seed=seed)


def random_normal(
    shape: Sequence[int] | Tensor,
    *,
    mean: float = 0.0,
    stddev: float = 1.0,
    seed: int = -1,
    graph: Graph | None = None,
    name: str | None = None,
) -> Tensor:
    """Normally distributed numbers.

    ``shape`` may be an int32 tensor; a list needs the ``graph``. ``seed`` is chosen at run time
    where it is -1. No backend here runs it.
    """
    return apply_in(graph, "random_normal", name, shape=shape, mean=mean, stddev=stddev, seed=seed)


def random_uniform(
    shape: Sequence[int] | Tensor,
    *,
    low: float = 0.0,
    high: float = 1.0,
    seed: int = -1,
    graph: Graph | None = None,
    name: str | None = None,
) -> Tensor:
    """Evenly distributed numbers in [low, high).

    ``shape`` may be an int32 tensor; a list needs the ``graph``. ``seed`` is chosen at run time
    where it is -1. No backend here runs it.
    """
    return apply_in(graph, "random_uniform", name, shape=shape, low=low, high=high, seed=seed)


no_gradient(
    "random numbers depend on nothing",
    "random_bernoulli",
    "random_categorical",
    "random_normal",
    "random_uniform",
)
