"""The linter: every rule at its place, both sides of what is disputed, and speed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import milane
import test_ane_limits
from lint_cases import CASES, RELU, Case, F, X, attention, branches, program, unary, vector
from milane import lint, mil
from milane._core import mil as core_mil
from milane.errors import InvalidArgumentError, MILSyntaxError, ModelFileError
from milane.graph import ops
from milane.lint.rule import CHANGES, SEVERITIES
from program_files import corpus_programs, own_programs
from test_ane_limits import MARK, Limit, constant, places

RULES = {rule.id: rule for rule in lint.rules()}
LIMITS = {rule.id for rule in core_mil.limit_rules()}


def told(text: str, rule: str, chip: str | None = None) -> list[lint.Finding]:
    return lint.lint(text.replace(MARK, ""), chip, select=[rule])


class TestRules:
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_what_it_looks_for_is_told_at_its_place(self, case: Case) -> None:
        ((line, column),) = places(case.bad)
        (finding,) = told(case.bad, case.rule, case.chip)
        assert (finding.line, finding.column, finding.count) == (line, column, case.count)
        assert finding.severity == RULES[case.rule].severity
        assert finding.message
        assert "\n" not in finding.message

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_a_program_beside_it_passes(self, case: Case) -> None:
        mil.parse(case.good).verify()
        assert told(case.good, case.rule, case.chip) == []

    @pytest.mark.parametrize("case", [c for c in CASES if c.rule != "verify"], ids=str)
    def test_programs_that_break_a_rule_are_well_formed(self, case: Case) -> None:
        mil.parse(case.bad.replace(MARK, "")).verify()

    @pytest.mark.parametrize("case", [c for c in CASES if c.chip], ids=str)
    def test_a_rule_of_some_chips_is_not_told_of_others(self, case: Case) -> None:
        chips = RULES[case.rule].chips
        assert case.chip in chips
        for chip in lint.CHIPS:
            assert bool(told(case.bad, case.rule, chip)) == (chip in chips)

    @pytest.mark.parametrize("case", [c for c in CASES if c.chip], ids=str)
    def test_a_rule_of_some_chips_is_advice_while_none_is_chosen(self, case: Case) -> None:
        failing = RULES[case.rule].severity in ("refused", "silently wrong")
        everything = lint.lint(case.bad.replace(MARK, ""))
        found = [f.severity for f in everything if f.rule == case.rule]
        assert found == (["advisory"] if failing else [])

    def test_every_rule_has_such_programs(self) -> None:
        assert {case.rule for case in CASES} | LIMITS == set(RULES)

    @pytest.mark.parametrize("limit", test_ane_limits.CASES, ids=str)
    def test_hard_limits_are_told_as_the_device_tells_them(self, limit: Limit) -> None:
        program = mil.parse(limit.bad.replace(MARK, ""))
        findings = lint.lint(program, select=LIMITS)
        assert [(f.rule, f.line, f.column, f.message, f.hint) for f in findings] == [
            found[:5] for found in core_mil.broken_limits(program)
        ]
        assert all(f.failing for f in findings)

    @pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
    def test_a_rule_says_what_holds_what_happens_who_says_so_and_what_to_write(
        self, rule: lint.Rule
    ) -> None:
        assert rule.rule
        assert rule.effect
        assert rule.source
        assert rule.hint
        assert rule.severity in SEVERITIES
        assert set(rule.chips) <= set(lint.CHIPS)
        assert list(rule.chips) == sorted(rule.chips)
        assert rule.confidence in ("official", "several sources", "one source", "sources disagree")
        assert bool(rule.fix) == bool(rule.changes)
        assert rule.changes in ("", *CHANGES)

    @pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
    def test_contradicted_claims_give_both_sides(self, rule: lint.Rule) -> None:
        assert bool(rule.against) == (rule.confidence == "sources disagree")

    def test_a_name_is_given_once(self) -> None:
        assert len(RULES) == len(lint.rules())

    def test_no_fact_is_told_by_a_hard_limit_and_by_another_rule(self) -> None:
        # 47: fp32 is let pass by the limit on bf16; 52 to 54: wider figures for later chips.
        own = {n for rule in RULES.values() if rule.id not in LIMITS for n in rule.facts}
        hard = {n for rule in RULES.values() if rule.id in LIMITS for n in rule.facts}
        assert own & hard <= {47, 52, 54, 56}


# Rows of the facts' section D that no program shows: why.
NOT_SEEN = {
    12: "what works: several functions",
    15: "the weight file's own codes: milane.blob checks them",
    17: "the weights' dictionary, which Milane writes",
    18: "faults of other tools' weight files: milane.blob checks them",
    19: "a consequence of 18",
    20: "what works",
    27: "where memory is counted",
    39: "what works",
    64: "how sums are rounded: the host engine's numerics",
    67: "the range of half precision, on any machine",
    72: "what holds: the same bits again",
    74: "advice to a training loop",
    **dict.fromkeys(range(75, 87), "the process and the system, not the program"),
}


def test_every_row_of_the_facts_is_a_rule_or_is_said_to_be_none() -> None:
    seen = {n for rule in RULES.values() for n in rule.facts}
    assert seen & set(NOT_SEEN) == set()
    assert seen | set(NOT_SEEN) == set(range(1, 87))


class TestFindings:
    def test_come_in_text_order(self) -> None:
        text = program(
            X, f"{F} a = softplus(x = x0);", f"{F} b = tan(x = a);", f"{F} x1 = log(x = b);"
        )
        findings = lint.lint(text)
        assert [(f.line, f.column) for f in findings] == sorted(
            (f.line, f.column) for f in findings
        )
        assert {"softplus_cutoff", "no_lowering", "log_zero"} <= {f.rule for f in findings}

    def test_name_the_value_the_function_and_the_source(self) -> None:
        (finding,) = told(attention(", attn_mask = m"), "masked_attention")
        assert (finding.name, finding.function) == ("x1", "main")
        assert (finding.severity, finding.failing) == ("silently wrong", True)
        assert (finding.fixable, finding.fix_changes) == (True, "rounding")
        assert "maderix/ANE" in finding.source
        assert finding.confidence == "several sources"

    def test_what_many_programs_have_is_told_once_with_its_count(self) -> None:
        text = program(
            X, constant("int32", "a", "1"), f"{F} p = relu(x = x0);",
            *(f"tensor<fp16, [1, 8, 1, 32]> q{i} = concat(axis = a, values = (p, x0));" for i in range(5)),
            outputs="q0",
        )  # fmt: skip
        (finding,) = told(text, "no_concat")
        assert (finding.count, finding.line) == (5, 7)
        assert finding.confidence == "sources disagree"
        assert "tmc/apple" in finding.against
        assert "Orion" in finding.source

    def test_every_function_is_looked_at(self) -> None:
        first = program(X, RELU).removesuffix("}\n")
        text = f"{first}func two<ios18>({X}) {{ {F} x1 = softplus(x = x0); }} -> (x1);\n}}\n"
        (finding,) = told(text, "softplus_cutoff")
        assert finding.function == "two"

    def test_nested_blocks_are_looked_at(self) -> None:
        text = program(
            f"{X}, bool p",
            f"{F} x1 = cond(pred = p)\n"
            f"() {{ {F} a = {MARK}softplus(x = x0); }} -> (a)\n"
            f"() {{ {F} b = abs(x = x0); }} -> (b);",
        )
        (finding,) = told(text, "softplus_cutoff")
        assert [(finding.line, finding.column)] == places(text)

    def test_of_a_built_program_point_into_its_text(self) -> None:
        built = mil.Program()
        function = mil.Function("main", "ios18", [("x0", F)], ["x1"])
        function.append(mil.Operation("softplus", [("x1", F)], {"x": "x0"}))
        built.add_function(function)
        (finding,) = lint.lint(built, select=["softplus_cutoff"])
        line = str(built).split("\n")[finding.line - 1]
        assert line[finding.column - 1 :].startswith("softplus(")

    def test_of_an_edited_program_point_into_its_text(self) -> None:
        edited = mil.parse(program(X, RELU))
        edited["main"].insert(0, mil.Operation("softplus", [("s", F)], {"x": "x0"}))
        (finding,) = lint.lint(edited, select=["softplus_cutoff"])
        line = str(edited).split("\n")[finding.line - 1]
        assert line[finding.column - 1 :].startswith("softplus(")

    def test_a_program_that_makes_no_sense_is_walked_all_the_same(self) -> None:
        text = program(
            "",
            "tensor<fp16, [2]> y = conv(bias = nobody, weight = gone, x = (a, b));",
            "tensor<fp16, [2]> z = matmul();",
            "tensor<fp16, [2]> s = softmax(axis = int32(7), x = y);",
            "tensor<fp16, [2]> l = layer_norm(axes = tensor<int32, [1]>([9]), x = y);",
            "tensor<fp16, [2]> g = gelu(mode = int32(1));",
            "tensor<fp16, [2]> t = slice_by_index();",
            "tensor<fp16, [2]> c = const();",
            "tensor<fp16, [2]> d = concat();",
            "tensor<fp16, [2]> e = unheard_of(x = y);",
        )
        for chip in (None, *lint.CHIPS):
            assert {"verify", "conv_bias", "concat_inputs"} <= {
                f.rule for f in lint.lint(text, chip)
            }

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_a_program_whose_operands_are_wrong_is_walked_all_the_same(self, case: Case) -> None:
        text = case.bad.replace(MARK, "")
        wrong = (
            None,
            "nobody",
            "x0",
            mil.Value("int32(-7)"),
            mil.Value("tensor<bool, [1]>([true])"),
        )
        for f, op, argument in _arguments(mil.parse(text)):
            for instead in wrong:
                changed = mil.parse(text)
                operation = changed.functions[f].operations[op]
                if instead is None:
                    operation.remove_input(argument)
                else:
                    operation.set_input(argument, instead)
                lint.lint(changed, case.chip, select=[case.rule])

    def test_are_plain_data(self) -> None:
        (finding,) = told(unary("softplus", ""), "softplus_cutoff")
        as_dict = finding.to_dict()
        assert as_dict["rule"] == "softplus_cutoff"
        assert as_dict["chips"] == []
        assert set(as_dict) == set(lint.Finding.__dataclass_fields__)

    def test_are_printed_with_the_line_and_a_caret(self) -> None:
        text = unary("softplus", "")
        (finding,) = lint.lint(text, select=["softplus_cutoff"])
        shown = lint.format_finding(finding, "a.mil", text).split("\n")
        assert shown[0].startswith(f"a.mil:{finding.line}:{finding.column}: silently wrong: ")
        assert shown[1][shown[2].index("^") :].startswith("softplus(")
        assert any(line.startswith("  reported: softplus is 0 from 11.09 on") for line in shown)

    def test_in_long_lines_show_the_part_around_the_place(self) -> None:
        names = ", ".join(f"{F} x{i}" for i in range(60))
        text = program(names + f", {F} mean", f"{F} x100 = relu(x = mean);", outputs="x100")
        (finding,) = lint.lint(text, "m1", select=["reserved_names"])
        shown = lint.format_finding(finding, "a.mil", text).split("\n")
        assert len(shown[1]) <= 104
        assert shown[1][shown[2].index("^") :].startswith("mean")

    def test_tell_of_stored_weights_that_are_not_finite(self) -> None:
        graph = milane.Graph()
        weight = np.ones((8, 4, 1, 1), np.float32)
        conv = graph.op(
            "conv",
            x=graph.input("x", (1, 4, 1, 8)),
            weight=graph.weight("w", weight.shape, data=weight),
        )
        graph.output("y", conv)
        assert lint.lint(graph, select=["non_finite_weight"]) == []
        weight[3, 2], weight[5, 0] = 1e6, np.nan  # beyond fp16, and no number at all
        (finding,) = lint.lint(graph, select=["non_finite_weight"])
        assert finding.severity == "advisory"
        assert "got 2 others, first at [3, 2, 0, 0]" in finding.message


class TestBothSides:
    @pytest.mark.parametrize(
        ("text", "rule", "one", "other"),
        [
            (branches(2), "no_concat", "Orion", "maderix/ANE"),
            (vector(5), "row_alignment", "rustane", "tmc/apple"),
            (
                program(f"{X}, state<tensor<fp16, [4]>> s", RELU),
                "state",
                "refused by ane-guide",
                "native in ane-guide appendix A",
            ),
        ],
    )
    def test_a_disputed_finding_prints_who_says_what(
        self, text: str, rule: str, one: str, other: str
    ) -> None:
        finding = next(f for f in lint.lint(text) if f.rule == rule)
        shown = lint.format_finding(finding, "a.mil", text)
        assert "sources disagree" in shown
        assert one in shown
        assert other in shown

    def test_the_scope_is_told(self) -> None:
        case = next(c for c in CASES if c.rule == "tile")
        (finding,) = told(case.bad, "tile", "m3")
        assert finding.chips == ("m3",)
        assert RULES["tile"].system == "26.3.1"
        assert "on M3: " in lint.format_finding(finding, "a.mil", case.bad)


class TestSources:
    def test_text_bytes_program_path_and_whatever_prints_as_a_program(self, tmp_path: Path) -> None:
        text = unary("softplus", "")
        path = tmp_path / "model.mil"
        path.write_text(text)

        class Built:
            def __str__(self) -> str:
                return text

        sources = (text, text.encode(), mil.parse(text), path, str(path), Built())
        findings = [lint.lint(source) for source in sources]
        assert all(f == findings[0] for f in findings)
        assert findings[0]

    def test_a_program_of_the_builder_with_weights_that_are_no_file_yet(self) -> None:
        text = program(
            "tensor<fp16, [2, 2]> x0",
            test_ane_limits.weight("tensor<fp16, [2, 2]>", "m"),
            "tensor<fp16, [2, 2]> s = add(x = x0, y = m);",
            "tensor<fp16, [2, 2]> x1 = softmax(x = s);",
        )
        for lowest, found in ((-np.inf, ["infinite_mask"]), (-4e4, [])):
            mask = np.array([[0, lowest], [0, 0]], np.float32)
            built = mil.MILProgram(mil.parse(text), {"m": mask})
            assert [f.rule for f in lint.lint(built, select=["infinite_mask"])] == found
            assert [d.rule for d in lint.fix(built).applied] == found

    def test_a_graph(self) -> None:
        graph = milane.Graph()
        x = graph.input("x0", (1, 4, 1, 32))
        graph.output("x1", ops.softplus(x))
        (finding,) = lint.lint(graph, select=["softplus_cutoff"])
        assert finding.name == "x1"

    def test_what_is_no_program_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidArgumentError, match="expected a program"):
            lint.lint(3)
        with pytest.raises(MILSyntaxError) as error:
            lint.lint("program(1.3)\n{ func }")
        assert error.value.line == 2
        with pytest.raises(ModelFileError):
            lint.lint(tmp_path / "nowhere.mil")

    def test_unknown_chips_and_rules_are_refused(self) -> None:
        text = program(X, RELU)
        with pytest.raises(InvalidArgumentError, match="expected a chip of m1, m2.*got 'm9'"):
            lint.lint(text, "m9")
        with pytest.raises(InvalidArgumentError, match="expected the name of a rule, got 'nope'"):
            lint.lint(text, select=["nope"])
        with pytest.raises(InvalidArgumentError, match="expected the name of a rule, got 'nope'"):
            lint.lint(text, ignore=["nope"])
        with pytest.raises(InvalidArgumentError, match="expected changes of nothing"):
            lint.fix(text, changes="all")  # type: ignore[arg-type]

    def test_select_and_ignore(self) -> None:
        text = branches(12)
        every = {f.rule for f in lint.lint(text, "m1")}
        assert {f.rule for f in lint.lint(text, "m1", ignore=["wide_join"])} == every - {
            "wide_join"
        }
        assert {f.rule for f in lint.lint(text, "m1", select=["wide_join"])} == {"wide_join"}


class TestWeightFiles:
    def test_a_record_that_is_not_where_the_text_says_is_told(self, tmp_path: Path) -> None:
        from milane import blob  # noqa: PLC0415

        writer = blob.BlobWriter()
        writer.add([1.0] * 64, "fp16")
        (tmp_path / "w.bin").write_bytes(writer.build())
        good = program(X, test_ane_limits.weight("tensor<fp16, [64]>"), RELU)
        assert lint.lint(good, select=["blob_offset"], model_folder=tmp_path) == []
        bad = good.replace("uint64(64)", "uint64(128)")
        (finding,) = lint.lint(bad, select=["blob_offset"], model_folder=tmp_path)
        assert "expected a record at 128" in finding.message
        other = good.replace("fp16, [64]", "fp32, [64]")
        (finding,) = lint.lint(other, select=["blob_offset"], model_folder=tmp_path)
        assert finding.message.endswith("expected a record at 64, got fp16")
        assert lint.lint(bad, select=["blob_offset"]) == []


class TestOthersPrograms:
    @pytest.mark.parametrize("file", corpus_programs("hand"), ids=lambda file: file.id)
    def test_what_was_written_for_the_device_is_not_refused(self, file) -> None:  # type: ignore[no-untyped-def]
        # By their authors' word for M4; what older chips lack is no fault of theirs.
        for chip in (None, "m4"):
            assert [f for f in lint.lint(file.path, chip) if f.failing] == []

    @pytest.mark.parametrize(
        "file",
        [*own_programs(), *corpus_programs("real", "printed", "gen")],
        ids=lambda file: file.id,
    )
    def test_any_program_is_linted_for_any_chip(self, file) -> None:  # type: ignore[no-untyped-def]
        program = mil.load(file.path)
        lines = program.source.split("\n")
        for chip in (None, *lint.CHIPS):
            for finding in lint.lint(program, chip):
                assert 1 <= finding.line <= len(lines)
                assert 1 <= finding.column <= len(lines[finding.line - 1]) + 1


def test_a_thousand_operations_take_less_than_a_tenth_of_a_second() -> None:
    body = [f"{F} x{i + 1} = relu(x = x{i});" for i in range(1000)]
    parsed = mil.parse(program(X, *body, outputs="x1000"))
    best = min(_seconds(parsed) for _ in range(5))
    assert best < 0.1


def _seconds(parsed: mil.Program) -> float:
    start = time.perf_counter()
    lint.lint(parsed)
    return time.perf_counter() - start


def test_vectors_of_a_whole_row_are_clean() -> None:
    assert lint.lint(vector(32), "m5") == []


def _arguments(parsed: mil.Program) -> list[tuple[int, int, str]]:
    """The first forty arguments: function, operation, name."""
    found = [
        (f, i, name)
        for f, function in enumerate(parsed.functions)
        for i, op in enumerate(function.operations)
        for name in op.inputs
    ]
    return found[:40]
