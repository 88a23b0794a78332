"""How near to the multiply-add limit are matrix products with fp16 weights, and their peers?

A shape is M×K×N: weights [M, K], values [K, N]. Milane's are the 1×1 convolution of [1, K, 1, N]
(channels first, as the device wants them) and `linear` over rows; batched and "both at run time"
have no constant operand.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from measure import Case, Options, Variant, main
from peers import (
    Array,
    Held,
    OnnxGraph,
    bf16_of_graph,
    host,
    of_kernel,
    ort_variants,
    torch_missing,
    torch_on,
    torch_variants,
)

import milane
from milane import Graph, Runtime
from milane.graph import ops

SHAPES = [
    (768, 768, 256),
    (2048, 768, 256),
    (768, 2048, 256),
    (32000, 768, 256),
    (2048, 2048, 2048),
    # Skinny.
    (768, 768, 1),
    (768, 768, 4),
    (768, 768, 16),
    (2048, 768, 64),
    (64, 768, 256),
]
SHORT = [(768, 768, 256), (768, 768, 4)]
IN_BF16 = SHAPES[:5]
BATCHED = [(12, 256, 64, 256), (12, 256, 256, 64), (96, 64, 64, 64)]  # batch, M, K, N
DYNAMIC = [(768, 768, 256), (2048, 2048, 2048)]


def graphs(w: Array, n: int) -> tuple[Graph, Graph]:
    """The product as a 1×1 convolution of columns, and as `linear` over rows."""
    m, k = w.shape
    conv = Graph()
    value = conv.input("x", (1, k, 1, n))
    weight = conv.weight("w", (m, k, 1, 1), data=w.reshape(m, k, 1, 1))
    conv.output("y", ops.conv(value, weight))
    linear = Graph()
    value = linear.input("x", (n, k))
    linear.output("y", ops.linear(value, linear.weight("w", (m, k), data=w)))
    return conv, linear


def operands(m: int, k: int, n: int) -> tuple[Array, Array]:
    """Weights [m, k] and values [k, n]: results of about 1."""
    rng = np.random.default_rng(m + k + n)
    w = (rng.standard_normal((m, k), np.float32) * k**-0.5).astype(np.float16)
    return w, rng.standard_normal((k, n), np.float32).astype(np.float16)


def torch_products(
    threads: int, w: Array, x: Array, product: tuple[str, ...], linear: tuple[str, ...]
) -> dict[str, Variant]:
    """PyTorch's w @ x, and its linear layer, in these types."""
    torch = torch_on(threads)
    if torch is None:
        return {}

    def of_columns(dtype):  # type: ignore[no-untyped-def]
        a, b = torch.from_numpy(w).to(dtype), torch.from_numpy(x).to(dtype)
        return lambda: a @ b

    def of_rows(dtype):  # type: ignore[no-untyped-def]
        rows = torch.from_numpy(np.ascontiguousarray(x.T))
        a, b = torch.from_numpy(w).to(dtype), rows.to(dtype)
        return lambda: torch.nn.functional.linear(b, a)

    made = torch_variants(torch, of_columns, dtypes=product)
    of_layer = torch_variants(torch, of_rows, np.transpose, dtypes=linear)
    return made | {f"{name} linear": variant for name, variant in of_layer.items()}


def stored(runtime: Runtime, threads: int, m: int, k: int, n: int) -> Case:
    """A product with weights known at compile time."""
    w, x = operands(m, k, n)
    rows = np.ascontiguousarray(x.T)
    w32, x32 = w.astype(np.float32), x.astype(np.float32)
    conv, linear = graphs(w, n)
    variants = {
        "milane": of_kernel(
            conv.compile(runtime), {"x": x.reshape(1, k, 1, n)}, lambda y: y.reshape(m, n)
        ),
        "milane linear": of_kernel(linear.compile(runtime), {"x": rows}, np.transpose),
    }

    def onnx(graph: OnnxGraph) -> dict[str, Array]:
        graph.output(graph.op("MatMul", graph.input("x", (n, k)), graph.floats(w.T)))
        return {"x": rows.astype(graph.dtype)}

    peers, missing = ort_variants(threads, onnx, np.transpose)
    variants |= peers
    variants |= torch_products(threads, w, x, ("fp32", "bf16"), ("fp32", "fp16", "bf16"))
    out = np.empty((m, n), np.float32)
    variants["NumPy fp32"] = Held(lambda: np.matmul(w32, x32, out=out), np.asarray).variant()
    return Case(
        f"{m}×{k}×{n}",
        variants,
        expected=w32.astype(np.float64) @ x32 if m * k * n < 1e9 else w32 @ x32,
        roundings=1,
        limit="fma",
        work=2.0 * m * k * n,
        missing=missing | torch_missing(torch_on(threads)),
    )


def in_bf16(runtime: Runtime, threads: int, m: int, k: int, n: int) -> Case:
    """The same product under numerics="bf16", beside PyTorch's in bf16."""
    w, x = operands(m, k, n)
    conv, linear = graphs(w, n)
    columns, rows = x.reshape(1, k, 1, n), np.ascontiguousarray(x.T)
    return Case(
        f"{m}×{k}×{n}, bf16",
        bf16_of_graph(runtime, conv, {"x": columns}, lambda y: y.reshape(m, n))
        | bf16_of_graph(runtime, linear, {"x": rows}, np.transpose, "milane bf16 linear")
        | torch_products(threads, w, x, ("bf16",), ("bf16",)),
        expected=w.astype(np.float32) @ x.astype(np.float32),
        limit="bf16",
        work=2.0 * m * k * n,
        missing=torch_missing(torch_on(threads)),
        note="operands rounded to bf16: coarser than fp16",
    )


def given(runtime: Runtime, threads: int, sizes: tuple[int, int, int, int]) -> Case:
    """Products of operands that are both inputs."""
    batch, m, k, n = sizes
    rng = np.random.default_rng(m + k + n)
    a = (rng.standard_normal((1, batch, m, k), np.float32) * k**-0.5).astype(np.float16)
    b = rng.standard_normal((1, batch, k, n), np.float32).astype(np.float16)
    graph = Graph()
    graph.output("y", ops.matmul(graph.input("a", a.shape), graph.input("b", b.shape)))
    variants: dict[str, Variant] = {"milane": of_kernel(graph.compile(runtime), {"a": a, "b": b})}

    def onnx(graph: OnnxGraph) -> dict[str, Array]:
        graph.output(graph.op("MatMul", graph.input("a", a.shape), graph.input("b", b.shape)))
        return {"a": a.astype(graph.dtype), "b": b.astype(graph.dtype)}

    peers, missing = ort_variants(threads, onnx)
    variants |= peers
    torch = torch_on(threads)
    if torch is not None:

        def product(dtype):  # type: ignore[no-untyped-def]
            left, right = torch.from_numpy(a).to(dtype), torch.from_numpy(b).to(dtype)
            return lambda: left @ right

        variants |= torch_variants(torch, product)
    a32, b32 = a.astype(np.float32), b.astype(np.float32)
    variants["NumPy fp32"] = Held(lambda: a32 @ b32, np.asarray).variant()
    name = f"{batch} of {m}×{k}×{n}" if batch > 1 else f"{m}×{k}×{n}, both at run time"
    return Case(
        name,
        variants,
        expected=a32 @ b32,
        limit="fma",
        work=2.0 * batch * m * k * n,
        missing=missing | torch_missing(torch),
    )


def cases(options: Options) -> Iterator[Case]:
    """Stored, batched, both given."""
    with host() as runtime:
        for shape in SHORT if options.short else SHAPES:
            yield stored(runtime, options.threads, *shape)
        if milane.cpu_has_bf16():
            for shape in IN_BF16[:1] if options.short else IN_BF16:
                yield in_bf16(runtime, options.threads, *shape)
        for batched in BATCHED[:1] if options.short else BATCHED:
            yield given(runtime, options.threads, batched)
        for shape in [] if options.short else DYNAMIC:
            yield given(runtime, options.threads, (1, *shape))


if __name__ == "__main__":
    main(__doc__ or "", cases)
