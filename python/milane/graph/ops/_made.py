"""Operations that may have no tensor among their operands, and so need to be told their graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milane.graph.body import Body, body_of
from milane.graph.tensor import Tensor

if TYPE_CHECKING:
    from milane.graph.graph import Graph


def body_in(graph: Graph | None, type: str, args: dict[str, Any]) -> Body:
    """The current function of the graph, or that of the tensors among the arguments."""
    return body_of(type, args) if graph is None else graph._body


def apply_in(graph: Graph | None, type: str, name: str | None = None, /, **args: Any) -> Tensor:
    """The single result of an operation."""
    return body_in(graph, type, args).op(type, name=name, **args)
