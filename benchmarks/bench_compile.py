"""How fast is a program compiled: its text through parser, verifier and plan, and its weights?

Text: elementwise operations, 0.25 to 2 MB, in MB/s, which is linear where the rates are equal.
Weights: the matrices of stories110M (219 MB of fp16) against a plain copy of as many bytes. What a
second compile costs with milane.cache is `bench_cache.py`'s question.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bench_cache import stack, weight_bytes
from measure import Case, Options, Variant, main
from peers import Array, host

from milane import Runtime

SIZES = (0.25, 0.5, 1.0, 2.0)  # MB of text


def text_of(size_mb: float) -> str:
    """A chain of operations with names as converters write them."""
    kind = "tensor<fp16, [1, 64, 1, 64]>"
    head = f"program(1.3)\n{{\n    func main<ios18>({kind} x) {{\n"
    lines, size, value, n = [head], len(head), "x", 0
    while size < size_mb * 1e6:
        name = f"layer_{n}_activation_cast_fp16"
        op = ("relu(x = {v})", "add(x = {v}, y = {v})", "sigmoid(x = {v})")[n % 3].format(v=value)
        line = f'            {kind} {name} = {op}[name = string("{name}")];\n'
        lines.append(line)
        size += len(line)
        value, n = name, n + 1
    lines.append(f"        }} -> ({value});\n}}\n")
    return "".join(lines)


def compiled(runtime: Runtime, source: Any) -> tuple[Callable[[], None], Callable[[], Array]]:
    """Compile and close; and what the program computes of zeros, to be compared with itself."""

    def run() -> None:
        runtime.compile(source, use_cache=False).close()

    def result() -> Array:
        with runtime.compile(source, use_cache=False) as kernel:
            for port in kernel.inputs.values():
                port.array[...] = 0
            kernel.eval()
            return np.array(next(iter(kernel.outputs.values())).array, np.float32)

    return run, result


def cases(options: Options) -> Iterator[Case]:
    """Text of several sizes, then weights."""
    with host() as runtime:
        for size in SIZES[:1] if options.short else SIZES:
            text = text_of(size)
            run, result = compiled(runtime, text)
            y = np.zeros((1, 64, 1, 64))
            for line in text.splitlines()[3:-2]:
                y = step(line, y)
            yield Case(f"{size} MB of text", {"milane": Variant(run, result)}, y,
                       # A chain of sums and sigmoids settles: errors do not grow.
                       roundings=8, work=float(len(text)))  # fmt: skip
        if options.short:
            return
        with tempfile.TemporaryDirectory() as scratch:
            path = stack(Path(scratch) / "stack")
            run, result = compiled(runtime, path)
            nbytes = weight_bytes(path)
            source, target = np.ones(nbytes, np.uint8), np.zeros(nbytes, np.uint8)
            yield Case(
                f"{nbytes / 1e6:.0f} MB of weights",
                {
                    "milane": Variant(run, result),
                    "copy of as many bytes": Variant(
                        lambda: np.copyto(target, source), lambda: np.zeros((1, 32000))
                    ),
                },
                np.zeros((1, 32000)),
                limit="copy",
                work=2.0 * nbytes,
                note="read and written once; all weights of zeros give zeros",
            )


def step(line: str, y: Array) -> Array:
    """One line of the text in float64."""
    if "= relu" in line:
        return np.maximum(y, 0)
    return y + y if "= add" in line else np.asarray(1 / (1 + np.exp(-y)))


if __name__ == "__main__":
    main(__doc__ or "", cases)
