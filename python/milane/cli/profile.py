"""`milane profile`: where the time of a model goes on the host engine."""

from __future__ import annotations

import argparse
import statistics
from dataclasses import asdict
from pathlib import Path

import milane
from milane import profile
from milane.cli.model_call import ModelCall, add_model_options, count
from milane.cli.output import Output, add_json_option


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `profile`."""
    parser = commands.add_parser(
        "profile",
        help="times per operation of a .mil file or .mlmodelc on the host engine",
        description="Inputs without a FILE get random numbers. The times are of this CPU.",
    )
    add_model_options(parser)
    parser.add_argument("--repeat", type=count, default=10, metavar="N", help="evaluate N times")
    parser.add_argument("--top", type=count, default=20, metavar="N", help="rows to print")
    parser.add_argument("--trace", type=Path, metavar="FILE.json", help="write a Chrome trace")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="write a bar chart")
    add_json_option(parser)
    parser.set_defaults(handler=_profile)


def _profile(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    call = ModelCall.of(args)
    with milane.open("host") as runtime:
        with out.status(f"compiling {args.model.name}"):
            kernel = call.compile(runtime)
        with kernel, out.status("evaluating"):
            call.bind(kernel, fill=True)
            kernel.eval()  # the first one touches the memory
            runs = [kernel.eval_with_stats(per_op=True) for _ in range(args.repeat)]
    rows = profile.by_op(runs)
    wall_us = statistics.median(run.wall_ns for run in runs) / 1e3
    title = f"{args.model.name}: {wall_us:.0f} µs, {args.repeat} evaluations"
    if args.trace:
        profile.write_trace(args.trace, runs)
    if args.chart:
        profile.write_chart(args.chart, rows, title)
    out.table(
        f"{title} (median; this CPU, {milane.num_threads()} threads)",
        ("operation", "steps", "µs", "share"),
        [(r.op, str(r.steps), f"{r.ns / 1e3:.1f}", f"{r.share:.1%}") for r in rows[: args.top]],
    )
    if len(rows) > args.top:
        rest = sum(r.share for r in rows[args.top :])
        out.text(f"  and {len(rows) - args.top} more, {rest:.1%} together")
    for kind, path in (("trace", args.trace), ("chart", args.chart)):
        if path:
            out.text(f"{kind}  {path}")
    out.json(
        {
            "model": str(args.model),
            "median_us": wall_us,
            "repeat": args.repeat,
            "threads": milane.num_threads(),
            "operations": [asdict(row) for row in rows],
            "trace": str(args.trace) if args.trace else None,
            "chart": str(args.chart) if args.chart else None,
        }
    )
    return 0
