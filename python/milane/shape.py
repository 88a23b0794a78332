"""Shapes of four axes, as the device has them."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """A tensor's shape, N C H W. It is a tuple, and goes wherever a shape does."""

    batch: int
    channels: int
    height: int
    width: int

    @classmethod
    def spatial(cls, channels: int, height: int, width: int) -> Shape:
        """Return ``[1, channels, height, width]``."""
        return cls(1, channels, height, width)

    @classmethod
    def of_channels(cls, channels: int) -> Shape:
        """Return ``[1, channels, 1, 1]``."""
        return cls(1, channels, 1, 1)

    @property
    def elements(self) -> int:
        """How many elements there are."""
        return self.batch * self.channels * self.height * self.width
