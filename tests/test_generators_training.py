"""The dynamic training kernels against autograd, and whole blocks: forward, backward, all gradients.

The allowed difference is derived from fp16 rounding, over all kernels of a chain together
(tolerance.rounding_tolerance): six times the spread that random rounding of every result gives, and
one unit in the last place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import milane
from attention_witness import (
    CASES,
    EPS,
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
    block_gradients,
    block_weights,
    by_reference,
    convolution,
    double,
    ffn_half,
    four,
    gradients_of_q_and_k,
    half,
    halves,
    on,
    rms_norm,
    scores_of,
    two,
)
from milane import mil
from milane._core import mil as core_mil
from tolerance import rounding_tolerance

each_size = pytest.mark.parametrize("sizes", CASES, ids=str)

KERNELS = {
    "sdpa_fwd": mil.gen_sdpa_fwd_dynamic,
    "wo_fwd": mil.gen_wo_fwd_dynamic,
    "ffn_fwd": mil.gen_ffn_fwd_dynamic,
    "ffn_bwd1": mil.gen_ffn_bwd1_dynamic,
    "ffn_bwd2": mil.gen_ffn_bwd2_dynamic,
    "sdpa_bwd1": mil.gen_sdpa_bwd1_dynamic,
    "sdpa_bwd2": mil.gen_sdpa_bwd2_dynamic,
    "qkv_bwd": mil.gen_qkv_bwd_dynamic,
    "wo_bwd": mil.gen_wo_bwd_dynamic,
    "q_bwd": mil.gen_q_bwd_dynamic,
    "kv_bwd": mil.gen_kv_bwd_dynamic,
}


def program(kernel: str, sizes: Sizes, **options: Any) -> mil.MILProgram:
    """The kernel's program for a block of these sizes."""
    generator: Callable[..., mil.MILProgram] = KERNELS[kernel]
    if kernel.startswith("ffn"):
        return generator(sizes.dim, sizes.hidden, sizes.seq, **options)
    takes = inspect.signature(generator).parameters
    own = {name: value for name, value in sizes.turned.items() if name in takes}
    return generator(sizes.dim, sizes.heads, sizes.seq, **own, **options)


def as_input(array: Array) -> Array:
    """A weight as a dynamic kernel takes it."""
    return array[None, :, None, None] if array.ndim == 1 else array[None, None]


# Each kernel against autograd


@dataclass
class Step:
    """What one kernel is given, and what PyTorch makes of it."""

    inputs: dict[str, Array]
    truth: dict[str, T]
    weights: tuple[str, ...] = ()


def along(pairs: list[tuple[T, T]]) -> None:
    """Autograd of results, given their gradients."""
    torch.autograd.backward([result for result, _ in pairs], [given for _, given in pairs])


def step(kernel: str, sizes: Sizes, w: dict[str, Array], seed: int = 0) -> Step:
    """Random inputs of one kernel, and its outputs in float64."""
    W = {name: double(array) for name, array in w.items()}
    channels = {"inp": sizes.dim, "mid": sizes.dim, "out": sizes.dim, "attn": sizes.q}
    channels |= {"q": sizes.q, "k": sizes.k, "v": sizes.k, "h1": sizes.hidden, "h3": sizes.hidden}

    def random(*names: str) -> dict[str, Array]:
        shapes = [(channels[name.removeprefix("d")], sizes.seq) for name in names]
        return {
            n: halves(s, seed + 31 * i) for i, (n, s) in enumerate(zip(names, shapes, strict=True))
        }

    if kernel == "sdpa_fwd":
        x = random("inp")
        made = attention_half(double(x["inp"]), W, sizes)
        names = {"attn": "attn", "k": "k", "norm_att": "xnorm", "q": "q", "v": "v"}
        truth = {name: made[source] for name, source in names.items()}
        return Step(x, truth, ("rms_att", "wk", "wq", "wv"))
    if kernel == "wo_fwd":
        x = random("attn", "inp")
        return Step(x, {"mid": double(x["inp"]) + W["wo"] @ double(x["attn"])}, ("wo",))
    if kernel == "ffn_fwd":
        x = random("mid")
        return Step(x, ffn_half(double(x["mid"]), W), ("rms_ffn", "w1", "w2", "w3"))
    if kernel == "ffn_bwd1":
        x = random("dout", "h1", "h3")
        h1, h3 = double(x["h1"], grad=True), double(x["h3"], grad=True)
        along([(W["w2"] @ (torch.nn.functional.silu(h1) * h3), double(x["dout"]))])
        return Step(x, {"dh1": grad(h1), "dh3": grad(h3)}, ("w2",))
    if kernel == "ffn_bwd2":
        x = random("dh1", "dh3", "dout", "mid")
        mid = double(x["mid"], grad=True)
        norm = rms_norm(mid, W["rms_ffn"])
        norm.retain_grad()
        given = {name: double(x[name]) for name in ("dh1", "dh3", "dout")}
        along(
            [(W["w1"] @ norm, given["dh1"]), (W["w3"] @ norm, given["dh3"]), (mid, given["dout"])]
        )
        return Step(x, {"dmid": grad(mid), "dnorm_ffn": grad(norm)}, ("rms_ffn", "w1", "w3"))
    if kernel == "sdpa_bwd1":
        x = random("dmid", "k", "q", "v")
        v = double(x["v"], grad=True)
        probs = attention_probs(double(x["q"]), double(x["k"]), sizes).requires_grad_()
        along([(W["wo"] @ attended(probs, v, sizes), double(x["dmid"]))])
        flat = (sizes.heads * sizes.seq, sizes.seq)
        truth = {"dp": grad(probs).reshape(flat), "dv": grad(v), "probs": probs.reshape(flat)}
        return Step(x, truth, ("wo",))
    if kernel == "sdpa_bwd2":
        x = random("k", "q")
        probs16, dp = scores_of(sizes, x["q"], x["k"])
        dq, dk = gradients_of_q_and_k(sizes, probs16, dp, x["q"], x["k"])
        return Step(x | {"dp": dp, "probs": probs16}, {"dk": dk, "dq": dq})
    if kernel == "wo_bwd":
        x = random("dmid")
        attn = torch.zeros(sizes.q, sizes.seq, dtype=torch.float64, requires_grad=True)
        along([(W["wo"] @ attn, double(x["dmid"]))])
        return Step(x, {"dattn": grad(attn)}, ("wo",))
    inp = double(random("inp")["inp"], grad=True)
    norm = rms_norm(inp, W["rms_att"])
    norm.retain_grad()
    if kernel == "qkv_bwd":
        x = random("inp", "dk", "dmid", "dq", "dv")
        along([(W[f"w{n}"] @ norm, double(x[f"d{n}"])) for n in "qkv"] + [(inp, double(x["dmid"]))])
        truth = {"dinp": grad(inp), "dnorm_att": grad(norm)}
        return Step(x, truth, ("rms_att", "wk", "wq", "wv"))
    which = kernel.removesuffix("_bwd")  # q or kv
    x = random(*(f"d{n}" for n in which))
    along([(W[f"w{n}"] @ norm, double(x[f"d{n}"])) for n in which])
    return Step(x, {f"dnorm_{which}": grad(norm)}, tuple(f"w{n}" for n in which))


def grad(leaf: T) -> T:
    assert leaf.grad is not None
    return leaf.grad


@each_size
@pytest.mark.parametrize("kernel", KERNELS)
def test_one_compile_serves_all_weights_and_gives_what_autograd_gives(
    runtime: milane.Runtime, tmp_path: Path, kernel: str, sizes: Sizes
) -> None:
    made = program(kernel, sizes)
    first = step(kernel, sizes, block_weights(sizes))
    assert list(made.inputs) == [*sorted(first.inputs), *first.weights]
    if first.weights:
        compiled = runtime.compile_dynamic(made, len(first.inputs))
        assert tuple(compiled.weights) == first.weights
    else:
        compiled = runtime.compile(made)
    count = runtime.compile_count
    with compiled:
        for seed in (0, 100):
            w = block_weights(sizes, seed)
            given = step(kernel, sizes, w, seed)
            for name in given.weights:
                compiled.write_weight(name, as_input(w[name]))
            got = compiled(**{name: four(array) for name, array in given.inputs.items()})
            everything = given.inputs | {name: as_input(w[name]) for name in given.weights}
            _, limits = rounding_tolerance(
                lambda rounding, all=everything: by_reference(tmp_path, rounding)(made, {}, **all)
            )
            truth = {name: value.detach().numpy() for name, value in given.truth.items()}
            assert set(truth) == set(got)
            got = {name: two(array) for name, array in got.items()}
            assert_within(got, truth, limits, f"{kernel}, seed {seed}")
    assert runtime.compile_count == count


@pytest.mark.parametrize("size", [3e-4, 1e-2, 40.0, 5000.0])
def test_the_norm_overflows_for_no_input_and_keeps_eps_for_small_ones(
    runtime: milane.Runtime, tmp_path: Path, size: float
) -> None:
    """Squares of 5000 are beyond fp16, and those of 3e-4 are nothing in it."""
    sizes = Sizes("wide", 96, 3, 6, hidden=8)
    w = block_weights(sizes)
    mid = halves((96, 6), 1, size)
    mid[:, 0] = 0  # a position that holds nothing
    forward, backward = program("ffn_fwd", sizes), program("ffn_bwd2", sizes)
    x = {"dh1": halves((8, 6), 2), "dh3": halves((8, 6), 3), "dout": halves((96, 6), 4)}

    def evaluate(engine: Engine) -> Outputs:
        own = {name: as_input(w[name]) for name in ("rms_ffn", "w1", "w2", "w3")}
        made = engine(forward, {}, mid=mid, **own)
        own.pop("w2")
        back = engine(backward, {}, mid=mid, **x, **own)
        return {"norm_ffn": made["norm_ffn"], "dmid": back["dmid"]}

    leaf = double(mid, grad=True)
    W = {name: double(array) for name, array in w.items()}
    norm = rms_norm(leaf, W["rms_ffn"])
    along(
        [
            (W["w1"] @ norm, double(x["dh1"])),
            (W["w3"] @ norm, double(x["dh3"])),
            (leaf, double(x["dout"])),
        ]
    )
    truth = {"norm_ffn": norm.detach().numpy(), "dmid": grad(leaf).numpy()}
    _, limits = rounding_tolerance(lambda rounding: evaluate(by_reference(tmp_path, rounding)))
    assert_within(evaluate(on(runtime)), truth, limits, f"inputs of {size}")
    assert np.abs(truth["norm_ffn"]).max() > 0.05


# Whole blocks


def over_rms(x: Array) -> Array:
    x = x.astype(np.float64)
    return x / np.sqrt(np.mean(x**2, axis=0) + half(EPS))


def weight_gradients(t: dict[str, Array]) -> Outputs:
    """Every weight's gradient from taps, on the CPU."""
    t = {name: array.astype(np.float64) for name, array in t.items()}
    return {
        "dwq": t["dq"] @ t["norm_att"].T,
        "dwk": t["dk"] @ t["norm_att"].T,
        "dwv": t["dv"] @ t["norm_att"].T,
        "dwo": t["dmid"] @ t["attn"].T,
        "dw1": t["dh1"] @ t["norm_ffn"].T,
        "dw2": t["dout"] @ t["gate"].T,
        "dw3": t["dh3"] @ t["norm_ffn"].T,
        "drms_att": np.sum(t["dnorm_att"] * over_rms(t["inp"]), axis=1),
        "drms_ffn": np.sum(t["dnorm_ffn"] * over_rms(t["mid"]), axis=1),
        "dx": t["dinp"],
        "out": t["out"],
    }


def dynamic_block(
    engine: Engine, sizes: Sizes, w: dict[str, Array], x: Array, dout: Array
) -> Outputs:
    """Forward and backward over the dynamic kernels: a tap goes by its name to whoever wants it."""
    taps = {"inp": x, "dout": dout}
    order = "sdpa_fwd wo_fwd ffn_fwd ffn_bwd1 ffn_bwd2 sdpa_bwd1 sdpa_bwd2 qkv_bwd"
    for kernel in order.split():
        made = program(kernel, sizes)
        given = {name: taps[name] if name in taps else as_input(w[name]) for name in made.inputs}
        taps |= engine(made, {}, **given)
    return weight_gradients(taps)


def static_block(
    engine: Engine, sizes: Sizes, w: dict[str, Array], x: Array, dout: Array, *, with_norm: bool
) -> Outputs:
    """Forward and backward over the kernels with baked weights."""
    dim, heads, hidden, seq = sizes.dim, sizes.heads, sizes.hidden, sizes.seq
    q, k, scores = sizes.q, sizes.k, heads * seq

    def parts(packed: Array, *counts: int) -> list[Array]:
        assert packed.shape[0] == sum(counts)
        return np.split(packed, np.cumsum(counts)[:-1])

    def run(made: mil.MILProgram, weights: dict[str, str], *x: Array) -> Array:
        (result,) = engine(made, convolution(w, **weights), x=np.concatenate(x)).values()
        return result

    t = {"inp": x, "dout": dout}
    names = {name: name for name in ("rms_att", "wq", "wk", "wv", "wo")}
    if with_norm:
        made = run(mil.gen_sdpa_fwd_taps(dim, heads, seq, **sizes.turned), names, x)
        o_out, t["q"], t["k"], t["v"], t["attn"], t["norm_att"] = parts(made, dim, q, k, k, q, dim)
        t["mid"] = x + o_out
    else:
        made = run(mil.gen_sdpa_forward_taps(dim, heads, seq, **sizes.turned), names, x)
        t["mid"], t["q"], t["k"], t["v"], t["attn"] = parts(made, dim, q, k, k, q)
        t["norm_att"] = over_rms(x) * w["rms_att"][:, None]
    names = {name: name for name in ("rms_ffn", "w1", "w2", "w3")}
    made = run(mil.gen_ffn_fwd_taps(dim, hidden, seq), names, t["mid"])
    ffn, t["h1"], t["h3"], t["gate"], t["norm_ffn"] = parts(made, dim, hidden, hidden, hidden, dim)
    t["out"] = t["mid"] + ffn

    transposed = {f"{name}t": name for name in ("w1", "w2", "w3")}
    made = run(mil.gen_ffn_backward(dim, hidden, seq), transposed, dout, t["h1"], t["h3"])
    t["dnorm_ffn"], t["dh1"], t["dh3"] = parts(made, dim, hidden, hidden)
    norm_backward = mil.gen_rmsnorm_backward(dim, seq)
    (rms,) = (weight.name for weight in norm_backward.weights)
    t["dmid"] = dout + run(norm_backward, {rms: "rms_ffn"}, t["dnorm_ffn"], t["mid"])
    back1 = mil.gen_sdpa_backward1(dim, heads, seq, **sizes.shape)
    made = run(back1, {"wot": "wo"}, t["q"], t["k"], t["v"], t["dmid"])
    t["dv"], probs, dp = parts(made, k, scores, scores)
    back2 = mil.gen_sdpa_backward2(dim, heads, seq, **sizes.turned)
    t["dq"], t["dk"] = parts(run(back2, {}, probs, dp, t["q"], t["k"]), q, k)
    back3 = mil.gen_qkv_backward(dim, heads, seq, **sizes.shape)
    transposed = {f"{name}t": name for name in ("wq", "wk", "wv")}
    t["dnorm_att"] = run(back3, transposed, t["dq"], t["dk"], t["dv"])
    t["dinp"] = t["dmid"] + run(norm_backward, {rms: "rms_att"}, t["dnorm_att"], x)
    return weight_gradients(t)


@each_size
@pytest.mark.parametrize("kernels", ["dynamic", "static", "static with norms"])
def test_the_two_halves_fit_and_give_every_gradient_of_a_block(
    runtime: milane.Runtime, tmp_path: Path, sizes: Sizes, kernels: str
) -> None:
    w = block_weights(sizes)
    x, dout = halves((sizes.dim, sizes.seq), 50), halves((sizes.dim, sizes.seq), 51)

    def evaluate(engine: Engine) -> Outputs:
        if kernels == "dynamic":
            return dynamic_block(engine, sizes, w, x, dout)
        return static_block(engine, sizes, w, x, dout, with_norm=kernels != "static")

    _, limits = rounding_tolerance(lambda rounding: evaluate(by_reference(tmp_path, rounding)))
    truth = block_gradients(sizes, x, dout, w)
    assert len(truth) == 11
    assert_within(evaluate(on(runtime)), truth, limits, kernels)
    # The bound says something: gradients are right to a few parts in a hundred of their size.
    for name, value in truth.items():
        assert np.max(limits[name]) < 0.1 * max(np.max(np.abs(value)), 0.2), name


def test_a_tap_is_read_where_it_was_written(runtime: milane.Runtime) -> None:
    """The surface of an output is bound as the next kernel's input."""
    sizes = CASES[3]
    w = block_weights(sizes)
    x = four(halves((sizes.dim, sizes.seq), 1))
    attention = runtime.compile_dynamic(program("sdpa_fwd", sizes), 1)
    projection = runtime.compile_dynamic(program("wo_fwd", sizes), 2)
    for kernel in (attention, projection):
        for name in kernel.weights:
            kernel.write_weight(name, as_input(w[name]))
    surfaces = {
        "attn": attention.outputs["attn"].surface,
        "inp": attention.inputs["inp"].surface,
    }
    request = projection.bind(surfaces)
    taps = attention(inp=x)
    attention.inputs["inp"].array[...] = x
    request.eval()
    chained = np.array(request.outputs["mid"].array)
    np.testing.assert_array_equal(chained, projection(attn=taps["attn"], inp=x)["mid"])
    assert chained.any()


# Text


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dialect", ["ios16", "ios18"])
def test_programs_are_sound_and_print_to_a_fixed_point(kernel: str, dialect: str) -> None:
    for sizes in [*CASES, *REAL]:
        made = program(kernel, sizes, dialect=dialect)
        text = str(made)
        parsed = mil.parse(text)
        parsed.verify()
        assert str(parsed) == text == str(program(kernel, sizes, dialect=dialect))
        assert core_mil.broken_limits(parsed) == []
        assert f"func main<{dialect}>" in text
        assert list(made.inputs) == sorted(made.inputs)
        assert list(made.outputs) == sorted(made.outputs)
        # What stands in files has known values, the same for every layer.
        assert {weight.name for weight in made.weights} == set(made.data)


@pytest.mark.parametrize("kernel", KERNELS)
def test_both_dialects_compute_the_same_bits(runtime: milane.Runtime, kernel: str) -> None:
    sizes = CASES[5]
    given = step(kernel, sizes, block_weights(sizes))
    w = block_weights(sizes)
    everything = {name: four(array) for name, array in given.inputs.items()}
    everything |= {name: as_input(w[name]) for name in given.weights}
    results = []
    for dialect in ("ios16", "ios18"):
        with runtime.compile(program(kernel, sizes, dialect=dialect)) as compiled:
            results.append(compiled(**everything))
    for name in given.truth:
        np.testing.assert_array_equal(results[0][name], results[1][name])
        assert results[0][name].any()


def test_the_table_of_the_module_is_what_the_programs_have() -> None:
    """Kernel, inputs, outputs and weights of the docstring's table."""
    text = mil.training.__doc__ or ""
    rules = [i for i, line in enumerate(text.splitlines()) if line.startswith("=====")]
    rows: list[list[str]] = []
    columns = [(0, 27), (27, 55), (55, 83), (83, None)]
    for line in text.splitlines()[rules[1] + 1 : rules[2]]:
        cells = [line[a:b].strip() for a, b in columns]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    assert len(rows) == 8
    for kernel, *rest in rows:
        inputs, outputs, weights = (
            [n.strip() for n in cell.split(",") if n.strip() != "(none)"] for cell in rest
        )
        made = program(kernel.strip("`"), CASES[0])
        assert list(made.inputs) == inputs + weights
        assert list(made.outputs) == outputs


# What is refused


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("size", [0, -1, 1.5, True], ids=repr)
def test_sizes_that_are_none_are_refused(kernel: str, position: int, size: Any) -> None:
    arguments: list[Any] = [8, 2, 4]
    arguments[position] = size
    with pytest.raises(
        milane.InvalidArgumentError, match=r"gen_\w+_dynamic: expected \w+ to be an"
    ):
        KERNELS[kernel](*arguments)


@pytest.mark.parametrize("kernel", [k for k in KERNELS if not k.startswith("ffn")])
def test_heads_that_do_not_fit_are_refused(kernel: str) -> None:
    generator: Callable[..., mil.MILProgram] = KERNELS[kernel]
    with pytest.raises(milane.InvalidArgumentError, match="expected heads to divide dim"):
        generator(8, 3, 4)
    takes = inspect.signature(generator).parameters
    if "n_kv_heads" in takes:
        with pytest.raises(
            milane.InvalidArgumentError, match="expected n_kv_heads to divide heads"
        ):
            generator(8, 4, 4, n_kv_heads=3)
    if "rope" in takes:
        with pytest.raises(
            milane.InvalidArgumentError, match="expected an even head size for rope"
        ):
            generator(9, 3, 4, rope="interleaved")
    if "eps" in takes:
        with pytest.raises(
            milane.InvalidArgumentError, match="expected eps to be positive in fp16"
        ):
            generator(8, 2, 4, eps=0.0)
