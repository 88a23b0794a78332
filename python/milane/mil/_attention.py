"""What attention kernels share: heads and their groups, rotary positions, softmax and its gradient.

Two layouts of a head's vectors occur: in rows, ``[1, heads, S, D]``, and in columns,
``[1, heads, D, S]``, which is what a reshape of ``[1, heads · D, 1, S]`` gives without moving
anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from milane.blob import tables
from milane.errors import InvalidArgumentError
from milane.graph import ops
from milane.graph.graph import Graph
from milane.graph.tensor import Tensor
from milane.mil import _parts as parts

Rope = Literal["interleaved", "half"]


@dataclass(frozen=True)
class Heads:
    """The sizes of an attention: query heads, key/value heads, head size and positions."""

    count: int
    kv_count: int
    size: int
    seq: int

    @property
    def q_channels(self) -> int:
        """Channels of q and of the attention's result."""
        return self.count * self.size

    @property
    def kv_channels(self) -> int:
        """Channels of k, and of v."""
        return self.kv_count * self.size

    @property
    def group(self) -> int:
        """Query heads for each key/value head."""
        return self.count // self.kv_count

    @property
    def scale(self) -> float:
        """What scores are multiplied with: D^-1/2."""
        return float(self.size**-0.5)

    @property
    def score_channels(self) -> int:
        """Channels of scores as ``[1, heads · S, 1, S]``."""
        return self.count * self.seq

    def grouped(self, x: Tensor, name: str) -> Tensor:
        """``[1, heads, S, n]`` as ``[1, kv heads, group · S, n]``: nothing moves.

        Query heads of one group stand beside each other, so that one product serves all of them,
        and a product over group · S adds up their gradients.
        """
        if self.group == 1:
            return x
        return ops.reshape(x, [1, self.kv_count, self.group * self.seq, x.shape[3]], name=name)

    def ungrouped(self, x: Tensor, name: str) -> Tensor:
        """The inverse of :meth:`grouped`."""
        if self.group == 1:
            return x
        return ops.reshape(x, [1, self.count, self.seq, x.shape[3]], name=name)


def heads_of(
    generator: str,
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    rope: Rope | None = None,
) -> Heads:
    """The sizes, checked.

    Raises:
        InvalidArgumentError: a size is not positive, heads do not divide dim where the head size is
            not given, key/value heads do not divide heads, an unknown pairing, or an odd head size
            with one.
    """
    parts.positive(generator, dim=dim, heads=heads, seq=seq)
    if head_dim is None:
        head_dim = parts.divides(generator, heads=heads, dim=dim)
    parts.positive(generator, head_dim=head_dim)
    n_kv_heads = heads if n_kv_heads is None else n_kv_heads
    parts.divides(generator, n_kv_heads=n_kv_heads, heads=heads)
    if rope is not None and rope not in tables.PAIRINGS:
        expected = ", ".join(map(repr, tables.PAIRINGS))
        raise InvalidArgumentError(
            f"{generator}: expected rope to be {expected} or None, got {rope!r}"
        )
    if rope is not None and head_dim % 2:
        raise InvalidArgumentError(
            f"{generator}: expected an even head size for rope, got {head_dim}"
        )
    return Heads(int(heads), int(n_kv_heads), int(head_dim), int(seq))


class Rotation:
    """Rotary positions, over vectors in columns; without a pairing everything stays as it is.

    The tables are the constants ``rope_cos`` and ``rope_sin``, ``[1, 1, D, S]``; the sine of the
    first in each pair is negated. Partners are exchanged along the height: slices of the width are
    limited to 4094 on M1 and M2 (ane_facts D 68).
    """

    def __init__(self, graph: Graph, heads: Heads, pairing: Rope | None, theta: float) -> None:
        self._heads = heads
        self._pairing = pairing
        if pairing is None:
            return
        cos, sin = tables.rope_tables(heads.seq, heads.size, theta, pairing=pairing)
        columns = np.arange(heads.size)
        first = columns % 2 == 0 if pairing == "interleaved" else columns < heads.size // 2
        signed = np.where(first, -sin, sin)
        shape = (1, 1, heads.size, heads.seq)
        self._cos = graph.weight("rope_cos", shape, data=cos.transpose(0, 1, 3, 2))
        self._sin = graph.weight("rope_sin", shape, data=signed.transpose(0, 1, 3, 2))

    def forward(self, x: Tensor, name: str) -> Tensor:
        """``[1, n · D, 1, S]``, every pair turned by its position's angle."""
        return self._turned(x, name, back=False)

    def backward(self, x: Tensor, name: str) -> Tensor:
        """The gradient before the rotation from that behind it: every pair turned back."""
        return self._turned(x, name, back=True)

    def _turned(self, x: Tensor, name: str, *, back: bool) -> Tensor:
        if self._pairing is None:
            return x
        flat = list(x.shape)
        columns = in_columns(x, self._heads.size, f"{name}_heads")
        straight = ops.mul(columns, self._cos, name=f"{name}_by_cos")
        crossed = ops.mul(self._partners(columns, name), self._sin, name=f"{name}_by_sin")
        combine = ops.sub if back else ops.add
        turned = combine(straight, crossed, name=f"{name}_turned")
        return ops.reshape(turned, flat, name=name)

    def _partners(self, columns: Tensor, name: str) -> Tensor:
        """Each element's partner in its pair."""
        shape = list(columns.shape)
        if self._pairing == "interleaved":
            pairs = [1, shape[1] * shape[2] // 2, 2, shape[3]]
            columns = ops.reshape(columns, pairs, name=f"{name}_pairs")
        _, count, height, seq = columns.shape
        half = [1, count, height // 2, seq]
        first = ops.slice_by_size(columns, [0, 0, 0, 0], half, name=f"{name}_first")
        second = ops.slice_by_size(columns, [0, 0, height // 2, 0], half, name=f"{name}_second")
        swapped = ops.concat([second, first], axis=2, name=f"{name}_swapped")
        if self._pairing == "interleaved":
            swapped = ops.reshape(swapped, shape, name=f"{name}_partners")
        return swapped


def in_columns(x: Tensor, size: int, name: str) -> Tensor:
    """``[1, n · D, 1, S]`` as ``[1, n, D, S]``."""
    _, total, _, seq = x.shape
    return ops.reshape(x, [1, total // size, size, seq], name=name)


def from_columns(x: Tensor, name: str) -> Tensor:
    """``[1, n, D, S]`` as ``[1, n · D, 1, S]``."""
    _, count, size, seq = x.shape
    return ops.reshape(x, [1, count * size, 1, seq], name=name)


def masked_softmax(heads: Heads, scores: Tensor, mask: Tensor | None) -> Tensor:
    """``softmax(scores + mask)``, grouped as the scores are; mask ``[1, 1, S, S]``."""
    if mask is not None:
        scores = heads.ungrouped(scores, "scores_by_head")
        scores = ops.add(scores, mask, name="masked_scores")
    probs = ops.softmax(scores, axis=-1, name="probs_by_head")
    return heads.grouped(probs, "probs_by_group") if mask is not None else probs


def softmax_gradient(probs: Tensor, dp: Tensor) -> Tensor:
    """``probs · (dp - Σ probs · dp)``: the gradient of what the softmax was taken of."""
    weighted = ops.mul(probs, dp, name="probs_dp")
    total = ops.reduce_sum(weighted, axes=[-1], keep_dims=True, name="sum_of_probs_dp")
    centred = ops.sub(dp, total, name="dp_centred")
    return ops.mul(probs, centred, name="dmasked")
