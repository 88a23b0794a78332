"""What does a step cost, called from Python, through ctypes, and inside a loop in C++?

A program of one operation over 32 elements, with a new input in every step. Then the throughput of
a larger one through pools of several depths, filled and evaluated by as many threads.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import numpy as np
from common import Spread, alternate, markdown, parser, report, time_text

import milane
from milane import bridge

STEPS = 1000
DEPTHS = (1, 2, 8)


def program(channels: int, width: int) -> str:
    """y = x * 2."""
    kind = f"tensor<fp16, [1, {channels}, 1, {width}]>"
    return (
        "program(1.3)\n{\n"
        f"    func main<ios18>({kind} x) {{\n"
        '            fp16 two = const()[name = string("two"), val = fp16(2)];\n'
        f'            {kind} y = mul(x = x, y = two)[name = string("y")];\n'
        "        } -> (y);\n}\n"
    )


def through_ctypes(values: np.ndarray) -> Callable[[], None]:
    """The loop of a user of the C interface: write, evaluate, read."""
    lib = ctypes.CDLL(str(bridge.library_path()))
    size = ctypes.c_size_t * 1
    lib.ane_bridge_compile.restype = ctypes.c_void_p
    text = program(1, 32).encode()
    handle = ctypes.c_void_p(
        lib.ane_bridge_compile(text, len(text), None, 0, 1, size(64), 1, size(64))
    )
    if not handle:
        lib.ane_bridge_last_error.restype = ctypes.c_char_p
        raise SystemExit(lib.ane_bridge_last_error().decode())
    out = np.empty((1, 1, 1, 32), np.float16)
    target = out.ctypes.data_as(ctypes.c_void_p)
    bytes_ = ctypes.c_size_t(64)

    def loop() -> None:
        for value in values:
            lib.ane_bridge_write_input(handle, 0, value.ctypes.data_as(ctypes.c_void_p), bytes_)
            lib.ane_bridge_eval(handle)
            lib.ane_bridge_read_output(handle, 0, target, bytes_)

    return loop


def pool_loop(kernel: milane.Kernel, depth: int, calls: int) -> Callable[[], None]:
    """So many evaluations through a pool, by as many threads as it is deep."""
    pool = milane.RequestPool(kernel, depth)
    shape = kernel.inputs["x"].shape
    values = np.ones(shape, np.float32)

    def work() -> None:
        for _ in range(calls // depth):
            with pool.acquire() as loan:
                loan.inputs["x"].surface.write(values)
                loan.eval()

    def loop() -> None:
        threads = [threading.Thread(target=work) for _ in range(depth)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return loop


def per_step(results: dict[str, Spread], steps: int) -> dict[str, Spread]:
    """Seconds per step, from seconds per loop."""
    return {
        name: Spread(s.median / steps, s.min / steps, s.max / steps, s.rounds)
        for name, s in results.items()
    }


def main() -> None:
    """Measures and prints."""
    args = parser(__doc__ or "").parse_args()
    if args.threads:
        milane.set_num_threads(args.threads)
    values = np.ones((STEPS, 1, 1, 1, 32), np.float16)
    with milane.open("host") as runtime:
        kernel, large = runtime.compile(program(1, 32)), runtime.compile(program(64, 4096))
        x, y = kernel.inputs["x"].array, kernel.outputs["y"].array
        out = np.empty_like(values[0])

        def views() -> None:
            for value in values:
                x[...] = value
                kernel.eval()
                out[...] = y

        def calls() -> None:
            for value in values:
                kernel(value)

        with milane.Pipeline([kernel]) as pipeline:
            results = per_step(
                alternate(
                    {
                        "Pipeline.run, feed and tap": lambda: pipeline.run(
                            STEPS, feed={"x": values}, taps=["y"]
                        ),
                        "kernel.eval_many": lambda: kernel.eval_many(STEPS),
                        "Python loop over views": views,
                        "Python loop of kernel(x)": calls,
                        "ctypes loop of ane_bridge_*": through_ctypes(values),
                    },
                    args.rounds,
                ),
                STEPS,
            )
        pools = per_step(
            alternate({f"pool of depth {d}": pool_loop(large, d, 64) for d in DEPTHS}, args.rounds),
            64,
        )
    base = results["Pipeline.run, feed and tap"].median
    rows = [
        [name, *(time_text(t) for t in (s.median, s.min, s.max)), f"{s.median / base:.2f}"]
        for name, s in results.items()
    ]
    first = pools["pool of depth 1"].median
    rows += [
        [name, *(time_text(t) for t in (s.median, s.min, s.max)), f"{s.median / first:.2f}"]
        for name, s in pools.items()
    ]
    columns = ["step", "median", "min", "max", "against the first of its kind"]
    report("The cost of one step", results | pools, markdown(columns, rows), args.json)


if __name__ == "__main__":
    main()
