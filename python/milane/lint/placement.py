"""Where the sources say that each operation of a program runs: an estimate, never a measurement."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

from milane._core import mil as _mil
from milane.lint.checks_ops import NEEDS_M2, NEEDS_M3
from milane.lint.linter import broken_rules, checked_chip, subject
from milane.lint.rule import Chip
from milane.lint.rules import by_id
from milane.lint.view import ProgramView, schemas

# "native": the engine has code for it, and the numbers were right. "unchecked": it has, and nobody
# says whether they are. "folds": gone, or part of another operation, once compiled. "no lowering":
# the engine has no code; Core ML puts it on the CPU, this route does not compile it. "refused": the
# compiler does not take it. "disputed": one source each. "not reported": nobody says.
Where = Literal[
    "native", "unchecked", "folds", "no lowering", "refused", "disputed", "not reported"
]
ON_ENGINE: tuple[Where, ...] = ("native", "unchecked", "folds")

_SWEEP = "ANEForge full_mil_vocabulary_sweep.json"
_GUIDE = "sbryngelson/ane-guide appendix A"

# The sweep's list "reachable and numerically correct", constexpr_* aside.
_NATIVE_OPS = """
abs add atan avg_pool batch_norm batch_to_space ceil clamped_relu clip concat conv conv_transpose
cos crop depth_to_space dequantize einsum elu erf exp exp2 expand_dims fill fill_like flatten2d
floor floor_div gelu instance_norm inverse l2_pool layer_norm leaky_relu linear linear_activation
local_response_norm log matmul max_pool maximum minimum mul pad pixel_shuffle pixel_unshuffle pow
quantize range_1d real_div reduce_l1_norm reduce_l2_norm reduce_log_sum reduce_log_sum_exp
reduce_max reduce_mean reduce_min reduce_sum reduce_sum_square relu relu6 reshape
resize_nearest_neighbor reverse round rsqrt scaled_dot_product_attention scaled_tanh select
sigmoid sigmoid_hard sign silu sin slice_by_index slice_by_size softplus softsign space_to_batch
space_to_depth split sqrt square squeeze stack sub tanh threshold thresholded_relu tile topk
transpose upsample_nearest_neighbor
"""
# The sweep's list "reachable, correctness not established".
_UNCHECKED_OPS = """
affine equal greater greater_equal l2_norm less less_equal logical_not non_maximum_suppression
not_equal prelu resize resize_bilinear softplus_parametric upsample_bilinear
"""


@dataclass(frozen=True)
class Verdict:
    """What the sources say of an operation on the engine.

    Attributes:
        operation: its MIL name.
        where: ``"native"``, ``"unchecked"`` (it runs; nobody says whether the numbers are right),
            ``"folds"``, ``"no lowering"``, ``"refused"``, ``"disputed"`` or ``"not reported"``.
        reason: in words.
        source: who says so; empty where nobody does.
        since: the first chip that is said to run it.
        rule: the rule of the linter that refuses it everywhere, or empty.
        rule: the rule of the linter that refuses it everywhere, or empty.
    """

    operation: str
    where: Where
    reason: str
    source: str
    since: Chip = "m1"
    rule: str = ""


@dataclass(frozen=True)
class Placement:
    """Where one operation of a program is expected to run.

    Attributes:
        function, name, operation: which one: its first result and its type.
        line, column: 1-based, in the text.
        where, reason, source: as :class:`Verdict`, for these operands and this chip.
        rule: the rule of the linter that decided, or empty.
    """

    function: str
    name: str
    operation: str
    line: int
    column: int
    where: Where
    reason: str
    source: str
    rule: str = ""

    @property
    def on_engine(self) -> bool:
        """Whether it is expected to run on the engine, or to be gone once compiled."""
        return self.where in ON_ENGINE

    def to_dict(self) -> dict[str, object]:
        """The estimate as JSON has it."""
        return asdict(self)


# What the sweep's lists leave out, and what takes more words than a list has.
_OWN = {
    "const": Verdict("const", "folds", "a constant of the program", ""),
    "constexpr_lut_to_sparse": Verdict(
        "constexpr_lut_to_sparse", "unchecked", "part of the weight; results not checked", _SWEEP
    ),
    "constexpr_sparse_blockwise_shift_scale": Verdict(
        "constexpr_sparse_blockwise_shift_scale",
        "unchecked",
        "part of the weight; results not checked",
        _SWEEP,
    ),
    "softmax": Verdict(
        "softmax",
        "native",
        "in every attention that was written for the device",
        "maderix/ANE; tmc/apple; ANEForge; sbryngelson/ane-guide",
    ),
    "cast": Verdict(
        "cast",
        "native",
        "between fp16 and fp32 in programs written for the device; not to int32",
        "maderix/ANE; christopherkarani/Espresso",
    ),
    "identity": Verdict(
        "identity",
        "native",
        "in programs written for the device, native in ane-guide; the sweep saw it refused",
        f"rustane; {_GUIDE}",
    ),
    "resample": Verdict(
        "resample", "unchecked", "named among what needs M2 or later", _GUIDE, "m2"
    ),
}


_UNKNOWN = Verdict("", "not reported", "no operation of MIL", "")


def _verdict(name: str) -> Verdict:
    """What is said of an operation, from the lists and from the rules."""
    if name in _OWN:
        return _OWN[name]
    since: Chip = "m3" if name in NEEDS_M3 else "m2" if name in NEEDS_M2 else "m1"
    for rule in _mil.limit_rules():
        if name in rule.operations:
            return Verdict(name, *_of_limit(rule), rule.source, since, rule.id)
    if name.startswith("constexpr_"):
        return Verdict(name, "folds", "part of the weight once compiled", _SWEEP, since)
    late = f", from {since.upper()} on" if since != "m1" else ""
    if name in _NATIVE_OPS.split():
        return Verdict(name, "native", f"runs, with the right numbers{late}", _SWEEP, since)
    if name in _UNCHECKED_OPS.split():
        return Verdict(name, "unchecked", f"runs; results not checked{late}", _SWEEP, since)
    return Verdict(name, "not reported", "nobody says", "")


def _of_limit(rule: _mil.LimitRule) -> tuple[Where, str]:
    if rule.confidence == "sources disagree":
        return "disputed", rule.rule
    if rule.id == "no_lowering":
        return "no lowering", "the engine has no code for it"
    return "refused", rule.rule


@lru_cache(maxsize=1)
def verdicts() -> dict[str, Verdict]:
    """What the sources say of every operation of the language, by name."""
    return {name: _verdict(name) for name in sorted(schemas())}


# Findings that decide where an operation runs, whatever its type. Those of the whole program (its
# text, its size) do not.
_NOT_OF_ONE = {
    *("verify", "build_info", "new_dialect", "output_is_input", "surfaces", "static_shapes"),
    *("weight_bytes", "large_weights", "resident_weights", "named_operands"),
}


def placement(
    program: Any, chip: str | None = None, *, model_folder: str | os.PathLike[str] | None = None
) -> list[Placement]:
    """Where each operation is expected to run, in text order, constants left out.

    The estimate of an operation is what the sources say of its type, unless a rule of the linter
    says that these operands, or this chip, are refused.

    Args:
        program, chip, model_folder: as :func:`milane.lint.lint`.

    Raises:
        MILSyntaxError, ModelFileError, InvalidArgumentError: as :func:`milane.lint.lint`.
    """
    known_chip = checked_chip(chip)
    target = subject(program, model_folder)
    names = frozenset(by_id()) - _NOT_OF_ONE
    found: dict[tuple[int, int], tuple[Where, str, str, str]] = {}
    view = ProgramView(*target)
    for rule, hits in broken_rules(view, known_chip, names):
        if rule.severity != "refused" or (rule.chips and known_chip is None):
            continue
        for hit in hits:
            node = hit.node
            if node is None or verdicts().get(node.type, _UNKNOWN).rule == rule.id:
                continue
            where: Where = "disputed" if rule.confidence == "sources disagree" else "refused"
            key = (node.op.line, node.op.column)
            found.setdefault(key, (where, hit.message, rule.source, rule.id))
    placed = []
    for f in view.functions:
        for node in f.nodes:
            if node.type == "const":
                continue
            verdict = verdicts().get(node.type, _UNKNOWN)
            at = (node.op.line, node.op.column)
            says = found.get(at) or (verdict.where, verdict.reason, verdict.source, verdict.rule)
            where, reason, source, rule_id = says
            placed.append(
                Placement(
                    f.function.name, node.name, node.type, *at, where, reason, source, rule_id
                )
            )
    return placed
