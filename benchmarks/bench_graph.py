"""How fast is a graph of many operations built and printed, and is the time linear in them?

Peer: coremltools' builder, given the same operations with the same arguments and weights; its own
printed form; and what it serialises into a model file, which is to it what MIL text is to milane.
Both infer every result's type as they build. Operations are counted without
constants: convolutions of one pixel, activations, arithmetic with numbers, reshapes, transposes and
softmaxes, eight in turn.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import coremltools
import numpy as np
from common import alternate, markdown, parser, report, time_text
from coremltools.converters.mil import Builder as mb  # noqa: N813  # its usual name
from coremltools.converters.mil.backend.mil.load import load
from coremltools.converters.mil.mil import types

from milane import Graph
from milane.graph import ops

SHAPE, CHANNELS, ROWS, COLUMNS = (1, 64, 1, 128), 64, 8, 16
PERM = [0, 1, 3, 2]
SIZES = (100, 1_000, 10_000)
WEIGHT = np.eye(CHANNELS, dtype=np.float16).reshape(CHANNELS, CHANNELS, 1, 1)
WINDOW: dict[str, Any] = {
    "strides": [1, 1],
    "pad_type": "valid",
    "pad": [0, 0, 0, 0],
    "dilations": [1, 1],
    "groups": 1,
}


def built(count: int) -> Graph:
    """Milane's graph of so many operations."""
    graph = Graph()
    y = x = graph.input("x", SHAPE)
    weight = graph.weight("w", WEIGHT.shape, data=WEIGHT)
    steps: list[Callable[[Any], Any]] = [
        lambda y: ops.conv(y, weight, **WINDOW),
        ops.relu,
        lambda y: ops.mul(y, 0.5),
        lambda y: ops.add(y, x),
        lambda y: ops.reshape(y, [1, CHANNELS, ROWS, COLUMNS]),
        lambda y: ops.transpose(y, PERM),
        lambda y: ops.reshape(y, list(SHAPE)),
        lambda y: ops.softmax(y, axis=1),
    ]
    for n in range(count):
        y = steps[n % len(steps)](y)
    graph.output("y", y)
    return graph


def printed(count: int) -> str:
    """Its text."""
    return str(built(count))


def peer(count: int) -> Any:
    """coremltools' program of the same operations."""

    def body(x: Any) -> Any:
        weight, y = mb.const(val=WEIGHT, name="w"), x
        steps: list[Callable[[Any], Any]] = [
            lambda y: mb.conv(x=y, weight=weight, **WINDOW),
            lambda y: mb.relu(x=y),
            lambda y: mb.mul(x=y, y=np.float16(0.5)),
            lambda y: mb.add(x=y, y=x),
            lambda y: mb.reshape(x=y, shape=[1, CHANNELS, ROWS, COLUMNS]),
            lambda y: mb.transpose(x=y, perm=PERM),
            lambda y: mb.reshape(x=y, shape=list(SHAPE)),
            lambda y: mb.softmax(x=y, axis=1),
        ]
        for n in range(count):
            y = steps[n % len(steps)](y)
        return y

    spec = mb.TensorSpec(shape=SHAPE, dtype=types.fp16)
    return mb.program(input_specs=[spec], opset_version=coremltools.target.iOS18)(body)


def peer_printed(count: int) -> str:
    """Its printed form."""
    return str(peer(count))


def peer_serialised(count: int, folder: str) -> bytes:
    """What it writes into a model file."""
    program = load(peer(count), weights_dir=folder, specification_version=9)
    data: bytes = program.SerializeToString()
    return data


def check(count: int) -> None:
    """Both have made the same operations."""
    own = [o.type for o in built(count).program().function.operations if o.type != "const"]
    other = [o.op_type for o in peer(count).functions["main"].operations if o.op_type != "const"]
    assert own == other, (own[:9], other[:9])


def peers(folder: str) -> dict[str, Callable[[], object]]:
    """coremltools' variants, up to 1 000 operations."""
    made: dict[str, Callable[[], object]] = {}
    for count in SIZES[:2]:
        made[f"coremltools, built, {count}"] = lambda n=count: peer(n)  # type: ignore[misc]
        made[f"coremltools, built and printed, {count}"] = lambda n=count: peer_printed(n)  # type: ignore[misc]
        made[f"coremltools, built and serialised, {count}"] = lambda n=count: peer_serialised(
            n, folder
        )  # type: ignore[misc]
    return made


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__ or "")
    options.add_argument("--no-peer", action="store_true", help="milane alone")
    args = options.parse_args()
    variants: dict[str, Callable[[], object]] = {}
    for count in SIZES:
        variants[f"milane, built and printed, {count}"] = lambda n=count: printed(n)  # type: ignore[misc]
    variants["milane, built, 1000"] = lambda: built(1_000)
    gc.freeze()  # or the collector walks through the peer's modules, more often for longer graphs
    with tempfile.TemporaryDirectory() as folder:
        if not args.no_peer:
            check(80)
            variants.update(peers(folder))
        results = alternate(variants, args.rounds)
    base = results["milane, built and printed, 1000"].median
    rows = []
    for name, s in results.items():
        count = int(name.rpartition(" ")[2])
        each = time_text(s.median / count)
        times = [time_text(t) for t in (s.median, s.min, s.max)]
        rows.append([name, *times, each, f"{s.median / base:.2f}"])
    columns = ["variant, operations", "median", "min", "max", "an operation"]
    table = markdown([*columns, "time / (milane, built and printed, 1000)"], rows)
    report("Building a graph", results, table, args.json, coremltools=coremltools.__version__)


if __name__ == "__main__":
    main()
