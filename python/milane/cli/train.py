"""`milane train`: train a llama-type model here, on the engine or on the CPU."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NoReturn

import milane
from milane.cli.output import CliError, Output, add_json_option, json_number, whole_number
from milane.train import llama2c
from milane.train.config import ModelConfig
from milane.train.data import TokenData, load_data
from milane.train.loop import StepResult, Trainer, TrainOptions
from milane.train.plot import save_plot
from milane.train.tokenizer import BPETokenizer, ByteTokenizer, Tokenizer
from milane.train.weights import ModelWeights

_MODELS = {
    "stories15m": ModelConfig.stories15m,
    "stories42m": ModelConfig.stories42m,
    "stories110m": ModelConfig.stories110m,
    "qwen3-0.6b": ModelConfig.qwen3_0_6b,
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `train`."""
    parser = commands.add_parser(
        "train",
        help="train a llama-type model on tokens, text, or Python's own library",
        description="Checkpoints, a log and the trained model (model.bin, as llama2.c reads it) "
        "are written to the folder OUT. With --resume, goes on from its newest sound checkpoint.",
    )
    positive = functools.partial(whole_number, low=1)
    parser.add_argument("--data", default="stdlib", help="stdlib, a .bin of uint16, or a text file")
    parser.add_argument("-o", "--out", type=Path, default=Path("run"), help="folder (default: run)")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="a llama2.c tokenizer.bin")
    parser.add_argument("--init", type=Path, metavar="FILE.bin", help="start from these weights")
    parser.add_argument("--backend", choices=("auto", "ane", "host"), default="auto")
    model = parser.add_argument_group("the model")
    model.add_argument("--model", choices=sorted(_MODELS), help="sizes by name; else those below")
    model.add_argument("--dim", type=positive, default=192)
    model.add_argument("--hidden", type=positive, help="default: 8/3 of dim, a multiple of 8")
    model.add_argument("--layers", type=positive, default=4)
    model.add_argument("--heads", type=positive, default=6)
    model.add_argument("--kv-heads", type=positive, help="default: as many as heads")
    model.add_argument("--seq", type=positive, default=128, help="positions of a sequence")
    run = parser.add_argument_group("the run")
    defaults = TrainOptions()
    run.add_argument("--steps", type=positive, default=defaults.steps)
    run.add_argument("--batch", type=positive, default=8, help="sequences of a step")
    run.add_argument("--lr", type=float, default=1e-3, help="highest learning rate")
    run.add_argument("--min-lr", type=float, help="where the cosine ends; default: a tenth")
    run.add_argument("--warmup", type=functools.partial(whole_number, low=0), default=20)
    run.add_argument("--weight-decay", type=float, default=defaults.weight_decay)
    run.add_argument("--clip", type=float, default=defaults.clip, help="largest gradient norm")
    run.add_argument("--loss-scale", type=float, default=defaults.loss_scale)
    run.add_argument("--eval-every", type=functools.partial(whole_number, low=0), default=100)
    run.add_argument("--checkpoint-every", type=functools.partial(whole_number, low=0), default=100)
    run.add_argument("--keep", type=functools.partial(whole_number, low=0), default=defaults.keep)
    run.add_argument("--validation", type=float, default=0.05, help="share of data held back")
    run.add_argument("--seed", type=functools.partial(whole_number, low=0), default=0)
    run.add_argument(
        "--route",
        choices=("dynamic", "static"),
        default="dynamic",
        help="weights as inputs, or baked in and reloaded; then the process starts itself again "
        "when its compiles are used up",
    )
    run.add_argument(
        "--compile-budget", type=positive, metavar="N", help="compiles of a process (static route)"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="default: OUT/log.jsonl")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a chart, .svg or .png")
    add_json_option(parser)
    parser.set_defaults(handler=_train)


def _train(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    tokenizer = ByteTokenizer() if args.tokenizer is None else BPETokenizer.load(args.tokenizer)
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.log or args.out / "log.jsonl"
    with milane.open(args.backend, compile_budget=args.compile_budget) as runtime:
        with out.status("compiling"):
            trainer = _trainer(args, runtime, tokenizer)
        first = trainer.steps_done
        with trainer:
            config, options = trainer.weights.config, trainer.options
            out.text(
                f"{config.total_params:,} parameters, {config.n_layers} layers of {config.dim}, "
                f"{trainer.data.train_pieces} sequences of {trainer.data.positions} tokens, "
                f"backend {runtime.backend}"
            )
            if trainer.steps_done:
                out.text(f"going on behind step {trainer.steps_done} of {options.steps}")
            with (
                _progress(out, options.steps, trainer.steps_done) as show,
                _log(log, trainer.steps_done) as file,
            ):

                def report(result: StepResult) -> None:
                    show(result)
                    file.write(json.dumps(_row(result)) + "\n")
                    file.flush()

                try:
                    trainer.run(report)
                except milane.CompileBudgetExhaustedError:
                    if trainer.steps_done == first:
                        raise  # another process would come no further
                    trainer.save()
                    _start_again(args.arguments)
            model = args.out / "model.bin"
            llama2c.save(trainer.weights, model)
            if isinstance(tokenizer, BPETokenizer):  # beside the model, where `generate` finds it
                tokenizer.save(args.out / "tokenizer.bin")
            validation = trainer.validate()
            loss = trainer.header.loss
    if args.plot:
        save_plot(log, args.plot)
    out.text(f"loss {loss:.3f}" + ("" if validation is None else f", validation {validation:.3f}"))
    for what, path in (("model", model), ("log", log), ("chart", args.plot)):
        if path:
            out.text(f"{what:6} {path}")
    out.json(
        {
            "steps": options.steps,
            "loss": json_number(loss),
            "validation": None if validation is None else json_number(validation),
            "parameters": config.total_params,
            "compiles": runtime.compile_count,
            "backend": runtime.backend,
            "model": str(model),
            "log": str(log),
            "chart": str(args.plot) if args.plot else None,
        }
    )
    return 0


def _start_again(arguments: Sequence[str]) -> NoReturn:
    """The same command in a new process, which has all its compiles, behind the checkpoint."""
    sys.stdout.flush()
    resume = [] if "--resume" in arguments else ["--resume"]
    os.execv(sys.executable, [sys.executable, "-m", "milane.cli", *arguments, *resume])


def _trainer(args: argparse.Namespace, runtime: milane.Runtime, tokenizer: Tokenizer) -> Trainer:
    options = TrainOptions(
        steps=args.steps,
        batch=args.batch,
        lr=args.lr,
        min_lr=args.min_lr,
        warmup=args.warmup,
        weight_decay=args.weight_decay,
        clip=args.clip,
        loss_scale=args.loss_scale,
        eval_every=args.eval_every,
        checkpoint_every=args.checkpoint_every,
        keep=args.keep,
        route=args.route,
    )
    if args.resume:
        data = _data(args, tokenizer, args.seq)
        return Trainer.resume(runtime, args.out, data, options)
    weights = _start(args, tokenizer)
    positions = min(args.seq, weights.config.seq_len)
    return Trainer(runtime, weights, _data(args, tokenizer, positions), options, folder=args.out)


def _data(args: argparse.Namespace, tokenizer: Tokenizer, positions: int) -> TokenData:
    return load_data(args.data, positions, tokenizer, seed=args.seed, validation=args.validation)


def _start(args: argparse.Namespace, tokenizer: Tokenizer) -> ModelWeights:
    """The weights a new run begins with.

    Raises:
        CliError: they do not go with the tokenizer.
    """
    if args.init is not None:
        weights = llama2c.load(args.init)
        if weights.config.vocab_size < tokenizer.vocab_size:
            raise CliError(
                f"{args.init}: expected a model of at least {tokenizer.vocab_size} tokens, "
                f"got {weights.config.vocab_size}",
                "give the model's own --tokenizer",
            )
        return weights
    if args.model is not None:
        config = _MODELS[args.model]()
        if config.vocab_size < tokenizer.vocab_size:
            raise CliError(f"{args.model} has {config.vocab_size} tokens, the tokenizer more")
    else:
        hidden = args.hidden or (args.dim * 8 // 3 + 7) // 8 * 8
        kv_heads = args.kv_heads or args.heads
        config = ModelConfig(
            *(args.dim, hidden, args.layers, args.heads, kv_heads),
            *(tokenizer.vocab_size, args.seq),
        )
    return ModelWeights.random(config, args.seed)


def _row(result: StepResult) -> dict[str, Any]:
    row = asdict(result)
    return {k: json_number(v) if isinstance(v, float) else v for k, v in row.items()}


@contextlib.contextmanager
def _log(path: Path, done: int) -> Iterator[IO[str]]:
    """The log, behind the lines of steps that are done; what will be done anew is dropped."""
    kept = []
    if done and path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.startswith("{") and _step_of(line) <= done]
    with path.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in kept)
        yield file


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):
        return sys.maxsize  # cut off when a run was killed


@contextlib.contextmanager
def _progress(out: Output, steps: int, done: int) -> Iterator[Any]:
    """What shows each step: a bar on a terminal, now and then a line elsewhere."""
    start = time.monotonic()

    def line(r: StepResult) -> str:
        left = (steps - r.step) * (time.monotonic() - start) / max(1, r.step - done)
        text = (
            f"step {r.step:>5}  loss {r.loss:.3f}  {r.seconds * 1000:.0f} ms  "
            f"{r.tokens / r.seconds:,.0f} tokens/s  {left:.0f} s left"
        )
        return text + (f"  validation {r.validation:.3f}" if r.validation is not None else "")

    try:
        if out.as_json or not sys.stderr.isatty():
            raise ImportError
        import rich.progress  # noqa: PLC0415 - an extra
    except ImportError:
        every = max(1, (steps - done) // 20)

        def plain(r: StepResult) -> None:
            if r.step % every == 0 or r.step == steps or r.validation is not None:
                out.text(line(r))

        yield plain
        return
    with rich.progress.Progress(
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.description}"),
        console=rich.get_console(),
    ) as bar:
        task = bar.add_task("", total=steps, completed=done)

        def show(r: StepResult) -> None:
            bar.update(task, completed=r.step, description=line(r))

        yield show
