"""Steers the emulated AppleNeuralEngine from tests; it is in builds with it, never in a release.

>>> with _testing.faults("load.once"):  # doctest: +SKIP
...     runtime.compile(source)
"""

from __future__ import annotations

import ctypes
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import _core
from .errors import InvalidArgumentError, UnsupportedError

_FRAMEWORK = "AppleNeuralEngine.so"
_HINT = "build with -DMILANE_EMULATED_FRAMEWORK=ON (Linux, clang and GNUstep)"


def available() -> bool:
    """Whether this build has the emulation."""
    return _path().is_file()


def library() -> ctypes.CDLL:
    """The emulation's own library, loaded.

    Raises:
        UnsupportedError: this build has none.
    """
    if not available():
        error = UnsupportedError(
            f"_testing: expected an emulated framework, got none\nhint: {_HINT}"
        )
        error.hint = _HINT
        raise error
    return _load(str(_path()))


class Faults:
    """The faults to inject, by name: ``faults("eval.0x1d", 2)`` as a context, or ``set``."""

    def known(self) -> dict[str, str]:
        """Name -> what happens, for every fault."""
        rows: dict[str, list[str]] = json.loads(_text(library().milane_emulated_faults))
        return {name: effect for name, (_, effect) in rows.items()}

    def set(self, name: str, value: int | str | None = None) -> None:
        """Turns a fault on until it is cleared.

        Args:
            name: one of ``known()``.
            value: for failures, how many times it happens (None: always); else the number or the
                comma-separated names that the fault's effect speaks of.

        Raises:
            InvalidArgumentError: there is no such fault, or it does not take that value.
        """
        text = "" if value is None else str(value)
        failed = library().milane_emulated_fault_set(name.encode(), text.encode())
        if failed == 1:
            raise InvalidArgumentError(f"faults: expected one of {self._names()}, got {name!r}")
        if failed:
            raise InvalidArgumentError(
                f"faults: {name}: expected a value for {self.known()[name]!r}, got {value!r}"
            )

    def clear(self, name: str | None = None) -> None:
        """Turns one fault off, or all of them.

        Raises:
            InvalidArgumentError: there is no such fault.
        """
        if library().milane_emulated_fault_clear(None if name is None else name.encode()):
            raise InvalidArgumentError(f"faults: expected one of {self._names()}, got {name!r}")

    @contextmanager
    def __call__(
        self, faults: str | Mapping[str, int | str | None], value: int | str | None = None
    ) -> Iterator[None]:
        """One fault, or a mapping of several, for the time of a ``with`` block."""
        wanted = {faults: value} if isinstance(faults, str) else dict(faults)
        try:
            for name, each in wanted.items():
                self.set(name, each)
            yield
        finally:
            for name in wanted:
                library().milane_emulated_fault_clear(name.encode())

    def _names(self) -> str:
        return ", ".join(self.known())


faults = Faults()


def live() -> dict[str, int]:
    """Kind -> how many are alive: objects by class, loaded programs, mapped requests."""
    counts: dict[str, int] = json.loads(_text(library().milane_emulated_live))
    return {kind: count for kind, count in counts.items() if count}


@contextmanager
def recording() -> Iterator[Callable[[], list[str]]]:
    """Writes calls down for the time of a ``with`` block; gives ``calls``."""
    library().milane_emulated_record(True)
    try:
        yield calls
    finally:
        library().milane_emulated_record(False)


def calls() -> list[str]:
    """The calls since ``recording()`` began, such as ``-[_ANEModel program]``."""
    recorded: list[str] = json.loads(_text(library().milane_emulated_calls))
    return recorded


def reason() -> str:
    """Why the emulation refused last: what the device would not say."""
    return _text(library().milane_emulated_reason)


def reset() -> None:
    """Forgets every compiled program, as a new machine would."""
    library().milane_emulated_reset()


def _path() -> Path:
    return Path(_core.__file__).parent / _FRAMEWORK


@functools.cache
def _load(path: str) -> ctypes.CDLL:
    loaded = ctypes.CDLL(path)
    loaded.milane_emulated_fault_set.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    loaded.milane_emulated_fault_clear.argtypes = [ctypes.c_char_p]
    loaded.milane_emulated_record.argtypes = [ctypes.c_bool]
    for name in ("faults", "live", "calls", "reason"):
        function = getattr(loaded, f"milane_emulated_{name}")
        function.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        function.restype = ctypes.c_size_t
    return loaded


def _text(read: Callable[[ctypes.Array[ctypes.c_char] | None, int], int]) -> str:
    """What a function that fills a buffer has to say; another thread may make it longer."""
    size = read(None, 0)
    while True:
        buffer = ctypes.create_string_buffer(size)
        needed = read(buffer, size)
        if needed <= size:
            return buffer.value.decode()
        size = needed
