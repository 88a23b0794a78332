"""Cached matrix products: right, compiled once, tiled where the device wants it."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from milane import _testing
from milane.linear import DynamicLinear, Linear, linear_program
from on_device import refusals

Array = NDArray[Any]


def small(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Small integers: sums of their products are exact in fp16."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


W = small((70, 33), 1)


@pytest.mark.parametrize("kind", [Linear, DynamicLinear])
@pytest.mark.parametrize("batch", [1, 2, 31, 64])
def test_rows_times_rows_are_what_numpy_says(
    runtime: milane.Runtime, kind: Any, batch: int
) -> None:
    x = small((batch, 33))
    with kind(W, runtime=runtime) as layer:
        y = layer(x)
        assert (y.shape, y.dtype) == ((batch, 70), np.float32)
        np.testing.assert_array_equal(y, x @ W.T)
        assert layer(x.astype(np.float16)).dtype == np.float16
        np.testing.assert_array_equal(layer(np.asfortranarray(x, np.float64)), x @ W.T)
        np.testing.assert_array_equal(layer(x.astype(int)), x @ W.T)


def test_floats_are_as_near_as_halves_are(runtime: milane.Runtime) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((16, 256), (128, 256)))
    halves = [torch.from_numpy(a.astype(np.float16).astype(np.float32)) for a in (x, w)]
    wanted = torch.nn.functional.linear(*halves).numpy()
    with Linear(w, runtime=runtime) as fixed, DynamicLinear(w, runtime=runtime) as dynamic:
        for y in (fixed(x), dynamic(torch.from_numpy(x)), fixed(x, torch.from_numpy(w))):
            # One rounding of the result to half, and sums in float32.
            np.testing.assert_allclose(y, wanted, rtol=2**-11, atol=2**-11)


def test_a_kernel_is_compiled_once_for_a_shape_and_weights(runtime: milane.Runtime) -> None:
    with Linear(runtime=runtime) as layer:
        for _ in range(3):
            layer(small((2, 33)), W)
            layer(small((2, 33)), W.astype(np.float64))  # the same halves
        layer(small((3, 33)), W)
        layer(small((3, 33)), -W)
        stats = layer.stats
        assert (stats.hits, stats.misses, stats.compiles, stats.evictions) == (5, 3, 3, 0)
        assert runtime.compile_count <= 3  # the device's cache may have spared some


def test_the_least_recently_used_is_dropped(runtime: milane.Runtime) -> None:
    with Linear(W, runtime=runtime, limit=2) as layer:
        for batch in (1, 2, 1, 3, 1, 2):
            np.testing.assert_array_equal(layer(small((batch, 33))), small((batch, 33)) @ W.T)
        assert layer.stats == milane.linear.LinearStats(2, 4, 4, 2)
        assert "2 of 2 kept" in repr(layer)


def test_rows_of_dynamic_weights_are_replaced_without_a_compile(runtime: milane.Runtime) -> None:
    w, x = W.copy(), small((4, 33))
    with DynamicLinear(w, runtime=runtime) as layer:
        layer.update_rows(0, small((33,), 5))  # before there is a kernel
        w[0] = small((33,), 5)
        layer(x)
        layer(x[:1])
        compiles = layer.stats.compiles
        for rows in ([3, 69, 0], slice(10, 20), -2, np.array([7])):
            w[rows] = small(w[rows].shape, 6)
            layer.update_rows(rows, w[rows])
            for batch in (4, 1):
                np.testing.assert_array_equal(layer(x[:batch]), x[:batch] @ w.T)
        layer.update(-w)
        np.testing.assert_array_equal(layer(x), -x @ w.T)
        np.testing.assert_array_equal(layer.weights, -w)
        assert layer.stats.compiles == compiles == 2


def test_dynamic_weights_outlive_the_kernels_they_came_with(runtime: milane.Runtime) -> None:
    with DynamicLinear(W, runtime=runtime, limit=1) as layer:
        for batch in (1, 2, 3):
            layer.update_rows(batch, np.zeros(33))
            layer(small((batch, 33)))
        w = W.copy()
        w[1:4] = 0
        np.testing.assert_array_equal(layer(small((5, 33))), small((5, 33)) @ w.T)
        assert layer.stats.evictions == 3


class Refusing:
    """A runtime that refuses more output features than `most`."""

    def __init__(self, runtime: milane.Runtime, most: int) -> None:
        self._runtime, self.most, self.tried = runtime, most, list[int]()

    def compile(self, text: str, **options: Any) -> milane.Kernel:
        product = milane.mil.parse(text)["main"].operations[-1]
        width = product.outputs[0].type.shape[-1]
        self.tried.append(width)
        if width > self.most:
            raise milane.CompileError(f"refused: {width}")
        return self._runtime.compile(text, **options)


@pytest.mark.parametrize("kind", [Linear, DynamicLinear])
@pytest.mark.parametrize(
    ("outs", "most", "size"), [(600, 512, 512), (600, 300, 256), (100, 99, 64), (1030, 130, 128)]
)
def test_output_features_are_tiled_where_the_device_refuses_more(
    runtime: milane.Runtime, kind: Any, outs: int, most: int, size: int
) -> None:
    w, x = small((outs, 20), 3), small((3, 20))
    refusing = Refusing(runtime, most)
    with kind(w, runtime=refusing) as layer:
        np.testing.assert_array_equal(layer(x), x @ w.T)
        done = [n for n in refusing.tried if n <= most]
        assert (max(done), sum(done), layer.stats.compiles) == (size, outs, len(done))
        np.testing.assert_array_equal(layer(x), x @ w.T)
        assert len(done) == len([n for n in refusing.tried if n <= most])


def test_dynamic_weights_move_into_smaller_tiles_when_a_batch_needs_them(
    runtime: milane.Runtime,
) -> None:
    w, x = small((600, 20), 3), small((3, 20))
    refusing = Refusing(runtime, 600)
    with DynamicLinear(w, runtime=refusing) as layer:
        layer(x[:1])
        layer.update_rows([0, 599], w[[599, 0]])
        w[[0, 599]] = w[[599, 0]]
        refusing.most = 130
        np.testing.assert_array_equal(layer(x), x @ w.T)
        layer.update_rows(slice(100, 300), -w[100:300])
        w[100:300] *= -1
        np.testing.assert_array_equal(layer(x), x @ w.T)
        np.testing.assert_array_equal(layer(x[:1]), x[:1] @ w.T)
        np.testing.assert_array_equal(layer.weights, w)


@pytest.mark.parametrize("kind", [Linear, DynamicLinear])
def test_what_is_refused_in_every_size_is_an_error(runtime: milane.Runtime, kind: Any) -> None:
    refusing = Refusing(runtime, 0)
    with kind(small((600, 20)), runtime=refusing) as layer:
        with pytest.raises(milane.CompileError, match="refused: 64"):
            layer(small((3, 20)))
        assert refusing.tried == [600, 512, 384, 256, 128, 64]
        refusing.most = 64
        assert layer(small((3, 20))).shape == (3, 600)


@pytest.mark.parametrize("kind", [Linear, DynamicLinear])
def test_arguments_that_do_not_fit_are_refused(runtime: milane.Runtime, kind: Any) -> None:
    with kind(W, runtime=runtime) as layer:
        for x in (small((2, 34)), small((33,)), small((0, 33))):
            with pytest.raises(
                milane.InvalidArgumentError, match=r"x: expected shape \(rows, 33\)"
            ):
                layer(x)
        with pytest.raises(milane.DTypeError, match="expected numbers"):
            layer(np.zeros((2, 33), complex))
    with pytest.raises(milane.ClosedError):
        layer(small((2, 33)))
    with pytest.raises(milane.InvalidArgumentError, match="w: expected shape two axes"):
        kind(small((3,)), runtime=runtime)
    with pytest.raises(milane.InvalidArgumentError, match="a limit of at least 1"):
        kind(W, runtime=runtime, limit=0)


def test_weights_are_given_somewhere(runtime: milane.Runtime) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="expected weights"):
        Linear(runtime=runtime)(small((2, 33)))
    with DynamicLinear(W, runtime=runtime) as layer:
        for rows, values in (([0, 1], W[:3]), (70, W[0]), (0, W[0, :5])):
            with pytest.raises(milane.InvalidArgumentError):
                layer.update_rows(rows, values)
        np.testing.assert_array_equal(layer.weights, W)


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_device_has_nothing_against_the_program(dynamic: bool) -> None:
    assert refusals(linear_program(16, 768, 512, dynamic=dynamic)) == []


def test_a_runtime_of_its_own_is_what_open_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILANE_BACKEND", "host")
    with Linear(W) as layer:
        assert layer.runtime.backend == "host"
        np.testing.assert_array_equal(layer(W[:2]), W[:2] @ W.T)


def test_threads_share_an_operator(runtime: milane.Runtime) -> None:
    wrong: list[object] = []
    with Linear(W, runtime=runtime) as layer:

        def call(batch: int) -> None:
            x = small((batch, 33), batch)
            wrong.extend(batch for _ in range(20) if not (layer(x) == x @ W.T).all())

        threads = [threading.Thread(target=call, args=(1 + i % 3,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert layer.stats.misses == 3
    assert not wrong


def test_nothing_of_an_operator_stays_behind(ane_runtime: milane.Runtime) -> None:
    if not _testing.available():
        pytest.skip("only the emulation counts")

    def once() -> None:
        for kind in (Linear, DynamicLinear):
            with kind(W, runtime=ane_runtime, limit=1) as layer:
                layer(small((1, 33)))
                layer(small((2, 33)))

    once()
    gc.collect()
    before = _testing.live()
    for _ in range(3):
        once()
    gc.collect()
    assert _testing.live() == before
