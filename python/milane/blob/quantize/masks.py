"""Sparse weights: a mask, and the values where it is set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from milane.blob.types import Array
from milane.errors import InvalidArgumentError

from .bits import pack_bits
from .constexpr import (
    Constexpr,
    Operand,
    as_floats,
    check_form,
    mil_float,
    rounded,
    shape_operand,
)


@dataclass(frozen=True, eq=False)
class SparseWeight:
    """A weight as the places that are not zero, and the values there.

    Attributes:
        mask: bool, in the weight's shape.
        values: 1-D float16 or float32: one per set place, in C order.
    """

    mask: Array
    values: Array

    def __post_init__(self) -> None:
        mil_float(self.values)
        places = int(np.count_nonzero(self.mask))
        if self.mask.dtype != np.bool_ or self.values.shape != (places,):
            raise InvalidArgumentError(
                f"SparseWeight: expected a bool mask and {places} values, one per place that it "
                f"marks, got {self.mask.dtype} and shape {list(self.values.shape)}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return self.mask.shape

    def dequantize(self) -> Array:
        """The weight that a program computes with: the values in their places, zeros elsewhere."""
        dense: Array = np.zeros(self.shape, self.values.dtype)
        dense[self.mask] = self.values
        return dense

    def constexpr(self, form: str = "ios18") -> Constexpr:
        """The operation that expands to this weight: constexpr_sparse_to_dense.

        ``"ios16"``: the mask packed into uint8, lowest bit first, and a `shape`. ``"ios18"``: the
        mask as uint1 in the weight's shape.

        Raises:
            InvalidArgumentError: the form does not exist.
        """
        check_form(form, "constexpr")
        dtype = mil_float(self.values)
        values = Operand("nonzero_data", dtype, self.values)
        if form == "ios18":
            mask = Operand("mask", "uint1", self.mask.view(np.uint8))
            operands: tuple[Operand, ...] = (mask, values)
        else:
            packed = Operand("mask", "uint8", pack_bits(self.mask, 1))
            operands = (packed, values, shape_operand(self.shape))
        return Constexpr("constexpr_sparse_to_dense", form, operands, dtype, self.shape)


def sparsify(
    weights: npt.ArrayLike,
    *,
    sparsity: float | None = None,
    threshold: float | None = None,
    dtype: str = "fp16",
) -> SparseWeight:
    """The weight without its zeros, or without its smallest values.

    Values are rounded to `dtype`, ties to even; infinities and NaN are kept, -0 is dropped.

    Args:
        weights: any shape; taken as float32.
        sparsity: this share of all elements is dropped, rounded down to a whole number of them:
            those of the smallest magnitude, of equal ones the first in C order.
        threshold: elements of at most this magnitude are dropped.
        dtype: ``"fp16"`` or ``"fp32"``, also of what the program computes with.

    Raises:
        DTypeError: the weights are no numbers, or `dtype` is another one.
        InvalidArgumentError: both ways are asked for, `sparsity` is outside [0, 1], or `threshold`
            is negative.
    """
    where = "quantize.sparsify"
    values = as_floats(weights, dtype, where, finite=False)
    if sparsity is not None and threshold is not None:
        raise InvalidArgumentError(f"{where}: expected sparsity or threshold, got both")
    if sparsity is not None and not 0 <= sparsity <= 1:
        raise InvalidArgumentError(f"{where}: expected sparsity in [0, 1], got {sparsity}")
    if threshold is not None and not threshold >= 0:
        raise InvalidArgumentError(f"{where}: expected a threshold of 0 or more, got {threshold}")
    mask = ~(np.abs(values) <= (threshold or 0))  # NaN stays
    if sparsity:
        mask &= ~_smallest(values, int(sparsity * values.size))
    return SparseWeight(mask, rounded(values[mask], dtype))


def _smallest(values: Array, count: int) -> Array:
    """Marks `count` values of the smallest magnitude, of equal ones the first; NaN is infinite."""
    size = np.abs(values).reshape(-1)
    size[np.isnan(size)] = np.inf
    marked: Array = np.zeros(size.shape, np.bool_)
    if count:
        largest = np.partition(size, count - 1)[count - 1]
        np.less(size, largest, out=marked)
        marked[np.flatnonzero(size == largest)[: count - int(marked.sum())]] = True
    return marked.reshape(values.shape)
