"""Rules on numbers: where the device's differ from the text's.

What ``numerics="ane"`` imitates is told by `milane.quirk_rules`; here stands only which operations
it concerns.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

import milane._core
from milane.lint.rule import Chip, Confidence, Hit, Rule, Severity, hit
from milane.lint.view import FunctionView, Node

MACS = ("matmul", "linear", "conv", "conv_transpose", "einsum")
_FLOATS = ("fp16", "fp32")
TABLES = ("sigmoid", "tanh", "gelu", "silu", "sin", "cos", "atan")

# Quirk -> the operations it can be seen in, severity, what to do, rows of ane_facts D. Quirks of
# every operation (NaN, the sign of zero) are no findings.
_QUIRKS: dict[str, tuple[tuple[str, ...], Severity, str, tuple[int, ...]]] = {
    "mac_ceiling": (
        MACS,
        "advisory",
        "scale an operand down, and the result up; numerics='ane' shows what it does",
        (66,),
    ),
    "log_zero": (("log",), "advisory", "keep the argument above 0 with maximum", (69,)),
    "reciprocal_zero": (("real_div",), "advisory", "keep the divisor away from 0", (69,)),
    "softplus_cutoff": (("softplus",), "silently wrong", "use maximum(x, softplus(x))", (44, 69)),
    "softsign_infinity": (("softsign",), "advisory", "clip the argument", (69,)),
    "mac_denormal": (MACS, "advisory", "scale small numbers up first", (70,)),
}


def _non_finite_weight(f: FunctionView) -> Iterator[Hit]:
    """An infinity that the text itself spells is meant, or `infinite_mask` tells of it."""
    for node in f.of("const"):
        value = node.op.value
        if value is None or value.type.kind != "tensor" or value.type.dtype not in _FLOATS:
            continue
        array = f.array(node.name)
        if array is None:
            continue
        with np.errstate(over="ignore"):
            halves = array.astype(np.float16, copy=False)
        bad = ~np.isfinite(halves) if value.is_blob else np.isnan(halves)
        if bad.any():
            first = np.unravel_index(int(bad.argmax()), bad.shape)
            place = ", ".join(map(str, first))
            text = f"expected finite numbers, got {int(bad.sum())} others, first at [{place}]"
            yield hit(f, node, text)


def slices_width(f: FunctionView, node: Node) -> bool:
    """Whether a slice starts past 0 on the last axis, for all the text tells."""
    if node.type == "split":
        rank = len(f.shape(node.one("x")))
        return bool(rank) and f.integer(node, "axis", 0) in (-1, rank - 1)
    begin = f.integers(node, "begin")
    masked = f.integers(node, "begin_mask")
    return bool(begin) and begin[-1] != 0 and not (masked and masked[-1])


def _width_slice(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("slice_by_index", "slice_by_size", "split"):
        if slices_width(f, node):
            yield hit(f, node, "starts past 0 on the last axis")


def _concat_of_slices(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("concat"):
        names = [v for v in node.inputs.get("values", ()) if isinstance(v, str)]
        cut = [n for n in names if (p := f.producer(n)) is not None and _cuts(f, p)]
        if len(cut) >= 2:
            yield hit(f, node, f"joins {len(cut)} slices of the last axis")


def _cuts(f: FunctionView, node: Node) -> bool:
    cuts = node.type in ("slice_by_index", "slice_by_size", "split")
    return cuts and slices_width(f, node)


def _int8_saturation(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("matmul", "linear"):
        for argument in ("x", "y", "weight"):
            made = f.producer(node.one(argument))
            if made is not None and made.type == "constexpr_affine_dequantize":
                yield hit(f, node, f"takes the int8 weight `{made.name}`")


def _sum_rounding(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("reduce_sum"):
        if any(made.type == "reshape" for made in f.feeding(node)):
            yield hit(f, node, "a sum behind reshape")


def _of(types: tuple[str, ...], f: FunctionView) -> Iterator[Hit]:
    for node in f.of(*types):
        yield hit(f, node, "may give other numbers than half precision does")


def _confidence(text: str) -> Confidence:
    return "several sources" if text == "several sources" else "one source"


def _scope(text: str) -> tuple[Chip, ...]:
    named = {"M1": "m1", "M2": "m2", "M3": "m3", "M4": "m4", "M5": "m5"}
    chips: tuple[Chip, ...] = tuple(named[word] for word in text.split(", ") if word in named)  # type: ignore[misc]
    return chips


def _quirks() -> Iterator[Rule]:
    for name, effect, scope, source, confidence in milane._core.quirk_rules():
        if name == "width_slice":
            yield Rule(
                name,
                "no slice starts past 0 on the last axis",
                effect,
                "silently wrong",
                source,
                _confidence(confidence),
                "slice another axis, or transpose first",
                chips=_scope(scope),
                facts=(68,),
                check=_width_slice,
            )
        elif name in _QUIRKS:
            types, severity, hint, facts = _QUIRKS[name]
            yield Rule(
                name,
                f"there is none of {', '.join(types)}, or their numbers are not such",
                effect,
                severity,
                source,
                _confidence(confidence),
                hint,
                chips=_scope(scope),
                facts=facts,
                once=True,
                check=partial(_of, types),
            )


RULES = (
    *_quirks(),
    Rule(
        "concat_of_slices",
        "concat joins at most one slice that starts past 0 on the last axis",
        "wrong elements",
        "silently wrong",
        "sbryngelson/ane-guide ch. 3; ANEForge issue 153, _targets.py",
        "several sources",
        "slice another axis, or transpose first",
        chips=("m1", "m2", "m3"),
        facts=(68,),
        check=_concat_of_slices,
    ),
    Rule(
        "int8_saturation",
        "products with int8 weights take activations of magnitude 4094 or less",
        "activations beyond are clipped to 4094",
        "advisory",
        "ANEForge issue 153, _targets.py",
        "several sources",
        "scale the activations down, and the result up",
        facts=(68,),
        once=True,
        check=_int8_saturation,
    ),
    Rule(
        "sum_rounding",
        "no reduce_sum stands behind a reshape",
        "2049 was summed to 2050 on M2 Pro and M5: not half to even",
        "advisory",
        "ANEForge issues 115, 145",
        "sources disagree",
        "expect the last bit to differ",
        against="M1 rounds half to even (ane-guide ch. 3)",
        facts=(65,),
        once=True,
        check=_sum_rounding,
    ),
    Rule(
        "non_finite_weight",
        "every stored weight is finite in fp16, and no constant is NaN",
        "a NaN becomes +infinity on the device; an infinity spreads through every product",
        "advisory",
        "sbryngelson/ane-guide ch. 3",
        "one source",
        "clip the weight to ±65504, or look for where it came from",
        facts=(69,),
        check=_non_finite_weight,
    ),
    Rule(
        "activation_tables",
        f"there is none of {', '.join(TABLES)}",
        "read from tables of 33 points: off by up to 0.0034 (sigmoid), 0.0017 (tanh), 0.0059 "
        "(gelu), 0.12 (sin, cos, atan)",
        "advisory",
        "sbryngelson/ane-guide ch. 3",
        "one source",
        "expect that much; nothing else is known to help",
        chips=("m1",),
        facts=(71,),
        once=True,
        check=lambda f: _of(TABLES, f),
    ),
)
