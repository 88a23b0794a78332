"""Between arrays and the device: strides, order, procedures, shapes, ways in, on the emulation.

Nothing is assumed of where the device puts a tensor: the layouts and numbers of ports that differ
from the usual ones must give the same results.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import milane
from milane import _testing
from on_device import NOT_EMULATED, Both, assert_same_bits
from op_cases.case import Speller
from op_harness import Array
from reference.values import NUMPY
from test_random_programs import spoil

if not _testing.available():
    pytest.skip(NOT_EMULATED, allow_module_level=True)

SPELL = Speller(old=False)
DTYPES = ["fp16", "fp32", "uint8", "int8", "int32"]


# --- strides and order


@dataclass
class PortProgram:
    """A program that moves every element of several inputs elsewhere, to several outputs."""

    seed: int
    inputs: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        # Upper and lower case mix and no name is where its place in the alphabet would be.
        letters = self.rng.permutation(list("zYaB9_mQ2cXb"))
        self.names = [f"{'v' if c.isdigit() else ''}{c}{n}" for n, c in enumerate(letters)]
        for _ in range(int(self.rng.integers(1, 5))):
            dtype = str(self.rng.choice(DTYPES))
            rank = int(self.rng.integers(0, 6))
            shape = tuple(int(d) for d in self.rng.integers(1, 5, rank))
            self.inputs[self.names.pop()] = (dtype, (*shape[:-1], self.width()) if shape else ())
        moved = [self.moved(name, *port) for name, port in self.inputs.items()]
        if self.rng.random() < 0.5:
            self.move_together()
        self.outputs += [str(name) for name in self.rng.permutation(moved)]

    def width(self) -> int:
        """Around the ends of rows of 64 bytes more often than not."""
        ends = [1, 15, 16, 17, 31, 32, 33, 63, 64, 65]
        return int(self.rng.choice([*ends, *self.rng.integers(1, 71, 10)]))

    def emit(self, dtype: str, shape: tuple[int, ...], call: str) -> str:
        name = self.names.pop() if self.names else f"w{len(self.statements)}"
        self.statements.append(f"{SPELL.type(dtype, shape)} {name} = {call};")
        return name

    def moved(self, x: str, dtype: str, shape: tuple[int, ...]) -> str:
        """Another order of the elements; now and then another value, or another shape."""
        if not shape:
            return self.emit(dtype, shape, f"identity(x = {x})")
        axes = list(range(len(shape)))
        kind = int(self.rng.integers(0, 4))
        if kind == 0:
            perm = [int(a) for a in self.rng.permutation(axes)]
            moved = tuple(shape[a] for a in perm)
            return self.emit(dtype, moved, f"transpose(x = {x}, perm = {literal(perm)})")
        if kind == 1:
            size = int(np.prod(shape))
            return self.emit(dtype, (size,), f"reshape(x = {x}, shape = {literal([size])})")
        if kind == 2 and dtype in ("fp16", "fp32", "int32"):
            return self.emit(dtype, shape, f"add(x = {x}, y = {x})")
        return self.emit(dtype, shape, f"reverse(x = {x}, axes = {literal(axes)})")

    def move_together(self) -> None:
        """One more output, of all inputs of the first one's type."""
        dtype, _ = next(iter(self.inputs.values()))
        same = {n: int(np.prod(s)) for n, (d, s) in self.inputs.items() if d == dtype}
        flat = [
            self.emit(dtype, (size,), f"reshape(x = {n}, shape = {literal([size])})")
            for n, size in same.items()
        ]
        call = f"concat(values = ({', '.join(flat)}), axis = int32(0))"
        self.outputs.append(self.emit(dtype, (sum(same.values()),), call))

    @property
    def text(self) -> str:
        params = ", ".join(f"{SPELL.type(*port)} {name}" for name, port in self.inputs.items())
        body = "\n".join(f"            {s}" for s in self.statements)
        outputs = ", ".join(self.outputs)
        return f"program(1.3)\n{{\n    func main<ios18>({params}) {{\n{body}\n        }} -> ({outputs});\n}}\n"

    def feeds(self) -> dict[str, Array]:
        """Every bit pattern a port of that type can hold, NaN of any payload among them."""
        made = {}
        for name, (dtype, shape) in self.inputs.items():
            kind = np.dtype(NUMPY[dtype])
            raw = self.rng.bytes(int(np.prod(shape, dtype=int)) * kind.itemsize)
            made[name] = np.frombuffer(raw, kind).reshape(shape)
        return made


def literal(values: list[int]) -> str:
    return f"tensor<int32, [{len(values)}]>({values})"


LAYOUTS: dict[str, dict[str, int | None]] = {
    "as usual": {},
    "with space between planes": {"layout.plane_pad": 64},
    "with much space between planes": {"layout.plane_pad": 1024},
    "with space between rows": {"layout.row_pad": 64},
    "with more space between rows than they take": {"layout.row_pad": 192},
    "with symbols numbered from z to a": {"symbols.reversed": None},
    "with all of it": {"layout.plane_pad": 128, "layout.row_pad": 64, "symbols.reversed": None},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("first", range(0, 400, 50), ids="programs from {}".format)
def test_every_element_of_every_port_is_where_the_device_has_it(
    both: Both, first: int, layout: dict[str, int | None]
) -> None:
    for seed in range(first, first + 50):
        program = PortProgram(seed)
        with _testing.faults(layout) if layout else nullcontext():
            kernel = both.ane.compile(program.text)
            with kernel, both.host.compile(program.text) as reference:
                assert_layout(kernel, layout)
                spoil(kernel)
                for _ in range(2):
                    feeds = program.feeds()
                    want = reference(**feeds)
                    assert_same_bits(kernel(**feeds), want)
                    # Through views, as they are, instead of copies.
                    spoil(kernel)
                    for name, array in feeds.items():
                        kernel.inputs[name].array[...] = array
                    kernel.eval()
                    assert_same_bits({n: p.array.copy() for n, p in kernel.outputs.items()}, want)


def assert_layout(kernel: milane.Kernel, layout: dict[str, int | None]) -> None:
    """The strides are what the faults make of 64-byte rows: it is not the usual case that ran."""
    rows = layout.get("layout.row_pad") or 0
    planes = layout.get("layout.plane_pad") or 0
    for port in [*kernel.inputs.values(), *kernel.outputs.values()]:
        elem, rank = port.dtype.itemsize, len(port.shape)
        batch, channels, depth, height, width = port.shape if rank == 5 else usual_axes(port.shape)
        row = -(-width * elem // 64) * 64 + rows
        plane = depth * height * row + planes
        deep = [channels * plane, plane, height * row, row, elem]
        strides = deep if rank == 5 else [deep[0], deep[1], row, elem]
        assert port.layout.strides == tuple(strides[len(strides) - rank :])
        assert port.layout.alloc_size == batch * channels * plane


def usual_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Batch, channels, depth, height and width of a tensor of up to four axes."""
    four = (*(1,) * (4 - len(shape)), *shape)
    return (*four[:2], 1, *four[2:])


def test_the_programs_have_ports_of_all_kinds() -> None:
    made = [PortProgram(seed) for seed in range(400)]
    ports = [port for program in made for port in program.inputs.values()]
    assert {dtype for dtype, _ in ports} == set(DTYPES)
    assert {len(shape) for _, shape in ports} == set(range(6))
    assert {shape[-1] for _, shape in ports if shape} == set(range(1, 71))
    assert {len(program.inputs) for program in made} == {1, 2, 3, 4}
    orders = [(list(p.inputs), list(p.outputs)) for p in made if len(p.inputs) > 1]
    assert all(len(o) > 1 for _, o in orders)
    assert sum(i != sorted(i) and o != sorted(o) for i, o in orders) > 150


# --- several functions


def several(count: int) -> str:
    """A program whose functions have other names for ports, in other orders, of other sizes."""
    functions = []
    for n in range(count):
        a, b = f"tensor<fp16, [2, {n + 3}]>", f"tensor<fp16, [2, {n + 33}]>"
        ports = [f"{a} P{n}", f"{b} common"]
        params = ", ".join(ports if n % 2 else ports[::-1])
        functions.append(
            f"    func f{n}<ios18>({params}) {{\n"
            f"            {a} z{n} = mul(x = P{n}, y = fp16({n + 2}));\n"
            f"            {b} out = add(x = common, y = fp16({n}));\n"
            f"        }} -> (z{n}, out);\n"
        )
    return "program(1.3)\n{\n" + "".join(functions) + "}\n"


@pytest.mark.parametrize("route", ["memory", "client"])
def test_every_function_of_a_program_is_the_one_that_was_asked_for(both: Both, route: str) -> None:
    text = several(5)
    kernels = [both.ane.compile(text, function=f"f{n}", route=route) for n in range(5)]
    rng = np.random.default_rng(0)
    for n, kernel in enumerate(kernels):  # all are loaded, and evaluated in turn
        assert kernel.function == f"f{n}"
        feeds = {k: rng.standard_normal(p.shape) for k, p in kernel.inputs.items()}
        with both.host.compile(text, function=f"f{n}") as reference:
            assert_same_bits(kernel(**feeds), reference(**feeds))
    for kernel in kernels:
        kernel.close()


# --- flexible shapes

FLEXIBLE = """program(1.3)
{
    func main<ios18>(tensor<fp16, [?, 4]> x, tensor<fp16, [1, ?]> b) {
            tensor<int32, [2]> n = shape(x = x);
            tensor<fp16, [?, ?]> flat = reshape(x = x, shape = n);
            tensor<fp16, [?, ?]> t = transpose(x = flat, perm = tensor<int32, [2]>([1, 0]));
            tensor<fp16, [?, ?]> y = mul(x = t, y = fp16(3));
            tensor<fp16, [1, ?]> c = add(x = b, y = b);
        } -> (y, c);
}
"""


@pytest.mark.parametrize("route", ["memory", "client"])
def test_a_kernel_for_other_shapes_gives_the_same_bits(both: Both, route: str) -> None:
    def results(runtime: milane.Runtime) -> Iterator[dict[str, Array]]:
        with runtime.compile(FLEXIBLE, shapes={"x": (2, 4), "b": (1, 5)}, route=route) as first:
            rng = np.random.default_rng(0)
            for rows, columns in [(2, 5), (1, 5), (40, 5), (33, 70), (2, 5)]:
                x = rng.standard_normal((rows, 4)).astype(np.float16)
                b = rng.standard_normal((1, columns)).astype(np.float16)
                yield first(x=x, b=b)
                other = first.with_shapes({"x": (rows, 4), "b": (1, columns)})
                assert other.outputs["y"].shape == (4, rows)
                yield other(x=x, b=b)
                if other is not first:  # the one it came from is kept by the one it made
                    other.close()

    for got, want in zip(results(both.ane), results(both.host), strict=True):
        assert_same_bits(got, want)


# --- ways in, and kinds of surfaces


@pytest.mark.parametrize("surface_style", ["flat", "shaped"])
@pytest.mark.parametrize("route", ["memory", "client"])
@pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "not cached"])
def test_every_way_to_the_device_gives_the_same_bits(
    both: Both, route: str, surface_style: str, use_cache: bool
) -> None:
    options = {"route": route, "surface_style": surface_style, "use_cache": use_cache}
    for seed in range(400, 420):
        program = PortProgram(seed)
        calls = [program.feeds(), program.feeds()]
        assert both.agree(program.text, lambda _, calls=calls: calls, **options)


@pytest.mark.parametrize(
    "way",
    [{"direct": True}, {"timeout": 10.0}, {}],
    ids=["skips a service", "waits for the handler", "plain"],
)
@pytest.mark.parametrize("route", ["memory", "client"])
def test_every_way_to_evaluate_gives_the_same_bits(
    both: Both, route: str, way: dict[str, Any]
) -> None:
    for seed in range(420, 430):
        program = PortProgram(seed)
        feeds = program.feeds()
        with both.ane.compile(program.text, route=route) as kernel:
            with both.host.compile(program.text) as reference:
                want = reference(**feeds)
            spoil(kernel)
            for name, array in feeds.items():
                kernel.inputs[name].surface.write(array)
            kernel.eval(**way)
            assert_same_bits({n: p.surface.read() for n, p in kernel.outputs.items()}, want)
