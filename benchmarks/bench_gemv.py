"""How near to the read bandwidth is a matrix times a vector, with weights larger than the caches?

Milane reads fp16 weights, so that the limit is their bytes over the bandwidth measured in the same
rounds, with or without huge pages, whichever is higher. A peer's share is of the same bytes: one
that keeps fp32 weights reads twice as many.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from measure import Case, Options, main
from peers import (
    Array,
    Held,
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

SHAPES = [(32000, 2048), (32000, 768), (8192, 8192)]


def product(runtime: Runtime, threads: int, m: int, k: int) -> Case:
    """Weights [M, K] times one vector."""
    rng = np.random.default_rng(m)
    w = (rng.standard_normal((m, k), np.float32) * k**-0.5).astype(np.float16)
    x = rng.standard_normal(k, np.float32).astype(np.float16)
    w32, x32 = w.astype(np.float32), x.astype(np.float32)
    conv = Graph()
    weight = conv.weight("w", (m, k, 1, 1), data=w.reshape(m, k, 1, 1))
    conv.output("y", ops.conv(conv.input("x", (1, k, 1, 1)), weight))
    linear = Graph()
    value = linear.input("x", (1, k))
    linear.output("y", ops.linear(value, linear.weight("w", (m, k), data=w)))
    variants = {
        "milane": of_kernel(conv.compile(runtime), {"x": x.reshape(1, k, 1, 1)}, np.ravel),
        "milane linear": of_kernel(linear.compile(runtime), {"x": x.reshape(1, k)}, np.ravel),
    }

    def onnx(graph: OnnxGraph) -> dict[str, Array]:
        graph.output(graph.op("MatMul", graph.input("x", (1, k)), graph.floats(w.T)))
        return {"x": x.reshape(1, k).astype(graph.dtype)}

    peers, missing = ort_variants(threads, onnx, np.ravel)
    variants |= peers
    torch = torch_on(threads)
    if torch is not None:

        def layer(dtype):  # type: ignore[no-untyped-def]
            a, b = torch.from_numpy(w).to(dtype), torch.from_numpy(x)[None].to(dtype)
            return lambda: torch.nn.functional.linear(b, a)

        variants |= torch_variants(torch, layer, np.ravel)
    variants["NumPy fp32"] = Held(lambda: w32 @ x32, np.asarray).variant()
    return Case(
        f"{m}×{k}",
        variants,
        expected=w32 @ x32,
        limit="read",
        work=float(w.nbytes),
        missing=missing | torch_missing(torch),
        note=f"{w.nbytes / 1e6:.0f} MB of fp16 weights",
    )


def cases(options: Options) -> Iterator[Case]:
    """Three matrices."""
    with host() as runtime:
        for shape in [(4096, 768)] if options.short else SHAPES:
            yield product(runtime, options.threads, *shape)


if __name__ == "__main__":
    main(__doc__ or "", cases)
