"""Several kernels in a row: loops that stay in C++, and evaluations paced by events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._core import MetalSharedEvent
from .closing import Closing
from .errors import ClosedError, InvalidArgumentError
from .events import SharedEvent
from .kernel import Kernel
from .metal import MetalDevice
from .ports import Port, Ports
from .requests import BoundRequest
from .surface import Surface

# A port of a stage: its name where only one stage has it, else (stage, name).
PortName = str | tuple[int, str]
Link = tuple[PortName, PortName]


class Pipeline(Closing):
    """Kernels that are evaluated one after the other, and events that pace them.

    Args:
        kernels: the stages, in order. A kernel may be there more than once.
        links: pairs of an output and the input it becomes, each by name, or as ``(stage, name)``
            where several stages have the name. The two are one surface where their layouts are the
            same, so nothing is copied; else rows are. A link to the same stage or an earlier one
            takes effect in the next step.
        metal: a GPU that shares the pipeline's events.

    Raises:
        InvalidArgumentError: an unknown or ambiguous port, or an input with two links.
        UnsupportedLayoutError: a link between ports of different shape or dtype.
        ClosedError: a kernel is closed.
    """

    def __init__(
        self,
        kernels: Sequence[Kernel] | MetalDevice = (),
        *,
        links: Sequence[Link] = (),
        metal: MetalDevice | None = None,
    ) -> None:
        stages: Sequence[Kernel] = ()
        if isinstance(kernels, MetalDevice):
            metal = kernels
        else:
            stages = kernels
        self._kernels = list(stages)
        self._metal = metal
        self._ane_event = SharedEvent()
        self._metal_event = metal.metal_shared_event(self._ane_event) if metal else None
        self._counter = 0
        self._closed = False
        self._link(links)

    # --- stages

    def _link(self, links: Sequence[Link]) -> None:
        inputs: list[dict[str, Surface]] = [{} for _ in self._kernels]
        self._copies: list[list[tuple[Surface, Surface]]] = [[] for _ in self._kernels]
        linked: set[tuple[int, str]] = set()
        for source, target in links:
            _, made = self._find(source, "output")
            stage, port = self._find(target, "input")
            if (stage, port.name) in linked:
                raise InvalidArgumentError(
                    f"links: expected one output for input {port.name}, got two"
                )
            linked.add((stage, port.name))
            if made.layout == port.layout:
                inputs[stage][port.name] = made.surface
            else:
                _core.copy_surface(made.surface._native, port.surface._native)  # or say why not
                self._copies[stage].append((made.surface, port.surface))
        self._requests: list[BoundRequest] = []
        for kernel, own in zip(self._kernels, inputs, strict=True):
            self._requests.append(kernel.bind(own))

    def _find(self, name: PortName, kind: str) -> tuple[int, Port]:
        """The stage and port of a name."""
        wanted, port = name if isinstance(name, tuple) else (None, name)
        found = [
            (stage, ports[port])
            for stage, ports in enumerate(self._ports(kind))
            if port in ports and wanted in (None, stage)
        ]
        if len(found) == 1:
            return found[0]
        known = ", ".join(
            f"({stage}, {n!r})" for stage, ports in enumerate(self._ports(kind)) for n in ports
        )
        raise InvalidArgumentError(
            f"pipeline: expected one {kind} among {known or 'none'}, got {name!r}, "
            f"which is {'none' if not found else 'several'} of them"
        )

    def _ports(self, kind: str) -> list[Ports]:
        return [k.inputs if kind == "input" else k.outputs for k in self._kernels]

    @property
    def kernels(self) -> list[Kernel]:
        """The stages, in order."""
        return list(self._kernels)

    def run(
        self,
        steps: int,
        *,
        feed: Mapping[PortName, npt.ArrayLike | Sequence[Surface]] | None = None,
        taps: Sequence[PortName] = (),
    ) -> dict[PortName, npt.NDArray[Any]]:
        """Evaluate all stages ``steps`` times and return what the taps saw, by their names.

        The whole loop runs in C++, without the GIL. A feed gives an input a new value in every
        step: an array ``[steps, *shape]`` (copied in; float32 is converted for fp16 inputs), or a
        ring of surfaces, used in turn without a copy. Inputs without feed or link keep what is in
        them. A tap is an output; its array is ``[steps, *shape]`` in the output's dtype.

        Raises:
            InvalidArgumentError: a negative number of steps, an unknown port, a feed of a linked
                input, or of another shape.
            DTypeError: a feed whose element type would lose meaning.
            EvalError: an evaluation failed; the steps before it are done.
            ClosedError: the pipeline, or a kernel, is closed.
        """
        self._check_open("run")
        if steps < 0:
            raise InvalidArgumentError(f"run: expected 0 steps or more, got {steps}")
        feeds, rings = self._feeds(steps, feed or {})
        arrays: dict[PortName, npt.NDArray[Any]] = {}
        outs = []
        for name in taps:
            _, port = self._find(name, "output")
            arrays[name] = np.empty((steps, *port.shape), port.dtype)
            outs.append((port.surface._native, arrays[name]))
        try:
            _core.run_loop(
                steps=steps,
                feeds=feeds,
                stages=[
                    (
                        [r._own for r in rings.get(stage, [own])],
                        [(a._native, b._native) for a, b in self._copies[stage]],
                    )
                    for stage, own in enumerate(self._requests)
                ],
                taps=outs,
            )
        finally:
            for ring in rings.values():
                for request in ring:
                    request.close()
        return arrays

    def _feeds(
        self, steps: int, feed: Mapping[PortName, npt.ArrayLike | Sequence[Surface]]
    ) -> tuple[list[tuple[_core.Surface, npt.NDArray[Any]]], dict[int, list[BoundRequest]]]:
        """Arrays to copy in, and for stages fed by rings of surfaces their requests."""
        arrays: list[tuple[_core.Surface, npt.NDArray[Any]]] = []
        rings: dict[int, dict[str, list[Surface]]] = {}
        for name, value in feed.items():
            stage, port = self._find(name, "input")
            bound = self._requests[stage].inputs[port.name].surface
            if bound._native is not port.surface._native:
                raise InvalidArgumentError(f"feed: expected an input without a link, got {name!r}")
            if isinstance(value, list | tuple) and any(isinstance(v, Surface) for v in value):
                ring = [v for v in value if isinstance(v, Surface)]
                rings.setdefault(stage, {})[port.name] = ring
            else:
                arrays.append((port.surface._native, _steps(name, np.asarray(value), port, steps)))
        return arrays, {stage: self._ring(stage, ring) for stage, ring in rings.items()}

    def _ring(self, stage: int, ring: Mapping[str, Sequence[Surface]]) -> list[BoundRequest]:
        lengths = {len(surfaces) for surfaces in ring.values()}
        if len(lengths) != 1:
            raise InvalidArgumentError(
                f"feed: expected rings of one length per stage, got {sorted(lengths)}"
            )
        own = {name: port.surface for name, port in self._requests[stage].inputs.items()}
        return [
            self._kernels[stage].bind({**own, **{name: s[i] for name, s in ring.items()}})
            for i in range(lengths.pop())
        ]

    # --- events

    @property
    def ane_event(self) -> SharedEvent:
        """The event that evaluations signal and wait for."""
        return self._ane_event

    @property
    def metal(self) -> MetalDevice | None:
        """The GPU, or None."""
        return self._metal

    @property
    def metal_event(self) -> MetalSharedEvent | None:
        """The same event as Metal knows it, or None without a GPU."""
        return self._metal_event

    @property
    def counter(self) -> int:
        """The value that was signalled last."""
        return self._counter

    def ane_to_metal(self, kernel: Kernel) -> None:
        """Evaluate and signal the next value: whoever waits for it finds the outputs ready.

        Raises:
            UnsupportedError: the kernel cannot signal events (``route="client"`` can).
            EvalError, ClosedError: as :meth:`Kernel.eval`.
        """
        self._check_open("ane_to_metal")
        kernel._eval_with(signal=[(self._ane_event, self._counter + 1)])
        self._counter += 1

    def wait_on_ane(self, kernel: Kernel) -> None:
        """Wait for the current value, then evaluate.

        Raises:
            UnsupportedError, EvalError, ClosedError: as :meth:`ane_to_metal`.
        """
        self._check_open("wait_on_ane")
        kernel._eval_with(wait=[(self._ane_event, self._counter)])

    def bidirectional(self, kernel: Kernel) -> None:
        """Wait for the current value, evaluate, and signal the next.

        Raises:
            UnsupportedError, EvalError, ClosedError: as :meth:`ane_to_metal`.
        """
        self._check_open("bidirectional")
        kernel._eval_with(
            wait=[(self._ane_event, self._counter)],
            signal=[(self._ane_event, self._counter + 1)],
        )
        self._counter += 1

    # --- life

    def close(self) -> None:
        """Let go of requests and events; idempotent. The kernels stay open."""
        self._closed = True
        for request in self._requests:
            request.close()
        self._ane_event.close()

    def _check_open(self, what: str) -> None:
        if self._closed:
            raise ClosedError(f"{what}: expected an open pipeline, got a closed one")

    def __repr__(self) -> str:
        return f"Pipeline({[kernel.function for kernel in self._kernels]}, counter={self._counter})"


def _steps(name: PortName, values: npt.NDArray[Any], port: Port, steps: int) -> npt.NDArray[Any]:
    """The values as a loop takes them: dense, one tensor per step, in the port's dtype or float32.

    Raises:
        InvalidArgumentError: another shape.
        DTypeError: an element type that would lose meaning.
    """
    if values.shape != (steps, *port.shape):
        raise InvalidArgumentError(
            f"feed {name!r}: expected shape {(steps, *port.shape)}, got {values.shape}"
        )
    if values.dtype == np.float32 and port.dtype == np.float16:
        return np.ascontiguousarray(values)
    if values.dtype == port.dtype:
        return np.ascontiguousarray(values)
    # The rules of a write, and its errors, without writing to the port.
    converted = np.empty(values.shape, port.dtype)
    scratch = Surface(port.shape, port.layout.dtype)
    for i in range(steps):
        scratch.write(values[i])
        converted[i] = scratch.array
    return converted
