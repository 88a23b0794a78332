"""The feed-forward block of a transformer layer, forward with and without taps, and backward."""

from __future__ import annotations

from typing import NamedTuple

from milane.graph import ops
from milane.graph.graph import Dialect, Graph
from milane.graph.tensor import Tensor
from milane.mil._parts import (
    begin,
    conv1x1,
    join_channels,
    number,
    positive_half,
    rms_norm,
    split_channels,
    to_half,
    to_single,
)
from milane.mil.program import DEFAULT_WEIGHT_PATH, MILProgram


def gen_ffn_forward(dim: int, hidden: int, seq: int, *, dialect: Dialect = "ios18") -> MILProgram:
    """The program of a gated feed-forward block (SwiGLU).

    Formula: ``out = w2 @ (silu(h1) · h3)`` with ``h1 = w1 @ x``, ``h3 = w3 @ x``, for each
        position.

    Inputs: x fp16 ``[1, dim, 1, seq]``.
    Output: out fp16 ``[1, dim, 1, seq]``.
    Weights: ``w1``, ``w3`` fp16 ``[hidden, dim, 1, 1]``, ``w2`` fp16 ``[dim, hidden, 1, 1]``, each
        in ``weights/NAME.bin``.
    Device: h1, h3 and ``out`` of 32 768 or more become infinite (ane_facts D 66). On one M3 Max a
        block of more than about 4 096 hidden channels had to be split (D 25): the parts' outputs
        add up.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenFFNForward of tmc/apple x/ane/mil.
    """
    graph = begin("gen_ffn_forward", dialect, dim=dim, hidden=hidden, seq=seq)
    x = graph.input("x", (1, dim, 1, seq))
    return graph._finished({"out": _gated(graph, x, hidden, "out").out})


def gen_ffn_forward_taps(
    dim: int, hidden: int, seq: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of a gated feed-forward block that also returns what its gradient needs.

    Formula: that of :func:`gen_ffn_forward`.

    Inputs: x fp16 ``[1, dim, 1, seq]``.
    Output: out fp16 ``[1, dim + 2 · hidden, 1, seq]``: concat(out, h1, h3).
    Weights: ``w1``, ``w3`` fp16 ``[hidden, dim, 1, 1]``, ``w2`` fp16 ``[dim, hidden, 1, 1]``, each
        in ``weights/NAME.bin``.
    Device: as :func:`gen_ffn_forward`.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenFFNForwardTaps of tmc/apple x/ane/mil; gen_ffn_fwd_taps is maderix/ANE's other form.
    """
    graph = begin("gen_ffn_forward_taps", dialect, dim=dim, hidden=hidden, seq=seq)
    made = _gated(graph, graph.input("x", (1, dim, 1, seq)), hidden, "ffn")
    return graph._finished({"out": join_channels([made.out, made.h1, made.h3], "out")})


def gen_ffn_forward_rms(
    dim: int, hidden: int, seq: int, *, eps: float = 1e-5, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of an RMSNorm and a gated feed-forward block, without the residual.

    Formula: ``out = w2 @ (silu(w1 @ n) · (w3 @ n))`` with ``n = x · (mean(x²) + eps)^-1/2 ·
        rms_ffn``, the mean over the channels.

    Inputs: x fp16 ``[1, dim, 1, seq]``.
    Output: out fp16 ``[1, dim, 1, seq]``.
    Weights: ``rms_ffn`` fp16 ``[1, dim, 1, 1]``, ``w1``, ``w3`` fp16 ``[hidden, dim, 1, 1]``,
        ``w2`` fp16 ``[dim, hidden, 1, 1]``, each in ``weights/NAME.bin``.
    Device: as :func:`gen_ffn_forward`; and the root mean square of ``x`` must stay below ``256 /
        sqrt(dim)``, else its squares overflow and ``out`` is 0: put :func:`gen_rmsnorm` in front of
        :func:`gen_ffn_forward` where it does not.

    Raises:
        InvalidArgumentError: a size below 1, an ``eps`` that fp16 rounds to 0 or infinity, or an
            unknown dialect.

    Source: GenFFNForwardRMS of tmc/apple x/ane/mil.
    """
    graph = begin("gen_ffn_forward_rms", dialect, dim=dim, hidden=hidden, seq=seq)
    normed = _normed(graph, "gen_ffn_forward_rms", dim, seq, eps)
    return graph._finished({"out": _gated(graph, normed, hidden, "out").out})


def gen_ffn_fwd_taps(
    dim: int, hidden: int, seq: int, *, eps: float = 1e-5, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of an RMSNorm and a gated feed-forward block that returns all intermediates.

    Formula: that of :func:`gen_ffn_forward_rms`.

    Inputs: x fp16 ``[1, dim, 1, seq]``.
    Output: out fp16 ``[1, 2 · dim + 3 · hidden, 1, seq]``: concat(ffn_out, h1, h3, silu_out,
        x2norm), where silu_out is ``silu(h1) · h3`` and x2norm the norm's output.
    Weights: ``rms_ffn`` fp16 ``[1, dim, 1, 1]``, ``w1``, ``w3`` fp16 ``[hidden, dim, 1, 1]``,
        ``w2`` fp16 ``[dim, hidden, 1, 1]``, each in ``weights/NAME.bin``.
    Device: as :func:`gen_ffn_forward_rms`.

    Raises:
        InvalidArgumentError: a size below 1, an ``eps`` that fp16 rounds to 0 or infinity, or an
            unknown dialect.

    Source: gen_ffn_fwd_taps of maderix/ANE; gen_ffn_forward_taps is tmc/apple's other form.
    """
    graph = begin("gen_ffn_fwd_taps", dialect, dim=dim, hidden=hidden, seq=seq)
    normed = _normed(graph, "gen_ffn_fwd_taps", dim, seq, eps)
    made = _gated(graph, normed, hidden, "ffn_out")
    values = [made.out, made.h1, made.h3, made.gate, normed]
    return graph._finished({"out": join_channels(values, "out")})


def gen_ffn_backward(dim: int, hidden: int, seq: int, *, dialect: Dialect = "ios18") -> MILProgram:
    """The program of a gated feed-forward block's gradient with respect to its input.

    Formula: with ``s = sigmoid(h1)`` and ``g = w2^T @ dffn``: ``dh1 = g · h3 · s · (1 + h1 · (1 -
        s))``, ``dh3 = g · h1 · s``, ``dx = w1^T @ dh1 + w3^T @ dh3``. The weights' gradients are
        products of what comes in and out: ``dw1 = dh1 @ x^T``, ``dw3 = dh3 @ x^T``, ``dw2 = dffn @
        (silu(h1) · h3)^T``.

    Inputs: x fp16 ``[1, dim + 2 · hidden, 1, seq]``: concat(dffn, h1, h3), with h1 and h3 from the
        taps of the forward program.
    Output: out, of the same shape: concat(dx, dh1, dh3).
    Weights: the transposes of the forward program's: ``w2t`` fp16 ``[hidden, dim, 1, 1]``, ``w1t``,
        ``w3t`` fp16 ``[dim, hidden, 1, 1]``, each in ``weights/NAME.bin``
        (``build_transposed_weight_blob``).
    Device: gradients below 2^-24 are lost, below 2^-14 on M1 in products: scale the loss up
        (ane_facts D 70); products of 32 768 or more become infinite (D 66).

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenFFNBackward of tmc/apple x/ane/mil; gen_ffn_bwd of maderix/ANE.
    """
    graph = begin("gen_ffn_backward", dialect, dim=dim, hidden=hidden, seq=seq)
    packed = graph.input("x", (1, dim + 2 * hidden, 1, seq))
    dffn, h1, h3 = split_channels(packed, dffn=dim, h1=hidden, h3=hidden)
    w2t = graph.weight("w2t", (hidden, dim, 1, 1))
    dgate = conv1x1(dffn, w2t, "dgate")
    sig = ops.sigmoid(h1, name="sig")
    one = number(h1, 1.0, "one")
    rest = ops.mul(h1, ops.sub(one, sig, name="one_minus_sig"), name="h1_one_minus_sig")
    dsilu = ops.mul(sig, ops.add(one, rest, name="bracket"), name="dsilu")
    dh1 = ops.mul(ops.mul(dgate, h3, name="dgate_h3"), dsilu, name="dh1")
    dh3 = ops.mul(dgate, ops.mul(h1, sig, name="silu"), name="dh3")
    dx1 = conv1x1(dh1, graph.weight("w1t", (dim, hidden, 1, 1)), "dx1")
    dx3 = conv1x1(dh3, graph.weight("w3t", (dim, hidden, 1, 1)), "dx3")
    dx = ops.add(dx1, dx3, name="dx")
    return graph._finished({"out": join_channels([dx, dh1, dh3], "out")})


def gen_ffn_forward_relu2(
    dim: int, hidden: int, seq: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of a feed-forward block with the square of ReLU, without a gate.

    Formula: ``out = w2 @ relu(h1)²`` with ``h1 = w1 @ x``, for each position.

    Inputs: x fp16 ``[1, dim, 1, seq]``.
    Output: out fp16 ``[1, dim, 1, seq]``.
    Weights: ``w1`` fp16 ``[hidden, dim, 1, 1]``, ``w2`` fp16 ``[dim, hidden, 1, 1]``, each in
        ``weights/NAME.bin``.
    Device: an h1 of 256 or more has an infinite square (ane_facts D 67). The square is a ``mul``,
        since ``square`` behind a nonlinearity fails at some widths (D 43).

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenFFNForwardReLU2 of tmc/apple x/ane/mil.
    """
    graph = begin("gen_ffn_forward_relu2", dialect, dim=dim, hidden=hidden, seq=seq)
    out, _ = _relu2(graph, graph.input("x", (1, dim, 1, seq)), hidden, "out")
    return graph._finished({"out": out})


def gen_ffn_forward_taps_relu2(
    dim: int, hidden: int, seq: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of a feed-forward block with the square of ReLU that also returns h1.

    Formula: that of :func:`gen_ffn_forward_relu2`.

    Inputs: x fp16 ``[1, dim, 1, seq]``.
    Output: out fp16 ``[1, dim + hidden, 1, seq]``: concat(out, h1).
    Weights: ``w1`` fp16 ``[hidden, dim, 1, 1]``, ``w2`` fp16 ``[dim, hidden, 1, 1]``, each in
        ``weights/NAME.bin``.
    Device: as :func:`gen_ffn_forward_relu2`.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenFFNForwardTapsReLU2 of tmc/apple x/ane/mil.
    """
    graph = begin("gen_ffn_forward_taps_relu2", dialect, dim=dim, hidden=hidden, seq=seq)
    out, h1 = _relu2(graph, graph.input("x", (1, dim, 1, seq)), hidden, "ffn")
    return graph._finished({"out": join_channels([out, h1], "out")})


def gen_ffn_forward_rms_relu2(
    dim: int, hidden: int, seq: int, *, eps: float = 1e-5, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of an RMSNorm and a feed-forward block with the square of ReLU.

    Formula: ``out = w2 @ relu(w1 @ n)²`` with ``n = x · (mean(x²) + eps)^-1/2 · rms_ffn``, the mean
        over the channels; without the residual.

    Inputs: x fp16 ``[1, dim, 1, seq]``.
    Output: out fp16 ``[1, dim, 1, seq]``.
    Weights: ``rms_ffn`` fp16 ``[1, dim, 1, 1]``, ``w1`` fp16 ``[hidden, dim, 1, 1]``, ``w2`` fp16
        ``[dim, hidden, 1, 1]``, each in ``weights/NAME.bin``.
    Device: as :func:`gen_ffn_forward_relu2` and, for the norm, :func:`gen_ffn_forward_rms`.

    Raises:
        InvalidArgumentError: a size below 1, an ``eps`` that fp16 rounds to 0 or infinity, or an
            unknown dialect.

    Source: GenFFNForwardRMSReLU2 of tmc/apple x/ane/mil.
    """
    graph = begin("gen_ffn_forward_rms_relu2", dialect, dim=dim, hidden=hidden, seq=seq)
    normed = _normed(graph, "gen_ffn_forward_rms_relu2", dim, seq, eps)
    out, _ = _relu2(graph, normed, hidden, "out")
    return graph._finished({"out": out})


def gen_ffn_backward_relu2(
    dim: int, hidden: int, seq: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of the gradient of a feed-forward block with the square of ReLU.

    Formula: ``dh1 = (w2^T @ dffn) · 2 · max(0, h1)``, ``dx = w1^T @ dh1``.

    Inputs: x fp16 ``[1, dim + hidden, 1, seq]``: concat(dffn, h1), with h1 from the taps of the
        forward program.
    Output: out, of the same shape: concat(dx, dh1).
    Weights: the transposes of the forward program's: ``w2t`` fp16 ``[hidden, dim, 1, 1]``, ``w1t``
        fp16 ``[dim, hidden, 1, 1]``, each in ``weights/NAME.bin``.
    Device: as :func:`gen_ffn_backward`.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenFFNBackwardReLU2 of tmc/apple x/ane/mil.
    """
    graph = begin("gen_ffn_backward_relu2", dialect, dim=dim, hidden=hidden, seq=seq)
    packed = graph.input("x", (1, dim + hidden, 1, seq))
    dffn, h1 = split_channels(packed, dffn=dim, h1=hidden)
    dsquare = conv1x1(dffn, graph.weight("w2t", (hidden, dim, 1, 1)), "dsquare")
    slope = ops.mul(ops.relu(h1, name="relu"), number(h1, 2.0, "two"), name="slope")
    dh1 = ops.mul(dsquare, slope, name="dh1")
    dx = conv1x1(dh1, graph.weight("w1t", (dim, hidden, 1, 1)), "dx")
    return graph._finished({"out": join_channels([dx, dh1], "out")})


def gen_ffn_up(dim: int, hidden: int, spatial: int, *, dialect: Dialect = "ios18") -> MILProgram:
    """The program of both products on a gated block's way up, with fp32 inputs and outputs.

    Formula: ``h1 = w1 @ x``, ``h3 = w3 @ x``, for each position, in fp16.

    Inputs: x fp32 ``[1, dim, 1, spatial]``.
    Outputs: h1 fp32 ``[1, hidden, 1, spatial]``; h3 fp32 ``[1, hidden, 1, spatial]``.
    Weights: ``w1``, ``w3`` fp16 ``[hidden, dim, 1, 1]``, two records of ``weights/weight.bin``
        (``build_ffn_up_weight_blob``).
    Device: an output of 32 768 or more becomes infinite (ane_facts D 66).

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: mil_gen_ffn_up of maderix/ANE.
    """
    graph = begin("gen_ffn_up", dialect, dim=dim, hidden=hidden, spatial=spatial)
    x = to_half(graph.input("x", (1, dim, 1, spatial), "fp32"), "x_half")
    shape = (hidden, dim, 1, 1)
    weights = [graph.weight(name, shape, path=DEFAULT_WEIGHT_PATH) for name in ("w1", "w3")]
    h1, h3 = (conv1x1(x, w, f"{n}_half") for n, w in zip(("h1", "h3"), weights, strict=True))
    return graph._finished({"h1": to_single(h1, "h1"), "h3": to_single(h3, "h3")})


class _Gated(NamedTuple):
    """A gated block's results."""

    h1: Tensor
    h3: Tensor
    gate: Tensor
    out: Tensor


def _gated(graph: Graph, x: Tensor, hidden: int, name: str) -> _Gated:
    dim = x.shape[1]
    w1 = graph.weight("w1", (hidden, dim, 1, 1))
    w3 = graph.weight("w3", (hidden, dim, 1, 1))
    w2 = graph.weight("w2", (dim, hidden, 1, 1))
    h1 = conv1x1(x, w1, "h1")
    h3 = conv1x1(x, w3, "h3")
    silu = ops.mul(h1, ops.sigmoid(h1, name="sig"), name="silu")
    gate = ops.mul(silu, h3, name="gate")
    return _Gated(h1, h3, gate, conv1x1(gate, w2, name))


def _relu2(graph: Graph, x: Tensor, hidden: int, name: str) -> tuple[Tensor, Tensor]:
    """The block's output and h1."""
    dim = x.shape[1]
    w1 = graph.weight("w1", (hidden, dim, 1, 1))
    w2 = graph.weight("w2", (dim, hidden, 1, 1))
    h1 = conv1x1(x, w1, "h1")
    relu = ops.relu(h1, name="relu")
    return conv1x1(ops.mul(relu, relu, name="square"), w2, name), h1


def _normed(graph: Graph, generator: str, dim: int, seq: int, eps: float) -> Tensor:
    positive_half(generator, eps=eps)
    x = graph.input("x", (1, dim, 1, seq))
    return rms_norm(x, graph.weight("rms_ffn", (1, dim, 1, 1)), eps)
