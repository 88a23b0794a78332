"""A transformer block, forward and backward, whose weights are inputs: no compile per step.

``runtime.compile_dynamic(program, n_inputs)`` makes the parameters behind the activations weights
that ``kernel.write_weight`` changes at once. One compile of each kernel serves all layers and all
steps; a weight keeps the layout ``[out, in]`` that PyTorch and llama2.c store (as
``[1, 1, out, in]``), forward and backward alike. Every tap is an output of its own and every
gradient an input of its own, under the same name: ``next.bind({"attn":
kernel.outputs["attn"].surface, …})`` reads the one where the other wrote it, without a copy.

The block is ``mid = inp + wo · attention(rms_norm(inp))``, ``out = mid + w2 · (silu(w1 · n) ·
(w3 · n))`` with ``n = rms_norm(mid)``. In the order of a training step:

=========================  ==========================  ==========================  ================
kernel ``gen_…_dynamic``   inputs                      outputs                     weights
=========================  ==========================  ==========================  ================
``sdpa_fwd``               inp                         attn, k, norm_att, q, v     rms_att,
                                                                                   wk, wq, wv
``wo_fwd``                 attn, inp                   mid                         wo
``ffn_fwd``                mid                         gate, h1, h3, norm_ffn,     rms_ffn,
                                                       out                         w1, w2, w3
``ffn_bwd1``               dout, h1, h3                dh1, dh3                    w2
``ffn_bwd2``               dh1, dh3, dout, mid         dmid, dnorm_ffn             rms_ffn, w1, w3
``sdpa_bwd1``              dmid, k, q, v               dp, dv, probs               wo
``sdpa_bwd2``              dp, k, probs, q             dk, dq                      (none)
``qkv_bwd``                dk, dmid, dq, dv, inp       dinp, dnorm_att             rms_att,
                                                                                   wk, wq, wv
=========================  ==========================  ==========================  ================

Parts of these, for programs that the device takes in smaller pieces only: ``wo_bwd`` (dmid to
dattn), ``q_bwd`` (dq to dnorm_q) and ``kv_bwd`` (dk, dv to dnorm_kv).

The weights' gradients are products of taps over all positions, left to the CPU:

* dwq, dwk, dwv = dq, dk, dv · norm_attᵀ; dwo = dmid · attnᵀ;
* dw1, dw3 = dh1, dh3 · norm_ffnᵀ; dw2 = dout · gateᵀ;
* drms_att = Σ dnorm_att · inp / rms(inp), drms_ffn = Σ dnorm_ffn · mid / rms(mid) over positions.

Shapes: activations fp16 ``[1, channels, 1, S]``: inp, mid, out, norm_att and norm_ffn have dim
channels; q and attn ``Q`` = heads · D; k and v ``KV`` = n_kv_heads · D; gate, h1 and h3 hidden;
probs and dp heads · S, row i of head h at channel h · S + i. A gradient ``dx`` has the shape of
``x``. Weights: rms_att and rms_ffn ``[1, dim, 1, 1]``, wq ``[1, 1, Q, dim]``, wk and wv
``[1, 1, KV, dim]``, wo ``[1, 1, dim, Q]``, w1 and w3 ``[1, 1, hidden, dim]``, w2
``[1, 1, dim, hidden]``. Names are in byte order, the order in which the device counts them.

Why so, and not packed in width as maderix/ANE does: products take run-time operands on every chip,
convolutions may ignore them (ane_facts D 38, 39); weights beside the activations in one input need
a slice, a reshape and a transpose each, and separate inputs were 1.4 times as fast (ane_facts G.2).
Products are arranged so that ``[channels, S]`` is what they take and give: only q, the attention's
result and their gradients are transposed.

Numerics: normalisation divides by the largest element first, so that no square overflows; q is
scaled before the scores are made, and they before the mask, -40000, is added. Products must stay
below 32768 (D 66), matrices within 16384 rows and columns on M1 to M3 (D 52). Gradients below
2^-24 are lost in fp16: scale the loss.

Source: maderix/ANE, training_dynamic; the formulas are the derivatives, checked against autograd.
"""

from __future__ import annotations

from milane.graph import ops
from milane.graph.graph import Dialect, Graph
from milane.graph.tensor import Tensor
from milane.mil import _parts as parts
from milane.mil._attention import (
    Rope,
    Rotation,
    from_columns,
    heads_of,
    in_columns,
    softmax_gradient,
)
from milane.mil._dynamic import (
    activation,
    as_matrix,
    from_rows,
    in_rows,
    matrix,
    normalised,
    normalised_gradient,
    probabilities,
    product,
)
from milane.mil.program import MILProgram


def gen_sdpa_fwd_dynamic(
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
    """RMSNorm, the three projections and attention, with taps.

    Formula: norm_att = inp · (mean(inp²) + eps)^-1/2 · rms_att over channels;
        q, k, v = wq, wk, wv · norm_att, q and k turned by ``rope``;
        attn = softmax(q · kᵀ / √D + mask) · v for each head.

    Inputs: inp ``[1, dim, 1, S]``.
    Outputs: attn ``[1, Q, 1, S]``, k ``[1, KV, 1, S]``, norm_att ``[1, dim, 1, S]``,
        q ``[1, Q, 1, S]``, v ``[1, KV, 1, S]``; q and k as they are behind the rotation.
    Weights, as inputs: rms_att ``[1, dim, 1, 1]``, wk ``[1, 1, KV, dim]``, wq ``[1, 1, Q, dim]``,
        wv ``[1, 1, KV, dim]``. Constants with known values: mask, and the tables of ``rope``.
    Device: products below 32768 (D 66), matrices within 16384 rows and columns on M1 to M3 (D 52).

    Raises:
        InvalidArgumentError: a size, eps or theta is not positive, heads do not divide dim where
            head_dim is not given, n_kv_heads does not divide heads, or D is odd with ``rope``.

    Source: the forward kernel of maderix/ANE's training_dynamic, with RMSNorm in it.
    """
    where = "gen_sdpa_fwd_dynamic"
    h = heads_of(where, dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim, rope=rope)
    parts.positive_half(where, eps=eps)
    graph = Graph(dialect=dialect)
    inp = activation(graph, "inp", dim, seq)
    rms_att = graph.input("rms_att", (1, dim, 1, 1))
    wk = matrix(graph, "wk", h.kv_channels, dim)
    wq = matrix(graph, "wq", h.q_channels, dim)
    wv = matrix(graph, "wv", h.kv_channels, dim)
    rotation = Rotation(graph, h, rope, theta)
    norm_att = normalised(inp, eps, rms_att)
    x = as_matrix(norm_att)
    q = rotation.forward(product(wq, x, "q_made"), "q_turned")
    k = rotation.forward(product(wk, x, "k_made"), "k_turned")
    v = product(wv, x, "v_made")
    probs = probabilities(graph, h, q, k)
    attn = ops.matmul(probs, in_columns(v, h.size, "v_columns"), transpose_y=True, name="attn_made")
    return graph._finished(
        {"attn": from_rows(h, attn, "attn"), "k": k, "norm_att": norm_att, "q": q, "v": v}
    )


def gen_wo_fwd_dynamic(
    dim: int,
    heads: int,
    seq: int,
    *,
    head_dim: int | None = None,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The attention's projection and the residual sum.

    Formula: mid = inp + wo · attn.

    Inputs: attn ``[1, Q, 1, S]``, inp ``[1, dim, 1, S]``.
    Output: mid ``[1, dim, 1, S]``.
    Weights, as inputs: wo ``[1, 1, dim, Q]``.
    Device: as :func:`gen_sdpa_fwd_dynamic`.

    Raises:
        InvalidArgumentError: a size is not positive, or heads do not divide dim where head_dim is
            not given.

    Source: maderix/ANE, training_dynamic.
    """
    h = heads_of("gen_wo_fwd_dynamic", dim, heads, seq, head_dim=head_dim)
    graph = Graph(dialect=dialect)
    attn = activation(graph, "attn", h.q_channels, seq)
    inp = activation(graph, "inp", dim, seq)
    wo = matrix(graph, "wo", dim, h.q_channels)
    return graph._finished({"mid": ops.add(inp, product(wo, as_matrix(attn), "projected"))})


def gen_ffn_fwd_dynamic(
    dim: int, hidden: int, seq: int, *, eps: float = 1e-5, dialect: Dialect = "ios18"
) -> MILProgram:
    """RMSNorm, the gated feed-forward network and the residual sum, with taps.

    Formula: norm_ffn = mid · (mean(mid²) + eps)^-1/2 · rms_ffn over channels; h1, h3 = w1, w3 ·
        norm_ffn; gate = h1 · sigmoid(h1) · h3; out = mid + w2 · gate.

    Inputs: mid ``[1, dim, 1, S]``.
    Outputs: gate, h1 and h3 ``[1, hidden, 1, S]``, norm_ffn and out ``[1, dim, 1, S]``.
    Weights, as inputs: rms_ffn ``[1, dim, 1, 1]``, w1 ``[1, 1, hidden, dim]``,
        w2 ``[1, 1, dim, hidden]``, w3 ``[1, 1, hidden, dim]``.
    Device: as :func:`gen_sdpa_fwd_dynamic`.

    Raises:
        InvalidArgumentError: a size or eps is not positive.

    Source: the fused FFN of maderix/ANE's training_dynamic, with RMSNorm in it.
    """
    where = "gen_ffn_fwd_dynamic"
    graph = parts.begin(where, dialect, dim=dim, hidden=hidden, seq=seq)
    parts.positive_half(where, eps=eps)
    mid = activation(graph, "mid", dim, seq)
    rms_ffn = graph.input("rms_ffn", (1, dim, 1, 1))
    w1 = matrix(graph, "w1", hidden, dim)
    w2 = matrix(graph, "w2", dim, hidden)
    w3 = matrix(graph, "w3", hidden, dim)
    norm_ffn = normalised(mid, eps, rms_ffn)
    x = as_matrix(norm_ffn)
    h1, h3 = product(w1, x, "h1_made"), product(w3, x, "h3_made")
    silu = ops.mul(h1, ops.sigmoid(h1, name="sigmoid_h1"), name="silu_h1")
    gate = ops.mul(silu, h3, name="gate_made")
    out = ops.add(mid, product(w2, as_matrix(gate), "ffn"))
    return graph._finished({"gate": gate, "h1": h1, "h3": h3, "norm_ffn": norm_ffn, "out": out})


def gen_ffn_bwd1_dynamic(
    dim: int, hidden: int, seq: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The first half of the feed-forward network's gradient: back through w2 and the gate.

    Formula: dgate = w2ᵀ · dout, s = sigmoid(h1); dh3 = dgate · h1 · s,
        dh1 = dgate · h3 · s · (1 + h1 · (1 - s)).

    Inputs: dout ``[1, dim, 1, S]``, h1 and h3 ``[1, hidden, 1, S]``.
    Outputs: dh1 and dh3 ``[1, hidden, 1, S]``.
    Weights, as inputs: w2 ``[1, 1, dim, hidden]``.
    Device: gradients below 2^-24 are lost, below 2^-14 on M1 in products: scale the loss up (D 70).

    Raises:
        InvalidArgumentError: a size is not positive.

    Source: maderix/ANE, training_dynamic.
    """
    graph = parts.begin("gen_ffn_bwd1_dynamic", dialect, dim=dim, hidden=hidden, seq=seq)
    dout = activation(graph, "dout", dim, seq)
    h1 = activation(graph, "h1", hidden, seq)
    h3 = activation(graph, "h3", hidden, seq)
    w2 = matrix(graph, "w2", dim, hidden)
    dgate = product(w2, as_matrix(dout), "dgate", transpose=True)
    s = ops.sigmoid(h1, name="sigmoid_h1")
    rest = ops.mul(h1, ops.sub(1.0, s, name="one_minus_sigmoid"), name="h1_rest")
    slope = ops.mul(s, ops.add(rest, 1.0, name="one_plus_rest"), name="silu_slope")
    dh1 = ops.mul(ops.mul(dgate, h3, name="dsilu"), slope)
    dh3 = ops.mul(dgate, ops.mul(h1, s, name="silu_h1"))
    return graph._finished({"dh1": dh1, "dh3": dh3})


def gen_ffn_bwd2_dynamic(
    dim: int, hidden: int, seq: int, *, eps: float = 1e-5, dialect: Dialect = "ios18"
) -> MILProgram:
    """The second half of the feed-forward network's gradient: back through w1, w3 and RMSNorm.

    Formula: dnorm_ffn = w1ᵀ · dh1 + w3ᵀ · dh3; with n = mid / rms, rms = (mean(mid²) + eps)^1/2 and
        g = rms_ffn · dnorm_ffn: dmid = dout + (g - n · mean(g · n)) / rms.

    Inputs: dh1 and dh3 ``[1, hidden, 1, S]``, dout and mid ``[1, dim, 1, S]``.
    Outputs: dmid and dnorm_ffn ``[1, dim, 1, S]``.
    Weights, as inputs: rms_ffn ``[1, dim, 1, 1]``, w1 and w3 ``[1, 1, hidden, dim]``.
    Device: gradients below 2^-24 are lost, below 2^-14 on M1 in products: scale the loss up (D 70).

    Raises:
        InvalidArgumentError: a size or eps is not positive.

    Source: maderix/ANE, training_dynamic.
    """
    where = "gen_ffn_bwd2_dynamic"
    graph = parts.begin(where, dialect, dim=dim, hidden=hidden, seq=seq)
    parts.positive_half(where, eps=eps)
    dh1 = activation(graph, "dh1", hidden, seq)
    dh3 = activation(graph, "dh3", hidden, seq)
    dout = activation(graph, "dout", dim, seq)
    mid = activation(graph, "mid", dim, seq)
    rms_ffn = graph.input("rms_ffn", (1, dim, 1, 1))
    w1 = matrix(graph, "w1", hidden, dim)
    w3 = matrix(graph, "w3", hidden, dim)
    of_h1 = product(w1, as_matrix(dh1), "dnorm_of_h1", transpose=True)
    of_h3 = product(w3, as_matrix(dh3), "dnorm_of_h3", transpose=True)
    dnorm = ops.add(of_h1, of_h3, name="dnorm")
    dmid = ops.add(dout, normalised_gradient(mid, eps, rms_ffn, dnorm))
    return graph._finished({"dmid": dmid, "dnorm_ffn": dnorm})


def gen_sdpa_bwd1_dynamic(
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The first half of the attention's gradient: back through wo, to v and the probabilities.

    Formula: dattn = woᵀ · dmid; for each head probs = softmax(q · kᵀ / √D + mask),
        dv = probsᵀ · dattn (summed over a group's heads), dp = dattn · vᵀ.

    Inputs: dmid ``[1, dim, 1, S]``, k ``[1, KV, 1, S]``, q ``[1, Q, 1, S]``, v ``[1, KV, 1, S]``.
    Outputs: dp ``[1, heads · S, 1, S]``, dv ``[1, KV, 1, S]``, probs ``[1, heads · S, 1, S]``.
    Weights, as inputs: wo ``[1, 1, dim, Q]``. Constant with known values: mask.
    Device: gradients below 2^-24 are lost, below 2^-14 on M1 in products: scale the loss up (D 70).

    Raises:
        InvalidArgumentError: a size is not positive, heads do not divide dim where head_dim is not
            given, or n_kv_heads does not divide heads.

    Source: maderix/ANE, training_dynamic.
    """
    h = heads_of("gen_sdpa_bwd1_dynamic", dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim)
    graph = Graph(dialect=dialect)
    dmid = activation(graph, "dmid", dim, seq)
    k = activation(graph, "k", h.kv_channels, seq)
    q = activation(graph, "q", h.q_channels, seq)
    v = activation(graph, "v", h.kv_channels, seq)
    wo = matrix(graph, "wo", dim, h.q_channels)
    dattn = product(wo, as_matrix(dmid), "dattn", transpose=True)
    dattn = in_rows(h, dattn, "dattn")
    probs = probabilities(graph, h, q, k)
    dv = ops.matmul(dattn, probs, transpose_x=True, name="dv_columns")
    dp = ops.matmul(dattn, in_columns(v, h.size, "v_columns"), name="dp_by_head")
    flat = [1, h.score_channels, 1, seq]
    return graph._finished(
        {
            "dp": ops.reshape(dp, flat),
            "dv": ops.reshape(dv, [1, h.kv_channels, 1, seq]),
            "probs": ops.reshape(probs, flat),
        }
    )


def gen_sdpa_bwd2_dynamic(
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
    """The second half of the attention's gradient: back through the softmax, to q and k.

    Formula: for each head ds = probs · (dp - Σ probs · dp) along rows, dq = ds · k / √D,
        dk = dsᵀ · q / √D (summed over a group's heads), both turned back by ``rope``.

    Inputs: dp ``[1, heads · S, 1, S]``, k ``[1, KV, 1, S]``, probs ``[1, heads · S, 1, S]``,
        q ``[1, Q, 1, S]``.
    Outputs: dk ``[1, KV, 1, S]``, dq ``[1, Q, 1, S]``: of the projections, before the rotation.
    Weights: none; ``runtime.compile`` makes the kernel.
    Device: gradients below 2^-24 are lost, below 2^-14 on M1 in products: scale the loss up (D 70).

    Raises:
        InvalidArgumentError: as :func:`gen_sdpa_fwd_dynamic`.

    Source: maderix/ANE, training_dynamic.
    """
    h = heads_of(
        "gen_sdpa_bwd2_dynamic",
        dim,
        heads,
        seq,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        rope=rope,
    )
    graph = Graph(dialect=dialect)
    dp = activation(graph, "dp", h.score_channels, seq)
    k = activation(graph, "k", h.kv_channels, seq)
    probs = activation(graph, "probs", h.score_channels, seq)
    q = activation(graph, "q", h.q_channels, seq)
    by_group = [1, h.kv_count, h.group * seq, seq]
    dp = ops.reshape(dp, by_group, name="dp_by_group")
    ds = softmax_gradient(ops.reshape(probs, by_group, name="probs_by_group"), dp)
    q = in_rows(h, ops.mul(q, h.scale, name="q_scaled"), "q")
    k = ops.mul(k, h.scale, name="k_scaled")
    dk = ops.matmul(q, ds, transpose_x=True, name="dk_columns")
    dq = ops.matmul(ds, in_columns(k, h.size, "k_columns"), transpose_y=True, name="dq_made")
    rotation = Rotation(graph, h, rope, theta)
    return graph._finished(
        {
            "dk": rotation.backward(from_columns(dk, "dk_flat"), "dk_back"),
            "dq": rotation.backward(from_rows(h, dq, "dq"), "dq_back"),
        }
    )


def gen_qkv_bwd_dynamic(
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    eps: float = 1e-5,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The gradient of the block's input: back through the three projections and RMSNorm.

    Formula: dnorm_att = wqᵀ · dq + wkᵀ · dk + wvᵀ · dv; with n = inp / rms,
        rms = (mean(inp²) + eps)^1/2 and g = rms_att · dnorm_att:
        dinp = dmid + (g - n · mean(g · n)) / rms.

    Inputs: dk ``[1, KV, 1, S]``, dmid ``[1, dim, 1, S]``, dq ``[1, Q, 1, S]``,
        dv ``[1, KV, 1, S]``, inp ``[1, dim, 1, S]``.
    Outputs: dinp and dnorm_att ``[1, dim, 1, S]``.
    Weights, as inputs: rms_att ``[1, dim, 1, 1]``, wk ``[1, 1, KV, dim]``, wq ``[1, 1, Q, dim]``,
        wv ``[1, 1, KV, dim]``.
    Device: gradients below 2^-24 are lost, below 2^-14 on M1 in products: scale the loss up (D 70).

    Raises:
        InvalidArgumentError: a size or eps is not positive, heads do not divide dim where head_dim
            is not given, or n_kv_heads does not divide heads.

    Source: maderix/ANE, training_dynamic.
    """
    where = "gen_qkv_bwd_dynamic"
    h = heads_of(where, dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim)
    parts.positive_half(where, eps=eps)
    graph = Graph(dialect=dialect)
    dk = activation(graph, "dk", h.kv_channels, seq)
    dmid = activation(graph, "dmid", dim, seq)
    dq = activation(graph, "dq", h.q_channels, seq)
    dv = activation(graph, "dv", h.kv_channels, seq)
    inp = activation(graph, "inp", dim, seq)
    rms_att = graph.input("rms_att", (1, dim, 1, 1))
    wk = matrix(graph, "wk", h.kv_channels, dim)
    wq = matrix(graph, "wq", h.q_channels, dim)
    wv = matrix(graph, "wv", h.kv_channels, dim)
    of_q = product(wq, as_matrix(dq), "dnorm_of_q", transpose=True)
    dnorm = ops.add(of_q, _of_k_and_v(wk, wv, dk, dv), name="dnorm")
    dinp = ops.add(dmid, normalised_gradient(inp, eps, rms_att, dnorm))
    return graph._finished({"dinp": dinp, "dnorm_att": dnorm})


def gen_wo_bwd_dynamic(
    dim: int,
    heads: int,
    seq: int,
    *,
    head_dim: int | None = None,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The gradient of the attention's result.

    Formula: dattn = woᵀ · dmid, a part of :func:`gen_sdpa_bwd1_dynamic`.

    Inputs: dmid ``[1, dim, 1, S]``.
    Output: dattn ``[1, Q, 1, S]``.
    Weights, as inputs: wo ``[1, 1, dim, Q]``.
    Device: gradients below 2^-24 are lost, below 2^-14 on M1 in products: scale the loss up (D 70).

    Raises:
        InvalidArgumentError: a size is not positive, or heads do not divide dim where head_dim is
            not given.

    Source: maderix/ANE, training_dynamic.
    """
    h = heads_of("gen_wo_bwd_dynamic", dim, heads, seq, head_dim=head_dim)
    graph = Graph(dialect=dialect)
    dmid = activation(graph, "dmid", dim, seq)
    wo = matrix(graph, "wo", dim, h.q_channels)
    return graph._finished({"dattn": product(wo, as_matrix(dmid), "dattn_made", transpose=True)})


def gen_q_bwd_dynamic(
    dim: int,
    heads: int,
    seq: int,
    *,
    head_dim: int | None = None,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The share of q in the normalised input's gradient.

    Formula: dnorm_q = wqᵀ · dq, a part of :func:`gen_qkv_bwd_dynamic`.

    Inputs: dq ``[1, Q, 1, S]``.
    Output: dnorm_q ``[1, dim, 1, S]``.
    Weights, as inputs: wq ``[1, 1, Q, dim]``.
    Device: gradients below 2^-24 are lost, below 2^-14 on M1 in products: scale the loss up (D 70).

    Raises:
        InvalidArgumentError: a size is not positive, or heads do not divide dim where head_dim is
            not given.

    Source: maderix/ANE, training_dynamic.
    """
    h = heads_of("gen_q_bwd_dynamic", dim, heads, seq, head_dim=head_dim)
    graph = Graph(dialect=dialect)
    dq = activation(graph, "dq", h.q_channels, seq)
    wq = matrix(graph, "wq", h.q_channels, dim)
    return graph._finished({"dnorm_q": product(wq, as_matrix(dq), "dnorm_of_q", transpose=True)})


def gen_kv_bwd_dynamic(
    dim: int,
    heads: int,
    seq: int,
    *,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    dialect: Dialect = "ios18",
) -> MILProgram:
    """The share of k and v in the normalised input's gradient.

    Formula: dnorm_kv = wkᵀ · dk + wvᵀ · dv, a part of :func:`gen_qkv_bwd_dynamic`.

    Inputs: dk and dv ``[1, KV, 1, S]``.
    Output: dnorm_kv ``[1, dim, 1, S]``.
    Weights, as inputs: wk and wv ``[1, 1, KV, dim]``.
    Device: gradients below 2^-24 are lost, below 2^-14 on M1 in products: scale the loss up (D 70).

    Raises:
        InvalidArgumentError: as :func:`gen_sdpa_bwd1_dynamic`.

    Source: maderix/ANE, training_dynamic.
    """
    h = heads_of("gen_kv_bwd_dynamic", dim, heads, seq, n_kv_heads=n_kv_heads, head_dim=head_dim)
    graph = Graph(dialect=dialect)
    dk = activation(graph, "dk", h.kv_channels, seq)
    dv = activation(graph, "dv", h.kv_channels, seq)
    wk = matrix(graph, "wk", h.kv_channels, dim)
    wv = matrix(graph, "wv", h.kv_channels, dim)
    return graph._finished({"dnorm_kv": _of_k_and_v(wk, wv, dk, dv)})


def _of_k_and_v(wk: Tensor, wv: Tensor, dk: Tensor, dv: Tensor) -> Tensor:
    of_k = product(wk, as_matrix(dk), "dnorm_of_k", transpose=True)
    of_v = product(wv, as_matrix(dv), "dnorm_of_v", transpose=True)
    return ops.add(of_k, of_v, name="dnorm_of_kv")
