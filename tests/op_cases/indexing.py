"""Cases of slices, gathers, scatters, and of state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tolerance import exact

from .case import BOOL, FP16, FP32, INT32, Case, distinct, integers, short, uniform

SLICES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("begin and end", (4, 5, 6), {"begin": [1, 0, 2], "end": [3, 5, 6]}),
    ("strides", (5, 9), {"begin": [0, 1], "end": [5, 9], "stride": [2, 3]}),
    ("negative begin and end", (5, 9), {"begin": [-3, -8], "end": [-1, -2]}),
    ("masks", (4, 5), {"begin": [9, 1], "end": [2, 9], "begin_mask": [True, False],
                       "end_mask": [False, True]}),
    ("end beyond the size", (4, 5), {"begin": [1, 2], "end": [99, 99]}),
    ("squeezed dimensions", (4, 5, 6), {"begin": [2, 0, -1], "end": [0, 5, 0],
                                        "squeeze_mask": [True, False, True]}),
    ("backwards, all of it", (3, 7), {"begin": [0, 0], "end": [0, 0], "stride": [1, -1],
                                      "begin_mask": [True, True], "end_mask": [True, True]}),
    ("backwards by two", (3, 8), {"begin": [0, 6], "end": [3, 1], "stride": [1, -2]}),
    ("one row of rank 1", (9,), {"begin": [3], "end": [4]}),
    ("rank 5", (2, 3, 2, 3, 4), {"begin": [0, 1, 0, 0, 1], "end": [2, 3, 1, 3, 4]}),
]  # fmt: skip
TYPES = [FP16, FP32, INT32, BOOL, np.uint8, np.int8, np.int16, np.uint16]


def _x(shape: tuple[int, ...], dtype: Any = FP16, seed: int = 0) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return distinct(shape, dtype, seed)
    return integers(shape, 0, 2 if dtype is BOOL else 100, dtype, seed)


def slice_cases() -> Iterator[Case]:
    for name, shape, params in SLICES:
        yield Case("slice_by_index", name, {"x": _x(shape)}, params)
        case = Case("slice_by_index", name, {"x": _x(shape)}, params)
        taken = case.expected()[0].shape
        inputs = {"x": _x(shape), "update": _x(taken, seed=5)}
        yield Case("slice_update", name, inputs, params)
    for dtype in TYPES:
        params = {"begin": [0, 2], "end": [3, 7], "stride": [1, 2]}
        yield Case("slice_by_index", short(dtype), {"x": _x((3, 9), dtype)}, params)
        inputs = {"x": _x((3, 9), dtype), "update": _x((3, 3), dtype, seed=5)}
        yield Case("slice_update", short(dtype), inputs, params)
        sizes = {"begin": [1, 2], "size": [2, 5]}
        yield Case("slice_by_size", short(dtype), {"x": _x((3, 9), dtype)}, sizes)
    for name, begin, size in (
        ("the rest with -1", [0, 1, 2], [2, -1, 3]),
        ("a negative begin", [0, -2, 0], [2, 2, 33]),
        ("one element", [1, 2, 32], [1, 1, 1]),
    ):
        yield Case("slice_by_size", name, {"x": _x((2, 3, 33))}, {"begin": begin, "size": size})
    moving = {"x": _x((4, 9)), "begin": np.array([1, 3], INT32)}
    yield Case("slice_by_size", "begin given at run time", moving, {"size": [2, 5]})
    cache = {
        "x": _x((1, 8, 4)), "update": _x((1, 1, 4), seed=3),
        "begin": np.array([0, 5, 0], INT32), "end": np.array([0, 6, 0], INT32),
    }  # fmt: skip
    masks = {"begin_mask": [False, False, False], "end_mask": [True, False, True]}
    yield Case("slice_update", "a cache row given at run time", cache, masks)


def gather_cases() -> Iterator[Case]:
    rows: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
        ((7, 5), (3,), {}),
        ((7, 5), (2, 3), {"axis": 0}),
        ((4, 6, 5), (3,), {"axis": 1}),
        ((4, 6, 5), (2, 2), {"axis": -1}),
        ((3, 4, 5), (3, 2), {"axis": 1, "batch_dims": 1}),
        ((2, 3, 6, 4), (2, 3, 5), {"axis": 2, "batch_dims": 2}),
        ((9,), (4,), {"validate_indices": False}),
    ]
    for shape, count, params in rows:
        axis = params.get("axis", 0)
        indices = integers(count, 0, shape[axis])
        given = " ".join(f"{k} {v}" for k, v in params.items()) or "defaults"
        name = f"rank {len(shape)}, indices of rank {len(count)}, {given}"
        yield Case("gather", name, {"x": _x(shape), "indices": indices}, params)
    for dtype in (FP32, INT32, np.uint8, np.int8, np.int16, np.uint16):
        inputs = {"x": _x((6, 3), dtype), "indices": integers((4,), 0, 6)}
        yield Case("gather", f"{short(dtype)} values", inputs, {"axis": 0})
    for kind in (np.uint16, np.int16, np.uint8, np.int8):
        inputs = {"x": _x((6, 3)), "indices": integers((4,), 0, 6, kind)}
        yield Case("gather", f"{short(kind)} indices", inputs, {"axis": 0})
        along = {"x": _x((6, 3)), "indices": integers((4, 3), 0, 6, kind)}
        yield Case("gather_along_axis", f"{short(kind)} indices", along, {"axis": 0})
    negative = {"x": _x((5, 3)), "indices": np.array([-1, 0, -5, 4], INT32)}
    yield Case("gather", "negative indices in ios16", negative, {"axis": 0}, opset="ios16")
    for shape, count, axis in (((4, 5), (4, 3), 1), ((4, 5), (2, 5), 0), ((2, 3, 7), (2, 3, 2), -1),
                               ((2, 6, 3), (2, 9, 3), 1)):  # fmt: skip
        indices = integers(count, 0, shape[axis])
        inputs = {"x": _x(shape), "indices": indices}
        name = f"rank {len(shape)} on axis {axis}, {count[axis]} of {shape[axis]}"
        yield Case("gather_along_axis", name, inputs, {"axis": axis})
    inputs = {"x": _x((4, 5), INT32), "indices": integers((4, 5), 0, 4)}
    yield Case("gather_along_axis", "int32, default axis", inputs, {})
    for name, shape, index, params in (
        ("elements", (4, 5), integers((3, 2), 0, 4), {}),
        ("rows", (4, 5, 6), integers((3, 1), 0, 4), {}),
        ("a grid of rows", (4, 5, 6), integers((2, 3, 2), 0, 4), {}),
        ("one batch dimension", (3, 4, 5), integers((3, 2, 1), 0, 4), {"batch_dims": 1}),
    ):
        yield Case("gather_nd", name, {"x": _x(shape), "indices": index}, params)
    inputs = {"x": _x((4, 5), FP32), "indices": integers((3, 2), 0, 4)}
    yield Case("gather_nd", "fp32", inputs, {"validate_indices": False})


def scatter_cases() -> Iterator[Case]:
    modes = ("update", "add", "sub", "mul", "div", "max", "min")
    value = exact.any_zero()
    for mode in modes:
        for dtype in (FP16, FP32, INT32):
            if dtype is INT32 and mode == "div":
                continue
            data = integers((5, 3), 1, 9, dtype)
            named = f"{mode}, {short(dtype)}"
            rows = {"data": data, "indices": np.array([3, 0], INT32),
                    "updates": integers((2, 3), 1, 5, dtype, seed=1)}  # fmt: skip
            yield Case("scatter", named, rows, {"axis": 0, "mode": mode}, value)
            along = {"data": data, "indices": np.array([[3, 0, 1], [1, 4, 2]], INT32),
                     "updates": integers((2, 3), 1, 5, dtype, seed=2)}  # fmt: skip
            yield Case("scatter_along_axis", named, along, {"axis": 0, "mode": mode}, value)
            points = {"data": data, "indices": np.array([[3, 0], [0, 2], [4, 1]], INT32),
                      "updates": integers((3,), 1, 5, dtype, seed=3)}  # fmt: skip
            yield Case("scatter_nd", named, points, {"mode": mode}, value)
    twice = {"data": integers((4, 3), 0, 9, FP16), "indices": np.array([2, 2, 0], INT32)}
    for mode in ("update", "add", "sub"):
        rows = {**twice, "updates": integers((3, 3), 1, 5, FP16)}
        yield Case("scatter", f"{mode} with a repeated index", rows, {"mode": mode}, value)
    columns = {"data": integers((2, 5), 0, 9, FP16), "indices": np.array([4, 1], INT32),
               "updates": integers((2, 2), 1, 5, FP16)}  # fmt: skip
    yield Case("scatter", "on the last axis", columns, {"axis": -1, "mode": "update"}, value)
    yield Case("scatter", "the default mode adds", columns, {"axis": 1}, value)
    rows = {"data": integers((4, 3), 0, 9, FP16), "indices": np.array([[1], [3]], INT32),
            "updates": integers((2, 3), 1, 5, FP16)}  # fmt: skip
    yield Case("scatter_nd", "whole rows", rows, {"mode": "update"}, value)
    deep = {"data": uniform((2, 3, 4)), "indices": integers((2, 3, 2), 0, 4),
            "updates": uniform((2, 3, 2), seed=4)}  # fmt: skip
    yield Case(
        "scatter_along_axis", "rank 3 on axis -1", deep, {"axis": -1, "mode": "update"}, value
    )


def cases() -> Iterator[Case]:
    """All cases of indexing."""
    yield from slice_cases()
    yield from gather_cases()
    yield from scatter_cases()
