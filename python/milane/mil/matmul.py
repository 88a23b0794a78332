"""Matrix products: with a stored weight, and with both operands given at run time."""

from __future__ import annotations

from milane.graph import ops
from milane.graph.graph import Dialect
from milane.mil._parts import begin, conv1x1, to_half, to_single
from milane.mil.program import DEFAULT_WEIGHT_PATH, MILProgram


def gen_matmul(in_ch: int, out_ch: int, spatial: int, *, dialect: Dialect = "ios18") -> MILProgram:
    """The program of ``x @ w.T`` as a 1x1 convolution: that of gen_conv.

    Formula: row s of a matrix ``(spatial, in_ch)`` is position s: ``out[:, s] = w @ x[:, s]``. A
        convolution is up to three times as fast as ``matmul`` with the same constant (ane_facts D
        63).

    Inputs: x fp32 ``[1, in_ch, 1, spatial]``.
    Output: out fp32 ``[1, out_ch, 1, spatial]``; computed in fp16.
    Weights: ``w`` fp16 ``[out_ch, in_ch, 1, 1]`` in ``weights/weight.bin``.
    Device: an output of 32 768 or more becomes infinite (ane_facts D 66).

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenMatmul of tmc/apple x/ane/mil.
    """
    graph = begin("gen_matmul", dialect, in_ch=in_ch, out_ch=out_ch, spatial=spatial)
    x = to_half(graph.input("x", (1, in_ch, 1, spatial), "fp32"), "x_half")
    weight = graph.weight("w", (out_ch, in_ch, 1, 1), path=DEFAULT_WEIGHT_PATH)
    return graph._finished({"out": to_single(conv1x1(x, weight, "out_half"), "out")})


def gen_matmul_dynamic(
    in_ch: int, out_ch: int, spatial: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of a matrix product of two inputs, in fp16 behind fp32 inputs and outputs.

    Formula: ``out = weight @ inp``.

    Inputs: inp fp32 ``[1, in_ch, spatial]``; weight fp32 ``[1, out_ch, in_ch]``.
    Output: out fp32 ``[1, out_ch, spatial]``.
    Device: the recommended way to weights that change (ane_facts D 39). An output of 32 768 or more
        becomes infinite (D 66); ``in_ch``, ``out_ch`` and ``spatial`` up to 16 384 before M4 (D
        52).

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: mil_gen_matmul of maderix/ANE.
    """
    graph = begin("gen_matmul_dynamic", dialect, in_ch=in_ch, out_ch=out_ch, spatial=spatial)
    x = graph.input("inp", (1, in_ch, spatial), "fp32")
    weight = graph.input("weight", (1, out_ch, in_ch), "fp32")
    x, weight = to_half(x, "inp_half"), to_half(weight, "weight_half")
    product = ops.matmul(weight, x, name="out_half")
    return graph._finished({"out": to_single(product, "out")})


def gen_dynamic_matmul(
    in_ch: int, out_ch: int, batch: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of a matrix product whose operands lie side by side in one input.

    Formula: with ``a = x[:, :batch]`` and ``w = x[:, batch:]``, both with a row for each input
        channel: ``out = w.T @ a``, in fp16.

    Inputs: x fp32 ``[1, in_ch, 1, batch + out_ch]``: activations ``(in_ch, batch)`` first, weights
        ``(in_ch, out_ch)`` behind them.
    Output: out fp32 ``[1, out_ch, 1, batch]``.
    Device: one program serves every layer of these sizes (ane_facts G.2). On M1 and M2 weights
        beyond ±4094 become infinite, since they are a slice of the width that does not begin at 0
        (D 68). Where a large ``out_ch`` does not compile, take parts of 512, 384, 256, 128 or 64.
        :func:`gen_matmul_dynamic` has an input of its own for each operand, and is faster.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenDynamicMatmul of tmc/apple x/ane/mil.
    """
    graph = begin("gen_dynamic_matmul", dialect, in_ch=in_ch, out_ch=out_ch, batch=batch)
    packed = to_half(graph.input("x", (1, in_ch, 1, batch + out_ch), "fp32"), "x_half")
    parts = []
    for name, start, width in (("activations", 0, batch), ("weights", batch, out_ch)):
        part = ops.slice_by_size(packed, [0, 0, 0, start], [1, in_ch, 1, width], name=name)
        parts.append(ops.reshape(part, [1, 1, in_ch, width], name=f"{name}_matrix"))
    activations, weights = parts
    product = ops.matmul(weights, activations, transpose_x=True, name="product")
    return graph._finished({"out": to_single(ops.reshape(product, [1, out_ch, 1, batch]), "out")})
