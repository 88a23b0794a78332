"""PyTorch's view of attention and of a transformer block, in float64: what kernels are held to.

Activations are ``[channels, S]``, weights as PyTorch has them, ``[out, in]``. Constants that a
program stores are those it stores: rounded to fp16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import milane
from milane import mil
from milane.blob import rope_tables
from reference import evaluate
from reference.evaluate import Rounding

Array = NDArray[Any]
Outputs = dict[str, Array]
T = torch.Tensor
torch.set_num_threads(1)

EPS = 1e-5


@dataclass(frozen=True)
class Sizes:
    """One attention: what a generator is asked for."""

    says: str
    dim: int
    heads: int
    seq: int
    kv: int | None = None
    head_dim: int | None = None
    rope: str | None = None
    hidden: int = 20

    @property
    def kv_heads(self) -> int:
        return self.kv or self.heads

    @property
    def size(self) -> int:
        return self.head_dim or self.dim // self.heads

    @property
    def q(self) -> int:
        return self.heads * self.size

    @property
    def k(self) -> int:
        return self.kv_heads * self.size

    @property
    def shape(self) -> dict[str, Any]:
        """Keyword arguments that a generator takes for all that is not plain."""
        given = {"n_kv_heads": self.kv, "head_dim": self.head_dim}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def turned(self) -> dict[str, Any]:
        """The same with the rotation."""
        return self.shape | ({"rope": self.rope} if self.rope else {})

    def __str__(self) -> str:
        return self.says


CASES = [
    Sizes("one head", 8, 1, 5),
    Sizes("heads of odd width", 15, 5, 9, hidden=11),
    Sizes("a sequence of one", 12, 3, 1),
    Sizes("groups of three", 24, 6, 7, kv=2, rope="half"),
    Sizes("one key for all", 16, 4, 3, kv=1, rope="interleaved"),
    Sizes("heads wider than dim", 10, 4, 6, kv=2, head_dim=6, rope="half", hidden=9),
    Sizes("more than a row of 64 bytes", 64, 4, 37, rope="interleaved", hidden=48),
]

# Models that people train: programs for them must keep the device's limits.
REAL = [
    Sizes("stories110M", 768, 12, 256, hidden=2048, rope="interleaved"),
    Sizes("Qwen3-0.6B", 1024, 16, 512, kv=8, head_dim=128, hidden=3072, rope="half"),
    Sizes("Llama-3.2-1B", 2048, 32, 512, kv=8, hidden=8192, rope="half"),
]


def half(value: float) -> float:
    return float(np.float16(value))


def halves(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Array:
    """Random values that fp16 holds."""
    values = np.random.default_rng(seed).normal(0, scale, shape)
    return values.astype(np.float16)


def block_weights(sizes: Sizes, seed: int = 0) -> dict[str, Array]:
    """Weights that keep activations at about their size."""
    dim, hidden = sizes.dim, sizes.hidden
    shapes = {
        "wq": (sizes.q, dim), "wk": (sizes.k, dim), "wv": (sizes.k, dim), "wo": (dim, sizes.q),
        "w1": (hidden, dim), "w2": (dim, hidden), "w3": (hidden, dim),
    }  # fmt: skip
    made = {
        name: halves(shape, seed + i, shape[1] ** -0.5)
        for i, (name, shape) in enumerate(shapes.items())
    }
    made["rms_att"] = (1 + halves((dim,), seed + 8, 0.2)).astype(np.float16)
    made["rms_ffn"] = (1 + halves((dim,), seed + 9, 0.2)).astype(np.float16)
    return made


def double(array: Array, *, grad: bool = False) -> T:
    return torch.tensor(np.asarray(array, np.float64), requires_grad=grad)


def rms_norm(x: T, weight: T) -> T:
    return x * (x.square().mean(0) + half(EPS)) ** -0.5 * weight[:, None]


def rotated(x: T, sizes: Sizes, *, seq: int | None = None) -> T:
    """``[n · D, S]`` with every pair turned by its position's angle; unchanged without rope."""
    if sizes.rope is None:
        return x
    cos, sin = rope_tables(sizes.seq, sizes.size, pairing=sizes.rope)
    heads = x.reshape(-1, sizes.size, sizes.seq).transpose(1, 2)  # [n, S, D]
    c, s = double(cos[0, 0]), double(sin[0, 0])
    if sizes.rope == "half":
        n = sizes.size // 2
        partner = torch.cat([-heads[..., n:], heads[..., :n]], -1)
    else:
        partner = torch.stack([-heads[..., 1::2], heads[..., ::2]], -1).reshape(heads.shape)
    return (heads * c + partner * s).transpose(1, 2).reshape(x.shape)


def attention_probs(q: T, k: T, sizes: Sizes, *, causal: bool = True) -> T:
    """``[heads, S, S]``."""
    rows = q.reshape(sizes.heads, sizes.size, sizes.seq).transpose(1, 2)
    columns = k.reshape(sizes.kv_heads, sizes.size, sizes.seq)
    columns = columns.repeat_interleave(sizes.heads // sizes.kv_heads, 0)
    scores = rows @ columns * half(sizes.size**-0.5)
    if causal:
        hidden = torch.ones(sizes.seq, sizes.seq, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores.softmax(-1)


def attended(probs: T, v: T, sizes: Sizes) -> T:
    """``[heads · D, S]``."""
    rows = v.reshape(sizes.kv_heads, sizes.size, sizes.seq).transpose(1, 2)
    rows = rows.repeat_interleave(sizes.heads // sizes.kv_heads, 0)
    return (probs @ rows).transpose(1, 2).reshape(sizes.q, sizes.seq)


def attention_half(x: T, w: dict[str, T], sizes: Sizes) -> dict[str, T]:
    """The attention half of a block: every intermediate by name."""
    xnorm = rms_norm(x, w["rms_att"])
    q = rotated(w["wq"] @ xnorm, sizes)
    k = rotated(w["wk"] @ xnorm, sizes)
    v = w["wv"] @ xnorm
    probs = attention_probs(q, k, sizes)
    attn = attended(probs, v, sizes)
    projected = w["wo"] @ attn
    return {
        "xnorm": xnorm, "q": q, "k": k, "v": v, "probs": probs, "attn": attn,
        "o_out": projected, "x2": x + projected,
    }  # fmt: skip


def ffn_half(x2: T, w: dict[str, T]) -> dict[str, T]:
    """The feed-forward half of a block: every intermediate by name."""
    norm = rms_norm(x2, w["rms_ffn"])
    h1, h3 = w["w1"] @ norm, w["w3"] @ norm
    gate = torch.nn.functional.silu(h1) * h3
    return {"norm_ffn": norm, "h1": h1, "h3": h3, "gate": gate, "out": x2 + w["w2"] @ gate}


def block_gradients(sizes: Sizes, x: Array, dout: Array, w: dict[str, Array]) -> dict[str, Array]:
    """The block's result, and by autograd the gradients of x and of every weight."""
    leaves = {name: double(array, grad=True) for name, array in w.items()}
    start = double(x, grad=True)
    out = ffn_half(attention_half(start, leaves, sizes)["x2"], leaves)["out"]
    out.backward(double(dout))  # type: ignore[no-untyped-call]
    made = {f"d{name}": leaf.grad for name, leaf in leaves.items()} | {"dx": start.grad}
    return {"out": out.detach().numpy()} | {n: g.numpy() for n, g in made.items() if g is not None}


def gradients_of_q_and_k(sizes: Sizes, probs: Array, dp: Array, q: Array, k: Array) -> list[T]:
    """Before the rotation, given q and k behind it: PyTorch's softmax rule, then autograd."""
    square = (sizes.heads, sizes.seq, sizes.seq)
    given, gradient = double(probs).reshape(square), double(dp).reshape(square)
    ds = torch._softmax_backward_data(gradient, given, -1, torch.float64)
    # The rotation is linear: its gradient is that at 0, wherever q and k come from.
    dq = torch.zeros(sizes.q, sizes.seq, dtype=torch.float64, requires_grad=True)
    dk = torch.zeros(sizes.k, sizes.seq, dtype=torch.float64, requires_grad=True)
    rows = (double(q) + rotated(dq, sizes)).reshape(sizes.heads, sizes.size, sizes.seq)
    columns = (double(k) + rotated(dk, sizes)).reshape(sizes.kv_heads, sizes.size, sizes.seq)
    columns = columns.repeat_interleave(sizes.heads // sizes.kv_heads, 0)
    (rows.transpose(1, 2) @ columns * half(sizes.size**-0.5)).backward(ds)
    assert dq.grad is not None
    assert dk.grad is not None
    return [dq.grad, dk.grad]


def scores_of(sizes: Sizes, q: Array, k: Array) -> tuple[Array, Array]:
    """Probabilities as a forward pass leaves them, and any gradient of theirs."""
    probs = attention_probs(double(q), double(k), sizes)
    flat = probs.numpy().reshape(sizes.heads * sizes.seq, sizes.seq).astype(np.float16)
    return flat, halves(flat.shape, 7)


# Running generated programs: on a backend, or by the reference with any rounding.

Engine = Callable[..., dict[str, Array]]


def on(runtime: milane.Runtime) -> Engine:
    """Evaluates ``engine(program, weights, **inputs)`` on a backend; ``[C, S]`` in and out."""

    def engine(program: mil.MILProgram, weights: dict[str, Array], **inputs: Array) -> Outputs:
        with runtime.compile(program, weights=weights) as kernel:
            made = kernel(**{name: four(array) for name, array in inputs.items()})
        return {name: two(array) for name, array in made.items()}

    return engine


def by_reference(folder: Path, rounding: Rounding | None) -> Engine:
    """The same by the reference evaluator, every result rounded as asked."""

    def engine(program: mil.MILProgram, weights: dict[str, Array], **inputs: Array) -> Outputs:
        for path, content in program.weight_files(weights).items():
            file = folder / path.removeprefix("@model_path/")
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        given = {name: four(array) for name, array in inputs.items()}
        made = evaluate(str(program), folder, given, None, {}, rounding=rounding)
        return {name: two(array) for name, array in made.items()}

    return engine


def four(array: Array) -> Array:
    """``[C, S]`` as ``[1, C, 1, S]``; what has more axes stays."""
    return array[None, :, None, :] if array.ndim == 2 else array


def two(array: Array) -> Array:
    """``[1, C, 1, S]`` as ``[C, S]``; what has a height stays."""
    return array[0, :, 0] if array.ndim == 4 and array.shape[2] == 1 else array


def convolution(w: dict[str, Array], **names: str) -> dict[str, Array]:
    """Weights ``[out, in]`` as a 1×1 convolution wants them; ``wot="wo"`` transposes."""
    made = {}
    for name, source in names.items():
        array = w[source]
        if array.ndim == 1:
            made[name] = array[None, :, None, None]
        else:
            made[name] = (array.T if name != source else array)[:, :, None, None]
    return made


def assert_within(
    got: dict[str, Array], truth: dict[str, Array], limits: dict[str, Array], label: str
) -> None:
    """Every value of ``truth`` is met by ``got`` within ``limits``."""
    for name, expected in truth.items():
        assert got[name].shape == expected.shape, (label, name, got[name].shape, expected.shape)
        off = np.abs(got[name].astype(np.float64) - expected)
        excess = np.max(off - limits[name])
        where = np.unravel_index(int(np.argmax(off - limits[name])), off.shape)
        assert excess <= 0, (
            f"{label}: {name} at {where}: expected {expected[where]}, got {got[name][where]}, "
            f"allowed {limits[name][where]}"
        )
