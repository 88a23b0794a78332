"""Convolutions, pools, moves, gathers, images, layers, compressed constants, control flow, states.

As tests/test_graph_ops_arithmetic.py: each is built by its public function, printed, parsed and run
on a backend; the witness is the float64 reference, which is itself held against PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import milane
from milane import mil
from milane.graph import Graph, ops
from milane.mil import MILProgram
from on_device import refused
from op_cases import CASES, Case
from op_cases.case import Typed, distinct
from reference import mil_dtype
from tolerance import assert_close, exact

FAMILIES = {
    f"milane.graph.ops.{name}"
    for name in (
        "constexpr", "control", "conv", "gather", "image", "lists", "move", "pool", "quantize",
        "recurrent", "slice", "state",
    )
}  # fmt: skip
OURS = {name for name in ops.__all__ if getattr(ops, name).__module__ in FAMILIES}
SHAPES = ((6,), (4, 6), (2, 3, 4), (2, 4, 3, 2), (1, 2, 3, 4, 2))


def _ranked() -> list[Case]:
    """Moves at every rank that they have."""
    cases = []
    for shape in SHAPES:
        rank, x = len(shape), {"x": distinct(shape)}
        name = f"rank {rank}"
        params: dict[str, dict[str, Any]] = {
            "identity": {},
            "reshape": {"shape": [*shape[::-1]]},
            "expand_dims": {"axes": [0, -1]} if rank < 4 else {"axes": [1]},
            "squeeze": {"axes": [0]},
            "flatten2d": {"axis": rank // 2},
            "transpose": {"perm": [*range(1, rank), 0]},
            "reverse": {"axes": [rank - 1]},
            "tile": {"reps": [2, *[1] * (rank - 1)]},
            "split": {"num_splits": 2, "axis": -1},
            "pad": {"pad": [1, 2], "mode": "constant", "constant_val": 0.5},
            "sliding_windows": {"axis": rank - 1, "size": 2},
            "slice_by_size": {"begin": [0] * rank, "size": [-1] * (rank - 1) + [2]},
            "slice_by_index": {"begin": [0] * rank, "end": [*shape], "stride": [1] * (rank - 1) + [2]},
            "fill_like": {"value": 2.0},
            "shape": {},
        }  # fmt: skip
        for op, given in params.items():
            if op in ("expand_dims", "sliding_windows") and rank == 5:
                continue  # the result has one axis more, and the device no more than five
            operands = {"ref_tensor": x["x"]} if op == "fill_like" else x
            cases.append(Case(op, name, operands, given, exact))
        for op in ("concat", "stack"):
            if op == "concat" or rank < 5:
                pair = [distinct(shape), distinct(shape, seed=1)]
                cases.append(Case(op, name, {"values": pair}, {"axis": -1}, exact))
        indices = np.array([1, 0, 1], np.int32)
        cases.append(Case("gather", name, {**x, "indices": indices}, {"axis": rank - 1}, exact))
    return cases


MINE = [case for case in CASES if case.op in OURS] + _ranked()


def build(case: Case) -> MILProgram:
    """The case as a graph: every run-time operand an input, the rest as Python and NumPy values."""
    graph = Graph(dialect=case.opset)  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for name, value in case.inputs.items():
        many = [
            graph.input(name if not isinstance(value, list) else f"{name}_{i}", v.shape, mil_dtype(v))
            for i, v in enumerate(value if isinstance(value, list) else [np.asarray(value)])
        ]  # fmt: skip
        given[name] = many if isinstance(value, list) else many[0]
    for name, value in case.params.items():
        given[name] = value.values if isinstance(value, Typed) else value
    if case.op.startswith("constexpr_"):
        given = {"graph": graph, **_compressed(case, given)}
    elif not case.inputs and case.op in ("fill", "range_1d", "make_list"):
        given["graph"] = graph
    elif not case.inputs:
        first = next(n for n, v in given.items() if isinstance(v, np.ndarray))
        given[first] = graph.constant(given[first], dtype=mil_dtype(given[first]))
    made = getattr(ops, case.op)(**given)
    results = made if isinstance(made, tuple) else (made,)
    for i, tensor in enumerate(results):
        if i not in case.skip_results:
            graph.output(f"result_{i}", tensor)
    for name, array in case.neutral().items():  # keeps a program without inputs from being one
        neutral = graph.input(name, array.shape, mil_dtype(array))
        last = list(graph._body.outputs)[-1]
        add = {"bool": ops.logical_or, "int32": ops.add}.get(mil_dtype(array), ops.mul)
        tensor = graph._body.outputs.pop(last)
        graph.output("kept", add(tensor, neutral))
    return graph.program()


def _compressed(case: Case, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a compressed constant: a dtype that NumPy lacks stands beside them."""
    kinds = [v.dtype for n, v in case.params.items() if isinstance(v, Typed) and "mask" not in n]
    return {**given, **({"dtype": kinds[0]} if kinds else {})}


@pytest.mark.parametrize("case", MINE, ids=str)
def test_a_function_builds_the_operation_that_the_reference_computes(
    case: Case, runtime: milane.Runtime
) -> None:
    program = build(case)
    text = str(program)
    assert str(mil.parse(text)) == text
    if refused(runtime, program.program, weight_files=program.weight_files()):
        return
    with runtime.compile(program) as kernel:
        outputs = kernel(**case.feeds())
    expected = [r for i, r in enumerate(case.expected()) if i not in case.skip_results]
    assert len(outputs) == len(expected)
    bounds = case.bounds()
    for i, (actual, want) in enumerate(zip(outputs.values(), expected, strict=True)):
        tolerance = bounds if i == 0 or np.ndim(bounds.magnitude) == 0 else bounds.of(None)
        assert_close(actual, want, tolerance, mil_dtype(actual), f"{case} (result {i})")


def test_every_operation_that_the_host_runs_has_a_case() -> None:
    host = {schema.name for schema in mil.ops() if schema.host in ("function", "view")}
    assert OURS & host <= {case.op for case in MINE}


def test_every_argument_with_a_default_is_written_out() -> None:
    # As Apple's own compiler writes programs; nothing has to know the defaults.
    for case in MINE:
        schema = next(s for s in mil.ops() if s.name == case.op)
        operation = next(o for o in build(case).function.operations if o.type == case.op)
        written = {*operation.inputs, *operation.attributes}
        for argument in schema.args:
            known = argument.since is None or int(argument.since[3:]) <= int(case.opset[3:])
            if argument.default is not None and known:
                assert argument.name in written, (str(case), argument.name)


def test_convolutions_and_pools_write_their_geometry_out() -> None:
    graph = Graph()
    x = graph.input("x", (1, 2, 4, 4))
    ops.max_pool(ops.conv(x, np.ones((2, 2, 1, 1))), kernel_sizes=(2, 2))
    text = str(graph)
    for name in ("strides", "pad_type", "pad", "dilations", "groups", "kernel_sizes", "ceil_mode"):
        assert f"{name} = " in text


# --- what is newer than the dialect


def test_arguments_that_came_later_are_left_out_at_their_defaults() -> None:
    graph = Graph(dialect="ios16")
    x = graph.input("x", (4, 3))
    ops.gather(x, [1, 2])
    assert "validate_indices" not in str(graph)
    assert "batch_dims" in str(graph)


def test_arguments_that_came_later_are_refused_at_other_values() -> None:
    x = Graph(dialect="ios16").input("x", (4, 3))
    with pytest.raises(milane.InvalidArgumentError, match=r"no validate_indices in ios16.*ios17"):
        ops.gather(x, [1, 2], validate_indices=True)


# --- control flow


def test_cond_takes_two_functions() -> None:
    graph = Graph()
    p, x = graph.input("p", (), "bool"), graph.input("x", (2, 3))
    y = ops.cond(p, lambda: ops.relu(x) * 2, lambda: x - 1)
    graph.output("y", y)
    text = str(graph)
    assert str(mil.parse(text)) == text
    operation = next(o for o in graph.program().function.operations if o.type == "cond")
    assert [[o.type for o in b.operations if o.type != "const"] for b in operation.blocks] == [
        ["relu", "mul"],
        ["sub"],
    ]
    assert (y.shape, y.dtype) == ((2, 3), "fp16")


def test_cond_of_lists_gives_several_results_and_may_nest() -> None:
    graph = Graph()
    p, x = graph.input("p", (), "bool"), graph.input("x", (2,))

    def inner() -> milane.graph.Tensor:
        return ops.cond(p, lambda: x + 1, lambda: x)

    made = ops.cond(p, lambda: [x * 2, inner()], lambda: [x, x + 1])
    assert [t.shape for t in made] == [(2,), (2,)]
    text = str(graph.program({"a": made[0], "b": made[1]}))
    assert str(mil.parse(text)) == text
    assert text.count("cond(") == 2


def test_a_constant_of_a_block_is_made_again_outside() -> None:
    graph = Graph()
    p, x = graph.input("p", (), "bool"), graph.input("x", (2,))
    y = ops.cond(p, lambda: x * 2, lambda: x * 2)
    graph.output("y", y * 2)
    graph.program().program.verify()


def test_a_while_loop_carries_its_variables() -> None:
    graph = Graph()
    x, i = graph.input("x", (2, 3)), graph.constant(0)
    n, total = ops.while_loop(lambda n, _: n < 4, lambda n, t: (n + 1, t + x), [i, x])
    assert (n.dtype, total.shape) == ("int32", (2, 3))
    text = str(graph.program({"total": total}))
    assert str(mil.parse(text)) == text
    assert "while_loop(loop_vars = (" in text


def test_what_only_a_block_uses_is_no_output() -> None:
    graph = Graph()
    p, x = graph.input("p", (), "bool"), graph.input("x", (2,))
    doubled = x * 2
    y = ops.cond(p, lambda: doubled + 1, lambda: doubled)
    assert graph.program().function.outputs == [y.name]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p, x: ops.cond(p, lambda: x, lambda: x > 0), "both functions to give the same types"),
        (lambda p, x: ops.cond(p, lambda: x, lambda: [x, x]), "both functions to give the same types"),
        (lambda p, x: ops.cond(p, lambda: 3, lambda: x), "block: expected tensors of the graph.*got 3"),
        (lambda p, x: ops.while_loop(lambda y: y, lambda y: y, [x]), "expected cond to give a bool"),
        (lambda p, x: ops.while_loop(lambda _: p, lambda y: y > 0, [x]), "expected body to give"),
        (lambda p, x: ops.cond(p, lambda: x + np.ones(3), lambda: x), "add"),
        (lambda _, x: ops.cond(x > 0, lambda: x, lambda: x), "expected pred to be a bool, got tensor<bool"),
        (lambda p, x: ops.cond(p, lambda: Graph().input("y", (2,)), lambda: x), "expected a tensor of the function"),
    ],
    ids=["other types", "other counts", "a number", "no bool", "another body", "an error inside",
         "no scalar", "another graph's tensor"],
)  # fmt: skip
def test_a_mistake_in_control_flow_is_said_where_it_was_made(build: Any, message: str) -> None:
    graph = Graph()
    p, x = graph.input("p", (), "bool"), graph.input("x", (2,))
    with pytest.raises(milane.AneError, match=message) as caught:
        build(p, x)
    assert str(caught.value).startswith(__file__)
    graph.output("y", x + 1)  # the graph is as it was
    graph.program().program.verify()


# --- lists, states, and what only compiled models have


def test_lists_are_made_written_and_read() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3), "fp32")
    items = ops.make_list(elem_shape=[2, 3], init_length=4, graph=graph)
    items = ops.list_write(items, 0, x)
    items = ops.list_scatter(items, [1, 2], ops.stack([x, x], axis=0))
    read, several = ops.list_read(items, 0), ops.list_gather(items, [0, 2])
    length = ops.list_length(items)
    assert [str(t.type) for t in (read, several, length)] == [
        "tensor<fp32, [2, 3]>",
        "tensor<fp32, [2, 2, 3]>",
        "int32",
    ]
    text = str(graph.program({"read": read, "several": several, "length": length}))
    assert str(mil.parse(text)) == text


def test_a_list_of_a_size_known_later_has_its_name() -> None:
    graph = Graph()
    ls = ops.make_list(elem_shape=["n", 3], dtype="fp16", graph=graph)
    assert str(ls.type) == "list<tensor<fp16, [?, 3]>, 1>"


def test_a_list_without_a_graph_says_how_to_give_one() -> None:
    with pytest.raises(milane.InvalidArgumentError, match="make_list: expected a tensor"):
        ops.make_list(elem_shape=[1])


def test_states_keep_what_is_written(runtime: milane.Runtime) -> None:
    graph = Graph()
    s, x = graph.state("s", (2, 3)), graph.input("x", (2, 3))
    ops.write_state(s, ops.read_state(s) + x)
    graph.output("y", ops.read_state(s) * 1)
    program = graph.program()
    assert {n: str(t) for n, t in program.states.items()} == {"s": "tensor<fp16, [2, 3]>"}
    if refused(runtime, program.program):
        return
    with runtime.compile(program) as kernel:
        for n in range(1, 4):
            assert (kernel(x=np.full((2, 3), 2.0))["y"] == 2 * n).all()


def test_coreml_update_state_gives_what_it_wrote(host_runtime: milane.Runtime) -> None:
    graph = Graph()
    s, x = graph.state("s", (3,)), graph.input("x", (3,))
    graph.output("y", ops.coreml_update_state(s, ops.read_state(s) + x) * 2)
    with graph.compile(host_runtime) as kernel:
        assert [kernel(x=np.ones(3))["y"][0] for _ in range(3)] == [2, 4, 6]


def test_tensor_buffers_have_the_type_that_is_said() -> None:
    graph = Graph()
    x = graph.input("x", (16, 1, 64))
    kind = (
        "tensor_buffer<fp16, shape=[16, 1, 64], strides=[64, 64, 1], interleave_factors=[1, 1, 1]>"
    )
    buffer = ops.tensor_to_tensor_buffer(x, type=kind)
    y = ops.tensor_buffer_to_tensor(buffer, type="tensor<fp16, [16, 1, 64]>")
    assert (str(buffer.type), y.shape) == (kind, (16, 1, 64))
    text = str(graph.program({"y": y}))
    assert str(mil.parse(text)) == text


@pytest.mark.parametrize("threshold", [None, 0.25])
def test_non_maximum_suppression_has_the_results_of_its_form(threshold: float | None) -> None:
    graph = Graph(dialect="ios16" if threshold else "ios18")
    shapes = ((1, 6, 4), (1, 6, 2)) if threshold else ((1, 4, 6), (1, 2, 6))
    boxes, scores = graph.input("b", shapes[0]), graph.input("s", shapes[1])
    made = ops.non_maximum_suppression(
        boxes, scores, iou_threshold=0.5, max_boxes=3, score_threshold=threshold
    )
    assert [t.shape for t in made] == (
        [(1, 3, 4), (1, 3, 2), (1, 3), (1,)] if threshold else [(1, 4, 3), (1, 2, 3), (1, 3)]
    )


# --- what becomes a constant of which type


def test_constants_take_the_type_that_the_operation_wants() -> None:
    graph = Graph()
    x, i = graph.input("x", (2, 3), "fp32"), graph.input("i", (4,), "int32")
    made = {
        "fp32": ops.pad(x, [1, 1], constant_val=1),
        "int32": ops.one_hot(i, one_hot_vector_size=3),
        "fp16": ops.one_hot(i, one_hot_vector_size=3, on_value=1.0),
        "int8": ops.quantize(x, 0.5, 3),
        "uint8": ops.quantize(x, 0.5, 3, output_dtype="uint8"),
        "bool": ops.fill([2], value=True, graph=graph),
    }
    assert {name: tensor.dtype for name, tensor in made.items()} == {n: n for n in made}
    wide = graph.input("w", (3,), "int8")
    begin = wide[1:].node.inputs["begin"]  # type: ignore[union-attr]
    assert begin.dtype == "int32"  # type: ignore[union-attr]  # not the int8 of what is sliced


def test_parts_of_a_compressed_constant_stand_in_the_weight_file(runtime: milane.Runtime) -> None:
    graph = Graph()
    x = graph.input("x", (1, 8, 1, 32))
    data = np.arange(64, dtype=np.int8).reshape(8, 8, 1, 1)
    scale = np.full((8, 1, 1, 1), 0.5, np.float16)
    weight = ops.constexpr_blockwise_shift_scale(graph, data, scale, name="w")
    graph.output("y", ops.conv(x, weight))
    program = graph.program()
    assert [(w.name, w.dtype, w.shape) for w in program.weights] == [
        ("w.data", "int8", (8, 8, 1, 1))
    ]
    given = np.ones((1, 8, 1, 32), np.float16)
    with runtime.compile(program) as kernel:
        found = kernel(x=given)["y"][0, :, 0, 0]
    assert found.tolist() == (data.sum((1, 2, 3)) * 0.5).tolist()
    other = np.ones_like(data)
    with runtime.compile(program, weights={"w.data": other}) as kernel:
        assert (kernel(x=given)["y"] == 4).all()
