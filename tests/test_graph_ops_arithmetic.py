"""Arithmetic of the graph: built by the public function, printed, parsed, and run on a backend.

The witness is the float64 reference, which is itself held against PyTorch; gradients' cases hold
the same functions against PyTorch once more (test_gradients.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from milane import mil
from milane.graph import Graph, Tensor, ops
from milane.graph.ops import activation, binary, elementwise, matmul, norm, random, reduce, sort
from on_device import refused
from op_cases import CASES, Case
from op_cases.case import BOOL, FP16, Typed, integers
from reference import mil_dtype
from tolerance import assert_close

FILES = (activation, binary, elementwise, matmul, norm, random, reduce, sort)
OURS = {
    schema.name
    for schema in mil.ops()
    for file in FILES
    if getattr(getattr(file, schema.name, None), "__module__", "") == file.__name__
}


def of_bools() -> Iterator[Case]:
    """What compares and combines, with broadcasting at every rank; 0 and 1 are often equal."""
    for op in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
        for a, b in PAIRS:
            x, y = integers(a, 0, 2, FP16), integers(b, 0, 2, FP16, seed=1)
            yield Case(op, f"ranks {len(a)} and {len(b)}", {"x": x, "y": y})
    for op in ("logical_and", "logical_or", "logical_xor"):
        for a, b in PAIRS:
            x, y = integers(a, 0, 2, BOOL), integers(b, 0, 2, BOOL, seed=1)
            yield Case(op, f"ranks {len(a)} and {len(b)}", {"x": x, "y": y})
    for a, _ in PAIRS:
        x = integers(a, 0, 2, FP16)
        yield Case("cast", f"rank {len(a)}", {"x": x}, {"dtype": "fp32"}, out_dtypes=("fp32",))
        yield Case("logical_not", f"rank {len(a)}", {"x": integers(a, 0, 2, BOOL)})


PAIRS = [
    ((7,), (1,)),
    ((3, 5), (5,)),
    ((4, 1, 5), (3, 1)),
    ((1, 3, 1, 5), (2, 1, 4, 1)),
    ((2, 1, 3, 1, 5), (4, 1, 2, 1)),
]
MINE = [case for case in CASES if case.op in OURS and case.inputs] + list(of_bools())


def build(case: Case) -> milane.mil.MILProgram:
    """The case as a graph: every run-time operand an input, the rest as Python and NumPy values."""
    graph = Graph(dialect=case.opset)  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for name, value in case.inputs.items():
        if isinstance(value, list):
            given[name] = [
                graph.input(f"{name}_{i}", v.shape, mil_dtype(v)) for i, v in enumerate(value)
            ]
        else:
            given[name] = graph.input(name, np.shape(value), mil_dtype(np.asarray(value)))
    for name, value in case.params.items():
        assert not isinstance(value, Typed)
        given[name] = value
    made = getattr(ops, case.op)(**given)
    results = made if isinstance(made, tuple) else (made,)
    kept = [t for i, t in enumerate(results) if i not in case.skip_results]
    for i, tensor in enumerate(kept):
        graph.output(f"result_{i}", tensor)
    return graph.program()


def check(case: Case, outputs: Mapping[str, NDArray[Any]]) -> None:
    expected = [r for i, r in enumerate(case.expected()) if i not in case.skip_results]
    assert len(outputs) == len(expected)
    bounds = case.bounds()
    for i, (actual, want) in enumerate(zip(outputs.values(), expected, strict=True)):
        tolerance = bounds if i == 0 or np.ndim(bounds.magnitude) == 0 else bounds.of(None)
        assert_close(actual, want, tolerance, mil_dtype(actual), f"{case} (result {i})")


@pytest.mark.parametrize("case", MINE, ids=str)
def test_a_function_builds_the_operation_that_the_reference_computes(
    case: Case, runtime: milane.Runtime
) -> None:
    program = build(case)
    assert str(mil.parse(str(program))) == str(program)
    if refused(runtime, program.program):
        return
    with runtime.compile(program) as kernel:
        check(case, kernel(**case.feeds()))


def test_every_operation_that_the_host_runs_has_a_case() -> None:
    host = {schema.name for schema in mil.ops() if schema.host != "none"}
    assert OURS & host <= {case.op for case in MINE}


def test_elementwise_operations_run_at_every_rank_here_or_among_the_gradients() -> None:
    pytest.importorskip("torch", reason="gradients' cases have PyTorch's functions in them")
    from gradient_cases import CASES as GRADIENTS  # noqa: PLC0415

    tried = {(case.op, case.expected()[0].ndim) for case in MINE}
    for case in GRADIENTS:
        rank = max(np.ndim(array) for array in case.operands.values())
        tried.update((op, rank) for op in case.covers)
    elementwise_ops = {schema.name for schema in mil.ops() if schema.host == "elementwise"}
    wanted = {(op, rank) for op in elementwise_ops & OURS for rank in range(1, 6)}
    assert sorted(wanted - tried) == []


def test_every_argument_with_a_default_is_written_out() -> None:
    # As Apple's own compiler writes programs; nothing has to know the defaults.
    for case in MINE:
        schema = next(s for s in mil.ops() if s.name == case.op)
        operation = build(case).function.operations[-1]
        if operation.type != case.op:
            continue
        for argument in schema.args:
            known = argument.since is None or int(argument.since[3:]) <= int(case.opset[3:])
            if argument.default is not None and known:
                assert argument.name in operation.inputs, (str(case), argument.name)


def test_functions_that_no_backend_runs_still_make_programs_of_the_language() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3), "fp32")
    shape = graph.constant([2, 3])
    made: list[Tensor] = [
        *ops.classify(x, classes=[f'a "{i}"' for i in range(6)]),
        *ops.classify(x, classes=range(6)),
        ops.random_bernoulli(shape, prob=0.25),
        ops.random_normal([2, 3], graph=graph, mean=1.0),
        ops.random_uniform(shape, low=-1.0, seed=7),
        ops.random_categorical(x, size=4),
        ops.non_zero(x),
    ]
    types = [str(t.type) for t in made]
    assert types == [
        "string",
        "dict<string, fp64>",
        "int64",
        "dict<int64, fp64>",
        "tensor<fp16, [2, 3]>",
        "tensor<fp16, [2, 3]>",
        "tensor<fp16, [2, 3]>",
        "tensor<fp32, [2, 4]>",
        "tensor<int32, [?, 2]>",
    ]
    text = str(graph.program())
    assert str(mil.parse(text)) == text
