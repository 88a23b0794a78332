"""Tokens to train on: files of uint16, text through a tokenizer, Python's own library.

Which piece of the data a step sees follows from the seed and the number of the step alone, so a run
that goes on in another process goes on with the same data.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milane.errors import InvalidArgumentError, ModelFileError
from milane.files import replaced
from milane.train.tokenizer import ByteTokenizer, Tokenizer

Tokens = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class TokenData:
    """Tokens, and which of them are for training.

    The data is cut into pieces of ``positions + 1`` tokens (the last predicts nothing); the last
    ``validation`` share of pieces is held back. Every epoch goes through all training pieces in an
    order of its own.

    Attributes:
        tokens: all of them, on one axis; may be a memory map.
        positions: tokens that a sequence sees.
        seed: decides the order.
        validation: the share that is held back, in [0, 1).
    """

    tokens: Tokens
    positions: int
    seed: int = 0
    validation: float = 0.05

    def __post_init__(self) -> None:
        """Check that there is something to train on.

        Raises:
            InvalidArgumentError: tokens that are no integers, or fewer than one piece.
        """
        if self.tokens.dtype.kind not in "iu" or self.tokens.ndim != 1:
            raise InvalidArgumentError(
                f"TokenData: expected integers on one axis, got {self.tokens.dtype} "
                f"{list(self.tokens.shape)}"
            )
        if self.positions < 1 or not 0 <= self.validation < 1:
            raise InvalidArgumentError(
                "TokenData: expected positions of 1 or more and validation in [0, 1), got "
                f"{self.positions} and {self.validation}"
            )
        if self.train_pieces < 1:
            raise InvalidArgumentError(
                f"TokenData: expected at least {self.positions + 1} tokens to train on, "
                f"got {self.tokens.size}\nhint: take shorter sequences"
            )

    @classmethod
    def from_bin(cls, path: str | os.PathLike[str], positions: int, **options: Any) -> TokenData:
        """The uint16 tokens of a file, as llama2.c's ``tinystories.py pretokenize`` writes them.

        The file is mapped, not loaded. ``options`` are the other fields.

        Raises:
            ModelFileError: the file cannot be read, or has an odd number of bytes.
            InvalidArgumentError: it is too short.
        """
        name = os.fspath(path)
        try:
            size = os.stat(path).st_size
            if size == 0 or size % 2:
                raise ModelFileError(f"{name}: expected uint16 tokens, got {size} bytes")
            tokens = np.memmap(path, np.dtype("<u2"), "r")
        except OSError as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"{name}: expected tokens to read, got {error}") from error
        return cls(tokens, positions, **options)

    @classmethod
    def from_text(
        cls, text: str, tokenizer: Tokenizer, positions: int, **options: Any
    ) -> TokenData:
        """The tokens of a text.

        Raises:
            InvalidArgumentError: it is too short.
        """
        dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
        return cls(np.array(tokenizer.encode(text), dtype), positions, **options)

    @property
    def train_pieces(self) -> int:
        """Pieces for training."""
        return self._pieces - self.validation_pieces

    @property
    def validation_pieces(self) -> int:
        """Pieces that are held back: at least one where there is a share and room."""
        if self.validation == 0 or self._pieces < 2:
            return 0
        return max(1, int(self._pieces * self.validation))

    @property
    def _pieces(self) -> int:
        return (self.tokens.size - 1) // self.positions

    def train(self, index: int) -> tuple[Tokens, Tokens]:
        """The training sequence of that number, counting over all epochs: tokens and targets."""
        epoch, at = divmod(index, self.train_pieces)
        return self._piece(int(_order(self.seed, epoch, self.train_pieces)[at]))

    def validate(self, index: int) -> tuple[Tokens, Tokens]:
        """A sequence that is held back: tokens and targets.

        Raises:
            InvalidArgumentError: there is none of that number.
        """
        if not 0 <= index < self.validation_pieces:
            raise InvalidArgumentError(
                f"TokenData: expected a piece in [0, {self.validation_pieces}), got {index}"
            )
        return self._piece(self.train_pieces + index)

    def _piece(self, number: int) -> tuple[Tokens, Tokens]:
        start = number * self.positions
        piece = np.asarray(self.tokens[start : start + self.positions + 1])
        return piece[:-1], piece[1:]


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, pieces: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(pieces)


def write_bin(tokens: npt.ArrayLike, path: str | os.PathLike[str]) -> None:
    """Write tokens as uint16, whole or not at all.

    Raises:
        InvalidArgumentError: a token beyond 65535.
        ModelFileError: the file cannot be written.
    """
    given = np.asarray(tokens)
    if given.size and (given.min() < 0 or given.max() > 0xFFFF):
        raise InvalidArgumentError(
            f"write_bin: expected tokens in [0, 65536), got {int(given.min())} to "
            f"{int(given.max())}"
        )
    with replaced(path) as file:
        file.write(np.ascontiguousarray(given, "<u2").data.cast("B"))


def load_data(
    source: str | os.PathLike[str],
    positions: int,
    tokenizer: Tokenizer | None = None,
    **options: Any,
) -> TokenData:
    """Data by name: ``"stdlib"``, a ``.bin`` file of uint16, or a text file.

    ``"stdlib"`` is the source of Python's own library, so that a first run downloads nothing. Text
    goes through ``tokenizer``, bytes by default.

    Raises:
        ModelFileError: the file cannot be read, or is no text in UTF-8.
        InvalidArgumentError: it is too short.
    """
    tokenizer = tokenizer or ByteTokenizer()
    if os.fspath(source) == "stdlib":
        return TokenData.from_text(stdlib_text(), tokenizer, positions, **options)
    path = Path(source)
    if path.suffix == ".bin":
        return TokenData.from_bin(path, positions, **options)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path}: expected text in UTF-8, got {error}") from error
    return TokenData.from_text(text, tokenizer, positions, **options)


def stdlib_text(limit: int = 4 << 20) -> str:
    """The source of Python's library, file after file by name, up to about ``limit`` characters."""
    return "".join(_sources(Path(sysconfig.get_paths()["stdlib"]), limit))


def _sources(root: Path, limit: int) -> Iterator[str]:
    left = limit
    for path in sorted(root.glob("*.py")):
        if left <= 0:
            return
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        yield text + "\n"
        left -= len(text)
