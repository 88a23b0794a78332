"""A whole model's losses and gradients against PyTorch autograd in float64, on both backends."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import milane
from milane.train.config import ModelConfig
from milane.train.model import Model
from milane.train.weights import LayerActs, ModelWeights
from tolerance import U32

pytest.importorskip("torch")

from train_witness import loss_of, params_of

U16 = 2.0**-11
# Results that a block rounds to fp16 on the way forward and back, one behind the other.
_ROUNDINGS = 45

CONFIGS = {
    "MHA": ModelConfig(48, 128, 2, 4, 4, 61, 24),
    "GQA": ModelConfig(64, 172, 3, 8, 4, 97, 32),
    "MQA": ModelConfig(32, 80, 1, 4, 1, 30, 7),
    "one head": ModelConfig(16, 40, 2, 1, 1, 20, 16),
    "wide heads": ModelConfig(24, 64, 2, 2, 1, 33, 19, head_dim=16),
    "own classifier": ModelConfig(32, 96, 2, 4, 2, 50, 33, tied=False),
    "one position": ModelConfig(32, 96, 2, 4, 2, 50, 1),
}


def tokens_for(config: ModelConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    both = rng.integers(0, config.vocab_size, config.seq_len + 1)
    return both[:-1], both[1:]


def weights_for(config: ModelConfig) -> ModelWeights:
    """Larger than a run would begin with, so that attention and gates are not all flat."""
    weights = ModelWeights.random(config, seed=4)
    rng = np.random.default_rng(5)
    for _, array in weights.named():
        if array.ndim == 2:
            np.multiply(array, 4, out=array)
        else:
            array[:] = 1 + rng.standard_normal(array.shape) * 0.2
    return weights


def relative(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def deviation(config: ModelConfig) -> float:
    """Four times the spread of a sum of roundings that do not know of each other."""
    return 4 * math.sqrt(_ROUNDINGS * config.n_layers) * U16


@pytest.mark.parametrize("name", CONFIGS)
def test_losses_and_gradients_are_those_of_autograd(runtime: milane.Runtime, name: str) -> None:
    config = CONFIGS[name]
    weights = weights_for(config)
    tokens, targets = tokens_for(config, 1)
    params = params_of(weights)
    want = loss_of(config, params, tokens, targets)
    want.backward()
    grads = ModelWeights.zeros(config)
    with Model(runtime, weights, config.seq_len) as model:
        loss = model.accumulate(tokens, targets, grads, scale=64.0)
        assert model.loss(tokens, targets) == loss
    assert abs(loss - want.item()) <= deviation(config) * abs(want.item())
    for part, gradient in grads.named():
        expected = params[part].grad
        assert expected is not None
        size = float(expected.norm())
        if size < 1e-12:  # queries and keys of a single position have no gradient
            assert np.abs(gradient).max() <= 64 * U16
            continue
        assert relative(gradient / 64, expected.numpy()) <= deviation(config), part


def test_gradients_add_up_over_sequences(runtime: milane.Runtime) -> None:
    config = CONFIGS["GQA"]
    weights = weights_for(config)
    first, second = (tokens_for(config, seed) for seed in (1, 2))
    with Model(runtime, weights) as model:
        alone = [ModelWeights.zeros(config) for _ in range(2)]
        for grads, pair in zip(alone, (first, second), strict=True):
            model.accumulate(*pair, grads)
        together = ModelWeights.zeros(config)
        model.accumulate(*first, together)
        model.accumulate(*second, together)
    for (name, both), (_, a), (_, b) in zip(
        together.named(), alone[0].named(), alone[1].named(), strict=True
    ):
        bound = 4 * config.seq_len * U32 * (np.abs(a).max() + np.abs(b).max())
        assert np.abs(both - (a + b)).max() <= bound, name


def test_both_backends_give_the_same_bits(both) -> None:  # type: ignore[no-untyped-def]
    config = CONFIGS["GQA"]
    tokens, targets = tokens_for(config, 3)
    seen = []
    for runtime in (both.host, both.ane):
        grads = ModelWeights.zeros(config)
        with Model(runtime, weights_for(config)) as model:
            loss = model.accumulate(tokens, targets, grads)
        seen.append((loss, [array.tobytes() for _, array in grads.named()]))
    assert seen[0] == seen[1]


def test_activations_are_those_of_the_last_forward_pass(runtime: milane.Runtime) -> None:
    config = CONFIGS["GQA"]
    weights = weights_for(config)
    tokens, targets = tokens_for(config, 6)
    with Model(runtime, weights) as model:
        model.loss(tokens, targets)
        acts = [model.activations(i) for i in range(config.n_layers)]
        with pytest.raises(IndexError):
            model.activations(config.n_layers)
    shapes = {n: a.shape for n, a in vars(LayerActs.zeros(config)).items()}
    for layer, of in zip(weights.layers, acts, strict=True):
        assert {n: a.shape for n, a in vars(of).items()} == shapes
        made = {
            "xnorm": rms(of.layer_in, layer.rms_att),
            "o_out": layer.wo @ of.attn_out,
            "x2norm": rms(of.x2, layer.rms_ffn),
            "h1": layer.w1 @ of.x2norm,
            "silu_out": of.h1 / (1 + np.exp(-of.h1)) * of.h3,
            "ffn_out": layer.w2 @ of.silu_out,
        }
        for name, want in made.items():
            # One product or norm of the rounded operands, and a residual's rounding.
            got = getattr(of, name)
            assert np.abs(got - want).max() <= 8 * U16 * max(1, np.abs(want).max()), name
    assert np.array_equal(acts[1].layer_in, acts[0].x2 + acts[0].ffn_out)


def rms(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x.astype(np.float64) ** 2).mean(0) + 1e-5) * w[:, None]


def test_new_weights_take_effect_without_a_compile(runtime: milane.Runtime) -> None:
    config = CONFIGS["MHA"]
    tokens, targets = tokens_for(config, 1)
    weights = weights_for(config)
    with Model(runtime, weights) as model:
        before, compiled = model.loss(tokens, targets), runtime.compile_count
        for _, array in weights.named():
            np.multiply(array, 0.5, out=array)
        model.upload()
        after = model.loss(tokens, targets)
        assert runtime.compile_count == compiled
    want = loss_of(config, params_of(weights), tokens, targets).item()
    assert abs(after - want) <= deviation(config) * want
    assert before != after


def test_every_kind_of_kernel_is_compiled_once(host_runtime: milane.Runtime) -> None:
    config = replace(CONFIGS["MHA"], n_layers=5)
    with Model(host_runtime, ModelWeights.random(config)):
        assert host_runtime.compile_count == 8


def test_a_model_of_no_room_for_its_compiles_leaves_nothing_open() -> None:
    with milane.open("host", compile_budget=3) as runtime:
        with pytest.raises(milane.CompileBudgetExhaustedError):
            Model(runtime, ModelWeights.random(CONFIGS["MHA"]))
        assert runtime.compile_count == 3


def test_wrong_tokens_are_named(host_runtime: milane.Runtime) -> None:
    config = CONFIGS["MHA"]
    tokens, targets = tokens_for(config, 1)
    with Model(host_runtime, weights_for(config)) as model:
        with pytest.raises(milane.InvalidArgumentError, match=r"tokens in \[0, 61\), got 61 at 3"):
            model.loss(np.where(np.arange(24) == 3, 61, tokens), targets)
        with pytest.raises(milane.InvalidArgumentError, match=r"targets in \[0, 61\), got 99 at 0"):
            model.loss(tokens, np.where(np.arange(24) == 0, 99, targets))
        with pytest.raises(milane.InvalidArgumentError, match=r"24 tokens, got shape \[5\]"):
            model.loss(tokens[:5], targets[:5])
    with pytest.raises(milane.InvalidArgumentError, match=r"positions in \[1, 24\], got 25"):
        Model(host_runtime, weights_for(config), 25)
