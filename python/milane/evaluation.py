"""Running a program once or often: what kernels and bound requests share."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from . import _core
from ._core import EvalStats
from .errors import InvalidArgumentError
from .events import SharedEvent, SharedEventEvalOptions, checked_value, timeout_ns

_log = logging.getLogger(__name__)


class EvalFuture(Future[None]):
    """The end of an evaluation that runs in another thread: a Future that can also be awaited."""

    def __await__(self) -> Generator[Any, None, None]:
        return asyncio.wrap_future(self).__await__()


class Evaluates:
    """Something whose surfaces are fixed, so that it can be evaluated."""

    def __init__(self, own: _core.BoundRequest) -> None:
        self._own = own
        self._queue: ThreadPoolExecutor | None = None
        self._queue_lock = threading.Lock()

    def eval(self, *, direct: bool = False, timeout: float | None = None) -> None:
        """Run the program once over its surfaces, without the GIL.

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
            self._own.eval()
        else:
            self._eval_with(direct=direct, timeout=timeout)

    def eval_many(self, times: int) -> None:
        """Run the program ``times`` times over its surfaces, without the GIL and without Python.

        Raises:
            InvalidArgumentError: a negative number.
            EvalError, ClosedError: as :meth:`eval`; the evaluations before it are done.
        """
        if times < 0:
            raise InvalidArgumentError(f"eval_many: expected 0 times or more, got {times}")
        self._own.eval_many(times)

    def eval_async(self, *, direct: bool = False) -> EvalFuture:
        """Start :meth:`eval` in a thread of its own; return a future that can be awaited.

        Evaluations of one kernel run in the order of these calls. A future that has not started can
        be cancelled. What :meth:`eval` raises is kept on the future.
        """
        return self._start(direct, None)

    def eval_async_with_callback(
        self, callback: Callable[[BaseException | None], object], *, direct: bool = False
    ) -> EvalFuture:
        """Start :meth:`eval` in a thread of its own and call ``callback`` there when it has ended.

        The callback gets the error, or None. An exception in it is logged and kept on the future.
        """
        return self._start(direct, callback)

    def _start(
        self, direct: bool, callback: Callable[[BaseException | None], object] | None
    ) -> EvalFuture:
        future = EvalFuture()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            error: BaseException | None = None
            try:
                self.eval(direct=direct)
            except BaseException as raised:
                error = raised
            if callback is not None:
                try:
                    callback(error)
                except Exception as raised:
                    _log.exception("a callback of eval_async_with_callback failed")
                    error = error or raised
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        with self._queue_lock:
            if self._queue is None:  # one worker: evaluations keep their order
                self._queue = ThreadPoolExecutor(1, thread_name_prefix="milane-eval")
            self._queue.submit(run)
        return future

    def _stop_queue(self) -> None:
        """Ends the thread once what was started is over."""
        with self._queue_lock:
            if self._queue is not None:
                self._queue.shutdown(wait=False)
            self._queue = None

    def eval_with_signal_event(
        self,
        event: SharedEvent | int,
        value: int,
        options: SharedEventEvalOptions | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Run once, then set ``event`` (or the event of this port) to ``value``.

        On the device the kernel must have been compiled with ``route="client"`` or from a package.

        Raises:
            UnsupportedError: the kernel cannot signal events.
            EvalError, ClosedError: as :meth:`eval`.
        """
        self._eval_with(signal=[(event, value)], options=options, timeout=timeout)

    def eval_bidirectional(
        self,
        wait_event: SharedEvent | int,
        wait_value: int,
        signal_event: SharedEvent | int,
        signal_value: int,
        options: SharedEventEvalOptions | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Wait for one event, run once, then signal another. Events may be given by their ports.

        ``timeout`` is the host's; the device waits as long as its framework does.

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
        wait: Sequence[tuple[SharedEvent | int, int]] = (),
        signal: Sequence[tuple[SharedEvent | int, int]] = (),
        options: SharedEventEvalOptions | None = None,
        timeout: float | None = None,
    ) -> None:
        chosen = options or SharedEventEvalOptions()
        self._own.eval_with(
            path="direct" if direct else "standard",
            wait=[_point(event, value) for event, value in wait],
            signal=[_point(event, value) for event, value in signal],
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
        return self._own.eval_with_stats(per_op)


def _point(event: SharedEvent | int, value: int) -> tuple[_core.SharedEvent, int]:
    if isinstance(event, int):
        event = SharedEvent.from_port(event)
    return event._open("eval"), checked_value(value)
