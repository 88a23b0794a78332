"""Model files of llama2.c, version 0: a header of seven int32 and float32 weights behind it.

The order is that of ``memory_map_weights`` in llama2.c's ``run.c``: the token table; then for all
layers together the attention norms, wq, wk, wv, wo, the feed-forward norms, w1, w2, w3; the last
norm; two tables of rotary frequencies that no reader uses any more; the classifier, where
``vocab_size`` is negative.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milane.errors import ModelFileError
from milane.files import replaced
from milane.train.config import Llama2Config, ModelConfig
from milane.train.weights import LayerWeights, ModelWeights, layer_shapes

_LAYER_ORDER = ("rms_att", "wq", "wk", "wv", "wo", "rms_ffn", "w1", "w2", "w3")


def load(path: str | os.PathLike[str]) -> ModelWeights:
    """The weights of a llama2.c file, MHA or GQA, with a classifier of its own or without.

    Raises:
        ModelFileError: the file cannot be read, has another version, or another size than its
            header says.
    """
    name = os.fspath(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(f"{name}: expected a file to read, got {error}") from error
    if data[:4] == b"24ka":  # 0x616b3432, "ak42" as a little-endian number
        raise ModelFileError(
            f"{name}: expected a version 0 file of llama2.c, got a later one (its magic is ak42)\n"
            "hint: llama2.c's export.py writes version 0 with --version 0"
        )
    header = Llama2Config.unpack(data, name)
    config = header.model()
    expected = sum(int(np.prod(shape)) for _, shape in _arrays(config))
    if len(data) != header.nbytes + 4 * expected:
        raise ModelFileError(
            f"{name}: expected {header.nbytes + 4 * expected} bytes for {header}, got {len(data)}"
        )
    floats = np.frombuffer(data, np.dtype("<f4"), offset=header.nbytes)
    found: dict[str, npt.NDArray[np.float32]] = {}
    at = 0
    for part, shape in _arrays(config):
        size = int(np.prod(shape))
        found[part] = floats[at : at + size].reshape(shape).astype(np.float32)
        at += size
    layers = [
        LayerWeights(**{part: found[part][i].copy() for part in _LAYER_ORDER})
        for i in range(config.n_layers)
    ]
    return ModelWeights(config, found["embed"], layers, found["rms_final"], found.get("classifier"))


def save(weights: ModelWeights, path: str | os.PathLike[str]) -> None:
    """Write a llama2.c file, whole or not at all.

    Raises:
        ModelFileError: the file cannot be written.
        InvalidArgumentError: a head size that the format cannot say.
    """
    config = weights.config
    header = Llama2Config.of(config)
    stored = {"embed": weights.embed, "rms_final": weights.rms_final}
    if weights.classifier is not None:
        stored["classifier"] = weights.classifier
    with replaced(path) as file:
        file.write(header.pack())
        for part, shape in _arrays(config):
            if part in _LAYER_ORDER:
                for layer in weights.layers:
                    file.write(np.ascontiguousarray(getattr(layer, part), "<f4").data)
            elif part.startswith("freq"):
                file.write(_frequencies(config, part == "freq_sin").data)
            else:
                file.write(np.ascontiguousarray(stored[part].reshape(shape), "<f4").data)


def _arrays(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every array, in the file's order; those of all layers as one."""
    yield "embed", (config.vocab_size, config.dim)
    shapes = layer_shapes(config)
    for part in _LAYER_ORDER:
        yield part, (config.n_layers, *shapes[part])
    yield "rms_final", (config.dim,)
    for part in ("freq_cos", "freq_sin"):
        yield part, (config.seq_len, config.head_dim // 2)
    if not config.tied:
        yield "classifier", (config.vocab_size, config.dim)


def _frequencies(config: ModelConfig, sine: bool) -> npt.NDArray[np.float32]:
    pairs = np.arange(0, config.head_dim, 2) / config.head_dim
    angles = np.outer(np.arange(config.seq_len), 1.0 / config.rope_theta**pairs)
    return np.ascontiguousarray(np.sin(angles) if sine else np.cos(angles), dtype="<f4")
