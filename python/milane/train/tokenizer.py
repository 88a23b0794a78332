"""The tokenizers a run may use: llama2.c's ``tokenizer.bin``, and plain bytes."""

from __future__ import annotations

import heapq
import os
import re
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from milane.errors import InvalidArgumentError, ModelFileError
from milane.files import replaced

_BYTE_TOKEN = re.compile(rb"<0x([0-9A-Fa-f]{2})>")


class Tokenizer(Protocol):
    """What text becomes, and comes from; ``bos`` begins a text, ``eos`` ends it."""

    bos: int
    eos: int

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""

    def encode(self, text: str, *, bos: bool = True, eos: bool = False) -> list[int]:
        """The tokens of a text."""

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """The text of tokens, in UTF-8 as far as they are whole characters."""

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; broken characters become U+FFFD."""


class ByteTokenizer:
    """One token for each byte of the text in UTF-8; token 0 also begins and ends texts."""

    vocab_size = 256
    bos = 0
    eos = 0

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """The bytes of the text, with a 0 before and behind it where asked for."""
        return [0] * bos + list(text.encode()) + [0] * eos

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """The bytes themselves, without zeros.

        Raises:
            InvalidArgumentError: a token of 256 or more.
        """
        listed = list(tokens)
        for token in listed:
            if not 0 <= token < 256:
                raise InvalidArgumentError(f"ByteTokenizer: expected a byte, got token {token}")
        return bytes(token for token in listed if token)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text; broken UTF-8 becomes U+FFFD."""
        return self.decode_bytes(tokens).decode(errors="replace")


class BPETokenizer:
    """llama2.c's tokenizer: sentencepiece's merges by score, with bytes for what it lacks.

    Token 1 begins a text and 2 ends it; tokens 3 to 258 are the single bytes.
    """

    bos = 1
    eos = 2

    def __init__(self, pieces: Sequence[bytes], scores: Sequence[float]) -> None:
        """Take the tokens' texts and scores, by number.

        Raises:
            InvalidArgumentError: not one score for each piece.
        """
        if len(pieces) != len(scores) or not pieces:
            raise InvalidArgumentError(
                f"BPETokenizer: expected a score for each piece, got {len(scores)} for "
                f"{len(pieces)}"
            )
        self.pieces = list(pieces)
        self.scores = list(scores)
        # The first of equal pieces, as a linear search finds it.
        self._ids: dict[bytes, int] = {}
        for i, piece in enumerate(self.pieces):
            self._ids.setdefault(piece, i)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.pieces)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BPETokenizer:
        """The tokenizer of a ``tokenizer.bin``.

        The format of llama2.c's ``tokenizer.py``: int32 with the longest piece's length, then for
        each token a float32 score, an int32 length and the piece's bytes, all little-endian.

        Raises:
            ModelFileError: the file cannot be read, or ends inside of a token.
        """
        name = os.fspath(path)
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ModelFileError(f"{name}: expected a tokenizer to read, got {error}") from error
        if len(data) < 4:
            raise ModelFileError(f"{name}: expected a tokenizer, got {len(data)} bytes")
        (longest,) = struct.unpack_from("<i", data)
        pieces: list[bytes] = []
        scores: list[float] = []
        at = 4
        while at < len(data):
            length = -1
            if at + 8 <= len(data):
                score, length = struct.unpack_from("<fi", data, at)
            if not 0 <= length <= max(longest, 0) or at + 8 + length > len(data):
                raise ModelFileError(
                    f"{name}: expected token {len(pieces)} at byte {at}, of at most {longest} "
                    f"bytes, got length {length} and {len(data) - at} bytes left"
                )
            pieces.append(data[at + 8 : at + 8 + length])
            scores.append(score)
            at += 8 + length
        if not pieces:
            raise ModelFileError(f"{name}: expected tokens, got none")
        return cls(pieces, scores)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``tokenizer.bin``, whole or not at all.

        Raises:
            ModelFileError: the file cannot be written.
        """
        with replaced(path) as file:
            file.write(struct.pack("<i", max(map(len, self.pieces))))
            for piece, score in zip(self.pieces, self.scores, strict=True):
                file.write(struct.pack("<fi", score, len(piece)) + piece)

    def encode(self, text: str, *, bos: bool = True, eos: bool = False) -> list[int]:
        """The tokens of a text: a space before it, characters, then the best merges first.

        Characters that are no token become their bytes. As ``encode`` in llama2.c's ``run.c``,
        which takes of equal scores the leftmost.
        """
        tokens: list[int] = []
        if text:
            space = self._ids.get(b" ")
            tokens = [] if space is None else [space]
            for character in text:
                piece = character.encode()
                known = self._ids.get(piece)
                tokens += [byte + 3 for byte in piece] if known is None else [known]
        return [self.bos] * bos + self._merged(tokens) + [self.eos] * eos

    def _merged(self, tokens: list[int]) -> list[int]:
        """Joins the pair with the best score until there is none."""
        alive: list[int | None] = list(tokens)
        left = [i - 1 for i in range(len(tokens))]
        right = [i + 1 for i in range(len(tokens))]
        heap: list[tuple[float, int, int, int, int]] = []

        def push(i: int) -> None:
            j = right[i]
            if i < 0 or j >= len(tokens):
                return
            a, b = alive[i], alive[j]
            assert a is not None
            assert b is not None
            joined = self._ids.get(self.pieces[a] + self.pieces[b])
            if joined is not None:
                heapq.heappush(heap, (-self.scores[joined], i, a, b, joined))

        for i in range(len(tokens) - 1):
            push(i)
        while heap:
            _, i, a, b, joined = heapq.heappop(heap)
            j = right[i]
            if alive[i] != a or j >= len(tokens) or alive[j] != b:
                continue  # one of the two went into another pair
            alive[i], alive[j] = joined, None
            right[i] = right[j]
            if right[j] < len(tokens):
                left[right[j]] = i
            push(i)
            if left[i] >= 0:
                push(left[i])
        return [token for token in alive if token is not None]

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """The tokens' pieces; the space that :meth:`encode` put behind BOS is taken away again.

        Raises:
            InvalidArgumentError: a token that is none.
        """
        out = bytearray()
        before = self.bos
        for token in tokens:
            if not 0 <= token < len(self.pieces):
                raise InvalidArgumentError(
                    f"BPETokenizer: expected a token in [0, {len(self.pieces)}), got {token}"
                )
            if token not in (self.bos, self.eos):
                piece = self.piece(token)
                out += piece[1:] if before == self.bos and piece[:1] == b" " else piece
            before = token
        return bytes(out)

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for: ``<0x0A>`` stands for one byte."""
        piece = self.pieces[token]
        byte = _BYTE_TOKEN.fullmatch(piece)
        return bytes([int(byte[1], 16)]) if byte else piece

    def decode(self, tokens: Iterable[int]) -> str:
        """The text; broken UTF-8 becomes U+FFFD."""
        return self.decode_bytes(tokens).decode(errors="replace")
