"""Compressed constants: what the compiler expands to a weight.

The parts are arrays, which stand in the weight file under ``NAME.part``, or where they are small in
the text; or results of other operations of this kind. Operations of ios16 have them as attributes,
those of ios18 as arguments, as Apple's compiler writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from milane._core import mil as _mil
from milane.graph.body import Body
from milane.graph.constants import INLINE_ELEMENTS
from milane.graph.gradients import no_gradient
from milane.graph.tensor import Tensor

if TYPE_CHECKING:
    from milane.graph.graph import Graph

Part: TypeAlias = "npt.ArrayLike | Tensor"
_TWO_RESULTS = ("constexpr_lut_to_sparse", "constexpr_sparse_blockwise_shift_scale")
Array: TypeAlias = "npt.NDArray[Any]"


def constexpr_affine_dequantize(
    graph: Graph,
    quantized_data: npt.ArrayLike,
    zero_point: npt.ArrayLike,
    scale: npt.ArrayLike,
    *,
    axis: int,
    name: str | None = None,
) -> Tensor:
    """``scale (quantized_data - zero_point)``, each a number or one for every place of ``axis``.

    The data is an int8 or uint8 array; ``scale`` is fp32 where its array is float32, else fp16.
    """
    data = np.asarray(quantized_data)
    zero = np.asarray(zero_point)
    if zero.dtype != np.float32:
        zero = zero.astype(data.dtype)
    parts: dict[str, Array | int | str] = {
        "quantized_data": data,
        "zero_point": zero,
        "scale": _floats(scale),
        "axis": axis,
    }
    return _attributes(graph, "constexpr_affine_dequantize", name, parts)


def constexpr_cast(
    graph: Graph, source_val: npt.ArrayLike, *, output_dtype: str = "fp32", name: str | None = None
) -> Tensor:
    """An fp16 constant as fp32: half the bytes in the file. MIL has no default for the type."""
    parts: dict[str, Array | int | str] = {
        "source_val": np.asarray(source_val, np.float16),
        "output_dtype": output_dtype,
    }
    return _attributes(graph, "constexpr_cast", name, parts)


def constexpr_lut_to_dense(
    graph: Graph,
    indices: npt.ArrayLike,
    lut: npt.ArrayLike,
    *,
    dtype: str = "uint8",
    shape: Sequence[int] | None = None,
    vector_axis: int | None = None,
    name: str | None = None,
) -> Tensor:
    """The entries of a table: ``lut[indices]``.

    From ios18 on ``indices`` (of ``dtype``, ``"uint1"`` to ``"uint8"``) have the result's shape,
    and ``lut`` is ``[blocks..., entries, vector]``. Before, ``lut`` is ``[entries]``, ``indices``
    are the packed bytes and ``shape`` is the result's.
    """
    table = np.asarray(lut)
    table = table if table.dtype.kind in "iu" else _floats(table)
    if shape is not None:
        packed = np.asarray(indices, np.uint8)
        parts = {"indices": packed, "lut": table, "shape": np.asarray(shape, np.uint32)}
        return _attributes(graph, "constexpr_lut_to_dense", name, parts)
    given: dict[str, Part | None] = {"indices": indices, "lut": table, "vector_axis": vector_axis}
    (dense,) = _arguments(graph, "constexpr_lut_to_dense", name, given, {"indices": dtype})
    return dense


def constexpr_sparse_to_dense(
    graph: Graph,
    nonzero_data: Part,
    mask: Part,
    *,
    shape: Sequence[int] | None = None,
    name: str | None = None,
) -> Tensor:
    """The data at the places where the mask is 1, and zeros elsewhere.

    From ios18 on ``mask`` has the result's shape, and both may be what
    :func:`constexpr_lut_to_sparse` or :func:`constexpr_sparse_blockwise_shift_scale` give. Before,
    it is the packed bytes, and ``shape`` is the result's.
    """
    data = nonzero_data if isinstance(nonzero_data, Tensor) else _numbers(nonzero_data)
    if shape is None:
        given: dict[str, Part | None] = {"nonzero_data": data, "mask": mask}
        (dense,) = _arguments(graph, "constexpr_sparse_to_dense", name, given, {"mask": "uint1"})
        return dense
    if isinstance(data, Tensor) or isinstance(mask, Tensor):
        what = "constexpr_sparse_to_dense"
        raise graph._body.mistake(what, "expected arrays with shape=, got a tensor")
    parts = {
        "nonzero_data": data,
        "mask": np.asarray(mask, np.uint8),
        "shape": np.asarray(shape, np.uint32),
    }
    return _attributes(graph, "constexpr_sparse_to_dense", name, parts)


def constexpr_blockwise_shift_scale(
    graph: Graph,
    data: npt.ArrayLike,
    scale: npt.ArrayLike,
    offset: npt.ArrayLike | None = None,
    *,
    dtype: str | None = None,
    name: str | None = None,
) -> Tensor:
    """``scale (data - offset)`` block by block (ios18).

    Every size of ``scale`` and ``offset`` divides that of ``data``. ``dtype`` is that of data and
    offset, by default their array's: ``"int4"`` and ``"uint4"`` have none in NumPy.
    """
    kind = dtype or _mil_name(np.asarray(data))
    given: dict[str, Part | None] = {"data": data, "scale": _floats(scale), "offset": offset}
    types = {"data": kind, "offset": kind}
    (dense,) = _arguments(graph, "constexpr_blockwise_shift_scale", name, given, types)
    return dense


def constexpr_lut_to_sparse(
    graph: Graph,
    indices_mask: npt.ArrayLike,
    indices_nonzero_data: npt.ArrayLike,
    lut: npt.ArrayLike,
    *,
    dtype: str = "uint8",
    vector_axis: int | None = None,
    name: str | None = None,
) -> tuple[Tensor, Tensor]:
    """The mask and the entries of a table for the places where it is 1 (ios18).

    Two operands of :func:`constexpr_sparse_to_dense`. ``dtype`` is that of the indices.
    """
    given: dict[str, Part | None] = {
        "indices_mask": indices_mask,
        "indices_nonzero_data": indices_nonzero_data,
        "lut": _numbers(lut),
        "vector_axis": vector_axis,
    }
    types = {"indices_mask": "uint1", "indices_nonzero_data": dtype}
    mask, data = _arguments(graph, "constexpr_lut_to_sparse", name, given, types)
    return mask, data


def constexpr_sparse_blockwise_shift_scale(
    graph: Graph,
    data_mask: npt.ArrayLike,
    nonzero_data: npt.ArrayLike,
    scale: npt.ArrayLike,
    offset: npt.ArrayLike | None = None,
    *,
    dtype: str | None = None,
    name: str | None = None,
) -> tuple[Tensor, Tensor]:
    """The mask and ``scale (data - offset)`` for the places where it is 1 (ios18).

    As :func:`constexpr_blockwise_shift_scale`, for the elements that are not zero.
    """
    kind = dtype or _mil_name(np.asarray(nonzero_data))
    given: dict[str, Part | None] = {
        "data_mask": data_mask,
        "nonzero_data": nonzero_data,
        "scale": _floats(scale),
        "offset": offset,
    }
    types = {"data_mask": "uint1", "nonzero_data": kind, "offset": kind}
    mask, data = _arguments(graph, "constexpr_sparse_blockwise_shift_scale", name, given, types)
    return mask, data


def _attributes(
    graph: Graph,
    type: str,
    name: str | None,
    parts: Mapping[str, Array | int | str],
) -> Tensor:
    """The operation in the form of ios16: every part is an attribute."""
    body = graph._body
    name = name or body.fresh(type)
    values = {part: _value(body, f"{name}.{part}", given) for part, given in parts.items()}
    (dense,) = body.results(type, {}, name=name, attributes=values)
    return dense


def _arguments(
    graph: Graph,
    type: str,
    name: str | None,
    parts: Mapping[str, Part | None],
    dtypes: Mapping[str, str],
) -> tuple[Tensor, ...]:
    """The operation in the form of ios18: every part is an argument, in place."""
    body = graph._body
    name = name or body.fresh(type)
    tensors: dict[str, Any] = {
        part: given for part, given in parts.items() if isinstance(given, Tensor)
    }
    several = "_0" if type in _TWO_RESULTS else ""  # parts are called after the first one
    values = {
        part: _value(body, f"{name}{several}.{part}", given, dtypes.get(part))
        for part, given in parts.items()
        if given is not None and not isinstance(given, Tensor)
    }
    return body.results(type, tensors, name=name, literals=values)


def _value(
    body: Body, name: str, given: npt.ArrayLike | str, dtype: str | None = None
) -> _mil.Value:
    if isinstance(given, str):
        return _mil.Value.string(given)
    array = np.asarray(given)
    dtype = dtype or ("int32" if isinstance(given, int) else _mil_name(array))
    if array.size <= INLINE_ELEMENTS:
        return _mil.Value.from_numpy(array, dtype)
    return body.place(name, dtype, array)


def _floats(given: npt.ArrayLike) -> Array:
    array = np.asarray(given)
    return array if array.dtype == np.float32 else array.astype(np.float16)


def _numbers(given: npt.ArrayLike) -> Array:
    array = np.asarray(given)
    return array if array.dtype.kind in "iu" else _floats(array)


def _mil_name(array: Array) -> str:
    return {"float16": "fp16", "float32": "fp32"}.get(array.dtype.name, str(array.dtype.name))


no_gradient(
    "its parts are stored in the file",
    "constexpr_affine_dequantize",
    "constexpr_blockwise_shift_scale",
    "constexpr_cast",
    "constexpr_lut_to_dense",
    "constexpr_lut_to_sparse",
    "constexpr_sparse_blockwise_shift_scale",
    "constexpr_sparse_to_dense",
)
