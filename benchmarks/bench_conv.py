"""How fast are convolutions, those of ResNet-50 and MobileNet, next to ONNX Runtime and PyTorch?

One convolution with constant weights and no bias, batch 1. PyTorch's are oneDNN's, in both layouts.
The limit counts a direct convolution's multiply-adds: an algorithm with fewer (Winograd) may pass
it. Depthwise ones on small maps are bound by memory and by calls instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from measure import Case, Options, main
from peers import (
    Array,
    OnnxGraph,
    host,
    of_kernel,
    ort_variants,
    torch_missing,
    torch_on,
    torch_variants,
)

from milane import Graph, Runtime
from milane.graph import ops


@dataclass(frozen=True)
class Shape:
    """A convolution of [1, channels, height, width]."""

    name: str
    channels: int
    height: int
    width: int
    out: int
    kernel: tuple[int, int]
    stride: int = 1
    pad: tuple[int, int] = (0, 0)
    groups: int = 1
    dilation: int = 1
    transposed: bool = False

    def work(self, results: int) -> float:
        """Floating-point operations, for so many results."""
        taps = self.kernel[0] * self.kernel[1]
        if self.transposed:
            return 2.0 * self.height * self.width * self.channels * self.out // self.groups * taps
        return 2.0 * results * (self.channels // self.groups) * taps


SHAPES = [
    Shape("3×3 64→64, 56×56", 64, 56, 56, 64, (3, 3), pad=(1, 1)),
    Shape("1×1 256→64, 56×56", 256, 56, 56, 64, (1, 1)),
    Shape("1×1 64→256, 56×56", 64, 56, 56, 256, (1, 1)),
    Shape("3×3 256→256, 14×14", 256, 14, 14, 256, (3, 3), pad=(1, 1)),
    Shape("1×1 1024→256, 14×14", 1024, 14, 14, 256, (1, 1)),
    Shape("depthwise 3×3 128, 56×56", 128, 56, 56, 128, (3, 3), pad=(1, 1), groups=128),
    Shape("depthwise 3×3 512, 14×14", 512, 14, 14, 512, (3, 3), pad=(1, 1), groups=512),
    Shape("depthwise 3×3 1024, 7×7", 1024, 7, 7, 1024, (3, 3), pad=(1, 1), groups=1024),
    Shape("7×7/2 3→64, 224×224", 3, 224, 224, 64, (7, 7), 2, (3, 3)),
    Shape("3×3/2 128→128, 56×56", 128, 56, 56, 128, (3, 3), 2, (1, 1)),
    Shape("3×3 in 4 groups 128→128, 28×28", 128, 28, 28, 128, (3, 3), pad=(1, 1), groups=4),
    Shape("3×3 dilated by 2 128→128, 28×28", 128, 28, 28, 128, (3, 3), pad=(2, 2), dilation=2),
    Shape("5×5 64→64, 28×28", 64, 28, 28, 64, (5, 5), pad=(2, 2)),
    Shape("3×3 64→64, 240×320", 64, 240, 320, 64, (3, 3), pad=(1, 1)),
    Shape("1×1 32→32, 160×160", 32, 160, 160, 32, (1, 1)),
    Shape("1-D 3 80→384, 1500", 80, 1, 1500, 384, (1, 3), pad=(0, 1)),
    Shape("1-D depthwise 31 256, 1500", 256, 1, 1500, 256, (1, 31), pad=(0, 15), groups=256),
    Shape("transposed 2×2/2 128→64, 28×28", 128, 28, 28, 64, (2, 2), 2, transposed=True),
]


def convolution(runtime: Runtime, options: Options, s: Shape) -> Case:
    """Every variant of one shape."""
    rng = np.random.default_rng(s.channels + s.out)
    shape = (1, s.channels, s.height, s.width)
    x = rng.standard_normal(shape, np.float32).astype(np.float16)
    inner = s.channels // s.groups * s.kernel[0] * s.kernel[1]
    size = (s.channels, s.out // s.groups) if s.transposed else (s.out, s.channels // s.groups)
    w = (rng.standard_normal((*size, *s.kernel), np.float32) * inner**-0.5).astype(np.float16)
    pads = [s.pad[0], s.pad[0], s.pad[1], s.pad[1]]
    # One row of pixels: no stride or dilation along it.
    steps = [1, s.stride] if s.height == 1 else [s.stride, s.stride]
    gaps = [1, s.dilation] if s.height == 1 else [s.dilation, s.dilation]

    graph = Graph()
    apply: Callable[..., Any] = ops.conv_transpose if s.transposed else ops.conv
    value, weight = graph.input("x", shape), graph.weight("w", w.shape, data=w)
    more = {"strides": steps, "pad_type": "custom", "pad": pads, "dilations": gaps}
    graph.output("y", apply(value, weight, groups=s.groups, **more))
    variants = {"milane": of_kernel(graph.compile(runtime), {"x": x})}

    def onnx(g: OnnxGraph) -> dict[str, Array]:
        attributes: dict[str, Any] = {
            "kernel_shape": list(s.kernel),
            "strides": steps,
            "pads": [s.pad[0], s.pad[1], s.pad[0], s.pad[1]],
            "dilations": gaps,
            "group": s.groups,
        }
        kind = "ConvTranspose" if s.transposed else "Conv"
        g.output(g.op(kind, g.input("x", shape), g.floats(w), **attributes))
        return {"x": x.astype(g.dtype)}

    peers, missing = ort_variants(options.threads, onnx)
    variants |= peers
    torch = torch_on(options.threads)
    if torch is not None:
        f = torch.nn.functional
        convolve = f.conv_transpose2d if s.transposed else f.conv2d
        given = {"stride": steps, "padding": s.pad, "groups": s.groups, "dilation": gaps}

        def in_layout(layout: Any) -> Callable[[Any], Callable[[], Any]]:
            def make(dtype: Any) -> Callable[[], Any]:
                a, b = (torch.from_numpy(t).to(dtype).to(memory_format=layout) for t in (x, w))
                return lambda: convolve(a, b, None, **given)

            return make

        variants |= torch_variants(torch, in_layout(torch.contiguous_format))
        last = torch_variants(torch, in_layout(torch.channels_last), dtypes=("fp32", "bf16"))
        variants |= {f"{name} channels last": variant for name, variant in last.items()}
    expected = _expected(x, w, s, steps, gaps)
    return Case(
        s.name,
        variants,
        expected=expected,
        # Winograd's transforms lose a few bits more than one rounding.
        roundings=2,
        limit="fma",
        work=s.work(expected.size),
        missing=missing | torch_missing(torch),
    )


def _expected(x: Array, w: Array, s: Shape, steps: list[int], gaps: list[int]) -> Array:
    """In float32, tap by tap with NumPy."""
    a, b = x[0].astype(np.float32), w.astype(np.float32)
    (kh, kw), (ph, pw), g = s.kernel, s.pad, s.groups
    if s.transposed:
        tall, wide = ((n - 1) * t + k for n, t, k in zip(a.shape[1:], steps, s.kernel, strict=True))
        y = np.zeros((s.out, tall, wide), np.float32)
        for i in range(kh):
            for j in range(kw):
                part = np.einsum("chw,co->ohw", a, b[:, :, i, j], optimize=True)
                y[:, i : i + a.shape[1] * steps[0] : steps[0],
                  j : j + a.shape[2] * steps[1] : steps[1]] += part  # fmt: skip
        return y[None, :, ph : tall - ph, pw : wide - pw]
    a = np.pad(a, ((0, 0), (ph, ph), (pw, pw)))
    tall = (a.shape[1] - gaps[0] * (kh - 1) - 1) // steps[0] + 1
    wide = (a.shape[2] - gaps[1] * (kw - 1) - 1) // steps[1] + 1
    y = np.zeros((g, s.out // g, tall, wide), np.float32)
    grouped = b.reshape(g, s.out // g, s.channels // g, kh, kw)
    for i in range(kh):
        for j in range(kw):
            rows, columns = i * gaps[0], j * gaps[1]
            seen = a[:, rows : rows + (tall - 1) * steps[0] + 1 : steps[0],
                     columns : columns + (wide - 1) * steps[1] + 1 : steps[1]]  # fmt: skip
            flat = seen.reshape(g, s.channels // g, tall * wide)
            y += (grouped[..., i, j] @ flat).reshape(y.shape)
    return y.reshape(1, s.out, tall, wide)


@dataclass(frozen=True)
class Window:
    """Pooling of [1, channels, size, size]; a kernel of 0 doubles height and width instead."""

    name: str
    channels: int
    size: int
    kernel: int = 0
    stride: int = 1
    pad: int = 0
    mean: bool = False


WINDOWS = [
    Window("max pool 3×3/2, 64 of 112×112", 64, 112, 3, 2, 1),
    Window("max pool 2×2/2, 64 of 240×240", 64, 240, 2, 2),
    Window("average pool, 2048 of 7×7", 2048, 7, 7, mean=True),
    Window("nearest ×2, 64 of 112×112", 64, 112),
]


def resized(runtime: Runtime, options: Options, w: Window) -> Case:
    """Pooling and resizing: bound by memory."""
    shape = (1, w.channels, w.size, w.size)
    x = np.random.default_rng(0).standard_normal(shape, np.float32).astype(np.float16)
    graph = Graph()
    value = graph.input("x", shape)
    how: dict[str, Any] = {"kernel_sizes": [w.kernel] * 2, "strides": [w.stride] * 2}
    if w.kernel == 0:
        graph.output("y", ops.upsample_nearest_neighbor(
            value, scale_factor_height=2.0, scale_factor_width=2.0
        ))  # fmt: skip
    elif w.mean:
        graph.output("y", ops.avg_pool(value, pad_type="valid", **how))
    else:
        graph.output("y", ops.max_pool(value, pad_type="custom", pad=[w.pad] * 4, **how))
    variants = {"milane": of_kernel(graph.compile(runtime), {"x": x})}

    def onnx(g: OnnxGraph) -> dict[str, Array]:
        value = g.input("x", shape)
        if w.kernel == 0:
            scales = g.constant(np.array([1, 1, 2, 2], np.float32))
            kept = {"mode": "nearest", "nearest_mode": "floor"}
            place = "asymmetric"
            g.output(
                g.op("Resize", value, "", scales, coordinate_transformation_mode=place, **kept)
            )
        elif w.mean:
            g.output(g.op("GlobalAveragePool", value))
        else:
            window = {"kernel_shape": [w.kernel] * 2, "strides": [w.stride] * 2}
            g.output(g.op("MaxPool", value, pads=[w.pad] * 4, **window))
        return {"x": x.astype(g.dtype)}

    peers, missing = ort_variants(options.threads, onnx)
    variants |= peers
    torch = torch_on(options.threads)
    if torch is not None:
        f = torch.nn.functional

        def make(dtype: Any) -> Callable[[], Any]:
            a = torch.from_numpy(x).to(dtype)
            if w.kernel == 0:
                return lambda: f.interpolate(a, scale_factor=2, mode="nearest")
            if w.mean:
                return lambda: f.avg_pool2d(a, w.kernel)
            return lambda: f.max_pool2d(a, w.kernel, w.stride, w.pad)

        variants |= torch_variants(torch, make)
    expected = _expected_window(x, w)
    return Case(
        w.name,
        variants,
        expected=expected,
        limit="copy",
        work=float(x.nbytes + expected.size * 2),
        missing=missing | torch_missing(torch),
        note="bytes of fp16; its data fits into the caches, so that it may pass the limit",
    )


def _expected_window(x: Array, w: Window) -> Array:
    """In float32, with NumPy."""
    a: Array = x[0].astype(np.float32)
    if w.kernel == 0:
        return np.asarray(a.repeat(2, 1).repeat(2, 2))[None]
    sides = ((0, 0), (w.pad, w.pad), (w.pad, w.pad))
    padded = np.pad(a, sides, constant_values=0 if w.mean else -np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (w.kernel, w.kernel), (1, 2))
    windows = windows[:, :: w.stride, :: w.stride]
    found = windows.mean((-2, -1)) if w.mean else windows.max((-2, -1))
    return np.asarray(found)[None]


def cases(options: Options) -> Iterator[Case]:
    """All shapes; short: a small one and a depthwise one."""
    with host() as runtime:
        for shape in (SHAPES[3], SHAPES[6]) if options.short else SHAPES:
            yield convolution(runtime, options, shape)
        for window in () if options.short else WINDOWS:
            yield resized(runtime, options, window)


if __name__ == "__main__":
    main(__doc__ or "", cases)
