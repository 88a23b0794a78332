"""Cases of matrix products, attention, convolutions and pools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tolerance import exact, reduced

from .case import BOOL, FP16, FP32, Array, Case, absolute, integers, shape_text, short, uniform

MATMULS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((3, 5), (5, 7), {}),
    ((17, 33), (33, 65), {}),
    ((2, 3, 9), (2, 9, 5), {}),
    ((1, 4, 8, 16), (1, 4, 16, 8), {}),
    ((2, 1, 3, 5), (4, 5, 7), {}),
    ((5, 3), (5, 7), {"transpose_x": True}),
    ((3, 5), (7, 5), {"transpose_y": True}),
    ((2, 5, 3), (2, 7, 5), {"transpose_x": True, "transpose_y": True}),
    ((1, 2, 9, 33), (1, 2, 9, 33), {"transpose_y": True}),
    ((5,), (5,), {}),
    ((5,), (5, 7), {}),
    ((2, 3, 5), (5,), {}),
    ((1, 1, 1, 40), (1, 1, 40, 70), {}),
    ((1, 130), (130, 1), {}),
]


def matrix_cases() -> Iterator[Case]:
    for a, b, params in MATMULS:
        for dtype in (FP16, FP32):
            inputs = {"x": uniform(a, dtype=dtype), "y": uniform(b, dtype=dtype, seed=1)}
            turned = " ".join(params)
            count = a[-2] if params.get("transpose_x") else a[-1]
            name = f"{short(dtype)} {shape_text(a, b)} {turned}".strip()
            yield Case("matmul", name, inputs, params, reduced(count), absolute("matmul"))
    for a, b in (((3, 7, 9), (9, 5)), ((17, 33), (33, 65))):
        inputs, params = {"x": uniform(a)}, {"y": uniform(b, seed=1)}
        name = f"a constant operand, {shape_text(a, b)}"
        yield Case("matmul", name, inputs, params, reduced(a[-1]), absolute("matmul"))
    inputs = {"x": integers((3, 5), -9, 9), "y": integers((5, 4), -9, 9)}
    yield Case("matmul", "int32", inputs, {}, exact)
    for shape, out in (((9,), 5), ((3, 33), 17), ((2, 5, 16), 40), ((1, 1, 65), 129), ((1, 7), 1)):
        for dtype in (FP16, FP32):
            x = {"x": uniform(shape, dtype=dtype)}
            weight = {"weight": uniform((out, shape[-1]), dtype=dtype, seed=1)}
            bias = {"bias": uniform((out,), dtype=dtype, seed=2)}
            name = f"{short(dtype)} {shape_text(shape)} to {out}"
            near, magnitude = reduced(shape[-1]), absolute("linear")
            yield Case("linear", name, x, weight, near, magnitude)
            yield Case("linear", f"{name} with a bias", x, {**weight, **bias}, near, magnitude)


def einsum_cases() -> Iterator[Case]:
    for equation, a, b in (
        ("nchw,nwhu->nchu", (2, 3, 4, 5), (2, 5, 4, 6)),
        ("chw,whr->chr", (3, 4, 5), (5, 4, 6)),
        ("bnqd,bnkd->bnqk", (1, 2, 5, 8), (1, 2, 7, 8)),
        ("ij,jk->ik", (3, 9), (9, 4)),
        ("bij,bjk->bik", (2, 3, 5), (2, 5, 4)),
        ("ab,cb->ca", (3, 5), (4, 5)),
    ):
        for dtype in (FP16, FP32):
            pair = {"values": [uniform(a, dtype=dtype), uniform(b, dtype=dtype, seed=1)]}
            yield Case(
                "einsum", f"{equation}, {short(dtype)}", pair, {"equation": equation},
                reduced(10), absolute("einsum"),
            )  # fmt: skip


def _attention(arguments: Mapping[str, Any]) -> float:
    """max |v| times one plus the error of the scores, whose last bit the exponential multiplies."""
    q, k = arguments["query"], arguments["key"]
    scores = np.abs(q) @ np.swapaxes(np.abs(k), -1, -2) / np.sqrt(q.shape[-1])
    return float(np.max(np.abs(arguments["value"]))) * (2.0 + 2.0 * float(np.max(scores)))


def attention_cases() -> Iterator[Case]:
    for q, k, v in (
        ((1, 4, 10, 16), (1, 4, 10, 16), (1, 4, 10, 16)),
        ((2, 5, 8), (2, 7, 8), (2, 7, 6)),
        ((1, 2, 1, 32), (1, 2, 33, 32), (1, 2, 33, 32)),
    ):
        for dtype in (FP16, FP32):
            inputs = {
                "query": uniform(q, dtype=dtype), "key": uniform(k, dtype=dtype, seed=1),
                "value": uniform(v, dtype=dtype, seed=2),
            }  # fmt: skip
            size = (q[-2], k[-2])
            keep = np.tril(np.ones(size, BOOL), k[-2] - q[-2])
            added = np.where(keep, 0.0, -np.inf).astype(dtype)
            name = f"{short(dtype)} {shape_text(q, k)}"
            masks: list[tuple[str, dict[str, Array]]] = [
                ("no mask", {}),
                ("a boolean mask", {"attn_mask": keep}),
                ("an added mask", {"attn_mask": added}),
                ("a finite added mask", {"attn_mask": uniform(size, dtype=dtype, seed=3)}),
            ]
            for words, mask in masks:
                yield Case(
                    "scaled_dot_product_attention", f"{name}, {words}", {**inputs, **mask}, {},
                    reduced(k[-2] + q[-1]), _attention,
                )  # fmt: skip


# name, x, weight, other parameters
CONVS: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("pointwise", (1, 8, 1, 33), (6, 8, 1, 1), {}),
    ("pointwise of a plane", (2, 5, 7, 9), (3, 5, 1, 1), {}),
    ("3x3 valid", (1, 3, 7, 9), (4, 3, 3, 3), {"pad_type": "valid"}),
    ("3x3 same", (1, 3, 8, 7), (4, 3, 3, 3), {"pad_type": "same"}),
    ("3x3 same, stride 2", (1, 3, 8, 7), (4, 3, 3, 3), {"pad_type": "same", "strides": [2, 2]}),
    ("even kernel same", (1, 2, 6, 7), (3, 2, 2, 4), {"pad_type": "same"}),
    ("even kernel same_lower", (1, 2, 6, 7), (3, 2, 2, 4), {"pad_type": "same_lower"}),
    ("unequal custom padding", (1, 2, 6, 7), (3, 2, 3, 3),
     {"pad_type": "custom", "pad": [0, 2, 1, 3]}),
    ("strides and dilations", (2, 4, 13, 11), (6, 4, 3, 3),
     {"pad_type": "custom", "pad": [1, 1, 2, 2], "strides": [2, 1], "dilations": [1, 2]}),
    ("groups", (2, 8, 6, 5), (12, 2, 3, 3), {"groups": 4}),
    ("depthwise", (1, 6, 9, 9), (6, 1, 3, 3), {"groups": 6, "pad_type": "same"}),
    ("depthwise, two each", (1, 4, 7, 7), (8, 1, 3, 3), {"groups": 4}),
    ("1-D", (2, 4, 33), (5, 4, 3), {"pad_type": "custom", "pad": [2, 0], "dilations": [2]}),
    ("1-D, stride 3", (1, 3, 20), (2, 3, 5), {"strides": [3]}),
    ("3-D", (1, 2, 4, 5, 6), (3, 2, 2, 3, 3), {"pad_type": "same"}),
    ("wide enough to tile", (1, 40, 5, 36), (33, 40, 3, 3), {"pad_type": "same"}),
]  # fmt: skip


def conv_cases() -> Iterator[Case]:
    for name, shape, kernel, params in CONVS:
        for dtype in (FP16, FP32):
            x = {"x": uniform(shape, dtype=dtype)}
            weight = {"weight": uniform(kernel, dtype=dtype, seed=1)}
            bias = {"bias": uniform(kernel[:1], dtype=dtype, seed=2)}
            count = int(np.prod(kernel[1:]))
            text = f"{name}, {short(dtype)}"
            near, magnitude = reduced(count), absolute("conv")
            yield Case("conv", text, x, {**weight, **params}, near, magnitude)
            yield Case("conv", f"{text}, bias", x, {**weight, **bias, **params}, near, magnitude)
    both = {"x": uniform((1, 4, 5, 7)), "weight": uniform((3, 4, 3, 3), seed=1)}
    yield Case("conv", "weights given at run time", both, {"pad_type": "same"}, reduced(36),
               absolute("conv"))  # fmt: skip


TRANSPOSED: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("2x2 stride 2", (1, 4, 5, 6), (4, 3, 2, 2), {"strides": [2, 2]}),
    ("3x3 custom", (1, 4, 5, 6), (4, 3, 3, 3),
     {"strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 0, 2]}),
    ("output_shape", (1, 6, 9, 8), (6, 4, 3, 3),
     {"strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1],
      "output_shape": [1, 4, 18, 16]}),
    ("same, stride 2", (1, 3, 5, 4), (3, 2, 3, 3), {"strides": [2, 2], "pad_type": "same"}),
    ("same, stride 1", (1, 3, 5, 4), (3, 2, 3, 3), {"pad_type": "same"}),
    ("groups", (2, 6, 4, 5), (6, 2, 3, 3), {"groups": 3, "strides": [1, 2]}),
    ("dilations", (1, 2, 5, 4), (2, 3, 3, 2), {"dilations": [2, 3]}),
    ("1-D", (2, 3, 9), (3, 4, 4), {"strides": [2]}),
    ("3-D", (1, 2, 3, 4, 3), (2, 3, 2, 2, 3), {"strides": [2, 1, 2]}),
    ("side by side, groups", (2, 6, 4, 21), (6, 2, 2, 2), {"groups": 2, "strides": [2, 2]}),
    ("side by side, by 2 and 3", (1, 4, 3, 5), (4, 3, 2, 3), {"strides": [2, 3]}),
    ("side by side, 1-D", (2, 3, 70), (3, 5, 2), {"strides": [2]}),
    ("side by side, 3-D", (1, 3, 2, 3, 9), (3, 2, 2, 2, 2), {"strides": [2, 2, 2]}),
    ("side by side, rows only", (1, 3, 4, 5), (3, 2, 2, 1), {"strides": [2, 1]}),
    ("rows of odd length", (1, 3, 4, 19), (3, 2, 3, 3), {"strides": [2, 2]}),
]  # fmt: skip


def conv_transpose_cases() -> Iterator[Case]:
    for name, shape, kernel, params in TRANSPOSED:
        for dtype in (FP16, FP32):
            x = {"x": uniform(shape, dtype=dtype)}
            weight = {"weight": uniform(kernel, dtype=dtype, seed=1)}
            out = kernel[1] * params.get("groups", 1)
            bias = {"bias": uniform((out,), dtype=dtype, seed=2)}
            count = kernel[0] * int(np.prod(kernel[2:]))
            text = f"{name}, {short(dtype)}"
            near, magnitude = reduced(count), absolute("conv_transpose")
            yield Case("conv_transpose", text, x, {**weight, **params}, near, magnitude)
            yield Case("conv_transpose", f"{text}, bias", x, {**weight, **bias, **params}, near,
                       magnitude)  # fmt: skip
    both = {"x": uniform((1, 4, 5, 9)), "weight": uniform((4, 3, 2, 2), seed=1)}
    yield Case("conv_transpose", "weights given at run time", both, {"strides": [2, 2]},
               reduced(16), absolute("conv_transpose"))  # fmt: skip


POOLS: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("2x2 stride 2", (1, 3, 8, 6),
     {"kernel_sizes": [2, 2], "strides": [2, 2], "pad_type": "valid"}),
    ("3x3 default strides", (2, 2, 5, 7), {"kernel_sizes": [3, 3], "pad_type": "valid"}),
    ("3x2 same", (1, 3, 7, 6), {"kernel_sizes": [3, 2], "strides": [2, 2], "pad_type": "same"}),
    ("2x2 same_lower", (1, 3, 7, 5),
     {"kernel_sizes": [2, 2], "strides": [1, 2], "pad_type": "same_lower"}),
    ("custom padding", (1, 3, 7, 6),
     {"kernel_sizes": [3, 3], "strides": [2, 1], "pad_type": "custom", "pad": [1, 0, 1, 1]}),
    ("ceil_mode", (1, 2, 8, 9),
     {"kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1],
      "ceil_mode": True}),
    ("ceil_mode without padding", (1, 2, 8, 10),
     {"kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "valid", "ceil_mode": True}),
    ("1-D", (2, 3, 17), {"kernel_sizes": [4], "strides": [3], "pad_type": "custom", "pad": [1, 2]}),
    ("the whole plane", (1, 5, 6, 7), {"kernel_sizes": [6, 7], "pad_type": "valid"}),
]  # fmt: skip
SPACE = ("3-D", (1, 2, 4, 5, 6),
         {"kernel_sizes": [2, 2, 3], "strides": [2, 1, 2], "pad_type": "same"})  # fmt: skip


def pool_cases() -> Iterator[Case]:
    for op in ("max_pool", "avg_pool", "l2_pool"):
        for name, shape, params in POOLS if op == "l2_pool" else [*POOLS, SPACE]:
            for dtype in (FP16, FP32):
                x = {"x": uniform(shape, dtype=dtype)}
                text = f"{name}, {short(dtype)}"
                if op == "max_pool":
                    yield Case(op, text, x, params, exact)
                    continue
                near = reduced(int(np.prod(params["kernel_sizes"])))
                yield Case(op, text, x, params, near, absolute(op))
                if op == "avg_pool":
                    apart = {**params, "exclude_padding_from_average": True}
                    yield Case(op, f"{text}, padding not counted", x, apart, near, absolute(op))
    low = {"x": np.full((1, 1, 3, 3), -5.0, FP16)}
    padded = {"kernel_sizes": [2, 2], "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1]}
    yield Case("max_pool", "padding never wins over negative elements", low, padded)


def cases() -> Iterator[Case]:
    """All cases of products, convolutions and pools."""
    yield from matrix_cases()
    yield from einsum_cases()
    yield from attention_cases()
    yield from conv_cases()
    yield from conv_transpose_cases()
    yield from pool_cases()
