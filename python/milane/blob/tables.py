"""Tables that attention needs: rotary positions and causal masks, as arrays.

Everything is computed in float64 and rounded once, to the nearest value, ties to even.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from milane.errors import InvalidArgumentError

Array = npt.NDArray[Any]

PAIRINGS: Final = ("interleaved", "half")
# The lowest half: what a mask adds where attention may not look.
MASKED: Final = -65504.0


def rope_tables(
    seq: int,
    head_dim: int,
    theta: float = 10000.0,
    *,
    pairing: str = "interleaved",
    dtype: npt.DTypeLike = np.float16,
) -> tuple[Array, Array]:
    """Cosines and sines of rotary position embedding, each of shape ``[1, 1, seq, head_dim]``.

    Position p turns pair i by the angle ``p · theta^(-2i / head_dim)``, i in [0, head_dim / 2),
    in radians. Both elements of a pair find their angle in their own column:

    * ``pairing="interleaved"``: the pair is (2i, 2i + 1), and the table repeats each value twice in
      a row. llama2.c and Meta's own Llama code rotate these pairs.
    * ``pairing="half"``: the pair is (i, i + head_dim / 2), and the table repeats its first half.
      Hugging Face's models rotate these, with the rows of wq and wk permuted to match.

    With x' the partner of x, negated where x is first in its pair, the rotated vector is
    ``x · cos + x' · sin``.

    Raises:
        InvalidArgumentError: ``seq`` is below 1, ``head_dim`` is not even and positive, ``theta``
            is not a positive number, or the pairing is neither of the two.
    """
    if seq < 1:
        raise InvalidArgumentError(f"rope_tables: expected seq of 1 or more, got {seq}")
    if head_dim < 2 or head_dim % 2:
        raise InvalidArgumentError(
            f"rope_tables: expected head_dim to be even and positive, got {head_dim}"
        )
    if not (np.isfinite(theta) and theta > 0):
        raise InvalidArgumentError(f"rope_tables: expected a positive theta, got {theta}")
    if pairing not in PAIRINGS:
        expected = " or ".join(map(repr, PAIRINGS))
        raise InvalidArgumentError(f"rope_tables: expected pairing {expected}, got {pairing!r}")
    frequency = float(theta) ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    angle = np.arange(seq, dtype=np.float64)[:, None] * frequency
    columns = np.arange(head_dim)
    pair = columns // 2 if pairing == "interleaved" else columns % (head_dim // 2)
    cos, sin = (f(angle).astype(dtype)[:, pair][None, None] for f in (np.cos, np.sin))
    return cos, sin


def causal_mask(seq: int, *, value: float = MASKED, dtype: npt.DTypeLike = np.float16) -> Array:
    """What attention scores add so that no position sees a later one: ``[1, 1, seq, seq]``.

    Row q, column k is 0 where k <= q, and ``value`` above the diagonal.

    Raises:
        InvalidArgumentError: ``seq`` is below 1.
    """
    if seq < 1:
        raise InvalidArgumentError(f"causal_mask: expected seq of 1 or more, got {seq}")
    mask: Array = np.triu(np.full((1, 1, seq, seq), value, dtype), 1)
    return mask
