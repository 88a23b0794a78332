"""`milane convert`: a model from one kind of file to another."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from milane.cli.output import CliError, Output, add_json_option, size_text
from milane.train.model_files import load_model, save_model


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `convert`."""
    parser = commands.add_parser(
        "convert",
        help="a model as another kind of file: llama2.c .bin, .safetensors, a model folder",
        description="The kind is told by the name: .bin for llama2.c, .safetensors or a folder "
        "with config.json for Hugging Face, .ckpt (to read only) for a checkpoint of milane train.",
    )
    parser.add_argument("input", metavar="IN", type=Path)
    parser.add_argument("output", metavar="OUT", type=Path)
    parser.add_argument("--force", action="store_true", help="write over what is there")
    add_json_option(parser)
    parser.set_defaults(handler=_convert)


def _convert(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    if args.output.exists() and not args.force:
        raise CliError(f"{args.output}: expected a new name, got one that is there", "give --force")
    with out.status(f"reading {args.input.name}"):
        weights = load_model(args.input)
    with out.status(f"writing {args.output.name}"):
        save_model(weights, args.output)
    config = weights.config
    written = [args.output] if args.output.is_file() else sorted(args.output.iterdir())
    size = sum(file.stat().st_size for file in written)
    out.text(
        f"{args.output}: {config.total_params} parameters, {config.n_layers} layers of "
        f"{config.dim}, {config.vocab_size} tokens; {size_text(size)}"
    )
    out.json({"output": str(args.output), "bytes": size, "config": asdict(config)})
    return 0
