"""Products with a vector or a few, which the host engine reads as they lie instead of packing them.

The witness is NumPy in float64; beyond that, products of halves are exact in fp32, so that every
instruction set must give the same bits where sums run in one order on all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from instruction_sets import assert_same_bits, leave, narrower_sets
from milane.graph import Graph, ops
from tolerance import assert_close, reduced

Array = NDArray[Any]
# Depths and columns of whole registers, of more than one task, of a few elements, and odd ones.
SIZES = [(64, 128), (77, 257), (5, 3), (1, 9), (300, 1), (129, 64), (768, 70)]


def values(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float16)


def at_run_time(rows: int, depth: int, columns: int, *, turned: bool, numerics: str) -> Array:
    """Three products of [rows, depth] with [depth, columns], side by side."""
    graph = Graph()
    shape = (columns, depth) if turned else (depth, columns)
    x, y = values((3, rows, depth), 1), values((3, *shape), 2)
    both = graph.input("a", x.shape), graph.input("b", y.shape)
    graph.output("out", ops.matmul(*both, transpose_y=turned))
    return run(graph, numerics, a=x, b=y)


def with_weights(rows: int, depth: int, columns: int, *, numerics: str, bias: bool) -> Array:
    """A linear layer, its weights in the program."""
    graph = Graph()
    w = graph.weight("w", (columns, depth), data=values((columns, depth), 2))
    b = graph.weight("b", (columns,), data=values((columns,), 3)) if bias else None
    graph.output("out", ops.linear(graph.input("a", (rows, depth)), w, b))
    return run(graph, numerics, a=values((rows, depth), 1))


def run(graph: Graph, numerics: str, **inputs: Array) -> Array:
    with milane.open("host") as runtime:
        kernel = runtime.compile(graph.program(), numerics=numerics)
        for name, array in inputs.items():
            kernel.inputs[name].surface.write(array)
        kernel.eval()
        return np.array(kernel.outputs["out"].surface.read())


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize("turned", [False, True], ids=["columns lie together", "rows do"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize(("depth", "columns"), SIZES)
def test_few_rows_times_a_matrix_known_at_run_time(
    depth: int, columns: int, rows: int, turned: bool, numerics: str
) -> None:
    shape = (3, columns, depth) if turned else (3, depth, columns)
    x, y = values((3, rows, depth), 1).astype(float), values(shape, 2).astype(float)
    y = y.swapaxes(1, 2) if turned else y
    got = at_run_time(rows, depth, columns, turned=turned, numerics=numerics)
    assert_close(got, x @ y, reduced(depth).of(np.abs(x) @ np.abs(y)), numerics)


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 32, 33])
@pytest.mark.parametrize(("depth", "columns"), [(64, 96), (77, 33), (300, 130)])
def test_a_linear_layer_of_few_rows(
    depth: int, columns: int, rows: int, bias: bool, numerics: str
) -> None:
    x, w = values((rows, depth), 1).astype(float), values((columns, depth), 2).astype(float)
    b = values((columns,), 3).astype(float) * bias
    size = np.abs(x) @ np.abs(w.T) + np.abs(b)
    got = with_weights(rows, depth, columns, numerics=numerics, bias=bias)
    assert_close(got, x @ w.T + b, reduced(depth).of(size), numerics)


def test_a_row_does_not_depend_on_how_many_stand_beside_it() -> None:
    """Of two rows or more: their sums are one chain along the depth, as those of tiles are."""
    expected = with_weights(40, 300, 70, numerics="fp16", bias=True)
    x, w, b = values((40, 300), 1), values((70, 300), 2), values((70,), 3)
    for rows in (2, 3, 6, 17, 32):
        graph = Graph()
        weights = graph.weight("w", w.shape, data=w), graph.weight("b", b.shape, data=b)
        graph.output("out", ops.linear(graph.input("a", (rows, 300)), *weights))
        assert np.array_equal(run(graph, "fp16", a=x[:rows]), expected[:rows]), rows


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_rows_do_not_depend_on_threads(threads: int) -> None:
    before = milane.num_threads()
    found = []
    try:
        for count in (1, threads):
            milane.set_num_threads(count)
            found.append(at_run_time(2, 1000, 999, turned=False, numerics="fp16"))
            found.append(with_weights(5, 900, 999, numerics="fp16", bias=True))
    finally:
        milane.set_num_threads(before)
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[1], found[3])


def everything() -> dict[str, Array]:
    """What every instruction set must give the same bits of."""
    found = {}
    for depth, columns in SIZES:
        for rows in (1, 2, 3):
            for turned in (False, True):
                name = f"{rows} {depth} {columns} {turned}"
                found[name] = at_run_time(rows, depth, columns, turned=turned, numerics="fp16")
    for rows in (2, 5, 16, 33):
        found[f"linear {rows}"] = with_weights(rows, 300, 130, numerics="fp16", bias=True)
    return found


@pytest.mark.parametrize("name", narrower_sets())
def test_every_instruction_set_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    assert_same_bits(name, __file__, tmp_path, everything())


if __name__ == "__main__":
    leave(everything())
