"""Compressed weights: integers with scales, palettes, and sparse values.

``affine``, ``palettize`` and ``sparsify`` compress an array. What they return has ``dequantize()``,
the weight that a program computes with, and ``constexpr(form)``, the MIL operation that expands to
it: its name and operands, in the form of iOS 16 or of iOS 18. ``unpack`` goes the other way.

Every element of ``dequantize()`` equals, bit for bit, what the host engine expands the operation
to: it is computed in float32 and rounded once.
"""

from __future__ import annotations

from .constexpr import Constexpr, Operand
from .masks import SparseWeight, sparsify
from .palettes import PaletteWeight, palettize
from .scales import AffineWeight, affine
from .unpacking import unpack

__all__ = [
    "AffineWeight",
    "Constexpr",
    "Operand",
    "PaletteWeight",
    "SparseWeight",
    "affine",
    "palettize",
    "sparsify",
    "unpack",
]
