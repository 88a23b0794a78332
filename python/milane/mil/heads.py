"""Attention heads: keys and values for more queries than there are."""

from __future__ import annotations

from milane.graph import ops
from milane.graph.graph import Dialect
from milane.graph.tensor import Tensor
from milane.mil._parts import begin, divides
from milane.mil.program import MILProgram


def gen_gqa_expand(
    kv_heads: int,
    q_heads: int,
    head_dim: int,
    seq_len: int,
    *,
    interleaved: bool = False,
    tile: bool = True,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The program that repeats the heads of keys or values for grouped queries.

    Formula: with ``g = q_heads / kv_heads``: head h of ``out`` is head ``h mod kv_heads`` of ``x``,
        all heads one after the other and again; with ``interleaved`` it is head ``h // g``, each
        head g times in a row, as Llama's queries are grouped (``torch.repeat_interleave``).

    Inputs: x fp16 ``[1, kv_heads, seq_len, head_dim]``.
    Output: out fp16 ``[1, q_heads, seq_len, head_dim]``.
    Device: on one M3 Max a ``tile`` failed every later evaluation of the process (ane_facts D 37);
        with ``tile=False`` a concat of ``x`` with itself gives the same.

    Raises:
        InvalidArgumentError: a size below 1, heads that do not divide, or an unknown dialect.

    Source: GenGQAExpand of tmc/apple x/ane/mil.
    """
    where = "gen_gqa_expand"
    graph = begin(where, dialect, head_dim=head_dim, seq_len=seq_len)
    group = divides(where, kv_heads=kv_heads, q_heads=q_heads)
    x = graph.input("x", (1, kv_heads, seq_len, head_dim))
    if not interleaved or kv_heads == 1:
        return graph._finished({"out": _repeated(x, group, tile, "out")})
    each = ops.reshape(x, [kv_heads, 1, seq_len, head_dim], name="heads")
    repeated = _repeated(each, group, tile, "repeated_heads")
    return graph._finished(
        {"out": ops.reshape(repeated, [1, q_heads, seq_len, head_dim], name="out")}
    )


def _repeated(x: Tensor, times: int, tile: bool, name: str) -> Tensor:
    """The tensor so many times along its second axis."""
    if tile:
        return ops.tile(x, [1, times, 1, 1], name=name)
    # One alone is no concat to the device, which wants two or more.
    return ops.concat([x] * times, axis=1, name=name) if times > 1 else ops.mul(x, 1, name=name)
