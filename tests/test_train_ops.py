"""The CPU part of a training step against PyTorch in float64."""

from __future__ import annotations

import numpy as np
import pytest

import milane
from milane.train import ops
from milane.train.weights import AdamState

torch = pytest.importorskip("torch")

SIZES = [(1, 1), (3, 5), (64, 64), (65, 63), (288, 200), (768, 257)]
EPS = float(np.finfo(np.float32).eps)


def double(array: np.ndarray, grad: bool = False) -> torch.Tensor:
    return torch.tensor(array.astype(np.float64), requires_grad=grad)


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def close(got: np.ndarray, expected: torch.Tensor, terms: float, scale: float = 1.0) -> None:
    """Within ``terms`` roundings of float32 at the size of the largest value."""
    want = expected.detach().numpy()
    bound = terms * EPS * max(scale, float(np.abs(want).max()))
    assert np.abs(got - want).max() <= bound


@pytest.mark.parametrize(("d", "s"), SIZES)
def test_rmsnorm_and_its_gradients(d: int, s: int) -> None:
    rng = np.random.default_rng(d * 1000 + s)
    x, w, dy = floats(rng, d, s) * 3, floats(rng, d), floats(rng, d, s)
    tx, tw = double(x, grad=True), double(w, grad=True)
    y = tx * torch.rsqrt(tx.pow(2).mean(0, keepdim=True) + 1e-5) * tw[:, None]
    y.backward(double(dy))
    close(ops.rmsnorm(x, w), y, 8)
    before = floats(rng, d)
    dx, dw = ops.rmsnorm_backward(dy, x, w, dw=before.copy())
    close(dx, tx.grad, 64)
    close(dw, tw.grad + double(before), 64 + s)
    inplace = dy.copy()
    assert ops.rmsnorm_backward(inplace, x, w, dx=inplace)[0] is inplace
    assert np.array_equal(inplace, dx)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("n", [1, 17, 70_000])
def test_adam_is_pytorchs_adamw(n: int, decay: float) -> None:
    rng = np.random.default_rng(n)
    w = floats(rng, n)
    tw = double(w, grad=True)
    optimizer = torch.optim.AdamW([tw], lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=decay)
    state = AdamState.zeros(n)
    for t in range(1, 21):
        g = floats(rng, n)
        tw.grad = double(g) * 0.5
        optimizer.step()
        ops.adam_update(
            w, g, state, t, 1e-2, beta1=0.9, beta2=0.95, weight_decay=decay, grad_scale=0.5
        )
    # One rounding of w and some of the quotient at each of the 20 steps.
    close(w, tw, 20 * 2)


@pytest.mark.parametrize(("v", "s"), [(1, 1), (7, 3), (512, 64), (1000, 65), (32_000, 70)])
def test_cross_entropy_and_its_gradient(v: int, s: int) -> None:
    rng = np.random.default_rng(v + s)
    logits = floats(rng, v, s) * 5
    targets = rng.integers(0, v, s).astype(np.uint16)
    t = double(logits, grad=True)
    loss = torch.nn.functional.cross_entropy(t.T, torch.tensor(targets.astype(np.int64)))
    loss.backward()
    got, dlogits = ops.cross_entropy_loss(logits, targets, scale=4.0)
    # The float32 exponentials of the sum, each within an ulp.
    assert abs(got - loss.item()) <= 64 * EPS * max(1.0, abs(loss.item()))
    close(dlogits, t.grad * 4, 64, scale=0.0)
    inplace = logits.copy()
    assert ops.cross_entropy_loss(inplace, targets, dlogits=inplace, scale=4.0)[0] == got
    assert np.array_equal(inplace, dlogits)


def test_positions_without_a_target_count_for_nothing() -> None:
    rng = np.random.default_rng(3)
    logits = floats(rng, 50, 80)
    targets = rng.integers(0, 50, 80)
    targets[::3] = -1
    t = double(logits, grad=True)
    loss = torch.nn.functional.cross_entropy(t.T, torch.tensor(targets), ignore_index=-1)
    loss.backward()
    got, dlogits = ops.cross_entropy_loss(logits, targets)
    assert abs(got - loss.item()) <= 64 * EPS * loss.item()
    close(dlogits, t.grad, 64, scale=0.0)
    nothing, zeros = ops.cross_entropy_loss(logits, np.full(80, -1))
    assert nothing == 0
    assert not zeros.any()


@pytest.mark.parametrize(("d", "s"), SIZES)
def test_embedding_rows_go_out_and_their_gradients_come_back(d: int, s: int) -> None:
    rng = np.random.default_rng(d + s)
    table, dx = floats(rng, 11, d), floats(rng, d, s)
    tokens = rng.integers(0, 11, s)
    x = ops.embed_lookup(table, tokens)
    assert np.array_equal(x, table[tokens].T)
    t = double(table, grad=True)
    torch.nn.functional.embedding(torch.tensor(tokens), t).T.backward(double(dx))
    gradient = np.zeros_like(table)
    ops.embed_backward(gradient, dx, tokens)
    close(gradient, t.grad, s, scale=0.0)


def test_sums_of_squares_are_those_of_doubles() -> None:
    x = floats(np.random.default_rng(1), 200_001)
    assert ops.sum_of_squares(x) == pytest.approx(
        float((x.astype(np.float64) ** 2).sum()), rel=1e-6
    )


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(9)
    x, w, dy = floats(rng, 300, 500), floats(rng, 300), floats(rng, 300, 500)
    targets = rng.integers(0, 300, 500)
    before = milane.num_threads()
    seen = []
    try:
        for threads in (1, 2, 3):
            milane.set_num_threads(threads)
            loss, dlogits = ops.cross_entropy_loss(x, targets)
            dx, dw = ops.rmsnorm_backward(dy, x, w)
            seen.append((loss, ops.sum_of_squares(x), *map(bytes, (dlogits, dx, dw))))
    finally:
        milane.set_num_threads(before)
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(1, 1, 1), (3, 200, 5), (64, 33, 70), (300, 257, 90), (1, 90, 300), (300, 90, 1)],
)
@pytest.mark.parametrize("dtypes", ["ff", "ee", "ef", "fe"])
def test_products_take_halves_floats_and_any_strides(m: int, k: int, n: int, dtypes: str) -> None:
    rng = np.random.default_rng(m + k + n)
    a = rng.standard_normal((m, k + 3)).astype(dtypes[0])[:, :k]
    b = rng.standard_normal((n, 2 * k)).astype(dtypes[1])[:, ::2].T
    want = a.astype(np.float64) @ b.astype(np.float64)
    # A sum of k products in float32, in any order.
    bound = k * EPS * (np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64))
    got = ops.product(a, b)
    assert (np.abs(got - want) <= bound).all()
    before = floats(rng, m, n)
    added = before.copy()
    assert ops.product(a, b, out=added, add=True) is added
    assert np.array_equal(added, before + got)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, w: ops.rmsnorm(x[0], w), "rmsnorm: expected x of two axes, got shape [4]"),
        (lambda x, w: ops.rmsnorm(x, w[:2]), "expected w of shape [3], got [2]"),
        (lambda x, w: ops.rmsnorm(x[:, ::2], w), "expected x with elements in C order"),
        (lambda x, w: ops.embed_lookup(x, [0, 3]), "expected tokens in [0, 3), got 3 at 1"),
        (lambda x, w: ops.product(x, x), "expected inner sizes that agree, got [3, 4] and [3, 4]"),
        (ops.product, "expected b of two axes, got shape [3]"),
        (lambda x, w: ops.product(x, x.T, out=x), "expected out of shape [3, 3], got [3, 4]"),
        (lambda x, w: ops.embed_lookup(x, [-1]), "expected tokens in [0, 3), got -1 at 0"),
        (lambda x, w: ops.cross_entropy_loss(x, [0, 1]), "expected 4 targets on one axis"),
        (lambda x, w: ops.adam_update(w, w, AdamState.zeros(3), 0, 0.1), "expected t of 1 or more"),
        (lambda x, w: ops.adam_update(w, w, AdamState.zeros(2), 1, 0.1), "expected m of shape [3]"),
    ],
)
def test_arrays_that_do_not_fit_are_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(milane.InvalidArgumentError) as caught:
        call(np.ones((3, 4), np.float32), np.ones(3, np.float32))
    assert message in str(caught.value)


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(milane.DTypeError, match="expected x of float32, got float64"):
        ops.rmsnorm(np.ones((2, 2)), np.ones(2, np.float32))
    with pytest.raises(milane.DTypeError, match="expected targets of integers, got float64"):
        ops.cross_entropy_loss(np.ones((2, 1), np.float32), [0.5])


def test_read_only_arrays_are_not_written() -> None:
    frozen = np.ones(2, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(milane.InvalidArgumentError, match="expected w to be writable"):
        ops.adam_update(frozen, np.ones(2, np.float32), AdamState.zeros(2), 1, 0.1)
