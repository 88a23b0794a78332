"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import ModelFileError


@contextmanager
def replaced(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[BinaryIO]:
    """A binary file that gets its name, complete, when the block ends.

    When the block raises, or the process dies, what was under the name before stays. ``durable``
    waits until the content is on the disk, so that this also holds when the machine stops.

    Raises:
        ModelFileError: the file cannot be written.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with draft.open("xb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        if isinstance(error, ModelFileError):
            raise
        reason = error.strerror or str(error)
        raise ModelFileError(f"{target}: expected to be written, got: {reason}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in UTF-8, whole or not at all.

    Raises:
        ModelFileError: the file cannot be written.
    """
    with replaced(path) as file:
        file.write(text.encode())
