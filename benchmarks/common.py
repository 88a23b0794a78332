"""What every benchmark shares: rounds that alternate, spreads, Markdown and JSON."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import milane

MIN_ROUNDS = 7


@dataclass(frozen=True)
class Spread:
    """Seconds per call over the rounds."""

    median: float
    min: float
    max: float
    rounds: int


def parser(description: str) -> argparse.ArgumentParser:
    """The options every benchmark has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--rounds", type=_rounds, default=9, help=f"at least {MIN_ROUNDS}")
    options.add_argument("--threads", type=int, help="threads of milane's host backend")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    return options


def _rounds(text: str) -> int:
    value = int(text)
    if value < MIN_ROUNDS:
        raise argparse.ArgumentTypeError(f"expected {MIN_ROUNDS} or more, got {value}")
    return value


def alternate(
    variants: Mapping[str, Callable[[], object]], rounds: int, seconds: float = 0.05
) -> dict[str, Spread]:
    """Each variant's time, measured in turn (A B A B ...) so that drift meets all alike.

    A round calls a variant as often as fits into `seconds`, found in a first round not counted.
    """
    calls = {}
    for name, function in variants.items():
        function()
        once = time_calls(function, 1)
        calls[name] = max(1, int(seconds / max(once, 1e-8)))
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, function in variants.items():
            times[name].append(time_calls(function, calls[name]))
    return {n: Spread(statistics.median(t), min(t), max(t), rounds) for n, t in times.items()}


def time_calls(function: Callable[[], object], calls: int) -> float:
    """Seconds of one call, over so many."""
    repeat = range(calls)
    start = time.perf_counter_ns()
    for _ in repeat:
        function()
    return (time.perf_counter_ns() - start) / calls / 1e9


def time_text(seconds: float) -> str:
    """Seconds for reading: "12.3 µs"."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> dict[str, object]:
    """What the numbers depend on. Always the CPU: no benchmark here runs on an ANE."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "milane": milane.__version__,
        "isa": milane.cpu_isa(),
        "threads": milane.num_threads(),
    }


def report(
    question: str, results: Mapping[str, Spread], table: str, path: Path | None, **more: object
) -> None:
    """Prints question, machine and table; writes the JSON."""
    print(f"## {question}\n")
    print(", ".join(f"{k} {v}" for k, v in machine().items()), end="\n\n")
    print(table, end="\n\n")
    if path:
        spreads = {name: asdict(spread) for name, spread in results.items()}
        write_json(path, question, seconds_per_call=spreads, **more)


def write_json(path: Path, question: str, **content: object) -> None:
    """A question's numbers with the machine they are of."""
    path.write_text(json.dumps({"question": question, **machine(), **content}, indent=2) + "\n")
