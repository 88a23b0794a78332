"""A program that knows its inputs, outputs, states and weights by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from milane._core import mil as _mil
from milane.blob import BlobWriter
from milane.errors import DTypeError, InvalidArgumentError

DEFAULT_WEIGHT_PATH = "@model_path/weights/weight.bin"

# What the device's compiler wants to find in front of a program; the entries are those that other
# projects' accepted programs carry (ane_facts D 1).
BUILD_INFO = _mil.Value(
    "dict<string, string>({"
    '{"coremlc-component-MIL", "3510.2.1"}, {"coremlc-version", "3505.4.1"}, '
    '{"coremltools-component-milinternal", ""}, {"coremltools-version", "9.0"}})'
)


@dataclass(frozen=True)
class Weight:
    """One constant that stands in a weight file.

    Attributes:
        name: the value's name in the program.
        path: the file, ``@model_path/…``.
        offset: of its record in that file, in bytes.
        dtype: the elements' MIL type.
        shape: of the constant.
        function: the function it belongs to.
    """

    name: str
    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    function: str = "main"


class MILProgram:
    """A program and what is known of its weights; ``str()`` gives its text.

    What generators and graphs return. ``runtime.compile(program, weights={"wq": array, …})`` writes
    the weight files itself; ``str(program)`` and blobs of one's own work as well.
    """

    def __init__(
        self, program: _mil.Program, data: Mapping[str, npt.NDArray[Any]] | None = None
    ) -> None:
        """Take a program, and arrays for those of its weights whose values are known already."""
        self._program = program
        self._data = dict(data or {})

    @property
    def program(self) -> _mil.Program:
        """The program itself, to be walked, edited, verified and compared."""
        return self._program

    @property
    def function(self) -> _mil.Function:
        """The function ``main``, or the only one.

        Raises:
            InvalidArgumentError: there are several, and none is called main.
        """
        name = default_function(self._program)
        if name in self._program:
            return self._program[name]
        names = ", ".join(f.name for f in self._program.functions) or "none"
        raise InvalidArgumentError(f"MILProgram: expected a function called main, got {names}")

    @property
    def inputs(self) -> dict[str, _mil.Type]:
        """The inputs' types by name, in declaration order; states are not among them."""
        return {i.name: i.type for i in self.function.inputs if i.type.kind != "state"}

    @property
    def states(self) -> dict[str, _mil.Type]:
        """The states' tensor types by name, in declaration order."""
        return {i.name: i.type.params[0] for i in self.function.inputs if i.type.kind == "state"}

    @property
    def outputs(self) -> dict[str, _mil.Type]:
        """The outputs' types by name, in the order the function returns them."""
        function = self.function
        types = {i.name: i.type for i in function.inputs}
        for operation in function.operations:
            types.update((result.name, result.type) for result in operation.outputs)
        return {name: types[name] for name in function.outputs}

    @property
    def weights(self) -> list[Weight]:
        """Every constant that stands in a weight file, in text order."""
        return list(blob_constants(self._program))

    @property
    def data(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays that are known already, by weight name."""
        return dict(self._data)

    def weight_files(self, weights: Mapping[str, npt.ArrayLike] | None = None) -> dict[str, bytes]:
        """The content of every weight file, by path.

        ``weights`` gives an array of the declared shape for each weight by name; those the program
        was made with may be left out. Elements are converted to the declared type, rounded to the
        nearest.

        Raises:
            InvalidArgumentError: a weight is missing or unknown, a shape does not fit, or offsets
                that no writer would give.
            DTypeError: an array does not convert.
        """
        return blobs(self.weights, {**self._data, **(weights or {})})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MILProgram) and self._program == other._program

    __hash__ = None  # type: ignore[assignment]  # it can be edited

    def __str__(self) -> str:
        return str(self._program)

    def __repr__(self) -> str:
        names = ", ".join(f.name for f in self._program.functions)
        return f"<milane.mil.MILProgram {names}: {len(self.weights)} weights>"


def default_function(program: _mil.Program) -> str:
    """The function that is meant when none is named: the only one, else ``main``."""
    names = [function.name for function in program.functions]
    return names[0] if len(names) == 1 else "main"


def is_text(source: str) -> bool:
    """Whether a string is MIL text; else it is a path."""
    return "\n" in source or "program(" in source.replace(" ", "")


def blob_constants(program: _mil.Program) -> Iterator[Weight]:
    """Every constant of a program that stands in a weight file, in text order."""
    for function in program.functions:
        for name, value in _blob_values(function.operations):
            shape = tuple(int(size or 0) for size in value.type.shape)
            path, offset = value.blob_path or "", value.blob_offset or 0
            yield Weight(name, path, offset, value.type.dtype, shape, function.name)


def _blob_values(operations: Iterable[_mil.Operation]) -> Iterator[tuple[str, _mil.Value]]:
    """Constants by their own name, the parts of a compressed one as ``name.part``."""
    for operation in operations:
        if operation.type == "const":
            value = operation.value
            if value is not None and value.is_blob:
                yield operation.outputs[0].name, value
        elif operation.type.startswith("constexpr_"):
            name = operation.outputs[0].name
            for part, value in operation.attributes.items():
                if value.is_blob:
                    yield f"{name}.{part}", value
            for part, operands in operation.inputs.items():
                for operand in operands:
                    if isinstance(operand, _mil.Value) and operand.is_blob:
                        yield f"{name}.{part}", operand
        for block in operation.blocks:
            yield from _blob_values(block.operations)


def blobs(
    weights: Iterable[Weight], arrays: Mapping[str, npt.ArrayLike | Callable[[], npt.ArrayLike]]
) -> dict[str, bytes]:
    """The content of the weight files that hold these weights, by path.

    A constant that two functions share stands in the file once.

    Raises:
        InvalidArgumentError, DTypeError: as :meth:`MILProgram.weight_files`.
    """
    listed = list(weights)
    _check_names(listed, arrays)
    files: dict[str, dict[int, Weight]] = {}
    for weight in listed:
        files.setdefault(weight.path, {}).setdefault(weight.offset, weight)
    built = {}
    for path, records in files.items():
        writer = BlobWriter()
        for offset, weight in sorted(records.items()):
            index = writer.add(_array_for(weight, arrays[weight.name]), weight.dtype)
            if writer.offset(index) != offset:
                raise InvalidArgumentError(
                    f"weight {weight.name!r}: expected its record at {writer.offset(index)} of "
                    f"{path}, got {offset}\nhint: pass this program's own blob as weight_files="
                )
        built[path] = writer.build()
    return built


def _check_names(weights: list[Weight], arrays: Mapping[str, Any]) -> None:
    known = {w.name for w in weights}
    missing = sorted(known - arrays.keys())
    unknown = sorted(arrays.keys() - known)
    if not missing and not unknown:
        return
    what = f"no array for {', '.join(missing)}" if missing else f"one for {', '.join(unknown)}"
    shapes = ", ".join(f"{w.name} {list(w.shape)}" for w in weights) or "none"
    error = InvalidArgumentError(
        f"weights: expected an array for each of {', '.join(sorted(known)) or 'none'}, got {what}"
        f"\nhint: the weights and their shapes are {shapes}"
    )
    error.hint = f"the weights and their shapes are {shapes}"
    raise error


def _array_for(weight: Weight, given: Any) -> npt.NDArray[Any]:
    array = np.asarray(given() if callable(given) else given)
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"weight {weight.name!r}: expected numbers, got {array.dtype}")
    if array.shape != weight.shape:
        if array.size != _size(weight.shape) or _squeezed(array.shape) != _squeezed(weight.shape):
            raise InvalidArgumentError(
                f"weight {weight.name!r}: expected shape {list(weight.shape)}, "
                f"got {list(array.shape)}"
            )
        array = array.reshape(weight.shape)
    return array


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
