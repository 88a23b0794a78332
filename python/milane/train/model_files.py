"""Models in files, whatever the kind: llama2.c, Hugging Face, checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

from milane.errors import InvalidArgumentError, ModelFileError
from milane.train import huggingface, llama2c
from milane.train.checkpoint import Checkpoint, checkpoints, latest
from milane.train.tokenizer import BPETokenizer, ByteTokenizer, Tokenizer
from milane.train.weights import ModelWeights


def load_model(path: str | os.PathLike[str]) -> ModelWeights:
    """The weights of a model, its kind told by the name.

    ``.bin`` is llama2.c's, ``.ckpt`` a checkpoint, ``.safetensors`` Hugging Face's; a folder is
    Hugging Face's, or holds checkpoints, of which the newest sound one is taken.

    Raises:
        ModelFileError: the file is missing, damaged, or of no kind that is known.
        UnsupportedError: as :func:`milane.train.huggingface.load`.
    """
    where = Path(path)
    if where.is_dir() and checkpoints(where):
        found = latest(where)
        assert found is not None
        return found[0].weights
    if where.is_dir() or where.suffix == ".safetensors":
        if not where.exists():
            raise ModelFileError(f"{where}: expected a file or folder, got none")
        return huggingface.load(where)
    if where.suffix == ".ckpt":
        return Checkpoint.load(where).weights
    if where.suffix == ".bin":
        return llama2c.load(where)
    what = "another name" if where.exists() else "none"
    raise ModelFileError(
        f"{where}: expected a model as .bin, .safetensors or .ckpt, or a folder, got {what}"
    )


def save_model(weights: ModelWeights, path: str | os.PathLike[str]) -> None:
    """Write ``.bin`` for llama2.c, ``.safetensors``, or a folder for a name without an ending.

    Raises:
        InvalidArgumentError: another ending, or sizes that llama2.c's format cannot say.
        ModelFileError, UnsupportedError: as :func:`milane.train.huggingface.save`.
    """
    where = Path(path)
    if where.suffix == ".bin":
        llama2c.save(weights, where)
    elif where.suffix in ("", ".safetensors") or where.is_dir():
        huggingface.save(weights, where)
    else:
        raise InvalidArgumentError(
            f"{where}: expected a name that ends in .bin or .safetensors, or a folder's, "
            f"got {where.suffix}"
        )


def load_tokenizer(
    model: str | os.PathLike[str], vocab_size: int, path: str | os.PathLike[str] | None = None
) -> Tokenizer:
    """The tokenizer at ``path``; without one, that beside the model, or bytes for 256 tokens.

    Beside the model are looked for ``tokN.bin``, N being ``vocab_size``, and ``tokenizer.bin``, and
    taken where they have as many tokens. The path ``bytes`` stands for bytes.

    Raises:
        ModelFileError: it cannot be read, has more than ``vocab_size`` tokens, or there is none.
    """
    if path is not None:
        chosen = ByteTokenizer() if os.fspath(path) == "bytes" else BPETokenizer.load(path)
        if chosen.vocab_size > vocab_size:
            raise ModelFileError(
                f"{path}: expected a tokenizer of at most the model's {vocab_size} tokens, "
                f"got one of {chosen.vocab_size}"
            )
        return chosen
    where = Path(model)
    folder = where if where.is_dir() else where.parent
    names = [folder / f"tok{vocab_size}.bin", folder / "tokenizer.bin"]
    for file in filter(Path.is_file, names):
        tokenizer = BPETokenizer.load(file)
        if tokenizer.vocab_size == vocab_size:
            return tokenizer
    if vocab_size == ByteTokenizer.vocab_size:
        return ByteTokenizer()
    raise ModelFileError(
        f"{folder}: expected {names[0].name} or {names[1].name} beside the model, got neither for "
        f"{vocab_size} tokens"
    )
