"""Weight files: MIL Blob Storage v2, read, checked and written.

A MIL program names a weight by file and offset, ``BLOBFILE(path = …, offset = …)``; the offset is
that of a 64-byte record header, which the data follows. ``docs/blob.md`` describes the format and
its sources. Files written here are read by Apple's reader, and the other way round.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from milane._core.blob import BlobFile, Problem, Record

from . import quantize
from .builders import (
    build_causal_mask_blob,
    build_ffn_up_weight_blob,
    build_fp16_blob,
    build_identity_weight_blob,
    build_int8_blob,
    build_qkv_weight_blob,
    build_rope_cos_sin_blobs,
    build_transposed_weight_blob,
    build_vector_weight_blob,
    build_weight_blob,
    build_weight_blob_v1,
)
from .tables import causal_mask, rope_tables
from .types import BlobDataType
from .writer import BlobWriter

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "BlobDataType",
    "BlobFile",
    "BlobWriter",
    "Problem",
    "Record",
    "build_causal_mask_blob",
    "build_ffn_up_weight_blob",
    "build_fp16_blob",
    "build_identity_weight_blob",
    "build_int8_blob",
    "build_qkv_weight_blob",
    "build_rope_cos_sin_blobs",
    "build_transposed_weight_blob",
    "build_vector_weight_blob",
    "build_weight_blob",
    "build_weight_blob_v1",
    "causal_mask",
    "check",
    "quantize",
    "read",
    "rope_tables",
]


def read(source: str | os.PathLike[str] | Buffer) -> BlobFile:
    """A blob file: a path is mapped, not loaded; bytes are used in place.

    Nothing is validated yet. ``file.record_at(offset)`` validates one record, ``file.records()``
    all of them; a record's ``array`` is a 1-D read-only view that keeps the file mapped (fp16 as
    float16, bf16 as uint16, fp8 as uint8), or a new int8 or uint8 array for a sub-byte type.

    Raises:
        ModelFileError: the path names no readable regular file.
        InvalidArgumentError: ``source`` is neither a path nor contiguous bytes.
    """
    if isinstance(source, str | os.PathLike):
        return BlobFile.open(os.fspath(source))
    return BlobFile.over(source)


def check(source: str | os.PathLike[str] | Buffer) -> list[Problem]:
    """Everything that is wrong with a blob file; an empty list for a sound one.

    Each problem has ``record`` (its index, or None), ``offset``, ``expected`` and ``got``, and
    prints as ``record 3 at offset 4160: expected …, got …``. Padding and reserved fields of
    whole-byte records are not judged: coremltools 7 and older left them uninitialised.

    Raises:
        ModelFileError: the path names no readable regular file.
    """
    return read(source).check()
