"""What this machine can do at most, as variants that take their turns beside what they limit."""

from __future__ import annotations

import functools
import mmap
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import milane
from milane._core import limits as _limits

Bytes = npt.NDArray[np.uint8]

LARGE = 256 << 20  # bytes: beyond every cache
HUGE_PAGE = 2 << 20


@dataclass(frozen=True)
class Probe:
    """A limit: what to call, and the work that one call does."""

    call: Callable[[], object]
    work: float


def buffer(nbytes: int, *, huge: bool) -> Bytes:
    """Bytes that are there already, in huge pages where asked and granted.

    Without `huge` the system is told not to use them, where it can be told.
    """
    memory = mmap.mmap(-1, nbytes + HUGE_PAGE)
    advice = "MADV_HUGEPAGE" if huge else "MADV_NOHUGEPAGE"
    if hasattr(mmap, advice):
        memory.madvise(getattr(mmap, advice))
    array = np.frombuffer(memory, np.uint8)
    skip = -array.ctypes.data % HUGE_PAGE
    array = array[skip : skip + nbytes]
    array[:] = 1
    return array


@functools.lru_cache(maxsize=2)
def _pair(nbytes: int, huge: bool) -> tuple[Bytes, Bytes]:
    return buffer(nbytes, huge=huge), buffer(nbytes, huge=huge)


def probes(kind: str, nbytes: int = LARGE) -> dict[str, Probe]:
    """The probes of a kind of limit, by name; the best of them is the limit.

    "fma": floating-point operations of fp32 multiply-adds in registers. "bf16": the same of bf16
    dot products, none where the CPU has no AVX512-BF16. "read": bytes read.
    "copy": bytes read plus bytes written, plainly and past the caches. Memory is measured with and
    without huge pages. "" has none.
    """
    if kind == "fma":
        return {"limit: multiply-adds": _registers(_limits.multiply_adds, 2e-3)}
    if kind == "bf16":
        has = milane.cpu_has_bf16()
        return {"limit: bf16 dots": _registers(_limits.bf16_dots, 2e-3)} if has else {}
    made: dict[str, Probe] = {}
    if kind == "read":
        for huge in (False, True):
            source, _ = _pair(nbytes, huge)
            made[f"limit: read{_pages(huge)}"] = Probe(
                functools.partial(_limits.read, source), nbytes
            )
    elif kind == "copy":
        for huge in (False, True):
            target, source = _pair(nbytes, huge)
            for streaming in (False, True):
                name = "streamed copy" if streaming else "copy"
                made[f"limit: {name}{_pages(huge)}"] = Probe(
                    functools.partial(_limits.copy, target, source, streaming), 2 * nbytes
                )
    elif kind:
        raise ValueError(f"probes: expected fma, bf16, read, copy or nothing, got {kind!r}")
    return made


def _pages(huge: bool) -> str:
    return ", huge pages" if huge else ""


def _registers(loop: Callable[[int], int], seconds: float) -> Probe:
    """A loop of so many steps that it takes about so long."""
    steps, best = 1 << 14, 0.0
    for _ in range(20):
        start = time.perf_counter()
        operations = loop(steps)
        best = max(best, operations / (time.perf_counter() - start))
    steps = int(steps * seconds * best / operations)
    return Probe(lambda: loop(steps), float(loop(steps)))
