"""What `milane quickstart --train` does: a byte model, trained for a minute, and its words."""

from __future__ import annotations

import time
from collections.abc import Callable

import milane
from milane.cli.output import Output, json_number
from milane.train.config import ModelConfig
from milane.train.data import TokenData, stdlib_text
from milane.train.generate import Generator
from milane.train.loop import StepResult, Trainer, TrainOptions
from milane.train.sampling import Sampling
from milane.train.tokenizer import ByteTokenizer
from milane.train.weights import ModelWeights

_CONFIG = ModelConfig(128, 344, 4, 4, 4, vocab_size=256, seq_len=128)
_TRIED = 3  # steps that are timed to plan the others
_SHOWN = 8  # lines of progress


def training_minute(out: Output, runtime: milane.Runtime, seconds: float) -> dict[str, object]:
    """Trains on the source of Python's library for about so long; the numbers, for JSON."""
    tokenizer = ByteTokenizer()
    data = TokenData.from_text(stdlib_text(), tokenizer, _CONFIG.seq_len)
    before = runtime.compile_count
    with out.status("compiling"):
        steps = _steps(runtime, data, seconds)
        options = TrainOptions(steps=steps, batch=4, lr=2e-3, warmup=steps // 10, eval_every=0)
        trainer = Trainer(runtime, ModelWeights.random(_CONFIG), data, options)
    with trainer:
        compiled = runtime.compile_count
        out.text(f"training {_CONFIG.total_params:,} parameters on Python's library, {steps} steps")
        start = time.monotonic()
        trainer.run(_reporter(out, steps))
        took = time.monotonic() - start
        loss = trainer.validate()
        fresh = runtime.compile_count - compiled
        weights = trainer.weights
    with out.status("sampling"), Generator(weights, runtime, tokenizer=tokenizer) as generator:
        sampling = Sampling(temperature=0.7, seed=0)
        sample = generator.generate("def ", sampling=sampling, max_tokens=120)[0].text
    out.text(f"{took:.0f} s, validation loss {loss:.2f}, no compile in between; it writes:")
    out.text("\n".join(f"    {line}" for line in f"def {sample}".splitlines()))
    out.text("next     milane train -o run, then milane generate run/model.bin -p 'def '")
    return {
        "steps": steps,
        "seconds": took,
        "validation_loss": json_number(loss if loss is not None else float("nan")),
        "compiles_to_begin": compiled - before,
        "compiles_while_training": fresh,
        "sample": sample,
    }


def _steps(runtime: milane.Runtime, data: TokenData, seconds: float) -> int:
    """Steps for so long, from a few that are thrown away."""
    options = TrainOptions(steps=_TRIED, batch=4, eval_every=0)
    with Trainer(runtime, ModelWeights.random(_CONFIG), data, options) as trainer:
        each = min(trainer.step().seconds for _ in range(_TRIED))
    return max(20, min(2000, int(seconds / each)))


def _reporter(out: Output, steps: int) -> Callable[[StepResult], None]:
    def report(result: StepResult) -> None:
        if result.step == 1 or result.step % max(1, steps // _SHOWN) == 0:
            speed = f"{result.tokens / result.seconds:,.0f} tokens/s"
            out.text(f"  step {result.step:>4}  loss {result.loss:.2f}  {speed}")

    return report
