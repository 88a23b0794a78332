"""Rewrites of the linter: the same numbers before and after, and nothing left to fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from lint_cases import RELU, F, X, attention, layer_norm, masked, program, reduced, unary, vector
from milane import blob, lint, mil
from milane.errors import CompileError, MILVerifyError
from program_files import corpus_programs, own_programs, random_inputs
from reference import evaluate
from test_ane_limits import INFO, constant, weight
from tolerance import program_tolerance

Array = NDArray[Any]
W = "tensor<fp16, [2, 4, 1, 1]>"
W_VALUES = "[[[[1]], [[-2]], [[3]], [[4]]], [[[0.3]], [[2]], [[-0.7]], [[4]]]]"
OUT = "tensor<fp16, [1, 2, 1, 32]>"


@dataclass(frozen=True)
class Mend:
    """A program with something to mend by one rule."""

    id: str
    rule: str
    text: str
    changes: str
    chip: str | None = None
    positive: bool = False  # inputs above zero, where a root needs them

    def __str__(self) -> str:
        return self.id


def gelu(mode: str, dtype: str = "fp16") -> str:
    type_ = f"tensor<{dtype}, [1, 4, 1, 32]>"
    return program(
        f"{type_} x0", constant("string", "m", f'"{mode}"'), f"{type_} x1 = gelu(mode = m, x = x0);"
    )


def in_fp32(text: str) -> str:
    return text.replace("fp16", "fp32")


CAUSAL = "[[0, -inf, -inf, -inf], [0, 0, -inf, -inf], [0, 0, 0, -inf], [0, 0, 0, 0]]"
Q = "tensor<fp16, [1, 2, 4, 32]>"

CASES = [
    Mend("no buildInfo", "build_info", program(X, RELU).replace(INFO, ""), "nothing"),
    Mend(
        "a list in place",
        "named_operands",
        program(
            X, "tensor<fp16, [4, 32]> x1 = reshape(shape = tensor<int32, [2]>([4, 32]), x = x0);"
        ),
        "nothing",
    ),
    Mend(
        "two bools and a list in a tuple in place",
        "named_operands",
        program(
            X,
            "tensor<fp16, [1, 4, 4, 32]> p = matmul(transpose_x = bool(false), transpose_y = "
            "bool(false), x = m, y = x0);".replace(
                "x = m", "x = tensor<fp16, [4, 1]>([[1], [2], [3], [4]])"
            ),
            "tensor<fp16, [1, 4, 5, 32]> x1 = concat(axis = int32(2), interleave = bool(false), "
            "values = (p, x0));",
        ),
        "nothing",
    ),
    Mend(
        "the older dialect",
        "new_dialect",
        program(X, constant("fp16", "two", "2"), f"{F} x1 = mul(x = x0, y = two);"),
        "nothing",
        "m1",
    ),
    Mend(
        "an older opset in the newer dialect",
        "new_dialect",
        program(X, RELU).replace("ios18", "ios15"),
        "nothing",
        "m1",
    ),
    Mend(
        "a bias in the text",
        "conv_bias",
        program(
            X,
            constant(W, "w", W_VALUES),
            constant("tensor<fp16, [2]>", "b", "[0.5, -1]"),
            f"{OUT} x1 = conv(bias = b, weight = w, x = x0);",
        ),
        "rounding",
    ),
    Mend(
        "a bias of a conv in one dimension",
        "conv_bias",
        program(
            "tensor<fp16, [2, 4, 32]> x0",
            constant(
                "tensor<fp16, [1, 4, 3]>", "w", "[[[1, 2, 3], [0, 1, 0], [2, 2, 2], [1, 1, 1]]]"
            ),
            constant("tensor<fp16, [1]>", "b", "[0.5]"),
            "tensor<fp16, [2, 1, 30]> x1 = conv(bias = b, weight = w, x = x0);",
        ),
        "rounding",
    ),
    Mend(
        "a bias that is an input",
        "conv_bias",
        program(
            f"tensor<fp16, [2]> b, {X}",
            constant(W, "w", W_VALUES),
            f"{OUT} x1 = conv(bias = b, weight = w, x = x0);",
        ),
        "rounding",
    ),
    Mend("gelu without a mode", "gelu_mode", unary("gelu", ""), "nothing"),
    Mend(
        "gelu with its mode in place",
        "gelu_mode",
        unary("gelu", "", rest=', mode = string("EXACT")'),
        "nothing",
    ),
    Mend("gelu with tanh", "gelu_approximation", gelu("TANH_APPROXIMATION"), "rounding"),
    Mend("gelu with sigmoid", "gelu_approximation", gelu("SIGMOID_APPROXIMATION"), "rounding"),
    Mend(
        "gelu with tanh in fp32",
        "gelu_approximation",
        gelu("TANH_APPROXIMATION", "fp32"),
        "rounding",
    ),
    Mend(
        "gelu with sigmoid in fp32",
        "gelu_approximation",
        gelu("SIGMOID_APPROXIMATION", "fp32"),
        "rounding",
    ),
    Mend("attention with a mask", "masked_attention", attention(", attn_mask = m"), "rounding"),
    Mend(
        "attention in fp32",
        "masked_attention",
        in_fp32(attention(", attn_mask = m")),
        "rounding",
    ),
    Mend(
        "attention with a bool mask",
        "masked_attention",
        program(
            f"{Q} a, {Q} b, {Q} c",
            constant(
                "tensor<bool, [4, 4]>", "m", CAUSAL.replace("-inf", "false").replace("0", "true")
            ),
            f"{Q} x1 = scaled_dot_product_attention(attn_mask = m, key = b, query = a, value = c);",
        ),
        "rounding",
    ),
    Mend(
        "attention with an infinite mask, other lengths and a broadcast batch",
        "masked_attention",
        program(
            "tensor<fp16, [2, 3, 4, 16]> a, tensor<fp16, [2, 3, 6, 16]> b, tensor<fp16, [2, 3, 6, 8]> c",
            constant("tensor<fp16, [1, 1, 1, 6]>", "m", "[[[[0, 0, -inf, 0, -inf, 0]]]]"),
            "tensor<fp16, [2, 3, 4, 8]> x1 = scaled_dot_product_attention(attn_mask = m, key = b, "
            "query = a, value = c);",
        ),
        "rounding",
    ),
    Mend("an infinite mask", "infinite_mask", masked("-inf"), "nothing"),
    Mend(
        "an fp32 mask that is infinite in fp16",
        "infinite_mask",
        in_fp32(masked("-1e30")),
        "nothing",
    ),
    Mend(
        "an infinite mask by way of select and reshape",
        "infinite_mask",
        program(
            "tensor<fp16, [4, 4]> x0",
            constant(
                "tensor<bool, [4, 4]>", "c", CAUSAL.replace("-inf", "false").replace("0", "true")
            ),
            constant("fp16", "low", "-inf"),
            constant("tensor<int32, [3]>", "s", "[1, 4, 4]"),
            "tensor<fp16, [4, 4]> p = select(a = x0, b = low, cond = c);",
            "tensor<fp16, [1, 4, 4]> q = reshape(shape = s, x = p);",
            "tensor<fp16, [1, 4, 4]> x1 = softmax(x = q);",
        ),
        "nothing",
    ),
    *(
        Mend(
            f"{root} after a reduction{' in fp32' if dtype == 'fp32' else ''}",
            "root_after_reduction",
            reduced(
                constant("fp16", "e", "0.001"),
                "tensor<fp16, [1, 1, 1, 32]> t = add(x = r, y = e);",
                f"tensor<fp16, [1, 1, 1, 32]> q = {root}(x = t);",
                f"{F} x1 = mul(x = x0, y = q);",
            ).replace("fp16", dtype),
            "rounding",
        )
        for root in ("sqrt", "rsqrt")
        for dtype in ("fp16", "fp32")
    ),
    Mend(
        "rsqrt with an epsilon of its own after a reduction",
        "root_after_reduction",
        reduced(
            constant("fp16", "e", "2"),
            "tensor<fp16, [1, 1, 1, 32]> x1 = rsqrt(epsilon = e, x = r);",
        ),
        "rounding",
    ),
    Mend(
        "square in front of a sigmoid",
        "square_width",
        program(
            "tensor<fp16, [1, 4, 1, 96]> x0",
            "tensor<fp16, [1, 4, 1, 96]> q = square(x = x0);",
            "tensor<fp16, [1, 4, 1, 96]> x1 = sigmoid(x = q);",
        ),
        "nothing",
    ),
    Mend("silu in fp32", "silu_cast", in_fp32(unary("silu", "")), "rounding"),
    Mend(
        "concat of one value",
        "concat_inputs",
        program(X, constant("int32", "a", "1"), f"{F} x1 = concat(axis = a, values = (x0));"),
        "nothing",
    ),
]


def run(
    text: str | mil.Program, inputs: Mapping[str, Array], folder: Path | None = None
) -> dict[str, Array]:
    """The outputs on the host engine."""
    if folder is not None:
        (folder / "model.mil").write_text(str(text))
    with milane.open("host") as runtime, runtime.compile(
        folder / "model.mil" if folder else str(text)
    ) as kernel:  # fmt: skip
        return {name: np.asarray(value) for name, value in kernel(**inputs).items()}


def inputs_of(text: str, *, positive: bool = False, folder: Path | None = None) -> dict[str, Array]:
    if folder is not None:
        (folder / "model.mil").write_text(text)
    with milane.open("host") as runtime, runtime.compile(
        folder / "model.mil" if folder else text
    ) as kernel:  # fmt: skip
        return random_inputs(kernel, 3)


def assert_same(
    original: str, fixed: mil.Program, inputs: Mapping[str, Array], changes: str
) -> None:
    """To the bit, or the fixed one within its own roundings of what the original is in float64."""
    before, after = run(original, inputs), run(fixed, inputs)
    assert list(before) == list(after)
    if changes == "nothing":
        for name, value in before.items():
            np.testing.assert_array_equal(value, after[name], strict=True)
        return
    truth = evaluate(original, None, inputs, "main", {})
    _, limits = program_tolerance(str(fixed), None, inputs, "main")
    for name, value in truth.items():
        excess = np.abs(after[name].astype(np.float64) - value) - limits[name]
        assert np.all(excess <= 0), (name, excess.max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rewrite_keeps_the_numbers_and_leaves_nothing_to_fix(case: Mend) -> None:
    given = mil.parse(case.text)
    fixed = lint.fix(given, case.chip)
    assert case.rule in [done.rule for done in fixed.applied]
    assert str(given) == str(mil.parse(case.text)), "what is given stays as it is"
    changes = "nothing" if all(d.changes == "nothing" for d in fixed.applied) else "rounding"
    assert changes == case.changes
    fixed.program.verify()
    left = lint.lint(fixed.program, case.chip)
    assert case.rule not in {f.rule for f in left}
    assert [f for f in left if f.fixable and f.fix_changes != "ports"] == []
    assert_same(case.text, fixed.program, inputs_of(case.text), case.changes)


# The emulated device knows the hard limits, those of no single chip.
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_mended_runs(case: Mend, runtime: milane.Runtime) -> None:
    fixed = lint.fix(case.text, case.chip)
    inputs = inputs_of(case.text)
    with runtime.compile(str(fixed.program)) as kernel:
        results = kernel(**inputs)
    for name, value in run(fixed.program, inputs).items():
        np.testing.assert_array_equal(value, results[name])


@pytest.mark.parametrize("rule", ["conv_bias"])
def test_the_device_refuses_what_is_mended(rule: str, ane_runtime: milane.Runtime) -> None:
    for case in CASES:
        if case.rule == rule:
            with pytest.raises(CompileError):
                ane_runtime.compile(case.text)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rewrite_is_done_once(case: Mend) -> None:
    fixed = lint.fix(case.text, case.chip)
    again = lint.fix(fixed.program, case.chip)
    assert again.applied == []
    assert str(again.program) == str(fixed.program)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_finding_says_that_there_is_a_rewrite(case: Mend) -> None:
    findings = [f for f in lint.lint(case.text, case.chip) if f.rule == case.rule]
    assert findings
    assert all(f.fixable for f in findings)
    assert findings[0].fix_changes == next(r.changes for r in lint.rules() if r.id == case.rule)


def test_every_rewrite_is_tried() -> None:
    ports = {"output_is_input", "row_alignment", "dimension"}
    assert {case.rule for case in CASES} | ports == {r.id for r in lint.rules() if r.fix}


class TestConsent:
    def test_with_changes_nothing_numbers_stay(self) -> None:
        text = gelu("TANH_APPROXIMATION").replace(INFO, "")
        fixed = lint.fix(text, changes="nothing")
        assert [done.rule for done in fixed.applied] == ["build_info"]

    def test_ports_stay_without_consent(self) -> None:
        text = program(X, RELU, outputs="x1, x0")
        assert lint.fix(text).applied == []
        finding = next(f for f in lint.lint(text) if f.rule == "output_is_input")
        assert (finding.fixable, finding.fix_changes) == (True, "ports")

    def test_what_some_chips_want_is_done_for_them_or_when_asked_for(self) -> None:
        text = program(X, RELU)
        assert lint.fix(text).applied == []
        assert lint.fix(text, "m5").applied == []
        assert [d.rule for d in lint.fix(text, "m2").applied] == ["new_dialect"]
        assert [d.rule for d in lint.fix(text, select=["new_dialect"]).applied] == ["new_dialect"]

    def test_ignored_rules_are_not_mended(self) -> None:
        assert lint.fix(unary("gelu", ""), ignore=["gelu_mode"]).applied == []

    def test_a_program_that_is_not_well_formed_is_not_touched(self) -> None:
        with pytest.raises(MILVerifyError):
            lint.fix(program(X, f"{F} x1 = relu(x = nobody);"))


class TestPorts:
    def test_an_input_that_is_returned_is_copied(self) -> None:
        text = program(X, RELU, outputs="x1, x0")
        fixed = lint.fix(text, changes="ports")
        assert fixed.program["main"].outputs == ["x1", "x0_out"]
        assert [f for f in lint.lint(fixed.program) if f.failing] == []
        inputs = inputs_of(text)
        before, after = run(text, inputs), run(fixed.program, inputs)
        np.testing.assert_array_equal(before["x0"], after["x0_out"], strict=True)
        np.testing.assert_array_equal(before["x1"], after["x1"], strict=True)

    @pytest.mark.parametrize(("dtype", "width", "wide"), [("fp16", 5, 32), ("fp32", 17, 32)])
    def test_rows_are_padded(self, dtype: str, width: int, wide: int) -> None:
        text = vector(width, dtype)
        fixed = lint.fix(text, changes="ports")
        assert "row_alignment" not in {f.rule for f in lint.lint(fixed.program)}
        inputs = inputs_of(text)
        padded = np.full((1, 4, 1, wide), np.nan, inputs["x0"].dtype)
        padded[..., :width] = inputs["x0"]
        before, after = run(text, inputs)["x1"], run(fixed.program, {"x0": padded})["x1"]
        assert after.shape == (1, 4, 1, wide)
        np.testing.assert_array_equal(before, after[..., :width], strict=True)
        assert not after[..., width:].any()

    def test_every_input_and_output_of_several_is_padded(self) -> None:
        type_ = "tensor<fp16, [3, 5]>"
        text = program(
            f"{type_} a, {type_} b",
            f"{type_} s = add(x = a, y = b);",
            f"{type_} t = mul(x = s, y = b);",
            outputs="s, t",
        )
        fixed = lint.fix(text, changes="ports")
        function = fixed.program["main"]
        assert [i.type.shape for i in function.inputs] == [(3, 32)] * 2
        assert function.outputs == ["s", "t"]
        inputs = inputs_of(text)
        padded = {n: np.pad(v, ((0, 0), (0, 27))) for n, v in inputs.items()}
        before, after = run(text, inputs), run(fixed.program, padded)
        for name in before:
            np.testing.assert_array_equal(before[name], after[name][:, :5], strict=True)

    @pytest.mark.parametrize(
        "kind", ["linear", "matmul", "transposed matmul", "left matmul", "conv"]
    )
    def test_too_many_channels_become_several_outputs(self, kind: str, tmp_path: Path) -> None:
        text = classifier(kind, 131_077, tmp_path)
        fixed = lint.fix(text, changes="ports", model_folder=tmp_path, ignore=["row_alignment"])
        assert fixed.program["main"].outputs == ["x1_0", "x1_1", "x1_2"]
        assert "dimension" not in {f.rule for f in lint.lint(fixed.program)}
        inputs = inputs_of(text, folder=tmp_path)
        before = run(text, inputs, tmp_path)["x1"]
        for path, content in fixed.weights.items():
            target = tmp_path / path.removeprefix("@model_path/")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(content)
        after = run(fixed.program, inputs, tmp_path)
        axis = next(i for i, size in enumerate(before.shape) if size == 131_077)
        np.testing.assert_array_equal(
            before, np.concatenate(list(after.values()), axis), strict=True
        )

    def test_a_weight_in_the_text_is_split_there(self) -> None:
        rows = ", ".join(["[1, 2]"] * 65_537)
        text = program(
            "tensor<fp16, [1, 2]> x0",
            constant("tensor<fp16, [65537, 2]>", "w", f"[{rows}]"),
            "tensor<fp16, [1, 65537]> x1 = linear(weight = w, x = x0);",
        )
        fixed = lint.fix(text, changes="ports", ignore=["row_alignment"])
        assert fixed.weights == {}
        inputs = inputs_of(text)
        before, after = run(text, inputs)["x1"], run(fixed.program, inputs)
        assert [v.shape[1] for v in after.values()] == [32_768, 32_769]
        np.testing.assert_array_equal(before, np.concatenate(list(after.values()), 1), strict=True)

    def test_a_result_that_is_used_is_not_split(self, tmp_path: Path) -> None:
        text = classifier("linear", 70_000, tmp_path).replace(
            "    } -> (x1)",
            "        tensor<fp16, [2, 70000]> x2 = softmax(x = x1);\n    } -> (x1, x2)",
        )
        findings = lint.lint(text, select=["dimension"], model_folder=tmp_path)
        assert [f.fixable for f in findings] == [False, False]
        assert lint.fix(text, changes="ports", select=["dimension"]).applied == []

    def test_a_weight_whose_file_is_not_here_is_not_split(self, tmp_path: Path) -> None:
        text = classifier("linear", 70_000, tmp_path)
        (finding,) = lint.lint(text, select=["dimension"])
        assert not finding.fixable


def classifier(kind: str, count: int, folder: Path) -> str:
    """A product with a weight file of `count` channels, and the file."""
    rng = np.random.default_rng(1)
    bias = kind == "linear"
    shapes = {
        "linear": (count, 3),
        "matmul": (3, count),
        "transposed matmul": (count, 3),
        "left matmul": (count, 3),
        "conv": (count, 3, 1, 1),
    }
    writer = blob.BlobWriter()
    weights = rng.standard_normal(shapes[kind]).astype(np.float16)
    first = writer.offset(writer.add(weights))
    second = writer.offset(writer.add(rng.standard_normal(count).astype(np.float16)))
    (folder / "w.bin").write_bytes(writer.build())
    declared = f"tensor<fp16, {list(shapes[kind])}>"
    x, y, step = {
        "linear": ("2, 3", f"2, {count}", "linear(bias = b, weight = w, x = x0)"),
        "matmul": ("2, 3", f"2, {count}", "matmul(x = x0, y = w)"),
        "transposed matmul": ("2, 3", f"2, {count}", "matmul(transpose_y = yes, x = x0, y = w)"),
        "left matmul": ("3, 2", f"{count}, 2", "matmul(x = w, y = x0)"),
        "conv": ("1, 3, 1, 2", f"1, {count}, 1, 2", "conv(weight = w, x = x0)"),
    }[kind]
    return program(
        f"tensor<fp16, [{x}]> x0",
        constant("bool", "yes", "true"),
        weight(declared, "w", first),
        *([weight(f"tensor<fp16, [{count}]>", "b", second)] if bias else []),
        f"tensor<fp16, [{y}]> x1 = {step};",
    )


class TestWeightFiles:
    def test_a_bias_in_a_weight_file_keeps_its_bytes(self, tmp_path: Path) -> None:
        writer = blob.BlobWriter()
        first = writer.offset(writer.add(np.arange(8, dtype=np.float16).reshape(2, 4, 1, 1)))
        second = writer.offset(writer.add(np.array([0.5, -1], np.float16)))
        (tmp_path / "w.bin").write_bytes(writer.build())
        text = program(
            X,
            weight(W, "w", first),
            weight("tensor<fp16, [2]>", "b", second),
            f"{OUT} x1 = conv(bias = b, weight = w, x = x0);",
        )
        fixed = lint.fix(text, model_folder=tmp_path)
        assert [done.rule for done in fixed.applied] == ["conv_bias"]
        assert fixed.weights == {}
        inputs = inputs_of(text, folder=tmp_path)
        after = run(fixed.program, inputs, tmp_path)["x1"].astype(np.float64)
        x = inputs["x0"].astype(np.float64)
        w = np.arange(8.0).reshape(2, 4)
        truth = np.einsum("oc,nchw->nohw", w, x) + np.array([0.5, -1]).reshape(1, 2, 1, 1)
        # Two roundings to half: of the conv, and of the sum.
        largest = np.maximum(np.abs(truth), np.abs(truth) + 1.0)
        assert np.all(np.abs(after - truth) <= 2.0**-10 * largest)

    def test_an_infinite_mask_in_a_weight_file_is_raised_in_the_program(
        self, tmp_path: Path
    ) -> None:
        writer = blob.BlobWriter()
        mask = np.where(np.tri(4), 0, -np.inf).astype(np.float16)
        offset = writer.offset(writer.add(mask))
        (tmp_path / "w.bin").write_bytes(writer.build())
        text = program(
            "tensor<fp16, [4, 4]> x0",
            weight("tensor<fp16, [4, 4]>", "m", offset),
            "tensor<fp16, [4, 4]> s = add(x = x0, y = m);",
            "tensor<fp16, [4, 4]> x1 = softmax(x = s);",
        )
        assert "infinite_mask" not in {f.rule for f in lint.lint(text)}
        fixed = lint.fix(text, model_folder=tmp_path)
        assert [done.rule for done in fixed.applied] == ["infinite_mask"]
        assert lint.lint(fixed.program, select=["infinite_mask"], model_folder=tmp_path) == []
        inputs = inputs_of(text, folder=tmp_path)
        before, after = run(text, inputs, tmp_path), run(fixed.program, inputs, tmp_path)
        np.testing.assert_array_equal(before["x1"], after["x1"], strict=True)


class TestWhatIsLeft:
    @pytest.mark.parametrize(
        ("text", "rule"),
        [
            # The mask leaves the function: -40000 would show.
            (masked("-inf").replace("(x1)", "(x1, s)"), "infinite_mask"),
            # 1e-9 is 0 in half precision, and x + 1e-9 is not x for the smallest of it.
            (
                reduced(
                    constant("fp32", "e", "1e-9"),
                    "tensor<fp16, [1, 1, 1, 32]> x1 = rsqrt(epsilon = e, x = r);",
                ),
                "root_after_reduction",
            ),
            (
                program(f"bool b, {X}", RELU, outputs="x1, b"),
                "output_is_input",
            ),
        ],
    )
    def test_what_has_no_safe_rewrite_is_told_and_left(self, text: str, rule: str) -> None:
        findings = [f for f in lint.lint(text) if f.rule == rule]
        assert [f.fixable for f in findings] == [False]
        assert rule not in [d.rule for d in lint.fix(text, changes="ports").applied]

    def test_newer_operations_keep_the_newer_dialect(self) -> None:
        text = attention("")
        (finding,) = lint.lint(text, "m1", select=["new_dialect"])
        assert not finding.fixable
        assert "ios16 lacks scaled_dot_product_attention" in finding.message
        assert lint.fix(text, "m1").applied == []


@pytest.mark.parametrize(
    "file", [*own_programs(), *corpus_programs("hand", "real")], ids=lambda file: file.id
)
def test_others_programs_stay_well_formed_and_lint_clean(file: Any) -> None:
    fixed = lint.fix(file.path, "m1")
    fixed.program.verify()
    left = lint.lint(fixed.program, "m1", model_folder=file.folder)
    assert [f.rule for f in left if f.fixable and f.fix_changes != "ports"] == []


def test_layer_norms_have_no_rewrite() -> None:
    assert lint.fix(layer_norm(1024, gamma=True, beta=False), "m1", changes="nothing").applied == [
        lint.Applied("new_dialect", "main", "main", "writes program(1.0), ios16 and full scalar types", "nothing")
    ]  # fmt: skip
