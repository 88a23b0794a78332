"""numerics="bf16": faster products with constant weights, of operands rounded to bf16."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from milane import Graph, cache
from milane.graph import ops
from milane.graph.tensor import Tensor
from op_cases import CASES, Case
from op_harness import run_program
from tolerance import assert_close, bf16, bound, reduced, round_bf16

Array = NDArray[Any]

WHY_NOT = "this CPU has no AVX512-BF16, or MILANE_ISA forbids it"
needs_bf16 = pytest.mark.skipif(not milane.cpu_has_bf16(), reason=WHY_NOT)

PRODUCTS = {"conv", "linear", "matmul"}
NEIGHBOURS = {"conv_transpose", "einsum", "gru", "lstm", "rnn", "scaled_dot_product_attention"}
TRIVIAL = "program(1.3)\n{ func main<ios18>(fp16 x) { fp16 y = relu(x = x); } -> (y); }\n"


def halves(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float16)


def evaluate(graph: Graph, x: Array, numerics: str, **options: Any) -> Array:
    with milane.open("host") as runtime:
        kernel = graph.compile(runtime, numerics=numerics, **options)
        return np.array(kernel(x=x)["y"])


@dataclass(frozen=True)
class Form:
    """A way to say [images, m, k] · [k, n] or its like, with one constant matrix."""

    name: str
    build: Callable[[Array, Array], tuple[Graph, Array]]  # weights [n, k] and x [images, m, k]

    def __str__(self) -> str:
        return self.name


def _graph(x: Array, result: Callable[[Graph, Tensor], Tensor]) -> tuple[Graph, Array]:
    graph = Graph()
    graph.output("y", result(graph, graph.input("x", x.shape)))
    return graph, x


def _conv(w: Array, x: Array) -> tuple[Graph, Array]:
    # Positions are columns; the result is brought into rows.
    positions = np.ascontiguousarray(x.swapaxes(1, 2))[:, :, None]  # [images, k, 1, m]

    def result(g: Graph, t: Tensor) -> Tensor:
        y = ops.conv(t, g.weight("w", (*w.shape, 1, 1), data=w[:, :, None, None]))
        return ops.transpose(ops.squeeze(y, axes=[2]), [0, 2, 1])

    return _graph(positions, result)


def _matmul(*, left: bool, turn_x: bool, turn_w: bool) -> Callable[..., tuple[Graph, Array]]:
    """x · wᵀ, or with the constant on the left the transpose of w · xᵀ."""

    def build(w: Array, x: Array) -> tuple[Graph, Array]:
        held = x.swapaxes(1, 2) if turn_x != left else x
        constant = w if turn_w else w.T
        if left:
            constant = w.T if turn_w else w

        def result(g: Graph, t: Tensor) -> Tensor:
            matrix = g.weight("w", constant.shape, data=np.ascontiguousarray(constant))
            if not left:
                return ops.matmul(t, matrix, transpose_x=turn_x, transpose_y=turn_w)
            y = ops.matmul(matrix, t, transpose_x=turn_w, transpose_y=turn_x)
            return ops.transpose(y, [0, 2, 1])

        return _graph(np.ascontiguousarray(held), result)

    return build


FORMS = [
    Form("1x1 convolution", _conv),
    Form(
        "linear",
        lambda w, x: _graph(x, lambda g, t: ops.linear(t, g.weight("w", w.shape, data=w))),
    ),
    *(
        Form(
            f"matmul, constant {'left' if left else 'right'}"
            f"{', x transposed' if turn_x else ''}{', weights transposed' if turn_w else ''}",
            _matmul(left=left, turn_x=turn_x, turn_w=turn_w),
        )
        for left in (False, True)
        for turn_x in (False, True)
        for turn_w in (False, True)
    ),
]

# images, m (vectors), k (depth), n (rows of the weights)
SIZES = [
    (1, 9, 1, 1),
    (1, 16, 2, 16),
    (1, 17, 3, 15),
    (1, 33, 31, 33),
    (2, 64, 64, 17),
    (3, 49, 77, 100),
    (1, 100, 1025, 130),
    (1, 300, 200, 47),
]


@needs_bf16
@pytest.mark.parametrize("size", SIZES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_products_are_those_of_operands_rounded_to_bf16(
    form: Form, size: tuple[int, int, int, int]
) -> None:
    images, m, k, n = size
    w, x = halves(n, k, seed=1), halves(images, m, k, seed=2)
    graph, fed = form.build(w, x)
    got = evaluate(graph, fed, "bf16")
    assert got.dtype == np.float16
    # With the operands rounded beforehand nothing but fp32's sums is left to differ.
    w8, x8 = round_bf16(w), round_bf16(x)
    size_of_terms = np.abs(x8) @ np.abs(w8).T
    assert_close(got, x8 @ w8.T, reduced(k).of(size_of_terms), "fp16", f"{form}, rounded")
    # And the class that the documentation names holds against the operands as they are.
    w64, x64 = w.astype(np.float64), x.astype(np.float64)
    size_of_terms = np.abs(x64) @ np.abs(w64).T
    assert_close(got, x64 @ w64.T, bf16(k).of(size_of_terms), "fp16", str(form))


@needs_bf16
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_batch_of_single_vectors_keeps_its_order(form: Form) -> None:
    # Some forms see twelve vectors and some see one, twelve times: the class holds for both.
    w, x = halves(20, 30, seed=1), halves(12, 1, 30, seed=2)
    w64, x64 = w.astype(np.float64), x.astype(np.float64)
    size_of_terms = np.abs(x64) @ np.abs(w64).T
    got = evaluate(*form.build(w, x), "bf16")
    assert_close(got, x64 @ w64.T, bf16(30).of(size_of_terms), "fp16", str(form))


@needs_bf16
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_a_bias_is_added_before_the_only_rounding_of_the_result(kind: str) -> None:
    w, x, bias = halves(70, 40, seed=1), halves(30, 40, seed=2), halves(70, seed=3, scale=100)

    def result(g: Graph, t: Tensor) -> Tensor:
        b = g.weight("b", bias.shape, data=bias)
        if kind == "linear":
            return ops.linear(t, g.weight("w", w.shape, data=w), b)
        return ops.conv(t, g.weight("w", (70, 40, 1, 1), data=w[:, :, None, None]), b)

    fed = x if kind == "linear" else np.ascontiguousarray(x.T)[None, :, None]
    got = evaluate(*_graph(fed, result), "bf16")
    rows = got if kind == "linear" else got[0, :, 0].T
    w8, x8 = round_bf16(w), round_bf16(x)
    size_of_terms = np.abs(x8) @ np.abs(w8).T + np.abs(bias.astype(np.float64))
    expected = x8 @ w8.T + bias.astype(np.float64)
    assert_close(rows, expected, reduced(40).of(size_of_terms), "fp16")


@needs_bf16
def test_operands_halfway_between_two_bf16_go_to_the_even_one() -> None:
    # One product per result: 1 + odd/256 lies halfway for every odd number.
    x = (1 + np.arange(1, 64, 2) / 256).astype(np.float16)[:, None]
    graph, fed = _graph(x, lambda g, t: ops.linear(t, g.weight("w", (1, 1), data=x[:1])))
    got = evaluate(graph, fed, "bf16")
    np.testing.assert_array_equal(got[:, 0], np.rint(x[:, 0] * 128) / 128)
    assert got[0] == 1.0  # 257/256 both


@needs_bf16
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_results_are_as_near_to_pytorchs_as_both_allow(form: Form) -> None:
    torch = pytest.importorskip("torch")
    w, x = halves(96, 200, seed=1), halves(1, 40, 200, seed=2)
    got = evaluate(*form.build(w, x), "bf16")[0].astype(np.float64)
    like = torch.nn.functional.linear(*(torch.from_numpy(a).bfloat16() for a in (x, w)))[0]
    theirs = like.double().numpy()
    # Its operands are the same; its result is rounded to bf16: half of a unit, 2^-8 of it.
    w8, x8 = (torch.from_numpy(a).bfloat16().double().numpy() for a in (w, x[0]))
    np.testing.assert_array_equal(w8, round_bf16(w))
    sums = bound(x8 @ w8.T, reduced(200).of(np.abs(x8) @ np.abs(w8).T), "fp16")
    assert np.all(np.abs(got - theirs) <= 2 * sums + 2.0**-8 * np.abs(theirs))


@needs_bf16
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_eight_vectors_or_fewer_are_multiplied_in_fp16(form: Form) -> None:
    w, x = halves(64, 96, seed=1), halves(1, 9, 96, seed=2)
    few, fed = form.build(w, np.ascontiguousarray(x[:, :8]))
    many, all_fed = form.build(w, x)
    exact = evaluate(few, fed, "fp16")
    np.testing.assert_array_equal(evaluate(few, fed, "bf16"), exact)
    assert np.any(evaluate(many, all_fed, "bf16")[:, :8] != exact)


@needs_bf16
@pytest.mark.parametrize("case", [c for c in CASES if c.op in PRODUCTS], ids=str)
def test_every_case_of_the_products_stays_within_the_class(case: Case) -> None:
    tolerance = case.bounds()
    if tolerance.name == "reduced" and case.float_dtype == "fp16":
        tolerance = replace(tolerance, name="bf16")
    outputs = run_program(case.program(), case.feeds(), numerics="bf16")
    for actual, expected in zip(outputs.values(), case.expected(), strict=True):
        assert_close(actual, expected, tolerance, case.float_dtype, str(case))


@needs_bf16
@pytest.mark.parametrize("case", [c for c in CASES if c.op in NEIGHBOURS], ids=str)
def test_other_operations_with_products_give_the_bits_of_fp16(case: Case) -> None:
    coarse, fine = (run_program(case.program(), case.feeds(), numerics=n) for n in ("bf16", "fp16"))
    assert {n: a.tobytes() for n, a in coarse.items()} == {n: a.tobytes() for n, a in fine.items()}


def _apart(op: Callable[[Graph, Tensor], Tensor], *shape: int) -> tuple[Graph, Array]:
    return _graph(halves(*shape, seed=4), op)


@needs_bf16
@pytest.mark.parametrize(
    ("graph", "x"),
    [
        pytest.param(*case, id=name)
        for name, case in {
            "3x3 convolution": _apart(
                lambda g, t: ops.conv(t, g.weight("w", (32, 32, 3, 3), data=halves(32, 32, 3, 3))),
                *(1, 32, 9, 9),
            ),
            "1x1 convolution with a stride": _apart(
                lambda g, t: ops.conv(
                    t, g.weight("w", (32, 32, 1, 1), data=halves(32, 32, 1, 1)), strides=[2, 2]
                ),
                *(1, 32, 9, 9),
            ),
            "1x1 convolution in groups": _apart(
                lambda g, t: ops.conv(
                    t, g.weight("w", (32, 8, 1, 1), data=halves(32, 8, 1, 1)), groups=4
                ),
                *(1, 32, 9, 9),
            ),
            "matmul of two inputs": _apart(
                lambda _, t: ops.matmul(t, t, transpose_y=True), 2, 32, 48
            ),
            "matmul with a batch of constants": _apart(
                lambda g, t: ops.matmul(t, g.weight("w", (2, 48, 32), data=halves(2, 48, 32))),
                *(2, 32, 48),
            ),
            "softmax": _apart(lambda _, t: ops.softmax(t, axis=-1), 32, 48),
            "product declared fp32": _apart(
                lambda g, t: ops.linear(
                    ops.cast(t, dtype="fp32"),
                    g.weight("w", (32, 48), "fp32", data=halves(32, 48).astype(np.float32)),
                ),
                *(32, 48),
            ),
        }.items()
    ],
)
def test_everything_else_is_computed_as_in_fp16(graph: Graph, x: Array) -> None:
    np.testing.assert_array_equal(evaluate(graph, x, "bf16"), evaluate(graph, x, "fp16"))


@needs_bf16
def test_infinities_and_nan_come_through() -> None:
    w = np.zeros((3, 4), np.float16)
    w[0] = [1, 1, 0, 0]
    w[1] = [1, 0, 1, 0]
    w[2] = 65504
    x = np.zeros((12, 4), np.float16)
    x[0, 0], x[1, 1] = np.inf, np.nan
    x[2, :2] = np.inf, -np.inf
    x[3] = 65504
    x[4] = [65504, 0, 0, 0]
    with np.errstate(all="ignore"):
        expected = (round_bf16(x) @ round_bf16(w).T).astype(np.float16)
    assert {np.isnan(expected[i, 0]) for i in (1, 2)} == {True}
    assert np.isinf(expected[3:5, 2]).all()
    graph, fed = _graph(x, lambda g, t: ops.linear(t, g.weight("w", w.shape, data=w)))
    np.testing.assert_array_equal(evaluate(graph, fed, "bf16"), expected)
    assert expected[4, 0] == np.inf  # 65504 is 65536 in bf16, which is beyond fp16


@needs_bf16
def test_subnormal_halves_are_not_flushed_to_zero() -> None:
    x = (np.arange(-16, 16) * 2.0**-24).astype(np.float16)[:, None]
    one = np.ones((1, 1), np.float16)
    graph, fed = _graph(x, lambda g, t: ops.linear(t, g.weight("w", (1, 1), data=one)))
    np.testing.assert_array_equal(evaluate(graph, fed, "bf16"), x)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = milane.num_threads()
    yield
    milane.set_num_threads(before)


@needs_bf16
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.usefixtures("two_threads")
def test_the_number_of_threads_does_not_change_a_bit(form: Form) -> None:
    w, x = halves(300, 130, seed=1), halves(2, 120, 130, seed=2)
    graph, fed = form.build(w, x)
    results = []
    for threads in (1, 2, 3):
        milane.set_num_threads(threads)
        results.append(evaluate(graph, fed, "bf16"))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@needs_bf16
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_more_vectors_than_are_packed_at_once_make_no_difference(kind: str) -> None:
    # 2^22 elements are packed at a time: at depth 4096 that is 1024 vectors.
    form = FORMS[0] if kind == "conv" else FORMS[1]
    w, x = halves(17, 4096, seed=1), halves(1, 1100, 4096, seed=2)
    whole = evaluate(*form.build(w, x), "bf16")
    tail = evaluate(*form.build(w, x[:, 1000:]), "bf16")
    np.testing.assert_array_equal(whole[:, 1000:], tail)


@needs_bf16
def test_packed_weights_of_the_two_modes_are_cached_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILANE_CACHE_DIR", str(tmp_path / "cache"))
    w, x = halves(1024, 1024, seed=1, scale=1 / 32), halves(16, 1024, seed=2)
    graph, fed = _graph(x, lambda g, t: ops.linear(t, g.weight("w", w.shape, data=w)))
    fresh = {n: evaluate(graph, fed, n, use_cache=False) for n in ("fp16", "bf16")}
    assert np.any(fresh["fp16"] != fresh["bf16"])
    before = cache.stats()
    for numerics in ("fp16", "bf16", "fp16", "bf16"):
        np.testing.assert_array_equal(evaluate(graph, fed, numerics), fresh[numerics])
    after = cache.stats()
    assert (after.hits - before.hits, after.misses - before.misses) == (2, 2)


# --- where it cannot be


def _in_process(code: str, isa: str) -> str:
    env = {**os.environ, "MILANE_ISA": isa}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


REFUSED = f"""
import numpy
import milane
assert not milane.cpu_has_bf16()
with milane.open("host") as runtime:
    try:
        runtime.compile({TRIVIAL!r}, numerics="bf16")
    except milane.UnsupportedError as error:
        assert isinstance(error, NotImplementedError)
        assert error.op == "compile" and "MILANE_ISA" in error.hint, error
        print(error)
    assert runtime.compile({TRIVIAL!r})(x=numpy.float16(3))["y"] == 3
"""


@pytest.mark.skipif(milane.cpu_isa() == "neon", reason="MILANE_ISA is for x86-64")
@pytest.mark.parametrize("isa", ["v2", "v3"])
def test_a_narrower_instruction_set_refuses_it(isa: str) -> None:
    said = _in_process(REFUSED, isa)
    assert "expected a CPU with AVX512-BF16" in said
    assert f"x86-64-{isa}" in said or milane.cpu_isa() < f"x86-64-{isa}"


@pytest.mark.skipif(milane.cpu_has_bf16(), reason="this CPU has AVX512-BF16")
def test_a_cpu_without_it_refuses_it(host_runtime: milane.Runtime) -> None:
    with pytest.raises(milane.UnsupportedError, match="expected a CPU with AVX512-BF16"):
        host_runtime.compile(TRIVIAL, numerics="bf16")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux says what the CPU has")
def test_what_it_says_of_the_cpu_is_what_the_system_says() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    assert milane.cpu_has_bf16() == ("avx512_bf16" in flags and milane.cpu_isa() == "x86-64-v4")
