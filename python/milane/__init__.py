"""Milane: program the Apple Neural Engine from Python, and run the same programs on any CPU."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING

from . import blob, bridge, cache, errors, half, linear, mil, profile
from ._core import (
    DeviceInfo,
    Diagnostics,
    EvalStats,
    MetalBuffer,
    MetalSharedEvent,
    StepTime,
    TensorLayout,
    cpu_has_bf16,
    cpu_isa,
    num_threads,
    row_stride_for,
    set_num_threads,
)
from .errors import (
    AneError,
    BlobError,
    ClosedError,
    CompileBudgetExhaustedError,
    CompileError,
    DTypeError,
    EvalError,
    InvalidArgumentError,
    MapFailedError,
    MILSyntaxError,
    MILVerifyError,
    ModelFileError,
    ModelLoadError,
    NoANEError,
    UnsupportedError,
    UnsupportedLayoutError,
    UnsupportedOpError,
    UnsupportedSelectorError,
    WaitTimeoutError,
)
from .evaluation import EvalFuture
from .events import SharedEvent, SharedEventEvalOptions
from .graph import Graph, PadFillMode, PadMode
from .kernel import Kernel
from .metal import MetalDevice, open_metal
from .options import CompileOptions, ModelType, QoS, WeightFile
from .pipeline import Pipeline
from .ports import Port, Ports
from .requests import BoundRequest, PooledRequest, RequestPool
from .runtime import QuirkRule, Realtime, Runtime, open, probe, quirk_rules
from .shape import Shape
from .state import StateHandle
from .surface import Surface

if TYPE_CHECKING:
    from . import draw, lint, train

# Imported when they are first asked for: together they are a quarter of the time an import takes.
_LATER = ("draw", "lint", "train")


def __getattr__(name: str) -> ModuleType:
    if name in _LATER:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


try:
    __version__ = version("milane")
except PackageNotFoundError:  # pragma: no cover - run from a source tree
    __version__ = "0+unknown"

__all__ = [
    "AneError",
    "BlobError",
    "BoundRequest",
    "ClosedError",
    "CompileBudgetExhaustedError",
    "CompileError",
    "CompileOptions",
    "DTypeError",
    "DeviceInfo",
    "Diagnostics",
    "EvalError",
    "EvalFuture",
    "EvalStats",
    "Graph",
    "InvalidArgumentError",
    "Kernel",
    "MILSyntaxError",
    "MILVerifyError",
    "MapFailedError",
    "MetalBuffer",
    "MetalDevice",
    "MetalSharedEvent",
    "ModelFileError",
    "ModelLoadError",
    "ModelType",
    "NoANEError",
    "PadFillMode",
    "PadMode",
    "Pipeline",
    "PooledRequest",
    "Port",
    "Ports",
    "QoS",
    "QuirkRule",
    "Realtime",
    "RequestPool",
    "Runtime",
    "Shape",
    "SharedEvent",
    "SharedEventEvalOptions",
    "StateHandle",
    "StepTime",
    "Surface",
    "TensorLayout",
    "UnsupportedError",
    "UnsupportedLayoutError",
    "UnsupportedOpError",
    "UnsupportedSelectorError",
    "WaitTimeoutError",
    "WeightFile",
    "blob",
    "bridge",
    "cache",
    "cpu_has_bf16",
    "cpu_isa",
    "draw",
    "errors",
    "half",
    "linear",
    "lint",
    "mil",
    "num_threads",
    "open",
    "open_metal",
    "probe",
    "profile",
    "quirk_rules",
    "row_stride_for",
    "set_num_threads",
    "train",
]
