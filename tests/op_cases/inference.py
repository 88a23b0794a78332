"""What coremltools infers for a case whose operands are all constants: types, and often values."""

from __future__ import annotations

from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.mil import Builder, Function, types

from .case import Array, Case, Typed

# Operations whose inference is wrong or missing there, with what is wrong.
DEVIATIONS = {
    "scatter_along_axis": "its inference ignores the mode",
}
# Cases whose inference is wrong or refused there; the rest of the operation is compared.
_BY_CASE = (
    ("concat: interleaved", "values are joined end to end"),
    ("band_part: infinities", "0 times infinity"),
    ("cast: fp32 beyond", "NumPy's conversion out of range"),
    ("cumsum: rank", "exclusive sums raise TypeError"),
    ("topk: all of them", "-1 drops the last"),
    ("topk: uint", "unsigned values are negated"),
    ("layer_norm: rank 2 over all", "its own default is refused"),
    ("layer_norm: a mean far above", "fp16 arithmetic cancels"),
    ("prelu: rank 3", "slopes must be equal"),
    ("squeeze: an axis that is not one", "the shape is inferred as documented, the value raises"),
    ("flatten2d: axis 1 of a vector", "a float shape"),
    ("quantize: fp16", "fp16 arithmetic moves a tie"),
    ("einsum: ", "two equations are allowed"),
    ("matmul: ", "vectors are refused"),
)


def _is_taken(case: Case) -> bool:
    if case.op in ("einsum", "matmul"):
        operands = case.inputs.get("values") or list(case.inputs.values())
        allowed = case.op == "matmul" or case.params["equation"][:2] in ("nc", "ch")
        return allowed and all(v.ndim > 1 for v in operands)
    if case.op == "cumsum" and not case.params.get("exclusive"):
        return True
    return not any(str(case).startswith(start) for start, _ in _BY_CASE)


def infer(case: Case) -> list[tuple[str, tuple[int, ...], Array | None]] | None:
    """Return dtype, shape and value (None: not inferred) per result; None: not comparable."""
    if not _is_taken(case) or any(isinstance(v, Typed) for v in case.params.values()):
        return None
    arguments: dict[str, Any] = {
        name: v.item() if isinstance(v, np.bool_) else v for name, v in case.arguments().items()
    }
    target = getattr(ct.target, case.opset.replace("ios", "iOS"))
    with Function({}, opset_version=target), np.errstate(all="ignore"):
        found = getattr(Builder, case.op)(**arguments)
    found = found if isinstance(found, tuple | list) else (found,)
    return [
        (
            types.builtin_to_string(v.dtype),
            tuple(int(n) for n in v.shape),
            None if v.val is None else np.asarray(v.val),
        )
        for v in found
    ]
