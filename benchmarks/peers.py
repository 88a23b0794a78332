"""PyTorch, ONNX Runtime and Milane as variants: same inputs, threads set, outputs allocated."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from measure import COARSE, HALF, Variant

import milane

Array = npt.NDArray[Any]

PRECISIONS = {"fp32": ("float32", HALF), "fp16": ("float16", HALF), "bf16": ("bfloat16", COARSE)}


def optional(name: str) -> Any:
    """A module, or None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def torch_on(threads: int) -> Any:
    """PyTorch with so many threads, or None."""
    torch = optional("torch")
    if torch is not None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        torch.set_grad_enabled(False)
    return torch


class Held:
    """Calls a function and keeps what it returned."""

    def __init__(self, function: Callable[[], Any], to_array: Callable[[Any], Array]) -> None:
        self._function, self._to_array = function, to_array
        self._last: Any = None

    def call(self) -> None:
        """Once."""
        self._last = self._function()

    def result(self) -> Array:
        """Of the last call."""
        return self._to_array(self._last)

    def variant(self, rounding: float = HALF) -> Variant:
        """The two as a variant."""
        return Variant(self.call, self.result, rounding)


def of_kernel(
    kernel: milane.Kernel,
    inputs: Mapping[str, npt.ArrayLike],
    layout: Callable[[Array], Array] = np.asarray,
    every: tuple[str, ...] = (),
    rounding: float = HALF,
) -> Variant:
    """A kernel's evaluation, with its inputs written beforehand.

    The result is its first output; with ``every``, these outputs' elements one after the other.
    """
    for name, value in inputs.items():
        kernel.inputs[name].surface.write(np.asarray(value))
    ports = [kernel.outputs[name] for name in every or list(kernel.outputs)[:1]]

    def result() -> Array:
        arrays = [np.array(port.array, np.float32) for port in ports]
        return np.concatenate([a.ravel() for a in arrays]) if every else layout(arrays[0])

    return Variant(kernel.eval, result, rounding)


def bf16_of_graph(
    runtime: milane.Runtime,
    graph: milane.Graph,
    inputs: Mapping[str, npt.ArrayLike],
    layout: Callable[[Array], Array] = np.asarray,
    name: str = "milane bf16",
) -> dict[str, Variant]:
    """The graph under ``numerics="bf16"``, as one variant; none where the CPU cannot."""
    if not milane.cpu_has_bf16():
        return {}
    kernel = graph.compile(runtime, numerics="bf16")
    return {name: of_kernel(kernel, inputs, layout, rounding=COARSE)}


def torch_variants(
    torch: Any,
    make: Callable[[Any], Callable[[], Any]],
    layout: Callable[[Array], Array] = np.asarray,
    *,
    dtypes: tuple[str, ...] = ("fp32", "fp16", "bf16"),
    compiled: tuple[str, ...] = (),
) -> dict[str, Variant]:
    """``make(dtype)`` gives a function of no arguments; also through torch.compile for some."""
    if torch is None:
        return {}

    def to_array(tensor: Any) -> Array:
        return layout(tensor.detach().float().numpy())

    made = {}
    for name in dtypes:
        kind, rounding = PRECISIONS[name]
        function = make(getattr(torch, kind))
        made[f"PyTorch {name}"] = Held(function, to_array).variant(rounding)
        if name in compiled:
            logging.getLogger("torch").setLevel(logging.ERROR)
            fast = torch.compile(function, dynamic=False)
            made[f"PyTorch {name} compiled"] = Held(fast, to_array).variant(rounding)
    return made


def torch_missing(torch: Any) -> dict[str, str]:
    """The row that says that PyTorch is not here."""
    return {} if torch is not None else {"PyTorch": "not installed"}


class OnnxGraph:
    """An ONNX graph, built operation by operation; values are known by their names."""

    def __init__(self, onnx: Any, dtype: str = "fp32", opset: int = 20) -> None:
        self._onnx, self.opset = onnx, opset
        self.dtype = np.dtype(PRECISIONS[dtype][0])
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0

    def input(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> str:
        """An input of the graph's type, or of another."""
        kind = self.type_number(dtype or self.dtype)
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def type_number(self, dtype: Any) -> int:
        """ONNX's number of a NumPy type."""
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def floats(self, array: npt.ArrayLike) -> str:
        """A constant in the graph's type."""
        return self.constant(np.asarray(array).astype(self.dtype))

    def constant(self, array: npt.ArrayLike) -> str:
        """A constant as it is; lists of Python integers are int64."""
        name = self._name("c")
        value = np.ascontiguousarray(np.asarray(array)).reshape(np.shape(array))
        self._constants.append(self._onnx.numpy_helper.from_array(value, name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operation with one result."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """An operation with several results."""
        names = [self._name(kind) for _ in range(count)]
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def output(self, name: str, dtype: Any = None) -> None:
        """A result of the graph."""
        kind = self.type_number(dtype or self.dtype)
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, kind, None))

    def model(self) -> bytes:
        """The model file."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, "g", self._inputs, self._outputs, initializer=self._constants
        )
        opset = [helper.make_opsetid("", self.opset)]
        data: bytes = helper.make_model(graph, opset_imports=opset, ir_version=10)
        return data.SerializeToString()  # type: ignore[attr-defined, no-any-return]

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


def ort_session(ort: Any, model: bytes, threads: int) -> Any:
    """A session on the CPU with all optimisations and so many threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def ort_variant(
    ort: Any,
    model: bytes,
    threads: int,
    inputs: Mapping[str, Array],
    layout: Callable[[Array], Array] = np.asarray,
    *,
    every: tuple[int, ...] = (),
) -> Variant:
    """A session's run through a binding: inputs and outputs are allocated once.

    The result is its first output; with ``every``, these outputs' elements one after the other.
    """
    session = ort_session(ort, model, threads)
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value))
    held = []
    for port, value in zip(session.get_outputs(), session.run(None, dict(inputs)), strict=True):
        held.append(ort.OrtValue.ortvalue_from_numpy(np.empty_like(value)))
        binding.bind_ortvalue_output(port.name, held[-1])

    def result() -> Array:
        arrays = [held[i].numpy().astype(np.float32) for i in every or (0,)]
        return np.concatenate([a.ravel() for a in arrays]) if every else layout(arrays[0])

    return Variant(lambda: session.run_with_iobinding(binding), result)


def ort_variants(
    threads: int,
    build: Callable[[OnnxGraph], Mapping[str, Array]],
    layout: Callable[[Array], Array] = np.asarray,
    *,
    dtypes: tuple[str, ...] = ("fp32", "fp16"),
    opset: int = 20,
    name: str = "ONNX Runtime",
) -> tuple[dict[str, Variant], dict[str, str]]:
    """The graph that ``build`` makes, which also returns its inputs; and what is missing."""
    ort, onnx = optional("onnxruntime"), optional("onnx")
    if ort is None or onnx is None:
        return {}, {name: "onnxruntime or onnx is not installed"}
    made, missing = {}, {}
    for dtype in dtypes:
        graph = OnnxGraph(onnx, dtype, opset)
        inputs = build(graph)
        try:
            made[f"{name} {dtype}"] = ort_variant(ort, graph.model(), threads, inputs, layout)
        except Exception as error:  # what it refuses is a result
            missing[f"{name} {dtype}"] = f"refused: {str(error)[:120]}"
    return made, missing


@contextlib.contextmanager
def host() -> Any:
    """The host backend."""
    with milane.open("host") as runtime:
        yield runtime
