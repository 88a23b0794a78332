"""Building programs: tensors, operations over them, and the graph that holds both."""

from milane.graph import nn, ops
from milane.graph.backward import gradient
from milane.graph.graph import Graph
from milane.graph.methods import PadFillMode, PadMode
from milane.graph.split import Backward
from milane.graph.tensor import Operand, Tensor

__all__ = [
    "Backward",
    "Graph",
    "Operand",
    "PadFillMode",
    "PadMode",
    "Tensor",
    "gradient",
    "nn",
    "ops",
]
