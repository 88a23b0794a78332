"""A compiled program, ready to evaluate."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._core import Diagnostics, EvalStats, MetalBuffer, TensorLayout
from .errors import ClosedError, InvalidArgumentError
from .events import SharedEvent, SharedEventEvalOptions, timeout_ns
from .metal import MetalDevice
from .options import DEFAULT_WEIGHT_PATH, WeightFile
from .options import weight_files as named_files
from .surface import Surface

Shapes = Mapping[str, tuple[int, ...]]


class Port:
    """One named input, output or state of a kernel, with the surface behind it."""

    __slots__ = ("name", "surface")

    def __init__(self, name: str, surface: Surface) -> None:
        self.name = name
        self.surface = surface

    @property
    def array(self) -> npt.NDArray[Any]:
        """A writable, strided NumPy view of the surface, no copy."""
        return self.surface.array

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's dimensions."""
        return self.surface.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of ``array``."""
        return self.surface.dtype

    @property
    def layout(self) -> TensorLayout:
        """Strides and sizes of the surface."""
        return self.surface.layout

    def __repr__(self) -> str:
        return f"Port('{self.name}', {self.layout.dtype} {list(self.shape)})"


class Ports(Mapping[str, Port]):
    """Ports by name, in the order the function declares them; ``ports[0]`` works too."""

    __slots__ = ("_by_name", "_kind", "_ordered")

    def __init__(self, kind: str, ports: list[tuple[str, _core.Surface]]) -> None:
        self._kind = kind
        self._ordered = [Port(name, Surface._wrap(surface)) for name, surface in ports]
        self._by_name = {port.name: port for port in self._ordered}

    def __getitem__(self, key: str | int) -> Port:
        if isinstance(key, int):
            return self._ordered[key]
        try:
            return self._by_name[key]
        except KeyError:
            known = ", ".join(self._by_name) or "none"
            raise KeyError(f"expected one of the {self._kind}s {known}, got {key!r}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._ordered)

    def __repr__(self) -> str:
        return f"Ports({self._ordered})"


class Kernel:
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
        self._session = session
        self._specialise = specialise
        self._flexible = flexible
        self._inputs = Ports("input", session.inputs())
        self._outputs = Ports("output", session.outputs())
        self._states = Ports("state", session.states())
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

    def eval(self, *, direct: bool = False, timeout: float | None = None) -> None:
        """Run the program once over the kernel's own surfaces, without the GIL.

        On the device, ``direct`` takes the path that skips one hop of its services, and ``timeout``
        waits at most so many seconds for the completion handler. The host has one path, evaluates
        in the calling thread, and never times out.

        Raises:
            ClosedError: the kernel is closed.
            EvalError: the program found something wrong in its data (an index out of range), or
                the device failed: ``domain``, ``code`` and ``cls`` say how.
            UnsupportedSelectorError: this system lacks the path asked for.
        """
        if not direct and timeout is None:
            self._session.eval()
        else:
            self._eval_with(direct=direct, timeout=timeout)

    def eval_with_signal_event(
        self,
        event: SharedEvent,
        value: int,
        options: SharedEventEvalOptions | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Run once, then set ``event`` to ``value``.

        On the device the kernel must have been compiled with ``route="client"`` or from a package.

        Raises:
            UnsupportedError: the kernel cannot signal events.
            EvalError, ClosedError: as :meth:`eval`.
        """
        self._eval_with(signal=[(event, value)], options=options, timeout=timeout)

    def eval_bidirectional(
        self,
        wait_event: SharedEvent,
        wait_value: int,
        signal_event: SharedEvent,
        signal_value: int,
        options: SharedEventEvalOptions | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Wait for one event, run once, then signal another.

        Raises:
            UnsupportedError: the kernel cannot wait for events (:meth:`eval_with_signal_event`).
            EvalError: as :meth:`eval`; also when ``timeout`` seconds are over before the event.
            ClosedError: the kernel, or an event, is closed.
        """
        wait, signal = [(wait_event, wait_value)], [(signal_event, signal_value)]
        self._eval_with(wait=wait, signal=signal, options=options, timeout=timeout)

    def _eval_with(
        self,
        *,
        direct: bool = False,
        wait: Sequence[tuple[SharedEvent, int]] = (),
        signal: Sequence[tuple[SharedEvent, int]] = (),
        options: SharedEventEvalOptions | None = None,
        timeout: float | None = None,
    ) -> None:
        chosen = options or SharedEventEvalOptions()
        self._session.eval_with(
            path="direct" if direct else "standard",
            wait=[(event._open("eval"), value) for event, value in wait],
            signal=[(event._open("eval"), value) for event, value in signal],
            disable_io_fences=chosen.disable_io_fences,
            enable_fw_to_fw_signal=chosen.enable_fw_to_fw_signal,
            timeout_ns=timeout_ns(timeout),
        )

    def eval_with_stats(self, *, per_op: bool = False) -> EvalStats:
        """Run once and return the times; ``per_op`` adds one entry per step (host only).

        Raises:
            ClosedError: the kernel is closed.
            EvalError: the program found something wrong in its data.
        """
        return self._session.eval_with_stats(per_op)

    def reload(
        self,
        weight_blob: bytes | None = None,
        *,
        weight_path: str = DEFAULT_WEIGHT_PATH,
        weight_files: Mapping[str, bytes | os.PathLike[str]] | Sequence[WeightFile] = (),
    ) -> str:
        """Swap the weights that are baked into the program; return how it was done.

        All weight files of the program are given, as :meth:`Runtime.compile` takes them; surfaces
        stay. ``"donor"``: loaded without a compile, and seen to give other results than before.
        ``"cached"``: the system had compiled these weights before. ``"compiled"``: neither worked,
        or the backend is the host, which plans again. On an error the old weights stay.

        Raises:
            BlobError, ModelFileError, InvalidArgumentError: as :meth:`Runtime.compile`.
            UnsupportedError: the kernel was compiled from a package.
            CompileBudgetExhaustedError: no compile is left.
            ClosedError: the kernel is closed.
        """
        files = named_files(weight_blob, weight_path, weight_files)
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
            for name, value in values.items():
                try:
                    kernel._inputs[name].surface.write(value)
                except (InvalidArgumentError, TypeError) as error:
                    raise _about_input(name, error) from None
            kernel.eval()
            return {name: port.surface.read() for name, port in kernel._outputs.items()}

    def close(self) -> None:
        """Release the program; idempotent. Views of its surfaces stay valid.

        Raises:
            EvalError: another thread is evaluating the kernel.
        """
        self._session.close()
        self._specialise = None  # lets go of the kernels for other shapes

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` has been called."""
        return self._session.closed

    def __enter__(self) -> Kernel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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
