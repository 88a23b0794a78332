"""The shape of stories110M (llama2.c) for Milane, PyTorch and ONNX, over the same random weights.

dim 768, hidden 2048, 12 heads of 64, 12 layers, 32 000 words, embedding and classifier tied. Rotary
pairs are neighbours (interleaved). Milane's activations are [1, C, 1, S]; the peers' are [S, C] and
[heads, S, D], which suit them best. Every peer multiplies q, k and v at once, and w1 and w3 at once
where that was faster for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from peers import OnnxGraph

from milane.blob import tables
from milane.graph import Graph, ops
from milane.graph.tensor import Tensor
from milane.mil import _parts as parts
from milane.mil._attention import Rotation, heads_of

Array = npt.NDArray[Any]

DIM, HIDDEN, HEADS, LAYERS, VOCAB, SEQ = 768, 2048, 12, 12, 32000, 256
SIZE = DIM // HEADS
EPS = 1e-5

LAYER_PARAMETERS = 4 * DIM * DIM + 3 * DIM * HIDDEN


def attention_flops(seq: int, *, causal: bool = True) -> float:
    """Of scores and their product with v; of a causal one half of each, diagonal included."""
    pairs = seq * (seq + 1) / 2 if causal else seq * seq
    return 4.0 * pairs * DIM


def forward_flops(seq: int, layers: int = LAYERS) -> float:
    """Of the matrix products of a forward pass with all logits."""
    stored = 2.0 * seq * (layers * LAYER_PARAMETERS + VOCAB * DIM)
    return stored + layers * attention_flops(seq)


@dataclass
class Layer:
    """fp16 weights: matrices [out, in], norms [C]."""

    rms_att: Array
    wq: Array
    wk: Array
    wv: Array
    wo: Array
    rms_ffn: Array
    w1: Array
    w3: Array
    w2: Array


@dataclass
class Weights:
    """Of a model."""

    layers: list[Layer]
    embed: Array
    rms_final: Array


def random_weights(layers: int = LAYERS, seed: int = 0, vocab: int = VOCAB) -> Weights:
    """Matrices of N(0, 1 / in): outputs as large as inputs, as in a trained model."""
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> Array:
        values = rng.standard_normal((rows, columns), np.float32) * columns**-0.5
        return np.asarray(values.astype(np.float16))

    def norm() -> Array:
        return (1 + 0.1 * rng.standard_normal(DIM)).astype(np.float16)

    def layer() -> Layer:
        square = [matrix(DIM, DIM) for _ in range(4)]
        wide = [matrix(HIDDEN, DIM), matrix(HIDDEN, DIM), matrix(DIM, HIDDEN)]
        wq, wk, wv, wo = square
        w1, w3, w2 = wide
        return Layer(norm(), wq, wk, wv, wo, norm(), w1, w3, w2)

    return Weights([layer() for _ in range(layers)], matrix(vocab, DIM), norm())


# Milane


class Milane:
    """The parts as a graph; one instance for one graph, as constants are shared by it."""

    def __init__(self, graph: Graph, seq: int) -> None:
        self.graph, self.seq = graph, seq
        self.heads = heads_of("llama", DIM, HEADS, seq)
        self.rotation = Rotation(graph, self.heads, "interleaved", 10000.0)
        self.mask = parts.causal_mask(graph, seq)
        self._count = 0

    def weight(self, data: Array) -> Tensor:
        """A stored matrix [out, in, 1, 1], or a norm's [1, C, 1, 1]."""
        self._count += 1
        shape = (*data.shape, 1, 1) if data.ndim == 2 else (1, data.size, 1, 1)
        return self.graph.weight(f"weight{self._count}", shape, data=data.reshape(shape))

    def norm(self, x: Tensor, weight: Array) -> Tensor:
        """RMSNorm over the channels: the operations of milane.mil's generators."""
        total = ops.reduce_sum(ops.mul(x, x), axes=[1], keep_dims=True)
        mean = ops.add(ops.mul(total, 1.0 / DIM), EPS)
        return ops.mul(ops.mul(x, ops.pow(mean, -0.5)), self.weight(weight))

    def linear(self, x: Tensor, weight: Array) -> Tensor:
        """A convolution of one pixel."""
        return ops.conv(x, self.weight(weight))

    def attention_block(self, x: Tensor, w: Layer) -> Tensor:
        """x + wo · attention(norm(x))."""
        y = self.norm(x, w.rms_att)
        q, k, v = (self.linear(y, m) for m in (w.wq, w.wk, w.wv))
        number = self._count
        q = self.rotation.forward(q, f"q{number}")
        k = self.rotation.forward(k, f"k{number}")
        q, k, v = (parts.split_heads(t, HEADS) for t in (q, k, v))
        scores = ops.mul(ops.matmul(q, k, transpose_y=True), self.heads.scale)
        probs = ops.softmax(ops.add(scores, self.mask), axis=-1)
        return ops.add(x, self.linear(parts.merge_heads(ops.matmul(probs, v)), w.wo))

    def ffn_block(self, x: Tensor, w: Layer) -> Tensor:
        """x + w2 · (silu(w1 · n) × (w3 · n)), n the norm of x."""
        y = self.norm(x, w.rms_ffn)
        gate = ops.mul(ops.silu(self.linear(y, w.w1)), self.linear(y, w.w3))
        return ops.add(x, self.linear(gate, w.w2))


def milane_forward(weights: Weights, seq: int) -> Graph:
    """tokens int32 [1, S] to logits [1, V, 1, S]."""
    graph = Graph()
    made = Milane(graph, seq)
    tokens = graph.input("tokens", (1, seq), "int32")
    table = graph.weight("table", weights.embed.shape, data=weights.embed)
    rows = ops.reshape(ops.gather(table, tokens, axis=0), [1, 1, seq, DIM])
    x = ops.transpose(rows, [0, 3, 1, 2])
    for layer in weights.layers:
        x = made.ffn_block(made.attention_block(x, layer), layer)
    x = made.norm(x, weights.rms_final)
    graph.output("logits", made.linear(x, weights.embed))
    return graph


# PyTorch


class Torch:
    """The parts as functions of tensors [S, C]."""

    def __init__(self, torch: Any, dtype: Any, seq: int) -> None:
        self.torch, self.dtype, self.seq = torch, dtype, seq
        self.f = torch.nn.functional
        cos, sin = rope(seq)
        self.cos, self.sin = self.tensor(cos), self.tensor(sin)

    def tensor(self, *arrays: Array) -> Any:
        """The arrays, below each other."""
        return self.torch.tensor(np.concatenate(arrays)).to(self.dtype)

    def layer(self, w: Layer) -> dict[str, Any]:
        """A layer's weights."""
        return {
            "qkv": self.tensor(w.wq, w.wk, w.wv),
            "wo": self.tensor(w.wo),
            "w13": self.tensor(w.w1, w.w3),
            "w2": self.tensor(w.w2),
            "att": self.tensor(w.rms_att),
            "ffn": self.tensor(w.rms_ffn),
        }

    def norm(self, x: Any, weight: Any) -> Any:
        """RMSNorm."""
        return self.f.rms_norm(x, (DIM,), weight, EPS)

    def turned(self, x: Any) -> Any:
        """Rotary positions of [H, S, D]."""
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        cos, sin = self.cos, self.sin
        pairs = (even * cos - odd * sin, even * sin + odd * cos)
        return self.torch.stack(pairs, -1).flatten(-2)

    def attention_block(self, x: Any, w: dict[str, Any]) -> Any:
        """x + wo · attention(norm(x))."""
        qkv = self.f.linear(self.norm(x, w["att"]), w["qkv"])
        q, k, v = qkv.view(self.seq, 3, HEADS, SIZE).permute(1, 2, 0, 3)
        y = self.f.scaled_dot_product_attention(
            self.turned(q)[None], self.turned(k)[None], v[None], is_causal=True
        )
        return x + self.f.linear(y[0].transpose(0, 1).reshape(self.seq, DIM), w["wo"])

    def ffn_block(self, x: Any, w: dict[str, Any]) -> Any:
        """x + w2 · (silu(w1 · n) × (w3 · n))."""
        gate, up = self.f.linear(self.norm(x, w["ffn"]), w["w13"]).chunk(2, -1)
        return x + self.f.linear(self.f.silu(gate) * up, w["w2"])


def rope(seq: int) -> tuple[Array, Array]:
    """Cosines and sines [S, D / 2]."""
    cos, sin = tables.rope_tables(seq, SIZE, 10000.0, pairing="interleaved")
    return tuple(t.reshape(seq, SIZE)[:, ::2].astype(np.float32) for t in (cos, sin))  # type: ignore[return-value]


# ONNX


class Onnx:
    """The parts as operations of a graph over [S, C], as a conversion tool writes them."""

    def __init__(self, graph: OnnxGraph, seq: int) -> None:
        self.g, self.seq = graph, seq
        cos, sin = rope(seq)
        self.cos, self.sin = (
            graph.floats(cos[None, :, :, None]),
            graph.floats(sin[None, :, :, None]),
        )
        later = np.triu(np.ones((seq, seq), bool), 1)
        self.mask = graph.floats(np.where(later, -40000.0, 0.0))
        self.scale = graph.floats(SIZE**-0.5)
        self.eps, self.two = graph.floats(EPS), graph.floats(2.0)

    def linear(self, x: str, *weights: Array) -> str:
        """A product with constant matrices beside each other."""
        return self.g.op("MatMul", x, self.g.floats(np.concatenate(weights).T))

    def norm(self, x: str, weight: Array) -> str:
        """RMSNorm, in the form that ONNX Runtime knows and fuses."""
        g = self.g
        squares = g.op("Pow", x, self.two)
        mean = g.op("ReduceMean", squares, g.constant(np.array([-1])), keepdims=1)
        root = g.op("Sqrt", g.op("Add", mean, self.eps))
        return g.op("Mul", g.op("Div", x, root), g.floats(weight))

    def turned(self, x: str) -> str:
        """Rotary positions of [H, S, D]."""
        g = self.g
        pairs = g.op("Reshape", x, g.constant(np.array([HEADS, self.seq, SIZE // 2, 2])))
        even, odd = g.ops("Split", 2, pairs, axis=-1, num_outputs=2)
        first = g.op("Sub", g.op("Mul", even, self.cos), g.op("Mul", odd, self.sin))
        second = g.op("Add", g.op("Mul", even, self.sin), g.op("Mul", odd, self.cos))
        both = g.op("Concat", first, second, axis=-1)
        return g.op("Reshape", both, g.constant(np.array([HEADS, self.seq, SIZE])))

    def attention(self, q: str, k: str, v: str) -> str:
        """Of [H, S, D], causal."""
        g = self.g
        scaled = g.op("Mul", q, self.scale)
        scores = g.op("MatMul", scaled, g.op("Transpose", k, perm=[0, 2, 1]))
        probs = g.op("Softmax", g.op("Add", scores, self.mask), axis=-1)
        return g.op("MatMul", probs, v)

    def attention_block(self, x: str, w: Layer) -> str:
        """x + wo · attention(norm(x))."""
        g = self.g
        qkv = self.linear(self.norm(x, w.rms_att), w.wq, w.wk, w.wv)
        shape = g.constant(np.array([self.seq, HEADS, SIZE]))
        parts_ = g.ops("Split", 3, qkv, axis=-1, num_outputs=3)
        q, k, v = (
            g.op("Transpose", g.op("Reshape", part, shape), perm=[1, 0, 2]) for part in parts_
        )
        y = g.op("Transpose", self.attention(self.turned(q), self.turned(k), v), perm=[1, 0, 2])
        flat = g.op("Reshape", y, g.constant(np.array([self.seq, DIM])))
        return g.op("Add", x, self.linear(flat, w.wo))

    def ffn_block(self, x: str, w: Any) -> str:
        """x + w2 · (silu(w1 · n) × (w3 · n)); w is a Layer, or one of milane.train."""
        g = self.g
        y = self.norm(x, w.rms_ffn)
        gate, up = self.linear(y, w.w1), self.linear(y, w.w3)
        silu = g.op("Mul", gate, g.op("Sigmoid", gate))
        return g.op("Add", x, self.linear(g.op("Mul", silu, up), w.w2))


# Witness: NumPy, float32


class NumPy:
    """The parts in float32 over the fp16 weights: what every result is compared with."""

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.cos, self.sin = rope(seq)

    def norm(self, x: Array, weight: Array) -> Array:
        """RMSNorm."""
        mean = (x * x).mean(-1, keepdims=True)
        return np.asarray(x / np.sqrt(mean + EPS) * weight.astype(np.float32))

    def turned(self, x: Array) -> Array:
        """Rotary positions of [H, S, D]."""
        y = np.empty_like(x)
        even, odd = x[..., ::2], x[..., 1::2]
        y[..., ::2] = even * self.cos - odd * self.sin
        y[..., 1::2] = even * self.sin + odd * self.cos
        return y

    def attention(self, q: Array, k: Array, v: Array) -> Array:
        """Of [H, S, D], causal."""
        scores = q @ k.transpose(0, 2, 1) * np.float32(SIZE**-0.5)
        scores[:, np.triu(np.ones((self.seq, self.seq), bool), 1)] = -np.inf
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        return np.asarray(scores / scores.sum(-1, keepdims=True) @ v)

    def attention_block(self, x: Array, w: Layer) -> Array:
        """x + wo · attention(norm(x))."""
        y = self.norm(x, w.rms_att)
        q, k, v = (
            (y @ m.T.astype(np.float32)).reshape(self.seq, HEADS, SIZE).transpose(1, 0, 2)
            for m in (w.wq, w.wk, w.wv)
        )
        y = self.attention(self.turned(q), self.turned(k), v)
        return np.asarray(
            x + y.transpose(1, 0, 2).reshape(self.seq, DIM) @ w.wo.T.astype(np.float32)
        )

    def ffn_block(self, x: Array, w: Layer) -> Array:
        """x + w2 · (silu(w1 · n) × (w3 · n))."""
        y = self.norm(x, w.rms_ffn)
        gate, up = (y @ m.T.astype(np.float32) for m in (w.w1, w.w3))
        return np.asarray(x + (gate / (1 + np.exp(-gate)) * up) @ w.w2.T.astype(np.float32))

    def forward(self, weights: Weights, tokens: Array) -> Array:
        """Logits [S, V]."""
        x = weights.embed[tokens].astype(np.float32)
        for layer in weights.layers:
            x = self.ffn_block(self.attention_block(x, layer), layer)
        x = self.norm(x, weights.rms_final)
        return np.asarray(x @ weights.embed.T.astype(np.float32))
