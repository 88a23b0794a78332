"""Random weights for a MIL program whose own are absent: python synthblob.py model.mil OUTDIR.

Every BLOBFILE of the text gets a record of the stated dtype and size at the stated offset, so the
program compiles and runs. The numbers mean nothing; they are small, and valid where they must be.
"""

from __future__ import annotations

import argparse
import re
import struct
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from milane.cli.weights import DTYPE_BITS, BlobReference, blob_references

_MODEL_PATH = "@model_path/"
_SENTINEL = 0xDEADBEEF
_ALIGNMENT = 64

# MIL Blob Storage v2 dtype codes (coremltools, BlobDataType.hpp). It has none for bool: bytes.
_CODES = {
    **{"fp16": 1, "fp32": 2, "uint8": 3, "int8": 4, "bf16": 5, "int16": 6, "uint16": 7},
    **{"int4": 8, "uint1": 9, "uint2": 10, "uint4": 11, "uint3": 12, "uint6": 13, "int32": 14},
    **{"uint32": 15, "fp8e4m3fn": 16, "fp8e5m2": 17, "bool": 3},
}


def write_synthetic_weights(
    mil_path: str | Path, out_dir: str | Path, seed: int = 0
) -> dict[str, Path]:
    """The files written, by their path in the text; their folders are made under `out_dir`.

    Raises ValueError for records that overlap, and for paths that leave `out_dir`.
    """
    text = Path(mil_path).read_text(encoding="utf-8")
    values = _Values(text, np.random.default_rng(seed))
    files: defaultdict[str, dict[int, BlobReference]] = defaultdict(dict)
    for reference in blob_references(text):
        at = files[reference.path]
        known = at.setdefault(reference.offset, reference)
        if known.size_bytes < reference.size_bytes:
            at[reference.offset] = reference
    written = {}
    for path, records in files.items():
        target = _target(Path(out_dir), path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_blob_file(path, records.values(), values))
        written[path] = target
    return written


def _target(out_dir: Path, path: str) -> Path:
    relative = PurePosixPath(path.removeprefix(_MODEL_PATH))
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"{path}: expected a path inside the model's folder")
    return out_dir / relative


def _blob_file(path: str, references: Iterable[BlobReference], values: _Values) -> bytes:
    """Header, then each record at its offset; gaps become byte records, so a reader can walk on.

    Some hand-written programs put records back to back, off the 64-byte grid: so does this then.
    """
    image = bytearray(_ALIGNMENT)
    count = 0
    for reference in sorted(references, key=lambda r: r.offset):
        start, offset = _aligned(len(image)), reference.offset
        if offset < len(image):
            raise ValueError(f"{path}: {reference.name}: the record at {offset} overlaps another")
        if offset % _ALIGNMENT == 0 and offset > start:
            _append(image, start, "uint8", bytes(offset - start - _ALIGNMENT), 0)
            count += 1
        bits = reference.count * DTYPE_BITS[reference.dtype]
        _append(image, offset, reference.dtype, values.draw(reference), -bits % 8)
        count += 1
    image[:8] = struct.pack("<II", count, 2)
    return bytes(image)


def _append(image: bytearray, start: int, dtype: str, data: bytes, padding_bits: int) -> None:
    """One record at `start`: sentinel, dtype, size, data offset, padding bits, 32 zero bytes."""
    if dtype not in _CODES:
        raise ValueError(f"a blob file cannot hold {dtype}")
    image += bytes(start - len(image))
    header = (_SENTINEL, _CODES[dtype], len(data), start + _ALIGNMENT, padding_bits)
    image += struct.pack("<IIQQQ", *header) + bytes(32) + data


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


class _Values:
    """Draws the bytes of one record at a time."""

    def __init__(self, text: str, rng: np.random.Generator) -> None:
        self._rng = rng
        self._variances = set(re.findall(r"\bvariance\s*=\s*(\w+)", text))
        # Ones that a sparse mask must have: as many as there are values.
        self._ones = {
            r.name: r.count for r in blob_references(text) if r.argument == "nonzero_data"
        }

    def draw(self, reference: BlobReference) -> bytes:
        """Bytes for a record: floats small, integers 0 or 1 (valid indices), packed bits random."""
        n, dtype = reference.count, reference.dtype
        if reference.argument == "mask" and reference.name in self._ones:
            return self._mask(reference.size_bytes * 8, n, self._ones[reference.name], dtype)
        if dtype in ("fp16", "fp32", "bf16"):
            return self._floats(reference)
        if dtype in ("int16", "uint16", "int32", "uint32"):
            return (
                self._rng.integers(0, 2, n).astype(f"<{dtype[0]}{DTYPE_BITS[dtype] // 8}").tobytes()
            )
        if dtype == "bool":
            return self._rng.integers(0, 2, n, dtype=np.uint8).tobytes()
        data = self._rng.integers(0, 256, reference.size_bytes, dtype=np.uint8)
        if dtype.startswith("fp8"):
            data &= 0xBF  # the top exponent bit off: no infinity, no NaN
        return _without_padding(data, n * DTYPE_BITS[dtype])

    def _floats(self, reference: BlobReference) -> bytes:
        values = (self._rng.standard_normal(reference.count) * 0.05).astype("<f4")
        if reference.name in self._variances:
            values = np.abs(values) + np.float32(0.5)
        if reference.dtype == "fp16":
            return values.astype("<f2").tobytes()
        if reference.dtype == "bf16":
            return (values.view("<u4") >> 16).astype("<u2").tobytes()
        return values.tobytes()

    def _mask(self, bits: int, count: int, ones: int, dtype: str) -> bytes:
        """A bit mask with exactly `ones` ones: uint1 of the shape, or bytes of packed bits.

        The byte form does not state how many of its last bits count, so those stay zero.
        """
        places = count if dtype == "uint1" else bits - 7
        if ones > places:
            places = bits
        flags = np.zeros(bits, np.uint8)
        flags[self._rng.permutation(places)[:ones]] = 1
        return np.packbits(flags, bitorder="little").tobytes()


def _without_padding(data: np.ndarray[tuple[int], np.dtype[np.uint8]], bits: int) -> bytes:
    """The bytes with the unused high bits of the last one cleared."""
    if bits % 8 and data.size:
        data[-1] &= (1 << bits % 8) - 1
    return data.tobytes()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mil", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for path, file in write_synthetic_weights(args.mil, args.out_dir, args.seed).items():
        print(f"{path}: {file} ({file.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
