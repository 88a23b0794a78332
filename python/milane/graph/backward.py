"""Reverse-mode gradients: inside a graph, or as a program beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from milane.errors import AneError, InvalidArgumentError, UnsupportedError
from milane.graph.body import Body, Node
from milane.graph.constants import INLINE_ELEMENTS
from milane.graph.gradients import REFUSALS, RULES, RefusedError
from milane.graph.located import described, placed
from milane.graph.tensor import Operand, Tensor

_FLOATS = ("fp16", "fp32")
# What these make depends on the shapes of their operands alone.
_OF_SHAPES = frozenset(["fill", "fill_like", "shape"])


def gradient(
    outputs: Tensor | Sequence[Tensor],
    wrt: Sequence[Tensor],
    *,
    output_gradients: Operand | Sequence[Operand] | None = None,
    loss_scale: float = 1.0,
) -> tuple[Tensor, ...]:
    """The gradient of the sum of ``outputs`` with respect to each of ``wrt``, as new tensors.

    The operations are added to the function that the tensors belong to. Each gradient has the shape
    and dtype of its tensor: inputs, weights, constants and results may stand in ``wrt``.
    ``output_gradients`` gives what each output is weighted with, a tensor or an array that
    broadcasts to its shape; ones where None. All gradients come out times ``loss_scale``, which
    keeps small ones away from the end of fp16.

    Raises:
        UnsupportedError: an operation in between has no gradient; says which, and why.
        InvalidArgumentError: an output depends on none of ``wrt`` through gradients; tensors of
            several functions, or that are no floats.
    """
    many = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    try:
        body = floats_of(many, wrt)
        given = _per_output(output_gradients, many)
        seeds = [_seed(body, y, dy, loss_scale) for y, dy in zip(many, given, strict=True)]
        return differentiated(body.nodes, zip(many, seeds, strict=True), wrt)
    except AneError as error:
        raise placed(error, f"gradient({described({'outputs': many, 'wrt': [*wrt]})})") from None


def differentiated(
    nodes: Iterable[Node], seeds: Iterable[tuple[Tensor, Tensor]], wrt: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Gradients of ``wrt`` through the nodes, from those of their results.

    Raises:
        UnsupportedError, InvalidArgumentError: as :func:`gradient`.
    """
    nodes = list(nodes)
    wanted = _dependents(nodes, wrt)
    sums: dict[Tensor, Tensor] = {}

    def add(tensor: Tensor, dy: Any) -> None:
        dy = dy() if callable(dy) else dy
        if dy is None:
            return
        assert (dy.shape, dy.dtype) == (tensor.shape, tensor.dtype), (tensor, dy)
        sums[tensor] = sums[tensor] + dy if tensor in sums else dy

    for tensor, seed in seeds:
        add(tensor, seed)
    for node in reversed(nodes):
        dys = [sums.get(tensor) for tensor in node.outputs]
        if all(dy is None for dy in dys) or wanted.isdisjoint(node.outputs):
            continue
        gradients = _rule_of(node)(node, *dys)
        for name, made in gradients.items():
            given = node.inputs.get(name, ())
            operands = given if isinstance(given, tuple) else (given,)
            pieces = made if isinstance(made, tuple) else (made,)
            for tensor, piece in zip(operands, pieces, strict=False):
                if tensor in wanted and tensor.dtype in _FLOATS:
                    add(tensor, piece)
    for tensor in wrt:
        if tensor not in sums:
            raise InvalidArgumentError(
                f"gradient: expected the outputs to depend on {tensor.name}, got no way from it to "
                "them on which there are gradients\nhint: leave it out of wrt"
            )
    return tuple(sums[tensor] for tensor in wrt)


def _rule_of(node: Node) -> Callable[..., Any]:
    """The node's rule, which raises an UnsupportedError where it refuses."""
    rule = RULES.get(node.type)

    def checked(node: Node, *dys: Tensor | None) -> Any:
        why = REFUSALS.get(node.type, "it has no rule")
        if rule is not None:
            try:
                return rule(node, *dys)
            except RefusedError as refusal:
                why = str(refusal)
        raise UnsupportedError(
            f"gradient: expected operations that have a gradient, got {node.type}, which makes "
            f"{node.outputs[0].name} of ({described(node.inputs)}): {why}"
        )

    return checked


def _dependents(nodes: Sequence[Node], wrt: Iterable[Tensor]) -> set[Tensor]:
    """``wrt``, and every result that depends on one of them."""
    found = set(wrt)
    for node in nodes:
        if node.type in _OF_SHAPES:
            continue
        taken = [t for v in node.inputs.values() for t in (v if isinstance(v, tuple) else (v,))]
        if not found.isdisjoint(taken) or not found.isdisjoint(node.captured):
            found.update(node.outputs)
    return found


def floats_of(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> Body:
    """The one function that all these tensors, which are floats, belong to."""
    if not outputs or not wrt:
        raise InvalidArgumentError("gradient: expected outputs and wrt, got none of one")
    body = outputs[0]._body
    for tensor in (*outputs, *wrt):
        body._own(tensor)
        if tensor.type.kind != "tensor" or tensor.dtype not in _FLOATS:
            raise InvalidArgumentError(f"gradient: expected floats, got {tensor!r}")
    return body


def _per_output(given: Any, outputs: Sequence[Tensor]) -> Sequence[Any]:
    if given is None:
        return [None] * len(outputs)
    if len(outputs) == 1 and not isinstance(given, list | tuple):
        return [given]
    if len(given) != len(outputs):
        raise InvalidArgumentError(
            f"gradient: expected {len(outputs)} output_gradients, got {len(given)}"
        )
    return list(given)


def _seed(body: Body, output: Tensor, given: Operand | None, loss_scale: float) -> Tensor:
    """The gradient of an output: a tensor of its shape and dtype."""
    if isinstance(given, Tensor):
        body._own(given)
        if (given.shape, given.dtype) != (output.shape, output.dtype):
            raise InvalidArgumentError(
                f"gradient: expected output_gradients like {output!r}, got {given!r}"
            )
        return given if loss_scale == 1.0 else given * loss_scale
    numbers = np.asarray(1.0 if given is None else given, np.float32) * loss_scale
    try:
        array = np.broadcast_to(numbers, output.shape)
    except ValueError:
        raise InvalidArgumentError(
            f"gradient: expected output_gradients of {list(output.shape)}, "
            f"got {list(numbers.shape)}"
        ) from None
    largest = float(np.finfo(np.float16 if output.dtype == "fp16" else np.float32).max)
    if not np.all(np.abs(array) <= largest):
        raise InvalidArgumentError(
            f"gradient: expected output_gradients times loss_scale of {output.dtype}, up to "
            f"{largest:g}, got {float(np.max(np.abs(array))):g}"
        )
    if array.size <= INLINE_ELEMENTS:
        return body.inline(array, output.dtype, "seed")
    return body.shared(np.array(array), output.dtype, "seed")
