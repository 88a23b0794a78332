"""States of a kernel, such as a KV cache, and how far they are filled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .closing import Closing
from .errors import ClosedError, InvalidArgumentError, ModelFileError
from .files import replaced
from .kernel import Kernel

# Entries of a saved file; states follow, each under `state/` and its name.
_POSITION, _MAX_SEQ, _PREFIX = "position", "max_seq", "state/"


class StateHandle(Closing):
    """How many of ``max_seq`` positions a kernel's states hold. A context manager.

    The program decides what a position is, and where it is written; the handle counts, clears,
    saves and loads. The states themselves are ``kernel.states[name].array``.

    Args:
        kernel: whose states they are.
        max_seq: how many positions they have room for.

    Raises:
        InvalidArgumentError: ``max_seq`` is below 1.
        ClosedError: the kernel is closed.
    """

    def __init__(self, kernel: Kernel, max_seq: int) -> None:
        if max_seq < 1:
            raise InvalidArgumentError(f"state: expected a max_seq of at least 1, got {max_seq}")
        if kernel.closed:
            raise ClosedError("state: expected an open kernel, got a closed one")
        self._kernel: Kernel | None = kernel
        self._max_seq = max_seq
        self._position = 0

    @property
    def kernel(self) -> Kernel:
        """The kernel whose states they are.

        Raises:
            ClosedError: the handle is closed.
        """
        if self._kernel is None:
            raise ClosedError("state: expected an open handle, got a closed one")
        return self._kernel

    @property
    def max_seq(self) -> int:
        """How many positions there are."""
        return self._max_seq

    @property
    def position(self) -> int:
        """How many positions are filled: where the next one goes."""
        return self._position

    @property
    def remaining(self) -> int:
        """How many positions are left."""
        return self._max_seq - self._position

    def advance(self, n: int = 1) -> int:
        """Count ``n`` more positions as filled; return the new position.

        Raises:
            InvalidArgumentError: a negative number, or more than remain; nothing changes then.
            ClosedError: the handle is closed.
        """
        kernel = self.kernel
        if not 0 <= n <= self.remaining:
            raise InvalidArgumentError(
                f"advance: expected 0 to {self.remaining} positions (at {self._position} of "
                f"{self._max_seq} of {kernel.function}), got {n}"
            )
        self._position += n
        return self._position

    def reset(self) -> None:
        """Set all states to zero and go back to position 0.

        Raises:
            ClosedError: the handle or its kernel is closed.
        """
        self.kernel.reset_states()
        self._position = 0

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all states and the position to a ``.npz`` file, which appears complete or not.

        Raises:
            ModelFileError: the file cannot be written.
            ClosedError: the handle is closed.
        """
        arrays = {_PREFIX + name: port.surface.read() for name, port in self._states()}
        counts = {_POSITION: self._position, _MAX_SEQ: self._max_seq}
        with replaced(path) as file:
            np.savez(file, **{k: np.int64(v) for k, v in counts.items()}, **arrays)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take all states and the position from a file that :meth:`save` wrote.

        Raises:
            ModelFileError: the file is missing or damaged.
            InvalidArgumentError: it holds states of other names, shapes or dtypes, or more
                positions than there are; nothing changes then.
            ClosedError: the handle is closed.
        """
        content = _content(Path(path))
        held = {name: (p.shape, p.dtype) for name, p in self._states()}
        found = {
            name.removeprefix(_PREFIX): (array.shape, array.dtype)
            for name, array in content.items()
            if name.startswith(_PREFIX)
        }
        if found != held:
            raise InvalidArgumentError(f"load: expected states {_text(held)}, got {_text(found)}")
        position = int(content[_POSITION])
        if not 0 <= position <= self._max_seq:
            raise InvalidArgumentError(
                f"load: expected a position in [0, {self._max_seq}], got {position}"
            )
        for name, port in self._states():
            port.surface.write(content[_PREFIX + name])
        self._position = position

    def close(self) -> None:
        """Let go of the kernel, which stays open; idempotent."""
        self._kernel = None

    def _states(self) -> list[tuple[str, Any]]:
        return list(self.kernel.states.items())

    def __repr__(self) -> str:
        if self._kernel is None:
            return "StateHandle(closed)"
        return f"StateHandle({self._position} of {self._max_seq})"


def _content(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a file, read whole: a damaged one is found before anything is changed."""
    try:
        # Opened here: NumPy leaves a file open that it finds damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            content = dict(archive)
        if _POSITION not in content:
            raise ValueError(f"no {_POSITION} in it")
    except Exception as error:
        # zipfile, zlib and NumPy each have errors of their own for a damaged file.
        raise ModelFileError(f"load: expected saved states in {path}, got {error}") from error
    return content


def _text(states: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    each = (f"{name}: {dtype} {list(shape)}" for name, (shape, dtype) in states.items())
    return ", ".join(each) or "none"
