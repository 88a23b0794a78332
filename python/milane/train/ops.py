"""The CPU part of a training step, on float32 arrays.

Matrices are channel-first, ``[channels, positions]``, as the programs have them. The loops are
native, use every thread, and sum in an order that does not depend on how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from milane._core import training as _native
from milane.errors import DTypeError, InvalidArgumentError

if TYPE_CHECKING:
    from milane.train.weights import AdamState

Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float16] | npt.NDArray[np.float32]


def rmsnorm(x: Floats, w: Floats, *, eps: float = 1e-5, out: Floats | None = None) -> Floats:
    """``x * w / sqrt(mean(x², channels) + eps)``, in ``out`` when it is given.

    Shapes: x and the result ``[d, s]``, w ``[d]``; float32.

    Raises:
        InvalidArgumentError: shapes that do not go together, or an array that is not C-contiguous.
        DTypeError: an array of another dtype.
    """
    d, s = _matrix("rmsnorm", "x", x)
    _expect("rmsnorm", "w", w, (d,))
    out = np.empty((d, s), np.float32) if out is None else out
    _writable("rmsnorm", "out", out, (d, s))
    _native.rmsnorm(out, x, w, eps)
    return out


def rmsnorm_backward(
    dy: Floats,
    x: Floats,
    w: Floats,
    *,
    eps: float = 1e-5,
    dx: Floats | None = None,
    dw: Floats | None = None,
) -> tuple[Floats, Floats]:
    """The gradients ``(dx, dw)`` of :func:`rmsnorm`; ``dw`` is added to when it is given.

    Shapes: dy, x and dx ``[d, s]``, w and dw ``[d]``; float32. ``dx`` may be ``dy``.

    Raises:
        InvalidArgumentError, DTypeError: as :func:`rmsnorm`.
    """
    d, s = _matrix("rmsnorm_backward", "x", x)
    _expect("rmsnorm_backward", "dy", dy, (d, s))
    _expect("rmsnorm_backward", "w", w, (d,))
    dx = np.empty((d, s), np.float32) if dx is None else dx
    dw = np.zeros(d, np.float32) if dw is None else dw
    _writable("rmsnorm_backward", "dx", dx, (d, s))
    _writable("rmsnorm_backward", "dw", dw, (d,))
    _native.rmsnorm_backward(dx, dw, dy, x, w, eps)
    return dx, dw


def adam_update(
    w: Floats,
    g: Floats,
    state: AdamState,
    t: int,
    lr: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    grad_scale: float = 1.0,
) -> None:
    """One step of Adam in place, ``t`` counting from 1; with ``weight_decay``, of AdamW.

    ``g`` is multiplied by ``grad_scale`` first. Then, as Kingma and Ba (2015) and, for the decay,
    Loshchilov and Hutter (2019) have it: ``m = β1 m + (1 - β1) g``, ``v = β2 v + (1 - β2) g²``,
    ``w -= lr (m / (1 - β1^t)) / (sqrt(v / (1 - β2^t)) + eps) + lr weight_decay w``.

    Shapes: w, g and the moments alike; float32.

    Raises:
        InvalidArgumentError, DTypeError: arrays that do not go together; ``t`` below 1.
    """
    for name, array in (("w", w), ("g", g), ("m", state.m), ("v", state.v)):
        _expect("adam_update", name, array, w.shape)
    for name, array in (("w", w), ("m", state.m), ("v", state.v)):
        _writable("adam_update", name, array, w.shape)
    if t < 1:
        raise InvalidArgumentError(f"adam_update: expected t of 1 or more, got {t}")
    _native.adam_update(w, g, state.m, state.v, t, lr, beta1, beta2, eps, weight_decay, grad_scale)


def cross_entropy_loss(
    logits: Floats,
    targets: npt.ArrayLike,
    *,
    dlogits: Floats | None = None,
    scale: float = 1.0,
) -> tuple[float, Floats]:
    """The mean of ``-log softmax(logits)[target]`` over positions; its gradient times ``scale``.

    Shapes: logits and dlogits ``[vocab, s]`` float32, targets ``[s]`` integers. A negative target
    leaves its position out of the mean. ``dlogits`` may be ``logits`` itself.

    Raises:
        InvalidArgumentError: shapes that do not go together, or a target beyond the vocabulary.
        DTypeError: an array of another dtype.
    """
    vocab, s = _matrix("cross_entropy_loss", "logits", logits)
    chosen = _tokens("cross_entropy_loss", "targets", targets, s, vocab, ignored=True)
    dlogits = np.empty((vocab, s), np.float32) if dlogits is None else dlogits
    _writable("cross_entropy_loss", "dlogits", dlogits, (vocab, s))
    loss = _native.cross_entropy(dlogits, logits, chosen, scale)
    return loss, dlogits


def product(a: Matrix, b: Matrix, *, out: Floats | None = None, add: bool = False) -> Floats:
    """``a @ b``, in ``out`` when it is given, or added to it with ``add``; sums in fp32.

    Shapes: a ``[m, k]``, b ``[k, n]``, of float16 or float32 and of any strides (a surface's view,
    a transpose); the result ``[m, n]`` float32. It uses the host engine's threads: a BLAS with its
    own would fight with them.

    Raises:
        InvalidArgumentError: shapes that do not go together.
        DTypeError: an array of another dtype.
    """
    for name, array in (("a", a), ("b", b)):
        if array.ndim != 2 or 0 in array.shape:
            raise InvalidArgumentError(
                f"product: expected {name} of two axes, got shape {list(array.shape)}"
            )
        if array.dtype not in (np.float16, np.float32):
            raise DTypeError(f"product: expected {name} of float16 or float32, got {array.dtype}")
    if a.shape[1] != b.shape[0]:
        raise InvalidArgumentError(
            f"product: expected inner sizes that agree, got {list(a.shape)} and {list(b.shape)}"
        )
    shape = (a.shape[0], b.shape[1])
    if out is None:
        out = np.zeros(shape, np.float32) if add else np.empty(shape, np.float32)
    _writable("product", "out", out, shape)
    _native.product(out, a, b, add)
    return out


def embed_lookup(table: Floats, tokens: npt.ArrayLike, *, out: Floats | None = None) -> Floats:
    """The tokens' rows of ``table``, channel-first: ``out[:, i] = table[tokens[i]]``.

    Shapes: table ``[vocab, d]`` float32, tokens ``[s]`` integers, the result ``[d, s]``.

    Raises:
        InvalidArgumentError: shapes that do not go together, or a token that is not in the table.
        DTypeError: an array of another dtype.
    """
    vocab, d = _matrix("embed_lookup", "table", table)
    chosen = _tokens("embed_lookup", "tokens", tokens, None, vocab)
    out = np.empty((d, chosen.size), np.float32) if out is None else out
    _writable("embed_lookup", "out", out, (d, chosen.size))
    _native.embed_lookup(out, table, chosen)
    return out


def embed_backward(dtable: Floats, dx: Floats, tokens: npt.ArrayLike) -> None:
    """Add the gradient of :func:`embed_lookup` to ``dtable``, equal tokens in their own order.

    Shapes: dtable ``[vocab, d]``, dx ``[d, s]`` float32, tokens ``[s]`` integers.

    Raises:
        InvalidArgumentError, DTypeError: as :func:`embed_lookup`.
    """
    d, s = _matrix("embed_backward", "dx", dx)
    vocab = _matrix("embed_backward", "dtable", dtable)[0]
    _writable("embed_backward", "dtable", dtable, (vocab, d))
    _native.embed_backward(dtable, dx, _tokens("embed_backward", "tokens", tokens, s, vocab))


def sum_of_squares(x: Floats) -> float:
    """``sum(x²)`` in double precision; x of any shape, float32."""
    _expect("sum_of_squares", "x", x, x.shape)
    return _native.sum_of_squares(x)


def _matrix(where: str, name: str, array: Floats) -> tuple[int, int]:
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        got = list(np.shape(array))
        raise InvalidArgumentError(f"{where}: expected {name} of two axes, got shape {got}")
    _expect(where, name, array, array.shape)
    return array.shape[0], array.shape[1]


def _expect(where: str, name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        got = getattr(array, "dtype", type(array).__name__)
        raise DTypeError(f"{where}: expected {name} of float32, got {got}")
    if array.shape != shape:
        raise InvalidArgumentError(
            f"{where}: expected {name} of shape {list(shape)}, got {list(array.shape)}"
        )
    if array.size == 0 or not array.flags.c_contiguous:
        what = "no elements" if array.size == 0 else f"strides {array.strides}"
        raise InvalidArgumentError(
            f"{where}: expected {name} with elements in C order, got {what}\n"
            "hint: np.ascontiguousarray makes such an array"
        )


def _writable(where: str, name: str, array: Floats, shape: tuple[int, ...]) -> None:
    _expect(where, name, array, shape)
    if not array.flags.writeable:
        raise InvalidArgumentError(f"{where}: expected {name} to be writable, got a read-only one")


def _tokens(
    where: str,
    name: str,
    given: npt.ArrayLike,
    count: int | None,
    vocab: int,
    *,
    ignored: bool = False,
) -> npt.NDArray[np.int32]:
    tokens = np.asarray(given)
    if tokens.dtype.kind not in "iu":
        raise DTypeError(f"{where}: expected {name} of integers, got {tokens.dtype}")
    if tokens.ndim != 1 or tokens.size == 0 or (count is not None and tokens.size != count):
        raise InvalidArgumentError(
            f"{where}: expected {count or 'some'} {name} on one axis, "
            f"got shape {list(tokens.shape)}"
        )
    least, most = int(tokens.min()), int(tokens.max())
    if most >= vocab or (least < 0 and not ignored):
        at = int(tokens.argmax()) if most >= vocab else int(tokens.argmin())
        raise InvalidArgumentError(
            f"{where}: expected {name} in [0, {vocab}), got {int(tokens[at])} at {at}"
        )
    return np.ascontiguousarray(tokens, dtype=np.int32)
