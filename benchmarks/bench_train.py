"""How long does a training step of stories110M's shape take, kernels and CPU part, next to PyTorch?

One sequence of 256 positions, forward, backward, clipping and Adam, everything `milane train` does
in a step. PyTorch's is eager and through torch.compile, in fp32 and with bf16 autocast, with its
fused Adam. Checked are gradients of the first step: of wq in the first layer and of w2 in the last.
The limit counts the products: three times the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import llama
import numpy as np
from measure import COARSE, HALF, Case, Options, Variant, main
from peers import Array, host, optional, torch_missing

from milane.train import ModelConfig, ModelWeights
from milane.train.data import TokenData
from milane.train.loop import Trainer, TrainOptions
from milane.train.model import Model

LOSS_SCALE = 1024.0
NAMES = ("wq", "wk", "wv", "wo", "w1", "w2", "w3", "rms_att", "rms_ffn")


class TorchModel:
    """Weights as leaves with gradients, and the loss of one sequence."""

    def __init__(self, torch: Any, weights: ModelWeights, seq: int) -> None:
        self.torch, self.t = torch, llama.Torch(torch, torch.float32, seq)

        def leaf(array: Array) -> Any:
            return torch.tensor(array).requires_grad_()

        self.layers = [{n: leaf(getattr(w, n)) for n in NAMES} for w in weights.layers]
        self.embed, self.last = leaf(weights.embed), leaf(weights.rms_final)
        each = [p for layer in self.layers for p in layer.values()]
        self.parameters = [self.embed, self.last, *each]

    def loss(self, tokens: Any, targets: Any) -> Any:
        """The mean cross entropy."""
        torch, f = self.torch, self.t.f
        x = self.embed[tokens]
        for w in self.layers:
            fused = {
                "qkv": torch.cat([w["wq"], w["wk"], w["wv"]]),
                "w13": torch.cat([w["w1"], w["w3"]]),
                **{"wo": w["wo"], "w2": w["w2"], "att": w["rms_att"], "ffn": w["rms_ffn"]},
            }
            x = self.t.ffn_block(self.t.attention_block(x, fused), fused)
        logits = f.linear(self.t.norm(x, self.last), self.embed)
        return f.cross_entropy(logits.float(), targets)


def torch_step(
    torch: Any, model: TorchModel, tokens: Any, targets: Any, *, compiled: bool, bf16: bool
) -> tuple[Callable[[], None], Callable[[], Array]]:
    """One step, and the gradients that are checked."""
    optimizer = torch.optim.AdamW(model.parameters, lr=1e-6, fused=True)
    loss = torch.compile(model.loss, dynamic=False) if compiled else model.loss

    def backward() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            value = loss(tokens, targets)
        value.backward()

    def step() -> None:
        backward()
        torch.nn.utils.clip_grad_norm_(model.parameters, 1.0)
        optimizer.step()

    def gradients() -> Array:
        backward()
        parts = (model.layers[0]["wq"].grad, model.layers[-1]["w2"].grad)
        return np.concatenate([p.float().numpy().ravel() for p in parts])

    return step, gradients


def cases(options: Options) -> Iterator[Case]:
    """One."""
    if options.short:
        config = ModelConfig(
            dim=64, hidden_dim=128, n_layers=2, n_heads=2, n_kv_heads=2, vocab_size=64, seq_len=32
        )
    else:
        config = ModelConfig.stories110m().with_seq_len(llama.SEQ)
    seq = config.seq_len
    data = TokenData(np.random.default_rng(0).integers(0, config.vocab_size, 100 * seq), seq)
    tokens, targets = data.train(0)
    weights = ModelWeights.random(config)
    variants: dict[str, Variant] = {}
    with host() as runtime:
        grads = ModelWeights.zeros(config)
        with Model(runtime, weights, seq) as model:
            model.accumulate(tokens, targets, grads, LOSS_SCALE)
        own = [grads.layers[0].wq.ravel(), grads.layers[-1].w2.ravel()]
        found = np.concatenate(own) / LOSS_SCALE
        own_options = TrainOptions(steps=10_000, batch=1, lr=1e-6, eval_every=0, checkpoint_every=0)
        trainer = Trainer(runtime, ModelWeights.random(config), data, own_options)
        variants["milane"] = Variant(trainer.step, lambda: found, HALF)
        torch = None if options.short else optional("torch")
        expected = None
        if torch is not None:
            torch.set_num_threads(options.threads)
            index, wanted = (torch.from_numpy(np.asarray(t, np.int64)) for t in (tokens, targets))
            reference = TorchModel(torch, weights, seq)
            expected = torch_step(torch, reference, index, wanted, compiled=False, bf16=False)[1]()
            for bf16 in (False, True):
                for compiled in (False,) if options.no_compile else (False, True):
                    made = TorchModel(torch, weights, seq)
                    step, gradients = torch_step(
                        torch, made, index, wanted, compiled=compiled, bf16=bf16
                    )
                    name = f"PyTorch {'bf16 autocast' if bf16 else 'fp32'}"
                    name += " compiled" if compiled else ""
                    # Taken here: steps change the weights.
                    variants[name] = Variant(step, held(gradients()), COARSE if bf16 else HALF)
        n = config.n_layers
        products = config.total_params - (2 * n + 1) * config.dim
        yield Case(
            f"a step, {n} layers, {seq} positions",
            variants,
            expected,
            # Forward and backward: twice a forward pass's roundings.
            roundings=2 * 16 * (2 * n) ** 0.5,
            limit="fma",
            work=3 * (2.0 * seq * products + n * llama.attention_flops(seq)),
            missing={} if options.short else torch_missing(torch),
        )
        trainer.close()


def held(gradients: Array) -> Callable[[], Array]:
    """What is known already, as a result."""
    return lambda: gradients


if __name__ == "__main__":
    main(__doc__ or "", cases)
