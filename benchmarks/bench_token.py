"""How long does one token at position 127 take, and how near is that to reading the weights once?

The shape of stories110M, its cache full but for the one position. PyTorch has the static cache of
`bench_decode.py`, of just these 128 positions; ONNX Runtime takes the past as an input and appends.
The limit is the fp16 weights' bytes over the read bandwidth of the same rounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import llama
import numpy as np
from bench_decode import TorchDecoder
from measure import COARSE, HALF, Case, Options, Variant, main
from peers import (
    Array,
    Held,
    OnnxGraph,
    host,
    ort_variants,
    torch_missing,
    torch_on,
)

from milane.train import Decoder, ModelConfig, ModelWeights

POSITIONS = 128  # the token asked for is the last of them
# Roundings of a block, twice a layer; errors of layers add up as their squares.
ROUNDINGS = 16.0


def onnx_step(g: OnnxGraph, weights: ModelWeights, cache: list[tuple[Array, Array]], token: int):  # type: ignore[no-untyped-def]
    """One position behind a cache that is an input."""
    config = weights.config
    heads, size, past = config.n_heads, config.head_dim, POSITIONS - 1
    made = llama.Onnx(g, 1)
    cos, sin = llama.rope(POSITIONS)
    made.cos, made.sin = (g.floats(t[-1].reshape(1, 1, -1, 1)) for t in (cos, sin))
    x = g.op("Gather", g.floats(weights.embed), g.input("token", (1,), np.int64), axis=0)
    inputs: dict[str, Array] = {"token": np.array([token])}
    news: list[str] = []
    shape = g.constant(np.array([heads, 1, size]))
    for i, w in enumerate(weights.layers):
        y = made.norm(x, w.rms_att)
        parts = g.ops("Split", 3, made.linear(y, w.wq, w.wk, w.wv), axis=-1, num_outputs=3)
        q, k, v = (g.op("Reshape", part, shape) for part in parts)
        q, k = made.turned(q), made.turned(k)
        news += [k, v]
        both = []
        for name, new, old in zip("kv", (k, v), cache[i], strict=True):
            inputs[f"{name}{i}"] = old.astype(g.dtype)
            both.append(g.op("Concat", g.input(f"{name}{i}", (heads, past, size)), new, axis=1))
        scores = g.op(
            "MatMul", g.op("Mul", q, made.scale), g.op("Transpose", both[0], perm=[0, 2, 1])
        )
        y = g.op("MatMul", g.op("Softmax", scores, axis=-1), both[1])
        flat = g.op("Reshape", y, g.constant(np.array([1, heads * size])))
        x = g.op("Add", x, made.linear(flat, w.wo))
        x = made.ffn_block(x, w)
    g.output(made.linear(made.norm(x, weights.rms_final), weights.embed))
    for new in news:
        g.output(new)
    return inputs


class Witness(llama.NumPy):
    """Keeps every layer's keys and values [H, S, D]."""

    def __init__(self, seq: int) -> None:
        super().__init__(seq)
        self.kept: list[tuple[Array, Array]] = []

    def attention(self, q: Array, k: Array, v: Array) -> Array:
        """Of [H, S, D], causal."""
        self.kept.append((k[:, :-1], v[:, :-1]))
        return super().attention(q, k, v)


def cases(options: Options) -> Iterator[Case]:
    """One."""
    config = ModelConfig.stories110m().with_seq_len(POSITIONS)
    weights = ModelWeights.random(config)
    for _, array in weights.named():
        array[...] = array.astype(np.float16)
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, POSITIONS)
    witness = Witness(POSITIONS)
    expected = witness.forward(weights, tokens)[-1]  # type: ignore[arg-type]
    last = int(tokens[-1])
    with host() as runtime:
        decoder = Decoder(weights, runtime)
        decoder.feed([tokens[:-1].tolist()])

        def step() -> Any:
            decoder.truncate(POSITIONS - 1)
            return decoder.step([last])

        variants: dict[str, Variant] = {
            "milane": Held(step, lambda logits: np.array(logits[0])).variant(HALF)
        }
        torch = torch_on(options.threads)
        if torch is not None:
            index, at = torch.tensor([last]), torch.tensor([POSITIONS - 1])
            for name, kind, rounding in (
                ("fp32", torch.float32, HALF),
                ("fp16", torch.float16, HALF),
                ("bf16", torch.bfloat16, COARSE),
            ):
                for compiled in (False, True):
                    if compiled and (name == "fp16" or options.no_compile):
                        continue
                    made = TorchDecoder(torch, weights, kind, compiled=compiled)
                    for i, (k, v) in enumerate(witness.kept):
                        made.cache[i, 0, :, :-1] = torch.from_numpy(k)
                        made.cache[i, 1, :, :-1] = torch.from_numpy(v)
                    variants[f"PyTorch {name}{' compiled' if compiled else ''}"] = Held(
                        partial(made.run, index, at), lambda logits: logits[0].numpy()
                    ).variant(rounding)
        missing = torch_missing(torch)
        peers, refused = ort_variants(
            options.threads,
            lambda g: onnx_step(g, weights, witness.kept, last),
            lambda logits: logits[0],
        )
        yield Case(
            f"one token at position {POSITIONS - 1}",
            variants | peers,
            expected,
            roundings=ROUNDINGS * (2 * config.n_layers) ** 0.5,
            limit="read",
            work=2.0 * config.total_params,
            missing=missing | refused,
            note=f"{2 * config.total_params / 1e6:.0f} MB of fp16 weights",
        )


if __name__ == "__main__":
    main(__doc__ or "", cases)
