"""`milane blob`: what it prints, what it writes, how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milane.blob import BlobWriter
from milane.cli import main

Run = Callable[..., str]
VALUES = np.array([0.1, -2.5, 65504.0, 3.0], np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """fp32 x 4 at 64, int4 x 3 at 192, fp16 x 2 at 320."""
    path = tmp_path / "weight.bin"
    with BlobWriter(path) as writer:
        writer.add_float32(VALUES)
        writer.add([-8, 0, 7], "int4")
        writer.add_float16([np.inf, np.nan])
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `milane blob` and returns what it prints."""

    def blob(*args: object, code: int = 0) -> str:
        assert main(["blob", *map(str, args)]) == code
        captured = capsys.readouterr()
        return captured.err if code and not captured.out else captured.out

    return blob


def test_ls_lists_every_record(run: Run, file: Path) -> None:
    lines = run("ls", file).splitlines()
    assert lines[0] == f"{file}: 3 records, 388 B"
    assert [line.split() for line in lines[1:]] == [
        ["record", "offset", "dtype", "count", "bytes"],
        ["0", "64", "fp32", "4", "16"],
        ["1", "192", "int4", "3", "2"],
        ["2", "320", "fp16", "2", "4"],
    ]
    report = json.loads(run("ls", file, "--json"))
    assert report["bytes"] == 388
    assert report["records"][1] == {
        "record": 1, "offset": 192, "dtype": "int4", "count": 3, "bytes": 2, "data_offset": 256,
    }  # fmt: skip


def test_check_says_that_a_file_is_sound_and_what_is_odd(run: Run, file: Path) -> None:
    assert run("check", file).splitlines() == [
        "note: record 2 at offset 320: 1 NaN and 1 infinite of 2 values",
        f"{file}: sound, 3 records",
    ]
    report = json.loads(run("check", file, "--json"))
    assert (report["sound"], report["problems"], len(report["notes"])) == (True, [], 1)


def test_check_lists_all_problems_and_fails(run: Run, file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[0], content[192] = 9, 0
    file.write_bytes(content)
    lines = run("check", file, code=1).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("record 1 at offset 192: expected sentinel")
    assert lines[1].startswith("file header at offset 0: expected a count of 3")
    report = json.loads(run("check", file, "--json", code=1))
    assert [p["offset"] for p in report["problems"]] == [192, 0]
    assert not report["sound"]
    assert "expected sentinel" in run("ls", file, code=1)


def test_dump_prints_one_element_per_line(run: Run, file: Path) -> None:
    assert run("dump", file, "--record", 0).split() == ["0.1", "-2.5", "65504.0", "3.0"]
    assert run("dump", file, "--offset", 192).split() == ["-8", "0", "7"]
    assert run("dump", file, "--record", 2).split() == ["inf", "nan"]


def test_dump_writes_arrays_and_bytes(run: Run, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npy"
    assert run("dump", file, "--record", 0, "-o", out, "--shape", "2,2") == ""
    np.testing.assert_array_equal(np.load(out), VALUES.reshape(2, 2))
    run("dump", file, "--record", 1, "-o", tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == bytes([0x08, 0x07])
    run("dump", file, "--record", 1, "-o", tmp_path / "x.txt", "--format", "text")
    assert (tmp_path / "x.txt").read_text() == "-8\n0\n7\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["weight.bin", "x.bin", "x.npy", "x.txt"]


def test_dump_needs_no_number_where_there_is_one_record(run: Run, tmp_path: Path) -> None:
    with BlobWriter(tmp_path / "one.bin") as writer:
        writer.add([1, 2], "uint3")
    assert run("dump", tmp_path / "one.bin") == "1\n2\n"


BAD: dict[str, tuple[list[Any], str]] = {
    "no record named": ([], "expected exactly one record, got 3\nhint: name one with --record N"),
    "a record too far": (["--record", 3], "--record: expected a record below 3, got 3"),
    "an offset between": (["--offset", 65], "record at offset 65: expected"),
    "a shape that does not fit": (
        ["--record", 0, "--format", "npy", "--shape", "3"],
        "--shape: expected sizes like 64,32 for 4 elements, got '3'",
    ),
    "a shape of text": (["--record", 0, "--shape", "4"], "expected --format npy, got text"),
    "bytes to the terminal": (["--record", 0, "--format", "raw"], "expected --output FILE"),
}


@pytest.mark.parametrize(("args", "message"), BAD.values(), ids=BAD.keys())
def test_bad_use_is_refused(run: Run, file: Path, args: list[Any], message: str) -> None:
    assert message in run("dump", file, *args, code=1)
    assert [p.name for p in file.parent.iterdir()] == ["weight.bin"]


def test_a_missing_file_is_refused(run: Run, tmp_path: Path) -> None:
    for action in ("ls", "check", "dump"):
        assert "expected a readable file" in run(action, tmp_path / "none.bin", code=1)
