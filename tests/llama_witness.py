"""A llama-type model in NumPy: what generation is held against.

It follows the published formulas (llama2.c's run.c) over whole sequences, without a cache, and
takes the weights as they stand in llama2.c's files. A rounding, as tests/tolerance.py has them, is
applied to the weights and to every intermediate result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from milane.train.weights import ModelWeights
from reference.evaluate import Rounding
from tolerance import rounding_tolerance

Array = NDArray[np.floating]


def logits(
    weights: ModelWeights,
    tokens: Sequence[int],
    rounding: Rounding | None = None,
    dtype: type[np.floating] = np.float64,
) -> Array:
    """The logits behind every token, [tokens, vocab_size]."""
    c, n = weights.config, len(tokens)

    def r(array: Array) -> Array:
        return array if rounding is None else rounding("fp16", array)

    def w(array: Array) -> Array:
        return r(array.astype(dtype))

    angle = np.arange(n)[:, None] * c.rope_theta ** (-np.arange(0, c.head_dim, 2) / c.head_dim)
    cos, sin = r(np.cos(angle).astype(dtype)), r(np.sin(angle).astype(dtype))

    def turned(x: Array) -> Array:  # [n, heads, D], pairs (2i, 2i + 1)
        a, b = x[..., 0::2], x[..., 1::2]
        first = r(r(a * cos[:, None]) - r(b * sin[:, None]))
        second = r(r(a * sin[:, None]) + r(b * cos[:, None]))
        return np.stack([first, second], -1).reshape(x.shape)

    def norm(x: Array, scale: Array) -> Array:
        largest = np.abs(x).max(1, keepdims=True)
        small = r(x / largest)
        mean = r(r(small * small).mean(1, keepdims=True))
        total = r(mean + r(r(np.sqrt(dtype(c.norm_eps)) / largest) ** 2))
        return r(r(small * r(total**-0.5)) * w(scale))

    x = r(weights.embed[list(tokens)].astype(dtype))
    hidden = np.triu(np.ones((n, n), bool), 1)
    group = c.n_heads // c.n_kv_heads
    for layer in weights.layers:
        xb = norm(x, layer.rms_att)
        q = r(xb @ w(layer.wq * np.float32(c.head_dim**-0.5)).T)
        q = turned(q.reshape(n, c.n_heads, -1))
        k = turned(r(xb @ w(layer.wk).T).reshape(n, c.n_kv_heads, -1)).repeat(group, 1)
        v = r(xb @ w(layer.wv).T).reshape(n, c.n_kv_heads, -1).repeat(group, 1)
        q, k, v = (a.swapaxes(0, 1) for a in (q, k, v))  # [heads, n, D]
        scores = r(q @ k.swapaxes(1, 2))
        scores[:, hidden] = -np.inf
        probs = np.exp(scores - scores.max(-1, keepdims=True))
        probs = r(probs / probs.sum(-1, keepdims=True))
        # What the cache gives and what the new row gives, each rounded.
        own = np.eye(n, dtype=bool)
        old, new = r(np.where(own, 0, probs) @ v), r(np.where(own, probs, 0) @ v)
        attn = r(old + new).swapaxes(0, 1).reshape(n, -1)
        x = r(x + r(attn @ w(layer.wo).T))
        xb = norm(x, layer.rms_ffn)
        gate = r(xb @ w(layer.w1).T)
        gate = r(gate / (1 + np.exp(-gate)))
        x = r(x + r(r(gate * r(xb @ w(layer.w3).T)) @ w(layer.w2).T))
    return r(norm(x, weights.rms_final) @ w(weights.output_table).T)


def bounded(weights: ModelWeights, tokens: Sequence[int]) -> tuple[Array, Array]:
    """The logits in float64, and how far an evaluation in fp16 may be from each."""
    run: Callable[[Rounding | None], dict[str, Array]] = lambda rounding: {  # noqa: E731
        "logits": logits(weights, tokens, rounding)
    }
    truth, limits = rounding_tolerance(run)
    return truth["logits"], limits["logits"]
