"""Inputs and outputs of kernels by index and by name: raw, as floats, as halves, by channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import milane
from on_device import refused

KernelMaker = Callable[..., milane.Kernel]


def program(shape: list[int], dtype: str = "fp16", inputs: tuple[str, str] = ("z", "a")) -> str:
    """total = z + a, double = z + z; names that sort otherwise than they are declared."""
    first, second = inputs
    tensor = f"tensor<{dtype}, {shape}>"
    return f"""program(1.3)
{{
    func main<ios18>({tensor} {first}, {tensor} {second}) {{
            {tensor} total = add(x = {first}, y = {second})[name = string("total")];
            {tensor} double = add(x = {first}, y = {first})[name = string("double")];
        }} -> (total, double);
}}
"""


@pytest.fixture
def kernel(runtime: milane.Runtime) -> milane.Kernel:
    return runtime.compile(program([1, 4, 2, 5]))


def test_ports_are_counted_and_described(kernel: milane.Kernel) -> None:
    assert (kernel.num_inputs, kernel.num_outputs) == (2, 2)
    for i, name in enumerate(("z", "a")):
        assert kernel.input_layout(i) == kernel.input_layout(name)
        assert kernel.input_surface(i) is kernel.inputs[name].surface
        assert kernel.input_surfaces[i] is kernel.inputs[name].surface
    for i, name in enumerate(("total", "double")):
        assert kernel.output_surface(name) is kernel.output_surface(i)
        assert kernel.output_surfaces[i] is kernel.outputs[name].surface
    layout = kernel.output_layout("total")
    assert (layout.channels, layout.height, layout.width, layout.row_stride) == (4, 2, 5, 64)
    assert kernel.input_alloc_size(0) == kernel.output_alloc_size(1) == 4 * 2 * 64
    assert kernel.input_channels("z") == kernel.output_channels("double") == 4
    assert kernel.spatial(0) == 10


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    "shape",
    # Rows that are copied by several threads, whose shares begin and end within planes, whole
    # planes and batches.
    [(1, 2100, 5, 33), (2, 40, 100, 33), (3, 1, 3000, 3), (2, 4500, 1, 7), (1, 1, 2, 300_001)],
)
def test_large_ports_whose_rows_are_padded(shape: tuple[int, ...], threads: int) -> None:
    x, y = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float16)
    before = milane.num_threads()
    milane.set_num_threads(threads)
    try:
        with milane.open("host") as runtime:
            got = runtime.compile(program(list(shape)))(x, y)
    finally:
        milane.set_num_threads(before)
    np.testing.assert_array_equal(got["total"], x + y)
    np.testing.assert_array_equal(got["double"], x + x)


@pytest.mark.parametrize("width", [1, 7, 32, 33, 70])
def test_raw_bytes_are_the_whole_surface(runtime: milane.Runtime, width: int) -> None:
    kernel = runtime.compile(program([1, 3, 1, width]))
    stride = milane.row_stride_for(width, 2)
    padded = np.full((3, stride // 2), np.nan, np.float16)
    padded[:, :width] = np.arange(3 * width).reshape(3, width)
    assert kernel.input_alloc_size(0) == padded.nbytes
    for data in (padded.tobytes(), bytearray(padded.tobytes()), padded):
        kernel.write_input(0, data)
    kernel.write_input("a", bytes(padded.nbytes))
    kernel.eval()
    raw = kernel.read_output("total")
    assert isinstance(raw, bytes)
    assert len(raw) == kernel.output_alloc_size(0)
    got = np.frombuffer(raw, np.float16).reshape(padded.shape)[:, :width]
    np.testing.assert_array_equal(got, padded[:, :width])


@pytest.mark.parametrize("change", [-1, 1, -512])
def test_raw_bytes_are_neither_more_nor_less(kernel: milane.Kernel, change: int) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="the 512 bytes .*, got"):
        kernel.write_input(0, bytes(512 + change))
    with pytest.raises(BufferError):
        kernel.write_input(0, memoryview(bytes(1024))[::2])
    with pytest.raises(TypeError):
        kernel.write_input(0, "text")


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("width", [1, 5, 32, 70])
def test_floats_go_in_and_come_out(runtime: milane.Runtime, width: int, dtype: str) -> None:
    kernel = runtime.compile(program([1, 3, 2, width], dtype))
    rng = np.random.default_rng(width)
    z, a = rng.integers(-99, 99, (2, 1, 3, 2, width)).astype(np.float32)
    kernel.write_input_f32("z", z)
    kernel.write_input_f32(1, a.ravel())  # flat, as other libraries hand it over
    kernel.eval()
    total = kernel.read_output_f32(0)
    assert total.dtype == np.float32
    np.testing.assert_array_equal(total, z + a)
    kernel.write_input_fp16(0, z.astype(np.float16))
    kernel.write_input_fp16("a", np.zeros_like(a))
    kernel.eval()
    half = kernel.read_output_fp16("double")
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, 2 * z)


def test_halves_are_rounded_once_whatever_the_input_holds(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(program([1, 1, 1, 3], "fp32"))
    values = np.array([1 + 2.0**-11, 1 + 3 * 2.0**-11, 1e6], np.float32)
    kernel.write_input_fp16(0, values)
    np.testing.assert_array_equal(
        kernel.inputs[0].array.ravel(), milane.half.f32_to_fp16(values).astype(np.float32)
    )
    kernel.write_input_f32(0, values / 2)
    kernel.write_input_f32(1, np.zeros(3, np.float32))
    kernel.eval()
    got = kernel.read_output_fp16("double")
    assert got.tobytes() == milane.half.f32_to_fp16(values).tobytes()


@pytest.mark.parametrize("width", [1, 5, 32, 70])
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_channels_go_in_and_come_out(runtime: milane.Runtime, dtype: str, width: int) -> None:
    kernel = runtime.compile(program([1, 6, 1, width], dtype))
    part = np.arange(2 * width, dtype=np.float32).reshape(2, width)
    kernel.write_input_fp16_channels("z", 3, part)
    kernel.write_input_fp16_channels(0, 5, np.full(width, 7, np.float16))
    kernel.eval()
    wanted = np.zeros((6, width), np.float16)
    wanted[3:5], wanted[5] = part, 7
    np.testing.assert_array_equal(kernel.read_output_fp16("total")[0, :, 0], wanted)
    got = kernel.read_output_fp16_channels("total", 3, 2)
    assert (got.dtype, got.shape) == (np.float16, (1, 2, 1, width))
    np.testing.assert_array_equal(got[0, :, 0], part)
    np.testing.assert_array_equal(kernel.read_output_fp16_channels(0, 5), wanted[None, 5:, None])


def test_channels_that_are_not_there_are_refused(kernel: milane.Kernel) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="the 4 channels"):
        kernel.write_input_fp16_channels(0, 3, np.zeros((2, 2, 5)))
    with pytest.raises(milane.InvalidArgumentError, match="the 4 channels"):
        kernel.read_output_fp16_channels(0, 4)


def test_integers_are_not_halves(runtime: milane.Runtime) -> None:
    text = program([1, 4, 1, 8], "int32")
    if refused(runtime, text):
        return
    kernel = runtime.compile(text)
    with pytest.raises(milane.DTypeError, match="write_input_fp16: expected a float surface"):
        kernel.write_input_fp16(0, np.zeros((1, 4, 1, 8)))
    with pytest.raises(milane.DTypeError, match="got int32"):
        kernel.read_output_fp16(0)
    with pytest.raises(milane.DTypeError):
        kernel.write_input_f32(0, np.zeros((1, 4, 1, 8), np.float32))
    kernel.input_surface(0).write(np.full((4, 8), 3))
    kernel.input_surface(1).write(np.full((4, 8), 4))
    kernel.eval()
    assert (kernel.read_output_f32(0) == 7).all()


def test_wrong_ports_are_errors_that_name_the_right_ones(kernel: milane.Kernel) -> None:
    for call in (kernel.input_layout, kernel.spatial, lambda i: kernel.write_input(i, b"")):
        with pytest.raises(IndexError, match="the 2 inputs, got index 2"):
            call(2)
        with pytest.raises(KeyError, match="the inputs z, a, got 'total'"):
            call("total")
    with pytest.raises(IndexError, match="the 2 outputs"):
        kernel.read_output(5)
    with pytest.raises(KeyError, match="the weights none"):
        kernel.write_weight("w", [0.0])
    assert len(kernel.weights) == 0


CALLS: dict[str, Callable[[milane.Kernel], Any]] = {
    "input_layout": lambda k: k.input_layout(0),
    "write_input": lambda k: k.write_input(0, bytes(512)),
    "write_input_f32": lambda k: k.write_input_f32(0, np.zeros(40, "f4")),
    "write_input_fp16": lambda k: k.write_input_fp16(0, np.zeros(40, "f2")),
    "write channels": lambda k: k.write_input_fp16_channels(0, 0, np.zeros(10, "f2")),
    "read_output": lambda k: k.read_output(0),
    "read_output_f32": lambda k: k.read_output_f32(0),
    "read_output_fp16": lambda k: k.read_output_fp16(0),
    "read channels": lambda k: k.read_output_fp16_channels(0, 0, 1),
    "copy_output_to": lambda k: k.copy_output_to(k),
    "write_weight": lambda k: k.write_weight(0, [0.0]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_kernel_takes_and_gives_nothing(kernel: milane.Kernel, call: Any) -> None:
    kernel.close()
    with pytest.raises(milane.ClosedError, match="expected an open kernel"):
        call(kernel)


# --- from kernel to kernel


@pytest.mark.parametrize(
    ("other", "width"), [([1, 6, 1, 5], 5), ([6, 33], 33), ([1, 1, 6, 70], 70)]
)
def test_an_output_is_copied_to_the_input_of_another_kernel(
    runtime: milane.Runtime, other: list[int], width: int
) -> None:
    first = runtime.compile(program([1, 6, 1, width]))
    second = runtime.compile(program(other))
    values = np.arange(6 * width, dtype=np.float32).reshape(6, width)
    first.write_input_f32("z", values)
    first.eval()
    first.copy_output_to(second, "double", 1)
    second.eval()
    np.testing.assert_array_equal(
        second.read_output_f32("total").ravel(), first.read_output_f32("double").ravel()
    )


def test_an_output_is_copied_to_the_same_kernel(kernel: milane.Kernel) -> None:
    kernel.write_input_f32(0, np.ones(40, np.float32))
    for _ in range(5):
        kernel.eval()
        kernel.copy_output_to(kernel, "double", "z")
    assert (kernel.inputs["z"].array == 32).all()


def test_an_output_of_another_shape_or_dtype_is_not_copied(
    runtime: milane.Runtime, kernel: milane.Kernel
) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="copy: expected shape"):
        kernel.copy_output_to(runtime.compile(program([1, 4, 5, 2])))
    with pytest.raises(milane.DTypeError, match="a surface of fp32, got one of fp16"):
        kernel.copy_output_to(runtime.compile(program([1, 4, 2, 5], "fp32")))


def test_qualities_of_service_are_the_frameworks_numbers(runtime: milane.Runtime) -> None:
    named = {q.name: int(q) for q in milane.QoS}
    assert named == {
        "REAL_TIME": 0,
        "BACKGROUND": 9,
        "UTILITY": 17,
        "DEFAULT": 21,
        "USER_INITIATED": 25,
        "USER_INTERACTIVE": 33,
    }
    kernel = runtime.compile(program([2, 4]), qos=milane.QoS.USER_INTERACTIVE)
    assert (kernel(np.ones((2, 4)), np.ones((2, 4)))["total"] == 2).all()
