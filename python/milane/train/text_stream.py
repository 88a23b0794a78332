"""Text that arrives token by token: whole characters, and nothing behind a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from milane.errors import InvalidArgumentError
from milane.train.tokenizer import Tokenizer


class TextStream:
    """Turns one token after the other into text that can be shown.

    Bytes of a character that is not complete are held back, and so is what may be the beginning of
    a stop string.

    Args:
        tokenizer: what the tokens are of.
        before: the token before the first, which decides on its leading space.
        stop: strings that end the text; they are no part of it.
    """

    def __init__(self, tokenizer: Tokenizer, before: int, stop: Sequence[str] = ()) -> None:
        if not all(stop):
            raise InvalidArgumentError("stop: expected strings of one character or more, got ''")
        self._tokenizer = tokenizer
        self._before = before
        self._stop = list(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether a stop string was met: nothing comes any more."""
        return self._stopped

    def push(self, token: int) -> str:
        """The text that is certain now that this token has come; often "".

        Raises:
            InvalidArgumentError: a token that the tokenizer does not have.
        """
        # A piece's text may depend on the token before it, as the space behind BOS does.
        both = self._tokenizer.decode_bytes([self._before, token])
        first = self._tokenizer.decode_bytes([self._before])
        self._before = token
        return self._found(self._decoder.decode(both[len(first) :]))

    def finish(self) -> str:
        """What was held back; a character that never became complete is U+FFFD."""
        text = self._found(self._decoder.decode(b"", True))
        held, self._held = self._held, ""
        return text + held

    def _found(self, more: str) -> str:
        if self._stopped:
            return ""
        text = self._held + more
        ends = [at for at in (text.find(s) for s in self._stop) if at >= 0]
        if ends:
            self._stopped, self._held = True, ""
            return text[: min(ends)]
        held = max((_overlap(text, s) for s in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """How many of the last characters are the first of a stop string, at most all but one."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
