"""The graph of a program as an SVG picture; see docs/draw.md."""

from __future__ import annotations

import os
from collections.abc import Iterator

from milane import mil
from milane.errors import InvalidArgumentError
from milane.files import write_text
from milane.mil.program import default_function

from .families import FAMILIES, OTHER, Family, family_of
from .graph import of_function
from .picture import lay_out
from .render import render

__all__ = ["FAMILIES", "OTHER", "Family", "family_of", "save", "svg"]


def svg(
    program: mil.Program,
    function: str | None = None,
    *,
    constants: bool = False,
    max_ops: int | None = 10_000,
) -> str:
    """Return the SVG text of a function's graph, the same for the same program.

    Inputs are at the top, outputs at the bottom, states are drums; operations have the colour of
    their family. Every value's type is beside its line, the MIL text in the tooltips. Nested blocks
    are drawn inside their operation; a dashed node there is a value from outside. A line that would
    pass many rows is cut: a tag with the value's name stands where it goes on.

    Args:
        program: does not have to verify; a name without a definition is drawn as a dashed node.
        function: its name; `main`, or the only one, when not given.
        constants: draw every `const` as a node, not as text in the operations that use it. One that
            no operation uses, or that is an output, is a node either way.
        max_ops: refuse larger functions, constants not counted; None for no limit.

    Raises:
        InvalidArgumentError: no such function, or more than `max_ops` operations.
    """
    chosen = _pick(program, function)
    ops = sum(op.type != "const" for op in _operations(chosen))
    if max_ops is not None and ops > max_ops:
        raise _refusal(
            f"draw: expected at most {max_ops} operations in {chosen.name}, got {ops}",
            "pass a larger max_ops=",
        )
    noun = "operation" if ops == 1 else "operations"
    title = f"{chosen.name}<{chosen.opset}>"
    note = f"program({program.version}), {ops} {noun}"
    return render(lay_out(of_function(chosen, constants=constants)), title, note)


def save(
    program: mil.Program,
    path: str | os.PathLike[str],
    function: str | None = None,
    *,
    constants: bool = False,
    max_ops: int | None = 10_000,
) -> None:
    """Write the picture of :func:`svg` to a file, which appears whole or not at all.

    Raises:
        InvalidArgumentError: as :func:`svg`.
        ModelFileError: the file cannot be written.
    """
    write_text(path, svg(program, function, constants=constants, max_ops=max_ops))


def _pick(program: mil.Program, wanted: str | None) -> mil.Function:
    name = wanted or default_function(program)
    if name not in program:
        known = ", ".join(f.name for f in program.functions) or "none"
        message = f"draw: expected one of the functions {known}, got {name}"
        raise _refusal(message, "name one with function=")
    return program[name]


def _operations(block: mil.Function | mil.Block) -> Iterator[mil.Operation]:
    for operation in block.operations:
        yield operation
        for nested in operation.blocks:
            yield from _operations(nested)


def _refusal(message: str, hint: str) -> InvalidArgumentError:
    error = InvalidArgumentError(f"{message}\nhint: {hint}")
    error.hint = hint
    return error
