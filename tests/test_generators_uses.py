"""What generators of layers are used for: hand-written programs, files of weights, training."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import milane
from generator_cases import conv, gated, half, relu2, rms_norm
from milane import InvalidArgumentError, blob, mil
from milane._core import mil as core_mil
from milane.mil import MILProgram
from on_device import refused

Array = NDArray[Any]


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    """Halves."""
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float16)


def wide(array: Array) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float64))


# --- programs that others wrote

ESPRESSO = "christopherkarani__Espresso__"
FIXTURES = f"{ESPRESSO}Tests.MILGeneratorTests.Fixtures."
SAME_OPERATIONS = {
    f"{FIXTURES}conv": lambda: mil.gen_conv(4, 6, 2),
    f"{FIXTURES}matmul": lambda: mil.gen_matmul_dynamic(4, 6, 2),
    f"{FIXTURES}ffn_bwd": lambda: mil.gen_ffn_backward(768, 2048, 256),
    f"{FIXTURES}ffn_fwd_taps": lambda: mil.gen_ffn_fwd_taps(768, 2048, 256),
    f"{FIXTURES}fused_ffn": lambda: mil.gen_ffn_up(4, 6, 2),
}


@pytest.mark.parametrize("fixture", SAME_OPERATIONS)
def test_operations_are_those_of_the_program_written_by_hand(fixture: str, corpus: Path) -> None:
    ours = SAME_OPERATIONS[fixture]()
    theirs = mil.load(corpus / "hand" / fixture / "model.mil")
    assert mil.diff(ours.program, theirs, ops_only=True) == []
    assert [t.shape for t in ours.outputs.values()] == [
        {o.name: o.type for op in theirs["main"].operations for o in op.outputs}[name].shape
        for name in theirs["main"].outputs
    ]


@pytest.mark.parametrize(
    ("fixture", "parts"),
    [
        ("GenerationRMSNormClassifierGenerator", ["final_rmsnorm", "classifier_forward"]),
        ("DecodeFFNGenerator", ["ffn_forward_rms"]),
    ],
)
def test_operations_are_a_part_of_the_program_written_by_hand(
    fixture: str, parts: list[str], corpus: Path
) -> None:
    folder = f"{ESPRESSO}Tests.MigrationParityTests.Fixtures.{fixture}"
    theirs = operations(mil.load(corpus / "hand" / folder / "model.mil"))
    made = {
        "final_rmsnorm": mil.gen_final_rmsnorm(768, 32),
        "classifier_forward": mil.gen_classifier_forward(768, 32000, 32),
        "ffn_forward_rms": mil.gen_ffn_forward_rms(768, 2048, 32),
    }
    ours = [op for part in parts for op in operations(made[part].program)]
    assert theirs[: len(ours)] == ours
    assert len(theirs) == len(ours) + 1  # a maximum of the logits, a residual sum


def operations(program: mil.Program) -> list[str]:
    return [op.type for op in program["main"].operations if op.type != "const"]


# --- files of weights


@pytest.mark.parametrize(
    "generator", [mil.gen_conv, mil.gen_conv_fp16, mil.gen_conv_fp16_io, mil.gen_matmul]
)
def test_build_weight_blob_makes_the_file_of_a_single_weight(
    generator: Callable[..., MILProgram], runtime: milane.Runtime
) -> None:
    w = normal(6, 4)
    x = normal(1, 4, 1, 3, seed=1)
    with (
        runtime.compile(generator(4, 6, 3), weight_blob=blob.build_weight_blob(w)) as from_blob,
        runtime.compile(generator(4, 6, 3), weights={"w": w}) as from_array,
        runtime.compile(str(generator(4, 6, 3)), weight_blob=blob.build_weight_blob(w)) as text,
    ):
        want = from_blob(x=x)["out"]
        assert from_array(x=x)["out"].tobytes() == want.tobytes()
        assert text(x=x)["out"].tobytes() == want.tobytes()


def test_other_builders_make_the_files_that_programs_want() -> None:
    w1, w3 = normal(6, 4), normal(6, 4, seed=1)
    up = mil.gen_ffn_up(4, 6, 2)
    data, offsets = blob.build_ffn_up_weight_blob(w1, w3)
    assert up.weight_files({"w1": w1, "w3": w3}) == {"@model_path/weights/weight.bin": data}
    assert {w.name: w.offset for w in up.weights} == offsets
    norm = mil.gen_rmsnorm(5, 2).weight_files({"w": w1[0, 0].repeat(5)})
    assert list(norm.values()) == [blob.build_vector_weight_blob(w1[0, 0].repeat(5))]
    identity = mil.gen_identity_fp16_io(7, 2).weight_files()
    assert list(identity.values()) == [blob.build_identity_weight_blob(7)]
    int8 = np.arange(24, dtype=np.int8).reshape(6, 4)
    files = mil.gen_conv_int8(4, 6, 2, scale=0.5).weight_files({"w.quantized_data": int8})
    assert list(files.values()) == [blob.build_int8_blob(int8)]
    back = mil.gen_classifier_backward(4, 6, 2).weight_files({"embed_t": w1.T[None]})
    assert list(back.values()) == [blob.build_transposed_weight_blob(w1)]
    ffn = mil.gen_ffn_backward(4, 6, 2).weight_files({"w1t": w1.T, "w2t": w1, "w3t": w3.T})
    assert ffn["@model_path/weights/w3t.bin"] == blob.build_transposed_weight_blob(w3)


def test_the_int8_weight_is_what_quantize_finds(runtime: milane.Runtime) -> None:
    weight = blob.quantize.affine(normal(6, 40, 1, 1), axis=0)
    program = mil.gen_conv_int8(40, 6, 3)
    assert [(w.name, w.dtype, w.shape) for w in program.weights] == [
        ("w.quantized_data", "int8", (6, 40, 1, 1)),
        ("w.scale", "fp16", (6,)),
    ]
    arrays = {"w.quantized_data": weight.data, "w.scale": weight.scale}
    x = normal(1, 40, 1, 3, seed=1)
    with (
        runtime.compile(program, weights=arrays) as kernel,
        runtime.compile(mil.gen_conv_fp16(40, 6, 3), weights={"w": weight.dequantize()}) as dense,
    ):
        assert kernel(x=x)["out"].tobytes() == dense(x=x)["out"].tobytes()


# --- int8 between layers


def test_a_w8a8_chain_rounds_and_clips_between_its_layers(runtime: milane.Runtime) -> None:
    """Small integers and powers of two: every product and sum is exact, ties included."""
    rng = np.random.default_rng(3)
    program = mil.gen_w8a8_chain(8, 3, 5, act_scale=[2.0, 8.0], weight_scale=0.5)
    weights = {
        f"w{i}.quantized_data": rng.integers(-3, 4, (8, 8, 1, 1)).astype(np.int8) for i in range(3)
    }
    x = (rng.integers(-30, 31, (1, 8, 1, 5)) * 8).astype(np.float16)
    value = wide(x)
    clipped = 0
    for i, scale in enumerate((2.0, 8.0, None)):
        value = conv(value, wide(weights[f"w{i}.quantized_data"]) * 0.5)
        if scale is not None:
            levels = torch.round(value / scale)
            clipped += int((levels.abs() > 128).sum())
            value = levels.clamp(-128, 127) * scale
    assert clipped > 0
    with runtime.compile(program, weights=weights) as kernel:
        assert np.array_equal(kernel(x=x)["out"].astype(np.float64), value.numpy())


def test_a_chain_of_one_layer_is_an_int8_convolution(runtime: milane.Runtime) -> None:
    chain, single = mil.gen_w8a8_chain(6, 1, 3), mil.gen_conv_int8(6, 6, 3)
    assert mil.diff(chain.program, single.program, ops_only=True) == []
    assert [w.name for w in chain.weights] == ["w0.quantized_data", "w0.scale"]
    assert not refused(runtime, chain.program)


def test_a_w8a8_chain_is_refused_where_quantize_is_unknown() -> None:
    assert mil.gen_w8a8_chain(6, 2, 3, dialect="ios17").program.version == "1.0"
    with pytest.raises(InvalidArgumentError, match="ios16"):
        mil.gen_w8a8_chain(6, 2, 3, dialect="ios16")


# --- forward and backward

DIM, HIDDEN, SEQ = 40, 104, 19


def test_taps_of_the_forward_program_give_the_gradient_of_a_gated_block(
    runtime: milane.Runtime,
) -> None:
    """x to rms_norm to block, and back through both: three programs against autograd.

    At most 24 operations lie in a row, each of which rounds by 2^-11 of its result: the error of
    a whole tensor stays within 24 · 2^-11 of its norm.
    """
    x, dy = normal(1, DIM, 1, SEQ), normal(1, DIM, 1, SEQ, seed=1)
    rms = normal(1, DIM, 1, 1, seed=2)
    w1, w3 = (normal(HIDDEN, DIM, 1, 1, seed=s, scale=DIM**-0.5) for s in (3, 4))
    w2 = normal(DIM, HIDDEN, 1, 1, seed=5, scale=HIDDEN**-0.5)
    weights = {"rms_ffn": rms, "w1": w1, "w2": w2, "w3": w3}
    with runtime.compile(mil.gen_ffn_fwd_taps(DIM, HIDDEN, SEQ), weights=weights) as forward:
        out, h1, h3, gate, normed = split(forward(x=x)["out"], DIM, HIDDEN, HIDDEN, HIDDEN, DIM)
    transposes = {"w1t": turned(w1), "w2t": turned(w2), "w3t": turned(w3)}
    with runtime.compile(mil.gen_ffn_backward(DIM, HIDDEN, SEQ), weights=transposes) as backward:
        grads = backward(x=np.concatenate([dy, h1, h3], 1))["out"]
    dnormed, dh1, dh3 = split(grads, DIM, HIDDEN, HIDDEN)
    with runtime.compile(mil.gen_rmsnorm_backward(DIM, SEQ), weights={"rms": rms}) as norm:
        dx = norm(x=np.concatenate([dnormed, x], 1))["out"]

    t = {name: wide(w).requires_grad_() for name, w in weights.items()}
    leaf = wide(x).requires_grad_()
    middle = rms_norm(leaf, t["rms_ffn"])
    result, *_ = gated(middle, t)
    named = dict(
        zip(["x", *t], torch.autograd.grad(result, (leaf, *t.values()), wide(dy)), strict=True)
    )
    near(out, result)
    near(dx, named["x"])
    near(product(dh1, normed), named["w1"])
    near(product(dh3, normed), named["w3"])
    near(product(dy, gate), named["w2"])


def test_taps_of_the_forward_program_give_the_gradient_of_a_relu2_block(
    runtime: milane.Runtime,
) -> None:
    """As for the gated block, with at most 12 operations in a row."""
    x, dy = normal(1, DIM, 1, SEQ), normal(1, DIM, 1, SEQ, seed=1)
    w1 = normal(HIDDEN, DIM, 1, 1, seed=3, scale=DIM**-0.5)
    w2 = normal(DIM, HIDDEN, 1, 1, seed=5, scale=HIDDEN**-0.5)
    weights = {"w1": w1, "w2": w2}
    made = mil.gen_ffn_forward_taps_relu2(DIM, HIDDEN, SEQ)
    with runtime.compile(made, weights=weights) as forward:
        out, h1 = split(forward(x=x)["out"], DIM, HIDDEN)
    transposes = {"w1t": turned(w1), "w2t": turned(w2)}
    made = mil.gen_ffn_backward_relu2(DIM, HIDDEN, SEQ)
    with runtime.compile(made, weights=transposes) as backward:
        dx, dh1 = split(backward(x=np.concatenate([dy, h1], 1))["out"], DIM, HIDDEN)
    t = {name: wide(w).requires_grad_() for name, w in weights.items()}
    leaf = wide(x).requires_grad_()
    result, _ = relu2(leaf, t)
    named = dict(
        zip(["x", *t], torch.autograd.grad(result, (leaf, *t.values()), wide(dy)), strict=True)
    )
    near(out, result, 12)
    near(dx, named["x"], 12)
    near(product(dh1, x), named["w1"], 12)
    near(product(dy, np.maximum(h1, 0).astype(np.float64) ** 2), named["w2"], 12)


def split(array: Array, *counts: int) -> list[Array]:
    assert array.shape[1] == sum(counts)
    return np.split(array, np.cumsum(counts)[:-1], axis=1)


def turned(weight: Array) -> Array:
    return np.ascontiguousarray(weight.transpose(1, 0, 2, 3))


def product(left: Array, right: Array) -> Array:
    """The gradient of a weight: a sum over positions."""
    rows = left[0, :, 0].astype(np.float64) @ right[0, :, 0].astype(np.float64).T
    return rows[:, :, None, None]


def near(got: Array, want: torch.Tensor, operations_in_a_row: int = 24) -> None:
    expected = want.detach().numpy()
    assert got.shape == expected.shape
    off = np.linalg.norm(got.astype(np.float64) - expected) / np.linalg.norm(expected)
    assert off <= operations_in_a_row * 2.0**-11


# --- what norms do at the ends of fp16


def test_the_eleven_operations_do_not_overflow(runtime: milane.Runtime) -> None:
    x = np.full((1, 64, 1, 3), 60000.0, np.float16)
    x[0, ::2] = -60000.0
    ones = np.ones(64, np.float16)
    with runtime.compile(mil.gen_rmsnorm(64, 3), weights={"w": ones}) as safe:
        assert np.array_equal(np.abs(safe(x=x)["out"]), np.ones_like(x))
        # Zeros stay zeros, and do not become NaN, among others that are none.
        x[..., 1] = 0
        assert not safe(x=x)["out"][..., 1].any()
        x[..., 1] = 2.0**-24
        assert np.isfinite(safe(x=x)["out"]).all()
    x[..., 1] = 60000.0
    with runtime.compile(mil.gen_final_rmsnorm(64, 3), weights={"rms_final": ones}) as plain:
        # As the documentation says: the squares are infinite, and what is left is 0.
        assert not plain(x=x)["out"].any()


def test_eps_is_the_one_asked_for(runtime: milane.Runtime) -> None:
    x = np.full((1, 4, 1, 1), 0.0625, np.float16)
    ones = np.ones(4, np.float16)
    for eps in (1e-5, 0.25):
        want = 0.0625 * (0.0625**2 + half(eps)) ** -0.5
        with runtime.compile(
            mil.gen_final_rmsnorm(4, 1, eps=eps), weights={"rms_final": ones}
        ) as kernel:
            assert kernel(x=x)["out"] == pytest.approx(want, rel=3 * 2.0**-11)


# --- states


def test_a_state_is_written_and_keeps_its_value(host_runtime: milane.Runtime) -> None:
    program = mil.gen_update_state("cache", (1, 2, 3, 4))
    assert list(program.states) == ["cache"]
    assert list(program.inputs) == ["value"]
    value = normal(1, 2, 3, 4)
    with host_runtime.compile(program) as kernel:
        assert np.array_equal(kernel(value=value)["out"], value)
        assert np.array_equal(kernel(value=value + 1)["out"], value + 1)


def test_a_state_that_nothing_writes_reads_as_zeros(host_runtime: milane.Runtime) -> None:
    program = mil.gen_read_state("cache", (1, 2, 3, 4))
    assert program.inputs == {}
    with host_runtime.compile(program) as kernel:
        out = kernel()["out"]
    assert out.shape == (1, 2, 3, 4)
    assert not out.any()


# The only programs of generators that the device refuses: ane_facts D 48, states parse there and
# are never run.
REFUSED = [mil.gen_read_state, mil.gen_update_state]


@pytest.mark.parametrize("generator", REFUSED)
def test_only_states_break_a_rule_of_the_device(
    generator: Callable[..., MILProgram], runtime: milane.Runtime
) -> None:
    program = generator("cache", (1, 2, 3, 4))
    text = str(program)
    assert str(mil.parse(text)) == text
    assert {rule for rule, *_ in core_mil.broken_limits(program.program)} == {"state"}
    assert refused(runtime, program.program) == (runtime.backend == "ane")


@pytest.mark.parametrize("generator", REFUSED)
def test_states_have_names_of_their_own_and_came_with_ios18(
    generator: Callable[..., MILProgram],
) -> None:
    for name in ("out", "", "two words", "1st"):
        with pytest.raises(InvalidArgumentError, match=f"{generator.__name__}: expected"):
            generator(name, (1, 2))
    with pytest.raises(InvalidArgumentError, match="ios16"):
        generator("cache", (1, 2), dialect="ios16")
    with pytest.raises(InvalidArgumentError, match="expected a shape"):
        generator("cache", ())
    with pytest.raises(InvalidArgumentError, match=re.escape("shape[1]")):
        generator("cache", (1, 0))


def test_a_state_may_have_any_shape() -> None:
    assert mil.gen_read_state("kv", (3,)).states["kv"].shape == (3,)
    with pytest.raises(InvalidArgumentError, match="value"):
        mil.gen_update_state("value", (3,))


# --- pieces of text


def test_programs_by_hand_are_made_of_the_pieces() -> None:
    text = (
        mil.MIL_HEADER
        + "func main<ios18>(tensor<fp16, [1, 4, 1, 3]> x) {\n"
        + mil.CONV_CONST
        + 'tensor<fp16, [6, 4, 1, 1]> W = const()[name = string("W"), val = tensor<fp16, '
        + '[6, 4, 1, 1]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), '
        + "offset = uint64(64)))];\n"
        + "tensor<fp16, [1, 6, 1, 3]> out = conv(dilations = dl, groups = gr, pad = pd, "
        + 'pad_type = pt, strides = st, weight = W, x = x)[name = string("out")];\n'
        + "} -> (out);\n}\n"
    )
    program = mil.parse(text)
    program.verify()
    assert mil.diff(program, mil.gen_conv_fp16(4, 6, 3).program) == []
    assert core_mil.broken_limits(program) == []
