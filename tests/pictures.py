"""Reads the pictures of `milane.draw` back, and says what a program's should show."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from milane import mil

SVG = "{http://www.w3.org/2000/svg}"
MONO = 1233 / 2048  # the width of every character of DejaVu Sans Mono, at size 1

NESTED = """program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 4]> x, bool p, state<tensor<fp16, [1, 4]>> kv) {
            fp16 half = const()[name = string("half"), val = fp16(0x1p-1)];
            tensor<fp16, [1, 4]> h = mul(x = x, y = half)[name = string("h")];
            tensor<fp16, [1, 4]> y = cond(pred = p)[name = string("y")]
            () {
                    tensor<fp16, [1, 4]> a = relu(x = h);
                    tensor<fp16, [1, 4]> a2 = add(x = a, y = half);
                } -> (a2)
            () {
                    tensor<fp16, [1, 4]> b = cond(pred = p)
                    () {
                            tensor<fp16, [1, 4]> c = tanh(x = x);
                        } -> (c)
                    () {} -> (h);
                } -> (b);
            tensor<fp16, [1, 4]> k = read_state(input = kv);
            tensor<fp16, [1, 4]> y2 = add(x = y, y = k);
            write_state(data = y2, input = kv);
        } -> (y2, x);
}
"""


# --- reading a picture back


@dataclass
class Drawn:
    """A node of a picture."""

    kind: str
    op: str
    values: list[str]
    x: float
    y: float
    width: float
    height: float
    tooltip: str
    text: list[str]


@dataclass
class Line:
    """An edge of a picture: the straight and curved steps are pairs of points."""

    source: str
    target: str
    value: str
    operand: str
    steps: list[tuple[float, float, float, float]]


@dataclass
class Picture:
    """What an SVG text shows."""

    nodes: dict[str, Drawn] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    tags: dict[tuple[float, float], str] = field(default_factory=dict)
    root: ET.Element = field(default_factory=lambda: ET.Element("svg"))

    @property
    def ops(self) -> Counter[tuple[str, tuple[str, ...]]]:
        return Counter((n.op, tuple(n.values)) for n in self.nodes.values() if n.kind == "op")

    @property
    def edges(self) -> Counter[tuple[str, str, tuple[str, ...], str]]:
        return Counter(
            (e.value, self.nodes[e.target].op, tuple(self.nodes[e.target].values), e.operand)
            for e in self.lines
        )


def read(svg: str) -> Picture:
    """The picture in an SVG text; fails on anything that is not well formed, or has an id twice."""
    picture = Picture(root=ET.fromstring(svg))
    for element in picture.root.iter():
        if "node" in element.get("class", "").split():
            assert element.attrib["id"] not in picture.nodes
            x, y, width, height = map(float, element.attrib["data-box"].split())
            picture.nodes[element.attrib["id"]] = Drawn(
                element.attrib["data-kind"],
                element.attrib["data-op"],
                element.attrib["data-values"].split(),
                *(x, y, width, height),
                element.findtext(f"{SVG}title", ""),
                [t.text or "" for t in element.iter(f"{SVG}text")],
            )
        elif "data-from" in element.attrib:
            a = element.attrib
            names = (a["data-from"], a["data-to"], a["data-value"], a["data-operand"])
            picture.lines.append(Line(*names, list(steps(a["d"]))))
        elif element.get("class") == "tag":
            rect = element.find(f"{SVG}rect")
            assert rect is not None
            x, y, width, height = (float(rect.attrib[k]) for k in ("x", "y", "width", "height"))
            picture.tags[x + width / 2, y + height] = element.attrib["href"].removeprefix("#")
    return picture


def steps(d: str) -> Iterator[tuple[float, float, float, float]]:
    """The steps of an SVG path that has M, V and C only."""
    x = y = 0.0
    for command, numbers in re.findall(r"([MVC])([-\d. ]+)", d):
        values = [float(v) for v in numbers.split()]
        x1, y1 = (x, values[0]) if command == "V" else (values[-2], values[-1])
        if command == "C":
            assert (values[0], values[2], values[1]) == (x, x1, values[3])  # upright at both ends
            assert y <= values[1] <= y1
        if command != "M":
            yield x, y, x1, y1
        x, y = x1, y1


def assert_well_drawn(picture: Picture) -> None:
    """No boxes on each other, all inside; lines lead downwards, from their node to their node."""
    width, height = (float(picture.root.attrib[k]) for k in ("width", "height"))
    nodes = sorted(picture.nodes.values(), key=lambda n: n.y)
    for i, a in enumerate(nodes):
        assert 0 <= a.x <= a.x + a.width <= width
        assert 0 <= a.y <= a.y + a.height <= height
        for b in nodes[i + 1 :]:
            if b.y >= a.y + a.height:
                break
            apart = a.x + a.width <= b.x or b.x + b.width <= a.x
            nested = a.op in ("cond", "while_loop") and is_inside(b, a)
            assert apart or nested, (a, b)
    for line in picture.lines:
        source, target = picture.nodes[line.source], picture.nodes[line.target]
        assert line.value in source.values
        assert all(y0 <= y1 for _, y0, _, y1 in line.steps)
        x, y = line.steps[0][:2]
        if abs(y - source.y - source.height) > 0.15 or not source.x <= x <= source.x + source.width:
            tags = [n for (tx, ty), n in picture.tags.items() if abs(tx - x) + abs(ty - y) < 0.3]
            assert tags == [line.source]
        x, y = line.steps[-1][2:]
        assert y == pytest.approx(target.y, abs=0.15)
        assert target.x <= x <= target.x + target.width


def assert_types_are_free(picture: Picture) -> None:
    """The types beside the lines lie on no box and on no other type, and inside the picture."""
    width = float(picture.root.attrib["width"])
    rects = []
    for text in picture.root.iter(f"{SVG}text"):
        if text.get("class") == "type":
            x, y = float(text.attrib["x"]), float(text.attrib["y"])
            rects.append((x, y - 8, x + 10 * MONO * len(str(text.text)), y + 2))
    assert all(right <= width for _, _, right, _ in rects)
    boxes = [
        (n.x, n.y, n.x + n.width, n.y + n.height)
        for n in picture.nodes.values()
        if n.op not in ("cond", "while_loop")
    ]
    for i, (left, top, right, bottom) in enumerate(rects):
        for x0, y0, x1, y1 in boxes + rects[:i]:
            assert right <= x0 or x1 <= left or bottom <= y0 or y1 <= top


def assert_lines_avoid_boxes(picture: Picture) -> None:
    for line in picture.lines:
        for x0, y0, x1, y1 in line.steps:
            for node in picture.nodes.values():
                if y1 <= node.y + 0.15 or node.y + node.height - 0.15 <= y0:
                    continue
                # A curve stays between its ends: its rectangle must be free.
                assert max(x0, x1) <= node.x or node.x + node.width <= min(x0, x1), (line, node)


def is_inside(inner: Drawn, outer: Drawn) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


# --- what a program says should be there, read from its text form without milane.draw


def operations(block: mil.Function | mil.Block) -> Iterator[mil.Operation]:
    for op in block.operations:
        yield op
        for nested in op.blocks:
            yield from operations(nested)


def free_names(block: mil.Block) -> set[str]:
    """The names that a block takes from outside."""
    known = {i.name for i in block.inputs}
    free: set[str] = set()
    for op in block.operations:
        names = {a for args in op.inputs.values() for a in args if isinstance(a, str)}
        free |= names.union(*map(free_names, op.blocks)) - known
        known |= {o.name for o in op.outputs}
    return free | (set(block.outputs) - known)


def bodies(block: mil.Function | mil.Block) -> Iterator[mil.Function | mil.Block]:
    yield block
    for op in block.operations:
        for nested in op.blocks:
            yield from bodies(nested)


def folded_constants(function: mil.Function) -> set[str]:
    """Constants that are used, and are no output of the block that has them."""
    used = {
        a
        for op in operations(function)
        for args in op.inputs.values()
        for a in args
        if isinstance(a, str)
    }
    used |= {n for op in operations(function) for b in op.blocks for n in b.outputs}
    return {
        op.outputs[0].name
        for body in bodies(function)
        for op in body.operations
        if op.type == "const" and op.outputs[0].name not in body.outputs
    } & used


def expected(
    function: mil.Function, folded: set[str]
) -> tuple[Counter[tuple[str, tuple[str, ...]]], Counter[tuple[str, str, tuple[str, ...], str]]]:
    ops: Counter[tuple[str, tuple[str, ...]]] = Counter()
    edges: Counter[tuple[str, str, tuple[str, ...], str]] = Counter()
    for body in bodies(function):
        for name in body.outputs:
            edges[name, "", (name,), ""] += 1
        for op in body.operations:
            values = tuple(o.name for o in op.outputs)
            if op.type == "const" and values[0] in folded:
                continue
            ops[op.type, values] += 1
            for operand, args in op.inputs.items():
                for i, arg in enumerate(args):
                    label = operand if len(args) == 1 else f"{operand}[{i}]"
                    if isinstance(arg, str) and arg not in folded:
                        edges[arg, op.type, values, label] += 1
            for taken in set().union(*map(free_names, op.blocks)) - folded:
                edges[taken, op.type, values, taken] += 1
    return ops, edges


# --- programs


def random_program(count: int, *, seed: int, reach: int) -> mil.Program:
    """`count` additions of values from among the last `reach`; the last three are outputs."""
    choose = random.Random(seed)
    names = ["a", "b", "c"]
    lines = []
    for i in range(count):
        x, y = choose.choice(names[-reach:]), choose.choice(names[-reach:])
        lines.append(f'tensor<fp16, [1, 4]> v{i} = add(x = {x}, y = {y})[name = string("v{i}")];')
        names.append(f"v{i}")
    return mil.parse(
        "program(1.3) { func main<ios18>(tensor<fp16, [1, 4]> a, tensor<fp16, [1, 4]> b, "
        f"tensor<fp16, [1, 4]> c) {{ {' '.join(lines)} }} -> ({', '.join(names[-3:])}); }}"
    )
