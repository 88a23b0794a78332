"""What a case is, and the complete program that it becomes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference import call_arrays, mil_dtype
from reference.values import NUMPY
from tolerance import Tolerance, exact

Array = NDArray[Any]
# Gives, from all arguments, the magnitude per output element that a tolerance needs.
Magnitude = Callable[[Mapping[str, Any]], Array | float]

FP16, FP32, INT32, BOOL = np.float16, np.float32, np.int32, np.bool_


@dataclass(frozen=True)
class Typed:
    """A constant of a dtype that NumPy lacks: uint4 values in a uint8 array."""

    dtype: str
    values: Array


@dataclass(frozen=True)
class Case:
    """One operation with its operands; every tensor of `inputs` is given at run time.

    `params` are constants. A float takes the dtype of the first float operand, an int is int32, a
    list of ints is a vector; arrays and NumPy scalars keep their own dtype.
    """

    op: str
    id: str
    inputs: Mapping[str, Any]
    params: Mapping[str, Any] = field(default_factory=dict)
    tolerance: Tolerance = exact
    magnitude: Magnitude | None = None
    out_dtypes: tuple[str, ...] = ()
    opset: str = "ios18"
    as_attributes: bool = False  # the ios16 form of constexpr operations
    numerics: tuple[str, ...] = ("fp16", "fp32")  # compared under these
    skip_results: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.op}: {self.id}"

    @property
    def float_dtype(self) -> str:
        """The dtype that Python floats among the constants take."""
        for value in [*_flat(self.inputs.values()), *_flat(self.params.values())]:
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                return mil_dtype(value)
        return "fp16"

    def constants(self) -> dict[str, Any]:
        """The constants with their dtypes settled."""
        return {name: _constant(value, self.float_dtype) for name, value in self.params.items()}

    def arguments(self) -> dict[str, Any]:
        """All arguments, as the operation's reference takes them."""
        constants = {n: _plain(v) for n, v in self.constants().items()}
        return {**self.inputs, **constants}

    def expected(self) -> tuple[Array, ...]:
        """The reference's results, floats as float64."""
        return call_arrays(self.op, self.arguments())

    def dtypes(self) -> tuple[str, ...]:
        """Declared dtype of each result."""
        found = []
        for i, result in enumerate(self.expected()):
            if i < len(self.out_dtypes):
                found.append(self.out_dtypes[i])
            else:
                found.append(self.float_dtype if result.dtype.kind == "f" else mil_dtype(result))
        return tuple(found)

    def bounds(self) -> Tolerance:
        """The tolerance with its magnitude worked out."""
        if self.magnitude is None:
            return self.tolerance
        with np.errstate(all="ignore"):
            return self.tolerance.of(self.magnitude(_widened(self.arguments())))

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the program's outputs, in order."""
        count = len(self.expected())
        names = ["out" if count == 1 else f"out_{i}" for i in range(count)]
        return tuple(n for i, n in enumerate(names) if i not in self.skip_results)

    def neutral(self) -> dict[str, Array]:
        """The run-time operand that keeps a program without inputs from being one constant."""
        if self.inputs:
            return {}
        dtype = self.dtypes()[-1]
        return {"neutral": np.array([dtype not in ("bool", "int32")]).astype(NUMPY[dtype])}

    def feeds(self) -> dict[str, Array]:
        """The program's inputs by name."""
        found: dict[str, Array] = {}
        for name, value in {**self.inputs, **self.neutral()}.items():
            if isinstance(value, list):
                found.update({f"{name}_{i}": v for i, v in enumerate(value)})
            else:
                found[name] = value
        return found

    def program(self) -> str:
        """The complete text: constants named, operands as function inputs."""
        old = self.opset in ("ios15", "ios16", "ios17")
        spell = Speller(old=old)
        params = ", ".join(f"{spell.of(v)} {n}" for n, v in self.feeds().items())
        lines, args = [], {}
        for name, value in self.inputs.items():
            many = isinstance(value, list)
            parts = ", ".join(f"{name}_{i}" for i in range(len(value))) if many else name
            args[name] = f"({parts})" if many else name
        inline = {}
        for name, value in self.constants().items():
            if self.as_attributes or self.op.startswith("constexpr_"):
                inline[name] = spell.literal(value)
            elif isinstance(value, list):
                for i, item in enumerate(value):
                    lines.append(spell.const(f"{name}_{i}", item))
                args[name] = "(" + ", ".join(f"{name}_{i}" for i in range(len(value))) + ")"
            else:
                lines.append(spell.const(name, value))
                args[name] = name
        called = args if self.as_attributes else {**args, **inline}
        written = ", ".join(f"{k} = {v}" for k, v in sorted(called.items()))
        attributes = {**(inline if self.as_attributes else {}), "name": spell.literal("out")}
        tail = ", ".join(f"{k} = {v}" for k, v in sorted(attributes.items()))
        lines.append(f"{self._declared(spell)} = {self.op}({written})[{tail}];")
        outputs = self.results
        if not self.inputs:
            lines.append(self._kept(spell, outputs[-1]))
            outputs = (*outputs[:-1], "kept")
        version = "1.0" if old else "1.3"
        indent = "\n" + " " * 12
        return (
            f"program({version})\n{{\n    func main<{self.opset}>({params}) {{{indent}"
            f"{indent.join(lines)}\n        }} -> ({', '.join(outputs)});\n}}\n"
        )

    def _declared(self, spell: Speller) -> str:
        expected = self.expected()
        names = ["out" if len(expected) == 1 else f"out_{i}" for i in range(len(expected))]
        triples = zip(names, self.dtypes(), expected, strict=True)
        return ", ".join(f"{spell.type(d, r.shape)} {n}" for n, d, r in triples)

    def _kept(self, spell: Speller, name: str) -> str:
        """The last result combined with the neutral operand: the same values."""
        dtype, shape = self.dtypes()[-1], self.expected()[-1].shape
        op = {"bool": "logical_or", "int32": "add"}.get(dtype, "mul")
        return f"{spell.type(dtype, shape)} kept = {op}(x = {name}, y = neutral)[{spell.name()}];"


def _flat(values: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value):
            found.extend(value)
        else:
            found.append(value.values if isinstance(value, Typed) else value)
    return found


def _constant(value: Any, float_dtype: str) -> Any:
    if isinstance(value, str | Typed | np.ndarray | np.generic):
        return value
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int32(value)
    if isinstance(value, float):
        return NUMPY[float_dtype](value)
    if isinstance(value, tuple):  # a variadic argument: one constant each
        return [_constant(v, float_dtype) for v in value]
    first = np.asarray(value)
    if first.dtype.kind == "f":
        return first.astype(NUMPY[float_dtype])
    return first.astype(np.bool_ if first.dtype.kind == "b" else np.int32)


def _plain(value: Any) -> Any:
    return value.values if isinstance(value, Typed) else value


def _widened(arguments: Mapping[str, Any]) -> dict[str, Any]:
    def widen(value: Any) -> Any:
        if isinstance(value, list):
            return [widen(v) for v in value]
        is_float = isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f"
        return np.asarray(value, np.float64) if is_float else value

    return {name: widen(value) for name, value in arguments.items()}


class Speller:
    """Writes types and literals, in the spelling of program(1.0) or program(1.3)."""

    def __init__(self, *, old: bool) -> None:
        self.old = old

    def type(self, dtype: str, shape: tuple[int, ...]) -> str:
        if not shape and not self.old:
            return dtype
        return f"tensor<{dtype}, [{', '.join(map(str, shape))}]>"

    def of(self, value: Any) -> str:
        if isinstance(value, str):
            return self.type("string", ())
        if isinstance(value, Typed):
            return self.type(value.dtype, value.values.shape)
        return self.type(mil_dtype(np.asarray(value)), np.shape(value))

    def literal(self, value: Any) -> str:
        if isinstance(value, str):
            return f'{self.of(value)}("{value}")'
        array = np.asarray(_plain(value))
        return f"{self.of(value)}({_nested(array.tolist(), array.dtype.kind == 'f')})"

    def const(self, name: str, value: Any) -> str:
        return (
            f"{self.of(value)} {name} = const()"
            f"[name = {self.literal(name)}, val = {self.literal(value)}];"
        )

    def name(self, text: str = "kept") -> str:
        return f"name = {self.literal(text)}"


def _nested(value: Any, is_float: bool) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_nested(v, is_float) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_float and np.isfinite(value):
        return float(value).hex()
    return str(value)


def absolute(op: str) -> Magnitude:
    """Return the magnitude of an operation that adds products: itself, of absolute values."""

    def of(arguments: Mapping[str, Any]) -> Array:
        def positive(value: Any) -> Any:
            if isinstance(value, list):
                return [positive(v) for v in value]
            is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
            return np.abs(value) if is_float else value

        return call_arrays(op, {n: positive(v) for n, v in arguments.items()})[0]

    return of


def uniform(
    shape: tuple[int, ...], low: float = -2.0, high: float = 2.0, dtype: Any = FP16, seed: int = 0
) -> Array:
    """Return reproducible numbers, evenly spread."""
    key = zlib.crc32(f"{shape}{low}{high}{seed}".encode())
    return np.random.default_rng(key).uniform(low, high, shape).astype(dtype)


def integers(
    shape: tuple[int, ...], low: int, high: int, dtype: Any = INT32, seed: int = 0
) -> Array:
    """Return reproducible integers in [low, high)."""
    key = zlib.crc32(f"{shape}{low}{high}{seed}".encode())
    return np.random.default_rng(key).integers(low, high, shape).astype(dtype)


def distinct(shape: tuple[int, ...], dtype: Any = FP16, seed: int = 0) -> Array:
    """Return numbers of which no two are equal, exact in fp16, in random order."""
    count = int(np.prod(shape))
    order = np.random.default_rng(seed + count).permutation(count)
    return ((order - count // 2) / 8.0).reshape(shape).astype(dtype)


def shape_text(*shapes: tuple[int, ...]) -> str:
    """Return shapes as they read in an id: 2x3x33 and 1x33."""
    return " and ".join("x".join(map(str, s)) if s else "scalar" for s in shapes)


def short(dtype: Any) -> str:
    """Return the MIL name of a NumPy dtype, for ids."""
    return mil_dtype(np.zeros(1, dtype))
