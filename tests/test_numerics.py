"""What the three numerics compute: plain IEEE half, no half at all, and each quirk by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from op_harness import run_program

Array = NDArray[Any]

INF, NAN = np.inf, np.nan
DEFAULT_RULES = {rule.name for rule in milane.quirk_rules() if rule.scope == "all"}


def half(*values: float) -> Array:
    return np.array(values, np.float16)


def program(inputs: str, body: str, outputs: str) -> str:
    return (
        f"program(1.3)\n{{\n    func main<ios18>({inputs}) {{\n"
        f"            {body}\n        }} -> ({outputs});\n}}\n"
    )


def apply(call: str, result: str = "", **operands: Array) -> Any:
    """A function of the compile options that evaluates one operation on fp16 operands."""
    types = {n: f"tensor<fp16, {list(a.shape)}>" for n, a in operands.items()}
    output = f"tensor<fp16, {result}>" if result else types["x"]
    text = program(
        ", ".join(f"{t} {n}" for n, t in types.items()), f"{output} out = {call};", "out"
    )
    return lambda **options: run_program(text, operands, **options)["out"]


def unary(operation: str, *values: float) -> Any:
    return apply(f"{operation}(x = x)", x=half(*values))


def binary(operation: str, x: tuple[float, ...], y: tuple[float, ...]) -> Any:
    return apply(f"{operation}(x = x, y = y)", x=half(*x), y=half(*y))


def slice_from(begin: tuple[int, int], rows: list[list[float]]) -> Any:
    x = np.array(rows, np.float16)
    end = f"tensor<int32, [2]>({list(x.shape)})"
    call = f"slice_by_index(x = x, begin = tensor<int32, [2]>({list(begin)}), end = {end})"
    return apply(call, str([n - b for n, b in zip(x.shape, begin, strict=True)]), x=x)


def matmul(x: float, y: float, n: int = 1) -> Any:
    """The sum of n products x · y, as a matrix product of one element."""
    a, b = np.full((1, n), x, np.float16), np.full((n, 1), y, np.float16)
    return apply("matmul(x = x, y = y)", "[1, 1]", x=a, y=b)


def linear(x: float, y: float) -> Any:
    weight = f"tensor<fp16, [1, 1]>([[{y}]])"
    return apply(f"linear(x = x, weight = {weight})", x=half(x).reshape(1, 1))


def conv(x: float, y: float, n: int = 1) -> Any:
    """The same sum as a convolution of n channels."""
    weight = f"tensor<fp16, [1, {n}, 1, 1]>([[{', '.join([f'[[{y}]]'] * n)}]])"
    call = f'conv(x = x, weight = {weight}, pad_type = string("valid"))'
    return apply(call, "[1, 1, 1, 1]", x=np.full((1, n, 1, 1), x, np.float16))


def check(actual: Array, expected: tuple[float, ...], case: str) -> None:
    """Equal, NaN and the sign of zero included."""
    want = half(*expected)
    assert actual.dtype == np.float16, case
    got = actual.ravel()
    np.testing.assert_array_equal(got, want, err_msg=case)
    zero = want == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]), err_msg=case)


# --- rules, one by one: rule, case, operation, result without the rule, result with it

RULES: list[tuple[str, str, Any, tuple[float, ...], tuple[float, ...]]] = [
    ("mac_ceiling", "matmul of 32768", matmul(256, 128), (32768,), (INF,)),
    ("mac_ceiling", "matmul of -32768", matmul(-256, 128), (-32768,), (-INF,)),
    ("mac_ceiling", "matmul of 32752", matmul(32752, 1), (32752,), (32752,)),
    ("mac_ceiling", "matmul of a sum over it", matmul(16, 16, 200), (51200,), (INF,)),
    ("mac_ceiling", "linear of 32768", linear(256, 128), (32768,), (INF,)),
    ("mac_ceiling", "linear of 32752", linear(32752, 1), (32752,), (32752,)),
    ("mac_ceiling", "conv of 32768", conv(256, 128), (32768,), (INF,)),
    ("mac_ceiling", "conv of 32752", conv(32752, 1), (32752,), (32752,)),
    ("mac_ceiling", "square", unary("square", 255.875, 200), (65472, 40000), (65472, 40000)),
    (
        "mac_ceiling",
        "mul",
        binary("mul", (255, 200), (256, -200)),
        (65280, -40000),
        (65280, -40000),
    ),
    ("nan_input", "relu of NaN", unary("relu", NAN, -NAN, -1), (NAN, NAN, 0), (INF, INF, 0)),
    ("nan_input", "an input returned", unary("identity", NAN, 1), (NAN, 1), (INF, 1)),
    ("nan_result", "inf - inf", binary("sub", (INF, INF), (INF, 1)), (NAN, INF), (0.0, INF)),
    ("nan_result", "0 * inf", binary("mul", (0, -0.0), (INF, INF)), (NAN, NAN), (0.0, 0.0)),
    ("nan_result", "sqrt(-1)", unary("sqrt", -1, 4), (NAN, 2), (0.0, 2)),
    ("nan_result", "log(-1)", unary("log", -1, 1), (NAN, 0), (0.0, 0)),
    ("nan_result", "matmul of 0 * inf", matmul(0, INF), (NAN,), (0.0,)),
    ("negative_zero_add", "-0 + -0", binary("add", (-0.0, -1), (-0.0, 0)), (-0.0, -1), (0.0, -1)),
    ("negative_zero_add", "-0 - 0", binary("sub", (-0.0,), (0.0,)), (-0.0,), (0.0,)),
    ("negative_zero_add", "-0 * 1", binary("mul", (-0.0,), (1,)), (-0.0,), (-0.0,)),
    # The default epsilon of log, 1e-45, is 0 in fp16.
    ("log_zero", "log(0)", unary("log", 0, 1), (-INF, 0), (-45440, 0)),
    (
        "reciprocal_zero",
        "1 / -0",
        binary("real_div", (1, -1), (-0.0, -0.0)),
        (-INF, INF),
        (INF, -INF),
    ),
    ("reciprocal_zero", "1 / -2", binary("real_div", (1, 1), (-2, 0.0)), (-0.5, INF), (-0.5, INF)),
    ("softplus_cutoff", "below 11.09", unary("softplus", 11.0859375), (11.0859375,), (11.0859375,)),
    ("softplus_cutoff", "above 11.09", unary("softplus", 11.09375, INF), (11.09375, INF), (0, 0)),
    (
        "softsign_infinity",
        "infinities",
        unary("softsign", INF, -INF, 1),
        (1, -1, 0.5),
        (0, -1, 0.5),
    ),
    ("width_slice", "from 1", slice_from((0, 1), [[9, 4094, -4096]]), (4094, -4096), (4094, -INF)),
    ("width_slice", "from 0", slice_from((0, 0), [[4094, -4096]]), (4094, -4096), (4094, -4096)),
    ("width_slice", "another axis", slice_from((1, 0), [[1, 2], [5e3, 9]]), (5e3, 9), (5e3, 9)),
    ("mac_denormal", "matmul of 2^-20", matmul(2.0**-10, 2.0**-10), (2.0**-20,), (0.0,)),
    ("mac_denormal", "matmul of -2^-20", matmul(-(2.0**-10), 2.0**-10), (-(2.0**-20),), (-0.0,)),
    ("mac_denormal", "matmul of 2^-14", matmul(2.0**-7, 2.0**-7), (2.0**-14,), (2.0**-14,)),
    ("mac_denormal", "conv of 2^-20", conv(2.0**-10, 2.0**-10), (2.0**-20,), (0.0,)),
    ("mac_denormal", "square of 2^-10", unary("square", 2.0**-10), (2.0**-20,), (2.0**-20,)),
]


@pytest.mark.parametrize(
    ("rule", "case", "evaluate", "without", "applied"),
    RULES,
    ids=[f"{rule}: {case}" for rule, case, *_ in RULES],
)
def test_a_rule_changes_what_it_says_and_only_where_it_is_on(
    rule: str, case: str, evaluate: Any, without: tuple[float, ...], applied: tuple[float, ...]
) -> None:
    others = [r.name for r in milane.quirk_rules() if r.name != rule]
    check(evaluate(), without, f"{case}, fp16")
    check(evaluate(numerics="ane", quirks=[]), without, f"{case}, no rule")
    check(evaluate(numerics="ane", quirks=[rule]), applied, f"{case}, {rule} alone")
    if not np.isnan(without).any():  # else nan_result has its say
        check(evaluate(numerics="ane", quirks=others), without, f"{case}, all but {rule}")
    default = applied if rule in DEFAULT_RULES else without
    check(evaluate(numerics="ane"), default, f"{case}, default rules")


def test_every_rule_has_a_case_that_shows_it() -> None:
    shown = {rule for rule, _, _, off, on in RULES if not np.array_equal(off, on, equal_nan=True)}
    # -0 and +0 are equal: negative_zero_add shows in the sign alone.
    assert shown | {"negative_zero_add"} == {rule.name for rule in milane.quirk_rules()}


def test_rules_seen_on_some_chips_only_are_off_by_default() -> None:
    off = {rule.name for rule in milane.quirk_rules()} - DEFAULT_RULES
    assert off == {"width_slice", "mac_denormal"}


def test_rules_have_a_source_and_a_confidence() -> None:
    for rule in milane.quirk_rules():
        assert rule.effect
        assert rule.scope
        assert rule.source
        assert rule.confidence in ("one source", "several sources")


def test_rules_follow_constant_subexpressions_too() -> None:
    body = "fp16 root = sqrt(x = fp16(-1)); tensor<fp16, [1]> out = mul(x = x, y = root);"
    text = program("tensor<fp16, [1]> x", body, "out")
    assert np.isnan(run_program(text, {"x": half(3)})["out"]).all()
    assert run_program(text, {"x": half(3)}, numerics="ane", quirks=["nan_result"])["out"] == 0


def test_rules_leave_fp32_results_alone() -> None:
    body = "tensor<fp32, [1, 1]> product = matmul(x = x, y = x); tensor<fp32, [1, 1]> root = sqrt(x = x);"
    text = program("tensor<fp32, [1, 1]> x", body, "product, root")
    out = run_program(text, {"x": np.array([[-256]], np.float32)}, numerics="ane")
    assert out["product"] == 65536
    assert np.isnan(out["root"]).all()


def test_ane_runs_elementwise_operations_one_by_one() -> None:
    body = "tensor<fp16, [4]> a = add(x = x, y = x); tensor<fp16, [4]> b = mul(x = a, y = x);"
    text = program("tensor<fp16, [4]> x", body, "b")
    with milane.open("host") as runtime:
        fused = runtime.compile(text).eval_with_stats(per_op=True)
        single = runtime.compile(text, numerics="ane", quirks=[]).eval_with_stats(per_op=True)
    assert [s.op for s in fused.steps] == ["add+mul"]
    assert [s.op for s in single.steps] == ["add", "mul"]


# --- fp16 is plain IEEE


@pytest.mark.parametrize(
    ("operation", "function"),
    [("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("real_div", np.divide)],
    ids=["add", "sub", "mul", "real_div"],
)
def test_fp16_arithmetic_is_rounded_once_as_ieee_has_it(operation: str, function: Any) -> None:
    special = half(0, -0.0, 1, -1, INF, -INF, NAN, 65504, -65504, 2.0**-24, 2.0**-14, 2049, 0.1)
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 16, 4096, dtype=np.uint16).view(np.float16)
    x = np.concatenate([np.repeat(special, len(special)), bits])
    y = np.concatenate([np.tile(special, len(special)), rng.permutation(bits)])
    with np.errstate(all="ignore"):
        expected = function(x.astype(np.float64), y.astype(np.float64)).astype(np.float16)
    actual = apply(f"{operation}(x = x, y = y)", x=x, y=y)()
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(
        np.signbit(actual[expected == 0]), np.signbit(expected[expected == 0])
    )


def test_fp16_keeps_subnormals_and_overflows_to_infinity() -> None:
    tiny = (2.0**-12, 2.0**-13)
    check(binary("mul", tiny, tiny)(), (2.0**-24, 0.0), "subnormals")
    check(unary("square", 255.875, 256, -300)(), (65472, INF, INF), "overflow")


def test_ties_go_to_the_even_neighbour() -> None:
    check(binary("add", (2048, 2050), (1, 1))(), (2048, 2052), "ties")


# --- sums are fp32


def test_4096_ones_add_up_where_a_running_half_would_stop_at_2048() -> None:
    ones = np.ones((1, 4096), np.float16)
    total = "reduce_sum(x = x, axes = tensor<int32, [1]>([1]), keep_dims = bool(true))"
    check(matmul(1, 1, 4096)(), (4096,), "matmul")
    check(conv(1, 1, 4096)(), (4096,), "conv")
    check(apply(total, "[1, 1]", x=ones)(), (4096,), "reduce_sum")
    assert running_half_sum(ones.ravel()) == 2048


def test_a_dot_product_keeps_small_terms_beside_a_large_sum() -> None:
    # In half, adding 1 to 4096 gives 4096 for ever.
    x = np.concatenate([half(4096), np.ones(1024, np.float16)])
    y = np.ones((1025, 1), np.float16)
    out = apply("matmul(x = x, y = y)", "[1, 1]", x=x.reshape(1, -1), y=y)()
    check(out, (5120,), "matmul")
    assert running_half_sum(x) == 4096


def test_products_are_not_rounded_before_they_are_summed() -> None:
    # (1 + 2^-10)^2 needs 21 bits; rounded to half, the difference to 1 + 2^-9 is gone.
    a = 1 + 2.0**-10
    x = half(a, -(1 + 2.0**-9)).reshape(1, 2)
    y = half(a, 1).reshape(2, 1)
    check(apply("matmul(x = x, y = y)", "[1, 1]", x=x, y=y)(), (2.0**-20,), "matmul")


def running_half_sum(values: Array) -> float:
    total = np.float16(0)
    for value in values:
        total = np.float16(total + value)
    return float(total)


# --- fp32


def test_fp32_keeps_what_fp16_loses() -> None:
    text = program("tensor<fp16, [3]> x", "tensor<fp16, [3]> y = add(x = x, y = x);", "y")
    values = np.array([70000, 1e-8, 1 + 2.0**-20], np.float32)
    wide = run_program(text, {"x": values}, numerics="fp32")["y"]
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide, 2 * values)
    np.testing.assert_array_equal(run_program(text, {"x": values})["y"], half(INF, 0, 2))


def test_fp32_makes_every_fp16_port_float32_and_leaves_the_others() -> None:
    text = program(
        "state<tensor<fp16, [2]>> s, tensor<fp16, [2]> x, tensor<int32, [2]> n",
        """tensor<fp16, [2]> old = read_state(input = s);
            tensor<fp16, [2]> y = add(x = old, y = x);
            write_state(data = y, input = s);
            tensor<int32, [2]> m = add(x = n, y = n);
            tensor<fp16, [2]> h = cast(x = m, dtype = string("fp16"));""",
        "y, m, h",
    )
    with milane.open("host") as runtime:
        kernel = runtime.compile(text, numerics="fp32")
        ports = {**kernel.inputs, **kernel.outputs, **kernel.states}
        assert {n: str(p.dtype) for n, p in ports.items()} == {
            **dict.fromkeys(("x", "y", "h", "s"), "float32"),
            **dict.fromkeys(("n", "m"), "int32"),
        }
        kernel(x=[70000.0, 1e-8], n=[40000, 1])
        out = kernel(x=[70000.0, 1e-8], n=[40000, 1])
    np.testing.assert_array_equal(out["y"], np.array([70000, 1e-8], np.float32) * 2)
    np.testing.assert_array_equal(out["h"], [80000, 2])


def test_fp32_does_not_round_in_a_cast_to_fp16() -> None:
    body = """tensor<fp16, [2]> h = cast(x = x, dtype = string("fp16"));
            tensor<fp32, [2]> y = cast(x = h, dtype = string("fp32"));"""
    text = program("tensor<fp32, [2]> x", body, "y")
    x = np.array([70000, 1e-8], np.float32)
    np.testing.assert_array_equal(run_program(text, {"x": x}, numerics="fp32")["y"], x)
    np.testing.assert_array_equal(run_program(text, {"x": x})["y"], [INF, 0])


def test_fp32_takes_fp16_constants_as_the_halves_they_are() -> None:
    body = "tensor<fp16, [1]> y = mul(x = x, y = tensor<fp16, [1]>([0.1]));"
    text = program("tensor<fp16, [1]> x", body, "y")
    out = run_program(text, {"x": np.ones(1, np.float32)}, numerics="fp32")["y"]
    np.testing.assert_array_equal(out, np.float32(np.float16(0.1)))
