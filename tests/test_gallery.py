"""The gallery of generators: complete, current, and its example runs as printed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import make_gallery
from milane import lint, mil
from milane._core import mil as core_mil

DOCS = Path(__file__).resolve().parent.parent / "docs"
GENERATORS = sorted(name for name in mil.__all__ if name.startswith("gen_"))


def test_page_and_pictures_are_up_to_date() -> None:
    stale = [path.name for path in make_gallery.out_of_date()]
    assert not stale, "run tools/make_gallery.py"


def test_every_generator_has_a_section_and_a_picture() -> None:
    page = (DOCS / "generators.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^### (gen_\w+)$", page, re.MULTILINE)) == GENERATORS
    for name in GENERATORS:
        assert f"](generators/{name}.svg)" in page
        root = ET.parse(DOCS / "generators" / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")


@pytest.mark.parametrize("name", GENERATORS)
def test_a_section_says_what_goes_in_and_comes_out(name: str) -> None:
    text, _ = make_gallery.section(name, getattr(mil, name))
    labels = re.findall(r"^- \*\*([A-Z]\w+)", text, re.MULTILINE)
    assert {"Raises", "Example", "Rules"} <= set(labels)
    assert {"Output", "Outputs"} & set(labels)
    assert {"Inputs", "State"} & set(labels)
    _, program = make_gallery.example(getattr(mil, name))
    said = text.partition("**Raises")[0]
    known = [*program.inputs, *program.outputs, *(w.name for w in program.weights)]
    # Of a numbered family, w0 stands for the others.
    known = [re.sub(r"^w\d+\.", "w0.", n) for n in known]
    missing = [n for n in known if not re.search(rf"\b{re.escape(n)}\b", said)]
    assert missing == []


# What the linter holds to be refused, at the sizes of a real model. States: ane_facts D 48, no
# direct route runs them. A root behind a reduction: D 42, one project saw it refused and another
# compiled it; the eleven operations need it, and gen_final_rmsnorm does without.
REFUSED = {
    "gen_read_state": {"state"},
    "gen_update_state": {"state"},
    "gen_rmsnorm": {"root_after_reduction"},
}
HARD_RULES_BROKEN = {"gen_read_state": {"state"}, "gen_update_state": {"state"}}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_program_of_real_sizes_breaks_no_rule_of_the_device(name: str) -> None:
    _, program = make_gallery.example(getattr(mil, name))
    broken = {rule for rule, *_ in core_mil.broken_limits(program.program)}
    assert broken == HARD_RULES_BROKEN.get(name, set())
    found = {f.rule for f in lint.lint(program) if f.severity not in ("advisory", "slow")}
    assert found == REFUSED.get(name, set())
    text = str(program)
    assert str(mil.parse(text)) == text


def test_check_finds_what_is_stale_and_a_run_repairs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_gallery.main([], tmp_path) == 0
    assert make_gallery.main(["--check"], tmp_path) == 0
    pictures = tmp_path / "generators"
    (tmp_path / "generators.md").write_text("old")
    (pictures / "gen_conv.svg").unlink()
    (pictures / "gen_that_was_removed.svg").write_text("<svg/>")
    capsys.readouterr()
    assert make_gallery.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out.count("out of date") == 3
    assert make_gallery.main([], tmp_path) == 0
    assert make_gallery.main(["--check"], tmp_path) == 0
    assert sorted(p.stem for p in pictures.iterdir()) == GENERATORS


def test_the_example_runs_as_printed(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILANE_BACKEND", backend)
    page = (DOCS / "generators.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(import numpy.*?)^```", page, re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^prints\n\n```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, "generators.md", "exec"), {"__name__": "generators"})
    assert capsys.readouterr().out == printed
