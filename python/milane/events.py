"""Events that programs, other processors and the CPU wait for and signal."""

from __future__ import annotations

from dataclasses import dataclass

from . import _core
from .closing import Closing
from .errors import ClosedError, InvalidArgumentError


@dataclass(frozen=True)
class SharedEventEvalOptions:
    """How the device treats the events of an evaluation; the host has no use for it.

    Attributes:
        disable_io_fences: shared events instead of the driver's own fences.
        enable_fw_to_fw_signal: needed where the device waits for Metal, to be left off where Metal
            waits for the device (tmc/apple's recipe).
    """

    disable_io_fences: bool = True
    enable_fw_to_fw_signal: bool = False


class SharedEvent(Closing):
    """A 64-bit counter that is raised by ``signal`` and waited for; its value starts at 0.

    On the Mac an IOSurfaceSharedEvent, which the Neural Engine and Metal take as well; elsewhere an
    event of this process. A context manager; any thread may use it.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: _core.SharedEvent | None = _core.make_event()

    @classmethod
    def from_port(cls, port: int) -> SharedEvent:
        """Return the event that another holder calls ``port``.

        Raises:
            InvalidArgumentError: no event has this port.
        """
        if not 0 <= port < 2**32:
            raise InvalidArgumentError(f"from_port: expected a port in [0, 2**32), got {port}")
        event = cls.__new__(cls)
        event._event = _core.event_from_port(port)
        return event

    @property
    def port(self) -> int:
        """The event's name for other holders: a Mach port, or a number in this process.

        Raises:
            ClosedError: the event is closed.
        """
        return self._open("port").port

    @property
    def signaled_value(self) -> int:
        """The value that was signalled last.

        Raises:
            ClosedError: the event is closed.
        """
        return self._open("signaled_value").value

    def signal(self, value: int) -> None:
        """Set the event to ``value``; whoever waits for it or less goes on.

        Raises:
            InvalidArgumentError: a value outside [0, 2**64).
            ClosedError: the event is closed.
        """
        self._open("signal").signal(checked_value(value))

    def wait(self, value: int, timeout: float | None = None) -> bool:
        """Wait until the event is at least ``value``; False when ``timeout`` seconds are over.

        Raises:
            InvalidArgumentError: a value outside [0, 2**64), or a negative timeout.
            ClosedError: the event is closed.
        """
        return self._open("wait").wait(checked_value(value), timeout_ns(timeout))

    def close(self) -> None:
        """Let go of the event; idempotent. Other holders keep theirs."""
        self._event = None

    def _open(self, what: str) -> _core.SharedEvent:
        if self._event is None:
            raise ClosedError(f"{what}: expected an open event, got a closed one")
        return self._event

    def __repr__(self) -> str:
        state = "closed" if self._event is None else f"value={self._event.value}"
        return f"SharedEvent({state})"


def timeout_ns(seconds: float | None) -> int:
    """Seconds in nanoseconds, and -1 for None: no limit.

    Raises:
        InvalidArgumentError: a negative number, or none at all.
    """
    if seconds is None:
        return -1
    if not seconds >= 0:
        raise InvalidArgumentError(f"timeout: expected seconds of at least 0, got {seconds}")
    return min(int(seconds * 1e9), 2**62)


def checked_value(value: int) -> int:
    """The value of an event.

    Raises:
        InvalidArgumentError: it is outside [0, 2**64).
    """
    if not 0 <= value < 2**64:
        raise InvalidArgumentError(f"event: expected a value in [0, 2**64), got {value}")
    return value
