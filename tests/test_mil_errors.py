"""Every rejection of MIL text points at the right line and column, and says what to write."""

import os
import re
from pathlib import Path

import pytest

from milane import mil
from milane.errors import (
    DTypeError,
    InvalidArgumentError,
    MILSyntaxError,
    ModelFileError,
)

CORPUS = Path(
    os.environ.get("MILANE_CORPUS", Path(__file__).resolve().parents[2] / "shared" / "corpus")
)
MARK = "§"  # where the error belongs


def main(body: str = "", inputs: str = "fp16 x", outputs: str = "x") -> str:
    return (
        f"program(1.3)\n{{\n    func main<ios18>({inputs}) {{\n{body}\n    }} -> ({outputs});\n}}"
    )


def op(arguments: str, attributes: str = "") -> str:
    return main(f"        fp16 y = add({arguments}){attributes};")


def const(value: str) -> str:
    return main(f"        fp16 c = const()[val = {value}];")


def rejected(marked: str) -> tuple[MILSyntaxError, str]:
    """The error that parsing raises, after checking that it points at the mark."""
    before, after = marked.split(MARK)
    line = before.count("\n") + 1
    column = len(before[before.rfind("\n") + 1 :].encode()) + 1
    with pytest.raises(MILSyntaxError) as caught:
        mil.parse(before + after, "model.mil")
    message = str(caught.value)
    assert message.startswith(f"model.mil:{line}:{column}: ")
    return caught.value, message


# (what is wrong, the text with a mark at the error, part of the message, part of the hint)
CASES = [
    ("empty text", f"{MARK}", "expected 'program', got end of text", ""),
    ("text that is no program", f"{MARK}model(1.0){{}}", "expected 'program', got 'model'", ""),
    ("a version without a point", f"program({MARK}13){{}}", "expected a version", ""),
    ("a version of three numbers", f"program({MARK}1.3.1){{}}", "expected a version", ""),
    ("text after the program", main() + f"\n{MARK}x", "expected end of text", ""),
    ("a program without an end", f"program(1.3)\n{{{MARK}", "'func' or '}', got end of text", ""),
    ("something else than func", f"program(1.3)\n{{ {MARK}fun", "expected 'func' or '}'", ""),
    ("a function without opset", f"program(1.3){{func main{MARK}()", "'<'", "func main<ios18>"),
    ("a parameter without type", main(inputs=f"{MARK}x"), "expected a type, got 'x'", ""),
    ("a parameter without name", main(inputs=f"fp16{MARK}"), "expected a value name", ""),
    ("a function without results", "program(1.3){func f<ios18>() {}" + MARK, "expected '->'", ""),
    ("a result that is no name", main(outputs=f"{MARK}1"), "expected a value name", ""),
    (
        "no semicolon between statements",
        main(f"fp16 y = relu(x = x)\n  {MARK}fp16 z = relu(x = y);"),
        "expected ';', got 'fp16'",
        "",
    ),
    ("a statement that ends early", main(f"fp16 y {MARK};"), "expected '='", ""),
    ("a name that starts with a digit", main(f"fp16 {MARK}1y = relu(x = x);"), "", "letter or _"),
    ("a point in a name", main(f"fp16 a{MARK}.b = relu(x = x);"), "expected '='", ""),
    ("a hyphen in a name", main(f"fp16 a{MARK}-b = relu(x = x);"), "expected '='", ""),
    ("a positional argument", op(f"x{MARK}"), "expected '=', got ')'", "write add(x = x)"),
    ("two positional arguments", op(f"x{MARK}, x"), "expected '=', got ','", "write add(x = x)"),
    ("a positional value", op(f"fp16{MARK}(1)"), "expected '=', got '('", "named"),
    ("an argument twice", op(f"x = x, y = x, {MARK}x = x"), "'x' again", ""),
    (
        "an argument twice among many",
        op("".join(f"a{i} = x, " for i in range(40)) + f"{MARK}a7 = x"),
        "'a7' again",
        "",
    ),
    ("an attribute twice", op("x = x", f"[a = fp16(1), {MARK}a = fp16(1)]"), "'a' again", ""),
    ("a trailing comma in arguments", op(f"x = x, {MARK}"), "after ','", "remove the comma"),
    ("a trailing comma in attributes", op("x = x", f"[a = fp16(1), {MARK}]"), "", "remove"),
    ("a trailing comma in parameters", main(inputs=f"fp16 x,{MARK}"), "", "remove the comma"),
    ("a trailing comma in a literal", const(f"tensor<fp16, [1]>([1,{MARK}])"), "", "remove"),
    ("a trailing comma in a shape", const(f"tensor<fp16, [1,{MARK}]>([1])"), "", "remove"),
    ("a trailing comma in a tuple", const(f"tuple<fp16, fp16>((1, 2,{MARK}))"), "", "remove"),
    ("a third member of a pair", const(f"tuple<fp16, fp16>((1, 2, {MARK}3))"), "got more", ""),
    ("an untyped list", op(f"axes = {MARK}[0, 2, 3]"), "", "tensor<int32, [3]>([0, 2, 3])"),
    ("an untyped list of floats", op(f"s = {MARK}[0.5, 1]"), "", "tensor<fp16, [2]>([0.5, 1])"),
    ("an untyped integer", op(f"axis = {MARK}-1, x = x"), "", "write axis = int32(-1)"),
    ("an untyped float", op(f"alpha = {MARK}0x1p-3"), "", "write alpha = fp16(0x1p-3)"),
    ("an untyped truth value", op(f"keep_dims = {MARK}true"), "", "keep_dims = bool(true)"),
    ("an untyped string", op(f'mode = {MARK}"EXACT"'), "", 'mode = string("EXACT")'),
    ("an untyped attribute", op("x = x", f'[name = {MARK}"y"]'), "", 'name = string("y")'),
    ("an untyped nested list", op(f"a = {MARK}[[0, 1]]"), "", "with its type"),
    ("an untyped value in a tuple", op(f"values = (x, {MARK}1)"), "", "int32(1)"),
    ("a tuple in a tuple", op(f"values = (x, {MARK}(x, x))"), "", "do not nest"),
    ("an argument without value", op(f"x = {MARK}"), "expected a name or a typed value", ""),
    ("an unknown type of a result", main(f"{MARK}float16 y = relu(x = x);"), "", "write fp16"),
    ("an unknown element type", const(f"tensor<{MARK}fp15, [1]>([1])"), "", "did you mean fp16?"),
    ("an unknown type of an argument", op(f"x = {MARK}int33(3)"), "", "did you mean int32?"),
    ("an unknown compound type", op(f"x = {MARK}tensors<fp16, []>(3)"), "", "mean tensor?"),
    ("a tensor type without shape", const(f"tensor<fp16{MARK}>(1)"), "expected ','", "[1, 2]"),
    ("a dimension of zero", main(inputs=f"tensor<fp16, [{MARK}0]> x"), "got '0'", ""),
    ("a negative dimension", main(inputs=f"tensor<fp16, [1, {MARK}-2]> x"), "got '-2'", ""),
    ("nan as a dimension", main(inputs=f"tensor<fp16, [{MARK}nan]> x"), "got 'nan'", ""),
    ("a fraction as a dimension", main(inputs=f"tensor<fp16, [{MARK}1.5]> x"), "got '1.5'", ""),
    ("a huge dimension", main(inputs=f"tensor<fp16, [{MARK}2147483648]> x"), "", "2147483647"),
    (
        "a dimension beyond 64 bits",
        main(inputs=f"tensor<fp16, [{MARK}99999999999999999999]> x"),
        "dimension",
        "",
    ),
    ("a state of a state", main(inputs=f"state<{MARK}state<fp16>> x"), "expected a tensor", ""),
    ("a value of state type", const(f"{MARK}state<fp16>(1)"), "that has literals", ""),
    (
        "a buffer's shape twice",
        main(inputs=f"tensor_buffer<fp16, shape=[1], {MARK}shape=[1]> x"),
        "'shape' again",
        "",
    ),
    ("too many elements", const(f"tensor<fp16, [2]>([1, 2, {MARK}3])"), "expected 2 elements", ""),
    (
        "too few elements",
        const(f"tensor<fp16, [3]>([1, 2{MARK}])"),
        "3 elements in dimension 0",
        "",
    ),
    (
        "too few elements in an inner list",
        const(f"tensor<fp16, [2, 2]>([[1, 2], [3{MARK}]])"),
        "expected 2 elements in dimension 1 of [2, 2], got 1",
        "",
    ),
    (
        "lists of unlike lengths",
        const(f"tensor<fp16, [2, ?]>([[1, 2], [3{MARK}]])"),
        "expected 2 elements in dimension 1",
        "",
    ),
    ("a flat list for two dimensions", const(f"tensor<fp16, [1, 2]>([{MARK}1, 2])"), "'['", ""),
    ("a list too deep", const(f"tensor<fp16, [1]>([{MARK}[1]])"), "a number", "rank 1"),
    ("brackets around a scalar", const(f"fp16({MARK}[1])"), "one element", "no brackets"),
    ("no brackets around a list", const(f"tensor<fp16, [1]>({MARK}1)"), "expected '['", ""),
    ("two unknown dimensions", const(f"{MARK}tensor<fp16, [?, ?]>([[1]])"), "at most one '?'", ""),
    ("an empty value", const(f"fp16({MARK})"), "expected a number, got ')'", ""),
    ("a word for a number", const(f"fp16({MARK}one)"), "expected a number, got 'one'", ""),
    ("a string for a number", const(f'fp16({MARK}"1")'), "expected a number", ""),
    ("a number for a string", const(f"string({MARK}1)"), "expected a string, got '1'", ""),
    ("a number for a truth value", const(f"bool({MARK}1)"), "expected true or false", ""),
    ("a fraction for an integer", const(f"int32({MARK}1.5)"), "an integer, got '1.5'", "int32"),
    ("infinity for an integer", const(f"int32({MARK}inf)"), "an integer, got 'inf'", ""),
    ("300 as int8", const(f"int8({MARK}300)"), "int8 in [-128, 127], got 300", ""),
    ("-129 as int8", const(f"int8({MARK}-129)"), "int8 in [-128, 127], got -129", ""),
    ("8 as int4", const(f"int4({MARK}8)"), "int4 in [-8, 7], got 8", ""),
    ("-1 as uint8", const(f"uint8({MARK}-1)"), "uint8 in [0, 255], got -1", ""),
    ("64 as uint6", const(f"uint6({MARK}64)"), "uint6 in [0, 63], got 64", ""),
    ("2^31 as int32", const(f"int32({MARK}2147483648)"), "got 2147483648", ""),
    ("2^63 as int64", const(f"int64({MARK}9223372036854775808)"), "int64 in", ""),
    ("2^64 as uint64", const(f"uint64({MARK}18446744073709551616)"), "uint64 in", ""),
    ("a number with a letter", const(f"fp16({MARK}12ab)"), "expected a number, got '12ab'", ""),
    ("a number with two points", const(f"fp16({MARK}1.2.3)"), "got '1.2.3'", ""),
    ("an exponent without digits", const(f"fp16({MARK}1e)"), "expected a number", ""),
    ("hex without digits", const(f"fp16({MARK}0x)"), "expected a number", ""),
    ("a lone sign", const(f"fp16({MARK}-)"), "expected a number", ""),
    ("a string without end", const(f'string({MARK}"abc)'), "to end this string", "\\n"),
    ("a string over two lines", const(f'string({MARK}"a\nb")'), "to end this string", "\\n"),
    ("an unknown escape", const(f'string("a{MARK}\\qb")'), "got \\q", "\\\\"),
    ("a comment without end", f"program(1.3) {MARK}/* {{}}", "'*/'", ""),
    ("a list value too long", const(f"list<fp16, 1>([1, {MARK}2])"), "expected 1 element,", ""),
    ("a list value too short", const(f"list<fp16, 2>([1{MARK}])"), "2 elements, got 1", ""),
    ("a tuple value too short", const(f"tuple<fp16, fp16>((1{MARK}))"), "2 elements, got 1", ""),
    ("a dict entry without value", const(f'dict<string, fp16>({{{{"a"{MARK}}}}})'), "','", ""),
    ("a dict without braces", const(f'dict<string, fp16>({MARK}["a"])'), "'{'", "{{"),
    (
        "a weight file without offset",
        const(f'fp16(BLOBFILE(path = string("@model_path/w")){MARK})'),
        "a path and an offset",
        "uint64(64)",
    ),
    (
        "a weight file with an empty path",
        const(f'fp16(BLOBFILE(path = {MARK}string(""), offset = uint64(64)))'),
        "expected a path",
        "",
    ),
    (
        "a weight file with a negative offset",
        const(f'fp16(BLOBFILE(path = string("w"), offset = {MARK}int64(-1)))'),
        "expected an offset",
        "",
    ),
    (
        "a weight file of unknown shape",
        const(f'tensor<fp16, [?]>({MARK}BLOBFILE(path = string("w"), offset = uint64(0)))'),
        "inline elements",
        "known shape",
    ),
    ("a character of no language", main(f"fp16 y = relu(x = x) {MARK}é;"), "got 'é'", ""),
    (
        "an error behind characters of several bytes",
        main(f'fp16 y = relu(x = x)[name = string("é∂𝄞"), {MARK}1];'),
        "an attribute name",
        "",
    ),
    ("an error behind a tab", main(f"\t\tfp16 y {MARK};"), "expected '='", ""),
    ("an error behind a comment", main(f"/* a\n b */ fp16 y {MARK};"), "expected '='", ""),
    ("an error behind CRLF", f"program(1.3)\r\n{{\r\n  {MARK}x\r\n}}", "'func'", ""),
]


@pytest.mark.parametrize(
    ("text", "message", "hint"), [c[1:] for c in CASES], ids=[f"refuses {c[0]}" for c in CASES]
)
def test_points_at_the_fault(text: str, message: str, hint: str) -> None:
    error, shown = rejected(text)
    first_line = shown.split("\n", 1)[0]
    assert message in first_line
    if hint:
        assert "\nhint: " in shown
        assert hint in shown.split("\nhint: ", 1)[1]
    assert (error.line, error.column) == tuple(int(n) for n in first_line.split(":")[1:3])


def test_shows_the_line_with_a_caret_below_the_column() -> None:
    _, shown = rejected(f"program(1.3)\n{{ // é\n\t/* é */ func {MARK}1")
    assert shown.split("\n")[1] == "    \t/* é */ func 1"
    assert shown.split("\n")[2] == "    \t             ^"


def test_cuts_long_lines_around_the_column() -> None:
    _, shown = rejected(main("fp16 y = relu(" + " " * 5000 + f"{MARK}1" + " " * 5000))
    excerpt, caret = shown.split("\n")[1:3]
    assert len(excerpt) < 120
    assert excerpt[len(caret) - 1] == "1"


def test_types_nested_ten_megabytes_deep_are_an_error_and_no_crash() -> None:
    start = "program(1.3)[a = "
    with pytest.raises(MILSyntaxError, match="64 levels of nesting") as caught:
        mil.parse(start + "tuple<" * 1_700_000)
    column = len(start) + 64 * len("tuple<") + len("tuple") + 1
    assert str(caught.value).startswith(f"<text>:1:{column}: ")


def test_ten_megabytes_of_brackets_are_an_error_and_no_crash() -> None:
    brackets = "[" * 10_000_000
    for text in (brackets, const("tensor<int32, [1]>(" + brackets), op("x = " + brackets)):
        with pytest.raises(MILSyntaxError):
            mil.parse(text)


def test_a_literal_of_too_many_dimensions_is_an_error_and_no_crash() -> None:
    dims = ", ".join("1" * 100_000)
    with pytest.raises(MILSyntaxError, match="levels of nesting"):
        mil.parse(const(f"tensor<int32, [{dims}]>(" + "[" * 100_000))


def test_nested_blocks_have_a_limit() -> None:
    with pytest.raises(MILSyntaxError, match="levels of nesting"):
        mil.parse(main("cond() () {" * 1000))


def test_a_promised_size_is_not_allocated() -> None:
    with pytest.raises(MILSyntaxError, match="2147483647 elements"):
        mil.parse(const("tensor<fp16, [2147483647]>([1])"))


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        pytest.param(b"program(1.3)\n{ // \xff\n}", 2, 6, id="a stray byte in a comment"),
        pytest.param(b'program(1.3)[a = string("\xc3")]{}', 1, 26, id="half a character"),
        pytest.param(b"\xed\xa0\x80", 1, 1, id="a surrogate"),
        pytest.param(b"abcdefgh\xf4\x90\x80\x80", 1, 9, id="a character beyond Unicode"),
        pytest.param(b"\xc0\xaf", 1, 1, id="an overlong form"),
    ],
)
def test_text_that_is_not_utf8_is_refused(text: bytes, line: int, column: int) -> None:
    with pytest.raises(MILSyntaxError, match=f"^<text>:{line}:{column}: expected UTF-8"):
        mil.parse(text)


def test_a_zero_byte_ends_nothing() -> None:
    with pytest.raises(MILSyntaxError, match="control character"):
        mil.parse(main() + "\0")


def test_syntax_errors_carry_what_the_device_answers() -> None:
    error, _ = rejected(op(f"x{MARK}"))
    assert (error.op, error.cls, error.code) == ("parse", "InvalidMILProgram", 1)
    assert error.domain == "com.apple.appleneuralengine.compiler"
    assert error.hint == "arguments are named: write add(x = x)"


def test_syntax_errors_are_value_errors() -> None:
    with pytest.raises(ValueError, match="expected 'program'"):
        mil.parse("")


def test_parse_takes_text_only() -> None:
    with pytest.raises(DTypeError, match="expected str or bytes"):
        mil.parse(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "line", "column", "hint"),
    [
        pytest.param("layer_0_fwd", 32, 56, "write identity(x = x)", id="a positional argument"),
        pytest.param("layer_0_bwd", 20, 87, "tensor<int32, [3]>([0,2,3])", id="an untyped list"),
    ],
)
def test_malformed_programs_of_others_are_refused(
    name: str, line: int, column: int, hint: str
) -> None:
    found = list((CORPUS / "hand").glob(f"*{name}/model.mil"))
    if not found:
        pytest.skip(f"no corpus at {CORPUS}")
    with pytest.raises(MILSyntaxError) as caught:
        mil.load(found[0])
    assert f"model.mil:{line}:{column}: " in str(caught.value)
    assert hint in str(caught.value)


# Files and folders.


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=re.escape(str(tmp_path / "no.mil"))):
        mil.load(tmp_path / "no.mil")


def test_a_folder_without_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"expected a model\.mil in this folder"):
        mil.load(tmp_path)


def test_a_pipeline_names_its_first_stage(tmp_path: Path) -> None:
    (tmp_path / "model0").mkdir()
    (tmp_path / "model0" / "model.mil").write_text("program(1.3){}")
    with pytest.raises(ModelFileError, match=r"pipeline: open its stages, .*model0"):
        mil.load(tmp_path)


def test_a_package_gets_a_hint_that_it_holds_a_protobuf(tmp_path: Path) -> None:
    (tmp_path / "m.mlpackage").mkdir()
    with pytest.raises(ModelFileError, match=r"protobuf\nhint: .*coremlc"):
        mil.load(tmp_path / "m.mlpackage")


def test_a_compiled_model_opens_with_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "m.mlmodelc"
    folder.mkdir()
    (folder / "model.mil").write_text(main())
    for path in (folder, f"{folder}/", folder / "model.mil"):
        source = mil.read_source(path)
        assert source.text == main()
        assert source.name == str(folder / "model.mil")
        assert source.model_folder == str(folder)
    assert mil.load(folder) == mil.parse(main())


@pytest.mark.parametrize("text", [main(), "program(1.3){}"], ids=["with lines", "in one line"])
def test_text_is_its_own_source(text: str) -> None:
    source = mil.read_source(text)
    assert (source.text, source.name, source.model_folder) == (text, "<text>", "")


def test_weight_paths_stay_inside_the_model_folder(tmp_path: Path) -> None:
    (tmp_path / "model" / "weights").mkdir(parents=True)
    folder = tmp_path / "model"
    found = mil.resolve_weight_path("@model_path/weights/weight.bin", folder)
    assert Path(found) == (folder / "weights" / "weight.bin").resolve()
    (folder / "inner").symlink_to(folder / "weights")
    assert mil.resolve_weight_path("@model_path/inner/w.bin", folder).endswith("weights/w.bin")
    # Handwritten programs leave the prefix out.
    assert mil.resolve_weight_path("weights/weight.bin", folder) == found


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "@model_path//etc/passwd", "@model_path/../w.bin", "@model_path/a/../../w.bin",
     "@model_path/", "@other/w.bin", "@model_path", "", "@model_path/leak/w.bin"],
)  # fmt: skip
def test_weight_paths_that_leave_the_model_folder_are_refused(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "other").mkdir()
    (folder / "leak").symlink_to(tmp_path / "other")
    with pytest.raises(ModelFileError, match="BLOBFILE path"):
        mil.resolve_weight_path(path, folder)


def test_weights_of_bare_text_have_no_folder() -> None:
    with pytest.raises(ModelFileError, match="expected a model folder"):
        mil.resolve_weight_path("@model_path/w.bin", "")


def test_names_of_built_programs_are_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="expected a name, got 'a b'"):
        mil.Operation("relu", [("a b", "fp16")])
