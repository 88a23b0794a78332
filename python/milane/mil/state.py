"""Programs that read and write a state: a tensor that lives as long as the kernel."""

from __future__ import annotations

import re
from collections.abc import Sequence

from milane.errors import InvalidArgumentError
from milane.graph import ops
from milane.graph.graph import Dialect, Graph
from milane.mil._parts import begin
from milane.mil.program import MILProgram


def gen_read_state(name: str, shape: Sequence[int], *, dialect: Dialect = "ios18") -> MILProgram:
    """The program that returns a state.

    Formula: ``out = state``, as Core ML saves it: ``read_state(input = name)``.

    State: ``name``, fp16 ``shape``.
    Output: out, of the same shape.
    Device: the direct route has no states: it refuses the program (ane_facts D 48). Bind an output
        surface as the next evaluation's input instead (G.6), as ``Pipeline`` does.

    Raises:
        InvalidArgumentError: a size below 1, a name that is no identifier or taken by the program
            (``out``), or a dialect other than ios18, the first with states.

    Source: GenReadState of tmc/apple x/ane/mil, in the form that Core ML saves.
    """
    graph = _begin("gen_read_state", name, shape, dialect, taken=("out",))
    return graph._finished({"out": ops.read_state(graph.state(name, shape), name="out")})


def gen_update_state(name: str, shape: Sequence[int], *, dialect: Dialect = "ios18") -> MILProgram:
    """The program that writes a state and returns what it holds then.

    Formula: ``state = value; out = state``, as Core ML saves it: ``write_state(data = value,
        input = name)``, then ``read_state``.

    Inputs: value fp16 ``shape``.
    State: ``name``, of the same shape.
    Output: out, of the same shape.
    Device: as :func:`gen_read_state`. Reading before writing crashed a compiler (tmc/apple), so
        that the order is this one.

    Raises:
        InvalidArgumentError: a size below 1, a name that is no identifier or taken by the program
            (``value``, ``out``), or a dialect other than ios18, the first with states.

    Source: GenUpdateState of tmc/apple x/ane/mil, in the form that Core ML saves.
    """
    graph = _begin("gen_update_state", name, shape, dialect, taken=("value", "out"))
    state = graph.state(name, shape)
    ops.write_state(state, graph.input("value", shape))
    return graph._finished({"out": ops.read_state(state, name="out")})


def _begin(
    generator: str, name: str, shape: Sequence[int], dialect: Dialect, taken: tuple[str, ...]
) -> Graph:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise InvalidArgumentError(f"{generator}: expected name to be an identifier, got {name!r}")
    if name in taken:
        raise InvalidArgumentError(
            f"{generator}: expected another name than {' and '.join(taken)}, got {name!r}"
        )
    if len(shape) == 0:
        raise InvalidArgumentError(f"{generator}: expected a shape of one axis or more, got []")
    return begin(generator, dialect, **{f"shape[{i}]": size for i, size in enumerate(shape)})
