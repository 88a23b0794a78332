"""Random programs: however an engine fuses, reuses and aliases memory, the results are the same.

A program is written statement by statement from what hypothesis draws, so that a failing one is
shrunk to a few lines. Its values are views of each other, its states are read and written in every
order, and its outputs are inputs, constants, views and values that are also used later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import milane
from op_cases.case import Speller
from op_harness import Array
from reference import evaluate, mil_dtype, parse
from reference.values import NUMPY
from stepwise import check_every_step, float_results
from tolerance import assert_close, exact

SPELL = Speller(old=False)
FLOATS = ("fp16", "fp32")
Shape = tuple[int, ...]


# --- programs


@dataclass(frozen=True)
class Value:
    """A tensor of the program: its name, or the literal where a constant is written in place."""

    text: str
    dtype: str
    shape: Shape

    @property
    def size(self) -> int:
        """How many elements it has."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def declared(self) -> str:
        """Its type as MIL text."""
        return SPELL.type(self.dtype, self.shape)


@dataclass
class RandomProgram:
    """A program and what may be asked of it."""

    text: str
    seed: int
    is_exact: bool  # every operation rounds its true result once
    zero_signs: bool  # ... and the sign of zero is defined as well
    specials: bool  # inputs hold infinities, NaN and the ends of the range
    ports: dict[str, tuple[str, Shape]] = field(default_factory=dict)

    def inputs(self, run: int) -> dict[str, Array]:
        """Values for every input; each run has its own."""
        rng = np.random.default_rng([self.seed, run])
        return {
            name: numbers(rng, dtype, shape, specials=self.specials)
            for name, (dtype, shape) in self.ports.items()
        }

    def __repr__(self) -> str:
        return f"seed {self.seed}, exact {self.is_exact}, specials {self.specials}:\n{self.text}"


def numbers(
    rng: np.random.Generator, dtype: str, shape: Shape, *, specials: bool = False, low: int = -9
) -> Array:
    """Return small numbers, some of them extreme where that is asked for."""
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype == "int32":
        ends = np.array([2**31 - 1, -(2**31), 2**24 + 1, -70000], np.int64)
        small = rng.integers(low, 10, shape)
    else:
        ends = np.array([np.inf, -np.inf, np.nan, 65504.0, -65504.0, 6e-8, -0.0, 0.1])
        # Of both kinds: ties and equal values, and numbers that use every bit.
        small = rng.integers(low, 10, shape) * np.where(rng.random(shape) < 0.5, 0.25, rng.random())
    if specials:
        small = np.where(rng.random(shape) < 0.05, rng.choice(ends, shape), small)
    return np.asarray(small).astype(NUMPY[dtype])


# Shapes whose axes, ones and leading axes the values of one program share.
WORLDS = [(2, 3, 5), (4, 1, 6), (1, 2, 3, 33), (2, 2, 2, 2, 3), (7,), (16, 64), (1, 8, 32)]
LARGE = [(3, 40, 150), (2, 70, 129)]  # longer than one thread's share of a chain
UNARY = ["abs", "square", "sqrt", "floor", "ceil", "round"]
UNARY_ANY_ZERO = ["relu", "relu6", "sign", "clip"]  # the sign of their zeros is open
UNARY_ROUNDED = ["exp", "tanh", "sigmoid", "silu", "gelu", "erf", "sin", "softplus", "softsign"]
COMPARE = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]


class Writer:
    """Writes statements; every method that is a statement may find nothing to work on."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw
        self.is_exact = self.chance(2)
        self.zero_signs = self.is_exact and self.chance(2)
        self.specials = self.is_exact and self.chance(3)
        self.seed = draw(st.integers(0, 2**20))
        self.rng = np.random.default_rng(self.seed)
        large = self.chance(12)
        self.world = self.pick(LARGE if large else WORLDS)
        self.limit = 40_000 if large else 3_000
        self.lines: list[str] = []
        self.values: list[Value] = []
        self.inputs: list[Value] = []
        self.states: list[Value] = []
        self.count = 0

    # --- drawing

    def chance(self, one_in: int) -> bool:
        """Return True once in a while; shrinks to False."""
        return bool(self.draw(st.integers(0, one_in - 1)) == one_in - 1)

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def pick(self, choices: list[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def value(self, *dtypes: str, rank: int = 0, smallest: int = 1) -> Value | None:
        """Return a value, more likely a late one."""
        found = [
            v
            for v in self.values
            if (not dtypes or v.dtype in dtypes) and len(v.shape) >= rank and v.size >= smallest
        ]
        if not found:
            return None
        recent = found[-4:] if self.chance(2) else found
        return recent[-1 - self.number(0, len(recent) - 1)]

    def part_of(self, shape: Shape) -> Shape:
        """Return a shape that broadcasts to this one."""
        kept = shape[self.number(0, len(shape)) if self.chance(3) else 0 :]
        return tuple(1 if self.chance(4) else d for d in kept)

    def constant(self, dtype: str, shape: Shape, *, low: int = -9) -> Value:
        """Return numbers written in place, or a named constant."""
        array = numbers(self.rng, dtype, shape, low=low)
        if low > 0:
            array = np.abs(array) + np.asarray(1, array.dtype)
        literal = Value(SPELL.literal(array), dtype, shape)
        if not self.chance(3):
            return literal
        name = self.name("c")
        self.lines.append(
            f'{literal.declared} {name} = const()[name = string("{name}"), val = {literal.text}];'
        )
        self.values.append(Value(name, dtype, shape))
        return self.values[-1]

    def name(self, prefix: str = "v") -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    # --- writing

    def emit(self, op: str, results: list[tuple[str, Shape]], **args: object) -> list[Value] | None:
        """Write a statement unless a result is too large or has too many axes."""
        made = [Value(self.name(), dtype, shape) for dtype, shape in results]
        if any(v.size > self.limit or len(v.shape) > 5 for v in made):
            return None
        written = ", ".join(f"{k} = {self.spelled(v)}" for k, v in args.items())
        declared = ", ".join(f"{v.declared} {v.text}" for v in made)
        self.lines.append(f'{declared} = {op}({written})[name = string("{made[0].text}")];')
        self.values += made
        return made

    def spelled(self, arg: object) -> str:
        if isinstance(arg, Value):
            return arg.text
        if isinstance(arg, tuple):
            return "(" + ", ".join(v.text for v in arg) + ")"
        if isinstance(arg, list):
            kind = np.bool_ if isinstance(arg[0], bool) else np.int32
            return SPELL.literal(np.array(arg, kind))
        if isinstance(arg, bool):
            return SPELL.literal(np.bool_(arg))
        return SPELL.literal(np.int32(arg) if isinstance(arg, int) else arg)

    # --- elementwise

    def unary(self) -> None:
        x = self.value(*FLOATS)
        if x is None:
            return
        names = UNARY + ([] if self.zero_signs else UNARY_ANY_ZERO)
        op = self.pick(names + ([] if self.is_exact else UNARY_ROUNDED))
        extra = {}
        if op == "clip":
            kind = NUMPY[x.dtype]
            extra = {"alpha": kind(-0.5), "beta": kind(1.5)}
        self.emit(op, [(x.dtype, x.shape)], x=x, **extra)

    def unary_int(self) -> None:
        x = self.value("int32")
        if x is not None:
            self.emit(self.pick(["abs", "square", "sign"]), [("int32", x.shape)], x=x)

    def partner(self, x: Value, *, low: int = -9) -> Value:
        """Return an operand that broadcasts with x, either way."""
        fits = [v for v in self.values if v.dtype == x.dtype and self.joined(v, x)]
        if low > 0 or not fits or self.chance(3):
            return self.constant(x.dtype, self.part_of(x.shape), low=low)
        return fits[-1 - self.number(0, len(fits) - 1)]

    @staticmethod
    def joined(*values: Value) -> Shape | None:
        try:
            return np.broadcast_shapes(*(v.shape for v in values))
        except ValueError:
            return None

    def binary(self) -> None:
        x = self.value(*FLOATS, "int32")
        if x is None:
            return
        names = ["add", "sub", "mul"] + ([] if self.zero_signs else ["maximum", "minimum"])
        op = self.pick(names + (["real_div"] if x.dtype != "int32" else []))
        # A zero of unknown sign must not become an infinity of unknown sign.
        low = 1 if op == "real_div" and not self.zero_signs else -9
        y = self.partner(x, low=low)
        if low < 0 and self.chance(2):
            x, y = y, x
        shape = self.joined(x, y)
        assert shape is not None
        self.emit(op, [(x.dtype, shape)], x=x, y=y)

    def compare(self) -> None:
        x = self.value(*FLOATS, "int32")
        if x is None:
            return
        y = self.partner(x)
        self.emit(self.pick(COMPARE), [("bool", self.joined(x, y) or ())], x=x, y=y)

    def logic(self) -> None:
        x = self.value("bool")
        if x is None:
            return
        if self.chance(3):
            self.emit("logical_not", [("bool", x.shape)], x=x)
            return
        y = self.partner(x)
        op = self.pick(["logical_and", "logical_or", "logical_xor"])
        self.emit(op, [("bool", self.joined(x, y) or ())], x=x, y=y)

    def select(self) -> None:
        cond, a = self.value("bool"), self.value()
        if cond is None or a is None or self.joined(cond, a) is None:
            return
        b = self.partner(a)
        shape = self.joined(cond, a, b)
        if shape is not None:
            self.emit("select", [(a.dtype, shape)], cond=cond, a=a, b=b)

    def cast(self) -> None:
        x = self.value()
        if x is not None:
            to = self.pick([*FLOATS, "int32", "bool"])
            self.emit("cast", [(to, x.shape)], x=x, dtype=to)

    # --- views

    def view(self) -> None:
        x = self.value()
        if x is None:
            return
        op = self.pick(["reshape", "identity", "expand_dims", "squeeze", "flatten2d"])
        if op == "identity":
            self.emit(op, [(x.dtype, x.shape)], x=x)
        elif op == "expand_dims":
            axis = self.number(0, len(x.shape))
            self.emit(op, [(x.dtype, (*x.shape[:axis], 1, *x.shape[axis:]))], x=x, axes=[axis])
        elif op == "squeeze":
            ones = [i for i, d in enumerate(x.shape) if d == 1]
            if len(x.shape) > 1 and ones:
                axis = self.pick(ones)
                self.emit(op, [(x.dtype, x.shape[:axis] + x.shape[axis + 1 :])], x=x, axes=[axis])
        elif op == "flatten2d" and x.shape:
            axis = self.number(0, len(x.shape) - 1)
            rows = int(np.prod(x.shape[:axis], dtype=np.int64))
            self.emit(op, [(x.dtype, (rows, x.size // rows))], x=x, axis=axis)
        elif op == "reshape":
            shape = self.regrouped(x.size)
            self.emit(op, [(x.dtype, shape)], x=x, shape=list(shape))

    def view_like(self) -> None:
        """A view whose shape is computed: known when the program is compiled, data or not."""
        x = self.value()
        if x is None:
            return
        like = self.pick([v for v in self.values if v.size == x.size])
        if not like.shape:
            return
        shape = self.emit("shape", [("int32", (len(like.shape),))], x=like)
        assert shape is not None
        self.emit("reshape", [(x.dtype, like.shape)], x=x, shape=shape[0])

    def regrouped(self, size: int) -> Shape:
        dims = []
        for _ in range(self.number(0, 3)):
            dims.append(self.pick([d for d in (1, 2, 3, 5, 7, 8, 32, 33) if size % d == 0]))
            size //= dims[-1]
        return (*dims, size)

    # --- movement

    def transpose(self) -> None:
        x = self.value(rank=1)
        if x is not None:
            perm = list(self.draw(st.permutations(range(len(x.shape)))))
            self.emit("transpose", [(x.dtype, tuple(x.shape[p] for p in perm))], x=x, perm=perm)

    def slice(self) -> None:
        x = self.value(rank=1)
        if x is None:
            return
        begin = [self.number(0, d - 1) for d in x.shape]
        end = [self.number(b + 1, d) for b, d in zip(begin, x.shape, strict=True)]
        stride = [self.number(1, 2) for _ in x.shape]
        shape = tuple(-(-(e - b) // s) for b, e, s in zip(begin, end, stride, strict=True))
        self.emit("slice_by_index", [(x.dtype, shape)], x=x, begin=begin, end=end, stride=stride)

    def update(self) -> None:
        x = self.value(rank=1)
        if x is None:
            return
        begin = [self.number(0, d - 1) for d in x.shape]
        end = [self.number(b + 1, d) for b, d in zip(begin, x.shape, strict=True)]
        shape = tuple(e - b for b, e in zip(begin, end, strict=True))
        fits = [v for v in self.values if (v.dtype, v.shape) == (x.dtype, shape)]
        part = self.pick(fits) if fits else self.constant(x.dtype, shape)
        self.emit("slice_update", [(x.dtype, x.shape)], x=x, update=part, begin=begin, end=end)

    def concat(self) -> None:
        x = self.value(rank=1)
        if x is None:
            return
        axis = self.number(0, len(x.shape) - 1)

        def fits(v: Value) -> bool:
            same = v.shape[:axis] + v.shape[axis + 1 :] == x.shape[:axis] + x.shape[axis + 1 :]
            return v.dtype == x.dtype and len(v.shape) == len(x.shape) and same

        others = [v for v in self.values if fits(v)]
        values = (x, *(self.pick(others) for _ in range(self.number(0, 2))))
        length = sum(v.shape[axis] for v in values)
        shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
        self.emit("concat", [(x.dtype, shape)], values=values, axis=axis, interleave=False)

    def stack(self) -> None:
        x = self.value()
        if x is None:
            return
        others = [v for v in self.values if (v.dtype, v.shape) == (x.dtype, x.shape)]
        values = (x, *(self.pick(others) for _ in range(self.number(0, 2))))
        axis = self.number(0, len(x.shape))
        shape = (*x.shape[:axis], len(values), *x.shape[axis:])
        self.emit("stack", [(x.dtype, shape)], values=values, axis=axis)

    def split(self) -> None:
        x = self.value(rank=1, smallest=2)
        axes = [] if x is None else [i for i, d in enumerate(x.shape) if d > 1]
        if x is None or not axes:
            return
        axis = self.pick(axes)
        first = self.number(1, x.shape[axis] - 1)
        sizes = [first, x.shape[axis] - first]
        results = [(x.dtype, (*x.shape[:axis], n, *x.shape[axis + 1 :])) for n in sizes]
        self.emit("split", results, x=x, split_sizes=sizes, axis=axis)

    def pad(self) -> None:
        x = self.value(*FLOATS, rank=1)
        if x is None:
            return
        pads = [self.number(0, 2) for _ in range(2 * len(x.shape))]
        shape = tuple(pads[2 * i] + d + pads[2 * i + 1] for i, d in enumerate(x.shape))
        value = NUMPY[x.dtype](0.5)
        self.emit("pad", [(x.dtype, shape)], x=x, pad=pads, mode="constant", constant_val=value)

    def tile(self) -> None:
        x = self.value(rank=1)
        if x is not None:
            reps = [self.number(1, 3) for _ in x.shape]
            shape = tuple(r * d for r, d in zip(reps, x.shape, strict=True))
            self.emit("tile", [(x.dtype, shape)], x=x, reps=reps)

    def gather(self) -> None:
        x = self.value(*FLOATS, "int32", rank=1)
        if x is None:
            return
        axis = self.number(0, len(x.shape) - 1)
        indices = [self.number(0, x.shape[axis] - 1) for _ in range(self.number(1, 4))]
        shape = (*x.shape[:axis], len(indices), *x.shape[axis + 1 :])
        self.emit("gather", [(x.dtype, shape)], x=x, indices=indices, axis=axis)

    def reverse(self) -> None:
        x = self.value(rank=1)
        if x is not None:
            axis = self.number(0, len(x.shape) - 1)
            self.emit("reverse", [(x.dtype, x.shape)], x=x, axes=[axis])

    # --- sums and extremes

    def reduce(self) -> None:
        x = self.value(*FLOATS, rank=1)
        if x is None or self.zero_signs:
            return
        sums = [] if self.is_exact else ["reduce_sum", "reduce_mean"]
        axis, keep = self.number(0, len(x.shape) - 1), self.chance(2)
        shape = x.shape[:axis] + ((1,) if keep else ()) + x.shape[axis + 1 :]
        op = self.pick(["reduce_max", "reduce_min", *sums])
        self.emit(op, [(x.dtype, shape)], x=x, axes=[axis], keep_dims=keep)

    def softmax(self) -> None:
        x = self.value(*FLOATS, rank=1)
        if x is not None and not self.is_exact:
            axis = self.number(0, len(x.shape) - 1)
            self.emit("softmax", [(x.dtype, x.shape)], x=x, axis=axis)

    def matmul(self) -> None:
        x = self.value(*FLOATS, rank=2)
        if x is None or self.is_exact:
            return
        others = [
            v for v in self.values if v.dtype == x.dtype and v.shape[-2:] == x.shape[-2:]
        ]  # every one times another's transpose
        y = self.pick(others)
        batch = self.joined(Value("", "", x.shape[:-2]), Value("", "", y.shape[:-2]))
        if batch is not None:
            shape = (*batch, x.shape[-2], y.shape[-2])
            self.emit("matmul", [(x.dtype, shape)], x=x, y=y, transpose_x=False, transpose_y=True)

    def linear(self) -> None:
        x = self.value(*FLOATS, rank=2)
        if x is None or self.is_exact or x.shape[-1] > 40:
            return
        n = self.number(1, 5)
        weight = self.constant(x.dtype, (n, x.shape[-1]))
        bias = self.constant(x.dtype, (n,))
        self.emit("linear", [(x.dtype, (*x.shape[:-1], n))], x=x, weight=weight, bias=bias)

    # --- states

    def read(self) -> None:
        if self.states:
            state = self.pick(self.states)
            self.emit("read_state", [(state.dtype, state.shape)], input=state)

    def write(self) -> None:
        if not self.states:
            return
        state = self.pick(self.states)
        fits = [v for v in self.values if (v.dtype, v.shape) == (state.dtype, state.shape)]
        if not fits or self.chance(8):
            fits = [self.constant(state.dtype, state.shape)]
        data = fits[-1 - self.number(0, len(fits) - 1)]
        if self.chance(3):
            results = [(state.dtype, state.shape)]
            self.emit("coreml_update_state", results, state=state, value=data)
            return
        label = self.name("w")
        self.lines.append(
            f'write_state(data = {data.text}, input = {state.text})[name = string("{label}")];'
        )

    # --- the whole

    def signature(self) -> None:
        for i in range(self.number(1, 4)):
            dtype = self.pick(["fp16", "fp16", "fp16", "fp32", "int32", "bool"])
            self.inputs.append(Value(f"x{i}", dtype, self.part_of(self.world)))
        for i in range(self.number(0, 2)):
            shape = self.inputs[0].shape if self.chance(2) else self.world
            self.states.append(Value(f"s{i}", self.pick(["fp16", "fp32"]), shape))
        self.values += self.inputs

    def outputs(self) -> list[Value]:
        """Return some values, the last among them: any may also be an input or a constant."""
        chosen = [self.values[-1]]
        for _ in range(self.number(0, 4)):
            value = self.pick(self.values)
            if value not in chosen:
                chosen.append(value)
        return chosen

    def program(self) -> RandomProgram:
        self.signature()
        elementwise = [self.binary, self.binary, self.binary, self.unary, self.unary, self.view]
        elementwise += [
            self.view,
            self.view_like,
            self.compare,
            self.logic,
            self.select,
            self.cast,
            self.unary_int,
        ]
        moving = [self.transpose, self.slice, self.concat, self.stack, self.split, self.pad]
        moving += [self.tile, self.gather, self.reverse, self.update]
        adding = [self.reduce, self.softmax, self.matmul, self.linear]
        # Half of the programs are little but long chains.
        mix = self.pick([1, 3])
        steps = mix * elementwise + (moving if mix == 1 else [self.slice, self.update]) + adding
        steps += mix * [self.read, self.write] if self.states else []
        for _ in range(self.number(3, 25)):
            self.pick(steps)()
        outputs = self.outputs()
        params = [f"state<{s.declared}> {s.text}" for s in self.states]
        params = [f"{v.declared} {v.text}" for v in self.inputs] + params
        indent = "\n" + " " * 12
        text = (
            f"program(1.3)\n{{\n    func main<ios18>({', '.join(params)}) {{{indent}"
            f"{indent.join(self.lines)}\n        }} -> ({', '.join(v.text for v in outputs)});\n}}\n"
        )
        ports = {v.text: (v.dtype, v.shape) for v in self.inputs}
        return RandomProgram(text, self.seed, self.is_exact, self.zero_signs, self.specials, ports)


@st.composite
def programs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> RandomProgram:
    """Well-formed programs."""
    return Writer(draw).program()


# --- what holds for each


def run(kernel: milane.Kernel, inputs: dict[str, Array]) -> dict[str, Array]:
    """Return the outputs and, after them, what the states hold."""
    results = kernel(**inputs)
    return results | {name: port.surface.read() for name, port in kernel.states.items()}


def assert_same_bits(got: dict[str, Array], want: dict[str, Array], label: str) -> None:
    """Raise unless two sets of arrays agree to the bit."""
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].dtype == array.dtype, f"{label}: {name}"
        assert got[name].tobytes() == array.tobytes(), f"{label}: {name}\n{got[name]}\n{array}"


def spoil(kernel: milane.Kernel) -> None:
    """Fill every surface of a kernel, padding included, with NaN: or with ones, of a bool."""
    for ports in (kernel.inputs, kernel.outputs, kernel.states):
        for port in ports.values():
            array, size = port.array, port.dtype.itemsize
            row = port.layout.row_stride // size
            shape = (*array.shape[:-1], row)
            strides = array.strides or (size,)
            raw = np.lib.stride_tricks.as_strided(array, shape, strides)
            raw[...] = np.frombuffer(b"\xff" * size, port.dtype)[0] if port.dtype != bool else True


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use this many threads for a while."""
    before = milane.num_threads()
    milane.set_num_threads(count)
    try:
        yield
    finally:
        milane.set_num_threads(before)


def check_plans(program: RandomProgram, runtime: milane.Runtime) -> list[dict[str, Array]]:
    """Hold every way to run a program to the same bits; return the results of two evaluations."""
    calls = [program.inputs(0), program.inputs(1)]
    kernel = runtime.compile(program.text)
    results = [run(kernel, inputs) for inputs in calls]
    for inputs in calls[1:]:
        for name, array in inputs.items():
            assert kernel.inputs[name].surface.read().tobytes() == array.tobytes(), name

    unfused = runtime.compile(program.text, fuse=False)
    for i, inputs in enumerate(calls):
        assert_same_bits(run(unfused, inputs), results[i], f"unfused, call {i}")
    wide = [runtime.compile(program.text, numerics="fp32", fuse=fuse) for fuse in (True, False)]
    for i, inputs in enumerate(calls):
        fused, plain = (run(kernel, inputs) for kernel in wide)
        assert_same_bits(plain, fused, f"fp32 unfused, call {i}")

    fresh = runtime.compile(program.text)
    spoil(fresh)
    for name, port in fresh.states.items():
        port.array[...] = results[0][name]
    assert_same_bits(run(fresh, calls[1]), results[1], "a fresh kernel with spoilt memory")

    for count in (1, 2, 3):
        with threads(count):
            for port in fresh.states.values():
                port.array[...] = 0
            for i, inputs in enumerate(calls):
                assert_same_bits(run(fresh, inputs), results[i], f"{count} threads, call {i}")
    return results


def check_against_reference(program: RandomProgram, results: list[dict[str, Array]]) -> None:
    """Compare two evaluations of a program of exact operations with float64, rounded each time."""
    states: dict[str, Array] = {}
    tolerance = exact if program.zero_signs else exact.any_zero()
    for i, got in enumerate(results):
        expected = evaluate(program.text, None, program.inputs(i), states=states, round_ops=True)
        for name, value in {**expected, **states}.items():
            assert_close(got[name], value, tolerance, mil_dtype(got[name]), f"call {i}, {name}")


def check_step_by_step(
    program: RandomProgram, results: list[dict[str, Array]], runtime: milane.Runtime
) -> None:
    """Return every float value of the program: none may change, each follows from its operands."""
    exposed = milane.mil.parse(program.text)
    own = exposed["main"].outputs
    exposed["main"].outputs = [*own, *(n for n in float_results(program.text) if n not in own)]
    got = run(runtime.compile(exposed), program.inputs(0))
    shared = {name: got[name] for name in results[0]}
    assert_same_bits(shared, results[0], "with every value returned")
    # What a state holds is a value that was compared when it was computed.
    function = parse(program.text).function(None)
    read = {n for op in function.operations if "state" in op.op for _, n in op.outputs}
    engine = {name: got[name] for name in float_results(program.text) if name not in read}
    check_every_step(program.text, None, program.inputs(0), engine)  # type: ignore[arg-type]


def check_text(program: RandomProgram) -> None:
    """Printing what was parsed is a fixed point."""
    printed = str(milane.mil.parse(program.text))
    assert str(milane.mil.parse(printed)) == printed


def check_program(program: RandomProgram) -> None:
    """Hold a program to everything that must be true of every program."""
    with milane.open("host") as runtime:
        results = check_plans(program, runtime)
        check_step_by_step(program, results, runtime)
    if program.is_exact:
        check_against_reference(program, results)
    check_text(program)


@settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(program=programs())
def test_random_programs_give_the_same_bits_however_they_are_planned(
    program: RandomProgram,
) -> None:
    check_program(program)


# --- what a plan could get wrong, one by one


def given_program(params: str, statements: list[str], outputs: str) -> RandomProgram:
    """A program of exact operations from statements without their names."""
    text = f"program(1.3)\n{{\n    func main<ios18>({params}) {{\n"
    for i, statement in enumerate(statements):
        text += f'            {statement}[name = string("n{i}")];\n'
    text += f"        }} -> ({outputs});\n}}\n"
    function = parse(text).function(None)
    ports = {
        name: (t.dtype, tuple(int(d or 0) for d in t.shape))
        for t, name in function.params
        if t.kind != "state"
    }
    return RandomProgram(text, 0, is_exact=True, zero_signs=True, specials=False, ports=ports)


def reshaped(x: str, *shape: int) -> str:
    """A call of reshape."""
    return f"reshape(x = {x}, shape = tensor<int32, [{len(shape)}]>({list(shape)}))"


H23, H32, H6 = (f"tensor<fp16, {dims}>" for dims in ("[2, 3]", "[3, 2]", "[6]"))
H4, F4, B4 = (f"tensor<{dtype}, [4]>" for dtype in ("fp16", "fp32", "bool"))
H50, H33, S33 = "tensor<fp16, [150, 150]>", "tensor<fp16, [2, 33]>", "state<tensor<fp16, [2, 33]>>"

DIRECTED = {
    "a chain reads its own result through another view of the same shape": given_program(
        f"{H23} x",
        [
            f"{H23} a = add(x = x, y = x)",
            f"{H32} v = {reshaped('a', 3, 2)}",
            f"{H23} w = {reshaped('v', 2, 3)}",
            f"{H23} b = mul(x = a, y = w)",
            f"{H32} c = sub(x = v, y = v)",
        ],
        "b, c",
    ),
    "an operand dies where another view of it is broadcast": given_program(
        "tensor<fp16, [150]> x",
        [
            "tensor<fp16, [150]> r = reverse(x = x, axes = tensor<int32, [1]>([0]))",
            f"tensor<fp16, [150, 1]> column = {reshaped('r', 150, 1)}",
            f"{H50} a = mul(x = column, y = r)",
            f"{H50} t = transpose(x = a, perm = tensor<int32, [2]>([1, 0]))",
            f"{H50} b = sub(x = t, y = r)",
            f"{H50} c = add(x = column, y = b)",
            f"{H50} d = reverse(x = c, axes = tensor<int32, [1]>([1]))",
        ],
        "d",
    ),
    "a chain has more operands than registers": given_program(
        ", ".join(f"{H4} x{i}" for i in range(4)),
        [
            *(
                f"{H4} k{i} = reverse(x = x{i % 4}, axes = tensor<int32, [1]>([0]))"
                for i in range(40)
            ),
            f"{H4} s0 = add(x = k0, y = x0)",
            *(f"{H4} s{i} = sub(x = s{i - 1}, y = k{i})" for i in range(1, 40)),
            f"{H4} last = add(x = s39, y = s3)",
        ],
        "last, s20, s39",
    ),
    "a result replaces an operand of another element size": given_program(
        f"{H4} x, {F4} y",
        [
            f"{H4} a = reverse(x = x, axes = tensor<int32, [1]>([0]))",
            f'{F4} b = cast(x = a, dtype = string("fp32"))',
            f"{F4} c = add(x = b, y = y)",
            f"{B4} d = less(x = c, y = b)",
            f"{H4} e = select(cond = d, a = a, b = x)",
            f"{B4} f = logical_not(x = d)",
            f'{H4} g = cast(x = f, dtype = string("fp16"))',
            f"{H4} h = reverse(x = g, axes = tensor<int32, [1]>([0]))",
            f"{H4} i = add(x = h, y = e)",
        ],
        "i, c",
    ),
    "a returned value is read again, through views, to the last statement": given_program(
        f"{H33} x",
        [
            f"{H33} y = add(x = x, y = x)",
            f"tensor<fp16, [33, 2]> v = {reshaped('y', 33, 2)}",
            "tensor<fp16, [33, 2]> z = mul(x = v, y = v)",
            f"{H33} same = identity(x = y)",
            f"{H33} last = sub(x = y, y = {H33}({np.ones((2, 33)).tolist()}))",
        ],
        "v, y, last, same, x, z",
    ),
    "outputs are constants, folded or viewed": given_program(
        f"{H4} x",
        [
            f"{H4} c = add(x = {H4}([1, 2, 3, 4]), y = fp16(0x1p-1))",
            f"tensor<fp16, [2, 2]> v = {reshaped('c', 2, 2)}",
            "tensor<fp16, [2, 2]> t = transpose(x = v, perm = tensor<int32, [2]>([1, 0]))",
            f"tensor<fp16, [4, 1]> w = {reshaped('t', 4, 1)}",
            "tensor<int32, [1]> n = shape(x = x)",
            f"{H4} u = reshape(x = w, shape = n)",
            "tensor<fp16, [4, 4]> y = add(x = w, y = x)",
        ],
        "c, v, w, y, n, u",
    ),
    "scalars without axes go through everything": given_program(
        "fp16 x, state<fp16> s, bool p",
        [
            "fp16 old = read_state(input = s)",
            "fp16 a = add(x = x, y = old)",
            "write_state(data = a, input = s)",
            "fp16 b = select(cond = p, a = a, b = fp16(0x1p+1))",
            "tensor<fp16, [1]> c = expand_dims(x = b, axes = tensor<int32, [1]>([0]))",
            "fp16 d = squeeze(x = c, axes = tensor<int32, [1]>([0]))",
            "tensor<fp16, [3]> e = stack(values = (a, d, x), axis = int32(0))",
            "fp16 f = reduce_max(x = e, axes = tensor<int32, [1]>([0]), keep_dims = bool(false))",
            'fp32 g = cast(x = f, dtype = string("fp32"))',
            "bool h = less(x = d, y = f)",
            "bool i = logical_and(x = h, y = p)",
            "tensor<fp16, [1, 1]> j = mul(x = c, y = tensor<fp16, [1, 1]>([[0x1p+1]]))",
            "fp16 k = squeeze(x = j)",
            "fp16 l = sub(x = k, y = d)",
        ],
        "old, a, d, e, g, h, i, j, l, x",
    ),
    "two states are exchanged": given_program(
        f"{H33} x, {S33} s, {S33} t",
        [
            f"{H33} a = read_state(input = s)",
            f"{H33} b = read_state(input = t)",
            "write_state(data = b, input = s)",
            "write_state(data = a, input = t)",
            f"{H33} c = read_state(input = s)",
            f"{H33} d = add(x = a, y = x)",
            "write_state(data = d, input = s)",
            f"{H33} e = sub(x = c, y = a)",
        ],
        "a, b, c, e",
    ),
    "a state is written twice, with itself and with a view of what was read": given_program(
        f"{H23} x, state<{H23}> s",
        [
            f"{H23} a = read_state(input = s)",
            f"{H6} v = {reshaped('a', 6)}",
            "write_state(data = a, input = s)",
            "write_state(data = x, input = s)",
            f"{H6} y = add(x = v, y = v)",
            f"{H23} b = read_state(input = s)",
            f"{H23} w = {reshaped('y', 2, 3)}",
            f"{H23} c = add(x = w, y = b)",
            f"{H23} d = coreml_update_state(state = s, value = c)",
            f"{H23} e = mul(x = d, y = b)",
        ],
        "v, b, d, e",
    ),
    "a state that is only read is returned, and one that is only written": given_program(
        f"{H33} x, {S33} s, {S33} t",
        [f"{H33} a = read_state(input = s)", "write_state(data = x, input = t)"],
        "a",
    ),
}


@pytest.mark.parametrize("program", DIRECTED.values(), ids=DIRECTED.keys())
def test_memory_is_shared_only_where_nothing_changes(program: RandomProgram) -> None:
    check_program(program)


def test_more_axes_than_the_engine_walks_are_refused_with_their_place() -> None:
    # Alternating broadcasts: no two axes can be walked as one.
    def program(axes: int) -> RandomProgram:
        halves = [tuple(1 + (i + first) % 2 for i in range(axes)) for first in (0, 1)]
        wide = (2,) * axes
        sizes = [int(np.prod(half)) for half in halves]
        return given_program(
            f"tensor<fp16, [{sizes[0]}]> x, tensor<fp16, [{sizes[1]}]> y",
            [
                f"{SPELL.type('fp16', halves[0])} a = {reshaped('x', *halves[0])}",
                f"{SPELL.type('fp16', halves[1])} b = {reshaped('y', *halves[1])}",
                f"{SPELL.type('fp16', wide)} c = add(x = a, y = b)",
                f"tensor<fp16, [{2**axes}]> d = {reshaped('c', 2**axes)}",
            ],
            "d",
        )

    with milane.open("host") as runtime:
        check_against_reference(program(16), check_plans(program(16), runtime))
        with pytest.raises(milane.CompileError, match="at most 16 axes, got 17") as caught:
            runtime.compile(program(17).text)
    assert caught.value.line == 4
