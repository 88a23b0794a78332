"""The C interface through ctypes, on every backend: what each function does, and with misuse does not."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import milane
from bridge_library import FUNCTIONS, Bridge, BridgeError, floats, open_copy, sizes
from milane import _testing, bridge
from on_device import NOT_EMULATED

SHAPE = (1, 3, 2, 5)  # rows of 10 bytes, which surfaces pad to 64
BYTES = 60
X = np.linspace(-4, 4, 30).reshape(SHAPE).astype(np.float16)
W_PATH = "@model_path/weights/weight.bin"


def program(body: str, inputs: str, outputs: str = "y") -> str:
    return (
        f"program(1.3)\n{{\n    func main<ios18>({inputs}) {{\n{body}\n    }} -> ({outputs});\n}}\n"
    )


def tensor(name: str, shape: tuple[int, ...] = SHAPE, dtype: str = "fp16") -> str:
    return f"tensor<{dtype}, {list(shape)}> {name}"


def statement(op: str, name: str = "y", shape: tuple[int, ...] = SHAPE, dtype: str = "fp16") -> str:
    return f'{tensor(name, shape, dtype)} = {op}[name = string("{name}")];'


def baked(name: str, path: str = W_PATH, shape: tuple[int, ...] = SHAPE) -> str:
    blob = f'BLOBFILE(path = string("{path}"), offset = uint64(64))'
    return f'{tensor(name, shape)} = const()[name = string("{name}"), val = tensor<fp16, {list(shape)}>({blob})];'


def number(name: str, value: float) -> str:
    return f'fp16 {name} = const()[name = string("{name}"), val = fp16({value})];'


PRODUCT = program(statement("mul(x = x, y = w)"), f"{tensor('x')}, {tensor('w')}")
BAKED = program(baked("w") + "\n" + statement("mul(x = x, y = w)"), tensor("x"))
# Names whose order is another than the declaration's.
SEVERAL = program(
    statement("sub(x = z, y = a)", "second") + "\n" + statement("mul(x = z, y = m)", "first"),
    f"{tensor('z')}, {tensor('a')}, {tensor('m')}",
    "second, first",
)


def scaled(value: float) -> str:
    return program(number("s", value) + "\n" + statement("mul(x = x, y = s)"), tensor("x"))


def fresh(value: float) -> str:
    """A program that nobody compiled before: the system keeps those it compiled, uncounted."""
    name = f"s{uuid.uuid4().hex}"
    body = [number(name, value), statement(f"mul(x = x, y = {name})")]
    return program("\n".join(body), tensor("x"))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bridge]:
    """Copies of the library, one per backend: they all stay loaded, beside _core."""
    opened: dict[str, Bridge] = {}

    def library(backend: str) -> Bridge:
        if backend not in opened:
            opened[backend] = open_copy(tmp_path_factory.mktemp("bridge"), backend)
        return opened[backend]

    return library


@pytest.fixture
def lib(backend: str, libraries: Callable[[str], Bridge]) -> Bridge:
    library = libraries(backend)
    library.c.ane_bridge_reset_compile_count()
    return library


@pytest.fixture
def device(ane_runtime: milane.Runtime, libraries: Callable[[str], Bridge]) -> Bridge:
    """The library on the emulated device, which can be made to fail."""
    assert ane_runtime.backend == "ane"
    if not _testing.available():
        pytest.skip(NOT_EMULATED)
    library = libraries("ane")
    library.c.ane_bridge_reset_compile_count()
    return library


@pytest.fixture
def product(lib: Bridge) -> int:
    """y = x * w, with w a weight of compile_dyn."""
    return lib.compile_dyn(PRODUCT, [BYTES], [BYTES], BYTES)


# --- compiling and evaluating


def test_a_program_is_compiled_and_evaluated(lib: Bridge) -> None:
    kernel = lib.compile(scaled(2), [BYTES], [BYTES])
    lib.write(kernel, 0, X)
    lib.eval(kernel)
    assert (lib.read(kernel, 0, SHAPE) == X * 2).all()
    lib.free(kernel)


def test_run_and_eval_are_the_same(lib: Bridge, product: int) -> None:
    lib.write(product, 0, X)
    lib.write_weight(product, 0, X)
    assert lib.c.ane_bridge_run(product)
    assert (lib.read(product, 0, SHAPE) == X * X).all()


def test_inputs_and_outputs_are_counted_as_they_are_declared(lib: Bridge) -> None:
    kernel = lib.compile(SEVERAL, [BYTES] * 3, [BYTES] * 2)
    z, a, m = X, X[..., ::-1], X + np.float16(1)
    for index, array in enumerate((z, a, m)):
        lib.write(kernel, index, array)
    lib.eval(kernel)
    assert (lib.read(kernel, 0, SHAPE) == z - a).all()
    assert (lib.read(kernel, 1, SHAPE) == z * m).all()


def test_inputs_start_as_zeros_and_stay_between_evaluations(lib: Bridge, product: int) -> None:
    lib.write(product, 0, X)
    lib.eval(product)
    assert not lib.read(product, 0, SHAPE).any()
    lib.write_weight(product, 0, np.full(SHAPE, 3, np.float16))
    for _ in range(2):
        lib.eval(product)
        assert (lib.read(product, 0, SHAPE) == X * 3).all()


def test_a_blob_of_the_library_is_the_programs_weight_file(lib: Bridge) -> None:
    w = np.linspace(-1, 1, 30, dtype=np.float32)
    kernel = lib.compile(BAKED, [BYTES], [BYTES], lib.weight_blob(w.reshape(6, 5)))
    lib.write(kernel, 0, X)
    lib.eval(kernel)
    assert (lib.read(kernel, 0, SHAPE) == X * w.astype(np.float16).reshape(SHAPE)).all()


def test_several_weight_files_are_found_by_their_paths(lib: Bridge) -> None:
    paths = ["@model_path/weights/q.bin", "@model_path/weights/k.bin"]
    body = [baked("q", paths[0]), baked("k", paths[1]), statement("mul(x = x, y = q)", "p")]
    text = program("\n".join([*body, statement("add(x = p, y = k)")]), tensor("x"))
    weights = {path: lib.weight_blob(np.full((5, 6), i + 2)) for i, path in enumerate(paths)}
    kernel = lib.compile(text, [BYTES], [BYTES], weights)
    lib.write(kernel, 0, X)
    lib.eval(kernel)
    assert (lib.read(kernel, 0, SHAPE) == X * 2 + 3).all()


def test_ports_have_the_programs_own_types(lib: Bridge) -> None:
    words = 'string half = const()[name = string("half"), val = string("fp16")];'
    body = [words, statement("cast(x = x, dtype = half)", "h"), statement("abs(x = h)")]
    text = program("\n".join(body), tensor("x", dtype="fp32"))
    with pytest.raises(BridgeError, match=r"input 0 \(x\): expected 120 bytes, of fp32"):
        lib.compile(text, [BYTES], [BYTES])
    kernel = lib.compile(text, [2 * BYTES], [BYTES])
    lib.write(kernel, 0, X.astype(np.float32))
    lib.eval(kernel)
    assert (lib.read(kernel, 0, SHAPE) == abs(X)).all()


def test_states_have_no_index_and_stay_with_the_kernel(lib: Bridge) -> None:
    state = f"state<tensor<fp16, {list(SHAPE)}>> s"
    body = [statement("read_state(input = s)", "old"), statement("add(x = old, y = x)")]
    body.append("write_state(data = y, input = s)[];")
    text = program("\n".join(body), f"{state}, {tensor('x')}")
    if lib.c.ane_bridge_backend() == b"ane":
        with pytest.raises(BridgeError, match="state"):
            lib.compile(text, [BYTES], [BYTES])
        return
    kernel = lib.compile(text, [BYTES], [BYTES])
    lib.write(kernel, 0, X)
    for i in range(1, 4):
        lib.eval(kernel)
        assert (lib.read(kernel, 0, SHAPE) == X * i).all()


# --- parts of tensors


@pytest.mark.parametrize("nbytes", [0, 1, 10, 11, 30, BYTES])
def test_fewer_bytes_write_and_read_the_beginning(lib: Bridge, product: int, nbytes: int) -> None:
    ones = np.ones(SHAPE, np.float16)
    lib.write(product, 0, ones)
    lib.write_weight(product, 0, ones)
    lib.c.ane_bridge_write_input(product, 0, X.ctypes.data, nbytes)
    lib.check()
    lib.eval(product)
    # fp16 times one is the identity, so bytes can be compared.
    expected = X.tobytes()[:nbytes] + ones.tobytes()[nbytes:]
    assert lib.read(product, 0, SHAPE).tobytes() == expected
    part = np.full(BYTES, 7, np.uint8)
    lib.c.ane_bridge_read_output(product, 0, part.ctypes.data, nbytes)
    assert part.tobytes() == expected[:nbytes] + bytes([7]) * (BYTES - nbytes)


@pytest.mark.parametrize("count", [0, 1, 7, 30])
def test_fewer_floats_write_the_beginning(lib: Bridge, product: int, count: int) -> None:
    lib.write(product, 0, np.ones(SHAPE, np.float16))
    lib.write_weight(product, 0, np.full(SHAPE, 9, np.float16))
    lib.write_weight_f32(product, 0, X.reshape(-1)[:count])
    lib.eval(product)
    y = lib.read(product, 0, (30,))
    assert (y[:count] == X.reshape(-1)[:count]).all()
    assert (y[count:] == 9).all()


# --- weights that change without a compile


def test_weights_change_without_a_compile_and_results_are_right_to_the_bit(lib: Bridge) -> None:
    shape = (1, 16, 4, 33)
    size = 2 * 16 * 4 * 33
    text = program(
        statement("mul(x = x, y = v)", "p", shape)
        + "\n"
        + statement("add(x = p, y = w)", "y", shape),
        f"{tensor('x', shape)}, {tensor('v', shape)}, {tensor('w', shape)}",
    )
    kernel = lib.compile_dyn(text, [size], [size, size], size)
    compiles = lib.compiles
    random = np.random.default_rng(0)
    x = random.standard_normal(shape).astype(np.float16)
    lib.write(kernel, 0, x)
    for step in range(100):
        v, w = random.standard_normal((2, *shape)).astype(np.float32) * (step + 1)
        lib.write_weight_f32(kernel, 0, v)
        lib.write_weight_f32(kernel, 1, w)
        lib.eval(kernel)
        expected = x * v.astype(np.float16) + w.astype(np.float16)
        assert lib.read(kernel, 0, shape).tobytes() == expected.tobytes()
    assert lib.compiles == compiles


def test_floats_are_rounded_as_numpy_rounds_them(lib: Bridge) -> None:
    ties = [2049, 2051, 65504, 65519.996, 65520, 1e9, -1e9, np.inf, 6e-8, 2**-25, 3 * 2**-26, -0.0]
    values = np.concatenate(
        [np.array(ties, np.float32), np.float32(np.random.default_rng(1).normal(size=52))]
    )
    shape = (1, 64, 1, 1)
    kernel = lib.compile_dyn(
        program(statement("mul(x = x, y = w)", shape=shape), f"{tensor('x', shape)}, {tensor('w', shape)}"),
        [128], [128], 128,
    )  # fmt: skip
    lib.write(kernel, 0, np.ones(shape, np.float16))
    lib.write_weight_f32(kernel, 0, values)
    lib.eval(kernel)
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    assert lib.read(kernel, 0, (64,)).tobytes() == expected.tobytes()


def test_weights_are_inputs_too_behind_the_others(lib: Bridge, product: int) -> None:
    lib.write(product, 0, X)
    lib.write(product, 1, X)
    lib.eval(product)
    assert (lib.read(product, 0, SHAPE) == X * X).all()


def test_weights_of_fp32_take_floats_as_they_are_and_integers_take_none(lib: Bridge) -> None:
    words = 'string half = const()[name = string("half"), val = string("fp16")];'
    body = [
        words,
        statement("cast(x = v, dtype = half)", "a"),
        statement("cast(x = i, dtype = half)", "b"),
    ]
    body += [statement("add(x = x, y = a)", "c"), statement("add(x = c, y = b)")]
    inputs = [tensor("x"), tensor("v", dtype="fp32"), tensor("i", dtype="int32")]
    kernel = lib.compile_dyn(
        program("\n".join(body), ", ".join(inputs)), [BYTES], [2 * BYTES, 2 * BYTES], BYTES
    )
    lib.write_weight_f32(kernel, 0, X)
    with pytest.raises(BridgeError, match=r"weight 1 \(i\): expected a tensor of fp16 or fp32"):
        lib.write_weight_f32(kernel, 1, X)
    lib.write_weight(kernel, 1, np.full(SHAPE, 5, np.int32))
    lib.eval(kernel)
    assert (lib.read(kernel, 0, SHAPE) == X + np.float16(5)).all()


# --- from kernel to kernel


def test_an_output_is_copied_to_another_kernels_input(lib: Bridge, product: int) -> None:
    double = lib.compile(scaled(2), [BYTES], [BYTES])
    lib.write(double, 0, X)
    lib.eval(double)
    lib.copy(double, 0, product, 0)
    lib.copy(double, 0, product, 1)  # a weight, behind the one input
    lib.eval(product)
    assert (lib.read(product, 0, SHAPE) == (X * 2) * (X * 2)).all()


def test_an_output_is_copied_to_its_own_kernels_input(lib: Bridge) -> None:
    half = lib.compile(scaled(0.5), [BYTES], [BYTES])
    lib.write(half, 0, X)
    for _ in range(3):
        lib.eval(half)
        lib.copy(half, 0, half, 0)
    assert (lib.read(half, 0, SHAPE) == X / 8).all()


def test_tensors_that_differ_are_not_copied(lib: Bridge, product: int) -> None:
    for shape, dtype in (((1, 3, 5, 2), "fp16"), (SHAPE, "fp32")):
        words = f'string t = const()[name = string("t"), val = string("{dtype}")];'
        body = [words, statement("cast(x = x, dtype = t)", "y", shape, dtype)]
        size = BYTES * (2 if dtype == "fp32" else 1)
        other = lib.compile(program("\n".join(body), tensor("x", shape)), [BYTES], [size])
        with pytest.raises(
            BridgeError,
            match=r"input 0 \(x\): expected fp16 \[1, 3, 2, 5\], got output 0 \(y\) of fp",
        ):
            lib.copy(other, 0, product, 0)


def test_surfaces_of_other_strides_are_copied_by_rows(device: Bridge) -> None:
    kernels = [device.compile(scaled(2.25), [BYTES], [BYTES])]
    for fault in ("layout.plane_pad", "layout.row_pad"):
        with _testing.faults(fault, 128):
            kernels.append(device.compile(scaled(2.25), [BYTES], [BYTES]))
    for source in kernels:
        device.write(source, 0, X)
        device.eval(source)
        for target in kernels:
            device.copy(source, 0, target, 0)
            device.eval(target)
            assert (device.read(target, 0, SHAPE) == X * np.float16(2.25) * np.float16(2.25)).all()
            device.write(source, 0, X)
            device.eval(source)


# --- weight files


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (32, 32), (33, 65), (1, 100), (100, 1)])
def test_a_weight_blob_is_the_one_that_python_builds(lib: Bridge, shape: tuple[int, int]) -> None:
    w = np.random.default_rng(2).standard_normal(shape).astype(np.float32) * 100
    assert lib.weight_blob(w) == milane.blob.build_weight_blob(w)
    assert lib.weight_blob(w, transposed=True) == milane.blob.build_weight_blob(w.T)
    assert milane.blob.check(lib.weight_blob(w)) == []


def test_a_weight_blob_has_its_data_at_128(lib: Bridge) -> None:
    blob = lib.weight_blob(np.array([[1, 2], [np.nan, 65520]], np.float32))
    assert blob[64:68] == b"\xef\xbe\xad\xde"
    halves = np.frombuffer(blob, np.float16, offset=128)
    assert len(blob) == 128 + 8
    np.testing.assert_array_equal(halves, [1, 2, np.nan, np.inf])


@pytest.mark.parametrize(
    "name", ["ane_bridge_build_weight_blob", "ane_bridge_build_weight_blob_transposed"]
)
def test_no_weight_blob_is_built_of_nothing(lib: Bridge, name: str) -> None:
    build, length = getattr(lib.c, name), ctypes.c_size_t(7)
    four = floats(np.zeros(4, np.float32))
    for arguments, message in (
        ((None, 2, 2), "expected floats, got NULL"),
        ((four, 0, 2), "expected at least one row and column, got 0 x 2"),
        ((four, 2, -1), "got 2 x -1"),
        ((four, -(2**31), -(2**31)), "got -2147483648 x -2147483648"),
    ):
        assert build(*arguments, ctypes.byref(length)) is None
        assert message in lib.error()
        assert length.value == 0
        length.value = 7
    assert build(four, 2, 2, None) is None
    assert "expected a place for the length, got NULL" in lib.error()
    lib.c.ane_bridge_free_blob(None)


# --- counting compiles, real time


def test_compiles_are_counted(lib: Bridge) -> None:
    assert lib.compiles == 0
    lib.compile(fresh(0.3125), [BYTES], [BYTES])
    lib.compile(fresh(0.4375), [BYTES], [BYTES])
    assert lib.compiles == 2
    for text, inputs in (("nonsense", [BYTES]), (scaled(0.75), [BYTES + 4])):
        with pytest.raises(BridgeError):
            lib.compile(text, inputs, [BYTES])
    assert lib.compiles == 2  # refused before a compile
    lib.c.ane_bridge_reset_compile_count()
    assert lib.compiles == 0


def test_the_device_takes_119_compiles_until_they_are_reset(device: Bridge) -> None:
    for _ in range(119):
        device.free(device.compile(fresh(2), [BYTES], [BYTES]))
    assert device.compiles == 119
    with pytest.raises(BridgeError, match="119 of 119 used"):
        device.compile(fresh(5), [BYTES], [BYTES])
    device.c.ane_bridge_reset_compile_count()
    device.free(device.compile(fresh(5), [BYTES], [BYTES]))


def test_real_time_sections_nest_and_end_without_a_beginning_is_nothing(
    lib: Bridge, product: int
) -> None:
    lib.write(product, 0, X)
    lib.write_weight(product, 0, X)
    for step in ("begin", "begin", "end", "end", "end"):
        getattr(lib.c, f"ane_bridge_{step}_realtime")()
        lib.check()
        lib.eval(product)
        assert (lib.read(product, 0, SHAPE) == X * X).all()


def test_a_refusal_of_real_time_is_told_and_no_hindrance(device: Bridge) -> None:
    kernel = device.compile(scaled(2), [BYTES], [BYTES])
    with _testing.faults("realtime.refused"):
        device.c.ane_bridge_begin_realtime()
        assert "beginRealTimeTask answered NO" in device.error()
        device.eval(kernel)
        device.c.ane_bridge_end_realtime()
        assert device.error() == ""


# --- misuse


GARBAGE = b"\x00\xff\xfe program(1.3) { \x80 nan"
MISUSE: dict[str, tuple[Callable[[Bridge], Any], str]] = {
    "no text": (lambda b: b.c.ane_bridge_compile(None, 5, None, 0, 0, None, 0, None), "expected MIL text, got NULL"),
    "text of 0 bytes": (lambda b: b.c.ane_bridge_compile(b"x", 0, None, 0, 0, None, 0, None), "expected MIL text, got 0 bytes"),
    "garbage for text": (lambda b: b.compile(GARBAGE, [], []), "<text>:1:2: expected UTF-8"),
    "nan for text": (lambda b: b.compile("nan", [], []), "<text>:1:1: "),
    "a program without functions": (lambda b: b.compile("program(1.3) {}", [], []), "ane_bridge_compile: "),
    "an unknown operation": (lambda b: b.compile(scaled(2).replace("mul", "nul"), [BYTES], [BYTES]), "<text>:5:"),
    "a wrong type": (lambda b: b.compile(scaled(2).replace("2, 5]> y", "2, 6]> y"), [BYTES], [BYTES]), "<text>:5:"),
    "flexible shapes": (lambda b: b.compile(scaled(2).replace("[1,", "[?,"), [BYTES], [BYTES]), "declare concrete shapes"),
    "too few inputs": (lambda b: b.compile(PRODUCT, [BYTES], [BYTES]), "expected 2 inputs (x, w), got 1"),
    "too many outputs": (lambda b: b.compile(PRODUCT, [BYTES] * 2, [BYTES] * 2), "expected 1 output (y), got 2"),
    "a negative number of inputs": (lambda b: b.c.ane_bridge_compile(b"x", 1, None, 0, -1, None, 0, None), "expected a number of input_sizes of at least 0, got -1"),
    "no input sizes": (lambda b: b.c.ane_bridge_compile(b"x", 1, None, 0, 2, None, 0, None), "expected 2 input_sizes, got NULL"),
    "a padded input size": (lambda b: b.compile(scaled(2), [384], [BYTES]), "input 0 (x): expected 60 bytes, of fp16 [1, 3, 2, 5], got 384\nhint: sizes are those of dense tensors"),
    "an output size of 0": (lambda b: b.compile(scaled(2), [BYTES], [0]), "output 0 (y): expected 60 bytes"),
    "a weight size": (lambda b: b.compile_dyn(PRODUCT, [BYTES], [2**63], BYTES), "input 1 (w): expected 60 bytes"),
    "weights that the program has not": (lambda b: b.compile_dyn(PRODUCT, [BYTES] * 2, [BYTES], BYTES), "expected 2 inputs (x, w), got 3"),
    "several outputs of compile_dyn": (lambda b: b.compile_dyn(SEVERAL, [BYTES], [BYTES] * 2, BYTES), "expected 2 outputs (second, first), got 1"),
    "a negative number of weights": (lambda b: b.c.ane_bridge_compile_dyn(b"x", 1, 0, None, -5, None, 0), "weight_sizes of at least 0, got -5"),
    "no weight file": (lambda b: b.compile(BAKED, [BYTES], [BYTES]), "expected the weight file"),
    "another weight file": (lambda b: b.compile(BAKED, [BYTES], [BYTES], {"@model_path/w.bin": bytes(200)}), "hint: pass it to ane_bridge_compile_multi_weights()"),
    "an absolute weight path": (lambda b: b.compile(BAKED, [BYTES], [BYTES], {"/w.bin": bytes(200)}), 'got "/w.bin"'),
    "a climbing weight path": (lambda b: b.compile(BAKED, [BYTES], [BYTES], {"a/..": bytes(200)}), 'got "a/.."'),
    "no weight path": (lambda b: b.compile(BAKED, [BYTES], [BYTES], {"": bytes(200)}), 'got ""'),
    "no weight names": (lambda b: b.c.ane_bridge_compile_multi_weights(b"x", 1, None, None, None, 1, 0, None, 0, None), "expected 1 weight_names, got NULL"),
    "a null weight": (lambda b: b.c.ane_bridge_compile_multi_weights(b"x", 1, (ctypes.c_char_p * 1)(b"w"), (ctypes.c_char_p * 1)(None), sizes([5]), 1, 0, None, 0, None), "weight 0: expected a name and its data, got NULL"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISUSE)
def test_a_compile_that_cannot_be_gives_null_and_says_why(lib: Bridge, name: str) -> None:
    call, message = MISUSE[name]
    with contextlib.suppress(BridgeError):
        assert call(lib) is None
    assert message in lib.error()
    assert lib.error().startswith("ane_bridge_compile")


def test_a_weight_file_given_twice_has_one_content(lib: Bridge) -> None:
    blobs = [lib.weight_blob(np.full((5, 6), i)) for i in (2, 2, 3)]
    mil = BAKED.encode()

    def compile(first: bytes, second: bytes) -> int | None:
        found: int | None = lib.c.ane_bridge_compile_multi_weights(
            mil, len(mil), (ctypes.c_char_p * 2)(W_PATH.encode(), W_PATH.encode()),
            (ctypes.c_char_p * 2)(first, second), sizes([len(first), len(second)]), 2,
            1, sizes([BYTES]), 1, sizes([BYTES]),
        )  # fmt: skip
        return found

    assert compile(blobs[0], blobs[1]) is not None
    assert compile(blobs[0], blobs[2]) is None
    assert "expected one content for" in lib.error()


NO_KERNEL = {
    "ane_bridge_run": (),
    "ane_bridge_eval": (),
    "ane_bridge_write_input": (0, b"ab", 2),
    "ane_bridge_read_output": (0, ctypes.create_string_buffer(2), 2),
    "ane_bridge_write_weight": (0, b"ab", 2),
    "ane_bridge_write_weight_f32": (0, None, 0),
    "ane_bridge_copy_io": (0, None, 0),
}


@pytest.mark.parametrize("name", NO_KERNEL)
def test_a_call_without_a_kernel_is_refused(lib: Bridge, product: int, name: str) -> None:
    lib.free(product)
    for kernel, message in ((None, "got NULL"), (product, "one that was freed"), (2**63, "freed")):
        assert not getattr(lib.c, name)(kernel, *NO_KERNEL[name])
        assert lib.error().startswith(f"{name}: expected a kernel")
        assert message in lib.error()


def test_freeing_nothing_is_nothing_and_freeing_twice_is_an_error(
    lib: Bridge, product: int
) -> None:
    lib.free(product)
    lib.c.ane_bridge_free(None)
    assert lib.error() == ""
    with pytest.raises(BridgeError, match="freed"):
        lib.free(product)


@pytest.mark.parametrize("index", [-1, 2, 2**31 - 1, -(2**31)])
def test_an_index_out_of_range_is_refused(lib: Bridge, product: int, index: int) -> None:
    of = f", got {index}"
    for call, message in (
        (lambda: lib.write(product, index, X), f"kernel's 2 inputs{of}"),
        (lambda: lib.read(product, index, SHAPE), f"kernel's 1 output{of}"),
        (lambda: lib.write_weight(product, index, X), f"kernel's 1 weight{of}"),
        (lambda: lib.write_weight_f32(product, index, X), f"kernel's 1 weight{of}"),
        (lambda: lib.copy(product, index, product, 0), f"kernel's 1 output{of}"),
        (lambda: lib.copy(product, 0, product, index), f"kernel's 2 inputs{of}"),
    ):
        with pytest.raises(BridgeError, match=message):
            call()


def test_more_than_the_tensor_is_refused_and_nothing_is_written(lib: Bridge, product: int) -> None:
    lib.write(product, 0, np.ones(SHAPE, np.float16))
    lib.write_weight(product, 0, X)
    lib.eval(product)
    more = np.zeros(200, np.float32)
    pointer = more.ctypes.data
    for size in (BYTES + 1, 384, 2**64 - 1):
        for name in ("write_input", "write_weight", "read_output"):
            getattr(lib.c, f"ane_bridge_{name}")(product, 0, pointer, size)
            assert f"expected at most 60 bytes, of fp16 [1, 3, 2, 5], got {size}" in lib.error()
    for count in (31, 2**63, 2**64 - 1):
        lib.c.ane_bridge_write_weight_f32(product, 0, floats(more), count)
        assert f"expected at most 30 floats, of fp16 [1, 3, 2, 5], got {count}" in lib.error()
    assert not more.any()
    lib.eval(product)
    assert (lib.read(product, 0, SHAPE) == X).all()


def test_null_data_is_refused_unless_it_is_nothing(lib: Bridge, product: int) -> None:
    for name in ("write_input", "write_weight", "read_output", "write_weight_f32"):
        call = getattr(lib.c, f"ane_bridge_{name}")
        call(product, 0, None, 2)
        assert "expected data, got NULL" in lib.error()
        call(product, 0, None, 0)
        assert lib.error() == ""


def test_a_kernel_without_weights_has_none_to_write(lib: Bridge) -> None:
    kernel = lib.compile(scaled(2), [BYTES], [BYTES])
    with pytest.raises(BridgeError, match="kernel's 0 weights, got 0"):
        lib.write_weight(kernel, 0, X)


def test_damaged_weight_files_and_texts_never_crash(lib: Bridge) -> None:
    chance = random.Random(3)
    blob, text = bytearray(lib.weight_blob(np.ones((5, 6)))), bytearray(BAKED.encode())
    taken = 0
    for i in range(200):
        lib.c.ane_bridge_reset_compile_count()
        damaged = bytearray(text if i % 2 else blob)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if chance.random() < 0.2:
            del damaged[chance.randrange(len(damaged)) :]
        given = (bytes(damaged), bytes(blob)) if i % 2 else (bytes(text), bytes(damaged))
        try:
            kernel = lib.compile(given[0], [BYTES], [BYTES], given[1])
        except BridgeError:
            continue
        taken += 1
        lib.eval(kernel)
        lib.free(kernel)
    assert 0 < taken < 200  # some damage is to padding, and to names


def test_an_evaluation_that_fails_on_the_device_says_so(device: Bridge) -> None:
    kernel = device.compile(scaled(2), [BYTES], [BYTES])
    failed = r"(?s)ane_bridge_eval: .*\ncode: com\.apple\.appleneuralengine 8"
    with _testing.faults("eval.0x1d", 1), pytest.raises(BridgeError, match=failed):
        device.eval(kernel)
    device.eval(kernel)
    failed = "ane_bridge_free: "
    with _testing.faults("unload.failure", 1), pytest.raises(BridgeError, match=failed):
        device.free(kernel)
    with pytest.raises(BridgeError, match="freed"):
        device.free(kernel)


def test_a_freed_kernel_leaves_nothing_on_the_device(device: Bridge) -> None:
    def use() -> None:
        kernel = device.compile(scaled(2), [BYTES], [BYTES])
        device.eval(kernel)
        device.copy(kernel, 0, kernel, 0)
        device.free(kernel)
        with pytest.raises(BridgeError):
            device.compile(scaled(2), [BYTES], [0])

    use()
    before = _testing.live()
    use()
    assert _testing.live() == before


# --- errors and threads


def test_an_error_is_its_threads_own_and_goes_with_the_next_call(lib: Bridge, product: int) -> None:
    assert not lib.c.ane_bridge_eval(None)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lib.error).result() == ""
        assert (
            other.submit(lambda: (lib.c.ane_bridge_write_input(None, 0, None, 0), lib.error())[1])
            .result()
            .startswith("ane_bridge_write_input")
        )
    assert lib.error() == "ane_bridge_eval: expected a kernel, got NULL"
    lib.c.ane_bridge_get_compile_count()
    lib.c.ane_bridge_free_blob(None)
    assert lib.error().startswith("ane_bridge_eval")
    lib.eval(product)
    assert lib.error() == ""


def in_threads(count: int, job: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(job, i) for i in range(count)]:
            done.result(timeout=120)


def test_threads_with_kernels_of_their_own_get_their_own_results(lib: Bridge) -> None:
    def job(seed: int) -> None:
        for i in range(5):
            kernel = lib.compile_dyn(PRODUCT, [BYTES], [BYTES], BYTES)
            lib.write_weight_f32(kernel, 0, np.full(SHAPE, seed + i))
            lib.write(kernel, 0, X)
            for _ in range(10):
                lib.eval(kernel)
                assert (lib.read(kernel, 0, SHAPE) == X * np.float16(seed + i)).all()
            lib.free(kernel)

    in_threads(6, job)


def test_calls_of_several_threads_to_one_kernel_are_done_whole(lib: Bridge, product: int) -> None:
    lib.write(product, 0, np.ones(SHAPE, np.float16))
    other = lib.compile(scaled(1), [BYTES], [BYTES])

    def job(seed: int) -> None:
        for i in range(50):
            lib.write_weight_f32(product, 0, np.full(SHAPE, seed + i % 3))
            lib.eval(product)
            y = lib.read(product, 0, SHAPE)
            assert (y == y[0, 0, 0, 0]).all()
            # Both ways at once: locks of two kernels, and no deadlock.
            lib.copy(product, 0, other, 0) if seed % 2 else lib.copy(other, 0, product, 1)

    in_threads(6, job)


def test_freeing_under_evaluation_waits_for_it(lib: Bridge) -> None:
    for _ in range(10):
        kernel = lib.compile_dyn(PRODUCT, [BYTES], [BYTES], BYTES)

        def job(index: int, kernel: int = kernel) -> None:
            if index == 0:
                lib.free(kernel)
            while lib.c.ane_bridge_eval(kernel):
                lib.c.ane_bridge_write_input(kernel, 0, X.ctypes.data, BYTES)
            assert re.search("freed|closed", lib.error())

        in_threads(4, job)


def test_two_libraries_and_the_package_do_not_know_of_each_other(
    libraries: Callable[[str], Bridge], tmp_path: Path, backend: str
) -> None:
    first, second = libraries(backend), open_copy(tmp_path, backend)
    first.c.ane_bridge_reset_compile_count()
    one = first.compile(fresh(1.125), [BYTES], [BYTES])
    two = second.compile(fresh(1.375), [BYTES], [BYTES])
    with milane.open(backend) as runtime, runtime.compile(fresh(1.625)) as three:  # type: ignore[arg-type]
        assert (first.compiles, second.compiles) == (1, 1)
        for library, kernel, scale in ((first, one, 1.125), (second, two, 1.375)):
            library.write(kernel, 0, X)
            library.eval(kernel)
            assert (library.read(kernel, 0, SHAPE) == X * np.float16(scale)).all()
        assert (three(X)["y"] == X * np.float16(1.625)).all()


# --- opening


OPEN = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from bridge_library import Bridge
import milane
lib = Bridge(milane.bridge.library_path())
"""


def run(script: str, **environment: str) -> None:
    """Runs a script with the library just loaded; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN + script],
        capture_output=True, text=True, check=False, timeout=120,
        env={**{k: v for k, v in os.environ.items() if k != "MILANE_BACKEND"}, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_backend_is_the_environments_and_a_wrong_one_can_be_mended() -> None:
    run(
        """
assert lib.c.ane_bridge_init() == -1
assert lib.error().startswith('ane_bridge_init: backend: expected "auto", "ane" or "host"')
assert "MILANE_BACKEND" in lib.error()
assert lib.c.ane_bridge_backend() == b""
assert lib.c.ane_bridge_compile(b"x", 1, None, 0, 0, None, 0, None) is None
assert "expected" in lib.error()
assert lib.compiles == 0
os.environ["MILANE_BACKEND"] = "host"
assert lib.c.ane_bridge_init() == 0 == lib.c.ane_bridge_init()
os.environ["MILANE_BACKEND"] = "nonsense"
assert lib.c.ane_bridge_backend() == b"host"
""",
        MILANE_BACKEND="nonsense",
    )


def test_without_a_choice_the_engine_is_taken_where_it_is() -> None:
    expected = b"ane" if milane.probe().has_ane else b"host"
    run(f"assert lib.c.ane_bridge_backend() == {expected!r}")


@pytest.mark.skipif(milane.probe().has_ane, reason="there is an engine here")
def test_an_engine_that_is_not_here_is_not_replaced() -> None:
    script = (
        'assert lib.c.ane_bridge_init() == -1; assert "Neural Engine" in lib.error(), lib.error()'
    )
    run(script, MILANE_BACKEND="ane")


def test_a_process_ends_well_with_kernels_that_nobody_freed(backend: str) -> None:
    run(
        f"k = lib.compile({scaled(2)!r}, [{BYTES}], [{BYTES}]); lib.eval(k)",
        MILANE_BACKEND=backend,
    )


# --- the package


def test_the_table_of_functions_is_complete() -> None:
    assert len(FUNCTIONS) == 21


def test_a_build_without_the_library_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bridge, "_package", lambda: tmp_path)
    with pytest.raises(milane.ModelFileError, match="libmilane_bridge") as caught:
        bridge.library_path()
    assert "milane_bridge" in caught.value.hint
    with pytest.raises(milane.ModelFileError, match=r"ane_bridge\.h"):
        bridge.include_dir()
