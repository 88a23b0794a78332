"""Opening, compiling, evaluating: what users call, and what they get wrong."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import milane
from milane import _testing
from on_device import refused

HEADER = "program(1.3)\n{\n    func main<ios18>("


def program(inputs: str, body: str, outputs: str) -> str:
    """A program with one function."""
    return f"{HEADER}{inputs}) {{\n{body}\n        }} -> ({outputs});\n}}\n"


DOUBLE = program(
    "tensor<fp16, [1, 3, 1, 5]> x",
    '            tensor<fp16, [1, 3, 1, 5]> y = add(x = x, y = x)[name = string("y")];',
    "y",
)
WITH_INFO = DOUBLE.replace(
    "{\n", '[buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})]\n{\n', 1
)
AFFINE = program(
    "tensor<fp16, [2, 4]> x",
    """            tensor<fp16, [4]> w = const()[val = tensor<fp16, [4]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64(64)))];
            tensor<fp16, [2, 4]> y = mul(x = x, y = w)[name = string("y")];""",
    "y",
)
FLEXIBLE = """program(1.3)
{
    func main<ios18>(tensor<fp16, [?, 4]> x) [FlexibleShapeInformation = tuple<tuple<string, dict<string, tensor<int32, [?]>>>, tuple<string, dict<string, list<tensor<int32, [2]>, ?>>>>((("DefaultShapes", {{"x", [1, 4]}}), ("RangeDims", {{"x", [[1, 6], [4, 4]]}})))] {
            tensor<fp16, [?, 4]> y = add(x = x, y = x)[name = string("y")];
        } -> (y);
}
"""


def weights(values: list[float]) -> bytes:
    """A blob file with one fp16 record at offset 64."""
    return milane.blob.build_fp16_blob(np.array(values, np.float16))


# --- opening


def test_auto_says_which_backend_runs_and_why() -> None:
    with milane.open() as runtime:
        assert runtime.backend in ("ane", "host")
        assert runtime.backend in repr(runtime)
        assert runtime.status.count(":") >= 1


def test_environment_overrides_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILANE_BACKEND", "host")
    assert milane.open().backend == "host"


@pytest.mark.skipif(milane.probe().has_ane, reason="this machine has the engine")
def test_ane_elsewhere_is_an_error_that_names_the_host() -> None:
    with pytest.raises(milane.NoANEError, match="host"):
        milane.open("ane")


def test_unknown_backend_is_an_error_that_lists_them() -> None:
    with pytest.raises(milane.InvalidArgumentError, match='"auto", "ane" or "host"'):
        milane.open("gpu")  # type: ignore[arg-type]


def test_probe_tells_the_machine_and_never_raises() -> None:
    info = milane.probe()
    assert info.architecture
    assert isinstance(info.has_ane, bool)


# --- layouts and views


@pytest.mark.parametrize(
    ("width", "size", "stride"),
    [(1, 2, 64), (32, 2, 64), (33, 2, 128), (16, 4, 64), (17, 4, 128), (65, 1, 128)],
)
def test_rows_are_padded_to_64_bytes(width: int, size: int, stride: int) -> None:
    assert milane.row_stride_for(width, size) == stride


def test_layout_gives_device_strides() -> None:
    layout = milane.TensorLayout([1, 3, 2, 5], "fp16")
    assert (layout.channels, layout.height, layout.width) == (3, 2, 5)
    assert (layout.row_stride, layout.plane_stride, layout.alloc_size) == (64, 128, 384)
    assert (layout.logical_elements, layout.logical_bytes) == (30, 60)
    assert layout.strides == (384, 128, 64, 2)


@pytest.mark.parametrize("shape", [[0], [2, -1], [1, 1, 1, 1, 1, 1], [2**40, 2**40]])
def test_impossible_layout_is_refused(shape: list[int]) -> None:
    with pytest.raises(milane.UnsupportedLayoutError):
        milane.TensorLayout(shape)


def test_view_is_zero_copy_strided_and_writable(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(DOUBLE)
    view = kernel.inputs["x"].array
    assert view.strides == (192, 64, 64, 2)
    assert view.flags.writeable
    assert not view.flags.owndata
    view[...] = np.arange(15, dtype=np.float16).reshape(1, 3, 1, 5)
    kernel.eval()
    np.testing.assert_array_equal(kernel.outputs["y"].array.ravel(), 2 * np.arange(15))
    assert kernel.inputs["x"].array is view


def test_view_keeps_the_memory_alive(runtime: milane.Runtime) -> None:
    view = runtime.compile(DOUBLE).inputs["x"].array
    gc.collect()
    view[...] = 7
    assert (view == 7).all()


def test_padding_between_rows_is_never_read(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(DOUBLE)
    raw = np.lib.stride_tricks.as_strided(kernel.inputs["x"].array, (3, 32), (64, 2))
    raw[:] = np.nan
    kernel.inputs["x"].array[...] = 1
    kernel.eval()
    assert (kernel.outputs["y"].array == 2).all()


def test_surface_write_rounds_float32_to_nearest_even() -> None:
    surface = milane.Surface([2, 3])
    values = np.array(
        [[1 + 2.0**-11, 1 + 3 * 2.0**-11, 70000], [2.0**-25, -(2.0**-24), np.nan]], np.float32
    )
    surface.write(values)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(surface.read(), values.astype(np.float16))
    assert surface.read_f32().dtype == np.float32


def test_non_contiguous_array_is_written_by_value() -> None:
    surface = milane.Surface([3, 4], "fp32")
    values = np.arange(48, dtype=np.float32).reshape(4, 12)[::1, ::4].T
    assert not values.flags.c_contiguous
    surface.write(values)
    np.testing.assert_array_equal(surface.read(), values)


@pytest.mark.parametrize(
    ("dtype", "values", "error"),
    [
        ("fp16", np.zeros((2, 2), np.int32), milane.DTypeError),
        ("int32", np.zeros((2, 2), np.float32), milane.DTypeError),
        ("bool", np.zeros((2, 2), np.int32), milane.DTypeError),
        ("int8", np.full((2, 2), 300), milane.InvalidArgumentError),
        ("fp16", np.zeros((2, 3), np.float32), milane.InvalidArgumentError),
        ("fp16", np.zeros((2, 2), np.complex64), milane.DTypeError),
    ],
)
def test_array_that_would_lose_meaning_is_refused(
    dtype: str, values: np.ndarray, error: type[Exception]
) -> None:
    with pytest.raises(error, match="expected .*, got"):
        milane.Surface([2, 2], dtype).write(values)


# --- compiling


def test_text_bytes_program_and_file_compile_alike(runtime: milane.Runtime, tmp_path: Path) -> None:
    path = tmp_path / "model.mil"
    path.write_text(DOUBLE)
    x = np.ones((1, 3, 1, 5), np.float16)
    for source in (DOUBLE, DOUBLE.encode(), milane.mil.parse(DOUBLE), path, str(path)):
        # Without the system's cache, whose programs do not count.
        assert (runtime.compile(source, use_cache=False)(x)["y"] == 2).all()
    assert runtime.compile_count == 5


def test_weights_come_from_bytes_files_or_the_models_folder(
    runtime: milane.Runtime, tmp_path: Path
) -> None:
    blob = weights([1, 2, 3, 4])
    folder = tmp_path / "model"
    (folder / "weights").mkdir(parents=True)
    (folder / "model.mil").write_text(AFFINE)
    (folder / "weights" / "weight.bin").write_bytes(blob)
    file = folder / "weights" / "weight.bin"
    path = "@model_path/weights/weight.bin"
    kernels = [
        runtime.compile(AFFINE, weight_blob=blob),
        runtime.compile(AFFINE, weight_files={path: blob}),
        runtime.compile(AFFINE, weight_files={path: file}),
        runtime.compile(AFFINE, weight_files=[milane.WeightFile(path, blob)]),
        runtime.compile(folder / "model.mil"),
        runtime.compile(milane.CompileOptions(mil_text=AFFINE, weight_blob=blob)),
    ]
    for kernel in kernels:
        np.testing.assert_array_equal(kernel(np.ones((2, 4)))["y"], [[1, 2, 3, 4]] * 2)


@pytest.mark.parametrize("text", [DOUBLE, WITH_INFO], ids=["bare", "with buildInfo"])
def test_mlmodelc_directory_compiles(runtime: milane.Runtime, tmp_path: Path, text: str) -> None:
    package = tmp_path / "double.mlmodelc"
    package.mkdir()
    (package / "model.mil").write_text(text)
    x = np.ones((1, 3, 1, 5))
    assert runtime.compile(package)(x)["y"].sum() == 30
    # A package is handed over as it is: the device wants all of its form.
    if not refused(runtime, package, model_type=milane.ModelType.PACKAGE, package_path=package):
        kind = milane.ModelType.PACKAGE
        source = milane.CompileOptions(model_type=kind, package_path=package)
        assert runtime.compile(source)(x)["y"].sum() == 30


def test_one_function_of_several_is_picked(runtime: milane.Runtime) -> None:
    one = DOUBLE[DOUBLE.index("    func") : DOUBLE.rindex("}")]
    text = (
        "program(1.3)\n{\n" + one.replace("main", "first") + one.replace("main", "second") + "}\n"
    )
    assert runtime.compile(text, function="second").function == "second"
    with pytest.raises(milane.InvalidArgumentError, match="first, second"):
        runtime.compile(text)
    with pytest.raises(milane.InvalidArgumentError, match="third"):
        runtime.compile(text, function="third")


def test_missing_weight_file_is_named_with_its_place(
    runtime: milane.Runtime, tmp_path: Path
) -> None:
    with pytest.raises(milane.ModelFileError, match="weight.bin") as caught:
        runtime.compile(AFFINE)
    assert caught.value.line == 4
    path = tmp_path / "model.mil"
    path.write_text(AFFINE)
    with pytest.raises(milane.ModelFileError, match="weights/weight.bin"):
        runtime.compile(path)
    with pytest.raises(milane.ModelFileError, match="nowhere"):
        runtime.compile(tmp_path / "nowhere.mil")


@pytest.mark.parametrize("path", ["@model_path/../secret.bin", "/etc/passwd", "../secret.bin"])
def test_weight_path_outside_the_model_is_refused(
    runtime: milane.Runtime, tmp_path: Path, path: str
) -> None:
    file = tmp_path / "model.mil"
    file.write_text(AFFINE.replace("@model_path/weights/weight.bin", path))
    with pytest.raises(milane.ModelFileError):
        runtime.compile(file)
    with pytest.raises(milane.InvalidArgumentError, match="@model_path"):
        runtime.compile(AFFINE, weight_files={path: b""})


def test_same_weight_path_twice_with_other_content_is_refused(runtime: milane.Runtime) -> None:
    blob, other = weights([1, 2, 3, 4]), weights([4, 3, 2, 1])
    path = "@model_path/weights/weight.bin"
    assert runtime.compile(AFFINE, weight_blob=blob, weight_files={path: blob})
    with pytest.raises(milane.InvalidArgumentError, match="twice"):
        runtime.compile(AFFINE, weight_blob=blob, weight_files={path: other})


def test_blob_that_is_not_what_the_program_says_is_refused(runtime: milane.Runtime) -> None:
    with pytest.raises(milane.BlobError, match=r"expected 4 x fp16, got 3 x fp16"):
        runtime.compile(AFFINE, weight_blob=weights([1, 2, 3]))
    with pytest.raises(milane.BlobError, match="offset 64"):
        runtime.compile(AFFINE, weight_blob=weights([1, 2, 3, 4])[:130])


def test_operation_without_implementation_is_refused_with_its_place(
    runtime: milane.Runtime,
) -> None:
    text = program(
        "tensor<fp32, [4]> x",
        '            tensor<int32, [?, 1]> y = non_zero(x = x)[name = string("y")];',
        "y",
    )
    if refused(runtime, text):
        return
    with pytest.raises(milane.UnsupportedOpError, match="non_zero") as caught:
        runtime.compile(text)
    assert (caught.value.line, caught.value.column) == (4, 39)
    assert isinstance(caught.value, NotImplementedError)


def test_unknown_option_lists_the_known_ones(runtime: milane.Runtime) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="numerics"):
        runtime.compile(DOUBLE, numeric="fp32")
    with pytest.raises(milane.InvalidArgumentError, match='"fp16", "fp32", "ane" or "bf16"'):
        runtime.compile(DOUBLE, numerics="fp8")
    with pytest.raises(milane.InvalidArgumentError, match="mac_ceiling"):
        runtime.compile(DOUBLE, numerics="ane", quirks=["no_such_rule"])
    with pytest.raises(milane.InvalidArgumentError, match="neither text nor a path"):
        runtime.compile()


def test_closed_runtime_refuses_to_compile_and_kernels_live_on(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(DOUBLE)
    runtime.close()
    runtime.close()
    with pytest.raises(milane.ClosedError):
        runtime.compile(DOUBLE)
    kernel.eval()


def test_editing_a_program_does_not_change_its_kernel(runtime: milane.Runtime) -> None:
    source = milane.mil.parse(FLEXIBLE)
    kernel = runtime.compile(source)
    source["main"].operations[0].type = "sub"
    assert (kernel(np.ones((3, 4)))["y"] == 2).all()


# --- calling


def test_call_takes_names_or_positions(runtime: milane.Runtime) -> None:
    text = program(
        "tensor<fp16, [2]> b, tensor<fp16, [2]> a",
        '            tensor<fp16, [2]> y = sub(x = a, y = b)[name = string("y")];',
        "y",
    )
    kernel = runtime.compile(text)
    assert list(kernel.inputs) == ["b", "a"]
    np.testing.assert_array_equal(kernel(a=[3.0, 4.0], b=[1.0, 1.0])["y"], [2, 3])
    np.testing.assert_array_equal(kernel([1.0, 1.0], [3.0, 4.0])["y"], [2, 3])
    np.testing.assert_array_equal(kernel([1.0, 1.0], a=[3.0, 4.0])["y"], [2, 3])


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "got none for x"),
        ((), {"z": 0}, "inputs among x, got z"),
        ((0, 0), {}, "at most 1 inputs"),
        ((0,), {"x": 0}, "x once"),
        ((np.zeros((1, 3, 5)),), {}, r"expected shape \[1, 3, 1, 5\], got \[1, 3, 5\]"),
        (
            (np.zeros((1, 3, 1, 5), int),),
            {},
            "input x: write: expected an array of fp16, got int64",
        ),
    ],
)
def test_wrong_call_says_what_was_expected(
    runtime: milane.Runtime, args: tuple[object, ...], kwargs: dict[str, object], message: str
) -> None:
    with pytest.raises((milane.InvalidArgumentError, milane.DTypeError), match=message):
        runtime.compile(DOUBLE)(*args, **kwargs)  # type: ignore[arg-type]


def test_unknown_port_lists_the_known_ones(runtime: milane.Runtime) -> None:
    with pytest.raises(KeyError, match="inputs x"):
        runtime.compile(DOUBLE).inputs["y"]


def test_outputs_are_new_arrays(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(DOUBLE)
    first = kernel(np.ones((1, 3, 1, 5)))["y"]
    kernel(np.zeros((1, 3, 1, 5)))
    assert (first == 2).all()


SEVERAL_OUTPUTS = """            tensor<fp16, [3]> c = const()[val = tensor<fp16, [3]>([1, 2, 3])];
            tensor<fp16, [3]> y = add(x = x, y = c)[name = string("y")];
            tensor<fp16, [3]> z = identity(x = y)[name = string("z")];
            tensor<fp16, [3, 1]> v = reshape(x = y, shape = tensor<int32, [2]>([3, 1]))[name = string("v")];"""


@pytest.mark.parametrize(
    "outputs",
    ["x, c, y, z, v", "c, y, z, v"],
    ids=["an input, a constant and views", "a constant and views"],
)
def test_output_that_is_an_input_a_constant_or_returned_twice(
    runtime: milane.Runtime, outputs: str
) -> None:
    text = program("tensor<fp16, [3]> x", SEVERAL_OUTPUTS, outputs)
    if refused(runtime, text):
        return
    out = runtime.compile(text)(x=[10.0, 20.0, 30.0])
    want = {"x": [10, 20, 30], "c": [1, 2, 3], "y": [11, 22, 33], "z": [11, 22, 33]}
    want["v"] = [[11], [22], [33]]
    assert list(out) == outputs.split(", ")
    for name, value in out.items():
        np.testing.assert_array_equal(value, want[name])


# --- flexible shapes


def test_flexible_input_starts_at_its_default_and_takes_others(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(FLEXIBLE, use_cache=False)
    assert kernel.inputs["x"].shape == (1, 4)
    assert kernel(np.ones((3, 4)))["y"].shape == (3, 4)
    before = runtime.compile_count
    assert kernel(np.ones((3, 4)))["y"].shape == (3, 4)
    assert runtime.compile_count == before == 2
    assert kernel.with_shapes({"x": (3, 4)}) is kernel.with_shapes({"x": (3, 4)})
    assert runtime.compile(FLEXIBLE, shapes={"x": (2, 4)}).inputs["x"].shape == (2, 4)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"x": (7, 4)}, r"axis 0 in \[1, 6\]"),
        ({"x": (2, 5)}, r"fits \[\?, 4\]"),
        ({"y": (1,)}, "got y"),
    ],
)
def test_shape_the_program_does_not_allow_is_refused(
    runtime: milane.Runtime, shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(milane.InvalidArgumentError, match=message):
        runtime.compile(FLEXIBLE, shapes=shapes)


def test_enumerated_shapes_allow_no_other(runtime: milane.Runtime) -> None:
    info = 'EnumeratedShapes", {{"543d0f94", {{"x", [1, 4]}}}, {"12ab", {{"x", [5, 4]}}}}))'
    start, end = FLEXIBLE.index("[FlexibleShape"), FLEXIBLE.index(")))]") + 4
    kind = "tuple<tuple<string, dict<string, tensor<int32, [?]>>>, tuple<string, dict<string, dict<string, tensor<int32, [?]>>>>>"
    text = (
        FLEXIBLE[:start]
        + f'[FlexibleShapeInformation = {kind}((("DefaultShapes", {{{{"x", [1, 4]}}}}), ("{info})]'
        + FLEXIBLE[end:]
    )
    assert runtime.compile(text, shapes={"x": (5, 4)}).inputs["x"].shape == (5, 4)
    with pytest.raises(milane.InvalidArgumentError, match=r"\[1, 4\] or \[5, 4\]"):
        runtime.compile(text, shapes={"x": (2, 4)})


def test_flexible_input_without_default_asks_for_a_shape(runtime: milane.Runtime) -> None:
    text = FLEXIBLE[: FLEXIBLE.index(" [Flex")] + FLEXIBLE[FLEXIBLE.index(")))]") + 4 :]
    with pytest.raises(milane.InvalidArgumentError, match="shapes="):
        runtime.compile(text)
    assert runtime.compile(text, shapes={"x": (9, 4)}).outputs["y"].shape == (9, 4)


# --- states

COUNTER = """program(1.3)
{
    func main<ios18>(state<tensor<fp16, [3]>> total, tensor<fp16, [3]> x) {
            tensor<fp16, [3]> old = read_state(input = total)[name = string("old")];
            tensor<fp16, [3]> new = add(x = old, y = x)[name = string("new")];
            write_state(data = new, input = total)[name = string("w")];
            tensor<fp16, [3]> now = read_state(input = total)[name = string("now")];
            tensor<fp16, [3]> both = sub(x = now, y = old)[name = string("both")];
        } -> (both, now);
}
"""


def test_state_keeps_its_value_and_a_read_keeps_what_it_read(runtime: milane.Runtime) -> None:
    if refused(runtime, COUNTER):
        return
    kernel = runtime.compile(COUNTER)
    for i in range(1, 4):
        out = kernel(x=[1.0, 2.0, 3.0])
        np.testing.assert_array_equal(out["now"], np.array([1, 2, 3]) * i)
        np.testing.assert_array_equal(out["both"], [1, 2, 3])
    np.testing.assert_array_equal(kernel.states["total"].array, [3, 6, 9])
    kernel.states["total"].array[...] = 0
    np.testing.assert_array_equal(kernel(x=[1.0, 2.0, 3.0])["now"], [1, 2, 3])


def test_state_is_shared_by_the_shapes_of_one_kernel(runtime: milane.Runtime) -> None:
    text = (
        COUNTER.replace("tensor<fp16, [3]> x", "tensor<fp16, [?]> y")
        .replace(
            "            tensor<fp16, [3]> old",
            '            tensor<fp16, [1]> s = reduce_sum(x = y, axes = tensor<int32, [1]>([0]), keep_dims = bool(true))[name = string("s")];\n'
            "            tensor<fp16, [3]> old",
        )
        .replace("y = x)", "y = s)")
    )
    if refused(runtime, text, shapes={"y": (2,)}):
        return
    kernel = runtime.compile(text, shapes={"y": (2,)})
    kernel([1.0, 1.0])
    np.testing.assert_array_equal(kernel([1.0, 1.0, 1.0])["now"], [5, 5, 5])
    np.testing.assert_array_equal(kernel.states["total"].array, [5, 5, 5])
    assert kernel.with_shapes({"y": (2,)}) is kernel
    kernel.close()
    with pytest.raises(milane.ClosedError):
        kernel.with_shapes({"y": (3,)})


# --- life cycle and threads


def test_closed_kernel_raises_and_its_views_stay_valid(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(DOUBLE)
    view = kernel.outputs["y"].array
    with kernel:
        kernel(np.ones((1, 3, 1, 5)))
    kernel.close()
    assert kernel.closed
    with pytest.raises(milane.ClosedError, match="closed"):
        kernel.eval()
    assert (view == 2).all()


def _matmul(size: int) -> str:
    t = f"tensor<fp16, [{size}, {size}]>"
    return program(
        f"{t} x",
        f'            {t} y = matmul(x = x, y = x, transpose_x = bool(false), transpose_y = bool(false))[name = string("y")];',
        "y",
    )


def _refused_to_close(kernel: milane.Kernel) -> bool:
    """Close a kernel that another thread keeps evaluating; whether that was refused at first."""
    inside, failures = threading.Event(), []

    def evaluate() -> None:
        try:
            while True:
                inside.set()
                kernel.eval()
        except milane.ClosedError:
            pass
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=evaluate)
    thread.start()
    inside.wait()
    time.sleep(0.002)  # past the beginning of an evaluation, which takes longer
    refused = 0
    while not kernel.closed:
        try:
            kernel.close()
        except milane.EvalError:
            refused += 1
    thread.join()
    assert not failures
    return refused > 0


def test_closing_while_another_thread_evaluates_is_an_error(runtime: milane.Runtime) -> None:
    # Which thread comes first is the system's choice: some attempt meets a running evaluation.
    assert any(_refused_to_close(runtime.compile(_matmul(1024))) for _ in range(50))


def test_many_threads_share_kernels_without_wrong_numbers(runtime: milane.Runtime) -> None:
    sizes = (3, 33, 130)
    kernels = [runtime.compile(_matmul(n)) for n in sizes]
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(k.inputs["x"].shape).astype(np.float16) for k in kernels]
    expected = [k(x)["y"] for k, x in zip(kernels, inputs, strict=True)]
    failures: list[str] = []

    def work(seed: int) -> None:
        for i in range(30):
            n = (seed + i) % len(kernels)
            if i % 10 != 0:
                kernels[n].eval()  # inputs already there
            elif not np.array_equal(
                runtime.compile(_matmul(sizes[n]))(inputs[n])["y"], expected[n]
            ):
                failures.append(f"thread {seed}, round {i}")

    for kernel, x in zip(kernels, inputs, strict=True):
        kernel.inputs["x"].array[...] = x
    threads = [threading.Thread(target=work, args=(s,)) for s in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for kernel, y in zip(kernels, expected, strict=True):  # read when nobody writes any more
        np.testing.assert_array_equal(kernel.outputs["y"].array, y)
    assert not failures


def test_each_call_of_a_shared_kernel_returns_its_own_results(runtime: milane.Runtime) -> None:
    kernel, flexible = runtime.compile(_matmul(96)), runtime.compile(FLEXIBLE)
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((96, 96)).astype(np.float16) for _ in range(8)]
    expected = [kernel(x)["y"] for x in inputs]
    failures: list[str] = []

    def work(seed: int) -> None:
        for i in range(60):
            if not np.array_equal(kernel(inputs[seed])["y"], expected[seed]):
                failures.append(f"thread {seed}, round {i}")
            if not (flexible(np.full((1 + i % 4, 4), float(seed)))["y"] == 2 * seed).all():
                failures.append(f"thread {seed}, round {i}, flexible")

    threads = [threading.Thread(target=work, args=(s,)) for s in range(len(inputs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_calls_of_one_kernel_do_not_mix_their_inputs(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(DOUBLE)
    failures: list[float] = []

    def work(value: float) -> None:
        x = np.full((1, 3, 1, 5), value, np.float16)
        for _ in range(200):
            if not (kernel(x)["y"] == 2 * value).all():
                failures.append(value)

    threads = [threading.Thread(target=work, args=(float(v),)) for v in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_kernel_without_users_is_freed_without_the_collector(runtime: milane.Runtime) -> None:
    gc.collect()
    gc.disable()
    try:
        kernel = runtime.compile(DOUBLE)
        kernel(np.ones((1, 3, 1, 5)))
        gone = weakref.ref(kernel._session)
        del kernel
        assert gone() is None
    finally:
        gc.enable()


def test_results_do_not_depend_on_the_number_of_threads(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(_matmul(200))
    x = np.random.default_rng(1).standard_normal((200, 200)).astype(np.float16)
    before = milane.num_threads()
    try:
        results = []
        for n in (1, 2, 5):
            milane.set_num_threads(n)
            results.append(kernel(x)["y"])
    finally:
        milane.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    with pytest.raises(milane.InvalidArgumentError):
        milane.set_num_threads(0)


def test_stats_give_wall_time_and_one_entry_per_step(host_runtime: milane.Runtime) -> None:
    kernel = host_runtime.compile(DOUBLE)
    stats = kernel.eval_with_stats(per_op=True)
    assert stats.wall_ns > 0
    assert stats.hw_execution_ns is None
    assert [s.op for s in stats.steps] == ["add"]
    assert kernel.eval_with_stats().steps == []


def test_stats_of_the_device_give_wall_time_and_no_steps(ane_runtime: milane.Runtime) -> None:
    stats = ane_runtime.compile(DOUBLE).eval_with_stats(per_op=True)
    assert stats.wall_ns > 0
    assert stats.hw_execution_ns is None  # not asked for, so nobody counted
    assert stats.steps == []


# --- what counts as a compile


def test_a_budget_ends_compiles_and_says_how_many_there_were(backend: str) -> None:
    with milane.open(backend, compile_budget=2) as runtime:  # type: ignore[arg-type]
        runtime.reset_compile_count()
        for size in (2, 3):
            runtime.compile(_matmul(size), use_cache=False)
        with pytest.raises(milane.CompileBudgetExhaustedError, match="2"):
            runtime.compile(_matmul(4), use_cache=False)
        assert runtime.compile_count == runtime.compile_budget == 2
        runtime.reset_compile_count()
        assert runtime.compile(_matmul(4), use_cache=False)
    with milane.open(backend) as runtime:  # type: ignore[arg-type]
        assert runtime.compile_budget == (119 if backend == "ane" else None)


def test_a_refused_compile_counts_and_a_cached_one_does_not(ane_runtime: milane.Runtime) -> None:
    if not _testing.available():
        pytest.skip("what a real device has compiled before is not known")
    _testing.reset()
    for _ in range(3):
        assert (ane_runtime.compile(DOUBLE)(np.ones((1, 3, 1, 5)))["y"] == 2).all()
    assert ane_runtime.compile_count == 1
    assert refused(ane_runtime, COUNTER)
    assert ane_runtime.compile_count == 2


def test_kernels_for_other_shapes_go_with_the_last_reference(runtime: milane.Runtime) -> None:
    gc.disable()  # without the collector: there must be no cycle
    try:
        kernel = runtime.compile(FLEXIBLE)
        others = [kernel.with_shapes({"x": (n, 4)}) for n in (2, 3)]
        gone = [weakref.ref(k) for k in (kernel, *others)]
        assert others[0] is kernel.with_shapes({"x": (2, 4)})
        others[1].close()
        again = kernel.with_shapes({"x": (3, 4)})
        assert not again.closed
        del kernel, others, again
        assert [ref() for ref in gone] == [None, None, None]
    finally:
        gc.enable()


def test_diagnostics_are_the_devices_and_none_on_the_host(
    runtime: milane.Runtime, backend: str
) -> None:
    with runtime.compile(DOUBLE) as kernel:
        told = kernel.diagnostics
        assert isinstance(told, milane.Diagnostics)
        if backend == "host":
            assert told.model_queue_depth is None
            assert told.program_class is None
        else:
            assert told.model_queue_depth is not None
            assert told.model_queue_depth > 0
            assert told.program_class
    with pytest.raises(milane.ClosedError):
        _ = kernel.diagnostics
