"""What the device refuses, and how a test meets that: it runs, or checks what it is told.

The rules are published ones (docs/ane-limits.md). The emulated device keeps all of them; a real one
may take more, which is no failure of ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from milane import _testing, mil
from milane._core import mil as core_mil

Array = NDArray[Any]
Source = str | bytes | os.PathLike[str] | mil.Program

NOT_EMULATED = "no emulated Neural Engine in this build; the numbers of a real one are its own"
COMPILER = "com.apple.appleneuralengine.compiler"
# What a port cannot be; inside of a program bool is a type as any other.
NO_PORT = {"bool", "bf16", "fp64"}
# Tests compile more programs than a process may on the device; a test of the budget gives its own.
UNLIMITED = 10**9


def open_backend(name: str) -> milane.Runtime:
    """A runtime for tests: it may compile without end, and has compiled nothing yet."""
    budget = UNLIMITED if name == "ane" else None
    runtime = milane.open(name, compile_budget=budget)  # type: ignore[arg-type]
    runtime.reset_compile_count()  # on the device it is the process's: other tests counted, too
    return runtime


@dataclass(frozen=True)
class Refusal:
    """One reason for the device's compiler to refuse a program."""

    rule: str  # of docs/ane-limits.md, or "port"
    cls: str  # the compiler's word for it
    text: str  # what the error's hint must hold: the place, and what is wrong there


def refusals(
    source: Source,
    function: str = "",
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    as_it_is: bool = False,
) -> list[Refusal]:
    """Why the device refuses a program, in the order of its text; empty where it does not.

    A package goes to the device as it is, everything else in the form that the device takes.

    Raises:
        CompileError: the program has no such form.
    """
    program = _program(source)
    if not as_it_is:
        program, _ = core_mil.device_program(program, function, dict(shapes or {}))
    found = [
        Refusal(
            rule,
            "InvalidMILProgram" if malformed else "CompilationFailure",
            f"{program.source_name}:{line}:{column}: {message}",
        )
        for rule, line, column, message, _, malformed in core_mil.broken_limits(program)
    ]
    ports = [Refusal("port", "CompilationFailure", "") for _ in _odd_ports(program)]
    return found + ports


def refused(runtime: milane.Runtime, source: Source, **options: Any) -> bool:
    """Whether the backend refuses a program: if it does, the error has been found to say why.

    For ``if refused(runtime, text): return`` at the head of a test: then the test is over, and has
    checked the refusal. Nothing is compiled where none is expected, so that an error which is not
    expected fails the test.
    """
    if runtime.backend != "ane":
        return False
    as_it_is = options.get("model_type") is milane.ModelType.PACKAGE
    function, shapes = options.get("function") or "", options.get("shapes")
    try:
        expected = refusals(source, function, shapes, as_it_is=as_it_is)
    except milane.CompileError as error:
        formless = error
    else:
        formless = None
    if formless:
        with pytest.raises(type(formless)) as caught:
            runtime.compile(source, **options)
        got = caught.value
        assert (got.line, got.column, got.op) == (formless.line, formless.column, "compile")
        return True
    if not expected:
        return False
    try:
        runtime.compile(source, **options).close()
    except milane.CompileError as error:
        assert_says_why(error, expected)
        return True
    assert not _testing.available(), f"expected a refusal, got a kernel: {expected}"
    return False


@dataclass
class Both:
    """The host engine and the device, to hold one against the other."""

    host: milane.Runtime
    ane: milane.Runtime

    def agree(
        self,
        source: Source,
        calls: Callable[[milane.Kernel], list[dict[str, Array]]],
        **options: Any,
    ) -> bool:
        """Whether the device took the program: then every output is the host's to the bit.

        If it did not, it has said why.
        """
        if refused(self.ane, source, **options):
            return False
        with (
            self.host.compile(source, **options) as reference,
            self.ane.compile(source, **options) as kernel,
        ):
            assert list(kernel.inputs) == list(reference.inputs)
            for inputs in calls(reference):
                assert_same_bits(kernel(**inputs), reference(**inputs))
        return True


def assert_same_bits(got: Mapping[str, Array], want: Mapping[str, Array]) -> None:
    """Equal names in order, types, shapes and bytes: NaN and the sign of zero included."""
    assert list(got) == list(want)
    for name, array in want.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape), name
        assert got[name].tobytes() == array.tobytes(), f"{name}: {got[name]} is not {array}"


def assert_says_why(error: milane.AneError, expected: list[Refusal]) -> None:
    """Hold an error to the refusals it is about."""
    assert isinstance(error, milane.CompileError)
    assert (error.domain, error.code, error.op) == (COMPILER, 1, "compile")
    assert error.cls == expected[0].cls
    missing = [e.text for e in expected if e.text not in error.hint]
    assert not missing, error.hint


def _program(source: Source) -> mil.Program:
    if isinstance(source, mil.Program):
        return source
    if isinstance(source, bytes) or (isinstance(source, str) and "\n" in source):
        return mil.parse(source)
    return mil.load(source)


def _odd_ports(program: mil.Program) -> list[str]:
    """Inputs and outputs of a type that the device has only inside."""
    found = []
    for function in program.functions:
        types = _types(function)
        names = [*(i.name for i in function.inputs), *function.outputs]
        tensors = [n for n in names if types[n].kind == "tensor"]
        found += [f"{function.name}: {n}" for n in tensors if types[n].dtype in NO_PORT]
    return found


def _types(function: mil.Function) -> dict[str, mil.Type]:
    made = [o for op in function.operations for o in op.outputs]
    return {named.name: named.type for named in [*function.inputs, *made]}


# --- programs that the device takes, made of those that it does not


def adapted(source: Source) -> mil.Program:
    """A copy of a program with the device's way around two refusals: bias of conv, bool ports.

    The bias is added behind the convolution (one more rounding), bool ports become fp16 ones that
    hold 0 and 1: outputs get the suffix ``_half``.
    """
    program = _program(source).copy()
    for function in program.functions:
        _add_bias_apart(function)
        _pass_bools_as_halves(function)
    return program


def adapted_feeds(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs of an adapted program."""
    return {n: a.astype(np.float16) if a.dtype == np.bool_ else a for n, a in feeds.items()}


def _add_bias_apart(function: mil.Function) -> None:
    for op in function.operations:
        if op.type != "conv" or "bias" not in op.inputs:
            continue
        (bias,) = op.inputs["bias"]
        (output,) = op.outputs
        name, rank = output.name, len(output.type.shape)
        channels = output.type.shape[1]
        dims = [1, channels, *([1] * (rank - 2))]
        op.remove_input("bias")
        op.outputs = [(f"{name}_unbiased", output.type)]
        axes = mil.Value(f"tensor<int32, [{rank - 1}]>({[0, *range(2, rank)]})")
        column = mil.Operation(
            "expand_dims",
            [(f"{name}_bias", mil.Type.tensor(output.type.dtype, dims))],
            {"x": bias, "axes": axes},
        )
        total = mil.Operation(
            "add", [(name, output.type)], {"x": f"{name}_unbiased", "y": f"{name}_bias"}
        )
        at = function.index(op)
        function.insert(at + 1, column)
        function.insert(at + 2, total)


def _pass_bools_as_halves(function: mil.Function) -> None:
    types = _types(function)

    def half(name: str) -> mil.Type:
        return mil.Type.tensor("fp16", types[name].shape)

    def is_bool(name: str) -> bool:
        return types[name].kind == "tensor" and types[name].dtype == "bool"

    outputs = function.outputs
    inputs = [i.name for i in function.inputs if is_bool(i.name)]
    for name in inputs:
        function.replace_uses(name, f"{name}_bool")
        asked = {"x": name, "dtype": mil.Value.string("bool")}
        function.insert(0, mil.Operation("cast", [(f"{name}_bool", types[name])], asked))
    function.inputs = [
        (i.name, half(i.name) if i.name in inputs else i.type) for i in function.inputs
    ]
    for name in dict.fromkeys(n for n in outputs if is_bool(n)):
        value = f"{name}_bool" if name in inputs else name
        asked = {"x": value, "dtype": mil.Value.string("fp16")}
        function.append(mil.Operation("cast", [(f"{name}_half", half(name))], asked))
    function.outputs = [f"{n}_half" if is_bool(n) else n for n in outputs]
