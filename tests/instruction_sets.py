"""The same computation on the narrower instruction sets, each in a process of its own.

A test file calls `narrower_sets` and `on`, and ends with ``if __name__ == "__main__": leave(...)``.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import milane

Array = NDArray[Any]


def narrower_sets() -> list[str]:
    """The instruction sets below this CPU's own."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return []
    return [s for s in ("v2", "v3") if s < milane.cpu_isa().rpartition("-")[2]]


def on(name: str, script: str, folder: Path) -> dict[str, Array]:
    """What the script leaves under an instruction set."""
    file = folder / "out.npz"
    done = subprocess.run(
        [sys.executable, str(Path(script).resolve()), str(file)],
        env={**os.environ, "MILANE_ISA": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"x86-64-{name}"
    with np.load(file) as found:
        return dict(found)


def assert_same_bits(name: str, script: str, folder: Path, own: dict[str, Array]) -> None:
    """Every array that the script leaves under an instruction set is the one computed here."""
    found = on(name, script, folder)
    for case, array in own.items():
        assert found[case].shape == array.shape, case
        assert found[case].tobytes() == array.tobytes(), case


def leave(arrays: dict[str, Array]) -> None:
    """For `on`: writes the arrays, and says on which set they were computed."""
    np.savez(sys.argv[1], **arrays)  # type: ignore[arg-type]
    print(milane.cpu_isa())
