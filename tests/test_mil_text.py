"""MIL text: every form that is accepted, and that printing and parsing are inverse."""

import contextlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from milane import mil

CORPUS = Path(
    os.environ.get("MILANE_CORPUS", Path(__file__).resolve().parents[2] / "shared" / "corpus")
)
MALFORMED = ("layer_0_fwd", "layer_0_bwd")  # refused in test_mil_errors.py
FILES = sorted(p for p in CORPUS.glob("*/*/model.mil") if not p.parent.name.endswith(MALFORMED))
REAL = [p for p in FILES if p.parent.parent.name == "real"]

needs_corpus = pytest.mark.skipif(not FILES, reason=f"no corpus at {CORPUS}")


def title(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.parent.name}"


def main(body: str = "", inputs: str = "fp16 x", outputs: str = "x") -> str:
    return f"program(1.3)\n{{\n    func main<ios18>({inputs}) {{\n{body}    }} -> ({outputs});\n}}"


def canonical(*statements: str, version: str = "1.3", head: str = "(fp16 x) ") -> str:
    body = "".join(f"            {s}\n" for s in statements)
    return f"program({version})\n{{\n    func main<ios18>{head}{{\n{body}        }} -> (x);\n}}"


def statement(text: str) -> str:
    """How one statement is printed."""
    operation = mil.parse(main(text))["main"].operations[0]
    return str(operation)


def check_fixed_point(program: mil.Program) -> None:
    text = str(program)
    again = mil.parse(text)
    assert again == program
    assert str(again) == text


# Programs of others.


@needs_corpus
@pytest.mark.parametrize("path", FILES, ids=title)
def test_printing_a_program_is_a_fixed_point(path: Path) -> None:
    check_fixed_point(mil.load(path))


@needs_corpus
@pytest.mark.parametrize("path", REAL, ids=title)
def test_what_coremlc_wrote_is_printed_byte_for_byte(path: Path) -> None:
    # coremlc ends a file behind the brace; one repository's editor has added a line break.
    assert str(mil.load(path)).encode() == path.read_bytes().removesuffix(b"\n")


@needs_corpus
@pytest.mark.parametrize(
    "path", [p for p in FILES if (p.parent / "metadata.json").exists()], ids=title
)
def test_operations_are_those_that_the_metadata_counts(path: Path) -> None:
    metadata = json.loads((path.parent / "metadata.json").read_text())[0]
    expected = metadata.get("mlProgramOperationTypeHistogram")
    if expected is None:
        pytest.skip("no histogram in this metadata.json")
    found = mil.load(path).histogram()
    found.pop("const", None)
    assert {k.replace("_", ""): n for k, n in found.items()} == {
        k.rsplit(".", 1)[-1].lower(): n for k, n in expected.items()
    }


# Forms of the grammar, one by one: what is written, and how it is printed.

VALUES = [
    ("a scalar", "fp16(1)", "fp16(0x1p+0)"),
    ("a scalar in the long spelling", "tensor<fp16, []>(1)", "fp16(0x1p+0)"),
    ("a scalar integer", "int32(-7)", "int32(-7)"),
    ("a hexadecimal integer", "int32(0x1F)", "int32(31)"),
    ("a negative hexadecimal integer", "int32(-0x1f)", "int32(-31)"),
    ("a hexadecimal integer as a float", "fp16(0x10)", "fp16(0x1p+4)"),
    ("the least int64", "int64(-9223372036854775808)", "int64(-9223372036854775808)"),
    ("the greatest uint64", "uint64(18446744073709551615)", "uint64(18446744073709551615)"),
    ("a signed number", "fp16(+1.5)", "fp16(0x1.8p+0)"),
    ("negative zero", "fp16(-0.0)", "fp16(-0x0p+0)"),
    ("negative zero as an integer", "uint8(-0)", "uint8(0)"),
    ("zero", "fp16(0)", "fp16(0x0p+0)"),
    ("a number without digits before the point", "fp16(.5)", "fp16(0x1p-1)"),
    ("a number without digits behind the point", "fp16(2.)", "fp16(0x1p+1)"),
    ("a decimal exponent", "fp16(1e-1)", "fp16(0x1.998p-4)"),
    ("a capital exponent", "fp32(1E+3)", "fp32(0x1.f4p+9)"),
    ("a hexadecimal float", "fp16(0x1.8p-3)", "fp16(0x1.8p-3)"),
    ("a capital hexadecimal float", "fp16(0X1.8P-3)", "fp16(0x1.8p-3)"),
    ("a hexadecimal float that is not normalised", "fp16(0x30p-8)", "fp16(0x1.8p-3)"),
    ("the least subnormal of fp16", "fp16(0x1p-24)", "fp16(0x1p-24)"),
    ("a subnormal of fp16", "fp16(0x1.5p-17)", "fp16(0x1.5p-17)"),
    ("the least subnormal of fp32", "fp32(0x1p-149)", "fp32(0x1p-149)"),
    ("the least subnormal of fp64", "fp64(4.9406564584124654e-324)", "fp64(0x1p-1074)"),
    ("half the least subnormal of fp16", "fp16(0x1p-25)", "fp16(0x0p+0)"),
    ("infinity", "fp16(inf)", "fp16(inf)"),
    ("negative infinity", "fp16(-inf)", "fp16(-inf)"),
    ("signed infinity", "fp16(+inf)", "fp16(inf)"),
    ("not a number", "fp16(nan)", "fp16(nan)"),
    ("not a number with a sign", "fp32(-nan)", "fp32(nan)"),
    ("the greatest fp16", "fp16(65519.99)", "fp16(0x1.ffcp+15)"),
    ("beyond the greatest fp16", "fp16(65520)", "fp16(inf)"),
    ("beyond the greatest fp64", "fp64(1e999)", "fp64(inf)"),
    ("below the least fp64", "fp64(1e-999)", "fp64(0x0p+0)"),
    ("many digits", "fp64(0.1000000000000000055511151231257827)", "fp64(0x1.999999999999ap-4)"),
    ("an integer of many digits", "fp64(100000000000000000000000)", "fp64(0x1.52d02c7e14af6p+76)"),
    # A detour over fp32 would round 1 + 2^-11 + 2^-40 to a tie, and that to even.
    ("a number next to a tie", "fp16(1.000488281250909494701772928)", "fp16(0x1.004p+0)"),
    ("a tie to even", "fp16(0x1.002p+0)", "fp16(0x1p+0)"),
    ("bf16", "bf16(3.14159)", "bf16(0x1.92p+1)"),
    ("the greatest fp8e4m3fn", "fp8e4m3fn(448)", "fp8e4m3fn(0x1.cp+8)"),
    ("beyond the greatest fp8e4m3fn", "fp8e4m3fn(480)", "fp8e4m3fn(nan)"),
    ("the least fp8e4m3fn", "fp8e4m3fn(0x1p-9)", "fp8e4m3fn(0x1p-9)"),
    ("the greatest fp8e5m2", "fp8e5m2(57344)", "fp8e5m2(0x1.cp+15)"),
    ("beyond the greatest fp8e5m2", "fp8e5m2(65536)", "fp8e5m2(inf)"),
    ("a truth value", "bool(true)", "bool(true)"),
    ("a string", 'string("a")', 'string("a")'),
    ("an empty string", 'string("")', 'string("")'),
    ("escapes", r'string("\"\\\n\t")', r'string("\"\\\n\t")'),
    ("a raw tab in a string", 'string("\t")', r'string("\t")'),
    ("characters of several bytes", 'string("é∂𝄞")', 'string("é∂𝄞")'),
    ("a comment mark in a string", 'string("// /* */")', 'string("// /* */")'),
    ("a list", "tensor<int32,[2]>([1,2])", "tensor<int32, [2]>([1, 2])"),
    ("nested lists", "tensor<bool,[1,2]>([[true,false]])", "tensor<bool, [1, 2]>([[true, false]])"),
    ("a list of strings", 'tensor<string,[2]>(["a","b"])', 'tensor<string, [2]>(["a", "b"])'),
    ("a length that the literal gives", "tensor<int32,[?]>([4])", "tensor<int32, [?]>([4])"),
    ("an empty list", "tensor<int32,[?]>([])", "tensor<int32, [?]>([])"),
    ("empty lists in a list", "tensor<int32,[2,?]>([[],[]])", "tensor<int32, [2, ?]>([[], []])"),
    ("an unknown outer length", "tensor<int8,[?,2]>([[1,2]])", "tensor<int8, [?, 2]>([[1, 2]])"),
    ("four bits", "tensor<int4,[3]>([-8,7,-1])", "tensor<int4, [3]>([-8, 7, -1])"),
    ("three bits", "tensor<uint3,[3]>([7,0,5])", "tensor<uint3, [3]>([7, 0, 5])"),
    ("a list value", "list<tensor<int32,[2]>,?>([[0,4]])", "list<tensor<int32, [2]>, ?>([[0, 4]])"),
    ("an empty list value", "list<int32, ?>([])", "list<int32, ?>([])"),
    ("a tuple", 'tuple<string,int8>(("a",1))', 'tuple<string, int8>(("a", 1))'),
    ("a dict", 'dict<string,bool>({{"a",true}})', 'dict<string, bool>({{"a", true}})'),
    ("an empty dict", "dict<string, string>({})", "dict<string, string>({})"),
    (
        "decimals of fp64 in a dict",
        'dict<string, fp64>({{"a", 4.096e-05}, {"b", 0}, {"c", 1e300}, {"d", inf}})',
        'dict<string, fp64>({{"a", 4.0960000000000001e-05}, {"b", 0}, '
        '{"c", 1.0000000000000001e+300}, {"d", inf}})',
    ),
    (
        "a weight file",
        'tensor<fp16,[8]>(BLOBFILE(offset=uint64(64),path=tensor<string,[]>("@model_path/w")))',
        'tensor<fp16, [8]>(BLOBFILE(path = string("@model_path/w"), offset = uint64(64)))',
    ),
    (
        "the shapes of a flexible program",
        "tuple<tuple<string, dict<string, tensor<int32, [?]>>>, tuple<string, dict<string, "
        'list<tensor<int32, [2]>, ?>>>>((("DefaultShapes", {{"in0", [1, 4]}}), '
        '("RangeDims", {{"in0", [[1, 4], [4, 4]]}})))',
        "tuple<tuple<string, dict<string, tensor<int32, [?]>>>, tuple<string, dict<string, "
        'list<tensor<int32, [2]>, ?>>>>((("DefaultShapes", {{"in0", [1, 4]}}), '
        '("RangeDims", {{"in0", [[1, 4], [4, 4]]}})))',
    ),
]


@pytest.mark.parametrize(("text", "printed"), [v[1:] for v in VALUES], ids=[v[0] for v in VALUES])
def test_reads_and_prints_a_value(text: str, printed: str) -> None:
    value = mil.Value(text)
    assert str(value) == printed
    assert mil.Value(printed) == value
    assert statement(f"fp16 c = const()[val = {text}];") == f"fp16 c = const()[val = {printed}];"


STATEMENTS = [
    ("arguments in any order", "fp16 y = add(y=x,x=x);", "fp16 y = add(x = x, y = x);"),
    (
        "attributes in any order",
        'fp16 y = relu(x = x)[name = string("y"), a = fp16(1)];',
        'fp16 y = relu(x = x)[a = fp16(0x1p+0), name = string("y")];',
    ),
    ("no attributes", "fp16 y = relu(x = x);", "fp16 y = relu(x = x);"),
    ("no arguments", "fp16 y = relu();", "fp16 y = relu();"),
    (
        "empty brackets",
        "fp16 y = relu(x = x)[];",
        "fp16 y = relu(x = x);",
    ),
    ("no results", "write_state(data = x, input = s);", "write_state(data = x, input = s);"),
    ("an opset without results", "f<ios18>(a = x);", "f<ios18>(a = x);"),
    (
        "several results",
        "fp16 a, tensor<fp16, [2]> b = split(x = x);",
        "fp16 a, tensor<fp16, [2]> b = split(x = x);",
    ),
    ("an opset on an operation", "fp16 y = relu<ios17>(x = x);", "fp16 y = relu<ios17>(x = x);"),
    (
        "a value in place",
        'fp16 y = cast(dtype = string("fp16"), x = x);',
        'fp16 y = cast(dtype = string("fp16"), x = x);',
    ),
    (
        "a tuple of names and values",
        "fp16 y = concat(values = (x, fp16(1), tensor<fp16, [1]>([2])));",
        "fp16 y = concat(values = (x, fp16(0x1p+0), tensor<fp16, [1]>([0x1p+1])));",
    ),
    ("a tuple of one", "fp16 y = concat(values = (x));", "fp16 y = concat(values = (x));"),
    ("an empty tuple", "fp16 y = concat(values = ());", "fp16 y = concat(values = ());"),
    (
        "names that look like something else",
        "fp16 tensor = pad(inf = nan, input = tensor, pad = fp16, string = func, x = BLOBFILE);",
        "fp16 tensor = pad(inf = nan, input = tensor, pad = fp16, string = func, x = BLOBFILE);",
    ),
    ("an at sign in a name", "fp16 a@1_ = relu(x = a@b);", "fp16 a@1_ = relu(x = a@b);"),
    (
        "buffer types",
        "tensor_buffer<fp16,shape=[16,1,64],strides=[64,64,1],interleave_factors=[1,1,1]> b = "
        "tensor_to_tensor_buffer<ios17>(input = x);",
        "tensor_buffer<fp16, shape=[16, 1, 64], strides=[64, 64, 1], interleave_factors=[1, 1, 1]>"
        " b = tensor_to_tensor_buffer<ios17>(input = x);",
    ),
    (
        "list types",
        "list<tensor<fp32, [?, 128]>, 1> l, list<fp16, ?> m = make_list();",
        "list<tensor<fp32, [?, 128]>, 1> l, list<fp16, ?> m = make_list();",
    ),
    (
        "comments and white space everywhere",
        "/* 1 */fp16//2\n\ty\r\n=/*\n3*/relu( x\f=x )/**/;",
        "fp16 y = relu(x = x);",
    ),
    (
        "weights of the older form",
        "tensor<fp16, [4]> k = constexpr_affine_dequantize()[zero_point = int8(0), axis = int32(0),"
        " quantized_data = tensor<int8, [4]>([1, 2, 3, 4]), scale = fp16(0.5)];",
        "tensor<fp16, [4]> k = constexpr_affine_dequantize()[axis = int32(0), quantized_data = "
        "tensor<int8, [4]>([1, 2, 3, 4]), scale = fp16(0x1p-1), zero_point = int8(0)];",
    ),
]


@pytest.mark.parametrize(
    ("text", "printed"), [s[1:] for s in STATEMENTS], ids=[s[0] for s in STATEMENTS]
)
def test_reads_and_prints_a_statement(text: str, printed: str) -> None:
    assert statement(text) == printed
    check_fixed_point(mil.parse(main(text)))


PROGRAMS = [
    ("a statement", canonical("fp16 y = relu(x = x);")),
    (
        "scalars of program(1.0)",
        'program(1.0)\n[buildInfo = dict<tensor<string, []>, tensor<string, []>>({{"k", "v"}})]\n'
        "{\n"
        "    func main<ios16>(tensor<fp16, []> x) {\n"
        '            tensor<fp16, []> w = const()[name = tensor<string, []>("w"), val = '
        'tensor<fp16, []>(BLOBFILE(path = tensor<string, []>("@model_path/weights/weight.bin"), '
        "offset = tensor<uint64, []>(64)))];\n        } -> (w, x);\n}",
    ),
    ("no functions", "program(1.3)\n{\n}"),
    ("no results", "program(1.3)\n{\n    func f<ios15>() {\n        } -> ();\n}"),
    (
        "several functions in text order",
        "program(1.5)\n[a = fp16(0x1p+0), buildInfo = dict<string, string>({})]\n{\n"
        "    func second<ios18>(fp16 b, fp16 a) {\n        } -> (b, a);\n"
        "    func first<ios26>() {\n        } -> ();\n}",
    ),
    (
        "attributes of a function",
        canonical(head="(state<tensor<fp16, [1, 8]>> s, tensor<fp16, [?, 4]> x) [a = int8(1)] "),
    ),
    (
        "nested blocks",
        "program(1.3)\n{\n    func main<ios18>(bool p, fp16 x) {\n"
        '            fp16 y = cond(pred = p)[name = string("y")]\n'
        "            () {\n"
        "                    fp16 a = relu(x = x);\n"
        "                } -> (a)\n"
        "            (fp16 i, fp16 j) {\n"
        "                    fp16 b = while_loop(loop_vars = (i))\n"
        "                    () {\n                        } -> (i);\n"
        "                } -> (b);\n"
        "        } -> (y);\n}",
    ),
]


@pytest.mark.parametrize("text", [p[1] for p in PROGRAMS], ids=[p[0] for p in PROGRAMS])
def test_canonical_text_is_printed_unchanged(text: str) -> None:
    assert str(mil.parse(text)) == text


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda t: t + "\n", id="a line break at the end"),
        pytest.param(lambda t: t + "\n\n// the end", id="a comment at the end"),
        pytest.param(lambda t: "// first\n\n" + t, id="a comment at the start"),
        pytest.param(lambda t: "\ufeff" + t, id="a byte order mark"),
        pytest.param(lambda t: t.replace("\n", "\r\n"), id="lines that end in CRLF"),
        pytest.param(lambda t: t.replace("    ", "\t"), id="tabs"),
        pytest.param(lambda t: t.replace("fp16 ", "tensor<fp16, []> "), id="mixed spellings"),
        pytest.param(lambda t: t.encode(), id="bytes"),
    ],
)
def test_text_that_looks_different_is_the_same_program(change) -> None:  # type: ignore[no-untyped-def]
    text = canonical('fp16 y = relu(x = x)[name = string("é")];')
    program = mil.parse(change(text))
    assert program == mil.parse(text)
    assert str(program) == text


def test_the_version_decides_how_scalars_are_spelt() -> None:
    body = ["fp16 y = add(x = x, y = int8(3));"]
    modern = mil.parse(canonical(*body))
    older = mil.parse(canonical(*body, version="1.0"))
    assert "add(x = x, y = int8(3))" in str(modern)
    assert "tensor<fp16, []> y = add(x = x, y = tensor<int8, []>(3))" in str(older)


def test_operations_know_where_they_stand() -> None:
    program = mil.parse("program(1.3)\n{\n  func main<ios18>(fp16 é".replace("é", "x") + ") {\n"
                        "    /* é */ fp16 y = relu(x = fp16(1));\n  } -> (y);\n}")  # fmt: skip
    operation = program["main"].operations[0]
    assert (program["main"].line, program["main"].column) == (3, 8)
    assert (operation.line, operation.column) == (4, 23)
    assert (operation.outputs[0].line, operation.outputs[0].column) == (4, 19)
    value = operation.inputs["x"][0]
    assert isinstance(value, mil.Value)
    assert (value.line, value.column) == (4, 32)


def test_a_million_integers_are_read_exactly() -> None:
    numbers = np.random.default_rng(1).integers(-(2**31), 2**31, 1_000_000)
    text = f"tensor<int32, [1000, 1000]>({numbers.reshape(1000, 1000).tolist()})"
    value = mil.Value(text)
    np.testing.assert_array_equal(value.to_numpy(), numbers.reshape(1000, 1000))
    assert str(value) == text


# Generated values and programs.

NUMPY = {
    "bool": np.bool_, "fp16": np.float16, "fp32": np.float32, "fp64": np.float64,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
}  # fmt: skip
RANGES = {"int4": (-8, 7), "uint1": (0, 1), "uint2": (0, 3), "uint3": (0, 7), "uint4": (0, 15),
          "uint6": (0, 63)}  # fmt: skip
SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=4)


@st.composite
def values(draw: st.DrawFn) -> mil.Value:
    dtype = draw(st.sampled_from([*NUMPY, *RANGES, "string"]))
    shape = draw(SHAPES)
    if dtype == "string":
        text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
        size = int(np.prod(shape))
        strings = draw(st.lists(text, min_size=size, max_size=size))
        # NumPy drops zero characters at the end of a string.
        strings = [s.rstrip("\0") for s in strings]
        return mil.Value.from_numpy(np.array(strings, dtype="U6").reshape(shape))
    if dtype in RANGES:
        low, high = RANGES[dtype]
        array = draw(npst.arrays(np.int8, shape, elements=st.integers(low, high)))
        return mil.Value.from_numpy(array, dtype)
    elements = None
    if dtype.startswith("fp"):
        elements = npst.from_dtype(np.dtype(NUMPY[dtype]), allow_nan=False)
    return mil.Value.from_numpy(draw(npst.arrays(NUMPY[dtype], shape, elements=elements)))


@given(values())
@settings(deadline=None)
def test_any_value_is_printed_and_read_back(value: mil.Value) -> None:
    again = mil.Value(str(value))
    assert again == value
    assert str(again) == str(value)
    array = value.to_numpy()
    if isinstance(array, np.ndarray):
        assert mil.Value.from_numpy(array, value.type.dtype) == value


@given(st.floats(allow_nan=False))
@settings(deadline=None)
def test_decimals_are_rounded_once_as_numpy_does(number: float) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        name = f"fp{np.dtype(dtype).itemsize * 8}"
        with np.errstate(all="ignore"):
            expected = np.float64(number).astype(dtype)
        for spelling in (repr(number), number.hex(), f"{number:.25e}"):
            found = mil.Value(f"{name}({spelling})").to_numpy()
            assert isinstance(found, np.ndarray)
            assert found.tobytes() == expected.tobytes()


def test_every_half_is_printed_and_read_back() -> None:
    bits = np.arange(65536, dtype=np.uint16)
    halves = bits[(bits & 0x7FFF) <= 0x7C00].view(np.float16)
    value = mil.Value.from_numpy(halves)
    assert mil.Value(str(value)) == value
    elements = re.findall(r"-?(?:0x[^,\]]+|inf)", str(value).split("(", 1)[1])
    assert [float.fromhex(e) for e in elements] == halves.astype(float).tolist()


@pytest.mark.parametrize("dtype", ["bf16", "fp8e4m3fn", "fp8e5m2"])
def test_every_small_float_is_printed_and_read_back(dtype: str) -> None:
    wide = dtype == "bf16"
    bits = np.arange(65536, dtype=np.uint16) if wide else np.arange(256, dtype=np.uint8)
    value = mil.Value.from_numpy(bits, dtype)
    again = mil.Value(str(value)).to_numpy()
    nan = np.array([e == "nan" for e in str(value).split("(", 1)[1].strip("[])").split(", ")])
    assert isinstance(again, np.ndarray)
    np.testing.assert_array_equal(again[~nan], bits[~nan])
    # bf16 7 bits, both signs, without infinity; e4m3fn one NaN for each sign; e5m2 three.
    assert nan.sum() == {"bf16": 2 * 127, "fp8e4m3fn": 2, "fp8e5m2": 2 * 3}[dtype]


NAMES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_@]{0,6}\Z")


@st.composite
def programs(draw: st.DrawFn) -> mil.Program:
    program = mil.Program(draw(st.sampled_from(["1.0", "1.3"])))
    program.set_attribute("buildInfo", mil.Value('dict<string, string>({{"k", "v"}})'))
    for index in range(draw(st.integers(1, 3))):
        function = mil.Function(f"f{index}", "ios18", inputs=[("x", "tensor<fp16, [?, 2]>")])
        for _ in range(draw(st.integers(0, 6))):
            arguments: dict[str, str | mil.Value | list[str | mil.Value]] = {}
            operand = st.one_of(NAMES.filter(lambda n: n not in ("true", "false")), values())
            for name in draw(st.lists(NAMES, max_size=4, unique=True)):
                arguments[name] = draw(st.one_of(operand, st.lists(operand, max_size=3)))
            attributes = {name: draw(values()) for name in draw(st.lists(NAMES, max_size=2))}
            outputs = [
                (name, draw(st.sampled_from(["fp16", "tensor<int4, [1, 2]>", "list<bool, ?>"])))
                for name in draw(st.lists(NAMES, max_size=3))
            ]
            function.append(mil.Operation(draw(NAMES), outputs, arguments, attributes))
        function.outputs = draw(st.lists(NAMES, max_size=3))
        program.add_function(function)
    return program


@given(programs())
@settings(deadline=None)
def test_any_program_is_printed_and_read_back(program: mil.Program) -> None:
    check_fixed_point(program)


TOKENS = re.compile(
    r'"(?:[^"\\]|\\.)*"|[+-]?(?:[0-9][0-9A-Za-z.+-]*|(?:inf|nan)\b)|[A-Za-z_][A-Za-z0-9_@]*|->|\S'
)
SPACE = st.sampled_from([" ", "\n", "\t", "\r\n", "  ", "/* x */", '// é "\n', "/**/ ", " /*\n*/"])


@given(programs(), st.data())
@settings(deadline=None, max_examples=50)
def test_white_space_and_comments_change_nothing(program: mil.Program, data: st.DataObject) -> None:
    text = str(program)
    spaced = "".join(token + data.draw(SPACE) for token in TOKENS.findall(text)[:400])
    if len(TOKENS.findall(text)) <= 400:
        assert mil.parse(spaced) == program


@given(st.text(st.sampled_from('program(1.3){}[]<>=,;?"\\/* \n0x1p-3e.finatesorud')))
@settings(deadline=None, max_examples=300)
def test_no_text_does_worse_than_an_error(text: str) -> None:
    for whole in (text, main(text), main(f"fp16 c = const()[val = {text}];")):
        with contextlib.suppress(ValueError):
            check_fixed_point(mil.parse(whole))
