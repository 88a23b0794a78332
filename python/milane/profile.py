"""Where the host engine's time goes: times per operation, a trace, and a chart."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from ._core import EvalStats, StepTime
from .files import write_text

# Fused steps are named by all their operations; a chart shows so much of that.
_LABEL = 34


@dataclass(frozen=True)
class OpTime:
    """The time of one kind of step, over all evaluations.

    Attributes:
        op: the operation, or those of a fused step joined by ``+``.
        steps: how many steps of the kind one evaluation has.
        ns: nanoseconds per evaluation, all its steps together.
        share: of the time of all steps, 0 to 1.
    """

    op: str
    steps: int
    ns: float
    share: float


def by_op(evaluations: Sequence[EvalStats]) -> list[OpTime]:
    """Return the times per operation, the longest first.

    ``evaluations`` come from ``kernel.eval_with_stats(per_op=True)`` of one kernel; times are means
    over them. Without steps (the device gives none) the list is empty.
    """
    totals: dict[str, float] = {}
    counts: dict[str, int] = {}
    for stats in evaluations:
        for step in stats.steps:
            totals[step.op] = totals.get(step.op, 0.0) + step.ns
    for step in evaluations[0].steps if evaluations else ():
        counts[step.op] = counts.get(step.op, 0) + 1
    whole = sum(totals.values()) or 1.0
    rows = [
        OpTime(op, counts.get(op, 0), ns / len(evaluations), ns / whole)
        for op, ns in totals.items()
    ]
    return sorted(rows, key=lambda row: -row.ns)


def write_trace(path: str | os.PathLike[str], evaluations: Iterable[EvalStats]) -> None:
    """Write a Chrome trace: chrome://tracing and ui.perfetto.dev show it.

    One bar per step in its place on the time line, one above it per evaluation; microseconds.
    Format: the JSON object form of the Trace Event Format. The file appears whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    events: list[dict[str, object]] = []
    now = 0.0
    for i, stats in enumerate(evaluations):
        events.append(_bar(f"evaluation {i}", now, stats.wall_ns / 1e3, {}))
        at = now
        for step in stats.steps:
            events.append(_bar(step.op, at, step.ns / 1e3, _details(step)))
            at += step.ns / 1e3
        now += stats.wall_ns / 1e3
    write_text(path, json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}))


def write_chart(path: str | os.PathLike[str], rows: Sequence[OpTime], title: str = "") -> None:
    """Write an SVG bar chart of :func:`by_op`'s rows. The file appears whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    bar, left, width, top = 22, 260, 420, 34
    longest = max((row.ns for row in rows), default=1.0) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 150}" '
        f'height="{top + bar * len(rows) + 10}" font-family="sans-serif" font-size="13">',
        f'<text x="10" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for i, row in enumerate(rows):
        y = top + bar * i
        label = row.op if len(row.op) <= _LABEL else row.op[: _LABEL - 1] + "…"
        parts.append(
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(label)}'
            f"<title>{escape(row.op)}</title></text>"
            f'<rect x="{left}" y="{y + 3}" width="{max(1.0, width * row.ns / longest):.1f}" '
            f'height="{bar - 6}" fill="#4878a8"/>'
            f'<text x="{left + width * row.ns / longest + 6:.1f}" y="{y + 15}">'
            f"{row.ns / 1e3:.1f} µs, {row.share:.0%}</text>"
        )
    write_text(path, "\n".join([*parts, "</svg>\n"]))


def _bar(name: str, start_us: float, us: float, args: dict[str, object]) -> dict[str, object]:
    # Ph X is a complete event; nesting on one thread comes from the times.
    return {"name": name, "ph": "X", "ts": start_us, "dur": us, "pid": 0, "tid": 0, "args": args}


def _details(step: StepTime) -> dict[str, object]:
    return {"result": step.name, "line": step.line}
