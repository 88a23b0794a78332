"""What the device's compiler refuses: every rule at its place, and nothing that is known to run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import NO_CORPUS, corpus_folder
from milane import mil
from milane._core import mil as core_mil
from program_files import MALFORMED

Finding = tuple[str, int, int, str, str, bool]

RULES = {rule.id: rule for rule in core_mil.limit_rules()}
INFO = '[buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})]'
MARK = "§"  # stands in front of what a finding points at

X = "tensor<fp16, [1, 4, 1, 8]> x"
W = "tensor<fp16, [6, 4, 1, 3]> w"
BLOB = 'BLOBFILE(path = string("@model_path/w.bin"), offset = uint64(64))'


def weight(type_: str, name: str = "w", offset: int = 64) -> str:
    """A constant in a weight file."""
    at = BLOB.replace("uint64(64)", f"uint64({offset})")
    return f'{type_} {name} = const()[name = string("{name}"), val = {type_}({at})];'


def constant(type_: str, name: str, value: str) -> str:
    """A constant in the text."""
    return f'{type_} {name} = const()[name = string("{name}"), val = {type_}({value})];'


def program(inputs: str, *statements: str, outputs: str = "y", info: str = INFO) -> str:
    body = "".join(f"        {s}\n" for s in statements)
    return f"program(1.3)\n{info}\n{{\n    func main<ios18>({inputs}) {{\n{body}    }} -> ({outputs});\n}}\n"


def found(text: str) -> list[Finding]:
    return core_mil.broken_limits(mil.parse(text.replace(MARK, "")))


def places(text: str) -> list[tuple[int, int]]:
    """Line and column of every mark, in a text without them."""
    marks = []
    for number, line in enumerate(text.split("\n"), 1):
        parts = line.split(MARK)
        marks += [(number, len("".join(parts[: i + 1])) + 1) for i in range(len(parts) - 1)]
    return marks


@dataclass(frozen=True)
class Limit:
    """A program that breaks one rule at its mark, and one that is like it and breaks none."""

    id: str
    rule: str
    bad: str
    good: str
    beside: tuple[str, ...] = ()  # rules that both break

    def __str__(self) -> str:
        return self.id


def conv(bad_weight: str, good_weight: str, tail: str = "") -> tuple[str, str]:
    """Two programs that differ in the shape of a weight."""
    made: list[str] = []
    for shape in (bad_weight, good_weight):
        sizes = [int(d) for d in shape.split(",")]
        declared = f"tensor<fp16, [{shape}]>"
        out = f"tensor<fp16, [1, {sizes[0]}, 1, {40 - sizes[3] + 1}]>"
        made.append(
            program(
                "tensor<fp16, [1, 4, 1, 40]> x",
                weight(declared),
                f"{out} y = conv(weight = {MARK if not made else ''}w, x = x{tail});",
            )
        )
    return made[0], made[1]


RELU = "tensor<fp16, [1, 4, 1, 8]> y = relu(x = x);"
FALSE = constant("bool", "no", "false")
LUT_ARGUMENTS = (
    "tensor<fp16, [4, 4, 1, 1]> y = constexpr_lut_to_dense(indices = i, lut = l);",
    "tensor<fp16, [1, 4, 1, 8]> z = conv(weight = y, x = x);",
)

CASES = [
    Limit(
        "a program without buildInfo",
        "build_info",
        MARK + program(X, RELU, info=""),
        program(X, RELU),
    ),
    Limit(
        "a buildInfo that is no dictionary",
        "build_info",
        MARK + program(X, RELU, info='[buildInfo = string("3505.4.1")]'),
        program(X, RELU, info="[buildInfo = dict<string, string>({})]"),
    ),
    Limit(
        "a bool written in place",
        "named_operands",
        program(
            X,
            f"tensor<fp16, [1, 4, 8, 8]> y = matmul(transpose_x = {MARK}bool(true), x = x, y = x);",
        ),
        program(
            X,
            constant("bool", "yes", "true"),
            "tensor<fp16, [1, 4, 8, 8]> y = matmul(transpose_x = yes, x = x, y = x);",
        ),
    ),
    Limit(
        "a list written in place",
        "named_operands",
        program(
            X,
            f"tensor<fp16, [8, 4]> y = reshape(shape = {MARK}tensor<int32, [2]>([8, 4]), x = x);",
        ),
        program(
            X,
            constant("tensor<int32, [2]>", "s", "[8, 4]"),
            "tensor<fp16, [8, 4]> y = reshape(shape = s, x = x);",
        ),
    ),
    Limit(
        "a list among the values of a tuple",
        "named_operands",
        program(
            "tensor<fp16, [2]> x",
            f"tensor<fp16, [4]> y = concat(axis = int32(0), values = (x, {MARK}tensor<fp16, [2]>([1, 2])));",
        ),
        program(
            "tensor<fp16, [2]> x",
            f"tensor<fp16, [4]> y = concat(axis = int32(0), values = (x, tensor<fp16, [2]>({BLOB})));",
        ),
    ),
    Limit(
        "a result that is an input",
        "output_is_input",
        program(X, RELU, outputs=f"y, {MARK}x"),
        program(X, RELU, "tensor<fp16, [1, 4, 1, 8]> z = identity(x = x);", outputs="y, z"),
    ),
    Limit(
        "a flexible input",
        "static_shapes",
        program(f"tensor<fp16, [1, ?]> {MARK}x", "tensor<fp16, [1, ?]> y = relu(x = x);"),
        program("tensor<fp16, [1, 8]> x", "tensor<fp16, [1, 8]> y = relu(x = x);"),
    ),
    Limit(
        "a result of unknown size",
        "static_shapes",
        program(
            "int32 n",
            "int32 s = const()[val = int32(0)];",
            "int32 t = const()[val = int32(1)];",
            f"tensor<int32, [?]> {MARK}r = range_1d(end = n, start = s, step = t);",
            "tensor<int32, [?]> y = abs(x = r);",
        ),
        program(
            "int32 n",
            "int32 s = const()[val = int32(0)];",
            "int32 t = const()[val = int32(1)];",
            "tensor<int32, [4]> r = range_1d(end = n, start = s, step = t);",
            "tensor<int32, [4]> y = abs(x = r);",
        ),
    ),
    Limit(
        "control flow",
        "control_flow",
        program(
            f"{X}, bool p",
            f"tensor<fp16, [1, 4, 1, 8]> y = {MARK}cond(pred = p)\n"
            "() { tensor<fp16, [1, 4, 1, 8]> a = relu(x = x); } -> (a)\n"
            "() { tensor<fp16, [1, 4, 1, 8]> b = abs(x = x); } -> (b);",
        ),
        program(
            f"{X}, bool p",
            "tensor<fp16, [1, 4, 1, 8]> a = relu(x = x);",
            "tensor<fp16, [1, 4, 1, 8]> b = abs(x = x);",
            "tensor<fp16, [1, 4, 1, 8]> y = select(a = a, b = b, cond = p);",
        ),
    ),
    Limit(
        "a list as input",
        "lists",
        program(f"{X}, list<tensor<fp16, [2]>, 3> {MARK}l", RELU),
        program(f"{X}, tensor<fp16, [3, 2]> l", RELU),
    ),
    Limit(
        "an input of six axes",
        "rank",
        program(
            f"tensor<fp16, [1, 2, 1, 2, 1, 2]> {MARK}x",
            "tensor<fp16, [2, 2, 2]> y = squeeze(x = x);",
        ),
        program("tensor<fp16, [2, 1, 2, 1, 2]> x", "tensor<fp16, [2, 2, 2]> y = squeeze(x = x);"),
    ),
    Limit(
        "a result of six axes",
        "rank",
        program(
            "tensor<fp16, [2, 1, 2, 1, 2]> x",
            constant("tensor<int32, [1]>", "a", "[0]"),
            f"tensor<fp16, [1, 2, 1, 2, 1, 2]> {MARK}y = expand_dims(axes = a, x = x);",
        ),
        program(
            "tensor<fp16, [1, 2, 1, 2]> x",
            constant("tensor<int32, [1]>", "a", "[0]"),
            "tensor<fp16, [1, 1, 2, 1, 2]> y = expand_dims(axes = a, x = x);",
        ),
    ),
    Limit(
        "a constant of six axes that no compressed weight takes",
        "rank",
        program(
            X,
            weight("tensor<uint4, [4, 4, 1, 1]>", "i"),
            weight("tensor<fp16, [1, 1, 1, 1, 16, 1]>", "l", 128).replace(" l =", f" {MARK}l ="),
            RELU,
        ),
        program(
            X,
            weight("tensor<uint4, [4, 4, 1, 1]>", "i"),
            weight("tensor<fp16, [1, 1, 1, 1, 16, 1]>", "l", 128),
            *LUT_ARGUMENTS,
            outputs="z",
        ),
    ),
    Limit(
        "integers from a weight file",
        "integer_weights",
        program(
            "tensor<int32, [8]> x",
            weight("tensor<int32, [8]>"),
            f"tensor<int32, [8]> y = add(x = x, y = {MARK}w);",
        ),
        program(
            "tensor<int32, [8]> x",
            constant("tensor<int32, [8]>", "w", "[0, 1, 2, 3, 4, 5, 6, 7]"),
            "tensor<int32, [8]> y = add(x = x, y = w);",
        ),
    ),
    Limit(
        "integers from a weight file, written in place",
        "integer_weights",
        program(
            "tensor<int32, [8]> x",
            f"tensor<int32, [8]> y = add(x = x, y = {MARK}tensor<int32, [8]>({BLOB}));",
        ),
        program(
            "tensor<fp16, [1, 8]> x",
            "tensor<fp16, [4, 8]> w = constexpr_affine_dequantize()[axis = int32(0), "
            f"quantized_data = tensor<int8, [4, 8]>({BLOB}), scale = fp16(0.5), zero_point = int8(0)];",
            "tensor<fp16, [1, 4]> y = linear(weight = w, x = x);",
        ),
    ),
    Limit(
        "a compressed weight reshaped",
        "constexpr_reshape",
        program(
            "tensor<fp16, [1, 8]> x",
            "tensor<fp16, [8, 4]> c = constexpr_affine_dequantize()[axis = int32(0), "
            f"quantized_data = tensor<int8, [8, 4]>({BLOB}), scale = fp16(0.5), zero_point = int8(0)];",
            constant("tensor<int32, [2]>", "s", "[4, 8]"),
            f"tensor<fp16, [4, 8]> w = reshape(shape = s, x = {MARK}c);",
            "tensor<fp16, [4, 8]> y = add(x = w, y = x);",
        ),
        program(
            "tensor<fp16, [1, 8]> x",
            weight("tensor<fp16, [8, 4]>", "c"),
            constant("tensor<int32, [2]>", "s", "[4, 8]"),
            "tensor<fp16, [4, 8]> w = reshape(shape = s, x = c);",
            "tensor<fp16, [4, 8]> y = add(x = w, y = x);",
        ),
    ),
    Limit(
        "weights of more than 2 GiB",
        "weight_bytes",
        program(
            X,
            weight("tensor<fp16, [32768, 32768]>", "a"),
            weight("tensor<fp16, [8]>", "b", 128).replace("val = t", f"val = {MARK}t"),
            weight("tensor<fp16, [8]>", "c", 192),
            RELU,
        ),
        program(
            X,
            weight("tensor<fp16, [32768, 16384]>", "a"),
            weight("tensor<fp16, [32768, 16384]>", "b"),  # the same bytes
            weight("tensor<fp32, [32768, 16384]>", "c", 128),  # half as many on the device
            RELU,
        ),
    ),
    Limit(
        "a bias",
        "conv_bias",
        program(
            X,
            weight("tensor<fp16, [6, 4, 1, 1]>"),
            weight("tensor<fp16, [6]>", "b", 128),
            f"tensor<fp16, [1, 6, 1, 8]> y = conv({MARK}bias = b, weight = w, x = x);",
        ),
        program(
            X,
            weight("tensor<fp16, [6, 4, 1, 1]>"),
            weight("tensor<fp16, [1, 6, 1, 1]>", "b", 128),
            "tensor<fp16, [1, 6, 1, 8]> c = conv(weight = w, x = x);",
            "tensor<fp16, [1, 6, 1, 8]> y = add(x = c, y = b);",
        ),
    ),
    Limit(
        "an input of bf16",
        "bf16",
        program(f"{X}, tensor<bf16, [4]> {MARK}b", RELU),
        program(f"{X}, tensor<fp32, [4]> b", RELU),
    ),
    Limit(
        "a constant of bf16",
        "bf16",
        program(X, weight("tensor<bf16, [4]>").replace(" w =", f" {MARK}w ="), RELU),
        program(X, weight("tensor<fp32, [4]>"), RELU),
    ),
    Limit(
        "a cast to int32",
        "cast_int32",
        program(
            X,
            constant("string", "d", '"int32"'),
            f"tensor<int32, [1, 4, 1, 8]> y = {MARK}cast(dtype = d, x = x);",
        ),
        program(
            X,
            constant("string", "d", '"fp32"'),
            "tensor<fp32, [1, 4, 1, 8]> y = cast(dtype = d, x = x);",
        ),
    ),
    Limit(
        "a cast to int32, named in place",
        "cast_int32",
        program(X, f'tensor<int32, [1, 4, 1, 8]> y = {MARK}cast(dtype = string("int32"), x = x);'),
        program(X, 'tensor<int16, [1, 4, 1, 8]> y = cast(dtype = string("int16"), x = x);'),
    ),
    *(
        Limit(
            f"a {op} with three spatial axes",
            "conv_3d",
            program(
                "tensor<fp16, [1, 4, 2, 1, 8]> x",
                weight("tensor<fp16, [4, 4, 1, 1, 1]>"),
                f"tensor<fp16, [1, 4, 2, 1, 8]> y = {MARK}{op}(weight = w, x = x);",
            ),
            program(
                "tensor<fp16, [1, 4, 2, 8]> x",
                weight("tensor<fp16, [4, 4, 1, 1]>"),
                f"tensor<fp16, [1, 4, 2, 8]> y = {op}(weight = w, x = x);",
            ),
        )
        for op in ("conv", "conv_transpose")
    ),
    Limit(
        "a state",
        "state",
        program(f"{X}, state<tensor<fp16, [4]>> {MARK}s", RELU),
        program(f"{X}, tensor<fp16, [4]> s", RELU),
    ),
    Limit(
        "a batched product of rank 5",
        "matmul_batch",
        program(
            "tensor<fp16, [2, 3, 1, 4, 8]> a, tensor<fp16, [8, 5]> b",
            f"tensor<fp16, [2, 3, 1, 4, 5]> y = matmul(x = {MARK}a, y = b);",
        ),
        program(
            "tensor<fp16, [2, 3, 4, 8]> a, tensor<fp16, [1, 1, 1, 8, 5]> b",
            "tensor<fp16, [1, 2, 3, 4, 5]> y = matmul(x = a, y = b);",
        ),
    ),
    Limit(
        "an axis of more than 65536",
        "dimension",
        program(
            f"tensor<fp16, [1, 65537]> {MARK}x",
            "fp16 y = reduce_max(x = x);",
        ),
        program("tensor<fp16, [1, 65536]> x", "fp16 y = reduce_max(x = x);"),
    ),
    Limit(
        "a result's axis of more than 65536",
        "dimension",
        program(
            "tensor<fp16, [2, 32769]> x",
            constant("tensor<int32, [1]>", "s", "[65538]"),
            f"tensor<fp16, [65538]> {MARK}y = reshape(shape = s, x = x);",
        ),
        program(
            "tensor<fp16, [2, 32768]> x",
            constant("tensor<int32, [1]>", "s", "[65536]"),
            "tensor<fp16, [65536]> y = reshape(shape = s, x = x);",
        ),
    ),
    Limit("a kernel of width 17", "kernel_width", *conv("6, 4, 1, 17", "6, 4, 1, 16")),
    Limit(
        "a kernel of width 17 in one dimension",
        "kernel_width",
        program(
            "tensor<fp16, [1, 4, 40]> x",
            weight("tensor<fp16, [6, 4, 17]>"),
            f"tensor<fp16, [1, 6, 24]> y = conv(weight = {MARK}w, x = x);",
        ),
        program(
            "tensor<fp16, [1, 4, 40]> x",
            "tensor<fp16, [6, 4, 17]> w = constexpr_affine_dequantize()[axis = int32(0), "
            f"quantized_data = tensor<int8, [6, 4, 17]>({BLOB}), scale = fp16(0.5), zero_point = int8(0)];",
            "tensor<fp16, [1, 6, 24]> y = conv(weight = w, x = x);",
        ),
    ),
    *(
        Limit(
            f"{op} of 2049 values",
            "argmax_axis",
            program(
                "tensor<fp16, [2049, 4096]> x",
                constant("int32", "a", "-2"),
                FALSE,
                f"tensor<int32, [4096]> y = {MARK}{op}(axis = a, keep_dims = no, x = x);",
            ),
            program(
                "tensor<fp16, [2048, 4096]> x",
                constant("int32", "a", "-2"),
                FALSE,
                f"tensor<int32, [4096]> y = {op}(axis = a, keep_dims = no, x = x);",
            ),
            beside=("disputed_operation",),
        )
        for op in ("reduce_argmax", "reduce_argmin")
    ),
    Limit(
        "groups that do not divide the channels",
        "groups",
        program(
            X,
            weight("tensor<fp16, [6, 1, 1, 1]>"),
            constant("int32", "g", "3"),
            f"tensor<fp16, [1, 6, 1, 8]> y = {MARK}conv(groups = g, weight = w, x = x);",
        ),
        program(
            X,
            weight("tensor<fp16, [6, 2, 1, 1]>"),
            constant("int32", "g", "2"),
            "tensor<fp16, [1, 6, 1, 8]> y = conv(groups = g, weight = w, x = x);",
        ),
    ),
]

REFUSED = [(op, rule.id) for rule in RULES.values() for op in rule.operations]


class TestRules:
    @pytest.mark.parametrize("limit", CASES, ids=str)
    def test_a_broken_rule_is_told_at_its_place(self, limit: Limit) -> None:
        ((line, column),) = places(limit.bad)
        all_found = found(limit.bad)
        told = [f for f in all_found if f[0] not in limit.beside]
        assert [f[:3] for f in told] == [(limit.rule, line, column)]
        assert {f[0] for f in all_found} - {limit.rule} == set(limit.beside)

    @pytest.mark.parametrize("limit", CASES, ids=str)
    def test_a_program_beside_it_passes(self, limit: Limit) -> None:
        mil.parse(limit.good).verify()
        assert [f[0] for f in found(limit.good)] == list(limit.beside)

    @pytest.mark.parametrize(("op", "rule"), REFUSED)
    def test_a_refused_operation_is_told_wherever_it_stands(self, op: str, rule: str) -> None:
        text = program(X, f"tensor<fp16, [1, 4, 1, 8]> y = {MARK}{op}(x = x);")
        ((line, column),) = places(text)
        ((told, *at, message, _, malformed),) = found(text)
        assert (told, at, malformed) == (rule, [line, column], False)
        assert message.endswith(f"got {op}")
        assert found(text.replace(op, "relu")) == []

    def test_every_rule_is_tried_above(self) -> None:
        assert {limit.rule for limit in CASES} | {rule for _, rule in REFUSED} == set(RULES)

    @pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
    def test_a_rule_says_what_holds_who_says_so_and_what_to_write(
        self, rule: core_mil.LimitRule
    ) -> None:
        assert rule.rule
        assert rule.source
        assert rule.hint
        assert rule.confidence in {"several sources", "one source", "sources disagree"}
        assert set(rule.operations) <= {op.name for op in mil.ops()}
        assert repr(rule) == f"<LimitRule {rule.id}>"

    def test_no_operation_is_refused_by_two_rules(self) -> None:
        names = [op for op, _ in REFUSED]
        assert len(names) == len(set(names))

    def test_only_what_the_parser_of_the_device_trips_over_is_malformed(self) -> None:
        assert {r.id for r in RULES.values() if r.malformed} == {"build_info", "named_operands"}


class TestFindings:
    def test_come_in_text_order_with_message_and_hint(self) -> None:
        text = program(
            f"tensor<fp16, [1, ?]> {MARK}x",
            f"tensor<fp16, [1, ?]> a = {MARK}tan(x = x);",
            f"tensor<fp16, [?]> y = squeeze(axes = {MARK}tensor<int32, [1]>([0]), x = a);",
            f"tensor<fp16, [1, ?]> z = {MARK}sinh(x = {MARK}tensor<fp16, [1]>([1]));",
            outputs=f"y, {MARK}x",
        )
        told = found(text)
        assert [f[1:3] for f in told] == places(text)
        assert [f[0] for f in told] == [
            "static_shapes",
            "no_lowering",
            "named_operands",
            "no_lowering",
            "named_operands",
            "output_is_input",
        ]
        assert told[2][3:] == (
            "squeeze: expected the name of a constant for `axes`, got a list written in place",
            RULES["named_operands"].hint,
            True,
        )

    def test_what_is_unknown_is_told_once_for_every_flexible_input(self) -> None:
        text = program(
            f"tensor<fp16, [1, ?]> {MARK}a, tensor<fp16, [1, 4]> b, tensor<fp16, [?, 4]> {MARK}c",
            "tensor<fp16, [1, ?]> d = relu(x = a);",
            "tensor<fp16, [?, 4]> e = add(x = b, y = c);",
            outputs="d, e",
        )
        assert [f[:3] for f in found(text)] == [("static_shapes", *p) for p in places(text)]

    def test_every_function_is_looked_at(self) -> None:
        first = program(X, RELU).removesuffix("}\n")
        second = (
            f"func two<ios18>({X}) {{ tensor<fp16, [1, 4, 1, 8]> y = {MARK}tan(x = x); }} -> (y);"
        )
        text = f"{first}{second}\n}}\n"
        assert [f[:3] for f in found(text)] == [("no_lowering", *places(text)[0])]

    def test_nested_blocks_are_looked_at(self) -> None:
        text = program(
            f"{X}, bool p",
            f"tensor<fp16, [1, 4, 1, 8]> y = {MARK}cond(pred = p)\n"
            f"() {{ tensor<fp16, [1, 4, 1, 8]> a = {MARK}tan(x = x); }} -> (a)\n"
            "() { tensor<fp16, [1, 4, 1, 8]> b = abs(x = x); } -> (b);",
        )
        told = [("control_flow", *places(text)[0]), ("no_lowering", *places(text)[1])]
        assert [f[:3] for f in found(text)] == told

    def test_a_program_that_was_built_has_no_lines(self) -> None:
        built = mil.Program()
        x = mil.NamedType("x", "tensor<fp16, [2]>")
        function = mil.Function("main", "ios18", [x], ["y"])
        function.append(mil.Operation("tan", [("y", "tensor<fp16, [2]>")], {"x": "x"}))
        built.add_function(function)
        assert [f[:3] for f in core_mil.broken_limits(built)] == [
            ("build_info", 0, 0),
            ("no_lowering", 0, 0),
        ]

    def test_a_program_that_makes_no_sense_is_walked_all_the_same(self) -> None:
        text = program(
            "",
            "tensor<fp16, [2]> y = conv(bias = nobody, weight = gone, x = (a, b));",
            "tensor<fp16, [2]> z = matmul();",
            "tensor<fp16, [2]> c = const();",
            'tensor<int32, [2]> d = cast(dtype = string("int32"));',
            "tensor<int32, [2]> e = reduce_argmax(axis = int32(7), x = y);",
            "tensor<fp16, [2]> f = reshape(x = nobody);",
        )
        assert [f[0] for f in found(text)] == ["conv_bias", "cast_int32", "disputed_operation"]


def hand_programs() -> list[Path]:
    folder = corpus_folder()
    if folder is None:
        return []
    return [d for d in sorted((folder / "hand").iterdir()) if d.name not in MALFORMED]


@pytest.mark.parametrize("folder", hand_programs(), ids=lambda p: p.name)
def test_programs_written_for_the_device_break_no_rule(folder: Path) -> None:
    text = (folder / "model.mil").read_text(encoding="utf-8")
    assert found(text) == []


def test_the_witness_is_here() -> None:
    if corpus_folder() is None:
        pytest.skip(NO_CORPUS)
    assert len(hand_programs()) == 19


# What others exported for Core ML, which has a CPU and a GPU for what the engine refuses.
EXPORTED = {
    "real/kepur__aislos__compiled.VAEDecoder": {"conv_bias"},
    "real/tmasolo0__MacOS_Voice_Input__Resources.silero_vad": {"conv_bias", "no_lowering"},
    "real/rebeckerspecialties__mlmodelc-export__flexible-gather": {
        "cast_int32",
        "disputed_operation",
        "named_operands",
        "static_shapes",
    },
    "real/rebeckerspecialties__mlmodelc-export__quantized-constexpr": set(),
    "printed/adamsro__dtln-aec-coreml__DTLN_AEC_128_Part1": {
        "control_flow",
        "lists",
        "static_shapes",
    },
    "gen/stateful_cache": {"disputed_operation", "state"},
    "gen/lut4_ios18": set(),
    "gen/transformer_block_f16_ios18": set(),
}


@pytest.mark.parametrize("program_id", EXPORTED)
def test_programs_exported_for_core_ml_break_these(program_id: str, corpus: Path) -> None:
    text = (corpus / program_id / "model.mil").read_text(encoding="utf-8")
    told = found(text)
    assert {f[0] for f in told} == EXPORTED[program_id]
    assert all(re.match(r"\S", f[3]) and f[1] > 0 and f[2] > 0 for f in told)
