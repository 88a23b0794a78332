"""Attention with baked weights, forward: alone, and as the first half of a transformer block.

The block is ``x2 = x + wo · attention(q, k, v)`` with ``q, k, v = wq, wk, wv · rms_norm(x)``.
Attention is decomposed: the device ignores the mask of ``scaled_dot_product_attention``
(ane_facts D 34). Scores are scaled before the mask is added, -40000 where a position may not look
(D 36). Groups of query heads share a key/value head by a reshape; nothing is tiled (D 37).

Common to the generators here and in :mod:`milane.mil.backward`:

* Activations are fp16 ``[1, channels, 1, S]``. ``Q`` below is heads · D channels, ``KV`` is
  n_kv_heads · D; both are dim where neither ``n_kv_heads`` nor ``head_dim`` is given.
* Projections are 1×1 convolutions, weights ``[out, in, 1, 1]``.
* The ``mask`` ``[1, 1, S, S]`` is a weight with known values, causal; ``weights={"mask": ...}``
  replaces it, zeros let every position see all. So are the tables of ``rope``.
* ``rope`` turns q and k by their positions, in pairs (2i, 2i + 1) for ``"interleaved"``, as in
  llama2.c, or (i, i + D/2) for ``"half"``, as in Hugging Face's Llama and Qwen; the taps hold
  turned q and k.
* The root mean square of x must stay below 256 / sqrt(dim), since squares are summed in fp16, and
  products below 32768 (D 66); no matrix may be wider or higher than 16384 on M1 to M3 (D 52).

Taps are intermediate results that the backward kernels and the weights' gradients need.
"""

from __future__ import annotations

from dataclasses import dataclass

from milane.errors import InvalidArgumentError
from milane.graph import ops
from milane.graph.graph import Dialect, Graph
from milane.graph.tensor import Tensor
from milane.mil import _parts as parts
from milane.mil._attention import Heads, Rope, Rotation, heads_of, masked_softmax
from milane.mil.program import DEFAULT_WEIGHT_PATH, MILProgram


def gen_sdpa(
    head_dim: int,
    n_heads: int,
    seq_len: int,
    *,
    n_kv_heads: int | None = None,
    causal: bool = False,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """Scaled dot-product attention, ``softmax(q · kᵀ / √D + mask) · v``, without projections.

    Inputs: a_q ``[1, n_heads, S, D]``, b_k and c_v ``[1, n_kv_heads, S, D]``; n_kv_heads is n_heads
        unless given, and query head h looks at key head ``h // (n_heads / n_kv_heads)``.
    Output: out ``[1, n_heads, S, D]``.
    Weights: mask ``[1, 1, S, S]`` where ``causal``, with known values.
    Device: decomposed, since ``scaled_dot_product_attention`` ignores its mask there (D 34); scores
        of 32768 or more before scaling become infinite (D 66): scale q down instead.

    Raises:
        InvalidArgumentError: a size is not positive, n_kv_heads does not divide n_heads.

    Source: ``GenSDPA`` of go-mil.
    """
    where = "gen_sdpa"
    parts.positive(where, head_dim=head_dim, n_heads=n_heads, seq_len=seq_len)
    heads = heads_of(where, n_heads * head_dim, n_heads, seq_len, n_kv_heads=n_kv_heads)
    graph = Graph(dialect=dialect)
    q = graph.input("a_q", (1, heads.count, seq_len, head_dim))
    k = graph.input("b_k", (1, heads.kv_count, seq_len, head_dim))
    v = graph.input("c_v", (1, heads.kv_count, seq_len, head_dim))
    mask = parts.causal_mask(graph, seq_len) if causal else None
    graph.output("out", attention(heads, q, k, v, mask))
    return graph._finished()


def gen_sdpa_forward(
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    rope: Rope | None = None,
    theta: float = 10000.0,
    eps: float = 1e-5,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The attention half of a transformer block, ``x2 = x + wo · attn``.

    Formula: xnorm = x · (mean(x²) + eps)^-1/2 · rms_att over channels;
        q, k, v = wq, wk, wv · xnorm; attn = softmax(q · kᵀ / √D + mask) · v for each head.

    Inputs: x ``[1, dim, 1, S]``.
    Output: out = x2 ``[1, dim, 1, S]``.
    Weights: rms_att ``[1, dim, 1, 1]``, wq ``[Q, dim, 1, 1]``, wk and wv ``[KV, dim, 1, 1]``, wo
        ``[dim, Q, 1, 1]``; known: mask, with ``rope`` also rope_cos and rope_sin ``[1, 1, D, S]``.
    Device: the root mean square of x must stay below 256 / sqrt(dim), since its squares are summed
        in fp16 (D 67), and products below 32768 (D 66); :func:`gen_sdpa_fwd_dynamic` bounds
        neither x nor the unscaled scores so.

    Raises:
        InvalidArgumentError: a size, eps or theta is not positive, heads do not divide dim where
            head_dim is not given, n_kv_heads does not divide heads, or D is odd with ``rope``.

    Source: ``GenSDPAForward`` of go-mil.
    """
    where = "gen_sdpa_forward"
    h = heads_of(where, dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim, rope=rope)
    made = _Block(where, h, dim, dialect)
    x = made.graph.input("x", (1, dim, 1, seq))
    taps = made.taps(x, eps, rope, theta)
    return made.program(ops.add(x, taps.projected, name="x2"))


def gen_sdpa_forward_taps(
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    rope: Rope | None = None,
    theta: float = 10000.0,
    eps: float = 1e-5,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The attention half of a transformer block with what its backward kernels need.

    Formula: as :func:`gen_sdpa_forward`.

    Inputs: x ``[1, dim, 1, S]``.
    Output: out = concat(x2, q, k, v, attn) ``[1, dim + 2 Q + 2 KV, 1, S]``: dim, Q, KV, KV and Q
        channels.
    Weights: rms_att ``[1, dim, 1, 1]``, wq ``[Q, dim, 1, 1]``, wk and wv ``[KV, dim, 1, 1]``, wo
        ``[dim, Q, 1, 1]``; known: mask, with ``rope`` also rope_cos and rope_sin ``[1, 1, D, S]``.
    Device: as :func:`gen_sdpa_forward`.

    Raises:
        InvalidArgumentError: as :func:`gen_sdpa_forward`.

    Source: ``GenSDPAForwardTaps`` of go-mil.
    """
    where = "gen_sdpa_forward_taps"
    h = heads_of(where, dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim, rope=rope)
    made = _Block(where, h, dim, dialect)
    x = made.graph.input("x", (1, dim, 1, seq))
    taps = made.taps(x, eps, rope, theta)
    x2 = ops.add(x, taps.projected, name="x2")
    return made.program(parts.join_channels([x2, taps.q, taps.k, taps.v, taps.attn]))


def gen_sdpa_fwd_taps(
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    rope: Rope | None = None,
    theta: float = 10000.0,
    eps: float = 1e-5,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The attention of a transformer block without the residual sum, with six taps.

    Formula: as :func:`gen_sdpa_forward`, and o_out = wo · attn, to which the caller adds x.

    Inputs: x ``[1, dim, 1, S]``.
    Output: out = concat(o_out, q, k, v, attn, xnorm) ``[1, 2 dim + 2 Q + 2 KV, 1, S]``: dim, Q, KV,
        KV, Q and dim channels.
    Weights: rms_att ``[1, dim, 1, 1]``, wq ``[Q, dim, 1, 1]``, wk and wv ``[KV, dim, 1, 1]``, wo
        ``[dim, Q, 1, 1]``; known: mask, with ``rope`` also rope_cos and rope_sin ``[1, 1, D, S]``.
    Device: as :func:`gen_sdpa_forward`.

    Raises:
        InvalidArgumentError: as :func:`gen_sdpa_forward`.

    Source: ``gen_sdpa_fwd_taps`` of maderix/ANE's stories_mil.h.
    """
    where = "gen_sdpa_fwd_taps"
    h = heads_of(where, dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim, rope=rope)
    made = _Block(where, h, dim, dialect)
    taps = made.taps(made.graph.input("x", (1, dim, 1, seq)), eps, rope, theta)
    values = [taps.projected, taps.q, taps.k, taps.v, taps.attn, taps.xnorm]
    return made.program(parts.join_channels(values))


def gen_sdpa_apply_forward(
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The attention half of a transformer block from q, k and v on.

    Formula: attn = softmax(q · kᵀ / √D + mask) · v for each head, x2 = x + wo · attn: what follows
        :func:`gen_qkv_forward_rms`.

    Inputs: a_x ``[1, dim, 1, S]``, b_qkv = concat(q, k, v) ``[1, Q + 2 KV, 1, S]``.
    Output: out = concat(x2, attn) ``[1, dim + Q, 1, S]``.
    Weights: wo ``[dim, Q, 1, 1]``; known: mask.
    Device: scores of 32768 or more before scaling become infinite (D 66).

    Raises:
        InvalidArgumentError: a size is not positive, heads do not divide dim where head_dim is not
            given, or n_kv_heads does not divide heads.

    Source: ``GenSDPAApplyForward`` of go-mil.
    """
    where = "gen_sdpa_apply_forward"
    h = heads_of(where, dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim)
    made = _Block(where, h, dim, dialect)
    x = made.graph.input("a_x", (1, dim, 1, seq))
    qkv = made.graph.input("b_qkv", (1, h.q_channels + 2 * h.kv_channels, 1, seq))
    q, k, v = parts.split_channels(qkv, q=h.q_channels, k=h.kv_channels, v=h.kv_channels)
    attn, projected = made.applied(q, k, v)
    return made.program(parts.join_channels([ops.add(x, projected, name="x2"), attn]))


def gen_qkv_forward_rms(
    dim: int,
    seq: int,
    *,
    heads: int | None = None,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    rope: Rope | None = None,
    theta: float = 10000.0,
    eps: float = 1e-5,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """RMSNorm and the three projections of attention.

    Formula: xnorm = x · (mean(x²) + eps)^-1/2 · rms_att over channels;
        q, k, v = wq, wk, wv · xnorm.

    Inputs: x ``[1, dim, 1, S]``.
    Output: out = concat(q, k, v) ``[1, Q + 2 KV, 1, S]``. ``heads`` is needed only where another
        argument says something about them; without it Q and KV are dim.
    Weights: rms_att ``[1, dim, 1, 1]``, wq ``[Q, dim, 1, 1]``, wk and wv ``[KV, dim, 1, 1]``;
        known, with ``rope``: rope_cos and rope_sin ``[1, 1, D, S]``.
    Device: as :func:`gen_sdpa_forward`.

    Raises:
        InvalidArgumentError: as :func:`gen_sdpa_forward`, or heads are missing.

    Source: ``GenQKVForwardRMS`` of go-mil.
    """
    where = "gen_qkv_forward_rms"
    if heads is None and (n_kv_heads, head_dim, rope) != (None, None, None):
        raise InvalidArgumentError(
            f"{where}: expected heads with n_kv_heads, head_dim or rope, got none"
        )
    count = 1 if heads is None else heads
    h = heads_of(where, dim, count, seq, n_kv_heads=n_kv_heads, head_dim=head_dim, rope=rope)
    made = _Block(where, h, dim, dialect)
    x = made.graph.input("x", (1, dim, 1, seq))
    _, q, k, v = made.projections(x, eps, rope, theta)
    return made.program(parts.join_channels([q, k, v]))


def gen_qkv(
    dim: int, spatial: int, *, kv_dim: int | None = None, dialect: Dialect = "ios18"
) -> MILProgram:
    """Three projections of one input, their weights in one file.

    Formula: q, k, v = wq, wk, wv · x, in fp16 between casts.

    Inputs: x fp32 ``[1, dim, 1, spatial]``.
    Outputs: a_q fp32 ``[1, dim, 1, spatial]``, b_k and c_v fp32 ``[1, kv_dim, 1, spatial]``; kv_dim
        is dim unless given.
    Weights: wq ``[dim, dim, 1, 1]``, wk and wv ``[kv_dim, dim, 1, 1]``, three records of
        ``@model_path/weights/weight.bin``: what :func:`milane.blob.build_qkv_weight_blob` writes.
    Device: fp16 inputs and outputs are about a third faster (ane_facts C.7);
        :func:`gen_qkv_forward_rms` has them.

    Raises:
        InvalidArgumentError: a size is not positive.

    Source: ``mil_gen_qkv`` of maderix/ANE's ane_mil_gen.h.
    """
    kv_dim = dim if kv_dim is None else kv_dim
    graph = parts.begin("gen_qkv", dialect, dim=dim, spatial=spatial, kv_dim=kv_dim)
    half = parts.to_half(graph.input("x", (1, dim, 1, spatial), "fp32"), "x16")
    sizes = {"wq": dim, "wk": kv_dim, "wv": kv_dim}
    made = []
    for name, size in sizes.items():
        weight = graph.weight(name, (size, dim, 1, 1), path=DEFAULT_WEIGHT_PATH)
        made.append(parts.conv1x1(half, weight, f"{name[1]}16"))
    for name, projected in zip(("a_q", "b_k", "c_v"), made, strict=True):
        graph.output(name, parts.to_single(projected))
    return graph._finished()


def attention(heads: Heads, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """``softmax(q · kᵀ / √D + mask) · v``: ``[1, heads, S, D]``, k and v in rows, too."""
    probs = probabilities(heads, q, k, mask)
    weighted = ops.matmul(probs, v, name="attn_by_group" if heads.group > 1 else "attn_rows")
    return heads.ungrouped(weighted, "attn_rows")


def probabilities(heads: Heads, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """``softmax(q · kᵀ / √D + mask)``, grouped: ``[1, kv heads, group · S, S]``."""
    scores = ops.matmul(heads.grouped(q, "q_by_group"), k, transpose_y=True, name="scores")
    return masked_softmax(heads, ops.mul(scores, heads.scale, name="scaled_scores"), mask)


@dataclass(frozen=True)
class _Taps:
    """Everything that a forward kernel can return, flat."""

    xnorm: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    attn: Tensor
    projected: Tensor


class _Block:
    """The attention half of a block in the making: its graph, sizes and weights."""

    def __init__(self, where: str, heads: Heads, dim: int, dialect: Dialect) -> None:
        self.heads = heads
        self._where = where
        self.graph = Graph(dialect=dialect)
        self._dim = dim

    def weight(self, name: str, out: int, ins: int) -> Tensor:
        return self.graph.weight(name, (out, ins, 1, 1))

    def projections(
        self, x: Tensor, eps: float, rope: Rope | None, theta: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """xnorm, q, k and v, flat."""
        parts.positive_half(self._where, eps=eps)
        heads, dim = self.heads, self._dim
        xnorm = parts.rms_norm(x, self.graph.weight("rms_att", (1, dim, 1, 1)), eps)
        q, k, v = (
            parts.conv1x1(xnorm, self.weight(f"w{name}", out, dim), name)
            for name, out in (
                ("q", heads.q_channels),
                ("k", heads.kv_channels),
                ("v", heads.kv_channels),
            )
        )
        rotation = Rotation(self.graph, heads, rope, theta)
        return xnorm, rotation.forward(q, "q_turned"), rotation.forward(k, "k_turned"), v

    def applied(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """attn and wo · attn, flat."""
        heads = self.heads
        q = parts.split_heads(q, heads.count, "q_rows")
        k = parts.split_heads(k, heads.kv_count, "k_rows")
        v = parts.split_heads(v, heads.kv_count, "v_rows")
        mask = parts.causal_mask(self.graph, heads.seq)
        attn = parts.merge_heads(attention(heads, q, k, v, mask), "attn")
        return attn, parts.conv1x1(attn, self.weight("wo", self._dim, heads.q_channels), "o_out")

    def taps(self, x: Tensor, eps: float, rope: Rope | None, theta: float) -> _Taps:
        """All of the forward pass."""
        xnorm, q, k, v = self.projections(x, eps, rope, theta)
        return _Taps(xnorm, q, k, v, *self.applied(q, k, v))

    def program(self, out: Tensor) -> MILProgram:
        """The program that returns one tensor."""
        self.graph.output("out", out)
        return self.graph._finished()
