"""`milane run`: evaluate a model on arrays from files."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import milane
from milane.cli.model_call import ModelCall, add_model_options, count
from milane.cli.output import (
    CliError,
    Output,
    add_json_option,
    backend_reason,
    json_number,
    write_npz,
)

Array = NDArray[Any]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `run`."""
    parser = commands.add_parser(
        "run",
        help="evaluate a .mil file or .mlmodelc on arrays from files",
        description="FILE is .npy, .npz (FILE.npz:KEY where it holds several arrays), .wav "
        "(FILE.wav:START for the part from that frame on), or .png/.jpg (pixel values 0 to 255) "
        "where Pillow is installed.",
    )
    add_model_options(parser)
    parser.add_argument("--repeat", type=count, default=1, metavar="N", help="evaluate N times")
    parser.add_argument("--output", type=Path, metavar="OUT.npz", help="save outputs and states")
    add_json_option(parser)
    parser.set_defaults(handler=_run)


def _evaluate(kernel: milane.Kernel, repeat: int) -> float:
    """Evaluates `repeat` times (states move on each time); the median time in µs."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter_ns()
        kernel.eval()
        times.append((time.perf_counter_ns() - start) / 1e3)
    return statistics.median(times)


def summary(array: Array) -> dict[str, object]:
    """Shape, dtype, extremes and mean without NaNs, and the count of NaNs."""
    values = array.astype(np.float64).ravel()
    nans = np.isnan(values)
    values = values[~nans]
    row: dict[str, object] = {"shape": list(array.shape), "dtype": str(array.dtype)}
    with np.errstate(invalid="ignore"):  # the mean of inf and -inf
        for name in ("min", "max", "mean"):
            number = float(getattr(np, name)(values)) if values.size else float("nan")
            row[name] = json_number(number)
    row["nan"] = int(nans.sum())
    return row


def _results(kernel: milane.Kernel) -> dict[str, Array]:
    """Copies of outputs, and of states as "state.NAME"."""
    results = {name: np.array(port.array) for name, port in kernel.outputs.items()}
    return results | {f"state.{name}": np.array(port.array) for name, port in kernel.states.items()}


def _run(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    call = ModelCall.of(args)
    if args.output:
        _check_output(args.output)
    with milane.open() as runtime:
        with out.status(f"compiling {args.model.name}"):
            kernel = call.compile(runtime)
        with kernel:
            call.bind(kernel)
            with out.status("evaluating"):
                median_us = _evaluate(kernel, args.repeat)
            results = _results(kernel)
        if args.output:
            write_npz(args.output, results)
        _report(out, args, runtime, {n: summary(a) for n, a in results.items()}, median_us)
    return 0


def _check_output(path: Path) -> None:
    """Finds what would make saving fail before anything is evaluated."""
    if path.suffix != ".npz":
        raise CliError(f"--output: expected a name that ends in .npz, got {path}")
    if not path.parent.is_dir():
        raise CliError(f"--output: expected a folder to write into, got none at {path.parent}")


def _report(
    out: Output,
    args: argparse.Namespace,
    runtime: milane.Runtime,
    rows: dict[str, dict[str, object]],
    median_us: float,
) -> None:
    payload: dict[str, object] = {
        "backend": runtime.backend,
        "reason": backend_reason(runtime),
        "outputs": rows,
        "saved": str(args.output) if args.output else None,
    }
    out.text(f"backend  {backend_reason(runtime)}")
    out.table(
        "outputs:",
        ["name", *next(iter(rows.values()), {})],
        [_cells(n, r) for n, r in rows.items()],
    )
    if args.repeat > 1 and runtime.backend == "host":
        out.text(f"{args.repeat} evaluations, median {median_us:.0f} µs (this CPU)")
        payload |= {"repeat": args.repeat, "host_median_us": median_us}
    if args.output:
        out.text(f"saved    {args.output}")
    out.json(payload)


def _cells(name: str, row: Mapping[str, object]) -> list[str]:
    numbers = [f"{v:.6g}" if isinstance(v, float) else str(v) for v in row.values()]
    return [name, *numbers]
