"""Any thread may call anything: many at once, on both backends. Made to run under TSAN, too."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

import milane

X = np.linspace(-4, 4, 3 * 5, dtype=np.float16).reshape(1, 3, 1, 5)

PROGRAM = """program(1.3)
[buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})]
{
    func main<ios18>(tensor<fp16, [1, 3, 1, 5]> x) {
        tensor<fp16, [1, 3, 1, 5]> w = const()[name = string("w"), val = tensor<fp16, [1, 3, 1, 5]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64(64)))];
        tensor<fp16, [1, 3, 1, 5]> y = mul(x = x, y = w)[name = string("y")];
    } -> (y);
}
"""


def weights(scale: float) -> bytes:
    return milane.blob.build_weight_blob(np.full((1, 3, 1, 5), scale, np.float16))


@pytest.fixture
def opened(backend: str) -> milane.Runtime:
    return milane.open(backend, compile_budget=10**9)  # type: ignore[arg-type]


def in_threads(jobs: list[Callable[[], None]], timeout: float = 120) -> None:
    """Runs the jobs at once and raises the first error any of them met; none may hang."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(jobs))

    def run(job: Callable[[], None]) -> None:
        try:
            start.wait()
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    end = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if errors:
        raise errors[0]


def test_threads_compile_evaluate_and_close_their_own_kernels(opened: milane.Runtime) -> None:
    def job(seed: int) -> None:
        for i in range(6):
            scale = (seed + i) % 4 + 1  # equal programs meet: they share files and cache entries
            with opened.compile(PROGRAM, weight_blob=weights(scale)) as kernel:
                for _ in range(5):
                    assert (kernel(X)["y"] == X * scale).all()

    in_threads([lambda seed=seed: job(seed) for seed in range(8)])


def test_threads_call_one_kernel_and_each_gets_its_own_result(opened: milane.Runtime) -> None:
    with opened.compile(PROGRAM, weight_blob=weights(3)) as kernel:

        def job(seed: int) -> None:
            x = X + np.float16(seed)
            for _ in range(60):
                assert (kernel(x)["y"] == x * 3).all()

        in_threads([lambda seed=seed: job(seed) for seed in range(8)])


def test_weights_reload_while_threads_evaluate(opened: milane.Runtime) -> None:
    with opened.compile(PROGRAM, weight_blob=weights(1)) as kernel:
        stop = threading.Event()

        def evaluate() -> None:
            while not stop.is_set():
                y = kernel(X)["y"]
                # One weight or the other, never a mixture.
                assert any((y == X * scale).all() for scale in (1, 2, 3))

        def reload() -> None:
            try:
                for i in range(10):
                    kernel.reload(weights(i % 3 + 1))
            finally:
                stop.set()

        in_threads([evaluate, evaluate, evaluate, reload])


def test_closing_under_evaluation_is_refused_or_done_and_never_a_crash(
    opened: milane.Runtime,
) -> None:
    for _ in range(20):
        kernel = opened.compile(PROGRAM, weight_blob=weights(2))

        def evaluate(kernel: milane.Kernel = kernel) -> None:
            try:
                while True:
                    kernel.eval()
            except milane.ClosedError:
                pass

        def close(kernel: milane.Kernel = kernel) -> None:
            while not kernel.closed:
                with contextlib.suppress(milane.EvalError):  # another thread evaluates
                    kernel.close()

        in_threads([evaluate, evaluate, close])


def test_events_are_signalled_and_waited_for_across_threads(opened: milane.Runtime) -> None:
    ping, pong = milane.SharedEvent(), milane.SharedEvent()
    rounds = 50
    with opened.compile(PROGRAM, weight_blob=weights(2), route="client") as kernel:
        kernel.inputs["x"].array[...] = X

        def engine() -> None:
            for i in range(1, rounds + 1):
                kernel.eval_bidirectional(ping, i, pong, i, timeout=60)

        def driver() -> None:
            for i in range(1, rounds + 1):
                ping.signal(i)
                assert pong.wait(i, timeout=60)
                assert pong.signaled_value == i

        in_threads([engine, driver])
        assert (kernel.outputs["y"].array == X * 2).all()


def test_real_time_sections_begin_and_end_in_any_thread(opened: milane.Runtime) -> None:
    with opened.compile(PROGRAM, weight_blob=weights(2)) as kernel:

        def job() -> None:
            for _ in range(20):
                with opened.realtime() as section:
                    assert section.granted
                    assert (kernel(X)["y"] == X * 2).all()

        in_threads([job] * 4)


def test_an_event_that_does_not_come_ends_a_wait_in_time() -> None:
    event = milane.SharedEvent()
    start = time.monotonic()
    assert not event.wait(1, timeout=0.05)
    assert time.monotonic() - start >= 0.05
    event.signal(5)
    assert event.wait(5, timeout=0)
    assert event.signaled_value == 5
    again = milane.SharedEvent.from_port(event.port)
    again.signal(9)
    assert event.signaled_value == 9


def test_a_closed_event_says_so() -> None:
    with milane.SharedEvent() as event:
        pass
    for use in (lambda: event.port, lambda: event.signal(1), lambda: event.wait(1)):
        with pytest.raises(milane.ClosedError, match="expected an open event"):
            use()


@pytest.mark.parametrize("value", [-1, 2**64])
def test_an_event_takes_64_bits(value: int) -> None:
    event = milane.SharedEvent()
    with pytest.raises(milane.InvalidArgumentError, match=r"2\*\*64"):
        event.signal(value)


def test_a_port_nobody_has_is_refused() -> None:
    with pytest.raises(milane.InvalidArgumentError, match="port"):
        milane.SharedEvent.from_port(0)
    with pytest.raises(milane.InvalidArgumentError, match="port"):
        milane.SharedEvent.from_port(2**32)


def test_events_of_an_in_memory_kernel_are_refused_on_the_device(opened: milane.Runtime) -> None:
    event = milane.SharedEvent()
    with opened.compile(PROGRAM, weight_blob=weights(2)) as kernel:
        if opened.backend == "host":
            kernel.eval_with_signal_event(event, 1)
            assert event.signaled_value == 1
        else:
            with pytest.raises(milane.UnsupportedError, match="package-backed") as caught:
                kernel.eval_with_signal_event(event, 1)
            assert 'route="client"' in caught.value.hint
            assert event.signaled_value == 0


def test_a_kernel_that_waits_for_an_event_in_vain_ends_in_time(opened: milane.Runtime) -> None:
    wait, signal = milane.SharedEvent(), milane.SharedEvent()
    with opened.compile(PROGRAM, weight_blob=weights(2), route="client") as kernel:
        if opened.backend == "host":
            with pytest.raises(milane.EvalError, match="event to reach 1"):
                kernel.eval_bidirectional(wait, 1, signal, 1, timeout=0.05)
            assert signal.signaled_value == 0
        wait.signal(1)
        kernel.eval_bidirectional(wait, 1, signal, 1, timeout=10)
        assert signal.signaled_value == 1


MATMUL = """program(1.3)
[buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})]
{
    func main<ios18>(tensor<fp16, [1, 3, 1, 5]> x, tensor<fp16, [1, 3, 1, 5]> w) {
        tensor<fp16, [1, 3, 1, 5]> y = mul(x = x, y = w)[name = string("y")];
    } -> (y);
}
"""


def test_evaluations_pools_futures_weight_writes_and_closes_mix(opened: milane.Runtime) -> None:
    """Sixteen threads do everything at once; every number is right, and nothing hangs."""
    seconds = float(os.environ.get("MILANE_SOAK_SECONDS", "3"))
    end = time.monotonic() + seconds
    dynamic = opened.compile_dynamic(MATMUL, 1)
    dynamic.inputs["x"].array[...] = X
    dynamic.write_weight("w", np.full(X.shape, 1, np.float16))
    pool = milane.RequestPool(dynamic, 4)

    def one_weight(y: np.ndarray, x: np.ndarray) -> bool:
        return any((y == x * np.float16(scale)).all() for scale in range(1, 6))

    def write() -> None:
        scale = 0
        while time.monotonic() < end:
            scale = scale % 5 + 1
            dynamic.write_weight_f32("w", np.full(X.shape, scale, np.float32))

    def pooled() -> None:
        while time.monotonic() < end:
            with pool.acquire(timeout=60) as loan:
                loan.inputs["x"].array[...] = X
                loan.eval()
                assert one_weight(loan.outputs["y"].array, X)

    def called() -> None:
        while time.monotonic() < end:
            assert one_weight(dynamic(X)["y"], X)

    def awaited() -> None:
        while time.monotonic() < end:
            for future in [dynamic.eval_async() for _ in range(5)]:
                future.result(timeout=60)

    def compiled() -> None:
        while time.monotonic() < end:
            with opened.compile(PROGRAM, weight_blob=weights(3)) as kernel:
                kernel.eval_async()
                assert (kernel(X)["y"] == X * 3).all()
                with contextlib.suppress(milane.EvalError):
                    kernel.close()

    jobs = [write] * 2 + [pooled] * 5 + [called] * 4 + [awaited] * 2 + [compiled] * 3
    assert len(jobs) == 16
    in_threads(jobs, timeout=seconds + 120)
    pool.close()
    dynamic.close()


HELD_UP = """
import multiprocessing, os, numpy as np, milane
from milane.graph import Graph, ops

def spin():
    while os.getppid() == parent:
        pass

parent = os.getpid()
milane.set_num_threads(2)
w = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float16)
graph = Graph()
graph.output("y", ops.linear(graph.input("x", w.shape), graph.weight("w", w.shape, data=w)))
kernel = graph.compile(milane.open("host"))
kernel.inputs["x"].surface.write(w)
kernel.eval()
expected = np.array(kernel.outputs["y"].array)
busy = multiprocessing.get_context("fork").Process(target=spin, daemon=True)
busy.start()
workers = [int(t) for t in os.listdir("/proc/self/task") if int(t) != parent]
for thread in [*workers, busy.pid]:
    os.sched_setaffinity(thread, {min(os.sched_getaffinity(0))})
for _ in range(300):
    kernel.outputs["y"].array[...] = 0
    kernel.eval()
    assert np.array_equal(kernel.outputs["y"].array, expected)
print(len(workers) > 0)
busy.terminate()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pins single threads to a CPU")
def test_a_worker_that_shares_its_cpu_changes_no_result() -> None:
    """It loses its CPU in the middle of a share, which the caller waits for."""
    done = subprocess.run(
        [sys.executable, "-c", HELD_UP], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
