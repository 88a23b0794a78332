"""The reference itself, held against PyTorch and against programs with known results."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from op_cases import CASES, STATE_CASES, Case
from reference import OPS, evaluate, evaluate_steps, parse, round_to
from reference.values import read_record
from tolerance import assert_close, bound, exact, program_tolerance, reduced, rounded, ulp

Array = NDArray[Any]

HERE = Path(__file__).resolve().parent
_OWN = HERE / "programs" / "gen"
_CORPUS = Path(os.environ.get("MILANE_CORPUS", HERE.parents[1] / "shared" / "corpus")) / "gen"
GEN = _OWN if _OWN.is_dir() else _CORPUS

_FOLDERS = sorted(p for p in GEN.glob("*") if (p / "model.mil").is_file())
WITH_RESULTS = [p for p in _FOLDERS if (p / "io.npz").is_file()]
TWINS = [p for p in _FOLDERS if (GEN / f"{p.name}__decompressed").is_dir()]

needs_programs = pytest.mark.skipif(not _FOLDERS, reason="no programs: set MILANE_CORPUS")


def _text(folder: Path) -> str:
    return (folder / "model.mil").read_text()


def _inputs(folder: Path) -> dict[str, Array]:
    params = parse(_text(folder)).function(None).params
    names = [name for type_, name in params if type_.kind != "state"]
    with np.load(folder / "io.npz") as stored:
        return {name: stored[f"in{i}"] for i, name in enumerate(names)}


def _results(folder: Path) -> dict[str, Array]:
    with np.load(folder / "io.npz") as stored:
        outs = [key for key in stored.files if key.startswith("out")]
        return {key.split("__", 1)[1]: stored[key] for key in outs}


# --- programs -----------------------------------------------------------------------------------


@needs_programs
@pytest.mark.parametrize("folder", WITH_RESULTS, ids=lambda p: p.name)
def test_a_program_gives_what_pytorch_computed(folder: Path) -> None:
    actual = evaluate(_text(folder), folder, _inputs(folder))
    is_half = "fp16" in _text(folder)
    for name, expected in _results(folder).items():
        # PyTorch ran in fp32; programs with fp16 constants round their weights too.
        limit = 2e-3 if is_half else 2e-6
        np.testing.assert_allclose(actual[name], expected, rtol=limit, atol=limit)


@needs_programs
@pytest.mark.parametrize("folder", WITH_RESULTS, ids=lambda p: p.name)
def test_the_bound_of_a_program_holds_for_another_rounding(folder: Path) -> None:
    text, inputs = _text(folder), _inputs(folder)
    truth, limits = program_tolerance(text, folder, inputs)
    seen = np.random.default_rng(99)

    def shaken(dtype: str, array: Array) -> Array:
        with np.errstate(all="ignore"):
            return round_to(array + seen.uniform(-0.5, 0.5, array.shape) * ulp(array, dtype), dtype)

    for name, value in evaluate(text, folder, inputs, rounding=shaken).items():
        assert np.all(np.abs(value - truth[name]) <= limits[name])


@needs_programs
@pytest.mark.parametrize("folder", TWINS, ids=lambda p: p.name)
def test_compressed_weights_are_bit_for_bit_those_of_the_decompressed_twin(folder: Path) -> None:
    twin = GEN / f"{folder.name}__decompressed"
    inputs = {
        name: np.zeros(tuple(int(d or 1) for d in type_.shape), np.float32)
        for type_, name in parse(_text(folder)).function(None).params
    }
    ours = evaluate_steps(_text(folder), folder, inputs, round_ops=True)
    theirs = evaluate_steps(_text(twin), twin, inputs)
    weights = [_weights(_text(p)) for p in (folder, twin)]
    assert weights[0], "no weights were found"
    assert weights[0].keys() == weights[1].keys()
    for place, name in weights[0].items():
        packed, plain = ours[name], theirs[weights[1][place]]
        assert packed.dtype == plain.dtype
        assert packed.tobytes() == plain.tobytes(), f"{place}: {name}"


def _weights(text: str) -> dict[str, str]:
    """Names of the values used as weights, by the operation that uses them."""
    found = {}
    for operation in parse(text).function(None).operations:
        if "weight" in operation.args:
            found[operation.outputs[0][1]] = getattr(operation.args["weight"], "name", "")
    return found


@needs_programs
def test_functions_are_chosen_by_name() -> None:
    folder = GEN / "multifunction_ios18"
    program = parse(_text(folder))
    assert len(program.functions) == 2
    inputs = {n: np.ones(t.shape, np.float32) for t, n in program.function(None).params}
    for name in program.functions:
        assert set(evaluate(program, folder, inputs, name)) == set(program.function(name).outputs)


def test_a_file_without_a_record_at_the_offset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weight.bin").write_bytes(bytes(256))
    with pytest.raises(ValueError, match="no record"):
        read_record(tmp_path / "weight.bin", 64)


# --- cases --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_is_a_program_that_gives_what_its_operation_does(case: Case) -> None:
    outputs = list(evaluate(case.program(), None, case.feeds()).values())
    expected = [r for i, r in enumerate(case.expected()) if i not in case.skip_results]
    assert len(outputs) == len(expected)
    for actual, want in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(actual, want)
    dtype = next(d for i, d in enumerate(case.dtypes()) if i not in case.skip_results)
    stored = round_to(expected[0], dtype) if dtype in ("fp16", "fp32") else expected[0]
    assert_close(stored, expected[0], case.bounds(), dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_has_operands_that_do_not_overflow_unless_they_mean_to(case: Case) -> None:
    named = any(
        w in case.id for w in ("edge", "infin", "beyond", "fp32 to", "NaN", "large", "mask")
    )
    if named or case.op in ("cast", "pad", "exp", "select"):
        return
    for result in case.expected():
        if result.dtype.kind == "f":
            assert np.all(np.isfinite(result))
            assert np.max(np.abs(result), initial=0.0) < 65504


def test_case_ids_are_unique() -> None:
    ids = [str(case) for case in CASES]
    assert len(set(ids)) == len(ids)


def test_every_reference_has_a_case() -> None:
    assert set(OPS) - {case.op for case in CASES} == set()


def test_states_start_at_zero_and_keep_what_is_written() -> None:
    case, states = STATE_CASES[0], {}
    totals = [evaluate(case.text, None, call, states=states)["again"][0, 0] for call in case.calls]
    assert totals == [1.0, 3.5, 3.25]


@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_a_program_with_states_runs(case: Any) -> None:
    states: dict[str, Array] = {}
    for call in case.calls:
        assert evaluate(case.text, None, call, states=states)


# --- tolerances ---------------------------------------------------------------------------------


def test_the_unit_in_the_last_place_is_that_of_numpy() -> None:
    for dtype, holder in (("fp16", np.float16), ("fp32", np.float32)):
        numbers = np.array([0.0, 6e-8, 6.1e-5, 1.0, 1.5, 1000.0, 65000.0], holder)
        np.testing.assert_array_equal(ulp(numbers, dtype), np.abs(np.spacing(numbers)))


def test_exact_sees_one_bit_and_the_sign_of_zero() -> None:
    one = np.array([1.0, 0.0])
    assert_close(one.astype(np.float16), one, exact, "fp16")
    with pytest.raises(AssertionError, match=r"worst at \(0,\) of \(2,\)"):
        assert_close(np.nextafter(one, 2).astype(np.float64), one, exact, "fp32")
    with pytest.raises(AssertionError):
        assert_close(np.array([1.0, -0.0], np.float16), one, exact, "fp16")
    assert_close(np.array([1.0, -0.0], np.float16), one, exact.any_zero(), "fp16")


def test_rounded_allows_one_unit_and_not_two() -> None:
    want = np.array([1000.0])
    step = float(np.spacing(np.float16(1000)))
    assert_close(np.array([1000.0 + step], np.float16), want, rounded, "fp16")
    with pytest.raises(AssertionError, match="ulps of fp16 apart"):
        assert_close(np.array([1000.0 + 2 * step], np.float16), want, rounded, "fp16")


def test_reduced_grows_with_the_length_and_the_terms() -> None:
    want = np.array([1.0])
    short, long = reduced(8).of(100.0), reduced(8000).of(100.0)
    assert bound(want, short, "fp32") < bound(want, long, "fp32")
    assert bound(want, reduced(8).of(1.0), "fp32") < bound(want, short, "fp32")
    terms = np.random.default_rng(0).uniform(-1, 1, 4096).astype(np.float32)
    total = np.float32(0)
    for term in terms:
        total = np.float32(total + term)
    near = reduced(4096).of(float(np.sum(np.abs(terms))))
    assert_close(total, np.sum(terms.astype(np.float64)), near, "fp32")


def test_overflow_and_not_a_number_compare_as_rounding_makes_them() -> None:
    want = np.array([1e6, -1e6, np.nan, np.inf])
    got = np.array([np.inf, -np.inf, np.nan, np.inf], np.float16)
    assert_close(got, want, exact, "fp16")
    for wrong in ([65504.0, -np.inf, np.nan, np.inf], [np.inf, -np.inf, 0.0, np.inf]):
        with pytest.raises(AssertionError):
            assert_close(np.array(wrong, np.float16), want, rounded, "fp16")


def test_integers_are_always_exact() -> None:
    with pytest.raises(AssertionError):
        assert_close(np.array([1, 2]), np.array([1, 3]), reduced(100), "int32")


# --- PyTorch ------------------------------------------------------------------------------------


def _witnessed_operations() -> list[str]:
    """Operations PyTorch has; every operation where it is missing, so that the skip is seen."""
    if importlib.util.find_spec("torch") is None:
        return sorted({case.op for case in CASES})
    from op_cases.witness import WITNESSES  # noqa: PLC0415

    return sorted(WITNESSES)


@pytest.mark.parametrize("op", _witnessed_operations())
def test_pytorch_gives_the_same_in_double_precision(op: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from op_cases.witness import WITNESSES, tensors  # noqa: PLC0415

    checked = 0
    for case in (c for c in CASES if c.op == op):
        found = WITNESSES[op](tensors(case))
        if found is None:  # PyTorch has the operation, but not in this form
            continue
        checked += 1
        results = found if isinstance(found, tuple) else (found,)
        for result, want in zip(results, case.expected(), strict=True):
            size = np.max(np.abs(want[np.isfinite(want)]), initial=1.0) if want.dtype != bool else 1
            np.testing.assert_allclose(
                np.asarray(result).astype(want.dtype),
                want,
                rtol=1e-11,
                atol=1e-12 * float(size),
                err_msg=str(case),
            )
    assert checked > 0


def test_pytorch_witnesses_most_operations_that_compute() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from op_cases.witness import WITNESSES  # noqa: PLC0415

    assert set(WITNESSES) <= set(OPS)
    assert len(WITNESSES) > 90


def _inferable_operations() -> list[str]:
    """Operations whose types coremltools infers from constants, its own mistakes left out."""
    every = sorted({case.op for case in CASES})
    if importlib.util.find_spec("coremltools") is None:
        return every
    from op_cases.inference import DEVIATIONS, infer  # noqa: PLC0415

    taken = {case.op for case in CASES if case.op not in DEVIATIONS and infer(case) is not None}
    return [op for op in every if op in taken]


@pytest.mark.parametrize("op", _inferable_operations())
def test_coremltools_infers_the_same_types_and_values(op: str) -> None:
    pytest.importorskip("coremltools", reason="coremltools is not installed")
    from op_cases.inference import infer  # noqa: PLC0415

    for case in CASES:
        inferred = infer(case) if case.op == op else None
        if inferred is None:
            continue
        expected = zip(inferred, case.dtypes(), case.expected(), strict=True)
        for (dtype, shape, value), declared, want in expected:
            assert (dtype, shape) == (declared, want.shape), str(case)
            if value is None:
                continue
            stored = round_to(want, declared) if declared in ("fp16", "fp32") else want
            finite = stored[np.isfinite(stored)] if stored.dtype.kind == "f" else stored
            size = float(np.max(np.abs(finite), initial=1)) if stored.dtype != bool else 1.0
            # fp16 values are inferred with fp16 arithmetic, rounded at every step.
            near = 6e-3 if declared == "fp16" else 1e-4
            np.testing.assert_allclose(
                value.astype(stored.dtype), stored, rtol=near, atol=near * size, err_msg=str(case)
            )
