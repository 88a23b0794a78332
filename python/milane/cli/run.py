"""`milane run`: evaluate a model on arrays from files."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import milane
from milane.cli.arrays import read_for
from milane.cli.output import (
    CliError,
    Output,
    add_json_option,
    backend_reason,
    json_number,
    shape_text,
    whole_number,
    write_npz,
)
from milane.cli.weights import blob_references

Array = NDArray[Any]

_MODEL_PATH = "@model_path/"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `run`."""
    parser = commands.add_parser(
        "run",
        help="evaluate a .mil file or .mlmodelc on arrays from files",
        description="FILE is .npy, .npz (FILE.npz:KEY where it holds several arrays), .wav "
        "(FILE.wav:START for the part from that frame on), or .png/.jpg (pixel values 0 to 255) "
        "where Pillow is installed.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a .mil file or a .mlmodelc")
    parser.add_argument("--input", **_pairs("NAME=FILE", "an input's values"))
    parser.add_argument("--state", **_pairs("NAME=FILE", "a state's first values (else zero)"))
    parser.add_argument(
        "--weights", **_pairs("PATH=FILE", "a weight file, by its path in the text")
    )
    parser.add_argument("--shape", **_pairs("NAME=1,3,224,224", "the shape of a flexible input"))
    parser.add_argument(
        "--function", metavar="NAME", help="which function (default: main, or the only one)"
    )
    parser.add_argument(
        "--numerics",
        choices=("fp16", "fp32", "ane"),
        default="fp16",
        help="IEEE half (default), no half at all, or half with the quirks of the device",
    )
    parser.add_argument("--repeat", type=_count, default=1, metavar="N", help="evaluate N times")
    parser.add_argument("--output", type=Path, metavar="OUT.npz", help="save outputs and states")
    add_json_option(parser)
    parser.set_defaults(handler=_run)


def _pairs(metavar: str, text: str) -> dict[str, Any]:
    def pair(given: str) -> tuple[str, str]:
        name, equals, value = given.partition("=")
        if not (name and equals and value):
            raise argparse.ArgumentTypeError(f"expected {metavar}, got {given!r}")
        return name, value

    return {"action": "append", "default": [], "type": pair, "metavar": metavar, "help": text}


def _count(text: str) -> int:
    return whole_number(text, 1)


def _by_name(option: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, value in pairs:
        if name in named:
            raise CliError(f"{option}: {name} is given twice")
        named[name] = value
    return named


def _shapes(pairs: list[tuple[str, str]]) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for name, text in _by_name("--shape", pairs).items():
        try:
            shapes[name] = tuple(int(d) for d in text.split(","))
        except ValueError:
            raise CliError(f"--shape: expected {name}=1,3,224,224, got {name}={text}") from None
    return shapes


def _weight_files(pairs: list[tuple[str, str]], model: Path) -> dict[str, Path]:
    """Weight files by their path in the text; "@model_path/" may be left out."""
    named = _by_name("--weights", pairs)
    if not named:
        return {}
    known = {r.path for r in blob_references(milane.mil.load(model).source)}
    files = {}
    for name, text in named.items():
        path = name if name in known else _MODEL_PATH + name
        if path not in known:
            wanted = ", ".join(sorted(known)) or "no weight file at all"
            raise CliError(f"--weights: expected a path of the program, {wanted}, got {name}")
        file = Path(text)
        if not file.is_file():
            raise CliError(f"--weights: {file}: expected a file, got none")
        files[path] = file
    return files


def _port_lines(ports: Mapping[str, milane.Port]) -> str:
    lines = (f"  {p.name}  {shape_text(p.shape)}  {p.dtype}" for p in ports.values())
    return "\n".join(lines)


def _bind(
    kind: str,
    ports: Mapping[str, milane.Port],
    files: Mapping[str, str],
    flexible: Collection[str] = (),
) -> None:
    """Reads each named file into its port; every fault is found before anything is evaluated."""
    unknown = [name for name in files if name not in ports]
    missing = [name for name in ports if name not in files] if kind == "input" else []
    if unknown or missing:
        faults = [f"unknown: {', '.join(unknown)}"] if unknown else []
        faults += [f"missing: {', '.join(missing)}"] if missing else []
        hint = f"give each as --{kind} NAME=FILE:\n{_port_lines(ports)}"
        raise CliError(
            f"{kind}s: {'; '.join(faults)}", hint if ports else f"the program has no {kind}s"
        )
    for name, file in files.items():
        port = ports[name]
        port.array[...] = read_for(file, name, port.shape, port.dtype, flexible=name in flexible)


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
    inputs, states = _by_name("--input", args.input), _by_name("--state", args.state)
    weights, shapes = _weight_files(args.weights, args.model), _shapes(args.shape)
    if args.output:
        _check_output(args.output)
    with milane.open() as runtime:
        with out.status(f"compiling {args.model.name}"):
            kernel = runtime.compile(
                args.model,
                function=args.function,
                weight_files=weights,
                numerics=args.numerics,
                shapes=shapes,
            )
        with kernel:
            _bind("input", kernel.inputs, inputs, kernel._flexible)
            _bind("state", kernel.states, states)
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
