"""The table of references: every function `op_<name>` of the families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import (
    activation,
    convolution,
    elementwise,
    image,
    indexing,
    linear,
    movement,
    normalization,
    quantization,
    recurrent,
    reduction,
)

_FAMILIES = (
    elementwise, activation, reduction, movement, indexing, convolution, normalization, linear,
    recurrent, image, quantization,
)  # fmt: skip

OPS: dict[str, Callable[..., Any]] = {
    name.removeprefix("op_"): function
    for family in _FAMILIES
    for name, function in vars(family).items()
    if name.startswith("op_") and function.__module__ == family.__name__
}
