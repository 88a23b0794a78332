"""Models as Hugging Face keeps them: ``config.json`` and safetensors files, Llama and Qwen names.

Their rotary pairs are (i, i + D/2) of a head where those of this package, and of llama2.c, are
(2i, 2i + 1): the rows of the query and key projections come in another order, which is changed on
the way in and out. A file may hold fp32, fp16, bf16 or fp64; weights are float32 here.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milane.errors import InvalidArgumentError, ModelFileError, UnsupportedError
from milane.files import replaced
from milane.train.config import ModelConfig
from milane.train.decoder_program import in_halves, in_pairs
from milane.train.weights import Floats, LayerWeights, ModelWeights, layer_shapes

CONFIG, SINGLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

# Names behind "model.layers.N." by those of LayerWeights.
LAYER_NAMES = {
    "wq": "self_attn.q_proj.weight",
    "wk": "self_attn.k_proj.weight",
    "wv": "self_attn.v_proj.weight",
    "wo": "self_attn.o_proj.weight",
    "w1": "mlp.gate_proj.weight",
    "w2": "mlp.down_proj.weight",
    "w3": "mlp.up_proj.weight",
    "rms_att": "input_layernorm.weight",
    "rms_ffn": "post_attention_layernorm.weight",
}
_EMBED, _NORM, _HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"

# What a file may hold besides: nothing that a reader needs.
_IGNORED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
# Parts that some models have and programs of this package have not.
_UNSUPPORTED = (
    (re.compile(r".*\.[qk]_norm\.weight"), "norms of queries and keys, as Qwen3 has them"),
    (re.compile(r".*\.bias"), "biases, as Qwen2 has them"),
)
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def load(path: str | os.PathLike[str]) -> ModelWeights:
    """The weights of a model folder, or of a ``.safetensors`` file with its ``config.json`` beside.

    A file that :func:`save` wrote needs none. Files in parts are found by their index.

    Raises:
        ModelFileError: a file is missing or damaged, a weight is missing or has another shape than
            the config says, or is unknown.
        UnsupportedError: the model has parts that programs here have not, and which; or the package
            ``safetensors`` is not installed.
    """
    root = Path(path)
    files = [root] if root.is_file() else _parts(root)
    tensors: dict[str, _Tensor] = {}
    metadata: dict[str, str] = {}
    for file in files:
        found, about = _opened(file)
        tensors.update(found)
        metadata.update(about)
    config = _config(root, metadata)
    _check_names(root, tensors, config)
    weights = ModelWeights.zeros(config)
    weights.layers = [_layer(root, tensors, config, i) for i in range(config.n_layers)]
    table = (config.vocab_size, config.dim)
    weights.embed = _read(root, tensors, _EMBED, table)
    weights.rms_final = _read(root, tensors, _NORM, (config.dim,))
    if not config.tied:
        weights.classifier = _read(root, tensors, _HEAD, table)
    return weights


def save(weights: ModelWeights, path: str | os.PathLike[str]) -> None:
    """Write a ``.safetensors`` file, or a model folder where the name ends otherwise: float32.

    A folder gets ``config.json`` and ``model.safetensors``, as Hugging Face's ``LlamaForCausalLM``
    reads them; a file has the config among its metadata. Each file appears whole or not at all.

    Raises:
        ModelFileError: it cannot be written.
        UnsupportedError: the package ``safetensors`` is not installed.
    """
    package = _package("safetensors.numpy")
    config = config_json(weights.config)
    about = {"format": "pt", "config": json.dumps(config)}
    data = package.save(dict(named(weights)), metadata=about)
    target = Path(path)
    if target.suffix != ".safetensors":
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelFileError(f"{target}: expected a folder to write, got {error}") from error
        with replaced(target / CONFIG) as file:
            file.write(json.dumps(config, indent=2).encode() + b"\n")
        target = target / SINGLE
    with replaced(target) as file:
        file.write(data)


def named(weights: ModelWeights) -> Iterator[tuple[str, Floats]]:
    """Every array as Hugging Face's Llama names and orders it, contiguous float32."""
    config = weights.config
    yield _EMBED, np.ascontiguousarray(weights.embed, np.float32)
    for i, layer in enumerate(weights.layers):
        for name, array in layer.named():
            heads = {"wq": config.n_heads, "wk": config.n_kv_heads}.get(name)
            rows = array if heads is None else in_halves(array, heads)
            yield f"model.layers.{i}.{LAYER_NAMES[name]}", np.ascontiguousarray(rows, np.float32)
    yield _NORM, np.ascontiguousarray(weights.rms_final, np.float32)
    if weights.classifier is not None:
        yield _HEAD, np.ascontiguousarray(weights.classifier, np.float32)


def config_json(config: ModelConfig) -> dict[str, Any]:
    """The content of ``config.json`` for a model of these sizes."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": config.dim,
        "intermediate_size": config.hidden_dim,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.seq_len,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": None,
        "tie_word_embeddings": config.tied,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    }


def config_of(content: dict[str, Any], name: str = "config.json") -> ModelConfig:
    """The sizes that a ``config.json`` gives.

    Raises:
        ModelFileError: one is missing, or they do not go together.
        UnsupportedError: another activation than SiLU, scaled rotary frequencies, or a window.
    """
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    act = content.get("hidden_act", "silu")
    window = content.get("use_sliding_window", False)
    for what, fine, got in (
        ("hidden_act silu", act in ("silu", "swish"), act),
        ("rotary frequencies that are not scaled", kind == "default", kind),
        ("attention without a window", not window, "use_sliding_window"),
    ):
        if not fine:
            raise UnsupportedError(f"{name}: expected {what}, got {got}")
    try:
        heads = content["num_attention_heads"]
        return ModelConfig(
            dim=content["hidden_size"],
            hidden_dim=content["intermediate_size"],
            n_layers=content["num_hidden_layers"],
            n_heads=heads,
            n_kv_heads=content.get("num_key_value_heads") or heads,
            vocab_size=content["vocab_size"],
            seq_len=content.get("max_position_embeddings", 2048),
            head_dim=content.get("head_dim") or 0,
            tied=bool(content.get("tie_word_embeddings", False)),
            rope_theta=float(content.get("rope_theta", rope.get("rope_theta", 10000.0))),
            norm_eps=float(content.get("rms_norm_eps", 1e-6)),
        )
    except KeyError as error:
        raise ModelFileError(f"{name}: expected {error} of a Llama model, got none") from error
    except (InvalidArgumentError, TypeError, ValueError) as error:
        raise ModelFileError(f"{name}: expected the sizes of a model, got {error}") from error


class _Tensor:
    """A tensor in a file, not read yet."""

    def __init__(self, file: Path, start: int, about: dict[str, Any]) -> None:
        self._file = file
        self._at = start + about["data_offsets"][0]
        self.dtype: str = about["dtype"]
        self.shape = tuple(about["shape"])

    def read(self) -> Floats:
        """The elements in float32."""
        count = int(np.prod(self.shape, dtype=np.int64))
        stored = np.fromfile(self._file, _DTYPES[self.dtype], count, offset=self._at)
        if self.dtype == "BF16":  # the upper half of a float32
            stored = (stored.astype("<u4") << 16).view("<f4")
        return stored.reshape(self.shape).astype(np.float32, copy=False)


def _package(name: str = "safetensors") -> Any:
    try:
        return __import__(name, fromlist=["save"])
    except ImportError as error:
        raise UnsupportedError(
            "safetensors: expected the package, got none\nhint: pip install 'milane[models]'"
        ) from error


def _parts(root: Path) -> list[Path]:
    """The files that a folder's weights are in."""
    if (root / INDEX).is_file():
        try:
            names = sorted(set(_json(root / INDEX)["weight_map"].values()))
        except (KeyError, AttributeError, TypeError) as error:
            raise ModelFileError(f"{root / INDEX}: expected a weight_map, got none") from error
        for name in names:
            if Path(name).name != name:
                raise ModelFileError(f"{root / INDEX}: expected files of its folder, got {name}")
        return [root / name for name in names]
    if (root / SINGLE).is_file():
        return [root / SINGLE]
    raise ModelFileError(f"{root}: expected {SINGLE} or {INDEX} in a folder, got neither")


def _opened(file: Path) -> tuple[dict[str, _Tensor], dict[str, str]]:
    """The tensors of a file by name, and its metadata."""
    package = _package()
    try:
        with package.safe_open(os.fspath(file), "np"):
            pass  # the package has checked the header, and that the data is all there
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
    except (OSError, ValueError, package.SafetensorError) as error:
        raise ModelFileError(f"{file}: expected a safetensors file, got {error}") from error
    metadata = header.pop("__metadata__", None) or {}
    return {name: _Tensor(file, 8 + length, about) for name, about in header.items()}, metadata


def _config(root: Path, metadata: dict[str, str]) -> ModelConfig:
    beside = (root.parent if root.is_file() else root) / CONFIG
    if beside.is_file() and (root.is_dir() or "config" not in metadata):
        return config_of(_json(beside), str(beside))
    if "config" in metadata:
        try:
            return config_of(json.loads(metadata["config"]), str(root))
        except ValueError as error:
            raise ModelFileError(f"{root}: expected a config in JSON, got {error}") from error
    raise ModelFileError(f"{root}: expected {CONFIG} beside it, got none at {beside}")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path}: expected JSON, got {error}") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _check_names(root: Path, tensors: dict[str, _Tensor], config: ModelConfig) -> None:
    """Finds what no model of these sizes has, before anything is read."""
    for name in tensors:
        for pattern, what in _UNSUPPORTED:
            if pattern.fullmatch(name):
                raise UnsupportedError(
                    f"{root}: expected a model of Llama's kind, got one with {what}: {name}"
                )
    known = {_EMBED, _NORM, _HEAD}
    known |= {
        f"model.layers.{i}.{name}" for i in range(config.n_layers) for name in LAYER_NAMES.values()
    }
    unknown = sorted(n for n in tensors.keys() - known if not _IGNORED.fullmatch(n))
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise ModelFileError(
            f"{root}: expected the weights of {config.n_layers} Llama layers, "
            f"got {unknown[0]}{more}"
        )


def _layer(
    root: Path, tensors: dict[str, _Tensor], config: ModelConfig, layer: int
) -> LayerWeights:
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    for name, shape in layer_shapes(config).items():
        array = _read(root, tensors, f"model.layers.{layer}.{LAYER_NAMES[name]}", shape)
        heads = {"wq": config.n_heads, "wk": config.n_kv_heads}.get(name)
        arrays[name] = array if heads is None else in_pairs(array, heads)
    return LayerWeights(**arrays)


def _read(root: Path, tensors: dict[str, _Tensor], name: str, shape: tuple[int, ...]) -> Floats:
    tensor = tensors.get(name)
    if tensor is None:
        raise ModelFileError(f"{root}: expected {name} {list(shape)}, got no such tensor")
    if tensor.shape != shape:
        raise ModelFileError(f"{root}: expected {name} {list(shape)}, got {list(tensor.shape)}")
    if tensor.dtype not in _DTYPES:
        raise UnsupportedError(
            f"{root}: expected {name} in one of {', '.join(_DTYPES)}, got {tensor.dtype}"
        )
    return tensor.read()
