"""The forward and the backward pass of a function as two programs that share tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milane.errors import AneError, InvalidArgumentError
from milane.graph.backward import differentiated, floats_of
from milane.graph.body import Body, Node
from milane.graph.located import described, placed
from milane.graph.prune import pruned
from milane.graph.tensor import Tensor
from milane.mil.program import MILProgram

if TYPE_CHECKING:
    from milane.graph.graph import Graph

# Made again in the backward pass out of what it takes anyway: to hand over such a result costs more
# than to compute it, and a bool cannot be handed over.
_AGAIN = frozenset(
    [
        "identity",
        "reshape",
        "reshape_like",
        "expand_dims",
        "squeeze",
        "flatten2d",
        "transpose",
        "cast",
        "fill_like",
        "shape",
        "equal",
        "not_equal",
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
        "logical_not",
    ]
)
# Made again where they take nothing but inputs, constants and results that are made again.
_AGAIN_OF_INPUTS = frozenset(
    [
        "slice_by_index",
        "slice_by_size",
        "split",
        "tile",
        "concat",
        "stack",
        "fill",
        "range_1d",
        "reverse",
        "pad",
        "gather",
    ]
)
_NO_PORT = ("bool",)


@dataclass(frozen=True)
class Backward:
    """A function's forward and backward pass, each a program.

    What the backward pass needs of the forward one, its taps, are outputs of the forward program
    and inputs of the backward program under the same names, so that two kernels may share their
    surfaces. Inputs of the function that the backward pass needs are its inputs, too.

    Attributes:
        forward: takes the function's inputs; returns the outputs, then the taps.
        backward: takes the gradients of the outputs, the taps and some of the function's inputs;
            returns the gradients asked for.
        taps: the outputs of the forward program that the backward program takes.
        output_gradients: the input of the backward program for each output's gradient.
        gradients: the output of the backward program for each tensor's gradient.
    """

    forward: MILProgram
    backward: MILProgram
    taps: tuple[str, ...]
    output_gradients: dict[str, str]
    gradients: dict[str, str]


def backward(graph: Graph, outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> Backward:
    """The two programs; see :meth:`milane.Graph.backward`."""
    try:
        body = floats_of(outputs, wrt)
        for tensor in outputs:
            if tensor.node is None:
                raise InvalidArgumentError(
                    f"backward: expected results as outputs, got {tensor!r}, which no operation "
                    "makes"
                )
        return _Split(graph, body).made(list(dict.fromkeys(outputs)), list(dict.fromkeys(wrt)))
    except AneError as error:
        given = described({"outputs": [*outputs], "wrt": [*wrt]})
        raise placed(error, f"backward({given})") from None


class _Split:
    """Rebuilds the values of a function as inputs of another, and its gradient over them."""

    def __init__(self, graph: Graph, body: Body) -> None:
        self.graph = graph
        self.body = body
        self.scratch = type(graph)(dialect=graph.dialect)  # type: ignore[arg-type]
        self.values: dict[Tensor, Tensor] = {}
        function = body.native.function
        self.operations = {o.name: op for op in function.operations for o in op.outputs}

    def made(self, outputs: list[Tensor], wrt: list[Tensor]) -> Backward:
        nodes = list(self._nodes())
        into = self.scratch._body
        names = {y.name: self._new(f"d_{y.name}") for y in outputs}
        seeds = [into.input(names[y.name], y.type) for y in outputs]
        found = differentiated(
            nodes,
            [(self.values[y], dy) for y, dy in zip(outputs, seeds, strict=True)],
            [self.values[w] for w in wrt],
        )
        gradients = {w.name: self._new(f"d_{w.name}") for w in wrt}
        for name, dx in zip(gradients.values(), found, strict=True):
            self.scratch.output(name, dx)
        second = pruned(
            self.scratch._program,
            into.native.function,
            list(gradients.values()),
            self.graph._files.data | self.scratch._files.data,
        )
        given = {t.name for t in self.body.inputs} | set(names.values())
        taps = tuple(name for name in second.inputs if name not in given)
        returned = list(dict.fromkeys([*(y.name for y in outputs), *taps]))
        first = pruned(
            self.graph._program,
            self.body.native.function,
            returned,
            self.graph._files.data,
            keep_inputs=True,
        )
        return Backward(first, second, taps, names, gradients)

    def _new(self, name: str) -> str:
        taken = name in self.scratch._body._taken
        return self.scratch._body.fresh(name) if taken else self.scratch._body.take(name)

    def _nodes(self) -> Iterator[Node]:
        """The function's nodes over tensors of the other one."""
        into = self.scratch._body
        for tensor in self.body.inputs:
            self.values[tensor] = into.input(tensor.name, tensor.type)
        at_hand = set(self.body.inputs)  # inputs, and what is made again of them
        for node in self.body.nodes:
            inputs: dict[str, Tensor | tuple[Tensor, ...]] = {}
            for key, given in node.inputs.items():
                many = given if isinstance(given, tuple) else (given,)
                for tensor in many:
                    if tensor not in self.values:
                        self.values[tensor] = self._constant(tensor)
                        at_hand.add(tensor)
                copies = tuple(self.values[tensor] for tensor in many)
                inputs[key] = copies if isinstance(given, tuple) else copies[0]
            copy = Node(node.type, inputs)
            copy.captured = tuple(self.values[t] for t in node.captured if t in self.values)
            taken = {t for v in node.inputs.values() for t in (v if isinstance(v, tuple) else (v,))}
            if self._is_made_again(node, taken <= at_hand):
                results = self._again(node)
                if taken <= at_hand:
                    at_hand.update(node.outputs)
            else:
                results = tuple(into.input(t.name, t.type) for t in node.outputs)
            copy.outputs = tuple(Tensor(into, t.name, t.type, copy) for t in results)
            self.values.update(zip(node.outputs, copy.outputs, strict=True))
            yield copy

    def _is_made_again(self, node: Node, of_inputs: bool) -> bool:
        if node.captured or not node.outputs:
            return False
        if node.type in _AGAIN or any(t.dtype in _NO_PORT for t in node.outputs if _plain(t)):
            return True
        return of_inputs and (node.type in _AGAIN_OF_INPUTS or node.type.startswith("constexpr_"))

    def _constant(self, tensor: Tensor) -> Tensor:
        operation = self.operations[tensor.name]
        assert operation.value is not None
        return self.scratch._body.constant(operation.value, tensor.name, tensor.value)  # type: ignore[arg-type]

    def _again(self, node: Node) -> tuple[Tensor, ...]:
        """The node's operation in the other function, its results under their names."""
        into = self.scratch._body
        operation = self.operations[node.outputs[0].name]
        attributes = {k: v for k, v in operation.attributes.items() if k != "name"}
        tuples = {key for key, given in node.inputs.items() if isinstance(given, tuple)}
        inputs = {k: v if k in tuples else v[0] for k, v in operation.inputs.items()}
        results = into.native.add(node.type, into.fresh(node.type), inputs, attributes)
        for (made, _), tensor in zip(results, node.outputs, strict=True):
            into.native.rename(made, into.take(tensor.name))
        return node.outputs


def _plain(tensor: Tensor) -> bool:
    return tensor.type.kind == "tensor"
