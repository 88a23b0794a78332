"""The benchmarks' command: what it reports, what it refuses to time, what it calls slower."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import milane
from milane._core import limits as native

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks"
sys.path.insert(0, str(FOLDER))

import limits  # noqa: E402  # beside the benchmarks
import measure  # noqa: E402
import reports  # noqa: E402
from common import Spread  # noqa: E402


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    package = str(Path(milane.__file__).parent.parent)
    paths = os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of two cheap questions, compared with itself."""
    out = tmp_path_factory.mktemp("report")
    asked = ["--only", "limits", "--only", "compile", "--short", "--threads", "1"]
    done = command(*asked, "--rounds", "7", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_a_run_reports_its_machine_and_every_question(content: dict[str, Any]) -> None:
    assert content["isa"] == milane.cpu_isa()
    assert content["milane"] == milane.__version__
    assert [(a["module"], a["threads"]) for a in content["answers"]] == [
        ("limits", 1),
        ("compile", 1),
    ]


def test_every_row_of_a_report_has_times_in_order(content: dict[str, Any]) -> None:
    rows = [row for answer in content["answers"] for row in answer["rows"]]
    assert {row["case"] for row in rows} >= {"fp32 multiply-adds", "0.25 MB of text"}
    for row in rows:
        assert 0 < row["min"] <= row["median"] <= row["max"]
        assert row["rounds"] >= 1


def test_a_row_is_checked_before_it_is_timed(content: dict[str, Any]) -> None:
    rows = [r for a in content["answers"] if a["module"] == "compile" for r in a["rows"]]
    assert rows
    for row in rows:
        assert 0 <= row["error"] <= row["allowed"]


def test_the_markdown_has_a_summary_and_a_table_for_each_question(folder: Path) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.index("## Summary") < text.index("## limits, 1 threads")
    assert text.index("## limits, 1 threads") < text.index("## compile, 1 threads")
    assert re.search(r"^\| 0\.25 MB of text \| 1 \|", text, re.MULTILINE)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = {line.count(" | ") for line in tables}
    assert widths == {len(reports.SUMMARY) - 1, len(measure.COLUMNS) - 1}


def test_a_chart_has_a_bar_for_each_variant(folder: Path, content: dict[str, Any]) -> None:
    chart = ElementTree.parse(folder / "chart-limits-1.svg").getroot()
    bars = [e for e in chart.iter() if e.tag.endswith("rect") and e.get("width") != "100%"]
    cases = reports.by_case(content["answers"][0]["rows"])
    assert len(bars) == sum(len(rows) for rows in cases.values() if len(rows) > 1)


def test_a_question_that_is_none_is_refused() -> None:
    done = command("--only", "nonsense")
    assert done.returncode == 2
    assert "expected of limits, gemm" in done.stderr


def test_every_question_is_listed_with_its_first_line() -> None:
    done = command("--list")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert sorted(names) == sorted(p.stem[6:] for p in FOLDER.glob("bench_*.py"))
    assert all(line.endswith("?") for line in done.stdout.splitlines())


# --- what is timed, and in which order


def options() -> argparse.Namespace:
    return argparse.Namespace(rounds=3, bytes=1 << 20, threads=1, short=True)


def variant(value: float, calls: list[str] | None = None, name: str = "") -> measure.Variant:
    def call() -> None:
        if calls is not None:
            calls.append(name)

    return measure.Variant(call, lambda: np.full(4, value))


def test_variants_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(measure, "PAUSE_SECONDS", 0)
    functions: dict[str, Callable[[], object]] = {
        name: lambda name=name: calls.append(name)  # type: ignore[misc]
        for name in ("a", "b")
    }
    measure.interleaved(functions, 3, seconds=0)
    assert "".join(calls) == "aabb" + "ab" * 3


def test_a_peer_that_disagrees_is_not_timed() -> None:
    case = measure.Case("c", {"milane": variant(1.0), "peer": variant(1.1)}, np.ones(4))
    own, peer = measure.run_case(case, options())
    assert own.median is not None
    assert own.error == 0
    assert peer.median is None
    assert "differs by 0.1" in peer.note


def test_a_peer_within_its_rounding_is_timed() -> None:
    case = measure.Case("c", {"milane": variant(1.0), "peer": variant(1 + 2**-12)}, np.ones(4))
    _, peer = measure.run_case(case, options())
    assert peer.median is not None
    assert peer.error == pytest.approx(2**-12)


@pytest.mark.parametrize("value", [1.1, float("nan")])
def test_milane_itself_must_agree(value: float) -> None:
    case = measure.Case("c", {"milane": variant(value)}, np.ones(4))
    with pytest.raises(measure.DisagreementError, match="c: milane differs"):
        measure.run_case(case, options())


def test_a_peer_that_fails_says_why() -> None:
    def fail() -> None:
        raise RuntimeError("no kernel\nfor this")

    broken = measure.Variant(fail, lambda: np.ones(4))
    rows = measure.run_case(measure.Case("c", {"milane": variant(1), "p": broken}), options())
    assert rows[1].median is None
    assert rows[1].note == "RuntimeError: no kernel"


def test_a_share_of_the_limit_uses_the_limits_best_round() -> None:
    probe = limits.Probe(lambda: None, 10.0)
    spread = Spread(median=4.0, min=2.0, max=8.0, rounds=3)
    assert measure.best_rate({"limit: x": probe}, {"limit: x": spread}) == 5.0


# --- the probes


def test_multiply_adds_are_counted_for_all_threads() -> None:
    before = milane.num_threads()
    try:
        milane.set_num_threads(1)
        one = native.multiply_adds(1024)
        milane.set_num_threads(2)
        assert native.multiply_adds(1024) == 2 * one
    finally:
        milane.set_num_threads(before)
    # Two operations for each lane of some registers in each step.
    assert one % (2 * 4 * 1024) == 0


def test_bf16_dot_products_are_counted_where_there_are_some() -> None:
    before = milane.num_threads()
    try:
        milane.set_num_threads(1)
        one = native.bf16_dots(1024)
        assert (one > 0) == milane.cpu_has_bf16()
        milane.set_num_threads(2)
        assert native.bf16_dots(1024) == 2 * one
    finally:
        milane.set_num_threads(before)
    # Two products and two sums for each of 16 lanes of some registers in each step.
    assert one % (4 * 16 * 1024) == 0


def test_a_read_sees_every_byte() -> None:
    rng = np.random.default_rng(0)
    source = limits.buffer(3 << 20, huge=False)
    source[:] = rng.integers(0, 256, source.size)
    words = source.view(np.uint32)
    assert native.read(source) == int(words.sum(dtype=np.uint64) % 2**32)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_copy_copies_every_byte(streaming: bool) -> None:
    source, target = limits.buffer(3 << 20, huge=True), limits.buffer(3 << 20, huge=True)
    source[:] = np.random.default_rng(0).integers(0, 256, source.size)
    native.copy(target, source, streaming)
    np.testing.assert_array_equal(target, source)


def test_probes_refuse_bytes_that_they_would_not_all_touch() -> None:
    source = limits.buffer(1 << 20, huge=False)
    with pytest.raises(milane.InvalidArgumentError, match="multiple of 256"):
        native.read(source[:100])
    with pytest.raises(milane.InvalidArgumentError, match="as many bytes"):
        native.copy(source[:256], source[:512])


# --- comparison, with made-up times


def run(**times: tuple[float, float, float]) -> dict[str, Any]:
    rows = [
        {"case": "c", "variant": name, "min": t[0], "median": t[1], "max": t[2]}
        for name, t in times.items()
    ]
    return {"answers": [{"module": "m", "threads": 1, "rows": rows}]}


def test_a_time_beyond_all_rounds_of_the_other_run_is_slower() -> None:
    slower, faster, compared = reports.changes(run(milane=(1, 2, 3)), run(milane=(4, 5, 6)))
    assert (len(slower), len(faster), compared) == (1, 0, 1)
    assert slower[0][:4] == ["m", "1", "c", "milane"]
    assert slower[0][-1] == "2.50"


def test_a_time_below_all_rounds_of_the_other_run_is_faster() -> None:
    slower, faster, _ = reports.changes(run(milane=(4, 5, 6)), run(milane=(1, 2, 3)))
    assert (len(slower), len(faster)) == (0, 1)


def test_ranges_that_overlap_are_noise() -> None:
    assert reports.changes(run(milane=(1, 2, 4.5)), run(milane=(4, 5, 6)))[:2] == ([], [])


def test_a_difference_within_the_margin_is_noise() -> None:
    old, new = run(milane=(1.00, 1.001, 1.002)), run(milane=(1.01, 1.011, 1.012))
    assert reports.changes(old, new)[:2] == ([], [])


def test_peers_are_not_compared() -> None:
    old, new = run(milane=(1, 1, 1), PyTorch=(1, 1, 1)), run(milane=(1, 1, 1), PyTorch=(9, 9, 9))
    assert reports.changes(old, new) == ([], [], 1)


def test_a_row_without_a_time_is_not_compared() -> None:
    old, new = run(milane=(1, 1, 1)), run(milane=(1, 1, 1))
    new["answers"][0]["rows"][0]["median"] = None
    assert reports.changes(old, new) == ([], [], 0)


def test_the_best_peer_of_a_summary_is_not_a_coarser_one() -> None:
    rows = [
        {"case": "c", "variant": name, "median": t, "min": t, "max": t}
        for name, t in (("milane", 2e-3), ("PyTorch fp32", 4e-3), ("PyTorch bf16", 1e-3))
    ]
    (line,) = reports.summary([{"module": "m", "threads": 1, "rows": rows}])
    assert line == ["c", "1", "2 ms", "PyTorch fp32", "4 ms", "2.00", "0.50", ""]


def test_milane_in_bf16_is_held_against_bf16_alone() -> None:
    times = {"milane": 4e-3, "milane bf16": 2e-3, "PyTorch fp32": 8e-3, "PyTorch bf16": 3e-3}
    rows = [{"case": "c", "variant": n, "median": t, "min": t, "max": t} for n, t in times.items()]
    (line,) = reports.summary([{"module": "m", "threads": 1, "rows": rows}])
    assert line == ["c", "1", "4 ms", "PyTorch fp32", "8 ms", "2.00", "1.50", ""]
