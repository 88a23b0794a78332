"""The programs tests run: our own under tests/programs, and the corpus where it is present."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import milane
from conftest import corpus_folder
from synthblob import write_synthetic_weights

OWN = Path(__file__).resolve().parent / "programs" / "gen"
# Not MIL: the parser must refuse them (tests/test_mil_errors.py says where).
MALFORMED = {
    "luengnat__rustane__models.layer0.layer_0_fwd",
    "luengnat__rustane__models.layer0.layer_0_bwd",
}


@dataclass(frozen=True)
class ProgramFile:
    """One program on disk."""

    id: str
    folder: Path

    @property
    def text(self) -> str:
        """Its MIL text."""
        return self.path.read_text(encoding="utf-8")

    @property
    def path(self) -> Path:
        """Its .mil file."""
        return self.folder / "model.mil"

    def model_folder(self, scratch: Path) -> Path:
        """The folder of its weights: its own, or one with synthetic ones made under `scratch`."""
        if (self.folder / "weights" / "weight.bin").exists() or "BLOBFILE" not in self.text:
            return self.folder
        write_synthetic_weights(self.path, scratch, seed=1)
        return scratch

    def compile(self, runtime: milane.Runtime, scratch: Path, **options: object) -> milane.Kernel:
        """Compile it, with synthetic weights where its own are absent."""
        path, own = self.source(scratch)
        return runtime.compile(path, **(own | options))

    def source(self, scratch: Path) -> tuple[Path, dict[str, Any]]:
        """What to compile, beside its weights, and the options: its function and its shapes."""
        path = self.path
        if self.model_folder(scratch) != self.folder:
            path = scratch / "model.mil"
            path.write_text(self.text, encoding="utf-8")
        function = milane.mil.parse(self.text).functions[0]
        return path, {"function": function.name, "shapes": _shapes(self.id, function)}


def _shapes(program: str, function: milane.mil.Function) -> dict[str, list[int]]:
    """Shapes for inputs without a usable default: printed packages lost theirs."""
    if function.attributes and "FlexibleShapeInformation" in function.attributes:
        return {"audio_signal": [1, 16000]} if "preprocessor" in program else {}
    return {
        i.name: [16 if d is None else d for d in i.type.shape]
        for i in function.inputs
        if i.type.kind == "tensor" and None in i.type.shape
    }


def own_programs() -> list[ProgramFile]:
    """The programs in this repository."""
    return [
        ProgramFile(f"gen/{d.name}", d) for d in sorted(OWN.iterdir()) if (d / "model.mil").exists()
    ]


def corpus_programs(*kinds: str) -> list[ProgramFile]:
    """Well-formed corpus programs of these kinds; none where the corpus is absent."""
    root = corpus_folder()
    if root is None:
        return []
    return [
        ProgramFile(f"{kind}/{d.name}", d)
        for kind in kinds
        for d in sorted((root / kind).iterdir())
        if (d / "model.mil").exists() and d.name not in MALFORMED
    ]


def all_programs() -> list[ProgramFile]:
    """Own programs, then the corpus."""
    return own_programs() + corpus_programs("real", "printed", "hand")


def random_inputs(kernel: milane.Kernel, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of moderate size for every input of a kernel; integers are small and valid indices."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for name, port in kernel.inputs.items():
        if port.dtype.kind == "f":
            inputs[name] = rng.standard_normal(port.shape).astype(port.dtype)
        elif port.dtype.kind == "b":
            inputs[name] = rng.integers(0, 2, port.shape).astype(bool)
        else:
            inputs[name] = rng.integers(0, 2, port.shape).astype(port.dtype)
    return inputs
