"""What is left of a function when only some of its values are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from milane._core import mil as _mil
from milane.graph.weights import WeightFiles
from milane.mil.program import MILProgram


def pruned(
    program: _mil.Program,
    function: _mil.Function,
    outputs: Sequence[str],
    data: Mapping[str, npt.NDArray[Any]],
    *,
    keep_inputs: bool = False,
) -> MILProgram:
    """A program of one function, with the operations that these outputs need.

    ``program`` gives the head of the text. Constants move up in their weight files to where those
    that went away had been; ``data`` holds arrays for them by name. Inputs that nothing uses go,
    too, unless ``keep_inputs``; operations without a result (writes to a state) stay.
    """
    made = program.copy()
    for other in made.functions:
        made.remove_function(other.name)
    made.add_function(function)
    made = made.copy()  # from here on the function is ours
    copy = made[function.name]
    copy.outputs = list(outputs)
    used = set(outputs)
    for operation in reversed(copy.operations):
        if operation.outputs and used.isdisjoint(o.name for o in operation.outputs):
            copy.remove(operation)
        else:
            used.update(_taken(operation))
    if not keep_inputs:
        copy.inputs = [i for i in copy.inputs if i.name in used]
    _place_again(copy)
    made.verify()
    result = MILProgram(made)
    names = {weight.name for weight in result.weights}
    return MILProgram(made, {name: array for name, array in data.items() if name in names})


def _taken(operation: _mil.Operation) -> set[str]:
    """The names an operation uses, in its blocks as well."""
    names = {name for given in operation.inputs.values() for name in given if isinstance(name, str)}
    for block in operation.blocks:
        names.update(block.outputs)
        for inner in block.operations:
            names |= _taken(inner)
    return names


def _place_again(function: _mil.Function) -> None:
    """Gives the constants of each weight file offsets without gaps."""
    files = WeightFiles()
    moved: dict[tuple[str, int], _mil.Value] = {}

    def placed(value: _mil.Value) -> _mil.Value:
        key = (value.blob_path or "", value.blob_offset or 0)
        if key not in moved:
            shape = [int(size or 0) for size in value.type.shape]
            moved[key] = files.place(str(len(moved)), value.type.dtype, shape, None, key[0])
        return moved[key]

    for operation in _all(function.operations):
        for name, value in operation.attributes.items():
            if value.is_blob:
                operation.set_attribute(name, placed(value))
        for name, given in operation.inputs.items():
            if len(given) == 1 and isinstance(given[0], _mil.Value) and given[0].is_blob:
                operation.set_input(name, placed(given[0]))


def _all(operations: Iterable[_mil.Operation]) -> Iterable[_mil.Operation]:
    for operation in operations:
        yield operation
        for block in operation.blocks:
            yield from _all(block.operations)
