"""What a run leaves: Markdown, JSON, a chart for each question; and the comparison of two runs."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from common import machine, markdown, time_text
from measure import COLUMNS, Row, cells

Answer = Mapping[str, Any]
Rows = list[Mapping[str, Any]]

# A time counts as changed when the ranges of both runs are apart, and by more than this.
MARGIN = 0.03

SUMMARY = ["case", "threads", "milane", "best fp32 or fp16 peer", "its time", "times faster",
           "against bf16", "of limit (best)"]  # fmt: skip


def rows_of(answer: Answer) -> list[dict[str, Any]]:
    """An answer's rows; a question that reports only seconds has one for each variant."""
    if "rows" in answer:
        return list(answer["rows"])
    spreads = answer.get("seconds_per_call", {})
    return [{"case": answer["module"], "variant": name, **s} for name, s in spreads.items()]


def write(folder: Path, answers: list[dict[str, Any]], old: Path | None = None) -> None:
    """report.json, report.md and chart-*.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"when": datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"),
               "cpu": cpu_name(), **machine(), "answers": answers}  # fmt: skip
    (folder / "report.json").write_text(json.dumps(content, indent=1) + "\n")
    parts = [report(content)]
    for answer in answers:
        drawn = chart(answer)
        if drawn:
            name = f"chart-{answer['module']}-{answer['threads']}.svg"
            (folder / name).write_text(drawn, encoding="utf-8")
    if old:
        parts.append(
            "## Against " + old.name + "\n\n" + compare(json.loads(old.read_text()), content)
        )
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def report(content: Mapping[str, Any]) -> str:
    """The Markdown: machine, summary, then every question's table."""
    facts = {k: v for k, v in content.items() if isinstance(v, str | int) and k != "threads"}
    parts = ["# Benchmarks", ", ".join(f"{k} {v}" for k, v in facts.items())]
    parts += ["## Summary", markdown(SUMMARY, list(summary(content["answers"]))), READING]
    for answer in content["answers"]:
        title = str(answer.get("question", answer["module"])).strip().splitlines()[0]
        parts.append(f"## {answer['module']}, {answer['threads']} threads: {title}")
        if answer.get("left_out"):
            parts.append(f"Left out: {answer['left_out']}.")
        if answer.get("failed"):
            parts.append(f"Failed: {answer['failed']}")
        known = Row.__dataclass_fields__
        rows = [Row(**{k: v for k, v in r.items() if k in known}) for r in answer.get("rows", [])]
        if rows:
            parts.append(markdown(COLUMNS, [cells(row) for row in rows]))
            if any(row.ratio for row in rows):
                name = f"chart-{answer['module']}-{answer['threads']}.svg"
                parts.append(f"![{answer['module']}, {answer['threads']} threads]({name})")
    return "\n\n".join(parts)


READING = (
    "Medians. \"Times faster\" is the peer's time over milane's. \"Of limit\" is the work over the "
    "time, against the best round of the limit measured in the same rounds; in brackets the best "
    "round of milane. bf16 computes something coarser and is apart: \"against bf16\" is the time "
    "of the fastest such peer over that of milane bf16, or over milane's where there is none."
)  # fmt: skip


def by_case(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of each case, in order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["case"], []).append(row)
    return found


def is_own(variant: str) -> bool:
    """Whether a variant is Milane's."""
    return variant.lower().startswith("milane")


def parted(rows: Rows) -> tuple[Rows, Rows]:
    """Variants that compute in bf16, and the others."""
    coarse = [r for r in rows if "bf16" in r["variant"]]
    return coarse, [r for r in rows if r not in coarse]


def fastest(rows: Rows) -> Mapping[str, Any] | None:
    """The one with the least median, if there is any."""
    return min(rows, key=lambda r: r["median"], default=None)


def summary(answers: Iterable[Answer]) -> Iterator[list[str]]:
    """One line for each case that has peers or a limit."""
    for answer in answers:
        if "seconds_per_call" in answer:
            continue
        for case, rows in by_case(answer.get("rows", [])).items():
            timed = [r for r in rows if r.get("median")]
            own = [r for r in timed if is_own(r["variant"])]
            if not own:
                continue
            others = [r for r in timed if r not in own and not r["variant"].startswith("limit")]
            own_coarse, own = parted(own)
            coarse, peers = parted(others)
            fast_own = fastest(own_coarse)
            best = fastest(own) or fast_own
            assert best
            peer, fast = fastest(peers), fastest(coarse)
            against = (fast_own or best)["median"]
            share = best.get("of_limit")
            yield [
                *(case, str(answer["threads"])),
                time_text(best["median"]),
                *((peer["variant"], time_text(peer["median"])) if peer else ("none here", "")),
                f"{peer['median'] / best['median']:.2f}" if peer else "",
                f"{fast['median'] / against:.2f}" if fast else "",
                f"{share:.0%} ({best['best_of_limit']:.0%})" if share else "",
            ]


# Comparison


def _keyed(content: Mapping[str, Any]) -> dict[tuple[str, int, str, str], Mapping[str, Any]]:
    return {
        (answer["module"], answer["threads"], row["case"], row["variant"]): row
        for answer in content["answers"]
        for row in answer.get("rows", [])
        if row.get("median")
    }


def changes(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[list[list[str]], list[list[str]], int]:
    """What is slower, what is faster, and how many of Milane's times were compared.

    Two times differ where every round of one was slower than every round of the other, and the
    medians differ by more than MARGIN. Peers and limits are not compared, unless both are in the
    rows of a question that does not tell them apart.
    """
    before, after = _keyed(old), _keyed(new)
    slower, faster, compared = [], [], 0
    for key, row in after.items():
        if key not in before or not is_own(key[3]):
            continue
        compared += 1
        then, ratio = before[key], row["median"] / before[key]["median"]
        line = [*(str(part) for part in key), time_text(then["median"]), time_text(row["median"]),
                f"{ratio:.2f}"]  # fmt: skip
        if row["min"] > then["max"] and ratio > 1 + MARGIN:
            slower.append(line)
        elif row["max"] < then["min"] and ratio < 1 - MARGIN:
            faster.append(line)
    return slower, faster, compared


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The comparison for reading."""
    slower, faster, compared = changes(old, new)
    columns = ["question", "threads", "case", "variant", "before", "now", "now / before"]
    parts = [f"{compared} of milane's times compared: {len(slower)} slower, {len(faster)} faster "
             f"beyond noise."]  # fmt: skip
    for title, rows in (("Slower", slower), ("Faster", faster)):
        if rows:
            parts += [f"{title}:", markdown(columns, rows)]
    return "\n\n".join(parts)


# Charts

_COLOURS = {"milane": "#c2410c", "ONNX": "#1d4ed8", "PyTorch": "#4d7c0f", "NumPy": "#6b7280"}
_BAR, _GAP, _LEFT, _WIDTH, _MOST = 14, 10, 320, 420, 4.0


def chart(answer: Answer) -> str:
    """Times relative to each case's first variant as bars; "" where there is nothing to compare."""
    cases = by_case(r for r in answer.get("rows", []) if r.get("ratio"))
    cases = {name: rows for name, rows in cases.items() if len(rows) > 1}
    if not cases:
        return ""
    parts: list[str] = []
    y = 30
    for name, rows in cases.items():
        parts.append(f'<text x="4" y="{y + 11}" font-weight="bold">{escape(name)}</text>')
        y += _BAR + 4
        for row in rows:
            share = min(row["ratio"], _MOST) / _MOST
            colour = next(
                (c for k, c in _COLOURS.items() if row["variant"].lower().startswith(k.lower())),
                "#9ca3af",
            )
            width = share * _WIDTH
            more = " →" if row["ratio"] > _MOST else ""
            label = f"{time_text(row['median'])} ({row['ratio']:.2f}×{more})"
            parts += [
                f'<text x="{_LEFT - 6}" y="{y + 11}" text-anchor="end">'
                f"{escape(row['variant'])}</text>",
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" '
                f'fill="{colour}"/>',
                f'<text x="{_LEFT + width + 5:.1f}" y="{y + 11}">{escape(label)}</text>',
            ]
            y += _BAR
        y += _GAP
    line = _LEFT + _WIDTH / _MOST
    title = f"{answer['module']}, {answer['threads']} threads: time, milane = 1, shorter is better"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 170}" height="{y}" '
        f'font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="4" y="16" font-size="13">{escape(title)}</text>\n'
        f'<line x1="{line:.1f}" y1="24" x2="{line:.1f}" y2="{y - 6}" stroke="#d1d5db"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
