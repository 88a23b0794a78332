"""Matrix products with weights that stay: ``y = x @ w.T``, kernels compiled once and kept."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from . import blob
from .arrays import Array, Rows, as_array, row_numbers
from .closing import Closing
from .errors import (
    ClosedError,
    CompileError,
    DTypeError,
    InvalidArgumentError,
    UnsupportedOpError,
)
from .half import f32_to_fp16
from .kernel import Kernel
from .requests import BoundRequest
from .runtime import Runtime
from .runtime import open as open_runtime
from .surface import Surface

# Output features of one program, tried in turn when a device refuses more (tmc/apple x/ane/linear).
TILES = (512, 384, 256, 128, 64)
KERNELS_KEPT = 32


@dataclass(frozen=True)
class LinearStats:
    """What a cache of kernels has done so far.

    Attributes:
        hits: calls that found their kernels.
        misses: calls that did not.
        compiles: programs compiled, one for each tile of output features.
        evictions: least recently used entries dropped.
    """

    hits: int = 0
    misses: int = 0
    compiles: int = 0
    evictions: int = 0


def linear_program(batch: int, in_features: int, out_features: int, *, dynamic: bool) -> str:
    """Return MIL text for ``y = x @ w.T`` in fp16.

    Shapes: x ``[batch, in]``, w ``[out, in]``, y ``[batch, out]``. ``w`` is the second parameter
    when ``dynamic``, else the record at offset 64 of ``@model_path/weights/weight.bin``.
    """
    x, w = (
        f"tensor<fp16, [{batch}, {in_features}]>",
        f"tensor<fp16, [{out_features}, {in_features}]>",
    )
    file = 'BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64(64))'
    constant = f'            {w} w = const()[name = string("w"), val = {w}({file})];\n'
    return (
        "program(1.3)\n{\n"
        f"    func main<ios18>({x} x{f', {w} w' if dynamic else ''}) {{\n"
        f"{'' if dynamic else constant}"
        '            bool no = const()[name = string("no"), val = bool(false)];\n'
        '            bool yes = const()[name = string("yes"), val = bool(true)];\n'
        f"            tensor<fp16, [{batch}, {out_features}]> y = matmul(x = x, y = w, "
        'transpose_x = no, transpose_y = yes)[name = string("y")];\n'
        "        } -> (y);\n}\n"
    )


@dataclass(frozen=True)
class _Tile:
    """Output features from ``first`` on: a kernel, bound to the input that all tiles share."""

    first: int
    kernel: Kernel
    request: BoundRequest

    @property
    def output(self) -> Surface:
        return self.request.outputs[0].surface

    def close(self) -> None:
        self.request.close()
        self.kernel.close()


class _Tiles:
    """All output features for one batch size."""

    def __init__(self, batch: int, out_features: int, tiles: list[_Tile]) -> None:
        self._shape = (batch, out_features)
        self._tiles = tiles

    def run(self, x: Array) -> Array:
        self._tiles[0].request.inputs[0].surface.write(x)
        y = np.empty(self._shape, np.float16 if x.dtype == np.float16 else np.float32)
        for tile in self._tiles:
            tile.request.eval()
            output = tile.output
            part = y[:, tile.first : tile.first + output.shape[-1]]
            output._native.read_into(output.array, part)
        return y

    def close(self) -> None:
        for tile in self._tiles:
            tile.close()


class _Cached(Closing):
    """Kernels by key, the most recently used of them; one call at a time."""

    def __init__(self, runtime: Runtime | None, limit: int) -> None:
        if limit < 1:
            raise InvalidArgumentError(f"linear: expected a limit of at least 1, got {limit}")
        self._runtime = open_runtime() if runtime is None else runtime
        self._limit = limit
        self._kept: OrderedDict[object, _Tiles] = OrderedDict()
        self._stats = LinearStats()
        self._lock = threading.RLock()
        self._closed = False

    @property
    def stats(self) -> LinearStats:
        """Hits, misses, compiles and evictions so far."""
        return self._stats

    @property
    def runtime(self) -> Runtime:
        """The runtime that compiles."""
        return self._runtime

    def close(self) -> None:
        """Close all kernels; idempotent. A runtime that was passed in stays open."""
        with self._lock:
            self._closed = True
            self._drop_all()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("linear: expected an open operator, got a closed one")

    def _find(self, key: object, make: Callable[[], _Tiles]) -> _Tiles:
        """The kernels for ``key``, made where they are not kept."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            self._count(hits=1)
            return found
        self._count(misses=1)
        made = self._kept[key] = make()
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)[1].close()
            self._count(evictions=1)
        return made

    def _count(self, **more: int) -> None:
        counts = {name: getattr(self._stats, name) + n for name, n in more.items()}
        self._stats = replace(self._stats, **counts)

    def _drop_all(self) -> None:
        for tiles in self._kept.values():
            tiles.close()
        self._kept.clear()

    def _tiled(
        self, widest: int, out_features: int, compile_tile: Callable[[int, int], Kernel]
    ) -> tuple[int, list[Kernel]]:
        """Kernels for all output features, of as many each as the device takes; and that number."""
        sizes = [min(widest, out_features), *(t for t in TILES if t < min(widest, out_features))]
        for size in sizes:
            kernels: list[Kernel] = []
            try:
                for first in range(0, out_features, size):
                    kernels.append(compile_tile(first, min(size, out_features - first)))
                    self._count(compiles=1)
            except CompileError as error:
                for kernel in kernels:
                    kernel.close()
                # What the backend lacks it lacks in any size.
                if size == sizes[-1] or isinstance(error, UnsupportedOpError):
                    raise
            else:
                return size, kernels
        raise AssertionError("no size was tried")


class Linear(_Cached):
    """``y = x @ w.T`` with weights that are compiled into the program. A context manager.

    Kernels are kept by shape and by the content of the weights, which is hashed in every call that
    brings its own.

    Args:
        w: the weights of calls that bring none, ``(out, in)``.
        runtime: what compiles; default: a runtime of its own, on ``milane.open()``.
        limit: how many sets of kernels are kept; the least recently used is closed.

    Raises:
        InvalidArgumentError: weights that are no matrix, or a limit below 1.
    """

    def __init__(
        self,
        w: npt.ArrayLike | None = None,
        *,
        runtime: Runtime | None = None,
        limit: int = KERNELS_KEPT,
    ) -> None:
        super().__init__(runtime, limit)
        self._own = None if w is None else _Weights(w)

    def __call__(self, x: npt.ArrayLike, w: npt.ArrayLike | None = None) -> Array:
        """Return ``x @ w.T``, computed in fp16.

        Shapes: x ``(batch, in)``, w ``(out, in)``; the result is ``(batch, out)``, all row-major.
        dtypes: any floats; the result is float16 for a float16 ``x``, else float32.

        Raises:
            InvalidArgumentError: shapes that do not go together, or no weights at all.
            DTypeError: something else than numbers.
            CompileError: the device refuses the program in every size.
            ClosedError: the operator is closed.
        """
        weights = self._own if w is None else _Weights(w)
        if weights is None:
            raise InvalidArgumentError("linear: expected weights, got none here nor at the start")
        rows = _matrix(x, "x", weights.values.shape[1])
        with self._lock:
            self._check_open()
            key = (len(rows), weights.values.shape, weights.digest)
            return self._find(key, lambda: self._make(len(rows), weights.values)).run(rows)

    def _make(self, batch: int, w: Array) -> _Tiles:
        outs, ins = w.shape

        def compile_tile(first: int, count: int) -> Kernel:
            text = linear_program(batch, ins, count, dynamic=False)
            part = w[first : first + count]
            return self._runtime.compile(text, weight_blob=blob.build_fp16_blob(part))

        size, kernels = self._tiled(outs, outs, compile_tile)
        return _Tiles(batch, outs, _over_one_input(kernels, size))

    def __repr__(self) -> str:
        return f"Linear({len(self._kept)} of {self._limit} kept, {self._stats})"


class DynamicLinear(_Cached):
    """``y = x @ w.T`` with weights that change without a compile. A context manager.

    There is one set of weights, in surfaces that the kernels of all batch sizes read.

    Args:
        w: the weights, ``(out, in)``.
        runtime: what compiles; default: a runtime of its own, on ``milane.open()``.
        limit: for how many batch sizes kernels are kept; the least recently used is closed.

    Raises:
        InvalidArgumentError: weights that are no matrix, or a limit below 1.
    """

    def __init__(
        self, w: npt.ArrayLike, *, runtime: Runtime | None = None, limit: int = KERNELS_KEPT
    ) -> None:
        super().__init__(runtime, limit)
        self._pending: Array | None = np.array(_matrix(w, "w", None))  # until there are surfaces
        self._shape: tuple[int, int] = self._pending.shape
        self._size = self._shape[0]  # output features per tile
        self._surfaces: list[Surface] = []

    @property
    def weights(self) -> npt.NDArray[np.float16]:
        """The weights as a new array, ``(out, in)``."""
        with self._lock:
            if self._pending is not None:
                return np.asarray(f32_to_fp16(self._pending), np.float16)
            return np.concatenate([surface.read() for surface in self._surfaces])

    def update(self, w: npt.ArrayLike) -> None:
        """Take other weights, ``(out, in)``.

        Raises:
            InvalidArgumentError: another shape.
            DTypeError: something else than numbers.
            ClosedError: the operator is closed.
        """
        self.update_rows(slice(None), w)

    def update_rows(self, rows: Rows, values: npt.ArrayLike) -> None:
        """Take other weights for some output features; the cost is that of these rows.

        Shapes: ``values`` is ``(len(rows), in)``, or ``(in,)`` for a single row. ``rows`` is a
        number, a slice, or numbers in any order.

        Raises:
            InvalidArgumentError: another shape, or no such row.
            DTypeError: something else than numbers, or rows that are no integers.
            ClosedError: the operator is closed.
        """
        outs, ins = self._shape
        chosen = row_numbers(rows, outs)
        array = as_array(values)
        given = _matrix(array.reshape(1, -1) if array.ndim == 1 else array, "values", ins)
        if len(given) != len(chosen):
            raise InvalidArgumentError(
                f"update_rows: expected {len(chosen)} rows of values, got {len(given)}"
            )
        with self._lock:
            self._check_open()
            if self._pending is not None:
                self._pending[chosen] = given
                return
            for tile, surface in enumerate(self._surfaces):
                first = tile * self._size
                here = (chosen >= first) & (chosen < first + self._size)
                if here.all():
                    surface.write_rows(chosen - first, given)
                elif here.any():
                    surface.write_rows(chosen[here] - first, given[here])

    def __call__(self, x: npt.ArrayLike) -> Array:
        """Return ``x @ w.T``, computed in fp16.

        Shapes: x ``(batch, in)``; the result is ``(batch, out)``, both row-major. dtypes: any
        floats; the result is float16 for a float16 ``x``, else float32.

        Raises:
            InvalidArgumentError: another number of input features.
            DTypeError: something else than numbers.
            CompileError: the device refuses the program in every size.
            ClosedError: the operator is closed.
        """
        rows = _matrix(x, "x", self._shape[1])
        with self._lock:
            self._check_open()
            return self._find(len(rows), lambda: self._make(len(rows))).run(rows)

    def _make(self, batch: int) -> _Tiles:
        outs, ins = self._shape

        def compile_tile(_: int, count: int) -> Kernel:
            return self._runtime.compile(linear_program(batch, ins, count, dynamic=True))

        size, kernels = self._tiled(self._size, outs, compile_tile)
        if size != self._size or not self._surfaces:
            w = self.weights if self._pending is None else self._pending
            self._drop_all()  # their weights lie in other pieces
            self._size = size
            self._surfaces = [kernel.inputs["w"].surface for kernel in kernels]
            for tile, surface in enumerate(self._surfaces):
                surface.write(w[tile * size : (tile + 1) * size])
            self._pending = None
        return _Tiles(batch, outs, _over_one_input(kernels, size, self._surfaces))

    def __repr__(self) -> str:
        outs, ins = self._shape
        return f"DynamicLinear(({outs}, {ins}), {len(self._kept)} of {self._limit} kept)"


class _Weights:
    """A matrix of halves, and what tells it from others."""

    def __init__(self, w: npt.ArrayLike) -> None:
        self.values = np.ascontiguousarray(f32_to_fp16(_matrix(w, "w", None)))
        self.digest = hashlib.blake2b(self.values.tobytes(), digest_size=16).digest()


def _matrix(values: npt.ArrayLike, name: str, columns: int | None) -> Array:
    """Two axes, of ``columns`` columns."""
    array = as_array(values)
    wanted = f"(rows, {columns})" if columns is not None else "two axes"
    if array.ndim != 2 or 0 in array.shape or columns not in (None, array.shape[1]):
        raise InvalidArgumentError(
            f"linear: {name}: expected shape {wanted}, got {tuple(array.shape)}"
        )
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"linear: {name}: expected numbers, got {array.dtype}")
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def _over_one_input(
    kernels: list[Kernel], size: int, weights: list[Surface] | None = None
) -> list[_Tile]:
    """Tiles that read one input surface, and these weights where they are no part of a program."""
    x = kernels[0].inputs["x"].surface
    each = [[x]] * len(kernels) if weights is None else [[x, w] for w in weights]
    pairs = zip(kernels, each, strict=True)
    return [_Tile(i * size, k, k.bind(inputs)) for i, (k, inputs) in enumerate(pairs)]
