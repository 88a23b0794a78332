"""Palettes: indices of 1 to 8 bits into tables of values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from milane.blob.types import Array
from milane.errors import InvalidArgumentError

from .bits import pack_bits
from .constexpr import (
    FLOATS,
    Constexpr,
    Operand,
    as_floats,
    blocks,
    check_form,
    not_in_ios16,
    per_block,
    shape_operand,
)

# Widths of an index in MIL; another is stored as the next one, its table filled up.
_WIDTHS: Final = {"ios16": (1, 2, 4, 6, 8), "ios18": (1, 2, 3, 4, 6, 8)}
_ROUNDS: Final = 100


@dataclass(frozen=True, eq=False)
class PaletteWeight:
    """A weight as indices into tables.

    Attributes:
        indices: uint8, in the weight's shape.
        lut: ``[groups…, 2^bits]``: the weight's rank and one axis more; the length of each group
            axis divides the weight's, and equal parts of an axis share a table.
    """

    indices: Array
    lut: Array

    def __post_init__(self) -> None:
        where = "PaletteWeight"
        entries = self.lut.shape[-1] if self.lut.ndim else 0
        if entries not in (2, 4, 8, 16, 32, 64, 128, 256):
            raise InvalidArgumentError(f"{where}: expected 2, 4, … 256 entries, got {entries}")
        fits = self.lut.ndim == self.indices.ndim + 1 and all(
            part > 0 and size % part == 0
            for size, part in zip(self.indices.shape, self.lut.shape[:-1], strict=True)
        )
        if not fits:
            raise InvalidArgumentError(
                f"{where}: expected tables that divide {list(self.indices.shape)}, "
                f"got {list(self.lut.shape)}"
            )
        if self.indices.size and int(self.indices.max()) >= entries:
            raise InvalidArgumentError(
                f"{where}: expected indices below {entries}, got {int(self.indices.max())}"
            )

    @property
    def bits(self) -> int:
        """Bits of an index."""
        return int(self.lut.shape[-1]).bit_length() - 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return self.indices.shape

    def dequantize(self) -> Array:
        """The weight that a program computes with: table entries as they are."""
        grid = self.lut.shape[:-1]
        tables = self.lut.reshape(-1, self.lut.shape[-1])
        table = per_block(np.arange(len(tables)).reshape(grid))
        chosen: Array = tables[table, blocks(self.indices, grid)]
        return chosen.reshape(self.shape)

    def constexpr(self, form: str = "ios18") -> Constexpr:
        """The operation that expands to this weight: constexpr_lut_to_dense.

        ``"ios16"``: one table; indices packed into uint8, lowest bit first, and a `shape`.
        ``"ios18"``: indices of 1, 2, 3, 4, 6 or 8 bits in the weight's shape. A width that the form
        lacks is stored as the next one, with the last entry repeated to fill the table.

        Raises:
            InvalidArgumentError: the form does not exist, or cannot say this weight.
        """
        check_form(form, "constexpr")
        width = next(w for w in _WIDTHS[form] if w >= self.bits)
        fill = [(0, 0)] * (self.lut.ndim - 1) + [(0, (1 << width) - self.lut.shape[-1])]
        lut = np.pad(self.lut, fill, "edge")
        dtype = _mil_name(lut)
        if form == "ios18":
            operands: tuple[Operand, ...] = (
                Operand("indices", f"uint{width}", self.indices),
                Operand("lut", dtype, lut[..., None]),
            )
        else:
            if lut.size != lut.shape[-1]:
                raise not_in_ios16("one table", f"tables {list(self.lut.shape[:-1])}")
            operands = (
                Operand("indices", "uint8", pack_bits(self.indices, width)),
                Operand("lut", dtype, lut.reshape(-1)),
                shape_operand(self.shape),
            )
        return Constexpr("constexpr_lut_to_dense", form, operands, dtype, self.shape)


def palettize(
    weights: npt.ArrayLike,
    bits: int,
    *,
    axis: int = 0,
    group_size: int | None = None,
    lut: npt.ArrayLike | None = None,
    dtype: str = "fp16",
) -> PaletteWeight:
    """The weight as indices into tables of ``2^bits`` values.

    A table holds the weights themselves where they have no more distinct values than that.
    Otherwise it is a minimum of the squared error that Lloyd's iteration reaches (S. P. Lloyd,
    "Least squares quantization in PCM", 1982), from evenly spaced ranks of the distinct values:
    the same table for the same weights, whatever their order. Entries are rounded to `dtype`, in
    ascending order, the last one repeated to fill the table. Then each weight takes the nearest
    entry, ties to the lower one.

    Args:
        weights: any shape; taken as float32.
        bits: 1 to 8.
        axis: the axis of the groups.
        group_size: so many slices along `axis` share a table; None for one table.
        lut: the values to choose from, at most ``2^bits``, instead of a search.
        dtype: ``"fp16"`` or ``"fp32"``, also of what the program computes with.

    Raises:
        DTypeError: the weights are no numbers, or `dtype` is another one.
        InvalidArgumentError: a weight is not finite or beyond `dtype`, `bits` is none of 1 to 8,
            the groups do not divide their axis, or `lut` is too long.
    """
    where = "quantize.palettize"
    values = as_floats(weights, dtype, where)
    if not 1 <= bits <= 8:
        raise InvalidArgumentError(f"{where}: expected 1 to 8 bits, got {bits}")
    grid = [1] * values.ndim
    if group_size is not None:
        if not -values.ndim <= axis < values.ndim:
            raise InvalidArgumentError(
                f"{where}: expected axis in [{-values.ndim}, {values.ndim}), got {axis}"
            )
        axis %= values.ndim
        if group_size < 1 or values.shape[axis] % group_size:
            raise InvalidArgumentError(
                f"{where}: expected a group_size that divides {values.shape[axis]}, "
                f"got {group_size}"
            )
        grid[axis] = values.shape[axis] // group_size
    entries = 1 << bits
    given = None if lut is None else _given_table(lut, entries, dtype)
    # (outer, groups, elements): groups lie along one axis.
    groups = grid[axis] if group_size is not None else 1
    outer = int(np.prod(values.shape[:axis], dtype=np.int64)) if groups > 1 else 1
    parts = values.reshape(outer, groups, -1)
    indices = np.empty(parts.shape, np.uint8)
    tables = np.empty((groups, entries), FLOATS[dtype])
    for group in range(groups):
        part = parts[:, group]
        tables[group] = _table(part, entries, dtype) if given is None else given
        indices[:, group] = _nearest(part, tables[group])
    return PaletteWeight(indices.reshape(values.shape), tables.reshape(*grid, entries))


def _given_table(lut: npt.ArrayLike, entries: int, dtype: str) -> Array:
    values = as_floats(lut, dtype, "quantize.palettize: lut")
    if values.ndim != 1 or values.size > entries:
        raise InvalidArgumentError(
            f"quantize.palettize: expected a lut of at most {entries} values, "
            f"got shape {list(values.shape)}"
        )
    return _filled(np.unique(values.astype(FLOATS[dtype])), entries)


def _filled(table: Array, entries: int) -> Array:
    return np.pad(table, (0, entries - table.size), "edge")


def _table(values: Array, entries: int, dtype: str) -> Array:
    """The best values Lloyd's iteration finds, rounded."""
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size > entries:
        distinct = _lloyd(distinct.astype(np.float64), counts, entries)
    return _filled(np.unique(distinct.astype(FLOATS[dtype])), entries)


def _lloyd(distinct: Array, counts: Array, entries: int) -> Array:
    """Centres, ascending; each round moves every one to the mean of the values nearest to it."""
    weight = np.concatenate([[0], np.cumsum(counts)])
    total = np.concatenate([[0.0], np.cumsum(distinct * counts)])
    centres = distinct[(np.arange(entries) * 2 + 1) * distinct.size // (2 * entries)]
    before = None
    for _ in range(_ROUNDS):
        cuts = np.searchsorted(distinct, (centres[1:] + centres[:-1]) / 2, side="right")
        if before is not None and np.array_equal(cuts, before):
            break
        before = cuts
        ends = np.concatenate([[0], cuts, [distinct.size]])
        members = np.diff(weight[ends])
        centres = np.where(members > 0, np.diff(total[ends]) / np.maximum(members, 1), centres)
    return centres


def _nearest(values: Array, table: Array) -> Array:
    """Indices of the nearest entries of an ascending table, ties to the lower one."""
    wide = table.astype(np.float64)
    return np.searchsorted((wide[1:] + wide[:-1]) / 2, values, side="left").astype(np.uint8)


def _mil_name(values: Array) -> str:
    name = str(values.dtype)
    return {"float16": "fp16", "float32": "fp32"}.get(name, name)
