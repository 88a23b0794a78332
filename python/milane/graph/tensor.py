"""The values of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from milane._core import mil as _mil
from milane.errors import InvalidArgumentError

if TYPE_CHECKING:
    from milane.graph.body import Body, Node

# What an operation takes: a value of the graph, or what becomes a constant of it.
Operand: TypeAlias = "Tensor | npt.ArrayLike"


class Tensor:
    """A value of a graph: a name and a type, no data.

    ``+ - * / ** @``, the comparisons ``< <= > >=``, unary ``-``, ``abs()`` and slices make
    operations of the graph; the other operand may be a number or an array, which becomes a constant
    of this tensor's dtype. ``==`` compares identity.
    """

    __slots__ = ("__weakref__", "_body", "_held", "_name", "_node", "_type", "_value")

    # NumPy shall leave `array + tensor` to the tensor.
    __array_ufunc__ = None

    def __init__(
        self,
        body: Body,
        name: str,
        type: _mil.Type,
        node: Node | None = None,
        value: npt.NDArray[Any] | str | None = None,
    ) -> None:
        self._body = body
        self._name = name
        self._type = type
        self._held = ""
        self._node = node
        self._value = value

    @property
    def name(self) -> str:
        """The value's name in the text."""
        return self._name

    @property
    def type(self) -> _mil.Type:
        """The MIL type."""
        return self._type

    @property
    def dtype(self) -> str:
        """The elements' MIL type, such as ``"fp16"``."""
        return self._type.dtype

    @property
    def held(self) -> str:
        """The elements' MIL type, of a state too."""
        if not self._held:
            type = self._type
            self._held = type.dtype if type.kind == "tensor" else type.params[0].dtype
        return self._held

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of every axis.

        Raises:
            InvalidArgumentError: a size is only known at run time (:attr:`type` shows which).
        """
        shape = self._type.shape
        if None in shape:
            raise InvalidArgumentError(
                f"{self._name}: expected known sizes, got {self._type}\n"
                "hint: tensor.type.shape gives None for a size known at run time only"
            )
        return shape  # type: ignore[return-value]  # no None is left

    @property
    def rank(self) -> int:
        """How many axes there are."""
        return len(self._type.shape)

    @property
    def node(self) -> Node | None:
        """The operation that makes it; None for inputs, constants and weights."""
        return self._node

    @property
    def value(self) -> npt.NDArray[Any] | str | None:
        """A constant's content where the graph was given it; None for everything else."""
        return self._value

    def __repr__(self) -> str:
        return f"<Tensor {self._name}: {self._type}>"

    def __bool__(self) -> bool:
        raise InvalidArgumentError(
            f"{self._name}: expected a value known in Python, got a tensor of the graph\n"
            "hint: ops.select chooses between tensors"
        )

    def __len__(self) -> int:
        return self.shape[0]

    __iter__ = None  # without it, Python would try __getitem__ without end

    def __add__(self, other: Operand) -> Tensor:
        return _op("add", self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return _op("add", other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return _op("sub", self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return _op("sub", other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return _op("mul", self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return _op("mul", other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return _op("real_div", self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return _op("real_div", other, self)

    def __floordiv__(self, other: Operand) -> Tensor:
        return _op("floor_div", self, other)

    def __rfloordiv__(self, other: Operand) -> Tensor:
        return _op("floor_div", other, self)

    def __mod__(self, other: Operand) -> Tensor:
        return _op("mod", self, other)

    def __rmod__(self, other: Operand) -> Tensor:
        return _op("mod", other, self)

    def __pow__(self, other: Operand) -> Tensor:
        return _op("pow", self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return _op("pow", other, self)

    def __lt__(self, other: Operand) -> Tensor:
        return _op("less", self, other)

    def __le__(self, other: Operand) -> Tensor:
        return _op("less_equal", self, other)

    def __gt__(self, other: Operand) -> Tensor:
        return _op("greater", self, other)

    def __ge__(self, other: Operand) -> Tensor:
        return _op("greater_equal", self, other)

    def __matmul__(self, other: Operand) -> Tensor:
        return self._body.op("matmul", x=self, y=other, transpose_x=False, transpose_y=False)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return self._body.op("matmul", x=other, y=self, transpose_x=False, transpose_y=False)

    def __neg__(self) -> Tensor:
        return _op("mul", self, -1)

    def __abs__(self) -> Tensor:
        return self._body.op("abs", x=self)

    def __getitem__(self, key: object) -> Tensor:
        """Part of the tensor, as NumPy's basic slicing gives it: integers drop their axis."""
        return self._body.op("slice_by_index", x=self, **_slices(self, key))


def has_tensors(value: object) -> bool:
    """Whether it is a list with tensors: a list of numbers is one constant."""
    return isinstance(value, (list, tuple)) and Tensor in map(type, value)


def _op(name: str, x: Operand, y: Operand) -> Tensor:
    body = x._body if isinstance(x, Tensor) else y._body  # type: ignore[union-attr]
    return body.op(name, x=x, y=y)


def _slices(tensor: Tensor, key: object) -> dict[str, Any]:
    """The arguments of slice_by_index for a NumPy index of integers, slices and ``...``."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if keys.count(Ellipsis) > 1 or len(keys) - keys.count(Ellipsis) > tensor.rank:
        raise InvalidArgumentError(
            f"{tensor.name}: expected at most {tensor.rank} indices, got {len(keys)}"
        )
    at = keys.index(Ellipsis) if Ellipsis in keys else len(keys)
    missing = tensor.rank - (len(keys) - keys.count(Ellipsis))
    keys[at : at + 1] = [slice(None)] * missing
    begin, end, stride = [], [], []
    begin_mask, end_mask, squeeze = [], [], []
    for axis, item in enumerate(keys):
        if isinstance(item, slice):
            step = 1 if item.step is None else int(item.step)
            begin.append(0 if item.start is None else int(item.start))
            end.append(0 if item.stop is None else int(item.stop))
            stride.append(step)
            begin_mask.append(item.start is None)
            end_mask.append(item.stop is None)
            squeeze.append(False)
        elif isinstance(item, int | np.integer) and not isinstance(item, bool):
            begin.append(_index(tensor, axis, int(item)))
            end.append(int(item) + 1)
            stride.append(1)
            begin_mask.append(False)
            end_mask.append(int(item) == -1)
            squeeze.append(True)
        else:
            raise InvalidArgumentError(
                f"{tensor.name}: expected integers, slices and ... as index, got {item!r}\n"
                "hint: ops.gather takes a list of positions"
            )
    return {
        "begin": begin,
        "end": end,
        "stride": stride,
        "begin_mask": begin_mask,
        "end_mask": end_mask,
        "squeeze_mask": squeeze,
    }


def _index(tensor: Tensor, axis: int, index: int) -> int:
    size = tensor.type.shape[axis]
    if size is not None and not -size <= index < size:
        raise InvalidArgumentError(
            f"{tensor.name}: expected an index in [{-size}, {size}) for axis {axis}, got {index}"
        )
    return index
