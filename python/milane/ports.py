"""The named inputs, outputs and states of a kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._core import TensorLayout
from .surface import Surface


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
        self._set(kind, [Port(name, Surface._wrap(surface)) for name, surface in ports])

    def _set(self, kind: str, ports: list[Port]) -> None:
        self._kind = kind
        self._ordered = ports
        self._by_name = {port.name: port for port in ports}

    @property
    def kind(self) -> str:
        """ "input", "output", "state" or "weight"."""
        return self._kind

    @classmethod
    def over(cls, kind: str, names: Sequence[str], surfaces: Sequence[Surface]) -> Ports:
        """Ports of these names over surfaces that are there already."""
        pairs = zip(names, (surface._native for surface in surfaces), strict=True)
        return cls(kind, list(pairs))

    @classmethod
    def of(cls, kind: str, ports: list[Port]) -> Ports:
        """These ports."""
        made = cls.__new__(cls)
        made._set(kind, ports)
        return made

    def __getitem__(self, key: str | int) -> Port:
        if isinstance(key, int):
            try:
                return self._ordered[key]
            except IndexError:
                raise IndexError(
                    f"expected one of the {len(self._ordered)} {self._kind}s, got index {key}"
                ) from None
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
