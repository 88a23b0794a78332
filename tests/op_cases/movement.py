"""Cases of operations that move elements: all exact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .case import BOOL, FP16, FP32, INT32, Case, distinct, integers, short, uniform

DTYPES = [FP16, FP32, INT32, BOOL, np.uint8, np.int8, np.int16, np.uint16]


def _x(shape: tuple[int, ...], dtype: Any = FP16) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return distinct(shape, dtype)
    return integers(shape, 0, 2 if dtype is BOOL else 100, dtype)


def shape_cases() -> Iterator[Case]:
    rows: list[tuple[str, str, tuple[int, ...], dict[str, Any]]] = [
        ("reshape", "rank 3 to 2", (2, 3, 4), {"shape": [6, 4]}),
        ("reshape", "-1 takes the rest", (2, 3, 4), {"shape": [4, -1]}),
        ("reshape", "0 keeps a dimension", (2, 3, 4), {"shape": [0, -1]}),
        ("reshape", "zeros count from the right", (2, 50), {"shape": [1, 0, -1, 0]}),
        ("reshape", "rank 1 to 5", (24,), {"shape": [1, 2, 3, 2, 2]}),
        ("expand_dims", "one axis in front", (3, 5), {"axes": [0]}),
        ("expand_dims", "several axes, one negative", (3, 5), {"axes": [0, 2, -1]}),
        ("squeeze", "all ones", (1, 3, 1, 5), {}),
        ("squeeze", "a negative axis", (1, 3, 5, 1), {"axes": [-1]}),
        ("squeeze", "an axis that is not one stays", (1, 3, 5), {"axes": [0, 1]}),
        ("flatten2d", "the default axis", (2, 3, 4), {}),
        ("flatten2d", "axis -1", (2, 3, 4), {"axis": -1}),
        ("flatten2d", "axis 1 of a vector", (3,), {"axis": 1}),
        ("shape", "rank 3", (2, 3, 4), {}),
        ("shape", "rank 1", (7,), {}),
    ]
    for op, name, shape, params in rows:
        yield Case(op, name, {"x": _x(shape)}, params)
    for dtype in DTYPES:
        yield Case("reshape", f"{short(dtype)}", {"x": _x((2, 3, 5), dtype)}, {"shape": [5, 6]})
    yield Case("expand_dims", "int32", {"x": _x((3,), INT32)}, {"axes": [1]})
    yield Case("squeeze", "bool", {"x": _x((1, 4), BOOL)}, {"axes": [0]})
    refs = {"x": _x((60,)), "ref_tensors": [uniform((2, 3, 4)), uniform((1, 5, 2))]}
    yield Case(
        "reshape_like", "pieces of two shapes", refs,
        {"begins": (0, 1), "ends": (2, 0), "end_masks": (False, True)},
    )  # fmt: skip


def transpose_cases() -> Iterator[Case]:
    rows = [
        ((3, 5), [1, 0]),
        ((2, 3, 33), [0, 2, 1]),
        ((2, 3, 33), [2, 0, 1]),
        ((2, 3, 4, 5), [0, 2, 3, 1]),
        ((2, 3, 4, 5), [0, -1, 1, 2]),
        ((1, 4, 7, 9), [0, 2, 1, 3]),
        ((2, 1, 3, 2, 5), [4, 0, 2, 1, 3]),
        ((7,), [0]),
        ((65, 67), [1, 0]),
    ]
    for shape, perm in rows:
        name = f"{'x'.join(map(str, shape))} by {' '.join(map(str, perm))}"
        yield Case("transpose", name, {"x": _x(shape)}, {"perm": perm})
    for dtype in DTYPES[1:]:
        x = {"x": _x((3, 4, 5), dtype)}
        yield Case("transpose", short(dtype), x, {"perm": [2, 1, 0]})


def join_cases() -> Iterator[Case]:
    for dtype in DTYPES:
        values = [_x((2, 3), dtype), _x((2, 5), dtype)]
        yield Case("concat", f"{short(dtype)} on the last axis", {"values": values}, {"axis": -1})
        pair = [_x((2, 3), dtype), _x((2, 3), dtype)]
        yield Case("stack", f"{short(dtype)} on axis 1", {"values": pair}, {"axis": 1})
    three = [_x((n, 2, 33)) for n in (1, 2, 3)]
    yield Case("concat", "three tensors on axis 0", {"values": three}, {"axis": 0})
    four = [_x((1, n, 2, 17)) for n in (3, 1, 4)]
    yield Case("concat", "channels of rank 4", {"values": four}, {"axis": 1})
    twice = [distinct((2, 3, 4), seed=i) for i in range(3)]
    for axis in (0, 1, -1):
        yield Case(
            "concat", f"interleaved on axis {axis}", {"values": twice},
            {"axis": axis, "interleave": True},
        )  # fmt: skip
    yield Case("concat", "one tensor", {"values": [_x((2, 3))]}, {"axis": 0})
    for axis in (0, 2, -1):
        yield Case("stack", f"three on axis {axis}", {"values": twice}, {"axis": axis})
    for dtype in (FP16, FP32, INT32, BOOL):
        x = {"x": _x((2, 6, 5), dtype)}
        yield Case("split", f"{short(dtype)} in equal parts", x, {"num_splits": 3, "axis": 1})
    x = {"x": _x((2, 9, 4))}
    yield Case("split", "in given sizes", x, {"split_sizes": [2, 3, 4], "axis": 1})
    yield Case("split", "sizes and count on a negative axis", x,
               {"split_sizes": [1, 3], "num_splits": 2, "axis": -1})  # fmt: skip
    yield Case("split", "on axis 0", {"x": _x((4, 33))}, {"num_splits": 2, "axis": 0})


def copy_cases() -> Iterator[Case]:
    for dtype in DTYPES:
        x = {"x": _x((2, 3, 5), dtype)}
        yield Case("reverse", f"{short(dtype)} on two axes", x, {"axes": [0, -1]})
        yield Case("sliding_windows", short(dtype), x, {"axis": 2, "size": 3, "stride": 2})
        lengths = {**x, "lengths": np.array([2, 5], INT32)}
        yield Case("reverse_sequence", short(dtype), lengths, {"seq_axis": 2, "batch_axis": 0})
    yield Case("reverse", "all axes", {"x": _x((3, 33))}, {})
    windows = {"x": _x((2, 9, 3))}
    yield Case("sliding_windows", "the default stride", windows, {"axis": 1, "size": 4})
    yield Case("sliding_windows", "a negative axis", windows, {"axis": -2, "size": 2, "stride": 3})
    ends = {"x": _x((4, 3, 2)), "lengths": np.array([0, 4, 1], INT32)}
    yield Case(
        "reverse_sequence", "lengths of zero and all", ends, {"seq_axis": 0, "batch_axis": 1}
    )
    for dtype in (FP16, FP32, INT32, BOOL):
        yield Case("tile", short(dtype), {"x": _x((2, 3), dtype)}, {"reps": [2, 3]})
        yield Case("band_part", f"{short(dtype)} lower triangle", {"x": _x((5, 7), dtype)},
                   {"lower": -1, "upper": 0})  # fmt: skip
    yield Case("tile", "rank 4 with ones", {"x": _x((1, 3, 1, 5))}, {"reps": [2, 1, 4, 1]})
    yield Case("tile", "rank 1", {"x": _x((5,))}, {"reps": [7]})
    for lower, upper in ((0, -1), (0, 0), (1, 2), (-1, -1)):
        name = f"lower {lower} upper {upper}"
        yield Case("band_part", name, {"x": _x((2, 4, 6))}, {"lower": lower, "upper": upper})
    yield Case("band_part", "the defaults keep all", {"x": _x((3, 3))}, {})
    infinite = np.full((4, 4), -np.inf, FP16)
    yield Case("band_part", "infinities outside become zero", {"x": infinite}, {"upper": 0})


def pad_cases() -> Iterator[Case]:
    rows: list[tuple[str, tuple[int, ...], list[int], dict[str, Any]]] = [
        ("constant zero by default", (2, 3), [1, 2, 0, 3], {}),
        ("constant one", (1, 2, 3, 5), [0, 0, 0, 0, 1, 1, 2, 0],
         {"mode": "constant", "constant_val": 1.0}),
        ("constant minus infinity", (3,), [2, 1], {"constant_val": float("-inf")}),
        ("the last dimensions only", (2, 3, 4), [1, 2], {"mode": "constant"}),
        ("reflect", (1, 2, 4, 5), [0, 0, 0, 0, 2, 3, 4, 1], {"mode": "reflect"}),
        ("reflect of the last two", (2, 4, 5), [1, 2, 3, 0], {"mode": "reflect"}),
        ("replicate", (1, 2, 4, 5), [0, 0, 0, 0, 2, 3, 4, 1], {"mode": "replicate"}),
        ("replicate of a row", (2, 3), [2, 2], {"mode": "replicate"}),
        ("rank 5", (1, 2, 2, 3, 4), [0, 0, 0, 0, 1, 0, 0, 1, 2, 2], {}),
    ]  # fmt: skip
    for name, shape, pad, params in rows:
        for dtype in (FP16, FP32):
            x = {"x": _x(shape, dtype)}
            yield Case("pad", f"{name}, {short(dtype)}", x, {"pad": pad, **params})
    yield Case(
        "crop", "unequal amounts", {"x": _x((2, 3, 7, 9))},
        {"crop_height": [1, 2], "crop_width": [3, 0]},
    )  # fmt: skip
    yield Case(
        "crop", "rank 3, fp32", {"x": _x((3, 5, 6), FP32)},
        {"crop_height": [0, 1], "crop_width": [2, 2]},
    )  # fmt: skip


def block_cases() -> Iterator[Case]:
    for dtype in (FP16, FP32):
        name = short(dtype)
        wide, deep = {"x": _x((2, 3, 4, 6), dtype)}, {"x": _x((2, 8, 3, 5), dtype)}
        yield Case("space_to_depth", f"{name} by 2", wide, {"block_size": 2})
        yield Case("depth_to_space", f"{name} by 2", deep, {"block_size": 2})
        yield Case("pixel_shuffle", f"{name} by 2", deep, {"upscale_factor": 2})
        yield Case("pixel_unshuffle", f"{name} by 2", wide, {"downscale_factor": np.uint32(2)})
        blocks = {"block_shape": [2, 3]}
        yield Case("space_to_batch", f"{name} by 2 and 3", wide,
                   {**blocks, "paddings": np.zeros((2, 2), INT32)})  # fmt: skip
        yield Case("space_to_batch", f"{name} padded", {"x": _x((1, 2, 3, 5), dtype)},
                   {**blocks, "paddings": np.array([[1, 0], [2, 2]], INT32)})  # fmt: skip
        stacked = {"x": _x((12, 2, 3, 2), dtype)}
        yield Case("batch_to_space", f"{name} cropped", stacked,
                   {**blocks, "crops": np.array([[1, 2], [0, 1]], INT32)})  # fmt: skip
    nine = {"x": _x((1, 18, 2, 3))}
    yield Case("depth_to_space", "by 3", nine, {"block_size": 3})
    yield Case("pixel_shuffle", "by 3", nine, {"upscale_factor": 3})


def new_cases() -> Iterator[Case]:
    for name, fill in (("fp16", FP16(1.5)), ("fp32", FP32(-2.25)), ("int32", INT32(7)),
                       ("bool", BOOL(True))):  # fmt: skip
        yield Case("fill", f"{name}", {}, {"shape": [2, 3, 5], "value": fill}, out_dtypes=(name,))
        ref = {"ref_tensor": _x((2, 3, 4))}
        yield Case("fill_like", f"{name} like fp16", ref, {"value": fill}, out_dtypes=(name,))
    yield Case("fill", "rank 1", {}, {"shape": [9], "value": FP16(-0.5)}, out_dtypes=("fp16",))
    for dtype, start, end, step in ((INT32, 2, 11, 3), (FP16, 0, 2, 0.25), (FP32, 5, 1, -1.5),
                                    (INT32, 5, 0, -2)):  # fmt: skip
        limits = {"start": dtype(start), "end": dtype(end), "step": dtype(step)}
        yield Case("range_1d", f"{short(dtype)} from {start} to {end} by {step}", {}, limits,
                   out_dtypes=(short(dtype),))  # fmt: skip
    hot = (
        ("fp16", FP16(1.5), FP16(-1.0)),
        ("fp32", FP32(1), FP32(0)),
        ("int32", INT32(5), INT32(0)),
        ("bool", BOOL(True), BOOL(False)),
    )
    for name, on, off in hot:
        given = {"one_hot_vector_size": 4, "on_value": on, "off_value": off}
        for axis in (-1, 0, 1):
            yield Case("one_hot", f"{name} on axis {axis}", {"indices": integers((3, 5), 0, 4)},
                       {**given, "axis": axis}, out_dtypes=(name,))  # fmt: skip
    indices = {"indices": np.array([0, 3, 1], INT32)}
    yield Case("one_hot", "the defaults are int32", indices, {"one_hot_vector_size": 5})


def cases() -> Iterator[Case]:
    """All cases of movement."""
    yield from shape_cases()
    yield from transpose_cases()
    yield from join_cases()
    yield from copy_cases()
    yield from pad_cases()
    yield from block_cases()
    yield from new_cases()
