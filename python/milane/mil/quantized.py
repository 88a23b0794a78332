"""Programs with compressed weights, and with int8 activations between layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from milane._core import mil as _mil
from milane.blob.quantize import AffineWeight, Constexpr, PaletteWeight, SparseWeight
from milane.errors import InvalidArgumentError
from milane.graph import ops
from milane.graph.graph import Dialect, Graph
from milane.graph.tensor import Tensor
from milane.mil._parts import begin, conv1x1, positive_half
from milane.mil.program import DEFAULT_WEIGHT_PATH, MILProgram

CompressedWeight: TypeAlias = AffineWeight | PaletteWeight | SparseWeight


def gen_conv_int8(
    in_ch: int,
    out_ch: int,
    spatial: int,
    *,
    scale: float | None = None,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The program of a 1x1 convolution in fp16 whose weight is stored as int8.

    Formula: ``out[:, s] = (w · scale) @ x[:, s]``, the weight expanded by
        ``constexpr_affine_dequantize`` with zero point 0: each element is rounded to fp16 once.

    Inputs: x fp16 ``[1, in_ch, 1, spatial]``.
    Output: out fp16 ``[1, out_ch, 1, spatial]``.
    Weights, in ``weights/weight.bin``: ``w.quantized_data`` int8 ``[out_ch, in_ch, 1, 1]`` and,
        unless ``scale`` gives one number for all of it, ``w.scale`` fp16 ``[out_ch]``.
        ``blob.quantize.affine(weights, axis=0)`` finds both (its ``data`` and ``scale``); with
        ``scale``, ``build_int8_blob`` writes the file.
    Device: half the file; M1 expands the weight to fp16 when it compiles, later chips read it as it
        is (ane_facts G.5). Zero point 0 is the only one M1 takes (D 73). Weights in int8 keep about
        0.6 % of their size.

    Raises:
        InvalidArgumentError: a size below 1, a scale that is not positive in fp16, or an unknown
            dialect.

    Source: the weights of maderix/ANE's ane_int8_bench; blob with the header Apple's reader wants.
    """
    graph = begin("gen_conv_int8", dialect, in_ch=in_ch, out_ch=out_ch, spatial=spatial)
    _check_scales("gen_conv_int8", scale=scale)
    x = graph.input("x", (1, in_ch, 1, spatial))
    weight = _int8_weight(graph, "w", (out_ch, in_ch, 1, 1), scale, DEFAULT_WEIGHT_PATH)
    return graph._finished({"out": conv1x1(x, weight, "out")})


def gen_w8a8_chain(
    channels: int,
    layers: int,
    spatial: int,
    *,
    act_scale: float | Sequence[float] = 1 / 16,
    weight_scale: float | None = None,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The program of 1x1 convolutions in a row, with int8 weights and int8 between them.

    Formula: ``x_0 = x``, ``x_{i+1} = q_i(w_i @ x_i)``, ``out`` the last product, where ``q_i(v) =
        s_i · clip(round(v / s_i), -128, 127)`` is ``quantize`` and ``dequantize`` with the scale
        ``s_i``, and ``w_i`` is expanded as by :func:`gen_conv_int8`.

    Inputs: x fp16 ``[1, channels, 1, spatial]``.
    Output: out fp16 ``[1, channels, 1, spatial]``.
    Options: act_scale: one number, or one for each of the ``layers - 1`` places between layers.
    Weights, in ``weights/w0.bin``, ``weights/w1.bin``, …: ``w0.quantized_data`` int8 ``[channels,
        channels, 1, 1]`` and, unless ``weight_scale`` gives one number for all, ``w0.scale`` fp16
        ``[channels]``.
    Device: an M4 runs such chains 1.85 times as fast as fp16, an M3 Pro no faster (ane_facts G.5).
        A stack of 512 convolutions kills the compiler, 256 are fine (D 59).

    Raises:
        InvalidArgumentError: a size below 1, a scale that is not positive in fp16, another number
            of scales, or a dialect before ios17, the first with ``quantize``.

    Source: maderix/ANE's ane_int8_bench.
    """
    where = "gen_w8a8_chain"
    graph = begin(where, dialect, channels=channels, layers=layers, spatial=spatial)
    scales = _act_scales(where, act_scale, layers)
    _check_scales(where, weight_scale=weight_scale)
    shape = (channels, channels, 1, 1)
    x = graph.input("x", (1, channels, 1, spatial))
    for i in range(layers):
        weight = _int8_weight(graph, f"w{i}", shape, weight_scale, None)
        last = i == layers - 1
        x = conv1x1(x, weight, "out" if last else f"product{i}")
        if not last:
            scale = np.float16(scales[i])
            x = ops.dequantize(ops.quantize(x, scale, name=f"int8_{i}"), scale, name=f"x{i + 1}")
    return graph._finished({"out": x})


def gen_conv_compressed(
    weight: CompressedWeight, spatial: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of a 1x1 convolution in fp16 with any compressed weight.

    Formula: ``out[:, s] = weight.dequantize() @ x[:, s]``.

    The weight is what ``blob.quantize.affine`` (int8, uint8, and int4 or uint4, by blocks),
    ``palettize`` (1 to 8 bits) or ``sparsify`` returns, of shape ``[out_ch, in_ch, 1, 1]``. It is
    written in the form of iOS 18 (``constexpr_blockwise_shift_scale``, ``constexpr_lut_to_dense``,
    ``constexpr_sparse_to_dense`` with operands of one to eight bits), for the older dialects in
    that of iOS 16.

    Inputs: x fp16 ``[1, in_ch, 1, spatial]``.
    Output: out fp16 ``[1, out_ch, 1, spatial]``.
    Weights: the parts of ``w``, such as ``w.data`` and ``w.scale``, in ``weights/weight.bin``; the
        program knows them.
    Device: 16-entry palettes, and sparse weights with half of their elements 0 or more, are read
        compressed by every chip, int8 from M2 on, blocks on M5 and perhaps M3; the others expand
        them when they compile, which saves space alone (ane_facts G.5). A compressed constant must
        not be reshaped (D 22).

    Raises:
        InvalidArgumentError: a weight of another shape or in fp32, one that the dialect's form
            cannot say, ``spatial`` below 1, or an unknown dialect.

    Source: the forms of coremltools.optimize.
    """
    where = "gen_conv_compressed"
    graph = begin(where, dialect, spatial=spatial)
    shape = weight.shape
    if len(shape) != 4 or shape[2:] != (1, 1) or 0 in shape:
        raise InvalidArgumentError(
            f"{where}: expected a weight of shape [out_ch, in_ch, 1, 1], got {list(shape)}"
        )
    made = weight.constexpr("ios18" if dialect == "ios18" else "ios16")
    if made.dtype != "fp16":
        raise InvalidArgumentError(f"{where}: expected an fp16 weight, got {made.dtype}")
    x = graph.input("x", (1, shape[1], 1, spatial))
    return graph._finished({"out": conv1x1(x, _expanded(graph, "w", made), "out")})


def _check_scales(generator: str, **scales: float | None) -> None:
    positive_half(generator, **{name: s for name, s in scales.items() if s is not None})


def _act_scales(generator: str, given: float | Sequence[float], layers: int) -> list[float]:
    scales = [float(s) for s in given] if isinstance(given, Sequence) else [given] * (layers - 1)
    if len(scales) != layers - 1:
        raise InvalidArgumentError(
            f"{generator}: expected act_scale to be one number or {layers - 1}, one between each "
            f"two layers, got {len(scales)}"
        )
    for i, scale in enumerate(scales):
        positive_half(generator, **{f"act_scale[{i}]": scale})
    return scales


def _int8_weight(
    graph: Graph, name: str, shape: tuple[int, ...], scale: float | None, path: str | None
) -> Tensor:
    """An int8 constant times its scales, one for each index of the first axis or one for all."""
    files = graph._files
    path = path or f"@model_path/weights/{name}.bin"
    data = files.place(f"{name}.quantized_data", "int8", shape, None, path)
    if scale is None:
        scales = files.place(f"{name}.scale", "fp16", shape[:1], None, path)
    else:
        scales = _mil.Value.from_numpy(np.float16(scale), "fp16")
    attributes = {
        "axis": _mil.Value.from_numpy(0, "int32"),
        "quantized_data": data,
        "scale": scales,
        "zero_point": _mil.Value.from_numpy(0, "int8"),
    }
    op = "constexpr_affine_dequantize"
    (expanded,) = graph._body.results(op, {}, name=name, attributes=attributes)
    return expanded


def _expanded(graph: Graph, name: str, weight: Constexpr) -> Tensor:
    """The compressed weight as a tensor; all parts that may stand in a file stand in one."""
    parts = {}
    for operand in weight.operands:
        if operand.inline:
            parts[operand.name] = _mil.Value.from_numpy(operand.values, operand.dtype)
        else:
            part = f"{name}.{operand.name}"
            parts[operand.name] = graph._files.place(
                part, operand.dtype, operand.shape, operand.values, DEFAULT_WEIGHT_PATH
            )
    attributes, literals = (parts, {}) if weight.form == "ios16" else ({}, parts)
    (expanded,) = graph._body.results(
        weight.op, {}, name=name, attributes=attributes, literals=literals
    )
    return expanded
