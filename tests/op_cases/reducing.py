"""Cases of reductions, scans, sorting, softmax and normalisations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tolerance import Tolerance, exact, reduced, rounded

from .case import FP16, FP32, INT32, Array, Case, Magnitude, absolute, distinct, integers, short
from .case import uniform as spread

AXES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("all axes of rank 1", (33,), {}),
    ("the last axis", (3, 5, 33), {"axes": [-1], "keep_dims": False}),
    ("the first axis", (6, 5), {"axes": [0], "keep_dims": False}),
    ("a middle axis, kept", (2, 9, 7), {"axes": [1], "keep_dims": True}),
    ("two outer axes", (4, 5, 6), {"axes": [0, 2]}),
    ("spatial axes of rank 4, kept", (2, 3, 5, 7), {"axes": [2, 3], "keep_dims": True}),
    ("channels of 1xCx1xS", (1, 64, 1, 17), {"axes": [1], "keep_dims": True}),
    ("an axis of size 1", (3, 1, 5), {"axes": [1]}),
    ("rank 5", (2, 2, 3, 2, 5), {"axes": [1, 3, 4]}),
]


def _log_sum(arguments: Mapping[str, Any]) -> float:
    return 4.0 + float(np.max(np.abs(arguments["x"])))


# name: smallest and largest element, magnitude; None compares exactly
REDUCTIONS: dict[str, tuple[float, float, Magnitude | None]] = {
    "reduce_sum": (-2, 2, absolute("reduce_sum")),
    "reduce_mean": (-2, 2, absolute("reduce_mean")),
    "reduce_sum_square": (-2, 2, absolute("reduce_sum_square")),
    "reduce_l1_norm": (-2, 2, absolute("reduce_l1_norm")),
    "reduce_l2_norm": (-2, 2, absolute("reduce_l2_norm")),
    "reduce_prod": (0.8, 1.2, absolute("reduce_prod")),
    "reduce_log_sum": (0.5, 2, _log_sum),
    "reduce_log_sum_exp": (-4, 4, _log_sum),
    "reduce_max": (-2, 2, None),
    "reduce_min": (-2, 2, None),
}


def _length(shape: tuple[int, ...], params: Mapping[str, Any]) -> int:
    axes = params.get("axes") or range(len(shape))
    return int(np.prod([shape[a] for a in axes]))


def reduction_cases() -> Iterator[Case]:
    for op, (low, high, magnitude) in REDUCTIONS.items():
        for name, shape, params in AXES:
            for dtype in (FP16, FP32):
                tolerance = reduced(_length(shape, params)) if magnitude else exact.any_zero()
                x = {"x": spread(shape, low, high, dtype)}
                yield Case(op, f"{name}, {short(dtype)}", x, params, tolerance, magnitude)
    for op in ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_sum_square",
               "reduce_l1_norm"):  # fmt: skip
        yield Case(op, "int32", {"x": integers((3, 7), -4, 5)}, {"axes": [1]})
    large = {"x": np.array([[80.0, 79.0, -80.0], [-90.0, -91.0, -92.0]], FP16)}
    yield Case("reduce_log_sum_exp", "no overflow of large elements", large, {"axes": [1]},
               reduced(3), _log_sum)  # fmt: skip
    # 4096 ones and a large element: only a sum wider than fp16 is right.
    ones = np.ones((1, 4097), FP16)
    ones[0, 0] = 4096
    yield Case("reduce_sum", "sums that fp16 would lose", {"x": ones}, {"axes": [1]},
               reduced(4097), absolute("reduce_sum"))  # fmt: skip
    for op in ("reduce_max", "reduce_min"):
        odd = {"x": np.array([[np.inf, 1.0, -np.inf], [-np.inf, -5.0, -1.0]], FP16)}
        yield Case(op, "infinities", odd, {"axes": [1]})


def order_cases() -> Iterator[Case]:
    for op in ("reduce_argmax", "reduce_argmin"):
        for dtype in (FP16, FP32, INT32):
            for axis, keep in ((-1, False), (0, True), (1, False)):
                x = {"x": (distinct((3, 5, 17), FP32) * 8).astype(dtype)}
                name = f"{short(dtype)} on axis {axis}{' kept' if keep else ''}"
                yield Case(op, name, x, {"axis": axis, "keep_dims": keep})
        yield Case(op, "the defaults", {"x": distinct((4, 9))}, {})
        yield Case(
            op, "uint16 indices", {"x": distinct((4, 9))}, {"axis": 1, "output_dtype": "uint16"}
        )
        ties = {"x": np.array([[1.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0]], FP16)}
        yield Case(op, "the first of equals", ties, {"axis": 1})
    for dtype in (FP16, FP32, INT32):
        x = {"x": (distinct((4, 9), FP32) * 8).astype(dtype)}
        for ascending in (False, True):
            way = "up" if ascending else "down"
            yield Case("argsort", f"{short(dtype)} {way}", x, {"axis": -1, "ascending": ascending})
            yield Case(
                "topk", f"{short(dtype)} {way}", x, {"k": 4, "axis": -1, "ascending": ascending}
            )
        yield Case("argsort", f"{short(dtype)} on axis 0", x, {"axis": 0})
        yield Case("topk", f"{short(dtype)} on axis 0", x, {"k": 2, "axis": 0})
    x = {"x": distinct((3, 9))}
    yield Case("argsort", "the defaults", x, {})
    yield Case("topk", "the defaults take one", x, {})
    yield Case("topk", "all of them with -1", x, {"k": -1})
    yield Case("topk", "uint16 indices", x, {"k": 3, "output_indices_dtype": "uint16"})
    yield Case("topk", "values alone", x, {"k": 3, "return_indices": False})
    for dtype in (np.uint8, np.int8, np.int16, np.uint16):
        numbers = np.random.default_rng(1).permutation(27).reshape(3, 9).astype(dtype)
        yield Case("topk", f"{short(dtype)} values", {"x": numbers}, {"k": 3})
    ties = {"x": np.array([[1.0, 3.0, 3.0, 2.0, 3.0]], FP16)}
    yield Case("topk", "equals in order of place", ties, {"k": 3})
    yield Case("argsort", "equals in order of place", ties, {})


def scan_cases() -> Iterator[Case]:
    for shape, axis in (((33,), 0), ((4, 7), 0), ((4, 7), -1), ((2, 5, 3), 1)):
        for exclusive in (False, True):
            for reverse in (False, True):
                params = {"axis": axis, "exclusive": exclusive, "reverse": reverse}
                words = [w for w, on in (("exclusive", exclusive), ("reverse", reverse)) if on]
                name = f"rank {len(shape)} on axis {axis} {' '.join(words)}".strip()
                yield Case("cumsum", name, {"x": spread(shape)}, params,
                           reduced(shape[axis]), absolute("cumsum"))  # fmt: skip
    yield Case("cumsum", "fp32, the defaults", {"x": spread((9, 5), dtype=FP32)}, {}, reduced(9),
               absolute("cumsum"))  # fmt: skip
    yield Case("cumsum", "int32", {"x": integers((3, 9), -9, 9)}, {"axis": 1})


def _softmax(arguments: Mapping[str, Any]) -> float:
    """Results are below 1; the shifted argument's last bit counts as much as it is large."""
    x = arguments["x"]
    finite = x[np.isfinite(x)]
    return 1.0 + float(np.ptp(finite)) * 0.5


def softmax_cases() -> Iterator[Case]:
    for shape, axis in (((7,), 0), ((3, 33), -1), ((2, 5, 9), 1), ((1, 4, 17, 17), -1),
                        ((1, 8, 1, 5), 1), ((2, 1, 3, 2, 5), -2)):  # fmt: skip
        for dtype in (FP16, FP32):
            x = {"x": spread(shape, -6, 6, dtype)}
            name = f"over axis {axis} of rank {len(shape)}, {short(dtype)}"
            yield Case("softmax", name, x, {"axis": axis}, reduced(shape[axis]), _softmax)
    yield Case("softmax", "the default axis", {"x": spread((3, 5))}, {}, reduced(5), _softmax)
    masked = spread((4, 9), -3, 3)
    masked[np.triu_indices(4, 1)] = -np.inf
    yield Case("softmax", "masked with minus infinity", {"x": masked}, {}, reduced(9), _softmax)
    large = {"x": np.array([[60000.0, 59968.0, -60000.0], [65504.0, 65504.0, 0.0]], FP16)}
    yield Case("softmax", "no overflow of large elements", large, {}, reduced(3))


def _standard(axes: Any) -> Magnitude:
    """(|x| + mean |x|) / std · |gamma| + |beta|, and the share of std's own error."""

    def of(arguments: Mapping[str, Any]) -> Array:
        x = arguments["x"]
        where = tuple(range(2, x.ndim)) if axes == "spatial" else tuple(axes or range(x.ndim))
        size = np.abs(x) + np.mean(np.abs(x), axis=where, keepdims=True)
        spread_ = np.sqrt(
            np.var(x, axis=where, keepdims=True) + float(arguments.get("epsilon", 1e-5))
        )
        gamma = np.max(np.abs(arguments.get("gamma", np.ones(1))))
        beta = np.max(np.abs(arguments.get("beta", np.zeros(1))))
        return 2.0 * size / spread_ * gamma + beta

    return of


def norm_cases() -> Iterator[Case]:
    for shape, axes in (((3, 33), [-1]), ((2, 3, 16), [2]), ((2, 3, 5), [1, 2]), ((4, 9), None),
                        ((2, 8, 1, 5), [1]), ((2, 3, 4, 5), [2, 3])):  # fmt: skip
        for dtype in (FP16, FP32):
            x = {"x": spread(shape, -2, 3, dtype)}
            chosen = {} if axes is None else {"axes": axes}
            inner = [shape[a] for a in (axes or range(len(shape)))]
            count = int(np.prod(inner))
            name = f"rank {len(shape)} over {axes or 'all'}, {short(dtype)}"
            yield Case("layer_norm", name, x, chosen, reduced(count), _standard(axes))
            affine = {"gamma": spread(tuple(inner), 0.5, 2, dtype, 1),
                      "beta": spread(tuple(inner), -1, 1, dtype, 2), "epsilon": 0.001}  # fmt: skip
            yield Case("layer_norm", f"{name}, affine", x, {**chosen, **affine}, reduced(count),
                       _standard(axes))  # fmt: skip
    off = {"x": (spread((2, 65), -1, 1).astype(FP32) + 100).astype(FP16)}
    yield Case("layer_norm", "a mean far above the deviation", off, {"axes": [-1]}, reduced(65),
               _standard([-1]))  # fmt: skip
    for shape in ((2, 3, 17), (2, 3, 5, 7)):
        for dtype in (FP16, FP32):
            x = {"x": spread(shape, -2, 3, dtype)}
            count = int(np.prod(shape[2:]))
            vectors = {
                "gamma": spread((3,), 0.5, 2, dtype, 1),
                "beta": spread((3,), -1, 1, dtype, 2),
            }
            name = f"rank {len(shape)}, {short(dtype)}"
            magnitude = _standard("spatial")
            yield Case("instance_norm", name, x, {}, reduced(count), magnitude)
            yield Case("instance_norm", f"{name}, affine", x, {**vectors, "epsilon": 0.01},
                       reduced(count), magnitude)  # fmt: skip
    yield from channel_norm_cases()


def _batch(arguments: Mapping[str, Any]) -> Array:
    x = arguments["x"]
    shape = (1, -1, *([1] * (x.ndim - 2)))
    size = np.abs(x) + np.abs(arguments["mean"]).reshape(shape)
    return 4.0 * size / np.sqrt(arguments["variance"]).reshape(shape) + 1.0


def channel_norm_cases() -> Iterator[Case]:
    for shape in ((2, 3, 17), (2, 3, 5, 7), (1, 3, 2, 3, 4)):
        for dtype in (FP16, FP32):
            x = {"x": spread(shape, -2, 3, dtype)}
            stats = {
                "mean": spread((3,), -1, 1, dtype, 3),
                "variance": spread((3,), 0.2, 2, dtype, 4),
            }
            more = {"gamma": spread((3,), 0.5, 2, dtype, 1), "beta": spread((3,), -1, 1, dtype, 2),
                    "epsilon": 0.001}  # fmt: skip
            name = f"rank {len(shape)}, {short(dtype)}"
            yield Case("batch_norm", name, x, stats, rounded, _batch)
            yield Case("batch_norm", f"{name}, affine", x, {**stats, **more}, rounded, _batch)
            if len(shape) < 5:
                yield from _response(name, shape, dtype)
    for shape in ((3, 4, 5), (2, 3, 4, 5), (2, 2, 3, 1, 5)):
        for dtype in (FP16, FP32):
            count = int(np.prod(shape[-3:]))
            x = {"x": spread(shape, -2, 3, dtype)}
            name = f"rank {len(shape)}, {short(dtype)}"
            yield Case("l2_norm", name, x, {}, reduced(count))
            yield Case("l2_norm", f"{name}, epsilon 0.5", x, {"epsilon": 0.5}, reduced(count))


def _response(name: str, shape: tuple[int, ...], dtype: Any) -> Iterator[Case]:
    wide = (shape[0], 7, *shape[2:])
    x = {"x": spread(wide, -2, 3, dtype)}
    tolerance: Tolerance = reduced(5)
    yield Case("local_response_norm", f"{name}, the defaults", x, {"size": 3}, tolerance)
    params = {"size": 5, "alpha": 0.5, "beta": 0.75, "k": 2.0}
    yield Case("local_response_norm", f"{name}, strong", x, params, tolerance)


def cases() -> Iterator[Case]:
    """All cases that reduce."""
    yield from reduction_cases()
    yield from order_cases()
    yield from scan_cases()
    yield from softmax_cases()
    yield from norm_cases()
