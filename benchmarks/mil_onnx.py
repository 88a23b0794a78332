"""A MIL program as an ONNX graph, operation by operation: the operations of the benchmark's models.

What is fp16 in the program has the graph's type; fp32 stays fp32. Checked by running both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from peers import OnnxGraph

import milane
from milane import blob

Array = npt.NDArray[Any]

SAME = {
    **{"add": "Add", "sub": "Sub", "mul": "Mul", "real_div": "Div", "pow": "Pow", "abs": "Abs"},
    **{"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "sqrt": "Sqrt", "exp": "Exp"},
}
NUMBERS = {"fp16": np.float16, "fp32": np.float32, "int32": np.int32, "bool": np.bool_}


class Export:
    """One function of a program, its weights below a folder."""

    def __init__(self, graph: OnnxGraph, function: Any, folder: Path) -> None:
        self.g, self._folder = graph, folder
        self._constants: dict[str, Array] = {}
        self._names: dict[str, str] = {}
        self._files: dict[Path, Any] = {}
        types: dict[str, Any] = {}
        for port in function.inputs:
            types[port.name] = port.type
            self._names[port.name] = graph.input(port.name, port.type.shape, self.dtype(port.type))
        for operation in function.operations:
            types |= {o.name: o.type for o in operation.outputs}
            if operation.type == "const":
                self._constants[operation.outputs[0].name] = self._read(operation.value)
                continue
            made = self._operation(operation)
            self._names |= {o.name: n for o, n in zip(operation.outputs, made, strict=False)}
        for name in function.outputs:
            graph.output(self._names[name], self.dtype(types[name]))

    def dtype(self, kind: Any) -> Any:
        """The type of a value in the graph."""
        return self.g.dtype if kind.dtype == "fp16" else NUMBERS[kind.dtype]

    def _read(self, value: Any) -> Array:
        if not value.is_blob:
            return np.asarray(value.to_numpy())
        path = self._folder / value.blob_path.removeprefix("@model_path/")
        file = self._files.setdefault(path, blob.read(path))
        array: Array = np.asarray(file.record_at(value.blob_offset).array)
        return np.asarray(array.reshape(value.type.shape))

    def _operation(self, op: Any) -> list[str]:
        if op.type in SAME:
            names = [self.value(op, a) for a in ("x", "y") if a in op.inputs]
            return [self.g.op(SAME[op.type], *names)]
        method = getattr(self, f"_{op.type}", None)
        if method is None:
            raise NotImplementedError(f"no ONNX form of {op.type}")
        made = method(op)
        return [made] if isinstance(made, str) else made

    # Arguments

    def array(self, op: Any, name: str, otherwise: Any = None) -> Any:
        """A constant argument."""
        if name not in op.inputs:
            return otherwise
        given = [self._constants[a] if isinstance(a, str) else np.asarray(a.to_numpy())
                 for a in op.inputs[name]]  # fmt: skip
        return given[0] if len(given) == 1 else np.array(given)

    def numbers(self, op: Any, name: str, otherwise: Any = None) -> Any:
        """A constant of integers as a list."""
        found = self.array(op, name, otherwise)
        return None if found is None else [int(n) for n in np.atleast_1d(found)]

    def named(self, argument: Any) -> str:
        """A value's name in the graph; constants become the graph's on the way."""
        if not isinstance(argument, str):
            return self._constant(np.asarray(argument.to_numpy()))
        if argument not in self._names:
            self._names[argument] = self._constant(self._constants[argument])
        return self._names[argument]

    def _constant(self, array: Array) -> str:
        return self.g.floats(array) if array.dtype == np.float16 else self.g.constant(array)

    def value(self, op: Any, name: str) -> str:
        """The graph's name of an argument."""
        return self.named(op.inputs[name][0])

    def ints(self, values: Any) -> str:
        """A constant of int64."""
        return self.g.constant(np.asarray(values, np.int64))

    # Operations

    def _silu(self, op: Any) -> str:
        x = self.value(op, "x")
        return self.g.op("Mul", x, self.g.op("Sigmoid", x))

    def _gelu(self, op: Any) -> str:
        exact = str(self.array(op, "mode", "EXACT")) == "EXACT"
        return self.g.op("Gelu", self.value(op, "x"), approximate="none" if exact else "tanh")

    def _cast(self, op: Any) -> str:
        kind = self.dtype(op.outputs[0].type)
        to = self.g.type_number(kind)
        return self.g.op("Cast", self.value(op, "x"), to=to)

    def _softmax(self, op: Any) -> str:
        axis = self.numbers(op, "axis", -1)[0]
        return self.g.op("Softmax", self.value(op, "x"), axis=axis)

    def _transpose(self, op: Any) -> str:
        return self.g.op("Transpose", self.value(op, "x"), perm=self.numbers(op, "perm"))

    def _reshape(self, op: Any) -> str:
        return self.g.op("Reshape", self.value(op, "x"), self.ints(op.outputs[0].type.shape))

    _expand_dims = _squeeze = _reshape

    def _concat(self, op: Any) -> str:
        parts = [self.named(a) for a in op.inputs["values"]]
        return self.g.op("Concat", *parts, axis=self.numbers(op, "axis")[0])

    def _stack(self, op: Any) -> str:
        axis = self.numbers(op, "axis")
        parts = [
            self.g.op("Unsqueeze", self.named(a), self.ints(axis)) for a in op.inputs["values"]
        ]
        return self.g.op("Concat", *parts, axis=axis[0])

    def _split(self, op: Any) -> list[str]:
        axis = self.numbers(op, "axis")[0]
        sizes = [o.type.shape[axis] for o in op.outputs]
        return self.g.ops("Split", len(sizes), self.value(op, "x"), self.ints(sizes), axis=axis)

    def _slice_by_index(self, op: Any) -> str:
        begin, end = self.numbers(op, "begin"), self.numbers(op, "end")
        n = len(begin)
        begin_mask, end_mask = (
            [bool(m) for m in np.atleast_1d(self.array(op, f"{name}_mask", [False] * n))]
            for name in ("begin", "end")
        )
        strides = self.numbers(op, "stride", [1] * n)
        begin = [0 if masked else b for b, masked in zip(begin, begin_mask, strict=True)]
        end = [2**31 - 1 if masked else e for e, masked in zip(end, end_mask, strict=True)]
        x = self.value(op, "x")
        y = self.g.op("Slice", x, *(self.ints(v) for v in (begin, end, list(range(n)), strides)))
        return self.g.op("Reshape", y, self.ints(op.outputs[0].type.shape))

    def _gather(self, op: Any) -> str:
        axis = self.numbers(op, "axis", 0)[0]
        return self.g.op("Gather", self.value(op, "x"), self.value(op, "indices"), axis=axis)

    def _reduce(self, kind: str, op: Any) -> str:
        keep = int(bool(self.array(op, "keep_dims", False)))
        axes = self.ints(self.numbers(op, "axes"))
        return self.g.op(kind, self.value(op, "x"), axes, keepdims=keep)

    def _reduce_mean(self, op: Any) -> str:
        return self._reduce("ReduceMean", op)

    def _reduce_sum(self, op: Any) -> str:
        return self._reduce("ReduceSum", op)

    def _layer_norm(self, op: Any) -> str:
        axes = self.numbers(op, "axes")
        more = [self.value(op, name) for name in ("gamma", "beta") if name in op.inputs]
        epsilon = float(self.array(op, "epsilon", 1e-5))
        return self.g.op(
            "LayerNormalization", self.value(op, "x"), *more, axis=axes[0], epsilon=epsilon
        )

    def _linear(self, op: Any) -> str:
        weight = self._constant(self.array(op, "weight").T)
        y = self.g.op("MatMul", self.value(op, "x"), weight)
        return self.g.op("Add", y, self.value(op, "bias")) if "bias" in op.inputs else y

    def _matmul(self, op: Any) -> str:
        operands = []
        for name in ("x", "y"):
            value = self.value(op, name)
            if bool(self.array(op, f"transpose_{name}", False)):
                rank = self._rank(op.inputs[name][0])
                perm = [*range(rank - 2), rank - 1, rank - 2]
                value = self.g.op("Transpose", value, perm=perm)
            operands.append(value)
        return self.g.op("MatMul", *operands)

    def _rank(self, argument: Any) -> int:
        known = self._constants.get(argument)
        return known.ndim if known is not None else 4

    def _window(self, op: Any, kernel: list[int]) -> dict[str, Any]:
        n = len(kernel)
        found = {
            "kernel_shape": kernel,
            "strides": self.numbers(op, "strides", [1] * n),
        }
        kind = str(self.array(op, "pad_type", "valid"))
        if kind == "custom":
            pad = self.numbers(op, "pad")
            found["pads"] = pad[::2] + pad[1::2]
        elif kind != "valid":
            raise NotImplementedError(f"no ONNX form of pad_type {kind}")
        return found

    def _conv(self, op: Any) -> str:
        weight = self.array(op, "weight")
        kernel = list(weight.shape[2:])
        more = [self.value(op, "bias")] if "bias" in op.inputs else []
        return self.g.op(
            "Conv", self.value(op, "x"), self.value(op, "weight"), *more,
            dilations=self.numbers(op, "dilations", [1] * len(kernel)),
            group=self.numbers(op, "groups", 1)[0], **self._window(op, kernel),
        )  # fmt: skip

    def _max_pool(self, op: Any) -> str:
        kernel = self.numbers(op, "kernel_sizes")
        return self.g.op("MaxPool", self.value(op, "x"), **self._window(op, kernel))

    def _upsample_nearest_neighbor(self, op: Any) -> str:
        factors = [float(self.array(op, f"scale_factor_{n}", 1)) for n in ("height", "width")]
        return self.g.op(
            "Resize", self.value(op, "x"), "",
            self.g.constant(np.array([1, 1, *factors], np.float32)), mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip

    def _lstm(self, op: Any) -> list[str]:
        ih, hh, bias = (self.array(op, n) for n in ("weight_ih", "weight_hh", "bias"))
        hidden = hh.shape[1]

        def gates(a: Array) -> Array:
            # MIL: input, forget, output, cell; ONNX: input, output, forget, cell.
            i, f, o, c = np.split(a, 4)
            return np.concatenate([i, o, f, c])[None]

        both = np.concatenate([gates(bias), np.zeros_like(bias)[None]], axis=1)
        start = [
            self.g.op("Unsqueeze", self.value(op, n), self.ints([0]))
            for n in ("initial_h", "initial_c")
        ]
        y, h, c = self.g.ops(
            "LSTM", 3, self.value(op, "x"), self._constant(gates(ih)), self._constant(gates(hh)),
            self._constant(both), "", *start, hidden_size=hidden,
        )  # fmt: skip
        whole = bool(self.array(op, "output_sequence", False))
        shape = self.ints(op.outputs[0].type.shape)
        first = self.g.op("Reshape", y if whole else h, shape)
        return [first, *(self.g.op("Squeeze", s, self.ints([0])) for s in (h, c))]


def export(graph: OnnxGraph, path: Path, folder: Path) -> Any:
    """The only function of a model.mil; returns it."""
    function = milane.mil.parse(path.read_text(encoding="utf-8")).functions[0]
    Export(graph, function, folder)
    return function
