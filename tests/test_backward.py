"""graph.gradient and graph.backward: what they take, what they refuse, and the programs they make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from milane import mil
from milane.errors import InvalidArgumentError, UnsupportedError
from milane.graph import Backward, Graph, Tensor, gradient, ops
from milane.graph.gradients import REFUSALS
from on_device import refused
from reference import evaluate

Array = NDArray[Any]
X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


def value(graph: Graph, tensor: Tensor, **inputs: Any) -> Array:
    """What a tensor holds, in float64."""
    graph.output("value", tensor)
    return evaluate(str(graph), None, inputs)["value"]


def test_what_is_used_twice_has_the_sum_of_both_gradients() -> None:
    graph = Graph()
    x = graph.input("x", X.shape)
    (dx,) = gradient(ops.exp(x) * x, [x])
    expected = np.exp(X) * (1 + X)
    np.testing.assert_allclose(value(graph, dx, x=X), expected, rtol=1e-12)


def test_several_outputs_have_the_gradient_of_their_sum() -> None:
    graph = Graph()
    x = graph.input("x", X.shape)
    (dx,) = graph.gradient([x * 3, ops.reduce_sum(ops.square(x))], [x])
    np.testing.assert_array_equal(value(graph, dx, x=X), 3 + 2 * X)


def test_a_result_in_between_may_be_asked_for_together_with_what_it_comes_from() -> None:
    graph = Graph()
    x = graph.input("x", X.shape)
    middle = ops.square(x)
    dx, dm = gradient(middle * 4, [x, middle])
    graph.output("dx", dx)
    graph.output("dm", dm)
    found = evaluate(str(graph), None, {"x": X})
    np.testing.assert_array_equal(found["dx"], 8 * X)
    np.testing.assert_array_equal(found["dm"], np.full(X.shape, 4.0))


def test_an_output_is_its_own_gradient_of_ones() -> None:
    graph = Graph()
    x = graph.input("x", X.shape)
    y = x * 2
    (dy,) = gradient(y, [y])
    np.testing.assert_array_equal(value(graph, dy, x=X), np.ones(X.shape))


def test_output_gradients_weight_the_outputs() -> None:
    graph = Graph()
    x, dy = graph.input("x", X.shape), graph.input("dy", X.shape)
    (a,) = gradient(x * 2, [x], output_gradients=dy)
    (b,) = gradient(x * 2, [x], output_gradients=[[10.0, 20.0, 30.0]])
    (c,) = gradient(x * 2, [x], output_gradients=0.5, loss_scale=64)
    graph.output("a", a)
    graph.output("b", b)
    graph.output("c", c)
    found = evaluate(str(graph), None, {"x": X, "dy": X})
    np.testing.assert_array_equal(found["a"], 2 * X)
    np.testing.assert_array_equal(found["b"], [[20, 40, 60]] * 2)
    np.testing.assert_array_equal(found["c"], np.full(X.shape, 64.0))


def test_a_loss_scale_saves_gradients_below_the_end_of_fp16(runtime: milane.Runtime) -> None:
    graph = Graph()
    x = graph.input("x", (1, 64))
    loss = ops.reduce_mean(x * 2.0**-14, keep_dims=True) * 2.0**-6
    scale = 2.0**10
    (lost,) = gradient(loss, [x])
    (saved,) = gradient(loss, [x], loss_scale=scale)
    graph.output("lost", lost)
    graph.output("saved", saved)
    with graph.compile(runtime) as kernel:
        found = kernel(x=np.ones((1, 64), np.float16))
    assert np.all(found["lost"] == 0)
    assert np.all(found["saved"] / scale == 2.0**-26)


def test_only_what_is_asked_for_is_computed() -> None:
    graph = Graph()
    x, w = graph.input("x", (4, 3)), graph.input("w", (3, 5))
    y = x @ w
    before = len(graph._body.nodes)
    gradient(y, [x])
    assert [node.type for node in graph._body.nodes[before:]] == ["matmul"]


def test_an_operation_without_a_gradient_is_refused_where_the_gradient_is_asked_for() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    y = ops.floor(x * 2)
    with pytest.raises(UnsupportedError) as caught:
        gradient(y, [x])
    lines = str(caught.value).split("\n")
    here = Path(__file__).name
    assert re.match(rf".*{here}:\d+: gradient: expected operations that have a gradient", lines[0])
    assert "got floor, which makes floor_0 of (x: fp16 [2, 3]): it is constant but" in lines[0]
    assert lines[1] == "    gradient(outputs: (fp16 [2, 3]), wrt: (fp16 [2, 3]))"


def test_an_operation_beside_the_way_is_not_refused() -> None:
    graph = Graph()
    x, t = graph.input("x", (2, 3)), graph.input("t", (2, 3))
    (dx,) = gradient(x * ops.floor(t), [x])
    found = value(graph, dx, x=X, t=X)
    np.testing.assert_array_equal(found, np.floor(X))


def test_a_rule_may_refuse_a_use_of_its_operation() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    (largest,) = ops.topk(x, k=2, return_indices=False)
    with pytest.raises(UnsupportedError, match="topk, .* return the positions: return_indices"):
        gradient(largest, [x])


def test_a_tensor_without_influence_is_refused_by_name() -> None:
    graph = Graph()
    x, t = graph.input("x", (2, 3)), graph.input("t", (2, 3))
    y = ops.select(t > 0, x, 0.0)
    with pytest.raises(InvalidArgumentError, match="outputs to depend on t, got no way") as caught:
        gradient(y, [x, t])
    assert "hint: leave it out of wrt" in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda x, n: gradient(ops.cast(x, dtype="int32"), [x]), "expected floats, got <Tensor"),
        (lambda x, n: gradient(x * 2, [n]), "expected floats, got <Tensor n: tensor<int32"),
        (lambda x, n: gradient([], [x]), "expected outputs and wrt, got none"),
        (lambda x, n: gradient(x * 2, []), "expected outputs and wrt, got none"),
        (lambda x, n: gradient(x * 2, [x], output_gradients=[1, 2]), "1 output_gradients, got 2"),
        (
            lambda x, n: gradient(x * 2, [x], output_gradients=np.ones((3, 2))),
            r"output_gradients of \[2, 3\], got \[3, 2\]",
        ),
        (
            lambda x, n: gradient(x * 2, [x], output_gradients=ops.transpose(x, perm=[1, 0])),
            "expected output_gradients like",
        ),
        (lambda x, n: gradient(x * 2, [x], loss_scale=65536), "of fp16, up to 65504, got 65536"),
        (
            lambda x, n: gradient(x * 2, [Graph().input("z", (2, 3))]),
            "expected a tensor of the function main, got <Tensor z",
        ),
    ],
)
def test_what_does_not_fit_is_refused(ask: Any, why: str) -> None:
    graph = Graph()
    x, n = graph.input("x", (2, 3)), graph.input("n", (2, 3), "int32")
    with pytest.raises(InvalidArgumentError, match=why):
        ask(x, n)


def test_a_constant_of_a_tensors_shape_is_no_way_to_it() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    (dx,) = gradient(x * ops.fill_like(x, value=4.0), [x])
    np.testing.assert_array_equal(value(graph, dx, x=X), np.full(X.shape, 4.0))


def test_a_gradient_has_a_gradient() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the witness")
    graph = Graph()
    x, w = graph.input("x", (2, 3)), graph.input("w", (3, 3))
    y = ops.softmax(ops.tanh(x @ w), axis=-1) * ops.gelu(x)
    (dx,) = gradient(y, [x], output_gradients=[[1.0, 2.0, 3.0]])
    (dw,) = gradient(ops.reduce_sum(ops.square(dx)), [w])
    a = torch.tensor(X, requires_grad=True)
    weights = np.arange(9.0).reshape(3, 3) / 8 - 0.5
    b = torch.tensor(weights, requires_grad=True)
    z = (a @ b).tanh().softmax(-1) * torch.nn.functional.gelu(a)
    (da,) = torch.autograd.grad((z * torch.tensor([1.0, 2, 3])).sum(), [a], create_graph=True)
    (db,) = torch.autograd.grad(da.square().sum(), [b])
    # The constants of gelu's rule are rounded to fp16, and enter squared.
    found = value(graph, dw, x=X, w=weights)
    np.testing.assert_allclose(found, db.numpy(), rtol=4 * 2.0**-11, atol=4 * 2.0**-11)


# --- two programs


def perceptron(graph: Graph) -> tuple[Tensor, list[Tensor]]:
    """A loss of two layers: one weight is an input, the others are baked."""
    random = np.random.default_rng(3)
    x, w = graph.input("x", (2, 4, 8)), graph.input("w", (16, 8))
    b = graph.weight("b", (16,), data=random.normal(size=16) * 0.1)
    v = graph.constant(random.normal(size=(16, 8)) * 0.3, name="v")
    unused = graph.constant(random.normal(size=(8, 8)), name="unused")
    ops.matmul(x, unused)
    h = ops.silu(ops.matmul(x, w, transpose_y=True) + b)
    parts = ops.split(ops.relu(h @ v), num_splits=2, axis=-1)
    kept = ops.select(ops.logical_not(ops.greater(x, 1.0))[..., :4], parts[0], parts[1])
    turned = ops.reshape(ops.transpose(kept, perm=[0, 2, 1]), shape=[2, 16])
    loss = ops.reduce_mean(ops.square(turned), keep_dims=True)
    return graph.output("loss", loss), [x, w, b, v]


def split() -> Backward:
    graph = Graph()
    loss, wrt = perceptron(graph)
    return graph.backward(loss, wrt)


def test_the_forward_program_returns_what_the_backward_program_takes() -> None:
    made = split()
    assert list(made.forward.outputs) == ["loss", *made.taps]
    assert set(made.backward.inputs) == {"d_loss", *made.taps, "x", "w"}
    for name in made.taps:
        assert made.backward.inputs[name] == made.forward.outputs[name]
    assert list(made.backward.outputs) == ["d_x", "d_w", "d_b", "d_v"]
    assert (made.output_gradients, list(made.gradients)) == (
        {"loss": "d_loss"},
        ["x", "w", "b", "v"],
    )


def test_taps_are_few_and_none_is_what_costs_nothing_to_make_again() -> None:
    made = split()
    # silu takes the sum, matmul its result, relu gives what its own gradient takes, and of the
    # mean of squares only the selected values count.
    types = {o.name: op.type for op in made.forward.function.operations for o in op.outputs}
    assert sorted(types[name] for name in made.taps) == ["add", "relu", "select", "silu"]
    again = {op.type for op in made.backward.function.operations}
    assert {"transpose", "reshape", "greater", "logical_not", "slice_by_index"} <= again


def test_the_graph_stays_as_it_was_and_dead_operations_go() -> None:
    graph = Graph()
    loss, wrt = perceptron(graph)
    before = str(graph)
    made = graph.backward(loss, wrt)
    assert str(graph) == before
    assert [w.name for w in made.forward.weights] == ["b", "v"]  # not `unused`
    assert [w.name for w in made.backward.weights] == ["v"]
    assert {w.name: w.offset for w in made.forward.weights} == {"b": 64, "v": 64}
    assert made.forward.weight_files().keys() == {w.path for w in made.forward.weights}


def test_both_programs_parse_to_themselves() -> None:
    made = split()
    for program in (made.forward, made.backward):
        assert str(mil.parse(str(program))) == str(program)


def test_two_kernels_share_the_surfaces_of_the_taps(runtime: milane.Runtime) -> None:
    made = split()
    if refused(runtime, made.forward.program) or refused(runtime, made.backward.program):
        return
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 4, 8)).astype(np.float16)
    w = (random.normal(size=(16, 8)) / 3).astype(np.float16)
    graph = Graph()
    loss, wrt = perceptron(graph)
    for name, dx in zip(made.gradients.values(), graph.gradient(loss, wrt), strict=True):
        graph.output(name, dx)
    with (
        runtime.compile(made.forward) as forward,
        runtime.compile(made.backward) as backward,
        graph.compile(runtime) as one,
    ):
        shared = {name: forward.outputs[name].surface for name in made.taps}
        forward.inputs["x"].array[...] = x
        forward.inputs["w"].array[...] = w
        forward.eval()
        backward.inputs["x"].array[...] = x
        backward.inputs["w"].array[...] = w
        backward.inputs["d_loss"].array[...] = 1
        with backward.bind(shared) as request:
            request.eval()
        expected = one(x=x, w=w)
        for name in made.gradients.values():
            np.testing.assert_array_equal(backward.outputs[name].array, expected[name])


def test_an_output_that_nothing_makes_has_no_backward_pass() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    with pytest.raises(InvalidArgumentError, match="results as outputs, got <Tensor x"):
        graph.backward(x, [x])


# --- the page about it

PAGE = Path(__file__).resolve().parent.parent / "docs" / "gradients.md"


def test_the_examples_run_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    expected = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert capsys.readouterr().out == "".join(expected)


def test_the_page_names_every_operation_without_a_gradient_and_no_other() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("| operations | why |")[2]
    rows = re.findall(r"^\| ((?:`\w+` ?)+)\|", table, re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(rows))
    assert sorted(named) == sorted(REFUSALS)
