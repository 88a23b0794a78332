"""Stub of the native submodule `_core.training` (csrc/bindings/bind_training.cpp)."""

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float32]
_Tokens = npt.NDArray[np.int32]

def rmsnorm(out: _Floats, x: _Floats, w: _Floats, eps: float) -> None: ...
def rmsnorm_backward(
    dx: _Floats, dw: _Floats, dy: _Floats, x: _Floats, w: _Floats, eps: float
) -> None: ...
def adam_update(
    w: _Floats,
    g: _Floats,
    m: _Floats,
    v: _Floats,
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    grad_scale: float,
) -> None: ...
def sum_of_squares(x: _Floats) -> float: ...
def product(
    c: _Floats, a: npt.NDArray[np.floating], b: npt.NDArray[np.floating], add: bool
) -> None: ...
def cross_entropy(dlogits: _Floats, logits: _Floats, targets: _Tokens, scale: float) -> float: ...
def embed_lookup(x: _Floats, table: _Floats, tokens: _Tokens) -> None: ...
def embed_backward(gradient: _Floats, dx: _Floats, tokens: _Tokens) -> None: ...
