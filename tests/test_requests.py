"""Requests over other surfaces, pools of them, and evaluations in threads of their own."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import milane

X = np.linspace(-3, 3, 14, dtype=np.float16).reshape(1, 2, 1, 7)

PROGRAM = """program(1.3)
[buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})]
{
    func main<ios18>(tensor<fp16, [1, 2, 1, 7]> x, tensor<fp16, [1, 2, 1, 7]> a) {
        tensor<fp16, [1, 2, 1, 7]> y = mul(x = x, y = a)[name = string("y")];
    } -> (y);
}
"""


@pytest.fixture
def kernel(backend: str) -> Iterator[milane.Kernel]:
    with (
        milane.open(backend, compile_budget=10**9) as runtime,  # type: ignore[arg-type]
        runtime.compile(PROGRAM) as made,
    ):
        made.inputs["x"].array[...] = X
        made.inputs["a"].array[...] = 2
        yield made


def like(port: milane.Port, kernel: milane.Kernel) -> milane.Surface:
    """Another surface for a port, of the kernel's own backend."""
    return milane.Surface._wrap(kernel._session.make_surface(port.layout))


# --- bound requests


def test_a_bound_request_reads_and_writes_the_surfaces_it_was_given(kernel: milane.Kernel) -> None:
    x, y = like(kernel.inputs["x"], kernel), like(kernel.outputs["y"], kernel)
    x.array[...] = 5
    with kernel.bind({"x": x}, [y]) as request:
        assert list(request.inputs) == ["x", "a"]
        assert request.inputs["x"].surface._native is x._native
        request.eval()
        assert (y.array == 10).all()
        x.array[...] = 6
        request.eval_many(3)
        assert (request.outputs["y"].array == 12).all()
        assert request.eval_with_stats().wall_ns > 0
        assert (kernel.outputs["y"].array == 0).all()  # the kernel's own was not touched
    with pytest.raises(milane.ClosedError, match="expected an open request"):
        request.eval()
    kernel.eval()
    assert (kernel.outputs["y"].array == X * 2).all()


def test_run_binds_evaluates_and_lets_go(kernel: milane.Kernel) -> None:
    y = like(kernel.outputs["y"], kernel)
    kernel.run(outputs=[y])
    assert (y.array == X * 2).all()


def test_two_kernels_share_a_surface(kernel: milane.Kernel) -> None:
    kernel.eval()
    with kernel.bind({"x": kernel.outputs["y"].surface}, [like(kernel.outputs["y"], kernel)]) as on:
        on.eval()
        assert (on.outputs["y"].array == X * 4).all()


def test_what_cannot_be_bound_is_refused(kernel: milane.Kernel, backend: str) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="inputs among x, a, got z"):
        kernel.bind({"z": kernel.inputs["x"].surface})
    with pytest.raises(milane.InvalidArgumentError, match=r"2 inputs \(x, a\), got 1"):
        kernel.bind([kernel.inputs["x"].surface])
    with pytest.raises(milane.UnsupportedLayoutError, match="x: expected fp16"):
        kernel.bind({"x": milane.Surface([1, 2, 1, 8])})
    kernel.close()
    with pytest.raises(milane.ClosedError):
        kernel.bind()


def test_a_bound_request_uses_reloaded_weights(backend: str) -> None:
    text = PROGRAM.replace(
        "tensor<fp16, [1, 2, 1, 7]> x, tensor<fp16, [1, 2, 1, 7]> a) {",
        'tensor<fp16, [1, 2, 1, 7]> x) { tensor<fp16, [1, 2, 1, 7]> a = const()[name = string("a"), val = tensor<fp16, [1, 2, 1, 7]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64(64)))];',
    )

    def blob(scale: int) -> bytes:
        return milane.blob.build_weight_blob(np.full(X.shape, scale, np.float16))

    with (
        milane.open(backend, compile_budget=10**9) as runtime,  # type: ignore[arg-type]
        runtime.compile(text, weight_blob=blob(2)) as kernel,
        kernel.bind(outputs=[like(kernel.outputs["y"], kernel)]) as request,
    ):
        kernel.inputs["x"].array[...] = X
        request.eval()
        assert (request.outputs["y"].array == X * 2).all()
        kernel.reload(blob(3))
        request.eval()
        assert (request.outputs["y"].array == X * 3).all()


def test_closing_the_kernel_ends_its_requests(kernel: milane.Kernel) -> None:
    request = kernel.bind()
    kernel.close()
    with pytest.raises(milane.ClosedError, match="expected an open kernel"):
        request.eval()
    request.close()


def test_eval_many_refuses_a_negative_number(kernel: milane.Kernel) -> None:
    kernel.eval_many(0)
    with pytest.raises(milane.InvalidArgumentError, match="0 times or more"):
        kernel.eval_many(-1)


# --- futures


def test_a_future_ends_when_the_evaluation_has(kernel: milane.Kernel) -> None:
    future = kernel.eval_async()
    assert future.result(timeout=60) is None
    assert (kernel.outputs["y"].array == X * 2).all()


def test_a_future_can_be_awaited(kernel: milane.Kernel) -> None:
    async def main() -> None:
        await asyncio.gather(*(kernel.eval_async() for _ in range(5)))
        await kernel.eval_async(direct=True)

    asyncio.run(main())
    assert (kernel.outputs["y"].array == X * 2).all()


def test_evaluations_of_a_kernel_keep_their_order(kernel: milane.Kernel) -> None:
    seen: list[int] = []
    futures = [
        kernel.eval_async_with_callback(lambda error, i=i: seen.append(i)) for i in range(100)
    ]
    for future in futures:
        future.result(timeout=60)
    assert seen == list(range(100))


def test_a_future_that_has_not_started_can_be_cancelled(kernel: milane.Kernel) -> None:
    started, release = threading.Event(), threading.Event()

    def hold(error: BaseException | None) -> None:
        started.set()
        release.wait(60)

    first = kernel.eval_async_with_callback(hold)
    assert started.wait(60)
    second = kernel.eval_async()
    assert second.cancel()
    assert not first.cancel()
    release.set()
    first.result(timeout=60)
    assert second.cancelled()
    assert kernel.eval_async().result(timeout=60) is None


def test_a_callback_runs_in_another_thread_and_gets_the_error(kernel: milane.Kernel) -> None:
    got: list[tuple[int, BaseException | None]] = []

    def note(error: BaseException | None) -> None:
        got.append((threading.get_ident(), error))

    kernel.eval_async_with_callback(note).result(timeout=60)
    kernel.close()
    failed = kernel.eval_async_with_callback(note)
    with pytest.raises(milane.ClosedError):
        failed.result(timeout=60)
    (thread, nothing), (_, error) = got
    assert thread != threading.get_ident()
    assert nothing is None
    assert isinstance(error, milane.ClosedError)


def test_an_exception_in_a_callback_is_logged_and_kept(
    kernel: milane.Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(error: BaseException | None) -> None:
        raise RuntimeError("of the callback")

    with caplog.at_level(logging.ERROR, logger="milane"):
        future = kernel.eval_async_with_callback(fail)
        with pytest.raises(RuntimeError, match="of the callback"):
            future.result(timeout=60)
    assert "callback" in caplog.text
    assert kernel.eval_async().result(timeout=60) is None


def test_an_abandoned_future_leaves_nothing(kernel: milane.Kernel, backend: str) -> None:
    with milane.open(backend, compile_budget=10**9) as runtime:  # type: ignore[arg-type]
        lost = runtime.compile(PROGRAM)
        lost.eval_async()
        gone = weakref.ref(lost)
        del lost
        end = time.monotonic() + 30
        while gone() is not None and time.monotonic() < end:
            gc.collect()
            time.sleep(0.01)
        assert gone() is None


def test_the_interpreter_exits_with_evaluations_under_way(backend: str) -> None:
    script = f"""
import milane
runtime = milane.open({backend!r})
kernel = runtime.compile({PROGRAM!r})
pool = milane.RequestPool(kernel, 3)
loan = pool.acquire()
for _ in range(1000):
    kernel.eval_async()
kernel.eval_async_with_callback(lambda error: 1 / 0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Fatal" not in ended.stderr


# --- pools


def test_a_pool_lends_requests_with_surfaces_of_their_own(kernel: milane.Kernel) -> None:
    with milane.RequestPool(kernel, 3) as pool:
        loans = [pool.acquire() for _ in range(3)]
        for i, loan in enumerate(loans):
            loan.inputs["x"].array[...] = i
            loan.inputs["a"].array[...] = 10
        for loan in loans:
            loan.eval()
        assert [float(loan.outputs["y"].array[0, 0, 0, 0]) for loan in loans] == [0, 10, 20]
        for loan in loans:
            loan.release()
            loan.release()


def test_a_pool_waits_for_a_free_request(kernel: milane.Kernel) -> None:
    with milane.RequestPool(kernel, 1) as pool:
        loan = pool.acquire()
        start = time.monotonic()
        with pytest.raises(milane.WaitTimeoutError, match="free within"):
            pool.acquire(timeout=0.05)
        assert time.monotonic() - start >= 0.05
        threading.Timer(0.05, loan.release).start()
        with pool.acquire(timeout=60) as second:
            second.eval()
        with pytest.raises(milane.ClosedError, match="given back"):
            second.eval()
        with pytest.raises(milane.ClosedError, match="given back"):
            _ = loan.inputs


def test_closing_a_pool_wakes_who_waits_and_ends_loans(kernel: milane.Kernel) -> None:
    pool = milane.RequestPool(kernel, 1)
    loan = pool.acquire()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            pool.acquire()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    pool.close()
    pool.close()
    thread.join(60)
    assert isinstance(errors[0], milane.ClosedError)
    with pytest.raises(milane.ClosedError):
        loan.eval()
    loan.release()
    with pytest.raises(milane.ClosedError):
        pool.acquire()


@pytest.mark.parametrize("depth", [0, 128, -1])
def test_a_pool_has_1_to_127_requests(depth: int, kernel: milane.Kernel) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="1 to 127"):
        milane.RequestPool(kernel, depth)


def test_a_pool_as_deep_as_the_device_allows_works(kernel: milane.Kernel) -> None:
    with milane.RequestPool(kernel, 127) as pool:
        loans = [pool.acquire() for _ in range(127)]
        for loan in loans:
            loan.eval()
            loan.release()


def test_threads_share_a_pool(kernel: milane.Kernel) -> None:
    errors: list[BaseException] = []
    with milane.RequestPool(kernel, 3) as pool:

        def work(seed: int) -> None:
            try:
                for i in range(40):
                    with pool.acquire(timeout=60) as loan:
                        loan.inputs["x"].array[...] = seed + i
                        loan.inputs["a"].array[...] = 3
                        loan.eval()
                        assert (loan.outputs["y"].array == (seed + i) * 3).all()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert not errors


def test_a_million_evaluations_leave_memory_as_it_was(kernel: milane.Kernel) -> None:
    kernel.eval_many(100_000)
    before = resident_bytes()
    kernel.eval_many(1_000_000)
    # An evaluation that lost a single word would lose 8 MB.
    assert resident_bytes() - before < 4_000_000
    assert (kernel.outputs["y"].array == X * 2).all()


def resident_bytes() -> int:
    """The memory this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        pytest.skip("only Linux says how much memory a process holds now")
    return pages * os.sysconf("SC_PAGE_SIZE")
