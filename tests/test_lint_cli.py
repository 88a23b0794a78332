"""`milane lint` and `milane inspect --placement`: what they print, write, and how they fail."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import milane
from lint_cases import RELU, F, X, attention, program, unary, vector
from milane import lint
from milane.cli import main
from test_ane_limits import INFO, constant, weight

BAD = program(X, f"{F} x1 = relu(x = x0);").replace(INFO, "")  # refused, and mended by --fix
CLEAN = vector(32)


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "model.mil"
        path.write_text(text)
        return path

    return write


Write = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *args: object) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of `milane lint`."""
    code = main(["lint", *map(str, args)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def run_json(capsys: Capture, *args: object) -> tuple[int, Any]:
    code, out, err = run(capsys, *args, "--format", "json")
    assert err == ""
    return code, json.loads(out)


class TestText:
    def test_a_finding_has_its_place_the_line_a_caret_and_a_hint(
        self, model: Write, capsys: Capture
    ) -> None:
        path = model(unary("softplus", ""))
        code, out, _ = run(capsys, path, "--select", "softplus_cutoff")
        lines = out.split("\n")
        assert code == 1
        assert lines[0].startswith(f"{path}:5:")
        assert "silently wrong: softplus: " in lines[0]
        assert lines[0].endswith("[softplus_cutoff]")
        assert lines[1][lines[2].index("^") :].startswith("softplus(x = x0)")
        assert "  hint: use maximum(x, softplus(x))" in lines
        assert lines[-2] == "0 refused, 1 silently wrong, 0 slow, 0 advisory"

    def test_a_clean_program_has_exit_code_0(self, model: Write, capsys: Capture) -> None:
        code, out, _ = run(capsys, model(CLEAN), "--chip", "m5")
        assert (code, out) == (0, "0 refused, 0 silently wrong, 0 slow, 0 advisory\n")

    def test_slow_and_advisory_findings_do_not_fail(self, model: Write, capsys: Capture) -> None:
        code, out, _ = run(capsys, model(vector(5)))
        assert code == 0
        assert "slow: " in out
        assert "advisory: " in out

    def test_a_chip_makes_its_rules_count(self, model: Write, capsys: Capture) -> None:
        path = model(unary("sin", ""))
        rule = ("--select", "needs_m3")
        code, out, _ = run(capsys, path, *rule)
        assert code == 0
        assert "advisory on M1, M2: sin: needs M3 or later" in out
        assert run(capsys, path, *rule, "--chip", "m2")[0] == 1
        assert run(capsys, path, *rule, "--chip", "m3")[0] == 0

    def test_ignored_rules_are_not_told(self, model: Write, capsys: Capture) -> None:
        assert run(capsys, model(BAD), "--ignore", "build_info")[0] == 0

    def test_the_rules_are_listed(self, capsys: Capture) -> None:
        code, out, _ = run(capsys, "--rules")
        assert code == 0
        assert all(f"\n  {rule.id} " in out for rule in lint.rules())
        _, report = run_json(capsys, "--rules")
        assert [r["id"] for r in report["rules"]] == [rule.id for rule in lint.rules()]
        assert report["rules"][0]["source"]


class TestJson:
    def test_has_every_field_of_a_finding(self, model: Write, capsys: Capture) -> None:
        path = model(attention(", attn_mask = m"))
        code, report = run_json(capsys, path, "--chip", "m4")
        assert code == 1
        assert list(report) == [
            *("model", "chip", "findings", "counts", "failing", "applied", "written"),
        ]
        assert (report["model"], report["chip"], report["failing"]) == (str(path), "m4", True)
        told = [f.to_dict() for f in lint.lint(path, "m4")]
        assert report["findings"] == json.loads(json.dumps(told))
        assert report["counts"]["silently wrong"] == 1
        assert (report["applied"], report["written"]) == ([], None)

    def test_is_what_json_alone_asks_for(self, model: Write, capsys: Capture) -> None:
        code, out, _ = run(capsys, model(CLEAN), "--json")
        assert (code, json.loads(out)["failing"]) == (0, False)

    def test_sarif_names_rule_level_file_and_place(self, model: Write, capsys: Capture) -> None:
        path = model(BAD)
        code, out, _ = run(capsys, path, "--format", "sarif")
        log = json.loads(out)
        assert (code, log["version"]) == (1, "2.1.0")
        (done,) = log["runs"]
        result = done["results"][0]
        assert (result["ruleId"], result["level"]) == ("build_info", "error")
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == str(path)
        assert place["region"] == {"startLine": 1, "startColumn": 1}
        assert {r["id"] for r in done["tool"]["driver"]["rules"]} >= {"build_info"}


class TestFix:
    def test_writes_the_model_in_place(self, model: Write, capsys: Capture) -> None:
        path = model(BAD)
        path.chmod(0o640)
        code, report = run_json(capsys, path, "--fix")
        assert code == 0
        assert [a["rule"] for a in report["applied"]] == ["build_info"]
        assert report["written"] == str(path)
        assert "buildInfo" in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o640
        assert list(path.parent.iterdir()) == [path]
        assert run(capsys, path)[0] == 0

    def test_writes_elsewhere_and_leaves_the_model(self, model: Write, capsys: Capture) -> None:
        path = model(BAD)
        out = path.parent / "fixed.mil"
        code, text, _ = run(capsys, path, "--fix", "-o", out)
        assert code == 0
        assert path.read_text() == BAD
        assert f"wrote {out}" in text
        assert "fixed [build_info] main: adds the dictionary (same numbers)" in text
        with milane.open("host") as runtime, runtime.compile(out) as kernel:
            x = np.full((1, 4, 1, 32), -1, np.float16)
            assert not kernel(x0=x)["x1"].any()

    def test_with_nothing_to_do_leaves_the_file_untouched(
        self, model: Write, capsys: Capture
    ) -> None:
        path = model(CLEAN)
        before = path.stat()
        code, out, _ = run(capsys, path, "--fix")
        assert code == 0
        assert "nothing to fix" in out
        after = path.stat()
        assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)

    def test_with_nothing_to_do_still_writes_the_output(
        self, model: Write, capsys: Capture
    ) -> None:
        out = model(CLEAN).with_name("out.mil")
        assert run(capsys, model(CLEAN), "--fix", "-o", out)[0] == 0
        assert out.read_text() == CLEAN

    def test_the_exit_code_is_that_of_what_is_left(self, model: Write, capsys: Capture) -> None:
        path = model(program(X, f"{F} x1 = tan(x = x0);").replace(INFO, ""))
        code, report = run_json(capsys, path, "--fix")
        assert code == 1
        assert [f["rule"] for f in report["findings"] if f["severity"] == "refused"] == [
            "no_lowering"
        ]

    def test_changes_what_it_is_allowed_to(self, model: Write, capsys: Capture) -> None:
        text = vector(5)
        assert run_json(capsys, model(text), "--fix")[1]["applied"] == []
        _, report = run_json(capsys, model(text), "--fix", "--changes", "ports")
        assert {a["rule"] for a in report["applied"]} == {"row_alignment"}
        gelu = program(
            X, constant("string", "m", '"TANH_APPROXIMATION"'), f"{F} x1 = gelu(mode = m, x = x0);"
        )
        assert run_json(capsys, model(gelu), "--fix", "--changes", "nothing")[1]["applied"] == []

    def test_a_split_weight_goes_beside_the_program(
        self, tmp_path: Path, model: Write, capsys: Capture
    ) -> None:
        writer = milane.blob.BlobWriter()
        writer.add(np.ones((70_000, 2), np.float16))
        (tmp_path / "w.bin").write_bytes(writer.build())
        text = program(
            "tensor<fp16, [1, 2]> x0",
            weight("tensor<fp16, [70000, 2]>"),
            "tensor<fp16, [1, 70000]> x1 = linear(weight = w, x = x0);",
        )
        args = ("--fix", "--changes", "ports", "--select", "dimension")
        _, report = run_json(capsys, model(text), *args)
        assert [a["rule"] for a in report["applied"]] == ["dimension"]
        with milane.open("host") as runtime, runtime.compile(tmp_path / "model.mil") as kernel:
            out = kernel(x0=np.array([[1, 2]], np.float16))
        assert [v.shape for v in out.values()] == [(1, 35_000)] * 2
        assert all((v == 3).all() for v in out.values())

    def test_a_weight_file_in_the_way_is_not_written_over(
        self, tmp_path: Path, model: Write, capsys: Capture
    ) -> None:
        writer = milane.blob.BlobWriter()
        writer.add(np.ones((70_000, 2), np.float16))
        (tmp_path / "w.bin").write_bytes(writer.build())
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "lint.bin").write_bytes(b"mine")
        text = program(
            "tensor<fp16, [1, 2]> x0",
            weight("tensor<fp16, [70000, 2]>"),
            "tensor<fp16, [1, 70000]> x1 = linear(weight = w, x = x0);",
        )
        path = model(text)
        code, _, err = run(capsys, path, "--fix", "--changes", "ports", "--select", "dimension")
        assert code == 1
        assert "lint.bin: expected no such file, got one" in err
        assert (tmp_path / "weights" / "lint.bin").read_bytes() == b"mine"
        assert path.read_text() == text

    def test_weights_that_stay_behind_are_told(
        self, tmp_path: Path, model: Write, capsys: Capture
    ) -> None:
        path = model(program(X, weight("tensor<fp16, [8]>"), RELU).replace(INFO, ""))
        (tmp_path / "sub").mkdir()
        _, out, _ = run(capsys, path, "--fix", "-o", tmp_path / "sub" / "a.mil")
        assert "weight files stay in" in out


class TestErrors:
    @pytest.mark.parametrize(
        "args",
        [
            ("--chip", "m9"),
            ("--select", "nope"),
            ("--ignore", "nope"),
            ("--format", "xml"),
            ("--changes", "all"),
        ],
        ids=" ".join,
    )
    def test_bad_usage_exits_with_2(
        self, args: tuple[str, str], model: Write, capsys: Capture
    ) -> None:
        with pytest.raises(SystemExit) as error:
            main(["lint", str(model(CLEAN)), *args])
        assert error.value.code == 2
        assert args[1] in capsys.readouterr().err

    def test_a_model_that_cannot_be_read(self, tmp_path: Path, capsys: Capture) -> None:
        code, out, err = run(capsys, tmp_path / "nowhere.mil")
        assert (code, out) == (1, "")
        assert err.startswith("error: ")
        assert "nowhere.mil" in err

    def test_text_that_does_not_parse(self, model: Write, capsys: Capture) -> None:
        code, out, err = run(capsys, model("program(1.3)\n{ func }"))
        assert (code, out) == (1, "")
        assert ":2:" in err

    def test_a_program_that_is_not_well_formed_is_a_finding_and_is_not_fixed(
        self, model: Write, capsys: Capture
    ) -> None:
        path = model(program(X, f"{F} x1 = relu(x = nobody);"))
        code, out, _ = run(capsys, path)
        assert code == 1
        assert "refused: expected a name defined before, got `nobody` [verify]" in out
        before = path.read_text()
        code, _, err = run(capsys, path, "--fix")
        assert (code, path.read_text()) == (1, before)
        assert "nobody" in err

    def test_no_model_and_output_without_fix(self, model: Write, capsys: Capture) -> None:
        assert "expected a MODEL" in run(capsys)[2]
        assert "expected --fix" in run(capsys, model(CLEAN), "-o", "x.mil")[2]

    def test_a_folder_that_is_not_there(self, model: Write, capsys: Capture) -> None:
        path = model(BAD)
        code, out, err = run(capsys, path, "--fix", "-o", path.parent / "no" / "a.mil")
        assert (code, out) == (1, "")
        assert err.startswith("error: ")
        assert path.read_text() == BAD

    def test_a_failed_write_leaves_the_model_whole(
        self, model: Write, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = model(BAD)

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", fail)
        code, _, err = run(capsys, path, "--fix")
        assert code == 1
        assert "No space left" in err
        assert path.read_text() == BAD
        assert list(path.parent.iterdir()) == [path]

    def test_a_package_is_not_written_into(self, tmp_path: Path, capsys: Capture) -> None:
        package = tmp_path / "net.mlmodelc"
        package.mkdir()
        (package / "model.mil").write_text(BAD)
        assert run(capsys, package)[0] == 1
        code, _, err = run(capsys, package, "--fix")
        assert code == 1
        assert "expected --output" in err
        assert (package / "model.mil").read_text() == BAD
        out = tmp_path / "out.mil"
        assert run(capsys, package, "--fix", "-o", out)[0] == 0
        assert "buildInfo" in out.read_text()


class TestPlacement:
    def test_inspect_tells_where_each_operation_is_expected_to_run(
        self, model: Write, capsys: Capture
    ) -> None:
        path = model(program(X, f"{F} p = tan(x = x0);", f"{F} x1 = relu(x = p);"))
        assert main(["inspect", str(path), "--placement"]) == 0
        out = capsys.readouterr().out
        assert "placement: 1 no lowering, 1 native" in out
        assert "the engine has no code for it" in out
        assert main(["inspect", str(path), "--placement", "--chip", "m1", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert [p["where"] for p in report["placement"]] == ["no lowering", "native"]

    def test_inspect_says_nothing_of_it_unasked(self, model: Write, capsys: Capture) -> None:
        assert main(["inspect", str(model(CLEAN)), "--json"]) == 0
        assert "placement" not in json.loads(capsys.readouterr().out)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_write_protected(model: Write, capsys: Capture) -> None:
    path = model(BAD)
    path.parent.chmod(0o500)
    try:
        code, _, err = run(capsys, path, "--fix")
    finally:
        path.parent.chmod(0o700)
    assert code == 1
    assert "Permission denied" in err
    assert path.read_text() == BAD
