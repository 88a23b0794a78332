"""numerics="bf16" on a whole transformer, beside PyTorch's products of the same rounded operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from milane import Graph
from milane.graph import ops
from milane.graph.tensor import Tensor
from reference.evaluate import Rounding
from tolerance import rounding_tolerance

Array = NDArray[Any]

DIM, HEADS, HIDDEN, SEQ, LAYERS = 64, 4, 96, 24, 2
SIZE = DIM // HEADS


def halves(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float16)


def evaluate(graph: Graph, x: Array, numerics: str, *, fuse: bool = True) -> Array:
    with milane.open("host") as runtime:
        kernel = graph.compile(runtime, numerics=numerics, fuse=fuse)
        return np.array(kernel(x=x)["y"])


def _matrices() -> list[dict[str, Array]]:
    sizes = {"q": (DIM, DIM), "k": (DIM, DIM), "v": (DIM, DIM), "o": (DIM, DIM)}
    sizes |= {"gate": (HIDDEN, DIM), "up": (HIDDEN, DIM), "down": (DIM, HIDDEN)}
    return [
        {
            n: halves(*s, seed=10 * i + j, scale=s[1] ** -0.5)
            for j, (n, s) in enumerate(sizes.items())
        }
        for i in range(LAYERS)
    ]


def _transformer(layers: list[dict[str, Array]], *, causal: Array) -> Graph:
    """[1, DIM, 1, SEQ] to the same; projections of attention as convolutions, the rest linear."""
    graph = Graph()
    x = graph.input("x", (1, DIM, 1, SEQ))
    mask = graph.weight("mask", causal.shape, data=causal)

    def weight(i: int, name: str) -> Tensor:
        return graph.weight(f"{name}{i}", layers[i][name].shape, data=layers[i][name])

    def norm(t: Tensor, axis: int) -> Tensor:
        mean = ops.reduce_mean(ops.mul(t, t), axes=[axis], keep_dims=True)
        return ops.mul(t, ops.pow(ops.add(mean, 1e-3), -0.5))

    def project(t: Tensor, i: int, name: str) -> Tensor:
        matrix = layers[i][name][:, :, None, None]
        return ops.conv(t, graph.weight(f"{name}{i}", matrix.shape, data=matrix))

    def heads(t: Tensor) -> Tensor:
        return ops.transpose(ops.reshape(t, [1, HEADS, SIZE, SEQ]), [0, 1, 3, 2])

    for i in range(LAYERS):
        y = norm(x, 1)
        q, k, v = (heads(project(y, i, n)) for n in "qkv")
        scores = ops.mul(ops.matmul(q, k, transpose_y=True), SIZE**-0.5)
        mixed = ops.matmul(ops.softmax(ops.add(scores, mask), axis=-1), v)
        mixed = ops.reshape(ops.transpose(mixed, [0, 1, 3, 2]), [1, DIM, 1, SEQ])
        x = ops.add(x, project(mixed, i, "o"))
        rows = ops.transpose(ops.reshape(x, [DIM, SEQ]), [1, 0])
        y = norm(rows, 1)
        gate = ops.silu(ops.linear(y, weight(i, "gate")))
        inner = ops.mul(gate, ops.linear(y, weight(i, "up")))
        rows = ops.add(rows, ops.linear(inner, weight(i, "down")))
        x = ops.reshape(ops.transpose(rows, [1, 0]), [1, DIM, 1, SEQ])
    graph.output("y", x)
    return graph


def _in_pytorch(
    torch: Any, layers: list[dict[str, Array]], x: Array, rounding: Rounding | None, *, coarse: bool
) -> Array:
    """The same in float64, rounded where the engine rounds; x and the result are [SEQ, DIM]."""
    f = torch.nn.functional

    def rounded(t: Any, dtype: str = "fp16") -> Any:
        return t if rounding is None else torch.from_numpy(rounding(dtype, t.numpy()))

    def linear(t: Any, w: Array) -> Any:
        w64 = torch.from_numpy(w.astype(np.float64))
        if coarse:
            t, w64 = rounded(t, "bf16"), rounded(w64, "bf16")
        return rounded(f.linear(t, w64))

    def norm(t: Any) -> Any:
        mean = rounded(rounded(t * t).mean(1, keepdim=True))
        return rounded(t * rounded(rounded(mean + 1e-3) ** -0.5))

    t = torch.from_numpy(x.astype(np.float64))
    for w in layers:
        y = norm(t)
        q, k, v = (linear(y, w[n]).view(SEQ, HEADS, SIZE).transpose(0, 1) for n in "qkv")
        scores = rounded(rounded(q @ k.transpose(1, 2)) * SIZE**-0.5)
        scores = scores.masked_fill(torch.ones(SEQ, SEQ, dtype=torch.bool).triu(1), -np.inf)
        mixed = rounded(rounded(scores.softmax(-1)) @ v)
        t = rounded(t + linear(mixed.transpose(0, 1).reshape(SEQ, DIM), w["o"]))
        y = norm(t)
        inner = rounded(rounded(f.silu(linear(y, w["gate"]))) * linear(y, w["up"]))
        t = rounded(t + linear(inner, w["down"]))
    return np.asarray(t.numpy())


@pytest.mark.skipif(not milane.cpu_has_bf16(), reason="no AVX512-BF16, or MILANE_ISA forbids it")
def test_a_transformer_is_what_pytorch_computes_with_rounded_operands() -> None:
    torch = pytest.importorskip("torch")
    layers, x = _matrices(), halves(SEQ, DIM, seed=3)
    mask = np.triu(np.full((SEQ, SEQ), -40000, np.float16), 1)
    graph = _transformer(layers, causal=mask)
    fed = np.ascontiguousarray(x.T)[None, :, None]
    off = {}
    for numerics, coarse in (("fp16", False), ("bf16", True)):
        truth, limits = rounding_tolerance(
            lambda rounding, coarse=coarse: {
                "y": _in_pytorch(torch, layers, x, rounding, coarse=coarse)
            }
        )
        got = evaluate(graph, fed, numerics)
        np.testing.assert_array_equal(evaluate(graph, fed, numerics, fuse=False), got)
        off[numerics] = np.abs(got[0, :, 0].T.astype(np.float64) - truth["y"])
        assert np.all(off[numerics] <= limits["y"]), np.max(off[numerics] / limits["y"])
    # The price of the mode, which is why it is asked for: 8 bits instead of 11.
    assert 2 < np.linalg.norm(off["bf16"]) / np.linalg.norm(off["fp16"]) < 16
