"""Checkpoints: the BLZT v2 format of maderix/ANE, and what resuming needs behind it.

A file is a header of 128 bytes; for each block the nine weights in the order of
:data:`milane.train.weights.LAYER_FIELDS`, then first and second moment of each; then the last
norm's scale with its moments, the token table with its, and a classifier of its own with its.
Float32, little-endian. Behind that, where the format ends, stands what this package adds: JSON, its
length, and a checksum of everything before, so that damage is found before anything is used.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt

from milane.errors import ModelFileError
from milane.files import replaced
from milane.train.config import ModelConfig
from milane.train.weights import AdamState, LayerAdam, LayerWeights, ModelWeights

MAGIC = 0x424C5A54
VERSION = 2
_TRAILER = struct.Struct("<4sII")  # "MLNE", length of the JSON in front of it, CRC-32
_STEP_NAME = re.compile(r"step-(\d+)\.ckpt")


@dataclass
class CheckpointHeader:
    """The first 128 bytes of a checkpoint, BLZT v2, in the order of maderix/ANE's ``CkptHdr``.

    Ten int32, two float32, three float64, three int32, three int32 of padding; the rest is zero.

    Attributes:
        step: optimiser steps done.
        total_steps: steps the run was to have.
        n_layers, vocab_size, dim, hidden_dim, n_heads, seq_len: the model's sizes.
        lr: the last learning rate.
        loss: the last loss.
        cum_compile, cum_train, cum_wall: milliseconds spent compiling, training, and altogether.
        cum_steps, cum_batches: evaluations and optimiser steps, over all restarts.
        adam_t: Adam's step.
    """

    step: int = 0
    total_steps: int = 0
    n_layers: int = 0
    vocab_size: int = 0
    dim: int = 0
    hidden_dim: int = 0
    n_heads: int = 0
    seq_len: int = 0
    lr: float = 0.0
    loss: float = 0.0
    cum_compile: float = 0.0
    cum_train: float = 0.0
    cum_wall: float = 0.0
    cum_steps: int = 0
    cum_batches: int = 0
    adam_t: int = 0

    nbytes: ClassVar[int] = 128
    _layout: ClassVar[struct.Struct] = struct.Struct("<10i2f3d3i12x32x")

    def pack(self) -> bytes:
        """The 128 bytes."""
        return self._layout.pack(MAGIC, VERSION, *(getattr(self, f.name) for f in fields(self)))

    @classmethod
    def unpack(cls, data: bytes, name: str = "<bytes>") -> CheckpointHeader:
        """The header at the start of ``data``.

        Raises:
            ModelFileError: too few bytes, another magic number or version.
        """
        if len(data) < cls.nbytes:
            raise ModelFileError(
                f"{name}: expected a header of {cls.nbytes} bytes, got {len(data)}"
            )
        magic, version, *values = cls._layout.unpack(data[: cls.nbytes])
        if magic & 0xFFFFFFFF != MAGIC:
            raise ModelFileError(
                f"{name}: expected the magic number {MAGIC:#x} (BLZT), got {magic & 0xFFFFFFFF:#x}"
            )
        if version != VERSION:
            raise ModelFileError(f"{name}: expected version {VERSION}, got {version}")
        return cls(*values)


@dataclass
class ModelAdam:
    """The moments of all weights of a model."""

    layers: list[LayerAdam]
    rms_final: AdamState
    embed: AdamState
    classifier: AdamState | None = None

    @classmethod
    def zeros(cls, config: ModelConfig) -> ModelAdam:
        """All moments zero."""
        table = (config.vocab_size, config.dim)
        return cls(
            [LayerAdam.zeros(config) for _ in range(config.n_layers)],
            AdamState.zeros(config.dim),
            AdamState.zeros(table),
            None if config.tied else AdamState.zeros(table),
        )

    def named(self) -> Iterator[tuple[str, AdamState]]:
        """Moments by the names of :meth:`ModelWeights.named`, in its order."""
        for i, layer in enumerate(self.layers):
            for name, state in layer.named():
                yield f"layers.{i}.{name}", state
        yield "rms_final", self.rms_final
        yield "embed", self.embed
        if self.classifier is not None:
            yield "classifier", self.classifier


@dataclass
class Checkpoint:
    """Everything a run needs to go on.

    Attributes:
        header: progress, as the format has it.
        weights: the model's weights.
        adam: the optimiser's moments.
        extra: what else a run keeps, such as its place in the data: anything JSON can say.
    """

    header: CheckpointHeader
    weights: ModelWeights
    adam: ModelAdam
    extra: dict[str, Any]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint whole, or leave what was there.

        Raises:
            ModelFileError: the file cannot be written.
        """
        with replaced(path, durable=True) as file:
            written = _Summed(file)
            written.write(self.header.pack())
            for array in _arrays(self.weights, self.adam):
                written.write(np.ascontiguousarray(array, "<f4").data.cast("B"))
            config = asdict(self.weights.config)
            text = json.dumps({"config": config, "extra": self.extra}).encode()
            written.write(text)
            head = _TRAILER.pack(b"MLNE", len(text), 0)[:-4]
            file.write(_TRAILER.pack(b"MLNE", len(text), zlib.crc32(head, written.crc)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """The checkpoint in a file.

        A file of maderix/ANE, which ends where the format does, is taken as well: as a model with
        as many key as query heads and a tied classifier.

        Raises:
            ModelFileError: the file cannot be read; or is damaged, and how.
        """
        name = os.fspath(path)
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ModelFileError(f"{name}: expected a checkpoint to read, got {error}") from error
        header = CheckpointHeader.unpack(data, name)
        config, extra, end = _trailer(data, header, name)
        floats = np.frombuffer(data[: end - (end - header.nbytes) % 4], "<f4", offset=header.nbytes)
        expected = 3 * config.total_params
        if end - header.nbytes != 4 * expected:
            raise ModelFileError(
                f"{name}: expected {4 * expected} bytes of weights and moments, "
                f"got {end - header.nbytes}: the file is cut short, or of another model"
            )
        weights = ModelWeights.zeros(config)
        weights.layers = [LayerWeights.zeros(config) for _ in range(config.n_layers)]
        adam = ModelAdam.zeros(config)
        at = 0
        for array in _arrays(weights, adam):
            array[...] = floats[at : at + array.size].reshape(array.shape)
            at += array.size
        return cls(header, weights, adam, extra)


def save_step(checkpoint: Checkpoint, folder: str | os.PathLike[str], keep: int = 0) -> Path:
    """Write ``step-NNNNNNNN.ckpt`` in a folder; with ``keep``, drop all but the newest so many.

    Raises:
        ModelFileError: the folder or the file cannot be written.
    """
    root = Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelFileError(f"{root}: expected a folder to write to, got {error}") from error
    path = root / f"step-{checkpoint.header.step:08d}.ckpt"
    checkpoint.save(path)
    if keep > 0:
        for old in checkpoints(root)[:-keep]:
            with suppress(OSError):
                old.unlink()
    return path


def checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """The checkpoints of a folder, the oldest step first; empty where there are none."""
    root = Path(folder)
    if not root.is_dir():
        return []
    found = [(int(m[1]), p) for p in root.iterdir() if (m := _STEP_NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found)]


def latest(folder: str | os.PathLike[str]) -> tuple[Checkpoint, Path] | None:
    """The newest checkpoint of a folder that is sound, and its path; None where there is none.

    Raises:
        ModelFileError: there are some, and none is sound: what is wrong with the newest.
    """
    first: ModelFileError | None = None
    for path in reversed(checkpoints(folder)):
        try:
            return Checkpoint.load(path), path
        except ModelFileError as error:
            first = first or error
    if first is not None:
        raise first
    return None


class _Summed:
    """A file and the checksum of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.crc = 0

    def write(self, data: bytes | memoryview) -> None:
        self.crc = zlib.crc32(data, self.crc)
        self._file.write(data)


def _trailer(
    data: bytes, header: CheckpointHeader, name: str
) -> tuple[ModelConfig, dict[str, Any], int]:
    """The model's sizes, the extras, and where the weights and moments end."""
    if len(data) >= header.nbytes + _TRAILER.size:
        tag, length, crc = _TRAILER.unpack(data[-_TRAILER.size :])
        if tag == b"MLNE":
            end = len(data) - _TRAILER.size - length
            if end < header.nbytes or zlib.crc32(data[:-4]) != crc:
                raise ModelFileError(
                    f"{name}: expected the checksum {crc:#010x}, got another: the file is damaged"
                )
            held = json.loads(data[end : end + length])
            return ModelConfig(**held["config"]), held["extra"], end
    h = header
    sizes = (h.dim, h.hidden_dim, h.n_layers, h.n_heads, h.vocab_size, h.seq_len)
    if min(sizes) < 1 or h.dim % h.n_heads:
        raise ModelFileError(f"{name}: expected the sizes of a model, got {list(sizes)}")
    return (
        ModelConfig(h.dim, h.hidden_dim, h.n_layers, h.n_heads, h.n_heads, h.vocab_size, h.seq_len),
        {},
        len(data),
    )


def _arrays(weights: ModelWeights, adam: ModelAdam) -> Iterator[npt.NDArray[np.float32]]:
    """Every array in the order of the file."""
    for layer, moments in zip(weights.layers, adam.layers, strict=True):
        for _, array in layer.named():
            yield array
        for _, state in moments.named():
            yield state.m
            yield state.v
    pairs = [(weights.rms_final, adam.rms_final), (weights.embed, adam.embed)]
    if weights.classifier is not None and adam.classifier is not None:
        pairs.append((weights.classifier, adam.classifier))
    for array, state in pairs:
        yield array
        yield state.m
        yield state.v
