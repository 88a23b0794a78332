"""What PyTorch computes for a case, in float64: the witness of the reference.

One function per operation takes the case's arguments (tensors for arrays, Python values for
constants that are not) and returns a tensor, several, or None where PyTorch has no such form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as tf
from torch import Tensor

from . import witness_layers as layers
from .case import Case
from .witness_layers import Args, Witness, ints


def tensors(case: Case) -> dict[str, Any]:
    """A case's arguments for PyTorch: floats in float64, small constants as Python values."""

    def convert(value: Any) -> Any:
        if isinstance(value, list):
            return [convert(v) for v in value]
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        if array.ndim == 0:
            return array.item()
        if array.dtype.kind == "f":
            return torch.from_numpy(array.astype(np.float64))
        return torch.from_numpy(array.astype(np.int64) if array.dtype.kind in "iu" else array)

    return {name: convert(value) for name, value in case.arguments().items()}


def _unary(function: Callable[[Tensor], Tensor]) -> Witness:
    return lambda a: function(a["x"])


def _float(function: Callable[[Tensor], Tensor]) -> Witness:
    return lambda a: function(a["x"]) if a["x"].is_floating_point() else None


def _binary(function: Callable[[Any, Any], Tensor]) -> Witness:
    def run(a: Args) -> Tensor | None:
        x, y = torch.as_tensor(a["x"]), torch.as_tensor(a["y"])
        integer = not x.is_floating_point() and x.dtype != torch.bool
        return function(x.to(torch.int32), y.to(torch.int32)) if integer else function(x, y)

    return run


def _reduced(function: Callable[[Tensor, list[int], bool], Tensor]) -> Witness:
    def run(a: Args) -> Tensor:
        x = a["x"]
        axes = ints(a["axes"]) if "axes" in a else list(range(x.ndim))
        return function(x, axes, bool(a.get("keep_dims", False)))

    return run


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((i % x.ndim for i in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep)
    return x


def _pad(a: Args) -> Tensor | None:
    pairs = [tuple(p) for p in np.reshape(ints(a["pad"]), (-1, 2)).tolist()]
    while pairs and pairs[0] == (0, 0) and len(pairs) > 2:
        pairs.pop(0)
    flat = [v for pair in reversed(pairs) for v in pair]
    mode = a.get("mode", "constant")
    if mode == "constant":
        return tf.pad(a["x"], flat, value=a.get("constant_val", 0.0))
    extra = 2 + len(pairs) - a["x"].ndim  # PyTorch wants a batch and a channel
    x = a["x"].reshape([1] * max(0, extra) + list(a["x"].shape))
    return tf.pad(x, flat, mode=mode).squeeze(0) if extra == 1 else (
        tf.pad(x, flat, mode=mode) if extra <= 0 else None
    )  # fmt: skip


def _topk(a: Args) -> Any:
    if "k" not in a or a["k"] < 0 or len(torch.unique(a["x"])) < a["x"].numel():
        return None
    way = not a.get("ascending", False)
    values, indices = torch.topk(a["x"], a["k"], a.get("axis", -1), largest=way)
    return (values, indices) if a.get("return_indices", True) else values


def _attention(a: Args) -> Tensor:
    return tf.scaled_dot_product_attention(
        a["query"], a["key"], a["value"], attn_mask=a.get("attn_mask")
    )


def _along(reduce: str | None) -> Witness:
    def run(a: Args) -> Tensor | None:
        modes = {"update": None, "add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
        mode, axis = a.get("mode", "add"), a.get("axis", 0)
        if mode not in modes:
            return None
        if modes[mode] is None:
            return torch.scatter(a["data"], axis, a["indices"], a["updates"])
        return torch.scatter_reduce(
            a["data"], axis, a["indices"], a["updates"], modes[mode], include_self=True
        )  # type: ignore[no-any-return]

    return run


def _scatter(a: Args) -> Tensor | None:
    axis, mode = a.get("axis", 0), a.get("mode", "add")
    if mode == "add":
        return torch.index_add(a["data"], axis, a["indices"], a["updates"])
    if mode == "update" and len(torch.unique(a["indices"])) == len(a["indices"]):
        return torch.index_copy(a["data"], axis, a["indices"], a["updates"])
    return None


def _cumsum(a: Args) -> Tensor | None:
    if a.get("exclusive") or a.get("reverse"):
        return None
    return torch.cumsum(a["x"], a.get("axis", 0))


def _log_sum_exp(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.logsumexp(x, axes, keep)


def _order(a: Args) -> Tensor:
    return torch.argsort(
        a["x"], dim=a.get("axis", -1), descending=not a.get("ascending", False), stable=True
    )


def _gather(a: Args) -> Tensor | None:
    if "batch_dims" in a or bool((a["indices"] < 0).any()):
        return None
    axis, x = a.get("axis", 0) % a["x"].ndim, a["x"]
    flat = torch.index_select(x, axis, a["indices"].reshape(-1))
    return flat.reshape(*x.shape[:axis], *a["indices"].shape, *x.shape[axis + 1 :])


def _arg(function: Callable[..., Tensor]) -> Witness:
    return lambda a: function(a["x"], a.get("axis", -1), keepdim=bool(a.get("keep_dims", False)))


WITNESSES: dict[str, Witness] = {
    **{
        name: _unary(getattr(torch, name))
        for name in ("abs", "sign", "square", "floor", "ceil", "round", "relu", "cos", "sin", "tan")
    },
    **{
        name: _float(getattr(torch, name))
        for name in (
            "acos",
            "asin",
            "atan",
            "atanh",
            "cosh",
            "sinh",
            "tanh",
            "erf",
            "exp",
            "exp2",
            "sqrt",
            "sigmoid",
        )
    },
    "silu": _unary(tf.silu),
    "softplus": _unary(tf.softplus),
    "softsign": _unary(tf.softsign),
    "relu6": _unary(tf.relu6),
    "gelu": lambda a: {
        "EXACT": tf.gelu(a["x"]),
        "TANH_APPROXIMATION": tf.gelu(a["x"], approximate="tanh"),
    }.get(a.get("mode", "EXACT")),
    "leaky_relu": lambda a: tf.leaky_relu(a["x"], a["alpha"]),
    "elu": lambda a: tf.elu(a["x"], a["alpha"]),
    "prelu": lambda a: tf.prelu(a["x"], a["alpha"]),
    "clip": lambda a: torch.clamp(a["x"], a["alpha"], a["beta"]),
    "threshold": lambda a: torch.clamp(a["x"], min=a["alpha"]),
    "softmax": lambda a: torch.softmax(a["x"], a.get("axis", -1)),
    "rsqrt": lambda a: torch.rsqrt(a["x"] + a["epsilon"]) if "epsilon" in a else None,
    "add": _binary(torch.add),
    "sub": _binary(torch.sub),
    "mul": _binary(torch.mul),
    "real_div": _binary(torch.true_divide),
    "floor_div": _binary(torch.floor_divide),
    "mod": _binary(torch.remainder),
    "pow": _binary(torch.pow),
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "equal": _binary(torch.eq),
    "not_equal": _binary(torch.ne),
    "less": _binary(torch.lt),
    "less_equal": _binary(torch.le),
    "greater": _binary(torch.gt),
    "greater_equal": _binary(torch.ge),
    "logical_and": _binary(torch.logical_and),
    "logical_or": _binary(torch.logical_or),
    "logical_xor": _binary(torch.logical_xor),
    "logical_not": _unary(torch.logical_not),
    "select": lambda a: torch.where(a["cond"], a["a"], a["b"]),
    "reduce_sum": _reduced(torch.sum),
    "reduce_mean": _reduced(torch.mean),
    "reduce_max": _reduced(torch.amax),
    "reduce_min": _reduced(torch.amin),
    "reduce_prod": _reduced(_prod),
    "reduce_l1_norm": _reduced(lambda x, axes, keep: torch.sum(torch.abs(x), axes, keep)),
    "reduce_l2_norm": _reduced(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "reduce_log_sum_exp": _reduced(_log_sum_exp),
    "reduce_argmax": _arg(torch.argmax),
    "reduce_argmin": _arg(torch.argmin),
    "cumsum": _cumsum,
    "argsort": _order,
    "topk": _topk,
    "matmul": lambda a: torch.matmul(
        a["x"].mT if a.get("transpose_x") else a["x"], a["y"].mT if a.get("transpose_y") else a["y"]
    ),
    "linear": lambda a: tf.linear(a["x"], a["weight"], a.get("bias")),
    "einsum": lambda a: torch.einsum(a["equation"], *a["values"]),
    "scaled_dot_product_attention": _attention,
    "conv": layers.conv,
    "conv_transpose": layers.conv_transpose,
    "max_pool": layers.pool("max"),
    "avg_pool": layers.pool("avg"),
    "l2_pool": layers.pool("l2"),
    "layer_norm": layers.layer_norm,
    "instance_norm": lambda a: tf.instance_norm(
        a["x"], weight=a.get("gamma"), bias=a.get("beta"), eps=a.get("epsilon", 1e-5)
    ),
    "batch_norm": lambda a: tf.batch_norm(
        a["x"],
        a["mean"],
        a["variance"],
        a.get("gamma"),
        a.get("beta"),
        eps=a.get("epsilon", 1e-5),
    ),
    "local_response_norm": lambda a: tf.local_response_norm(
        a["x"], a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("k", 1.0)
    ),
    "lstm": layers.lstm,
    "rnn": layers.rnn,
    "gru": layers.gru,
    "resize_bilinear": layers.resize_bilinear,
    "upsample_bilinear": layers.upsample_bilinear,
    "resize_nearest_neighbor": lambda a: tf.interpolate(
        a["x"], size=(a["target_size_height"], a["target_size_width"])
    ),
    "upsample_nearest_neighbor": lambda a: tf.interpolate(a["x"], size=layers.scaled(a)),
    "resample": layers.resample,
    "affine": layers.affine,
    "pad": _pad,
    "transpose": lambda a: a["x"].permute(ints(a["perm"])),
    "concat": lambda a: None if a.get("interleave") else torch.cat(a["values"], a["axis"]),
    "stack": lambda a: torch.stack(a["values"], a["axis"]),
    "reverse": lambda a: torch.flip(
        a["x"], ints(a["axes"]) if "axes" in a else list(range(a["x"].ndim))
    ),
    "tile": lambda a: torch.tile(a["x"], ints(a["reps"])),
    "pixel_shuffle": lambda a: tf.pixel_shuffle(a["x"], a["upscale_factor"]),
    "pixel_unshuffle": lambda a: tf.pixel_unshuffle(a["x"], a["downscale_factor"]),
    "gather": _gather,
    "gather_along_axis": lambda a: torch.gather(a["x"], a.get("axis", 0), a["indices"]),
    "scatter": _scatter,
    "scatter_along_axis": _along(None),
    "sliding_windows": lambda a: torch.movedim(
        a["x"].unfold(a["axis"], a["size"], a.get("stride", 1)), -1, a["axis"] % a["x"].ndim + 1
    ),
}
