"""How does time grow with positions, with layers and with the batch?

The stories110M shape without embedding and classifier. A slope is the exponent between two sizes:
log(time ratio) / log(size ratio); 1 is linear. Threads are the command's own columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import bench_transformer
import llama
import numpy as np
from llama import DIM
from measure import Case, Options, Variant, interleaved, main
from peers import Array, OnnxGraph, host, of_kernel

from milane import Graph, Runtime

POSITIONS = (64, 128, 256, 512, 1024, 2048)
LAYERS = (1, 2, 4, 8)
BATCHES = (1, 2, 4, 8)


def layers_of(runtime: Runtime, options: Options, seq: int, layers: int, name: str) -> Case:
    """Blocks on top of each other."""
    weights = llama.random_weights(layers, vocab=1).layers
    x = np.random.default_rng(1).standard_normal((seq, DIM), np.float32).astype(np.float16)
    graph = Graph()
    made = llama.Milane(graph, seq)
    y = graph.input("x", (1, DIM, 1, seq))
    for w in weights:
        y = made.ffn_block(made.attention_block(y, w), w)
    graph.output("y", y)
    witness = llama.NumPy(seq)
    expected = x.astype(np.float32)
    for w in weights:
        expected = witness.ffn_block(witness.attention_block(expected, w), w)

    def torch_part(t: llama.Torch) -> Callable[[], Any]:
        own, value = [t.layer(w) for w in weights], t.tensor(x)

        def run() -> Any:
            z = value
            for w in own:
                z = t.ffn_block(t.attention_block(z, w), w)
            return z

        return run

    def onnx_part(g: OnnxGraph) -> dict[str, Array]:
        own = llama.Onnx(g, seq)
        z = g.input("x", (seq, DIM))
        for w in weights:
            z = own.ffn_block(own.attention_block(z, w), w)
        g.output(z)
        return {"x": x.astype(g.dtype)}

    values = np.ascontiguousarray(x.T)[None, :, None]
    own = {"milane": of_kernel(graph.compile(runtime), {"x": values}, bench_transformer.rows_of)}
    return bench_transformer.case(
        options, name, own, expected, torch_part, onnx_part, dtypes=("fp32",),
        roundings=16 * (2 * layers) ** 0.5, limit="fma",
        work=layers * (2.0 * seq * llama.LAYER_PARAMETERS + llama.attention_flops(seq)),
    )  # fmt: skip


def batches(runtime: Runtime, size: int) -> Case:
    """SwiGLU over [N, C, 1, S], alone: peers would take N·S rows, as in the other rows."""
    w = llama.random_weights(1, vocab=1).layers[0]
    seq = 64
    x = np.random.default_rng(1).standard_normal((size, DIM, 1, seq), np.float32)
    x = x.astype(np.float16)
    graph = Graph()
    made = llama.Milane(graph, seq)
    graph.output("y", made.ffn_block(graph.input("x", x.shape), w))
    rows = np.asarray(x[:, :, 0], np.float32).transpose(0, 2, 1).reshape(-1, DIM)
    expected = llama.NumPy(seq).ffn_block(rows, w)

    def flat(y: Array) -> Array:
        return np.asarray(y[:, :, 0].transpose(0, 2, 1).reshape(-1, DIM))

    kernel = graph.compile(runtime)
    variants: dict[str, Variant] = {"milane": of_kernel(kernel, {"x": x}, flat)}
    return Case(f"SwiGLU, batch {size} of {seq}", variants, expected, roundings=16, limit="fma",
                work=6.0 * size * seq * DIM * llama.HIDDEN)  # fmt: skip


def slope(before: tuple[float, float], after: tuple[float, float]) -> float:
    """The exponent between (size, seconds) and (size, seconds)."""
    return math.log(after[1] / before[1]) / math.log(after[0] / before[0])


def cases(options: Options) -> Iterator[Case]:
    """Three series; the note has Milane's slope since the size before."""
    with host() as runtime:
        series: list[tuple[tuple[int, ...], Callable[[int], Case]]] = [
            (POSITIONS, lambda s: layers_of(runtime, options, s, 1, f"one layer, {s} positions")),
            (LAYERS, lambda n: layers_of(runtime, options, 256, n, f"{n} layers, 256 positions")),
            (BATCHES, lambda n: batches(runtime, n)),
        ]
        for sizes, make in series:
            last: tuple[float, float] | None = None
            for size in sizes[:2] if options.short else sizes:
                case = make(size)
                if options.case in case.name:
                    # Timed here for the slope, and again beside its peers.
                    call = case.variants["milane"].call
                    now = (float(size), interleaved({"milane": call}, 7)["milane"].min)
                    if last:
                        case.note = f"slope {slope(last, now):.2f} since {last[0]:.0f}"
                    last = now
                yield case


if __name__ == "__main__":
    main(__doc__ or "", cases)
