"""Inputs, outputs, states and weights of a kernel, read and written by index or name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ._core import TensorLayout
from .arrays import Array, Index, Rows, as_array
from .errors import ClosedError, DTypeError
from .half import f32_to_fp16
from .ports import Ports
from .surface import Surface

if TYPE_CHECKING:
    from . import _core

NO_WEIGHTS = Ports("weight", [])
# What holds numbers that a half can stand for; bf16 and fp8 surfaces hold raw bits.
_FLOATS = ("fp16", "fp32", "fp64")


class KernelIO:
    """The calls of a kernel that move data, where ``i`` is a port's index or name.

    Unknown names raise KeyError, indices out of range IndexError, and a closed kernel ClosedError.
    ``f32`` and ``fp16`` say what the caller holds; surfaces keep their own dtype, and padding
    between rows is taken care of.
    """

    _session: _core.Session
    _inputs: Ports
    _outputs: Ports
    _states: Ports
    _weights: Ports = NO_WEIGHTS
    _call_lock: threading.Lock

    # --- layouts

    @property
    def num_inputs(self) -> int:
        """How many inputs there are; weights of :meth:`Runtime.compile_dynamic` are not counted."""
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        """How many outputs there are."""
        return len(self._outputs)

    def input_layout(self, i: int | str) -> TensorLayout:
        """Return the layout of input ``i``: shape, dtype, strides in bytes."""
        return self.input_surface(i).layout

    def output_layout(self, i: int | str) -> TensorLayout:
        """Return the layout of output ``i``: shape, dtype, strides in bytes."""
        return self.output_surface(i).layout

    def input_alloc_size(self, i: int | str) -> int:
        """Return the bytes of input ``i``, padding included."""
        return self.input_layout(i).alloc_size

    def output_alloc_size(self, i: int | str) -> int:
        """Return the bytes of output ``i``, padding included."""
        return self.output_layout(i).alloc_size

    def input_channels(self, i: int | str) -> int:
        """Return C of input ``i``, its third axis from the end; 1 where it has none."""
        return self.input_layout(i).channels

    def output_channels(self, i: int | str) -> int:
        """Return C of output ``i``, its third axis from the end; 1 where it has none."""
        return self.output_layout(i).channels

    def spatial(self, i: int | str) -> int:
        """Return the elements of one channel of input ``i``: H × W."""
        layout = self.input_layout(i)
        return layout.height * layout.width

    def input_surface(self, i: int | str) -> Surface:
        """Return the kernel's own surface of input ``i``."""
        return self._surface(self._inputs, i)

    def output_surface(self, i: int | str) -> Surface:
        """Return the kernel's own surface of output ``i``."""
        return self._surface(self._outputs, i)

    @property
    def input_surfaces(self) -> list[Surface]:
        """The kernel's own surfaces of its inputs, in declaration order."""
        return [port.surface for port in self._inputs.values()]

    @property
    def output_surfaces(self) -> list[Surface]:
        """The kernel's own surfaces of its outputs, in the order the function returns them."""
        return [port.surface for port in self._outputs.values()]

    # --- inputs

    def write_input(self, i: int | str, data: object) -> None:
        """Copy raw bytes into input ``i``: all of ``input_alloc_size(i)``, padding included.

        ``data`` is bytes, or any other contiguous buffer.

        Raises:
            InvalidArgumentError: another number of bytes.
            BufferError: a buffer that is not contiguous.
            ClosedError: the kernel is closed.
        """
        self.input_surface(i)._whole("write_input").write_bytes(data)

    def write_input_f32(self, i: int | str, data: npt.ArrayLike) -> None:
        """Copy floats into input ``i``, converted to what the input holds.

        Shapes: the input's, or all its elements in row-major order, as :meth:`Surface.write` takes
        them. dtypes: float32 for a float input; what else :meth:`Surface.write` takes, it takes.

        Raises:
            InvalidArgumentError: another number of elements.
            DTypeError: floats for an input that holds none.
            ClosedError: the kernel is closed.
        """
        self.input_surface(i).write(data)

    def write_input_fp16(self, i: int | str, data: npt.ArrayLike) -> None:
        """Copy halves into input ``i``; floats of other sizes are rounded to half on the way.

        Shapes: as :meth:`write_input_f32`. The input is a float one; fp16 is widened to fp32 where
        it holds that.

        Raises:
            InvalidArgumentError: another number of elements.
            DTypeError: no floats, or an input that holds none.
            ClosedError: the kernel is closed.
        """
        surface = self.input_surface(i)
        surface.write(_halves(data, surface, "write_input_fp16"))

    def write_input_fp16_channels(self, i: int | str, channel: int, data: npt.ArrayLike) -> None:
        """Copy halves into the channels of input ``i`` from ``channel`` on.

        Shapes: ``[C', S]`` or ``[C', H, W]``, or all elements in row-major order.

        Raises:
            InvalidArgumentError: no such channels, or part of one.
            DTypeError: no floats, or an input that holds none.
            ClosedError: the kernel is closed.
        """
        surface = self.input_surface(i)
        surface.write(_halves(data, surface, "write_input_fp16_channels"), channel=channel)

    # --- outputs

    def read_output(self, i: int | str) -> bytes:
        """Return the raw bytes of output ``i``: ``output_alloc_size(i)``, padding included.

        Raises:
            ClosedError: the kernel is closed.
        """
        return self.output_surface(i)._whole("read_output").read_bytes()

    def read_output_f32(self, i: int | str) -> npt.NDArray[np.float32]:
        """Return output ``i`` as a new dense float32 array, whatever it holds.

        Raises:
            ClosedError: the kernel is closed.
        """
        return self.output_surface(i).read_f32()

    def read_output_fp16(self, i: int | str) -> npt.NDArray[np.float16]:
        """Return output ``i`` as a new dense float16 array; fp32 is rounded to nearest even.

        Raises:
            DTypeError: the output holds no floats.
            ClosedError: the kernel is closed.
        """
        return _read_halves(self.output_surface(i), None, None)

    def read_output_fp16_channels(
        self, i: int | str, channel: int, channels: int | None = None
    ) -> npt.NDArray[np.float16]:
        """Return ``channels`` channels of output ``i`` from ``channel`` on (default: all of them).

        Shapes: the output's, with that many channels.

        Raises:
            InvalidArgumentError: no such channels.
            DTypeError: the output holds no floats.
            ClosedError: the kernel is closed.
        """
        return _read_halves(self.output_surface(i), channel, channels)

    def copy_output_to(self, other: KernelIO, output: int | str = 0, input: int | str = 0) -> None:
        """Copy an output to an input of another kernel, row by row.

        Both have one dtype and one shape, axes of length 1 aside; their strides may differ. To
        spare the copy, let both kernels use one surface (:meth:`Kernel.bind`).

        Raises:
            InvalidArgumentError: another shape.
            DTypeError: another dtype.
            ClosedError: one of the kernels is closed.
        """
        source, target = self.output_surface(output), other.input_surface(input)
        target._copy(source)

    # --- states

    def reset_states(self) -> None:
        """Set all states to zero.

        Raises:
            ClosedError: the kernel is closed.
        """
        surfaces = [self._surface(self._states, name) for name in self._states]
        with self._call_lock, self._exclusively():
            for surface in surfaces:
                surface.fill(np.zeros((), surface.dtype))

    # --- weights

    @property
    def weights(self) -> Ports:
        """The weights that are parameters of the program, by name, in declaration order.

        :meth:`Runtime.compile_dynamic` is told which they are; other kernels have none.
        """
        return self._weights

    def write_weight(
        self,
        weight: int | str,
        values: npt.ArrayLike,
        *,
        rows: Rows | None = None,
        at: Index | None = None,
    ) -> None:
        """Copy halves into a weight, or into a part of it; the next evaluation uses them.

        Floats of other sizes are rounded to half on the way; nothing is compiled. An evaluation in
        another thread, by the kernel or one of its requests, sees all of it or nothing; those of
        the kernels for other shapes are the caller's to order.

        Shapes: the weight's, or all its elements in row-major order. ``rows`` picks rows (the last
        axis: see :meth:`Surface.write_rows`), ``at`` a part by NumPy's integers, slices and
        ``...``; ``values`` then has the shape of that part. A part costs what its size is.

        Raises:
            InvalidArgumentError: another shape, or no such part.
            DTypeError: no floats, or a weight that holds none.
            ClosedError: the kernel is closed.
        """
        surface = self._surface(self._weights, weight)
        halves = _halves(values, surface, "write_weight")
        with self._call_lock, self._exclusively():
            _write_part(surface, halves, rows, at)

    def write_weight_f32(
        self,
        weight: int | str,
        values: npt.ArrayLike,
        *,
        rows: Rows | None = None,
        at: Index | None = None,
    ) -> None:
        """Copy floats into a weight, or into a part of it, converted to what the weight holds.

        Shapes and parts: as :meth:`write_weight`.

        Raises:
            InvalidArgumentError: another shape, or no such part.
            DTypeError: floats for a weight that holds none.
            ClosedError: the kernel is closed.
        """
        surface, floats = self._surface(self._weights, weight), as_array(values)
        with self._call_lock, self._exclusively():
            _write_part(surface, floats, rows, at)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """No evaluation reads the surfaces within: those under way are waited for, others wait."""
        self._session.lock()
        try:
            yield
        finally:
            self._session.unlock()

    def _surface(self, ports: Ports, key: int | str) -> Surface:
        if self._session.closed:
            raise ClosedError(f"{ports.kind} {key}: expected an open kernel, got a closed one")
        return ports[key].surface


def _write_part(surface: Surface, values: Array, rows: Rows | None, at: Index | None) -> None:
    if rows is not None and at is not None:
        raise TypeError("write_weight: expected rows or at, got both")
    if rows is not None:
        surface.write_rows(rows, values)
    elif at is not None:
        surface._store(surface._at(at), values)
    else:
        surface.write(values)


def _halves(values: npt.ArrayLike, surface: Surface, what: str) -> Array:
    """Floats to be written as halves."""
    dtype = surface.layout.dtype
    if dtype not in _FLOATS:
        raise DTypeError(f"{what}: expected a float surface to write halves to, got {dtype}")
    array = as_array(values)
    return array if dtype == "fp16" else np.asarray(f32_to_fp16(array))


def _read_halves(
    surface: Surface, channel: int | None, channels: int | None
) -> npt.NDArray[np.float16]:
    dtype = surface.layout.dtype
    if dtype not in _FLOATS:
        raise DTypeError(f"read_output_fp16: expected an output that holds floats, got {dtype}")
    content = surface.read(channel, channels)
    return content if dtype == "fp16" else np.asarray(f32_to_fp16(content))
