"""The kernels of a transformer block and the surfaces between them.

On the dynamic route each kind is compiled once: weights are inputs, and every layer has surfaces of
its own for weights and taps, and requests that bind them, so that an evaluation copies nothing and
no step compiles anything. On the static route weights are constants: every layer has kernels of its
own, and new weights are loaded into them, by a compile where the backend has no other way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields

from milane import mil
from milane.closing import Closing
from milane.kernel import Kernel
from milane.mil import MILProgram
from milane.requests import BoundRequest
from milane.runtime import Runtime
from milane.surface import Surface
from milane.train.config import ModelConfig
from milane.train.weights import LayerArrays, ModelWeights


@dataclass
class LayerKernels(Closing):
    """The kernels that a block's forward and backward pass take, one of each for all layers.

    ``milane.mil.training`` has the table of what each takes and gives.

    Attributes:
        fwd_attn: RMSNorm, q, k, v and attention.
        fwd_wo: the output projection and the residual.
        fwd_ffn: RMSNorm, SwiGLU and the residual.
        ffn_bwd1, ffn_bwd2: the feed-forward block's two backward halves.
        sdpa_bwd1, sdpa_bwd2: attention's backward pair.
        qkv_bwd: the projections' and the norm's backward pass.
    """

    fwd_attn: Kernel
    fwd_wo: Kernel
    fwd_ffn: Kernel
    ffn_bwd1: Kernel
    ffn_bwd2: Kernel
    sdpa_bwd1: Kernel
    sdpa_bwd2: Kernel
    qkv_bwd: Kernel

    @classmethod
    def programs(cls, config: ModelConfig, positions: int) -> dict[str, MILProgram]:
        """The kernels' programs by field, for sequences of so many positions."""
        c, s = config, positions
        # Keys and values have heads of their own; llama2.c turns neighbouring channels in pairs.
        kv, size, theta = c.n_kv_heads, c.head_dim, c.rope_theta
        return {
            "fwd_attn": mil.gen_sdpa_fwd_dynamic(
                *(c.dim, c.n_heads, s),
                n_kv_heads=kv,
                head_dim=size,
                rope="interleaved",
                theta=theta,
                eps=c.norm_eps,
            ),
            "fwd_wo": mil.gen_wo_fwd_dynamic(c.dim, c.n_heads, s, head_dim=size),
            "fwd_ffn": mil.gen_ffn_fwd_dynamic(c.dim, c.hidden_dim, s, eps=c.norm_eps),
            "ffn_bwd1": mil.gen_ffn_bwd1_dynamic(c.dim, c.hidden_dim, s),
            "ffn_bwd2": mil.gen_ffn_bwd2_dynamic(c.dim, c.hidden_dim, s, eps=c.norm_eps),
            "sdpa_bwd1": mil.gen_sdpa_bwd1_dynamic(
                c.dim, c.n_heads, s, n_kv_heads=kv, head_dim=size
            ),
            "sdpa_bwd2": mil.gen_sdpa_bwd2_dynamic(
                *(c.dim, c.n_heads, s),
                n_kv_heads=kv,
                head_dim=size,
                rope="interleaved",
                theta=theta,
            ),
            "qkv_bwd": mil.gen_qkv_bwd_dynamic(
                c.dim, c.n_heads, s, n_kv_heads=kv, head_dim=size, eps=c.norm_eps
            ),
        }

    @classmethod
    def compile(
        cls,
        runtime: Runtime,
        config: ModelConfig,
        positions: int,
        weights: LayerArrays | None = None,
    ) -> LayerKernels:
        """All kernels, each compiled once; those of one layer where its weights are given.

        Weights that are given are baked in, else they are inputs.

        Raises:
            CompileError: the backend takes no program of these sizes.
            CompileBudgetExhaustedError: fewer than eight compiles are left.
        """
        arrays = {} if weights is None else dict(weights.named())
        with ExitStack() as opened:  # closes those that are made when one cannot be
            made = {}
            for name, program in cls.programs(config, positions).items():
                fixed = {n: arrays[n] for n in program.inputs if n in arrays}
                kernel = runtime.compile(baked(program, fixed), weights=fixed)
                made[name] = opened.enter_context(kernel)
            opened.pop_all()
        return cls(**made)

    def reload(self, weights: LayerArrays) -> None:
        """New weights for kernels that have them baked in.

        Raises:
            CompileBudgetExhaustedError: it took a compile, and none is left; some kernels may have
                the new weights and some the old ones.
        """
        arrays = dict(weights.named())
        for _, kernel in self.named():
            chosen = {w.name: arrays[w.name] for w in kernel.stored_weights if w.name in arrays}
            if chosen:
                kernel.reload(weights=chosen)

    def named(self) -> Iterator[tuple[str, Kernel]]:
        """Field and kernel."""
        for field in fields(self):
            yield field.name, getattr(self, field.name)

    def close(self) -> None:
        """Close all kernels; idempotent."""
        for _, kernel in self.named():
            kernel.close()


class LayerSurfaces(Closing):
    """One layer's surfaces by name, and its requests over them.

    The weights and the taps are the layer's own; ``inp`` is ``out`` of the layer before. Gradients
    are shared with every other layer (:func:`layer_surfaces`).

    Attributes:
        weights: what the layer's weight surfaces hold, in float32.
    """

    def __init__(
        self,
        kernels: LayerKernels,
        weights: LayerArrays,
        inp: Surface,
        gradients: Mapping[str, Surface],
    ) -> None:
        """Make the surfaces for a layer behind ``inp``."""
        self.weights = weights
        attn, wo, ffn = kernels.fwd_attn, kernels.fwd_wo, kernels.fwd_ffn
        homes = {
            **dict.fromkeys(("rms_att", "wq", "wk", "wv", "norm_att", "q", "k", "v", "attn"), attn),
            **dict.fromkeys(("wo", "mid"), wo),
            **dict.fromkeys(("rms_ffn", "w1", "w2", "w3", "norm_ffn", "h1", "h3", "gate"), ffn),
            "out": ffn,
        }
        self.own = {  # weights that are baked in have no surface
            name: kernel.make_surface(name)
            for name, kernel in homes.items()
            if name in kernel.inputs or name in kernel.outputs
        }
        self.surfaces = {**self.own, "inp": inp, **gradients}
        self.forward = [self._bound(k) for k in (attn, wo, ffn)]
        backward = (
            kernels.ffn_bwd1,
            kernels.ffn_bwd2,
            kernels.sdpa_bwd1,
            kernels.sdpa_bwd2,
            kernels.qkv_bwd,
        )
        self.backward = [self._bound(k) for k in backward]

    def _bound(self, kernel: Kernel) -> BoundRequest:
        return kernel.bind(
            {name: self.surfaces[name] for name in kernel.inputs},
            {name: self.surfaces[name] for name in kernel.outputs},
        )

    def __getitem__(self, name: str) -> Surface:
        return self.surfaces[name]

    def close(self) -> None:
        """Let go of requests and of the layer's own surfaces; idempotent."""
        for request in (*self.forward, *self.backward):
            request.close()
        for surface in self.own.values():
            surface.close()


def layer_surfaces(kernels: Sequence[LayerKernels], weights: ModelWeights) -> list[LayerSurfaces]:
    """The surfaces of all layers, and their requests; ``kernels`` are those of each layer.

    Gradients have two sets, which layers use in turn, so that one can be read while the next layer
    writes the other. A layer's ``dinp`` is ``dout`` of the one before it: the same surface.
    """
    sets = [_gradient_surfaces(kernels[0]) for _ in range(2)]
    layers: list[LayerSurfaces] = []
    inp = kernels[0].fwd_attn.make_surface("inp")
    for number, (own, arrays) in enumerate(zip(kernels, weights.layers, strict=True)):
        gradients = {**sets[number % 2], "dout": sets[(number + 1) % 2]["dinp"]}
        layers.append(LayerSurfaces(own, arrays, inp, gradients))
        inp = layers[-1]["out"]
    return layers


def baked(program: MILProgram, names: Collection[str]) -> MILProgram:
    """The program with these inputs as constants in weight files, ``weights/NAME.bin``."""
    if not names:
        return program
    made = program.program.copy()
    function = made["main"]
    types = {i.name: i.type for i in function.inputs}
    fixed = [name for name in types if name in names]
    function.inputs = [i for i in function.inputs if i.name not in names]
    for at, name in enumerate(fixed):
        value = mil.Value.blob(types[name], f"@model_path/weights/{name}.bin", 64)
        attributes = {"name": mil.Value.string(name), "val": value}
        function.insert(at, mil.Operation("const", [(name, types[name])], attributes=attributes))
    made.verify()
    return MILProgram(made, program.data)


def _gradient_surfaces(kernels: LayerKernels) -> dict[str, Surface]:
    k = kernels
    homes = {
        **dict.fromkeys(("dh1", "dh3"), k.ffn_bwd1),
        **dict.fromkeys(("dmid", "dnorm_ffn"), k.ffn_bwd2),
        **dict.fromkeys(("dp", "dv", "probs"), k.sdpa_bwd1),
        **dict.fromkeys(("dq", "dk"), k.sdpa_bwd2),
        **dict.fromkeys(("dnorm_att", "dinp"), k.qkv_bwd),
    }
    return {name: kernel.make_surface(name) for name, kernel in homes.items()}
