"""Where in its row each box stands: the method of Brandes and Köpf (2001).

Every place is aligned with the median of its neighbours in the row above, or below, from the left
and from the right: four times. What is aligned stands in one column; columns are pushed together. A
place gets the mean of the two middle ones of its four positions, which keeps every distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .layers import Rows

_GAP = 22.0
_GAP_OF_BENDS = 12.0


@dataclass(frozen=True)
class Extent:
    """How far something reaches to the left and right of its middle."""

    left: float
    right: float


def place(rows: Rows, extents: Sequence[Extent]) -> list[float]:
    """The middle of every place, the leftmost edge at 0. ``extents`` has one entry per place."""
    above: list[list[int]] = [[] for _ in rows.row_of]
    below: list[list[int]] = [[] for _ in rows.row_of]
    for upper, _, _, lower in rows.segments:
        above[lower].append(upper)
        below[upper].append(lower)
    marked = _conflicts(rows, above)
    above, below = _wanted(rows, above, below)
    mirrored = [row[::-1] for row in rows.rows]
    flipped = [Extent(e.right, e.left) for e in extents]
    layouts = []
    for down in (True, False):
        near = above if down else below
        for ordered, sizes, sign in ((rows.rows, extents, 1.0), (mirrored, flipped, -1.0)):
            turned = ordered if down else ordered[::-1]
            root = _align(turned, near, marked)
            xs = _compact(rows, ordered, root, sizes)
            layouts.append([sign * x for x in xs])
    return _balance(layouts, extents)


def _conflicts(rows: Rows, above: list[list[int]]) -> set[tuple[int, int]]:
    """Lines that cross the straight part of a long edge: they are not aligned, it is."""
    marked: set[tuple[int, int]] = set()
    at = _positions(rows.rows)
    for upper, row in pairwise(rows.rows):
        left, scanned = 0, 0
        for i, place_ in enumerate(row):
            straight = next(
                (u for u in above[place_] if u >= rows.bends and place_ >= rows.bends), None
            )
            if straight is None and i < len(row) - 1:
                continue
            right = len(upper) if straight is None else at[straight]
            for lower in row[scanned : i + 1]:
                for u in above[lower]:
                    is_straight = u >= rows.bends and lower >= rows.bends
                    if not left <= at[u] <= right and not is_straight:
                        marked.add((u, lower))
            scanned, left = i + 1, right
    return marked


def _wanted(
    rows: Rows, above: list[list[int]], below: list[list[int]]
) -> tuple[list[list[int]], list[list[int]]]:
    """Only the neighbours to be aligned with: both ends must find nothing better.

    Bends prefer bends, so that long edges are straight. Boxes prefer what the inputs reach, so that
    the main line is straight; what skips some of it, and constants, stand aside.
    """

    def score(p: int, q: int) -> int:
        if p >= rows.bends:
            return int(q >= rows.bends)
        return 1 if q >= rows.bends else 2 if rows.is_main[q] else 0

    best_above = [max((score(p, q) for q in near), default=0) for p, near in enumerate(above)]
    best_below = [max((score(p, q) for q in near), default=0) for p, near in enumerate(below)]
    wanted_above: list[list[int]] = [[] for _ in above]
    wanted_below: list[list[int]] = [[] for _ in below]
    for upper, _, _, lower in rows.segments:
        if score(lower, upper) == best_above[lower] and score(upper, lower) == best_below[upper]:
            wanted_above[lower].append(upper)
            wanted_below[upper].append(lower)
    return wanted_above, wanted_below


def _positions(ordered: list[list[int]]) -> dict[int, int]:
    return {place: i for row in ordered for i, place in enumerate(row)}


def _align(
    ordered: list[list[int]], near: list[list[int]], marked: set[tuple[int, int]]
) -> list[int]:
    """The head of the column that each place belongs to."""
    at = _positions(ordered)
    root = list(range(len(at)))
    for row in ordered:
        limit = -1
        for place_ in row:
            around = sorted(set(near[place_]), key=at.__getitem__)
            if not around:
                continue
            middle = (len(around) - 1) / 2
            for i in range(int(middle), int(middle + 0.5) + 1):
                u = around[i]
                is_free = root[place_] == place_ and limit < at[u]
                if is_free and not _is_marked(marked, u, place_):
                    root[place_] = root[u]
                    limit = at[u]
    return root


def _is_marked(marked: set[tuple[int, int]], a: int, b: int) -> bool:
    return (a, b) in marked or (b, a) in marked


def _compact(
    rows: Rows, ordered: list[list[int]], root: list[int], extents: Sequence[Extent]
) -> list[float]:
    """Columns as far left as they go, then right again as far as that shortens nothing."""
    after: dict[int, dict[int, float]] = {r: {} for r in root}
    waits = dict.fromkeys(after, 0)
    for row in ordered:
        for a, b in pairwise(row):
            bends = a >= rows.bends or b >= rows.bends
            distance = extents[a].right + extents[b].left + (_GAP_OF_BENDS if bends else _GAP)
            known = after[root[a]].get(root[b])
            if known is None:
                waits[root[b]] += 1
            after[root[a]][root[b]] = max(distance, known or 0.0)
    x = dict.fromkeys(after, 0.0)
    ready = [r for r in after if waits[r] == 0]
    for column in ready:  # grows while it is walked: a topological order
        for other, distance in after[column].items():
            x[other] = max(x[other], x[column] + distance)
            waits[other] -= 1
            if waits[other] == 0:
                ready.append(other)
    for column in reversed(ready):
        if after[column]:
            x[column] = min(x[other] - distance for other, distance in after[column].items())
    return [x[r] for r in root]


def _balance(layouts: list[list[float]], extents: Sequence[Extent]) -> list[float]:
    if not extents:
        return []

    def span(xs: list[float]) -> tuple[float, float]:
        pairs = list(zip(xs, extents, strict=True))
        return min(x - e.left for x, e in pairs), max(x + e.right for x, e in pairs)

    spans = [span(xs) for xs in layouts]
    low, high = min(spans, key=lambda s: s[1] - s[0])
    moved = []
    for i, (xs, (left, right)) in enumerate(zip(layouts, spans, strict=True)):
        shift = low - left if i % 2 == 0 else high - right
        moved.append([x + shift for x in xs])
    xs = [sum(sorted(four)[1:3]) / 2 for four in zip(*moved, strict=True)]
    left = span(xs)[0]
    return [x - left for x in xs]
