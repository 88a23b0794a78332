"""`milane generate`: text from a model file."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import milane
from milane.cli.output import CliError, Output, add_json_option, backend_reason, whole_number
from milane.train.generate import Generation, Generator, Run
from milane.train.model_files import load_model, load_tokenizer
from milane.train.sampling import Sampling


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `generate`."""
    parser = commands.add_parser(
        "generate",
        help="text from a model: llama2.c .bin, .safetensors, a model folder, .ckpt",
        description="Prints the prompt and what the model makes of it, and at the end to stderr "
        "how fast that was. Without a prompt the model begins by itself.",
    )
    count = functools.partial(whole_number, low=1)
    parser.add_argument("model", metavar="MODEL", type=Path, help="a file or folder")
    parser.add_argument(
        "-p", "--prompt", action="append", metavar="TEXT", help="repeat it for several at a time"
    )
    parser.add_argument("-n", "--tokens", type=count, metavar="N", help="generate at most N tokens")
    parser.add_argument(
        "-t", "--temperature", type=float, default=1.0, metavar="T", help="0: always the likeliest"
    )
    parser.add_argument(
        "--top-k", type=functools.partial(whole_number, low=0), default=0, metavar="K"
    )
    parser.add_argument("--top-p", type=float, default=0.9, metavar="P")
    parser.add_argument("--repetition-penalty", type=float, default=1.0, metavar="R")
    parser.add_argument("--seed", type=functools.partial(whole_number, low=0), metavar="N")
    parser.add_argument(
        "--stop", action="append", default=[], metavar="S", help="end before this string"
    )
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="a tokenizer.bin, or bytes (default: beside)"
    )
    parser.add_argument("--max-len", type=count, metavar="N", help="room for prompt and result")
    parser.add_argument(
        "--batch", type=count, metavar="N", help="sequences at a time; one prompt is taken N times"
    )
    parser.add_argument("--backend", choices=("auto", "ane", "host"), default="auto")
    add_json_option(parser)
    parser.set_defaults(handler=_generate)


@dataclass
class _Timed:
    """How long a run took: to the first token of any sequence, and from there to the end."""

    first_s: float = 0.0
    rest_s: float = 0.0
    tokens: int = 0  # behind the first

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.rest_s if self.rest_s > 0 else 0.0


def _generate(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    sampling = Sampling(
        args.temperature, args.top_k, args.top_p, args.repetition_penalty, args.seed
    )
    prompts = args.prompt or [""]
    if len(prompts) == 1 and args.batch:
        prompts *= args.batch
    with out.status(f"reading {args.model.name}"):
        weights = load_model(args.model)
        tokenizer = load_tokenizer(args.model, weights.config.vocab_size, args.tokenizer)
    if "" in args.stop:
        raise CliError("--stop: expected a string of one character or more, got none")
    with milane.open(args.backend) as runtime:
        with out.status(f"compiling {args.model.name}"):
            generator = Generator(
                weights,
                runtime,
                tokenizer=tokenizer,
                batch=min(len(prompts), args.batch or len(prompts)),
                max_len=args.max_len,
            )
        del weights
        found: list[Generation] = []
        timed = _Timed()
        with generator:
            size = generator.decoder.batch
            for first in range(0, len(prompts), size):
                run = generator.run(
                    prompts[first : first + size],
                    sampling=sampling,
                    max_tokens=args.tokens,
                    stop=args.stop,
                    sequence=first,
                )
                _follow(run, timed, show=len(prompts) == 1 and not args.json, generator=generator)
                found += run.results
        _report(out, runtime, generator, found, timed)
    return 0


def _follow(run: Run, timed: _Timed, *, show: bool, generator: Generator) -> None:
    """Runs to the end; shows the text as it comes."""
    tokenizer = generator.tokenizer
    assert tokenizer is not None
    if show:
        print(tokenizer.decode(run.results[0].prompt), end="", flush=True)
    start = time.perf_counter()
    begun = 0.0
    for piece in run:
        if not begun:
            begun = time.perf_counter()
            timed.first_s += begun - start
        elif piece.token is not None:
            timed.tokens += 1
        if show and piece.text:
            print(piece.text, end="", flush=True)
    timed.rest_s += time.perf_counter() - begun if begun else 0.0
    if show:
        print()


def _report(
    out: Output,
    runtime: milane.Runtime,
    generator: Generator,
    found: list[Generation],
    timed: _Timed,
) -> None:
    tokenizer = generator.tokenizer
    assert tokenizer is not None
    texts = [tokenizer.decode(g.prompt) + g.text for g in found]
    if len(found) > 1:
        for n, text in enumerate(texts):
            out.text(f"--- {n + 1}\n{text}")
    total = sum(len(g.tokens) for g in found)
    out.json(
        {
            "backend": runtime.backend,
            "reason": backend_reason(runtime),
            "generations": [
                {
                    "prompt_tokens": g.prompt,
                    "tokens": g.tokens,
                    "text": text,
                    "ended": g.reason,
                }
                for g, text in zip(found, texts, strict=True)
            ],
            "first_token_ms": timed.first_s * 1e3,
            "tokens_per_second": timed.tokens_per_second,
            "compile_count": runtime.compile_count,
        }
    )
    print(
        f"{runtime.backend}: {total} tokens, the first after {timed.first_s * 1e3:.0f} ms, "
        f"then {timed.tokens_per_second:.1f} tokens/s",
        file=sys.stderr,
    )
