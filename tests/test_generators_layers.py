"""The generators of layers: their numbers against PyTorch, and their text.

Tolerance: `program_tolerance` measures how far the roundings of the program's own operations carry;
nothing is added to it. In float64, where nothing is rounded, program and PyTorch agree to 1e-9 of
the largest element, which leaves no room for another formula.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from generator_cases import CASES, Case, write_weights
from milane import mil
from milane._core import mil as core_mil
from on_device import Both
from tolerance import program_tolerance

Array = NDArray[Any]


def by_id(case: Case) -> str:
    return case.id


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_a_program_computes_what_pytorch_does(
    case: Case, runtime: milane.Runtime, tmp_path: Path
) -> None:
    program = case.make()
    inputs, weights = case.arrays(program)
    folder = write_weights(program, weights, tmp_path)
    expected = case.expected(program)
    truth, allowed = program_tolerance(str(program), folder, inputs)
    with runtime.compile(program, weights=weights) as kernel:
        got = kernel(**inputs)
    assert list(got) == list(expected) == list(program.outputs)
    for name, want in expected.items():
        assert got[name].shape == want.shape
        assert np.max(np.abs(truth[name] - want)) <= 1e-9 * np.max(np.abs(want)), name
        off = np.abs(got[name].astype(np.float64) - want)
        assert np.all(off <= allowed[name]), f"{name}: {np.max(off / allowed[name])} of what may be"


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_dialects_and_backends_give_the_same_bits(case: Case, both: Both) -> None:
    program = case.make()
    inputs, weights = case.arrays(program)
    files = program.weight_files(weights)
    assert both.agree(program.program, lambda _: [inputs], weight_files=files)
    if case.only_ios18:
        with pytest.raises(milane.InvalidArgumentError, match="ios18"):
            case.make("ios16")
        return
    older = case.make("ios16")
    assert (older.inputs, older.outputs) == (program.inputs, program.outputs)
    if [w.name for w in older.weights] != [w.name for w in program.weights]:
        weights = {}  # the parts of a compressed weight differ, and the program knows them
    with (
        both.host.compile(program, weight_files=files) as new,
        both.host.compile(older, weights=weights) as old,
    ):
        want, got = new(**inputs), old(**inputs)
    for name, array in want.items():
        assert got[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("dialect", ["ios18", "ios16"])
@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_the_text_is_one_that_the_device_takes(case: Case, dialect: str) -> None:
    if dialect == "ios16" and case.only_ios18:
        return
    program = case.make(dialect)
    text = str(program)
    parsed = mil.parse(text)
    parsed.verify()
    assert str(parsed) == text
    assert parsed == program.program
    assert core_mil.broken_limits(parsed) == []
    assert text == str(case.make(dialect))
    for names in (program.inputs, program.outputs):
        assert list(names) == sorted(names, key=str.encode)
    version = {"ios18": "1.3", "ios16": "1.0"}[dialect]
    assert text.startswith(f"program({version})\n[buildInfo")
    assert f"func main<{dialect}>" in text
