"""The graph: values, names, constants, functions, states, outputs, dialects, and what mistakes say."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import milane
from milane import Graph, mil
from milane.graph import Tensor, ops
from on_device import refused
from reference import evaluate

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(5)


def whole(shape: tuple[int, ...], low: int = -8, high: int = 8) -> Array:
    """Whole numbers: every result of a few of them is exact in fp16."""
    return RNG.integers(low, high, shape).astype(np.float16)


def computed(graph: Graph, **feeds: Array) -> dict[str, Array]:
    """What the program gives, by this project's float64 reference."""
    text = str(graph.program())
    assert str(mil.parse(text)) == text
    return evaluate(text, None, feeds)


# --- the first program


def test_a_graph_is_a_program_and_a_kernel(runtime: milane.Runtime) -> None:
    graph = Graph()
    x = graph.input("x", (1, 4, 1, 32))
    graph.output("y", ops.relu(x) * 2 + 1)
    program = graph.program()
    assert {n: str(t) for n, t in program.inputs.items()} == {"x": "tensor<fp16, [1, 4, 1, 32]>"}
    assert {n: str(t) for n, t in program.outputs.items()} == {"y": "tensor<fp16, [1, 4, 1, 32]>"}
    given = whole((1, 4, 1, 32))
    with graph.compile(runtime, qos=milane.QoS.USER_INITIATED) as kernel:
        assert (kernel(x=given)["y"] == np.maximum(given, 0) * 2 + 1).all()


def test_the_text_is_the_same_every_time() -> None:
    def build() -> str:
        graph = Graph()
        x = graph.input("x", (2, 8))
        graph.output("y", ops.softmax(x @ np.ones((8, 8)), axis=-1))
        return str(graph)

    assert build() == build()


# --- operators


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: abs(a) ** b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "@": lambda a, b: a @ b,
}


@pytest.mark.parametrize("sign", OPERATORS)
@pytest.mark.parametrize("kind", ["tensor", "array", "array first"])
def test_operators_are_those_of_numpy(sign: str, kind: str) -> None:
    operator = OPERATORS[sign]
    a, b = whole((3, 3), -8, 0), whole((3, 3), 1, 4)
    graph = Graph()
    x = graph.input("x", a.shape)
    feeds = {"x": a}
    if kind == "tensor":
        made, want = operator(x, graph.input("y", b.shape)), operator(a, b)
        feeds["y"] = b
    elif kind == "array":
        made, want = operator(x, b), operator(a, b)
    else:
        made, want = operator(b, x), operator(b, a)
    graph.output("out", made)
    found = computed(graph, **feeds)["out"]
    np.testing.assert_allclose(found, want.astype(np.float64), rtol=2.0**-10)


@pytest.mark.parametrize("sign", [sign for sign in OPERATORS if sign != "@"])
def test_operators_take_numbers_on_either_side(sign: str) -> None:
    operator = OPERATORS[sign]
    a = whole((3, 3), -8, 0)
    graph = Graph()
    x = graph.input("x", a.shape)
    graph.output("behind", operator(x, 2))
    graph.output("before", operator(3.0, x))
    found = computed(graph, x=a)
    wide = a.astype(np.float64)
    np.testing.assert_allclose(found["behind"], operator(wide, 2.0), rtol=2.0**-10)
    np.testing.assert_allclose(found["before"], operator(3.0, wide), rtol=2.0**-10)


def test_unary_operators_and_comparisons_with_numbers() -> None:
    a = whole((4,))
    graph = Graph()
    x = graph.input("x", (4,))
    graph.output("minus", -x)
    graph.output("size", abs(x))
    graph.output("from", 1 - x)
    graph.output("over", 6.0 / (abs(x) + 1))
    found = computed(graph, x=a)
    assert (found["minus"] == -a).all()
    assert (found["size"] == abs(a)).all()
    assert (found["from"] == 1 - a).all()
    np.testing.assert_allclose(found["over"], 6 / (abs(a.astype(float)) + 1))


def test_equality_is_identity_and_a_tensor_is_no_truth() -> None:
    graph = Graph()
    x = graph.input("x", (4,))
    assert x == x  # noqa: PLR0124
    assert x != x + 0
    with pytest.raises(milane.InvalidArgumentError, match=r"x: expected a value known in Python"):
        bool(x)
    with pytest.raises(TypeError):
        list(x)
    assert len(x) == 4


# --- slices


def keys(shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """Indices of NumPy's basic kind that take something of every axis."""

    def of(size: int) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.integers(-size, size - 1),
            st.slices(size).filter(lambda s: len(range(*s.indices(size))) > 0),
        )

    every = st.tuples(*map(of, shape))
    first = st.integers(0, len(shape)).flatmap(lambda n: st.tuples(*map(of, shape[:n])))
    dots = st.tuples(of(shape[0]), st.just(...), of(shape[-1]))
    return st.one_of(every, first, dots, of(shape[0]))


@given(keys((4, 3, 5)))
def test_slicing_is_that_of_numpy(key: Any) -> None:
    array = np.arange(60, dtype=np.float16).reshape(4, 3, 5)
    graph = Graph()
    x = graph.input("x", array.shape)
    made = x[key]
    want = array[key]
    assert made.shape == want.shape
    graph.output("y", made)
    assert (computed(graph, x=array)["y"] == want).all()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((0, 0, 0), "at most 2 indices, got 3"),
        ((..., ...), "at most 2 indices"),
        (5, r"an index in \[-4, 4\) for axis 0, got 5"),
        ([1, 2], "integers, slices and"),
        (None, "integers, slices and"),
        (True, "integers, slices and"),
        (slice(2, 2), "a slice that takes something"),
    ],
    ids=["too many", "two dots", "out of range", "a list", "none", "a bool", "empty"],
)
def test_what_is_no_index_is_refused(key: Any, message: str) -> None:
    x = Graph().input("x", (4, 3))
    with pytest.raises(milane.AneError, match=message):
        x[key]


# --- constants and weights


def test_equal_small_constants_stand_in_the_text_once() -> None:
    graph = Graph()
    x = graph.input("x", (4,))
    graph.output("y", (x * 2 + 1) * 2)
    consts = [o for o in graph.program().function.operations if o.type == "const"]
    assert len(consts) == 2


def test_a_number_takes_the_type_of_the_tensor_beside_it() -> None:
    graph = Graph()
    made = [graph.input(k, (2,), k) * 2.0 for k in ("fp16", "fp32")] + [
        graph.input("i", (2,), "int32") * 2
    ]
    assert [t.dtype for t in made] == ["fp16", "fp32", "int32"]


def test_a_number_written_before_takes_the_type_of_the_tensor_beside_it_now() -> None:
    """What was made of a number beside one tensor is not taken for it beside another."""
    graph = Graph()
    tensors = [graph.input(dtype, (2, 3), dtype) for dtype in ("fp16", "fp32", "int32")]
    state = graph.state("held", (2, 3), "fp32")
    for number in (2, -1, [1, 2, 3]):
        for tensor in [*tensors, *tensors[::-1]]:
            made = ops.mul(tensor, number)
            partner = made.node.inputs["y"]
            assert (partner.dtype, made.dtype) == (tensor.dtype, tensor.dtype), number
    for tensor, number in itertools.product(tensors[:2], (0.5, 0.0, -0.0, [0.5, 0.0, -0.0])):
        partner = ops.mul(tensor, number).node.inputs["y"]
        assert partner.dtype == tensor.dtype
        assert np.array_equal(np.signbit(partner.value), np.signbit(number))
    assert ops.mul(ops.read_state(state), 0.5).dtype == "fp32"
    ops.mul(tensors[0], 1)
    with pytest.raises(milane.AneError, match="bool"):
        ops.mul(tensors[0], True)  # equal to 1, and no number


def test_numbers_of_numpy_in_a_list_keep_their_type() -> None:
    graph = Graph()
    row = graph.input("row", (3,), "int32")
    plain = graph.op("expand_dims", x=row, axes=[0])
    numpys = graph.op("expand_dims", x=row, axes=[np.int64(0)])
    assert plain.shape == numpys.shape == (1, 3)
    wide, narrow = [graph.op("cast", x=row, dtype=d) for d in ("fp32", "fp16")]
    for tensor in (wide, narrow):
        made = ops.add(tensor, [np.float32(0.1)] * 3)
        assert made.node.inputs["y"].dtype == tensor.dtype == made.dtype


def test_a_float_beside_whole_numbers_is_refused() -> None:
    x = Graph().input("i", (2,), "int32")
    with pytest.raises(milane.AneError, match=r"mul"):
        x * 0.5


def test_a_large_array_stands_in_the_weight_file_once() -> None:
    graph = Graph()
    array = np.arange(64.0).reshape(8, 8)
    x = graph.input("x", (8, 8))
    graph.output("y", x @ array + x @ array)
    program = graph.program()
    (weight,) = program.weights
    assert (weight.shape, weight.dtype) == ((8, 8), "fp16")
    assert (program.data[weight.name] == array).all()


def test_weights_are_given_now_or_when_it_is_compiled(runtime: milane.Runtime) -> None:
    graph = Graph()
    x = graph.input("x", (1, 4, 1, 32))
    now = graph.weight("now", (4, 4, 1, 1), data=np.eye(4).reshape(4, 4, 1, 1))
    later = graph.weight("later", (4, 4, 1, 1))
    graph.output("y", ops.conv(ops.conv(x, now), later))
    array = whole((1, 4, 1, 32))
    with pytest.raises(milane.InvalidArgumentError, match="no array for later"):
        graph.compile(runtime)
    twice = 2 * np.eye(4).reshape(4, 4, 1, 1)
    with graph.compile(runtime, weights={"later": twice}) as kernel:
        assert (kernel(x=array)["y"] == 2 * array).all()
    assert [w.path for w in graph.program().weights] == [
        "@model_path/weights/now.bin",
        "@model_path/weights/later.bin",
    ]


def test_weights_of_one_file_have_offsets_of_their_own(host_runtime: milane.Runtime) -> None:
    graph = Graph()
    x, path = graph.input("x", (2, 8)), "@model_path/weights/all.bin"
    total = x
    for n in range(3):
        total = total + graph.weight(f"w{n}", (2, 8), data=np.full((2, 8), n + 1.0), path=path)
    graph.output("y", total)
    program = graph.program()
    assert [w.offset for w in program.weights] == [64, 192, 320]
    with graph.compile(host_runtime) as kernel:
        assert (kernel(x=np.zeros((2, 8)))["y"] == 6).all()


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda g: g.weight("w", (2, 3), data=np.zeros((3, 2))), "InvalidArgumentError", r"w: expected shape \[2, 3\]"),
        (lambda g: g.constant([1, 2, 3], (2, 2)), "InvalidArgumentError", "constant: expected shape"),
        (lambda g: g.constant(["a"]), "DTypeError", "expected numbers"),
        (lambda g: g.constant(object()), "DTypeError", "expected numbers"),
        (lambda g: [g.weight("w", (2,)), g.weight("w", (2,))], "AneError", "w"),
        (lambda g: g.input("1x", (2,)), "InvalidArgumentError", "expected a name, got '1x'"),
        (lambda g: [g.input("x", (2,)), g.input("x", (2,))], "MILVerifyError", "x` a second time"),
        (lambda g: g.input("x", (2,), "fp17"), "AneError", "fp17"),
    ],
    ids=["another shape", "another count", "text", "an object", "a weight twice", "no name", "an input twice", "no dtype"],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused(build: Any, error: str, message: str) -> None:
    with pytest.raises(getattr(milane, error), match=message):
        build(Graph())


def test_a_constant_of_any_dtype_keeps_its_numbers() -> None:
    graph = Graph()
    for dtype, array in (("int32", [1, -2]), ("bool", [True, False]), ("fp16", [0.5, 1.5])):
        tensor = graph.constant(array)
        assert (tensor.dtype, np.asarray(tensor.value).tolist()) == (dtype, array)
    assert graph.constant([1, 2], dtype="fp32").dtype == "fp32"
    assert graph.constant(3.0).shape == ()


# --- names


def test_results_are_named_after_their_operation_or_as_asked() -> None:
    graph = Graph()
    x = graph.input("x", (4,))
    assert [ops.relu(x).name for _ in range(2)] == ["relu_0", "relu_1"]
    assert ops.relu(x, name="mine").name == "mine"
    with pytest.raises(milane.MILVerifyError, match="`mine` a second time"):
        ops.relu(x, name="mine")
    assert ops.relu(x).name == "relu_2"


def test_an_own_name_that_looks_like_a_made_one_is_no_trouble() -> None:
    graph = Graph()
    x = graph.input("relu_0", (4,))
    assert ops.relu(x).name == "relu_1"


def test_a_renamed_result_is_renamed_where_it_is_used() -> None:
    graph = Graph()
    x = graph.input("x", (4,))
    y = ops.relu(x)
    graph.output("z", y * 2)
    graph.output("first", y)
    assert y.name == "first"
    assert list(graph.program().outputs) == ["z", "first"]
    assert re.search(r"mul\(x = first, ", str(graph))


# --- outputs


def test_without_outputs_every_unused_result_is_one() -> None:
    graph = Graph()
    x = graph.input("x", (4,))
    y = ops.relu(x)
    parts = ops.split(y, axis=0, num_splits=2)
    z = ops.exp(parts[0])
    assert list(graph.program().outputs) == [parts[1].name, z.name]


@pytest.mark.parametrize("dtype", ["fp16", "fp32", "int32"])
def test_an_input_is_passed_on_as_a_result_of_its_own(dtype: str, runtime: milane.Runtime) -> None:
    graph = Graph()
    x = graph.input("x", (4,), dtype)
    graph.output("same", x)
    graph.output("again", x)
    graph.output("constant", graph.constant([1.0, 2.0]))
    program = graph.program()
    if refused(runtime, program.program):
        return
    with graph.compile(runtime) as kernel:
        found = kernel(x=np.arange(4).astype(kernel.inputs["x"].dtype))
    assert found["same"].tolist() == found["again"].tolist() == [0, 1, 2, 3]
    assert found["constant"].tolist() == [1, 2]


def test_one_result_may_be_two_outputs(runtime: milane.Runtime) -> None:
    graph = Graph()
    y = graph.input("x", (4,)) + 1
    graph.output("a", y)
    graph.output("b", y)
    with graph.compile(runtime) as kernel:
        found = kernel(x=np.zeros(4))
    assert found["a"].tolist() == found["b"].tolist() == [1] * 4


def test_a_program_is_a_snapshot() -> None:
    graph = Graph()
    x = graph.input("x", (4,))
    graph.output("a", x + 1)
    before = graph.program()
    text = str(before)
    graph.output("b", x + 2)
    assert str(before) == text
    assert list(graph.program().outputs) == ["a", "b"]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g, x: [g.output("y", x + 1), g.output("y", x + 2)], "expected a new name"),
        (lambda g, x: g.output("x", x + 1), "x"),
        (lambda g, _: g.output("y", g.state("s", (2,))), "expected a tensor, got state"),
        (lambda g, _: g.output("y", Graph().input("z", (2,)) + 1), "expected a tensor of the function main"),
        (lambda g, _: g.program(), "at least one operation"),
    ],
    ids=["a name twice", "an input's name", "a state", "another graph's", "nothing at all"],
)  # fmt: skip
def test_what_cannot_be_an_output_is_refused(build: Any, message: str) -> None:
    graph = Graph()
    x = graph.input("x", (2,))
    with pytest.raises(milane.AneError, match=message):
        build(graph, x)


# --- functions


def test_functions_share_weights_and_are_compiled_by_name(runtime: milane.Runtime) -> None:
    graph = Graph()
    eye = np.eye(8)
    for name, factor in (("first", 1.0), ("second", 3.0)):
        with graph.function(name):
            x = graph.input("x", (8, 8))
            graph.output("y", (x @ eye) * factor)
    program = graph.program()
    assert [f.name for f in program.program.functions] == ["first", "second"]
    array = whole((8, 8))
    for name, factor in (("first", 1.0), ("second", 3.0)):
        with graph.compile(runtime, function=name) as kernel:
            assert (kernel(x=array)["y"] == array * factor).all()


def test_a_function_may_be_left_and_entered_again() -> None:
    graph = Graph()
    x = graph.input("x", (4,))
    with graph.function("other"):
        y = graph.input("y", (4,))
    graph.output("a", x + 1)
    with graph.function("other"):
        graph.output("b", y + 2)
    assert [f.outputs for f in graph.program().program.functions] == [["a"], ["b"]]


def test_tensors_of_two_functions_do_not_mix() -> None:
    graph = Graph()
    x = graph.input("x", (4,))
    with graph.function("other"):
        y = graph.input("y", (4,))
        with pytest.raises(milane.InvalidArgumentError, match="expected a tensor of the function"):
            x + y


# --- dialects


def test_the_old_dialect_spells_scalars_in_full() -> None:
    texts = {}
    for dialect in ("ios16", "ios18"):
        graph = Graph(dialect=dialect)  # type: ignore[arg-type]
        x = graph.input("x", (4,))
        graph.output("y", ops.softmax(x, axis=-1) * 2.0)
        texts[dialect] = str(graph)
    assert texts["ios16"].startswith("program(1.0)")
    assert "func main<ios16>" in texts["ios16"]
    assert "tensor<int32, []> axis_0" in texts["ios16"]
    assert 'name = tensor<string, []>("axis_0")' in texts["ios16"]
    assert texts["ios18"].startswith("program(1.3)")
    assert " int32 axis_0" in texts["ios18"]
    assert "tensor<int32, []>" not in texts["ios18"]


def test_an_operation_of_a_newer_dialect_is_refused() -> None:
    graph = Graph(dialect="ios16")
    x = graph.input("x", (1, 2, 3, 4))
    with pytest.raises(
        milane.InvalidArgumentError, match=r"an operation of ios16.*came with ios18"
    ):
        ops.scaled_dot_product_attention(x, x, x)
    with pytest.raises(milane.InvalidArgumentError, match="expected a dialect of .*ios18, got"):
        Graph(dialect="ios14")  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", ["ios16", "ios17", "ios18"])
def test_every_dialect_runs(dialect: Any, runtime: milane.Runtime) -> None:
    graph = Graph(dialect=dialect)
    x = graph.input("x", (1, 4, 1, 32))
    graph.output("y", ops.conv(x, np.eye(4).reshape(4, 4, 1, 1)) * 2)
    with graph.compile(runtime) as kernel:
        array = whole((1, 4, 1, 32))
        assert (kernel(x=array)["y"] == 2 * array).all()


# --- sizes known at run time only


def test_an_unknown_size_goes_through() -> None:
    graph = Graph()
    x = graph.input("x", (None, 4))
    y = ops.relu(x) + 1
    assert y.type.shape == (None, 4)
    with pytest.raises(milane.InvalidArgumentError, match="expected known sizes"):
        y.shape  # noqa: B018
    assert "tensor<fp16, [?, 4]>" in str(graph)


# --- mistakes


def deep(x: Tensor) -> Tensor:
    return deeper(x)


def deeper(x: Tensor) -> Tensor:
    return x @ np.zeros((7, 3))  # the mistake


def test_a_mistake_names_the_operation_the_shapes_and_the_users_own_line() -> None:
    x = Graph().input("x", (2, 5))
    with pytest.raises(milane.MILVerifyError) as caught:
        deep(x)
    first, second, *_ = str(caught.value).splitlines()
    line = deeper.__code__.co_firstlineno + 1
    assert first.startswith(f"{__file__}:{line}: matmul: ")
    assert "x: fp16 [2, 5]" in second
    assert "y: float64 array [7, 3]" in second


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda x: x + np.zeros((3, 4)), ["add", "fp16 [2, 5]", "array [3, 4]"]),
        (lambda x: ops.reshape(x, [3, 3]), ["reshape", "10 elements", "fp16 [2, 5]"]),
        (lambda x: ops.softmax(x, axis=2), ["softmax", "axis must be in [-2, 2), got 2"]),
        (lambda x: ops.concat([x, x[:1, :3]], axis=0), ["concat", "fp16 [1, 3]"]),
        (lambda x: ops.conv(x, np.zeros((1, 1, 1))), ["conv", "rank"]),
        (lambda x: x._body.op("relux", x=x), ["relux", "did you mean"]),
        (lambda x: x._body.op("relu", y=x), ["relu", "y"]),
        (lambda x: ops.split(x, axis=1), ["split", "num_splits"]),
    ],
    ids=["shapes", "elements", "axis", "concat", "rank", "no operation", "no argument", "too few"],
)  # fmt: skip
def test_every_mistake_starts_with_the_users_line(build: Any, words: list[str]) -> None:
    graph = Graph()
    x = graph.input("x", (2, 5))
    with pytest.raises(milane.AneError) as caught:
        build(x)
    message = str(caught.value)
    assert re.match(rf"{re.escape(__file__)}:\d+: ", message), message
    for word in words:
        assert word in message
    graph.output("y", x + 1)  # it has left no trace
    graph.program().program.verify()


def test_a_function_without_a_tensor_says_how_to_make_one() -> None:
    with pytest.raises(
        milane.InvalidArgumentError, match=r"relu: expected a tensor among"
    ) as caught:
        ops.relu(np.zeros(3))
    assert caught.value.hint == "graph.constant(array) makes one"


def test_results_of_several_are_taken_by_results() -> None:
    graph = Graph()
    x = graph.input("x", (4,))
    assert len(graph.results("split", x=x, num_splits=2, axis=0)) == 2
    with pytest.raises(milane.InvalidArgumentError, match="one result, got 2"):
        graph.op("split", x=x, num_splits=2, axis=0)
    assert graph.op("relu", x=x, name="by_name").name == "by_name"


def test_a_graph_and_its_tensors_show_what_they_are() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    y = x + 1
    assert repr(graph) == "<milane.Graph main: 1 operations>"
    assert repr(x) == "<Tensor x: tensor<fp16, [2, 3]>>"
    assert repr(y.node).startswith("<Node add_0 = add(x: fp16 [2, 3], y: 1")
    assert (x.node, y.rank, y.shape, y.dtype) == (None, 2, (2, 3), "fp16")


def test_a_graph_draws_itself(tmp_path: Path) -> None:
    graph = Graph()
    graph.output("y", ops.relu(graph.input("x", (1, 4, 1, 8))))
    picture = graph.draw(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == picture
    assert "relu" in picture


def test_outputs_and_weights_that_do_not_fit_say_where() -> None:
    graph = Graph()
    x = graph.input("x", (1, 4, 1, 8))
    graph.output("y", ops.relu(x))
    here = rf"{re.escape(__file__)}:\d+: "
    with pytest.raises(milane.InvalidArgumentError, match=here + "output 'y': expected a new name"):
        graph.output("y", ops.relu(x))
    with pytest.raises(milane.InvalidArgumentError, match=here + r"w: expected shape \[2\]"):
        graph.weight("w", (2,), data=[1.0, 2.0, 3.0])
