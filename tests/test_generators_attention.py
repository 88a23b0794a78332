"""Attention generators against PyTorch in float64, forward and backward, and their text.

The allowed difference is derived from fp16 rounding (tolerance.rounding_tolerance): six times the
spread that random rounding of every result gives, and one unit in the last place, within which the
rounding of stored constants stays as well.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import milane
from attention_witness import (
    CASES,
    REAL,
    Array,
    Engine,
    Outputs,
    Sizes,
    T,
    assert_within,
    attended,
    attention_half,
    attention_probs,
    block_weights,
    by_reference,
    convolution,
    double,
    four,
    gradients_of_q_and_k,
    half,
    halves,
    on,
    rms_norm,
    scores_of,
)
from milane import blob, mil
from milane._core import mil as core_mil
from tolerance import rounding_tolerance

each_size = pytest.mark.parametrize("sizes", CASES, ids=str)


def holds(
    runtime: milane.Runtime,
    folder: Path,
    truth: dict[str, T],
    evaluate: Callable[[Engine], Outputs],
) -> None:
    """What the backend computes is what PyTorch does, as closely as fp16 can."""
    _, limits = rounding_tolerance(lambda rounding: evaluate(by_reference(folder, rounding)))
    expected = {name: value.detach().numpy() for name, value in truth.items()}
    assert_within(evaluate(on(runtime)), expected, limits, runtime.backend)


def parted(packed: Array, **counts: int) -> Outputs:
    """The tensors that a program has put one after the other."""
    assert packed.shape[0] == sum(counts.values())
    stops = np.cumsum(list(counts.values()))[:-1]
    return dict(zip(counts, np.split(packed, stops), strict=True))


def weights_of(sizes: Sizes) -> tuple[dict[str, Array], dict[str, T]]:
    w = block_weights(sizes)
    return w, {name: double(array) for name, array in w.items()}


# Forward


@each_size
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "seeing all"])
def test_sdpa_is_attention_alone(
    runtime: milane.Runtime, tmp_path: Path, sizes: Sizes, causal: bool
) -> None:
    program = mil.gen_sdpa(
        sizes.size, sizes.heads, sizes.seq, n_kv_heads=sizes.kv_heads, causal=causal
    )
    shapes = [sizes.heads, sizes.kv_heads, sizes.kv_heads]
    q, k, v = (halves((n, sizes.seq, sizes.size), i) for i, n in enumerate(shapes))

    def evaluate(engine: Engine) -> Outputs:
        made = engine(program, {}, a_q=q[None], b_k=k[None], c_v=v[None])["out"]
        return {"attn": made.reshape(sizes.heads, sizes.seq, sizes.size)}

    group = sizes.heads // sizes.kv_heads
    tq, tk, tv = double(q), *(double(a).repeat_interleave(group, 0) for a in (k, v))
    truth = torch.nn.functional.scaled_dot_product_attention(tq, tk, tv, is_causal=causal)
    holds(runtime, tmp_path, {"attn": truth}, evaluate)


@each_size
@pytest.mark.parametrize(
    ("generator", "names"),
    [
        (mil.gen_sdpa_forward, ["x2"]),
        (mil.gen_sdpa_forward_taps, ["x2", "q", "k", "v", "attn"]),
        (mil.gen_sdpa_fwd_taps, ["o_out", "q", "k", "v", "attn", "xnorm"]),
    ],
    ids=["alone", "with four taps", "with five taps"],
)
def test_the_attention_half_of_a_block_returns_its_taps(
    runtime: milane.Runtime,
    tmp_path: Path,
    sizes: Sizes,
    generator: Callable[..., mil.MILProgram],
    names: list[str],
) -> None:
    w, double_w = weights_of(sizes)
    x = halves((sizes.dim, sizes.seq), 3)
    program = generator(sizes.dim, sizes.heads, sizes.seq, **sizes.turned)
    given = convolution(w, rms_att="rms_att", wq="wq", wk="wk", wv="wv", wo="wo")
    truth = attention_half(double(x), double_w, sizes)
    counts = {name: truth[name].shape[0] for name in names}
    holds(
        runtime,
        tmp_path,
        {name: truth[name] for name in names},
        lambda engine: parted(engine(program, given, x=x)["out"], **counts),
    )


@each_size
def test_projections_and_application_make_the_attention_half(
    runtime: milane.Runtime, tmp_path: Path, sizes: Sizes
) -> None:
    w, double_w = weights_of(sizes)
    x = halves((sizes.dim, sizes.seq), 4)
    first = mil.gen_qkv_forward_rms(sizes.dim, sizes.seq, heads=sizes.heads, **sizes.turned)
    second = mil.gen_sdpa_apply_forward(sizes.dim, sizes.heads, sizes.seq, **sizes.shape)

    def evaluate(engine: Engine) -> Outputs:
        given = convolution(w, rms_att="rms_att", wq="wq", wk="wk", wv="wv")
        qkv = engine(first, given, x=x)["out"]
        made = engine(second, convolution(w, wo="wo"), a_x=x, b_qkv=qkv)["out"]
        return parted(qkv, q=sizes.q, k=sizes.k, v=sizes.k) | parted(
            made, x2=sizes.dim, attn=sizes.q
        )

    truth = attention_half(double(x), double_w, sizes)
    names = ["q", "k", "v", "x2", "attn"]
    holds(runtime, tmp_path, {name: truth[name] for name in names}, evaluate)


def test_projections_need_no_heads_where_nothing_is_said_about_them(
    runtime: milane.Runtime, tmp_path: Path
) -> None:
    sizes = Sizes("one head", 10, 1, 4)
    w, double_w = weights_of(sizes)
    x = halves((10, 4), 5)
    given = convolution(w, rms_att="rms_att", wq="wq", wk="wk", wv="wv")
    truth = attention_half(double(x), double_w, sizes)
    holds(
        runtime,
        tmp_path,
        {name: truth[name] for name in "qkv"},
        lambda engine: parted(
            engine(mil.gen_qkv_forward_rms(10, 4), given, x=x)["out"], q=10, k=10, v=10
        ),
    )
    with pytest.raises(milane.InvalidArgumentError, match="expected heads with"):
        mil.gen_qkv_forward_rms(10, 4, n_kv_heads=2)


@pytest.mark.parametrize(("dim", "kv", "spatial"), [(6, None, 1), (8, 3, 5), (33, 7, 40)])
def test_three_projections_share_one_weight_file(
    runtime: milane.Runtime, tmp_path: Path, dim: int, kv: int | None, spatial: int
) -> None:
    program = mil.gen_qkv(dim, spatial, kv_dim=kv)
    outs = {"wq": dim, "wk": kv or dim, "wv": kv or dim}
    w = {name: halves((out, dim), i, dim**-0.5) for i, (name, out) in enumerate(outs.items())}
    x = halves((dim, spatial), 9).astype(np.float32)
    names = dict(zip(outs, ("a_q", "b_k", "c_v"), strict=True))
    given = convolution(w, **{name: name for name in w})
    truth = {out: double(w[name]) @ double(x) for name, out in names.items()}
    holds(runtime, tmp_path, truth, lambda engine: engine(program, given, x=x))
    # The file is the one of the blob builder, byte for byte.
    content, offsets = blob.build_qkv_weight_blob(w["wq"], w["wk"], w["wv"])
    assert program.weight_files(given) == {"@model_path/weights/weight.bin": content}
    assert {weight.name: weight.offset for weight in program.weights} == offsets
    with runtime.compile(str(program), weight_blob=content) as kernel:
        made = kernel(x=four(x))
    with runtime.compile(program, weights=given) as kernel:
        again = kernel(x=four(x))
    for out in names.values():
        np.testing.assert_array_equal(made[out], again[out])


def test_a_mask_of_ones_own_replaces_the_causal_one(
    runtime: milane.Runtime, tmp_path: Path
) -> None:
    sizes = CASES[3]
    q, k = halves((sizes.q, sizes.seq), 1), halves((sizes.k, sizes.seq), 2)
    v, x = halves((sizes.k, sizes.seq), 3), halves((sizes.dim, sizes.seq), 4)
    w, double_w = weights_of(sizes)
    program = mil.gen_sdpa_apply_forward(sizes.dim, sizes.heads, sizes.seq, **sizes.shape)
    (mask,) = program.data.values()
    assert (mask == blob.causal_mask(sizes.seq, value=-40000.0)).all()
    zeros = convolution(w, wo="wo") | {"mask": np.zeros(mask.shape)}
    attn = attended(attention_probs(double(q), double(k), sizes, causal=False), double(v), sizes)
    truth = {"x2": double(x) + double_w["wo"] @ attn, "attn": attn}
    qkv = np.concatenate([q, k, v])
    holds(
        runtime,
        tmp_path,
        truth,
        lambda engine: parted(
            engine(program, zeros, a_x=x, b_qkv=qkv)["out"], x2=sizes.dim, attn=sizes.q
        ),
    )
    # The blob builder's mask adds the lowest half instead: the same attention.
    given = convolution(w, wo="wo")
    lowest = given | {"mask": blob.causal_mask(sizes.seq)}
    engine = on(runtime)
    np.testing.assert_array_equal(
        engine(program, lowest, a_x=x, b_qkv=qkv)["out"],
        engine(program, given, a_x=x, b_qkv=qkv)["out"],
    )


# Backward


@each_size
def test_sdpa_backward1_gives_the_gradients_of_v_and_of_the_probabilities(
    runtime: milane.Runtime, tmp_path: Path, sizes: Sizes
) -> None:
    w, double_w = weights_of(sizes)
    q, dx2 = halves((sizes.q, sizes.seq), 1), halves((sizes.dim, sizes.seq), 2)
    k, v = halves((sizes.k, sizes.seq), 3), halves((sizes.k, sizes.seq), 4)
    program = mil.gen_sdpa_backward1(sizes.dim, sizes.heads, sizes.seq, **sizes.shape)
    leaf = double(v, grad=True)
    probs = attention_probs(double(q), double(k), sizes).requires_grad_()
    (double_w["wo"] @ attended(probs, leaf, sizes)).backward(double(dx2))
    scores = sizes.heads * sizes.seq
    assert leaf.grad is not None
    assert probs.grad is not None
    truth = {
        "dv": leaf.grad,
        "probs": probs.reshape(scores, sizes.seq),
        "dp": probs.grad.reshape(scores, sizes.seq),
    }
    x = np.concatenate([q, k, v, dx2])
    holds(
        runtime,
        tmp_path,
        truth,
        lambda engine: parted(
            engine(program, convolution(w, wot="wo"), x=x)["out"],
            dv=sizes.k,
            probs=scores,
            dp=scores,
        ),
    )


@each_size
def test_sdpa_backward2_gives_the_gradients_of_q_and_k(
    runtime: milane.Runtime, tmp_path: Path, sizes: Sizes
) -> None:
    q, k = halves((sizes.q, sizes.seq), 1), halves((sizes.k, sizes.seq), 3)
    probs, dp = scores_of(sizes, q, k)
    program = mil.gen_sdpa_backward2(sizes.dim, sizes.heads, sizes.seq, **sizes.turned)
    dq, dk = gradients_of_q_and_k(sizes, probs, dp, q, k)
    x = np.concatenate([probs, dp, q, k])
    holds(
        runtime,
        tmp_path,
        {"dq": dq, "dk": dk},
        lambda engine: parted(engine(program, {}, x=x)["out"], dq=sizes.q, dk=sizes.k),
    )


@each_size
def test_qkv_backward_gives_the_gradient_of_the_normalised_input(
    runtime: milane.Runtime, tmp_path: Path, sizes: Sizes
) -> None:
    w, double_w = weights_of(sizes)
    counts = {"q": sizes.q, "k": sizes.k, "v": sizes.k}
    d = {name: halves((n, sizes.seq), i) for i, (name, n) in enumerate(counts.items())}
    xnorm = torch.zeros(sizes.dim, sizes.seq, dtype=torch.float64, requires_grad=True)
    for name, gradient in d.items():
        (double_w[f"w{name}"] @ xnorm).backward(double(gradient))
    assert xnorm.grad is not None
    program = mil.gen_qkv_backward(sizes.dim, sizes.heads, sizes.seq, **sizes.shape)
    given = convolution(w, wqt="wq", wkt="wk", wvt="wv")
    x = np.concatenate(list(d.values()))
    holds(
        runtime,
        tmp_path,
        {"dxnorm": xnorm.grad},
        lambda engine: {"dxnorm": engine(program, given, x=x)["out"]},
    )


def test_the_witness_normalises_as_pytorch_does() -> None:
    """Over the channels, with the same place for eps."""
    x, weight = double(halves((6, 3), 0)), double(halves((6,), 1))
    theirs = torch.nn.functional.rms_norm(x.T, (6,), weight, half(1e-5)).T
    torch.testing.assert_close(rms_norm(x, weight), theirs)


# Text

ESPRESSO = "christopherkarani__Espresso__Tests.MILGeneratorTests.Fixtures."
WRITTEN_BY_HAND = {
    "sdpa_fwd_taps": mil.gen_sdpa_fwd_taps(768, 12, 256),
    "sdpa_bwd1": mil.gen_sdpa_backward1(768, 12, 256),
    "sdpa_bwd2": mil.gen_sdpa_backward2(768, 12, 256),
    "qkvb": mil.gen_qkv_backward(768, 12, 256),
    "fused_qkv": mil.gen_qkv(4, 2),
}


@pytest.mark.parametrize("name", WRITTEN_BY_HAND)
def test_operations_are_those_of_the_program_that_another_project_wrote(
    corpus: Path, name: str
) -> None:
    """All of them, in the same order; names, the order of constants and the mask's values aside."""
    theirs = mil.parse((corpus / "hand" / (ESPRESSO + name) / "model.mil").read_text())
    ours = WRITTEN_BY_HAND[name].program
    assert not mil.diff(ours, theirs, ops_only=True)


def generated(dialect: str, all_sizes: list[Sizes] = CASES) -> dict[str, mil.MILProgram]:
    d: dict[str, Any] = {"dialect": dialect}
    programs = {"sdpa": mil.gen_sdpa(4, 6, 5, n_kv_heads=2, causal=True, **d)}
    programs["qkv"] = mil.gen_qkv(6, 5, **d)
    for sizes in all_sizes:
        dim, heads, seq = sizes.dim, sizes.heads, sizes.seq
        turned, shape = sizes.turned | d, sizes.shape | d
        programs |= {
            f"forward, {sizes}": mil.gen_sdpa_forward(dim, heads, seq, **turned),
            f"forward_taps, {sizes}": mil.gen_sdpa_forward_taps(dim, heads, seq, **turned),
            f"fwd_taps, {sizes}": mil.gen_sdpa_fwd_taps(dim, heads, seq, **turned),
            f"apply, {sizes}": mil.gen_sdpa_apply_forward(dim, heads, seq, **shape),
            f"qkv_rms, {sizes}": mil.gen_qkv_forward_rms(dim, seq, heads=heads, **turned),
            f"backward1, {sizes}": mil.gen_sdpa_backward1(dim, heads, seq, **shape),
            f"backward2, {sizes}": mil.gen_sdpa_backward2(dim, heads, seq, **turned),
            f"qkv_backward, {sizes}": mil.gen_qkv_backward(dim, heads, seq, **shape),
        }
    return programs


PROGRAMS = {dialect: generated(dialect) for dialect in ("ios16", "ios18")}


@pytest.mark.parametrize("dialect", PROGRAMS)
def test_programs_are_sound_and_print_to_a_fixed_point(dialect: str) -> None:
    again = generated(dialect) | generated(dialect, REAL)
    for name, program in (PROGRAMS[dialect] | generated(dialect, REAL)).items():
        text = str(program)
        parsed = mil.parse(text)
        parsed.verify()
        assert str(parsed) == text, name
        assert text == str(again[name]), name
        assert core_mil.broken_limits(parsed) == [], name
        assert f"func main<{dialect}>" in text
        for ports in (program.inputs, program.outputs):
            assert list(ports) == sorted(ports), name


@pytest.mark.parametrize("name", PROGRAMS["ios18"])
def test_both_dialects_compute_the_same_bits(runtime: milane.Runtime, name: str) -> None:
    old, new = PROGRAMS["ios16"][name], PROGRAMS["ios18"][name]
    assert not mil.diff(old.program, new.program, ops_only=True)
    weights = {
        w.name: halves(w.shape, i, 0.3) for i, w in enumerate(new.weights) if w.name not in new.data
    }
    dtypes = {"fp16": np.float16, "fp32": np.float32}
    inputs = {
        port: halves(type.shape, i).astype(dtypes[type.dtype])
        for i, (port, type) in enumerate(new.inputs.items())
    }
    results = []
    for program in (old, new):
        with runtime.compile(program, weights=weights) as kernel:
            results.append(kernel(**inputs))
    for port in new.outputs:
        np.testing.assert_array_equal(results[0][port], results[1][port])
        assert np.isfinite(results[0][port]).all()
        assert results[0][port].any()


# What is refused

BLOCKS = [
    mil.gen_sdpa_forward,
    mil.gen_sdpa_forward_taps,
    mil.gen_sdpa_fwd_taps,
    mil.gen_sdpa_apply_forward,
    mil.gen_sdpa_backward1,
    mil.gen_sdpa_backward2,
    mil.gen_qkv_backward,
]


@pytest.mark.parametrize("generator", BLOCKS, ids=lambda g: g.__name__)
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0, 1, 4), {}, "expected dim to be an integer of 1 or more, got 0"),
        ((8, -2, 4), {}, "expected heads to be an integer of 1 or more, got -2"),
        ((8, 2, 2.5), {}, "expected seq to be an integer of 1 or more, got 2.5"),
        ((8, 3, 4), {}, "expected heads to divide dim, got heads 3 and dim 8"),
        ((8, 4, 4), {"n_kv_heads": 3}, "expected n_kv_heads to divide heads, got n_kv_heads 3"),
        ((8, 4, 4), {"n_kv_heads": 0}, "expected n_kv_heads to be an integer of 1 or more, got 0"),
        ((8, 4, 4), {"head_dim": 0}, "expected head_dim to be an integer of 1 or more, got 0"),
        ((8, 4, 4), {"dialect": "ios99"}, "expected a dialect of"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_refused(
    generator: Callable[..., mil.MILProgram],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(milane.InvalidArgumentError, match=message) as caught:
        generator(*arguments, **options)
    assert "dialect" in message or generator.__name__ in str(caught.value)


@pytest.mark.parametrize(
    "generator", [*BLOCKS[:3], mil.gen_sdpa_backward2], ids=lambda g: g.__name__
)
def test_rotations_that_do_not_fit_are_refused(generator: Callable[..., mil.MILProgram]) -> None:
    with pytest.raises(
        milane.InvalidArgumentError, match="expected an even head size for rope, got 3"
    ):
        generator(9, 3, 4, rope="half")
    with pytest.raises(
        milane.InvalidArgumentError, match="expected rope to be 'interleaved', 'half'"
    ):
        generator(8, 2, 4, rope="pairs")
    with pytest.raises(milane.InvalidArgumentError, match="expected a positive theta, got 0"):
        generator(8, 2, 4, rope="half", theta=0.0)


@pytest.mark.parametrize("generator", BLOCKS[:3], ids=lambda g: g.__name__)
@pytest.mark.parametrize("eps", [0.0, -1.0, 1e-9, 1e6, float("nan")])
def test_an_eps_that_fp16_does_not_hold_is_refused(
    generator: Callable[..., mil.MILProgram], eps: float
) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="expected eps to be positive in fp16"):
        generator(8, 2, 4, eps=eps)


@pytest.mark.parametrize(
    "make",
    [
        lambda: mil.gen_sdpa(0, 2, 4),
        lambda: mil.gen_sdpa(4, 0, 4),
        lambda: mil.gen_sdpa(4, 2, 0),
        lambda: mil.gen_sdpa(4, 3, 4, n_kv_heads=2),
        lambda: mil.gen_qkv(0, 4),
        lambda: mil.gen_qkv(4, 0),
        lambda: mil.gen_qkv(4, 4, kv_dim=0),
        lambda: mil.gen_qkv_forward_rms(0, 4),
        lambda: mil.gen_qkv_forward_rms(4, 0),
    ],
)
def test_other_sizes_that_do_not_fit_are_refused(make: Callable[[], mil.MILProgram]) -> None:
    with pytest.raises(milane.InvalidArgumentError, match=r"gen_\w+: expected "):
        make()
