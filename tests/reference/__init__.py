"""The independent witness: MIL programs evaluated in float64 with NumPy.

Nothing here imports the package under test, and nothing there imports this.
"""

from .evaluate import call, call_arrays, evaluate, evaluate_steps, to_nearest, unrounded
from .ops import OPS
from .text import parse
from .values import mil_dtype, round_to

__all__ = [
    "OPS",
    "call",
    "call_arrays",
    "evaluate",
    "evaluate_steps",
    "mil_dtype",
    "parse",
    "round_to",
    "to_nearest",
    "unrounded",
]
