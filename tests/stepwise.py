"""Checks an engine's intermediate values one operation at a time against float64.

Every operation is evaluated in float64 on the values the *engine* computed for its operands, so
each result is held to the tolerance of one operation, and nothing upstream can blur or excuse it:
not even an overflow, which the next operation must carry on exactly as IEEE says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import reference
from reference.evaluate import _Run
from tolerance import Tolerance, assert_close, exact, reduced, rounded

Array = NDArray[Any]

_SUMS = {"conv", "conv_transpose", "linear", "matmul", "reduce_sum", "reduce_mean", "einsum"}
_MOVES = {
    *(
        "reshape",
        "transpose",
        "squeeze",
        "expand_dims",
        "slice_by_index",
        "slice_by_size",
        "concat",
    ),
    *(
        "stack",
        "split",
        "pad",
        "gather",
        "tile",
        "reverse",
        "max_pool",
        "identity",
        "relu",
        "select",
    ),
    *("abs", "add", "sub", "mul", "real_div", "sqrt", "maximum", "minimum", "cast"),
}


def float_results(program: str) -> list[str]:
    """Names of every floating-point result of the main function, constants left out."""
    function = reference.parse(program).function(None)
    return [
        name
        for op in function.operations
        if op.op != "const"
        for type_, name in op.outputs
        if type_.dtype in ("fp16", "fp32")
    ]


class _Checked(_Run):
    """Evaluates like the reference, but compares and then adopts the engine's values."""

    def __init__(self, program: str, folder: Path, engine: Mapping[str, Array]) -> None:
        function = reference.parse(program).function(None)
        super().__init__(function, folder, {}, reference.unrounded)
        self.engine = engine
        self.checked = 0

    def step(self, operation: Any) -> None:
        super().step(operation)
        if operation.op == "const":
            return
        for type_, name in operation.outputs:
            if name not in self.engine:
                continue
            tolerance = self.tolerance(operation, type_.dtype)
            label = f"line {operation.line}: {operation.op} -> {name}"
            assert_close(self.engine[name], self.values[name], tolerance, type_.dtype, label)
            self.values[name] = self.engine[name].astype(np.float64)
            self.checked += 1

    def tolerance(self, operation: Any, dtype: str) -> Tolerance:
        """The class of one operation, with the magnitude its sums went through."""
        if operation.op in _MOVES:
            # fp32 arithmetic of fp32 operands rounds once as well: exact is the right class.
            return exact.any_zero()
        args = {n: self.resolve(a) for n, a in operation.args.items()}
        if operation.op == "lstm":
            return self._lstm(args)
        if operation.op not in _SUMS:
            largest = max(
                (np.abs(a[np.isfinite(a)]).max(initial=0.0) for a in _floats(args)), default=0.0
            )
            lengths = [a.shape[-1] for a in _floats(args) if a.ndim]
            return (
                reduced(max(lengths, default=1)).of(largest) if "norm" in operation.op else rounded
            )
        wide = {
            n: np.abs(v) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
            for n, v in args.items()
        }
        dtypes = {n: self.dtype_of(a) for n, a in operation.args.items()}
        magnitude = np.asarray(reference.call(operation.op, wide, dtypes)[0])
        return reduced(_length(operation.op, args, magnitude)).of(magnitude)

    def _lstm(self, args: Mapping[str, Any]) -> Tolerance:
        # What the gates add up: |W| |x| + |R| (|h| <= 1) + |b|, over every step of the sequence.
        x, w, r = np.abs(args["x"]), np.abs(args["weight_ih"]), np.abs(args["weight_hh"])
        bias = np.abs(args.get("bias", np.zeros(w.shape[0])))
        sums = (x @ w.T).max() + r.sum(1).max() + bias.max()
        return reduced((w.shape[1] + r.shape[1]) * x.shape[0]).of(float(sums))


def _floats(args: Mapping[str, Any]) -> list[Array]:
    return [a for a in args.values() if isinstance(a, np.ndarray) and a.dtype.kind == "f"]


def _length(op: str, args: Mapping[str, Any], result: Array) -> int:
    if op in ("conv", "linear", "conv_transpose"):
        weight = np.asarray(args["weight"])
        return int(weight.size // weight.shape[0])
    if op == "matmul":
        return int(max(np.shape(args["x"])[-2:] + np.shape(args["y"])[-2:]))
    return int(np.size(args.get("x", 1)) // max(result.size, 1))


def check_every_step(
    program: str, folder: Path, inputs: Mapping[str, Array], engine: Mapping[str, Array]
) -> int:
    """Compare the engine's values by name with float64; return how many were compared."""
    run = _Checked(program, folder, engine)
    run.load(inputs)
    for operation in run.function.operations:
        run.step(operation)
    return run.checked
