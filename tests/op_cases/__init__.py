"""The cases of every operation: what the host engine computes, and against what it is held."""

from __future__ import annotations

from . import elementwise, indexing, layers, movement, products, reducing
from .case import Case
from .state import STATE_CASES, StateCase

CASES: list[Case] = [
    case
    for family in (elementwise, movement, indexing, reducing, products, layers)
    for case in family.cases()
]

__all__ = ["CASES", "STATE_CASES", "Case", "StateCase"]
