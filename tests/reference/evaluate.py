"""Runs a program one operation at a time, in float64 or rounded after every operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from .ops import OPS
from .text import Arg, Function, Operation, Program, Ref, Type, Value, parse
from .values import FLOATS, Array, constant, hold, mil_dtype, round_to

# Called with the declared dtype and the float64 result; returns what the next operations see.
Rounding = Callable[[str, Array], Array]


def to_nearest(dtype: str, array: Array) -> Array:
    """Round every fp16 and fp32 result to the nearest value of its dtype."""
    return round_to(array, dtype)


def unrounded(_dtype: str, array: Array) -> Array:
    """Keep float64."""
    return array


class _Run:
    def __init__(
        self,
        function: Function,
        folder: Path | None,
        states: dict[str, Array],
        rounding: Rounding,
    ) -> None:
        self.function = function
        self.folder = folder
        self.states = states
        self.rounding = rounding
        self.values: dict[str, Array | str] = {}
        self.types: dict[str, Type] = {}

    def load(self, inputs: Mapping[str, Array]) -> None:
        for type_, name in self.function.params:
            self.types[name] = type_
            if type_.kind == "state":
                shape = tuple(int(d or 0) for d in type_.shape)
                given = self.states.get(name, np.zeros(shape))
                self.states[name] = self.stored(given, type_)
                continue
            if name not in inputs:
                raise KeyError(f"input {name} is missing")
            self.values[name] = self.stored(inputs[name], type_)

    def stored(self, array: Array, type_: Type) -> Array:
        """An input lies in memory of its declared dtype, so it is rounded in every mode."""
        array = np.asarray(array)
        return round_to(array, type_.dtype) if type_.dtype in FLOATS else hold(array, type_.dtype)

    def resolve(self, arg: Arg) -> object:
        if isinstance(arg, Ref):
            return self.values[arg.name]
        if isinstance(arg, Value):
            return constant(arg, self.folder)
        return [self.resolve(item) for item in arg]

    def dtype_of(self, arg: Arg) -> str:
        if isinstance(arg, Ref):
            return self.types[arg.name].dtype
        if isinstance(arg, Value):
            return arg.type.dtype
        return self.dtype_of(arg[0])

    def step(self, operation: Operation) -> None:
        given = {**operation.args, **operation.attributes}
        if operation.op == "const":
            results: tuple[object, ...] = (self.resolve(given["val"]),)
        elif operation.op in ("read_state", "write_state", "coreml_update_state"):
            results = self.state(operation)
        else:
            given.pop("name", None)
            results = call(
                operation.op,
                {name: self.resolve(arg) for name, arg in given.items()},
                {name: self.dtype_of(arg) for name, arg in given.items()},
            )
        if len(results) < len(operation.outputs):
            raise ValueError(f"line {operation.line}: {operation.op} gives {len(results)} results")
        for (type_, name), result in zip(operation.outputs, results, strict=False):
            self.types[name] = type_
            self.values[name] = self.declared(operation, type_, name, result)

    def state(self, operation: Operation) -> tuple[object, ...]:
        target = operation.args["input" if "input" in operation.args else "state"]
        assert isinstance(target, Ref)
        if operation.op != "read_state":
            data = self.resolve(operation.args["data" if "data" in operation.args else "value"])
            self.states[target.name] = np.array(data)
        if operation.op == "write_state":
            return ()
        return (np.array(self.states[target.name]),)

    def declared(self, operation: Operation, type_: Type, name: str, result: object) -> Array | str:
        if isinstance(result, str):
            return result
        array = np.asarray(result)
        where = f"line {operation.line}: {operation.op} -> {name}"
        if type_.dtype == "string":
            return array
        same = len(type_.shape) == array.ndim and all(
            want in (None, got) for want, got in zip(type_.shape, array.shape, strict=True)
        )
        if not same:
            raise ValueError(f"{where}: declared {type_.shape}, computed {array.shape}")
        held = hold(array, type_.dtype)
        is_rounded = type_.dtype in FLOATS and operation.op != "const"
        return self.rounding(type_.dtype, held) if is_rounded else held


def call(op: str, args: Mapping[str, object], dtypes: Mapping[str, str]) -> tuple[object, ...]:
    """Return the results of one operation; `x_dtype` is passed to those whose default needs it."""
    if op not in OPS:
        raise NotImplementedError(f"no reference for {op}")
    function = OPS[op]
    extra: dict[str, object] = {}
    if "x_dtype" in inspect.signature(function).parameters:
        extra["x_dtype"] = dtypes.get("x", "fp32")
    with np.errstate(all="ignore"):
        result = function(**args, **extra)
    return result if isinstance(result, tuple) else (result,)


def call_arrays(op: str, args: Mapping[str, object]) -> tuple[Array, ...]:
    """Like `call`, for NumPy operands: fp16 and fp32 arrays are widened to float64 first."""
    dtypes = {
        name: mil_dtype(value)
        for name, value in args.items()
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub"
    }
    widened = {name: _widen(value) for name, value in args.items()}
    return tuple(np.asarray(r) for r in call(op, widened, dtypes))


def _widen(value: object) -> object:
    if isinstance(value, list | tuple) and any(isinstance(v, np.ndarray) for v in value):
        return [_widen(v) for v in value]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f":
        return np.asarray(value).astype(np.float64)
    return value


def _run(
    program: Program | str,
    model_folder: str | Path | None,
    inputs: Mapping[str, Array],
    *,
    function: str | None,
    states: dict[str, Array] | None,
    rounding: Rounding,
) -> _Run:
    parsed = parse(program) if isinstance(program, str) else program
    folder = None if model_folder is None else Path(model_folder)
    run = _Run(parsed.function(function), folder, {} if states is None else states, rounding)
    run.load(inputs)
    for operation in run.function.operations:
        run.step(operation)
    return run


def evaluate_steps(
    program: Program | str,
    model_folder: str | Path | None,
    inputs: Mapping[str, Array],
    function: str | None = None,
    states: dict[str, Array] | None = None,
    *,
    round_ops: bool = False,
    rounding: Rounding | None = None,
) -> dict[str, Array]:
    """Return every value of a function by name, constants included. See `evaluate`."""
    chosen = rounding or (to_nearest if round_ops else unrounded)
    run = _run(program, model_folder, inputs, function=function, states=states, rounding=chosen)
    return {name: v for name, v in run.values.items() if not isinstance(v, str)}


def evaluate(
    program: Program | str,
    model_folder: str | Path | None,
    inputs: Mapping[str, Array],
    function: str | None = None,
    states: dict[str, Array] | None = None,
    *,
    round_ops: bool = False,
    rounding: Rounding | None = None,
) -> dict[str, Array]:
    """Return the outputs of a function by name; floats as float64.

    Inputs and constants have the dtype the text declares. Results stay in float64 unless
    `round_ops` (or a `rounding` of your own) rounds each one to its declared dtype.
    `states` is read and updated in place; a state that is not given starts at zero.
    """
    steps = evaluate_steps(
        program, model_folder, inputs, function, states, round_ops=round_ops, rounding=rounding
    )
    parsed = parse(program) if isinstance(program, str) else program
    return {name: steps[name] for name in parsed.function(function).outputs}
