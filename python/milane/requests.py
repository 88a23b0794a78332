"""Kernels with other surfaces than their own, and pools of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from . import _core
from .closing import Closing
from .errors import ClosedError, InvalidArgumentError, WaitTimeoutError
from .evaluation import Evaluates
from .ports import Ports
from .surface import Surface

if TYPE_CHECKING:
    from .kernel import Kernel

# Requests that a loaded program takes at a time (ane_facts C.8).
MAX_DEPTH = 127


class BoundRequest(Evaluates, Closing):
    """A kernel with surfaces fixed, made by :meth:`Kernel.bind`. A context manager.

    Its evaluations queue up; those of different requests run at the same time, unless the program
    has states. After a :meth:`Kernel.reload` it uses the new weights.
    """

    def __init__(self, own: _core.BoundRequest, inputs: Ports, outputs: Ports) -> None:
        super().__init__(own)
        self._inputs = inputs
        self._outputs = outputs

    @property
    def inputs(self) -> Ports:
        """The inputs by name, in declaration order, over the surfaces that were bound."""
        return self._inputs

    @property
    def outputs(self) -> Ports:
        """The outputs by name, in the order the function returns them."""
        return self._outputs

    def close(self) -> None:
        """Let go of what the device holds for the request; idempotent. The surfaces stay."""
        self._own.close()
        self._stop_queue()

    def __repr__(self) -> str:
        return f"BoundRequest(inputs={list(self._inputs)}, outputs={list(self._outputs)})"


class PooledRequest:
    """A request on loan from a :class:`RequestPool`, with surfaces of its own.

    A context manager: leaving it gives the request back.
    """

    def __init__(self, pool: RequestPool, request: BoundRequest) -> None:
        self._pool = pool
        self._request: BoundRequest | None = request

    @property
    def inputs(self) -> Ports:
        """The request's own inputs.

        Raises:
            ClosedError: the request was given back.
        """
        return self._held("inputs").inputs

    @property
    def outputs(self) -> Ports:
        """The request's own outputs.

        Raises:
            ClosedError: the request was given back.
        """
        return self._held("outputs").outputs

    def eval(self, *, direct: bool = False, timeout: float | None = None) -> None:
        """Run the program once over the request's surfaces, without the GIL.

        Raises:
            EvalError, UnsupportedSelectorError: as :meth:`Kernel.eval`.
            ClosedError: the request was given back, or the pool or kernel is closed.
        """
        self._held("eval").eval(direct=direct, timeout=timeout)

    def release(self) -> None:
        """Give the request back; idempotent."""
        request, self._request = self._request, None
        if request is not None:
            self._pool._take_back(request)

    def _held(self, what: str) -> BoundRequest:
        if self._request is None:
            raise ClosedError(f"{what}: expected a request on loan, got one that was given back")
        return self._request

    def __enter__(self) -> PooledRequest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"PooledRequest({'given back' if self._request is None else 'on loan'})"


class RequestPool(Closing):
    """Requests of one kernel, each with surfaces of its own, so that several are in flight.

    While one is evaluated, another's inputs are written. A context manager.

    Args:
        kernel: what the requests run.
        depth: how many there are, 1 to 127.

    Raises:
        InvalidArgumentError: another depth.
        ClosedError: the kernel is closed.
    """

    def __init__(self, kernel: Kernel, depth: int) -> None:
        if not 1 <= depth <= MAX_DEPTH:
            raise InvalidArgumentError(f"pool: expected a depth of 1 to {MAX_DEPTH}, got {depth}")
        self._depth = depth
        self._closed = False
        self._changed = threading.Condition()
        self._all = [
            kernel.bind(_new_surfaces(kernel, kernel.inputs), _new_surfaces(kernel, kernel.outputs))
            for _ in range(depth)
        ]
        self._free = list(self._all)

    @property
    def depth(self) -> int:
        """How many requests there are."""
        return self._depth

    def acquire(self, timeout: float | None = None) -> PooledRequest:
        """Return a request, waiting until one is free.

        Raises:
            WaitTimeoutError: none became free within ``timeout`` seconds.
            ClosedError: the pool is closed, or was while waiting.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._closed and not self._free:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeoutError(
                        f"acquire: expected one of {self._depth} requests to be free within "
                        f"{timeout} s, got none\nhint: release() requests, or deepen the pool"
                    )
                self._changed.wait(left)
            if self._closed:
                raise ClosedError("acquire: expected an open pool, got a closed one")
            return PooledRequest(self, self._free.pop())

    def close(self) -> None:
        """Let go of all requests, those on loan too; idempotent. Who waits gets a ClosedError."""
        with self._changed:
            self._closed = True
            self._free.clear()
            self._changed.notify_all()
        for request in self._all:
            request.close()

    def _take_back(self, request: BoundRequest) -> None:
        with self._changed:
            if not self._closed:
                self._free.append(request)
                self._changed.notify()

    def __repr__(self) -> str:
        return f"RequestPool(depth={self._depth}, free={len(self._free)})"


def chosen_surfaces(
    ports: Ports, given: Sequence[Surface] | Mapping[str, Surface] | None
) -> list[Surface]:
    """A surface for every port, in order: the one given, else the port's own.

    Raises:
        InvalidArgumentError: an unknown name, or a wrong number.
    """
    own = {name: port.surface for name, port in ports.items()}
    if given is None:
        return list(own.values())
    if isinstance(given, Mapping):
        for name in given:
            if name not in own:
                raise InvalidArgumentError(
                    f"bind: expected {ports.kind}s among {', '.join(own) or 'none'}, got {name}"
                )
        return list({**own, **given}.values())
    if len(given) != len(own):
        raise InvalidArgumentError(
            f"bind: expected {len(own)} {ports.kind}s ({', '.join(own)}), got {len(given)}"
        )
    return list(given)


def _new_surfaces(kernel: Kernel, ports: Ports) -> list[Surface]:
    make = kernel._session.make_surface
    return [Surface._wrap(make(port.layout)) for port in ports.values()]
