"""Gradients of convolutions, pools, moves and resizing: as tests/test_gradients.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the witness")

import milane
from gradient_cases_moves import CASES
from gradient_harness import Array, Built, GradientCase, autograd, built, grid
from milane import mil
from milane.graph import ops
from milane.graph.gradients import REFUSALS, RULES
from on_device import refused
from reference import evaluate
from tolerance import program_tolerance

# As tests/test_gradients.py: constants of an fp32 program are rounded to 2^-24.
ROUNDED_CONSTANTS = 16 * 2.0**-24
SHIFT = 2.0**-10


def _folder(made: Built, tmp_path: Path) -> Path:
    """Where the program's weight files stand."""
    for path, content in made.program.weight_files().items():
        file = tmp_path / path.removeprefix("@model_path/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path


def _exactly(made: Built, folder: Path, feeds: dict[str, Array]) -> dict[str, Any]:
    return evaluate(str(made.program), folder, feeds)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_gives_the_gradient_of_autograd(case: GradientCase, tmp_path: Path) -> None:
    made = built(case, "fp32")
    found = _exactly(made, _folder(made, tmp_path), made.feeds)
    for name, expected in zip(made.gradients, autograd(case, made), strict=True):
        scale = np.max(np.abs(expected), initial=1.0)
        np.testing.assert_allclose(
            found[name], expected, rtol=ROUNDED_CONSTANTS, atol=scale * ROUNDED_CONSTANTS
        )


@pytest.mark.parametrize("case", [c for c in CASES if c.differences], ids=str)
def test_a_rule_gives_the_slope_of_finite_differences(case: GradientCase, tmp_path: Path) -> None:
    made = built(case, "fp32")
    folder = _folder(made, tmp_path)
    found = _exactly(made, folder, made.feeds)

    def total(name: str, change: Array) -> float:
        outputs = _exactly(made, folder, {**made.feeds, name: made.feeds[name] + change})
        return sum(
            float(np.sum(outputs[y] * made.feeds[f"dy{i}"])) for i, y in enumerate(made.results)
        )

    for name in case.operands:
        if name in case.baked:
            continue
        direction = np.sign(grid(case.operands[name].shape, -1, 1, seed=3))
        wide, narrow = (
            (total(name, h * direction) - total(name, -h * direction)) / (2 * h)
            for h in (SHIFT, SHIFT / 2)
        )
        slope = float(np.sum(found[f"d_{name}"] * direction))
        size = float(np.sum(np.abs(found[f"d_{name}"])))
        # Twice the constants' rounding, that of values and that of slopes, over a sum of this size.
        assert (4 * narrow - wide) / 3 == pytest.approx(
            slope, rel=1e-6, abs=2 * ROUNDED_CONSTANTS * (1 + size)
        )


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_backend_computes_the_gradient_within_its_roundings(
    case: GradientCase, dtype: str, runtime: milane.Runtime, tmp_path: Path
) -> None:
    made = built(case, dtype)
    text = str(made.program)
    assert str(mil.parse(text)) == text
    if refused(runtime, made.program.program, weight_files=made.program.weight_files()):
        return
    number = np.float16 if dtype == "fp16" else np.float32
    feeds = {n: a.astype(number) if a.dtype.kind == "f" else a for n, a in made.feeds.items()}
    truth, limits = program_tolerance(text, _folder(made, tmp_path), feeds)
    with runtime.compile(made.program) as kernel:
        found = kernel(**feeds)
    for name, value in truth.items():
        off = np.abs(found[name].astype(np.float64) - value)
        assert np.all(off <= limits[name]), (name, float(np.max(off - limits[name])))


@pytest.mark.parametrize("batch", [1, 2])
def test_a_convolution_learns_with_weights_as_inputs(batch: int, runtime: milane.Runtime) -> None:
    graph = milane.Graph()
    x, w = graph.input("x", (batch, 4, 1, 32)), graph.input("w", (6, 4, 1, 1))
    y = ops.conv(x, w)
    dx, dw = graph.gradient(y, [x, w], output_gradients=graph.input("dy", y.shape))
    graph.output("dx", dx)
    graph.output("dw", dw)
    feeds = {n: grid(t.shape).astype(np.float16) for n, t in graph.program().inputs.items()}
    with graph.compile(runtime) as kernel:
        found = kernel(**feeds)
    exact = {n: a.astype(np.float64)[..., 0, :] for n, a in feeds.items() if n != "w"}
    want = np.einsum("nos,nis->oi", exact["dy"], exact["x"])[..., None, None]
    np.testing.assert_allclose(found["dw"], want, rtol=2.0**-9, atol=2.0**-9 * np.abs(want).max())


def test_every_operation_of_these_families_has_a_rule_or_says_why_not() -> None:
    covered = {name for case in CASES for name in case.covers}
    families = ["conv", "pool", "move", "slice", "gather", "image", "recurrent", "constexpr"]
    families += ["control", "lists", "state", "quantize"]
    public = {
        name
        for family in families
        for name in ops.__all__
        if getattr(ops, name).__module__ == f"milane.graph.ops.{family}"
    }
    assert public <= RULES.keys() | REFUSALS.keys()
    untested = public & RULES.keys() - covered - {"coreml_update_state"}
    assert not untested


def test_the_gradient_of_what_is_put_into_a_state_is_that_of_the_result() -> None:
    graph = milane.Graph()
    state, x = graph.state("s", (2, 3)), graph.input("x", (2, 3))
    held = ops.coreml_update_state(state, x * 2)
    (dx,) = graph.gradient(held * 3, [x])
    graph.output("dx", dx)
    assert evaluate(str(graph), None, {"x": np.zeros((2, 3))})["dx"].tolist() == [[6.0] * 3] * 2


def _recurrent(x: Any, graph: milane.Graph) -> Any:
    h = graph.constant(np.zeros((1, 2)))
    return ops.rnn(x, h, np.zeros((2, 3)), np.zeros((2, 2)))[0]


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (_recurrent, "rnn.*step by step"),
        (lambda x, _: ops.quantize(x, 0.5), "dequantize.*whole"),
        (lambda x, _: ops.one_hot(ops.cast(x, dtype="int32"), one_hot_vector_size=3, on_value=1.0), "one_hot.*whole"),
        (lambda x, g: ops.scatter(x, g.constant([0]), np.zeros((1, 1, 3)), mode="max"), "scatter.*max"),
        (lambda x, g: ops.gather(x, g.constant([[0]]), axis=1, batch_dims=1), "batch_dims"),
    ],
    ids=["rnn", "dequantize", "one_hot", "scatter with max", "gather with batch_dims"],
)  # fmt: skip
def test_a_refusal_says_why(build: Any, why: str) -> None:
    graph = milane.Graph()
    x = graph.input("x", (1, 1, 3))
    y = build(x, graph)
    if y.dtype not in ("fp16", "fp32"):
        y = ops.dequantize(y, 0.5) if y.dtype == "int8" else ops.cast(y, dtype="fp16")
    with pytest.raises(
        (milane.errors.UnsupportedError, milane.errors.InvalidArgumentError), match=why
    ):
        graph.gradient(y, [x])
