"""Claims that others contradict: told once for a program, with both sides."""

from __future__ import annotations

from collections.abc import Iterator

from milane.lint.rule import Chip, Hit, Rule, hit
from milane.lint.view import FunctionView

MOVEMENTS = ("reshape", "transpose", "concat", "slice_by_index", "slice_by_size", "pow", "rsqrt")
TRANSCENDENTAL = ("sin", "exp", "log", "sqrt")


def _operations(types: tuple[str, ...], f: FunctionView) -> Iterator[Hit]:
    for node in f.of(*types):
        yield hit(f, node, "an operation that one project could not use")


def _softmax_length(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("softmax"):
        shape = f.shape(node.one("x"))
        axis = f.integer(node, "axis", -1)
        size = shape[axis] if -len(shape) <= axis < len(shape) else None
        if size is not None and size & (size - 1):
            yield hit(f, node, f"over {size} values, no power of two")


def _matmul_of_constant(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("matmul"):
        if any(f.is_constant(node.one(a)) for a in ("x", "y") if a in node.inputs):
            yield hit(f, node, "takes a constant")


def _rule(
    id_: str,
    operations: tuple[str, ...],
    effect: str,
    source: str,
    against: str,
    *,
    chips: tuple[Chip, ...] = (),
    facts: tuple[int, ...] = (),
) -> Rule:
    return Rule(
        id_,
        f"there is none of {', '.join(operations)}" if len(operations) > 1 else "there is none",
        effect,
        "advisory",
        source,
        "sources disagree",
        "nothing: more projects contradict it than say so",
        chips=chips,
        route="in memory",
        against=against,
        facts=facts,
        once=True,
        check=lambda f: _operations(operations, f),
    )


RULES = (
    _rule(
        "no_concat",
        ("concat",),
        "every program with concat is refused",
        "mechramc/Orion; christopherkarani/Espresso",
        "used by maderix/ANE, ANE-LM, tmc/apple, ANEForge and ane-guide, with a constant axis",
        facts=(28,),
    ),
    _rule(
        "no_reduce_mean",
        ("reduce_mean",),
        "there is no such operation, or it fails when it is dispatched",
        "hollance/neural-engine issue 44; Espresso; ane-bridge-rs",
        "native and correct in ANEForge, ane-guide, tmc/apple and Espresso's own GPT-2 text",
        facts=(30,),
    ),
    _rule(
        "no_movement",
        MOVEMENTS,
        "these all fail",
        "imperatormk/ane-train",
        "every other project uses them: probably the layout or the order of ports",
        chips=("m1",),
        facts=(41,),
    ),
    _rule(
        "no_transcendental",
        TRANSCENDENTAL,
        "these are not available",
        "ane-bridge-rs",
        "used by ANEForge, libane, Orion and maderix/ANE",
        chips=("m5",),
    ),
    Rule(
        "softmax_length",
        "softmax goes over a power of two",
        "the compiler refuses the text: InvalidMILProgram",
        "advisory",
        "hollance/neural-engine issue 44",
        "sources disagree",
        "nothing: more projects contradict it than say so",
        route="in memory",
        against="ANEForge, tmc/apple and ane-guide use any size",
        facts=(31,),
        once=True,
        check=_softmax_length,
    ),
    Rule(
        "no_constant_matmul",
        "no matmul takes a constant",
        "the compiler refuses the text: InvalidMILProgram",
        "advisory",
        "imperatormk/ane-train",
        "sources disagree",
        "nothing: more projects contradict it than say so",
        chips=("m1",),
        route="in memory",
        against="ANEForge, tmc/apple and ane-guide do it as a matter of course",
        facts=(23,),
        once=True,
        check=_matmul_of_constant,
    ),
)
