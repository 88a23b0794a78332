"""Recurrent layers over ``x`` ``[sequence, batch, input]``; weights stack the gates on axis 0."""

from __future__ import annotations

from typing import Literal, TypeAlias

from milane.graph.body import apply_all
from milane.graph.gradients import no_gradient
from milane.graph.tensor import Operand, Tensor

Activation: TypeAlias = Literal[
    "tanh", "scaled_tanh", "sigmoid", "sigmoid_hard", "hard_sigmoid", "relu", "linear"
]


def lstm(  # noqa: PLR0917  # operands
    x: Operand,
    initial_h: Operand,
    initial_c: Operand,
    weight_ih: Operand,
    weight_hh: Operand,
    bias: Operand | None = None,
    *,
    peephole: Operand | None = None,
    weight_ih_back: Operand | None = None,
    weight_hh_back: Operand | None = None,
    bias_back: Operand | None = None,
    peephole_back: Operand | None = None,
    direction: Literal["forward", "reverse", "bidirectional"] = "forward",
    output_sequence: bool = False,
    recurrent_activation: Activation = "sigmoid",
    cell_activation: Activation = "tanh",
    activation: Activation = "tanh",
    clip: float | None = None,
    name: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The outputs of an LSTM, its last hidden state and its last cell state.

    ``weight_ih`` is ``[4 H, input]``, ``weight_hh`` ``[4 H, H]``, ``bias`` ``[4 H]``: the gates
    input, forget, output, cell in this order. The states are ``[batch, H]``, or ``[batch, 2 H]`` in
    both directions; the outputs ``[sequence, batch, H]``, or the last one, ``[1, batch, H]``.
    """
    outputs, h, c = apply_all(
        "lstm",
        name,
        x=x,
        initial_h=initial_h,
        initial_c=initial_c,
        weight_ih=weight_ih,
        weight_hh=weight_hh,
        bias=bias,
        peephole=peephole,
        weight_ih_back=weight_ih_back,
        weight_hh_back=weight_hh_back,
        bias_back=bias_back,
        peephole_back=peephole_back,
        direction=direction,
        output_sequence=output_sequence,
        recurrent_activation=recurrent_activation,
        cell_activation=cell_activation,
        activation=activation,
        clip=clip,
    )
    return outputs, h, c


def gru(
    x: Operand,
    initial_h: Operand,
    weight_ih: Operand,
    weight_hh: Operand,
    bias: Operand | None = None,
    *,
    direction: Literal["forward", "reverse"] = "forward",
    output_sequence: bool = False,
    recurrent_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    reset_after: bool = False,
    input_bias: Operand | None = None,
    name: str | None = None,
) -> tuple[Tensor, Tensor]:
    """The outputs of a GRU and its last hidden state; shapes as :func:`lstm`, with three gates.

    The gates are reset, new, update. ``reset_after`` (ios18) applies the reset after the product
    with ``weight_hh``, as PyTorch does.
    """
    outputs, h = apply_all(
        "gru",
        name,
        x=x,
        initial_h=initial_h,
        weight_ih=weight_ih,
        weight_hh=weight_hh,
        bias=bias,
        direction=direction,
        output_sequence=output_sequence,
        recurrent_activation=recurrent_activation,
        activation=activation,
        reset_after=reset_after,
        input_bias=input_bias,
    )
    return outputs, h


def rnn(
    x: Operand,
    initial_h: Operand,
    weight_ih: Operand,
    weight_hh: Operand,
    bias: Operand | None = None,
    *,
    direction: Literal["forward", "reverse"] = "forward",
    output_sequence: bool = False,
    activation: Activation = "tanh",
    name: str | None = None,
) -> tuple[Tensor, Tensor]:
    """The outputs of a simple recurrent layer and its last hidden state; shapes as :func:`lstm`."""
    outputs, h = apply_all(
        "rnn",
        name,
        x=x,
        initial_h=initial_h,
        weight_ih=weight_ih,
        weight_hh=weight_hh,
        bias=bias,
        direction=direction,
        output_sequence=output_sequence,
        activation=activation,
    )
    return outputs, h


no_gradient(
    "its steps are inside; write the layer with matmul and elementwise operations, step by step",
    "gru",
    "lstm",
    "rnn",
)
