"""Files to arrays: .npy, .npz, .wav, and images where Pillow is installed."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from milane.cli.output import CliError, shape_text

Array = NDArray[Any]

_IMAGES = (".png", ".jpg", ".jpeg")
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # WAVE format tags


def read_for(
    spec: str, name: str, shape: Sequence[int], dtype: np.dtype[Any], *, flexible: bool = False
) -> Array:
    """The array that `spec` holds for a port, in its shape and dtype.

    `spec` is FILE, FILE.npz:KEY, or FILE.wav:START for as many frames as the port takes. Audio
    (channels, frames) and axes of size 1 are reshaped where the element count fits. `flexible`
    says that the port could have another shape.
    """
    array, loose = _read(spec, shape)
    squeezed = [d for d in array.shape if d != 1] == [d for d in shape if d != 1]
    if not squeezed and not (loose and array.size == int(np.prod(shape))):
        raise CliError(
            f"{name}: expected shape {shape_text(shape)} ({int(np.prod(shape))} elements), "
            f"got {shape_text(array.shape)} ({array.size} elements) from {spec}",
            _fit_hint(spec, name, array, shape, flexible=flexible),
        )
    return _cast(array.reshape(shape), name, dtype, spec)


def _fit_hint(spec: str, name: str, array: Array, shape: Sequence[int], *, flexible: bool) -> str:
    """What to try when a file has another shape than its port."""
    if flexible:
        same_rank = array.ndim == len(shape)
        return f"{name} is flexible: --shape {name}=" + (
            ",".join(map(str, array.shape)) if same_rank else "…"
        )
    if spec.lower().endswith(".wav") and array.size > int(np.prod(shape)):
        channels, frames = array.shape
        return (
            f"the file has {frames} frames of {channels} channel{'s' if channels > 1 else ''}; "
            f"{name}={spec}:START takes as many as fit, from frame START on"
        )
    return ""


def _read(spec: str, shape: Sequence[int]) -> tuple[Array, bool]:
    """The file's array, and whether its shape is a matter of convention."""
    path, key = _split(spec)
    if not path.is_file():
        raise CliError(f"{path}: expected a file, got {'a folder' if path.is_dir() else 'none'}")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _load_npy(path), False
    if suffix == ".npz":
        return _load_npz(path, key), False
    if suffix == ".wav":
        samples = read_wav(path)
        return (_part(samples, path, key, int(np.prod(shape))) if key else samples), True
    if suffix in _IMAGES:
        return _load_image(path, shape), False
    raise CliError(f"{path}: expected .npy, .npz, .wav, .png or .jpg, got {suffix or 'no suffix'}")


def _split(spec: str) -> tuple[Path, str]:
    """FILE.npz:KEY into file and key, FILE.wav:START likewise; any other text is a file."""
    for suffix in (".npz", ".wav"):
        stem, colon, key = spec.rpartition(f"{suffix}:")
        if colon and not Path(spec).exists():
            return Path(stem + suffix), key
    return Path(spec), ""


def _part(samples: Array, path: Path, start: str, count: int) -> Array:
    """`count` samples of all channels together, from frame `start` on."""
    channels, frames = samples.shape
    if not start.isdecimal():
        raise CliError(f"{path}:{start}: expected the number of a frame, got {start!r}")
    end = int(start) + count // channels
    if end > frames:
        raise CliError(f"{path}:{start}: expected {frames} frames at most, got a part up to {end}")
    return samples[:, int(start) : end]


def _load_npy(path: Path) -> Array:
    try:
        loaded: Array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CliError(f"{path}: not a readable .npy file: {error}") from error
    return loaded


def _load_npz(path: Path, key: str) -> Array:
    # A damaged archive raises BadZipFile, which is no ValueError.
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = list(archive.files)
            if not key and len(keys) == 1:
                key = keys[0]
            if key in keys:
                chosen: Array = archive[key]
                return chosen
    except Exception as error:
        raise CliError(f"{path}: not a readable .npz file: {error}") from error
    wanted = f"a key {key!r}" if key else "exactly one array"
    raise CliError(
        f"{path}: expected {wanted}, got {', '.join(keys) or 'none'}",
        f"name one as {path}:KEY",
    )


def _cast(array: Array, name: str, dtype: np.dtype[Any], spec: str) -> Array:
    """`array` in the port's dtype: never a fraction cut off, never an integer wrapped around."""
    if dtype.kind in "iub" and array.dtype.kind not in "iub":
        raise CliError(f"{name}: expected {dtype} values, got {array.dtype} from {spec}")
    if array.dtype.kind not in "iubf":
        raise CliError(f"{name}: expected numbers, got {array.dtype} from {spec}")
    with np.errstate(over="ignore"):  # beyond the largest half is infinity, as IEEE rounds it
        cast = array.astype(dtype)
    if dtype.kind in "iub" and not np.array_equal(cast, array):
        raise CliError(f"{name}: values of {spec} do not fit {dtype}")
    return cast


def read_wav(path: Path) -> NDArray[np.float32]:
    """Samples of a WAV file, float32 (channels, frames); PCM becomes [-1, 1).

    Format: RIFF/WAVE, PCM of 8, 16, 24, 32 bits and IEEE float of 32 bits. The standard library's
    reader refuses float files, so the two chunks that matter are read here.
    """
    chunks = _riff_chunks(path)
    if "fmt " not in chunks or "data" not in chunks or len(chunks["fmt "]) < 16:
        raise CliError(f"{path}: expected a WAV file with fmt and data chunks")
    header = chunks["fmt "]
    tag, channels, _, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", header)
    if tag == _EXTENSIBLE and len(header) >= 26:
        (tag,) = struct.unpack_from("<H", header, 24)  # first word of the sub-format id
    if channels < 1 or frame_bytes != channels * bits // 8:
        raise CliError(f"{path}: damaged fmt chunk: {channels} channels, {frame_bytes} bytes each")
    data = chunks["data"]
    samples = _samples(path, tag, bits, data[: len(data) // frame_bytes * frame_bytes])
    return np.ascontiguousarray(samples.reshape(-1, channels).T)


def _riff_chunks(path: Path) -> dict[str, bytes]:
    """The chunks of a RIFF/WAVE file by id; the first of each id."""
    raw = path.read_bytes()
    if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        raise CliError(f"{path}: expected a RIFF/WAVE file")
    chunks: dict[str, bytes] = {}
    at = 12
    while at + 8 <= len(raw):
        size = int.from_bytes(raw[at + 4 : at + 8], "little")
        name = raw[at : at + 4].decode("latin-1")
        chunks.setdefault(name, raw[at + 8 : at + 8 + size])
        at += 8 + size + size % 2  # chunks are padded to an even size
    return chunks


def _samples(path: Path, tag: int, bits: int, data: bytes) -> NDArray[np.float32]:
    """Interleaved samples as float32."""
    if tag == _FLOAT and bits == 32:
        return np.frombuffer(data, "<f4").astype(np.float32)
    if tag != _PCM or bits not in (8, 16, 24, 32):
        raise CliError(f"{path}: expected PCM or 32-bit float, got format {tag} of {bits} bits")
    if bits == 8:  # 8-bit PCM is unsigned, around 128
        values = np.frombuffer(data, np.uint8).astype(np.float64) - 128.0
    elif bits == 24:
        low = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        values = ((low[:, 0] << 8 | low[:, 1] << 16 | low[:, 2] << 24) >> 8).astype(np.float64)
    else:
        values = np.frombuffer(data, f"<i{bits // 8}").astype(np.float64)
    scaled: NDArray[np.float32] = (values / 2.0 ** (bits - 1)).astype(np.float32)
    below_one = np.nextafter(np.float32(1), np.float32(0))  # 2^31 - 1 would round up to 1
    np.minimum(scaled, below_one, out=scaled)
    return scaled


def _load_image(path: Path, shape: Sequence[int]) -> Array:
    """Pixels 0...255, channels first, or channels last where only that fits `shape`."""
    try:
        pillow = importlib.import_module("PIL.Image")
    except ImportError:
        raise CliError(f"{path}: images need Pillow", "pip install pillow") from None
    try:
        with pillow.open(path) as image:
            mode = "RGB" if 3 in (*shape[-3:-2], *shape[-1:]) else "L"
            pixels: Array = np.asarray(image.convert(mode))
    except OSError as error:
        raise CliError(f"{path}: not a readable image: {error}") from error
    last = pixels if pixels.ndim == 3 else pixels[:, :, None]
    first = np.moveaxis(last, -1, 0)
    return last if tuple(shape[-3:]) == last.shape != first.shape else first
