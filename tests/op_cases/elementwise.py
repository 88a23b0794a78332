"""Cases of elementwise operations and activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tolerance import Tolerance, exact, rounded

from .case import (
    BOOL,
    FP16,
    FP32,
    INT32,
    Array,
    Case,
    Magnitude,
    integers,
    shape_text,
    short,
    uniform,
)

SHAPES = [(1,), (7,), (3, 5), (2, 3, 33), (1, 2, 3, 17), (2, 1, 1, 3, 5), (1, 64, 1, 32)]
EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 6e-8, -6e-8, 65504.0, -65504.0, 0.33, 1e-3]
)
FINITE = np.array([0.0, -0.0, 1.0, -1.0, 6e-8, -6e-8, 6.1e-5, 0.33, -1e-3, 2.5, -2.5, 8.0, -8.0])

value = exact.any_zero()


def grows(arguments: Mapping[str, Any]) -> Array:
    """|x| + 1: for functions that multiply their argument by a bounded factor."""
    return np.abs(arguments["x"]) + 1.0


def _exponential(arguments: Mapping[str, Any]) -> Array:
    """e^|x| (1 + |x|): the argument's last bit counts |x| times."""
    size = np.abs(arguments["x"])
    return np.exp(np.minimum(size, 80.0)) * (1.0 + size)


def _tangent(arguments: Mapping[str, Any]) -> Array:
    return 1.0 + np.tan(arguments["x"]) ** 2


# name: smallest and largest argument, tolerance, magnitude, edge values
UNARY: dict[str, tuple[float, float, Tolerance, Magnitude | None, Array]] = {
    "abs": (-9, 9, exact, None, EDGES),
    "acos": (-1, 1, rounded, None, np.array([0.0, -0.0, 1.0, -1.0, 1.5, np.nan, 0.5])),
    "asin": (-1, 1, rounded, None, np.array([0.0, -0.0, 1.0, -1.0, 1.5, np.nan, 0.5, 6e-8])),
    "atan": (-9, 9, rounded, None, EDGES),
    "atanh": (-0.99, 0.99, rounded, None, np.array([0.0, 1.0, -1.0, 1.5, np.nan, 0.5, 6e-8])),
    "ceil": (-9, 9, value, None, EDGES),
    "cos": (-9, 9, rounded, None, np.append(FINITE, [np.inf, np.nan, 100.0, -1000.0])),
    "cosh": (-6, 6, rounded, _exponential, FINITE),
    "erf": (-4, 4, rounded, None, EDGES),
    "exp": (-9, 9, rounded, _exponential, np.append(FINITE, [np.inf, -np.inf, np.nan, 11.5])),
    "exp2": (-9, 9, rounded, _exponential, np.append(FINITE, [np.inf, -np.inf, np.nan, 15.99])),
    "floor": (-9, 9, value, None, EDGES),
    "round": (-9, 9, value, None, np.append(EDGES, [0.5, 1.5, 2.5, -0.5, -1.5, 2047.0])),
    "sign": (-9, 9, value, None, EDGES[~np.isnan(EDGES)]),
    "sin": (-9, 9, rounded, None, np.append(FINITE, [np.inf, np.nan, 100.0, -1000.0])),
    "sinh": (-6, 6, rounded, _exponential, FINITE),
    "sqrt": (0, 99, value, None, EDGES),
    "square": (-9, 9, value, None, EDGES),
    "tan": (-1.5, 1.5, rounded, _tangent, np.array([0.0, -0.0, 6e-8, 0.5, np.inf, np.nan])),
    "tanh": (-4, 4, rounded, None, EDGES),
    "relu": (-9, 9, value, None, EDGES),
    "relu6": (-9, 9, value, None, EDGES),
    "sigmoid": (-9, 9, rounded, None, EDGES),
    "silu": (-9, 9, rounded, grows, FINITE),
    "softplus": (-9, 9, rounded, grows, np.append(FINITE, [30.0, -30.0, 60000.0])),
    "softsign": (-9, 9, rounded, None, FINITE),
}

# name: parameters, smallest and largest argument, tolerance, magnitude
WITH_PARAMS: dict[str, list[tuple[dict[str, Any], float, float, Tolerance, Magnitude | None]]] = {
    "clip": [({"alpha": -1.5, "beta": 2.0}, -4, 4, value, None)],
    "threshold": [({"alpha": 0.25}, -2, 2, value, None)],
    "thresholded_relu": [({"alpha": 0.5}, -2, 2, value, None)],
    "leaky_relu": [
        ({"alpha": 0.01}, -4, 4, value, None),
        ({"alpha": -0.5}, -4, 4, value, None),
    ],
    "clamped_relu": [({"alpha": 0.125, "beta": 1.5}, -4, 4, value, None)],
    "elu": [({"alpha": 1.0}, -6, 4, rounded, None), ({"alpha": 0.3}, -6, 4, rounded, None)],
    "scaled_tanh": [({"alpha": 1.7, "beta": 0.66}, -4, 4, rounded, grows)],
    "sigmoid_hard": [({"alpha": 0.2, "beta": 0.5}, -4, 4, rounded, None)],
    "linear_activation": [({"alpha": -1.5, "beta": 0.3}, -4, 4, rounded, grows)],
    "gelu": [
        ({}, -8, 8, rounded, grows),
        ({"mode": "EXACT"}, -8, 8, rounded, grows),
        ({"mode": "TANH_APPROXIMATION"}, -8, 8, rounded, grows),
        ({"mode": "SIGMOID_APPROXIMATION"}, -8, 8, rounded, grows),
    ],
    "inverse": [
        ({}, 0.25, 9, rounded, lambda a: 1 / a["x"]),
        ({"epsilon": 0.0}, 0.01, 9, rounded, lambda a: 1 / a["x"]),
        ({"epsilon": 0.5}, -9, -1, rounded, None),
    ],
    "rsqrt": [
        ({}, 0.01, 9, rounded, lambda a: 1 / np.sqrt(a["x"])),
        ({"epsilon": 0.001}, 0.01, 9, rounded, lambda a: 1 / np.sqrt(a["x"])),
    ],
    "log": [({}, 0.01, 9, rounded, None), ({"epsilon": 0.001}, 0, 9, rounded, lambda _: 8.0)],
}

PAIRS = [
    ((7,), (7,)),
    ((2, 3, 33), (2, 3, 33)),
    ((4, 1, 5), (3, 1)),
    ((1,), (9,)),
    ((1, 8, 1, 17), (1, 8, 1, 1)),
    ((2, 1, 3, 1, 5), (4, 1, 2, 1)),
]


def unary_cases() -> Iterator[Case]:
    for op, (low, high, tolerance, magnitude, edges) in UNARY.items():
        for shape in SHAPES:
            yield Case(
                op, f"fp16 of shape {shape_text(shape)}", {"x": uniform(shape, low, high)},
                tolerance=tolerance, magnitude=magnitude,
            )  # fmt: skip
        yield Case(
            op, "fp32 of shape 3x35", {"x": uniform((3, 35), low, high, FP32)},
            tolerance=tolerance, magnitude=magnitude,
        )  # fmt: skip
        for dtype in (FP16, FP32):
            yield Case(
                op, f"{short(dtype)} edge values", {"x": edges.astype(dtype)},
                tolerance=tolerance, magnitude=magnitude,
            )  # fmt: skip
    for op in ("abs", "sign", "square"):
        x = np.array([0, 1, -1, 7, -9, 46341, 2**31 - 1, -(2**31) + 1], INT32)
        yield Case(op, "int32, large values too", {"x": x})


def parameter_cases() -> Iterator[Case]:
    for op, rows in WITH_PARAMS.items():
        for params, low, high, tolerance, magnitude in rows:
            given = " ".join(f"{k} {v}" for k, v in params.items()) or "no parameters"
            for shape, dtype in (((5,), FP16), ((2, 3, 33), FP16), ((1, 3, 5, 7), FP32)):
                yield Case(
                    op, f"{given}, {short(dtype)} of shape {shape_text(shape)}",
                    {"x": uniform(shape, low, high, dtype)}, params, tolerance, magnitude,
                )  # fmt: skip
    yield Case("threshold", "int32", {"x": integers((3, 7), -9, 9)}, {"alpha": -2})
    nans = np.array([np.nan, np.inf, -np.inf, 0.0, 9.0, -9.0], FP16)
    yield Case("clip", "NaN and infinities", {"x": nans}, {"alpha": -1.0, "beta": 1.0}, value)
    for dtype in (FP16, FP32):
        x = uniform((2, 5, 3, 7), -3, 3, dtype)
        alpha, beta = uniform((5,), 0.1, 2, dtype), uniform((5,), 0.2, 1, dtype)
        yield Case(
            "prelu", f"{short(dtype)}, one slope a channel", {"x": x}, {"alpha": alpha}, value
        )
        yield Case(
            "softplus_parametric", f"{short(dtype)}, one pair a channel", {"x": x},
            {"alpha": alpha, "beta": beta}, rounded, lambda a: 2 * (np.abs(a["x"]) + 1),
        )  # fmt: skip
    yield Case(
        "prelu", "rank 3", {"x": uniform((2, 3, 33))}, {"alpha": uniform((3,), -1, 1)}, value
    )


def _power(arguments: Mapping[str, Any]) -> Array:
    x, y = arguments["x"], arguments["y"]
    exponent = np.abs(y * np.log(np.maximum(np.abs(x), 1e-30)))
    return np.abs(np.power(x, y)) * (2.0 + exponent)


def _operands(arguments: Mapping[str, Any]) -> Array:
    """|x| + |y|: what a remainder is left over from."""
    return np.abs(arguments["x"]) + np.abs(arguments["y"])


_BY_OP: dict[str, Magnitude] = {"pow": _power, "mod": _operands}


def binary_cases() -> Iterator[Case]:
    plain = ("add", "sub", "mul", "real_div", "maximum", "minimum")
    for op in (*plain, "floor_div", "mod", "pow"):
        tolerance = {"pow": rounded, "mod": rounded}.get(op, value)
        low = 0.25 if op == "pow" else -9.0
        for a, b in PAIRS:
            x, y = uniform(a, low, 9.0), uniform(b, 0.5, 3.0, seed=1)
            yield Case(
                op, f"fp16 {shape_text(a, b)}", {"x": x, "y": y}, {}, tolerance,
                _BY_OP.get(op),
            )  # fmt: skip
        x, y = uniform((3, 17), low, 9.0, FP32), uniform((17,), 0.5, 3.0, FP32, seed=1)
        # A quotient next to an integer may round to it: floor_div then differs by one.
        yield Case(
            op, "fp32 3x17 and 17", {"x": x, "y": y}, {}, tolerance,
            _BY_OP.get(op),
        )  # fmt: skip
        yield Case(
            op, "fp16 with a scalar constant", {"x": uniform((2, 3, 33), low, 9.0)}, {"y": 1.5},
            tolerance, _BY_OP.get(op),
        )  # fmt: skip
    negative = uniform((5, 7), -3.0, -0.5)
    for op in ("floor_div", "mod"):
        inputs = {"x": uniform((5, 7), -9, 9), "y": negative}
        yield Case(op, "negative divisors", inputs, {}, rounded, _operands)
    base = np.array([-2.0, -1.5, 0.0, 2.0, -3.0, 1.0, 0.5], FP16)
    powers = np.array([3.0, 2.0, 0.0, 0.5, 1.0, -2.0, -3.0], FP16)
    yield Case("pow", "negative bases to whole powers", {"x": base, "y": powers}, {}, rounded)
    yield Case("pow", "squares by a constant 2", {"x": uniform((3, 5))}, {"y": 2.0}, rounded)
    yield Case("pow", "inverse roots by -0.5", {"x": uniform((9,), 0.1, 9)}, {"y": -0.5}, rounded)
    for op in plain:
        grid = np.array([0.0, -0.0, 1.0, -2.0, np.inf, -np.inf, np.nan, 6e-8, 65504.0], FP16)
        inputs = {"x": grid[:, None], "y": grid[None, :].copy()}
        yield Case(op, "edge values against edge values", inputs, {}, value)
    x = np.array([2**31 - 1, -(2**31), 7, -7, 46341, 0, 123456789], INT32)
    y = np.array([1, 3, 2, 2, 46341, 5, -1000], INT32)
    for op in ("add", "sub", "mul", "maximum", "minimum", "floor_div", "mod"):
        yield Case(op, "int32, wrapping and rounding down", {"x": x, "y": y})
    yield Case(
        "pow", "int32", {"x": np.array([2, 3, -2, 0], INT32), "y": np.array([10, 4, 3, 0], INT32)}
    )


def logic_cases() -> Iterator[Case]:
    grid = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 6e-8], FP16)
    for op in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
        for a, b in PAIRS[1:4]:
            x, y = integers(a, -2, 3, FP16), integers(b, -2, 3, FP16, seed=1)
            yield Case(op, f"fp16 {shape_text(a, b)}", {"x": x, "y": y})
        yield Case(op, "int32", {"x": integers((3, 9), -2, 3), "y": integers((9,), -2, 3, seed=1)})
        yield Case(
            op, "fp32", {"x": integers((33,), -2, 3, FP32), "y": integers((1,), -2, 3, FP32)}
        )
        yield Case(op, "edge values", {"x": grid[:, None], "y": grid[None, :].copy()})
    for op in ("logical_and", "logical_or", "logical_xor"):
        for a, b in PAIRS[1:3]:
            x, y = integers(a, 0, 2, BOOL), integers(b, 0, 2, BOOL, seed=1)
            yield Case(op, f"{shape_text(a, b)}", {"x": x, "y": y})
    for shape in ((3,), (2, 3, 33)):
        yield Case("logical_not", f"shape {shape_text(shape)}", {"x": integers(shape, 0, 2, BOOL)})


def select_cases() -> Iterator[Case]:
    for dtype in (FP16, FP32, INT32, BOOL):
        a, b = integers((2, 3, 17), 0, 9, dtype), integers((2, 3, 17), 0, 9, dtype, seed=1)
        cond = integers((2, 3, 17), 0, 2, BOOL)
        yield Case("select", f"{short(dtype)}, equal shapes", {"cond": cond, "a": a, "b": b})
    a, b = uniform((2, 1, 5)), uniform((3, 1), seed=1)
    cond = integers((2, 3, 1), 0, 2, BOOL)
    yield Case("select", "all three broadcast", {"cond": cond, "a": a, "b": b})
    masked = {"cond": integers((1, 4, 9, 9), 0, 2, BOOL), "a": uniform((1, 4, 9, 9))}
    yield Case("select", "a scalar constant", masked, {"b": float("-inf")})


CASTS: list[tuple[str, Any, list[float]]] = [
    ("int32", FP16, [2.7, -2.7, 0.5, -0.5, 0.0, 60000.0, -1.0]),
    ("int32", FP32, [2.7, -2.7, 1e6, -1e6, 0.99, 16777215.0]),
    ("int8", FP16, [127.9, -128.9, 1.5, -1.5]),
    ("uint8", FP32, [254.9, 0.9, 3.5, 255.0]),
    ("int16", FP32, [32767.5, -32768.5, 12.75]),
    ("uint16", FP32, [65535.0, 0.5, 40000.25]),
    ("bool", FP16, [0.0, -0.0, 1.0, 0.5, -3.0, 6e-8]),
    ("bool", INT32, [0, 1, -1, 256]),
    ("fp16", INT32, [0, 1, -1, 1000, 2048]),
    ("fp32", INT32, [0, 1, -1, 16777216]),
    ("fp16", FP32, [1.0, 0.1, 1 / 3, 1e-7, 1e-9, -2049.5]),
    ("fp32", FP16, [1.0, 0.1, 6e-8, 65504.0, np.inf, np.nan]),
    ("fp16", BOOL, [0, 1, 1]),
    ("fp32", BOOL, [0, 1, 1]),
    ("int32", BOOL, [0, 1, 1]),
    ("fp16", np.uint8, [0, 1, 255]),
    ("fp32", np.int8, [0, -128, 127]),
    ("int32", np.uint8, [0, 1, 255]),
    ("int32", np.int16, [0, -32768, 32767]),
    ("int8", INT32, [0, -128, 127, 5]),
    ("uint16", INT32, [0, 65535, 7]),
]


def cast_cases() -> Iterator[Case]:
    for dtype, source, numbers in CASTS:
        x = np.array(numbers).astype(source)
        yield Case(
            "cast", f"{short(source)} to {dtype}", {"x": x}, {"dtype": dtype}, exact,
            out_dtypes=(dtype,),
        )  # fmt: skip
    big = {"x": np.array([300.0, -300.0, 1e9, -1e9], FP32)}
    for dtype in ("uint8", "int8", "int16"):
        yield Case(
            "cast", f"fp32 beyond {dtype} clamps", big, {"dtype": dtype}, out_dtypes=(dtype,)
        )
    x = np.array([300, -300, 70000, -1], INT32)
    for dtype in ("uint8", "int8", "int16"):
        yield Case(
            "cast", f"int32 beyond {dtype} wraps", {"x": x}, {"dtype": dtype}, out_dtypes=(dtype,)
        )
    over = {"x": np.array([65519.0, 65520.0, 1e6, -1e6, np.inf, np.nan], FP32)}
    yield Case(
        "cast", "fp32 beyond fp16 is infinite", over, {"dtype": "fp16"}, out_dtypes=("fp16",),
        numerics=("fp16",),
    )  # fmt: skip


def cases() -> Iterator[Case]:
    """All elementwise cases."""
    yield from unary_cases()
    yield from parameter_cases()
    yield from binary_cases()
    yield from logic_cases()
    yield from select_cases()
    yield from cast_cases()
    for shape, dtype in (((3, 5), FP16), ((2, 7), INT32), ((4,), BOOL), ((1, 3), FP32)):
        x = integers(shape, 0, 9, dtype)
        yield Case("identity", f"{short(dtype)} of shape {shape_text(shape)}", {"x": x})
