"""The programs that generation runs: some positions of some sequences, behind what a cache holds.

One program serves every length. The cache is an input that the caller appends to: the program
attends to all ``max_len`` rows of it, those that are not filled yet behind a mask, and to its own
new rows, which it returns. Neither states nor updates by index are used, which the device refuses
(ane_facts D 48, and docs/ane-limits.md), and no row of the cache is written twice.

With ``B`` sequences, ``S`` new positions of each, ``T`` = max_len, heads of ``D`` channels:

* ``hidden`` ``[1, dim, 1, B · S]``: token embeddings, or the hidden states that the program of the
  layers before returned as ``hidden_out``; column ``b · S + s``.
* ``cache_k_NNN``, ``cache_v_NNN`` ``[B, n_kv_heads, T, D]``, one pair for each layer.
* ``mask`` ``[B, 1, 1, T]``: 0 where the cache is filled, -40000 elsewhere.
* ``rope_cos``, ``rope_sin`` ``[1, 1, D / 2, B · S]``: of each column's position.
* ``new_rows`` ``[B, 2 · layers · n_kv_heads, S, D]``: keys of all layers, then values.
* ``logits_NNN`` ``[1, 1, B, rows]``, in pieces of at most 16384 tokens: every chip takes them
  (D 52).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from milane.graph import ops
from milane.graph.graph import Dialect, Graph
from milane.graph.tensor import Tensor
from milane.mil._parts import MASKED, conv1x1, number, split_channels
from milane.mil.program import DEFAULT_WEIGHT_PATH, MILProgram
from milane.train.config import ModelConfig
from milane.train.weights import Floats, ModelWeights

Array = npt.NDArray[np.generic]


def in_halves(weight: Floats, heads: int) -> Floats:
    """Rows of wq or wk in another order: pairs (2i, 2i + 1) of a head become (i, i + D / 2).

    Shapes: ``[heads · D, dim]``. A score does not depend on the order, as long as queries and keys
    have the same; Hugging Face's Llama files have this one, llama2.c's the other.
    """
    rows, dim = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, dim)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows, dim)


def in_pairs(weight: Floats, heads: int) -> Floats:
    """The inverse of :func:`in_halves`."""
    rows, dim = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, dim)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows, dim)


@dataclass(frozen=True)
class StepShape:
    """What one program of a step does.

    Attributes:
        config: the model's sizes.
        layers: the blocks it runs.
        batch: sequences, B.
        positions: new positions of each, S.
        max_len: rows of the cache, T.
        logits: whether it ends with the classifier. If not, and the last block is among its own,
            it ends with that block's keys and values, for nothing else is needed of a prompt.
        classifier_rows: tokens in one piece of the logits.
    """

    config: ModelConfig
    layers: range
    batch: int
    positions: int
    max_len: int
    logits: bool
    classifier_rows: int = 16384

    @property
    def columns(self) -> int:
        """Columns of the activations, B · S."""
        return self.batch * self.positions

    @property
    def is_last(self) -> bool:
        """Whether the model's last block is among its own."""
        return self.layers.stop == self.config.n_layers

    @property
    def pieces(self) -> list[range]:
        """The tokens of each piece of the logits."""
        vocab, rows = self.config.vocab_size, self.classifier_rows
        return [range(at, min(at + rows, vocab)) for at in range(0, vocab, rows)]

    def whole(self, layer: int) -> bool:
        """Whether all of a block is computed, not its keys and values alone."""
        return self.logits or layer < self.config.n_layers - 1


def program(shape: StepShape, *, dialect: Dialect = "ios18") -> MILProgram:
    """The program; :func:`program_weights` gives the arrays of its weights.

    Norms divide by the largest channel first, so that no square overflows.
    """
    return _Step(shape, dialect).build()


def program_weights(shape: StepShape, weights: ModelWeights) -> dict[str, Array]:
    """The arrays of the program's weights, by name.

    wq, wk and wv are one matrix, and so are w1 and w3; wq also holds the factor ``D^-1/2``, and the
    rows of wq and wk are in halves.
    """
    return dict(_program_weights(shape, weights))


def _program_weights(shape: StepShape, weights: ModelWeights) -> Iterator[tuple[str, Array]]:
    config = shape.config
    if shape.positions > 1:
        above = np.triu(np.full((shape.positions,) * 2, MASKED, np.float32), 1)
        yield "causal", np.tile(above, (config.n_heads // config.n_kv_heads, 1))
    for i in shape.layers:
        layer, at = weights.layers[i], f"layer_{i:03}"
        scale = np.float32(config.head_dim**-0.5)
        q, k = in_halves(layer.wq * scale, config.n_heads), in_halves(layer.wk, config.n_kv_heads)
        yield f"{at}_rms_att", layer.rms_att
        yield f"{at}_wqkv", np.concatenate([q, k, layer.wv])
        if shape.whole(i):
            yield f"{at}_wo", layer.wo
            yield f"{at}_rms_ffn", layer.rms_ffn
            yield f"{at}_w13", np.concatenate([layer.w1, layer.w3])
            yield f"{at}_w2", layer.w2
    if shape.logits and shape.is_last:
        yield "rms_final", weights.rms_final
        for n, piece in enumerate(shape.pieces):
            yield f"classifier_{n:03}", weights.output_table[piece.start : piece.stop]


class _Step:
    """A program in the making."""

    def __init__(self, shape: StepShape, dialect: Dialect) -> None:
        self.shape, self.config = shape, shape.config
        self.graph = Graph(dialect=dialect)
        c, s = shape.config, shape
        cache = (s.batch, c.n_kv_heads, s.max_len, c.head_dim)
        # In the byte order of their names, in which the device numbers them.
        self.cache = {
            f"{kind}_{i:03}": self.graph.input(f"cache_{kind}_{i:03}", cache)
            for kind in "kv"
            for i in s.layers
        }
        self.hidden = self.graph.input("hidden", (1, c.dim, 1, s.columns))
        self.mask = self.graph.input("mask", (s.batch, 1, 1, s.max_len))
        table = (1, 1, c.head_dim // 2, s.columns)
        self.cos = self.graph.input("rope_cos", table)
        self.sin = self.graph.input("rope_sin", table)
        self.causal = None
        if s.positions > 1:
            group = c.n_heads // c.n_kv_heads
            self.causal = self.weight("causal", 1, 1, group * s.positions, s.positions)

    def weight(self, name: str, *shape: int) -> Tensor:
        return self.graph.weight(name, shape, path=DEFAULT_WEIGHT_PATH)

    def matrix(self, x: Tensor, name: str, rows: int, result: str) -> Tensor:
        return conv1x1(x, self.weight(name, rows, x.shape[1], 1, 1), result)

    def build(self) -> MILProgram:
        x, keys, values = self.hidden, [], []
        for i in self.shape.layers:
            x, key, value = self.block(x, i)
            keys.append(key)
            values.append(value)
        outputs = {}
        if self.shape.logits and self.shape.is_last:
            outputs = self.classifier(x)
        elif not self.shape.is_last:
            outputs = {"hidden_out": x}
        outputs["new_rows"] = ops.concat([*keys, *values], axis=1, name="rows")
        return self.graph.program(outputs)

    def block(self, x: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """What leaves a block, and its new keys and values ``[B, n_kv_heads, S, D]``."""
        c, at = self.config, f"layer_{i:03}"
        xnorm = self.norm(x, f"{at}_rms_att")
        total = c.q_dim + 2 * c.kv_dim
        packed = self.matrix(xnorm, f"{at}_wqkv", total, f"{at}_qkv")
        names = {f"{at}_qk": c.q_dim + c.kv_dim, f"{at}_v": c.kv_dim}
        qk, v = split_channels(packed, **names)
        turned = self.rotated(qk, at)
        rows = [1, c.n_heads, c.head_dim, self.shape.columns]
        query = ops.slice_by_size(turned, [0] * 4, rows, name=f"{at}_q")
        rows[1] = c.n_kv_heads
        key = ops.slice_by_size(turned, [0, c.n_heads, 0, 0], rows, name=f"{at}_k")
        key, value = self.in_rows(key, c.n_kv_heads), self.in_rows(v, c.n_kv_heads)
        if self.shape.whole(i):
            attn = self.attention(self.in_rows(query, c.n_heads), key, value, i)
            x = ops.add(x, self.matrix(attn, f"{at}_wo", c.dim, f"{at}_o"), name=f"{at}_x2")
            x = ops.add(x, self.feed_forward(x, at), name=f"{at}_x")
        return x, key, value

    def feed_forward(self, x: Tensor, at: str) -> Tensor:
        hidden = self.config.hidden_dim
        both = self.matrix(self.norm(x, f"{at}_rms_ffn"), f"{at}_w13", 2 * hidden, f"{at}_h")
        gate, up = split_channels(both, **{f"{at}_h1": hidden, f"{at}_h3": hidden})
        gated = ops.mul(ops.silu(gate, name=f"{at}_silu"), up, name=f"{at}_gated")
        return self.matrix(gated, f"{at}_w2", self.config.dim, f"{at}_ffn")

    def rotated(self, x: Tensor, at: str) -> Tensor:
        """``[1, n · D, 1, B · S]`` as ``[1, n, D, B · S]``, every pair turned by its angle."""
        half = self.config.head_dim // 2
        count = x.shape[1] // (2 * half)
        heads = ops.reshape(x, [1, count, 2 * half, self.shape.columns])
        size = [1, count, half, self.shape.columns]
        first = ops.slice_by_size(heads, [0, 0, 0, 0], size)
        second = ops.slice_by_size(heads, [0, 0, half, 0], size)
        turned = [first * self.cos - second * self.sin, second * self.cos + first * self.sin]
        return ops.concat(turned, axis=2, name=f"{at}_turned")

    def in_rows(self, x: Tensor, heads: int) -> Tensor:
        """``[1, heads, D, B · S]``, or all in channels, as ``[B, heads, S, D]``."""
        s, size = self.shape, self.config.head_dim
        return ops.transpose(ops.reshape(x, [heads, size, s.batch, s.positions]), [2, 0, 3, 1])

    def attention(self, query: Tensor, key: Tensor, value: Tensor, i: int) -> Tensor:
        """Over the cache and the new rows, ``[1, n_heads · D, 1, B · S]``."""
        c, s = self.config, self.shape
        group = c.n_heads // c.n_kv_heads
        # Query heads of one group stand beside each other: one product serves all of them.
        query = ops.reshape(query, [s.batch, c.n_kv_heads, group * s.positions, c.head_dim])
        old = ops.matmul(query, self.cache[f"k_{i:03}"], transpose_y=True) + self.mask
        new = ops.matmul(query, key, transpose_y=True)
        if self.causal is not None:
            new = new + self.causal
        probs = ops.softmax(ops.concat([old, new], axis=3), axis=-1)
        size = [s.batch, c.n_kv_heads, group * s.positions]
        old = ops.slice_by_size(probs, [0, 0, 0, 0], [*size, s.max_len])
        new = ops.slice_by_size(probs, [0, 0, 0, s.max_len], [*size, s.positions])
        found = ops.matmul(old, self.cache[f"v_{i:03}"]) + ops.matmul(new, value)
        heads = ops.reshape(found, [s.batch, c.n_heads, s.positions, c.head_dim])
        columns = ops.transpose(heads, [1, 3, 0, 2])
        return ops.reshape(columns, [1, c.q_dim, 1, s.columns], name=f"layer_{i:03}_attn")

    def norm(self, x: Tensor, weight: str) -> Tensor:
        """``x · (mean(x²) + eps)^-1/2 · weight``, with x divided by its largest channel first.

        ``pow`` stands for ``rsqrt`` and ``mul`` for ``square``, which some systems refuse next to a
        reduction (ane_facts D 42, D 43).
        """
        root = float(self.config.norm_eps**0.5)
        size = ops.reduce_max(ops.abs(x), axes=[1], keep_dims=True)
        largest = ops.maximum(size, root / 16)  # so that eps / largest² stays below 256
        small = ops.real_div(x, largest)
        mean = ops.reduce_mean(ops.mul(small, small), axes=[1], keep_dims=True)
        eps = ops.real_div(number(x, root, "root_eps"), largest)
        inverse = ops.pow(mean + eps * eps, number(x, -0.5, "minus_half"))
        return small * inverse * self.weight(weight, 1, x.shape[1], 1, 1)

    def classifier(self, x: Tensor) -> dict[str, Tensor]:
        """The logits of one position of each sequence, in pieces."""
        xnorm = self.norm(x, "rms_final")
        outputs = {}
        for n, piece in enumerate(self.shape.pieces):
            product = self.matrix(xnorm, f"classifier_{n:03}", len(piece), f"scores_{n:03}")
            outputs[f"logits_{n:03}"] = ops.transpose(product, [0, 2, 3, 1])
        return outputs
