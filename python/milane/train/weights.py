"""A model's weights, their gradients, moments and activations: float32 arrays by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from milane.train.config import ModelConfig

Floats = npt.NDArray[np.float32]

# The weights of a block in the order of files and of checkpoints.
LAYER_FIELDS = ("wq", "wk", "wv", "wo", "w1", "w2", "w3", "rms_att", "rms_ffn")

_Layer = TypeVar("_Layer", bound="LayerArrays")


def layer_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shape of each weight of a block, ``[out, in]``, by name."""
    d, h, q, kv = config.dim, config.hidden_dim, config.q_dim, config.kv_dim
    return {
        "wq": (q, d),
        "wk": (kv, d),
        "wv": (kv, d),
        "wo": (d, q),
        "w1": (h, d),
        "w2": (d, h),
        "w3": (h, d),
        "rms_att": (d,),
        "rms_ffn": (d,),
    }


@dataclass
class LayerArrays:
    """One float32 array for each weight of a block."""

    wq: Floats
    wk: Floats
    wv: Floats
    wo: Floats
    w1: Floats
    w2: Floats
    w3: Floats
    rms_att: Floats
    rms_ffn: Floats

    @classmethod
    def zeros(cls: type[_Layer], config: ModelConfig) -> _Layer:
        """All zero, in the shapes of :func:`layer_shapes`."""
        return cls(**{n: np.zeros(s, np.float32) for n, s in layer_shapes(config).items()})

    def named(self) -> Iterator[tuple[str, Floats]]:
        """Name and array, in the order of files."""
        for name in LAYER_FIELDS:
            yield name, getattr(self, name)

    def zero_(self) -> None:
        """Set every element to zero, in place."""
        for _, array in self.named():
            array.fill(0)


class LayerWeights(LayerArrays):
    """The weights of one block, float32.

    Shapes: wq ``[q_dim, dim]``, wk and wv ``[kv_dim, dim]``, wo ``[dim, q_dim]``, w1 (gate) and w3
    (up) ``[hidden_dim, dim]``, w2 (down) ``[dim, hidden_dim]``, rms_att and rms_ffn ``[dim]``.
    """

    @classmethod
    def random(cls, config: ModelConfig, rng: np.random.Generator) -> LayerWeights:
        """Matrices from N(0, 0.02²), norms of ones, as llama2.c and GPT-2 begin.

        The matrices that end a branch, wo and w2, are divided by ``sqrt(2 n_layers)``.
        """
        made = {}
        for name, shape in layer_shapes(config).items():
            if len(shape) == 1:
                made[name] = np.ones(shape, np.float32)
                continue
            std = 0.02 / np.sqrt(2 * config.n_layers) if name in ("wo", "w2") else 0.02
            made[name] = (rng.standard_normal(shape, np.float32) * np.float32(std)).astype(
                np.float32, copy=False
            )
        return cls(**made)


class LayerGrads(LayerArrays):
    """The gradients of one block's weights, with their names and shapes; they add up."""


@dataclass
class AdamState:
    """The moments of one array of weights.

    Attributes:
        m: the running mean of gradients, float32.
        v: the running mean of their squares, float32.
    """

    m: Floats
    v: Floats

    @classmethod
    def zeros(cls, shape: int | tuple[int, ...]) -> AdamState:
        """Both moments zero, for weights of this shape."""
        return cls(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    @property
    def n(self) -> int:
        """The number of weights."""
        return self.m.size


@dataclass
class LayerAdam:
    """The moments of one block's weights, by their names."""

    wq: AdamState
    wk: AdamState
    wv: AdamState
    wo: AdamState
    w1: AdamState
    w2: AdamState
    w3: AdamState
    rms_att: AdamState
    rms_ffn: AdamState

    @classmethod
    def zeros(cls, config: ModelConfig) -> LayerAdam:
        """All moments zero."""
        return cls(**{n: AdamState.zeros(s) for n, s in layer_shapes(config).items()})

    def named(self) -> Iterator[tuple[str, AdamState]]:
        """Name and moments, in the order of files."""
        for name in LAYER_FIELDS:
            yield name, getattr(self, name)


@dataclass
class LayerActs:
    """What the forward pass of one block leaves for the backward pass, channel-first, float32.

    Shapes: ``[dim, s]`` for layer_in, xnorm, o_out, x2, x2norm, ffn_out; ``[q_dim, s]`` for q and
    attn_out, ``[kv_dim, s]`` for k and v; ``[hidden_dim, s]`` for h1, h3 and silu_out, which is
    ``silu(h1) h3``.
    """

    layer_in: Floats
    xnorm: Floats
    q: Floats
    k: Floats
    v: Floats
    attn_out: Floats
    o_out: Floats
    x2: Floats
    x2norm: Floats
    h1: Floats
    h3: Floats
    silu_out: Floats
    ffn_out: Floats

    @classmethod
    def zeros(cls, config: ModelConfig, positions: int | None = None) -> LayerActs:
        """All zero, for ``positions`` (``seq_len`` by default)."""
        s = positions or config.seq_len
        channels = dict.fromkeys((f.name for f in fields(cls)), config.dim)
        channels |= {"q": config.q_dim, "k": config.kv_dim, "v": config.kv_dim}
        channels |= {"attn_out": config.q_dim}
        channels |= dict.fromkeys(("h1", "h3", "silu_out"), config.hidden_dim)
        return cls(**{name: np.zeros((c, s), np.float32) for name, c in channels.items()})


@dataclass
class ModelWeights:
    """All weights of a model, or all gradients of it.

    Attributes:
        config: the model's sizes.
        embed: the token table, ``[vocab_size, dim]``.
        layers: one set for each block.
        rms_final: the last norm's scale, ``[dim]``.
        classifier: ``[vocab_size, dim]``; None where it is the token table (``config.tied``).
    """

    config: ModelConfig
    embed: Floats
    layers: Sequence[LayerArrays]
    rms_final: Floats
    classifier: Floats | None = None

    @classmethod
    def random(cls, config: ModelConfig, seed: int = 0) -> ModelWeights:
        """Weights to start training from: the same for the same seed."""
        rng = np.random.default_rng(seed)
        table = (config.vocab_size, config.dim)

        def normal() -> Floats:
            values = rng.standard_normal(table, np.float32)
            values *= np.float32(0.02)
            return values

        embed = normal()
        layers = [LayerWeights.random(config, rng) for _ in range(config.n_layers)]
        ones = np.ones(config.dim, np.float32)
        return cls(config, embed, layers, ones, None if config.tied else normal())

    @classmethod
    def zeros(cls, config: ModelConfig) -> ModelWeights:
        """All zero: gradients that add up."""
        table = (config.vocab_size, config.dim)
        return cls(
            config,
            np.zeros(table, np.float32),
            [LayerGrads.zeros(config) for _ in range(config.n_layers)],
            np.zeros(config.dim, np.float32),
            None if config.tied else np.zeros(table, np.float32),
        )

    @property
    def output_table(self) -> Floats:
        """What the classifier multiplies by: its own table, or the embedding."""
        return self.embed if self.classifier is None else self.classifier

    def named(self) -> Iterator[tuple[str, Floats]]:
        """Every array with its name, ``embed``, ``layers.0.wq``, …, in the order of checkpoints."""
        for i, layer in enumerate(self.layers):
            for name, array in layer.named():
                yield f"layers.{i}.{name}", array
        yield "rms_final", self.rms_final
        yield "embed", self.embed
        if self.classifier is not None:
            yield "classifier", self.classifier

    def zero_(self) -> None:
        """Set every element to zero, in place."""
        for _, array in self.named():
            array.fill(0)
