"""Half precision conversions: IEEE 754 binary16, rounded to nearest even."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .errors import DTypeError


def f32_to_fp16(values: npt.ArrayLike) -> Any:
    """Return ``values`` as float16; a scalar gives a scalar.

    Shapes: any; the result has the same. Rounds to nearest even, keeps subnormals, infinities and
    NaN (made quiet, payload truncated); beyond 65519.996 lies infinity. float64 and integers are
    first rounded to float32.

    Raises:
        DTypeError: the input does not hold real numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"f32_to_fp16: expected real numbers, got {array.dtype}")
    with np.errstate(over="ignore"):  # beyond the largest float32 lies infinity, by IEEE 754
        result = _core.float_to_half(array.astype(np.float32, copy=False))
    return result[()] if array.ndim == 0 else result


def fp16_to_f32(values: npt.ArrayLike) -> Any:
    """Return float16 ``values`` (or their bits as 16-bit integers) as float32, exactly.

    Shapes: any; the result has the same; a scalar gives a scalar. A signalling NaN is made quiet.

    Raises:
        DTypeError: the input is neither float16 nor a 16-bit integer type.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu" or array.itemsize != 2:
        raise DTypeError(f"fp16_to_f32: expected float16 (or its uint16 bits), got {array.dtype}")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    result = _core.half_to_float(native)
    return result[()] if array.ndim == 0 else result
