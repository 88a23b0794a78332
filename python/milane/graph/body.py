"""One function of a graph while it is being made."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from milane._core import mil as _mil
from milane.errors import AneError, InvalidArgumentError
from milane.graph.constants import (
    LATER_ARGUMENTS,
    SCHEMAS,
    VARIADIC,
    Constant,
    Large,
    constant,
    key_of,
    of_argument,
)
from milane.graph.located import Located, described, placed
from milane.graph.tensor import Operand, Tensor, has_tensors

if TYPE_CHECKING:
    from milane.graph.weights import WeightFiles

_LATER = {name for name, _ in LATER_ARGUMENTS}
_NONE: dict[str, _mil.Value] = {}


class Node:
    """One operation: what it takes and what it makes, as tensors.

    Attributes:
        type: the operation's MIL name.
        inputs: tensors by argument name; a tuple of them where the text has one.
        outputs: its results.
        captured: what its nested blocks use and give, where it has some.
    """

    __slots__ = ("__weakref__", "captured", "inputs", "outputs", "type")

    def __init__(self, type: str, inputs: dict[str, Tensor | tuple[Tensor, ...]]) -> None:
        self.type = type
        self.inputs = inputs
        self.outputs: tuple[Tensor, ...] = ()
        self.captured: tuple[Tensor, ...] = ()

    def __repr__(self) -> str:
        results = ", ".join(t.name for t in self.outputs)
        return f"<Node {results} = {self.type}({described(self.inputs)})>"


@dataclass(frozen=True)
class Nested:
    """A block of cond or while_loop.

    Attributes:
        block: itself.
        outputs: what it gives.
        single: whether it was made by a function that gives a tensor, not a list.
        used: every tensor its operations take, and its outputs.
    """

    block: _mil.Block
    outputs: tuple[Tensor, ...]
    single: bool
    used: tuple[Tensor, ...]


class Body:
    """The function: its operations so far, and the constants they share."""

    def __init__(self, program: _mil.Program, name: str, opset: str, files: WeightFiles) -> None:
        self.name = name
        self.opset = opset
        self._opset_number = int(opset[3:])
        self._missing = _missing(self._opset_number)
        self.native = _mil.Builder(program, _mil.Function(name, opset))
        self.inputs: list[Tensor] = []
        self.nodes: list[Node] = []
        self.outputs: dict[str, Tensor] = {}
        self._files = files
        self._taken: dict[str, int] = {}
        # By content; the tensors' own values keep the arrays behind the ids alive.
        self._constants: dict[object, Tensor] = {}

    # Names

    def fresh(self, base: str) -> str:
        """A name that no value has yet: ``base_0``, ``base_1``, …"""
        while True:
            n = self._taken.get(base, 0)
            self._taken[base] = n + 1
            name = f"{base}_{n}"
            if name not in self._taken:
                self._taken[name] = 0
                return name

    def take(self, name: str) -> str:
        """The name itself, from now on in use."""
        self._taken.setdefault(name, 0)
        return name

    # Values that no operation makes

    def input(self, name: str, type: _mil.Type) -> Tensor:
        """A parameter of the function."""
        with Located(f"input {name!r}"):
            self.native.input(self.take(name), type)
        tensor = Tensor(self, name, type)
        self.inputs.append(tensor)
        return tensor

    def constant(self, value: _mil.Value, name: str, array: npt.NDArray[Any] | str) -> Tensor:
        """A constant in the text."""
        try:
            type = self.native.constant(self.take(name), value)
        except AneError as error:
            raise placed(error, f"constant {name!r}") from None
        return Tensor(self, name, type, None, array)

    def inline(self, given: npt.ArrayLike | str, dtype: str, base: str) -> Tensor:
        """A small constant in the text, one for all that are equal and passed as the same."""
        return self._inlined(constant(given, dtype), base)

    def _inlined(self, made: Constant, base: str) -> Tensor:
        key = (base, made.value)
        found = self._constants.get(key)
        if found is None:
            found = self.constant(made.value, self.fresh(base), made.array)
            self._constants[key] = found
        return found

    def stored(
        self,
        name: str,
        dtype: str,
        shape: Sequence[int],
        array: npt.NDArray[Any] | None,
        path: str | None,
    ) -> Tensor:
        """A constant in a weight file."""
        with Located(f"weight {name!r}"):
            value = self._files.place(name, dtype, shape, array, path)
            type = self.native.constant(self.take(name), value)
        return Tensor(self, name, type, None, array)

    def shared(self, array: npt.NDArray[Any], dtype: str, base: str) -> Tensor:
        """A large constant in the weight file, once for each array object."""
        key = (id(array), dtype)
        if key not in self._constants:
            name = self._files.fresh(self, base)
            self._constants[key] = self.stored(name, dtype, array.shape, array, None)
        return self._constants[key]

    def place(self, name: str, dtype: str, array: npt.NDArray[Any]) -> _mil.Value:
        """The reference to an array in the weight file: a part of a compressed constant."""
        return self._files.place(name, dtype, array.shape, array, None)

    def mistake(self, what: str, message: str) -> AneError:
        """An error at the caller's own line."""
        return placed(InvalidArgumentError(f"{what}: {message}"), what)

    def clear(self) -> None:
        """Lets go of every tensor, and they of each other."""
        for node in self.nodes:
            node.outputs = ()
        self.nodes.clear()
        self.inputs.clear()
        self.outputs.clear()
        self._constants.clear()

    # Operations

    def op(self, type: str, /, *, name: str | None = None, **args: Any) -> Tensor:
        """The single result of a new operation; see :meth:`milane.Graph.op`."""
        return _single(type, self.results(type, args, name=name))

    def results(
        self,
        type: str,
        args: Mapping[str, Any],
        *,
        name: str | None = None,
        attributes: Mapping[str, _mil.Value] = _NONE,
        literals: Mapping[str, _mil.Value] = _NONE,
        blocks: Sequence[Nested] = (),
        types: Sequence[_mil.Type | str] = (),
    ) -> tuple[Tensor, ...]:
        """The results of a new operation; arguments that are None are left out.

        ``literals`` are arguments in the operation's own text; ``types`` are the results' where the
        operation alone does not say.
        """
        inputs: dict[str, Tensor | tuple[Tensor, ...]] = {}
        operands: dict[str, Any] = {}
        try:
            if type in self._missing:
                raise self._too_new(type)
            if type in _LATER:
                args = {k: v for k, v in args.items() if v is None or self._known(type, k, v)}
            for key, value in args.items():
                if isinstance(value, Tensor) and value._body is self:
                    inputs[key] = value
                    operands[key] = value._name
                elif value is not None:
                    one = inputs[key] = self._operand(type, key, value, args)
                    operands[key] = [t._name for t in one] if isinstance(one, tuple) else one._name
            if literals:
                operands.update(literals)
            made = self.native.add(
                type,
                self.fresh(type) if name is None else self.take(name),
                operands,
                attributes,
                [nested.block for nested in blocks] if blocks else (),
                types,
            )
        except AneError as error:
            raise placed(error, f"{type}({described(args)})") from None
        node = Node(type, inputs)
        node.outputs = tuple([Tensor(self, n, t, node) for n, t in made])
        if blocks:
            node.captured = tuple(tensor for nested in blocks for tensor in nested.used)
        if len(made) > 1:  # one alone has the name that is taken
            for result, _ in made:
                self.take(result)
        self.nodes.append(node)
        return node.outputs

    def nested(
        self,
        make: Callable[..., Tensor | Sequence[Tensor]],
        types: Sequence[_mil.Type] = (),
        name: str = "block",
    ) -> Nested:
        """The block of an operation: what ``make`` adds, given a tensor of each of the types.

        Constants made inside are the block's own, as its results are.
        """
        outer, known = self.nodes, dict(self._constants)
        parameters = [Tensor(self, self.fresh(name), type) for type in types]
        self.native.begin_block([(p.name, p.type) for p in parameters])
        self.nodes = []
        outputs: tuple[Tensor, ...] = ()
        try:
            made = make(*parameters)
            several = tuple(made) if isinstance(made, list | tuple) else (made,)
            if not all(isinstance(item, Tensor) for item in several):
                raise self.mistake(
                    "block", f"expected tensors of the graph from its function, got {made!r}"
                )
            with Located("block"):
                outputs = tuple(self._own(tensor) for tensor in several)
        finally:
            inner, self.nodes, self._constants = self.nodes, outer, known
            block = self.native.end_block([tensor.name for tensor in outputs])
        return Nested(block, outputs, not isinstance(made, list | tuple), used_by(inner) + outputs)

    def rename(self, tensor: Tensor, name: str) -> None:
        """Gives a result another name, everywhere."""
        with Located(f"output {name!r}"):
            self.native.rename(tensor.name, name)
        self.take(name)
        tensor._name = name

    def _too_new(self, type: str) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"{type}: expected an operation of {self.opset}, got one that came with "
            f"{SCHEMAS[type].since}\nhint: the dialect is chosen by Graph(dialect=...)"
        )

    def _known(self, type: str, key: str, value: Any) -> bool:
        """Whether an argument goes into the text: not where it is newer, and at its default.

        Raises:
            InvalidArgumentError: a newer one has another value.
        """
        arg = LATER_ARGUMENTS.get((type, key))
        if arg is None or arg.since is None or int(arg.since[3:]) <= self._opset_number:
            return True
        if (
            isinstance(value, bool | int | float | str)
            and arg.default is not None
            and value == arg.default
        ):
            return False
        raise InvalidArgumentError(
            f"{type}: expected no {key} in {self.opset}, got one that came with {arg.since}"
            "\nhint: the dialect is chosen by Graph(dialect=...)"
        )

    def _operand(
        self, type: str, key: str, given: Operand, args: Mapping[str, Any]
    ) -> Tensor | tuple[Tensor, ...]:
        """The tensor for what was given, several for an argument that is a tuple."""
        if (type, key) in VARIADIC or has_tensors(given):
            items: Sequence[Any] = given if isinstance(given, (list, tuple)) else (given,)
            return tuple([self._one(type, key, item, args) for item in items])
        return self._one(type, key, given, args)

    def _one(self, type: str, key: str, given: Operand, args: Mapping[str, Any]) -> Tensor:
        if isinstance(given, Tensor):
            return self._own(given)
        if isinstance(given, str):
            return self.inline(given, "string", key)
        known = key_of(type, key, given, args)
        found = self._constants.get(known)  # what has no key is never found
        if found is None:
            made = of_argument(known, type, key, given, args)
            if isinstance(made, Large):
                return self.shared(made.array, made.dtype, key)
            found = self._inlined(made, key)
            if known is not None:
                self._constants[known] = found
        return found

    def _own(self, tensor: Tensor) -> Tensor:
        if tensor._body is not self:
            raise InvalidArgumentError(
                f"expected a tensor of the function {self.name}, got {tensor!r} of "
                f"{tensor._body.name}\nhint: tensors of one graph and function go together"
            )
        return tensor


def used_by(nodes: Sequence[Node]) -> tuple[Tensor, ...]:
    """What the nodes take, blocks included."""
    used: list[Tensor] = []
    for node in nodes:
        for given in node.inputs.values():
            used += given if isinstance(given, tuple) else (given,)
        used += node.captured
    return tuple(used)


@functools.cache
def _missing(opset: int) -> frozenset[str]:
    """The operations that came after an opset."""
    return frozenset(name for name, op in SCHEMAS.items() if int(op.since[3:]) > opset)


def _single(type: str, results: tuple[Tensor, ...]) -> Tensor:
    if len(results) == 1:
        return results[0]
    raise InvalidArgumentError(f"{type}: expected an operation of one result, got {len(results)}")


def apply(type: str, /, name: str | None = None, **args: Any) -> Tensor:
    """The single result of an operation, in the graph of its tensors.

    Raises:
        InvalidArgumentError: no argument is a tensor of a graph.
        MILVerifyError, DTypeError: as :meth:`milane.Graph.op`.
    """
    return _single(type, body_of(type, args).results(type, args, name=name))


def apply_all(type: str, /, name: str | None = None, **args: Any) -> tuple[Tensor, ...]:
    """All results of an operation; as :func:`apply`."""
    return body_of(type, args).results(type, args, name=name)


def body_of(what: str, args: Mapping[str, Any]) -> Body:
    """The function that the tensors among the arguments belong to."""
    for value in args.values():
        if isinstance(value, Tensor):
            return value._body
    for value in args.values():
        for item in value if isinstance(value, (list, tuple)) else ():
            if isinstance(item, Tensor):
                return item._body
    error = InvalidArgumentError(
        f"{what}: expected a tensor among the arguments, got none"
        "\nhint: graph.constant(array) makes one"
    )
    raise placed(error, f"{what}({described(args)})")
