"""How long do whole models take next to ONNX Runtime?

YOLOv8n, Silero VAD, SuperPoint, MiniLM-L6, Whisper's encoder. Their MIL text comes from a folder of
programs (MILANE_CORPUS); where that has no weights, they are random. The ONNX graphs are the same
operations (mil_onnx.py), in fp32, and in fp16 where the program is. The results must agree with
ONNX Runtime's in fp32.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measure import Case, Options, Variant, main
from mil_onnx import export
from peers import Array, OnnxGraph, host, of_kernel, optional, ort_variant

import milane
from milane import Runtime

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

# What a folder's name contains -> what to call it.
MODELS = {
    "yolov8n": "YOLOv8n 640×640",
    "silero_vad": "Silero VAD, 512 samples",
    "superpoint": "SuperPoint 240×320",
    "MiniLM": "MiniLM-L6, 512 tokens",
    "WhisperCoreML__encoder": "Whisper base encoder",
}

# Outputs that fp16 cannot give, as ONNX Runtime does: its "fp16" computes such chains in fp32.
NOT_COMPARED = {
    "SuperPoint 240×320": {"desc": "its sums of squares pass 65504, so that strict fp16 gives 0"}
}


def inputs_of(function: Any) -> dict[str, Array]:
    """Numbers that make sense to each input."""
    rng = np.random.default_rng(0)
    made: dict[str, Array] = {}
    for port in function.inputs:
        shape, dtype = port.type.shape, {"fp16": np.float16}.get(port.type.dtype, np.float32)
        if "ids" in port.name:
            made[port.name] = rng.integers(0, 1000, shape).astype(dtype)
        elif "mask" in port.name:
            made[port.name] = np.ones(shape, dtype)
        else:
            made[port.name] = rng.random(shape).astype(dtype)
    return made


def model(runtime: Runtime, options: Options, name: str, path: Path, scratch: Path) -> Case:
    """One model and its ONNX graph."""
    # In tools/, which the benchmarks' path does not have at first.
    from synthblob import write_synthetic_weights  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    text = path.read_text(encoding="utf-8")
    folder, note = path.parent, "its own weights"
    if "BLOBFILE" in text and not (folder / "weights" / "weight.bin").exists():
        write_synthetic_weights(path, scratch, seed=1)
        (scratch / "model.mil").write_text(text, encoding="utf-8")
        folder, note = scratch, "random weights"
    function = milane.mil.parse(text).functions[0]
    inputs = inputs_of(function)
    kernel = runtime.compile(folder / "model.mil", function=function.name)
    hidden = NOT_COMPARED.get(name, {})
    outputs = tuple(o for o in function.outputs if o not in hidden)
    places = tuple(i for i, o in enumerate(function.outputs) if o not in hidden)
    note += "".join(f", {o} not compared: {why}" for o, why in hidden.items())
    variants: dict[str, Variant] = {"milane": of_kernel(kernel, inputs, every=outputs)}
    half = any(o.type.dtype == "fp16" for op in function.operations for o in op.outputs)
    ort, onnx = optional("onnxruntime"), optional("onnx")
    missing: dict[str, str] = {}
    expected = None
    for dtype in ("fp32", "fp16") if half else ("fp32",):
        peer = f"ONNX Runtime {dtype}"
        if ort is None or onnx is None:
            missing[peer] = "onnxruntime or onnx is not installed"
            continue
        graph = OnnxGraph(onnx, dtype)
        try:
            export(graph, path, folder)
            given = {
                p.name: inputs[p.name].astype(graph.dtype if p.type.dtype == "fp16" else np.float32)
                for p in function.inputs
            }
            variants[peer] = ort_variant(ort, graph.model(), options.threads, given, every=places)
        except Exception as error:  # no equivalent graph is a result too
            missing[peer] = f"{type(error).__name__}: {str(error)[:120]}"
            continue
        if dtype == "fp32":
            variants[peer].call()
            expected = np.array(variants[peer].result())
    count = sum(1 for op in function.operations if op.type != "const")
    return Case(
        name,
        variants,
        expected,
        # Each operation rounds; independent errors add up as their squares.
        roundings=4 * count**0.5,
        missing=missing,
        note=f"{note}, {count} operations, {'fp16' if half else 'fp32'} program",
    )


def cases(options: Options) -> Iterator[Case]:
    """Those that are there."""
    root = os.environ.get("MILANE_CORPUS")
    if not root:
        print("MILANE_CORPUS names no folder of programs: no models")
        return
    with host() as runtime:
        for part, name in MODELS.items():
            for path in sorted(Path(root).rglob("model.mil")):
                if part in path.parent.name and not (options.short and part != "silero_vad"):
                    with tempfile.TemporaryDirectory() as scratch:
                        yield model(runtime, options, name, path, Path(scratch))
                    break


if __name__ == "__main__":
    main(__doc__ or "", cases)
