"""Half precision conversions: IEEE 754 binary16, rounded to nearest even."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core


def f32_to_fp16(values: npt.ArrayLike) -> Any:
    """Return ``values`` as float16; a scalar gives a scalar.

    Shapes: any; the result has the same. Rounds to nearest even, keeps subnormals, infinities and
    NaN (made quiet, payload truncated). float64 input is first rounded to float32.
    """
    array = np.asarray(values)
    result = _core.float_to_half(array)
    return result[()] if array.ndim == 0 else result


def fp16_to_f32(values: npt.ArrayLike) -> Any:
    """Return float16 ``values`` (or their bits as uint16) as float32, exactly.

    Shapes: any; the result has the same; a scalar gives a scalar.

    Raises:
        DTypeError: the input is neither float16 nor a 16-bit integer type.
    """
    array = np.asarray(values)
    result = _core.half_to_float(array)
    return result[()] if array.ndim == 0 else result
