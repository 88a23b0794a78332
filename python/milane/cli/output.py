"""What the sub-commands share: tables, progress, JSON, errors, whole-file writes."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import milane
from milane.files import replaced

try:
    import rich.console
    import rich.table
    import rich.text
except ImportError:  # the [cli] extra is not installed: plain text
    HAVE_RICH = False
else:
    HAVE_RICH = True


class CliError(Exception):
    """A failure the command line found itself: what, and what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)


class Output:
    """Where a sub-command's results go: text for a person, or one JSON object."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def text(self, line: str = "") -> None:
        """Prints a line for a person; nothing in JSON mode."""
        if not self.as_json:
            print(line)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Prints a table: drawn by rich on a terminal, aligned plain text elsewhere."""
        if self.as_json:
            return
        if HAVE_RICH and sys.stdout.isatty():
            _rich_table(title, columns, rows)
        else:
            print("\n".join(_plain_table(title, columns, rows)))

    def json(self, payload: Mapping[str, object]) -> None:
        """Prints the one JSON object of JSON mode; nothing otherwise."""
        if self.as_json:
            print(json.dumps(payload, indent=2, allow_nan=False))

    @contextlib.contextmanager
    def status(self, message: str) -> Iterator[None]:
        """Shows on stderr, while the body runs, that something is being done."""
        if HAVE_RICH and sys.stderr.isatty():
            with rich.console.Console(stderr=True).status(rich.text.Text(message)):
                yield
        else:
            yield


def _rich_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = rich.table.Table(title=rich.text.Text(title), title_justify="left")
    for column in columns:
        table.add_column(rich.text.Text(column))
    for row in rows:
        # Text, not str: "[...]" in a shape must not be read as markup.
        table.add_row(*(rich.text.Text(cell) for cell in row))
    rich.console.Console().print(table)


def _plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]

    def join(cells: Sequence[str]) -> str:
        return "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()

    return [title, "  " + join(columns), *("  " + join(row) for row in rows)]


def whole_number(text: str, low: int, high: int | None = None) -> int:
    """The number that an option's text spells, for argparse.

    Raises argparse.ArgumentTypeError for anything but a whole number in [low, high].
    """
    bounds = f"{low} or more" if high is None else f"{low} to {high}"
    if not text.lstrip("-").isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, {bounds}, got {text!r}")
    value = int(text)
    if value < low or (high is not None and value > high):
        raise argparse.ArgumentTypeError(f"expected {bounds}, got {value}")
    return value


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`, the same on every sub-command."""
    parser.add_argument("--json", action="store_true", help="print one JSON object to stdout")


def json_number(value: float) -> float | str:
    """The number; as text where JSON has none for it ("nan", "inf", "-inf")."""
    return value if math.isfinite(value) else str(value)


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape as MIL writes it: "[1, ?, 64]"."""
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def size_text(size_bytes: float) -> str:
    """A byte count for reading: "12.5 MB" (1 MB is 1 000 000 bytes)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{size_bytes:.0f} B"


def backend_reason(runtime: milane.Runtime) -> str:
    """Which backend a runtime drives, and why it is that one."""
    machine = f"{platform.system()} {platform.machine().replace('_', '-')}"
    if runtime.backend != "host":
        return f"{runtime.backend}: the Apple Neural Engine of this machine ({machine})"
    if os.environ.get("MILANE_BACKEND") == "host":
        return f"host: asked for by MILANE_BACKEND ({machine})"
    return f"host: no Apple Neural Engine on this machine ({machine})"


def write_npz(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Writes an .npz of these names. Unlike np.savez, takes every name ("file" too)."""
    with replaced(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
