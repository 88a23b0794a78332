"""Rows and places: large and odd graphs, and how much work they are."""

from __future__ import annotations

import random
from itertools import pairwise, permutations, product

import pytest

from milane import draw, mil
from milane.draw.coordinates import Extent, place
from milane.draw.layers import Link, arrange
from pictures import assert_lines_avoid_boxes, assert_well_drawn, expected, random_program, read
from program_files import ProgramFile, own_programs


@pytest.mark.parametrize(
    ("count", "reach"),
    [(1, 3), (40, 1), (60, 4), (200, 20), (200, 1000), (1500, 1), (1200, 60)],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 1])
def test_random_graphs_are_drawn_whole(count: int, reach: int, seed: int) -> None:
    program = random_program(count, seed=seed, reach=reach)
    picture = read(draw.svg(program))
    assert (picture.ops, picture.edges) == expected(program["main"], set())
    assert_well_drawn(picture)


@pytest.mark.parametrize("file", own_programs(), ids=lambda f: f.id)
def test_no_line_runs_through_a_box(file: ProgramFile) -> None:
    assert_lines_avoid_boxes(
        read(draw.svg(mil.parse(file.text), mil.parse(file.text).functions[0].name))
    )


@pytest.mark.parametrize("seed", range(4))
def test_no_line_of_a_random_graph_runs_through_a_box(seed: int) -> None:
    assert_lines_avoid_boxes(read(draw.svg(random_program(120, seed=seed, reach=25))))


def test_a_value_used_everywhere_costs_no_more_than_its_longest_edge() -> None:
    kinds = ["input"] + ["op"] * 20
    links = [Link(i, 0, i + 1) for i in range(20)] + [Link(0, 0, i) for i in range(2, 21)]
    rows = arrange(kinds, links)
    assert rows.tags == []
    assert len(rows.row_of) == 21 + 19  # one place in every row but the first and last


@pytest.mark.parametrize("count", [500, 2000])
def test_places_kept_for_long_edges_grow_with_the_graph_and_not_faster(count: int) -> None:
    # As in a backward pass: the last half uses the values of the first, in reverse.
    kinds = ["input"] + ["op"] * (2 * count)
    links = [Link(i, 0, i + 1) for i in range(2 * count)]
    links += [Link(count - i, 0, count + i) for i in range(2, count)]
    rows = arrange(kinds, links)
    assert len(rows.row_of) < 13 * len(kinds)
    assert len(rows.tags) > 0.9 * count
    assert [path[-1] for path in rows.paths] == [link.target for link in links]


def test_the_order_within_rows_has_no_needless_crossing() -> None:
    # Four chains that start in one order and end in one output: a plane graph.
    kinds = ["input"] * 4 + ["op"] * 12 + ["op"]
    chains = [(0, 7, 9, 14), (1, 6, 11, 12), (2, 5, 8, 15), (3, 4, 10, 13)]
    links = [Link(a, 0, b) for c in chains for a, b in pairwise(c)]
    rows = arrange(
        kinds, sorted([*links, *(Link(c[3], 0, 16) for c in chains)], key=lambda k: k.target)
    )
    at = {place: i for row in rows.rows for i, place in enumerate(row)}
    assert all(at[a] == at[b] for c in chains for a, b in pairwise(c))


def crossings(upper: tuple[int, ...], lower: tuple[int, ...], links: list[tuple[int, int]]) -> int:
    """Pairs of lines that cross when two rows stand in these orders."""
    ends = [(upper.index(a), lower.index(b)) for a, b in links]
    return sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(ends) for c, d in ends[:i])


def test_two_rows_cross_hardly_more_than_in_the_best_of_all_orders() -> None:
    choose = random.Random(5)
    found = best = 0
    for _ in range(25):
        links = sorted(choose.sample(list(product(range(4), range(4, 8))), 8), key=lambda k: k[1])
        links += [(0, b) for b in range(4, 8) if all(b != target for _, target in links)]
        upper, lower = arrange(["input"] * 4 + ["op"] * 4, [Link(a, 0, b) for a, b in links]).rows
        found += crossings(tuple(upper), tuple(lower), links)
        orders = product(permutations(range(4)), permutations(range(4, 8)))
        best += min(crossings(a, b, links) for a, b in orders)
    assert best <= found <= 1.05 * best


RESIDUAL = """program(1.3)
{
    func main<ios18>(fp16 x) {
        fp16 w = constexpr_cast(source_val = fp16(1), output_dtype = string("fp16"));
        fp16 a = relu(x = x);
        fp16 b = relu(x = a);
        fp16 c = relu(x = b);
        fp16 d = add(x = a, y = c);
        fp16 e = relu(x = d);
        fp16 f = relu(x = e);
        fp16 g = add(x = d, y = f);
        fp16 h = mul(x = g, y = w);
        fp16 i = add(x = x, y = h);
    } -> (i);
}
"""


def test_a_residual_network_is_one_straight_line() -> None:
    picture = read(draw.svg(mil.parse(RESIDUAL)))
    middles = {n.values[0]: n.x + n.width / 2 for n in picture.nodes.values() if n.op != "const"}
    del middles["w"]
    assert max(middles.values()) - min(middles.values()) < 0.15


def test_what_skips_rows_is_straight_between_its_ends() -> None:
    for line in read(draw.svg(mil.parse(RESIDUAL))).lines:
        assert sum(x0 != x1 for x0, _, x1, _ in line.steps) <= 2, line


def test_a_constant_stands_right_above_its_consumer() -> None:
    nodes = {n.values[0]: n for n in read(draw.svg(mil.parse(RESIDUAL))).nodes.values() if n.op}
    assert nodes["f"].y < nodes["w"].y < nodes["h"].y
    assert nodes["w"].y + nodes["w"].height / 2 == pytest.approx(
        nodes["g"].y + nodes["g"].height / 2, abs=0.15
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_long_edge_is_straight_unless_it_crosses_another(seed: int) -> None:
    choose = random.Random(seed)
    links = [Link(choose.randrange(max(0, i - 12), i), 0, i) for i in range(3, 60) for _ in "xy"]
    rows = arrange(["input"] * 3 + ["op"] * 57, list(dict.fromkeys(links)))
    boxes = [Extent(30, 50)] * rows.bends
    xs = place(rows, boxes + [Extent(0, 0)] * (len(rows.row_of) - rows.bends))
    at = {place: i for row in rows.rows for i, place in enumerate(row)}
    inner = [(a, b) for a, _, _, b in rows.segments if min(a, b) >= rows.bends]
    free = [
        (a, b)
        for a, b in inner
        if not any(
            rows.row_of[a] == rows.row_of[c] and (at[a] - at[c]) * (at[b] - at[d]) < 0
            for c, d in inner
        )
    ]
    assert len(free) > 10
    assert all(xs[a] == pytest.approx(xs[b]) for a, b in free)
