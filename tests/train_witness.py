"""A llama-type model in PyTorch, written from its formulas: what training is compared with."""

from __future__ import annotations

import numpy as np
import torch

from milane.train.config import ModelConfig
from milane.train.weights import ModelWeights

Params = dict[str, torch.Tensor]


def params_of(weights: ModelWeights, dtype: torch.dtype = torch.float64) -> Params:
    """The weights as leaves that collect gradients."""
    return {
        name: torch.tensor(array, dtype=dtype, requires_grad=True)
        for name, array in weights.named()
    }


def logits_of(config: ModelConfig, params: Params, tokens: np.ndarray) -> torch.Tensor:
    """[positions, vocab]: RMSNorm, rotary attention over neighbouring channels, SwiGLU."""
    positions, heads = len(tokens), config.n_heads
    dtype = params["embed"].dtype
    x = params["embed"][torch.tensor(tokens.astype(np.int64))]
    size = config.head_dim
    frequencies = config.rope_theta ** (-torch.arange(0, size, 2, dtype=dtype) / size)
    angles = torch.outer(torch.arange(positions, dtype=dtype), frequencies)
    turn = torch.polar(torch.ones_like(angles), angles)

    def norm(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + config.norm_eps) * w

    def rope(x: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_complex(x.unflatten(-1, (size // 2, 2)).contiguous())
        return torch.view_as_real(pairs * turn).flatten(-2)

    hidden = torch.full((positions, positions), float("-inf"), dtype=dtype).triu(1)
    for i in range(config.n_layers):
        layer = {k.split(".")[-1]: v for k, v in params.items() if k.startswith(f"layers.{i}.")}
        n = norm(x, layer["rms_att"])
        q, k, v = (
            (n @ layer[w].T).unflatten(-1, (-1, size)).transpose(0, 1) for w in ("wq", "wk", "wv")
        )
        q, k = rope(q), rope(k)
        k, v = (t.repeat_interleave(heads // config.n_kv_heads, 0) for t in (k, v))
        scores = q @ k.transpose(-1, -2) / size**0.5 + hidden
        attention = (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)
        x = x + attention @ layer["wo"].T
        n = norm(x, layer["rms_ffn"])
        gate = n @ layer["w1"].T
        x = x + (gate * torch.sigmoid(gate) * (n @ layer["w3"].T)) @ layer["w2"].T
    return norm(x, params["rms_final"]) @ params.get("classifier", params["embed"]).T


def loss_of(
    config: ModelConfig, params: Params, tokens: np.ndarray, targets: np.ndarray
) -> torch.Tensor:
    """The mean cross-entropy over positions."""
    logits = logits_of(config, params, tokens)
    return torch.nn.functional.cross_entropy(logits, torch.tensor(targets.astype(np.int64)))
