"""How a compressed weight stands in a MIL program: an operation and its operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from milane import half
from milane.blob.types import Array, BlobDataType
from milane.blob.writer import BlobWriter
from milane.errors import DTypeError, InvalidArgumentError

# The two spellings of the operations. "ios16" is known since iOS 16 and stays valid later.
FORMS: Final = ("ios16", "ios18")
FLOATS: Final = {"fp16": np.float16, "fp32": np.float32}


@dataclass(frozen=True, eq=False)
class Operand:
    """One operand of a constexpr operation.

    Attributes:
        name: the argument's name.
        dtype: its element type in MIL.
        values: its elements in MIL's shape; a sub-byte element takes one int8 or uint8.
        inline: whether MIL wants it in the text; every other one may be a BLOBFILE.
    """

    name: str
    dtype: str
    values: Array
    inline: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in MIL."""
        return self.values.shape

    @property
    def nbytes(self) -> int:
        """Bytes in a weight file: sub-byte elements are packed."""
        return (self.values.size * BlobDataType.of(self.dtype).bits + 7) // 8


@dataclass(frozen=True, eq=False)
class Constexpr:
    """A constexpr operation that expands to a weight.

    Attributes:
        op: the operation, such as ``"constexpr_affine_dequantize"``.
        form: ``"ios16"``: MIL has the operands as attributes, ``op()[axis = …, …]``;
            ``"ios18"``: as arguments, ``op(data = …, …)[name = …]``.
        operands: in the byte order of their names, as MIL has them.
        dtype: the element type of the result.
        shape: its shape.
    """

    op: str
    form: str
    operands: tuple[Operand, ...]
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        ordered = sorted(self.operands, key=lambda operand: operand.name)
        object.__setattr__(self, "operands", tuple(ordered))

    @property
    def nbytes(self) -> int:
        """Bytes of the operands that a weight file holds."""
        return sum(o.nbytes for o in self.operands if not o.inline)

    def __getitem__(self, name: str) -> Operand:
        """The operand of that name.

        Raises:
            KeyError: there is none.
        """
        for operand in self.operands:
            if operand.name == name:
                return operand
        raise KeyError(name)

    def write(self, writer: BlobWriter) -> dict[str, int]:
        """Adds a record per operand that is not inline; their offsets for BLOBFILE, by name.

        Raises:
            ModelFileError: the file cannot be written.
        """
        return {
            operand.name: writer.offset(writer.add(operand.values, operand.dtype))
            for operand in self.operands
            if not operand.inline
        }


def check_form(form: str, where: str) -> None:
    """Nothing for a form that exists.

    Raises:
        InvalidArgumentError: any other.
    """
    if form not in FORMS:
        expected = " or ".join(map(repr, FORMS))
        raise InvalidArgumentError(f"{where}: expected form {expected}, got {form!r}")


def not_in_ios16(what: str, got: str) -> InvalidArgumentError:
    """The error for a weight that the older form cannot say."""
    hint = 'constexpr("ios18") can say it'
    error = InvalidArgumentError(f'constexpr("ios16"): expected {what}, got {got}\nhint: {hint}')
    error.hint = hint
    return error


def shape_operand(shape: Sequence[int]) -> Operand:
    """The argument `shape` of the ios16 forms that store packed bytes."""
    return Operand("shape", "uint32", np.array(shape, np.uint32), inline=True)


def mil_float(values: Array) -> str:
    """The MIL name of a float array's dtype.

    Raises:
        DTypeError: it is neither float16 nor float32.
    """
    for name, dtype in FLOATS.items():
        if values.dtype == dtype:
            return name
    raise DTypeError(f"quantize: expected float16 or float32, got {values.dtype}")


def check_dtype(dtype: str, where: str) -> None:
    """Nothing for "fp16" and "fp32".

    Raises:
        DTypeError: any other.
    """
    if dtype not in FLOATS:
        raise DTypeError(f"{where}: expected fp16 or fp32, got {dtype!r}")


def as_floats(weights: npt.ArrayLike, dtype: str, where: str, *, finite: bool = True) -> Array:
    """The weights as float32.

    Raises:
        DTypeError: they are no numbers, or `dtype` is neither fp16 nor fp32.
        InvalidArgumentError: they are empty; or, if they must be finite, `dtype` cannot hold one.
    """
    check_dtype(dtype, where)
    values = np.asarray(weights)
    if values.dtype.kind not in "fiub":
        raise DTypeError(f"{where}: expected numbers, got {values.dtype}")
    if values.size == 0:
        raise InvalidArgumentError(f"{where}: expected weights, got shape {list(values.shape)}")
    with np.errstate(over="ignore"):
        floats: Array = np.asarray(values, np.float32)
    most = float(np.finfo(FLOATS[dtype]).max)
    if finite and not max(-float(floats.min()), float(floats.max())) <= most:  # NaN fails, too
        raise InvalidArgumentError(
            f"{where}: expected finite weights that {dtype} holds (up to {most:g}), "
            f"got {floats.min():g} to {floats.max():g}"
        )
    return floats


def rounded(values: Array, dtype: str) -> Array:
    """Float32 values in "fp16" or "fp32", each rounded once."""
    if dtype == "fp32":
        return values
    result: Array = half.f32_to_fp16(values)
    return result


def blocks(values: Array, grid: Sequence[int]) -> Array:
    """A view with every axis split into (blocks, elements of a block)."""
    split: list[int] = []
    for size, count in zip(values.shape, grid, strict=True):
        split += [count, size // count]
    return values.reshape(split)


def per_block(values: Array) -> Array:
    """One value per block, to be broadcast over what blocks() gives."""
    return values.reshape([d for count in values.shape for d in (count, 1)])
