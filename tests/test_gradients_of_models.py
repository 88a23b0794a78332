"""A transformer layer and a small CNN through gradient: held against PyTorch, then trained.

Their weights are inputs of the program, so all steps run on one kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the witness")

import torch
import torch.nn.functional as F  # noqa: N812

import milane
from gradient_harness import Array
from milane import lint, mil
from milane.graph import Graph, Tensor, ops
from on_device import refused
from reference import evaluate
from tolerance import program_tolerance

STEPS = 100
LOSS_SCALE = 256.0  # of gradients in fp16: the smallest ones would be lost


@dataclass(frozen=True)
class Model:
    """What is trained: a loss of data and weights, in the graph and in PyTorch, and how fast."""

    name: str
    data: dict[str, Array]
    weights: dict[str, Array]
    graph: Callable[..., Tensor]
    torch: Callable[..., Any]
    rate: float

    def __str__(self) -> str:
        return self.name


# --- a transformer layer: attention of two heads behind RMSNorm, then SwiGLU behind RMSNorm

B, S, D, HEADS, HIDDEN = 2, 8, 16, 2, 32


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    mean = ops.reduce_mean(ops.square(x), axes=[-1], keep_dims=True)
    return x * ops.pow(mean + 1e-3, -0.5) * gain


def heads(x: Tensor) -> Tensor:
    split = ops.reshape(x, shape=[B, S, HEADS, D // HEADS])
    return ops.transpose(split, perm=[0, 2, 1, 3])


def transformer(x: Tensor, target: Tensor, **w: Tensor) -> Tensor:
    h = rms_norm(x, w["norm1"])
    q, k, v = (heads(ops.matmul(h, w[name])) for name in ("wq", "wk", "wv"))
    scores = ops.matmul(q * (D // HEADS) ** -0.5, k, transpose_y=True)
    mask = np.triu(np.full((S, S), -40000.0, np.float32), 1)
    attended = ops.matmul(ops.softmax(scores + mask, axis=-1), v)
    merged = ops.reshape(ops.transpose(attended, perm=[0, 2, 1, 3]), shape=[B, S, D])
    x = x + ops.matmul(merged, w["wo"])
    h = rms_norm(x, w["norm2"])
    x = x + (ops.silu(h @ w["w1"]) * (h @ w["w3"])) @ w["w2"]
    return ops.reduce_mean(ops.square(x - target), keep_dims=True)


def transformer_in_torch(x: Any, target: Any, **w: Any) -> Any:
    def norm(x: Any, gain: Any) -> Any:
        return x * (x.square().mean(-1, keepdim=True) + 1e-3).rsqrt() * gain

    h = norm(x, w["norm1"])
    q, k, v = ((h @ w[n]).reshape(B, S, HEADS, -1).transpose(1, 2) for n in ("wq", "wk", "wv"))
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + attended.transpose(1, 2).reshape(B, S, D) @ w["wo"]
    h = norm(x, w["norm2"])
    x = x + (F.silu(h @ w["w1"]) * (h @ w["w3"])) @ w["w2"]
    return (x - target).square().mean()


# --- a small CNN: two convolutions with a pool behind each, and a classifier of every patch; one
# image, since weights that are inputs are said to be taken with a batch of 1 only

PATCHES, CLASSES = 16, 4


def cnn(x: Tensor, target: Tensor, **w: Tensor) -> Tensor:
    pad = {"pad_type": "custom", "pad": [1, 1, 1, 1]}
    h = ops.relu(ops.conv(x, w["conv1"], **pad))
    h = ops.max_pool(h, kernel_sizes=[2, 2], strides=[2, 2])
    h = ops.relu(ops.conv(h, w["conv2"], **pad))
    h = ops.avg_pool(h, kernel_sizes=[2, 2], strides=[2, 2])
    features = ops.reshape(h, shape=[8, PATCHES])
    logits = ops.matmul(features, w["head"], transpose_x=True) + w["bias"]
    chances = logits - ops.reduce_log_sum_exp(logits, axes=[-1], keep_dims=True)
    return ops.reduce_sum(chances * target, keep_dims=True) * (-1.0 / PATCHES)


def cnn_in_torch(x: Any, target: Any, **w: Any) -> Any:
    h = F.max_pool2d(F.conv2d(x, w["conv1"], padding=1).relu(), 2)
    h = F.avg_pool2d(F.conv2d(h, w["conv2"], padding=1).relu(), 2)
    return F.cross_entropy(h.reshape(8, PATCHES).T @ w["head"] + w["bias"], target)


def models() -> list[Model]:
    random = np.random.default_rng(11)

    def normal(*shape: int, scale: float = 1.0) -> Array:
        return (random.normal(size=shape) * scale).astype(np.float16).astype(np.float64)

    layer = {
        "norm1": np.ones(D),
        **{name: normal(D, D, scale=D**-0.5) for name in ("wq", "wk", "wv", "wo")},
        "norm2": np.ones(D),
        "w1": normal(D, HIDDEN, scale=D**-0.5),
        "w3": normal(D, HIDDEN, scale=D**-0.5),
        "w2": normal(HIDDEN, D, scale=HIDDEN**-0.5),
    }
    net = {
        "conv1": normal(4, 1, 3, 3, scale=1 / 3),
        "conv2": normal(8, 4, 3, 3, scale=1 / 6),
        "head": normal(8, CLASSES, scale=8**-0.5),
        "bias": np.zeros(CLASSES),
    }
    labels = np.eye(CLASSES)[np.arange(PATCHES) % CLASSES]
    return [
        Model(
            "a transformer layer",
            {"x": normal(B, S, D), "target": normal(B, S, D)},
            layer,
            transformer,
            transformer_in_torch,
            0.05,
        ),
        Model(
            "a small CNN",
            {"x": normal(1, 1, 16, 16), "target": labels},
            net,
            cnn,
            cnn_in_torch,
            0.1,
        ),
    ]


MODELS = models()


def program(model: Model, dtype: str = "fp16") -> mil.MILProgram:
    """The loss and the gradients of all weights: one program, weights and data as inputs."""
    graph = Graph()
    arrays = {**model.data, **model.weights}
    given = {name: graph.input(name, a.shape, dtype) for name, a in arrays.items()}
    loss = model.graph(**given)
    weights = [given[name] for name in model.weights]
    found = graph.gradient(loss, weights, loss_scale=LOSS_SCALE)
    graph.output("loss", loss)
    for name, dw in zip(model.weights, found, strict=True):
        graph.output(f"d_{name}", dw)
    return graph.program()


def in_torch(model: Model, weights: dict[str, Array]) -> tuple[float, dict[str, Array]]:
    """The loss and the gradients of PyTorch in float64."""
    data = {n: torch.tensor(a, dtype=torch.float64) for n, a in model.data.items()}
    tensors = {
        n: torch.tensor(a, dtype=torch.float64, requires_grad=True) for n, a in weights.items()
    }
    loss = model.torch(**data, **tensors)
    found = torch.autograd.grad(loss, list(tensors.values()))
    return loss.item(), {n: g.numpy() for n, g in zip(tensors, found, strict=True)}


def folder_of(made: mil.MILProgram, tmp_path: Any) -> Any:
    for path, content in made.weight_files().items():
        file = tmp_path / path.removeprefix("@model_path/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_model_s_gradients_are_those_of_autograd(model: Model, tmp_path: Any) -> None:
    made = program(model, "fp32")
    loss, expected = in_torch(model, model.weights)
    found = evaluate(str(made), folder_of(made, tmp_path), {**model.data, **model.weights})
    # float64 but for constants, which fp32 rounds to 2^-24: epsilon, scales and means.
    near = {"rtol": 2.0**-18, "atol": 2.0**-20}
    np.testing.assert_allclose(found["loss"].item(), loss, **near)
    for name, dw in expected.items():
        np.testing.assert_allclose(found[f"d_{name}"] / LOSS_SCALE, dw, **near)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_nothing_in_a_model_s_gradient_is_refused_or_silently_wrong(model: Model) -> None:
    found = lint.lint(program(model).program)
    assert {f.rule for f in found if f.severity in ("refused", "silently wrong")} == set()


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_backend_computes_a_model_s_gradients_within_fp16(
    model: Model, runtime: milane.Runtime, tmp_path: Any
) -> None:
    made = program(model)
    assert not refused(runtime, made.program)
    feeds = {n: a.astype(np.float16) for n, a in {**model.data, **model.weights}.items()}
    truth, limits = program_tolerance(str(made), folder_of(made, tmp_path), feeds)
    with runtime.compile(made) as kernel:
        found = kernel(**feeds)
    for name, value in truth.items():
        off = np.abs(found[name].astype(np.float64) - value)
        assert np.all(off <= limits[name]), (name, float(np.max(off - limits[name])))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_model_learns_as_in_pytorch_with_one_compile(
    model: Model, runtime: milane.Runtime
) -> None:
    data = {n: a.astype(np.float16) for n, a in model.data.items()}
    ours = {n: a.astype(np.float32) for n, a in model.weights.items()}
    theirs = dict(model.weights)
    losses: list[tuple[float, float]] = []
    with runtime.compile(program(model), use_cache=False) as kernel:
        for _ in range(STEPS):
            found = kernel(**data, **{n: w.astype(np.float16) for n, w in ours.items()})
            loss, gradients = in_torch(model, theirs)
            losses.append((found["loss"].item(), loss))
            for name, gradient in gradients.items():
                step = found[f"d_{name}"].astype(np.float32) / LOSS_SCALE
                ours[name] = ours[name] - model.rate * step
                theirs[name] = theirs[name] - model.rate * gradient
    assert runtime.compile_count == 1
    got, want = np.array(losses).T
    assert np.all(np.diff(got) < 0)
    assert got[-1] < 0.15 * got[0]
    # Some thirty operations lie between the weights and the loss, each of which rounds to 2^-11;
    # descent pulls together again what these roundings push apart.
    np.testing.assert_allclose(got, want, rtol=32 * 2.0**-11)
