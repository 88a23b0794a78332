"""The placement estimate: a verdict for every operation, and what decides against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lint_cases import F, X, conv, program, topk, unary
from milane import lint, mil
from milane._core import mil as core_mil
from program_files import corpus_programs
from test_ane_limits import constant

VERDICTS = lint.verdicts()


def where(text: str, chip: str | None = None) -> list[str]:
    return [p.where for p in lint.placement(text, chip)]


class TestVerdicts:
    def test_every_operation_has_one(self) -> None:
        assert set(VERDICTS) == {op.name for op in mil.ops()}
        assert all(v.operation == name for name, v in VERDICTS.items())
        assert all(v.reason for v in VERDICTS.values())

    def test_what_nobody_reports_is_said_to_be_so(self) -> None:
        nobody = {name for name, v in VERDICTS.items() if v.where == "not reported"}
        assert nobody == {"tensor_buffer_to_tensor", "tensor_to_tensor_buffer"}
        assert all(bool(v.source) != (n in nobody) for n, v in VERDICTS.items() if n != "const")

    def test_the_lists_have_the_lengths_of_the_sweep(self) -> None:
        # 97 reachable and right; five of them constexpr_*, which fold. softmax, cast and identity
        # are not on that list but in programs that ran.
        native = {n for n, v in VERDICTS.items() if v.where == "native"}
        assert len(native) == 97 - 5 + 3
        # 19 reachable, two of them gelu's other modes, and resample.
        assert len([v for v in VERDICTS.values() if v.where == "unchecked"]) == 19 - 2 + 1

    def test_agree_with_the_hard_limits(self) -> None:
        for rule in core_mil.limit_rules():
            for name in rule.operations:
                assert VERDICTS[name].where in ("no lowering", "refused", "disputed")
                assert VERDICTS[name].rule == rule.id
        refused = {n for rule in core_mil.limit_rules() for n in rule.operations}
        assert {n for n, v in VERDICTS.items() if v.rule} == refused

    @pytest.mark.parametrize(("name", "chip"), [("sin", "m3"), ("resize", "m2"), ("relu", "m1")])
    def test_name_the_first_chip(self, name: str, chip: str) -> None:
        assert VERDICTS[name].since == chip


class TestPlacement:
    def test_constants_are_left_out_and_the_rest_is_in_text_order(self) -> None:
        text = program(
            X,
            constant("fp16", "two", "2"),
            f"{F} p = mul(x = x0, y = two);",
            f"{F} q = tan(x = p);",
            f"{F} x1 = l2_norm(epsilon = two, x = q);",
        )
        placed = lint.placement(text)
        assert [(p.name, p.operation, p.where) for p in placed] == [
            ("p", "mul", "native"),
            ("q", "tan", "no lowering"),
            ("x1", "l2_norm", "unchecked"),
        ]
        assert [p.on_engine for p in placed] == [True, False, True]
        line = text.split("\n")[placed[1].line - 1]
        assert line[placed[1].column - 1 :].startswith("tan(")
        assert placed[1].rule == "no_lowering"
        assert placed[0].source

    def test_operands_that_are_refused_decide(self) -> None:
        text = program(
            X, 'tensor<int32, [1, 4, 1, 32]> x1 = cast(dtype = string("int32"), x = x0);'
        )
        (placed,) = lint.placement(text)
        assert (placed.where, placed.rule) == ("refused", "cast_int32")
        assert where(text.replace("int32", "fp32")) == ["native"]

    def test_a_chip_that_lacks_an_operation_decides(self) -> None:
        assert where(unary("sin", "")) == ["native"]
        assert where(unary("sin", ""), "m2") == ["refused"]
        assert where(unary("sin", ""), "m3") == ["native"]
        assert where(topk(5), "m1") == ["refused"]

    def test_a_size_decides(self) -> None:
        wide = conv("4, 4, 1, 14", "1, 4, 1, 45", "1, 4, 1, 32")
        assert where(wide, "m1") == ["refused"]
        assert where(wide, "m2") == ["native"]

    def test_a_fault_of_the_whole_program_does_not(self) -> None:
        text = unary("relu", "")
        no_info = text[: text.index("[buildInfo")] + text[text.index("{\n    func") :]
        assert where(no_info) == ["native"]

    def test_disputed_operations_are_called_so(self) -> None:
        text = program(
            "tensor<fp16, [1, 2048]> x0",
            "int32 a = const()[val = int32(1)];",
            "tensor<int32, [1, 1]> x1 = reduce_argmax(axis = a, x = x0);",
        )
        (placed,) = lint.placement(text)
        assert (placed.where, placed.rule) == ("disputed", "disputed_operation")

    def test_unheard_of_operations_are_not_reported(self) -> None:
        assert where(program(X, f"{F} x1 = unheard_of(x = x0);")) == ["not reported"]

    @pytest.mark.parametrize("file", corpus_programs("hand"), ids=lambda file: file.id)
    def test_what_was_written_for_the_device_stays_on_it(self, file) -> None:  # type: ignore[no-untyped-def]
        assert [p for p in lint.placement(file.path) if not p.on_engine] == []

    def test_takes_a_path(self, tmp_path: Path) -> None:
        path = tmp_path / "model.mil"
        path.write_text(unary("relu", ""))
        (placed,) = lint.placement(path)
        assert placed.to_dict()["operation"] == "relu"
