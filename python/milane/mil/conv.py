"""Programs of one 1x1 convolution: a linear layer over channels, for each position."""

from __future__ import annotations

import numpy as np

from milane.graph.graph import Dialect, Graph
from milane.graph.tensor import Tensor
from milane.mil._parts import begin, conv1x1, positive, to_half, to_single
from milane.mil.program import DEFAULT_WEIGHT_PATH, MILProgram


def gen_conv(in_ch: int, out_ch: int, spatial: int, *, dialect: Dialect = "ios18") -> MILProgram:
    """The program of a 1x1 convolution in fp16 behind fp32 inputs and outputs.

    Formula: ``out[:, s] = w @ x[:, s]``, computed in fp16: values are rounded on their way in, and
        the result once more.

    Inputs: x fp32 ``[1, in_ch, 1, spatial]``.
    Output: out fp32 ``[1, out_ch, 1, spatial]``.
    Weights: ``w`` fp16 ``[out_ch, in_ch, 1, 1]`` in ``weights/weight.bin``.
    Device: an output of 32 768 or more becomes infinite (ane_facts D 66); fp16 inputs and outputs
        (:func:`gen_conv_fp16`) save the two casts.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenConv of tmc/apple x/ane/mil; mil_gen_conv of maderix/ANE.
    """
    return _single("gen_conv", in_ch, out_ch, spatial, dialect)


def gen_conv_fp16(
    in_ch: int, out_ch: int, spatial: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of a 1x1 convolution in fp16 throughout, the smallest that training uses.

    Formula: ``out[:, s] = w @ x[:, s]``.

    Inputs: x fp16 ``[1, in_ch, 1, spatial]``.
    Output: out fp16 ``[1, out_ch, 1, spatial]``.
    Weights: ``w`` fp16 ``[out_ch, in_ch, 1, 1]`` in ``weights/weight.bin``.
    Device: an output of 32 768 or more becomes infinite (ane_facts D 66).

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenConvFP16 of tmc/apple x/ane/mil.
    """
    return _half("gen_conv_fp16", in_ch, out_ch, spatial, dialect)


def gen_conv_fp16_io(
    in_ch: int, out_ch: int, spatial: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of a 1x1 convolution with fp16 inputs and outputs: that of gen_conv_fp16.

    Formula: ``out[:, s] = w @ x[:, s]``.

    Inputs: x fp16 ``[1, in_ch, 1, spatial]``.
    Output: out fp16 ``[1, out_ch, 1, spatial]``.
    Weights: ``w`` fp16 ``[out_ch, in_ch, 1, 1]`` in ``weights/weight.bin``.
    Device: an output of 32 768 or more becomes infinite (ane_facts D 66).

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenConvFP16IO of tmc/apple x/ane/mil.
    """
    return _half("gen_conv_fp16_io", in_ch, out_ch, spatial, dialect)


def gen_conv_fp32(
    in_ch: int, out_ch: int, spatial: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of a 1x1 convolution in fp32 throughout, without casts.

    Formula: ``out[:, s] = w @ x[:, s]``.

    Inputs: x fp32 ``[1, in_ch, 1, spatial]``.
    Output: out fp32 ``[1, out_ch, 1, spatial]``.
    Weights: ``w`` fp32 ``[out_ch, in_ch, 1, 1]`` in ``weights/weight.bin`` (four bytes each, so
        ``BlobWriter().add(array, "fp32")`` writes it, not ``build_weight_blob``).
    Device: it has no fp32 arithmetic: it reads fp32 as fp16 or refuses the program (ane_facts D 21,
        D 47). :func:`gen_conv` says what happens there anyway.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenConvFP32 of tmc/apple x/ane/mil.
    """
    graph = begin("gen_conv_fp32", dialect, in_ch=in_ch, out_ch=out_ch, spatial=spatial)
    x = graph.input("x", (1, in_ch, 1, spatial), "fp32")
    return graph._finished({"out": conv1x1(x, _weight(graph, out_ch, in_ch, "fp32"), "out")})


def gen_conv_dynamic_fp16(
    in_ch: int, out_ch: int, spatial: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of a 1x1 convolution whose weight is an input, written before each evaluation.

    Formula: ``out[:, s] = weight @ inp[:, s]``.

    Inputs: inp fp16 ``[1, in_ch, 1, spatial]``; weight fp16 ``[out_ch, in_ch, 1, 1]``.
    Output: out fp16 ``[1, out_ch, 1, spatial]``.
    Device: a weight that is no constant is ignored on some systems, without an error, and slow on
        others (ane_facts D 38). :func:`gen_matmul_dynamic` and :func:`gen_dynamic_matmul` compute
        the same everywhere.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenConvDynamicFP16 of tmc/apple x/ane/mil.
    """
    graph = begin("gen_conv_dynamic_fp16", dialect, in_ch=in_ch, out_ch=out_ch, spatial=spatial)
    x = graph.input("inp", (1, in_ch, 1, spatial))
    weight = graph.input("weight", (out_ch, in_ch, 1, 1))
    return graph._finished({"out": conv1x1(x, weight, "out")})


def gen_identity(channels: int, spatial: int, *, dialect: Dialect = "ios18") -> MILProgram:
    """The program of a 1x1 convolution that changes nothing but fp32's digits beyond fp16.

    Formula: ``out = x``, as :func:`gen_conv` computes it with the identity for a weight.

    Inputs: x fp32 ``[1, channels, 1, spatial]``.
    Output: out fp32 ``[1, channels, 1, spatial]``.
    Weights: ``w`` fp16 ``[channels, channels, 1, 1]`` in ``weights/weight.bin``; the program knows
        it, and ``build_identity_weight_blob`` writes it.
    Device: an output of 32 768 or more becomes infinite (ane_facts D 66), and an infinite or NaN
        input spoils the whole position.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenIdentity of tmc/apple x/ane/mil.
    """
    positive("gen_identity", channels=channels)
    return _single("gen_identity", channels, channels, spatial, dialect, identity=True)


def gen_identity_fp16_io(channels: int, spatial: int, *, dialect: Dialect = "ios18") -> MILProgram:
    """The program of a 1x1 convolution that changes nothing, with fp16 inputs and outputs.

    Formula: ``out = x``.

    Inputs: x fp16 ``[1, channels, 1, spatial]``.
    Output: out fp16 ``[1, channels, 1, spatial]``.
    Weights: ``w`` fp16 ``[channels, channels, 1, 1]`` in ``weights/weight.bin``; the program knows
        it, and ``build_identity_weight_blob`` writes it.
    Device: an output of 32 768 or more becomes infinite (ane_facts D 66), and an infinite or NaN
        input spoils the whole position.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenIdentityFP16IO of tmc/apple x/ane/mil.
    """
    positive("gen_identity_fp16_io", channels=channels)
    return _half("gen_identity_fp16_io", channels, channels, spatial, dialect, identity=True)


def gen_scale_fp16_io(spatial: int, *, dialect: Dialect = "ios18") -> MILProgram:
    """The program that multiplies one channel by one number.

    Formula: ``out = w · x``, a convolution of one channel.

    Inputs: x fp16 ``[1, 1, 1, spatial]``.
    Output: out fp16 ``[1, 1, 1, spatial]``.
    Weights: ``w`` fp16 ``[1, 1, 1, 1]`` in ``weights/weight.bin``.
    Device: an output of 32 768 or more becomes infinite (ane_facts D 66).

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenScaleFP16IO of tmc/apple x/ane/mil.
    """
    return _half("gen_scale_fp16_io", 1, 1, spatial, dialect)


def _single(
    generator: str,
    in_ch: int,
    out_ch: int,
    spatial: int,
    dialect: Dialect,
    *,
    identity: bool = False,
) -> MILProgram:
    graph = begin(generator, dialect, in_ch=in_ch, out_ch=out_ch, spatial=spatial)
    x = to_half(graph.input("x", (1, in_ch, 1, spatial), "fp32"), "x_half")
    y = conv1x1(x, _weight(graph, out_ch, in_ch, identity=identity), "out_half")
    return graph._finished({"out": to_single(y, "out")})


def _half(
    generator: str,
    in_ch: int,
    out_ch: int,
    spatial: int,
    dialect: Dialect,
    *,
    identity: bool = False,
) -> MILProgram:
    graph = begin(generator, dialect, in_ch=in_ch, out_ch=out_ch, spatial=spatial)
    x = graph.input("x", (1, in_ch, 1, spatial))
    return graph._finished(
        {"out": conv1x1(x, _weight(graph, out_ch, in_ch, identity=identity), "out")}
    )


def _weight(
    graph: Graph, out_ch: int, in_ch: int, dtype: str = "fp16", *, identity: bool = False
) -> Tensor:
    shape = (out_ch, in_ch, 1, 1)
    data = np.eye(in_ch, dtype=np.float16).reshape(shape) if identity else None
    return graph.weight("w", shape, dtype, data=data, path=DEFAULT_WEIGHT_PATH)
