"""One function of a graph while it is being made."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from milane._core import mil as _mil
from milane.errors import AneError, DTypeError, InvalidArgumentError
from milane.graph.tensor import Operand, Tensor

if TYPE_CHECKING:
    from milane.graph.weights import WeightFiles

# Float constants of more elements stand in the weight file. Integers stay in the text: the device
# takes integer weights nowhere but in compressed constants (ane_facts D 21).
INLINE_ELEMENTS = 16

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_FLOATS = ("fp16", "fp32")
_NARROW = ("int8", "int16", "uint8", "uint16")  # an array of these is meant as it is
_SCHEMAS = {op.name: op for op in _mil.ops()}
_ARGUMENTS = {name: {arg.name: arg for arg in op.args} for name, op in _SCHEMAS.items()}
_SINCE = {name: int(op.since[3:]) for name, op in _SCHEMAS.items()}
_LATER_ARGUMENTS = {
    (name, arg.name): arg
    for name, args in _ARGUMENTS.items()
    for arg in args.values()
    if arg.since is not None
}
_LATER = {name for name, _ in _LATER_ARGUMENTS}
# By operation and argument, for arguments that are a number of their own type whatever the tensors
# beside them: the arguments whose tensors would decide, if there are any.
_MATES = {
    (name, arg.name): tuple(
        other.name for other in args.values() if other.domain == arg.domain and other is not arg
    )
    if arg.domain
    else ()
    for name, args in _ARGUMENTS.items()
    for arg in args.values()
    if not (arg.domain and set(_FLOATS) & set(arg.dtypes))
}
# Tuples, since a union of types is made anew in each isinstance().
_SEQUENCE = (list, tuple)
_NONE: dict[str, _mil.Value] = {}
_PLAIN = (bool, int, list, tuple)

# Constants that graphs have had, by operation, argument and text, and by dtype and number.
_Converted: TypeAlias = "tuple[_mil.Value, npt.NDArray[Any]]"
_WRITTEN: dict[tuple[str, str, str], _Converted] = {}
_NUMBERS: dict[tuple[str, float], _Converted] = {}
_KEPT = 4096


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
        return f"<Node {results} = {self.type}({_described(self.inputs)})>"


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
        with Located(f"constant {name!r}"):
            type = self.native.constant(self.take(name), value)
        return Tensor(self, name, type, None, array)

    def inline(self, given: npt.ArrayLike | str, dtype: str, base: str) -> Tensor:
        """A small constant in the text, one for all that are equal and passed as the same."""
        if dtype == "string":
            key: object = (base, str(given))
            if key not in self._constants:
                name = self.fresh(base)
                value = _mil.Value.string(str(given))
                self._constants[key] = self.constant(value, name, str(given))
            return self._constants[key]
        return self._inlined(*_converted(given, dtype), base)

    def _inlined(self, value: _mil.Value, array: npt.NDArray[Any] | str, base: str) -> Tensor:
        key = (base, value)
        if key not in self._constants:
            self._constants[key] = self.constant(value, self.fresh(base), array)
        return self._constants[key]

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
        return _placed(InvalidArgumentError(f"{what}: {message}"), what)

    # Operations

    def op(self, type: str, /, *, name: str | None = None, **args: Any) -> Tensor:
        """The single result of a new operation; see :meth:`milane.Graph.op`."""
        return _single(type, self.results(type, name=name, **args))

    def results(
        self,
        type: str,
        /,
        *,
        name: str | None = None,
        attributes: Mapping[str, _mil.Value] | None = None,
        literals: Mapping[str, _mil.Value] | None = None,
        blocks: Sequence[Nested] = (),
        types: Sequence[_mil.Type | str] = (),
        **args: Any,
    ) -> tuple[Tensor, ...]:
        """The results of a new operation; arguments that are None are left out.

        ``literals`` are arguments in the operation's own text; ``types`` are the results' where the
        operation alone does not say.
        """
        given = {key: value for key, value in args.items() if value is not None}
        try:
            self._check_opset(type)
            if type in _LATER:
                given = {k: value for k, value in given.items() if self._known(type, k, value)}
            inputs, operands = self._operands(type, given)
            if literals:
                operands.update(literals)
            made = self.native.add(
                type,
                self.fresh(type) if name is None else self.take(name),
                operands,
                attributes or _NONE,
                [nested.block for nested in blocks] if blocks else (),
                types,
            )
        except AneError as error:
            raise _placed(error, f"{type}({_described(given)})") from None
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

    def _check_opset(self, type: str) -> None:
        if _SINCE.get(type, 0) > self._opset_number:
            schema = _SCHEMAS[type]
            raise InvalidArgumentError(
                f"{type}: expected an operation of {self.opset}, got one that came with "
                f"{schema.since}\nhint: the dialect is chosen by Graph(dialect=...)"
            )

    def _known(self, type: str, key: str, value: Any) -> bool:
        """Whether an argument goes into the text: not where it is newer, and at its default.

        Raises:
            InvalidArgumentError: a newer one has another value.
        """
        arg = _LATER_ARGUMENTS.get((type, key))
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

    def _operands(
        self, type: str, given: dict[str, Any]
    ) -> tuple[dict[str, Tensor | tuple[Tensor, ...]], dict[str, Any]]:
        """Tensors for what was given, constants where it was none, and the names of all."""
        arguments = _ARGUMENTS.get(type, {})
        operands: dict[str, Tensor | tuple[Tensor, ...]] = {}
        names: dict[str, Any] = {}
        for key, value in given.items():
            if isinstance(value, Tensor):
                one = value if value._body is self else self._own(value)
            else:
                arg = arguments.get(key)
                if (arg is not None and arg.variadic) or _is_tuple(value):
                    items = value if isinstance(value, _SEQUENCE) else (value,)
                    many = tuple([self._operand(type, arg, key, v, given) for v in items])
                    operands[key] = many
                    names[key] = [tensor._name for tensor in many]
                    continue
                one = self._operand(type, arg, key, value, given)
            operands[key] = one
            names[key] = one._name
        return operands, names

    def _operand(
        self,
        type: str,
        arg: _mil.ArgSchema | None,
        key: str,
        given: Operand,
        others: dict[str, Any],
    ) -> Tensor:
        if isinstance(given, Tensor):
            return self._own(given)
        # What no partner decides is known by how it is written: most constants are such, and the
        # same few stand in every operation of a kind.
        written = None
        mates = _MATES.get((type, key))
        if (
            mates is not None
            and isinstance(given, _PLAIN)
            and not (mates and any(isinstance(others.get(mate), Tensor) for mate in mates))
        ):
            written = (type, key, repr(given))
            if written in self._constants:
                return self._constants[written]
            if written in _WRITTEN:
                constant = self._inlined(*_WRITTEN[written], key)
                self._constants[written] = constant
                return constant
        array = np.asarray(given)
        dtype = _dtype_for(arg, array, _partners(type, arg, others))
        if written is not None and dtype in ("bool", "int32") and array.size <= INLINE_ELEMENTS:
            _keep(_WRITTEN, written, _converted(array, dtype))
        if dtype in _FLOATS and array.size > INLINE_ELEMENTS:
            return self.shared(given if isinstance(given, np.ndarray) else array, dtype, key)
        if dtype == "string":
            return self.inline(str(given), dtype, key)
        return self.inline(given if isinstance(given, float) else array, dtype, key)

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


def _converted(given: npt.ArrayLike, dtype: str) -> _Converted:
    """A constant, and its elements as they were rounded."""
    number = (dtype, given) if type(given) is float and given != 0 else None  # -0 equals 0
    if number is not None and number in _NUMBERS:
        return _NUMBERS[number]
    value = _mil.Value.from_numpy(given, dtype)
    array = value.to_numpy()
    assert isinstance(array, np.ndarray)
    if number is not None:
        _keep(_NUMBERS, number, (value, array))
    return value, array


def _keep(kept: dict[Any, _Converted], key: object, made: _Converted) -> None:
    """Adds to what graphs share, which stays small: all of it is forgotten at a limit."""
    made[1].flags.writeable = False
    if len(kept) >= _KEPT:
        kept.clear()
    kept[key] = made


def _is_tuple(value: object) -> bool:
    """Whether a list holds tensors: a list of numbers is one constant."""
    return isinstance(value, _SEQUENCE) and Tensor in map(type, value)


def _partners(
    type: str, arg: _mil.ArgSchema | None, others: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """The dtypes of the tensors that must have the argument's own, and of all."""
    arguments = _ARGUMENTS.get(type, {})
    bound: list[str] = []
    every: list[str] = []
    for key, value in others.items():
        other = arguments.get(key)
        if isinstance(value, Tensor):
            items: Sequence[Any] = (value,)
        else:
            items = value if isinstance(value, _SEQUENCE) else ()
        for item in items:
            if isinstance(item, Tensor):
                held = item.type if item.type.kind == "tensor" else item.type.params[0]
                every.append(held.dtype)
                if arg is not None and other is not None and arg.domain == other.domain != "":
                    bound.append(held.dtype)
    return bound, every


def _dtype_for(
    arg: _mil.ArgSchema | None, array: npt.NDArray[Any], partners: tuple[list[str], list[str]]
) -> str:
    """The MIL type of a constant: its partner's, the first float operand's, or its own."""
    bound, every = partners
    kind = array.dtype.kind
    allowed: list[str] = list(arg.dtypes) if arg is not None else []
    if kind in "US":
        return "string"
    for dtype in bound:
        if dtype in allowed and (kind != "f" or dtype in _FLOATS):
            return dtype
    if array.dtype.name in _NARROW and array.dtype.name in allowed:
        return str(array.dtype.name)
    if arg is not None and arg.domain and kind in "iu":
        for dtype in every:
            if dtype in allowed and dtype in _FLOATS:
                return dtype
    if kind == "b" and (not allowed or "bool" in allowed):
        return "bool"
    if kind in "iu" and (not allowed or "int32" in allowed):
        return "int32"
    if kind in "fiub":
        own = ("fp32",) if array.dtype == np.float32 else ()
        floats: list[str] = [
            d for d in (*every, *own, *_FLOATS) if d in _FLOATS and (not allowed or d in allowed)
        ]
        if floats:
            return floats[0]
        if kind in "iub" and allowed:
            return allowed[0]
    raise DTypeError(
        f"expected {arg.name if arg else 'an argument'} to be {' or '.join(allowed) or 'numbers'}, "
        f"got an array of {array.dtype}"
    )


def _single(type: str, results: tuple[Tensor, ...]) -> Tensor:
    if len(results) == 1:
        return results[0]
    raise InvalidArgumentError(f"{type}: expected an operation of one result, got {len(results)}")


def _described(given: Mapping[str, Any]) -> str:
    """Arguments for a message: ``x: fp16 [1, 4], axis: -1``."""
    return ", ".join(f"{key}: {_short(value)}" for key, value in given.items())


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        if value.type.kind != "tensor":
            return str(value.type)
        if isinstance(value.value, str) or (value.value is not None and value.value.size <= 8):
            return repr(value.value if isinstance(value.value, str) else value.value.tolist())
        sizes = ", ".join("?" if size is None else str(size) for size in value.type.shape)
        return f"{value.dtype} [{sizes}]"
    if _is_tuple(value):
        return "(" + ", ".join(map(_short, value)) + ")"
    if isinstance(value, np.ndarray) and value.size > 8:
        return f"{value.dtype} array {list(value.shape)}"
    return repr(value.tolist() if isinstance(value, np.ndarray) else value)


def _placed(error: AneError, what: str) -> AneError:
    """The error again: the caller's own line first, the operation and its shapes last."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    message, _, hint = str(error).partition("\nhint: ")
    text = f"{frame.f_code.co_filename}:{frame.f_lineno}: {message}\n    {what}"
    if hint:
        text += f"\nhint: {hint}"
    placed = type(error)(text)
    for field in ("op", "cls", "code", "domain"):
        setattr(placed, field, getattr(error, field))
    placed.hint = error.hint or hint
    return placed


def apply(type: str, /, name: str | None = None, **args: Any) -> Tensor:
    """The single result of an operation, in the graph of its tensors.

    Raises:
        InvalidArgumentError: no argument is a tensor of a graph.
        MILVerifyError, DTypeError: as :meth:`milane.Graph.op`.
    """
    return _single(type, body_of(type, args).results(type, name=name, **args))


def apply_all(type: str, /, name: str | None = None, **args: Any) -> tuple[Tensor, ...]:
    """All results of an operation; as :func:`apply`."""
    return body_of(type, args).results(type, name=name, **args)


def body_of(what: str, args: Mapping[str, Any]) -> Body:
    """The function that the tensors among the arguments belong to."""
    for value in args.values():
        if isinstance(value, Tensor):
            return value._body
    for value in args.values():
        for item in value if isinstance(value, _SEQUENCE) else ():
            if isinstance(item, Tensor):
                return item._body
    error = InvalidArgumentError(
        f"{what}: expected a tensor among the arguments, got none"
        "\nhint: graph.constant(array) makes one"
    )
    raise _placed(error, f"{what}({_described(args)})")


class Located:
    """Puts the caller's line in front of what an addition raises."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, AneError):
            raise _placed(error, self._what) from None
