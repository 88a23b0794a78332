"""Writes the parts of the documentation that the package itself knows.

docs/ops.md comes from `milane.mil.ops()`, the table of rules in docs/numerics.md from
`milane.quirk_rules()`, docs/ane-limits.md from csrc/backend/ane_limits.cpp, docs/lint-rules.md from
`milane.lint`, and docs/private-api.md from csrc/apple/private_api.def.

    python tools/make_docs.py            # write what is out of date
    python tools/make_docs.py --check    # write nothing; exit 1 when something is
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

import milane
from milane import _core, lint, mil
from milane._core import mil as core_mil
from milane.files import write_text as write

DOCS = Path(__file__).resolve().parent.parent / "docs"

QUIRKS_BEGIN = "<!-- quirks -->"
QUIRKS_END = "<!-- end of quirks -->"

# Why the host engine refuses an operation.
_DATA_DEPENDENT = "the result's shape depends on data"
_RANDOM = "random"
_CONTROL_FLOW = "control flow"
_LISTS = "lists"
_BUFFERS = "tensor buffers"
REFUSED = {
    "classify": "labels are no tensors",
    "cond": _CONTROL_FLOW,
    "list_gather": _LISTS,
    "list_length": _LISTS,
    "list_read": _LISTS,
    "list_scatter": _LISTS,
    "list_write": _LISTS,
    "make_list": _LISTS,
    "non_maximum_suppression": _DATA_DEPENDENT,
    "non_zero": _DATA_DEPENDENT,
    "random_bernoulli": _RANDOM,
    "random_categorical": _RANDOM,
    "random_normal": _RANDOM,
    "random_uniform": _RANDOM,
    "tensor_buffer_to_tensor": _BUFFERS,
    "tensor_to_tensor_buffer": _BUFFERS,
    "while_loop": _CONTROL_FLOW,
}

_OPS_HEAD = """\
<!-- Written by tools/make_docs.py; edit csrc/mil/ops.def instead. -->
# Operations

Milane knows {count} operations of MIL. The verifier checks all of them; the `host` engine runs
{runs}, {views} of these as views (the same bytes under another shape: no work), and refuses
{refused} with `UnsupportedOpError` at compile. Refused are random numbers, shapes that depend on
data, control flow, lists, tensor buffers and labels. What a device accepts, only a device can say.

An operation has one row for all opsets: the widest element types, and every argument that any opset
has.

| in a row | means |
|---|---|
| since | the first opset that has the operation; `@ios17` behind an argument is that argument's |
| `x`: T | one of the element types the row gives for T; arguments that share a letter share it |
| const | must be known when the program is compiled |
| = 1 | may be left out, and then has this value |
| optional | may be left out; the operation decides what that means |
| tuple, list, state, buffer | takes several values, or that kind of value instead of a tensor |
| any | every element type |
| … | further arguments are accepted unchecked |

| operation | since | host | arguments |
|---|---|---|---|
"""


def ops_page() -> str:
    """The text of docs/ops.md."""
    ops = sorted(mil.ops(), key=lambda op: op.name)
    hosts = Counter(op.host for op in ops)
    head = _OPS_HEAD.format(
        count=len(ops),
        runs=len(ops) - hosts["none"],
        views=hosts["view"],
        refused=hosts["none"],
    )
    return head + _rows((f"`{op.name}`", op.since, _host_support(op), _arguments(op)) for op in ops)


def _rows(rows: Iterable[Sequence[str]]) -> str:
    """Rows of a Markdown table."""
    escaped = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)


def _host_support(op: mil.OpSchema) -> str:
    if op.host == "none":
        return f"refused: {REFUSED[op.name]}"
    return "view" if op.host == "view" else "runs"


def _arguments(op: mil.OpSchema) -> str:
    """`x`: T; `axis`: const int32 = -1; T: fp16 fp32."""
    parts = [_argument(arg) for arg in op.args]
    parts += ["…"] if op.open else []
    domains = {arg.domain: _dtypes(arg) for arg in op.args if arg.domain}
    return "; ".join(parts + [f"{letter}: {dtypes}" for letter, dtypes in domains.items()])


def _argument(arg: mil.ArgSchema) -> str:
    words = [f"`{arg.name}`:"]
    words += ["const"] if arg.constant else []
    words += ["optional"] if arg.optional and arg.default is None else []
    words += ["tuple"] if arg.variadic else []
    words += [arg.kind.removeprefix("tensor_")] if arg.kind not in ("tensor", "any") else []
    words.append(arg.domain or _dtypes(arg))
    words += [f"= {_literal(arg)}"] if arg.default is not None else []
    words += [f"@{arg.since}"] if arg.since else []
    return " ".join(words)


def _dtypes(arg: mil.ArgSchema) -> str:
    every = arg.kind == "any" or {"fp8e5m2", "uint1", "string"} <= set(arg.dtypes)
    return "any" if every else " ".join(arg.dtypes)


def _literal(arg: mil.ArgSchema) -> str:
    """A default as the page spells it; a float is an fp32 and gets as many digits as that takes."""
    value = arg.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(np.float32(value))
    return f'"{value}"' if isinstance(value, str) else str(value)


def quirks_table() -> str:
    """The table of the rules that `numerics="ane"` knows, as Markdown."""
    head = "| rule | effect | chips | source | confidence |\n|---|---|---|---|---|\n"
    return head + _rows(
        (f"`{r.name}`", r.effect, r.scope, r.source, r.confidence) for r in milane.quirk_rules()
    )


_LIMITS_HEAD = """\
<!-- Written by tools/make_docs.py; edit csrc/backend/ane_limits.cpp instead. -->
# What the device refuses

The limits that others found when they compiled programs for the device, with the widest figure of
any chip. A program that breaks one is reported not to compile; one that breaks none may still be
refused. None of this was tried by this project.

"Sources disagree" means that one source saw the operation refused and another has it as native: it
counts as refused, because a program should use what both accept.

| rule | what holds of a program that compiles | operations refused | instead | compiler's word | \
source | confidence |
|---|---|---|---|---|---|---|
"""


def limits_page() -> str:
    """The text of docs/ane-limits.md."""
    return _LIMITS_HEAD + _rows(
        (
            f"`{r.id}`",
            r.rule,
            " ".join(f"`{op}`" for op in r.operations),
            r.hint,
            "`InvalidMILProgram`" if r.malformed else "`CompilationFailure`",
            r.source,
            r.confidence,
        )
        for r in core_mil.limit_rules()
    )


_RULES_HEAD = """\
<!-- Written by tools/make_docs.py; edit python/milane/lint, or csrc/backend/ane_limits.cpp. -->
# What the linter knows

Every rule of `milane lint`: [how to use it](lint.md). *Chips*: those it was reported of; empty: not
limited to some. *Route* and *macOS*: likewise. *Against*: the other side, where sources disagree.
*Fix*: what the rewrite may change. None of this was tried by this project.

| rule | what holds | otherwise | severity | chips | route, macOS | source | confidence | \
against | instead | fix |
|---|---|---|---|---|---|---|---|---|---|---|
"""

_VERDICTS_HEAD = """
# Where operations are said to run

What `milane inspect --placement` knows of an operation by its name; its operands, its sizes and the
chip may decide otherwise. *native*: the engine has code for it, and the numbers were right.
*unchecked*: it has, and nobody says whether they are. *folds*: a constant once compiled. *no
lowering*: the engine has no code; Core ML runs it on the CPU, the private framework does not
compile it. *refused*: the compiler does not take it. *disputed*: one source each.

| operation | where | from | reason | source |
|---|---|---|---|---|
"""


def lint_page() -> str:
    """The text of docs/lint-rules.md."""
    rules = _rows(
        (
            f"`{r.id}`",
            r.rule,
            r.effect,
            r.severity,
            " ".join(chip.upper() for chip in r.chips),
            ", ".join(part for part in (r.route, r.system) if part),
            r.source,
            r.confidence,
            r.against,
            r.hint,
            f"{r.fix} (changes {r.changes})" if r.fix else "",
        )
        for r in lint.rules()
    )
    verdicts = _rows(
        (f"`{v.operation}`", v.where, v.since.upper(), v.reason, v.source)
        for v in lint.verdicts().values()
    )
    return _RULES_HEAD + rules + _VERDICTS_HEAD + verdicts


_API_HEAD = """\
<!-- Written by tools/make_docs.py; edit csrc/apple/private_api.def instead. -->
# The private framework

Every class and selector of Apple's private frameworks that the `ane` backend calls. `milane doctor`
compares a machine with this table, types included. Nothing of it is documented by Apple, and any
update of macOS may change it.

*Seen*: header dumps and listings that show it; 14 is iOS 17, the generation of macOS 14; 15 is
macOS 15.4.1; 26 is macOS 26.0; 26r was listed at run time on macOS 26.3; *bindings* means that only
generated bindings of tmc/apple show it. *Also used by*: other projects that call it, TMC tmc/apple,
MDX maderix/ANE, ORION mechramc/Orion, AINF thebasedcapital/ane-infer, ESP Espresso, AFG ANEForge,
GUIDE sbryngelson/ane-guide, ANELM ANE-LM, RUST the `ane` crate, RSTN rustane, SLV
slavko-at-klincov-it, IMP imperatormk/ane-train, OMLX jundot/omlx. *Types* are the runtime's
encodings without frame offsets; B is BOOL.

Without a required one `milane.open("ane")` raises `NoANEError` with its name; without an optional
one happens what the last column says.

| class | selector | need | types | seen | also used by | when it is absent |
|---|---|---|---|---|---|---|
"""


def private_api_page() -> str:
    """The text of docs/private-api.md."""
    return _API_HEAD + _rows(
        (
            f"`{r.cls}`",
            f"`{r.selector}`" if r.selector else "the class",
            "required" if r.required else "optional",
            f"`{r.encoding}`" if r.encoding else "",
            r.seen,
            r.users,
            r.absent,
        )
        for r in _core.inspect_framework().rows
    )


def with_quirks(page: str) -> str:
    """The text of docs/numerics.md with its table of rules renewed.

    Raises ValueError for a page without the two marks, each once and in order.
    """
    before, begin, rest = page.partition(QUIRKS_BEGIN)
    _, end, after = rest.partition(QUIRKS_END)
    if not (begin and end) or QUIRKS_BEGIN in after or QUIRKS_END in before + after:
        raise ValueError(f"expected {QUIRKS_BEGIN} and then {QUIRKS_END}, once each")
    return f"{before}{QUIRKS_BEGIN}\n\n{quirks_table()}\n{QUIRKS_END}{after}"


def pages(docs: Path = DOCS) -> dict[Path, str]:
    """Every page that is written here, wholly or in part, with the text it should have."""
    numerics = docs / "numerics.md"
    return {
        docs / "ops.md": ops_page(),
        docs / "ane-limits.md": limits_page(),
        docs / "lint-rules.md": lint_page(),
        docs / "private-api.md": private_api_page(),
        numerics: with_quirks(numerics.read_text(encoding="utf-8")),
    }


def out_of_date(docs: Path = DOCS) -> list[Path]:
    """The pages whose text is not what it should be."""
    return [path for path, text in pages(docs).items() if _current(path) != text]


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(argv: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    """The exit code: 1 when `--check` found a page out of date."""
    parser = argparse.ArgumentParser(description="Write docs/ops.md and the rules of numerics.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    check = parser.parse_args(argv).check
    stale = out_of_date(docs)
    for path in stale:
        if not check:
            write(path, pages(docs)[path])
        print(f"{path}: {'out of date: run tools/make_docs.py' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
