"""Products of more than a few rows, which the host engine computes in tiles.

The witness is NumPy in float64. Every element is one chain of multiply-adds along the depth, and
products of halves are exact in fp32: results do not depend on the instruction set, on the number of
threads, or on which rows and columns stand beside them.
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
# Rows, depth and columns: less than a tile, whole tiles, odd ones, depths in pieces with few and
# with many columns, columns in pieces, columns that are read as they lie.
SIZES = [
    (5, 7, 9),
    (14, 64, 32),
    (28, 128, 48),
    (33, 65, 33),
    (70, 1100, 45),
    (15, 4200, 20),
    (40, 4200, 70),
    (6, 16400, 520),
]
FORMS = ["plain", "x turned", "y turned", "y constant", "linear"]


def values(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float16)


def product(form: str, rows: int, depth: int, columns: int, numerics: str = "fp16") -> Array:
    """The product of values 1 and 2 in one of the forms; that of linear has a bias of values 3."""
    x, y = values((rows, depth), 1), values((depth, columns), 2)
    graph = Graph()
    left = graph.input("a", x.T.shape if form == "x turned" else x.shape)
    fed = {"a": x.T if form == "x turned" else x}
    if form == "linear":
        weight = graph.weight("w", (columns, depth), data=np.ascontiguousarray(y.T))
        bias = graph.weight("b", (columns,), data=values((columns,), 3))
        result = ops.linear(left, weight, bias)
    elif form == "y constant":
        result = ops.matmul(left, graph.weight("w", y.shape, data=y))
    else:
        fed["b"] = y.T if form == "y turned" else y
        right = graph.input("b", fed["b"].shape)
        turned = {"transpose_x": form == "x turned", "transpose_y": form == "y turned"}
        result = ops.matmul(left, right, **turned)
    graph.output("out", result)
    with milane.open("host") as runtime:
        kernel = runtime.compile(graph.program(), numerics=numerics)
        for name, array in fed.items():
            kernel.inputs[name].surface.write(np.ascontiguousarray(array))
        kernel.eval()
        return np.array(kernel.outputs["out"].surface.read())


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rows", "depth", "columns"), SIZES)
def test_a_product_is_that_of_float64(
    rows: int, depth: int, columns: int, form: str, numerics: str
) -> None:
    x, y = values((rows, depth), 1).astype(float), values((depth, columns), 2).astype(float)
    b = values((columns,), 3).astype(float) * (form == "linear")
    got = product(form, rows, depth, columns, numerics)
    assert_close(got, x @ y + b, reduced(depth).of(np.abs(x) @ np.abs(y) + np.abs(b)), numerics)


@pytest.mark.parametrize("form", FORMS[:-1])
@pytest.mark.parametrize(("rows", "depth", "columns"), SIZES)
def test_every_form_gives_the_same_bits(rows: int, depth: int, columns: int, form: str) -> None:
    """Also where one of them packs, and another reads what lies there."""
    expected = product("y turned", rows, depth, columns)
    assert np.array_equal(product(form, rows, depth, columns), expected)


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    x, w = values((100, 300), 1), values((300, 70), 2)

    def of(some: Array) -> Array:
        graph = Graph()
        both = graph.input("a", some.shape), graph.input("b", w.shape)
        graph.output("out", ops.matmul(*both))
        with milane.open("host") as runtime:
            kernel = graph.compile(runtime)
            kernel.inputs["a"].surface.write(some)
            kernel.inputs["b"].surface.write(w)
            kernel.eval()
            return np.array(kernel.outputs["out"].surface.read())

    expected = of(x)
    for rows in (5, 13, 14, 15, 28, 29, 43):
        assert np.array_equal(of(x[:rows]), expected[:rows]), rows


@pytest.mark.parametrize("form", FORMS)
def test_products_do_not_depend_on_threads(form: str) -> None:
    before = milane.num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            milane.set_num_threads(threads)
            found.append([product(form, *size) for size in ((200, 300, 500), (40, 4200, 300))])
    finally:
        milane.set_num_threads(before)
    for others in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], others, strict=True))


def everything() -> dict[str, Array]:
    """What every instruction set must give the same bits of."""
    return {f"{form} {size}": product(form, *size) for form in FORMS for size in SIZES}


@pytest.mark.parametrize("name", narrower_sets())
def test_every_instruction_set_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    assert_same_bits(name, __file__, tmp_path, everything())


if __name__ == "__main__":
    leave(everything())
