"""The documentation: what is generated is current, what is listed exists, links lead somewhere."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import make_docs
import milane
from milane import errors, lint, mil

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))

ERROR_CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.AneError)
]


# --- generated pages


def test_generated_pages_are_up_to_date() -> None:
    stale = [path.name for path in make_docs.out_of_date()]
    assert not stale, "run tools/make_docs.py"


def test_check_fails_for_a_stale_page_and_a_run_repairs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numerics = tmp_path / "numerics.md"
    numerics.write_text(f"# Title\n\n{make_docs.QUIRKS_BEGIN}\nold\n{make_docs.QUIRKS_END}\nrest\n")
    assert make_docs.main(["--check"], tmp_path) == 1
    assert "out of date" in capsys.readouterr().out
    assert not (tmp_path / "ops.md").exists()
    assert make_docs.main([], tmp_path) == 0
    assert make_docs.main(["--check"], tmp_path) == 0
    text = numerics.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith(f"{make_docs.QUIRKS_END}\nrest\n")
    assert "old" not in text
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "ane-limits.md",
        "lint-rules.md",
        "numerics.md",
        "ops.md",
        "private-api.md",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "no marks",
        make_docs.QUIRKS_BEGIN,
        make_docs.QUIRKS_END + make_docs.QUIRKS_BEGIN,
        make_docs.QUIRKS_BEGIN + make_docs.QUIRKS_END + make_docs.QUIRKS_BEGIN,
    ],
    ids=["no marks", "no end", "wrong order", "two beginnings"],
)
def test_a_page_without_its_two_marks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        make_docs.with_quirks(text)


def test_a_failed_write_leaves_the_page_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before")

    def fail(*_: object) -> None:
        raise OSError("no rename")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no rename"):
        make_docs.write(page, "after")
    assert page.read_text() == "before"
    assert list(tmp_path.iterdir()) == [page]


def test_the_operations_page_has_one_row_per_operation() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ios\d+ \|", (DOCS / "ops.md").read_text(), re.MULTILINE)
    assert rows == sorted(op.name for op in mil.ops())


def test_every_refused_operation_has_a_reason_and_no_other_has_one() -> None:
    assert set(make_docs.REFUSED) == {op.name for op in mil.ops() if op.host == "none"}


def test_an_argument_is_written_with_its_type_and_default() -> None:
    page = (DOCS / "ops.md").read_text()
    assert "| `softmax` | ios15 | runs | `x`: T; `axis`: const int32 = -1; T: fp16 fp32 |" in page
    assert "`sort`: const bool = true @ios16" in page
    assert "| `identity` | ios15 | view | `x`: any |" in page


def test_every_quirk_rule_is_in_the_numerics_page() -> None:
    page = (DOCS / "numerics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rows == [rule.name for rule in milane.quirk_rules()]


def test_every_rule_of_the_linter_and_every_verdict_is_in_its_page() -> None:
    page = (DOCS / "lint-rules.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rows == [rule.id for rule in lint.rules()] + list(lint.verdicts())


# --- hand-written pages


@pytest.mark.parametrize("cls", ERROR_CLASSES, ids=lambda cls: cls.__name__)
def test_the_errors_page_lists_a_class_with_its_builtin(cls: type[Exception]) -> None:
    page = (DOCS / "errors.md").read_text()
    found = re.search(rf"^\| `{cls.__name__}` \| `(\w+)` \| \S", page, re.MULTILINE)
    assert found is not None
    builtins = {base.__name__ for base in cls.__mro__ if base.__module__ == "builtins"}
    assert found[1] in builtins
    own = builtins - {"Exception", "BaseException", "object"}
    assert found[1] in (own or {"Exception"})


def test_the_errors_page_lists_no_class_that_does_not_exist() -> None:
    page = (DOCS / "errors.md").read_text()
    listed = re.findall(r"^\| `(\w+Error)` \| `", page, re.MULTILINE)
    assert sorted(listed) == sorted(cls.__name__ for cls in ERROR_CLASSES)


def test_the_layout_page_gives_the_sizes_that_layouts_have() -> None:
    page = (DOCS / "layout.md").read_text()
    rows = re.findall(
        r"^\| `\[([\d, ]+)\]` \| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\w+)", page, re.M
    )
    assert len(rows) == 5
    for shape, dtype, row, stride, size, packed in rows:
        layout = milane.TensorLayout([int(d) for d in shape.split(",")], dtype)
        sizes = (layout.width * layout.elem_size, layout.row_stride, layout.alloc_size)
        assert sizes == (int(row), int(stride), int(size)), shape
        assert layout.is_packed == (packed == "yes"), shape


def test_the_index_links_every_page() -> None:
    text = (DOCS / "index.md").read_text()
    assert [p.name for p in PAGES if p.name != "index.md" and f"]({p.name})" not in text] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda p: p.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in headings(path), target


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_examples_about_many_evaluations_run_as_printed(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILANE_BACKEND", backend)
    page = (DOCS / "many.md").read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "many"}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, "many.md", "exec"), names)
    assert capsys.readouterr().out.splitlines() == [
        "[6. 6. 6.]",
        "[6. 6. 6.]",
        "[0.0, 2.0, 4.0, 6.0, 8.0]",
        "[ 0.  4.  8. 12. 16. 20.]",
        "42.0",
    ]


def test_the_example_of_the_linter_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "lint.md").read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "lint"}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, "lint.md", "exec"), names)
    (printed,) = re.findall(r"^prints\n\n```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert capsys.readouterr().out == printed


def test_the_examples_about_graphs_run_as_printed(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILANE_BACKEND", backend)
    page = (DOCS / "graph.md").read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "graph"}
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    printed = re.findall(r"^prints\n\n```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for block, expected in zip(blocks, printed, strict=True):
        exec(compile(block, "graph.md", "exec"), names)
        assert capsys.readouterr().out == expected


def test_the_linters_page_names_every_option_and_every_field() -> None:
    page = (DOCS / "lint.md").read_text(encoding="utf-8")
    options = {"--chip", "--format", "--select", "--ignore", "--rules", "--fix", "--changes"}
    assert {name for name in options if not re.search(rf"{name}\b", page)} == set()
    fields = {*lint.Finding.__dataclass_fields__, *lint.Applied.__dataclass_fields__}
    assert {name for name in fields if f"`{name}`" not in page} == set()
