"""Builders of whole weight files and their tables; writing files larger than memory."""

from __future__ import annotations

import math
import os
import re
import resource
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milane import blob
from milane.blob import BlobDataType, BlobWriter
from milane.errors import (
    ClosedError,
    DTypeError,
    InvalidArgumentError,
    ModelFileError,
)

RNG = np.random.default_rng(5)
W = RNG.standard_normal((6, 10)).astype(np.float32)
NOT_FINITE = np.array([[np.nan, np.inf], [-np.inf, 1e6]], np.float32)


@pytest.fixture(scope="module")
def apple_reads() -> Callable[[bytes, Path], list[np.ndarray]]:
    """The records of a file as Apple's reader gives them, fp16 and int8."""
    reason = "needs coremltools, whose wheel has Apple's own reader"
    pytest.importorskip("coremltools", reason=reason)
    storage = pytest.importorskip("coremltools.libmilstoragepython", reason=reason)

    def read(content: bytes, folder: Path) -> list[np.ndarray]:
        path = folder / "weight.bin"
        path.write_bytes(content)
        reader = storage._BlobStorageReader(str(path))
        found = []
        for record in blob.read(content).records():
            kind = {"fp16": "fp16", "int8": "int8"}[record.dtype]
            found.append(np.asarray(getattr(reader, f"read_{kind}_data")(record.offset)))
        return found

    return read


def halves(content: bytes) -> list[np.ndarray]:
    return [r.array for r in blob.read(content).records()]


def half_bits(values: Any) -> np.ndarray:
    """NumPy's own rounding to half, as bits."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float16).reshape(-1).view(np.uint16)


QKV = [RNG.standard_normal((n, 8)).astype(np.float32) for n in (16, 4, 4)]
FFN = [RNG.standard_normal((24, 8)).astype(np.float32) for _ in range(2)]
MASK = np.where(np.arange(5)[None] > np.arange(5)[:, None], -65504.0, 0.0)
BUILDERS: dict[str, tuple[Callable[[], bytes], list[Any]]] = {
    "a weight": (lambda: blob.build_weight_blob(W), [W]),
    "a flat weight with its sizes": (lambda: blob.build_weight_blob(W.ravel(), 6, 10), [W]),
    "a kernel": (lambda: blob.build_weight_blob(W.reshape(6, 10, 1, 1), 6, 10), [W]),
    "a weight of float64": (lambda: blob.build_weight_blob(W.astype(np.float64) / 3), [W.astype(np.float64) / 3]),
    "a weight of integers": (lambda: blob.build_weight_blob(np.arange(-4, 5000)), [np.arange(-4, 5000)]),
    "a strided weight": (lambda: blob.build_weight_blob(W.T[::2]), [W.T[::2]]),
    "a vector of version 1": (lambda: blob.build_weight_blob_v1(W[0]), [W[0]]),
    "a vector": (lambda: blob.build_vector_weight_blob(W[0].reshape(1, 10, 1, 1)), [W[0]]),
    "a transposed weight": (lambda: blob.build_transposed_weight_blob(W), [W.T]),
    "a flat transposed weight": (lambda: blob.build_transposed_weight_blob(W.ravel(), 6, 10), [W.T]),
    "an identity": (lambda: blob.build_identity_weight_blob(7), [np.eye(7)]),
    "halves": (lambda: blob.build_fp16_blob(np.arange(65536, dtype=np.uint16).view(np.float16)), [np.arange(65536, dtype=np.uint16).view(np.float16)]),
    "values that are not finite": (lambda: blob.build_weight_blob(NOT_FINITE), [NOT_FINITE]),
    "a causal mask": (lambda: blob.build_causal_mask_blob(5), [MASK]),
    "cosines": (lambda: blob.build_rope_cos_sin_blobs(9, 8)[0], [blob.rope_tables(9, 8, dtype=np.float64)[0]]),
    "sines": (lambda: blob.build_rope_cos_sin_blobs(9, 8)[1], [blob.rope_tables(9, 8, dtype=np.float64)[1]]),
    "a fused QKV": (lambda: blob.build_qkv_weight_blob(*QKV)[0], QKV),
    "a flat fused QKV": (lambda: blob.build_qkv_weight_blob(*(w.ravel() for w in QKV), dim=8)[0], QKV),
    "a fused FFN": (lambda: blob.build_ffn_up_weight_blob(*FFN)[0], FFN),
    "a flat fused FFN": (lambda: blob.build_ffn_up_weight_blob(*(w.ravel() for w in FFN), 24, 8)[0], FFN),
}  # fmt: skip


@pytest.mark.parametrize(("build", "want"), BUILDERS.values(), ids=BUILDERS.keys())
def test_apples_reader_finds_the_values_rounded_once(
    apple_reads: Callable[[bytes, Path], list[np.ndarray]],
    build: Callable[[], bytes],
    want: list[Any],
    tmp_path: Path,
) -> None:
    content = build()
    assert blob.check(content) == []
    assert struct.unpack_from("<II", content) == (len(want), 2)
    for got, values in zip(apple_reads(content, tmp_path), want, strict=True):
        np.testing.assert_array_equal(got, half_bits(values))


def test_apples_reader_finds_int8_values(
    apple_reads: Callable[[bytes, Path], list[np.ndarray]], tmp_path: Path
) -> None:
    values = np.arange(-128, 128).reshape(16, 16)
    for held in (values, values.astype(np.int8)):
        content = blob.build_int8_blob(held)
        assert struct.unpack_from("<IIQQ", content, 64) == (0xDEADBEEF, BlobDataType.INT8, 256, 128)
        (got,) = apple_reads(content, tmp_path)
        np.testing.assert_array_equal(got, values.ravel())


def test_fused_builders_say_where_each_weight_is() -> None:
    content, offsets = blob.build_qkv_weight_blob(*QKV)
    assert list(offsets) == ["wq", "wk", "wv"]
    assert offsets["wq"] == 64
    file = blob.read(content)
    for weight, offset in zip(QKV, offsets.values(), strict=True):
        np.testing.assert_array_equal(
            file.record_at(offset).array, weight.astype(np.float16).ravel()
        )
    assert list(blob.build_ffn_up_weight_blob(*FFN)[1].values()) == [64, 64 + 64 + 24 * 8 * 2]


@given(
    st.lists(st.lists(st.integers(0, 7), max_size=4).map(tuple), max_size=4),
    st.sampled_from(["f2", "f4", ">f4", "f8", "i4", "u1", "?"]),
    st.booleans(),
)
def test_any_shape_and_dtype_becomes_the_halves_numpy_makes(
    shapes: list[tuple[int, ...]], dtype: str, turned: bool
) -> None:
    rng = np.random.default_rng(len(shapes))
    arrays = [(rng.standard_normal(s) * 300).astype(dtype) for s in shapes]
    arrays = [a.T if turned else a for a in arrays]
    writer = BlobWriter()
    for array in arrays:
        writer.add_float16(array)
    content = writer.build()
    for array, record in zip(arrays, blob.read(content).records(), strict=True):
        np.testing.assert_array_equal(record.array.view(np.uint16), half_bits(array))
        single = blob.build_weight_blob(array)
        np.testing.assert_array_equal(halves(single)[0].view(np.uint16), half_bits(array))


def test_the_mask_is_kept_for_the_next_call() -> None:
    assert blob.build_causal_mask_blob(33) is blob.build_causal_mask_blob(33)
    assert halves(blob.build_causal_mask_blob(2, value=-40000))[0].tolist() == [0, -40000, 0, 0]


# --- tables


def angle(pos: int, pair: int, head_dim: int, theta: float) -> float:
    return pos / math.pow(theta, 2 * pair / head_dim)


@pytest.mark.parametrize("theta", [10000.0, 100000.0, 500000.0])
@pytest.mark.parametrize("pairing", ["interleaved", "half"])
@pytest.mark.parametrize(("seq", "head_dim"), [(1, 2), (7, 6), (300, 64)])
def test_rope_tables_are_the_float64_values_rounded_once(
    seq: int, head_dim: int, pairing: str, theta: float
) -> None:
    tables = blob.rope_tables(seq, head_dim, theta, pairing=pairing)
    wide = blob.rope_tables(seq, head_dim, theta, pairing=pairing, dtype=np.float64)
    files = blob.build_rope_cos_sin_blobs(seq, head_dim, theta, pairing=pairing)
    for table, exact, content, f in zip(tables, wide, files, (math.cos, math.sin), strict=True):
        assert table.shape == (1, 1, seq, head_dim)
        assert table.dtype == np.float16
        for column in range(head_dim):
            pair = column // 2 if pairing == "interleaved" else column % (head_dim // 2)
            want = [f(angle(p, pair, head_dim, theta)) for p in range(seq)]
            np.testing.assert_allclose(exact[0, 0, :, column], want, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(table, exact.astype(np.float16))
        np.testing.assert_array_equal(halves(content)[0], table.ravel())


@pytest.mark.parametrize("pairing", ["interleaved", "half"])
def test_rope_tables_turn_each_pair_by_its_angle(pairing: str) -> None:
    seq, size = 9, 8
    x = RNG.standard_normal((seq, size))
    cos, sin = (t[0, 0] for t in blob.rope_tables(seq, size, pairing=pairing, dtype=np.float64))
    half = size // 2
    first, second = (
        (slice(0, None, 2), slice(1, None, 2))
        if pairing == "interleaved"
        else (slice(0, half), slice(half, None))
    )
    partner = np.empty_like(x)
    partner[:, first], partner[:, second] = -x[:, second], x[:, first]
    got = x * cos + partner * sin
    turned = (x[:, first] + 1j * x[:, second]) * np.exp(
        1j * np.arange(seq)[:, None] * 10000.0 ** (-np.arange(half) / half)
    )
    np.testing.assert_allclose(got[:, first] + 1j * got[:, second], turned, atol=1e-12)


def test_a_causal_mask_is_zero_up_to_the_diagonal() -> None:
    mask = blob.causal_mask(5)
    assert mask.dtype == np.float16
    np.testing.assert_array_equal(mask[0, 0], MASK)
    assert not np.signbit(mask[mask == 0]).any()


# --- large files


def pieces(values: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    start = 0
    for size in sizes:
        yield values[start : start + size]
        start += size
    yield values[start:]


@given(
    st.sampled_from(["fp16", "fp32", "int8", "uint3", "uint1", "int4", "uint6"]),
    st.lists(st.integers(0, 40), max_size=6),
)
def test_chunks_make_the_record_of_the_whole(dtype: str, sizes: list[int]) -> None:
    values = np.arange(120) % 2
    whole, parts = BlobWriter(), BlobWriter()
    whole.add(values, dtype)
    parts.add_chunks(dtype, values.size, pieces(values, sizes))
    assert parts.build() == whole.build()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", ">f4"])
@pytest.mark.parametrize("turned", [False, True], ids=["contiguous", "transposed"])
def test_a_mapped_array_streams_without_being_loaded(
    tmp_path: Path, dtype: str, turned: bool
) -> None:
    shape = (1024, 1, 4096)
    path = tmp_path / "values.npy"
    source = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
    source[...] = np.arange(4096) % 2000
    source[:, 0, 0] = np.arange(1024)
    values = source.transpose(2, 1, 0) if turned else source
    tracemalloc.start()
    try:
        with BlobWriter(tmp_path / "a.bin") as writer:
            writer.add_float16(values)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6  # of 16 MB and more
    assert os.path.getsize(tmp_path / "a.bin") == 128 + 2 * values.size
    got = blob.read(tmp_path / "a.bin").record_at(64).array.reshape(values.shape)
    np.testing.assert_array_equal(got, values)


def failing() -> Iterator[np.ndarray]:
    yield np.ones(3)
    raise ZeroDivisionError("no more")


CHUNKS: dict[str, tuple[Callable[[], Any], int, type[Exception], str]] = {
    "too few": (lambda: [np.ones(3)], 4, InvalidArgumentError, "expected 4 elements in all, got 3"),
    "too many": (lambda: [np.ones(3), np.ones(2)], 4, InvalidArgumentError, "expected 4 elements in all, got more"),
    "none": (lambda: [], 1, InvalidArgumentError, "got 0"),
    "of text": (lambda: [["a"]], 1, DTypeError, "expected numbers for fp16"),
    "that fail": (failing, 9, ZeroDivisionError, "no more"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("chunks", "count", "error", "message"), CHUNKS.values(), ids=CHUNKS.keys()
)
def test_bad_chunks_leave_no_file(
    chunks: Callable[[], Any], count: int, error: type[Exception], message: str, tmp_path: Path
) -> None:
    writer = BlobWriter(tmp_path / "a.bin")
    writer.add_float16([1, 2])
    with pytest.raises(error, match=message):
        writer.add_chunks("fp16", count, chunks())
    with pytest.raises(ClosedError):
        writer.add_float16([1])
    with pytest.raises(ClosedError):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_a_file_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # Python ignores SIGXFSZ
    try:
        with (
            pytest.raises(ModelFileError, match=r"a\.bin: expected room to write"),
            BlobWriter(path) as writer,
        ):
            writer.add_float16(np.ones(200_000, np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.bin", b"old")]


def test_a_target_that_cannot_be_written_is_a_file_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "file" / "a.bin", tmp_path / "none" / "a.bin"):
        with pytest.raises(ModelFileError, match=r"a\.bin: expected a writable folder"):
            BlobWriter(target)
    (tmp_path / "folder").mkdir()
    writer = BlobWriter(tmp_path / "folder")
    writer.add_float16([1])
    with pytest.raises(ModelFileError, match="folder: expected a name to rename to"):
        writer.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


# --- documentation


def test_the_examples_of_the_page_print_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).resolve().parents[1] / "docs" / "blob.md").read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "blob"}
    said = []
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, "blob.md", "exec"), names)
        said += re.findall(r"^ *print\(.*\)  # (?:.*says: )?(.*)$", block, re.MULTILINE)
    assert len(said) == 6
    assert capsys.readouterr().out.splitlines() == said


# --- bad input

BAD: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "sizes of another weight": (lambda: blob.build_weight_blob(W, 10, 6), InvalidArgumentError, r"build_weight_blob: expected shape \[10, 6\] .* got shape \[6, 10\]"),
    "too few values": (lambda: blob.build_weight_blob(W[0], 6, 10), InvalidArgumentError, "or 60 values in one axis, got"),
    "one size of two": (lambda: blob.build_weight_blob(W, 6), InvalidArgumentError, "both sizes or none, got 6 and None"),
    "no channels": (lambda: blob.build_weight_blob([], 0, 3), InvalidArgumentError, "positive sizes, got 0 and 3"),
    "text": (lambda: blob.build_weight_blob(["a"]), DTypeError, "build_weight_blob: expected numbers, got <U1"),
    "complex numbers": (lambda: blob.build_fp16_blob([1j]), DTypeError, "got complex128"),
    "a matrix for a vector": (lambda: blob.build_vector_weight_blob(W), InvalidArgumentError, r"expected a vector, got shape \[6, 10\]"),
    "a matrix for version 1": (lambda: blob.build_weight_blob_v1(W), InvalidArgumentError, "build_weight_blob_v1: expected a vector"),
    "a vector to transpose": (lambda: blob.build_transposed_weight_blob(W[0]), InvalidArgumentError, "expected a matrix, or rows and cols"),
    "an identity of nothing": (lambda: blob.build_identity_weight_blob(0), InvalidArgumentError, "1 channel or more, got 0"),
    "int8 of fractions": (lambda: blob.build_int8_blob([0.5]), DTypeError, "expected integers for int8"),
    "int8 too large": (lambda: blob.build_int8_blob([128]), InvalidArgumentError, "got 128"),
    "k and v that differ": (lambda: blob.build_qkv_weight_blob(QKV[0], QKV[1], QKV[0]), InvalidArgumentError, "wk and wv"),
    "inputs that differ": (lambda: blob.build_qkv_weight_blob(W, *QKV[1:]), InvalidArgumentError, r"got \[6, 10\], \[4, 8\]"),
    "flat QKV without dim": (lambda: blob.build_qkv_weight_blob(*(w.ravel() for w in QKV)), InvalidArgumentError, "wq: expected shape .out, dim., got"),
    "a dim that does not divide": (lambda: blob.build_qkv_weight_blob(*(w.ravel() for w in QKV), dim=7), InvalidArgumentError, "a multiple of dim = 7 values, got 128"),
    "w1 and w3 that differ": (lambda: blob.build_ffn_up_weight_blob(FFN[0], W), InvalidArgumentError, "w1 and w3 of one shape"),
    "an odd head": (lambda: blob.build_rope_cos_sin_blobs(4, 7), InvalidArgumentError, "head_dim to be even and positive, got 7"),
    "no positions": (lambda: blob.rope_tables(0, 8), InvalidArgumentError, "seq of 1 or more, got 0"),
    "a negative theta": (lambda: blob.rope_tables(4, 8, -1.0), InvalidArgumentError, "positive theta, got -1"),
    "a theta that is not a number": (lambda: blob.rope_tables(4, 8, math.nan), InvalidArgumentError, "got nan"),
    "an unknown pairing": (lambda: blob.rope_tables(4, 8, pairing="both"), InvalidArgumentError, "'interleaved' or 'half', got 'both'"),
    "a mask of nothing": (lambda: blob.build_causal_mask_blob(0), InvalidArgumentError, "seq of 1 or more, got 0"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
