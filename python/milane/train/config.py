"""The shape of a model, and what a training run is told."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from milane.errors import InvalidArgumentError, ModelFileError


@dataclass(frozen=True)
class ModelConfig:
    """The sizes of a llama-type transformer: RMSNorm, rotary attention, SwiGLU.

    :meth:`stories110m` has the values of every macro of maderix/ANE's ``stories_config.h``, whose
    names the properties keep in lower case.

    Attributes:
        dim: channels of the residual stream (DIM).
        hidden_dim: channels inside of the feed-forward block (HIDDEN).
        n_layers: transformer blocks (NLAYERS).
        n_heads: query heads (HEADS).
        n_kv_heads: key and value heads; fewer than ``n_heads`` is grouped-query attention.
        vocab_size: tokens (VOCAB).
        seq_len: the longest sequence (SEQ).
        head_dim: channels of a head (HD); ``dim / n_heads`` unless given.
        tied: whether the classifier is the embedding table.
        rope_theta: base of the rotary frequencies.
        norm_eps: what RMSNorm adds to the mean square.
        accum_steps: gradient accumulation steps of a batch (ACCUM_STEPS).
        max_compiles: compiles before a restart, on the static route (MAX_COMPILES).
    """

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    seq_len: int
    head_dim: int = 0
    tied: bool = True
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    accum_steps: int = 10
    max_compiles: int = 100

    kernels_per_layer: ClassVar[int] = 5

    def __post_init__(self) -> None:
        """Fill in ``head_dim`` and check that the sizes go together.

        Raises:
            InvalidArgumentError: a size below 1, or heads that do not divide.
        """
        if self.head_dim == 0 and self.n_heads > 0:
            object.__setattr__(self, "head_dim", self.dim // self.n_heads)
            if self.dim % self.n_heads:
                raise InvalidArgumentError(
                    f"ModelConfig: expected n_heads that divides dim, got {self.n_heads} "
                    f"and {self.dim}"
                )
        for name in (f.name for f in fields(self) if f.type == "int"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(
                    f"ModelConfig: expected {name} of 1 or more, got {getattr(self, name)}"
                )
        if self.n_heads % self.n_kv_heads:
            raise InvalidArgumentError(
                f"ModelConfig: expected n_kv_heads that divides n_heads, got {self.n_kv_heads} "
                f"and {self.n_heads}"
            )
        if self.head_dim % 2:
            raise InvalidArgumentError(
                f"ModelConfig: expected an even head_dim, since rotary pairs need it, "
                f"got {self.head_dim}"
            )

    @classmethod
    def stories15m(cls) -> ModelConfig:
        """The shape of llama2.c's stories15M."""
        return cls(288, 768, 6, 6, 6, 32000, 256)

    @classmethod
    def stories42m(cls) -> ModelConfig:
        """The shape of llama2.c's stories42M."""
        return cls(512, 1376, 8, 8, 8, 32000, 1024)

    @classmethod
    def stories110m(cls) -> ModelConfig:
        """The shape of llama2.c's stories110M, with the 256 positions of maderix/ANE."""
        return cls(768, 2048, 12, 12, 12, 32000, 256)

    @classmethod
    def qwen3_0_6b(cls) -> ModelConfig:
        """The sizes of Qwen3-0.6B with 256 positions, without its norms of queries and keys."""
        return cls(1024, 3072, 28, 16, 8, 151936, 256, head_dim=128, rope_theta=1e6, norm_eps=1e-6)

    def with_seq_len(self, seq_len: int) -> ModelConfig:
        """The same model for sequences of another length."""
        return replace(self, seq_len=seq_len)

    @property
    def q_dim(self) -> int:
        """Channels of all query heads."""
        return self.n_heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Channels of all key heads, and of all value heads."""
        return self.n_kv_heads * self.head_dim

    @property
    def hd(self) -> int:
        """Channels of a head (HD)."""
        return self.head_dim

    @property
    def score_ch(self) -> int:
        """Channels of the attention scores as a channel-first tensor (SCORE_CH)."""
        return self.n_heads * self.seq_len

    @property
    def total_weight_kernels(self) -> int:
        """Compiles of a batch on the static route (TOTAL_WEIGHT_KERNELS)."""
        return self.kernels_per_layer * self.n_layers

    @property
    def wq_sz(self) -> int:
        """Elements of the query projection (WQ_SZ)."""
        return self.q_dim * self.dim

    @property
    def wkv_sz(self) -> int:
        """Elements of the key projection, and of the value projection."""
        return self.kv_dim * self.dim

    @property
    def wo_sz(self) -> int:
        """Elements of the output projection (WO_SZ)."""
        return self.dim * self.q_dim

    @property
    def w1_sz(self) -> int:
        """Elements of the gate projection (W1_SZ)."""
        return self.hidden_dim * self.dim

    @property
    def w2_sz(self) -> int:
        """Elements of the down projection (W2_SZ)."""
        return self.dim * self.hidden_dim

    @property
    def w3_sz(self) -> int:
        """Elements of the up projection (W3_SZ)."""
        return self.hidden_dim * self.dim

    @property
    def layer_params(self) -> int:
        """Parameters of a block (LAYER_PARAMS)."""
        attention = self.wq_sz + 2 * self.wkv_sz + self.wo_sz
        return attention + self.w1_sz + self.w2_sz + self.w3_sz + 2 * self.dim

    @property
    def total_params(self) -> int:
        """All parameters (TOTAL_PARAMS); a classifier of its own counts as well."""
        tables = self.vocab_size * self.dim * (1 if self.tied else 2)
        return self.n_layers * self.layer_params + self.dim + tables


@dataclass(frozen=True)
class Llama2Config:
    """The header of a llama2.c model file, version 0: seven int32, little-endian.

    ``vocab_size`` is negative in the file when the classifier has weights of its own.
    """

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    seq_len: int

    nbytes: ClassVar[int] = 28

    @classmethod
    def unpack(cls, data: bytes, name: str = "<bytes>") -> Llama2Config:
        """The header at the start of ``data``.

        Raises:
            ModelFileError: there are fewer than 28 bytes, or sizes that no model has.
        """
        if len(data) < cls.nbytes:
            raise ModelFileError(
                f"{name}: expected a header of {cls.nbytes} bytes, got {len(data)}"
            )
        header = cls(*struct.unpack("<7i", data[: cls.nbytes]))
        sizes = (
            header.dim,
            header.hidden_dim,
            header.n_layers,
            header.n_heads,
            header.n_kv_heads,
            abs(header.vocab_size),
            header.seq_len,
        )
        if min(sizes) < 1 or max(sizes) > 1 << 24:
            raise ModelFileError(
                f"{name}: expected seven sizes between 1 and {1 << 24}, got {list(sizes)}\n"
                "hint: version 0 files of llama2.c start with them; later versions with 'ak42'"
            )
        return header

    def pack(self) -> bytes:
        """The 28 bytes."""
        values = [getattr(self, f.name) for f in fields(self)]
        return struct.pack("<7i", *values)

    @classmethod
    def of(cls, config: ModelConfig) -> Llama2Config:
        """The header for a model.

        Raises:
            InvalidArgumentError: the model has a head size that the format cannot say.
        """
        if config.head_dim * config.n_heads != config.dim:
            raise InvalidArgumentError(
                f"Llama2Config: expected head_dim of dim / n_heads = "
                f"{config.dim / config.n_heads:g}, got {config.head_dim}"
            )
        return cls(
            config.dim,
            config.hidden_dim,
            config.n_layers,
            config.n_heads,
            config.n_kv_heads,
            config.vocab_size if config.tied else -config.vocab_size,
            config.seq_len,
        )

    def model(self) -> ModelConfig:
        """The model this is the header of.

        Raises:
            InvalidArgumentError: sizes that do not go together.
        """
        return ModelConfig(
            self.dim,
            self.hidden_dim,
            self.n_layers,
            self.n_heads,
            self.n_kv_heads,
            abs(self.vocab_size),
            self.seq_len,
            tied=self.vocab_size > 0,
        )
