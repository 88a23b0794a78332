"""milane.half against NumPy, bit for bit, on every instruction set of this CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from instruction_sets import leave, narrower_sets, on
from milane.half import f32_to_fp16, fp16_to_f32
from op_harness import run_program
from tolerance import bound, reduced, rounded

Array = NDArray[Any]

ALL_HALVES = np.arange(1 << 16, dtype=np.uint16)
IS_NAN = (ALL_HALVES & 0x7FFF) > 0x7C00


def exact_float32_bits(halves: Array) -> Array:
    """The float32 bits of half bits: NumPy's, and for NaN the payload kept and made quiet."""
    wide = halves.view(np.float16).astype(np.float32).view(np.uint32)
    sign, payload = (halves & 0x8000).astype(np.uint32), (halves & 0x03FF).astype(np.uint32)
    quiet = sign << 16 | 0x7FC00000 | payload << 13
    return np.where((halves & 0x7FFF) > 0x7C00, quiet, wide)


def rounded_half_bits(floats: Array) -> Array:
    """The half bits of floats: NumPy's, and for NaN the upper payload kept and made quiet."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = floats.astype(np.float16).view(np.uint16)
    bits = floats.view(np.uint32)
    quiet = (bits >> 16 & 0x8000 | 0x7E00 | bits >> 13 & 0x03FF).astype(np.uint16)
    return np.where(np.isnan(floats), quiet, narrow)


def edge_floats() -> Array:
    """Every half, the ties between neighbours, what lies next to both, and specials."""
    positive = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    ties = np.append((positive[:-1] + positive[1:]) / 2, 65520.0)
    exact = np.concatenate([positive, ties]).astype(np.float32)
    near = [np.nextafter(exact, np.float32(limit)) for limit in (-np.inf, np.inf)]
    powers = 2.0 ** np.arange(-149, 128)
    special = np.array([np.inf, 3.4028235e38, 65519.996, 65520, 65504, 1e-45], np.float32)
    nans = np.array([0x7FC00000, 0x7F800001, 0x7FFFFFFF, 0x7F802000, 0x7FA01234], np.uint32)
    finite = np.concatenate([exact, *near, powers.astype(np.float32), special])
    both = np.concatenate([finite, nans.view(np.float32)])
    return np.concatenate([both, -both])


def random_floats(count: int) -> Array:
    """Floats of every exponent: random bits."""
    return np.random.default_rng(7).integers(0, 1 << 32, count, dtype=np.uint32).view(np.float32)


def check_conversions() -> None:
    """Every half to float32 and back, edges and random floats to half, and every vector tail."""
    wide = fp16_to_f32(ALL_HALVES.view(np.float16))
    np.testing.assert_array_equal(wide.view(np.uint32), exact_float32_bits(ALL_HALVES))
    back = f32_to_fp16(wide).view(np.uint16)
    np.testing.assert_array_equal(back, ALL_HALVES | np.where(IS_NAN, 0x0200, 0).astype(np.uint16))
    for floats in (edge_floats(), random_floats(200_000)):
        narrow = f32_to_fp16(floats).view(np.uint16)
        np.testing.assert_array_equal(narrow, rounded_half_bits(floats))
    floats = random_floats(70)
    halves = np.random.default_rng(3).integers(0, 1 << 16, 70, dtype=np.uint16)
    for n in range(71):
        narrow = f32_to_fp16(floats[:n]).view(np.uint16)
        np.testing.assert_array_equal(narrow, rounded_half_bits(floats[:n]), err_msg=f"{n}")
        bits = fp16_to_f32(halves[:n]).view(np.uint32)
        np.testing.assert_array_equal(bits, exact_float32_bits(halves[:n]), err_msg=f"{n}")


def test_conversions_agree_with_numpy_bit_for_bit() -> None:
    check_conversions()


# --- values with a name


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (0.0, 0x0000),
        (-0.0, 0x8000),
        (65504.0, 0x7BFF),
        (65519.996, 0x7BFF),
        (65520.0, 0x7C00),
        (-65520.0, 0xFC00),
        (np.inf, 0x7C00),
        (2.0**-24, 0x0001),
        (2.0**-25, 0x0000),
        (1.5 * 2.0**-25, 0x0001),
        (1023 * 2.0**-24, 0x03FF),
        (1023.5 * 2.0**-24, 0x0400),
        (1 + 2.0**-11, 0x3C00),
        (1 + 3 * 2.0**-11, 0x3C02),
        (1e300, 0x7C00),
    ],
)
def test_float_is_rounded_to_the_nearest_half_ties_to_even(value: float, bits: int) -> None:
    result = f32_to_fp16(value)
    assert isinstance(result, np.float16)
    assert result.view(np.uint16) == bits


def test_nan_is_made_quiet_and_keeps_sign_and_upper_payload() -> None:
    signalling = np.array([0x7F802000, 0xFF802000], np.uint32).view(np.float32)
    assert f32_to_fp16(signalling).view(np.uint16).tolist() == [0x7E01, 0xFE01]
    halves = np.array([0x7C01, 0xFC01], np.uint16)
    assert fp16_to_f32(halves).view(np.uint32).tolist() == [0x7FC02000, 0xFFC02000]


# --- shapes and dtypes


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 5), (2, 3, 5), (1, 1, 1, 1, 1, 7)])
def test_the_result_has_the_shape_of_the_input(shape: tuple[int, ...]) -> None:
    values = np.full(shape, 1.5)
    narrow = f32_to_fp16(values)
    assert (np.shape(narrow), narrow.dtype) == (shape, np.float16)
    wide = fp16_to_f32(narrow)
    assert (np.shape(wide), wide.dtype) == (shape, np.float32)
    assert np.all(wide == 1.5)


def test_scalars_give_scalars() -> None:
    assert isinstance(f32_to_fp16(0.1), np.float16)
    assert isinstance(fp16_to_f32(np.float16(0.1)), np.float32)
    assert fp16_to_f32(np.uint16(0x3C00)) == 1


def test_arrays_that_are_not_contiguous_are_converted_by_value() -> None:
    floats = np.arange(60, dtype=np.float32).reshape(5, 12)
    halves = floats.astype(np.float16)
    for index in (np.s_[::2, ::3], np.s_[::-1], np.s_[:, 1:]):
        np.testing.assert_array_equal(f32_to_fp16(floats[index]), halves[index])
        np.testing.assert_array_equal(fp16_to_f32(halves[index]), floats[index])
    np.testing.assert_array_equal(f32_to_fp16(floats.T), halves.T)
    np.testing.assert_array_equal(fp16_to_f32(halves.T), floats.T)


def test_the_input_is_left_alone() -> None:
    floats = np.array([1.25, -2], np.float32)
    floats.flags.writeable = False
    result = f32_to_fp16(floats)
    result[...] = 0
    assert floats.tolist() == [1.25, -2]


@pytest.mark.parametrize("dtype", [">f4", ">f8", "f8", ">f2", "f2", "i8", "u1", "?"])
def test_every_real_dtype_is_taken_for_a_half(dtype: str) -> None:
    values = np.array([0, 1, 1, 0]).astype(dtype)
    np.testing.assert_array_equal(f32_to_fp16(values), values.astype(np.float16))


def test_float64_is_rounded_to_float32_first() -> None:
    # One rounding would give 1 + 2^-10; rounded to float32 first, it is a tie.
    value = 1 + 2.0**-11 + 2.0**-40
    assert f32_to_fp16(value) == 1
    assert np.float16(value) == 1 + 2.0**-10


def test_halves_of_the_other_byte_order_are_converted_by_value() -> None:
    assert fp16_to_f32(np.array([1.5, -2], ">f2")).tolist() == [1.5, -2]


@pytest.mark.parametrize(
    "values",
    [np.zeros(2, np.float32), np.zeros(2), 1.0, np.zeros(2, np.int32), np.array([b"ab"]), "ab"],
    ids=["float32", "float64", "float", "int32", "two bytes of text", "text"],
)
def test_fp16_to_f32_refuses_what_is_not_16_bits_wide(values: Any) -> None:
    with pytest.raises(milane.DTypeError, match="expected float16"):
        fp16_to_f32(values)


@pytest.mark.parametrize("values", [np.zeros(2, complex), "1.5", None, [object()]], ids=repr)
def test_f32_to_fp16_refuses_what_is_no_real_number(values: Any) -> None:
    with pytest.raises(milane.DTypeError, match="expected real numbers"):
        f32_to_fp16(values)


# --- surfaces convert the same way


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f8", ">f2"])
def test_a_surface_takes_any_byte_order_by_value(dtype: str) -> None:
    surface = milane.Surface([2, 3])
    values = np.arange(6).reshape(2, 3).astype(dtype)
    surface.write(values)
    np.testing.assert_array_equal(surface.read(), values.astype(np.float16))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_surface_takes_what_is_too_large_as_infinity(dtype: type) -> None:
    surface = milane.Surface([3])
    surface.write(np.array([65519, 65520, -1e30], dtype))
    np.testing.assert_array_equal(surface.read(), np.array([65504, np.inf, -np.inf], np.float16))


def test_a_surface_rounds_as_the_conversions_do() -> None:
    values = random_floats(3 * 41).reshape(3, 41)
    surface = milane.Surface([3, 41])
    surface.write(values)
    np.testing.assert_array_equal(surface.read().view(np.uint16), rounded_half_bits(values))
    wide = surface.read_f32().view(np.uint32)
    np.testing.assert_array_equal(wide, exact_float32_bits(rounded_half_bits(values)))


# --- every instruction set

BLOCK = """program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 24, 7, 9]> x, tensor<fp16, [16, 24, 3, 3]> w, tensor<fp16, [63, 37]> m) {
            tensor<fp16, [1, 16, 7, 9]> c = conv(x = x, weight = w, pad_type = string("same"));
            tensor<fp16, [1, 16, 7, 9]> s = silu(x = c);
            tensor<fp16, [16, 63]> r = reshape(x = s, shape = tensor<int32, [2]>([16, 63]));
            tensor<fp16, [16, 37]> p = matmul(x = r, y = m);
            tensor<fp16, [16, 37]> y = softmax(x = p, axis = int32(-1));
        } -> (c, s, p, y);
}
"""


def block_inputs() -> dict[str, Array]:
    rng = np.random.default_rng(11)
    shapes = {"x": (1, 24, 7, 9), "w": (16, 24, 3, 3), "m": (63, 37)}
    return {n: (rng.standard_normal(s) / 4).astype(np.float16) for n, s in shapes.items()}


@pytest.mark.parametrize("name", narrower_sets())
def test_a_narrower_instruction_set_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    other = on(name, __file__, tmp_path)
    own = run_program(BLOCK, block_inputs())
    limits = block_limits(own)
    for output, limit in limits.items():
        off = np.abs(other[output].astype(np.float64) - own[output].astype(np.float64))
        assert np.all(off <= limit), f"{output}: {np.max(off / limit):.3g} of what is allowed"


def block_limits(own: dict[str, Array]) -> dict[str, Array]:
    """How far two correct evaluations of BLOCK may lie apart, carried from output to output.

    Both are within their tolerance of the true value, so within two of each other.
    """
    inputs = block_inputs()
    sizes = run_program(BLOCK, {n: np.abs(a) for n, a in inputs.items()})
    m = np.abs(inputs["m"]).astype(np.float64)
    c = 2 * bound(own["c"], reduced(24 * 9).of(sizes["c"]), "fp16")
    s = 2 * bound(own["s"], rounded, "fp16") + 1.1 * c  # the slope of silu is below 1.1
    size = np.abs(own["s"]).astype(np.float64).reshape(16, 63) @ m
    p = 2 * bound(own["p"], reduced(63).of(size), "fp16") + s.reshape(16, 63) @ m
    # A softmax whose arguments are off by d is off by at most exp(2 d) - 1 times itself.
    spread = np.expm1(2 * np.max(p, axis=-1, keepdims=True))
    y = 2 * bound(own["y"], reduced(37), "fp16") + spread * own["y"]
    return {"c": c, "s": s, "p": p, "y": y}


if __name__ == "__main__":
    check_conversions()
    leave(run_program(BLOCK, block_inputs()))
