"""Times per operation: the rows, the trace, the chart, and the command that makes them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import milane
from milane import profile
from milane.cli import main

PROGRAM = """program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 8, 1, 40]> x, tensor<int32, [2]> n) {
        tensor<fp16, [1, 8, 1, 40]> s = softmax(x = x, axis = int32(-1))[name = string("s")];
        tensor<fp16, [1, 8, 1, 40]> t = softmax(x = s, axis = int32(1))[name = string("t")];
        tensor<fp16, [1, 8, 1, 40]> y = relu(x = t)[name = string("y")];
        tensor<int32, [2]> m = add(x = n, y = n)[name = string("m")];
    } -> (y, m);
}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.mil"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def runs() -> list[milane.EvalStats]:
    with milane.open("host") as runtime, runtime.compile(PROGRAM) as kernel:
        return [kernel.eval_with_stats(per_op=True) for _ in range(4)]


def test_rows_add_up_to_the_steps(runs: list[milane.EvalStats]) -> None:
    rows = profile.by_op(runs)
    assert sum(row.steps for row in rows) == len(runs[0].steps)
    assert sum(row.share for row in rows) == pytest.approx(1)
    mean = sum(step.ns for run in runs for step in run.steps) / len(runs)
    assert sum(row.ns for row in rows) == pytest.approx(mean)
    assert [row.ns for row in rows] == sorted((row.ns for row in rows), reverse=True)
    assert {row.op: row.steps for row in rows}["softmax"] == 2


def test_nothing_measured_gives_no_rows() -> None:
    assert profile.by_op([]) == []


def test_a_trace_has_a_bar_per_step_inside_its_evaluation(
    runs: list[milane.EvalStats], tmp_path: Path
) -> None:
    profile.write_trace(tmp_path / "t.json", runs)
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    whole = [e for e in events if e["name"].startswith("evaluation")]
    steps = [e for e in events if not e["name"].startswith("evaluation")]
    assert len(whole) == len(runs)
    assert len(steps) == sum(len(run.steps) for run in runs)
    for step in steps:
        assert any(
            e["ts"] <= step["ts"] and step["ts"] + step["dur"] <= e["ts"] + e["dur"] + 1e-6
            for e in whole
        )
    assert list(tmp_path.iterdir()) == [tmp_path / "t.json"]


def test_a_chart_is_a_picture_with_a_bar_per_row(
    runs: list[milane.EvalStats], tmp_path: Path
) -> None:
    rows = profile.by_op(runs)
    profile.write_chart(tmp_path / "c.svg", rows, "a <title> & more")
    picture = ET.parse(tmp_path / "c.svg").getroot()
    bars = [e for e in picture if e.tag.endswith("rect")]
    assert len(bars) == len(rows)
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths == sorted(widths, reverse=True)
    assert "a <title> & more" in "".join(picture.itertext())


def test_an_unwritable_target_leaves_nothing(runs: list[milane.EvalStats], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        profile.write_trace(tmp_path / "missing" / "t.json", runs)


def test_the_command_prints_a_table_and_writes_both_files(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, chart = tmp_path / "t.json", tmp_path / "c.svg"
    assert (
        main(["profile", str(model), "--repeat", "3", "--trace", str(trace), "--chart", str(chart)])
        == 0
    )
    text = capsys.readouterr().out
    assert "net.mil" in text
    assert "softmax" in text
    assert json.loads(trace.read_text())["traceEvents"]
    assert ET.parse(chart)


def test_the_command_as_json_and_with_an_input_of_its_own(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "n.npy", np.array([1, 2], np.int32))
    assert main(["profile", str(model), "--input", f"n={tmp_path / 'n.npy'}", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["repeat"] == 10
    assert sum(row["share"] for row in report["operations"]) == pytest.approx(1)
    assert main(["profile", str(model), "--input", f"z={tmp_path / 'n.npy'}"]) == 1
    assert "unknown: z" in capsys.readouterr().err
