"""Does a byte model of a million parameters learn as well as in PyTorch, step for step?

Both begin with the same weights and see the same sequences in the same order, with the same AdamW,
clipping and learning rates; PyTorch in fp32, Milane's blocks in fp16. The text is Python's own
library, or --data FILE. Losses are in nats per byte; times are of this CPU and include everything a
step does.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import markdown, parser, write_json

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


def in_pytorch(data: TokenData, options: TrainOptions) -> tuple[float, float]:
    """Validation loss, and seconds of a step."""
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
    start = time.perf_counter()
    for step in range(options.steps):
        optimizer.zero_grad()
        pieces = [data.train(step * options.batch + i) for i in range(options.batch)]
        model.loss(pieces).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        for group in optimizer.param_groups:
            group["lr"] = options.rate(step)
        optimizer.step()
    took = time.perf_counter() - start
    with torch.no_grad():
        losses = [model.loss([data.validate(i)]).item() for i in range(VALIDATED)]
    return sum(losses) / VALIDATED, took / options.steps


def in_milane(data: TokenData, options: TrainOptions) -> tuple[float, float, str]:
    """Validation loss, seconds of a step, and what the model writes."""
    with milane.open("host") as runtime:
        with Trainer(runtime, ModelWeights.random(CONFIG), data, options) as trainer:
            start = time.perf_counter()
            trainer.run()
            took = time.perf_counter() - start
            loss = trainer.validate()
            weights = trainer.weights
        with Generator(weights, runtime, tokenizer=ByteTokenizer()) as generator:
            sampling = Sampling(temperature=0.8, seed=1)
            text = generator.generate("\n", sampling=sampling, max_tokens=120)[0].text
    assert loss is not None
    return loss, took / options.steps, text


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
    ours, our_time, text = in_milane(data, options)
    theirs, their_time = in_pytorch(data, options)
    rows = [
        ["milane", f"{ours:.4f}", f"{our_time * 1e3:.0f} ms", "1"],
        ["PyTorch fp32, eager", f"{theirs:.4f}", f"{their_time * 1e3:.0f} ms",
         f"{their_time / our_time:.2f}"],
    ]  # fmt: skip
    print("## Learning\n")
    print(
        f"{CONFIG.total_params:,} parameters, {options.steps} steps of {options.batch} sequences "
    )
    print(f"of {CONFIG.seq_len} bytes of {Path(args.data).name}\n")
    columns = ["", "validation loss (nats per byte)", "step", "time / milane"]
    print(markdown(columns, rows))
    print(f"\nmilane's model writes: {text!r}\n")
    if args.json:
        write_json(
            args.json,
            "Learning",
            losses={"milane": ours, "torch": theirs},
            seconds_per_step={"milane": our_time, "torch": their_time},
            sample=text,
        )


if __name__ == "__main__":
    main()
