"""Gradients: every rule against PyTorch's autograd and finite differences, on both backends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the witness")

import torch
import torch.nn.functional as F  # noqa: N812

import milane
from gradient_cases import CASES
from gradient_harness import (
    Array,
    Built,
    GradientCase,
    built,
    difference,
    exactly,
    grid,
    pytorch,
    traced,
)
from milane import mil
from milane.graph import Backward, Graph, Tensor, ops
from milane.graph.gradients import RULES
from on_device import refusals, refused
from reference import evaluate
from tolerance import program_tolerance

# What the float64 run of an fp32 program may be off: its constants are rounded to 2^-24, and the
# parameters of an operation enter a slope a few times.
ROUNDED_CONSTANTS = 16 * 2.0**-24


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_function_and_its_rule_agree_with_pytorch(case: GradientCase) -> None:
    made = built(case, "fp32")
    found = exactly(made)
    names = (*made.results, *made.gradients)
    for name, expected in zip(names, pytorch(case, made), strict=True):
        scale = np.max(np.abs(expected), initial=1.0)
        np.testing.assert_allclose(
            found[name], expected, rtol=ROUNDED_CONSTANTS, atol=scale * ROUNDED_CONSTANTS
        )


@pytest.mark.parametrize("case", [c for c in CASES if c.differences], ids=str)
def test_a_rule_gives_the_slope_of_finite_differences(case: GradientCase) -> None:
    made = built(case, "fp32")
    found = exactly(made)
    for name in case.operands:
        if name in case.baked:
            continue
        direction = np.sign(grid(case.operands[name].shape, -1, 1, seed=3))
        slope = float(np.sum(found[f"d_{name}"] * direction))
        size = float(np.sum(np.abs(found[f"d_{name}"])))
        # The fourth power of the width times a fifth derivative, and float64's cancellation.
        assert difference(made, name, direction) == pytest.approx(
            slope, rel=1e-6, abs=1e-6 * (1 + size)
        )


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_backend_computes_the_gradient_within_its_roundings(
    case: GradientCase, dtype: str, runtime: milane.Runtime
) -> None:
    made = built(case, dtype)
    text = str(made.program)
    assert str(mil.parse(text)) == text
    if refused(runtime, made.program.program):
        return
    feeds = {
        name: array.astype(np.float16 if dtype == "fp16" else np.float32)
        if array.dtype.kind == "f"
        else array
        for name, array in made.feeds.items()
    }
    truth, limits = program_tolerance(text, None, feeds)
    with runtime.compile(made.program) as kernel:
        found = kernel(**feeds)
    for name, value in truth.items():
        off = np.abs(found[name].astype(np.float64) - value)
        assert np.all(off <= limits[name]), (name, float(np.max(off - limits[name])))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_programs_give_what_one_gives(case: GradientCase) -> None:
    one = built(case, "fp32")
    split = apart(case, "fp32")
    forward = evaluate(str(split.forward), None, given(split.forward, one.feeds))
    feeds = {**one.feeds, **forward}
    for name, dy in zip(split.output_gradients.values(), dys_of(one), strict=True):
        feeds[name] = dy
    found = evaluate(str(split.backward), None, given(split.backward, feeds))
    expected = exactly(one)
    for name in case.operands:
        # A tap is rounded to fp32 on its way from one to the other.
        scale = float(np.max(np.abs(expected[f"d_{name}"]), initial=1.0))
        np.testing.assert_allclose(
            found[split.gradients[name]],
            expected[f"d_{name}"],
            rtol=2 * ROUNDED_CONSTANTS,
            atol=2 * scale * ROUNDED_CONSTANTS,
        )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_gradient_asks_no_more_of_the_device_than_its_operation(case: GradientCase) -> None:
    alone = {refusal.rule for refusal in refusals(forward(case, "fp16").program().program)}
    added = {refusal.rule for refusal in refusals(built(case, "fp16").program.program)} - alone
    # The device has nothing that puts values back to positions.
    assert added == ({"no_lowering"} if case.covers == ("topk",) else set())


# Far beyond the bend of every activation, up to the end of fp16.
FAR = np.array([-6e4, -3e3, -300, -40, -20, -11, -5, -1e-3, -1e-6, 1e-6, 1e-3, 5, 11, 40, 3e3, 6e4])
# A dozen roundings to fp16, of numbers up to 1.
NEAR = {"rtol": 12 * 2.0**-11, "atol": 12 * 2.0**-12}


@pytest.mark.parametrize(
    ("build", "same"),
    [
        pytest.param(ops.gelu, F.gelu, id="gelu"),
        pytest.param(
            lambda x: ops.gelu(x, mode="TANH_APPROXIMATION"),
            lambda x: F.gelu(x, approximate="tanh"),
            id="gelu by tanh",
        ),
        pytest.param(
            lambda x: ops.gelu(x, mode="SIGMOID_APPROXIMATION"),
            lambda x: x * (1.702 * x).sigmoid(),
            id="gelu by sigmoid",
        ),
        pytest.param(ops.silu, F.silu, id="silu"),
        pytest.param(ops.sigmoid, torch.sigmoid, id="sigmoid"),
        pytest.param(ops.tanh, torch.tanh, id="tanh"),
        pytest.param(ops.erf, torch.erf, id="erf"),
        pytest.param(ops.atan, torch.atan, id="atan"),
        pytest.param(ops.softplus, F.softplus, id="softplus"),
        pytest.param(ops.softsign, F.softsign, id="softsign"),
        pytest.param(lambda x: ops.elu(x, alpha=1.0), F.elu, id="elu"),
        pytest.param(lambda x: ops.softmax(x, axis=0), lambda x: x.softmax(0), id="softmax"),
        pytest.param(ops.reduce_log_sum_exp, lambda x: x.logsumexp(0), id="reduce_log_sum_exp"),
    ],
)
def test_a_rule_holds_up_to_the_end_of_fp16(build: Any, same: Any) -> None:
    x = FAR.astype(np.float16)
    a = torch.tensor(x.astype(np.float64), requires_grad=True)
    (want,) = torch.autograd.grad(same(a).sum(), [a])
    np.testing.assert_allclose(on_host(build, x), want.numpy(), **NEAR)


@pytest.mark.parametrize("scale", [1e-3, 0.01, 1.0, 100.0, 1000.0, 16000.0])
def test_a_normalisation_s_rule_holds_for_small_and_large_deviations(scale: float) -> None:
    x = (grid((4, 24), -3, 3) * scale).astype(np.float16)
    dy = grid(x.shape, -1, 1) * min(scale, 1000.0)
    epsilon = float(np.float16(1e-5))
    a = torch.tensor(x.astype(np.float64), requires_grad=True)
    y = F.layer_norm(a, a.shape[-1:], eps=epsilon)
    (want,) = torch.autograd.grad(y, [a], torch.tensor(dy))
    found = on_host(lambda x: ops.layer_norm(x, axes=[-1]), x, dy)
    np.testing.assert_allclose(found, want.numpy(), **NEAR)


@pytest.mark.parametrize("scale", [1e-3, 0.01, 1.0, 50.0])
def test_an_inverse_root_of_a_small_mean_keeps_its_gradient_in_range(scale: float) -> None:
    x = (grid((4, 24), -3, 3) * scale).astype(np.float16)
    dy = grid(x.shape, -1, 1) * scale
    epsilon = float(np.float16(1e-5))
    a = torch.tensor(x.astype(np.float64), requires_grad=True)
    y = a * (a.square().mean(-1, keepdim=True) + epsilon).rsqrt()
    (want,) = torch.autograd.grad(y, [a], torch.tensor(dy))

    def rms_norm(x: Tensor) -> Tensor:
        mean = ops.reduce_mean(ops.square(x), axes=[-1], keep_dims=True)
        return x * (mean + 1e-5) ** -0.5

    size = max(1.0, float(want.abs().max()))
    np.testing.assert_allclose(on_host(rms_norm, x, dy) / size, want.numpy() / size, **NEAR)


def on_host(build: Any, x: Array, dy: Array | float = 1.0) -> Array:
    """The gradient of a function at x, computed in fp16."""
    graph = Graph()
    given = graph.input("x", x.shape)
    (dx,) = graph.gradient(build(given), [given], output_gradients=dy)
    graph.output("dx", dx)
    with milane.open("host") as runtime, graph.compile(runtime) as kernel:
        return kernel(x=x)["dx"].astype(np.float64)


def test_every_rule_has_a_case() -> None:
    others = {"conv", "pool", "move", "slice", "gather", "image", "recurrent", "constexpr"}
    others |= {"control", "lists", "state", "quantize"}  # test_gradients_move_conv.py
    here = {op for op in RULES if getattr(ops, op).__module__.split(".")[-1] not in others}
    assert here == {op for case in CASES for op in case.covers}


def forward(case: GradientCase, dtype: str) -> Graph:
    """The case without gradients."""
    graph = Graph()
    traced(case, graph, dtype)
    return graph


def apart(case: GradientCase, dtype: str) -> Backward:
    """The case as a forward and a backward program."""
    graph = Graph()
    operands, results = traced(case, graph, dtype)
    return graph.backward(results, list(operands.values()))


def dys_of(made: Built) -> list[Array]:
    return [made.feeds[f"dy{i}"] for i in range(len(made.results))]


def given(program: mil.MILProgram, feeds: Mapping[str, Array]) -> dict[str, Array]:
    return {name: feeds[name] for name in program.inputs}
