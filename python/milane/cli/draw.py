"""`milane draw`: a program's graph as an SVG picture."""

from __future__ import annotations

import argparse
from pathlib import Path

import milane
from milane.cli.output import Output, add_json_option, whole_number


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `draw`."""
    parser = commands.add_parser(
        "draw", help="the graph of a .mil file or .mlmodelc as an SVG picture"
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a .mil file or a .mlmodelc")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT.svg", help="default: MODEL's name with .svg, here"
    )
    parser.add_argument("--function", metavar="NAME", help="default: main, or the only one")
    parser.add_argument(
        "--constants", action="store_true", help="draw constants as nodes of their own"
    )
    parser.add_argument(
        "--max-ops",
        type=lambda text: whole_number(text, 1),
        default=10_000,
        metavar="N",
        help="refuse more operations (default: 10000)",
    )
    add_json_option(parser)
    parser.set_defaults(handler=_draw)


def _draw(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    path = args.output or Path(args.model.resolve().stem + ".svg")
    with out.status(f"drawing {args.model}"):
        milane.draw.save(
            milane.mil.load(args.model),
            path,
            args.function,
            constants=args.constants,
            max_ops=args.max_ops,
        )
    out.text(f"picture  {path}")
    out.json({"model": str(args.model), "picture": str(path)})
    return 0
