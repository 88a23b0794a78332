"""How far a result may lie from the float64 reference: four named classes, each derived.

Let u8 = 2^-8, u16 = 2^-11 and u32 = 2^-24 be the unit roundoffs of bf16, half and single precision.

`exact`    The result is the float64 result rounded once to its dtype, bit for bit. True for
           movement, comparison and integers; also for + - · / and sqrt, because rounding fp16
           operands' fp32 result to fp16 (24 >= 2 · 11 + 2 bits) equals rounding the true one.
`rounded`  One unit in the last place of the output, plus 8 u32 times the magnitude that the fp32
           computation went through. The engine computes in fp32 and rounds once: half a unit from
           that rounding, and less than the other half from an fp32 function good to a few u32. The
           second term matters where a result is small beside its intermediates (1 + erf(x) for
           negative x). Without a given magnitude, max(|result|, 1) stands for it.
`reduced`  One unit in the last place of the output, plus (n + 8) u32 · sum |terms| for a reduction
           of length n: the bound of recursive summation, which every other order fulfils too.
           `sum |terms|` is the magnitude; without one, the largest |result| stands for it.
`bf16`     A sum of n products of fp16 operands that are rounded to bf16 first. Each operand is off
           by at most u8 of itself, so a product by (1 + u8)^2 - 1 = 2 u8 + u8^2 of itself, and the
           rounded products are (1 + u8)^2 times as large at most. They are exact in fp32 (2 · 8
           bits), so the sum is `reduced` with that factor: one unit in the last place of the
           output, plus (2 u8 + u8^2 + (n + 8) u32 (1 + u8)^2) · sum |terms|. The instruction
           flushes subnormals to zero, which changes nothing: rounded halves are multiples of 2^-24,
           products and sums of them of 2^-48, and the smallest normal number is 2^-126.

Where the dtype is fp32 nothing hides the second terms, and the unit in the last place is fp32's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference import evaluate, round_to
from reference.evaluate import Rounding

Array = NDArray[Any]

U8 = 2.0**-8
U32 = 2.0**-24
_SLACK = 8.0  # roundings of fp32 beyond the sum itself: a function, a scale, an offset
_BITS = {"bf16": (8, -126), "fp16": (11, -14), "fp32": (24, -126)}  # and the smallest exponent
_TOP = {"fp16": np.finfo(np.float16).max, "fp32": np.finfo(np.float32).max}


@dataclass(frozen=True)
class Tolerance:
    """A class, the length of its reduction, and what may be overlooked."""

    name: str
    length: int = 0
    magnitude: Array | float | None = None
    zero_sign: bool = True  # -0 and +0 differ (for `exact` alone)

    def of(self, magnitude: Array | float | None) -> Tolerance:
        """Return this class for intermediates of a known magnitude."""
        return replace(self, magnitude=magnitude)

    def any_zero(self) -> Tolerance:
        """Return this class with -0 equal to +0."""
        return replace(self, zero_sign=False)


exact = Tolerance("exact")
rounded = Tolerance("rounded", zero_sign=False)


def reduced(length: int) -> Tolerance:
    """Return the class of sums of `length` terms."""
    return Tolerance("reduced", length=length, zero_sign=False)


def bf16(length: int) -> Tolerance:
    """Return the class of sums of `length` products of operands rounded to bf16."""
    return Tolerance("bf16", length=length, zero_sign=False)


def ulp(values: Array, dtype: str) -> Array:
    """Return the distance to the next value of a dtype: constant below its smallest normal."""
    bits, least = _BITS[dtype]
    size = np.abs(np.asarray(values, np.float64))
    size = np.where(np.isfinite(size), size, 0.0)
    _, exponent = np.frexp(np.maximum(size, 2.0**least))  # size = m · 2^exponent, m in [0.5, 1)
    return np.ldexp(1.0, exponent - bits)


def round_bf16(values: Array) -> Array:
    """Round to the nearest of bf16 (half to even), held as float64."""
    unit = ulp(values, "bf16")
    return np.rint(np.asarray(values, np.float64) / unit) * unit


def nearest(dtype: str, values: Array) -> Array:
    """Round to the nearest of a dtype, held as float64."""
    return round_bf16(values) if dtype == "bf16" else round_to(values, dtype)


def bound(expected: Array, tolerance: Tolerance, dtype: str) -> Array:
    """Return the largest allowed |actual - expected|, element by element."""
    expected = np.asarray(expected, np.float64)
    if tolerance.name == "exact":
        return np.zeros(expected.shape)
    finite = np.where(np.isfinite(expected), np.abs(expected), 0.0)
    magnitude = tolerance.magnitude
    if magnitude is None:
        is_sum = tolerance.name in {"reduced", "bf16"} and finite.size > 0
        # An fp32 function of a moderate argument passes through numbers of about 1.
        magnitude = np.max(finite) if is_sum else np.maximum(finite, 1.0)
    relative = (_SLACK + tolerance.length) * U32
    if tolerance.name == "bf16":
        relative = 2 * U8 + U8**2 + relative * (1 + U8) ** 2
    with np.errstate(all="ignore"):
        return ulp(expected, dtype) + relative * np.abs(np.nan_to_num(magnitude))


def _describe(actual: Array, expected: Array, limit: Array, dtype: str, excess: Array) -> str:
    where = np.unravel_index(int(np.argmax(excess)), excess.shape) if excess.shape else ()
    got, want = float(actual[where]), float(expected[where])
    units = abs(got - want) / float(ulp(expected, dtype)[where]) if dtype in _TOP else 0.0
    index = tuple(int(i) for i in where)
    return (
        f"worst at {index} of {actual.shape}: expected {want!r}, got {got!r}, "
        f"{units:.3g} ulps of {dtype} apart, allowed {float(limit[where]):.3g}; "
        f"{int(np.count_nonzero(excess > 0))} of {excess.size} elements beyond the tolerance"
    )


def assert_close(
    actual: Array, expected64: Array, tolerance: Tolerance, dtype: str, label: str = ""
) -> None:
    """Raise AssertionError unless `actual` is within a tolerance of the float64 reference.

    `dtype` is that of the computation: fp16, fp32, or an integer or bool type (always exact).
    Beyond the largest finite value the expected one is infinite, as rounding makes it; values
    within the tolerance of that border may be either. NaN equals NaN and nothing else.
    """
    actual, expected = np.asarray(actual), np.asarray(expected64)
    where = f"{label}: " if label else ""
    assert actual.shape == expected.shape, (
        f"{where}expected shape {expected.shape}, got {actual.shape}"
    )
    if dtype not in _TOP:
        differ = (actual != expected).astype(np.float64)
        limit = np.zeros(actual.shape)
        assert not differ.any(), where + _describe(actual, expected, limit, dtype, differ)
        return
    got, want = actual.astype(np.float64), expected.astype(np.float64)
    limit = bound(want, tolerance, dtype)
    target = round_to(want, dtype)
    if tolerance.name == "exact":
        want = target
    with np.errstate(all="ignore"):
        off = np.abs(got - want)
        same = (got == target) | (np.isnan(got) & np.isnan(target))
        top = float(_TOP[dtype])
        near_top = np.isinf(got) & (np.sign(got) == np.sign(want)) & (np.abs(want) + limit >= top)
        close = np.isfinite(off) & (off <= limit)
    bad = ~(same | near_top | close)
    if tolerance.name == "exact" and tolerance.zero_sign:
        zero = (got == 0) & (target == 0)
        bad |= zero & (np.signbit(got) != np.signbit(target))
    excess = np.where(bad, np.where(np.isfinite(off), off - limit, np.inf), 0.0)
    excess = np.where(bad & (excess <= 0), np.finfo(np.float64).tiny, excess)
    assert not bad.any(), where + _describe(got, want, limit, dtype, excess)


class _Stochastic:
    """Rounds every result up or down at random, with the chance of its nearness.

    fp32 results get noise of `spread32` units instead, which stands for an accumulation in fp32:
    n random roundings add up to about sqrt(n) units.
    """

    def __init__(self, seed: int, spread32: float) -> None:
        self.random = np.random.default_rng(seed)
        self.spread32 = spread32

    def __call__(self, dtype: str, array: Array) -> Array:
        noise = self.random.uniform(-0.5, 0.5, array.shape)
        width = self.spread32 if dtype == "fp32" else 1.0
        with np.errstate(all="ignore"):
            return nearest(dtype, array + noise * width * ulp(array, dtype))


def program_tolerance(
    program: str,
    model_folder: str | Path | None,
    inputs: Mapping[str, Array],
    function: str | None = None,
    states: Mapping[str, Array] | None = None,
    *,
    samples: int = 8,
    sigmas: float = 6.0,
    spread32: float = 16.0,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return (float64 outputs, allowed difference) of a whole program, both by output name.

    A correct engine differs from float64 only by its roundings, one at every output of every
    operation. How far those carry depends on the program, so it is measured: the program is run
    in float64, once rounded to nearest, and `samples` times rounded up or down at random. Random
    rounding has twice the variance of rounding to nearest (u²/6 against u²/12, u the unit in the
    last place), so the spread of the samples over-estimates that of any engine which rounds to
    nearest but sums in another order. Per element the allowance is `sigmas` times the root of the
    element's mean square deviation and the tensor's (which steadies an estimate from few samples),
    plus one unit in the last place, and never less than twice the deviation of rounding to nearest.

    Integer and boolean outputs get an allowance of 0. Discontinuous programs (argmax of nearly
    equal values) have no honest bound; compare their logits.
    """

    def run(rounding: Any) -> dict[str, Array]:
        own = {name: np.array(v) for name, v in (states or {}).items()}
        return evaluate(program, model_folder, inputs, function, own, rounding=rounding)

    return rounding_tolerance(run, samples=samples, sigmas=sigmas, spread32=spread32)


def rounding_tolerance(
    run: Callable[[Rounding | None], dict[str, Array]],
    *,
    samples: int = 8,
    sigmas: float = 6.0,
    spread32: float = 16.0,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return what ``run(None)`` does and the allowed difference, as :func:`program_tolerance`.

    For more than one program: ``run(rounding)`` evaluates them all, by ``evaluate(rounding=)``.
    """
    truth = run(None)
    once = run(nearest)
    runs = [once, *(run(_Stochastic(seed, spread32)) for seed in range(samples))]
    limits: dict[str, Array] = {}
    for name, value in truth.items():
        if value.dtype.kind != "f":
            limits[name] = np.zeros(value.shape)
            continue
        with np.errstate(all="ignore"):
            off = np.nan_to_num(np.stack([np.abs(r[name] - value) for r in runs]))
            spread = np.mean(off**2, axis=0)
            sigma = np.sqrt(spread + (np.mean(spread) if spread.size else 0.0))
            last = ulp(value, "fp16" if _is_half(once[name]) else "fp32")
            limits[name] = np.maximum(sigmas * sigma, 2.0 * off[0]) + last
    return truth, limits


def _is_half(array: Array) -> bool:
    """Whether every value is one of fp16: then the output was declared so."""
    return bool(np.array_equal(round_to(array, "fp16"), array, equal_nan=True))
