"""What a rule of the linter is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Literal, Protocol

from milane.lint.view import FunctionView, Node

Severity = Literal["refused", "silently wrong", "slow", "advisory"]
SEVERITIES: tuple[Severity, ...] = ("refused", "silently wrong", "slow", "advisory")
# A program with one of these should not go to the device.
FAILING: tuple[Severity, ...] = ("refused", "silently wrong")

Confidence = Literal["official", "several sources", "one source", "sources disagree"]
Chip = Literal["m1", "m2", "m3", "m4", "m5"]
CHIPS: tuple[Chip, ...] = ("m1", "m2", "m3", "m4", "m5")

# What a rewrite may change: no number, numbers by rounding, or the function's inputs and outputs.
Changes = Literal["nothing", "rounding", "ports"]
CHANGES: tuple[Changes, ...] = ("nothing", "rounding", "ports")


class Place(Protocol):
    """Whatever has a place in the text."""

    @property
    def line(self) -> int:
        """1-based."""
        ...

    @property
    def column(self) -> int:
        """1-based."""
        ...


@dataclass(frozen=True)
class Hit:
    """One place where a rule does not hold."""

    message: str
    place: Place
    name: str
    function: FunctionView
    node: Node | None = None
    fixable: bool = True


Check = Callable[[FunctionView], Iterable[Hit]]


@dataclass(frozen=True)
class Rule:
    """One constraint of the device as others report it.

    Attributes:
        id: its name, for ``select``, ``ignore`` and the documentation.
        rule: what holds of a program in which nothing is found.
        effect: what is reported to happen otherwise.
        severity: ``"refused"`` (it does not compile, load or run), ``"silently wrong"``,
            ``"slow"`` or ``"advisory"``.
        source: who says so.
        confidence: ``"official"`` (Apple's own), ``"several sources"``, ``"one source"`` or
            ``"sources disagree"``.
        hint: what to write instead.
        chips: the chips it was reported of; empty: not limited to some.
        system: the version of macOS it was reported of; empty: not limited to one.
        route: the way to the device it was reported of (``"in memory"``: the private framework's
            in-memory model, which Milane uses; ``"e5rt"``: Espresso's C interface); empty: any.
        against: what the other side says and who, where sources disagree.
        facts: numbers of the rows in the project's collection of facts (ane_facts D).
        fix: what the rewrite does, or empty when there is none.
        changes: what that rewrite may change: ``"nothing"``, numbers by ``"rounding"``, or the
            ``"ports"`` of the function; empty when there is none.
    """

    id: str
    rule: str
    effect: str
    severity: Severity
    source: str
    confidence: Confidence
    hint: str
    chips: tuple[Chip, ...] = ()
    system: str = ""
    route: str = ""
    against: str = ""
    facts: tuple[int, ...] = ()
    fix: str = ""
    changes: Changes | Literal[""] = ""
    # Told at the first place alone, with the number of places: for what is true of many programs.
    once: bool = field(default=False, repr=False)
    check: Check | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, object]:
        """The rule as JSON has it: everything but the code that looks for it."""
        plain = ((f.name, getattr(self, f.name)) for f in fields(self) if f.name != "check")
        return {name: list(v) if isinstance(v, tuple) else v for name, v in plain}


def hit(f: FunctionView, node: Node, message: str, *, fixable: bool = True) -> Hit:
    """A hit at an operation; its type opens the message."""
    return Hit(f"{node.type}: {message}", node.op, node.name, f, node, fixable)
