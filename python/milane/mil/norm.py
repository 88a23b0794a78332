"""RMSNorm over the channels, and its gradient."""

from __future__ import annotations

from milane.graph import ops
from milane.graph.graph import Dialect
from milane.graph.tensor import Tensor
from milane.mil._parts import begin, inverse_rms, number, positive_half, rms_norm, split_channels
from milane.mil.program import DEFAULT_WEIGHT_PATH, MILProgram

# The least that gen_rmsnorm divides by.
_LEAST = 1e-6


def gen_rmsnorm(
    channels: int, spatial: int, eps: float = 1e-5, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of an RMSNorm that does not overflow, whatever the size of its input.

    Formula: ``out = x / (m · sqrt(mean((x / m)²) + eps)) · w``, the mean over the channels, ``m =
        max(max |x|, 1e-6, 2^-23 / sqrt(eps))``. Squares are at most 1, so that nothing overflows.
        ``eps`` counts relative to the largest channel: the result is that of an RMSNorm whose
        epsilon is ``eps · m²``. The last term of ``m``, 3.8e-5 by default, keeps zeros from
        becoming NaN: 1e-6 alone, as in the source, underflows beside ``sqrt(eps)``.

    Inputs: x fp16 ``[1, channels, 1, spatial]``.
    Output: out fp16 ``[1, channels, 1, spatial]``.
    Weights: ``w`` fp16 ``[1, channels, 1, 1]`` in ``weights/weight.bin``.
    Device: reductions take ``keep_dims`` and ``axes`` from named constants only, as they stand here
        (ane_facts D 4). Some systems refuse ``sqrt`` behind a reduction (D 42) and ``square`` in
        front of one at some widths (D 43): :func:`gen_final_rmsnorm` has neither, but overflows.

    Raises:
        InvalidArgumentError: a size below 1, an ``eps`` that fp16 rounds to 0 or infinity, or an
            unknown dialect.

    Source: the eleven operations of GenRMSNorm of tmc/apple x/ane/mil.
    """
    graph = begin("gen_rmsnorm", dialect, channels=channels, spatial=spatial)
    positive_half("gen_rmsnorm", eps=eps)
    # Its product with sqrt(eps) must not round to 0, or a position of zeros becomes NaN.
    least = max(_LEAST, 2.0**-23 * eps**-0.5)
    x = graph.input("x", (1, channels, 1, spatial))
    weight = graph.weight("w", (1, channels, 1, 1), path=DEFAULT_WEIGHT_PATH)
    size = ops.abs(x, name="abs_x")
    largest = ops.reduce_max(size, axes=[1], keep_dims=True, name="max_abs")
    largest = ops.maximum(largest, number(x, least, "least"), name="safe_max")
    squares = ops.square(ops.real_div(x, largest, name="x_over_max"), name="squares")
    mean = ops.reduce_mean(squares, axes=[1], keep_dims=True, name="mean_of_squares")
    mean = ops.add(mean, number(x, eps, "eps"), name="mean_plus_eps")
    root = ops.sqrt(mean, name="rms_over_max")
    scaled = ops.real_div(x, ops.mul(root, largest, name="rms"), name="x_over_rms")
    return graph._finished({"out": ops.mul(scaled, weight, name="out")})


def gen_final_rmsnorm(
    dim: int, seq: int, *, eps: float = 1e-5, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of the RMSNorm behind the last layer.

    Formula: ``out = x · (mean(x²) + eps)^-1/2 · rms_final``, the mean over the channels.

    Inputs: x fp16 ``[1, dim, 1, seq]``.
    Output: out fp16 ``[1, dim, 1, seq]``.
    Weights: ``rms_final`` fp16 ``[1, dim, 1, 1]`` in ``weights/rms_final.bin``.
    Device: the sum of squares is taken in fp16 and overflows beyond 65 504, after which ``out`` is
        0: the root mean square of ``x`` must stay below ``256 / sqrt(dim)``, 9.2 for 768 channels
        (ane_facts D 67). :func:`gen_rmsnorm` has no such bound. ``pow`` stands for ``rsqrt``, which
        some systems refuse behind a reduction (D 42).

    Raises:
        InvalidArgumentError: a size below 1, an ``eps`` that fp16 rounds to 0 or infinity, or an
            unknown dialect.

    Source: GenFinalRMSNorm of tmc/apple x/ane/mil; gen_final_rmsnorm of maderix/ANE.
    """
    graph = begin("gen_final_rmsnorm", dialect, dim=dim, seq=seq)
    positive_half("gen_final_rmsnorm", eps=eps)
    x = graph.input("x", (1, dim, 1, seq))
    return graph._finished(
        {"out": rms_norm(x, graph.weight("rms_final", (1, dim, 1, 1)), eps, "out")}
    )


def gen_final_rmsnorm_dynamic(
    dim: int, seq: int, *, eps: float = 1e-5, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of the RMSNorm behind the last layer, its weight an input.

    Formula: ``out = inp · (mean(inp²) + eps)^-1/2 · rms_final``, the mean over the channels.

    Inputs: inp fp16 ``[1, dim, 1, seq]``; rms_final fp16 ``[1, dim, 1, 1]``.
    Output: out fp16 ``[1, dim, 1, seq]``.
    Device: as :func:`gen_final_rmsnorm`. A row of rms_final is one element wide and takes 64 bytes
        (ane_facts C.3).

    Raises:
        InvalidArgumentError: as :func:`gen_final_rmsnorm`.

    Source: GenFinalRMSNormDynamic of tmc/apple x/ane/mil.
    """
    graph = begin("gen_final_rmsnorm_dynamic", dialect, dim=dim, seq=seq)
    positive_half("gen_final_rmsnorm_dynamic", eps=eps)
    x = graph.input("inp", (1, dim, 1, seq))
    weight = graph.input("rms_final", (1, dim, 1, 1))
    return graph._finished({"out": rms_norm(x, weight, eps, "out")})


def gen_rmsnorm_backward(
    dim: int, seq: int, *, eps: float = 1e-5, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of an RMSNorm's gradient with respect to its input.

    Formula: with ``r = (mean(x²) + eps)^-1/2`` and ``g = dy · rms``: ``dx = r · (g - x · r² ·
        mean(g · x))``, means over the channels. The gradient of the weight, ``sum over S of dy · x
        · r``, is left to the caller.

    Inputs: x fp16 ``[1, 2 · dim, 1, seq]``: concat(dy, x).
    Output: out fp16 ``[1, dim, 1, seq]``: dx.
    Weights: ``rms`` fp16 ``[1, dim, 1, 1]`` in ``weights/rms.bin``.
    Device: both sums are taken in fp16 and overflow beyond 65 504 (ane_facts D 67): the root mean
        square of x must stay below ``256 / sqrt(dim)``. There is no form without the bound; scale
        the loss down where dy is large, up where it is so small that fp16 loses it (D 70).

    Raises:
        InvalidArgumentError: a size below 1, an ``eps`` that fp16 rounds to 0 or infinity, or an
            unknown dialect.

    Source: GenRMSNormBackward of tmc/apple x/ane/mil; gen_rmsnorm_bwd of maderix/ANE.
    """
    graph = begin("gen_rmsnorm_backward", dialect, dim=dim, seq=seq)
    positive_half("gen_rmsnorm_backward", eps=eps)
    packed = graph.input("x", (1, 2 * dim, 1, seq))
    return graph._finished({"out": _backward(packed, graph.weight("rms", (1, dim, 1, 1)), eps)})


def gen_rmsnorm_backward_dynamic(
    dim: int, seq: int, *, eps: float = 1e-5, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of an RMSNorm's gradient with respect to its input, the weight an input.

    Formula: that of :func:`gen_rmsnorm_backward`.

    Inputs: inp fp16 ``[1, 2 · dim, 1, seq]``: concat(dy, x); rms fp16 ``[1, dim, 1, 1]``.
    Output: out fp16 ``[1, dim, 1, seq]``: dx.
    Device: as :func:`gen_rmsnorm_backward`.

    Raises:
        InvalidArgumentError: as :func:`gen_rmsnorm_backward`.

    Source: GenRMSNormBackwardDynamic of tmc/apple x/ane/mil.
    """
    graph = begin("gen_rmsnorm_backward_dynamic", dialect, dim=dim, seq=seq)
    positive_half("gen_rmsnorm_backward_dynamic", eps=eps)
    packed = graph.input("inp", (1, 2 * dim, 1, seq))
    weight = graph.input("rms", (1, dim, 1, 1))
    return graph._finished({"out": _backward(packed, weight, eps)})


def _backward(packed: Tensor, weight: Tensor, eps: float) -> Tensor:
    """dx of concat(dy, x)."""
    dim = packed.shape[1] // 2
    dy, x = split_channels(packed, dy=dim, x_before=dim)
    rrms = inverse_rms(x, eps)
    scaled = ops.mul(dy, weight, name="dy_scaled")
    products = ops.mul(scaled, x, name="dy_scaled_x")
    total = ops.reduce_sum(products, axes=[1], keep_dims=True, name="dot")
    mean = ops.mul(total, number(x, 1.0 / dim, "inv_dim"), name="mean_dot")
    factor = ops.mul(mean, ops.mul(rrms, rrms, name="rrms_squared"), name="factor")
    across = ops.sub(scaled, ops.mul(x, factor, name="along_x"), name="across_x")
    return ops.mul(across, rrms, name="out")
