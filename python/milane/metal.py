"""Metal, as far as surfaces and events go (macOS)."""

from __future__ import annotations

from . import _core
from ._core import MetalBuffer, MetalSharedEvent
from .closing import Closing
from .errors import ClosedError
from .events import SharedEvent
from .surface import Surface


class MetalDevice(Closing):
    """The system's GPU: buffers over surfaces without a copy, and events both processors know.

    Made by :func:`milane.open_metal`. The ``handle`` of a device, buffer or event is the address of
    the Metal object, for callers of Metal itself. A context manager.
    """

    __slots__ = ("_device",)

    def __init__(self, native: _core.MetalDevice) -> None:
        self._device: _core.MetalDevice | None = native

    @property
    def name(self) -> str:
        """The GPU's name.

        Raises:
            ClosedError: the device is closed.
        """
        return self._open("name").name

    @property
    def handle(self) -> int:
        """The address of the MTLDevice.

        Raises:
            ClosedError: the device is closed.
        """
        return self._open("handle").handle

    def buffer(self, surface: Surface) -> MetalBuffer:
        """Return a Metal buffer over a surface, no copy; it keeps the surface alive.

        Raises:
            UnsupportedError: the surface is not an IOSurface (it belongs to the host backend).
            MapFailedError: Metal refuses the memory.
            ClosedError: the device is closed.
        """
        return self._open("buffer").buffer(surface._native)

    def metal_shared_event(self, event: SharedEvent) -> MetalSharedEvent:
        """Return the Metal event that is the same as ``event``.

        Raises:
            UnsupportedSelectorError: this system cannot make Metal events from ports.
            ClosedError: the device, or the event, is closed.
        """
        return self._open("metal_shared_event").shared_event(event._open("metal_shared_event"))

    def new_metal_shared_event(self) -> tuple[MetalSharedEvent, SharedEvent]:
        """Return a new event, as Metal and as Milane know it.

        Raises:
            UnsupportedSelectorError: this system cannot make Metal events from ports.
            ClosedError: the device is closed.
        """
        self._open("new_metal_shared_event")
        event = SharedEvent()
        return self.metal_shared_event(event), event

    def close(self) -> None:
        """Let go of the device; idempotent. Its buffers and events stay valid."""
        self._device = None

    def _open(self, what: str) -> _core.MetalDevice:
        if self._device is None:
            raise ClosedError(f"{what}: expected an open device, got a closed one")
        return self._device

    def __repr__(self) -> str:
        return f"MetalDevice({'closed' if self._device is None else repr(self._device.name)})"


def open_metal() -> MetalDevice:
    """Return the system's GPU.

    Raises:
        UnsupportedError: there is no Metal here.
    """
    return MetalDevice(_core.open_metal())
