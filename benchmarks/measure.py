"""Cases: what is compared, whether it agrees, how long it takes in turn, how far from the limit."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import Spread, machine, markdown, parser, time_calls, time_text, write_json
from limits import LARGE, Probe, probes

import milane

HALF = 2.0**-11  # the largest relative error of one rounding to fp16
COARSE = 2.0**-8  # of one rounding to bf16

# All rounds of a variant together take about so long at most: slow ones have fewer, at least one.
SLOW_SECONDS = 2.0
# Before a turn, so long, and again while other threads of this process use the CPU, up to so often:
# those of OpenBLAS look for work for 60 ms and more, and would be measured as the next one's time.
PAUSE_SECONDS, PAUSES = 0.01, 30

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Variant:
    """One way to compute a case's result.

    Attributes:
        call: computes it once.
        result: the result of the last call, in the case's own layout.
        rounding: the largest relative error of rounding to the type it computes in.
    """

    call: Callable[[], object]
    result: Callable[[], Array]
    rounding: float = HALF


@dataclass
class Case:
    """One row's question.

    Attributes:
        name: such as ``768×768×256``.
        variants: by name; the first is what the others are compared with.
        expected: what every result is compared with, computed by none of the variants' own code
            where that is possible.
        roundings: results rounded one after the other on the longest way through the case: the
            relative error may be so many times a variant's rounding.
        limit: "fma", "bf16", "read", "copy" or nothing: see `limits.probes`.
        work: floating-point operations or bytes that the result takes at least.
        missing: peers that are not here, and why.
        note: what a reader must know.
        notes: the same for single variants.
    """

    name: str
    variants: dict[str, Variant]
    expected: Array | None = None
    roundings: float = 1
    limit: str = ""
    work: float = 0.0
    missing: dict[str, str] = field(default_factory=dict)
    note: str = ""
    notes: dict[str, str] = field(default_factory=dict)


@dataclass
class Row:
    """One variant of one case, measured; the JSON has these."""

    case: str
    variant: str
    median: float | None = None
    min: float | None = None
    max: float | None = None
    rounds: int = 0
    error: float | None = None  # relative, against what was expected
    allowed: float | None = None
    rate: float | None = None  # work per second
    of_limit: float | None = None  # this median against the best round of the limit, 1 at most
    best_of_limit: float | None = None  # its best round against the same
    ratio: float | None = None  # this time over that of the case's first variant
    note: str = ""


Options = argparse.Namespace
Cases = Callable[[Options], Iterable[Case]]


class DisagreementError(AssertionError):
    """Milane's own result is not what the peers compute."""


def relative_error(got: Array, expected: Array) -> float:
    """``|got - expected| / |expected|``, Euclidean norms over all elements, in float64."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if got.shape != expected.shape:
        raise DisagreementError(f"shapes {list(got.shape)} and {list(expected.shape)}")
    size = float(np.linalg.norm(expected.ravel()))
    return float(np.linalg.norm((got - expected).ravel())) / (size or 1.0)


def run_case(case: Case, options: Options) -> list[Row]:
    """Every variant checked, then all timed in turn beside the limit's probes.

    A peer that fails or disagrees is a row with the reason and without a time.

    Raises:
        DisagreementError: the first variant fails its own check.
    """
    rows = {name: Row(case.name, name, note=why) for name, why in case.missing.items()}
    usable: dict[str, Callable[[], object]] = {}
    own = next(iter(case.variants))
    for name, variant in case.variants.items():
        note = case.notes.get(name, case.note if name == own else "")
        row = rows[name] = Row(case.name, name, note=note)
        try:
            seconds = _checked_call(variant.call)
            if case.expected is not None:
                row.allowed = case.roundings * variant.rounding
                row.error = relative_error(variant.result(), case.expected)
        except Exception as error:  # a peer that cannot do it is a result too
            if name == own:
                raise
            row.note = f"{type(error).__name__}: {_first_line(error)}"
            continue
        # Written so that NaN fails too.
        if row.error is not None and row.allowed is not None and not row.error <= row.allowed:
            text = f"differs by {row.error:.2g}, allowed {row.allowed:.2g}"
            if name == own:
                raise DisagreementError(f"{case.name}: {name} {text}")
            row.note = text
            continue
        if seconds > SLOW_SECONDS and name != own:
            # A round of it would take as long as all rounds of the others.
            row.median = row.min = row.max = seconds
            row.rounds, row.note = 1, "one call, not in turn"
            continue
        usable[name] = variant.call
    limits = probes(case.limit, options.bytes)
    spreads = interleaved(usable | {n: p.call for n, p in limits.items()}, options.rounds)
    best = best_rate(limits, spreads)
    for name, spread in spreads.items():
        row = rows.setdefault(name, Row(case.name, name))
        row.median, row.min, row.max, row.rounds = (
            spread.median,
            spread.min,
            spread.max,
            spread.rounds,
        )
    for name, row in rows.items():
        if row.median is None or row.min is None:
            continue
        work = limits[name].work if name in limits else case.work
        row.rate = work / row.median if work else None
        if row.rate and best:
            row.of_limit, row.best_of_limit = row.rate / best, work / row.min / best
        if name not in limits:
            row.ratio = row.median / spreads[own].median
    order = [*case.variants, *limits, *case.missing]
    return [rows[name] for name in order]


def _checked_call(call: Callable[[], object]) -> float:
    """Seconds of a call; of the second one where the first was slow: it may have compiled."""
    seconds = time_calls(call, 1)
    return seconds if seconds < SLOW_SECONDS else time_calls(call, 1)


def best_rate(limits: Mapping[str, Probe], spreads: Mapping[str, Spread]) -> float:
    """The limit: the best probe's best round, as work per second; 0 without probes."""
    return max((p.work / spreads[n].min for n, p in limits.items()), default=0.0)


def interleaved(
    variants: Mapping[str, Callable[[], object]], rounds: int, seconds: float = 0.05
) -> dict[str, Spread]:
    """Seconds per call, measured in turn (A B A B …), each turn behind a pause and a call.

    As `common.alternate`, for peers with threads of their own.
    """
    calls, counts = {}, {}
    for name, function in variants.items():
        settle()
        function()
        once = max(time_calls(function, 1), 1e-8)
        calls[name] = max(1, int(seconds / once))
        counts[name] = max(1, min(rounds, int(SLOW_SECONDS / once)))
    times: dict[str, list[float]] = {name: [] for name in variants}
    for r in range(rounds):
        for name, function in variants.items():
            if r < counts[name]:
                settle()
                if calls[name] > 1:
                    function()
                times[name].append(time_calls(function, calls[name]))
    return {n: Spread(statistics.median(t), min(t), max(t), len(t)) for n, t in times.items()}


def settle() -> None:
    """Sleep until the other threads of this process sleep too."""
    for _ in range(PAUSES):
        before = time.process_time()
        time.sleep(PAUSE_SECONDS)
        if time.process_time() - before < PAUSE_SECONDS / 10:
            return


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]


def pin(threads: int) -> None:
    """Keep this process on so many of its CPUs, and start it anew where libraries must know.

    NumPy's OpenBLAS reads its number of threads when it is loaded: threads beyond the CPUs that it
    may use would take turns.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    wanted = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)
    )
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | wanted)


def main(question: str, cases: Cases) -> None:
    """The command of one question: options, cases, table and JSON."""
    options = parser(question)
    options.add_argument("--short", action="store_true", help="the cheapest cases, less memory")
    options.add_argument("--case", default="", help="only cases whose name contains this")
    options.add_argument("--no-compile", action="store_true", help="without torch.compile")
    args = options.parse_args()
    args.threads = args.threads or milane.num_threads()
    args.bytes = LARGE // 8 if args.short else LARGE
    pin(args.threads)
    milane.set_num_threads(args.threads)
    rows: list[Row] = []
    failed = []
    print(f"## {question.strip().splitlines()[0]}\n")
    print(", ".join(f"{k} {v}" for k, v in machine().items()), end="\n\n")
    print(markdown(COLUMNS, []), flush=True)
    for case in cases(args):
        if args.case not in case.name:
            continue
        try:
            made = run_case(case, args)
        except DisagreementError as error:
            failed.append(str(error))
            made = [Row(case.name, next(iter(case.variants)), note=str(error))]
        for row in made:
            print("| " + " | ".join(cells(row)) + " |", flush=True)
        rows += made
    if args.json:
        write_report(args.json, question, rows)
    if failed:
        sys.exit("\n".join(failed))


COLUMNS = ["case", "variant", "median", "min", "max", "against the first", "of limit (best)",
           "rate", "error (allowed)", "note"]  # fmt: skip


def cells(row: Row) -> list[str]:
    """A row for reading."""
    times = [time_text(t) if t is not None else "" for t in (row.median, row.min, row.max)]
    error = "" if row.error is None else f"{row.error:.1e} ({row.allowed:.1e})"
    return [
        *(row.case, row.variant, *times),
        f"{row.ratio:.2f}" if row.ratio else "",
        f"{row.of_limit:.0%} ({row.best_of_limit:.0%})" if row.of_limit else "",
        rate_text(row.rate) if row.rate else "",
        *(error, row.note.replace("|", "/")),
    ]


def rate_text(rate: float) -> str:
    """Work per second for reading: operations or bytes, as the case has it."""
    return f"{rate / 1e9:.1f} G/s" if rate >= 1e9 else f"{rate / 1e6:.1f} M/s"


def write_report(path: Path, question: str, rows: Iterable[Row]) -> None:
    """The JSON of one question."""
    write_json(path, question, rows=[asdict(row) for row in rows])
