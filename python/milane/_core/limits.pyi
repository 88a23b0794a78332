"""Stub of the native submodule `_core.limits` (csrc/bindings/bind_limits.cpp)."""

import numpy as np
import numpy.typing as npt

_Bytes = npt.NDArray[np.uint8]

def multiply_adds(steps: int) -> int: ...
def read(source: _Bytes) -> int: ...
def copy(target: _Bytes, source: _Bytes, streaming: bool = False) -> None: ...
