"""Programs as objects: walking, editing, copying and comparing them."""

import gc
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from milane import mil
from milane.errors import DTypeError, InvalidArgumentError, MILSyntaxError, MILVerifyError

CORPUS = Path(
    os.environ.get("MILANE_CORPUS", Path(__file__).resolve().parents[2] / "shared" / "corpus")
)

TEXT = """program(1.3)
[buildInfo = dict<string, string>({{"k", "v"}})]
{
    func main<ios18>(tensor<fp16, [1, 4]> a, tensor<fp16, [1, 4]> b) {
            fp16 two = const()[name = string("two"), val = fp16(0x1p+1)];
            int32 axis = const()[name = string("axis"), val = int32(1)];
            bool interleave = const()[name = string("interleave"), val = bool(false)];
            tensor<fp16, [1, 4]> c = mul(x = a, y = two)[name = string("c")];
            tensor<fp16, [1, 4]> d = add(x = c, y = b)[name = string("d")];
            tensor<fp16, [1, 8]> e = concat(axis = axis, interleave = interleave, values = (c, d))[name = string("e")];
            tensor<fp16, [1, 8]> y = mul(x = e, y = fp16(0x1p-1))[name = string("y")];
        } -> (y);
}"""


@pytest.fixture
def program() -> mil.Program:
    return mil.parse(TEXT)


@pytest.fixture
def function(program: mil.Program) -> mil.Function:
    return program["main"]


def operation(function: mil.Function, name: str) -> mil.Operation:
    found = function.find(name)
    assert found is not None
    return found


# Walking.


def test_functions_are_found_by_name(program: mil.Program) -> None:
    assert [f.name for f in program.functions] == ["main"]
    assert program["main"].opset == "ios18"
    assert "main" in program
    assert "other" not in program
    with pytest.raises(KeyError, match="other"):
        program["other"]


def test_inputs_and_outputs_have_names_and_types(function: mil.Function) -> None:
    assert [(i.name, str(i.type)) for i in function.inputs] == [
        ("a", "tensor<fp16, [1, 4]>"),
        ("b", "tensor<fp16, [1, 4]>"),
    ]
    assert function.outputs == ["y"]


def test_operations_show_what_they_say(function: mil.Function) -> None:
    assert [o.type for o in function.operations] == [
        "const", "const", "const", "mul", "add", "concat", "mul",
    ]  # fmt: skip
    concat = operation(function, "e")
    assert concat.inputs == {"axis": ["axis"], "interleave": ["interleave"], "values": ["c", "d"]}
    assert concat.outputs == [mil.NamedType("e", "tensor<fp16, [1, 8]>")]
    assert concat.attributes == {"name": mil.Value.string("e")}
    assert operation(function, "y").inputs["y"] == [mil.Value("fp16(0x1p-1)")]
    assert (concat.line, concat.column) == (10, 38)


def test_constants_have_a_value(function: mil.Function) -> None:
    value = operation(function, "two").value
    assert value is not None
    array = value.to_numpy()
    assert isinstance(array, np.ndarray)
    assert (array.dtype, array.shape, float(array)) == (np.dtype(np.float16), (), 2.0)
    assert operation(function, "c").value is None


def test_find_knows_what_no_operation_computes(function: mil.Function) -> None:
    assert function.find("a") is None
    assert function.find("nothing") is None


def test_types_can_be_asked() -> None:
    tensor = mil.Type("tensor<fp16, [?, 4]>")
    assert (tensor.kind, tensor.dtype, tensor.shape) == ("tensor", "fp16", (None, 4))
    assert tensor == mil.Type.tensor("fp16", [None, 4])
    assert hash(tensor) == hash(mil.Type.tensor("fp16", (None, 4)))
    state = mil.Type.state("tensor<fp16, [2]>")
    assert (str(state), state.kind, state.shape) == ("state<tensor<fp16, [2]>>", "state", (2,))
    listed = mil.Type("list<tensor<fp32, [?]>, 3>")
    assert (listed.kind, listed.length, listed.dtype) == ("list", 3, "fp32")
    with pytest.raises(InvalidArgumentError, match="expected a tensor type"):
        _ = listed.shape
    with pytest.raises(InvalidArgumentError, match="expected a type of elements"):
        _ = mil.Type("tuple<int8, fp16>").dtype
    assert [str(p) for p in mil.Type("dict<string, int8>").params] == ["string", "int8"]
    buffer = mil.Type("tensor_buffer<fp16, shape=[1, 2], strides=[64, 1]>")
    assert buffer.buffer == {"shape": (1, 2), "strides": (64, 1)}
    with pytest.raises(MILSyntaxError, match="did you mean tensor"):
        mil.Type("tensr<fp16, []>")
    with pytest.raises(InvalidArgumentError, match="positive dimensions"):
        mil.Type.tensor("fp16", [0])


# Editing.


def test_an_appended_operation_is_printed(function: mil.Function, program: mil.Program) -> None:
    kind = operation(function, "y").outputs[0].type
    function.append(mil.Operation("relu", [("z", kind)], {"x": "y"}))
    function.outputs = ["z"]
    assert "            tensor<fp16, [1, 8]> z = relu(x = y);\n        } -> (z);\n" in str(program)


def test_inserting_and_removing_undo_each_other(
    function: mil.Function, program: mil.Program
) -> None:
    new = mil.Operation("relu", [("r", "tensor<fp16, [1, 4]>")], {"x": "c"})
    function.insert(function.index(operation(function, "d")), new)
    assert [o.type for o in function.operations][3:6] == ["mul", "relu", "add"]
    function.remove(new)
    assert str(program) == TEXT


@pytest.mark.parametrize(("index", "position"), [(0, 0), (-1, 6), (99, 7), (-99, 0), (7, 7)])
def test_insert_counts_as_lists_do(function: mil.Function, index: int, position: int) -> None:
    new = mil.Operation("relu", [("r", "fp16")], {"x": "two"})
    function.insert(index, new)
    assert function.index(new) == position
    assert len(function) == 8


def test_an_operation_stands_in_a_function_once(function: mil.Function) -> None:
    first = function.operations[0]
    with pytest.raises(InvalidArgumentError, match="copy"):
        function.append(first)
    function.append(first.copy())
    assert len(function) == 8


def test_removing_a_stranger_is_an_error(function: mil.Function) -> None:
    with pytest.raises(InvalidArgumentError, match="expected an operation of this block"):
        function.remove(mil.Operation("relu"))


def test_a_removed_operation_lives_on(program: mil.Program) -> None:
    operations = program["main"].operations
    concat = operations[5]
    for each in operations:
        program["main"].remove(each)
    del operations, program
    gc.collect()
    assert concat.inputs["values"] == ["c", "d"]
    assert str(concat.outputs[0].type) == "tensor<fp16, [1, 8]>"


def test_parts_outlive_their_program() -> None:
    function = mil.parse(TEXT)["main"]
    blocks = mil.parse(
        "program(1.3){func main<ios18>(bool p) {fp16 y = cond(pred = p) () {} -> (p);} -> (y);}"
    )["main"].operations[0].blocks  # fmt: skip
    gc.collect()
    assert len(function.operations) == 7
    assert blocks[0].outputs == ["p"]


def test_lists_are_copies(function: mil.Function) -> None:
    function.operations.clear()
    function.inputs.clear()
    operation(function, "e").inputs.clear()
    operation(function, "e").attributes.clear()
    assert str(mil.parse(TEXT)["main"].operations[5]) == str(function.operations[5])


def test_arguments_can_be_set_and_removed(function: mil.Function) -> None:
    concat = operation(function, "e")
    concat.set_input("values", ["d", mil.Value("fp16(1)"), "c"])
    concat.set_input("axis", mil.Value("int32(0)"))
    concat.set_input("extra", "a")
    concat.remove_input("interleave")
    assert str(concat).startswith(
        "tensor<fp16, [1, 8]> e = concat(axis = int32(0), extra = a, values = (d, fp16(0x1p+0), c))"
    )
    with pytest.raises(KeyError, match="interleave"):
        concat.remove_input("interleave")
    with pytest.raises(DTypeError, match="value's name or a Value"):
        concat.set_input("axis", 1)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"bool\(true\)"):
        concat.set_input("interleave", "true")


def test_attributes_can_be_set_and_removed(program: mil.Program, function: mil.Function) -> None:
    shape = mil.Value('tuple<string, int8>(("a", 1))')
    for owner in (program, function, operation(function, "c")):
        owner.set_attribute("extra", shape)
        assert owner.attributes["extra"] == shape
        owner.set_attribute("extra", mil.Value("int8(1)"))
        assert str(owner.attributes["extra"]) == "int8(1)"
        owner.remove_attribute("extra")
        with pytest.raises(KeyError, match="extra"):
            owner.remove_attribute("extra")
    assert str(program) == TEXT


def test_renaming_reaches_every_use(function: mil.Function, program: mil.Program) -> None:
    function.rename_value("c", "product")
    function.rename_value("a", "left")
    function.rename_value("y", "result")
    text = str(program)
    assert "product = mul(x = left, y = two)" in text
    assert "add(x = product, y = b)" in text
    assert "values = (product, d)" in text
    assert "-> (result);" in text
    assert not mil.diff(mil.parse(TEXT), program)


def test_renaming_reaches_nested_blocks() -> None:
    program = mil.parse(
        "program(1.3){func main<ios18>(bool p, fp16 x) {fp16 y = cond(pred = p)"
        " (fp16 i) {fp16 a = add(x = x, y = i);} -> (a) () {} -> (x);} -> (y);}"
    )
    function = program["main"]
    function.rename_value("x", "new")
    function.rename_value("i", "inner")
    function.rename_value("a", "sum")
    block, other = function.operations[0].blocks
    assert str(block.operations[0]) == "fp16 sum = add(x = new, y = inner);"
    assert (block.outputs, other.outputs) == (["sum"], ["new"])
    assert program.histogram() == {"cond": 1, "add": 1}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("nothing", "z", "expected a value of this function", id="an unknown value"),
        pytest.param("c", "d", "which is taken", id="a name that another result has"),
        pytest.param("c", "a", "which is taken", id="a name that an input has"),
        pytest.param("c", "1c", "expected a name", id="a name that is none"),
    ],
)
def test_renaming_refuses(
    function: mil.Function, program: mil.Program, old: str, new: str, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        function.rename_value(old, new)
    assert str(program) == TEXT


def test_uses_can_be_redirected(function: mil.Function) -> None:
    assert function.replace_uses("c", "a") == 2
    assert operation(function, "d").inputs["x"] == ["a"]
    assert operation(function, "c").outputs[0].name == "c"
    assert function.replace_uses("y", "e") == 1
    assert function.outputs == ["e"]


def test_a_constant_takes_a_new_array(function: mil.Function) -> None:
    two = operation(function, "two")
    two.set_value(np.array([[1, 2.5]], np.float64))
    assert str(two) == (
        'tensor<fp16, [1, 2]> two = const()[name = string("two"), '
        "val = tensor<fp16, [1, 2]>([[0x1p+0, 0x1.4p+1]])];"
    )
    two.set_value(3, dtype="int8")
    assert str(two) == 'int8 two = const()[name = string("two"), val = int8(3)];'
    with pytest.raises(InvalidArgumentError, match="const operation, got mul"):
        operation(function, "c").set_value(1)


def test_a_program_can_be_built_from_nothing() -> None:
    program = mil.Program("1.0")
    kind = mil.Type.tensor("fp16", (1, 2))
    function = mil.Function("main", "ios16", inputs=[("x", kind)], outputs=["y"])
    function.append(
        mil.Operation(
            "const",
            [("w", kind)],
            attributes={
                "val": mil.Value.blob(kind, "@model_path/weights/weight.bin", 64),
            },
        )
    )
    function.append(mil.Operation("add", [mil.NamedType("y", kind)], {"x": "x", "y": "w"}))
    program.add_function(function)
    assert str(program) == (
        "program(1.0)\n{\n    func main<ios16>(tensor<fp16, [1, 2]> x) {\n"
        "            tensor<fp16, [1, 2]> w = const()[val = tensor<fp16, [1, 2]>(BLOBFILE(path = "
        'tensor<string, []>("@model_path/weights/weight.bin"), offset = tensor<uint64, []>(64)))];'
        "\n            tensor<fp16, [1, 2]> y = add(x = x, y = w);\n        } -> (y);\n}"
    )
    with pytest.raises(InvalidArgumentError, match="which is taken"):
        program.add_function(mil.Function("main"))
    program.remove_function("main")
    assert program.functions == []
    with pytest.raises(KeyError, match="main"):
        program.remove_function("main")


def test_a_copy_shares_nothing(program: mil.Program) -> None:
    copy = program.copy()
    assert copy == program
    copy["main"].rename_value("a", "z")
    copy["main"].operations[3].set_attribute("name", mil.Value.string("other"))
    copy["main"].remove(copy["main"].operations[0])
    copy.set_attribute("buildInfo", mil.Value("dict<string, string>({})"))
    assert str(program) == TEXT
    assert copy != program


def test_equality_counts_names_and_not_places(program: mil.Program) -> None:
    assert program == mil.parse("// moved\n" + TEXT)
    renamed = program.copy()
    renamed["main"].rename_value("c", "z")
    assert renamed != program
    assert program != TEXT


def test_an_edited_program_can_be_verified(program: mil.Program, function: mil.Function) -> None:
    program.verify()
    function.outputs = ["missing"]
    with pytest.raises(MILVerifyError, match="missing"):
        program.verify()


# Values and arrays.


@pytest.mark.parametrize(
    ("text", "expected", "dtype"),
    [
        ("tensor<fp16, [2]>([1, 0.5])", [1, 0.5], np.float16),
        ("tensor<bf16, [2]>([1, -2])", [0x3F80, 0xC000], np.uint16),
        ("tensor<fp8e4m3fn, [2]>([1, 448])", [0x38, 0x7E], np.uint8),
        ("tensor<fp8e5m2, [2]>([1, 57344])", [0x3C, 0x7B], np.uint8),
        ("tensor<int4, [3]>([-8, 7, -1])", [-8, 7, -1], np.int8),
        ("tensor<uint3, [5]>([1, 0, 1, 1, 7])", [1, 0, 1, 1, 7], np.uint8),
        ("tensor<uint6, [3]>([63, 0, 33])", [63, 0, 33], np.uint8),
        ("tensor<uint1, [3]>([1, 0, 1])", [1, 0, 1], np.uint8),
        ("tensor<bool, [2]>([true, false])", [True, False], np.bool_),
        ("tensor<int64, [1]>([-9223372036854775808])", [-(2**63)], np.int64),
        ("tensor<uint64, [1]>([18446744073709551615])", [2**64 - 1], np.uint64),
        ("tensor<int32, [?]>([])", [], np.int32),
        ("tensor<int32, [2, ?]>([[1], [2]])", [[1], [2]], np.int32),
    ],
)
def test_numbers_become_arrays(text: str, expected: list[object], dtype: type) -> None:
    array = mil.Value(text).to_numpy()
    assert isinstance(array, np.ndarray)
    assert array.dtype == dtype
    assert array.tolist() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('string("é")', "é"),
        ('tensor<string, [2]>(["a", "b"])', ["a", "b"]),
        ('tensor<string, [2, 1]>([["a"], ["b"]])', [["a"], ["b"]]),
        ('tuple<string, string>(("a", "b"))', ("a", "b")),
        ('dict<string, string>({{"a", "b"}})', {"a": "b"}),
        ('dict<int8, string>({{1, "b"}})', {1: "b"}),
        ('list<string, 2>(["a", "b"])', ["a", "b"]),
    ],
)
def test_other_values_become_python_objects(text: str, expected: object) -> None:
    assert mil.Value(text).to_numpy() == expected


def test_values_come_from_any_array_layout() -> None:
    array = np.arange(6, dtype=">f8").reshape(2, 3)
    expected = mil.Value("tensor<fp32, [3, 2]>([[0, 3], [1, 4], [2, 5]])")
    assert mil.Value.from_numpy(array.T, "fp32") == expected
    assert str(mil.Value.from_numpy(np.float16(1.5))) == "fp16(0x1.8p+0)"
    assert str(mil.Value.from_numpy([1, 2], "int32")) == "tensor<int32, [2]>([1, 2])"
    assert str(mil.Value.from_numpy(["a", "bc"])) == 'tensor<string, [2]>(["a", "bc"])'
    assert str(mil.Value.from_numpy([1.0, -2.0], "bf16")) == "tensor<bf16, [2]>([0x1p+0, -0x1p+1])"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        pytest.param(lambda: mil.Value.from_numpy([1.5], "int8"), DTypeError, "converts to int8",
                     id="fractions as integers"),
        pytest.param(lambda: mil.Value.from_numpy([1, 300], "int8"), InvalidArgumentError,
                     r"element 1: expected an int8 in \[-128, 127\], got 300", id="out of range"),
        pytest.param(lambda: mil.Value.from_numpy([-1], "uint3"), InvalidArgumentError, "got -1",
                     id="a negative number as unsigned"),
        pytest.param(lambda: mil.Value.from_numpy(np.array([2**63], np.uint64), "int64"),
                     InvalidArgumentError, "got 9223372036854775808", id="beyond int64"),
        pytest.param(lambda: mil.Value.from_numpy(np.zeros((2, 0))), InvalidArgumentError,
                     "positive dimensions", id="a shape with a zero"),
        pytest.param(lambda: mil.Value.from_numpy([1], "float16"), DTypeError, "got 'float16'",
                     id="a foreign name of a type"),
        pytest.param(lambda: mil.Value.from_numpy(["a"], "fp16"), DTypeError, "got strings",
                     id="strings as numbers"),
        pytest.param(lambda: mil.Value.from_numpy([1], "bool"), DTypeError, "converts to bool",
                     id="integers as truth values"),
        pytest.param(lambda: mil.Value.from_numpy([1j]), DTypeError, "complex128",
                     id="complex numbers"),
        pytest.param(lambda: mil.Value.blob("tensor<fp16, [?]>", "w", 0), InvalidArgumentError,
                     "known shape", id="a weight file of unknown shape"),
        pytest.param(lambda: mil.Value.blob("fp16", "", 0), InvalidArgumentError, "a path",
                     id="a weight file without path"),
        pytest.param(lambda: mil.Value.blob("fp16", "w", 0).to_numpy(), InvalidArgumentError,
                     "got BLOBFILE", id="the elements of a weight file"),
        pytest.param(lambda: mil.Program("1"), MILSyntaxError, "expected a version",
                     id="a version without a point"),
    ],
)  # fmt: skip
def test_refuses(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


# Comparing.


def changed(old: str, new: str, count: int = 1) -> mil.Program:
    assert TEXT.count(old) >= 1
    return mil.parse(TEXT.replace(old, new, count))


def test_equal_programs_have_no_differences(program: mil.Program) -> None:
    assert mil.diff(program, program) == []
    assert mil.diff(program, program.copy()) == []


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(
            lambda: mil.parse(re.sub(r"\b(a|b|c|d|e|two)\b(?!\")", r"\1_renamed", TEXT)),
            id="other names of values",
        ),
        pytest.param(lambda: changed('string("c")', 'string("other")'), id="other attributes"),
        pytest.param(lambda: changed('"v"', '"w"'), id="another buildInfo"),
        pytest.param(lambda: changed("x = a, y = two", "y = two, x = a"), id="another order"),
        pytest.param(lambda: changed("program(1.3)", "program(1.0)"), id="another spelling"),
        pytest.param(lambda: changed("y = two", "y = fp16(2)"), id="a constant in its place"),
        pytest.param(
            lambda: changed("bool int", "fp16 unused = const()[val = fp16(1)]; bool int"),
            id="a constant that nothing uses",
        ),
    ],
)  # fmt: skip
def test_what_does_not_count_is_no_difference(
    program: mil.Program, other: Callable[[], mil.Program]
) -> None:
    assert [str(d) for d in mil.diff(program, other())] == []


@pytest.mark.parametrize(
    ("change", "kind", "indices", "text"),
    [
        (("add(", "sub("), "replaced", (4, 4), "a has add at 4, b has sub at 4"),
        (("x = c, y = b", "x = c, y = a"), "argument", (4, 4), "argument y: a has b (an input)"),
        (("x = c, y = b", "x = c"), "argument", (4, 4), "argument y: only a has it"),
        (("0x1p+1", "0x1p+2"), "constant", (3, 3), "a has fp16(0x1p+1), b has fp16(0x1p+2)"),
        (("fp16(0x1p-1)", "e"), "argument", (6, 6), "a has fp16(0x1p-1), b has e (from concat)"),
        (("[1, 8]> y", "[8]> y"), "type", (6, 6), "a has tensor<fp16, [1, 8]>, b has tensor<fp16"),
        (("-> (y)", "-> (e)"), "outputs", (None, None), "output 0: a has y (from mul), b has e"),
        (("-> (y)", "-> (y, e)"), "outputs", (None, None), "a has 1 outputs, b has 2"),
        (("[1, 4]> b", "[4]> b"), "inputs", (None, None), "input b: a has tensor<fp16, [1, 4]>"),
        (("ios18", "ios17"), "function", (None, None), "opset: a has ios18, b has ios17"),
        (("add(", "add<ios17>("), "type", (4, 4), "opset: a has '', b has 'ios17'"),
        (('string("d")]', 'string("d"), q = int8(1)]'), "attribute", (4, 4), "attribute q: only b"),
        (("(c, d)", "(d, c)"), "argument", (5, 5), "a has c (from mul), b has d (from add)"),
        (("(c, d)", "(c, d, c)"), "argument", (5, 5), "a has 2 values, b has 3"),
    ],
)  # fmt: skip
def test_a_change_is_found(
    program: mil.Program,
    change: tuple[str, str],
    kind: str,
    indices: tuple[int | None, int | None],
    text: str,
) -> None:
    found = mil.diff(program, changed(*change))
    assert found[0].kind == kind
    assert (found[0].index_a, found[0].index_b) == indices
    assert found[0].function == "main"
    assert text in found[0].text
    assert len(found) == (2 if change[1] == "(d, c)" else 1)


@pytest.mark.parametrize("index", range(3, 7))
def test_one_operation_more_is_one_difference(program: mil.Program, index: int) -> None:
    other = program.copy()
    function = other["main"]
    above = function.operations[index]
    result = above.outputs[0]
    function.replace_uses(result.name, "new")
    function.insert(index + 1, mil.Operation("relu", [("new", result.type)], {"x": result.name}))
    (inserted,) = mil.diff(program, other)
    assert (inserted.kind, inserted.index_a, inserted.index_b) == ("inserted", None, index + 1)
    assert str(inserted) == f"main: b has relu at {index + 1}, a has not"
    (removed,) = mil.diff(other, program)
    assert (removed.kind, removed.index_a, removed.index_b) == ("removed", index + 1, None)


def test_the_first_unlike_element_is_named() -> None:
    def program(last: int) -> mil.Program:
        value = mil.Value.from_numpy(np.array([1, 2, 3, last], np.int8))
        return mil.parse(f"program(1.3){{func main<ios18>() {{fp16 y = f(x = {value});}} -> (y);}}")

    (difference,) = mil.diff(program(4), program(5))
    assert "1 of 4 elements of tensor<int8, [4]> differ, first at 3: a has 4, b has 5" in str(
        difference
    )


def test_sequences_of_operations_can_be_compared_alone(program: mil.Program) -> None:
    other = changed("0x1p+1", "0x1p+2")
    assert mil.diff(program, other, ops_only=True) == []
    other["main"].remove(operation(other["main"], "d"))
    (difference,) = mil.diff(program, other, ops_only=True)
    assert (difference.kind, difference.index_a) == ("removed", 4)


def test_functions_are_compared_by_name(program: mil.Program) -> None:
    other = program.copy()
    other["main"].name = "first"
    assert [str(d) for d in mil.diff(program, other)] == [
        "main: a has this function, b has not",
        "first: b has this function, a has not",
    ]


def test_differences_in_nested_blocks_are_found() -> None:
    text = (
        "program(1.3){func main<ios18>(bool p, fp16 x) {fp16 y = cond(pred = p)"
        " () {fp16 a = relu(x = x);} -> (a) () {} -> (x);} -> (y);}"
    )
    (difference,) = mil.diff(mil.parse(text), mil.parse(text.replace("relu", "tanh")))
    assert str(difference) == "main: op 0 (cond): block 0: a has relu at 0, b has tanh at 0"


def test_programs_of_others_differ_from_themselves_by_what_was_changed() -> None:
    found = sorted((CORPUS / "real").glob("*silero_vad/model.mil"))
    if not found:
        pytest.skip(f"no corpus at {CORPUS}")
    program = mil.load(found[0])
    function = program["main"]
    other = program.copy()
    for name in [o.outputs[0].name for o in other["main"].operations]:
        if name not in function.outputs:
            other["main"].rename_value(name, f"{name}_renamed")
    assert mil.diff(program, other) == []
    relu = next(o for o in other["main"].operations if o.type == "relu")
    relu.type = "sigmoid"
    (difference,) = mil.diff(program, other)
    assert difference.kind == "replaced"


def test_long_programs_that_share_nothing_are_compared() -> None:
    def chain(first: str, second: str, n: int) -> mil.Program:
        body = "".join(f"fp16 v{i} = {(first, second)[i % 2]}(x = x);" for i in range(n))
        return mil.parse(f"program(1.3){{func main<ios18>(fp16 x) {{{body}}} -> (x);}}")

    assert len(mil.diff(chain("a", "b", 6000), chain("c", "d", 5000), ops_only=True)) == 6000


def test_parsing_works_in_many_threads_at_once() -> None:
    results: list[bool] = []

    def work() -> None:
        for _ in range(50):
            results.append(str(mil.parse(TEXT)) == TEXT)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 200
