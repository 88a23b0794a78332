"""What a number or an array becomes where an operation takes a tensor."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from milane._core import mil as _mil
from milane.errors import DTypeError
from milane.graph.tensor import Tensor, has_tensors

# Float constants of more elements stand in the weight file. Integers stay in the text: the device
# takes integer weights nowhere but in compressed constants (ane_facts D 21).
INLINE_ELEMENTS = 16

SCHEMAS = {op.name: op for op in _mil.ops()}
_ARGUMENTS = {name: {arg.name: arg for arg in op.args} for name, op in SCHEMAS.items()}
# Arguments that take several values, by operation and name.
VARIADIC = {
    (name, arg.name) for name, args in _ARGUMENTS.items() for arg in args.values() if arg.variadic
}
# Arguments that came after their operation.
LATER_ARGUMENTS = {
    (name, arg.name): arg
    for name, args in _ARGUMENTS.items()
    for arg in args.values()
    if arg.since is not None
}
_FLOATS = ("fp16", "fp32")
# Arguments that are numbers of their own type, whatever the tensors beside them.
_INDEPENDENT = {
    (name, arg.name)
    for name, args in _ARGUMENTS.items()
    for arg in args.values()
    if not set(_FLOATS) & set(arg.dtypes)
    and (not arg.domain or [other.domain for other in args.values()].count(arg.domain) == 1)
}
_NARROW = ("int8", "int16", "uint8", "uint16")  # an array of these is meant as it is
_NUMBERS = frozenset((bool, int, float))
_ZERO: object = 0.0  # -0 equals 0, and is another constant


class Constant(NamedTuple):
    """A constant in the text.

    Attributes:
        value: itself.
        array: its elements as they were rounded, or its text.
    """

    value: _mil.Value
    array: npt.NDArray[Any] | str


class Large(NamedTuple):
    """A constant that is to stand in the weight file."""

    dtype: str
    array: npt.NDArray[Any]


# Constants that graphs have had, by what decides them; shared, as the same few stand everywhere.
_KEPT: dict[object, Constant] = {}
_KEPT_COUNT = 4096


def key_of(type: str, key: str, given: object, args: Mapping[str, Any]) -> object:
    """What decides the constant of an argument, where that is quicker to tell than it is; or None.

    Most constants are such, and the same few stand in every operation of a kind.
    """
    if isinstance(given, (list, tuple)):  # a union would be made anew each time
        if len(given) > INLINE_ELEMENTS or not _NUMBERS.issuperset(map(builtins.type, given)):
            return None
    elif builtins.type(given) not in _NUMBERS:
        return None
    if (type, key) in _INDEPENDENT:
        return (type, key, repr(given))
    dtypes: list[str] = []
    for other, value in args.items():
        if isinstance(value, Tensor):
            dtypes += (other, value.held)
        elif has_tensors(value):
            return None
    return (type, key, repr(given), *dtypes)


def of_argument(
    key: object, type: str, name: str, given: npt.ArrayLike, args: Mapping[str, Any]
) -> Constant | Large:
    """The constant of an operation's argument; ``key`` is that of :func:`key_of`.

    Raises:
        DTypeError: the argument takes nothing like it.
    """
    if key is not None and key in _KEPT:
        return _KEPT[key]
    array = np.asarray(given)
    dtype = _dtype_for(type, name, array, args)
    if dtype in _FLOATS and array.size > INLINE_ELEMENTS:
        return Large(dtype, given if isinstance(given, np.ndarray) else array)
    made = _converted(given if isinstance(given, float) else array, dtype)
    if key is not None:
        _keep(key, made)
    return made


def constant(given: npt.ArrayLike | str, dtype: str) -> Constant:
    """A constant of this type; ``"string"`` is one.

    Raises:
        DTypeError: it does not convert.
    """
    if not isinstance(given, (str, float)) or given == _ZERO:
        return _converted(given, dtype)
    key = (dtype, given)
    if key not in _KEPT:
        _keep(key, _converted(given, dtype))
    return _KEPT[key]


def _converted(given: npt.ArrayLike | str, dtype: str) -> Constant:
    if dtype == "string":
        return Constant(_mil.Value.string(str(given)), str(given))
    value = _mil.Value.from_numpy(given, dtype)
    array = value.to_numpy()
    assert isinstance(array, np.ndarray)
    return Constant(value, array)


def _keep(key: object, made: Constant) -> None:
    """Adds to what graphs share, which stays small: all of it is forgotten at a limit."""
    if isinstance(made.array, np.ndarray):
        made.array.flags.writeable = False
    if len(_KEPT) >= _KEPT_COUNT:
        _KEPT.clear()
    _KEPT[key] = made


def _partners(
    type: str, arg: _mil.ArgSchema | None, args: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """The dtypes of the tensors that must have the argument's own, and of all."""
    arguments = _ARGUMENTS.get(type, {})
    bound: list[str] = []
    every: list[str] = []
    for key, value in args.items():
        other = arguments.get(key)
        items: Sequence[Any] = value if isinstance(value, list | tuple) else (value,)
        for item in items:
            if isinstance(item, Tensor):
                every.append(item.held)
                if arg is not None and other is not None and arg.domain == other.domain != "":
                    bound.append(item.held)
    return bound, every


def _dtype_for(type: str, key: str, array: npt.NDArray[Any], args: Mapping[str, Any]) -> str:
    """The MIL type of a constant: its partner's, the first float operand's, or its own."""
    arg = _ARGUMENTS.get(type, {}).get(key)
    bound, every = _partners(type, arg, args)
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
