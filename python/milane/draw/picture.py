"""A graph as boxes, tags and lines, in pixels; nested blocks are pictures inside a box."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field

from .coordinates import Extent, place
from .graph import LONGEST_LINE, Edge, Graph, Node
from .layers import Link, Rows, arrange

# Widths of characters, with room for wide fonts: bold sans-serif of 13 px, monospace of 10 and 9.
TITLE, TEXT, SMALL = 9.0, 6.3, 5.7
LINE_HEIGHT = 13.0
_LONGEST_NAME = 30
_PADDING = 10.0
_MOST_LABELS = 4  # outputs of a node whose types stand beside their lines
_ABOVE, _BELOW = 13.0, 16.0  # room for the operand's name above a box, the type below
_GAP, _WIDEST_GAP = 20.0, 110.0
_TAG_HEIGHT = 15.0
_HEADER = 20.0  # of a nested block


def shorten(text: str, most: int) -> str:
    """The text, its middle left out where it is longer than `most` characters."""
    if width(text, 1.0) <= most:
        return text
    tail = (most - 1) * 3 // 5
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


def width(text: str, character: float) -> float:
    """An upper estimate of a text's width; wide characters count twice."""
    if text.isascii():
        return character * len(text)
    return character * sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


@dataclass
class Box:
    """A node with its place: `x`, `y` is the upper left corner.

    `title`, `name` and `lines` are what it says, from top to bottom.
    `ports` are the places of its values on the lower edge, relative to the middle; `labels` what
    stands beside them, "" for nothing; `inner` the pictures of its blocks and their places.
    """

    node: Node
    title: str
    name: str
    lines: list[str]
    width: float
    height: float
    ports: list[float]
    labels: list[str]
    inner: list[tuple[float, float, Picture]] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class Tag:
    """Stands for a value whose line is cut: beneath it the line goes on."""

    node: Node
    port: int
    text: str
    x: float
    y: float
    width: float
    height: float = _TAG_HEIGHT


@dataclass(frozen=True)
class Line:
    """An edge's way: through the points from top to bottom, curved where a step is `True`."""

    source: Node
    port: int
    target: Node
    operand: str
    label: str
    points: list[tuple[float, float, bool]]
    is_state: bool


@dataclass(frozen=True)
class Stub:
    """A value that no line leaves: one unused, or one whose lines are all cut."""

    x: float
    y: float
    is_cut: bool


@dataclass
class Picture:
    """Everything that is drawn of one graph."""

    caption: str
    width: float = 0.0
    height: float = 0.0
    boxes: list[Box] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    stubs: list[Stub] = field(default_factory=list)


def lay_out(graph: Graph) -> Picture:
    """The picture of a graph, its upper left corner at 0, 0."""
    operands: list[list[str]] = [[] for _ in graph.nodes]
    for edge in graph.edges:
        operands[edge.target].append(edge.operand)
    boxes = [_box(node, names) for node, names in zip(graph.nodes, operands, strict=True)]
    links = [Link(e.source, e.port, e.target, len(boxes[e.source].ports)) for e in graph.edges]
    rows = arrange([node.kind for node in graph.nodes], links)
    tags = [shorten(graph.nodes[box].names[port], _LONGEST_NAME) for box, port in rows.tags]
    tag_widths = [width(text, SMALL) + 14 for text in tags]
    extents = [_extent(box) for box in boxes]
    extents += [Extent(w / 2, w / 2) for w in tag_widths]
    extents += [Extent(0.0, 0.0)] * (len(rows.row_of) - rows.bends)
    xs = place(rows, extents)
    heights = [b.height for b in boxes] + [_TAG_HEIGHT] * len(tags)
    heights += [0.0] * (len(xs) - rows.bends)
    above = [_ABOVE if _is_named(o) else 6.0 for o in operands] + [0.0] * (len(xs) - len(boxes))
    below = [_BELOW if any(b.labels) else 4.0 for b in boxes] + [0.0] * (len(xs) - len(boxes))
    bands = _bands(rows, xs, heights, above, below)

    picture = Picture(graph.caption, boxes=boxes)
    picture.width = max((x + e.right for x, e in zip(xs, extents, strict=True)), default=0.0)
    picture.height = bands[-1].bottom if bands else 0.0
    for i, box in enumerate(boxes):
        box.x = xs[i] - box.width / 2
        box.y = bands[rows.row_of[i]].middle - box.height / 2
    for i, (source, port) in enumerate(rows.tags):
        p = len(boxes) + i
        x = xs[p] - tag_widths[i] / 2
        y = bands[rows.row_of[p]].middle - _TAG_HEIGHT / 2
        picture.tags.append(Tag(graph.nodes[source], port, tags[i], x, y, tag_widths[i]))
    picture.lines = _lines(graph, picture, rows, xs, bands)
    picture.stubs = _stubs(graph, boxes, rows)
    return picture


def _entry_width(operands: list[str]) -> float:
    """What the lines into a box need: few get the room to come from one side."""
    if not _is_named(operands):
        return 0.0
    return (2.0 if len(operands) <= 3 else 1.0) * sum(map(_slot, operands)) + 16


def _is_named(operands: list[str]) -> bool:
    return len(operands) > 1


def _slot(operand: str) -> float:
    """How much of a box's upper edge an operand takes."""
    return width(_label(operand), SMALL) + 12


def _label(operand: str) -> str:
    """What stands beside an arrow: of several values of one operand, only which."""
    return shorten(operand.rpartition("[")[2].removesuffix("]"), _LONGEST_NAME)


def _box(node: Node, operands: list[str]) -> Box:
    """A node's box with its size; the place comes later."""
    title = shorten(node.title, _LONGEST_NAME)
    name = "" if node.kind != "op" else shorten(", ".join(node.names), LONGEST_LINE)
    lines = [shorten(line, LONGEST_LINE) for line in node.lines]
    labels = [shorten(text, _LONGEST_NAME) for text in node.types]
    if len(labels) > _MOST_LABELS:
        kinds = Counter(labels)
        lines += [shorten(f"{n} × {text}", LONGEST_LINE) for text, n in kinds.items()]
        slots = [12.0] * len(labels)
        labels = [""] * len(labels)
    else:
        slots = [width(text, TEXT) + 16 for text in labels]
    wide = max(
        2 * _PADDING + width(title, TITLE),
        2 * _PADDING + width(name, TEXT),
        *(2 * _PADDING + width(line, TEXT) for line in lines),
        sum(slots) if len(slots) > 1 else 0.0,
        _entry_width(operands),
        56.0,
    )
    height = 24 + LINE_HEIGHT * (bool(name) + len(lines)) + (2 if name or lines else 0)
    if node.kind == "state":
        height += 8
    if len(slots) > 1:
        ends = [sum(slots[:i]) for i in range(len(slots))]
        ports = [end + 6 - sum(slots) / 2 for end in ends]
    else:
        ports = [0.0] * len(slots)
    box = Box(node, title, name, lines, wide, height, ports, labels)
    if node.blocks:
        _nest(box)
    return box


def _nest(box: Box) -> None:
    """Puts the pictures of a node's blocks side by side below its text."""
    x = _PADDING
    tallest = 0.0
    for graph in box.node.blocks:
        inner = lay_out(graph)
        inner.width = max(inner.width, width(inner.caption, TEXT))
        box.inner.append((x + _PADDING, box.height + _HEADER, inner))
        x += inner.width + 3 * _PADDING
        tallest = max(tallest, inner.height)
    box.width = max(box.width, x)
    box.height += _HEADER + tallest + 2 * _PADDING


def _extent(box: Box) -> Extent:
    """With the type of the last value, which stands to the right of its port."""
    right = box.width / 2
    for port, label in zip(box.ports, box.labels, strict=True):
        right = max(right, port + 6 + width(label, TEXT))
    return Extent(box.width / 2, right)


@dataclass(frozen=True)
class _Band:
    """The height of a row: its upper end, the middle of its boxes, its lower end."""

    top: float
    middle: float
    bottom: float


def _bands(
    rows: Rows, xs: list[float], heights: list[float], above: list[float], below: list[float]
) -> list[_Band]:
    """Every row's height; rows stand further apart where lines go far sideways."""
    sideways = [0.0] * len(rows.rows)
    for upper, _, _, lower in rows.segments:
        row = rows.row_of[lower]
        sideways[row] = max(sideways[row], abs(xs[upper] - xs[lower]))
    bands: list[_Band] = []
    for row, places in enumerate(rows.rows):
        gap = min(_WIDEST_GAP, _GAP + 0.1 * sideways[row])
        top = bands[-1].bottom + gap if bands else 0.0
        high = top + max(above[p] for p in places)
        low = high + max(heights[p] for p in places)
        bands.append(_Band(top, (high + low) / 2, low + max(below[p] for p in places)))
    return bands


def _lines(
    graph: Graph,
    picture: Picture,
    rows: Rows,
    xs: list[float],
    bands: list[_Band],
) -> list[Line]:
    boxes = picture.boxes
    starts = []
    arrivals: list[list[tuple[float, int]]] = [[] for _ in boxes]
    for i, (edge, path) in enumerate(zip(graph.edges, rows.paths, strict=True)):
        head = path[0]
        if head < len(boxes):
            box = boxes[head]
            start = (box.middle + box.ports[edge.port], box.y + box.height)
        else:
            tag = picture.tags[head - len(boxes)]
            start = (xs[head], tag.y + tag.height)
        starts.append(start)
        arrivals[edge.target].append((xs[path[-2]] if len(path) > 2 else start[0], i))
    ends: dict[int, float] = {}
    for box, arrived in zip(boxes, arrivals, strict=True):
        ends.update(_entries(box, graph.edges, arrived))
    lines = []
    for i, (edge, path) in enumerate(zip(graph.edges, rows.paths, strict=True)):
        x, y = starts[i]
        points = [(x, y, False), (x, bands[rows.row_of[path[0]]].bottom, False)]
        for p in path[1:-1]:
            band = bands[rows.row_of[p]]
            points += [(xs[p], band.top, True), (xs[p], band.bottom, False)]
        target = boxes[edge.target]
        top = bands[rows.row_of[path[-1]]].top
        points += [(ends[i], top, True), (ends[i], target.y, False)]
        source = graph.nodes[edge.source]
        label = _label(edge.operand) if len(arrivals[edge.target]) > 1 else ""
        lines.append(
            Line(
                source, edge.port, target.node, edge.operand, label, points, source.kind == "state"
            )
        )
    return lines


def _entries(box: Box, edges: list[Edge], arrived: list[tuple[float, int]]) -> dict[int, float]:
    """Where on a box's upper edge each line ends: below where it comes from, as far as it goes."""
    low, high = box.x + 10, box.x + box.width - 10
    if len(arrived) == 1:
        ((x, i),) = arrived
        return {i: x if low <= x <= high else box.middle}
    order = sorted(arrived)
    slots = [_slot(edges[i].operand) for _, i in order]
    places: list[float] = []
    free = low
    for (x, _), slot in zip(order, slots, strict=True):
        places.append(max(free, x))
        free = places[-1] + slot
    free = box.x + box.width - 4
    for k in reversed(range(len(places))):
        places[k] = min(places[k], free - slots[k])
        free = places[k]
    return {i: x for (_, i), x in zip(order, places, strict=True)}


def _stubs(graph: Graph, boxes: list[Box], rows: Rows) -> list[Stub]:
    drawn = {
        (edge.source, edge.port)
        for edge, path in zip(graph.edges, rows.paths, strict=True)
        if path[0] == edge.source
    }
    cut = set(rows.tags)
    return [
        Stub(box.middle + port, box.y + box.height, (i, k) in cut)
        for i, box in enumerate(boxes)
        for k, port in enumerate(box.ports)
        if (i, k) not in drawn
    ]
