"""One walk over a program, kept in a form that many rules can ask quickly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milane import blob, mil
from milane._core import row_stride_for
from milane.errors import AneError

Operand = str | mil.Value
Shape = tuple[int | None, ...]

BYTES = {"fp64": 8, "int64": 8, "uint64": 8, "fp32": 4, "int32": 4, "uint32": 4} | {
    **{"fp16": 2, "bf16": 2, "int16": 2, "uint16": 2},
    **{"int8": 1, "uint8": 1, "bool": 1, "fp8e4m3fn": 1, "fp8e5m2": 1},
    **{"int4": 0.5, "uint4": 0.5, "uint6": 0.75, "uint3": 0.375, "uint2": 0.25, "uint1": 0.125},
}


@dataclass(slots=True, eq=False)
class Node:
    """An operation as a rule sees it."""

    op: mil.Operation
    parent: mil.Function | mil.Block
    type: str
    inputs: dict[str, list[Operand]]
    outputs: list[mil.NamedType]

    @property
    def name(self) -> str:
        """The name of its first result."""
        return self.outputs[0].name if self.outputs else ""

    def one(self, argument: str) -> Operand | None:
        """The operand of an argument that takes one; None when it is left out."""
        operands = self.inputs.get(argument)
        return operands[0] if operands else None

    def names(self) -> Iterator[str]:
        """The names of all operands."""
        for operands in self.inputs.values():
            for operand in operands:
                if isinstance(operand, str):
                    yield operand


class FunctionView:
    """A function: its operations in text order, who makes a value and who uses it."""

    def __init__(self, program: ProgramView, function: mil.Function) -> None:
        self.program = program
        self.function = function
        self.inputs = {value.name: value for value in function.inputs}
        self.outputs: list[str] = function.outputs
        self.nodes: list[Node] = []
        self.made_by: dict[str, Node] = {}
        self._types = {value.name: value.type for value in function.inputs}
        self._by_type: dict[str, list[Node]] = {}
        self._users: dict[str, list[Node]] | None = None
        self._shapes: dict[str, Shape | None] = {}
        self._walk(function)

    def _walk(self, block: mil.Function | mil.Block) -> None:
        for op in block.operations:
            node = Node(op, block, op.type, op.inputs, op.outputs)
            for nested in op.blocks:
                self._walk(nested)
            self.nodes.append(node)
            self._by_type.setdefault(node.type, []).append(node)
            for value in node.outputs:
                self.made_by[value.name] = node
                self._types[value.name] = value.type

    def of(self, *types: str) -> Iterator[Node]:
        """The operations of these types, one type after the other."""
        for type_ in types:
            yield from self._by_type.get(type_, ())

    def users(self, name: str) -> list[Node]:
        """The operations that take a value."""
        if self._users is None:
            self._users = {}
            for node in self.nodes:
                for used in node.names():
                    users = self._users.setdefault(used, [])
                    if not users or users[-1] is not node:
                        users.append(node)
        return self._users.get(name, [])

    def producer(self, operand: Operand | None) -> Node | None:
        """The operation that makes an operand; None for inputs and values in place."""
        return self.made_by.get(operand) if isinstance(operand, str) else None

    def feeding(self, node: Node) -> Iterator[Node]:
        """The operations that make a node's operands, constants left out."""
        for name in node.names():
            made = self.made_by.get(name)
            if made is not None and not _is_fixed(made):
                yield made

    def type_of(self, operand: Operand | None) -> mil.Type | None:
        """The declared type of an operand."""
        if isinstance(operand, mil.Value):
            return operand.type
        return self._types.get(operand) if operand is not None else None

    def shape(self, operand: Operand | None) -> Shape:
        """The sizes of a tensor; `()` also for what is no tensor or not known by name."""
        if isinstance(operand, str):
            if operand not in self._shapes:
                self._shapes[operand] = shape_of(self._types.get(operand))
            return self._shapes[operand] or ()
        return shape_of(self.type_of(operand)) or ()

    def dtype(self, operand: Operand | None) -> str:
        """The element type of a tensor; empty for what is none."""
        type_ = self.type_of(operand)
        return type_.dtype if type_ is not None and type_.kind == "tensor" else ""

    def is_constant(self, operand: Operand | None) -> bool:
        """Whether the program itself says what an operand is: const, constexpr_*, in place."""
        if isinstance(operand, mil.Value):
            return True
        made = self.producer(operand)
        return made is not None and _is_fixed(made)

    def value(self, operand: Operand | None) -> mil.Value | None:
        """The constant behind an operand, in the text or in a weight file."""
        if isinstance(operand, mil.Value):
            return operand
        made = self.producer(operand)
        return made.op.value if made is not None and made.type == "const" else None

    def number(self, operand: Operand | None) -> npt.NDArray[Any] | None:
        """The numbers of a constant in the text; None for anything else."""
        value = self.value(operand)
        if value is None or value.is_blob or value.type.kind != "tensor":
            return None
        array = value.to_numpy()
        return np.asarray(array) if not isinstance(array, str) else None

    def array(self, operand: Operand | None) -> npt.NDArray[Any] | None:
        """The numbers of a constant, from the text or from its weight file where that is here."""
        value = self.value(operand)
        if value is None or not value.is_blob:
            return self.number(operand)
        shape = [size or 0 for size in value.type.shape]
        data = self.program.data.get(operand) if isinstance(operand, str) else None
        if data is not None:
            return np.asarray(data).reshape(shape)
        file = self.program.weight_file(value)
        if file is None or value.type.dtype not in ("fp16", "fp32"):
            return None
        record = file.record_at(value.blob_offset or 0)
        if record.dtype != value.type.dtype or record.count != elements(value.type.shape):
            return None
        return np.asarray(record.array).reshape(shape)

    def integer(self, node: Node, argument: str, otherwise: int) -> int:
        """A constant whole number, or what the operation takes without one."""
        array = self.number(node.one(argument))
        return int(array.reshape(-1)[0]) if array is not None and array.size else otherwise

    def integers(self, node: Node, argument: str) -> list[int]:
        """A constant list of whole numbers; empty when it is left out."""
        array = self.number(node.one(argument))
        return [] if array is None else [int(n) for n in array.reshape(-1)]

    def word(self, node: Node, argument: str) -> str | None:
        """A constant string."""
        value = self.value(node.one(argument))
        if value is None or value.type.kind != "tensor" or value.type.dtype != "string":
            return None
        return str(value.to_numpy())


class ProgramView:
    """A program, function by function, and its weights: their folder, or arrays by name."""

    def __init__(
        self,
        program: mil.Program,
        model_folder: str | None = None,
        data: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        self.program = program
        self.data = data or {}
        self.model_folder = model_folder
        self._files: dict[str, blob.BlobFile | None] = {}
        self.functions = [FunctionView(self, function) for function in program.functions]

    def weight_file(self, value: mil.Value) -> blob.BlobFile | None:
        """The file a constant lies in; None where it is not here."""
        path = value.blob_path
        if path is None or self.model_folder is None:
            return None
        if path not in self._files:
            try:
                file = Path(mil.resolve_weight_path(path, self.model_folder))
            except AneError:  # outside of the model's folder: whoever compiles it is told
                self._files[path] = None
            else:
                self._files[path] = blob.read(file) if file.is_file() else None
        return self._files[path]


def _is_fixed(node: Node) -> bool:
    return node.type == "const" or node.type.startswith("constexpr_")


@lru_cache(maxsize=1)
def schemas() -> dict[str, mil.OpSchema]:
    """Every operation of the language by name."""
    return {op.name: op for op in mil.ops()}


def shape_of(type_: mil.Type | None) -> Shape | None:
    """The sizes of a tensor type; None for other kinds."""
    return type_.shape if type_ is not None and type_.kind == "tensor" else None


def known(shape: Shape) -> bool:
    """Whether no size is left open."""
    return None not in shape


def elements(shape: Shape) -> int:
    """How many elements; an open size counts as 1."""
    count = 1
    for size in shape:
        count *= size or 1
    return count


def row_bytes(type_: mil.Type) -> int:
    """The bytes of a tensor's last axis; 0 when that is open or there is none."""
    shape = shape_of(type_)
    if not shape or shape[-1] is None:
        return 0
    return int(shape[-1] * BYTES.get(type_.dtype, 0))


def padded_bytes(type_: mil.Type) -> int:
    """The bytes of a surface for a tensor: every row takes a multiple of 64."""
    shape = shape_of(type_) or ()
    row = row_bytes(type_)
    return elements(shape[:-1]) * row_stride_for(row, 1) if row else 0
