"""Errors of a graph, at the caller's own line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from milane.errors import AneError
from milane.graph.tensor import Tensor, has_tensors

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def placed(error: AneError, what: str) -> AneError:
    """The error again: the caller's own line first, the operation and its shapes last."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    message, _, hint = str(error).partition("\nhint: ")
    text = f"{frame.f_code.co_filename}:{frame.f_lineno}: {message}\n    {what}"
    if hint:
        text += f"\nhint: {hint}"
    made = type(error)(text)
    for field in ("op", "cls", "code", "domain"):
        setattr(made, field, getattr(error, field))
    made.hint = error.hint or hint
    return made


class Located:
    """Puts the caller's line in front of what an addition raises."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, AneError):
            raise placed(error, self._what) from None


def described(given: Mapping[str, Any]) -> str:
    """Arguments for a message: ``x: fp16 [1, 4], axis: -1``."""
    shown = [f"{key}: {_short(value)}" for key, value in given.items() if value is not None]
    return ", ".join(shown)


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        if value.type.kind != "tensor":
            return str(value.type)
        if isinstance(value.value, str) or (value.value is not None and value.value.size <= 8):
            return repr(value.value if isinstance(value.value, str) else value.value.tolist())
        sizes = ", ".join("?" if size is None else str(size) for size in value.type.shape)
        return f"{value.dtype} [{sizes}]"
    if has_tensors(value):
        return "(" + ", ".join(map(_short, value)) + ")"
    if isinstance(value, np.ndarray) and value.size > 8:
        return f"{value.dtype} array {list(value.shape)}"
    return repr(value.tolist() if isinstance(value, np.ndarray) else value)
