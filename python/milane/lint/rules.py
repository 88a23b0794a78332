"""The table of constraints: the device's hard limits, the numeric quirks, and what else is told.

Each fact stands in one place: hard limits in csrc/backend/ane_limits.cpp, which the emulated device
reads too; quirks in csrc/backend/ane_rules.cpp, which ``numerics="ane"`` follows; what holds for
some chips, is slow, or is disputed in the `checks_*` modules here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import lru_cache

from milane._core import mil as _mil
from milane.errors import InvalidArgumentError
from milane.lint import (
    checks_math,
    checks_numerics,
    checks_ops,
    checks_shapes,
    checks_text,
    folklore,
)
from milane.lint.fixes import FIXES
from milane.lint.rule import Confidence, Rule

VERIFY = Rule(
    "verify",
    "the program is well formed: names are defined before, types and shapes fit",
    "the compiler refuses the text: InvalidMILProgram",
    "refused",
    "mechramc/Orion; the language",
    "several sources",
    "mend what the message names",
    facts=(5, 11),
)

# Rows of ane_facts D that the hard limits come from.
_LIMIT_FACTS: dict[str, tuple[int, ...]] = {
    "build_info": (1,),
    "named_operands": (4,),
    "output_is_input": (6,),
    "static_shapes": (9,),
    "control_flow": (9,),
    "lists": (9,),
    "rank": (10,),
    "integer_weights": (21,),
    "constexpr_reshape": (22,),
    "weight_bytes": (24,),
    "conv_bias": (32,),
    "bf16": (47,),
    "cast_int32": (47,),
    "conv_3d": (48,),
    "state": (48,),
    "matmul_batch": (50,),
    "dimension": (52, 53),
    "kernel_width": (54,),
    "argmax_axis": (55,),
    "groups": (56,),
}
_CONFIDENCE: dict[str, Confidence] = {
    "several sources": "several sources",
    "one source": "one source",
    "sources disagree": "sources disagree",
}


def _mended(limit: _mil.LimitRule) -> str:
    """What of this Milane sees to itself when it compiles for the device."""
    own = limit.id in ("build_info", "named_operands")
    return "; Milane writes it when it compiles for the device" if own else ""


def _limit(limit: _mil.LimitRule) -> Rule:
    said = "InvalidMILProgram" if limit.malformed else "CompilationFailure"
    what = limit.rule
    if limit.operations:
        what = f"{what}: {', '.join(limit.operations)}"
    return Rule(
        limit.id,
        what,
        f"the compiler refuses it: {said}{_mended(limit)}",
        "refused",
        limit.source,
        _CONFIDENCE[limit.confidence],
        limit.hint,
        against=limit.rule if limit.confidence == "sources disagree" else "",
        facts=_LIMIT_FACTS.get(limit.id, ()),
    )


def _with_fix(rule: Rule) -> Rule:
    fix = FIXES.get(rule.id)
    return rule if fix is None else replace(rule, fix=fix.what, changes=fix.changes)


@lru_cache(maxsize=1)
def rules() -> tuple[Rule, ...]:
    """Every constraint that the linter knows: hard limits first, then by topic."""
    own: Iterable[Rule] = (
        *checks_text.RULES,
        *checks_ops.RULES,
        *checks_math.RULES,
        *checks_shapes.RULES,
        *checks_numerics.RULES,
        *folklore.RULES,
    )
    limits = [_limit(limit) for limit in _mil.limit_rules()]
    return tuple(_with_fix(rule) for rule in (VERIFY, *limits, *own))


@lru_cache(maxsize=1)
def by_id() -> dict[str, Rule]:
    """The rules by name."""
    return {rule.id: rule for rule in rules()}


def chosen(select: Collection[str] | None, ignore: Collection[str]) -> frozenset[str]:
    """The names of the rules that count.

    Raises:
        InvalidArgumentError: there is no rule of that name.
    """
    for name in (*(select or ()), *ignore):
        if name not in by_id():
            raise InvalidArgumentError(f"lint: expected the name of a rule, got {name!r}")
    return frozenset(by_id() if select is None else select) - frozenset(ignore)
