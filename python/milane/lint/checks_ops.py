"""Rules on single operations and on what stands before them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from milane.lint.rule import Hit, Rule, hit
from milane.lint.view import FunctionView, Node, Operand, known

REDUCTIONS = tuple(
    f"reduce_{kind}"
    for kind in (
        *("sum", "mean", "max", "min", "prod", "l1_norm", "l2_norm", "sum_square"),
        *("log_sum", "log_sum_exp"),
    )
)
# Shape operations, through which a mask reaches a softmax unchanged.
_MOVES = ("reshape", "expand_dims", "squeeze", "transpose", "identity", "cast")
NEEDS_M2 = ("affine", "argsort", "crop_resize", "gather", "resample", "resize", "topk")
NEEDS_M3 = ("cos", "random_uniform", "sin")


def _concat_inputs(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("concat"):
        if len(node.inputs.get("values", ())) < 2:
            yield hit(f, node, "expected two values or more, got one")


def _gelu_mode(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("gelu"):
        if not isinstance(node.one("mode"), str):
            yield hit(f, node, "expected the name of a constant for `mode`, got none")


def gelu_mode(f: FunctionView, node: Node) -> str:
    """The mode of a gelu: EXACT where none is given."""
    return f.word(node, "mode") or "EXACT"


def _gelu_approximation(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("gelu"):
        mode = gelu_mode(f, node)
        if mode != "EXACT":
            yield hit(f, node, f"expected the mode EXACT, got {mode}")


def _slice_of_input(f: FunctionView) -> Iterator[Hit]:
    if not any(f.of("conv")) or not any(f.of(*REDUCTIONS)):
        return
    for node in f.of("slice_by_index"):
        if node.one("x") in f.inputs:
            yield hit(f, node, f"slices the input `{node.one('x')}` in front of a norm and a conv")


def _masked_attention(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("scaled_dot_product_attention"):
        if "attn_mask" in node.inputs:
            yield hit(f, node, "expected no `attn_mask`, got one", fixable=_can_decompose(f, node))


def _can_decompose(f: FunctionView, node: Node) -> bool:
    shapes = [f.shape(node.one(name)) for name in ("query", "key", "value", "attn_mask")]
    return all(shapes) and all(known(s) for s in shapes)


def has_infinity(f: FunctionView, operand: Operand) -> bool:
    """Whether a constant holds -infinity, as fp16 has it."""
    array = f.array(operand)
    if array is None or array.dtype.kind != "f" or not array.size:
        return False
    lowest = float(np.min(array))
    return lowest < -65519.0  # what rounds to -infinity in fp16; -infinity too


def reaches_softmax_only(f: FunctionView, name: str, *, as_mask: bool = False) -> bool:
    """Whether a mask goes into softmax alone: by way of add, select and moves."""
    users = f.users(name)
    if not users or name in f.outputs:
        return False
    for user in users:
        if user.type == "softmax" and as_mask:
            continue
        if user.type == "scaled_dot_product_attention" and name in user.inputs.get("attn_mask", ()):
            continue
        masks = user.type == "add" or (
            user.type == "select" and name not in user.inputs.get("cond", ())
        )
        through = masks or user.type in _MOVES
        inside = as_mask or masks
        if not through or not all(
            reaches_softmax_only(f, out.name, as_mask=inside) for out in user.outputs
        ):
            return False
    return True


def _infinite_mask(f: FunctionView) -> Iterator[Hit]:
    masked = f.of("add", "select", "scaled_dot_product_attention", "fill")
    told: set[Operand] = set()
    for node in masked:
        for operand in chain.from_iterable(node.inputs.values()):
            if operand in told or not f.is_constant(operand) or not has_infinity(f, operand):
                continue
            told.add(operand)
            name = operand if isinstance(operand, str) else ""
            fixable = bool(name) and reaches_softmax_only(f, name)
            of = f" in `{name}`" if name else ""
            yield hit(f, node, f"expected no -infinity, got one{of} once in fp16", fixable=fixable)


def runtime_weight(f: FunctionView, node: Node) -> bool:
    """Whether a convolution takes its weight from a run: then nothing makes it a constant."""
    weight = node.one("weight")
    return weight is not None and not f.is_constant(weight)


def _runtime_conv_weight(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("conv", "conv_transpose"):
        if runtime_weight(f, node):
            yield hit(f, node, f"expected a constant weight, got `{node.one('weight')}`")


def _runtime_conv_batch(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("conv", "conv_transpose"):
        batch = (f.shape(node.one("x")) or (1,))[0]
        if runtime_weight(f, node) and batch is not None and batch > 1:
            yield hit(f, node, f"expected batch 1 with the weight of a run, got {batch}")


def _runtime_conv_groups(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("conv", "conv_transpose"):
        groups = f.integer(node, "groups", 1)
        if runtime_weight(f, node) and groups > 1:
            yield hit(f, node, f"expected one group with the weight of a run, got {groups}")


def _needs_m2(f: FunctionView) -> Iterator[Hit]:
    for node in f.of(*NEEDS_M2):
        yield hit(f, node, "needs M2 or later")


def _needs_m3(f: FunctionView) -> Iterator[Hit]:
    for node in f.of(*NEEDS_M3):
        yield hit(f, node, "needs M3 or later")


def _dynamic_slice(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("slice_by_index", "slice_by_size"):
        for argument in ("begin", "end", "size"):
            operand = node.one(argument)
            if operand is not None and not f.is_constant(operand):
                yield hit(f, node, f"expected a constant `{argument}`, got `{operand}`")
                break


def _topk_k(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("topk"):
        k = f.integer(node, "k", 1)
        if k in (3, 4):
            yield hit(f, node, f"expected k other than 3 and 4, got {k}")


def _conv_input_channels(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("conv"):
        weight = f.shape(node.one("weight"))
        count = weight[1] if len(weight) >= 3 else None
        if count is not None and count >= 32000:
            yield hit(f, node, f"expected fewer than 32000 channels of input, got {count}")


def _int8_zero_point(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("constexpr_affine_dequantize"):
        value = node.op.attributes.get("zero_point") or f.value(node.one("zero_point"))
        if value is None or value.is_blob:
            continue
        if np.any(np.asarray(value.to_numpy()) != 0):
            yield hit(f, node, "expected a zero point of 0, got another")


RULES = (
    Rule(
        "concat_inputs",
        "concat takes two values or more",
        "the compiler's validator refuses it",
        "refused",
        "ANEForge; sbryngelson/ane-guide",
        "one source",
        "use the value itself",
        facts=(28,),
        check=_concat_inputs,
    ),
    Rule(
        "gelu_mode",
        "gelu has its `mode` as a named constant",
        "the compiler does not know the operation",
        "advisory",
        "mechramc/Orion (gelu is no operation)",
        "sources disagree",
        'define string mode = const()[val = string("EXACT")] and pass its name',
        against="ANEForge and ane-guide run gelu with a named mode",
        facts=(29,),
        check=_gelu_mode,
    ),
    Rule(
        "gelu_approximation",
        "gelu has the mode EXACT",
        "it compiles; whether the numbers are right is not established",
        "advisory",
        "ANEForge full_mil_vocabulary_sweep.json",
        "one source",
        "write it with tanh or sigmoid",
        facts=(29,),
        check=_gelu_approximation,
    ),
    Rule(
        "slice_of_input",
        "slice_by_index does not cut an input of a function that has a reduction and a conv",
        "the compiler refuses the text: InvalidMILProgram",
        "refused",
        "hollance/neural-engine issue 44",
        "one source",
        "make the parts inputs of their own, or cut with slice_by_size",
        route="in memory",
        facts=(33,),
        check=_slice_of_input,
    ),
    Rule(
        "masked_attention",
        "scaled_dot_product_attention has no attn_mask",
        "the mask is ignored",
        "silently wrong",
        "maderix/ANE; ANEgpt; mechramc/Orion",
        "several sources",
        "write matmul, add of the mask, softmax, matmul",
        facts=(34, 35),
        check=_masked_attention,
    ),
    Rule(
        "infinite_mask",
        "no constant of a mask is -infinity or becomes it in fp16",
        "infinities meet and give wrong numbers",
        "silently wrong",
        "apple/coreai-models common_issues",
        "official",
        "use -40000: its exponential is 0",
        facts=(36,),
        check=_infinite_mask,
    ),
    Rule(
        "tile",
        "there is no tile",
        "one evaluation, and every later one of the process fails with status 0x1d",
        "advisory",
        "skyfallsin field guide",
        "sources disagree",
        "concat the value with itself, or broadcast",
        chips=("m3",),
        system="26.3.1",
        against="native in ane-guide, ANEForge and the tests of tmc/apple, on other chips",
        facts=(37,),
        once=True,
        check=lambda f: (hit(f, n, "reported to poison the process") for n in f.of("tile")),
    ),
    Rule(
        "runtime_conv_weight",
        "the weight of a conv is a constant",
        "the weight that a run gives is ignored",
        "silently wrong",
        "skyfallsin field guide",
        "sources disagree",
        "use matmul: it takes both operands from a run, and was 25 to 47 % faster on M4 Max",
        chips=("m3",),
        system="26.3.1",
        against="works at batch 1 in ane-guide and ANEForge; exact for 1x1 in rustane on M4 Max",
        facts=(38,),
        check=_runtime_conv_weight,
    ),
    Rule(
        "runtime_conv_batch",
        "a conv with the weight of a run has batch 1",
        "the compiler service dies",
        "refused",
        "sbryngelson/ane-guide ch. 19; ANEForge",
        "several sources",
        "use matmul, or one conv for each element of the batch",
        facts=(38,),
        check=_runtime_conv_batch,
    ),
    Rule(
        "runtime_conv_groups",
        "a conv with the weight of a run has one group",
        "the compiler refuses the text: InvalidMILProgram",
        "refused",
        "imperatormk/ane-train",
        "one source",
        "make one conv for each group, or use matmul",
        chips=("m1",),
        facts=(38,),
        check=_runtime_conv_groups,
    ),
    Rule(
        "needs_m2",
        f"there is none of {', '.join(NEEDS_M2)}",
        "it does not compile on M1",
        "refused",
        "sbryngelson/ane-guide ch. 4, appendix A; ANEForge graph.py",
        "several sources",
        "compute it outside of the program, or use M2 or later",
        chips=("m1",),
        facts=(46,),
        check=_needs_m2,
    ),
    Rule(
        "needs_m3",
        f"there is none of {', '.join(NEEDS_M3)}",
        "it does not compile on M1 and M2",
        "refused",
        "sbryngelson/ane-guide ch. 4, appendix A; ANEForge graph.py",
        "several sources",
        "put the values into a constant or an input, or use M3 or later",
        chips=("m1", "m2"),
        facts=(46,),
        check=_needs_m3,
    ),
    Rule(
        "dynamic_slice",
        "slices have constant bounds",
        "it does not compile on M1",
        "refused",
        "sbryngelson/ane-guide ch. 4, appendix A; ANEForge graph.py",
        "several sources",
        "multiply with a mask and sum instead",
        chips=("m1",),
        facts=(46,),
        check=_dynamic_slice,
    ),
    Rule(
        "topk_k",
        "topk takes no k of 3 or 4",
        "it does not compile",
        "refused",
        "sbryngelson/ane-guide ch. 4, appendix A; ANEForge graph.py",
        "several sources",
        "take 5, and cut",
        facts=(46,),
        check=_topk_k,
    ),
    Rule(
        "conv_input_channels",
        "a conv takes fewer than 32000 channels",
        "it does not compile; 16385 did",
        "refused",
        "maderix/ANE training/ane_classifier.h",
        "one source",
        "use matmul",
        facts=(49,),
        check=_conv_input_channels,
    ),
    Rule(
        "int8_zero_point",
        "int8 weights have a zero point of 0",
        "M1 takes symmetric weights only",
        "advisory",
        "sbryngelson/ane-guide ch. 3",
        "one source",
        "quantize symmetrically",
        chips=("m1",),
        facts=(73,),
        check=_int8_zero_point,
    ),
)
