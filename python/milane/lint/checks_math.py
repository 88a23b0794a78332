"""Rules on arithmetic: products, roots, roundings and norms, and what stands before them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from milane.lint.checks_ops import REDUCTIONS
from milane.lint.rule import Hit, Rule, hit
from milane.lint.view import FunctionView, Node, elements

NONLINEAR = (
    *("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "exp"),
    *("exp2", "log", "softplus", "softsign", "sqrt", "rsqrt", "pow", "erf", "softmax"),
    *("clamped_relu", "scaled_tanh", "sigmoid_hard", "thresholded_relu"),
)
# Through these the value of a reduction reaches a root: x * (1 / n) + epsilon.
_SCALINGS = ("add", "mul", "sub", "real_div", "maximum", "clip", "cast", "identity", "reshape")


def _batch_broadcast(f: FunctionView) -> Iterator[Hit]:
    if sum(node.type != "const" for node in f.nodes) < 2:
        return
    for node in f.of("mul"):
        x, y = f.shape(node.one("x")), f.shape(node.one("y"))
        if len(x) == len(y) >= 2 and x[0] != y[0] and 1 in (x[0], y[0]):
            yield hit(f, node, f"expected equal batches, got {x[0]} and {y[0]}")


def root_of_reduction(f: FunctionView, node: Node) -> Node | None:
    """The reduction behind a root, through scalings by constants; None when there is none."""
    seen = 0
    source = f.producer(node.one("x"))
    while source is not None and seen < 16:
        if source.type in REDUCTIONS:
            return source
        if source.type not in _SCALINGS:
            return None
        source = next(f.feeding(source), None)
        seen += 1
    return None


def _root_after_reduction(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("sqrt", "rsqrt"):
        source = root_of_reduction(f, node)
        if source is not None:
            yield hit(f, node, f"takes the result of {source.type} `{source.name}`")


def _square_width(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("square"):
        shape = f.shape(node.name)
        width = shape[-1] if shape else None
        after = [user.type for user in f.users(node.name) if user.type in NONLINEAR]
        if width is not None and width % 128 > 64 and after:
            yield hit(f, node, f"goes into {after[0]} at width {width}: {width} % 128 is above 64")


def _round_range(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("round"):
        yield hit(f, node, "wrong for magnitudes from 1024 on")


def _scalar(f: FunctionView, node: Node) -> float | None:
    """The constant scalar among the operands of a product."""
    for argument in ("x", "y"):
        array = f.number(node.one(argument))
        if array is not None and array.size == 1:
            return float(array.reshape(-1)[0])
    return None


def _scale_after_rounding(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("mul"):
        before = [n for n in f.feeding(node) if n.type in ("floor", "ceil", "round")]
        if before and _scalar(f, node) is not None:
            yield hit(f, node, f"a scalar times the result of {before[0].type} is left out")


def _zero_after_reduction(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("mul"):
        before = [n for n in f.feeding(node) if n.type in REDUCTIONS]
        if before and _scalar(f, node) == 0.0:
            yield hit(f, node, f"0 times the result of {before[0].type}")


def _normalised(f: FunctionView, node: Node) -> int:
    """How many values a layer_norm normalises."""
    shape = f.shape(node.one("x"))
    axes = f.integers(node, "axes") or range(len(shape))
    return elements(tuple(shape[a] for a in axes if -len(shape) <= a < len(shape)))


def _learned(f: FunctionView, node: Node, argument: str) -> bool:
    """Whether gamma or beta has values that differ; a weight file is taken to."""
    operand = node.one(argument)
    if operand is None:
        return False
    array = f.number(operand)
    return array is None or bool(np.any(array != array.reshape(-1)[0]))


def _layer_norm_affine(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("layer_norm"):
        learned = [name for name in ("gamma", "beta") if _learned(f, node, name)]
        if len(learned) == 1 and _normalised(f, node) >= 1024:
            yield hit(f, node, f"expected both gamma and beta to vary, or none, got {learned[0]}")


def _layer_norm_wide(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("layer_norm"):
        count = _normalised(f, node)
        if count >= 10240 and all(_learned(f, node, name) for name in ("gamma", "beta")):
            yield hit(f, node, f"expected fewer than 10240 values with gamma and beta, got {count}")


def _fp32_compute(f: FunctionView) -> Iterator[Hit]:
    for node in f.nodes:
        if node.type in ("const", "cast", "identity") or node.type.startswith("constexpr_"):
            continue
        if any(f.dtype(out.name) == "fp32" for out in node.outputs):
            yield hit(f, node, f"expected fp16, got fp32 for `{node.name}`")


def _silu_cast(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("silu"):
        source = f.producer(node.one("x"))
        if f.dtype(node.name) == "fp32" or (source is not None and source.type == "cast"):
            yield hit(f, node, "stands beside a cast")


RULES = (
    Rule(
        "batch_broadcast",
        "the operands of mul have the same batch where the function has other operations",
        "unreliable results",
        "silently wrong",
        "skyfallsin field guide",
        "one source",
        "repeat the operand outside of the program",
        chips=("m3",),
        system="26.3.1",
        facts=(40,),
        check=_batch_broadcast,
    ),
    Rule(
        "root_after_reduction",
        "no sqrt or rsqrt takes the result of a reduction",
        "it does not compile, or gives wrong numbers when fused",
        "refused",
        "rustane (M4 Max); imperatormk/ane-train (M1); Espresso writes pow too",
        "several sources",
        "write pow(x, -0.5) for rsqrt and pow(x, 0.5) for sqrt",
        route="in memory",
        facts=(42,),
        check=_root_after_reduction,
    ),
    Rule(
        "square_width",
        "a square in front of a nonlinearity has a width w with w % 128 of at most 64",
        "the fused operation does not compile",
        "refused",
        "ANEForge _compile.py",
        "one source",
        "write mul(x, x)",
        facts=(43,),
        check=_square_width,
    ),
    Rule(
        "round_range",
        "nothing of magnitude 1024 or more is rounded",
        "wrong results there",
        "silently wrong",
        "ANEForge _compile.py; sbryngelson/ane-guide ch. 3",
        "one source",
        "scale before and after, or round outside of the program",
        chips=("m5",),
        facts=(44,),
        check=_round_range,
    ),
    Rule(
        "scale_after_rounding",
        "no scalar multiplies the result of floor, ceil or round",
        "the product is left out",
        "silently wrong",
        "ANEForge _compile.py; sbryngelson/ane-guide ch. 3",
        "one source",
        "scale elsewhere: the scalar may go into a following weight",
        facts=(44,),
        check=_scale_after_rounding,
    ),
    Rule(
        "zero_after_reduction",
        "no result of a reduction is multiplied by 0",
        "the compiler dies",
        "refused",
        "ANEForge _compile.py; sbryngelson/ane-guide ch. 3",
        "one source",
        "leave the product out",
        facts=(44,),
        check=_zero_after_reduction,
    ),
    Rule(
        "layer_norm_affine",
        "gamma and beta of a layer_norm of 1024 values or more both vary, or neither does",
        "it does not compile",
        "refused",
        "ANEForge issues 149, 158, 159, 162",
        "several sources",
        "leave gamma and beta out, and write mul and add behind the norm",
        chips=("m1", "m2"),
        facts=(45,),
        check=_layer_norm_affine,
    ),
    Rule(
        "layer_norm_wide",
        "a layer_norm with gamma and beta normalises fewer than 10240 values",
        "the evaluation fails",
        "refused",
        "ANEForge issues 149, 158, 159, 162",
        "several sources",
        "leave gamma and beta out, and write mul and add behind the norm",
        chips=("m5",),
        facts=(45,),
        check=_layer_norm_wide,
    ),
    Rule(
        "fp32_compute",
        "no operation computes in fp32",
        "the type is ignored: the engine computes in fp16; or the operation falls back to the CPU",
        "advisory",
        "sbryngelson/ane-guide; apple/coreai-models",
        "official",
        "use fp16 between the inputs and the outputs",
        facts=(47,),
        once=True,
        check=_fp32_compute,
    ),
    Rule(
        "silu_cast",
        "no silu stands beside a cast",
        "the type is kept less well than by gate * sigmoid(gate)",
        "advisory",
        "apple/coreai-models",
        "official",
        "write mul(x, sigmoid(x))",
        facts=(51,),
        check=_silu_cast,
    ),
)
