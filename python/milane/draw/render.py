"""A picture as SVG text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape

from .families import FAMILIES, OTHER, Family, family_of
from .graph import Node
from .picture import LINE_HEIGHT, TEXT, TITLE, Box, Line, Picture, Stub, Tag, width

_MARGIN = 24.0
_TOP = 64.0
_SWATCH = 12.0
_NARROWEST = 420.0
# XML 1.0 has no place for these, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_STYLE = """\
svg { background: #ffffff; }
.ground { fill: #ffffff; }
text { font: 10px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #24292f; }
.title { font: bold 13px "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
.name, .caption { fill: #57606a; }
.small { font-size: 9px; fill: #57606a; }
.type { fill: #3d4650; }
.box { stroke-width: 1.2; }
.port .box { fill: #ffffff; stroke: #24292f; }
.outside .box { fill: #ffffff; stroke: #57606a; stroke-dasharray: 3 2; }
.frame { fill: #ffffff; stroke: #8c959f; stroke-dasharray: 4 3; }
.tag rect { fill: #f3f4f6; stroke: #8c959f; }
.edge, .stub { fill: none; stroke: #6e7781; stroke-width: 1.2; }
.cut { fill: #ffffff; }
.of-state { stroke-dasharray: 5 3; }
.head { fill: #6e7781; }
.node:hover .box { stroke-width: 2.6; }
.edge:hover { stroke: #0969da; stroke-width: 2.4; }
"""
_DARK = """\
svg { background: #0d1117; }
.ground { fill: #0d1117; }
text { fill: #e6edf3; }
.name, .caption, .small { fill: #9aa5b1; }
.type { fill: #c3ccd5; }
.port .box { fill: #0d1117; stroke: #e6edf3; }
.outside .box { fill: #0d1117; stroke: #9aa5b1; }
.frame { fill: #0d1117; stroke: #6e7781; }
.tag rect { fill: #1c2128; stroke: #6e7781; }
.edge, .stub { stroke: #8b949e; }
.cut { fill: #0d1117; }
.head { fill: #8b949e; }
.edge:hover { stroke: #58a6ff; }
"""


def render(picture: Picture, title: str, note: str) -> str:
    """The SVG document of a picture, under a title, a note and the legend of its families."""
    used = _families(picture)
    present = [family for family in (*FAMILIES, OTHER) if family.name in used]
    inner = max(picture.width, _NARROWEST, width(title, TITLE), width(note, TEXT))
    legend, legend_height = _legend(present, inner)
    top = _TOP + legend_height
    across, down = inner + 2 * _MARGIN, top + picture.height + _MARGIN
    x = _MARGIN + (inner - picture.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(across)}" height="{_n(down)}" '
        f'viewBox="0 0 {_n(across)} {_n(down)}" role="img">',
        f"<title>{_text(title)}</title>",
        f"<style>\n{_STYLE}{_colours(present, dark=False)}"
        f"@media (prefers-color-scheme: dark) {{\n{_DARK}{_colours(present, dark=True)}}}\n"
        "</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7.4" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto" markerUnits="userSpaceOnUse">'
        '<path class="head" d="M0.5 0.8 L7.5 4 L0.5 7.2 Z"/></marker></defs>',
        f'<rect class="ground" width="{_n(across)}" height="{_n(down)}"/>',
        f'<text class="title" x="{_n(_MARGIN)}" y="{_n(_MARGIN + 8)}">{_text(title)}</text>',
        f'<text class="caption" x="{_n(_MARGIN)}" y="{_n(_MARGIN + 24)}">{_text(note)}</text>',
        *legend,
    ]
    _draw(picture, x, top, parts)
    return "\n".join([*parts, "</svg>\n"])


def _n(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text), {'"': "&quot;"})


def _families(picture: Picture) -> set[str]:
    names = set()
    for box in picture.boxes:
        if box.node.kind == "op":
            names.add(family_of(box.node.title).name)
        if box.node.kind == "state":
            names.add("state")
        for _, _, inner in box.inner:
            names |= _families(inner)
    return names


def _colours(families: Iterable[Family], *, dark: bool) -> str:
    fill, stroke = (0.17, 0.62) if dark else (0.93, 0.40)
    return "".join(
        f".{f.name} .box {{ fill: {f.colour(fill)}; stroke: {f.colour(stroke)}; }}\n"
        for f in families
    )


def _legend(families: Iterable[Family], across: float) -> tuple[list[str], float]:
    """The legend below the title, on as many lines as it takes, and their height."""
    parts = []
    x, y = 0.0, 0.0
    for family in families:
        wide = _SWATCH + 6 + width(family.label, TEXT) + 14
        if x and x + wide > across:
            x, y = 0.0, y + 18
        left, top = _MARGIN + x, _TOP - 8 + y
        label = _text(family.label)
        parts.append(
            f'<g class="{family.name}"><rect class="box" x="{_n(left)}" y="{_n(top)}" '
            f'width="{_n(_SWATCH)}" height="{_n(_SWATCH)}" rx="2"/>'
            f'<text x="{_n(left + _SWATCH + 6)}" y="{_n(top + 9.5)}">{label}</text></g>'
        )
        x += wide
    return parts, y + 24


def _draw(picture: Picture, x: float, y: float, parts: list[str]) -> None:
    for line in picture.lines:
        parts.append(_line(line, x, y))
    for stub in picture.stubs:
        parts.append(_stub(stub, x, y))
    for tag in picture.tags:
        parts.append(_tag(tag, x, y))
    for box in picture.boxes:
        parts.append(_box(box, x, y))
        for dx, dy, inner in box.inner:
            left, top = x + box.x + dx, y + box.y + dy
            parts.append(
                f'<rect class="frame" x="{_n(left - 10)}" y="{_n(top - 18)}" '
                f'width="{_n(inner.width + 20)}" height="{_n(box.height - dy + 8)}" rx="3"/>'
                f'<text class="caption" x="{_n(left - 4)}" y="{_n(top - 7)}">'
                f"{_text(inner.caption)}</text>"
            )
            _draw(inner, left, top, parts)


def _box(box: Box, x: float, y: float) -> str:
    node = box.node
    left, top, middle = x + box.x, y + box.y, x + box.middle
    lowest = top + box.height
    parts = [
        f'<g id="n{node.id}" class="node {_class(node)}" data-kind="{node.kind}" '
        f'data-op="{_text(node.title) if node.kind == "op" else ""}" '
        f'data-values="{_text(" ".join(node.names))}" '
        f'data-box="{_n(left)} {_n(top)} {_n(box.width)} {_n(box.height)}">'
        f"<title>{_text(node.tooltip)}</title>",
        _shape(node, left, top, box.width, box.height),
    ]
    baseline = top + (24 if node.kind == "state" else 17)
    parts.append(_words("title", middle, baseline, box.title))
    if box.name:
        baseline += LINE_HEIGHT
        parts.append(_words("name", middle, baseline, box.name))
    for line in box.lines:
        baseline += LINE_HEIGHT
        parts.append(_words("line", middle, baseline, line))
    for port, label in zip(box.ports, box.labels, strict=True):
        if label:
            parts.append(
                f'<text class="type" x="{_n(middle + port + 5)}" y="{_n(lowest + 12)}">'
                f"{_text(label)}</text>"
            )
    return "".join([*parts, "</g>"])


def _class(node: Node) -> str:
    if node.kind == "op":
        return family_of(node.title).name
    return {"state": "state", "outside": "outside"}.get(node.kind, "port")


def _words(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}" text-anchor="middle">{_text(text)}</text>'


def _shape(node: Node, x: float, y: float, across: float, down: float) -> str:
    if node.kind == "state":  # a drum
        bend = 5.0
        half = f"{_n(across / 2)} {_n(bend)} 0 0"
        return (
            f'<path class="box" d="M{_n(x)} {_n(y + bend)} v{_n(down - 2 * bend)} '
            f"a{half} 0 {_n(across)} 0 v{_n(2 * bend - down)} a{half} 0 {_n(-across)} 0 "
            f'a{half} 0 {_n(across)} 0"/>'
        )
    round_ = down / 2 if node.kind in ("input", "output", "outside") else 4.0
    return (
        f'<rect class="box" x="{_n(x)}" y="{_n(y)}" width="{_n(across)}" height="{_n(down)}" '
        f'rx="{_n(round_)}"/>'
    )


def _line(line: Line, x: float, y: float) -> str:
    (x0, y0, _), *rest = line.points
    steps = [f"M{_n(x + x0)} {_n(y + y0)}"]
    for x1, y1, curved in rest:
        if y1 - y0 < 0.05 and x1 == x0:
            continue
        if curved and abs(x1 - x0) >= 0.05:
            half = _n(y + (y0 + y1) / 2)
            steps.append(f"C{_n(x + x0)} {half} {_n(x + x1)} {half} {_n(x + x1)} {_n(y + y1)}")
        else:
            steps.append(f"V{_n(y + y1)}")
        x0, y0 = x1, y1
    value, type_ = line.source.names[line.port], line.source.types[line.port]
    kind = "edge of-state" if line.is_state else "edge"
    drawn = (
        f'<path class="{kind}" data-from="n{line.source.id}" data-to="n{line.target.id}" '
        f'data-value="{_text(value)}" data-operand="{_text(line.operand)}" d="{" ".join(steps)}" '
        f'marker-end="url(#head)"><title>{_text(f"{value}: {type_}")}</title></path>'
    )
    if line.label:
        drawn += (
            f'<text class="small" x="{_n(x + x0 + 5)}" y="{_n(y + y0 - 3)}">'
            f"{_text(line.label)}</text>"
        )
    return drawn


def _stub(stub: Stub, x: float, y: float) -> str:
    left, top = x + stub.x, y + stub.y
    drawn = f'<path class="stub" d="M{_n(left)} {_n(top)} v9"/>'
    if stub.is_cut:
        drawn += f'<circle class="stub cut" cx="{_n(left)}" cy="{_n(top + 11)}" r="2.5"/>'
    return drawn


def _tag(tag: Tag, x: float, y: float) -> str:
    left, top = x + tag.x, y + tag.y
    full = f"{tag.node.names[tag.port]}: {tag.node.types[tag.port]}"
    middle = _n(left + tag.width / 2)
    return (
        f'<a class="tag" href="#n{tag.node.id}"><title>{_text(full)}</title>'
        f'<rect x="{_n(left)}" y="{_n(top)}" width="{_n(tag.width)}" height="{_n(tag.height)}" '
        f'rx="{_n(tag.height / 2)}"/><text class="small" x="{middle}" y="{_n(top + 10.5)}" '
        f'text-anchor="middle">{_text(tag.text)}</text></a>'
    )
