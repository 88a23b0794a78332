"""What does it cost to change weights between evaluations, whole and by one row?

Whole: `Kernel.write_weight_f32` of a 768 x 768 matrix, next to a plain copy of the float32 source
(as ctypes.memmove does it) and, where PyTorch is installed, its `.half()` into a buffer of the same
size, both as one copying conversion and with `.half()` making a tensor first. One row: the same
call with `rows=`, for matrices of more and more rows; and the row written as a NumPy slice of the
surface's view.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from common import Spread, alternate, markdown, parser, report, time_text

import milane
from milane.linear import linear_program

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

SIDE = 768
HEIGHTS = (256, 1024, 4096, 16384)

Variants = dict[str, Callable[[], object]]


def whole(runtime: milane.Runtime, rounds: int) -> dict[str, Spread]:
    """Times of writing all of a matrix."""
    kernel = runtime.compile_dynamic(linear_program(1, SIDE, SIDE, dynamic=True), 1)
    source = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)
    halves = source.astype(np.float16)
    target = np.zeros_like(source)
    to, of, size = target.ctypes.data, source.ctypes.data, source.nbytes
    variants: Variants = {
        "write_weight_f32": lambda: kernel.write_weight_f32("w", source),
        "write_weight (fp16)": lambda: kernel.write_weight("w", halves),
        "memcpy of the float32 source": lambda: ctypes.memmove(to, of, size),
    }
    if torch is not None:
        torch.set_num_threads(1)
        tensor = torch.from_numpy(source)
        buffer = torch.zeros((SIDE, SIDE), dtype=torch.float16)
        variants["torch buffer.copy_(w)"] = lambda: buffer.copy_(tensor)
        variants["torch buffer.copy_(w.half())"] = lambda: buffer.copy_(tensor.half())
    spreads = alternate(variants, rounds)
    np.testing.assert_array_equal(kernel.weights["w"].array, halves)
    return spreads


def one_row(runtime: milane.Runtime, rounds: int) -> dict[str, Spread]:
    """Times of writing one row of matrices of several heights."""
    variants: Variants = {}
    row = np.random.default_rng(0).standard_normal(SIDE, dtype=np.float32)

    def add(height: int) -> None:
        kernel = runtime.compile_dynamic(linear_program(1, SIDE, height, dynamic=True), 1)
        view: npt.NDArray[Any] = kernel.weights["w"].array
        at = height // 2

        def through_the_view() -> None:
            view[at] = row

        variants[f"write_weight_f32(rows=), {height} rows"] = lambda: kernel.write_weight_f32(
            "w", row, rows=at
        )
        variants[f"NumPy into the view, {height} rows"] = through_the_view

    for height in HEIGHTS:
        add(height)
    return alternate(variants, rounds)


def main() -> None:
    """Measures and prints."""
    args = parser(__doc__ or "").parse_args()
    if args.threads:
        milane.set_num_threads(args.threads)
    with milane.open("host") as runtime:
        all_of_it, rows = whole(runtime, args.rounds), one_row(runtime, args.rounds)
    copy = all_of_it["memcpy of the float32 source"].median
    columns = ["variant", "median", "min", "max", "rate of the source, of memcpy's"]
    table = [[*line(name, s), f"{copy / s.median:.0%}"] for name, s in all_of_it.items()]
    table += [[*line(name, s), ""] for name, s in rows.items()]
    report("weights that change", {**all_of_it, **rows}, markdown(columns, table), args.json)


def line(name: str, spread: Spread) -> list[str]:
    """A variant and its times for reading."""
    return [name, *(time_text(t) for t in (spread.median, spread.min, spread.max))]


if __name__ == "__main__":
    main()
