"""Every generator of layers with a formula in PyTorch beside it, over sizes that find mistakes.

Formulas are in float64 over the arrays that the program gets, by name. The constants of a program
are fp16 as its text has them: `half` rounds those of a formula in the same way, so that what is
left between both are the roundings of the program's own operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from milane import blob, mil
from milane.mil import MILProgram

Array = NDArray[Any]
Tensors = dict[str, torch.Tensor]
Make = Callable[..., MILProgram]  # takes the dialect
Formula = Callable[[Tensors], Tensors]

DTYPES = {"fp16": np.float16, "fp32": np.float32, "int8": np.int8, "uint8": np.uint8}


@dataclass(frozen=True)
class Case:
    """One program: how it is made, and what it computes."""

    id: str
    make: Make
    formula: Formula
    # Another scale than 1 for inputs, and than 1 / sqrt(inputs of a row) for weights.
    scales: Mapping[str, float] = field(default_factory=dict)
    # Why it is not written in the older dialect.
    only_ios18: str = ""

    def arrays(self, program: MILProgram) -> tuple[dict[str, Array], dict[str, Array]]:
        """Inputs and weights by name, of the declared dtypes; the same ones every time."""
        rng = np.random.default_rng(len(self.id))
        inputs = {
            name: _random(rng, type.dtype, _sizes(type), self.scales.get(name, 1.0))
            for name, type in program.inputs.items()
        }
        weights = {
            w.name: _random(rng, w.dtype, w.shape, self.scales.get(w.name, _weight_scale(w.shape)))
            for w in program.weights
            if w.name not in program.data
        }
        return inputs, weights

    def expected(self, program: MILProgram) -> dict[str, Array]:
        """What PyTorch computes in float64, by output name."""
        inputs, weights = self.arrays(program)
        known = {**inputs, **program.data, **weights}
        tensors = {n: torch.from_numpy(np.asarray(a, np.float64)) for n, a in known.items()}
        return {n: t.detach().numpy() for n, t in self.formula(tensors).items()}


def write_weights(program: MILProgram, weights: Mapping[str, Array], folder: Path) -> Path:
    """The program's weight files in a folder, where @model_path is looked for."""
    for path, content in program.weight_files(weights).items():
        file = folder / path.removeprefix("@model_path/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def _sizes(type: mil.Type) -> tuple[int, ...]:
    return tuple(int(size or 0) for size in type.shape)


def _weight_scale(shape: tuple[int, ...]) -> float:
    """So that a sum over what one output reads is about as large as its terms."""
    return float(np.prod(shape[1:])) ** -0.5


def _random(rng: np.random.Generator, dtype: str, shape: tuple[int, ...], scale: float) -> Array:
    if dtype == "int8":
        return rng.integers(-127, 128, shape).astype(np.int8)
    values: Array = (rng.normal(size=shape) * scale).astype(DTYPES[dtype])
    return values


def half(value: float) -> float:
    """The value as an fp16 constant has it."""
    return float(np.float16(value))


# --- formulas


def conv(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv2d(x, weight)


def of_conv(t: Tensors) -> Tensors:
    return {"out": conv(t["x"], t["w"])}


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    mean = (x * x).sum(1, keepdim=True) * half(1.0 / x.shape[1])
    return x * (mean + half(eps)) ** -0.5 * weight


def safe_rms_norm(t: Tensors) -> Tensors:
    x = t["x"]
    largest = x.abs().amax(1, keepdim=True).clamp(min=half(2.0**-23 / 1e-5**0.5))
    mean = ((x / largest) ** 2).mean(1, keepdim=True)
    return {"out": x / (largest * (mean + half(1e-5)).sqrt()) * t["w"]}


def rms_backward(packed: torch.Tensor, weight: torch.Tensor) -> Tensors:
    dy, x = packed.detach().chunk(2, 1)
    x = x.clone().requires_grad_()
    (dx,) = torch.autograd.grad(rms_norm(x, weight), x, dy)
    return {"out": dx}


def gated(x: torch.Tensor, t: Tensors) -> tuple[torch.Tensor, ...]:
    """(out, h1, h3, gate)"""
    h1, h3 = conv(x, t["w1"]), conv(x, t["w3"])
    gate = torch.nn.functional.silu(h1) * h3
    return conv(gate, t["w2"]), h1, h3, gate


def relu2(x: torch.Tensor, t: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """(out, h1)"""
    h1 = conv(x, t["w1"])
    return conv(torch.relu(h1) ** 2, t["w2"]), h1


def ffn_fwd_taps(t: Tensors) -> Tensors:
    normed = rms_norm(t["x"], t["rms_ffn"])
    out, h1, h3, gate = gated(normed, t)
    return {"out": torch.cat([out, h1, h3, gate, normed], 1)}


def _transposed(weight: torch.Tensor) -> torch.Tensor:
    return weight.transpose(0, 1)


def _at(given: torch.Tensor, computed: torch.Tensor) -> torch.Tensor:
    """The given value with the derivative of the computed one."""
    return computed + (given - computed).detach()


def ffn_backward(t: Tensors) -> Tensors:
    """Autograd through the block, with h1 and h3 as the program is given them."""
    dim, hidden = t["w1t"].shape[:2]
    dffn, given1, given3 = t["x"].split([dim, hidden, hidden], 1)
    x = torch.zeros(1, dim, 1, dffn.shape[3], dtype=torch.float64, requires_grad=True)
    h1 = _at(given1, conv(x, _transposed(t["w1t"])))
    h3 = _at(given3, conv(x, _transposed(t["w3t"])))
    out = conv(torch.nn.functional.silu(h1) * h3, _transposed(t["w2t"]))
    return {"out": torch.cat(torch.autograd.grad(out, (x, h1, h3), dffn), 1)}


def ffn_backward_relu2(t: Tensors) -> Tensors:
    dim, hidden = t["w1t"].shape[:2]
    dffn, given1 = t["x"].split([dim, hidden], 1)
    x = torch.zeros(1, dim, 1, dffn.shape[3], dtype=torch.float64, requires_grad=True)
    h1 = _at(given1, conv(x, _transposed(t["w1t"])))
    out = conv(torch.relu(h1) ** 2, _transposed(t["w2t"]))
    return {"out": torch.cat(torch.autograd.grad(out, (x, h1), dffn), 1)}


def classifier_backward(t: Tensors) -> Tensors:
    """Autograd through the logits."""
    embed = t["embed_t"][0].T[:, :, None, None]
    shape = (1, embed.shape[1], 1, t["x"].shape[3])
    x = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    (dx,) = torch.autograd.grad(conv(x, embed), x, t["x"])
    return {"out": dx}


def dynamic_matmul(in_ch: int, batch: int) -> Formula:
    def formula(t: Tensors) -> Tensors:
        rows = t["x"].reshape(in_ch, -1)
        return {"out": (rows[:, batch:].T @ rows[:, :batch])[None, :, None, :]}

    return formula


def int8_conv(scale: float | None) -> Formula:
    def formula(t: Tensors) -> Tensors:
        scales = t["w.scale"][:, None, None, None] if scale is None else half(scale)
        return {"out": conv(t["x"], t["w.quantized_data"] * scales)}

    return formula


def unrounded(weight: mil.quantized.CompressedWeight) -> torch.Tensor:
    """The weight before it is rounded to fp16: what is a table's or a stored value is one."""
    if not isinstance(weight, blob.quantize.AffineWeight):
        return torch.from_numpy(weight.dequantize().astype(np.float64))

    def spread(parts: Array) -> Array:
        for axis, (size, count) in enumerate(zip(weight.shape, parts.shape, strict=True)):
            parts = np.repeat(parts, size // count, axis)
        return parts.astype(np.float64)

    zero = 0.0 if weight.zero_point is None else spread(weight.zero_point)
    return torch.from_numpy((weight.data.astype(np.float64) - zero) * spread(weight.scale))


# --- cases

# (channels in, channels out, positions): vectors, odd widths, sequence 1, no multiples of 32.
CONV = [(1, 1, 1), (4, 6, 2), (3, 5, 1), (64, 32, 16), (7, 13, 33), (96, 40, 31)]
NORM = [(1, 1), (4, 3), (7, 33), (64, 1), (768, 17)]
FFN = [(1, 1, 1), (4, 6, 2), (8, 24, 1), (33, 70, 17), (96, 256, 32)]
VOCAB = [(1, 2, 1), (12, 50, 3), (64, 1000, 17), (33, 257, 1)]


def _convs() -> list[Case]:
    generators = [mil.gen_conv, mil.gen_conv_fp16, mil.gen_conv_fp16_io, mil.gen_conv_fp32]
    generators += [mil.gen_matmul]
    cases = [_case(g, s, of_conv) for g in generators for s in CONV]
    for size in CONV:
        cases.append(
            _case(mil.gen_conv_dynamic_fp16, size, lambda t: {"out": conv(t["inp"], t["weight"])})
        )
        cases.append(_case(mil.gen_matmul_dynamic, size, lambda t: {"out": t["weight"] @ t["inp"]}))
        formula = dynamic_matmul(size[0], size[2])
        cases.append(_case(mil.gen_dynamic_matmul, size, formula))
        for scale in (None, 0.01):
            made = _case(mil.gen_conv_int8, size, int8_conv(scale), scale=scale)
            cases.append(made)
    for channels, spatial in NORM:
        cases += [
            _case(g, (channels, spatial), of_conv)
            for g in (mil.gen_identity, mil.gen_identity_fp16_io)
        ]
    cases += [_case(mil.gen_scale_fp16_io, (spatial,), of_conv) for spatial in (1, 3, 33)]
    return cases


def _norms() -> list[Case]:
    cases = []
    for size in NORM:
        cases += [
            _case(mil.gen_rmsnorm, size, safe_rms_norm, scales={"w": 1.0}),
            _case(
                mil.gen_final_rmsnorm,
                size,
                lambda t: {"out": rms_norm(t["x"], t["rms_final"])},
            ),
            _case(
                mil.gen_final_rmsnorm_dynamic,
                size,
                lambda t: {"out": rms_norm(t["inp"], t["rms_final"])},
            ),
            _case(mil.gen_rmsnorm_backward, size, lambda t: rms_backward(t["x"], t["rms"])),
            _case(
                mil.gen_rmsnorm_backward_dynamic,
                size,
                lambda t: rms_backward(t["inp"], t["rms"]),
            ),
        ]
    return cases


def _ffns() -> list[Case]:
    cases = []
    for size in FFN:
        cases += [
            _case(mil.gen_ffn_forward, size, lambda t: {"out": gated(t["x"], t)[0]}),
            _case(
                mil.gen_ffn_forward_taps,
                size,
                lambda t: {"out": torch.cat(gated(t["x"], t)[:3], 1)},
            ),
            _case(
                mil.gen_ffn_forward_rms,
                size,
                lambda t: {"out": gated(rms_norm(t["x"], t["rms_ffn"]), t)[0]},
            ),
            _case(mil.gen_ffn_fwd_taps, size, ffn_fwd_taps),
            _case(mil.gen_ffn_backward, size, ffn_backward),
            _case(mil.gen_ffn_forward_relu2, size, lambda t: {"out": relu2(t["x"], t)[0]}),
            _case(
                mil.gen_ffn_forward_taps_relu2,
                size,
                lambda t: {"out": torch.cat(relu2(t["x"], t), 1)},
            ),
            _case(
                mil.gen_ffn_forward_rms_relu2,
                size,
                lambda t: {"out": relu2(rms_norm(t["x"], t["rms_ffn"]), t)[0]},
            ),
            _case(mil.gen_ffn_backward_relu2, size, ffn_backward_relu2),
            _case(
                mil.gen_ffn_up,
                size,
                lambda t: {"h1": conv(t["x"], t["w1"]), "h3": conv(t["x"], t["w3"])},
            ),
        ]
    return cases


def _classifiers() -> list[Case]:
    cases = []
    for size in VOCAB:
        cases += [
            _case(mil.gen_classifier_forward, size, lambda t: {"out": conv(t["x"], t["embed"])}),
            _case(mil.gen_classifier_backward, size, classifier_backward),
            _case(
                mil.gen_softmax_vocab,
                size[1:],
                lambda t: {"out": torch.softmax(t["x"], 1)},
                scales={"x": 4.0},
            ),
        ]
    return cases


def _heads() -> list[Case]:
    cases = []
    for kv, q, size, seq in [(1, 1, 4, 3), (1, 4, 33, 2), (2, 6, 5, 1), (4, 8, 64, 17)]:
        group = q // kv
        for tile in (True, False):
            cases += [
                _case(
                    mil.gen_gqa_expand,
                    (kv, q, size, seq),
                    lambda t, g=group: {"out": t["x"].repeat(1, g, 1, 1)},
                    tile=tile,
                ),
                _case(
                    mil.gen_gqa_expand,
                    (kv, q, size, seq),
                    lambda t, g=group: {"out": t["x"].repeat_interleave(g, 1)},
                    tile=tile,
                    interleaved=True,
                ),
            ]
    return cases


def _compressed() -> list[Case]:
    quantize = blob.quantize
    rng = np.random.default_rng(5)
    cases = []
    for out_ch, in_ch in [(6, 64), (32, 96)]:
        w = rng.normal(size=(out_ch, in_ch, 1, 1)).astype(np.float32) / np.sqrt(in_ch)
        weights: dict[str, Any] = {
            "int8": quantize.affine(w),
            "int8_of_one_scale": quantize.affine(w, axis=None),
            "uint8": quantize.affine(w, "uint8"),
            "int4_in_blocks": quantize.affine(w, "int4", block_size=32),
            "uint4": quantize.affine(w, "uint4"),
            "palette4": quantize.palettize(w, 4),
            "palette1": quantize.palettize(w, 1),
            "palette3": quantize.palettize(w, 3),
            "sparse": quantize.sparsify(w, sparsity=0.6),
        }
        for name, weight in weights.items():
            is_4_bit = name in ("int4_in_blocks", "uint4")
            cases.append(
                Case(
                    f"gen_conv_compressed-{name}-{out_ch}x{in_ch}",
                    lambda dialect="ios18", w=weight: mil.gen_conv_compressed(
                        w, 5, dialect=dialect
                    ),
                    lambda t, w=weight: {"out": conv(t["x"], unrounded(w))},
                    only_ios18="4 bits with a scale came with ios18" if is_4_bit else "",
                )
            )
    return cases


def _case(
    generator: Make,
    size: tuple[int, ...],
    formula: Formula,
    *,
    scales: Mapping[str, float] | None = None,
    **options: Any,
) -> Case:
    def make(dialect: str = "ios18") -> MILProgram:
        return generator(*size, dialect=dialect, **options)

    name: str = getattr(generator, "__name__", "")
    words = [name, "x".join(map(str, size)), *(f"{k}={v}" for k, v in options.items())]
    given = {"w.scale": 0.01, "rms": 1.0, "rms_ffn": 1.0, "rms_final": 1.0, **(scales or {})}
    return Case("-".join(words), make, formula, given)


CASES = [*_convs(), *_norms(), *_ffns(), *_classifiers(), *_heads(), *_compressed()]
