"""A function of a program as nodes and edges, with the text that each shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from milane import mil

# Inline constants with more elements show their type only.
_MOST_ELEMENTS = 8
LINE, LONGEST_LINE = 40, 56  # characters in a line of a node; in one that needs more
_MOST_LINES = 8
_TOOLTIP = 400
_BLOCKS = {"cond": ("if true", "if false"), "while_loop": ("while", "body")}


@dataclass
class Node:
    """One box.

    Attributes:
        id: unique in the picture, counted in the order of the program.
        kind: "op", "input", "output", "state", or "outside" for a value that a nested block takes
            from the code around it.
        title: the operation, or the value's name.
        names: the values it makes.
        types: their types, as edges show them.
        lines: what else the box says: its constant operands.
        tooltip: the MIL text.
        blocks: the nested blocks, drawn inside.
    """

    id: int
    kind: str
    title: str
    names: list[str]
    types: list[str]
    lines: list[str] = field(default_factory=list)
    tooltip: str = ""
    blocks: list[Graph] = field(default_factory=list)


@dataclass(frozen=True)
class Edge:
    """A value's way: `source` and `target` are places in `Graph.nodes`, `port` in `names`."""

    source: int
    port: int
    target: int
    operand: str


@dataclass
class Graph:
    """One function or block. Every edge leads from an earlier node to a later one."""

    caption: str
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    captured: list[str] = field(default_factory=list)


def of_function(function: mil.Function, *, constants: bool) -> Graph:
    """The graph of a function; ``constants`` makes every `const` a node of its own."""
    caption = f"{function.name}<{function.opset}>"
    scope = _Scope(caption, None, count(), set(_uses(function)), constants)
    return scope.build(function)


class _Scope:
    """Turns one block into a graph. Names that it does not define are asked of `outer`."""

    def __init__(
        self, caption: str, outer: _Scope | None, ids: Iterator[int], used: set[str], all_: bool
    ) -> None:
        self.graph = Graph(caption)
        self._outer = outer
        self._ids = ids
        self._used = used
        self._all = all_
        self._values: dict[str, tuple[int, int]] = {}
        self._constants: dict[str, mil.Operation] = {}

    def build(self, block: mil.Function | mil.Block) -> Graph:
        for value in block.inputs:
            kind = "state" if value.type.kind == "state" else "input"
            text = type_text(value.type)
            tooltip = f"{value.type} {value.name}"
            self._add(kind, value.name, [value.name], [text], tooltip=tooltip)
        outputs = block.outputs
        for operation in block.operations:
            self._operation(operation, outputs)
        for name in outputs:
            source, port = self._find(name)
            text = self.graph.nodes[source].types[port]
            target = self._add("output", name, [name], [], tooltip=f"-> {name}: {text}")
            self.graph.edges.append(Edge(source, port, target, ""))
        return self.graph

    def _add(
        self,
        kind: str,
        title: str,
        names: list[str],
        types: list[str],
        *,
        lines: Iterable[str] = (),
        tooltip: str = "",
        blocks: Iterable[Graph] = (),
    ) -> int:
        place = len(self.graph.nodes)
        if len(tooltip) > _TOOLTIP:
            tooltip = tooltip[: _TOOLTIP - 1] + "…"
        node = Node(next(self._ids), kind, title, names, types, list(lines), tooltip, list(blocks))
        self.graph.nodes.append(node)
        for port in range(len(types)):
            self._values[names[port]] = (place, port)
        return place

    def _operation(self, operation: mil.Operation, outputs: list[str]) -> None:
        values = operation.outputs
        names = [v.name for v in values]
        types = [type_text(v.type) for v in values]
        if operation.type == "const" and operation.value is not None and len(names) == 1:
            self._values.pop(names[0], None)
            if not self._all and names[0] in self._used and names[0] not in outputs:
                self._constants[names[0]] = operation
                return
            lines = [constant_text(operation.value)]
            self._add("op", "const", names, types, lines=lines, tooltip=str(operation))
            return
        found: list[tuple[tuple[int, int], str]] = []
        folded = []
        for operand, arguments in operation.inputs.items():
            for i, argument in enumerate(arguments):
                label = operand if len(arguments) == 1 else f"{operand}[{i}]"
                constant = self._constant(argument)
                if constant is not None:
                    folded.append(f"{label} {constant_text(constant)}")
                elif isinstance(argument, str):
                    found.append((self._find(argument), label))
        blocks = []
        captions = _BLOCKS.get(operation.type, ())
        for i, block in enumerate(operation.blocks):
            caption = captions[i] if i < len(captions) else f"block {i}"
            inner = _Scope(caption, self, self._ids, self._used, self._all).build(block)
            found += [
                (self._find(name), name) for name in inner.captured if self._constant(name) is None
            ]
            blocks.append(inner)
        lines = _pack(folded)
        text = str(operation)
        target = self._add(
            "op", operation.type, names, types, lines=lines, tooltip=text, blocks=blocks
        )
        for (source, port), label in dict.fromkeys(found):
            self.graph.edges.append(Edge(source, port, target, label))

    def _constant(self, argument: str | mil.Value) -> mil.Value | None:
        """The value, where the argument is one or names a constant that has no node."""
        if not isinstance(argument, str):
            return argument
        scope: _Scope | None = self
        while scope is not None and argument not in scope._values:
            if argument in scope._constants:
                return scope._constants[argument].value
            scope = scope._outer
        return None

    def _find(self, name: str) -> tuple[int, int]:
        """The node and port that make a value; a new node for one from outside of this block."""
        if name not in self._values:
            self.graph.captured.append(name)
            text, lines = self._outside(name)
            tooltip = f"{name}: from outside of this block"
            self._add("outside", name, [name], [text], lines=lines, tooltip=tooltip)
        return self._values[name]

    def _outside(self, name: str) -> tuple[str, list[str]]:
        constant = self._constant(name)
        if constant is not None:
            return type_text(constant.type), [constant_text(constant)]
        scope = self._outer
        while scope is not None and name not in scope._values:
            scope = scope._outer
        if scope is None:
            return "?", ["not defined"]
        place, port = scope._values[name]
        return scope.graph.nodes[place].types[port], []


def _uses(block: mil.Function | mil.Block) -> Iterator[str]:
    """Every name that an operation takes, in nested blocks too."""
    for operation in block.operations:
        for arguments in operation.inputs.values():
            yield from (a for a in arguments if isinstance(a, str))
        for nested in operation.blocks:
            yield from nested.outputs
            yield from _uses(nested)


def type_text(type_: mil.Type) -> str:
    """A type as edges show it: ``fp16 [1, ?, 64]``."""
    if type_.kind not in ("tensor", "state"):
        return str(type_)
    shape = ", ".join("?" if d is None else str(d) for d in type_.shape)
    return f"{type_.dtype} [{shape}]" if shape else type_.dtype


def constant_text(value: mil.Value) -> str:
    """A constant as nodes show it: the numbers where they are few, else type and file."""
    if value.is_blob:
        path = str(value.blob_path).replace("@model_path/", "@", 1)
        return f"{type_text(value.type)} {path}+{value.blob_offset}"
    if value.type.kind != "tensor":
        return str(value)
    shape = [0 if d is None else d for d in value.type.shape]
    if math.prod(shape) > _MOST_ELEMENTS:
        return type_text(value.type)
    array = value.to_numpy()
    return f'"{array}"' if isinstance(array, str) else _numbers(np.asarray(array))


def _numbers(array: np.ndarray) -> str:
    if array.ndim:
        return f"[{', '.join(_numbers(np.asarray(row)) for row in array)}]"
    return str(array).lower() if array.dtype == bool else str(array[()])


def _pack(items: list[str]) -> list[str]:
    """Items on as few lines as hold them in their order; one too long has its own."""
    lines: list[str] = []
    most = min(LONGEST_LINE, max([LINE, *map(len, items)]))
    for item in items:
        if lines and len(lines[-1]) + len(item) + 3 <= most:
            lines[-1] += " · " + item
        else:
            lines.append(item)
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [f"… {len(lines) - _MOST_LINES + 1} more lines"]
    return lines
