"""Weights that are parameters of the program: written whole and in parts, and used at once."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import milane
from milane import _testing, blob

Array = NDArray[Any]


def product(ins: int = 40, outs: int = 6, batch: int = 3, dtype: str = "fp16") -> str:
    """y = x @ w.T + b, with parameters whose names sort otherwise than they are declared."""
    return f"""program(1.3)
{{
    func main<ios18>(tensor<{dtype}, [{batch}, {ins}]> x, tensor<{dtype}, [{outs}, {ins}]> w, tensor<{dtype}, [{outs}]> b) {{
            bool no = const()[name = string("no"), val = bool(false)];
            bool yes = const()[name = string("yes"), val = bool(true)];
            tensor<{dtype}, [{batch}, {outs}]> p = matmul(x = x, y = w, transpose_x = no, transpose_y = yes)[name = string("p")];
            tensor<{dtype}, [{batch}, {outs}]> y = add(x = p, y = b)[name = string("y")];
        }} -> (y);
}}
"""


def packed(ins: int = 40, outs: int = 6, batch: int = 3) -> str:
    """The same without b: activations and weights side by side in one input."""
    both = batch + outs
    return f"""program(1.3)
{{
    func main<ios18>(tensor<fp32, [1, {ins}, 1, {both}]> x) {{
            tensor<fp16, [1, {ins}, 1, {both}]> h = cast(x = x, dtype = string("fp16"))[name = string("h")];
            tensor<int32, [4]> b0 = const()[name = string("b0"), val = tensor<int32, [4]>([0, 0, 0, 0])];
            tensor<int32, [4]> s0 = const()[name = string("s0"), val = tensor<int32, [4]>([1, {ins}, 1, {batch}])];
            tensor<int32, [4]> b1 = const()[name = string("b1"), val = tensor<int32, [4]>([0, 0, 0, {batch}])];
            tensor<int32, [4]> s1 = const()[name = string("s1"), val = tensor<int32, [4]>([1, {ins}, 1, {outs}])];
            tensor<fp16, [1, {ins}, 1, {batch}]> a = slice_by_size(x = h, begin = b0, size = s0)[name = string("a")];
            tensor<fp16, [1, {ins}, 1, {outs}]> m = slice_by_size(x = h, begin = b1, size = s1)[name = string("m")];
            tensor<int32, [4]> ra = const()[name = string("ra"), val = tensor<int32, [4]>([1, 1, {ins}, {batch}])];
            tensor<int32, [4]> rm = const()[name = string("rm"), val = tensor<int32, [4]>([1, 1, {ins}, {outs}])];
            tensor<fp16, [1, 1, {ins}, {batch}]> a2 = reshape(x = a, shape = ra)[name = string("a2")];
            tensor<fp16, [1, 1, {ins}, {outs}]> m2 = reshape(x = m, shape = rm)[name = string("m2")];
            bool no = const()[name = string("no"), val = bool(false)];
            bool yes = const()[name = string("yes"), val = bool(true)];
            tensor<fp16, [1, 1, {outs}, {batch}]> p = matmul(x = m2, y = a2, transpose_x = yes, transpose_y = no)[name = string("p")];
            tensor<int32, [4]> ro = const()[name = string("ro"), val = tensor<int32, [4]>([1, {outs}, 1, {batch}])];
            tensor<fp16, [1, {outs}, 1, {batch}]> q = reshape(x = p, shape = ro)[name = string("q")];
            tensor<fp32, [1, {outs}, 1, {batch}]> y = cast(x = q, dtype = string("fp32"))[name = string("y")];
        }} -> (y);
}}
"""


def small(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Small integers: sums of their products are exact in fp16."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


X, W, B = small((3, 40)), small((6, 40), 1), small((6,), 2)


@pytest.fixture
def kernel(runtime: milane.Runtime) -> milane.Kernel:
    made = runtime.compile_dynamic(product(), 1)
    made.write_weight_f32("w", W)
    made.write_weight_f32("b", B)
    return made


def test_parameters_behind_the_inputs_are_weights(kernel: milane.Kernel) -> None:
    assert (list(kernel.inputs), kernel.num_inputs) == (["x"], 1)
    assert list(kernel.weights) == ["w", "b"]
    assert kernel.weights["w"] is kernel.weights[0]
    assert (kernel.weights["w"].shape, kernel.weights.kind) == ((6, 40), "weight")
    np.testing.assert_array_equal(kernel(X)["y"], X @ W.T + B)
    np.testing.assert_array_equal(kernel(x=X)["y"], X @ W.T + B)
    with pytest.raises(milane.InvalidArgumentError, match="inputs among x, got w"):
        kernel(X, w=W)


def test_weights_are_zero_at_first(runtime: milane.Runtime) -> None:
    assert not runtime.compile_dynamic(product(), 1)(X)["y"].any()


def test_new_weights_are_used_by_the_next_evaluation_without_a_compile(
    runtime: milane.Runtime, kernel: milane.Kernel
) -> None:
    count = runtime.compile_count
    for step in range(5):
        w = small((6, 40), step)
        kernel.write_weight(0, w.astype(np.float16))
        np.testing.assert_array_equal(kernel(X)["y"], X @ w.T + B)
    assert runtime.compile_count == count


@pytest.mark.parametrize("call", ["write_weight", "write_weight_f32"])
@pytest.mark.parametrize("rows", [2, -1, slice(1, 5, 2), [4, 0], np.array([3])], ids=repr)
def test_rows_of_a_weight_are_replaced(kernel: milane.Kernel, rows: Any, call: str) -> None:
    w = W.copy()
    w[rows] = small(w[rows].shape, 9)
    getattr(kernel, call)("w", w[rows], rows=rows)
    np.testing.assert_array_equal(kernel(X)["y"], X @ w.T + B)


@pytest.mark.parametrize(
    "at",
    [2, slice(1, 4), (slice(None), 7), (..., slice(0, 3)), (1, 2), (slice(None, None, -2), 0)],
    ids=repr,
)
def test_a_slice_of_a_weight_is_replaced(kernel: milane.Kernel, at: Any) -> None:
    w = W.copy()
    w[at] = small(w[at].shape, 9)
    kernel.write_weight_f32("w", w[at], at=at)
    np.testing.assert_array_equal(kernel(X)["y"], X @ w.T + B)


def test_a_weight_is_written_through_its_view(kernel: milane.Kernel) -> None:
    kernel.weights["w"].array[2] = 0
    kernel.weights["b"].surface.fill(1)
    w = W.copy()
    w[2] = 0
    np.testing.assert_array_equal(kernel(X)["y"], X @ w.T + 1)


def test_parts_that_are_not_there_are_refused(kernel: milane.Kernel) -> None:
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"rows": 6}, milane.InvalidArgumentError, r"rows in \[0, 6\)"),
        ({"rows": [0, 1]}, milane.InvalidArgumentError, "expected shape"),
        ({"at": 6}, IndexError, "out of bounds"),
        ({"at": [0]}, milane.InvalidArgumentError, "integers and slices"),
        ({"at": (slice(None), [1, 2])}, milane.InvalidArgumentError, "integers and slices"),
        ({"at": (slice(None), 0)}, milane.InvalidArgumentError, "expected shape"),
        ({"rows": 0, "at": 0}, TypeError, "rows or at, got both"),
        ({}, milane.InvalidArgumentError, "expected shape"),
    ]
    for parts, error, message in cases:
        with pytest.raises(error, match=message):
            kernel.write_weight("w", np.ones(40), **parts)
    with pytest.raises(KeyError, match="the weights w, b, got 'x'"):
        kernel.write_weight("x", X)
    with pytest.raises(IndexError, match="the 2 weights"):
        kernel.write_weight_f32(2, X)
    with pytest.raises(milane.DTypeError):
        kernel.write_weight_f32("w", np.zeros((6, 40), int))
    np.testing.assert_array_equal(kernel.weights["w"].array, W)


def test_halves_are_rounded_once_for_a_weight_of_float32(runtime: milane.Runtime) -> None:
    kernel = runtime.compile_dynamic(product(dtype="fp32"), 1)
    values = np.random.default_rng(3).standard_normal((6, 40)).astype(np.float32)
    kernel.write_weight("w", values)
    np.testing.assert_array_equal(kernel.weights["w"].array, milane.half.f32_to_fp16(values))
    kernel.write_weight_f32("w", values)
    np.testing.assert_array_equal(kernel.weights["w"].array, values)
    kernel.write_weight("w", values[1], rows=1)
    np.testing.assert_array_equal(
        kernel.weights["w"].array[1], milane.half.f32_to_fp16(values[1]).astype(np.float32)
    )


def test_requests_of_a_kernel_use_its_weights(kernel: milane.Kernel) -> None:
    with milane.RequestPool(kernel, 3) as pool, pool.acquire() as one, pool.acquire() as other:
        for request, factor in ((one, 1), (other, 2)):
            assert list(request.inputs) == ["x"]
            request.inputs["x"].surface.write(X * factor)
            request.eval()
            np.testing.assert_array_equal(request.outputs["y"].array, factor * (X @ W.T) + B)
        kernel.write_weight_f32("b", np.zeros(6, np.float32))
        one.eval()
        np.testing.assert_array_equal(one.outputs["y"].array, X @ W.T)
    surface = milane.Surface([3, 40])
    surface.write(X)
    with pytest.raises(milane.InvalidArgumentError, match="expected 1 inputs"):
        kernel.bind([surface, surface])


FLEXIBLE = product(batch=3).replace("[3, 40]> x, ", "[?, 40]> x, ").replace("[3, 6]", "[?, 6]")
FLEXIBLE = FLEXIBLE.replace(
    "b) {",
    'b) [FlexibleShapeInformation = tuple<tuple<string, dict<string, tensor<int32, [?]>>>, tuple<string, dict<string, list<tensor<int32, [2]>, ?>>>>((("DefaultShapes", {{"x", [3, 40]}}), ("RangeDims", {{"x", [[1, 6], [40, 40]]}})))] {',
)


def test_all_shapes_of_a_kernel_have_the_same_weights(runtime: milane.Runtime) -> None:
    kernel = runtime.compile_dynamic(FLEXIBLE, 1)
    kernel.write_weight_f32("w", W)
    np.testing.assert_array_equal(kernel(X)["y"], X @ W.T)
    np.testing.assert_array_equal(kernel(X[:1])["y"], X[:1] @ W.T)
    other = kernel.with_shapes({"x": (5, 40)})
    other.write_weight_f32("b", B)
    np.testing.assert_array_equal(kernel(X[:1])["y"], X[:1] @ W.T + B)
    np.testing.assert_array_equal(kernel(X)["y"], X @ W.T + B)


def test_a_call_sees_all_of_an_update_or_nothing(runtime: milane.Runtime) -> None:
    kernel = runtime.compile_dynamic(FLEXIBLE, 1)
    ones, shapes = np.ones((6, 40), np.float32), (1, 3)
    for batch in shapes:
        kernel(X[:batch])  # compiled before it gets busy
    stop, wrong = threading.Event(), list[Any]()

    def write() -> None:
        for step in range(400):
            kernel.write_weight_f32("w", ones * (step % 3))
        stop.set()

    def call(batch: int) -> None:
        x = np.ones((batch, 40), np.float32)
        while not stop.is_set():
            y = kernel(x)["y"]
            if (y != y[0, 0]).any():
                wrong.append(y)

    threads = [threading.Thread(target=f) for f in (write, *(lambda b=b: call(b) for b in shapes))]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_baked_weights_stay_beside_those_that_change(runtime: milane.Runtime) -> None:
    constant = (
        'tensor<fp16, [6]> b = const()[name = string("b"), val = tensor<fp16, [6]>(BLOBFILE(path = '
        'string("@model_path/weights/weight.bin"), offset = uint64(64)))];\n            bool no'
    )
    text = product().replace(", tensor<fp16, [6]> b)", ")").replace("bool no", constant, 1)
    kernel = runtime.compile_dynamic(text, 1, weight_blob=blob.build_fp16_blob(B))
    kernel.write_weight_f32("w", W)
    np.testing.assert_array_equal(kernel(X)["y"], X @ W.T + B)


@pytest.mark.parametrize("n_inputs", [-1, 3, 4])
def test_there_are_weights_behind_the_inputs(runtime: milane.Runtime, n_inputs: int) -> None:
    count = runtime.compile_count
    with pytest.raises(milane.InvalidArgumentError, match=r"below the 3 parameters \(x, w, b\)"):
        runtime.compile_dynamic(product(), n_inputs)
    with pytest.raises(milane.InvalidArgumentError, match='"auto", "inputs" or "packed", got "x"'):
        runtime.compile_dynamic(product(), 1, "x")  # type: ignore[arg-type]
    with pytest.raises(milane.InvalidArgumentError, match="third"):
        runtime.compile_dynamic(product(), 1, function="third")
    assert runtime.compile_count == count


def test_a_flexible_weight_is_refused(runtime: milane.Runtime) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="weights of a fixed shape, got x"):
        runtime.compile_dynamic(FLEXIBLE, 0)


def test_every_parameter_may_be_a_weight(runtime: milane.Runtime) -> None:
    kernel = runtime.compile_dynamic(product(), 0)
    kernel.write_weight_f32("x", X)
    kernel.write_weight_f32("w", W)
    np.testing.assert_array_equal(kernel()["y"], X @ W.T)


# --- weights beside the activations


@pytest.fixture
def side_by_side(runtime: milane.Runtime) -> milane.Kernel:
    made = runtime.compile_dynamic(packed(), 1)
    made.write_weight_f32("w", W.T)
    return made


def result(kernel: milane.Kernel, x: Array) -> Array:
    y: Array = kernel(np.ascontiguousarray(x.T))["y"][0, :, 0].T
    return y


def test_packed_weights_are_behind_the_same_call(side_by_side: milane.Kernel) -> None:
    kernel = side_by_side
    assert (kernel.inputs["x"].shape, kernel.weights["w"].shape) == ((1, 40, 1, 3), (1, 40, 1, 6))
    w = W.T.copy()
    np.testing.assert_array_equal(result(kernel, X), X @ w)
    kernel.write_weight("w", -w[5:7], rows=slice(5, 7))
    w[5:7] *= -1
    np.testing.assert_array_equal(result(kernel, X), X @ w)
    kernel.write_weight_f32(0, np.zeros(40), at=(0, slice(None), 0, 2))
    w[:, 2] = 0
    np.testing.assert_array_equal(result(kernel, 2 * X), 2 * X @ w)
    np.testing.assert_array_equal(kernel.weights["w"].surface.read()[0, :, 0], w)
    with kernel.bind() as request:
        request.eval()
    np.testing.assert_array_equal(kernel.read_output_f32(0)[0, :, 0].T, 2 * X @ w)


def test_packed_activations_are_described_as_they_lie(side_by_side: milane.Kernel) -> None:
    layout = side_by_side.input_layout(0)
    assert (layout.shape, layout.row_stride) == ((1, 40, 1, 3), 64)
    assert layout.strides == side_by_side.inputs["x"].array.strides
    with pytest.raises(milane.UnsupportedError, match="write values instead of bytes"):
        side_by_side.write_input(0, bytes(layout.alloc_size))
    with pytest.raises(milane.UnsupportedError, match="holds the weights as well"):
        side_by_side.bind([milane.Surface([1, 40, 1, 3], "fp32")])


def test_other_programs_are_not_packed(runtime: milane.Runtime) -> None:
    for text, n_inputs in ((product(), 1), (packed(), 0)):
        with pytest.raises(milane.UnsupportedError, match=r"expected one input \[1, in") as caught:
            runtime.compile_dynamic(text, n_inputs, "packed")
        assert "strategy=" in caught.value.hint
    with pytest.raises(milane.InvalidArgumentError, match="below the 1 parameters"):
        runtime.compile_dynamic(packed(), 1, "inputs")


def test_nothing_of_a_kernel_with_weights_stays_behind(ane_runtime: milane.Runtime) -> None:
    if not _testing.available():
        pytest.skip("only the emulation counts")

    def once() -> None:
        for text in (product(), packed(), FLEXIBLE):
            with ane_runtime.compile_dynamic(text, 1) as kernel:
                kernel.weights["w"].surface.fill(1)
                kernel.eval()

    once()
    gc.collect()
    before = _testing.live()
    for _ in range(3):
        once()
    gc.collect()
    assert _testing.live() == before
