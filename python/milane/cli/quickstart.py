"""`milane quickstart`: one small program, compiled, checked and timed here."""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import milane
from milane.cli.output import (
    Output,
    add_json_option,
    backend_reason,
    json_number,
    shape_text,
    whole_number,
)
from milane.cli.training_minute import training_minute

Float64 = NDArray[np.float64]

_HALF = 2.0**-11  # largest relative rounding error of an fp16 result
_TINY = 2.0**-25  # largest absolute one, where the result is subnormal
_SINGLE = 2.0**-24  # the same for an fp32 operation


def swiglu_mil(channels: int, hidden: int, length: int) -> str:
    """MIL text of y = W2^T (silu(W1^T x) * W3^T x), a SwiGLU block whose weights are inputs.

    Shapes, with C channels, H hidden, S length: x and y [1, C, 1, S], W1 and W3 [1, C, 1, H],
    W2 [1, H, 1, C]. Input names are in byte order, in which the device numbers them.
    """
    C, H, S = channels, hidden, length
    inputs = {"W1": (1, C, 1, H), "W2": (1, H, 1, C), "W3": (1, C, 1, H), "x": (1, C, 1, S)}
    statements = [
        _const("yes", "bool", "true"),
        _const("no", "bool", "false"),
        *_reshape("up", "W1", (1, 1, C, H)),
        *_reshape("gate", "W3", (1, 1, C, H)),
        *_reshape("down", "W2", (1, 1, H, C)),
        *_reshape("rows", "x", (1, 1, C, S)),
        _op("h1", (1, 1, H, S), "matmul(transpose_x = yes, transpose_y = no, x = up, y = rows)"),
        _op("h3", (1, 1, H, S), "matmul(transpose_x = yes, transpose_y = no, x = gate, y = rows)"),
        _op("sig", (1, 1, H, S), "sigmoid(x = h1)"),
        _op("silu", (1, 1, H, S), "mul(x = h1, y = sig)"),
        _op("h", (1, 1, H, S), "mul(x = silu, y = h3)"),
        _op("out", (1, 1, C, S), "matmul(transpose_x = yes, transpose_y = no, x = down, y = h)"),
        *_reshape("y", "out", (1, C, 1, S)),
    ]
    parameters = ", ".join(f"{_tensor(shape)} {name}" for name, shape in inputs.items())
    body = "".join(f"            {statement}\n" for statement in statements)
    return (
        f"program(1.3)\n{{\n    func main<ios18>({parameters}) {{\n{body}        }} -> (y);\n}}\n"
    )


def _tensor(shape: tuple[int, ...]) -> str:
    return f"tensor<fp16, {shape_text(shape)}>"


def _const(name: str, type_: str, value: str) -> str:
    return f'{type_} {name} = const()[name = string("{name}"), val = {type_}({value})];'


def _op(name: str, shape: tuple[int, ...], call: str) -> str:
    return f'{_tensor(shape)} {name} = {call}[name = string("{name}")];'


def _reshape(name: str, x: str, shape: tuple[int, ...]) -> tuple[str, str]:
    target = _const(f"{name}_shape", f"tensor<int32, [{len(shape)}]>", shape_text(shape))
    return target, _op(name, shape, f"reshape(shape = {name}_shape, x = {x})")


@dataclass(frozen=True)
class Bounded:
    """Exact values, and how far from each a correct fp16 evaluation may be."""

    value: Float64
    error: Float64

    def stored(self) -> Bounded:
        """After one rounding to fp16."""
        size = np.abs(self.value) + self.error
        return Bounded(self.value, self.error + _HALF * size + _TINY)


def _matmul(weight: Bounded, x: Bounded) -> Bounded:
    """weight (K, M), x (K, S) -> weight^T x (M, S): K products summed in fp32, stored as fp16.

    |error| <= |w|^T e_x + e_w^T (|x| + e_x) from the operands, and K u / (1 - K u) times
    (|w| + e_w)^T (|x| + e_x) for a sum in any order (Higham, Accuracy and Stability, 3.1).
    """
    terms = weight.value.shape[0]
    sum_error = terms * _SINGLE / (1 - terms * _SINGLE)
    size = np.abs(weight.value).T @ np.abs(x.value)
    largest = (np.abs(weight.value) + weight.error).T @ (np.abs(x.value) + x.error)
    return Bounded(weight.value.T @ x.value, largest - size + sum_error * largest).stored()


def _mul(a: Bounded, b: Bounded) -> Bounded:
    size = np.abs(a.value * b.value)
    largest = (np.abs(a.value) + a.error) * (np.abs(b.value) + b.error)
    return Bounded(a.value * b.value, largest - size + _SINGLE * largest).stored()


def _sigmoid(x: Bounded) -> Bounded:
    """The slope is at most 1/4; 16 fp32 units allow for the approximation of exp."""
    return Bounded(1 / (1 + np.exp(-x.value)), x.error / 4 + 16 * _SINGLE).stored()


def swiglu_bound(arrays: dict[str, NDArray[np.float16]]) -> Bounded:
    """y (C, S) in float64 from the same fp16 inputs, with the error that fp16 steps may make.

    The bound is carried through op by op: each op's own rounding, plus what its operands bring.
    """
    exact = {}
    for name, array in arrays.items():
        value = array.astype(np.float64).reshape(array.shape[1], array.shape[3])
        exact[name] = Bounded(value, np.zeros_like(value))
    h1 = _matmul(exact["W1"], exact["x"])
    h3 = _matmul(exact["W3"], exact["x"])
    return _matmul(exact["W2"], _mul(_mul(h1, _sigmoid(h1)), h3))


@dataclass(frozen=True)
class Check:
    """One evaluation against float64, and how long it took on this machine."""

    weights: str
    error_ulps: float  # of the largest output value
    error_over_bound: float
    median_us: float

    @property
    def passed(self) -> bool:
        """Whether every element is within its bound (a NaN is not)."""
        return self.error_over_bound <= 1


def _fill(kernel: milane.Kernel, names: tuple[str, ...], rng: np.random.Generator) -> None:
    """Writes random values straight into the kernel's surfaces."""
    for name in names:
        view = kernel.inputs[name].array  # the surface itself, rows padded; no copy
        scale = 1.0 if name == "x" else view.shape[1] ** -0.5
        view[...] = rng.standard_normal(view.shape) * scale


def _check(kernel: milane.Kernel, weights: str, repeats: int = 15) -> Check:
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        kernel.eval()
        times.append((time.perf_counter_ns() - start) / 1e3)
    bound = swiglu_bound({name: np.array(port.array) for name, port in kernel.inputs.items()})
    got = np.array(kernel.outputs["y"].array, dtype=np.float64).reshape(bound.value.shape)
    error = np.abs(got - bound.value)
    unit = float(np.spacing(np.float16(np.abs(bound.value).max())))
    return Check(
        weights=weights,
        error_ulps=float(error.max()) / unit,
        error_over_bound=float((error / bound.error).max()),
        median_us=statistics.median(times),
    )


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `quickstart`."""
    parser = commands.add_parser(
        "quickstart", help="compile, check and time one small program on this machine"
    )
    sizes = {"--channels": (256, "C"), "--hidden": (512, "H"), "--length": (64, "S")}
    for option, (size, letter) in sizes.items():
        text = f"{option[2:]} of the block, 1 to 4096 (default {size})"
        parser.add_argument(option, type=_size, default=size, metavar=letter, help=text)
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the random numbers")
    parser.add_argument("--show-mil", action="store_true", help="print the program's text")
    parser.add_argument(
        "--train",
        nargs="?",
        type=_seconds,
        const=60,
        metavar="SECONDS",
        help="then train a small model for about a minute, and let it write",
    )
    add_json_option(parser)
    parser.set_defaults(handler=_quickstart)


def _size(text: str) -> int:
    return whole_number(text, 1, 4096)


def _seconds(text: str) -> int:
    return whole_number(text, 1, 3600)


def _seed(text: str) -> int:
    return whole_number(text, 0)


def _quickstart(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    text = swiglu_mil(args.channels, args.hidden, args.length)
    if args.show_mil:
        out.text(text)
    rng = np.random.default_rng(args.seed)
    with milane.open() as runtime:
        out.text(f"backend  {backend_reason(runtime)}")
        before = runtime.compile_count  # on the device it is the process's
        # Without the system's cache, which would make it no compile the second time.
        with out.status("compiling"), runtime.compile(text, use_cache=False) as kernel:
            _fill(kernel, ("W1", "W2", "W3", "x"), rng)
            checks = [_check(kernel, "first weights")]
            _fill(kernel, ("W1", "W2", "W3"), rng)
            checks.append(_check(kernel, "new weights, no compile"))
        compiles = runtime.compile_count - before
        passed = all(c.passed for c in checks) and compiles == 1
        _print(out, args, runtime, checks, compiles=compiles, passed=passed)
        payload = {
            "backend": runtime.backend,
            "reason": backend_reason(runtime),
            "compile_count": compiles,
            "shape": {"C": args.channels, "H": args.hidden, "S": args.length},
            "checks": [_json(c, runtime.backend) for c in checks],
            "passed": passed,
        }
        if args.show_mil:
            payload["mil"] = text
        if args.train:
            payload["training"] = training_minute(out, runtime, args.train)
        out.json(payload)
    return 0 if passed else 1


def _print(
    out: Output,
    args: argparse.Namespace,
    runtime: milane.Runtime,
    checks: list[Check],
    *,
    compiles: int,
    passed: bool,
) -> None:
    timed = runtime.backend == "host"  # a device's time is its owner's to publish
    columns = ["weights", "max error (fp16 ulps of max |y|)", "error / bound", "check"]
    rows = [
        [c.weights, f"{c.error_ulps:.2f}", f"{c.error_over_bound:.3f}", _verdict(c)] for c in checks
    ]
    if timed:
        columns.insert(3, "µs per eval (this CPU)")
        for row, check in zip(rows, checks, strict=True):
            row.insert(3, f"{check.median_us:.0f}")
    out.text("program  y = W2ᵀ (silu(W1ᵀ x) · W3ᵀ x), fp16, weights as inputs")
    out.text(f"shape    C={args.channels} H={args.hidden} S={args.length}")
    out.table("against NumPy float64:", columns, rows)
    out.text(f"compile_count {compiles}")
    out.text("all checks passed" if passed else "a check FAILED")


def _verdict(check: Check) -> str:
    return "ok" if check.passed else "FAILED"


def _json(check: Check, backend: str) -> dict[str, object]:
    row: dict[str, object] = {
        "weights": check.weights,
        "max_error_ulps": json_number(check.error_ulps),
        "error_over_bound": json_number(check.error_over_bound),
        "passed": check.passed,
    }
    if backend == "host":
        row["host_median_us"] = check.median_us
    return row
