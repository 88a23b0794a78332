"""A run's log as a chart: loss and throughput over steps."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

from milane.errors import InvalidArgumentError, ModelFileError, UnsupportedError
from milane.files import replaced

_FORMATS = (".svg", ".png", ".pdf")


def save_plot(log: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Draw loss, validation loss and tokens per second of a ``log.jsonl`` into a picture.

    Needs matplotlib (the extra ``milane[train]``).

    Raises:
        UnsupportedError: matplotlib is not installed.
        InvalidArgumentError: a picture format other than .svg, .png and .pdf.
        ModelFileError: the log cannot be read or holds no step, or the picture cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise InvalidArgumentError(
            f"plot: expected a file of {', '.join(_FORMATS)}, got {target.name}"
        )
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnsupportedError(
            "plot: expected matplotlib, got none\nhint: pip install milane[train]"
        ) from None
    rows = read_log(log)
    figure = Figure(figsize=(8, 6), layout="constrained")
    losses, speed = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    steps = [row["step"] for row in rows]
    losses.plot(steps, [_number(row["loss"]) for row in rows], linewidth=1, label="training")
    checked = [row for row in rows if row.get("validation") is not None]
    if checked:
        losses.plot(
            [row["step"] for row in checked],
            [_number(row["validation"]) for row in checked],
            marker="o",
            label="validation",
        )
    losses.set_ylabel("loss (nats per token)")
    losses.legend()
    speed.plot(steps, [row["tokens"] / row["seconds"] for row in rows], linewidth=1)
    speed.set_ylabel("tokens / s")
    speed.set_ylim(bottom=0)
    speed.set_xlabel("step")
    picture = io.BytesIO()
    figure.savefig(picture, format=target.suffix[1:].lower())
    with replaced(target) as file:
        file.write(picture.getvalue())


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The steps of a ``log.jsonl``; a last line that was cut off is left out.

    Raises:
        ModelFileError: the log cannot be read, or holds no step.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ModelFileError(f"{path}: expected a log to read, got {error}") from error
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
    if not rows:
        raise ModelFileError(f"{path}: expected the log of a run, got no step")
    return rows


def _number(value: float | str) -> float:
    return float(value)
