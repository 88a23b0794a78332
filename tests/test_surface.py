"""Surfaces: what is written is what is read, whole and in parts, through any protocol."""

from __future__ import annotations

import gc
import hashlib
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from milane import _testing
from on_device import open_backend

Array = NDArray[Any]

WIDTHS = [1, 2, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70]
DTYPES = ["fp16", "fp32", "int8", "uint8", "int32"]
NUMPY = {"fp16": "f2", "fp32": "f4", "int8": "i1", "uint8": "u1", "int32": "i4"}


@pytest.fixture
def make(backend: str) -> Iterator[Any]:
    """Makes surfaces of the backend under test."""
    with open_backend(backend) as runtime:

        def surface(shape: list[int], dtype: str = "fp16") -> milane.Surface:
            native = runtime._native.make_surface(milane.TensorLayout(shape, dtype))
            return milane.Surface._wrap(native)

        yield surface


def numbers(shape: tuple[int, ...], dtype: str = "f4", seed: int = 0) -> Array:
    """Small numbers, all of which every dtype holds, so that equality is exact."""
    return np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)


# --- whole surfaces


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_written_is_read_and_padding_stays(make: Any, width: int, dtype: str) -> None:
    surface = make([1, 3, 2, width], dtype)
    size = surface.layout.alloc_size
    surface._native.write_bytes(b"\x2a" * size)
    values = numbers((1, 3, 2, width), NUMPY[dtype])
    surface.write(values)
    np.testing.assert_array_equal(surface.read(), values)
    assert surface.read().dtype == values.dtype
    np.testing.assert_array_equal(surface.read_f32(), values.astype("f4"))
    raw = np.frombuffer(surface._native.read_bytes(), "u1").reshape(6, -1)
    assert (raw[:, width * values.itemsize :] == 0x2A).all()


@pytest.mark.parametrize("order", ["C", "F", "reversed", "every second", "column", "unaligned"])
@pytest.mark.parametrize("source", ["f2", "f4", "f8", ">f4", "<f4"])
def test_an_array_is_taken_by_value_however_it_lies_in_memory(
    make: Any, source: str, order: str
) -> None:
    values = numbers((3, 4, 21), source)
    values[0, 0, :2] = np.nan, -np.inf
    given = {
        "C": values,
        "F": np.asfortranarray(values),
        "reversed": values[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
        "every second": np.repeat(values, 2, axis=2)[..., ::2],
        "column": np.ascontiguousarray(values.transpose(2, 0, 1)).transpose(1, 2, 0),
        "unaligned": np.frombuffer(b"x" + values.tobytes(), source, offset=1).reshape(3, 4, 21),
    }[order]
    surface = make([3, 4, 21])
    surface.write(given)
    np.testing.assert_array_equal(surface.read(), values.astype("f2"))


@pytest.mark.parametrize("shape", [(1, 13500, 1, 1000), (1, 3, 1, 4_400_001), (13_000_000,)])
def test_large_arrays_are_converted_by_all_threads(shape: tuple[int, ...]) -> None:
    """So large that parts go to threads, and stores past the caches."""
    given = np.random.default_rng(5).standard_normal(shape, np.float32)
    surface = milane.Surface(shape)
    surface._native.write_bytes(b"\x2a" * surface.layout.alloc_size)
    surface.write(given)
    assert np.array_equal(surface.array, given.astype(np.float16))
    raw = np.frombuffer(surface._native.read_bytes(), "u1").reshape(-1, surface.layout.row_stride)
    assert (raw[:, 2 * shape[-1] :] == 0x2A).all()
    back = np.zeros_like(given)
    surface.read_f32(out=back)
    assert np.array_equal(back, given.astype(np.float16))
    apart = np.zeros((*shape[:-1], 2 * shape[-1]), np.float32)[..., ::2]
    odd = np.zeros(given.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(shape)
    for out in (apart, odd):
        surface.read_f32(out=out)
        assert np.array_equal(out, back)


def test_rounding_is_to_nearest_even_however_the_array_lies(make: Any) -> None:
    values = np.random.default_rng(1).standard_normal((64, 70)).astype("f4") * 1e-4
    wanted = milane.half.f32_to_fp16(values)
    for given in (values, np.asfortranarray(values), np.repeat(values, 3, 1)[:, ::3]):
        surface = make([64, 70])
        surface.write(given)
        assert surface.read().tobytes() == wanted.tobytes()
    surface.fill(0)
    surface.write(np.full((64, 70), 1e30, "f8"))
    assert np.isinf(surface.array).all()


@pytest.mark.parametrize("shape", [(4, 6), (4, 1, 6), (24,), (1, 4, 1, 6)])
def test_leading_ones_the_height_and_all_axes_may_be_left_out(
    make: Any, shape: tuple[int, ...]
) -> None:
    surface = make([1, 4, 1, 6])
    surface.write(np.arange(24, dtype="f4").reshape(shape))
    np.testing.assert_array_equal(surface.array.ravel(), np.arange(24))


@pytest.mark.parametrize("shape", [(6, 4), (1, 4, 6), (4, 6, 1), (2, 12), (23,), (1, 1, 4, 1, 6)])
def test_another_shape_is_refused(make: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(milane.InvalidArgumentError, match=r"expected shape \[1, 4, 1, 6\], got"):
        make([1, 4, 1, 6]).write(np.zeros(shape, "f4"))


@pytest.mark.parametrize(
    ("dtype", "values", "error"),
    [
        ("fp16", np.zeros(4, "i4"), milane.DTypeError),
        ("int8", np.zeros(4, "f4"), milane.DTypeError),
        ("int8", np.array([0, 0, 128, 0]), milane.InvalidArgumentError),
        ("uint8", np.array([0, -1, 0, 0]), milane.InvalidArgumentError),
        ("uint8", np.array([0, 2**40, 0, 0], "u8"), milane.InvalidArgumentError),
        ("int32", np.array([0, 2**31, 0, 0]), milane.InvalidArgumentError),
        ("fp32", np.zeros(4, "c8"), milane.DTypeError),
    ],
)
def test_what_would_lose_its_meaning_is_refused_by_every_way_of_writing(
    make: Any, dtype: str, values: Array, error: type[Exception]
) -> None:
    surface = make([4], dtype)
    for write in (
        lambda: surface.write(values),
        lambda: surface.write_at(0, values),
        lambda: surface.write_sparse(np.arange(4), values),
        lambda: surface.write_rows(0, values),
    ):
        with pytest.raises(error, match="expected .*, got"):
            write()
    assert not surface.array.any()


# --- channels


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", ["fp16", "fp32", "int8"])
def test_a_range_of_channels_is_written_and_read(make: Any, width: int, dtype: str) -> None:
    surface = make([1, 6, 1, width], dtype)
    part = numbers((2, width), NUMPY[dtype]) + 1
    surface.write(part, channel=3)
    wanted = np.zeros((1, 6, 1, width), NUMPY[dtype])
    wanted[0, 3:5, 0] = part
    np.testing.assert_array_equal(surface.array, wanted)
    np.testing.assert_array_equal(surface.read(3, 2)[0, :, 0], part)
    np.testing.assert_array_equal(surface.read(channel=4), wanted[:, 4:])
    np.testing.assert_array_equal(surface.read_f32(0, 4), wanted[:, :4].astype("f4"))


def test_content_is_read_into_an_array_that_is_there() -> None:
    surface = milane.Surface((1, 6, 2, 9))
    values = np.random.default_rng(3).normal(size=(1, 6, 2, 9)).astype(np.float16)
    surface.write(values)
    half, single = np.zeros_like(values), np.zeros((1, 3, 2, 18), np.float32)[..., ::2]
    assert surface.read(out=half) is half
    assert surface.read_f32(2, 3, out=single) is single
    np.testing.assert_array_equal(half, values)
    np.testing.assert_array_equal(single, values[:, 2:5].astype(np.float32))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((1, 6, 2, 9)), milane.DTypeError, "expected out of float32, got float64"),
        (
            np.zeros((6, 2, 9), "f4"),
            milane.InvalidArgumentError,
            r"\[1, 6, 2, 9\], got \[6, 2, 9\]",
        ),
        (
            np.broadcast_to(np.float32(0), (1, 6, 2, 9)),
            milane.InvalidArgumentError,
            "got a read-only array",
        ),
    ],
    ids=["another dtype", "another shape", "read-only"],
)
def test_an_array_that_cannot_take_the_content_is_refused(
    out: np.ndarray, error: type[Exception], message: str
) -> None:
    surface = milane.Surface((1, 6, 2, 9))
    with pytest.raises(error, match=message):
        surface.read_f32(out=out)
    assert not out.any()


def test_channels_of_images_and_batches(make: Any) -> None:
    image = make([1, 5, 3, 7])
    part = numbers((2, 3, 7))
    image.write(part, channel=1)
    np.testing.assert_array_equal(image.array[0, 1:3], part)
    batch = make([2, 5, 3, 7])
    parts = numbers((2, 1, 3, 7))
    batch.write(parts, channel=4)
    np.testing.assert_array_equal(batch.array[:, 4:], parts)


@pytest.mark.parametrize(
    ("channel", "channels"), [(-1, 1), (4, 1), (3, 2), (0, 5), (0, 0), (2, -1)]
)
def test_channels_that_are_not_there_are_refused(make: Any, channel: int, channels: int) -> None:
    surface = make([1, 4, 1, 8])
    with pytest.raises(milane.InvalidArgumentError, match="the 4 channels"):
        surface.read(channel, channels)
    if channels > 0:
        with pytest.raises(milane.InvalidArgumentError):
            surface.write(np.zeros((channels, 8), "f4"), channel=channel)


def test_part_of_a_channel_is_refused(make: Any) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="expected shape"):
        make([1, 4, 1, 8]).write(np.zeros(12, "f4"), channel=0)


@pytest.mark.parametrize("width", WIDTHS)
def test_channels_are_copied_from_another_surface(make: Any, width: int) -> None:
    source, target = make([1, 6, 1, width]), make([1, 4, 1, width])
    values = numbers((6, width))
    source.write(values)
    target.copy_from(source, channel=1, source_channel=3, channels=2)
    wanted = np.zeros((4, width))
    wanted[1:3] = values[3:5]
    np.testing.assert_array_equal(target.array[0, :, 0], wanted)
    target.copy_from(source, source_channel=2)
    np.testing.assert_array_equal(target.array[0, :, 0], values[2:])


@pytest.mark.parametrize(("to", "start"), [(0, 2), (2, 0), (1, 1)])
def test_channels_are_copied_within_a_surface_as_if_there_were_two(
    make: Any, to: int, start: int
) -> None:
    surface = make([1, 6, 1, 5])
    values = numbers((6, 5))
    surface.write(values)
    surface.copy_from(surface, to, start, 4)
    wanted = values.copy()
    wanted[to : to + 4] = values[start : start + 4]
    np.testing.assert_array_equal(surface.array[0, :, 0], wanted)


def test_a_copy_between_unlike_surfaces_is_refused(make: Any) -> None:
    surface = make([1, 4, 1, 8])
    with pytest.raises(milane.DTypeError, match="fp16, got one of fp32"):
        surface.copy_from(make([1, 4, 1, 8], "fp32"))
    with pytest.raises(milane.InvalidArgumentError, match="expected shape"):
        surface.copy_from(make([1, 4, 1, 9]))
    with pytest.raises(milane.InvalidArgumentError, match="the 4 channels"):
        surface.copy_from(make([1, 5, 1, 8]))


# --- elements and rows


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 5, 32, 70])
def test_a_stretch_of_elements_runs_over_the_ends_of_rows(
    make: Any, width: int, dtype: str
) -> None:
    surface = make([2, 3, 2, width], dtype)
    wanted = np.zeros(12 * width, NUMPY[dtype])
    for offset, count in ((0, 1), (width - 1, min(3, 12 * width)), (width, 3 * width), (11, 1)):
        part = numbers((count,), NUMPY[dtype], seed=offset) + 1
        surface.write_at(offset, part)
        wanted[offset : offset + count] = part
    np.testing.assert_array_equal(surface.array.ravel(), wanted)


def test_one_number_is_written_at_an_offset(make: Any) -> None:
    surface = make([2, 5])
    surface.write_at(7, 1.5)
    surface.write_at(8, 2)
    assert surface.array.ravel().tolist() == [0, 0, 0, 0, 0, 0, 0, 1.5, 2, 0]


def test_scattered_elements_are_written_and_the_last_of_equal_ones_stays(make: Any) -> None:
    surface = make([2, 3, 5])
    surface.write_sparse([29, 0, 7, 7], [1.0, 2.0, 3.0, 4.0])
    wanted = np.zeros(30)
    wanted[[29, 0, 7]] = 1, 2, 4
    np.testing.assert_array_equal(surface.array.ravel(), wanted)
    surface.write_sparse(np.array([], int), np.array([], "f4"))
    np.testing.assert_array_equal(surface.array.ravel(), wanted)


@pytest.mark.parametrize("offset", [-1, 10, 8, 2**62])
def test_places_outside_are_refused_and_nothing_is_written(make: Any, offset: int) -> None:
    surface = make([2, 5])
    with pytest.raises(milane.InvalidArgumentError, match=r"places in \[0, 10\)"):
        surface.write_at(offset, np.ones(3, "f4"))
    with pytest.raises(milane.InvalidArgumentError, match=r"places in \[0, 10\)"):
        surface.write_sparse([0, offset if offset != 8 else 10], [1.0, 1.0])
    assert not surface.array.any()


def test_indices_are_integers_and_as_many_as_the_values(make: Any) -> None:
    surface = make([4])
    with pytest.raises(milane.DTypeError, match="expected integers, got float64"):
        surface.write_sparse([0.0], [1.0])
    with pytest.raises(milane.InvalidArgumentError, match="2 values, got 3"):
        surface.write_sparse([0, 1], [1.0, 2.0, 3.0])
    with pytest.raises(TypeError):
        surface.write_at(1.5, 0)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "rows", [2, -1, slice(1, 5, 2), slice(None), [5, 0, 3], np.array([1, 1]), slice(3, 3)], ids=repr
)
def test_rows_are_written_as_numpy_writes_them(make: Any, rows: Any, width: int) -> None:
    surface = make([2, 3, width])
    wanted = np.zeros((6, width), "f4")
    values = numbers(wanted[rows].shape) + 1
    wanted[rows] = values
    surface.write_rows(rows, values)
    np.testing.assert_array_equal(surface.array.reshape(6, width), wanted)


def test_rows_that_are_not_there_are_refused(make: Any) -> None:
    surface = make([3, 4])
    for rows in (3, -4, [0, 3]):
        with pytest.raises(milane.InvalidArgumentError, match=r"rows in \[0, 3\)"):
            surface.write_rows(rows, np.ones((np.size(rows), 4), "f4"))
    with pytest.raises(milane.InvalidArgumentError, match=r"shape \[2, 4\], got \[3, 4\]"):
        surface.write_rows([0, 1], np.ones((3, 4), "f4"))
    with pytest.raises(milane.DTypeError):
        surface.write_rows([0.5], np.ones((1, 4), "f4"))
    assert not surface.array.any()


def test_planes_that_are_padded_are_written_where_they_are(host_runtime: milane.Runtime) -> None:
    # A compiled program's own strides may leave gaps between planes; here those of wider columns.
    whole = milane.Surface([1, 4, 2, 40])
    part = milane.dynamic.SurfacePart(whole._native, 3, 8)
    assert part.layout.strides == whole.layout.strides
    part.write(np.arange(40, dtype="f4").reshape(4, 2, 5))
    np.testing.assert_array_equal(whole.array[..., 3:8].ravel(), np.arange(40))
    part.write_rows([7, 0], np.full((2, 5), -1.0))
    part.write_at(4, [-2.0, -3.0, -4.0])
    part.write_sparse([20], [-5])
    wanted = np.arange(40.0)
    wanted[35:] = wanted[:5] = -1
    wanted[4:7], wanted[20] = (-2, -3, -4), -5
    np.testing.assert_array_equal(part.read().ravel(), wanted)
    np.testing.assert_array_equal(whole.array[..., 3:8].ravel(), wanted)
    assert not whole.array[..., :3].any()
    assert not whole.array[..., 8:].any()
    with pytest.raises(milane.InvalidArgumentError, match="places in"):
        part.write_at(39, [1.0, 2.0])


@pytest.mark.parametrize("dtype", [*DTYPES, "bool", "bf16"])
def test_fill_sets_every_element(make: Any, dtype: str) -> None:
    surface = make([2, 3, 5], dtype)
    surface.fill(True if dtype == "bool" else 3)
    assert (surface.array == (1 if dtype == "bool" else 3)).all()
    surface.fill(np.zeros((), surface.dtype))
    assert not surface.array.any()


def test_fill_takes_one_number_that_fits(make: Any) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="one number, got 2"):
        make([2]).fill([1.0, 2.0])
    with pytest.raises(milane.InvalidArgumentError, match="fit int8"):
        make([2], "int8").fill(200)
    with pytest.raises(milane.DTypeError):
        make([2], "int8").fill(0.5)


# --- floats for a while


def test_a_lock_gives_floats_that_cannot_be_written(make: Any) -> None:
    surface = make([3, 5])
    surface.fill(2)
    with surface.lock() as values:
        assert values.dtype == np.float32
        assert (values == 2).all()
        with pytest.raises(ValueError, match="read-only"):
            values[0, 0] = 1
    assert (surface.array == 2).all()


def test_a_lock_for_writing_converts_at_the_end(make: Any) -> None:
    surface = make([3, 5])
    with surface.lock(write=True) as values:
        values[...] = 1 + 2**-12
        assert not surface.array.any()
    assert (surface.array == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 7  # too late to be converted


def test_a_lock_that_an_exception_ends_changes_nothing(make: Any) -> None:
    surface = make([3, 5])

    def fail() -> None:
        with surface.lock(write=True) as values:
            values[...] = 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not surface.array.any()


def test_a_lock_for_writing_needs_floats(make: Any) -> None:
    surface = make([4], "int8")
    with surface.lock() as values:
        assert values.dtype == np.float32
    with pytest.raises(milane.DTypeError, match="a float surface"), surface.lock(write=True):
        pass


def test_from_f32_makes_a_surface_of_numbers() -> None:
    flat = milane.Surface.from_f32(np.arange(12), shape=milane.Shape.spatial(3, 2, 2), dtype="i4")
    assert flat.shape == (1, 3, 2, 2)
    own = milane.Surface.from_f32(np.linspace(0, 1, 6, dtype="f4").reshape(2, 3))
    assert (own.shape, own.dtype) == ((2, 3), np.float16)
    with pytest.raises(milane.InvalidArgumentError, match="12 values .* got 11"):
        milane.Surface.from_f32(np.zeros(11), shape=[3, 4])


def test_shapes_have_four_names_and_are_tuples() -> None:
    shape = milane.Shape.spatial(3, 4, 5)
    assert (shape.batch, shape.channels, shape.height, shape.width) == (1, 3, 4, 5) == shape
    assert milane.Shape.of_channels(7) == (1, 7, 1, 1)
    assert milane.Surface(shape).shape == shape
    assert shape.elements == 60


# --- protocols


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [5, 64])
def test_the_buffer_is_the_surface_itself(make: Any, width: int, dtype: str) -> None:
    surface = make([2, 3, width], dtype)
    with memoryview(surface) as buffer:
        assert not buffer.readonly
        assert (buffer.shape, buffer.strides) == (surface.shape, surface.array.strides)
        np.asarray(buffer)[1, 2, 4] = 9
    assert surface.array[1, 2, 4] == 9


def test_a_buffer_without_strides_is_refused_where_rows_are_padded(make: Any) -> None:
    with pytest.raises((ValueError, BufferError)):
        hashlib.sha256(make([2, 5]))
    assert hashlib.sha256(make([64])).digest() == hashlib.sha256(bytes(128)).digest()


def test_dlpack_shares_the_memory_with_numpy(make: Any) -> None:
    surface = make([2, 5], "fp32")
    assert surface.__dlpack_device__() == (1, 0)
    shared = np.from_dlpack(surface)
    surface.write(np.ones((2, 5), "f4"))
    assert (shared == 1).all()
    assert np.shares_memory(shared, surface.array)


class Exporter:
    """Something that has DLPack and nothing else."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


def test_what_has_dlpack_alone_is_written_without_a_copy(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = numbers((3, 5))
    surface = make([3, 5])
    surface.write(Exporter(values))
    np.testing.assert_array_equal(surface.array, values)
    assert np.shares_memory(milane.arrays.as_array(Exporter(values)), values)


def test_torch_writes_into_a_surface_and_reads_from_it(make: Any) -> None:
    torch = pytest.importorskip("torch")
    surface = make([2, 3, 5])
    shared = torch.from_dlpack(surface)
    assert (shared.dtype, shared.stride()) == (torch.float16, (96, 32, 1))
    shared[1, 2, 4] = 5
    assert surface.array[1, 2, 4] == 5
    values = torch.arange(30.0).reshape(2, 3, 5)
    for given in (values, values.half(), values.double(), values.permute(2, 0, 1).permute(1, 2, 0)):
        surface.fill(0)
        surface.write(given)
        assert torch.equal(shared.float(), values)
    assert np.shares_memory(milane.arrays.as_array(values), values.numpy())


def test_numpy_converts_a_surface_as_an_array(make: Any) -> None:
    surface = make([2, 5])
    surface.fill(3)
    assert np.shares_memory(np.asarray(surface), surface.array)
    assert np.asarray(surface, np.float64).dtype == np.float64
    assert np.add(surface, 1).sum() == 40


# --- the end


USES = {
    "array": lambda s: s.array,
    "shape": lambda s: s.shape,
    "layout": lambda s: s.layout,
    "handle": lambda s: s.handle,
    "write": lambda s: s.write(np.zeros((2, 5), "f4")),
    "write_at": lambda s: s.write_at(0, 1.0),
    "write_sparse": lambda s: s.write_sparse([0], [1.0]),
    "write_rows": lambda s: s.write_rows(0, np.zeros(5, "f4")),
    "copy_from": lambda s: s.copy_from(milane.Surface([2, 5])),
    "copied from": lambda s: milane.Surface([2, 5]).copy_from(s),
    "fill": lambda s: s.fill(0),
    "read": lambda s: s.read(),
    "read_f32": lambda s: s.read_f32(),
    "lock": lambda s: s.lock().__enter__(),
    "numpy": np.asarray,
    "dlpack": np.from_dlpack,
    "buffer": memoryview,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_closed_surface_is_not_used(make: Any, use: Any) -> None:
    with make([2, 5]) as surface:
        assert not surface.closed
    assert surface.closed
    surface.close()
    assert "closed" in repr(surface)
    with pytest.raises(milane.ClosedError, match="expected an open surface"):
        use(surface)


@pytest.mark.parametrize("view", [np.asarray, memoryview, np.from_dlpack], ids=lambda f: f.__name__)
def test_a_view_keeps_the_memory_of_a_closed_surface(make: Any, view: Any) -> None:
    surface = make([64, 70])
    surface.fill(1)
    kept = view(surface)
    surface.close()
    del surface
    gc.collect()
    others = [make([64, 70]) for _ in range(8)]
    assert (np.asarray(kept) == 1).all()
    assert len(others) == 8


def test_a_surface_goes_with_its_last_reference(make: Any) -> None:
    surface = make([2, 5])
    alive = weakref.ref(surface)
    del surface
    gc.collect()
    assert alive() is None


def test_no_iosurface_stays_behind(ane_runtime: milane.Runtime) -> None:
    if not _testing.available():
        pytest.skip("only the emulation counts")
    gc.collect()
    before = _testing.live()
    for _ in range(4):
        native = ane_runtime._native.make_surface(milane.TensorLayout([3, 5]))
        surface = milane.Surface._wrap(native)
        surface.write(np.ones((3, 5), "f4"))
        buffer, shared = memoryview(surface), np.from_dlpack(surface)
        surface.close()
        del native, surface, buffer, shared
    gc.collect()
    assert _testing.live() == before
