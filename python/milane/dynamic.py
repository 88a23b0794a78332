"""Kernels whose weights are parameters of the program: they change without a compile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from . import _core
from ._core import TensorLayout
from ._core import mil as _mil
from .arrays import Array
from .errors import InvalidArgumentError, UnsupportedError
from .kernel import Kernel, Shapes
from .ports import Port, Ports
from .requests import BoundRequest, chosen_surfaces
from .surface import Surface

Strategy = Literal["auto", "inputs", "packed"]
KernelFactory = Callable[[_core.Session, Callable[[Shapes], Kernel], frozenset[str]], Kernel]

_HINT = 'make the weights inputs of their own, behind the others, and use strategy="inputs"'


class DynamicKernel(Kernel):
    """A kernel whose trailing parameters are weights, made by :meth:`Runtime.compile_dynamic`.

    ``inputs`` are the parameters before them. Requests made by :meth:`bind` use the same weights.
    """

    def __init__(
        self,
        session: _core.Session,
        specialise: Callable[[Shapes], Kernel] | None,
        flexible: frozenset[str],
        n_inputs: int,
        shared: tuple[Ports, threading.Lock] | None,
    ) -> None:
        super().__init__(session, specialise, flexible)
        parameters = session.inputs()
        self._inputs = Ports("input", parameters[:n_inputs])
        self._weights = Ports("weight", parameters[n_inputs:])
        if shared:  # with the kernel for the first shapes
            self._weights, self._call_lock = shared
            own = [*(port.surface._native for port in self._inputs.values()), *self._natives()]
            outputs = [surface for _, surface in session.outputs()]
            self._own = session.bind(own, outputs)

    def bind(
        self,
        inputs: Sequence[Surface] | Mapping[str, Surface] | None = None,
        outputs: Sequence[Surface] | Mapping[str, Surface] | None = None,
    ) -> BoundRequest:
        """Return a request over other surfaces for inputs and outputs, and the kernel's weights.

        As :meth:`Kernel.bind`.

        Raises:
            InvalidArgumentError, UnsupportedLayoutError, ClosedError: as :meth:`Kernel.bind`.
        """
        ins, outs = chosen_surfaces(self._inputs, inputs), chosen_surfaces(self._outputs, outputs)
        parameters = [*(surface._native for surface in ins), *self._natives()]
        own = self._session.bind(parameters, [surface._native for surface in outs])
        return BoundRequest(
            own,
            Ports.over("input", list(self._inputs), ins),
            Ports.over("output", list(self._outputs), outs),
        )

    def _natives(self) -> list[_core.Surface]:
        return [port.surface._native for port in self._weights.values()]

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return super()._shapes() | {name: port.shape for name, port in self._weights.items()}


def dynamic_factory(function: _mil.Function, n_inputs: int, strategy: str) -> KernelFactory:
    """What makes the kernels of a function whose parameters after the first ones are weights.

    Raises:
        InvalidArgumentError: no parameter is left to be a weight, a weight is flexible, or there is
            no such strategy.
        UnsupportedError: ``"packed"`` for a program of another form.
    """
    if strategy not in ("auto", "inputs", "packed"):
        raise InvalidArgumentError(
            f'compile_dynamic: expected strategy "auto", "inputs" or "packed", got "{strategy}"'
        )
    parameters = [i for i in function.inputs if i.type.kind != "state"]
    names = ", ".join(i.name for i in parameters) or "none"
    if strategy != "inputs" and (strategy == "packed" or len(parameters) == 1):
        batch = packed_batch(function)
        if batch is not None and n_inputs == 1:
            return lambda session, *_: PackedKernel(session, batch)
    if strategy == "packed":
        error = UnsupportedError(
            "compile_dynamic: expected one input [1, in, 1, batch + out] and one output "
            f"[1, out, 1, batch], got a program of {names}\nhint: {_HINT}"
        )
        error.hint = _HINT
        raise error
    if not 0 <= n_inputs < len(parameters):
        raise InvalidArgumentError(
            f"compile_dynamic: expected n_inputs below the {len(parameters)} parameters ({names}), "
            f"so that those behind them are weights, got {n_inputs}"
        )
    flexible = [i.name for i in parameters[n_inputs:] if None in i.type.shape]
    if flexible:
        raise InvalidArgumentError(
            f"compile_dynamic: expected weights of a fixed shape, got {', '.join(flexible)}"
        )
    return _OverOneSet(n_inputs)


class _OverOneSet:
    """Makes the kernels of one program, one for each set of shapes, over one set of weights."""

    def __init__(self, n_inputs: int) -> None:
        self._n_inputs = n_inputs
        self._shared: tuple[Ports, threading.Lock] | None = None

    def __call__(
        self,
        session: _core.Session,
        specialise: Callable[[Shapes], Kernel],
        flexible: frozenset[str],
    ) -> Kernel:
        kernel = DynamicKernel(session, specialise, flexible, self._n_inputs, self._shared)
        self._shared = kernel._weights, kernel._call_lock
        return kernel


class PackedKernel(Kernel):
    """A kernel whose one input holds activations and weights side by side.

    ``inputs`` has the activations, ``[1, in, 1, batch]``, and ``weights["w"]`` the matrix
    ``[1, in, 1, out]``: parts of one surface, so that neither has raw bytes of its own.
    """

    def __init__(self, session: _core.Session, batch: int) -> None:
        super().__init__(session)
        ((name, native),) = session.inputs()
        weight = "w" if name != "w" else "weight"
        self._inputs = Ports.of("input", [Port(name, SurfacePart(native, 0, batch))])
        self._weights = Ports.of("weight", [Port(weight, SurfacePart(native, batch, None))])

    def bind(
        self,
        inputs: Sequence[Surface] | Mapping[str, Surface] | None = None,
        outputs: Sequence[Surface] | Mapping[str, Surface] | None = None,
    ) -> BoundRequest:
        """Return a request over other surfaces for the outputs.

        Raises:
            UnsupportedError: other surfaces for inputs, which would leave the weights behind.
            InvalidArgumentError, UnsupportedLayoutError, ClosedError: as :meth:`Kernel.bind`.
        """
        ins, outs = chosen_surfaces(self._inputs, inputs), chosen_surfaces(self._outputs, outputs)
        if ins != self.input_surfaces:
            raise UnsupportedError(
                "bind: expected the kernel's own input, which holds the weights as well, "
                f"got another surface\nhint: {_HINT}"
            )
        own = self._session.bind([s._native for s in ins], [s._native for s in outs])
        return BoundRequest(own, self._inputs, Ports.over("output", list(self._outputs), outs))


class SurfacePart(Surface):
    """Columns of a surface, from ``first`` to before ``last``."""

    __slots__ = ()

    def __init__(self, native: _core.Surface, first: int, last: int | None) -> None:
        self._held = native
        self._view = native.view()[..., first:last]

    @property
    def layout(self) -> TensorLayout:
        """Shape, dtype and strides in bytes."""
        return self._native.part_layout(self.array)

    def _write_runs(self, starts: npt.NDArray[np.int64], runs: Array) -> None:
        elements = self.array.flat
        outside = starts[(starts < 0) | (starts > len(elements) - runs.shape[1])]
        if outside.size:
            raise InvalidArgumentError(
                f"surface: expected places in [0, {len(elements)}), got {outside[0]}"
            )
        dense = Surface(runs.shape, self.layout.dtype)  # refuses what this one must not take
        dense.write(runs)
        for start, run in zip(starts, dense.array, strict=True):
            elements[start : start + len(run)] = run

    def _whole(self, what: str) -> _core.Surface:
        raise UnsupportedError(
            f"{what}: expected a surface of its own, got a part of one that holds inputs and "
            "weights\nhint: write values instead of bytes"
        )


def packed_batch(function: _mil.Function) -> int | None:
    """The batch of a packed matrix product (``gen_dynamic_matmul``); None for other programs.

    One input ``[1, in, 1, batch + out]`` and one output ``[1, out, 1, batch]``.
    """
    made = {o.name: o.type.shape for op in function.operations for o in op.outputs}
    shapes = [list(i.type.shape) for i in function.inputs], [made.get(o) for o in function.outputs]
    match shapes:
        case [[[1, int(), 1, int(width)]], [[1, int(out), 1, int(batch)]]] if width == batch + out:
            return batch
    return None
