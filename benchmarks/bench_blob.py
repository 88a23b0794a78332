"""How fast do the fp32 weights of a model become weight files?

The model is stories110M: 12 layers, dim 768, hidden 2048, 32 000 tokens, 110 million parameters.
In memory, one file of one record per weight: `build_weight_blob`, next to NumPy's
`astype(float16).tobytes()`. On disk, one file of all weights: `BlobWriter(path)`, next to the
writer in coremltools' wheel, where that is installed, which takes halves that NumPy has to make.

The limit is memory: n values are 4n bytes read and 2n written, so the bandwidth is measured, in the
same run, by a copy of 3n bytes into memory that is already there. New memory costs more: the system
clears it first, which writes the 2n bytes once more. For the file, the limit is a write() of its 2n
bytes into a file made anew, from memory; to have the disk's room found beforehand may beat it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import alternate, markdown, parser, report, time_text

from milane import blob

try:
    from coremltools import libmilstoragepython as storage
except ImportError:
    storage = None

LAYERS, DIM, HIDDEN, VOCAB = 12, 768, 2048, 32000

Weights = list[npt.NDArray[np.float32]]


def stories110m() -> Weights:
    """The weights, random, in the shapes of llama2.c's model; embedding and classifier are one."""
    square, up, down, norm = (DIM, DIM), (HIDDEN, DIM), (DIM, HIDDEN), (DIM,)
    layer = [norm, square, square, square, square, norm, up, down, up]
    rng = np.random.default_rng(0)
    shapes = [(VOCAB, DIM), *layer * LAYERS, norm]
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def in_memory(weights: Weights, size: int) -> dict[str, Callable[[], object]]:
    """Variants that make bytes."""
    source, target = np.ones(6 * size // 2, np.uint8), np.zeros(6 * size // 2, np.uint8)
    return {
        "milane build_weight_blob": lambda: [blob.build_weight_blob(w) for w in weights],
        "NumPy astype, tobytes": lambda: [w.astype(np.float16).tobytes() for w in weights],
        "copy of the same bytes": lambda: np.copyto(target, source),
    }


def on_disk(weights: Weights, size: int, folder: Path) -> dict[str, Callable[[], object]]:
    """Variants that make a file."""

    # All remove the old file first: a rename over one makes ext4 write the new one out at once.
    def milane_writes() -> None:
        (folder / "milane.bin").unlink(missing_ok=True)
        with blob.BlobWriter(folder / "milane.bin") as writer:
            for w in weights:
                writer.add_float16(w)

    def coremltools_writes() -> None:
        (folder / "apple.bin").unlink(missing_ok=True)
        writer = storage._BlobStorageWriter(str(folder / "apple.bin"))
        for w in weights:
            writer.write_fp16_data(w.astype(np.float16).reshape(-1).view(np.uint16))

    content = bytes(2 * size)

    def plain_writes() -> None:
        (folder / "plain.bin").unlink(missing_ok=True)
        with open(folder / "plain.bin", "wb", buffering=0) as file:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]

    variants: dict[str, Callable[[], object]] = {"milane BlobWriter(path)": milane_writes}
    if storage is not None:
        variants["coremltools' writer"] = coremltools_writes
    variants["write() of the same bytes"] = plain_writes
    return variants


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__ or "")
    options.add_argument(
        "--folder", type=Path, help="where the files go (default: a temporary one)"
    )
    args = options.parse_args()
    weights = stories110m()
    size = sum(w.size for w in weights)
    results, rows = {}, []
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        folder = Path(scratch)
        for variants in (in_memory(weights, size), on_disk(weights, size, folder)):
            spreads = alternate(variants, args.rounds)
            first, *_, limit = spreads.values()
            for name, s in spreads.items():
                results[name] = s
                times = [time_text(t) for t in (s.median, s.min, s.max)]
                share = f"{limit.median / s.median:.0%}"
                rows.append([name, *times, share, f"{s.median / first.median:.2f}"])
        if storage is not None:  # the same file, byte for byte
            files = [(folder / f"{name}.bin").read_bytes() for name in ("milane", "apple")]
            assert files[0] == files[1]
    columns = ["variant", "median", "min", "max", "share of the limit", "time / milane"]
    question = f"{size / 1e6:.0f} million fp32 values into weight files"
    report(question, results, markdown(columns, rows), args.json, parameters=size)


if __name__ == "__main__":
    main()
