"""Every operation of the language has its public function, with the language's own arguments."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from milane import mil
from milane.graph import ops
from milane.graph.gradients import REFUSALS, RULES

SCHEMAS = {schema.name: schema for schema in mil.ops() if schema.name != "const"}
# Beside an operation's own arguments: the result's name; the graph, where no operand is a tensor.
OWN = {"name", "graph"}
# What stands in the text another way than as an argument: blocks, types of elements and results,
# and the arguments that an open row of the schema leaves to the caller.
ELSEWHERE = {
    "cond": {"then", "otherwise"},
    "while_loop": {"cond", "body"},
    "tensor_to_tensor_buffer": {"type", "others"},
    "tensor_buffer_to_tensor": {"type", "others"},
    "constexpr_blockwise_shift_scale": {"dtype"},
    "constexpr_lut_to_dense": {"dtype"},
    "constexpr_lut_to_sparse": {"dtype"},
    "constexpr_sparse_blockwise_shift_scale": {"dtype"},
}
# The language wants these given; the function has a usual value for them, which it writes out.
USUAL = {
    ("affine", "sampling_mode"),
    ("affine", "padding_mode"),
    ("affine", "padding_value"),
    ("affine", "coordinates_mode"),
    ("affine", "align_corners"),
    ("avg_pool", "pad_type"),
    ("constexpr_cast", "output_dtype"),
    ("l2_pool", "pad_type"),
    ("max_pool", "pad_type"),
    ("quantize", "output_dtype"),
    ("range_1d", "step"),
    ("resample", "padding_value"),
}


def arguments(op: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(ops, op)).parameters)


def test_all_is_every_operation_in_order() -> None:
    assert list(ops.__all__) == sorted(SCHEMAS)


@pytest.mark.parametrize("op", sorted(SCHEMAS))
def test_a_function_takes_the_arguments_of_the_schema(op: str) -> None:
    schema = SCHEMAS[op]
    expected = {argument.name for argument in schema.args} | ELSEWHERE.get(op, set())
    assert set(arguments(op)) - OWN == expected


@pytest.mark.parametrize("op", sorted(SCHEMAS))
def test_defaults_are_those_of_the_schema(op: str) -> None:
    parameters = arguments(op)
    for argument in SCHEMAS[op].args:
        default = parameters[argument.name].default
        if argument.default is not None:
            assert same(default, argument.default), (argument.name, default, argument.default)
        elif argument.optional:
            assert default is None, argument.name
        else:
            given = default is not inspect.Parameter.empty
            assert given == ((op, argument.name) in USUAL), argument.name


def same(given: Any, expected: Any) -> bool:
    """Equal in kind and, since schemas hold floats in single precision, to that."""
    if isinstance(expected, float):
        return float(np.float32(given)) == float(np.float32(expected))
    return type(given) is type(expected) and given == expected


@pytest.mark.parametrize("op", sorted(SCHEMAS))
def test_a_function_is_annotated_and_documented(op: str) -> None:
    function = getattr(ops, op)
    parameters = arguments(op)
    assert all(p.annotation is not inspect.Parameter.empty for p in parameters.values())
    assert inspect.signature(function).return_annotation is not inspect.Signature.empty
    first, _, _ = (function.__doc__ or "").partition("\n")
    assert first.endswith((".", ";", ":"))
    assert len(first) > 10
    assert parameters["name"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["name"].default is None


@pytest.mark.parametrize("op", sorted(SCHEMAS))
def test_an_operation_has_a_gradient_or_says_why_not(op: str) -> None:
    assert (op in RULES) != (op in REFUSALS)
    assert op in RULES or len(REFUSALS[op]) > 10
