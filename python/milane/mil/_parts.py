"""What the generators share: checks of their arguments, and the parts that programs repeat.

Activations are ``[1, channels, 1, S]`` unless a function says otherwise. Every result is named by
the generator, so that the text reads like its formula. A single input is called x and a single
output out; several have names whose byte order is the order they are declared in.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from milane.blob import tables
from milane.errors import InvalidArgumentError
from milane.graph import ops
from milane.graph.graph import Dialect, Graph
from milane.graph.tensor import Tensor

# What masks add: exp() of it is 0 in fp16, and unlike -inf it makes no NaN of a row that is masked
# whole (ane_facts D 36).
MASKED = -40000.0


# Arguments


def begin(generator: str, dialect: Dialect, **sizes: int) -> Graph:
    """An empty graph, once all sizes are found positive."""
    positive(generator, **sizes)
    return Graph(dialect=dialect)


def positive(generator: str, **sizes: int) -> None:
    """Nothing where every size is an integer of 1 or more.

    Raises:
        InvalidArgumentError: one is not; the message names generator and parameter.
    """
    for parameter, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise InvalidArgumentError(
                f"{generator}: expected {parameter} to be an integer of 1 or more, got {size!r}"
            )


def divides(generator: str, **sizes: int) -> int:
    """The quotient of two sizes, ``divides("gen_x", heads=3, dim=12)`` for example 4.

    Raises:
        InvalidArgumentError: the first does not divide the second.
    """
    (part, of), (whole, size) = sizes.items()
    positive(generator, **sizes)
    if size % of:
        raise InvalidArgumentError(
            f"{generator}: expected {part} to divide {whole}, got {part} {of} and {whole} {size}"
        )
    return int(size // of)


def positive_half(generator: str, **numbers: float) -> None:
    """Nothing where every number is positive and finite, also as fp16 holds it.

    Raises:
        InvalidArgumentError: one is not.
    """
    for parameter, number in numbers.items():
        with np.errstate(over="ignore"):
            rounded = float(np.float16(number))
        if not (rounded > 0 and math.isfinite(rounded)):
            raise InvalidArgumentError(
                f"{generator}: expected {parameter} to be positive in fp16 (2^-24 to 65504), "
                f"got {number!r}"
            )


# Values


def number(like: Tensor, value: float, name: str) -> Tensor:
    """A scalar constant of another tensor's dtype; its name is this one and a count."""
    return like._body.inline(value, like.dtype, name)


def conv1x1(x: Tensor, weight: Tensor, name: str | None = None) -> Tensor:
    """``weight @ x`` for each position: ``[out, in, 1, 1]`` and ``[1, in, 1, S]``."""
    return ops.conv(x, weight, name=name)


def to_half(x: Tensor, name: str | None = None) -> Tensor:
    """The values in fp16."""
    return ops.cast(x, dtype="fp16", name=name)


def to_single(x: Tensor, name: str | None = None) -> Tensor:
    """The values in fp32."""
    return ops.cast(x, dtype="fp32", name=name)


def channels(x: Tensor, start: int, count: int, name: str | None = None) -> Tensor:
    """``count`` channels from ``start`` on."""
    begin = [0, start, *[0] * (x.rank - 2)]
    size = [x.shape[0], count, *x.shape[2:]]
    return ops.slice_by_size(x, begin, size, name=name)


def split_channels(x: Tensor, **counts: int) -> tuple[Tensor, ...]:
    """Neighbouring runs of channels, ``split_channels(x, dq=64, dk=64)``, by name."""
    parts, start = [], 0
    for name, count in counts.items():
        parts.append(channels(x, start, count, name))
        start += count
    return tuple(parts)


def join_channels(values: Sequence[Tensor], name: str | None = None) -> Tensor:
    """The tensors' channels one after the other."""
    return ops.concat(values, axis=1, name=name)


def split_heads(x: Tensor, heads: int, name: str | None = None) -> Tensor:
    """``[1, heads · D, 1, S]`` as ``[1, heads, S, D]``."""
    _, total, _, seq = x.shape
    columns = ops.reshape(x, [1, heads, total // heads, seq], name=name and f"{name}_by_head")
    return ops.transpose(columns, [0, 1, 3, 2], name=name)


def merge_heads(x: Tensor, name: str | None = None) -> Tensor:
    """``[1, heads, S, D]`` as ``[1, heads · D, 1, S]``."""
    _, heads, seq, size = x.shape
    columns = ops.transpose(x, [0, 1, 3, 2], name=name and f"{name}_by_head")
    return ops.reshape(columns, [1, heads * size, 1, seq], name=name)


# Arithmetic


def inverse_rms(x: Tensor, eps: float) -> Tensor:
    """``(mean(x²) + eps)^-1/2`` over the channels, ``[1, 1, 1, S]``.

    ``pow`` stands for ``rsqrt``, which some systems refuse behind a reduction (ane_facts D 42). The
    squares are summed in fp16: the root of their mean must stay below 256 / sqrt(channels).
    """
    squares = ops.mul(x, x, name="squares")
    total = ops.reduce_sum(squares, axes=[1], keep_dims=True, name="sum_of_squares")
    mean = ops.mul(total, number(x, 1.0 / x.shape[1], "inv_dim"), name="mean_of_squares")
    mean = ops.add(mean, number(x, eps, "eps"), name="mean_plus_eps")
    return ops.pow(mean, number(x, -0.5, "minus_half"), name="rrms")


def rms_norm(x: Tensor, weight: Tensor, eps: float, name: str | None = "xnorm") -> Tensor:
    """``x · (mean(x²) + eps)^-1/2 · weight``, the mean over channels; weight ``[1, C, 1, 1]``."""
    scaled = ops.mul(x, inverse_rms(x, eps), name="x_over_rms")
    return ops.mul(scaled, weight, name=name)


def causal_mask(graph: Graph, seq: int, name: str = "mask") -> Tensor:
    """The stored constant ``[1, 1, seq, seq]``: 0 up to the diagonal, -40000 above it."""
    return graph.weight(name, (1, 1, seq, seq), data=_mask(seq))


@functools.lru_cache(maxsize=4)
def _mask(seq: int) -> npt.NDArray[np.float16]:
    """The mask's values, which every layer's program shares."""
    mask = tables.causal_mask(seq, value=MASKED)
    mask.flags.writeable = False
    return mask
