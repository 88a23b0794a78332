"""Compressed weights: against coremltools' own expansion, Apple's programs, and the host engine."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import milane
from milane import blob, mil
from milane.blob import quantize
from milane.blob.quantize import AffineWeight, Constexpr, Operand, PaletteWeight, SparseWeight
from milane.blob.quantize.bits import pack_bits, unpack_bits
from milane.errors import DTypeError, InvalidArgumentError, UnsupportedError

ROOT = Path(__file__).resolve().parent
CORPUS = Path(os.environ.get("MILANE_CORPUS", ROOT.parents[1] / "shared" / "corpus")) / "gen"

Weight = AffineWeight | PaletteWeight | SparseWeight


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


W = weights(16, 32, 3, 3)
# Every way to compress it, and the forms that can say the result.
BOTH, NEW = ("ios16", "ios18"), ("ios18",)
WAYS: dict[str, tuple[Callable[[], Weight], Sequence[str]]] = {
    "int8 per tensor": (lambda: quantize.affine(W, axis=None), BOTH),
    "int8 per output channel": (lambda: quantize.affine(W), BOTH),
    "int8 per input channel": (lambda: quantize.affine(W, axis=1), BOTH),
    "int8 with a zero point": (lambda: quantize.affine(W, symmetric=False), BOTH),
    "int8 with fp32 scales": (lambda: quantize.affine(W, scale_dtype="fp32"), BOTH),
    "uint8 per tensor": (lambda: quantize.affine(W, "uint8", axis=None), BOTH),
    "uint8 per channel": (lambda: quantize.affine(W, "uint8"), BOTH),
    "uint8 around its middle": (lambda: quantize.affine(W, "uint8", symmetric=True), BOTH),
    "int8 in blocks": (lambda: quantize.affine(W, block_size=8), NEW),
    "int4 in blocks": (lambda: quantize.affine(W, "int4", block_size=16), NEW),
    "int4 per channel": (lambda: quantize.affine(W, "int4"), NEW),
    "uint4 in blocks": (lambda: quantize.affine(W, "uint4", block_size=32), NEW),
    **{
        f"a palette of {b} bits": ((lambda b=b: quantize.palettize(W, b)), BOTH)
        for b in range(1, 9)
    },
    "a palette of fp32": (lambda: quantize.palettize(W, 4, dtype="fp32"), BOTH),
    "palettes by output channels": (lambda: quantize.palettize(W, 4, group_size=4), NEW),
    "palettes by input channels": (lambda: quantize.palettize(W, 3, axis=1, group_size=8), NEW),
    "half of the values": (lambda: quantize.sparsify(W, sparsity=0.5), BOTH),
    "values above a threshold": (lambda: quantize.sparsify(W, threshold=1.5, dtype="fp32"), BOTH),
}
CASES = [(name, form) for name, (_, forms) in WAYS.items() for form in forms]
# The forms of iOS 16 stay valid later.
PROGRAMS = [(*case, dialect) for case in CASES for dialect in BOTH if dialect >= case[1]]
# coremltools centres unsigned integers one lower.
MODES = [("int8", True), ("int4", True), *((d, False) for d in ("int8", "uint8", "int4", "uint4"))]


# --- as programs


def literal(operand: Operand) -> str:
    """Inline text of an operand without blobs."""
    values = [
        v.hex() if isinstance(v, float) else str(v) for v in operand.values.reshape(-1).tolist()
    ]
    dims = ", ".join(map(str, operand.shape))
    text = f"[{', '.join(values)}]" if operand.shape else values[0]
    return f"tensor<{operand.dtype}, [{dims}]>({text})"


def program(expr: Constexpr, offsets: dict[str, int], dialect: str) -> str:
    """A program that returns the weight plus an input of zeros, in the weight's shape."""
    new = dialect == "ios18"
    string, number = ("string", "uint64") if new else ("tensor<string, []>", "tensor<uint64, []>")

    def value(operand: Operand) -> str:
        if operand.inline:
            return literal(operand)
        dims = ", ".join(map(str, operand.shape))
        place = f'path = {string}("@model_path/weights/weight.bin"), offset = {number}({offsets[operand.name]})'
        return f"tensor<{operand.dtype}, [{dims}]>(BLOBFILE({place}))"

    listed = ", ".join(f"{o.name} = {value(o)}" for o in expr.operands)
    name = f'name = {string}("w")'
    call = f"()[{listed}, {name}]" if expr.form == "ios16" else f"({listed})[{name}]"
    tensor = f"tensor<{expr.dtype}, [{', '.join(map(str, expr.shape))}]>"
    return (
        f"program({'1.3' if new else '1.0'})\n{{\n    func main<{dialect}>({tensor} x) {{\n"
        f"            {tensor} w = {expr.op}{call};\n"
        f'            {tensor} y = add(x = w, y = x)[name = {string}("y")];\n'
        "        } -> (y);\n}\n"
    )


def bits(values: np.ndarray) -> np.ndarray:
    return values.view({2: np.uint16, 4: np.uint32}[values.itemsize])


@pytest.mark.parametrize(("name", "form", "dialect"), PROGRAMS)
def test_the_host_expands_a_weight_to_its_dequantized_bits(
    host_runtime: milane.Runtime, name: str, form: str, dialect: str
) -> None:
    weight = WAYS[name][0]()
    expr = weight.constexpr(form)
    writer = blob.BlobWriter()
    text = program(expr, expr.write(writer), dialect)
    with host_runtime.compile(text, weight_blob=writer.build()) as kernel:
        got = kernel(np.full(expr.shape, -0.0))["y"]  # adding -0 changes no bit
    want = weight.dequantize()
    assert want.dtype == {"fp16": np.float16, "fp32": np.float32}[expr.dtype]
    np.testing.assert_array_equal(bits(got.astype(want.dtype)), bits(want))


@pytest.mark.parametrize(("name", "form"), CASES)
def test_a_weight_survives_the_way_through_a_file(name: str, form: str) -> None:
    weight = WAYS[name][0]()
    expr = weight.constexpr(form)
    assert [o.name for o in expr.operands] == sorted(o.name for o in expr.operands)
    writer = blob.BlobWriter()
    offsets = expr.write(writer)
    file = blob.read(writer.build())
    assert blob.check(writer.build()) == []
    assert sum(r.nbytes for r in file.records()) == expr.nbytes
    read = [
        o
        if o.inline
        else Operand(o.name, o.dtype, record_array(file, o.dtype, offsets[o.name], o.shape))
        for o in expr.operands
    ]
    again = quantize.unpack(expr.op, read)
    np.testing.assert_array_equal(bits(again.dequantize()), bits(weight.dequantize()))


def record_array(file: blob.BlobFile, dtype: str, offset: int, shape: Sequence[int]) -> np.ndarray:
    record = file.record_at(offset)
    assert record.dtype == dtype
    return record.array.reshape(shape)


# --- coremltools' value inference as witness


@pytest.fixture(scope="module")
def expand() -> Callable[[Constexpr], np.ndarray]:
    """What coremltools expands an operation to."""
    pytest.importorskip(
        "coremltools", reason="needs coremltools, which expands constexpr operations"
    )
    defs = "coremltools.converters.mil.mil.ops.defs"
    old = importlib.import_module(f"{defs}.iOS16.constexpr_ops")
    new = importlib.import_module(f"{defs}.iOS18.compression")

    def run(expr: Constexpr) -> np.ndarray:
        given = {o.name: o.values for o in expr.operands}
        if expr.op == "constexpr_blockwise_shift_scale":
            given.setdefault("offset", None)
            if given["offset"] is not None:  # it subtracts in the integers' own type
                given["offset"] = given["offset"].astype(np.float32)
        if expr.op == "constexpr_lut_to_dense" and expr.form == "ios18":
            given["vector_axis"] = None
        if expr.form == "ios16":
            for n in given.keys() & {"axis", "shape"}:
                given[n] = given[n].tolist()
        op = getattr(old if expr.form == "ios16" else new, expr.op)
        return np.asarray(op.decompress(**given))

    return run


@pytest.mark.parametrize(("name", "form"), CASES)
def test_coremltools_expands_a_weight_to_the_same_values(
    expand: Callable[[Constexpr], np.ndarray], name: str, form: str
) -> None:
    weight = WAYS[name][0]()
    want = weight.dequantize()
    got = expand(weight.constexpr(form)).astype(want.dtype).reshape(want.shape)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("dtype", "symmetric"), MODES)
def test_integers_are_those_of_coremltools_but_for_the_rounding_of_the_scale(
    dtype: str, symmetric: bool
) -> None:
    reason = "needs coremltools, which quantises weights"
    pytest.importorskip("coremltools", reason=reason)
    utils = pytest.importorskip("coremltools.optimize._utils", reason=reason)
    nbits, signed = int(dtype[-1]), dtype.startswith("int")
    mode = "LINEAR_SYMMETRIC" if symmetric else "LINEAR"
    w = weights(64, 96)
    data, scale, zero = utils.quantize_weight(w, (1,), nbits, signed, mode, np.int32)
    mine = quantize.affine(w, dtype, symmetric=symmetric)
    np.testing.assert_allclose(mine.scale.ravel(), scale, rtol=2**-11)  # ours is a half
    # A scale off by 2^-11 moves weight / scale by at most 255 · 2^-11 < 1: one integer, seldom.
    steps = mine.data.astype(np.int32)
    if not symmetric:
        assert np.abs(mine.zero_point.ravel() - zero).max() <= 1
        steps, data = steps - mine.zero_point, data - zero[:, None]
    off = np.abs(steps - data)
    assert off.max() <= 1
    assert off.mean() < 0.05


# --- Apple's programs


def compressed_programs() -> list[Path]:
    folders = [
        *(ROOT / "programs" / "gen").glob("*__decompressed"),
        *CORPUS.glob("*__decompressed"),
    ]
    unique = {f.name: f for f in folders}
    return [f.with_name(f.name.removesuffix("__decompressed")) for _, f in sorted(unique.items())]


def value_array(file: blob.BlobFile, value: mil.Value) -> np.ndarray:
    shape = [int(d) for d in value.type.shape]
    if value.is_blob:
        return record_array(file, value.type.dtype, value.blob_offset or 0, shape)
    return np.asarray(value.to_numpy()).reshape(shape)


def operands_of(file: blob.BlobFile, operation: mil.Operation) -> list[Operand]:
    """The operands of a constexpr operation of a program: attributes (iOS 16) or arguments."""
    given = {n: v for n, (v,) in operation.inputs.items()} | operation.attributes
    return [
        Operand(name, value.type.dtype, value_array(file, value), inline=not value.is_blob)
        for name, value in given.items()
        if name != "name"
    ]


@pytest.mark.parametrize("folder", compressed_programs(), ids=lambda f: f.name)
def test_a_program_of_apples_tools_unpacks_to_its_decompressed_twin(
    folder: Path, host_runtime: milane.Runtime
) -> None:
    twin = folder.with_name(folder.name + "__decompressed")
    file, twin_file = (blob.read(f / "weights" / "weight.bin") for f in (folder, twin))
    plain = mil.load(twin / "model.mil").functions[0]
    unpacked = 0
    for operation in mil.load(folder / "model.mil").functions[0].operations:
        if not operation.type.startswith("constexpr_"):
            continue
        got = quantize.unpack(operation.type, operands_of(file, operation))
        constant = plain.find(operation.outputs[0].name)
        want = value_array(twin_file, constant.attributes["val"])
        np.testing.assert_array_equal(bits(got.dequantize()), bits(want))
        form = "ios16" if operation.attributes.keys() - {"name"} else "ios18"
        again = got.constexpr(form)  # and as the same operands again, byte for byte
        for operand in operands_of(file, operation):
            np.testing.assert_array_equal(again[operand.name].values, operand.values)
            assert again[operand.name].dtype == operand.dtype
        unpacked += 1
    assert unpacked > 0


@pytest.mark.parametrize("folder", compressed_programs(), ids=lambda f: f.name)
def test_a_program_of_apples_tools_computes_what_its_twin_does(
    folder: Path, host_runtime: milane.Runtime
) -> None:
    results = []
    for path in (folder, folder.with_name(folder.name + "__decompressed")):
        with host_runtime.compile(path / "model.mil") as kernel:
            inputs = {n: weights(*port.shape, seed=7) for n, port in kernel.inputs.items()}
            results.append(kernel(**inputs))
    for name, got in results[0].items():
        np.testing.assert_array_equal(bits(got), bits(results[1][name]))


# --- how close


shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
scalings = st.sampled_from([1e-7, 1e-3, 1.0, 300.0, 15000.0])


@given(
    shapes, scalings, st.sampled_from(["int8", "uint8", "int4", "uint4"]), st.booleans(), st.data()
)
def test_every_element_lies_within_half_a_scale(
    shape: tuple[int, ...], size: float, dtype: str, symmetric: bool, data: st.DataObject
) -> None:
    w = weights(*shape, seed=data.draw(st.integers(0, 99))) * np.float32(size)
    w = np.clip(w, -65504, 65504)
    axis = data.draw(st.sampled_from([None, *range(len(shape))]))
    held = data.draw(st.sampled_from(["fp16", "fp32"]))
    got = quantize.affine(w, dtype, axis=axis, symmetric=symmetric, scale_dtype=held)
    half_up = np.finfo(got.scale.dtype).eps * np.abs(w) / 2 + 2.0**-25  # its own rounding
    step = np.broadcast_to(got.scale, w.shape).astype(np.float64)
    assert np.all(np.abs(got.dequantize() - w.astype(np.float64)) <= 0.5001 * step + half_up)
    low = {"int8": -128, "uint8": 0, "int4": -8, "uint4": 0}[dtype]
    assert low <= got.data.min() <= got.data.max() < low + (1 << int(dtype[-1]))


@given(st.integers(1, 8), shapes, st.data())
def test_a_palette_of_few_values_is_lossless(
    bits_: int, shape: tuple[int, ...], data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    few = rng.standard_normal(1 << bits_).astype(np.float16)
    w = rng.choice(few, shape)
    np.testing.assert_array_equal(bits(quantize.palettize(w, bits_).dequantize()), bits(w))


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(0, 99))
def test_a_palette_is_a_fixed_point_of_lloyds_iteration(bits_: int, seed: int) -> None:
    w = weights(700, seed=seed)
    got = quantize.palettize(w, bits_, dtype="fp32")
    distance = np.abs(w[:, None].astype(np.float64) - got.lut[0].astype(np.float64))
    np.testing.assert_array_equal(got.indices, distance.argmin(1))
    for entry in range(1 << bits_):  # each is the mean of its own
        mine = w[got.indices == entry]
        if mine.size:
            assert got.lut[0, entry] == pytest.approx(
                mine.astype(np.float64).mean(), rel=1e-5, abs=1e-6
            )


def test_a_palette_does_not_depend_on_the_order_of_the_weights() -> None:
    w = weights(4000)
    lut = quantize.palettize(w, 4).lut
    np.testing.assert_array_equal(lut, quantize.palettize(w[::-1], 4).lut)
    assert np.all(np.diff(lut[0].astype(np.float64)) > 0)


def test_a_palette_errs_no_more_than_evenly_spaced_values_do() -> None:
    w = weights(5000)
    even = quantize.palettize(w, 4, lut=np.linspace(w.min(), w.max(), 16))
    found = quantize.palettize(w, 4)
    assert np.square(found.dequantize() - w).mean() < 0.8 * np.square(even.dequantize() - w).mean()


def test_each_group_has_a_table_of_its_own() -> None:
    w = np.repeat(np.arange(8, dtype=np.float32), 6).reshape(8, 2, 3)
    got = quantize.palettize(w, 1, group_size=2)
    assert got.lut.tolist() == [[[[0, 1]]], [[[2, 3]]], [[[4, 5]]], [[[6, 7]]]]
    np.testing.assert_array_equal(got.dequantize(), w)
    along = quantize.palettize(w.transpose(1, 0, 2), 1, axis=-2, group_size=2)
    assert along.lut.shape == (1, 4, 1, 2)
    np.testing.assert_array_equal(along.dequantize(), w.transpose(1, 0, 2))


@given(shapes, st.floats(0, 1), st.data())
def test_sparsity_drops_the_smallest_values(
    shape: tuple[int, ...], sparsity: float, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    w = rng.integers(-3, 4, shape).astype(np.float32)  # with ties and zeros
    got = quantize.sparsify(w, sparsity=sparsity)
    order = np.argsort(np.abs(w).reshape(-1), kind="stable")
    want = w.reshape(-1).copy()
    want[order[: int(sparsity * w.size)]] = 0
    np.testing.assert_array_equal(got.dequantize().reshape(-1), want)


def test_sparse_values_keep_infinities_and_nan() -> None:
    w = np.array([0.0, np.nan, -np.inf, 1.0, -0.0, 70000.0], np.float32)
    got = quantize.sparsify(w)
    np.testing.assert_array_equal(got.values, np.array([np.nan, -np.inf, 1, np.inf], np.float16))
    np.testing.assert_array_equal(quantize.sparsify(w, sparsity=0.5).mask, [0, 1, 1, 0, 0, 1])
    assert quantize.sparsify(w, sparsity=1).values.size == 0


def test_the_largest_halves_stay_finite() -> None:
    w = np.array([[65504, -65504, 1], [65504, 0, 0], [0, 0, 0]], np.float32)
    for dtype in ("int8", "uint8", "int4", "uint4"):
        for symmetric in (True, False):
            got = quantize.affine(w, dtype, symmetric=symmetric)
            assert np.isfinite(got.dequantize()).all(), (dtype, symmetric)
            assert np.all(np.abs(got.dequantize() - w) <= got.scale), (dtype, symmetric)
            assert not got.dequantize()[2].any()


@given(st.integers(1, 8), st.lists(st.integers(0, 255), max_size=80))
def test_packed_bits_are_those_of_the_native_writer(width: int, values: list[int]) -> None:
    held = np.array(values, np.uint8) & ((1 << width) - 1)
    packed = pack_bits(held, width)
    np.testing.assert_array_equal(unpack_bits(packed, width, held.size), held)
    if width in (1, 2, 3, 4, 6):
        writer = blob.BlobWriter()
        writer.add(held, f"uint{width}")
        assert packed.tobytes() == blob.read(writer.build()).record_at(64).tobytes()


# --- bad input

NAN = np.array([1, np.nan], np.float32)
BAD: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "an unknown integer": (lambda: quantize.affine(W, "int3"), DTypeError, "got 'int3'"),
    "an unknown float": (lambda: quantize.palettize(W, 4, dtype="bf16"), DTypeError, "got 'bf16'"),
    "text": (lambda: quantize.affine(["a"]), DTypeError, "expected numbers, got <U1"),
    "no weights": (lambda: quantize.affine(np.zeros((0, 3))), InvalidArgumentError, r"got shape \[0, 3\]"),
    "NaN": (lambda: quantize.affine(NAN), InvalidArgumentError, "expected finite weights"),
    "NaN for a palette": (lambda: quantize.palettize(NAN, 2), InvalidArgumentError, "expected finite"),
    "beyond fp16": (lambda: quantize.affine([7e4]), InvalidArgumentError, "fp16 holds .up to 65504., got"),
    "an axis that is not there": (lambda: quantize.affine(W, axis=4), InvalidArgumentError, r"axis in \[-4, 4\), got 4"),
    "blocks along the channels": (lambda: quantize.affine(W, block_size=4, block_axis=0), InvalidArgumentError, "to differ from axis 0"),
    "blocks that do not divide": (lambda: quantize.affine(W, block_size=5), InvalidArgumentError, "divides 32, got 5"),
    "no bits": (lambda: quantize.palettize(W, 0), InvalidArgumentError, "1 to 8 bits, got 0"),
    "nine bits": (lambda: quantize.palettize(W, 9), InvalidArgumentError, "1 to 8 bits, got 9"),
    "groups that do not divide": (lambda: quantize.palettize(W, 2, group_size=5), InvalidArgumentError, "divides 16, got 5"),
    "a table too long": (lambda: quantize.palettize(W, 1, lut=[1, 2, 3]), InvalidArgumentError, "at most 2 values"),
    "two ways to drop": (lambda: quantize.sparsify(W, sparsity=0.5, threshold=1), InvalidArgumentError, "got both"),
    "too sparse": (lambda: quantize.sparsify(W, sparsity=1.5), InvalidArgumentError, "got 1.5"),
    "a negative threshold": (lambda: quantize.sparsify(W, threshold=-1), InvalidArgumentError, "got -1"),
    "an unknown form": (lambda: quantize.affine(W).constexpr("ios17"), InvalidArgumentError, "got 'ios17'"),
    "int4 in the old form": (lambda: quantize.affine(W, "int4").constexpr("ios16"), InvalidArgumentError, "got int4\nhint: "),
    "blocks in the old form": (lambda: quantize.affine(W, block_size=8).constexpr("ios16"), InvalidArgumentError, r"scales \[16, 4, 1, 1\]"),
    "tables in the old form": (lambda: quantize.palettize(W, 4, group_size=8).constexpr("ios16"), InvalidArgumentError, "expected one table"),
    "another operation": (lambda: quantize.unpack("constexpr_cast", []), InvalidArgumentError, "got constexpr_cast"),
    "a missing operand": (lambda: quantize.unpack("constexpr_sparse_to_dense", []), InvalidArgumentError, "operand 'mask'"),
    "a scale that does not fit": (lambda: AffineWeight(np.zeros((4, 4), np.int8), "int8", np.ones((3, 1), np.float16)), InvalidArgumentError, "expected a scale that divides"),
    "an index too high": (lambda: PaletteWeight(np.full(3, 4, np.uint8), np.zeros((1, 4), np.float16)), InvalidArgumentError, "indices below 4, got 4"),
    "values that the mask lacks": (lambda: SparseWeight(np.zeros(3, np.bool_), np.ones(2, np.float16)), InvalidArgumentError, "0 values, one per place"),
    "vectors": (lambda: quantize.unpack("constexpr_lut_to_dense", [Operand("indices", "uint1", np.zeros((2, 2), np.uint8)), Operand("lut", "fp16", np.zeros((1, 1, 2, 2), np.float16))]), UnsupportedError, "single values"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def test_an_operand_is_found_by_name() -> None:
    expr = quantize.affine(W).constexpr("ios16")
    assert expr["axis"].values == 0
    assert expr["axis"].inline
    assert expr["quantized_data"].nbytes == W.size
    with pytest.raises(KeyError, match="offset"):
        expr["offset"]
