"""What the linter tells: findings, and rewrites that were made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from milane.lint.rule import FAILING, SEVERITIES, Changes, Chip, Confidence, Severity


@dataclass(frozen=True)
class Finding:
    """One place of a program where a rule does not hold.

    Attributes:
        rule: the rule's name.
        severity: of the rule; ``"advisory"`` for a rule of some chips while no chip is chosen.
        line, column: 1-based, in the text that was linted; 0 where there is no such place.
        name: the value concerned: the operation's first result, an input, or empty.
        function: the function's name, or empty.
        message: what was expected and what is there.
        effect: what is reported to happen.
        hint: what to write instead.
        fixable: whether :func:`milane.lint.fix` has a rewrite for it, and what that changes.
        chips: the chips it was reported of; empty: every one.
        source, confidence: who says so, and how sure that is.
        against: the other side, where sources disagree.
        count: how many places it stands for, of rules that are told once for a program.
    """

    rule: str
    severity: Severity
    line: int
    column: int
    name: str
    function: str
    message: str
    effect: str
    hint: str
    fixable: bool
    fix_changes: Changes | None
    chips: tuple[Chip, ...]
    source: str
    confidence: Confidence
    against: str = ""
    count: int = 1

    @property
    def failing(self) -> bool:
        """Whether the program should not go to the device: refused, or silently wrong."""
        return self.severity in FAILING

    def to_dict(self) -> dict[str, object]:
        """The finding as JSON has it: see docs/lint.md."""
        return asdict(self) | {"chips": list(self.chips)}


@dataclass(frozen=True)
class Applied:
    """A rewrite that was made.

    Attributes:
        rule: the name of the rule that did not hold.
        function, name: where: the function, and the value concerned.
        what: what was written.
        changes: ``"nothing"``, numbers by ``"rounding"``, or the function's ``"ports"``.
    """

    rule: str
    function: str
    name: str
    what: str
    changes: Changes

    def to_dict(self) -> dict[str, object]:
        """The rewrite as JSON has it."""
        return asdict(self)


def format_finding(finding: Finding, path: str, source: str) -> str:
    """A finding for a person: place, message, the line with a caret, hint and source."""
    chips = f" on {', '.join(finding.chips).upper()}" if finding.chips else ""
    times = f" ({finding.count} places)" if finding.count > 1 else ""
    place = f"{path}:{finding.line}:{finding.column}: " if finding.line else f"{path}: "
    lines = [f"{place}{finding.severity}{chips}: {finding.message}{times} [{finding.rule}]"]
    texts = source.split("\n")
    if 0 < finding.line <= len(texts):
        lines += excerpt(texts[finding.line - 1], finding.column)
    lines.append(f"  reported: {finding.effect} ({finding.source}; {finding.confidence})")
    if finding.against:
        lines.append(f"  against: {finding.against}")
    if finding.hint:
        lines.append(f"  hint: {finding.hint}")
    if finding.fixable:
        lines.append(f"  fix: --fix mends it{_consent(finding.fix_changes)}")
    return "\n".join(lines)


def _consent(changes: Changes | None) -> str:
    if changes == "ports":
        return " with --changes ports: inputs or outputs change"
    return ", to the bit" if changes == "nothing" else ", within rounding"


_WIDTH = 100


def excerpt(line: str, column: int) -> list[str]:
    """A line of text around a column, and a caret below that."""
    at = min(max(column - 1, 0), len(line))
    start = max(0, at - _WIDTH // 2) if len(line) > _WIDTH else 0
    part = line[start : start + _WIDTH].replace("\t", " ").rstrip("\r")
    indent = len(part) - len(part.lstrip()) if not start else 0
    indent = min(indent, at - start)
    return [f"    {part[indent:]}", f"    {' ' * (at - start - indent)}^"]


def summary(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings of each severity, counting places."""
    counts: dict[str, int] = dict.fromkeys(SEVERITIES, 0)
    for finding in findings:
        counts[finding.severity] += finding.count
    return counts


def sarif(findings: Iterable[Finding], path: str) -> dict[str, object]:
    """Findings as one run of SARIF 2.1.0, which code hosts show beside the text."""
    levels = {"refused": "error", "silently wrong": "error", "slow": "warning"}
    told = list(findings)
    results = [
        {
            "ruleId": f.rule,
            "level": levels.get(f.severity, "note"),
            "message": {"text": f"{f.message}\n{f.effect}\n{f.hint}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": path},
                        "region": {"startLine": max(f.line, 1), "startColumn": max(f.column, 1)},
                    }
                }
            ],
        }
        for f in told
    ]
    ids = [{"id": name} for name in dict.fromkeys(f.rule for f in told)]
    driver = {"name": "milane lint", "rules": ids}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
