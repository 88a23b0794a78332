"""What the emulated device computes is what the host engine does, to the bit, or it says why not.

The emulation evaluates through the host engine, so a difference is one of everything between a
program and its numbers: the form that the device takes, weights, symbols, layouts, requests. It says
nothing about the numbers of a real device.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import milane
from milane import _testing
from on_device import NOT_EMULATED, Both, adapted, adapted_feeds
from op_cases import CASES, STATE_CASES, Case, StateCase
from op_harness import Array
from program_files import ProgramFile, all_programs, own_programs, random_inputs
from test_random_programs import FLOATS, RandomProgram, Value, Writer, programs

if not _testing.available():
    pytest.skip(NOT_EMULATED, allow_module_level=True)

# How many of what was tried ran as it is, ran adapted, and was refused: the last tests of this file
# look whether nearly everything was refused, which would make all of it worth little.
TRIED: dict[str, Counter[str]] = {k: Counter() for k in ("cases", "programs", "random", "packages")}


def tried(kind: str, ran: bool, how: str = "as it is") -> bool:
    """Counts an attempt, and returns whether it ran."""
    TRIED[kind][how if ran else f"not {how}"] += 1
    return ran


# --- operations


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operation_gives_the_same_bits_or_is_refused(case: Case, both: Both) -> None:
    text, feeds = case.program(), case.feeds()
    if tried("cases", both.agree(text, lambda _: [feeds])):
        return
    # In other words the device may take it.
    halves = adapted_feeds(feeds)
    tried("cases", both.agree(adapted(text), lambda _: [halves]), "adapted")


@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_a_program_with_states_is_refused_where_they_stand(case: StateCase, both: Both) -> None:
    assert not both.agree(case.text, lambda _: [])


# --- programs

# Ten trillion operations; control flow; two whose weight files are no such files.
LEFT_OUT = {
    "real/kepur__aislos__compiled.VAEDecoder",
    "printed/adamsro__dtln-aec-coreml__DTLN_AEC_128_Part1",
    "hand/christopherkarani__Espresso__Tests.MILGeneratorTests.Fixtures.fused_ffn",
    "hand/christopherkarani__Espresso__Tests.MILGeneratorTests.Fixtures.fused_qkv",
}
PROGRAMS = [p for p in all_programs() if p.id not in LEFT_OUT]


def two_calls(kernel: milane.Kernel) -> list[dict[str, Array]]:
    """The second finds what the first has left behind."""
    return [random_inputs(kernel, seed) for seed in (0, 1)]


def weight_files(text: str, folder: Path) -> dict[str, Path]:
    """The files that a program names, in the folder of its model."""
    paths = re.findall(r'"(@model_path/[^"]+)"', text)
    return {path: folder / path.removeprefix("@model_path/") for path in paths}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.id)
def test_a_program_gives_the_same_bits_or_is_refused(
    program: ProgramFile, both: Both, tmp_path: Path
) -> None:
    path, options = program.source(tmp_path)
    if tried("programs", both.agree(path, two_calls, **options)):
        return
    files = weight_files(program.text, program.model_folder(tmp_path))
    other = adapted(path)
    tried("programs", both.agree(other, two_calls, weight_files=files, **options), "adapted")


OWN = own_programs()


@pytest.mark.parametrize("program", OWN, ids=lambda p: p.id)
def test_a_program_handed_over_as_files_gives_the_same_bits(
    program: ProgramFile, both: Both, tmp_path: Path
) -> None:
    path, options = program.source(tmp_path)
    both.agree(path, two_calls, route="client", surface_style="shaped", **options)


# --- packages

REAL = [p for p in PROGRAMS if p.id.startswith("real/")]


def package_options(folder: Path, **options: Any) -> dict[str, Any]:
    """The options of a compile from a package."""
    return {"model_type": milane.ModelType.PACKAGE, "package_path": folder} | options


@pytest.mark.parametrize("program", REAL, ids=lambda p: p.id)
def test_a_real_package_gives_the_same_bits_or_is_refused(
    program: ProgramFile, both: Both, tmp_path: Path
) -> None:
    path, _ = program.source(tmp_path)
    function = milane.mil.load(path).functions[0].name
    options = package_options(path.parent, function=function)
    tried("packages", both.agree(path.parent, two_calls, **options))


@pytest.mark.parametrize("program", OWN, ids=lambda p: p.id)
def test_a_package_made_of_a_program_gives_the_same_bits(
    program: ProgramFile, both: Both, device_form: Callable[..., str], tmp_path: Path
) -> None:
    path, options = program.source(tmp_path / "a")
    package = tmp_path / "made.mlmodelc"
    package.mkdir()
    (package / "model.mil").write_text(device_form(adapted(path), **options), encoding="utf-8")
    for name, file in weight_files(program.text, path.parent).items():
        target = package / name.removeprefix("@model_path/")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(file.read_bytes())
    made = package_options(package, function=options["function"])
    tried("packages", both.agree(package, two_calls, **made))


@pytest.fixture
def device_form() -> Callable[..., str]:
    """Prints a program as the device takes it: what a package must already be."""

    def form(program: milane.mil.Program, function: str, shapes: dict[str, list[int]]) -> str:
        return str(milane._core.mil.device_program(program, function, shapes)[0])

    return form


# --- random programs


class DeviceWriter(Writer):
    """Writes programs of what the device takes; bool ports are left to `adapted`."""

    def signature(self) -> None:
        super().signature()
        self.states.clear()

    def logic(self) -> None:
        x = self.value("bool")
        if x is not None:
            self.emit("logical_not", [("bool", x.shape)], x=x)

    def cast(self) -> None:
        x = self.value()
        if x is not None:
            to = self.pick([*FLOATS, "bool"])
            self.emit("cast", [(to, x.shape)], x=x, dtype=to)

    def view_like(self) -> None:
        x = self.value()
        if x is not None:
            like = self.pick([v for v in self.values if v.size == x.size])
            if not like.shape:
                return
            self.emit("reshape", [(x.dtype, like.shape)], x=x, shape=[*like.shape])

    def gather(self) -> None:
        """The device's compiler is said not to have it."""

    def update(self) -> None:
        """Neither this."""

    def matmul(self) -> None:
        if all(len(v.shape) < 5 for v in self.values):
            super().matmul()

    def outputs(self) -> list[Value]:
        made = [v for v in super().outputs() if v not in self.inputs]
        last = self.values[-1]
        return made or self.emit("identity", [(last.dtype, last.shape)], x=last) or []


@st.composite
def device_programs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> RandomProgram:
    """Well-formed programs that no published rule refuses."""
    return DeviceWriter(draw).program()


SAME_EVERY_TIME = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@settings(SAME_EVERY_TIME, max_examples=200)
@given(program=device_programs())
def test_random_programs_for_the_device_give_the_same_bits(
    both: Both, program: RandomProgram
) -> None:
    calls = [adapted_feeds(program.inputs(i)) for i in (0, 1)]
    ran = both.agree(adapted(program.text), lambda _: calls)
    assert tried("random", ran)


@settings(SAME_EVERY_TIME, max_examples=100)
@given(program=programs())
def test_random_programs_give_the_same_bits_or_are_refused(
    both: Both, program: RandomProgram
) -> None:
    calls = [adapted_feeds(program.inputs(i)) for i in (0, 1)]
    both.agree(adapted(program.text), lambda _: calls)


# --- options that are the host's


@pytest.mark.parametrize(
    "options",
    [{"fuse": False}, {"numerics": "ane"}, {"numerics": "ane", "quirks": ["mac_ceiling"]}],
    ids=["fuse", "numerics", "quirks"],
)
def test_an_option_of_the_host_changes_nothing_on_the_device(
    both: Both, options: dict[str, Any]
) -> None:
    x = np.array([65504, -1, np.nan, np.inf, -0.0, 6e-8], np.float16)
    text = (
        "program(1.3)\n{\n    func main<ios18>(tensor<fp16, [6]> x) {\n"
        "            tensor<fp16, [6]> r = sqrt(x = x);\n"
        "            tensor<fp16, [6]> y = add(x = r, y = x);\n        } -> (y, r);\n}\n"
    )
    with both.ane.compile(text, **options) as kernel, both.host.compile(text) as reference:
        got, want = kernel(x), reference(x)
    assert {n: v.tobytes() for n, v in got.items()} == {n: v.tobytes() for n, v in want.items()}


@pytest.mark.parametrize("numerics", ["fp32", "bf16"])
def test_numerics_without_half_precision_are_refused_on_the_device(
    both: Both, numerics: str
) -> None:
    text = "program(1.3)\n{ func main<ios18>(fp16 x) { fp16 y = relu(x = x); } -> (y); }\n"
    with pytest.raises(milane.UnsupportedError, match=f'numerics="{numerics}" is the host\'s'):
        both.ane.compile(text, numerics=numerics)


# --- was it worth anything


@pytest.mark.parametrize(
    ("kind", "wanted", "least"),
    [
        ("cases", len(CASES), 0.75),
        ("programs", len(PROGRAMS), 0.7),
        ("random", 200, 1.0),
        ("packages", len(REAL) + len(OWN), 0.6),
    ],
)
def test_most_of_what_was_tried_ran_on_the_device(kind: str, wanted: int, least: float) -> None:
    count = TRIED[kind]
    if count["as it is"] + count["not as it is"] < wanted:
        pytest.skip("only some of the tests above were run")
    ran = count["as it is"] + count["adapted"]
    assert ran >= least * wanted, f"{dict(count)} of {wanted} {kind}"


def test_an_evaluation_goes_through_the_framework(both: Both) -> None:
    case = CASES[0]
    with both.ane.compile(case.program()) as kernel, _testing.recording() as calls:
        kernel(**case.feeds())
        assert any("evaluate" in call for call in calls())
