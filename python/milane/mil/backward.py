"""Backward kernels of attention with baked weights, which are transposed.

With dx2 the gradient of the attention half's result, three kernels give the gradient of its
normalised input, and what the weights' gradients need::

    concat(dv, probs, dp) = gen_sdpa_backward1(concat(q, k, v, dx2))
    concat(dq, dk)        = gen_sdpa_backward2(concat(probs, dp, q, k))
    dxnorm                = gen_qkv_backward(concat(dq, dk, dv))

``gen_rmsnorm_backward(concat(dxnorm, x))`` leads to the gradient of x, to which dx2 is added, the
residual's share. On the CPU: dwo = dx2 · attnᵀ, dwq, dwk, dwv = dq, dk, dv · xnormᵀ.

Shapes, weights' names and device constraints are those of :mod:`milane.mil.attention`. Gradients
below 2^-24 are lost in fp16: scale the loss.
"""

from __future__ import annotations

from milane.graph import ops
from milane.graph.graph import Dialect, Graph
from milane.mil import _parts as parts
from milane.mil._attention import Rope, Rotation, from_columns, heads_of, softmax_gradient
from milane.mil.attention import probabilities
from milane.mil.program import MILProgram


def gen_sdpa_backward1(
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The gradient of v, the attention's probabilities, and their gradient.

    Formula: da = woᵀ · dx2; for each head probs = softmax(q · kᵀ / √D + mask), dv = probsᵀ · da
        (summed over a group's heads), dp = da · vᵀ.

    Inputs: x = concat(q, k, v, dx2) ``[1, Q + 2 KV + dim, 1, S]``: Q, KV, KV and dim channels.
    Output: out = concat(dv, probs, dp) ``[1, KV + 2 heads · S, 1, S]``; row i of head h of probs
        and dp is channel h · S + i.
    Weights: wot ``[Q, dim, 1, 1]``, wo transposed; known: mask.
    Device: as :func:`gen_sdpa_apply_forward`; gradients below 2^-24 are lost, below 2^-14 on M1 in
        products: scale the loss up (D 70).

    Raises:
        InvalidArgumentError: a size is not positive, heads do not divide dim where head_dim is not
            given, or n_kv_heads does not divide heads.

    Source: ``GenSDPABackward1`` of go-mil, ``gen_sdpa_bwd1`` of maderix/ANE's stories_mil.h.
    """
    h = heads_of("gen_sdpa_backward1", dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim)
    q_size, kv_size = h.q_channels, h.kv_channels
    graph = Graph(dialect=dialect)
    x = graph.input("x", (1, q_size + 2 * kv_size + dim, 1, seq))
    wot = graph.weight("wot", (q_size, dim, 1, 1))
    mask = parts.causal_mask(graph, seq)
    q, k, v, dx2 = parts.split_channels(x, q=q_size, k=kv_size, v=kv_size, dx2=dim)
    da = parts.conv1x1(dx2, wot, "da")
    q = parts.split_heads(q, h.count, "q_rows")
    k = parts.split_heads(k, h.kv_count, "k_rows")
    v = parts.split_heads(v, h.kv_count, "v_rows")
    da = h.grouped(parts.split_heads(da, h.count, "da_rows"), "da_by_group")
    probs = probabilities(h, q, k, mask)
    dv = ops.matmul(probs, da, transpose_x=True, name="dv_rows")
    dp = ops.matmul(da, v, transpose_y=True, name="dp_by_head")
    dv = parts.merge_heads(dv, "dv")
    flat = [1, h.score_channels, 1, seq]
    probs = ops.reshape(probs, flat, name="probs")
    graph.output("out", parts.join_channels([dv, probs, ops.reshape(dp, flat, name="dp")]))
    return graph._finished()


def gen_sdpa_backward2(
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    rope: Rope | None = None,
    theta: float = 10000.0,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The gradients of q and k.

    Formula: for each head ds = probs · (dp - Σ probs · dp) / √D along rows, dq = ds · k,
        dk = dsᵀ · q (summed over a group's heads). With ``rope``, q and k are turned ones as the
        forward kernel returns them, and dq and dk the gradients before the rotation.

    Inputs: x = concat(probs, dp, q, k) ``[1, 2 heads · S + Q + KV, 1, S]``.
    Output: out = concat(dq, dk) ``[1, Q + KV, 1, S]``.
    Weights: none; known, with ``rope``: rope_cos and rope_sin ``[1, 1, D, S]``.
    Device: gradients below 2^-24 are lost, below 2^-14 on M1 in products: scale the loss up (D 70).

    Raises:
        InvalidArgumentError: as :func:`gen_sdpa_backward1`, theta is not positive, or D is odd with
            ``rope``.

    Source: ``GenSDPABackward2`` of go-mil, ``gen_sdpa_bwd2`` of maderix/ANE's stories_mil.h.
    """
    h = heads_of(
        "gen_sdpa_backward2", dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim, rope=rope
    )
    q_size, kv_size, scores = h.q_channels, h.kv_channels, h.score_channels
    graph = Graph(dialect=dialect)
    x = graph.input("x", (1, 2 * scores + q_size + kv_size, 1, seq))
    probs, dp, q, k = parts.split_channels(x, probs=scores, dp=scores, q=q_size, k=kv_size)
    by_group = [1, h.kv_count, h.group * seq, seq]
    probs = ops.reshape(probs, by_group, name="probs_by_group")
    dp = ops.reshape(dp, by_group, name="dp_by_group")
    q = h.grouped(parts.split_heads(q, h.count, "q_rows"), "q_by_group")
    k = parts.split_heads(k, h.kv_count, "k_rows")
    ds = ops.mul(softmax_gradient(probs, dp), h.scale, name="ds")
    dq_name = "dq_by_group" if h.group > 1 else "dq_rows"
    dq = h.ungrouped(ops.matmul(ds, k, name=dq_name), "dq_rows")
    dk = ops.matmul(ds, q, transpose_x=True, name="dk_rows")
    dq, dk = (
        ops.transpose(d, [0, 1, 3, 2], name=f"{name}_columns")
        for name, d in (("dq", dq), ("dk", dk))
    )
    dq, dk = from_columns(dq, "dq"), from_columns(dk, "dk")
    rotation = Rotation(graph, h, rope, theta)
    dq, dk = rotation.backward(dq, "dq_back"), rotation.backward(dk, "dk_back")
    graph.output("out", parts.join_channels([dq, dk]))
    return graph._finished()


def gen_qkv_backward(
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The gradient of what the three projections were made of.

    Formula: dxnorm = wqᵀ · dq + wkᵀ · dk + wvᵀ · dv.

    Inputs: x = concat(dq, dk, dv) ``[1, Q + 2 KV, 1, S]``.
    Output: out = dxnorm ``[1, dim, 1, S]``.
    Weights, transposed: wqt ``[dim, Q, 1, 1]``, wkt and wvt ``[dim, KV, 1, 1]``.
    Device: as :func:`gen_sdpa_backward2`.

    Raises:
        InvalidArgumentError: as :func:`gen_sdpa_backward1`.

    Source: ``GenQKVBackward`` of go-mil, ``gen_qkvb`` of maderix/ANE's stories_mil.h.
    """
    h = heads_of("gen_qkv_backward", dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim)
    sizes = {"q": h.q_channels, "k": h.kv_channels, "v": h.kv_channels}
    graph = Graph(dialect=dialect)
    x = graph.input("x", (1, sum(sizes.values()), 1, seq))
    gradients = parts.split_channels(x, **{f"d{name}": size for name, size in sizes.items()})
    shares = [
        parts.conv1x1(d, graph.weight(f"w{name}t", (dim, size, 1, 1)), f"dx_of_{name}")
        for d, (name, size) in zip(gradients, sizes.items(), strict=True)
    ]
    both = ops.add(shares[0], shares[1], name="dx_of_qk")
    graph.output("out", ops.add(both, shares[2]))
    return graph._finished()
