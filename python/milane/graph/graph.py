"""The graph: MIL programs from Python expressions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

import milane
from milane._core import mil as _mil
from milane.errors import DTypeError, InvalidArgumentError
from milane.files import write_text
from milane.graph.backward import gradient
from milane.graph.body import Body, used_by
from milane.graph.constants import INLINE_ELEMENTS
from milane.graph.located import Located
from milane.graph.methods import Methods
from milane.graph.split import Backward, backward
from milane.graph.tensor import Operand, Tensor
from milane.graph.weights import WeightFiles
from milane.mil.program import BUILD_INFO, MILProgram

if TYPE_CHECKING:
    from milane.kernel import Kernel
    from milane.options import QoS
    from milane.runtime import Runtime

Dialect = Literal["ios16", "ios17", "ios18"]

# The language's version for each opset: 1.0 spells scalars in full, and older chips want that
# (ane_facts D 2).
_VERSIONS = {"ios15": "1.0", "ios16": "1.0", "ios17": "1.0", "ios18": "1.3"}


class Graph(Methods):
    """A MIL program in the making.

    Operations are functions of :mod:`milane.graph.ops` over tensors of the graph, the tensors' own
    operators, or methods of the graph; types and shapes are known as soon as each is called, and
    what does not fit raises there, with the caller's file and line. Numbers and arrays may stand
    wherever a tensor may: they become constants.

    >>> graph = milane.Graph()
    >>> x = graph.input("x", (1, 64, 1, 32))
    >>> graph.output("y", ops.relu(x) * 2)
    >>> kernel = graph.compile(milane.open())
    """

    def __init__(self, *, dialect: Dialect = "ios18") -> None:
        """Start a program with an empty function ``main``.

        ``dialect`` is its opset: ``"ios18"`` writes ``program(1.3)``, the others ``program(1.0)``
        with every scalar's type in full, as older chips want it.

        Raises:
            InvalidArgumentError: an unknown dialect.
        """
        if dialect not in _VERSIONS:
            raise InvalidArgumentError(
                f"Graph: expected a dialect of {', '.join(_VERSIONS)}, got {dialect!r}"
            )
        self._dialect = dialect
        self._program = _mil.Program(_VERSIONS[dialect])
        self._program.set_attribute("buildInfo", BUILD_INFO)
        self._files = WeightFiles()
        self._bodies: dict[str, Body] = {}
        self._body = self._new_body("main")

    @property
    def dialect(self) -> str:
        """The opset of the program's functions."""
        return self._dialect

    # Values

    def input(self, name: str, shape: Sequence[int | None], dtype: str = "fp16") -> Tensor:
        """An input of the function; None in the shape is a size known at run time only.

        Raises:
            MILVerifyError: the name is taken, or is none.
            InvalidArgumentError, DTypeError: a size below 1, an unknown dtype.
        """
        return self._body.input(name, _mil.Type.tensor(dtype, shape))

    def state(self, name: str, shape: Sequence[int], dtype: str = "fp16") -> Tensor:
        """A state of the function: ``ops.read_state`` and ``ops.write_state`` take it.

        Raises:
            MILVerifyError: the name is taken, or is none.
        """
        return self._body.input(name, _mil.Type.state(_mil.Type.tensor(dtype, shape)))

    def weight(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "fp16",
        *,
        data: npt.ArrayLike | None = None,
        path: str | None = None,
    ) -> Tensor:
        """A constant in a weight file, whose array may be given here or at ``compile(weights=)``.

        ``path`` is the file; by default each weight has its own, ``@model_path/weights/NAME.bin``.

        Raises:
            MILVerifyError: the name is taken.
            InvalidArgumentError: ``data`` has another shape.
        """
        array = None
        if data is not None:
            with Located(f"weight {name!r}"):
                array = _shaped(name, np.asarray(data), shape)
        where = f"@model_path/weights/{name}.bin" if path is None else path
        return self._body.stored(name, dtype, shape, array, where)

    def constant(
        self,
        data: npt.ArrayLike,
        shape: Sequence[int] | None = None,
        *,
        dtype: str | None = None,
        name: str | None = None,
    ) -> Tensor:
        """A constant with these elements: in the text when it is small, else in the weight file.

        ``shape`` reshapes them. Floats become fp16 and integers int32 unless ``dtype`` says
        otherwise; floats are rounded to the nearest.

        Raises:
            DTypeError: the elements do not convert.
            InvalidArgumentError: as many elements as the shape has were expected.
        """
        array = np.asarray(data)
        if array.dtype.kind not in "fiub":
            raise DTypeError(f"constant: expected numbers, got an array of {array.dtype}")
        if shape is not None:
            array = _shaped("constant", array.reshape(-1), shape, any_shape=True)
        if dtype is None:
            dtype = {"f": "fp16", "b": "bool"}.get(array.dtype.kind, "int32")
        if dtype in ("fp16", "fp32") and array.size > INLINE_ELEMENTS:
            base = name or "constant"
            stored = base if name else self._files.fresh(self._body, base)
            return self._body.stored(stored, dtype, array.shape, array, None)
        value = _mil.Value.from_numpy(array, dtype)
        rounded = value.to_numpy()
        assert isinstance(rounded, np.ndarray)
        return self._body.constant(value, name or self._body.fresh("constant"), rounded)

    # Operations

    def op(self, type: str, /, *, name: str | None = None, **args: Any) -> Tensor:
        """The result of a MIL operation by its name; arguments that are None are left out.

        A number or an array becomes a constant of the type the operation wants, next to tensors of
        that of its partner; a list of tensors is the operation's tuple.

        Raises:
            MILVerifyError: an unknown operation or argument, or shapes and types that do not fit.
            InvalidArgumentError: an operation that came after the dialect, or of several results
                (:meth:`results`).
        """
        return self._body.op(type, name=name, **args)

    def results(self, type: str, /, *, name: str | None = None, **args: Any) -> tuple[Tensor, ...]:
        """All results of a MIL operation, such as ``split``; as :meth:`op`."""
        return self._body.results(type, args, name=name)

    # Gradients

    def gradient(
        self,
        outputs: Tensor | Sequence[Tensor],
        wrt: Sequence[Tensor],
        *,
        output_gradients: Operand | Sequence[Operand] | None = None,
        loss_scale: float = 1.0,
    ) -> tuple[Tensor, ...]:
        """The gradient of the sum of ``outputs`` with respect to each of ``wrt``, as new tensors.

        Their operations are added to the function: see :func:`milane.graph.gradient`, which this
        is, for the arguments.

        Raises:
            UnsupportedError: an operation in between has no gradient; says which, and why.
            InvalidArgumentError: an output depends on none of ``wrt``.
        """
        return gradient(outputs, wrt, output_gradients=output_gradients, loss_scale=loss_scale)

    def backward(self, outputs: Tensor | Sequence[Tensor], wrt: Sequence[Tensor]) -> Backward:
        """The forward and the backward pass of the function as two programs.

        ``wrt`` may hold inputs, weights, constants and results. The graph stays as it is. What the
        backward pass needs of the forward one is returned by it: see :class:`Backward`.

        Raises:
            UnsupportedError: an operation in between has no gradient; says which, and why.
            InvalidArgumentError: an output is no result, or depends on none of ``wrt``.
        """
        return backward(self, [outputs] if isinstance(outputs, Tensor) else outputs, wrt)

    # Functions and outputs

    @contextmanager
    def function(self, name: str) -> Iterator[Graph]:
        """Inputs, operations and outputs inside the ``with`` block belong to this function.

        Functions of one graph share weights; each is compiled by ``compile(function=name)``.
        """
        before = self._body
        self._body = self._bodies.get(name) or self._new_body(name)
        try:
            yield self
        finally:
            self._body = before

    def output(self, name: str, tensor: Tensor) -> Tensor:
        """Make a tensor an output of the function, under this name; outputs keep their order.

        An input, a constant, and a tensor that is an output already are passed on by a
        multiplication by one, since the device takes no output that nothing computes
        (ane_facts D 6).

        Raises:
            MILVerifyError: the name is taken.
            InvalidArgumentError: the tensor is a state, or belongs to another function.
        """
        body = self._body
        with Located(f"output {name!r}"):
            tensor = body._own(tensor)
            if tensor.type.kind != "tensor":
                raise InvalidArgumentError(f"output {name!r}: expected a tensor, got {tensor.type}")
            if name in body.outputs:
                raise InvalidArgumentError(f"output {name!r}: expected a new name, got it again")
        constant = tensor.node is None or tensor.node.type.startswith("constexpr_")
        if constant or tensor in body.outputs.values():
            tensor = passed_on(tensor)
        body.rename(tensor, name)
        body.outputs[name] = tensor
        return tensor

    def program(self, outputs: Mapping[str, Tensor] | None = None) -> MILProgram:
        """The program so far, and the arrays of its weights.

        ``outputs`` names outputs of the current function, as :meth:`output` does. A function for
        which none were named returns every result that nothing uses.

        Raises:
            InvalidArgumentError: a function without operations.
        """
        # A copy, as the functions go on growing. Every operation was verified as it was added.
        return MILProgram(self._assembled(outputs).copy(), self._files.data)

    def _finished(self, outputs: Mapping[str, Tensor] | None = None) -> MILProgram:
        """:meth:`program` without a copy; the graph has no functions afterwards.

        Tensors refer to the graph and the graph to them, so that it would otherwise wait for the
        garbage collector.
        """
        made = MILProgram(self._assembled(outputs), self._files.data)
        for body in self._bodies.values():
            body.clear()
        self._bodies.clear()
        return made

    def _assembled(self, outputs: Mapping[str, Tensor] | None) -> _mil.Program:
        for name, tensor in (outputs or {}).items():
            self.output(name, tensor)
        made = self._program.copy()
        for body in self._bodies.values():
            if body.name == "main" and not body.nodes and not body.inputs and len(self._bodies) > 1:
                continue  # everything is in named functions
            function = body.native.function
            function.outputs = [t.name for t in self._results(body)]
            made.add_function(function)
        return made

    def compile(
        self, runtime: Runtime | None = None, *, qos: QoS | None = None, **options: Any
    ) -> Kernel:
        """A kernel of the program so far; ``runtime`` is by default a new one (:func:`open`).

        ``qos`` and ``options`` are fields of :class:`CompileOptions`; ``weights`` gives arrays for
        weights that have none yet.

        Raises:
            InvalidArgumentError: no array for a weight; a function without operations.
            CompileError: as :meth:`Runtime.compile`, and what else it raises.
        """
        if qos is not None:
            options["qos"] = int(qos)
        return (runtime or milane.open()).compile(self.program(), **options)

    def draw(self, path: str | os.PathLike[str] | None = None, function: str | None = None) -> str:
        """The graph as an SVG picture, also written to ``path`` where one is given.

        Operations are coloured by family, edges carry shapes (:func:`milane.draw.svg`).

        Raises:
            InvalidArgumentError: an unknown function, or one without operations.
            ModelFileError: the file cannot be written.
        """
        picture = milane.draw.svg(self.program().program, function)
        if path is not None:
            write_text(path, picture)
        return picture

    def __str__(self) -> str:
        return str(self.program())

    def __repr__(self) -> str:
        counts = ", ".join(f"{b.name}: {len(b.nodes)} operations" for b in self._bodies.values())
        return f"<milane.Graph {counts}>"

    def _new_body(self, name: str) -> Body:
        self._bodies[name] = Body(self._program, name, self._dialect, self._files)
        return self._bodies[name]

    def _results(self, body: Body) -> list[Tensor]:
        if body.outputs:
            return list(body.outputs.values())
        used = {id(tensor) for tensor in used_by(body.nodes)}
        left = [t for node in body.nodes for t in node.outputs if id(t) not in used]
        if not left:
            raise InvalidArgumentError(
                f"function {body.name}: expected at least one operation, got none\n"
                "hint: graph.output(name, tensor) names a result"
            )
        return left


def passed_on(tensor: Tensor) -> Tensor:
    """The same values as a result of its own."""
    if tensor.dtype in ("fp16", "fp32", "int32"):
        return tensor._body.op("mul", x=tensor, y=1)
    return tensor._body.op("identity", x=tensor)


def _shaped(
    what: str, array: npt.NDArray[Any], shape: Sequence[int], *, any_shape: bool = False
) -> npt.NDArray[Any]:
    fits = array.size == int(np.prod(shape, dtype=np.int64))
    if not fits or not (any_shape or array.shape == tuple(shape)):
        raise InvalidArgumentError(f"{what}: expected shape {list(shape)}, got {list(array.shape)}")
    return array.reshape(tuple(shape))
