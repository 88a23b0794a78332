"""`milane doctor`: what it finds on this machine, emulated or not, and how it says that it is ill."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

import milane
from milane import _testing
from milane.cli import doctor, main

HAS_ANE = milane.probe().has_ane
BACKENDS = ["ane", "host"] if HAS_ANE else ["host"]

needs_emulation = pytest.mark.skipif(
    not _testing.available(), reason="only an emulated device can be made ill"
)


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `milane doctor --json`, and returns the exit code and the object it prints."""

    def run() -> tuple[int, Any]:
        code = main(["doctor", "--json"])
        captured = capsys.readouterr()
        assert captured.err == ""
        return code, json.loads(captured.out)

    return run


def test_it_tries_every_backend_there_is(examine: Any) -> None:
    code, report = examine()
    assert code == 0
    assert [(t["backend"], t["ok"]) for t in report["trials"]] == [(b, True) for b in BACKENDS]
    assert all("right numbers" in t["message"] for t in report["trials"])


def test_it_tells_what_the_machine_is(examine: Any) -> None:
    _, report = examine()
    info = milane.probe()
    names = ("has_ane", "num_cores", "architecture", "product", "build_version", "is_vm")
    assert report["device"] == {name: getattr(info, name) for name in names}


def test_it_tells_what_the_host_engine_runs_with(examine: Any) -> None:
    _, report = examine()
    assert report["host"] == {
        "cpu_isa": milane.cpu_isa(),
        "cpu_has_bf16": milane.cpu_has_bf16(),
        "num_threads": milane.num_threads(),
    }


def test_it_compares_every_class_and_selector(examine: Any) -> None:
    _, report = examine()
    framework = report["framework"]
    assert len(framework["rows"]) > 50
    assert (framework["error"] == "") == HAS_ANE
    for row in framework["rows"]:
        assert row["cls"]
        assert bool(row["selector"]) == bool(row["encoding"]), row
        assert not row["selector"] or (row["state"] == "missing") == (row["found"] == ""), row
    if _testing.available():
        assert {row["state"] for row in framework["rows"]} == {"ok"}
    elif not HAS_ANE:
        assert {row["state"] for row in framework["rows"]} == {"missing"}


def test_it_prints_the_same_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("machine\n")
    assert re.search(rf"^ +has_ane +{HAS_ANE}$", text, re.MULTILINE)
    assert "framework: " in text
    for backend in BACKENDS:
        assert re.search(rf"^{backend}: ok: ", text, re.MULTILINE)
    if HAS_ANE:
        assert re.search(r"^ +ok +_ANERequest$", text, re.MULTILINE)
    else:
        assert "not opened: " in text
        assert re.search(r"^ane: not tried: .*expected an Apple Neural Engine", text, re.MULTILINE)


def test_it_runs_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "milane.cli", "doctor", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert [t["backend"] for t in json.loads(done.stdout)["trials"]] == BACKENDS
    assert done.stderr == ""


# --- what is wrong


def test_a_trial_that_fails_is_told_and_exits_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_TRIAL", doctor._TRIAL.replace("relu(", "no_such_operation("))
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    for backend in BACKENDS:
        assert re.search(rf"^{backend}: FAILED: .*no_such_operation", captured.out, re.MULTILINE)


def test_wrong_numbers_are_told_and_exit_with_1(
    examine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_TRIAL", doctor._TRIAL.replace("add(", "sub("))
    code, report = examine()
    assert code == 1
    messages = [(t["ok"], t["message"]) for t in report["trials"]]
    assert messages == [(False, "a + b came out wrong")] * len(BACKENDS)


@needs_emulation
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("compile.failure", "CompilationFailure"),
        ("load.always", "0x20004"),
        ("eval.0x1d", "status=0x1d"),
        ("eval.exception", "got the exception NSInternalInconsistencyException"),
        ("nil.attributes", "modelAttributes"),
    ],
)
def test_a_device_that_fails_exits_with_1_and_the_host_is_still_tried(
    examine: Any, fault: str, message: str
) -> None:
    _testing.reset()  # what was compiled before would be loaded again
    with _testing.faults(fault):
        code, report = examine()
    assert code == 1
    ane, host = report["trials"]
    assert (ane["backend"], ane["ok"], host["backend"], host["ok"]) == ("ane", False, "host", True)
    assert message in ane["message"]
    assert examine()[0] == 0


@needs_emulation
def test_a_selector_that_is_not_there_is_named_with_what_is_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # An optional one: the trial passes without it.
    with _testing.faults("missing.selector", "_ANEClient.beginRealTimeTask"):
        code = main(["doctor"])
    text = capsys.readouterr().out
    assert code == 0
    assert re.search(r"^missing: _ANEClient -beginRealTimeTask: \S", text, re.MULTILINE)
    assert re.search(r"^ane: ok: ", text, re.MULTILINE)


@needs_emulation
@pytest.mark.parametrize(
    "fault",
    [("missing.class", "_ANERequest"), ("missing.selector", "modelAttributes")],
    ids=["class", "selector"],
)
def test_without_something_required_the_device_is_not_tried(
    capsys: pytest.CaptureFixture[str], fault: tuple[str, str]
) -> None:
    with _testing.faults(*fault):
        code = main(["doctor"])
    text = capsys.readouterr().out
    assert code == 0
    assert re.search(rf"^missing: .*{fault[1]}", text, re.MULTILINE)
    assert re.search(rf"^ane: not tried: .*{fault[1]}", text, re.MULTILINE)
    assert re.search(r"^host: ok: ", text, re.MULTILINE)


@needs_emulation
def test_a_machine_whose_system_denies_an_engine_is_not_tried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with _testing.faults("no_ane"):
        assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^ane: not tried: .*no Neural Engine", text, re.MULTILINE)


@needs_emulation
def test_a_virtual_machine_is_called_one(examine: Any) -> None:
    with _testing.faults("vm"):
        _, report = examine()
    assert report["device"]["is_vm"] is True
