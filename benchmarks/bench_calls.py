"""What does the smallest call cost from Python, and how long may a small program stall?

The same ReLU of 32 values: Milane's `eval`, ONNX Runtime's run with a binding, PyTorch into an
output that is there. Then the 50th and 99.9th percentile of a small program that has work for all
threads, alone and while another process computes on every CPU: threads that spin for each other
stand still when one of them is taken off its CPU.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from common import time_text
from measure import Case, Options, Variant, main
from peers import (
    Array,
    Held,
    OnnxGraph,
    host,
    of_kernel,
    ort_variants,
    torch_missing,
    torch_on,
)

from milane import Graph, Runtime
from milane.graph import ops

CALLS, MOST_SECONDS = 20_000, 5
DIM = 256
BUSY = "import os\nwhile os.getppid() == {parent}:\n    sum(range(10_000))\n"


def empty(runtime: Runtime, options: Options) -> Case:
    """ReLU of 32 values."""
    shape = (1, 1, 1, 32)
    x = np.linspace(-1, 1, 32, dtype=np.float16).reshape(shape)
    graph = Graph()
    graph.output("y", ops.relu(graph.input("x", shape)))
    variants = {"milane": of_kernel(graph.compile(runtime), {"x": x})}

    def onnx(g: OnnxGraph) -> dict[str, Array]:
        g.output(g.op("Relu", g.input("x", shape)))
        return {"x": x.astype(g.dtype)}

    peers, missing = ort_variants(options.threads, onnx)
    variants |= peers
    torch = torch_on(options.threads)
    if torch is not None:
        a = torch.from_numpy(x.astype(np.float32))
        out = torch.empty_like(a)
        variants["PyTorch fp32"] = Held(
            lambda: torch.clamp_min(a, 0, out=out), lambda t: t.numpy()
        ).variant()
    expected = np.maximum(x, 0).astype(np.float32)
    return Case("empty program", variants, expected, missing=missing | torch_missing(torch))


def small(runtime: Runtime, options: Options) -> tuple[dict[str, Variant], Array, dict[str, str]]:
    """A product, a sigmoid and another product: some tens of microseconds for each thread."""
    rng = np.random.default_rng(0)
    w, v = (rng.standard_normal((2, DIM, DIM), np.float32) * DIM**-0.5).astype(np.float16)
    x = rng.standard_normal((DIM, DIM), np.float32).astype(np.float16)
    graph = Graph()
    hidden = ops.sigmoid(ops.linear(graph.input("x", x.shape), graph.weight("w", w.shape, data=w)))
    graph.output("y", ops.linear(hidden, graph.weight("v", v.shape, data=v)))
    variants = {"milane": of_kernel(graph.compile(runtime), {"x": x})}

    def onnx(g: OnnxGraph) -> dict[str, Array]:
        hidden = g.op("Sigmoid", g.op("MatMul", g.input("x", x.shape), g.floats(w.T)))
        g.output(g.op("MatMul", hidden, g.floats(v.T)))
        return {"x": x.astype(g.dtype)}

    peers, missing = ort_variants(options.threads, onnx, dtypes=("fp32",))
    variants |= peers
    torch = torch_on(options.threads)
    if torch is not None:
        a, b, c = (torch.from_numpy(t.astype(np.float32)) for t in (x, w, v))
        f = torch.nn.functional
        variants["PyTorch fp32"] = Held(
            lambda: f.linear(torch.sigmoid(f.linear(a, b)), c), lambda t: t.numpy()
        ).variant()
    y = x.astype(np.float32) @ w.T.astype(np.float32)
    expected = 1 / (1 + np.exp(-y)) @ v.T.astype(np.float32)
    return variants, expected, missing | torch_missing(torch)


@contextlib.contextmanager
def competitors(count: int) -> Iterator[None]:
    """So many processes that compute; they end with this one."""
    code = BUSY.format(parent=os.getpid())
    busy = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        time.sleep(0.2)
        yield
    finally:
        for process in busy:
            process.terminate()
            process.wait()


def percentiles(call: Callable[[], Any], calls: int) -> str:
    """Of single calls: the 50th and the 99.9th percentile, and the longest."""
    clock = time.perf_counter_ns
    times: list[int] = []
    end = clock() + MOST_SECONDS * 1_000_000_000
    while len(times) < calls and clock() < end:
        start = clock()
        call()
        times.append(clock() - start)
    middle, late, most = (float(t) / 1e9 for t in np.percentile(times, [50, 99.9, 100]))
    return (f"p50 {time_text(middle)}, p99.9 {time_text(late)}, longest {time_text(most)} "
            f"of {len(times)}")  # fmt: skip


def stalls(runtime: Runtime, options: Options) -> Iterator[Case]:
    """Percentiles as the note of a case: rounds of many calls would hide what they are about."""
    calls = 2000 if options.short else CALLS
    for count in (0, 1):
        variants, expected, missing = small(runtime, options)
        notes = {}
        with competitors(count):
            for name, variant in variants.items():
                variant.call()
                time.sleep(0.05)
                notes[name] = percentiles(variant.call, calls)
            # Timed inside: the competitors go on until the case has been run.
            yield Case(
                f"small program, {count or 'no'} competing process",
                variants,
                expected,
                roundings=3,
                missing=missing,
                notes=notes,
            )


def cases(options: Options) -> Iterator[Case]:
    """The smallest call, then percentiles without and with a competitor."""
    with host() as runtime:
        yield empty(runtime, options)
        yield from stalls(runtime, options)


if __name__ == "__main__":
    main(__doc__ or "", cases)
