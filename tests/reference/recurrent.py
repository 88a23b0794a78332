"""Recurrent layers: x [S, B, I], hidden [B, H]; states are kept exact between the steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._args import Array, Number, scalar
from .activation import named

# One step: the input of a time and the states before it give the states after it, h first.
Step = Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]


def _scan(x: Array, states: tuple[Array, ...], step: Step, *, back: bool) -> tuple[Array, ...]:
    """Return h at every time [S, B, H], in the order of x, and the final states."""
    times = range(len(x) - 1, -1, -1) if back else range(len(x))
    h_at: dict[int, Array] = {}
    for t in times:
        states = step(x[t], states)
        h_at[t] = states[0]
    return (np.stack([h_at[t] for t in range(len(x))]), *states)


def _sequence(every: Array, final: Array, output_sequence: bool | Array) -> Array:
    return every if scalar(output_sequence) else final[None]


def op_rnn(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    *,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> tuple[Array, ...]:
    """h = act(W_ih x + W_hh h + b)."""
    offset = 0.0 if bias is None else bias

    def step(x_t: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        return (named(activation, x_t @ weight_ih.T + states[0] @ weight_hh.T + offset),)

    every, final = _scan(x, (initial_h,), step, back=direction == "reverse")
    return _sequence(every, final, output_sequence), final


def op_gru(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    *,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = False,
    input_bias: Array | None = None,
) -> tuple[Array, ...]:
    """Gates in the order reset, output, update.

    r, z = rec(W x + W' h + b + b_in);  o = act(W_o x + r · (W'_o h) + b_o + b_in_o);
    h = (1 - z) o + z h. With reset_after the hidden bias is inside: r · (W'_o h + b_o), as in
    PyTorch. That reading of reset_after is a choice: the documents say little.
    """
    size = np.shape(initial_h)[-1]
    hidden_bias = np.zeros(3 * size) if bias is None else np.asarray(bias)
    added = np.zeros(3 * size) if input_bias is None else np.asarray(input_bias)
    r_part, o_part, z_part = (slice(i * size, (i + 1) * size) for i in range(3))
    inside = bool(scalar(reset_after))

    def step(x_t: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        from_x = x_t @ weight_ih.T + added
        from_h = h @ weight_hh.T + (hidden_bias if inside else 0.0)
        late = 0.0 if inside else hidden_bias[o_part]
        early = np.zeros(3 * size) if inside else hidden_bias
        r = named(recurrent_activation, (from_x + from_h + early)[:, r_part])
        z = named(recurrent_activation, (from_x + from_h + early)[:, z_part])
        o = named(activation, from_x[:, o_part] + r * from_h[:, o_part] + late)
        return ((1.0 - z) * o + z * h,)

    every, final = _scan(x, (initial_h,), step, back=direction == "reverse")
    return _sequence(every, final, output_sequence), final


def _lstm_step(
    weight_ih: Array,
    weight_hh: Array,
    *,
    bias: Array | None,
    peephole: Array | None,
    activations: tuple[str, str, str],
    clip: float | None,
) -> Step:
    """One direction; gates in the order input, forget, output, cell."""
    recurrent, cell, output = activations
    offset = 0.0 if bias is None else bias

    def step(x_t: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = states
        gates = x_t @ weight_ih.T + h @ weight_hh.T + offset
        i, f, o, z = np.split(gates, 4, axis=-1)
        p_i, p_f, p_o = (0.0, 0.0, 0.0) if peephole is None else np.split(peephole, 3)
        i = named(recurrent, i + p_i * c)
        f = named(recurrent, f + p_f * c)
        c = f * c + i * named(cell, z)
        if clip is not None:
            c = np.clip(c, -clip, clip)
        o = named(recurrent, o + p_o * c)
        return o * named(output, c), c

    return step


def op_lstm(
    x: Array,
    initial_h: Array,
    initial_c: Array,
    weight_ih: Array,
    weight_hh: Array,
    *,
    bias: Array | None = None,
    peephole: Array | None = None,
    weight_ih_back: Array | None = None,
    weight_hh_back: Array | None = None,
    bias_back: Array | None = None,
    peephole_back: Array | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: Number | None = None,
) -> tuple[Array, ...]:
    """c = f c + i z;  h = o act(c). Both directions side by side when bidirectional.

    Results of the reverse direction stand at the time of their input. `clip` bounds the cell
    state: coremltools fills it with TensorFlow's cell_clip; the text says "cell gate".
    """
    names = (recurrent_activation, cell_activation, activation)
    limit = None if clip is None else float(scalar(clip))
    forward = _lstm_step(
        weight_ih, weight_hh, bias=bias, peephole=peephole, activations=names, clip=limit
    )
    if direction != "bidirectional":
        states = (initial_h, initial_c)
        every, h, c = _scan(x, states, forward, back=direction == "reverse")
        return _sequence(every, h, output_sequence), h, c
    assert weight_ih_back is not None
    assert weight_hh_back is not None
    backward = _lstm_step(
        weight_ih_back,
        weight_hh_back,
        bias=bias_back,
        peephole=peephole_back,
        activations=names,
        clip=limit,
    )
    (h_1, h_2), (c_1, c_2) = np.split(initial_h, 2, -1), np.split(initial_c, 2, -1)
    one = _scan(x, (h_1, c_1), forward, back=False)
    two = _scan(x, (h_2, c_2), backward, back=True)
    every, h, c = (np.concatenate(pair, axis=-1) for pair in zip(one, two, strict=True))
    return _sequence(every, h, output_sequence), h, c
