"""Rewrites that change the inputs and outputs of a function, and only with the caller's consent."""

from __future__ import annotations

import numpy as np

from milane import mil
from milane.lint.edit import Editor, constant, operation, unlisted
from milane.lint.rule import Hit
from milane.lint.view import BYTES, FunctionView, Node, Shape

MAX_CHANNELS = 65536


def copy_input(edit: Editor, hit: Hit) -> None:
    """Returns a product with 1 in an input's place."""
    f, name = hit.function, hit.name
    type_ = f.inputs[name].type
    one, copy = edit.fresh(f, f"{name}_one"), edit.fresh(f, f"{name}_out")
    f.function.append(constant(one, mil.Value.from_numpy(np.array(1), type_.dtype)))
    f.function.append(operation("mul", copy, type_, x=name, y=one))
    f.function.outputs = [copy if out == name else out for out in f.function.outputs]


def _sizes(numbers: list[int]) -> mil.Value:
    return mil.Value.from_numpy(np.array(numbers), "int32")


def pad_row(edit: Editor, hit: Hit) -> None:
    """Widens an input or output to a multiple of 64 bytes; the new columns are not read, or 0."""
    f, name = hit.function, hit.name
    type_ = f.type_of(name)
    assert type_ is not None
    shape = [size or 1 for size in type_.shape]
    step = int(64 / BYTES[type_.dtype])
    extra = -shape[-1] % step
    wide = mil.Type.tensor(type_.dtype, [*shape[:-1], shape[-1] + extra])
    narrow = edit.fresh(f, f"{name}_narrow")
    if name in f.inputs:
        f.function.replace_uses(name, narrow)
        f.function.inputs = [
            (i.name, wide if i.name == name else i.type) for i in f.function.inputs
        ]
        begin, size = edit.fresh(f, f"{name}_begin"), edit.fresh(f, f"{name}_size")
        sliced = operation("slice_by_size", narrow, type_, x=name, begin=begin, size=size)
        front = [constant(begin, _sizes([0] * len(shape))), constant(size, _sizes(shape)), sliced]
        for index, op in enumerate(front):
            f.function.insert(index, op)
        return
    f.function.rename_value(name, narrow)
    pad, mode, zero = (edit.fresh(f, f"{name}_{word}") for word in ("pad", "mode", "zero"))
    f.function.append(constant(pad, _sizes([0] * (2 * len(shape) - 1) + [extra])))
    f.function.append(constant(mode, mil.Value.string("constant")))
    f.function.append(constant(zero, mil.Value.from_numpy(np.array(0.0), type_.dtype)))
    padded = operation("pad", name, wide, x=narrow, pad=pad, mode=mode, constant_val=zero)
    f.function.append(padded)
    f.function.outputs = [name if out == narrow else out for out in f.function.outputs]


def _weight(f: FunctionView, node: Node) -> tuple[str, int, int] | None:
    """(argument, its axis of the output's channels, that axis in the result)."""
    rank = len(f.shape(node.name))
    if node.type == "conv" and f.integer(node, "groups", 1) == 1:
        return "weight", 0, 1
    if node.type == "linear":
        return "weight", 0, rank - 1
    if node.type == "matmul":
        for argument, own, turned in (("y", -1, -2), ("x", -2, -1)):
            weight = len(f.shape(node.one(argument)))
            if weight < 2 or f.value(node.one(argument)) is None:
                continue
            axis = turned if f.integer(node, f"transpose_{argument}", 0) else own
            return argument, weight + axis, rank + own
    return None


def _pieces(count: int) -> int:
    return -(-count // MAX_CHANNELS)


def splits_channels(hit: Hit) -> bool:
    """Whether a result is too long on its channels alone, and leaves the function at once."""
    node, f = hit.node, hit.function
    if node is None or node.name != hit.name or node.name not in f.outputs:
        return False
    found = _weight(f, node)
    shape: Shape = f.shape(node.name)
    if found is None or f.users(node.name) or None in shape:
        return False
    argument, _, axis = found
    too_long = [i for i, size in enumerate(shape) if (size or 0) > MAX_CHANNELS]
    readable = [a for a in (argument, "bias") if a in node.inputs]
    return too_long == [axis] and all(f.array(node.one(name)) is not None for name in readable)


def split_channels(edit: Editor, hit: Hit) -> None:
    """Computes pieces of at most 65536 channels: outputs NAME_0, NAME_1, …"""
    node, f = hit.node, hit.function
    assert node is not None
    found = _weight(f, node)
    assert found is not None
    argument, weight_axis, axis = found
    shape = [size or 1 for size in f.shape(node.name)]
    pieces = _pieces(shape[axis])
    parts = {argument: weight_axis} | ({"bias": 0} if "bias" in node.inputs else {})
    bounds = [shape[axis] * i // pieces for i in range(pieces + 1)]
    names = []
    for index in range(pieces):
        low, high = bounds[index], bounds[index + 1]
        inputs = dict(node.op.inputs)
        for part, part_axis in parts.items():
            array, like = f.array(node.one(part)), f.value(node.one(part))
            assert array is not None
            assert like is not None
            piece = np.take(array, range(low, high), axis=part_axis)
            base = f"{node.name}_{part}_{index}"
            inputs[part] = [edit.constant(f, node, base, edit.store(piece, like))]
        result = mil.Type.tensor(
            node.outputs[0].type.dtype, [*shape[:axis], high - low, *shape[axis + 1 :]]
        )
        name = edit.fresh(f, f"{node.name}_{index}")
        edit.before(node, operation(node.type, name, result, **unlisted(inputs)))
        names.append(name)
    node.parent.remove(node.op)
    for part in parts:  # nothing else uses the whole weight
        made = f.producer(node.one(part))
        if made is not None and f.users(made.name) == [node]:
            made.parent.remove(made.op)
    outputs = f.function.outputs
    at = outputs.index(node.name)
    f.function.outputs = [*outputs[:at], *names, *outputs[at + 1 :]]
