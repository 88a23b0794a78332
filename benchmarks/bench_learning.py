"""Does a byte model of a million parameters learn as well as in PyTorch, step for step?

Both begin with the same weights and see the same sequences in the same order, with the same AdamW,
clipping and learning rates; PyTorch in fp32, Milane's blocks in fp16. The text is Python's own
library, or --data FILE. Losses are in nats per byte; times are of this CPU and include everything a
step does.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import markdown, parser, write_json
from measure import COLUMNS, Row, cells

import milane
from milane.train import (
    ByteTokenizer,
    Generator,
    ModelConfig,
    ModelWeights,
    Sampling,
    TokenData,
    Trainer,
    TrainOptions,
    load_data,
)

CONFIG = ModelConfig(144, 384, 4, 6, 6, vocab_size=256, seq_len=128)
VALIDATED = 32


class Llama(torch.nn.Module):
    """The same model over [batch, positions]."""

    def __init__(self, config: ModelConfig, weights: ModelWeights) -> None:
        super().__init__()
        self.config = config
        self.names = [name for name, _ in weights.named()]
        for name, array in weights.named():
            self.register_parameter(name.replace(".", "_"), torch.nn.Parameter(torch.tensor(array)))
        size = config.head_dim
        turns = config.rope_theta ** (-torch.arange(0, size, 2).float() / size)
        angles = torch.outer(torch.arange(config.seq_len).float(), turns)
        self.turn = torch.polar(torch.ones_like(angles), angles)

    def weight(self, name: str) -> torch.Tensor:
        """A parameter by Milane's name."""
        found: torch.Tensor = getattr(self, name.replace(".", "_"))
        return found

    def forward(self, tokens: torch.Tensor) -> Any:
        """Logits [batch, positions, vocab]."""
        c, f = self.config, torch.nn.functional

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            return f.rms_norm(x, (c.dim,), self.weight(name), c.norm_eps)

        def heads(x: torch.Tensor, turned: bool) -> torch.Tensor:
            x = x.reshape(*x.shape[:-1], -1, c.head_dim).transpose(1, 2)
            if not turned:
                return x
            pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
            return torch.view_as_real(pairs * self.turn).flatten(-2)

        x = f.embedding(tokens, self.weight("embed"))
        for i in range(c.n_layers):
            at = f"layers.{i}."
            n = norm(x, at + "rms_att")
            q, k, v = (heads(n @ self.weight(at + w).T, w != "wv") for w in ("wq", "wk", "wv"))
            attention = f.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + attention.transpose(1, 2).flatten(-2) @ self.weight(at + "wo").T
            n = norm(x, at + "rms_ffn")
            gate = f.silu(n @ self.weight(at + "w1").T) * (n @ self.weight(at + "w3").T)
            x = x + gate @ self.weight(at + "w2").T
        return norm(x, "rms_final") @ self.weight("embed").T

    def loss(self, pieces: list[tuple[Any, Any]]) -> torch.Tensor:
        """The mean loss of sequences, all at once."""
        tokens, targets = (
            torch.tensor(np.array([p[i] for p in pieces]).astype(np.int64)) for i in (0, 1)
        )
        return torch.nn.functional.cross_entropy(self(tokens).flatten(0, 1), targets.flatten())


def timed(step: Callable[[int], object], steps: int) -> list[float]:
    """Seconds of each step."""
    marks = [time.perf_counter()]
    for number in range(steps):
        step(number)
        marks.append(time.perf_counter())
    return list(np.diff(marks))


def in_pytorch(data: TokenData, options: TrainOptions) -> tuple[float, list[float]]:
    """Validation loss, and seconds of every step."""
    model = Llama(CONFIG, ModelWeights.random(CONFIG))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": options.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        betas=(options.beta1, options.beta2),
        eps=options.eps,
    )

    def step(number: int) -> None:
        optimizer.zero_grad()
        pieces = [data.train(number * options.batch + i) for i in range(options.batch)]
        model.loss(pieces).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        for group in optimizer.param_groups:
            group["lr"] = options.rate(number)
        optimizer.step()

    took = timed(step, options.steps)
    with torch.no_grad():
        losses = [model.loss([data.validate(i)]).item() for i in range(VALIDATED)]
    return sum(losses) / VALIDATED, took


def in_milane(data: TokenData, options: TrainOptions) -> tuple[float, list[float], str]:
    """Validation loss, seconds of every step, and what the model writes."""
    with milane.open("host") as runtime:
        with Trainer(runtime, ModelWeights.random(CONFIG), data, options) as trainer:
            took = timed(lambda _: trainer.step(), options.steps)
            loss = trainer.validate()
            weights = trainer.weights
        with Generator(weights, runtime, tokenizer=ByteTokenizer()) as generator:
            sampling = Sampling(temperature=0.8, seed=1)
            text = generator.generate("\n", sampling=sampling, max_tokens=120)[0].text
    assert loss is not None
    return loss, took, text


def main() -> None:
    """Trains both and prints."""
    given = parser(__doc__ or "")
    given.add_argument("--data", default="stdlib", help="a text file; default: Python's library")
    given.add_argument("--steps", type=int, default=600)
    given.add_argument("--short", action="store_true", help="30 steps")
    args = given.parse_args()
    if args.threads:
        milane.set_num_threads(args.threads)
    torch.set_num_threads(milane.num_threads())
    options = TrainOptions(
        steps=30 if args.short else args.steps,
        batch=8,
        lr=2e-3,
        warmup=20,
        eval_every=0,
        eval_batches=VALIDATED,
    )
    data = load_data(args.data, CONFIG.seq_len)
    case = (
        f"a step of {CONFIG.total_params:,} parameters, {options.batch} sequences of "
        f"{CONFIG.seq_len} bytes of {Path(args.data).name}"
    )

    def row(variant: str, loss: float, took: list[float], first: float) -> Row:
        median = statistics.median(took)
        note = f"validation loss {loss:.4f} nats per byte after {len(took)} steps"
        return Row(
            *(case, variant, median, min(took), max(took), len(took)),
            ratio=median / first,
            note=note,
        )

    loss, took, text = in_milane(data, options)
    first = statistics.median(took)
    rows = [
        row("milane", loss, took, first),
        row("PyTorch fp32", *in_pytorch(data, options), first),
    ]
    question = (__doc__ or "").splitlines()[0]
    print(f"## {question}\n")
    print(markdown(COLUMNS, [cells(r) for r in rows]))
    print(f"\nmilane's model writes: {text!r}\n")
    if args.json:
        write_json(args.json, question, rows=[asdict(r) for r in rows], sample=text)


if __name__ == "__main__":
    main()
