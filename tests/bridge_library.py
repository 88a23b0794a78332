"""The C interface as ctypes users load it: the declarations of ane_bridge.h, and NumPy around them."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

import milane

Array = NDArray[Any]

_SIZES = POINTER(c_size_t)
_PORTS = [c_int, _SIZES, c_int, _SIZES]
_BLOB = (c_void_p, [POINTER(c_float), c_int, c_int, _SIZES])

# Name -> (result, arguments): the header's functions, all of them.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "ane_bridge_init": (c_int, []),
    "ane_bridge_backend": (c_char_p, []),
    "ane_bridge_last_error": (c_char_p, []),
    "ane_bridge_compile": (c_void_p, [c_char_p, c_size_t, c_char_p, c_size_t, *_PORTS]),
    "ane_bridge_compile_multi_weights": (
        c_void_p,
        [c_char_p, c_size_t, POINTER(c_char_p), POINTER(c_char_p), _SIZES, c_int, *_PORTS],
    ),
    "ane_bridge_compile_dyn": (
        c_void_p,
        [c_char_p, c_size_t, c_int, _SIZES, c_int, _SIZES, c_size_t],
    ),
    "ane_bridge_run": (c_bool, [c_void_p]),
    "ane_bridge_eval": (c_bool, [c_void_p]),
    "ane_bridge_write_input": (None, [c_void_p, c_int, c_void_p, c_size_t]),
    "ane_bridge_read_output": (None, [c_void_p, c_int, c_void_p, c_size_t]),
    "ane_bridge_write_weight": (None, [c_void_p, c_int, c_void_p, c_size_t]),
    "ane_bridge_write_weight_f32": (None, [c_void_p, c_int, POINTER(c_float), c_size_t]),
    "ane_bridge_copy_io": (None, [c_void_p, c_int, c_void_p, c_int]),
    "ane_bridge_begin_realtime": (None, []),
    "ane_bridge_end_realtime": (None, []),
    "ane_bridge_free": (None, [c_void_p]),
    "ane_bridge_get_compile_count": (c_int, []),
    "ane_bridge_reset_compile_count": (None, []),
    "ane_bridge_build_weight_blob": _BLOB,
    "ane_bridge_build_weight_blob_transposed": _BLOB,
    "ane_bridge_free_blob": (None, [c_void_p]),
}


class BridgeError(Exception):
    """What ane_bridge_last_error() said after a call."""


class Bridge:
    """A loaded library. ``c`` has the functions as they are; the methods raise what fails."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(self.c, name)
            function.restype, function.argtypes = result, arguments

    def error(self) -> str:
        text: bytes = self.c.ane_bridge_last_error()
        return text.decode()

    def check(self) -> None:
        if error := self.error():
            raise BridgeError(error)

    @property
    def compiles(self) -> int:
        count: int = self.c.ane_bridge_get_compile_count()
        return count

    def compile(
        self,
        text: str | bytes,
        inputs: Sequence[int],
        outputs: Sequence[int],
        weights: bytes | Mapping[str, bytes] | None = None,
    ) -> int:
        mil = text.encode() if isinstance(text, str) else text
        ports = (len(inputs), sizes(inputs), len(outputs), sizes(outputs))
        if isinstance(weights, Mapping):
            kernel = self.c.ane_bridge_compile_multi_weights(
                mil,
                len(mil),
                (c_char_p * len(weights))(*(name.encode() for name in weights)),
                (c_char_p * len(weights))(*weights.values()),
                sizes([len(data) for data in weights.values()]),
                len(weights),
                *ports,
            )
        else:
            kernel = self.c.ane_bridge_compile(mil, len(mil), weights, len(weights or b""), *ports)
        return self._kernel(kernel)

    def compile_dyn(
        self, text: str, inputs: Sequence[int], weights: Sequence[int], output: int
    ) -> int:
        mil = text.encode()
        return self._kernel(
            self.c.ane_bridge_compile_dyn(
                mil, len(mil), len(inputs), sizes(inputs), len(weights), sizes(weights), output
            )
        )

    def _kernel(self, kernel: int | None) -> int:
        assert (kernel is None) == bool(self.error())
        self.check()
        assert kernel is not None
        return kernel

    def eval(self, kernel: int) -> None:
        assert self.c.ane_bridge_eval(kernel) == (self.error() == "")
        self.check()

    def write(self, kernel: int, index: int, array: Array) -> None:
        array = np.ascontiguousarray(array)
        self.c.ane_bridge_write_input(kernel, index, array.ctypes.data, array.nbytes)
        self.check()

    def read(self, kernel: int, index: int, shape: Sequence[int], dtype: DTypeLike = "e") -> Array:
        array = np.full(shape, 77, dtype)
        self.c.ane_bridge_read_output(kernel, index, array.ctypes.data, array.nbytes)
        self.check()
        return array

    def write_weight(self, kernel: int, index: int, array: Array) -> None:
        array = np.ascontiguousarray(array)
        self.c.ane_bridge_write_weight(kernel, index, array.ctypes.data, array.nbytes)
        self.check()

    def write_weight_f32(self, kernel: int, index: int, array: Array) -> None:
        array = np.ascontiguousarray(array, np.float32)
        self.c.ane_bridge_write_weight_f32(kernel, index, floats(array), array.size)
        self.check()

    def copy(self, source: int, output: int, target: int, index: int) -> None:
        self.c.ane_bridge_copy_io(source, output, target, index)
        self.check()

    def free(self, kernel: int) -> None:
        self.c.ane_bridge_free(kernel)
        self.check()

    def weight_blob(self, array: Array, *, transposed: bool = False) -> bytes:
        array = np.ascontiguousarray(array, np.float32)
        name = "ane_bridge_build_weight_blob" + ("_transposed" if transposed else "")
        length = c_size_t(7)
        found = getattr(self.c, name)(floats(array), *array.shape, ctypes.byref(length))
        self.check()
        blob = ctypes.string_at(found, length.value)
        self.c.ane_bridge_free_blob(found)
        return blob


def sizes(numbers: Sequence[int]) -> Any:
    """A C array of size_t; NULL for none."""
    return (c_size_t * len(numbers))(*numbers) if numbers else None


def floats(array: Array) -> Any:
    """A pointer to the floats of a dense array."""
    return array.ctypes.data_as(POINTER(c_float))


def declared(header: Path) -> list[str]:
    """The functions that a header declares, sorted."""
    return sorted(re.findall(r"\b(ane_bridge_\w+)\(", without_comments(header.read_text())))


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def open_copy(folder: Path, backend: str) -> Bridge:
    """A copy of the library, with a backend of its own: a library opens one, once."""
    copy = folder / f"copy-{backend}{milane.bridge.library_path().suffix}"
    shutil.copy(milane.bridge.library_path(), copy)
    bridge = Bridge(copy)
    before = os.environ.get("MILANE_BACKEND")
    os.environ["MILANE_BACKEND"] = backend
    try:
        assert bridge.c.ane_bridge_init() == 0, bridge.error()
    finally:
        if before is None:
            del os.environ["MILANE_BACKEND"]
        else:
            os.environ["MILANE_BACKEND"] = before
    assert bridge.c.ane_bridge_backend() == backend.encode()
    return bridge
