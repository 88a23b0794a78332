"""Rewrites that keep what a program computes: one for each rule that has a safe one.

Each takes one place where its rule does not hold, and mends it in the program itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from milane import mil
from milane.lint.checks_ops import gelu_mode, has_infinity
from milane.lint.edit import Editor, operation, unlisted
from milane.lint.fix_ports import copy_input, pad_row, split_channels, splits_channels
from milane.lint.rule import Changes, Hit
from milane.lint.view import FunctionView, Node, Operand

_INFO = 'dict<string, string>({{"coremlc-version", "3505.4.1"}})'
_MASKED = -40000.0
# Half precision cannot tell x + epsilon from x below this, subnormal x included.
_NO_EPSILON = 2.0**-36
_GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)
_GELU_CUBE = 0.044715
_GELU_SIGMOID = 1.702


@dataclass(frozen=True)
class Fix:
    """What a rewrite does, what it may change, and the function that does it."""

    what: str
    changes: Changes
    apply: Callable[[Editor, Hit], None]
    can: Callable[[Hit], bool] = lambda hit: hit.fixable


def _node(hit: Hit) -> Node:
    if hit.node is None:
        raise ValueError(f"expected a hit at an operation, got {hit.message}")
    return hit.node


def _build_info(edit: Editor, hit: Hit) -> None:
    edit.program.set_attribute("buildInfo", mil.Value(_INFO))


def _is_list_or_bool(operand: Operand) -> bool:
    if isinstance(operand, str) or operand.is_blob:
        return False
    listed = operand.type.kind != "tensor" or bool(operand.type.shape)
    return listed or operand.type.dtype == "bool"


def _named_operands(edit: Editor, hit: Hit) -> None:
    node, f = _node(hit), hit.function
    for argument, operands in node.op.inputs.items():
        if not any(_is_list_or_bool(o) for o in operands):
            continue
        named: list[str | mil.Value] = []
        for operand in operands:
            if isinstance(operand, mil.Value) and _is_list_or_bool(operand):
                base = f"{node.name}_{argument}"
                named.append(edit.constant(f, node, base, operand))
            else:
                named.append(operand)
        node.op.set_input(argument, named if len(named) > 1 else named[0])


def _conv_bias(edit: Editor, hit: Hit) -> None:
    node, f = _node(hit), hit.function
    out = node.outputs[0]
    shape = f.shape(out.name)
    wide = [1, shape[1], *([1] * (len(shape) - 2))]
    bias = node.one("bias")
    value = f.value(bias)
    if value is not None and value.is_blob:  # the same bytes under another shape
        like = mil.Type.tensor(value.type.dtype, wide)
        assert value.blob_path is not None
        assert value.blob_offset is not None
        reshaped = mil.Value.blob(like, value.blob_path, value.blob_offset)
        added = edit.constant(f, node, f"{out.name}_bias", reshaped)
    elif value is not None:
        array = np.asarray(value.to_numpy()).reshape([size or 1 for size in wide])
        reshaped = mil.Value.from_numpy(array, value.type.dtype)
        added = edit.constant(f, node, f"{out.name}_bias", reshaped)
    else:
        sizes = mil.Value.from_numpy(np.array(wide), "int32")
        shape_name = edit.constant(f, node, f"{out.name}_bias_shape", sizes)
        result = mil.Type.tensor(f.dtype(bias), wide)
        added = edit.step(f, node, "reshape", result, x=bias, shape=shape_name)
    kept = {name: o for name, o in node.op.inputs.items() if name != "bias"}
    conv = edit.step(f, node, node.type, out.type, **unlisted(kept))
    edit.replace(node, "add", x=conv, y=added)


def _can_split_bias(hit: Hit) -> bool:
    node, f = _node(hit), hit.function
    made = f.producer(node.one("bias"))
    compressed = made is not None and made.type.startswith("constexpr_")
    sizes = f.shape(node.name)
    return not compressed and len(sizes) >= 3 and sizes[1] is not None


def _gelu_mode(edit: Editor, hit: Hit) -> None:
    node, f = _node(hit), hit.function
    mode = mil.Value.string(gelu_mode(f, node))
    node.op.set_input("mode", edit.constant(f, node, f"{node.name}_mode", mode))


def _gelu(edit: Editor, hit: Hit) -> None:
    node, f = _node(hit), hit.function
    x, type_ = node.one("x"), node.outputs[0].type

    def step(kind: str, **inputs: Any) -> str:
        return edit.step(f, node, kind, type_, **inputs)

    def number(value: float) -> str:
        return edit.number(f, node, f"{node.name}_c", value, type_.dtype)

    if gelu_mode(f, node) == "SIGMOID_APPROXIMATION":
        gate = step("sigmoid", x=step("mul", x=x, y=number(_GELU_SIGMOID)))
        edit.replace(node, "mul", x=x, y=gate)
        return
    # x / 2 · (1 + tanh(x · (c + 0.044715 c x²))), c = sqrt(2 / pi)
    scaled = step("mul", x=step("mul", x=x, y=x), y=number(_GELU_CUBE * _GELU_SCALE))
    inner = step("mul", x=x, y=step("add", x=scaled, y=number(_GELU_SCALE)))
    gate = step("add", x=step("tanh", x=inner), y=number(1.0))
    edit.replace(node, "mul", x=step("mul", x=x, y=number(0.5)), y=gate)


def _masked_attention(edit: Editor, hit: Hit) -> None:
    node, f = _node(hit), hit.function
    query, key, mask = node.one("query"), node.one("key"), node.one("attn_mask")
    out = node.outputs[0]
    dtype = out.type.dtype
    q, k = f.shape(query), f.shape(key)
    width = q[-1] or 1
    lead = np.broadcast_shapes(_sizes(q[:-2]), _sizes(k[:-2]))
    scores_shape = [*lead, q[-2] or 1, k[-2] or 1]
    scores_type = mil.Type.tensor(dtype, scores_shape)
    masked_shape = np.broadcast_shapes(tuple(scores_shape), _sizes(f.shape(mask)))
    masked_type = mil.Type.tensor(dtype, masked_shape)

    scale = edit.number(f, node, f"{out.name}_scale", width**-0.5, dtype)
    scaled = edit.step(f, node, "mul", mil.Type.tensor(dtype, q), x=query, y=scale)
    yes = edit.constant(f, node, f"{out.name}_yes", mil.Value("bool(true)"))
    no = edit.constant(f, node, f"{out.name}_no", mil.Value("bool(false)"))
    product = {"x": scaled, "y": key, "transpose_x": no, "transpose_y": yes}
    scores = edit.step(f, node, "matmul", scores_type, **product)
    if f.dtype(mask) == "bool":
        low = edit.number(f, node, f"{out.name}_low", _MASKED, dtype)
        masked = edit.step(f, node, "select", masked_type, cond=mask, a=scores, b=low)
    else:
        masked = edit.step(f, node, "add", masked_type, x=scores, y=mask)
    axis = edit.constant(f, node, f"{out.name}_axis", mil.Value("int32(-1)"))
    weights = edit.step(f, node, "softmax", masked_type, x=masked, axis=axis)
    product = {"x": weights, "y": node.one("value"), "transpose_x": no, "transpose_y": no}
    edit.replace(node, "matmul", **product)


def _sizes(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(size or 1 for size in shape)


def _can_decompose(hit: Hit) -> bool:
    node, f = _node(hit), hit.function
    return hit.fixable and f.dtype(node.one("attn_mask")) in ("bool", f.dtype(node.name))


def _infinite_mask(edit: Editor, hit: Hit) -> None:
    f = hit.function
    for name in dict.fromkeys(_node(hit).names()):
        made = f.made_by.get(name)
        if made is None or made.type != "const" or not has_infinity(f, name):
            continue
        value = made.op.value
        assert value is not None
        if value.is_blob:  # the file stays as it is
            following = made.parent.operations[made.parent.index(made.op) + 1]
            after = Node(following, made.parent, following.type, {}, following.outputs)
            low = edit.number(f, after, f"{name}_low", _MASKED, value.type.dtype)
            finite = edit.fresh(f, f"{name}_finite")
            f.function.replace_uses(name, finite)
            edit.before(after, operation("maximum", finite, value.type, x=name, y=low))
        else:
            array = np.asarray(value.to_numpy())
            made.op.set_value(np.where(array < _MASKED, array.dtype.type(_MASKED), array))


def _root(edit: Editor, hit: Hit) -> None:
    node, f = _node(hit), hit.function
    x, type_ = node.one("x"), node.outputs[0].type
    epsilon = _epsilon(f, node)
    if epsilon >= _NO_EPSILON or (epsilon > 0 and type_.dtype == "fp32"):
        number = edit.number(f, node, f"{node.name}_epsilon", epsilon, type_.dtype)
        x = edit.step(f, node, "add", type_, x=x, y=number)
    power = -0.5 if node.type == "rsqrt" else 0.5
    exponent = edit.number(f, node, f"{node.name}_power", power, type_.dtype)
    edit.replace(node, "pow", x=x, y=exponent)


def _epsilon(f: FunctionView, node: Node) -> float:
    if node.type != "rsqrt":
        return 0.0
    array = f.number(node.one("epsilon"))
    return float(array.reshape(-1)[0]) if array is not None else 1e-12


def _can_raise(hit: Hit) -> bool:
    node, f = _node(hit), hit.function
    epsilon = _epsilon(f, node)
    # An epsilon that half precision has no number for, but that x + epsilon would show.
    lost = f.dtype(node.name) == "fp16" and epsilon >= _NO_EPSILON
    return not (lost and np.float16(epsilon) == 0)


def _square(edit: Editor, hit: Hit) -> None:
    node = _node(hit)
    edit.replace(node, "mul", x=node.one("x"), y=node.one("x"))


def _silu(edit: Editor, hit: Hit) -> None:
    node, f = _node(hit), hit.function
    x = node.one("x")
    gate = edit.step(f, node, "sigmoid", node.outputs[0].type, x=x)
    edit.replace(node, "mul", x=x, y=gate)


def _single(edit: Editor, hit: Hit) -> None:
    node = _node(hit)
    edit.replace(node, "identity", x=node.inputs["values"][0])


def _old_dialect(edit: Editor, hit: Hit) -> None:
    if edit.program.version == "1.0":
        edit.program[hit.function.function.name].opset = "ios16"
        return
    old = mil.Program("1.0")
    for name, value in edit.program.attributes.items():
        old.set_attribute(name, value)
    for function in edit.program.functions:
        edit.program.remove_function(function.name)
        function.opset = "ios16"
        old.add_function(function)
    edit.program = old


def _all_speak_ios16(hit: Hit) -> bool:
    from milane.lint.checks_text import newer_than_ios16  # noqa: PLC0415

    return not any(newer_than_ios16(f) for f in hit.function.program.functions)


FIXES = {
    "build_info": Fix("adds the dictionary", "nothing", _build_info),
    "named_operands": Fix("defines a constant in front of it", "nothing", _named_operands),
    "output_is_input": Fix(
        "returns mul(x, 1) under a new name", "ports", copy_input, lambda h: bool(h.name)
    ),
    "conv_bias": Fix("adds the bias behind the conv", "rounding", _conv_bias, _can_split_bias),
    "dimension": Fix(
        "splits a conv, linear or matmul of a constant that gives an output into several outputs",
        "ports",
        split_channels,
        splits_channels,
    ),
    "new_dialect": Fix(
        "writes program(1.0), ios16 and full scalar types",
        "nothing",
        _old_dialect,
        _all_speak_ios16,
    ),
    "row_alignment": Fix("pads the last axis of inputs and outputs to full rows", "ports", pad_row),
    "concat_inputs": Fix("writes identity", "nothing", _single),
    "gelu_mode": Fix("names the mode", "nothing", _gelu_mode),
    "gelu_approximation": Fix("writes it with tanh or sigmoid", "rounding", _gelu),
    "masked_attention": Fix(
        "writes matmul, add of the mask, softmax, matmul",
        "rounding",
        _masked_attention,
        _can_decompose,
    ),
    "infinite_mask": Fix(
        "writes -40000, where the mask goes into a softmax", "nothing", _infinite_mask
    ),
    "root_after_reduction": Fix("writes pow", "rounding", _root, _can_raise),
    "square_width": Fix("writes mul(x, x)", "nothing", _square),
    "silu_cast": Fix("writes mul(x, sigmoid(x))", "rounding", _silu),
}
