"""The one place where a test meets the package: text and arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def run_program(text: str, inputs: Mapping[str, Array], **options: Any) -> dict[str, Array]:
    """Compile a program on the host engine, evaluate it once, and return its outputs by name."""
    return run_calls(text, [inputs], **options)[0]


def run_calls(
    text: str, calls: list[Mapping[str, Array]] | tuple[Mapping[str, Array], ...], **options: Any
) -> list[dict[str, Array]]:
    """Evaluate one kernel several times, so that its states carry over."""
    import milane  # noqa: PLC0415 - the reference is tested without the package

    with milane.open("host") as runtime:
        kernel = runtime.compile(text, **options)
        return [{n: np.asarray(v) for n, v in kernel(**inputs).items()} for inputs in calls]


def operations() -> dict[str, str]:
    """Return how the host engine runs each operation of the language: "none" where it refuses."""
    import milane.mil  # noqa: PLC0415

    return {op.name: str(op.host) for op in milane.mil.ops()}
