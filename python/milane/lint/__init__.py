"""What the device would refuse or get wrong in a program, and safe rewrites.

``lint(program)`` gives findings, ``fix(program)`` a program without those that have a safe rewrite,
``placement(program)`` an estimate of where each operation runs, and ``rules()`` the table behind
them. All of it comes from what others published: see docs/lint.md. Nothing was tried on a device.
"""

from milane.lint.linter import Fixed, fix, lint
from milane.lint.placement import Placement, Verdict, placement, verdicts
from milane.lint.report import Applied, Finding, format_finding
from milane.lint.rule import CHIPS, Rule
from milane.lint.rules import rules

__all__ = [
    "CHIPS",
    "Applied",
    "Finding",
    "Fixed",
    "Placement",
    "Rule",
    "Verdict",
    "fix",
    "format_finding",
    "lint",
    "placement",
    "rules",
    "verdicts",
]
