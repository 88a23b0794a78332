"""Real models with their own weights: every intermediate value against float64."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

import milane
from on_device import adapted, refused
from stepwise import check_every_step, float_results

DATA = Path(__file__).resolve().parent / "data"
SILERO = "real/tmasolo0__MacOS_Voice_Input__Resources.silero_vad"
SUPERPOINT = "printed/piyushmundhra__AutoNeRF__superpoint"


def speech() -> np.ndarray:
    """Synthetic speech, 16 kHz mono, in [-1, 1)."""
    with wave.open(str(DATA / "speech.wav")) as f:
        assert f.getframerate() == 16000
        return np.frombuffer(f.readframes(f.getnframes()), "<i2").astype(np.float32) / 32768


def picture(height: int, width: int) -> np.ndarray:
    """Grey rectangles on a ramp: corners for a corner detector to find."""
    y, x = np.mgrid[0:height, 0:width]
    image = 0.2 + 0.2 * x / width
    rng = np.random.default_rng(7)
    for _ in range(12):
        top, left = rng.integers(0, height - 40), rng.integers(0, width - 40)
        h, w = rng.integers(12, 40, 2)
        inside = (y >= top) & (y < top + h) & (x >= left) & (x < left + w)
        image = np.where(inside, rng.uniform(0.3, 1.0), image)
    return image.astype(np.float32)


def weights_of(path: Path) -> dict[str, Path]:
    """The weight files of a program that is not compiled from its own folder."""
    return {"@model_path/weights/weight.bin": path.parent / "weights" / "weight.bin"}


def taken(runtime: milane.Runtime, path: Path) -> milane.mil.Program:
    """The program, changed as its users would have to where the backend refuses it."""
    return adapted(path) if refused(runtime, path) else milane.mil.load(path)


def assert_every_step_agrees(
    path: Path, runtime: milane.Runtime, inputs: dict[str, np.ndarray]
) -> int:
    """Hold every float result of the program to float64; return how many there were."""
    exposed = taken(runtime, path)
    text = str(exposed)
    exposed["main"].outputs = float_results(text)
    with runtime.compile(exposed, weight_files=weights_of(path)) as kernel:
        return check_every_step(text, path.parent, inputs, kernel(**inputs))


def _frames(audio: np.ndarray, size: int = 512) -> list[np.ndarray]:
    return [audio[i : i + size][None] for i in range(0, len(audio) - size + 1, size)]


def test_silero_vad_separates_speech_from_silence(corpus: Path, runtime: milane.Runtime) -> None:
    if refused(runtime, corpus / SILERO / "model.mil"):
        return  # it has an lstm
    kernel = runtime.compile(corpus / SILERO / "model.mil")
    rng = np.random.default_rng(0)
    quiet = rng.standard_normal(16000).astype(np.float32) * 1e-4
    heard = [float(kernel(audio_chunk=f)["vad_probability"][0, 0]) for f in _frames(speech())]
    unheard = [float(kernel(audio_chunk=f)["vad_probability"][0, 0]) for f in _frames(quiet)]
    assert np.median(heard) > np.max(unheard)


def test_silero_vad_agrees_with_float64_at_every_step(
    corpus: Path, runtime: milane.Runtime
) -> None:
    if refused(runtime, corpus / SILERO / "model.mil"):
        return
    frames = _frames(speech())
    loudest = max(frames, key=lambda f: float(np.abs(f).max()))
    for frame in (loudest, np.zeros((1, 512), np.float32)):
        assert (
            assert_every_step_agrees(corpus / SILERO / "model.mil", runtime, {"audio_chunk": frame})
            > 60
        )


def test_superpoint_agrees_with_float64_at_every_step(
    corpus: Path, runtime: milane.Runtime
) -> None:
    image = picture(240, 320)[None, None]
    assert (
        assert_every_step_agrees(corpus / SUPERPOINT / "model.mil", runtime, {"image": image}) > 20
    )


def test_superpoint_finds_the_corners_of_a_picture(corpus: Path, runtime: milane.Runtime) -> None:
    path = corpus / SUPERPOINT / "model.mil"
    kernel = runtime.compile(taken(runtime, path), weight_files=weights_of(path))

    def strongest(image: np.ndarray) -> float:
        semi = kernel(image=image[None, None])["semi"][0].astype(np.float64)
        share = np.exp(semi - semi.max(0))
        return float((share / share.sum(0))[:-1].max())  # the 65th channel means "no corner"

    assert strongest(picture(240, 320)) > 10 * strongest(np.full((240, 320), 0.5, np.float32))
