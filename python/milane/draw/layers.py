"""Which row each box stands in, and the order within a row.

The layered method of Sugiyama, Tagawa and Toda (1981): longest-path layers, a place kept free in
every row that a long edge crosses, rows ordered by barycentres. All consumers of a value share one
trunk, so that a value with many consumers costs no more than its longest edge. An edge over too
many rows is cut instead: a tag with the value's name stands above the consumer.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

# Edges over more rows are cut; fewer when there would be too many places to keep free.
_SPANS = (24, 12, 6, 3)
_PLACES_PER_BOX = 6
_SWEEPS = 12
# More inputs, or outputs, take several rows.
_MOST_IN_ROW = 12
# Only pictures of at most so many places get swaps of neighbours, and several starting orders.
_MOST_SWAPPED, _SWAPS, _STARTS = 2000, 6, 4


@dataclass(frozen=True)
class Link:
    """From port `port` of `ports` of box `source` to box `target`."""

    source: int
    port: int
    target: int
    ports: int = 1


@dataclass
class Rows:
    """The boxes in rows.

    Places are numbered: first the boxes, then the tags, then those kept free for long edges.

    Attributes:
        rows: the places of each row, left to right.
        row_of: the row of each place.
        tags: what each tag stands for: a box and its port.
        segments: (upper place, port, ports, lower place): the lines between neighbouring rows.
        paths: the places each link passes, the first and last included; a cut one starts at a tag.
        boxes, bends: how many places are boxes; where those kept free begin.
        is_main: whether an input reaches the place; of boxes and tags.
    """

    boxes: int
    bends: int = 0
    is_main: list[bool] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    row_of: list[int] = field(default_factory=list)
    tags: list[tuple[int, int]] = field(default_factory=list)
    segments: list[tuple[int, int, int, int]] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)


def arrange(kinds: Sequence[str], links: Sequence[Link]) -> Rows:
    """The rows of a graph whose links lead from earlier boxes to later ones.

    ``kinds`` are those of `graph.Node`: inputs get the first row, outputs the last, and what
    depends on no input stands right above its consumer.
    """
    layers, is_main = _layers(kinds, links)
    spans = [s for s in _SPANS if _places(layers, links, s) <= _PLACES_PER_BOX * len(kinds) + 200]
    result = _with_places(layers, links, spans[0] if spans else _SPANS[-1])
    result.is_main = is_main + [False] * len(result.tags)
    _Order(result).run()
    return result


def _layers(kinds: Sequence[str], links: Sequence[Link]) -> tuple[list[int], list[bool]]:
    """The row of every box, and whether an input reaches it."""
    ins: list[list[Link]] = [[] for _ in kinds]
    outs: list[list[Link]] = [[] for _ in kinds]
    for link in links:
        ins[link.target].append(link)
        outs[link.source].append(link)
    layers = [0] * len(kinds)
    anchored = [kind == "input" for kind in kinds]
    for box, links_in in enumerate(ins):
        if links_in:
            layers[box] = 1 + max(layers[link.source] for link in links_in)
            anchored[box] = anchored[box] or any(anchored[link.source] for link in links_in)
    last = 1 + max(
        (n for n, kind in zip(layers, kinds, strict=True) if kind != "output"), default=0
    )
    outputs = [box for box, kind in enumerate(kinds) if kind == "output"]
    for i, box in enumerate(sorted(outputs, key=lambda box: (layers[box], box))):
        layers[box] = last + i // _MOST_IN_ROW
    for box in reversed(range(len(kinds))):
        if kinds[box] not in ("input", "output") and outs[box]:
            # Down, where that shortens more lines than it lengthens.
            made = len({link.port for link in outs[box]})
            taken = len({(link.source, link.port) for link in ins[box]})
            if made > taken or not anchored[box]:
                layers[box] = min(layers[link.target] for link in outs[box]) - 1
    inputs = [box for box, kind in enumerate(kinds) if kind == "input"]
    first = {box: min((layers[link.target] for link in outs[box]), default=last) for box in inputs}
    for i, box in enumerate(sorted(inputs, key=lambda box: (first[box], box))):
        layers[box] = -(i // _MOST_IN_ROW)
    used = sorted(set(layers))
    return [bisect_left(used, layer) for layer in layers], anchored


def _trunks(layers: Sequence[int], links: Sequence[Link]) -> dict[tuple[int, int], list[int]]:
    """The indices of the links of each value, the nearest consumer first."""
    trunks: dict[tuple[int, int], list[int]] = {}
    for i, link in enumerate(links):
        trunks.setdefault((link.source, link.port), []).append(i)
    for trunk in trunks.values():
        trunk.sort(key=lambda i: (layers[links[i].target], i))
    return trunks


def _places(layers: Sequence[int], links: Sequence[Link], span: int) -> int:
    """How many places long edges need when none passes more than `span` rows."""
    total = 0
    for (source, _), trunk in _trunks(layers, links).items():
        start = end = layers[source]
        for i in trunk:
            row = layers[links[i].target]
            if row - start > span:
                total += max(0, end - start - 1) + 1
                start = row - 1
            end = row
        total += max(0, end - start - 1)
    return total


def _with_places(layers: Sequence[int], links: Sequence[Link], span: int) -> Rows:
    result = Rows(len(layers), row_of=list(layers), paths=[[] for _ in links])
    runs: list[tuple[int, tuple[int, int], list[int]]] = []
    for key, trunk in _trunks(layers, links).items():
        run: list[int] = []
        runs.append((key[0], key, run))
        start = layers[key[0]]
        for i in trunk:
            row = layers[links[i].target]
            if row - start > span:
                start = row - 1
                run = []
                runs.append((len(result.row_of), key, run))
                result.row_of.append(start)
                result.tags.append(key)
            run.append(i)
    result.bends = len(result.row_of)
    for head, _, run in runs:
        _add_trunk(result, links, head, run)
    result.rows = [[] for _ in range(1 + max(result.row_of, default=-1))]
    for place, row in enumerate(result.row_of):
        result.rows[row].append(place)
    return result


def _add_trunk(result: Rows, links: Sequence[Link], head: int, run: Sequence[int]) -> None:
    trunk = [head]
    for i in run:
        link = links[i]
        port = (link.port, link.ports) if head < result.boxes else (0, 1)
        between = result.row_of[link.target] - result.row_of[head]
        while len(trunk) < between:
            place = len(result.row_of)
            result.row_of.append(result.row_of[head] + len(trunk))
            result.segments.append((trunk[-1], *(port if len(trunk) == 1 else (0, 1)), place))
            trunk.append(place)
        upper = trunk[between - 1]
        result.segments.append((upper, *(port if between == 1 else (0, 1)), link.target))
        result.paths[i] = [*trunk[:between], link.target]


class _Order:
    """Reorders the rows until lines cross seldom."""

    def __init__(self, result: Rows) -> None:
        self._rows = result.rows
        self._at = [0.0] * len(result.row_of)
        # (neighbour, how far its port is from its middle, in places)
        self._above: list[list[tuple[int, float]]] = [[] for _ in result.row_of]
        self._below: list[list[tuple[int, float]]] = [[] for _ in result.row_of]
        for upper, port, ports, lower in result.segments:
            shift = (port + 1) / (ports + 1) - 0.5
            self._above[lower].append((upper, shift))
            self._below[upper].append((lower, shift))

    def run(self) -> None:
        is_small = len(self._at) <= _MOST_SWAPPED
        best, fewest = [list(row) for row in self._rows], -1
        for start in range(_STARTS if is_small else 1):
            self._depth_first(backwards=start % 2 == 1, upwards=start >= 2)
            for sweep in range(_SWEEPS + 1):
                if sweep:
                    self._sweep(down=sweep % 2 == 1, flip_ties=sweep % 4 >= 2)
                    for _ in range(_SWAPS if is_small else 0):
                        if not self._swap():
                            break
                crossings = self._all_crossings()
                if fewest < 0 or crossings < fewest:
                    best, fewest = [list(row) for row in self._rows], crossings
                if fewest == 0:
                    break
            if fewest == 0:
                break
        for row, places in zip(self._rows, best, strict=True):
            row[:] = places

    def _number(self, row: list[int]) -> None:
        for i, place in enumerate(row):
            self._at[place] = float(i)

    def _depth_first(self, *, backwards: bool, upwards: bool) -> None:
        """Chains side by side: each row in the order in which a walk meets it."""
        near = self._above if upwards else self._below
        met: dict[int, int] = {}
        for first in (p for row in self._rows[:: -1 if upwards else 1] for p in sorted(row)):
            stack = [first]
            while stack:
                place = stack.pop()
                if place not in met:
                    met[place] = len(met)
                    stack.extend(p for p, _ in (near[place] if backwards else near[place][::-1]))
        for row in self._rows:
            row.sort(key=met.__getitem__)
            self._number(row)

    def _sweep(self, *, down: bool, flip_ties: bool) -> None:
        near = self._above if down else self._below
        at = self._at
        for row in self._rows if down else reversed(self._rows):
            keys = {}
            for place in row:
                around = near[place]
                if not around:
                    keys[place] = at[place]
                elif down:
                    keys[place] = sum(at[p] + shift for p, shift in around) / len(around)
                else:
                    keys[place] = sum(at[p] - shift for p, shift in around) / len(around)
            if flip_ties:
                row.reverse()
            row.sort(key=keys.__getitem__)
            self._number(row)

    def _swap(self) -> bool:
        """Swaps neighbours in a row where that saves crossings, and says whether any did."""
        at = self._at
        is_better = False
        for row in self._rows:
            for i in range(len(row) - 1):
                a, b = row[i], row[i + 1]
                gain = 0
                for near, sign in ((self._above, 1.0), (self._below, 0.0)):
                    left = sorted(at[p] + sign * s for p, s in near[a])
                    right = sorted(at[p] + sign * s for p, s in near[b])
                    gain += _inversions(left, right) - _inversions(right, left)
                if gain > 0:
                    row[i], row[i + 1] = b, a
                    at[a], at[b] = at[b], at[a]
                    is_better = True
        return is_better

    def _all_crossings(self) -> int:
        return sum(map(self._crossings, self._rows))

    def _crossings(self, row: list[int]) -> int:
        """How many lines below a row cross: pairs that are in one order above, another below."""
        ends = []
        for place in row:
            lines = [
                (self._at[place] + shift, self._at[lower]) for lower, shift in self._below[place]
            ]
            ends += sorted(lines)
        seen: list[float] = []
        crossings = 0
        for _, lower in ends:
            crossings += len(seen) - _right_of(seen, lower)
            insort(seen, lower)
        return crossings


def _right_of(ordered: list[float], value: float) -> int:
    return bisect_left(ordered, value + 1e-9)


def _inversions(left: list[float], right: list[float]) -> int:
    """Pairs in which an element of `left` is greater than one of `right`; both are sorted."""
    count = i = 0
    for value in left:
        while i < len(right) and right[i] < value:
            i += 1
        count += i
    return count
