"""Every operation of the host engine, held against the float64 reference."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

pytest.importorskip("milane", reason="the package is not built")

from op_cases import CASES, STATE_CASES, Case, StateCase
from op_harness import Array, operations, run_calls, run_program
from reference import OPS, evaluate, mil_dtype
from tolerance import Tolerance, assert_close, exact

# Given by the plan or the parser itself, tested with whole programs.
_WITHOUT_CASES = {"const"}


def _check(case: Case, outputs: Mapping[str, Array], tolerance: Tolerance, numerics: str) -> None:
    expected = case.expected()
    kept = [i for i in range(len(expected)) if i not in case.skip_results]
    dtypes = case.dtypes()
    assert len(outputs) == len(kept)
    for i, actual in zip(kept, outputs.values(), strict=True):
        declared = dtypes[i]
        # Under numerics="fp32" nothing is rounded to half but what a half surface holds.
        dtype = mil_dtype(actual) if declared == "fp16" and numerics == "fp32" else declared
        if numerics == "fp16":
            assert mil_dtype(actual) == declared
        label = f"{case} (result {i})"
        # A magnitude is that of the first result; others of the same length share the class.
        fits = np.ndim(tolerance.magnitude) == 0 or i == 0
        assert_close(actual, expected[i], tolerance if fits else tolerance.of(None), dtype, label)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_host_engine_computes_what_the_reference_does(case: Case) -> None:
    outputs = run_program(case.program(), case.feeds())
    _check(case, outputs, case.bounds(), "fp16")


@pytest.mark.parametrize("case", [c for c in CASES if "fp32" in c.numerics], ids=str)
def test_without_rounding_the_engine_is_within_single_precision(case: Case) -> None:
    outputs = run_program(case.program(), case.feeds(), numerics="fp32")
    _check(case, outputs, case.bounds(), "fp32")


@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_states_carry_over_from_call_to_call(case: StateCase) -> None:
    states: dict[str, Array] = {}
    for number, (inputs, actual) in enumerate(
        zip(case.calls, run_calls(case.text, case.calls), strict=True)
    ):
        expected = evaluate(case.text, None, inputs, states=states, round_ops=True)
        assert set(actual) == set(expected)
        for name, value in expected.items():
            assert_close(actual[name], value, exact, "fp16", f"call {number}, {name}")


def test_every_operation_of_the_engine_has_a_reference_and_a_case() -> None:
    wanted = {name for name, host in operations().items() if host != "none"} - _WITHOUT_CASES
    with_state = {name for case in STATE_CASES for name in case.covers}
    without_reference = sorted(wanted - set(OPS) - with_state)
    without_case = sorted(wanted - {case.op for case in CASES} - with_state)
    assert not without_reference, f"no reference for {', '.join(without_reference)}"
    assert not without_case, f"no case for {', '.join(without_case)}"


def test_no_case_is_of_an_operation_that_the_language_lacks() -> None:
    unknown = {case.op for case in CASES} - set(operations())
    assert not unknown
