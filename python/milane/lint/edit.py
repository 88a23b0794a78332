"""What rewrites are made of: fresh names, constants, operations in front of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from milane import blob, mil
from milane.lint.view import FunctionView, Node, Operand

_NEW_WEIGHTS = "@model_path/weights/lint{}.bin"


class Editor:
    """A program that is being rewritten, and the weight files that this makes."""

    def __init__(self, program: mil.Program) -> None:
        self.program = program
        self._writer: blob.BlobWriter | None = None
        self._names: dict[str, set[str]] = {}
        text, number = str(program), 0
        self._path = _NEW_WEIGHTS.format("")
        while self._path in text:
            number += 1
            self._path = _NEW_WEIGHTS.format(number)

    def start(self, program: mil.Program) -> None:
        """Goes on with a program whose operations have places again."""
        self.program = program
        self._names = {}

    @property
    def weights(self) -> dict[str, bytes]:
        """The files that were made, by their path in the text."""
        return {} if self._writer is None else {self._path: self._writer.build()}

    def fresh(self, f: FunctionView, base: str) -> str:
        """A name that nothing in the function has."""
        taken = self._names.setdefault(
            f.function.name, {*f.made_by, *f.inputs, *(out for out in f.outputs)}
        )
        name, number = base, 0
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        return name

    def before(self, node: Node, operation: mil.Operation) -> None:
        """Puts an operation in front of another."""
        node.parent.insert(node.parent.index(node.op), operation)

    def constant(self, f: FunctionView, node: Node, base: str, value: mil.Value) -> str:
        """The name of a new constant in front of an operation."""
        name = self.fresh(f, base)
        self.before(node, constant(name, value))
        return name

    def number(self, f: FunctionView, node: Node, base: str, number: float, dtype: str) -> str:
        """The name of a new scalar in front of an operation."""
        return self.constant(f, node, base, mil.Value.from_numpy(np.array(number), dtype))

    def step(self, f: FunctionView, node: Node, type_: str, result: mil.Type, **inputs: Any) -> str:
        """The name of the result of a new operation in front of another."""
        name = self.fresh(f, f"{node.name}_{type_}")
        self.before(node, operation(type_, name, result, **inputs))
        return name

    def replace(self, node: Node, type_: str, **inputs: Any) -> None:
        """Puts an operation in another's place, under the same name and type."""
        out = node.outputs[0]
        self.before(node, operation(type_, out.name, out.type, **inputs))
        node.parent.remove(node.op)

    def store(self, array: npt.NDArray[Any], like: mil.Value) -> mil.Value:
        """A constant that stands where another did: in the text, or in a new weight file."""
        if not like.is_blob:
            return mil.Value.from_numpy(array, like.type.dtype)
        if self._writer is None:
            self._writer = blob.BlobWriter()
        index = self._writer.add(np.ascontiguousarray(array), like.type.dtype)
        type_ = mil.Type.tensor(like.type.dtype, array.shape)
        return mil.Value.blob(type_, self._path, self._writer.offset(index))


def constant(name: str, value: mil.Value) -> mil.Operation:
    """A constant."""
    attributes = {"name": mil.Value.string(name), "val": value}
    return mil.Operation("const", [(name, value.type)], {}, attributes)


def operation(type_: str, name: str, result: mil.Type, **inputs: Any) -> mil.Operation:
    """An operation with one result."""
    attributes = {"name": mil.Value.string(name)}
    return mil.Operation(type_, [(name, result)], inputs, attributes)


def unlisted(inputs: Mapping[str, list[Operand]]) -> dict[str, Any]:
    """Arguments as operation() takes them: a list for those of several operands alone."""
    return {name: o[0] if len(o) == 1 else o for name, o in inputs.items()}
