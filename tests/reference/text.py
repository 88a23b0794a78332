"""A small recursive-descent parser of MIL text, written apart from the package under test."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_TOKEN = re.compile(
    r"""
    (?P<skip>[ \t\r\n]+ | //[^\n]* | /\*.*?\*/)
  | (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?(?:[pP][+-]?\d+)?
      | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?
      | (?:inf(?:inity)?|nan)\b)
      | [+-](?:inf(?:inity)?|nan)\b)
  | (?P<name>[A-Za-z_][A-Za-z0-9_@.]*)
  | (?P<arrow>->)
  | (?P<mark>[\[\](){}<>=,;?*:])
    """,
    re.VERBOSE | re.DOTALL,
)

_BITS = {"fp": (16, 32, 64), "int": (4, 8, 16, 32, 64), "uint": (1, 2, 3, 4, 6, 8, 16, 32, 64)}
DTYPES = frozenset(f"{kind}{n}" for kind, sizes in _BITS.items() for n in sizes) | {
    "bool",
    "string",
    "bf16",
}
_COMPOUND = frozenset({"tensor", "list", "tuple", "dict", "state", "tensor_buffer"})


class TextError(ValueError):
    """The text is not MIL; the message names the line."""


@dataclass(frozen=True)
class Type:
    """`kind` is tensor, state, or another compound whose parts nothing here reads."""

    kind: str
    dtype: str = ""
    shape: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class Ref:
    """An argument that names a value."""

    name: str


@dataclass(frozen=True)
class Blob:
    """BLOBFILE(path, offset)."""

    path: str
    offset: int


@dataclass(frozen=True)
class Value:
    """A typed literal: numbers stay text until the dtype is known, lists are nested."""

    type: Type
    data: object


Arg = Ref | Value | list["Arg"]


@dataclass(frozen=True)
class Operation:
    """One statement: results, operation name, arguments and attributes."""

    outputs: list[tuple[Type, str]]
    op: str
    args: dict[str, Arg]
    attributes: dict[str, Arg]
    line: int


@dataclass(frozen=True)
class Function:
    """One function of a program."""

    name: str
    opset: str
    params: list[tuple[Type, str]]
    operations: list[Operation]
    outputs: list[str]


@dataclass(frozen=True)
class Program:
    """All functions of a text, in order."""

    version: str
    functions: dict[str, Function]

    def function(self, name: str | None) -> Function:
        """Return the function of that name; `main`, else the first, when name is None."""
        if name is not None:
            return self.functions[name]
        return self.functions.get("main") or next(iter(self.functions.values()))


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise TextError(f"line {self.line(at)}: unreadable {text[at : at + 20]!r}")
            if match.lastgroup != "skip":
                self.tokens.append((match.lastgroup or "", match.group(), at))
            at = match.end()
        self.i = 0

    def line(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    def fail(self, message: str) -> TextError:
        at = self.tokens[self.i][2] if self.i < len(self.tokens) else len(self.text)
        return TextError(f"line {self.line(at)}: {message}, got {self.text[at : at + 40]!r}")

    def peek(self, ahead: int = 0) -> str:
        i = self.i + ahead
        return self.tokens[i][1] if i < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.i][0] if self.i < len(self.tokens) else "end"

    def take(self) -> str:
        self.i += 1
        return self.tokens[self.i - 1][1]

    def expect(self, mark: str) -> None:
        if self.peek() != mark:
            raise self.fail(f"expected {mark!r}")
        self.i += 1

    def name(self) -> str:
        if self.kind() != "name" and not self.peek().isalpha():  # `inf` may be a name
            raise self.fail("expected a name")
        return self.take()

    def items(self, close: str, one: Callable[[], T]) -> list[T]:
        """Read comma-separated items up to and including `close`."""
        found: list[T] = []
        while self.peek() != close:
            found.append(one())
            if self.peek() != close:
                self.expect(",")
        self.expect(close)
        return found

    def dim(self) -> int | None:
        text = self.take()
        return None if text in "?*" else int(text)

    def type(self) -> Type:
        kind = self.name()
        if kind in DTYPES:
            return Type("tensor", kind)
        if kind not in _COMPOUND:
            raise self.fail(f"unknown type {kind}")
        self.expect("<")
        if kind == "tensor":
            dtype = self.name()
            self.expect(",")
            self.expect("[")
            shape = self.items("]", self.dim)
            self.expect(">")
            return Type("tensor", dtype, tuple(shape))
        if kind == "state":
            inner = self.type()
            self.expect(">")
            return Type("state", inner.dtype, inner.shape)
        self.skip_angles()
        return Type(kind)

    def skip_angles(self) -> None:
        depth = 1
        while depth:
            token = self.take()
            depth += (token == "<") - (token == ">")

    def starts_type(self) -> bool:
        follow = self.peek(1)
        return (self.peek() in DTYPES and follow == "(") or (
            self.peek() in _COMPOUND and follow == "<"
        )

    def literal(self) -> object:
        token = self.peek()
        if token == "BLOBFILE":
            self.i += 1
            self.expect("(")
            parts = dict(self.items(")", self.attribute))
            path, offset = parts["path"], parts["offset"]
            assert isinstance(path, Value)
            assert isinstance(offset, Value)
            return Blob(str(path.data), int(str(offset.data), 0))
        if token in "[({":
            self.i += 1
            return self.items({"[": "]", "(": ")", "{": "}"}[token], self.literal)
        if self.starts_type():
            return self.value()
        if self.kind() == "string":
            return re.sub(r"\\(.)", r"\1", self.take()[1:-1])
        if self.kind() in ("number", "name"):
            return self.take()
        raise self.fail("expected a literal")

    def value(self) -> Value:
        type_ = self.type()
        self.expect("(")
        if self.peek() == ")":
            self.i += 1
            return Value(type_, [])
        data = self.literal()
        self.expect(")")
        return Value(type_, data)

    def argument(self) -> Arg:
        if self.peek() == "(":
            self.i += 1
            return self.items(")", self.argument)
        return self.value() if self.starts_type() else Ref(self.name())

    def attribute(self) -> tuple[str, Arg]:
        name = self.name()
        self.expect("=")
        return name, self.argument()

    def attributes(self) -> dict[str, Arg]:
        if self.peek() != "[":
            return {}
        self.i += 1
        return dict(self.items("]", self.attribute))

    def statement(self) -> Operation:
        line = self.line(self.tokens[self.i][2])
        outputs: list[tuple[Type, str]] = []
        if not (self.kind() == "name" and self.peek(1) == "("):  # else: a call without results
            outputs.append((self.type(), self.name()))
            while self.peek() == ",":
                self.i += 1
                outputs.append((self.type(), self.name()))
            self.expect("=")
        op = self.name()
        if self.peek() == "<":
            self.i += 1
            self.skip_angles()
        self.expect("(")
        args = dict(self.items(")", self.attribute))
        attributes = self.attributes()
        self.expect(";")
        return Operation(outputs, op, args, attributes, line)

    def param(self) -> tuple[Type, str]:
        return self.type(), self.name()

    def function(self) -> Function:
        self.expect("func")
        name = self.name()
        self.expect("<")
        opset = self.name()
        self.expect(">")
        self.expect("(")
        params = self.items(")", self.param)
        self.attributes()
        self.expect("{")
        body: list[Operation] = []
        while self.peek() != "}":
            body.append(self.statement())
        self.expect("}")
        self.expect("->")
        self.expect("(")
        outputs = self.items(")", self.name)
        self.expect(";")
        return Function(name, opset, params, body, outputs)

    def program(self) -> Program:
        self.expect("program")
        self.expect("(")
        version = self.take()
        self.expect(")")
        self.attributes()
        self.expect("{")
        functions: dict[str, Function] = {}
        while self.peek() == "func":
            function = self.function()
            functions[function.name] = function
        self.expect("}")
        return Program(version, functions)


def parse(text: str) -> Program:
    """Return the program a MIL text spells."""
    return _Parser(text).program()
