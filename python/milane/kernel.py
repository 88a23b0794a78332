"""A compiled program, ready to evaluate."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._core import Diagnostics, MetalBuffer
from .closing import Closing
from .errors import ClosedError, InvalidArgumentError
from .evaluation import Evaluates
from .io import KernelIO
from .metal import MetalDevice
from .mil.program import DEFAULT_WEIGHT_PATH, Weight, blobs
from .options import WeightFile
from .options import weight_files as named_files
from .ports import Ports
from .requests import BoundRequest, chosen_surfaces
from .surface import Surface

Shapes = Mapping[str, tuple[int, ...]]


class Kernel(KernelIO, Evaluates, Closing):
    """A compiled, loaded program with a surface for every input, output and state.

    Made by :meth:`milane.Runtime.compile`. Write inputs through ``kernel.inputs[name].array``,
    call :meth:`eval`, read ``kernel.outputs[name].array``; or call the kernel with arrays. Any
    thread may use it: calls and evaluations of one kernel queue up. Its surfaces are shared, so
    threads that write and read them through views order that among themselves.
    """

    def __init__(
        self,
        session: _core.Session,
        specialise: Callable[[Shapes], Kernel] | None = None,
        flexible: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(session.own)
        self._session = session
        self._specialise = specialise
        self._flexible = flexible
        self._inputs = Ports("input", session.inputs())
        self._outputs = Ports("output", session.outputs())
        self._states = Ports("state", session.states())
        # The stored constants that are given as arrays by name, and those known from the start.
        self._stored: list[Weight] = []
        self._known: Mapping[str, npt.ArrayLike] = {}
        self._call_lock = threading.Lock()  # from the first input written to the last output read

    @property
    def function(self) -> str:
        """The name of the compiled function."""
        return self._session.function

    @property
    def inputs(self) -> Ports:
        """The inputs by name, in declaration order."""
        return self._inputs

    @property
    def outputs(self) -> Ports:
        """The outputs by name, in the order the function returns them."""
        return self._outputs

    @property
    def states(self) -> Ports:
        """The states by name; their surfaces keep their content between evaluations."""
        return self._states

    @property
    def stored_weights(self) -> list[Weight]:
        """The constants in weight files whose arrays were given by name, at the compile."""
        return list(self._stored)

    def bind(
        self,
        inputs: Sequence[Surface] | Mapping[str, Surface] | None = None,
        outputs: Sequence[Surface] | Mapping[str, Surface] | None = None,
    ) -> BoundRequest:
        """Return a request over other surfaces: the set-up is paid once, for all evaluations.

        Surfaces are given in declaration order or by name; names left out, and None, stand for the
        kernel's own. States are the kernel's.

        Raises:
            InvalidArgumentError: a wrong number, an unknown name, or a surface of another backend.
            UnsupportedLayoutError: a surface of another shape, dtype or layout.
            ClosedError: the kernel is closed.
        """
        ins, outs = chosen_surfaces(self._inputs, inputs), chosen_surfaces(self._outputs, outputs)
        own = self._session.bind([s._native for s in ins], [s._native for s in outs])
        return BoundRequest(
            own,
            Ports.over("input", list(self._inputs), ins),
            Ports.over("output", list(self._outputs), outs),
        )

    def make_surface(self, name: str) -> Surface:
        """Return a new surface for :meth:`bind`, zero, in the layout of an input, output or state.

        Raises:
            InvalidArgumentError: nothing has this name.
            ClosedError: the kernel is closed.
        """
        for ports in (self._inputs, self._outputs, self._states):
            if name in ports:
                return Surface._wrap(self._session.make_surface(ports[name].layout))
        known = ", ".join([*self._inputs, *self._outputs, *self._states])
        raise InvalidArgumentError(f"make_surface: expected a name among {known}, got {name}")

    def run(
        self,
        inputs: Sequence[Surface] | Mapping[str, Surface] | None = None,
        outputs: Sequence[Surface] | Mapping[str, Surface] | None = None,
    ) -> None:
        """Bind surfaces, evaluate once, let go: :meth:`bind` for a single evaluation.

        Raises:
            InvalidArgumentError, UnsupportedLayoutError: as :meth:`bind`.
            EvalError, ClosedError: as :meth:`eval`.
        """
        with self.bind(inputs, outputs) as request:
            request.eval()

    def reload(
        self,
        weight_blob: bytes | None = None,
        *,
        weights: Mapping[str, npt.ArrayLike] | None = None,
        weight_path: str = DEFAULT_WEIGHT_PATH,
        weight_files: Mapping[str, bytes | os.PathLike[str]] | Sequence[WeightFile] = (),
    ) -> str:
        """Swap the weights that are baked into the program; return how it was done.

        All weight files of the program are given, as :meth:`Runtime.compile` takes them, or
        arrays by name where the kernel was compiled with ``weights`` (those that the program was
        made with may be left out); surfaces stay.
        ``"donor"``: loaded without a compile, and seen to give other results than before.
        ``"cached"``: these weights had been compiled before, by the system, or on the host into
        :mod:`milane.cache`. ``"compiled"``: neither worked. On an error the old weights stay.

        Raises:
            BlobError, ModelFileError, InvalidArgumentError: as :meth:`Runtime.compile`.
            UnsupportedError: the kernel was compiled from a package.
            CompileBudgetExhaustedError: no compile is left.
            ClosedError: the kernel is closed.
        """
        files = named_files(weight_blob, weight_path, weight_files)
        if weights is not None:
            files.update(blobs(self._stored, {**self._known, **weights}))
        return self._session.reload(model_folder="", files=files)

    @property
    def diagnostics(self) -> Diagnostics:
        """What the device says of the loaded program; all None on the host.

        Raises:
            ClosedError: the kernel is closed.
        """
        return self._session.diagnostics()

    def metal_input_buffer(self, device: MetalDevice, i: int) -> MetalBuffer:
        """Return a Metal buffer over input ``i``, without a copy.

        Raises:
            UnsupportedError: the surface is not an IOSurface (it belongs to the host backend).
            IndexError: no such input.
        """
        return device.buffer(self._inputs[i].surface)

    def metal_output_buffer(self, device: MetalDevice, i: int) -> MetalBuffer:
        """Return a Metal buffer over output ``i``, without a copy.

        Raises:
            UnsupportedError: the surface is not an IOSurface (it belongs to the host backend).
            IndexError: no such output.
        """
        return device.buffer(self._outputs[i].surface)

    def with_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> Kernel:
        """Return the kernel of the same program for other shapes of its flexible inputs.

        Inputs and states left out keep the shape they have here. A kernel is planned once per set
        of shapes, which counts as a compile; the last 32 are kept. Inputs and outputs have surfaces
        of their own; states are shared, unless their shape differs.

        Raises:
            InvalidArgumentError: an unknown name, or a shape the program does not allow.
            ClosedError: this kernel, or its runtime, is closed.
        """
        if self.closed or self._specialise is None:
            raise ClosedError("with_shapes: expected an open kernel, got a closed one")
        own = self._shapes()
        wanted = own | {name: tuple(int(d) for d in shape) for name, shape in shapes.items()}
        return self if wanted == own else self._specialise(wanted)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all inputs and states."""
        return {name: port.shape for name, port in (*self._inputs.items(), *self._states.items())}

    def __call__(
        self, *args: npt.ArrayLike, **kwargs: npt.ArrayLike
    ) -> dict[str, npt.NDArray[Any]]:
        """Evaluate with these inputs; return new dense arrays by output name.

        Every input is given, by name or positionally in declaration order, and converted as
        :meth:`milane.Surface.write` does. An input that the program declares flexible may have
        another shape than the kernel's: then the kernel of :meth:`with_shapes` runs instead.

        Raises:
            InvalidArgumentError: a missing or unknown input, or a shape that does not fit.
            DTypeError: an element type that would lose meaning.
            ClosedError: the kernel that runs is closed.
            EvalError: the program found something wrong in its data (an index out of range).
        """
        values = self._named(args, kwargs)
        kernel = self._for(values)
        with kernel._call_lock:
            with kernel._exclusively():  # from evaluations that other threads ask for
                for name, value in values.items():
                    try:
                        kernel._inputs[name].surface.write(value)
                    except (InvalidArgumentError, TypeError) as error:
                        raise _about_input(name, error) from None
            kernel.eval()
            with kernel._exclusively():
                return {name: port.surface.read() for name, port in kernel._outputs.items()}

    def close(self) -> None:
        """Release the program; idempotent. Views of its surfaces stay valid.

        Raises:
            EvalError: another thread is evaluating the kernel.
        """
        self._session.close()
        self._stop_queue()
        self._specialise = None  # lets go of the kernels for other shapes

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` has been called."""
        return self._session.closed

    def __repr__(self) -> str:
        ins = ", ".join(
            f"{p.name}: {p.layout.dtype} {list(p.shape)}" for p in self._inputs.values()
        )
        outs = ", ".join(
            f"{p.name}: {p.layout.dtype} {list(p.shape)}" for p in self._outputs.values()
        )
        return f"Kernel({self.function}: ({ins}) -> ({outs}))"

    def _named(
        self, args: tuple[npt.ArrayLike, ...], kwargs: dict[str, npt.ArrayLike]
    ) -> dict[str, npt.NDArray[Any]]:
        names = list(self._inputs)
        if len(args) > len(names):
            raise InvalidArgumentError(
                f"call: expected at most {len(names)} inputs ({', '.join(names)}), got {len(args)}"
            )
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names:
                known = ", ".join(names) or "none"
                raise InvalidArgumentError(f"call: expected inputs among {known}, got {name}")
            if name in given:
                raise InvalidArgumentError(f"call: expected input {name} once, got it twice")
            given[name] = value
        missing = [name for name in names if name not in given]
        if missing:
            raise InvalidArgumentError(
                f"call: expected inputs {', '.join(names)}, got none for {', '.join(missing)}"
            )
        return {name: np.asarray(given[name]) for name in names}

    def _for(self, values: Mapping[str, npt.NDArray[Any]]) -> Kernel:
        other = {
            name: value.shape
            for name, value in values.items()
            if name in self._flexible and value.shape != self._inputs[name].shape
        }
        return self.with_shapes(other) if other else self


def _about_input(name: str, error: Exception) -> Exception:
    """The same error, saying which input it is about."""
    renamed = type(error)(f"input {name}: {error}")
    renamed.__dict__.update(error.__dict__)
    return renamed
