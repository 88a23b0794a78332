"""States, which keep their value between evaluations, and tensors in a layout of their own."""

from __future__ import annotations

from typing import Any

from milane.graph.body import Node, apply, apply_all
from milane.graph.gradients import Gradients, gradient, no_gradient
from milane.graph.tensor import Operand, Tensor


def read_state(input: Tensor, *, name: str | None = None) -> Tensor:
    """What the state (:meth:`milane.Graph.state`) holds at this point of the function (ios18)."""
    return apply("read_state", name, input=input)


def write_state(input: Tensor, data: Operand, *, name: str | None = None) -> None:
    """Puts ``data`` into the state; it has no result (ios18)."""
    apply_all("write_state", name, input=input, data=data)


def coreml_update_state(state: Tensor, value: Operand, *, name: str | None = None) -> Tensor:
    """Puts ``value`` into the state; the result is what it holds then (ios18).

    The form of coremltools; compiled models have :func:`write_state` and :func:`read_state`.
    """
    return apply("coreml_update_state", name, state=state, value=value)


@gradient("coreml_update_state")
def _coreml_update_state_gradient(_: Node, dy: Tensor) -> Gradients:
    return {"value": dy}


def tensor_to_tensor_buffer(
    input: Tensor, *, type: str, name: str | None = None, **others: Any
) -> Tensor:
    """``input`` in another layout (ios17), known from compiled models only; nothing here runs it.

    ``type`` is the result's, ``tensor_buffer<fp16, shape=[...], strides=[...], ...>``.
    """
    (buffer,) = input._body.results(
        "tensor_to_tensor_buffer", {"input": input, **others}, name=name, types=(type,)
    )
    return buffer


def tensor_buffer_to_tensor(
    input: Tensor, *, type: str, name: str | None = None, **others: Any
) -> Tensor:
    """The inverse of :func:`tensor_to_tensor_buffer`; ``type`` is a ``tensor<...>``."""
    (tensor,) = input._body.results(
        "tensor_buffer_to_tensor", {"input": input, **others}, name=name, types=(type,)
    )
    return tensor


no_gradient(
    "what a state holds came from an evaluation before: make it an input and an output",
    "read_state",
    "write_state",
)
no_gradient(
    "it is known from compiled models only", "tensor_buffer_to_tensor", "tensor_to_tensor_buffer"
)
