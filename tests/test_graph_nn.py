"""The layers of milane.graph.nn: against PyTorch, on both backends, and as the linter sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the witness")

import torch
import torch.nn.functional as F  # noqa: N812

import milane
from gradient_harness import grid
from milane.graph import Graph, Tensor, nn
from on_device import refusals
from reference import evaluate
from tolerance import program_tolerance

Array = np.ndarray[Any, Any]
# Constants of an fp32 program are rounded to 2^-24, and enter a result a few times.
ROUNDED_CONSTANTS = 32 * 2.0**-24


@dataclass(frozen=True)
class Layer:
    """A use of a layer: what builds it and PyTorch's same, of inputs by name."""

    id: str
    build: Callable[..., Tensor]
    torch: Callable[..., Any]
    inputs: Mapping[str, Array]
    baked: tuple[str, ...] = ()  # constants of the graph
    fp16: bool = True  # whether the values stay in its range

    def __str__(self) -> str:
        return self.id


@dataclass
class Made:
    """A layer as a program, its inputs, and the folder of its weights."""

    program: milane.mil.MILProgram
    feeds: dict[str, Array] = field(default_factory=dict)
    folder: Path | None = None


def made(layer: Layer, dtype: str, tmp_path: Path) -> Made:
    graph = Graph()
    tensors = []
    feeds = {}
    for name, array in layer.inputs.items():
        kind = dtype if array.dtype.kind == "f" else "int32"
        if name in layer.baked:
            tensors.append(graph.weight(name, array.shape, dtype, data=array))
        else:
            tensors.append(graph.input(name, array.shape, kind))
            number = np.float16 if dtype == "fp16" else np.float32
            feeds[name] = array.astype(number) if kind == dtype else array
    graph.output("out", layer.build(*tensors))
    program = graph.program()
    for path, content in program.weight_files().items():
        file = tmp_path / path.removeprefix("@model_path/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return Made(program, feeds, tmp_path)


def _norms() -> list[Layer]:
    layers = []
    for c, s in ((8, 3), (64, 32), (96, 7)):
        gamma, beta = grid((c,), seed=1), grid((c,), seed=2)
        last, first = grid((2, s, c)), grid((1, c, 1, s))
        layers += [
            Layer(f"layer_norm of {(2, s, c)}", nn.layer_norm,
                  lambda x, g, b: F.layer_norm(x, x.shape[-1:], g, b),
                  {"x": last, "gamma": gamma, "beta": beta}, ("gamma", "beta")),
            Layer(f"layer_norm of {(1, c, 1, s)} along 1",
                  lambda x, g, b: nn.layer_norm(x, g, b, axis=1, epsilon=0.25),
                  lambda x, g, b: F.layer_norm(x.movedim(1, -1), g.shape, g, b, 0.25).movedim(-1, 1),
                  {"x": first, "gamma": gamma, "beta": beta}),
            Layer(f"rms_norm of {(2, s, c)}", nn.rms_norm,
                  lambda x, g: F.rms_norm(x, g.shape, g, 1e-5), {"x": last, "gamma": gamma}),
            Layer(f"rms_norm of {(1, c, 1, s)} along 1, safe",
                  lambda x, g: nn.rms_norm(x, g, axis=1, epsilon=0.25, safe=True),
                  lambda x, g: F.rms_norm(x.movedim(1, -1), g.shape, g, 0.25).movedim(-1, 1),
                  {"x": first, "gamma": gamma}, ("gamma",)),
        ]  # fmt: skip
    layers.append(Layer("layer_norm without weights", nn.layer_norm,
                        lambda x: F.layer_norm(x, x.shape[-1:]), {"x": grid((4, 16))}))  # fmt: skip
    layers.append(Layer("rms_norm of large numbers, safe", lambda x: nn.rms_norm(x, safe=True),
                        lambda x: F.rms_norm(x, x.shape[-1:], None, 1e-5), {"x": grid((3, 32)) * 16384}))  # fmt: skip
    return layers


def _activations() -> list[Layer]:
    x = {"x": grid((1, 16, 1, 33), -6, 6)}
    return [
        Layer("gelu", nn.gelu, F.gelu, x),
        Layer("gelu by tanh", lambda x: nn.gelu(x, approximate="tanh"),
              lambda x: F.gelu(x, approximate="tanh"), x),
        Layer("gelu by tanh of large numbers", lambda x: nn.gelu(x, approximate="tanh"),
              lambda x: F.gelu(x, approximate="tanh"), {"x": np.array([[-2048.0, -300, -50, 0, 50, 300, 2048]])}),
        Layer("silu", nn.silu, F.silu, x),
    ]  # fmt: skip


def _linears() -> list[Layer]:
    layers = []
    for batch, c, o, s in ((1, 4, 6, 5), (2, 32, 16, 8), (1, 64, 128, 32)):
        w, b = grid((o, c), -0.5, 0.5), grid((o,), seed=1)
        for baked in ((), ("w", "b")):
            how = "stored" if baked else "at run time"
            layers += [
                Layer(f"linear of {(batch, s, c)} to {o}, weights {how}", nn.linear, F.linear,
                      {"x": grid((batch, s, c)), "w": w, "b": b}, baked),
                Layer(f"linear of {(batch, c, 2, s)} to {o} along 1, weights {how}",
                      lambda x, w, b: nn.linear(x, w, b, axis=1),
                      lambda x, w, b: F.conv2d(x, w[:, :, None, None], b),
                      {"x": grid((batch, c, 2, s)), "w": w, "b": b}, baked),
            ]  # fmt: skip
    layers.append(Layer("linear along 1 by a stored kernel", lambda x, w: nn.linear(x, w, axis=1), F.conv2d,
                        {"x": grid((2, 4, 1, 5)), "w": grid((6, 4, 1, 1), seed=1)}, ("w",)))  # fmt: skip
    hidden = {
        "gate": grid((24, 8), seed=1),
        "up": grid((24, 8), seed=2),
        "down": grid((8, 24), seed=3),
    }
    layers += [
        Layer("swiglu", nn.swiglu, _swiglu, {"x": grid((5, 8)), **hidden}),
        Layer("swiglu along 1", lambda x, *w: nn.swiglu(x, *w, axis=1),
              lambda x, *w: _swiglu(x.movedim(1, -1), *w).movedim(-1, 1),
              {"x": grid((1, 8, 1, 5)), **hidden}, ("gate", "up", "down")),
    ]  # fmt: skip
    array = np.array(grid((6, 4)))
    layers.append(Layer("linear by an array", lambda x: nn.linear(x, array, np.ones(6)),
                        lambda x: x @ torch.tensor(array).T + 1, {"x": grid((3, 4))}))  # fmt: skip
    layers.append(Layer("linear along 1 by an array", lambda x: nn.linear(x, array, np.ones(6), axis=1),
                        lambda x: F.conv2d(x, torch.tensor(array)[:, :, None, None]) + 1, {"x": grid((1, 4, 1, 3))}))  # fmt: skip
    return layers


def _swiglu(x: Any, gate: Any, up: Any, down: Any) -> Any:
    return (F.silu(x @ gate.T) * (x @ up.T)) @ down.T


def _attentions() -> list[Layer]:
    layers = []
    for n, heads, kv, s, t, d in (
        (1, 2, 2, 4, 4, 8),
        (2, 4, 2, 5, 5, 8),
        (1, 6, 1, 3, 7, 16),
        (1, 8, 8, 1, 33, 4),
    ):
        qkv = {
            "q": grid((n, heads, s, d)),
            "k": grid((n, kv, t, d), seed=1),
            "v": grid((n, kv, t, d), seed=2),
        }
        shared = heads != kv
        name = f"{heads} heads over {kv}, {s} queries, {t} keys"

        def plain(q: Any, k: Any, v: Any, g: bool = shared) -> Any:
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=g)

        def causal(q: Any, k: Any, v: Any, g: bool = shared) -> Any:
            s, t = q.shape[2], k.shape[2]
            seen = torch.ones(s, t, dtype=torch.bool).tril(t - s)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=g)

        def masked(q: Any, k: Any, v: Any, m: Any, g: bool = shared) -> Any:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=m, scale=0.5, enable_gqa=g)

        layers += [
            Layer(f"attention, {name}", nn.attention, plain, qkv),
            Layer(f"causal attention, {name}", lambda q, k, v: nn.attention(q, k, v, causal=True), causal, qkv),
            Layer(f"masked attention, {name}",
                  lambda q, k, v, m: nn.attention(q, k, v, mask=m, scale=0.5), masked,
                  {**qkv, "mask": grid((n, heads, s, t), seed=3)}),
        ]  # fmt: skip
    see = np.array([[True, False, True], [False, True, True], [True, True, True]])
    layers.append(Layer(
        "attention that an array of bool masks, and causal", lambda q, k, v: nn.attention(q, k, v, mask=see, causal=True),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=torch.tensor(see).tril()),
        {"q": grid((1, 2, 3, 4)), "k": grid((1, 2, 3, 4), seed=1), "v": grid((1, 2, 3, 4), seed=2)},
    ))  # fmt: skip
    return layers


def _turned(x: Any, cos: Any, sin: Any) -> Any:
    """Interleaved, by complex numbers: an independent way."""
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
    return torch.view_as_real(pairs * torch.complex(cos, sin)).reshape(x.shape)


def _turned_halves(x: Any, cos: Any, sin: Any) -> Any:
    x = x.reshape(*x.shape[:-1], 2, -1).transpose(-1, -2).reshape(x.shape)
    y = _turned(x, cos, sin)
    return y.reshape(*x.shape[:-1], -1, 2).transpose(-1, -2).reshape(x.shape)


def _ropes() -> list[Layer]:
    layers = []
    for shape in ((5, 8), (2, 3, 4), (1, 4, 7, 16)):
        cos, sin = (a.astype(np.float64) for a in nn.rope_tables(shape[-2], shape[-1], start=3))
        for interleaved in (False, True):
            same = _turned if interleaved else _turned_halves
            which = "neighbours" if interleaved else "halves"
            layers += [
                Layer(f"rope of {shape}, {which}, tables stored",
                      lambda x, c=cos, s=sin, i=interleaved: nn.rope(x, c, s, interleaved=i),
                      lambda x, c=cos, s=sin, f=same: f(x, torch.tensor(c), torch.tensor(s)),
                      {"x": grid(shape)}),
                Layer(f"rope of {shape}, {which}, tables at run time",
                      lambda x, c, s, i=interleaved: nn.rope(x, c, s, interleaved=i), same,
                      {"x": grid(shape), "cos": cos, "sin": sin}),
            ]  # fmt: skip
    return layers


def _classes() -> list[Layer]:
    layers = []
    numbers = np.array([[3, 0, 1, 4], [2, 2, 0, 1]], np.int32)
    for reduction in ("mean", "sum", "none"):
        kept = (1, 1, 1) if reduction != "none" else (2, 4, 1)
        layers += [
            Layer(f"cross_entropy, {reduction}, classes last",
                  lambda x, t, r=reduction: nn.cross_entropy(x, t, reduction=r),
                  lambda x, t, r=reduction, k=kept: F.cross_entropy(x.movedim(-1, 1), t.long(), reduction=r).reshape(k),
                  {"x": grid((2, 4, 5), -4, 4), "t": numbers}),
        ]  # fmt: skip
    layers += [
        Layer("cross_entropy along 1, numbers known", lambda x: nn.cross_entropy(x, numbers, axis=1),
              lambda x: F.cross_entropy(x, torch.tensor(numbers).long()).reshape(1, 1, 1), {"x": grid((2, 5, 4), -4, 4)}),
        Layer("cross_entropy along 1, numbers at run time", lambda x, t: nn.cross_entropy(x, t, axis=1),
              lambda x, t: F.cross_entropy(x, t.long()).reshape(1, 1, 1),
              {"x": grid((2, 5, 4), -4, 4), "t": numbers}),
        Layer("cross_entropy of shares", nn.cross_entropy,
              lambda x, t: F.cross_entropy(x, t).reshape(1, 1), {"x": grid((6, 5), -4, 4), "t": grid((6, 5), 0, 1, 1)}),
        Layer("embedding", lambda t, i: nn.embedding(i, t), lambda t, i: F.embedding(i.long(), t),
              {"table": grid((5, 8)), "i": numbers}),
        Layer("embedding of places known", lambda t: nn.embedding(numbers, t),
              lambda t: F.embedding(torch.tensor(numbers).long(), t), {"table": grid((5, 8))}, ("table",)),
    ]  # fmt: skip
    return layers


LAYERS = [*_norms(), *_activations(), *_linears(), *_attentions(), *_ropes(), *_classes()]


def _expected(layer: Layer) -> Array:
    floats = [
        torch.tensor(a, dtype=torch.float64 if a.dtype.kind == "f" else None)
        for a in layer.inputs.values()
    ]
    return np.asarray(layer.torch(*floats).numpy())


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_layer_is_what_pytorch_computes(layer: Layer, tmp_path: Path) -> None:
    it = made(layer, "fp32", tmp_path)
    exact = {n: layer.inputs[n] for n in it.feeds}
    found = evaluate(str(it.program), it.folder, exact)["out"]
    want = _expected(layer)
    assert found.shape == want.shape
    scale = np.max(np.abs(want), initial=1.0)
    np.testing.assert_allclose(found, want, rtol=ROUNDED_CONSTANTS, atol=scale * ROUNDED_CONSTANTS)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_backend_computes_the_layer_within_its_roundings(
    layer: Layer, dtype: str, runtime: milane.Runtime, tmp_path: Path
) -> None:
    it = made(layer, dtype, tmp_path)
    with np.errstate(over="ignore"):
        truth, limits = program_tolerance(str(it.program), it.folder, it.feeds)
    with runtime.compile(it.program) as kernel:
        found = kernel(**it.feeds)["out"]
    off = np.abs(found.astype(np.float64) - truth["out"])
    assert np.all(off <= limits["out"]), float(np.max(off - limits["out"]))


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_nothing_in_a_layer_is_known_to_be_refused(layer: Layer, tmp_path: Path) -> None:
    program = made(layer, "fp16", tmp_path).program.program
    assert not refusals(program)
    found = milane.lint.lint(program)
    assert not [f for f in found if f.severity in ("refused", "silently wrong")], found


def test_a_safe_rms_norm_survives_what_overflows_the_other(runtime: milane.Runtime) -> None:
    x = np.full((1, 64), 30000, np.float16)
    graph = Graph()
    given = graph.input("x", x.shape)
    graph.output("plain", nn.rms_norm(given))
    graph.output("safe", nn.rms_norm(given, safe=True))
    with graph.compile(runtime) as kernel:
        found = kernel(x=x)
    assert not found["plain"].any()  # the mean is infinite
    np.testing.assert_allclose(found["safe"], 1.0, atol=2.0**-9)


def test_rope_tables_are_the_angles_of_the_paper() -> None:
    cos, sin = nn.rope_tables(4, 6, base=100.0, start=2)
    angles = [[p * 100.0 ** (-2 * i / 6) for i in range(3)] for p in range(2, 6)]
    np.testing.assert_allclose(cos, np.cos(angles), rtol=2.0**-22)
    np.testing.assert_allclose(sin, np.sin(angles), rtol=2.0**-20)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: nn.linear(x, np.zeros((2, 3)), axis=0), "linear: expected axis -1"),
        (lambda x: nn.attention(x, x, x), "attention: expected tensors of rank 4"),
        (lambda x: nn.cross_entropy(x, np.array([0, 3])), r"expected targets in \[0, 3\), got 0 to 3"),
        (lambda x: nn.cross_entropy(x, np.zeros((3, 2))), "expected targets for logits"),
    ],
    ids=["linear along another axis", "attention of a matrix", "a class that is none", "other targets"],
)  # fmt: skip
def test_what_does_not_fit_is_said(build: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(milane.InvalidArgumentError, match=message):
        build(Graph().input("x", (2, 3)))


def test_heads_that_do_not_divide_are_refused() -> None:
    graph = Graph()
    q, k = graph.input("q", (1, 3, 2, 4)), graph.input("k", (1, 2, 2, 4))
    with pytest.raises(milane.InvalidArgumentError, match="divisible by those of key, got 3 and 2"):
        nn.attention(q, k, k)


def test_a_transformer_block_has_a_gradient(runtime: milane.Runtime) -> None:
    x = grid((1, 2, 4, 8))
    graph = Graph()
    q = graph.input("q", x.shape)
    table = nn.rope_tables(4, 8)
    turned = nn.rope(q, *table)
    y = nn.rms_norm(nn.attention(turned, turned, q, causal=True) + q)
    (dq,) = graph.gradient(y, [q], output_gradients=np.array(grid(x.shape, seed=5)))
    graph.output("dq", dq)
    given = torch.tensor(x, requires_grad=True)
    cos, sin = (torch.tensor(a, dtype=torch.float64) for a in table)
    t = _turned_halves(given, cos, sin)
    z = F.rms_norm(
        F.scaled_dot_product_attention(t, t, given, is_causal=True) + given, (8,), None, 1e-5
    )
    z.backward(torch.tensor(grid(x.shape, seed=5)))
    with graph.compile(runtime) as kernel:
        found = kernel(q=x.astype(np.float16))["dq"]
    want = given.grad.numpy()
    # A chain of some 30 roundings of 2^-11 each.
    np.testing.assert_allclose(found, want, atol=30 * 2.0**-11 * np.abs(want).max())
