"""Cases of recurrent layers, images and quantisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tolerance import Tolerance, exact, reduced

from .case import FP16, FP32, INT32, Array, Case, Typed, integers, short, uniform

S, B, IN, H = 5, 2, 6, 7


def _recurrent(steps: int = S) -> Tolerance:
    """Every step adds its sum's error, which the gates (slopes of at most 1) do not enlarge."""
    return reduced(steps * (IN + H)).of(4.0)


def _weights(gates: int, dtype: Any, seed: int = 0) -> dict[str, Array]:
    return {
        "weight_ih": uniform((gates * H, IN), -0.5, 0.5, dtype, seed + 1),
        "weight_hh": uniform((gates * H, H), -0.5, 0.5, dtype, seed + 2),
    }


def recurrent_cases() -> Iterator[Case]:
    for dtype in (FP16, FP32):
        x = {"x": uniform((S, B, IN), dtype=dtype), "initial_h": uniform((B, H), -1, 1, dtype, 3)}
        cell = {**x, "initial_c": uniform((B, H), -1, 1, dtype, 4)}
        for op, gates, operands in (("rnn", 1, x), ("gru", 3, x), ("lstm", 4, cell)):
            weights = _weights(gates, dtype)
            bias = {"bias": uniform((gates * H,), -0.5, 0.5, dtype, 5)}
            for direction in ("forward", "reverse"):
                for every in (False, True):
                    params = {**weights, **bias, "direction": direction, "output_sequence": every}
                    name = f"{short(dtype)} {direction}, {'every step' if every else 'last step'}"
                    yield Case(op, name, operands, params, _recurrent())
            yield Case(op, f"{short(dtype)}, the defaults", operands, weights, _recurrent())
        yield from _lstm_cases(dtype, cell)
        yield from _gru_cases(dtype, x)
        relu = {**_weights(1, dtype), "activation": "relu"}
        yield Case("rnn", f"{short(dtype)} with relu", x, relu, _recurrent().of(40.0))
    one = {"x": uniform((1, 1, IN)), "initial_h": np.zeros((1, H), FP16),
           "initial_c": np.zeros((1, H), FP16)}  # fmt: skip
    yield Case("lstm", "one step from zero", one, _weights(4, FP16), _recurrent(1))


def _lstm_cases(dtype: Any, operands: dict[str, Array]) -> Iterator[Case]:
    back = {f"{name}_back": w for name, w in _weights(4, dtype, 10).items()}
    vectors = {
        "bias": uniform((4 * H,), -0.5, 0.5, dtype, 5),
        "bias_back": uniform((4 * H,), -0.5, 0.5, dtype, 6),
    }
    both = {
        "x": operands["x"],
        "initial_h": uniform((B, 2 * H), -1, 1, dtype, 7),
        "initial_c": uniform((B, 2 * H), -1, 1, dtype, 8),
    }
    name = short(dtype)
    for every in (False, True):
        params = {**_weights(4, dtype), **back, **vectors, "direction": "bidirectional",
                  "output_sequence": every}  # fmt: skip
        text = "every step" if every else "last step"
        yield Case("lstm", f"{name} bidirectional, {text}", both, params, _recurrent())
    peep = {"peephole": uniform((3 * H,), -0.5, 0.5, dtype, 9)}
    yield Case("lstm", f"{name} with peepholes", operands, {**_weights(4, dtype), **peep},
               _recurrent())  # fmt: skip
    clipped = {**_weights(4, dtype), "clip": 0.25}
    yield Case("lstm", f"{name} with a clipped cell", operands, clipped, _recurrent())
    others = {**_weights(4, dtype), "activation": "linear", "cell_activation": "relu"}
    yield Case("lstm", f"{name} with other activations", operands, others, _recurrent().of(40.0))


def _gru_cases(dtype: Any, operands: dict[str, Array]) -> Iterator[Case]:
    biases = {
        "bias": uniform((3 * H,), -0.5, 0.5, dtype, 5),
        "input_bias": uniform((3 * H,), -0.5, 0.5, dtype, 6),
    }
    for after in (False, True):
        params = {**_weights(3, dtype), **biases, "reset_after": after, "output_sequence": True}
        name = f"{short(dtype)} two biases, reset_after {str(after).lower()}"
        yield Case("gru", name, operands, params, _recurrent())


MODES = ("DEFAULT", "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "OFFSET_CORNERS", "UNALIGN_CORNERS")
# Positions are computed in fp32: an error of size · 2^-24 between neighbours that differ by 4.
_linear = reduced(24).of(8.0)


def resize_cases() -> Iterator[Case]:
    for dtype in (FP16, FP32):
        x = {"x": uniform((1, 3, 5, 7), dtype=dtype)}
        kind = short(dtype)
        for mode in MODES:
            for height, width in ((10, 9), (3, 4), (1, 1), (5, 7)):
                size = {"target_size_height": height, "target_size_width": width}
                name = f"{kind} to {height}x{width} {mode}"
                params = {**size, "sampling_mode": mode}
                yield Case("resize_bilinear", name, x, params, _linear)
        for height, width in ((10, 14), (3, 4), (8, 5)):
            size = {"target_size_height": height, "target_size_width": width}
            yield Case("resize_nearest_neighbor", f"{kind} to {height}x{width}", x, size)
        for high, wide in ((2, 3), (1, 2)):
            scale = {"scale_factor_height": high, "scale_factor_width": wide}
            name = f"{kind} by {high} and {wide}"
            yield Case("upsample_nearest_neighbor", name, x, scale)
            for aligned in (True, False):
                params = {**scale, "align_corners": aligned}
                text = f"{name}, corners {'' if aligned else 'not '}aligned"
                yield Case("upsample_bilinear", text, x, params, _linear)
        scale = {"scale_factor_height": FP32(1.5), "scale_factor_width": FP32(2.0)}
        yield Case("upsample_nearest_neighbor", f"{kind} by 1.5", x, scale)
        yield Case(
            "upsample_bilinear", f"{kind} by 1.5", x, {**scale, "align_corners": False}, _linear
        )
        neither = {**scale, "align_corners": False, "half_pixel_centers": False}
        yield Case("upsample_bilinear", f"{kind}, neither corners nor centres", x, neither, _linear)
        for shape, dims in (([1, 3, 10, 9], 2), ([6, 0], 2), ([4], 1)):
            given = {"shape": shape, "resized_dims": np.uint32(dims)}
            name = f"{kind} to {shape}"
            yield Case("resize", f"{name}, linear", x, given, _linear)
            centres = {**given, "sampling_mode": "UNALIGN_CORNERS"}
            yield Case("resize", f"{name}, linear at pixel centres", x, centres, _linear)
            nearest = {**given, "interpolation_mode": "NEAREST_NEIGHBOR"}
            yield Case("resize", f"{name}, nearest", x, nearest)
    rank3 = {"x": uniform((3, 4, 5))}
    size = {"target_size_height": 7, "target_size_width": 3}
    yield Case("resize_bilinear", "rank 3", rank3, size, _linear)


def sampling_cases() -> Iterator[Case]:
    for dtype in (FP16, FP32):
        kind = short(dtype)
        x = {"x": uniform((2, 3, 6, 7), dtype=dtype)}
        # Multiples of 1/16 are exact in fp16; the normalised ones avoid rounding borders.
        grid = (integers((2, 4, 5, 2), -20, 21, FP32) / 16.0 + 1 / 64).astype(dtype)
        for sampling in ("bilinear", "nearest"):
            for padding in ("constant", "border", "reflection", "symmetric"):
                for aligned in (True, False):
                    params = {
                        "sampling_mode": sampling, "padding_mode": padding,
                        "padding_value": 0.0, "align_corners": aligned,
                        "coordinates_mode": "normalized_minus_one_to_one",
                    }  # fmt: skip
                    name = f"{kind} {sampling} {padding}{' aligned' if aligned else ''}"
                    near = _linear if sampling == "bilinear" else exact
                    yield Case("resample", name, {**x, "coordinates": grid}, params, near)
        pixels = (integers((2, 4, 5, 2), -20, 120, FP32) / 16.0).astype(dtype)
        params = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 1.5,
                  "align_corners": True, "coordinates_mode": "unnormalized"}  # fmt: skip
        yield Case("resample", f"{kind} in pixels, padded with 1.5", {**x, "coordinates": pixels},
                   params, _linear)  # fmt: skip
        unit = (integers((2, 4, 5, 2), -2, 18, FP32) / 16.0).astype(dtype)
        zero_one = {**params, "coordinates_mode": "normalized_zero_to_one"}
        yield Case("resample", f"{kind} from 0 to 1", {**x, "coordinates": unit}, zero_one, _linear)
        yield from _affine_cases(kind, dtype, x["x"])


def _affine_cases(kind: str, dtype: Any, x: Array) -> Iterator[Case]:
    fixed = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 0.0,
             "coordinates_mode": "normalized_minus_one_to_one", "align_corners": True}  # fmt: skip
    turn = np.array([[0.5, -0.25, 0.125, 0.25, 0.75, -0.0625]], dtype)
    each = np.concatenate([turn, np.array([[1.5, 0, 0, 0, 1.25, 0.25]], dtype)])
    for name, matrix in (("one matrix for all", turn), ("a matrix each", each)):
        params = {"output_height": 5, "output_width": 9, **fixed}
        operands = {"x": x, "transform_matrix": matrix}
        yield Case("affine", f"{kind}, {name}", operands, params, _linear)


def crop_cases() -> Iterator[Case]:
    for dtype in (FP16, FP32):
        kind = short(dtype)
        x = uniform((2, 3, 8, 9), dtype=dtype)
        boxes = np.array([[1, 2, 6, 7], [0, 0, 7, 8], [2.5, 1.5, 4.5, 6.5]], dtype)
        inputs = {"x": x, "boxes": boxes, "box_indices": np.array([0, 1, 0], INT32)}
        size = {"target_height": 4, "target_width": 5}
        for mode in ("ALIGN_CORNERS", "STRICT_ALIGN_CORNERS", "OFFSET_CORNERS"):
            yield Case(
                "crop_resize", f"{kind} {mode}", inputs, {**size, "sampling_mode": mode}, _linear
            )
        for order, box in (
            ("CORNERS_WIDTH_FIRST", [[2, 1, 7, 6], [0, 0, 8, 7]]),
            ("CENTER_SIZE_HEIGHT_FIRST", [[4, 4, 4, 6], [3, 4, 6, 4]]),
            ("CENTER_SIZE_WIDTH_FIRST", [[4, 4, 6, 4], [4, 3, 4, 6]]),
        ):
            operands = {"x": x, "boxes": np.array(box, dtype)}
            params = {**size, "box_coordinate_mode": order, "sampling_mode": "ALIGN_CORNERS"}
            yield Case("crop_resize", f"{kind} {order}", operands, params, _linear)
        unit = {"x": x, "boxes": np.array([[0.125, 0.25, 0.75, 0.875]], dtype)}
        params = {**size, "normalized_coordinates": True, "sampling_mode": "ALIGN_CORNERS"}
        yield Case("crop_resize", f"{kind} normalised", unit, params, _linear)
        scaled = {"x": x, "boxes": np.array([[2, 4, 12, 14]], dtype)}
        params = {**size, "spatial_scale": FP32(0.5), "sampling_mode": "OFFSET_CORNERS"}
        yield Case("crop_resize", f"{kind} with a scale", scaled, params, _linear)
    # One image: with more, the documents give [N, 1, ..] and coremltools infers [N, B, ..].
    roi = np.array([[0, 1, 2, 6, 7], [0, 0, 0, 7, 8]], FP16).reshape(2, 1, 5, 1, 1)
    params = {**size, "sampling_mode": "ALIGN_CORNERS"}
    yield Case("crop_resize", "the ios15 roi", {"x": uniform((1, 3, 8, 9)), "roi": roi}, params,
               _linear, opset="ios16")  # fmt: skip


def quantize_cases() -> Iterator[Case]:
    for dtype in (FP16, FP32):
        kind = short(dtype)
        x = uniform((2, 3, 17), -9, 9, dtype)
        vector = np.array([0.0625, 0.125, 0.04], dtype)
        for to, zero in (("int8", np.int8), ("uint8", np.uint8)):
            numbers = integers((2, 3, 17), 0, 100, zero)
            scalar = {"scale": dtype(0.0625)}
            along = {"scale": vector, "zero_point": integers((3,), 0, 9, zero), "axis": 1}
            for name, given in (("one scale", scalar), ("one scale and zero a channel", along)):
                params = {**given, "output_dtype": to}
                yield Case("quantize", f"{kind} to {to}, {name}", {"input": x}, params,
                           out_dtypes=(to,))  # fmt: skip
                yield Case("dequantize", f"{to} to {kind}, {name}", {"input": numbers}, given,
                           exact.any_zero(), out_dtypes=(kind,))  # fmt: skip
            shift = {"scale": dtype(0.5), "zero_point": zero(3)}
            yield Case("dequantize", f"{to} to {kind}, a zero point", {"input": numbers}, shift,
                       exact.any_zero(), out_dtypes=(kind,))  # fmt: skip
    ties = {"input": np.array([0.5, 1.5, 2.5, -0.5, -1.5, 200.0, -200.0], FP16)}
    params = {"scale": FP16(1.0), "output_dtype": "int8"}
    yield Case("quantize", "halves to even, and clipped", ties, params, out_dtypes=("int8",))


def _bits(values: Array, bits: int) -> Array:
    """Pack fields into bytes, lowest bit first."""
    fields = values.reshape(-1, 1) >> np.arange(bits) & 1
    return np.packbits(fields.astype(np.uint8).reshape(-1), bitorder="little")


def constexpr_cases() -> Iterator[Case]:
    product = exact.any_zero()
    numbers = integers((4, 6), -99, 99, np.int8)
    old: dict[str, Any] = {"opset": "ios16", "as_attributes": True}
    affine: dict[str, Any] = {"quantized_data": numbers, "axis": 0}
    one = {"zero_point": np.int8(3), "scale": FP16(0.05)}
    yield Case("constexpr_affine_dequantize", "one scale", {}, {**affine, **one}, product,
               numerics=("fp16",), **old)  # fmt: skip
    each = {"zero_point": integers((4,), -9, 9, np.int8), "scale": uniform((4,), 0.01, 0.1)}
    yield Case(
        "constexpr_affine_dequantize",
        "a scale a row",
        {},
        {**affine, **each},
        product,
        numerics=("fp16",),
        **old,
    )
    yield Case("constexpr_cast", "fp16 to fp32", {},
               {"source_val": uniform((3, 5)), "output_dtype": "fp32"}, product,
               out_dtypes=("fp32",), **old)  # fmt: skip
    for bits in (1, 2, 4, 6, 8):
        indices = integers((3, 7), 0, 2**bits, np.uint8)
        params = {"indices": _bits(indices, bits), "lut": uniform((2**bits,)),
                  "shape": np.array([3, 7], np.uint32)}  # fmt: skip
        yield Case("constexpr_lut_to_dense", f"{bits} bits in ios16", {}, params, product, **old)
    mask = integers((4, 5), 0, 2, np.uint8)
    data = uniform((int(mask.sum()),))
    params = {"nonzero_data": data, "mask": _bits(mask, 1), "shape": np.array([4, 5], np.uint32)}
    yield Case("constexpr_sparse_to_dense", "in ios16", {}, params, product, **old)
    yield from _blockwise_cases()
    yield from _table_cases()
    sparse = {"nonzero_data": data, "mask": Typed("uint1", mask)}
    yield Case("constexpr_sparse_to_dense", "in ios18", {}, sparse, product)
    yield Case("constexpr_cast", "in ios18", {},
               {"source_val": uniform((3, 5)), "output_dtype": "fp32"}, product,
               out_dtypes=("fp32",))  # fmt: skip


def _blockwise_cases() -> Iterator[Case]:
    op, product = "constexpr_blockwise_shift_scale", exact.any_zero()
    rows = (
        ("int8 one scale a row", np.int8, "int8", (4, 1), -99, 99),
        ("int4 in blocks of 4", np.int8, "int4", (4, 2), -8, 8),
        ("uint4 in blocks of 2x4", np.uint8, "uint4", (2, 2), 0, 16),
        ("uint8 one scale", np.uint8, "uint8", (1, 1), 0, 256),
    )
    for name, holder, dtype, blocks, low, high in rows:
        data = integers((4, 8), low, high, holder)
        offset = integers(blocks, max(low, -3), 4, holder)
        scale = uniform(blocks, 0.01, 0.2)
        params = {"data": Typed(dtype, data), "scale": scale}
        half = {
            "numerics": ("fp16",)
        }  # whether a weight is rounded in "fp32" is the engine's affair
        yield Case(op, name, {}, params, product, **half)
        shifted = {**params, "offset": Typed(dtype, offset)}
        yield Case(op, f"{name}, offsets", {}, shifted, product, **half)
    mask = integers((4, 8), 0, 2, np.uint8, seed=2)
    nonzero = integers((int(mask.sum()),), -99, 99, np.int8)
    params = {
        "data_mask": Typed("uint1", mask),
        "nonzero_data": nonzero,
        "scale": uniform((4, 1), 0.01, 0.2),
        "offset": integers((4, 1), -3, 4, np.int8),
    }
    yield Case("constexpr_sparse_blockwise_shift_scale", "a scale a row", {}, params, product,
               out_dtypes=("uint1",), numerics=("fp16",), skip_results=(0,))  # fmt: skip


def _table_cases() -> Iterator[Case]:
    for bits in (1, 2, 3, 4, 6, 8):
        indices = Typed(f"uint{bits}", integers((4, 6), 0, 2**bits, np.uint8))
        for tables in ((1, 1), (2, 1), (1, 3)):
            lut = uniform((*tables, 2**bits, 1))
            name = f"{bits} bits, {tables[0]}x{tables[1]} tables"
            yield Case("constexpr_lut_to_dense", name, {}, {"indices": indices, "lut": lut})
    indices = Typed("uint2", integers((4, 6), 0, 4, np.uint8))
    for axis in (0, 1):
        for tables in ((1, 1), (2, 1)):
            params = {"indices": indices, "lut": uniform((*tables, 4, 3)), "vector_axis": axis}
            name = f"vectors of 3 on axis {axis}, {tables[0]} tables"
            yield Case("constexpr_lut_to_dense", name, {}, params)
    mask = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]], np.uint8)
    nonzero = Typed("uint1", np.array([0, 1, 1, 0, 0, 1], np.uint8))
    for name, lut, more in (
        ("scalars", np.array([2.0, 3.0], FP16).reshape(1, 1, 2, 1), {}),
        ("vectors on axis 0", uniform((1, 1, 2, 2)), {"vector_axis": 0}),
        ("vectors on axis 1", uniform((1, 1, 2, 3)), {"vector_axis": 1}),
    ):
        params = {"indices_mask": Typed("uint1", mask), "indices_nonzero_data": nonzero,
                  "lut": lut, **more}  # fmt: skip
        yield Case(
            "constexpr_lut_to_sparse", name, {}, params, out_dtypes=("uint1",), skip_results=(0,)
        )


def cases() -> Iterator[Case]:
    """All cases of layers."""
    yield from recurrent_cases()
    yield from resize_cases()
    yield from sampling_cases()
    yield from crop_cases()
    yield from quantize_cases()
    yield from constexpr_cases()
