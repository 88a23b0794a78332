"""How fast are tokens generated, one at a time and several, and how near is the memory's limit?

A model of the shape of stories110M with random weights, 64 positions in its cache and 16 more per
measurement, against PyTorch on the same threads: the same sums over a cache of fixed size, with wq,
wk and wv in one matrix and w1 and w3 in another, as here. A token reads every weight once, so that
the bytes of the weights over the bandwidth are the least time that it can take; several sequences
share one reading. The logits of both are compared before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from common import Spread, alternate, markdown, parser, report, time_text

import milane
from milane.train import Decoder, ModelConfig, ModelWeights

FILLED = 64
STEPS = 16


def by_milane(decoder: Decoder) -> Callable[[], None]:
    """Steps of all sequences behind FILLED positions."""
    tokens = [[(7 * i + b) % 1000 for i in range(FILLED)] for b in range(decoder.batch)]
    decoder.feed(tokens)  # the tests hold its logits against other evaluations

    def steps() -> None:
        for b in range(decoder.batch):
            decoder.truncate(FILLED, b)
        token = [1] * decoder.batch
        for _ in range(STEPS):
            token = decoder.step(token).argmax(1).tolist()

    return steps


class TorchDecoder:
    """The same step in PyTorch, one sequence."""

    def __init__(self, torch: Any, weights: ModelWeights, dtype: Any, *, compiled: bool) -> None:
        self.torch, self.config = torch, weights.config
        c = weights.config

        def to(*arrays: Any) -> Any:
            return torch.tensor(np.concatenate(arrays)).to(dtype)

        self.layers = [
            {
                "qkv": to(w.wq, w.wk, w.wv),
                "wo": to(w.wo),
                "w13": to(w.w1, w.w3),
                "w2": to(w.w2),
                "att": to(w.rms_att),
                "ffn": to(w.rms_ffn),
            }
            for w in weights.layers
        ]
        self.embed, self.final = to(weights.embed), to(weights.rms_final)
        size = (c.n_layers, 2, c.n_heads, c.seq_len, c.head_dim)
        self.cache = torch.zeros(size, dtype=dtype)
        power = -np.arange(0, c.head_dim, 2) / c.head_dim
        angle = np.outer(np.arange(c.seq_len), 10000.0**power).repeat(2, 1)
        self.cos, self.sin = (torch.tensor(f(angle)).to(dtype) for f in (np.cos, np.sin))
        self.run = torch.compile(self.step, dynamic=False) if compiled else self.step

    def step(self, token: Any, at: Any) -> Any:
        """The logits behind one token at position ``at``, both as tensors."""
        torch, c = self.torch, self.config
        functional = torch.nn.functional
        visible = torch.arange(c.seq_len) <= at
        cos, sin = self.cos[at], self.sin[at]

        def turned(x: Any) -> Any:
            pairs = x.unflatten(-1, (-1, 2))
            return x * cos + torch.stack([-pairs[..., 1], pairs[..., 0]], -1).flatten(-2) * sin

        x = self.embed[token]
        for i, w in enumerate(self.layers):
            y = functional.rms_norm(x, (c.dim,), w["att"], 1e-5)
            q, k, v = functional.linear(y, w["qkv"]).view(3, c.n_heads, 1, c.head_dim)
            self.cache[i, 0].index_copy_(1, at, turned(k))
            self.cache[i, 1].index_copy_(1, at, v)
            attn = functional.scaled_dot_product_attention(
                turned(q)[None], self.cache[i, :1], self.cache[i, 1:], attn_mask=visible[None]
            )
            x = x + functional.linear(attn.reshape(1, -1), w["wo"])
            y = functional.rms_norm(x, (c.dim,), w["ffn"], 1e-5)
            gate, up = functional.linear(y, w["w13"]).chunk(2, -1)
            x = x + functional.linear(functional.silu(gate) * up, w["w2"])
        return functional.linear(
            functional.rms_norm(x, (c.dim,), self.final, 1e-5), self.embed
        ).float()

    def check(self, weights: ModelWeights, runtime: milane.Runtime) -> None:
        """Finds whether both compute the same, as far as fp16 or bfloat16 goes."""
        tokens = [(7 * i) % 1000 for i in range(FILLED)]
        with self.torch.no_grad():
            for i, token in enumerate(tokens):
                got = self.step(self.torch.tensor([token]), self.torch.tensor([i]))[0].numpy()
        with Decoder(weights, runtime) as decoder:
            want = decoder.feed([tokens])[0]
        if np.abs(got - want).max() > 0.2 * want.std():
            raise SystemExit("PyTorch and milane disagree")

    def steps(self) -> None:
        """STEPS tokens behind FILLED positions."""
        torch = self.torch
        with torch.no_grad():
            token = torch.tensor([1])
            for i in range(STEPS):
                token = self.run(token, torch.tensor([FILLED + i])).argmax(-1)


def bandwidth(threads: int, nbytes: int, rounds: int) -> float:
    """Bytes per second that so many threads read from memory: the best of some rounds."""
    data = np.ones(nbytes // 8, np.int64)
    parts = np.array_split(data, threads)
    with ThreadPoolExecutor(threads) as pool:
        found = alternate({"read": lambda: list(pool.map(np.max, parts))}, rounds)
    return nbytes / found["read"].min


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__ or "")
    options.add_argument("--compile", action="store_true", help="PyTorch also through its compiler")
    args = options.parse_args()
    if args.threads:
        milane.set_num_threads(args.threads)
    weights = ModelWeights.random(ModelConfig.stories110m())
    nbytes = 2 * weights.config.total_params
    variants: dict[str, Callable[[], object]] = {}
    per_call: dict[str, int] = {}
    with milane.open("host") as runtime:
        for batch in (1, 4):
            name = f"milane, {batch} at a time"
            variants[name] = by_milane(Decoder(weights, runtime, batch=batch))
            per_call[name] = STEPS * batch
        try:
            import torch  # noqa: PLC0415
        except ImportError:
            print("PyTorch is not installed: no peer")
        else:
            torch.set_num_threads(milane.num_threads())
            for kind in ("float32", "bfloat16"):
                for compiled in (False, True) if args.compile else (False,):
                    made = TorchDecoder(torch, weights, getattr(torch, kind), compiled=compiled)
                    made.check(weights, runtime)
                    name = f"PyTorch {kind}{', compiled' if compiled else ''}"
                    variants[name], per_call[name] = made.steps, STEPS
        calls = alternate(variants, args.rounds)
    limit = nbytes / bandwidth(milane.num_threads(), nbytes, args.rounds)
    results = {
        n: Spread(s.median / per_call[n], s.min / per_call[n], s.max / per_call[n], s.rounds)
        for n, s in calls.items()
    }
    rows = [
        [n, f"{1 / s.median:.1f}", *(time_text(t) for t in (s.median, s.min, s.max)),
         f"{s.median / limit:.2f}"]
        for n, s in results.items()
    ]  # fmt: skip
    rows.append(
        [f"reading {nbytes / 1e6:.0f} MB", f"{1 / limit:.1f}", *[time_text(limit)] * 3, "1"]
    )
    columns = ["a token by", "tokens/s", "median", "min", "max", "against reading fp16 weights"]
    table = markdown(columns, rows)
    report("Generating tokens", results, table, args.json, read_seconds=limit)


if __name__ == "__main__":
    main()
