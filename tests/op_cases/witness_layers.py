"""PyTorch's convolutions, pools, normalisations, recurrent layers and image operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as tf
from torch import Tensor

Args = Mapping[str, Any]
Witness = Callable[[Args], Any]


def ints(value: Any) -> list[int]:
    """Return a tensor's or a number's integers."""
    return [int(v) for v in (value.reshape(-1).tolist() if isinstance(value, Tensor) else [value])]


def _same(x: Tensor, kernel: list[int], strides: list[int], kind: str) -> list[int]:
    """Padding of torch's `pad`, last dimension first, for the same and same_lower rules."""
    flat: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, strides, strict=True):
        total = max(0, (-(-size // s) - 1) * s + k - size)
        small, large = total // 2, total - total // 2
        flat = [*((large, small) if kind == "same_lower" else (small, large)), *flat]
    return flat


def _pads(a: Args, kernel: list[int], strides: list[int]) -> list[int]:
    kind = a.get("pad_type", "valid")
    if kind in ("same", "same_lower"):
        return _same(a["x"], kernel, strides, kind)
    if kind == "custom" and "pad" in a:
        pairs = np.reshape(ints(a["pad"]), (-1, 2)).tolist()
        return [v for pair in reversed(pairs) for v in pair]
    return [0] * (2 * len(kernel))


def conv(a: Args) -> Tensor:
    x, weight = a["x"], a["weight"]
    rank = x.ndim - 2
    strides = ints(a["strides"]) if "strides" in a else [1] * rank
    dilations = ints(a["dilations"]) if "dilations" in a else [1] * rank
    reach = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    padded = tf.pad(x, _pads(a, reach, strides))
    function = (tf.conv1d, tf.conv2d, tf.conv3d)[rank - 1]
    return function(padded, weight, a.get("bias"), strides, 0, dilations, a.get("groups", 1))  # type: ignore[no-any-return]


def conv_transpose(a: Args) -> Tensor | None:
    x, weight = a["x"], a["weight"]
    rank = x.ndim - 2
    strides = ints(a["strides"]) if "strides" in a else [1] * rank
    dilations = ints(a["dilations"]) if "dilations" in a else [1] * rank
    function = (tf.conv_transpose1d, tf.conv_transpose2d, tf.conv_transpose3d)[rank - 1]
    reach = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    kind, pads = a.get("pad_type", "valid"), [(0, 0)] * rank
    if kind == "custom":
        pads = [tuple(p) for p in np.reshape(ints(a["pad"]), (-1, 2)).tolist()]
    elif kind == "same":  # the gradient of a conv with the same rule
        totals = [max(0, r - s) for r, s in zip(reach, strides, strict=True)]
        pads = [(t // 2, t - t // 2) for t in totals]
    extra = 0
    if "output_shape" in a:
        full = [(n - 1) * s + r for n, s, r in zip(x.shape[2:], strides, reach, strict=True)]
        wanted = ints(a["output_shape"])[2:]
        extra = [w - (f - sum(p)) for w, f, p in zip(wanted, full, pads, strict=True)]
        return function(x, weight, a.get("bias"), strides, [p[0] for p in pads], extra,
                        a.get("groups", 1), dilations)  # type: ignore[no-any-return]  # fmt: skip
    whole = function(x, weight, a.get("bias"), strides, 0, extra, a.get("groups", 1), dilations)
    cut = [slice(b, whole.shape[2 + i] - e) for i, (b, e) in enumerate(pads)]
    return whole[(..., *cut)]


def pool(kind: str) -> Witness:
    def run(a: Args) -> Tensor | None:
        x, kernel = a["x"], ints(a["kernel_sizes"])
        rank = x.ndim - 2
        strides = ints(a["strides"]) if "strides" in a else [1] * rank
        flat, ceil = _pads(a, kernel, strides), bool(a.get("ceil_mode", False))
        apart = bool(a.get("exclude_padding_from_average", False))
        largest = (tf.max_pool1d, tf.max_pool2d, tf.max_pool3d)[rank - 1]
        average = (tf.avg_pool1d, tf.avg_pool2d, tf.avg_pool3d)[rank - 1]
        symmetric = flat[::2] == flat[1::2]
        if ceil and symmetric:
            inner = flat[::-2]
            if kind == "max":
                return largest(x, kernel, strides, inner, ceil_mode=True)  # type: ignore[no-any-return]
            if kind == "avg":
                return average(x, kernel, strides, inner, True, not apart)  # type: ignore[no-any-return]
            return None  # ceil_mode counts no part of what lies beyond: no plain form
        if kind == "max":
            return largest(tf.pad(x, flat, value=-math.inf), kernel, strides)  # type: ignore[no-any-return]
        count = math.prod(kernel)
        if kind == "l2":
            return torch.sqrt(average(tf.pad(x * x, flat), kernel, strides) * count)
        total = average(tf.pad(x, flat), kernel, strides)
        return (
            total / average(tf.pad(torch.ones_like(x), flat), kernel, strides) if apart else total
        )

    return run


def layer_norm(a: Args) -> Tensor | None:
    x = a["x"]
    axes = ints(a["axes"]) if "axes" in a else list(range(x.ndim))
    axes = [i % x.ndim for i in axes]
    back = np.argsort([*(i for i in range(x.ndim) if i not in axes), *axes]).tolist()
    moved = x.permute([*(i for i in range(x.ndim) if i not in axes), *axes])
    shape = moved.shape[x.ndim - len(axes) :]
    out = tf.layer_norm(moved, shape, a.get("gamma"), a.get("beta"), a.get("epsilon", 1e-5))
    return out.permute(back)


def lstm(a: Args) -> Any:
    if "peephole" in a or "clip" in a or "activation" in a or a.get("direction") == "reverse":
        return None
    both = a.get("direction") == "bidirectional"
    x, hidden = a["x"], a["weight_hh"].shape[1]
    net = torch.nn.LSTM(x.shape[2], hidden, bidirectional=both).double()
    order = [0, 1, 3, 2]  # ours: input forget output cell; PyTorch's: input forget cell output

    def gates(matrix: Tensor) -> Tensor:
        return torch.cat([matrix.chunk(4)[i] for i in order])

    with torch.no_grad():
        for suffix, ours in (("", ""), ("_reverse", "_back"))[: 1 + both]:
            getattr(net, f"weight_ih_l0{suffix}").copy_(gates(a[f"weight_ih{ours}"]))
            getattr(net, f"weight_hh_l0{suffix}").copy_(gates(a[f"weight_hh{ours}"]))
            bias = a.get(f"bias{ours}", torch.zeros(4 * hidden).double())
            getattr(net, f"bias_ih_l0{suffix}").copy_(gates(bias))
            getattr(net, f"bias_hh_l0{suffix}").zero_()
        states = [torch.stack(a[n].chunk(1 + both, -1)) for n in ("initial_h", "initial_c")]
        every, (h, c) = net(x, (states[0], states[1]))
    h, c = torch.cat(list(h), -1), torch.cat(list(c), -1)
    return (every if a.get("output_sequence") else h[None]), h, c


def rnn(a: Args) -> Any:
    if a.get("direction") == "reverse":
        return None
    x, hidden = a["x"], a["weight_hh"].shape[1]
    net = torch.nn.RNN(x.shape[2], hidden, nonlinearity=a.get("activation", "tanh")).double()
    with torch.no_grad():
        net.weight_ih_l0.copy_(a["weight_ih"])
        net.weight_hh_l0.copy_(a["weight_hh"])
        net.bias_ih_l0.copy_(a.get("bias", torch.zeros(hidden).double()))
        net.bias_hh_l0.zero_()
        every, h = net(x, a["initial_h"][None])
    return (every if a.get("output_sequence") else h), h[0]


def gru(a: Args) -> Any:
    """PyTorch's gate applies to the hidden bias too: comparable with reset_after, or no bias."""
    after = a.get("reset_after", False)
    if a.get("direction") == "reverse" or not (after or "bias" not in a):
        return None
    x, hidden = a["x"], a["weight_hh"].shape[1]
    net = torch.nn.GRU(x.shape[2], hidden).double()

    def gates(matrix: Tensor) -> Tensor:  # ours: reset output update; PyTorch's: reset update new
        return torch.cat([matrix.chunk(3)[i] for i in (0, 2, 1)])

    zero = torch.zeros(3 * hidden).double()
    with torch.no_grad():
        net.weight_ih_l0.copy_(gates(a["weight_ih"]))
        net.weight_hh_l0.copy_(gates(a["weight_hh"]))
        net.bias_ih_l0.copy_(gates(a.get("input_bias", zero)))
        net.bias_hh_l0.copy_(gates(a.get("bias", zero)))
        every, h = net(x, a["initial_h"][None])
    return (every if a.get("output_sequence") else h), h[0]


def _resize(x: Tensor, size: tuple[int, int], mode: str) -> Tensor | None:
    aligned = {"STRICT_ALIGN_CORNERS": True, "UNALIGN_CORNERS": False}.get(mode)
    if aligned is None:
        return None
    flat = x.reshape(1, -1, *x.shape[-2:])
    out = tf.interpolate(flat, size=size, mode="bilinear", align_corners=aligned)
    return out.reshape(*x.shape[:-2], *size)


def resize_bilinear(a: Args) -> Tensor | None:
    size = (a["target_size_height"], a["target_size_width"])
    return _resize(a["x"], size, a.get("sampling_mode", "DEFAULT"))


def scaled(a: Args) -> tuple[int, int]:
    height, width = a["x"].shape[-2:]
    return (
        math.floor(height * a["scale_factor_height"]),
        math.floor(width * a["scale_factor_width"]),
    )


def upsample_bilinear(a: Args) -> Tensor | None:
    if "half_pixel_centers" in a:
        return None
    mode = "STRICT_ALIGN_CORNERS" if a["align_corners"] else "UNALIGN_CORNERS"
    return _resize(a["x"], scaled(a), mode)


def resample(a: Args) -> Tensor | None:
    padding = {"constant": "zeros", "border": "border"}.get(a["padding_mode"], "reflection")
    mirrors = {"reflection": True, "symmetric": False}.get(a["padding_mode"], a["align_corners"])
    unit = a["coordinates_mode"] == "normalized_minus_one_to_one"
    if not unit or mirrors != bool(a["align_corners"]) or a["padding_value"] != 0.0:
        return None
    return tf.grid_sample(
        a["x"], a["coordinates"], a["sampling_mode"], padding, bool(a["align_corners"])
    )


def affine(a: Args) -> Tensor:
    x = a["x"]
    matrix = a["transform_matrix"].reshape(-1, 2, 3).expand(x.shape[0], 2, 3)
    size = [x.shape[0], x.shape[1], a["output_height"], a["output_width"]]
    return tf.grid_sample(x, tf.affine_grid(matrix, size, True), align_corners=True)
