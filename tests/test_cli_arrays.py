"""Files that the command line reads and writes: WAV, and parts of it, and .npz."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from milane.cli.arrays import read_for, read_wav
from milane.cli.output import CliError, write_npz


def wav_bytes(tag: int, bits: int, channels: int, data: bytes) -> bytes:
    frame = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, 8000, 8000 * frame, frame, bits)
    odd = b"junk" + struct.pack("<I", 3) + b"abc\0"  # a chunk of odd size is padded
    chunks = b"fmt " + struct.pack("<I", 16) + fmt + odd + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", 4 + len(chunks) + len(data)) + b"WAVE" + chunks + data


@pytest.mark.parametrize(
    ("tag", "bits", "data", "expected"),
    [
        (1, 8, bytes([0, 128, 255]), [-1, 0, 127 / 128]),
        (1, 16, struct.pack("<3h", -32768, 0, 32767), [-1, 0, 32767 / 32768]),
        (1, 24, b"\x00\x00\x80\x00\x00\x00\xff\xff\x7f", [-1, 0, 1 - 2**-23]),
        (1, 32, struct.pack("<3i", -(2**31), 0, 2**31 - 1), [-1, 0, 1 - 2**-24]),
        (3, 32, struct.pack("<3f", -1.5, 0, 0.25), [-1.5, 0, 0.25]),
    ],
    ids=["8 bit", "16 bit", "24 bit", "32 bit", "float"],
)
def test_wav_samples_are_float32_in_minus_one_to_one(
    tmp_path: Path, tag: int, bits: int, data: bytes, expected: list[float]
) -> None:
    (tmp_path / "s.wav").write_bytes(wav_bytes(tag, bits, 1, data))
    samples = read_wav(tmp_path / "s.wav")
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, np.array([expected], np.float32))


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    objects = np.array([object()])
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(tmp_path / "out.npz", {"fine": np.ones(3), "bad": objects})
    assert list(tmp_path.iterdir()) == []


# --- parts of a WAV file


@pytest.fixture
def stereo(tmp_path: Path) -> str:
    """Eight frames of two channels: left counts up from 0, right down from 0."""
    frames = np.array([[i, -i] for i in range(8)], "<f4")
    path = tmp_path / "s.wav"
    path.write_bytes(wav_bytes(3, 32, 2, frames.tobytes()))
    return str(path)


def test_a_start_takes_as_many_frames_as_the_port_holds(stereo: str) -> None:
    part = read_for(f"{stereo}:3", "x", (1, 2, 4), np.dtype(np.float32))
    np.testing.assert_array_equal(part, [[[3, 4, 5, 6], [-3, -4, -5, -6]]])


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("5", "expected 8 frames at most, got a part up to 9"),
        ("-1", "expected the number of a frame, got '-1'"),
        ("0:4", "expected the number of a frame, got '0:4'"),
    ],
    ids=["beyond the end", "negative", "a range"],
)
def test_a_part_that_is_not_there_is_refused(stereo: str, start: str, message: str) -> None:
    with pytest.raises(CliError, match=message):
        read_for(f"{stereo}:{start}", "x", (1, 2, 4), np.dtype(np.float32))


def test_a_file_with_too_many_frames_says_how_to_take_a_part(stereo: str) -> None:
    with pytest.raises(CliError) as caught:
        read_for(stereo, "x", (1, 2, 4), np.dtype(np.float32))
    text = str(caught.value)
    assert "expected shape [1, 2, 4] (8 elements), got [2, 8] (16 elements)" in text
    assert "8 frames of 2 channels" in text
    assert f"x={stereo}:START" in text
