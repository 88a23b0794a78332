"""Weight files, with Apple's own reader and writer as witness."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milane import blob
from milane.blob import BlobDataType, BlobWriter
from milane.errors import (
    AneError,
    BlobError,
    ClosedError,
    DTypeError,
    InvalidArgumentError,
    ModelFileError,
    UnsupportedError,
)

SENTINEL = 0xDEADBEEF
SUB_BYTE = {"uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6, "int4": 4}
# dtype, the witness's method suffix, NumPy dtype of its arguments.
WITNESSED = [
    ("fp16", "fp16", np.uint16),
    ("fp32", "float", np.float32),
    ("int8", "int8", np.int8),
    ("uint8", "uint8", np.uint8),
    ("int16", "int16", np.int16),
    ("uint16", "uint16", np.uint16),
    ("int32", "int32", np.int32),
    ("uint32", "uint32", np.uint32),
    ("int4", "int4", np.int8),
    *((f"uint{n}", f"uint{n}", np.uint8) for n in (1, 2, 3, 4, 6)),
]
WITNESSED_NAMES = [name for name, _, _ in WITNESSED]
COUNTS = [1, 2, 3, 5, 7, 8, 9, 31, 64, 65, 257]
corpus = Path(os.environ.get("MILANE_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))


@pytest.fixture(scope="module")
def apple() -> Any:
    reason = "needs coremltools, whose wheel has Apple's own reader and writer"
    pytest.importorskip("coremltools", reason=reason)
    return pytest.importorskip("coremltools.libmilstoragepython", reason=reason)


def values_for(dtype: str, held: type, count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    if dtype in SUB_BYTE:
        bits = SUB_BYTE[dtype]
        low = -(1 << (bits - 1)) if dtype == "int4" else 0
        return rng.integers(low, low + (1 << bits), count).astype(held)
    if dtype == "fp32":
        return rng.standard_normal(count).astype(np.float32)
    info = np.iinfo(held)
    return rng.integers(info.min, info.max, count, endpoint=True, dtype=held)


def add(writer: BlobWriter, dtype: str, values: np.ndarray) -> int:
    return writer.add(values.view(np.float16) if dtype == "fp16" else values, dtype)


def as_bits(values: np.ndarray) -> np.ndarray:
    return values.view(np.uint16) if values.dtype == np.float16 else values


def record_bytes(
    data: bytes, at: int, dtype: int = 1, *, size: int | None = None, padding: int = 0, **wrong: int
) -> bytes:
    """One record by hand, for the file offset `at`."""
    fields = (
        wrong.get("sentinel", SENTINEL),
        dtype,
        len(data) if size is None else size,
        wrong.get("data_offset", at + 64),
        padding,
        *(wrong.get("reserved", 0),) * 4,
    )
    return struct.pack("<IIQQQ4Q", *fields) + data


def file_bytes(*records: bytes, count: int | None = None, version: int = 2) -> bytes:
    content = struct.pack("<II56x", len(records) if count is None else count, version)
    for record in records:
        content += b"\0" * (-len(content) % 64) + record
    return content


def three() -> bytearray:
    """fp16 x 5 at 64, uint3 x 5 at 192, fp32 x 20 at 320."""
    writer = BlobWriter()
    writer.add_float16(np.arange(5))
    writer.add([1, 0, 1, 1, 0], "uint3")
    writer.add_float32(np.arange(20))
    assert [writer.offset(i) for i in range(3)] == [64, 192, 320]
    return bytearray(writer.build())


def put(content: bytearray, offset: int, form: str, value: int) -> bytes:
    struct.pack_into(form, content, offset, value)
    return bytes(content)


class TestWitness:
    @pytest.mark.parametrize("count", COUNTS)
    @pytest.mark.parametrize("kind", WITNESSED, ids=WITNESSED_NAMES)
    def test_apple_reads_what_is_written_here(
        self, apple: Any, tmp_path: Path, kind: tuple[str, str, type], count: int
    ) -> None:
        dtype, suffix, held = kind
        values = values_for(dtype, held, count)
        path = tmp_path / "weight.bin"
        with BlobWriter(path) as writer:
            add(writer, dtype, values)
        reader = apple._BlobStorageReader(str(path))
        got = getattr(reader, f"read_{suffix}_data")(64)
        np.testing.assert_array_equal(got, values)

    @pytest.mark.parametrize("count", COUNTS)
    @pytest.mark.parametrize("kind", WITNESSED, ids=WITNESSED_NAMES)
    def test_what_apple_writes_is_read_here(
        self, apple: Any, tmp_path: Path, kind: tuple[str, str, type], count: int
    ) -> None:
        dtype, suffix, held = kind
        values = values_for(dtype, held, count)
        path = tmp_path / "weight.bin"
        writer = apple._BlobStorageWriter(str(path))
        offset = getattr(writer, f"write_{suffix}_data")(values)
        del writer
        record = blob.read(path).record_at(offset)
        assert (record.dtype, record.count, record.offset) == (dtype, count, 64)
        np.testing.assert_array_equal(as_bits(record.array), values)
        assert blob.check(path) == []

    def test_several_records_give_the_same_file_as_apples_writer(
        self, apple: Any, tmp_path: Path
    ) -> None:
        theirs = tmp_path / "apple.bin"
        writer = apple._BlobStorageWriter(str(theirs))
        mine = BlobWriter()
        for count in COUNTS:
            for dtype, suffix, held in WITNESSED:
                values = values_for(dtype, held, count)
                offset = getattr(writer, f"write_{suffix}_data")(values)
                assert mine.offset(add(mine, dtype, values)) == offset
        del writer
        assert mine.build() == theirs.read_bytes()

    def test_apple_refuses_a_data_offset_where_the_record_is_wanted(
        self, apple: Any, tmp_path: Path
    ) -> None:
        path = tmp_path / "weight.bin"
        path.write_bytes(blob.build_fp16_blob(np.ones(40)))
        with pytest.raises(RuntimeError, match="sentinel"):
            apple._BlobStorageReader(str(path)).read_fp16_data(128)
        with pytest.raises(BlobError, match="record at offset 128: expected sentinel 0xDEADBEEF"):
            blob.read(path).record_at(128)


class TestWriter:
    def test_a_weight_blob_is_header_record_and_data_at_128(self) -> None:
        content = blob.build_weight_blob(np.array([[1.0, -2.0], [0.5, 65504.0]]))
        assert struct.unpack_from("<II", content) == (1, 2)
        assert struct.unpack_from("<IIQQQ", content, 64) == (SENTINEL, 1, 8, 128, 0)
        assert np.frombuffer(content[128:], np.float16).tolist() == [1.0, -2.0, 0.5, 65504.0]
        assert blob.build_fp16_blob([1.0, -2.0, 0.5, 65504.0]) == content

    def test_fp16_rounds_to_nearest_even_and_keeps_special_values(self) -> None:
        values = [1 + 2**-11, 1 + 3 * 2**-11, 2.0**-24, 2.0**-25, 65520.0, -np.inf, -0.0]
        array = blob.read(blob.build_fp16_blob(np.array(values, np.float32))).record_at(64).array
        assert array.view(np.uint16).tolist() == [0x3C00, 0x3C02, 1, 0, 0x7C00, 0xFC00, 0x8000]

    def test_float16_is_taken_bit_for_bit(self) -> None:
        every = np.arange(65536, dtype=np.uint16)
        array = blob.read(blob.build_fp16_blob(every.view(np.float16))).record_at(64).array
        np.testing.assert_array_equal(array.view(np.uint16), every)

    def test_sub_byte_elements_are_one_stream_lowest_bit_first(self) -> None:
        writer = BlobWriter()
        for dtype, want in (("uint3", "4102"), ("uint6", "01100400"), ("int4", "011100")):
            record = blob.read(_with(writer, [1, 0, 1, 1, 0], dtype)).records()[-1]
            assert record.tobytes().hex() == want

    def test_unused_bits_of_raw_data_are_cleared(self) -> None:
        writer = BlobWriter()
        writer.add_raw("uint3", b"\x41\xfe", count=5)
        (record,) = blob.read(writer.build()).records()
        assert (record.tobytes(), record.count) == (b"\x41\x7e", 5)

    def test_raw_data_without_a_count_holds_as_many_elements_as_fit(self) -> None:
        writer = BlobWriter()
        assert writer.add_raw(BlobDataType.INT16, b"\1\0\2\0") == 0
        assert writer.add_raw("uint3", b"\x41\x02") == 1
        assert [r.count for r in blob.read(writer.build()).records()] == [2, 5]

    @pytest.mark.parametrize(
        ("dtype", "held"), [("bf16", np.uint16), ("fp8e4m3fn", np.uint8), ("fp8e5m2", np.uint8)]
    )
    def test_bf16_and_fp8_are_raw_bits(self, dtype: str, held: type) -> None:
        bits = values_for(dtype, held, 33)
        writer = BlobWriter()
        writer.add(bits, dtype)
        record = blob.read(writer.build()).record_at(64)
        assert (record.dtype, record.array.dtype) == (dtype, held)
        np.testing.assert_array_equal(record.array, bits)
        with pytest.raises(DTypeError, match=f"bits for {dtype}"):
            writer.add(np.ones(3, np.float32), dtype)

    def test_codes_are_apples(self) -> None:
        assert [t.mil_name for t in BlobDataType] == [
            "fp16",
            "fp32",
            "uint8",
            "int8",
            "bf16",
            "int16",
            "uint16",
            "int4",
            "uint1",
            "uint2",
            "uint4",
            "uint3",
            "uint6",
            "int32",
            "uint32",
            "fp8e4m3fn",
            "fp8e5m2",
        ]
        assert (BlobDataType.INT8, BlobDataType.INT4) == (4, 8)

    def test_strided_and_big_endian_arrays_are_stored_in_order(self) -> None:
        values = np.arange(24, dtype=">f4").reshape(4, 6)
        writer = BlobWriter()
        writer.add_float32(values.T)
        record = blob.read(writer.build()).record_at(64)
        np.testing.assert_array_equal(record.array, values.T.ravel())

    def test_an_empty_array_is_an_empty_record(self) -> None:
        writer = BlobWriter()
        for dtype in ("fp16", "uint3"):
            writer.add([], "fp16") if dtype == "fp16" else writer.add_raw(dtype, b"")
        content = writer.build()
        assert [r.count for r in blob.read(content).records()] == [0, 0]
        assert blob.check(content) == []

    @pytest.mark.parametrize(
        ("values", "dtype", "got"),
        [
            ([0, 8], "uint3", "8"),
            ([-1], "uint1", "-1"),
            ([-9], "int4", "-9"),
            ([300], "uint8", "300"),
        ],
    )
    def test_integers_that_do_not_fit_are_refused(
        self, values: list[int], dtype: str, got: str
    ) -> None:
        with pytest.raises(InvalidArgumentError, match=f"{dtype} values in .* got {got}$"):
            BlobWriter().add(values, dtype)

    def test_types_the_format_lacks_are_refused(self) -> None:
        writer = BlobWriter()
        with pytest.raises(DTypeError, match="got float64"):
            writer.add(np.ones(2))
        with pytest.raises(DTypeError, match="got 'int64'"):
            writer.add([1], "int64")
        with pytest.raises(DTypeError, match="got 18"):
            writer.add([1], 18)
        assert writer.count == 0

    @pytest.mark.parametrize("count", [-1, 2**62])
    def test_a_record_beyond_every_offset_is_refused(self, count: int) -> None:
        writer = BlobWriter()
        with pytest.raises(InvalidArgumentError, match=f"2\\^63, got {count} elements of fp16"):
            writer.add_raw("fp16", b"123456", count=count)
        with pytest.raises(InvalidArgumentError, match=f"2\\^63, got {count} elements of uint3"):
            writer.add_chunks("uint3", count, [])
        assert blob.read(writer.build()).records() == []

    @pytest.mark.parametrize("count", [0, 2, 4])
    def test_bytes_that_are_not_those_of_the_count_are_refused(self, count: int) -> None:
        expected = f"for {count} elements of fp16, got 6 bytes"
        with pytest.raises(InvalidArgumentError, match=expected):
            BlobWriter().add_raw("fp16", b"123456", count=count)

    def test_an_unknown_index_is_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match=r"in \[0, 0\), got 0"):
            BlobWriter().offset(0)

    def test_a_streamed_file_equals_one_from_memory(self, tmp_path: Path) -> None:
        memory = BlobWriter()
        with BlobWriter(tmp_path / "a.bin") as streamed:
            for writer in (memory, streamed):
                writer.add_float16(np.arange(100))
                writer.add([1, 2, 3], "uint2")
            assert os.listdir(tmp_path) != ["a.bin"]
        memory.save(tmp_path / "b.bin")
        assert memory.build() == (tmp_path / "a.bin").read_bytes()
        assert memory.build() == (tmp_path / "b.bin").read_bytes()
        assert sorted(os.listdir(tmp_path)) == ["a.bin", "b.bin"]
        with pytest.raises(ClosedError):
            streamed.add_float16([1])

    @pytest.mark.parametrize("how", ["raise", "abort", "forget"])
    def test_an_abandoned_writer_leaves_the_old_file_alone(self, tmp_path: Path, how: str) -> None:
        path = tmp_path / "weight.bin"
        path.write_bytes(b"old")
        if how == "raise":
            with pytest.raises(ZeroDivisionError), BlobWriter(path) as writer:
                writer.add_float16([1 / 0])
        else:
            writer = BlobWriter(path)
            writer.add_float16([1])
            if how == "abort":
                writer.abort()
                writer.abort()
            del writer
            gc.collect()
        assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("weight.bin", b"old")]

    def test_a_folder_that_is_not_there_is_a_file_error(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFileError, match="missing"):
            BlobWriter(tmp_path / "missing" / "weight.bin")
        with pytest.raises(ModelFileError, match="missing"):
            BlobWriter().save(tmp_path / "missing" / "weight.bin")

    def test_a_streaming_writer_has_no_bytes_to_build(self, tmp_path: Path) -> None:
        with BlobWriter(tmp_path / "a.bin") as writer, pytest.raises(UnsupportedError):
            writer.build()


class TestReader:
    def test_a_view_outlives_its_file_and_cannot_be_written(self, tmp_path: Path) -> None:
        path = tmp_path / "weight.bin"
        path.write_bytes(three())
        view = blob.read(path).record_at(320).array
        path.unlink()
        gc.collect()
        assert view.tolist() == list(range(20))
        assert not view.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.flags.writeable = True

    def test_bytes_are_read_in_place(self) -> None:
        content = three()
        view = blob.read(content).record_at(320).array
        put(content, 384, "<f", 7)
        assert view[0] == 7

    def test_the_last_view_may_die_in_another_thread(self) -> None:
        records = blob.read(bytes(three())).records()
        thread = threading.Thread(target=records.clear)
        thread.start()
        thread.join()
        assert records == []

    def test_a_missing_file_is_a_file_error(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFileError, match=r"nothing\.bin: expected a readable file"):
            blob.read(tmp_path / "nothing.bin")
        with pytest.raises(ModelFileError, match="got a directory"):
            blob.read(tmp_path)

    def test_a_source_that_is_neither_path_nor_bytes_is_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="expected contiguous bytes, got int"):
            blob.read(5)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="expected contiguous bytes"):
            blob.read(memoryview(bytes(128))[::2])

    def test_garbage_in_padding_and_reserved_of_whole_byte_records_is_accepted(self) -> None:
        content = file_bytes(
            record_bytes(b"\0\x3c", 64, padding=5104411984, reserved=2**64 - 1),
            record_bytes(b"\1", 192, dtype=4, padding=3, reserved=17),
        )
        assert blob.check(content) == []
        assert [r.count for r in blob.read(content).records()] == [1, 1]

    def test_zero_padding_after_the_last_data_is_accepted(self) -> None:
        assert blob.check(bytes(three()) + b"\0" * 4096) == []

    def test_one_bad_record_does_not_spoil_another(self) -> None:
        content = put(three(), 192, "<I", 1)
        assert blob.read(content).record_at(320).count == 20


# What is done to three(), the record and offset that the message must name, and the rest of it.
DAMAGE: list[tuple[str, Any, str, str]] = [
    ("a bad sentinel", lambda c: put(c, 192, "<I", 1),
     "record 1 at offset 192", "sentinel 0xDEADBEEF, got 0x00000001"),
    ("an unknown dtype", lambda c: put(c, 196, "<I", 18),
     "record 1 at offset 192", "a dtype code from 1 to 17, got 18"),
    ("dtype zero", lambda c: put(c, 68, "<I", 0), "record 0 at offset 64", "got 0"),
    ("misaligned data", lambda c: put(c, 208, "<Q", 258),
     "record 1 at offset 192", "data at a multiple of 64, got 258"),
    ("data in the file header", lambda c: put(c, 208, "<Q", 0),
     "record 1 at offset 192", "data after the file header, at offset 256, got 0"),
    ("data over its own header", lambda c: put(c, 208, "<Q", 192),
     "record 1 at offset 192", r"its own header, got \[192, 194\)"),
    ("an oversized record", lambda c: put(c, 328, "<Q", 84),
     "record 2 at offset 320", "inside the file of 464 bytes, got 84 bytes at 384"),
    ("a size near 2^64", lambda c: put(c, 72, "<Q", 2**64 - 1),
     "record 0 at offset 64", f"got {2**64 - 1} bytes at 128"),
    ("an offset near 2^64", lambda c: put(c, 80, "<Q", 2**64 - 64),
     "record 0 at offset 64", f"got 10 bytes at {2**64 - 64}"),
    ("half an element", lambda c: put(c, 72, "<Q", 9),
     "record 0 at offset 64", "a multiple of 2 bytes for fp16, got 9 bytes"),
    ("too much padding", lambda c: put(c, 216, "<Q", 8),
     "record 1 at offset 192", "at most 7 padding bits, got 8"),
    ("padding that splits an element", lambda c: put(c, 216, "<Q", 2),
     "record 1 at offset 192", "a whole number of uint3 elements, got 14 bits"),
    ("truncated data", lambda c: bytes(c[:-1]),
     "record 2 at offset 320", "data inside the file of 463 bytes, got 80 bytes at 384"),
    ("a truncated record header", lambda c: bytes(c[:383]),
     "record 2 at offset 320", "a 64-byte record header, got 63 bytes"),
]  # fmt: skip
WHOLE_FILE: list[tuple[str, Any, str]] = [
    ("a truncated file header", lambda c: bytes(c[:63]),
     "file header at offset 0: expected a 64-byte file header, got 63 bytes"),
    ("an empty file", lambda c: b"",
     "file header at offset 0: expected a 64-byte file header, got 0 bytes"),
    ("another version", lambda c: put(c, 4, "<I", 1),
     "file header at offset 0: expected version 2, got 1"),
    ("a count too high", lambda c: put(c, 0, "<I", 2**32 - 1),
     r"file header at offset 0: expected a count of 3 \(the records found\), got 4294967295"),
    ("a count too low", lambda c: put(c, 0, "<I", 2),
     r"file header at offset 0: expected a count of 3 \(the records found\), got 2"),
    ("a missing record", lambda c: bytes(c[:320]),
     r"file header at offset 0: expected a count of 2 \(the records found\), got 3"),
    ("bytes after the last data", lambda c: bytes(c) + bytes(48) + b"more",
     "file header at offset 0: expected the end of the file at 512, .* got 4 bytes more"),
    ("data that another record owns", lambda c: put(c, 336, "<Q", 128),
     r"record 2 at offset 320: expected data that overlaps nothing, got \[128, 208\), which "
     "overlaps record 0 at offset 64"),
    ("a size that swallows the next record", lambda c: put(c, 72, "<Q", 192),
     r"record 0 at offset 64: expected data that overlaps nothing, got \[128, 320\), which overlaps"
     " a record header at offset 192"),
]  # fmt: skip


class TestDamage:
    @pytest.mark.parametrize(
        ("damage", "where", "what"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE]
    )
    def test_one_record(self, damage: Any, where: str, what: str) -> None:
        content = damage(three())
        offset = int(where.rsplit(" ", 1)[1])
        file = blob.read(content)
        for rejected in (lambda: file.record_at(offset), file.records):
            with pytest.raises(BlobError, match=f"^<bytes>: {where}: expected .*{what}"):
                rejected()
        first = file.check()[0]
        assert f"record {first.record} at offset {first.offset}" == where

    @pytest.mark.parametrize(
        ("damage", "message"), [d[1:] for d in WHOLE_FILE], ids=[d[0] for d in WHOLE_FILE]
    )
    def test_the_whole_file(self, damage: Any, message: str, tmp_path: Path) -> None:
        path = tmp_path / "weight.bin"
        path.write_bytes(damage(three()))
        problems = [str(problem) for problem in blob.check(path)]
        assert any(re.match(message, problem) for problem in problems), problems
        with pytest.raises(BlobError, match=r"weight\.bin: .* at offset \d+: expected"):
            blob.read(path).records()

    def test_all_problems_are_listed(self) -> None:
        content = three()
        put(content, 4, "<I", 1)
        put(content, 68, "<I", 99)
        put(content, 196, "<I", 99)
        put(content, 0, "<I", 4)
        assert [(p.record, p.offset) for p in blob.check(content)] == [
            (None, 0), (0, 64), (1, 192), (None, 0),
        ]  # fmt: skip

    @pytest.mark.parametrize("offset", [0, 1, 63, 65, 128, 464, 512, 2**63, 2**64 - 64, 2**64 - 1])
    def test_offsets_that_are_no_records(self, offset: int) -> None:
        with pytest.raises(BlobError, match=f"record at offset {offset}: expected"):
            blob.read(three()).record_at(offset)


def _with(writer: BlobWriter, values: list[int], dtype: str) -> bytes:
    writer.add(values, dtype)
    return writer.build()


dtypes = st.sampled_from([*WITNESSED_NAMES, "bf16", "fp8e4m3fn", "fp8e5m2"])


class TestProperties:
    @given(st.lists(st.tuples(dtypes, st.binary(max_size=200)), max_size=8))
    def test_what_is_written_is_read_back(self, records: list[tuple[str, bytes]]) -> None:
        writer = BlobWriter()
        want = []
        for dtype, data in records:
            bits = BlobDataType.of(dtype).bits
            count = len(data) * 8 // bits
            kept = data[: (count * bits + 7) // 8]
            writer.add_raw(dtype, kept, count=count)
            clear = int.from_bytes(kept, "little") & ((1 << count * bits) - 1)
            want.append((dtype, count, clear.to_bytes(len(kept), "little")))
        content = writer.build()
        got = blob.read(content).records()
        assert [(r.dtype, r.count, r.tobytes()) for r in got] == want
        assert [r.offset for r in got] == [writer.offset(i) for i in range(writer.count)]
        assert [r.data_offset for r in got] == [writer.data_offset(i) for i in range(len(writer))]
        assert all(r.offset % 64 == 0 for r in got)
        assert blob.check(content) == []

    @given(st.sampled_from(sorted(SUB_BYTE)), st.data())
    def test_packing_is_undone_by_reading(self, dtype: str, data: st.DataObject) -> None:
        bits = SUB_BYTE[dtype]
        low = -8 if dtype == "int4" else 0
        values = data.draw(st.lists(st.integers(low, low + (1 << bits) - 1), max_size=70))
        writer = BlobWriter()
        writer.add(np.array(values, np.int64), dtype)
        assert blob.read(writer.build()).record_at(64).array.tolist() == values

    @settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(st.integers(0, 463), st.integers(0, 255)), max_size=12),
        st.integers(0, 520),
    )
    def test_a_damaged_file_is_refused_or_read_but_never_crashes(
        self, flips: list[tuple[int, int]], length: int
    ) -> None:
        content = three()
        for at, value in flips:
            content[at] = value
        file = blob.read(bytes(content[:length]))
        problems = file.check()
        if problems:
            with pytest.raises(BlobError, match=re.escape(str(problems[0]))):
                file.records()
        else:
            for record in file.records():
                assert record.array.size == record.count
        for offset in range(0, length + 64, 64):
            with contextlib.suppress(BlobError):
                assert file.record_at(offset).array.size >= 0

    @given(st.binary(max_size=64), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
    def test_any_numbers_in_a_header_stay_inside_the_file(
        self, data: bytes, size: int, data_offset: int
    ) -> None:
        record = record_bytes(data, 64, dtype=3, size=size, data_offset=data_offset)
        file = blob.read(file_bytes(record))
        with contextlib.suppress(AneError):
            assert file.record_at(64).tobytes() in file_bytes(record)


class TestRealFiles:
    @pytest.mark.skipif(not corpus.is_dir(), reason=f"no folder of real programs at {corpus}")
    def test_every_real_file_is_sound_and_every_reference_names_a_record(self) -> None:
        reference = re.compile(
            r"(\w+)(?:, \[([0-9, ]*)\]>)?\(BLOBFILE\("
            r"path ?= ?[^\"]*\"@model_path/([^\"]*)\"[^=]*= ?"
            r"(?:uint64|tensor<uint64, \[\]>)\((\d+)\)"
        )
        files = references = 0
        for program in sorted(corpus.rglob("*.mil")):
            text = program.read_text(encoding="utf-8")
            named = reference.findall(text)
            present = {path for *_, path, _ in named if (program.parent / path).is_file()}
            for path in sorted(present):
                assert blob.check(program.parent / path) == [], (program, path)
            for dtype, dims, path, offset in named:
                if path not in present:
                    continue
                record = blob.read(program.parent / path).record_at(int(offset))
                count = int(np.prod([int(d) for d in dims.split(",") if d.strip()], dtype=np.int64))
                assert (record.dtype, record.count) == (dtype, count), (program, offset)
            files += len(present)
            references += sum(path in present for *_, path, _ in named)
        assert files > 0
        assert references > 0
