"""The gradient rules of operations: where they are kept, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from milane.graph.body import Node, apply
from milane.graph.tensor import Tensor

# One gradient: a tensor of the operand's shape and dtype, None for none, or what makes it, which is
# called only where the gradient is wanted: `lambda: dy * y`.
Gradient: TypeAlias = "Tensor | Callable[[], Tensor | None] | None"
# From a node and the gradients of its results (None where nothing depends on one): the gradients of
# its inputs by argument name; a tuple for a tuple argument. What is left out, or None, has none.
Gradients: TypeAlias = "dict[str, Gradient | tuple[Gradient, ...]]"
Rule: TypeAlias = "Callable[..., Gradients]"

# The least positive number of a dtype: what a divisor that may be 0 is raised to.
SMALLEST = {"fp16": 2.0**-24, "fp32": 2.0**-126}

RULES: dict[str, Rule] = {}
REFUSALS: dict[str, str] = {}


def gradient(*types: str) -> Callable[[Rule], Rule]:
    """Registers the decorated rule, ``rule(node, *dys)``, for these operations."""

    def register(rule: Rule) -> Rule:
        for type in types:
            assert type not in RULES.keys() | REFUSALS.keys(), type
            RULES[type] = rule
        return rule

    return register


def no_gradient(why: str, *types: str) -> None:
    """Registers why these operations have no gradient: what a user is told."""
    for type in types:
        assert type not in RULES.keys() | REFUSALS.keys(), type
        REFUSALS[type] = why


class RefusedError(Exception):
    """Raised by a rule for a use of the operation that has no gradient; says why."""


def operand(node: Node, name: str) -> Tensor:
    """A single operand of a node."""
    given = node.inputs[name]
    assert isinstance(given, Tensor)
    return given


def argument(node: Node, name: str, default: Any = None) -> Any:
    """The value of a constant argument: a number, a bool, a string, or a list; else ``default``.

    Raises:
        RefusedError: the argument is known at run time only.
    """
    given = node.inputs.get(name)
    if given is None:
        return default
    assert isinstance(given, Tensor)
    if given.value is None:
        raise RefusedError(f"its {name} must be a constant, got {given.name}")
    return given.value.tolist() if isinstance(given.value, np.ndarray) else given.value


def axes_of(node: Node, rank: int, name: str = "axes") -> list[int]:
    """The axes of an argument, counted from the front and in order; all where it is left out."""
    given = argument(node, name, list(range(rank)))
    return sorted({int(axis) % rank for axis in (given if isinstance(given, list) else [given])})


def reshaped(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``x`` in another shape; itself where that is its own."""
    if x.shape == tuple(shape):
        return x
    if not shape:
        return apply("squeeze", x=x)
    if not x.shape:
        x = apply("expand_dims", x=x, axes=[0])
        return reshaped(x, shape)
    return apply("reshape", x=x, shape=list(shape))


def broadcast(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``x`` repeated to a shape that NumPy would broadcast it to."""
    x = reshaped(x, (1,) * (len(shape) - x.rank) + x.shape)
    reps = [b // a for a, b in zip(x.shape, shape, strict=True)]
    return apply("tile", x=x, reps=reps) if any(n > 1 for n in reps) else x


def along(vector: Tensor, axis: int, rank: int) -> Tensor:
    """A vector as a tensor of this rank that broadcasts along one axis: ``[1, C, 1, 1]``."""
    return reshaped(vector, [vector.shape[0] if i == axis else 1 for i in range(rank)])


def summed(x: Tensor, axes: Sequence[int], shape: Sequence[int]) -> Tensor:
    """The sum over some axes, in a shape of as many elements as are left."""
    if axes:
        x = apply("reduce_sum", x=x, axes=list(axes), keep_dims=True)
    return reshaped(x, shape)


def zeros_like(x: Tensor) -> Tensor:
    """Zeros in the shape of ``x``."""
    return apply("fill_like", ref_tensor=x, value=0.0)


def unbroadcast(dy: Tensor, like: Tensor) -> Tensor:
    """The sum of ``dy`` over what broadcasting repeated, in the shape of ``like``."""
    shape = like.shape
    padded = (1,) * (dy.rank - len(shape)) + shape
    axes = [i for i, (a, b) in enumerate(zip(dy.shape, padded, strict=True)) if a != b]
    return summed(dy, axes, shape)
