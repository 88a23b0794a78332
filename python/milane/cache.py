"""Results of compiles, kept for the next process: where, how many, and how to be rid of them.

On the host backend a compile packs constant weights for the matrix kernels and decompresses those
that are stored compressed. What comes out goes into one file per program; the next compile of the
same program maps that file instead. On the Neural Engine the system keeps what it compiled, in
folders of its own: nothing of that is here. ``use_cache=False`` (:class:`milane.CompileOptions`)
compiles anew on both. ``docs/cache.md`` says what decides that a program is the same.

Environment: ``MILANE_CACHE=0`` turns it off, ``MILANE_CACHE_DIR`` is the folder,
``MILANE_CACHE_SIZE`` the most it may hold (``"500MB"``, ``"4GB"``, or a number of bytes). They are
read at every compile.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import platform
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import milane

from . import _core
from .errors import InvalidArgumentError

__all__ = ["Entry", "Stats", "clear", "directory", "enabled", "entries", "size_limit", "stats"]

DEFAULT_SIZE_LIMIT = 4_000_000_000

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_OFF = {"0", "off", "false", "no"}
_NO_LIMIT = 2**64 - 1
_NS = 10**9

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One program's compile results.

    Attributes:
        key: name of its file, 32 hexadecimal digits.
        label: file and function the program came from; programs given as text are ``<text>``.
        build: the Milane that made it; another one neither reads nor replaces it.
        nbytes: size of its file.
        created: when it was made.
        last_used: when a compile last took it.
    """

    key: str
    label: str
    build: str
    nbytes: int
    created: datetime
    last_used: datetime


@dataclass(frozen=True)
class Stats:
    """What the cache holds, and what it did for this process.

    Attributes:
        hits: compiles of this process that took everything from the cache.
        misses: compiles of this process that looked and found nothing they could use. Small
            programs do not look (``docs/cache.md``).
        entries: files in the folder.
        nbytes: their size together.
        limit: the most they may have.
    """

    hits: int
    misses: int
    entries: int
    nbytes: int
    limit: int


def directory() -> Path:
    """Return the folder of the cache; it is made when the first entry is written.

    ``MILANE_CACHE_DIR``, else ``milane`` in the user's folder for caches: ``XDG_CACHE_HOME`` or
    ``~/.cache``, on a Mac ``~/Library/Caches``.
    """
    if chosen := os.environ.get("MILANE_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):  # others are to be ignored (XDG base directory specification)
        return Path(xdg) / "milane"
    home = Path(os.path.expanduser("~")).absolute()
    on_mac = platform.system() == "Darwin"
    return home / ("Library/Caches" if on_mac else ".cache") / "milane"


def enabled() -> bool:
    """Return whether compiles use the cache: unless ``MILANE_CACHE`` is 0, off, false or no."""
    return os.environ.get("MILANE_CACHE", "").strip().lower() not in _OFF


def size_limit() -> int:
    """Return how many bytes the cache may hold: ``MILANE_CACHE_SIZE``, else 4 GB.

    Beyond it, entries that were used longest ago go. 0 keeps nothing.

    Raises:
        InvalidArgumentError: ``MILANE_CACHE_SIZE`` is no size.
    """
    text = os.environ.get("MILANE_CACHE_SIZE", "")
    return parse_size(text, "MILANE_CACHE_SIZE") if text.strip() else DEFAULT_SIZE_LIMIT


def parse_size(text: str, what: str) -> int:
    """Return the bytes that a text like ``"500MB"``, ``"1.5 GB"`` or ``"4096"`` means.

    Raises:
        InvalidArgumentError: it means none; the message begins with ``what``.
    """
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]{0,2})\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise InvalidArgumentError(
            f'{what}: expected bytes, or a size like "500MB" or "4GB", got {text!r}'
        )
    return math.floor(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit


def entries() -> list[Entry]:
    """Return the cache's entries, the least recently used first; other builds' too."""
    return [_entry(row) for row in _store().entries()]


def stats() -> Stats:
    """Return what the cache holds, and how many compiles of this process found something there."""
    hits, misses = _core.cache_counts()
    sizes = [entry.nbytes for entry in entries()]
    return Stats(hits, misses, len(sizes), sum(sizes), size_limit())


def clear(
    *, unused_for: timedelta | float | None = None, max_bytes: int | None = None
) -> list[Entry]:
    """Remove entries and return them: all, or those that the arguments name.

    Kernels in use keep working: they have their entry's memory.

    Args:
        unused_for: only entries that no compile took for so long (a number: seconds).
        max_bytes: the least recently used, until at most so many bytes are left. With
            ``unused_for`` too, both apply.

    Raises:
        InvalidArgumentError: a negative time or size.
    """
    if isinstance(unused_for, timedelta):
        unused_for = unused_for.total_seconds()
    if unused_for is not None and not unused_for >= 0:
        raise InvalidArgumentError(f"clear: expected unused_for of at least 0, got {unused_for}")
    if max_bytes is not None and max_bytes < 0:
        raise InvalidArgumentError(f"clear: expected max_bytes of at least 0, got {max_bytes}")
    used_before, keep = 0, _NO_LIMIT
    if unused_for is not None:
        now = datetime.now(timezone.utc).timestamp()
        used_before = max(0, math.floor((now - min(unused_for, now)) * _NS))
    if max_bytes is not None:
        keep = min(max_bytes, _NO_LIMIT)
    elif unused_for is None:
        keep = 0
    return [_entry(row) for row in _store().clear(used_before_ns=used_before, keep_bytes=keep)]


def for_compile(use_cache: bool) -> _core.CompileCache | None:
    """The cache a compile is to use; None where it is to use none."""
    return _store() if use_cache and enabled() else None


def log_problem(cache: _core.CompileCache | None) -> None:
    """Log, once per folder, that entries cannot be written. The compile is done all the same."""
    if cache is not None and (problem := cache.take_problem()):
        _log.warning("compile results are not kept: %s", problem)


def _entry(row: tuple[str, str, str, int, int, int]) -> Entry:
    key, label, build, nbytes, created_ns, used_ns = row
    return Entry(key, label, build, nbytes, _time(created_ns), _time(used_ns))


def _time(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / _NS, timezone.utc)


def _store() -> _core.CompileCache:
    return _store_at(os.fspath(directory()), size_limit(), _build())


@functools.lru_cache(maxsize=16)  # one each, so that a warning comes once
def _store_at(folder: str, limit: int, build: str) -> _core.CompileCache:
    return _core.CompileCache(folder, limit_bytes=limit, build=build)


def _build() -> str:
    """What made an entry: the version, and which library of it, for builds between versions."""
    library = os.stat(_core.__file__)
    return f"{milane.__version__}+{library.st_size:x}.{library.st_mtime_ns:x}"
