"""lint(): hold a program against the rules. fix(): mend what has a safe rewrite."""

from __future__ import annotations

import bisect
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy.typing as npt

import milane._core.mil as _mil
from milane import mil
from milane.errors import AneError, InvalidArgumentError
from milane.lint.edit import Editor
from milane.lint.fixes import FIXES
from milane.lint.report import Applied, Finding
from milane.lint.rule import CHANGES, CHIPS, FAILING, SEVERITIES, Changes, Chip, Hit, Rule
from milane.lint.rules import VERIFY, by_id, chosen
from milane.lint.view import FunctionView, Node, ProgramView
from milane.mil.program import is_text

# A rewrite may give ground for another: a bool mask decomposed, then its constant made finite.
_ROUNDS = 50


class Subject(NamedTuple):
    """A program whose every operation has a place in its text."""

    program: mil.Program
    model_folder: str | None = None
    data: Mapping[str, npt.NDArray[Any]] | None = None  # weights that are no file yet


class Fixed(NamedTuple):
    """What fix() returns: the program, what was done, and weight files that this made.

    Attributes:
        program: the rewritten program, parsed from its own text.
        applied: the rewrites in the order in which they were made.
        weights: weight files that the program needs now beside its others, by their path in the
            text; empty unless a weight from a file was split.
    """

    program: mil.Program
    applied: list[Applied]
    weights: dict[str, bytes]


def subject(source: Any, model_folder: str | os.PathLike[str] | None = None) -> Subject:
    """The program to look at: `source` is whatever lint() takes.

    A program that was built or edited is printed and parsed, so that findings have places.
    """
    folder = None if model_folder is None else os.fspath(model_folder)
    if not isinstance(source, mil.MILProgram) and callable(getattr(source, "program", None)):
        source = source.program()  # a graph
    if isinstance(source, mil.Program):
        return Subject(_placed(source), folder)
    if isinstance(source, mil.MILProgram):
        return Subject(_placed(source.program), folder, source.data)
    if isinstance(source, bytes):
        return Subject(mil.parse(source), folder)
    if isinstance(source, str) and is_text(source):
        return Subject(mil.parse(source), folder)
    if isinstance(source, str | os.PathLike):
        found = mil.read_source(source)
        return Subject(mil.parse(found.text, found.name), folder or found.model_folder)
    text = str(source)
    if not text.lstrip().startswith(("program", "//", "#", "/*")):
        raise InvalidArgumentError(
            f"lint: expected a program, its text or a path, got {type(source).__name__}"
        )
    return Subject(mil.parse(text), folder)


def _placed(program: mil.Program) -> mil.Program:
    from_text = bool(program.source) and all(
        op.line for function in program.functions for op in _operations(function)
    )
    return program if from_text else mil.parse(str(program))


def _operations(block: mil.Function | mil.Block) -> Iterator[mil.Operation]:
    for op in block.operations:
        yield op
        for nested in op.blocks:
            yield from _operations(nested)


def checked_chip(chip: str | None) -> Chip | None:
    """The chip of that name; None for none.

    Raises:
        InvalidArgumentError: there is no chip of that name.
    """
    if chip is None:
        return None
    if chip not in CHIPS:
        raise InvalidArgumentError(f"lint: expected a chip of {', '.join(CHIPS)}, got {chip!r}")
    return chip


def lint(
    program: Any,
    chip: str | None = None,
    *,
    select: Collection[str] | None = None,
    ignore: Collection[str] = (),
    model_folder: str | os.PathLike[str] | None = None,
) -> list[Finding]:
    """Everything that is reported against a program on the device, in text order.

    Nothing here was tried on a device: each rule says who reports it and how sure that is. Without
    a chip, what only some chips refuse or get wrong is ``"advisory"``, and other rules of some
    chips do not count; with one, rules of other chips do not. Positions are in the program's own
    text, or in ``str(program)`` when it was built or edited.

    Args:
        program: a :class:`milane.mil.Program` or :class:`milane.mil.MILProgram`, a
            :class:`milane.Graph`, MIL text, a path to a ``.mil`` file or a ``.mlmodelc``, or
            anything whose ``str()`` is MIL text.
        chip: ``"m1"`` to ``"m5"``.
        select: names of the rules that count; None: all.
        ignore: names of rules that do not.
        model_folder: where ``@model_path`` is; a path's own folder by default. Masks in weight
            files are looked at where it is known.

    Raises:
        MILSyntaxError: the text does not parse.
        ModelFileError: the path names no readable program.
        InvalidArgumentError: an unknown chip or rule, or something that is no program.
    """
    names = chosen(select, ignore)
    known_chip = checked_chip(chip)
    target = subject(program, model_folder)
    found = broken_rules(ProgramView(*target), known_chip, names, select)
    return [_finding(rule, hits, known_chip, select) for rule, hits in found]


def broken_rules(
    view: ProgramView,
    chip: Chip | None,
    names: frozenset[str],
    select: Collection[str] | None = None,
) -> list[tuple[Rule, list[Hit]]]:
    """Rules that do not hold, with their places: all of a rule told once, else one by one."""
    told: list[tuple[Rule, list[Hit]]] = []
    told += [(VERIFY, [hit]) for hit in _verify(view) if VERIFY.id in names]
    told += [(rule, [hit]) for rule, hit in _limits(view) if rule.id in names]
    for rule in by_id().values():
        if rule.check is None or rule.id not in names:
            continue
        if not _concerns(rule, chip, select):
            continue
        hits = [hit for f in view.functions for hit in rule.check(f)]
        if rule.once and hits:
            told.append((rule, sorted(hits, key=_place)))
        else:
            told += [(rule, [hit]) for hit in hits]
    return sorted(told, key=lambda item: _place(item[1][0]))


def _meant(rule: Rule, chip: Chip | None, select: Collection[str] | None) -> bool:
    return chip is not None or rule.id in (select or ())


def _concerns(rule: Rule, chip: Chip | None, select: Collection[str] | None) -> bool:
    """Whether a rule counts for a chip. Advice on some chips is told when one of them is named."""
    if not rule.chips or chip in rule.chips:
        return True
    return chip is None and (rule.severity in FAILING or _meant(rule, chip, select))


def _place(hit: Hit) -> tuple[int, int]:
    return hit.place.line, hit.place.column


class _Point(NamedTuple):
    line: int
    column: int


def _verify(view: ProgramView) -> Iterator[Hit]:
    try:
        view.program.verify()
    except AneError as error:
        place = _Point(error.line or 0, error.column or 0)
        lines = str(error).split("\n", 1)[0]
        told = lines.split(": ", 1)[1] if error.line else lines
        yield Hit(told, place, "", view.functions[0] if view.functions else _nowhere(view))


def _nowhere(view: ProgramView) -> FunctionView:
    return FunctionView(view, mil.Function("main"))


def _limits(view: ProgramView) -> Iterator[tuple[Rule, Hit]]:
    """The hard limits that the program breaks, each at the operation it is told of."""
    found = _mil.broken_limits(view.program)
    if not found:
        return
    places = [(at, f, node, name) for f in view.functions for at, node, name in _positions(f)]
    places.sort(key=lambda entry: entry[0])
    keys = [entry[0] for entry in places]
    rules = by_id()
    for id_, line, column, message, _, _ in found:
        index = bisect.bisect_right(keys, (line, column)) - 1
        _, f, node, name = places[max(index, 0)] if places else ((), _nowhere(view), None, "")
        if id_ == "build_info":
            node, name = None, ""
        elif id_ == "output_is_input":
            node, name = None, message.rsplit("`", 2)[1]
        yield rules[id_], Hit(message, _Point(line, column), name, f, node, _mendable(id_, f, name))


def _mendable(id_: str, f: FunctionView, name: str) -> bool:
    return id_ != "output_is_input" or f.dtype(name) in ("fp16", "fp32", "int32")


def _positions(f: FunctionView) -> Iterator[tuple[tuple[int, int], Node | None, str]]:
    """Where the text turns to something: an input, a result, an operation."""
    yield (f.function.line, f.function.column), None, f.function.name
    for value in f.inputs.values():
        yield (value.line, value.column), None, value.name
    for node in f.nodes:
        for out in node.outputs:
            yield (out.line, out.column), node, out.name
        yield (node.op.line, node.op.column), node, node.name


def _fixable(rule: Rule, hit: Hit, *, meant: bool) -> bool:
    """Whether fix() mends it. What some chips want is mended for a chip, or when asked for."""
    found = FIXES.get(rule.id)
    wanted = meant or not rule.chips
    return found is not None and wanted and hit.fixable and found.can(hit)


def _finding(
    rule: Rule, hits: list[Hit], chip: Chip | None, select: Collection[str] | None
) -> Finding:
    hit = hits[0]
    fixable = _fixable(rule, hit, meant=_meant(rule, chip, select))
    return Finding(
        rule=rule.id,
        severity="advisory" if rule.chips and chip is None else rule.severity,
        line=hit.place.line,
        column=hit.place.column,
        name=hit.name,
        function=hit.function.function.name,
        message=hit.message,
        effect=rule.effect,
        hint=rule.hint,
        fixable=fixable,
        fix_changes=FIXES[rule.id].changes if fixable else None,
        chips=rule.chips,
        source=rule.source,
        confidence=rule.confidence,
        against=rule.against,
        count=len(hits),
    )


def fix(
    program: Any,
    chip: str | None = None,
    *,
    changes: Changes = "rounding",
    select: Collection[str] | None = None,
    ignore: Collection[str] = (),
    model_folder: str | os.PathLike[str] | None = None,
) -> Fixed:
    """The program with every finding mended that has a safe rewrite, and what was done.

    What is given stays as it is. The result computes the same: to the bit, or within the rounding
    of the operations that were put in another's place. Rules of some chips are mended only when
    that chip is named, or when they are selected by name.

    Args:
        program, chip, select, ignore, model_folder: as :func:`lint`.
        changes: what rewrites may change: ``"nothing"``, numbers by ``"rounding"``, or also
            ``"ports"``: names and shapes of inputs and outputs.

    Returns:
        ``(program, applied, weights)``: see :class:`Fixed`.

    Raises:
        MILVerifyError: the program is not well formed.
        MILSyntaxError, ModelFileError, InvalidArgumentError: as :func:`lint`.
    """
    if changes not in CHANGES:
        raise InvalidArgumentError(
            f"fix: expected changes of {', '.join(CHANGES)}, got {changes!r}"
        )
    names = chosen(select, ignore)
    known_chip = checked_chip(chip)
    target = subject(program, model_folder)
    target.program.verify()
    edit = Editor(target.program.copy())
    applied: list[Applied] = []
    allowed = CHANGES[: CHANGES.index(changes) + 1]
    for _ in range(_ROUNDS):
        edit.start(mil.parse(str(edit.program)))
        found = broken_rules(ProgramView(edit.program, *target[1:]), known_chip, names, select)
        todo = [
            (rule, hit)
            for rule, hits in found
            for hit in hits
            if _fixable(rule, hit, meant=_meant(rule, known_chip, select))
            and FIXES[rule.id].changes in allowed
        ]
        if not todo:
            break
        # One rule at a time: a rewrite moves what the others point at.
        first = min(todo, key=lambda item: SEVERITIES.index(item[0].severity))[0].id
        for rule, hit in _once_each([(r, h) for r, h in todo if r.id == first]):
            FIXES[first].apply(edit, hit)
            fix_ = FIXES[first]
            place = hit.function.function.name
            applied.append(Applied(rule.id, place, hit.name, fix_.what, fix_.changes))
        edit.program.verify()
    else:
        raise AssertionError(f"fix: {applied[-1].rule} does not come to an end")
    return Fixed(edit.program, applied, edit.weights)


def _once_each(todo: list[tuple[Rule, Hit]]) -> Iterator[tuple[Rule, Hit]]:
    """Each place once: an operation with two lists in place has two findings, one rewrite."""
    seen: set[tuple[int, str]] = set()
    for rule, hit in todo:
        key = (id(hit.node), hit.name if hit.node is None else "")
        if rule.id in {"new_dialect", "build_info"}:
            key = (0, rule.id)
        if key not in seen:
            seen.add(key)
            yield rule, hit
