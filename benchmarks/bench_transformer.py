"""How long do a transformer's parts and its whole take, dim 768, 256 positions, next to the peers?

RMSNorm, causal attention, the attention block, the SwiGLU block, and 12 layers with embedding and
all logits as one program. The limit is that of the matrix products' multiply-adds; a causal
attention is counted without its masked half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import llama
import numpy as np
from llama import DIM, HEADS, SEQ, SIZE
from measure import Case, Options, Variant, main
from peers import (
    Array,
    OnnxGraph,
    bf16_of_graph,
    host,
    of_kernel,
    ort_variants,
    torch_missing,
    torch_on,
    torch_variants,
)

from milane import Graph, Runtime
from milane.mil import gen_sdpa

# What is rounded on the longest way through each part, to fp16 after every operation.
ROUNDINGS = {"norm": 7, "attention": 6, "block": 16}


def rows_of(y: Array) -> Array:
    """[1, C, 1, S] as [S, C]."""
    return np.asarray(y[0, :, 0].T)


def case(  # noqa: PLR0917  # what every case here has
    options: Options,
    name: str,
    own: dict[str, Variant],
    expected: Array,
    torch_part: Callable[[llama.Torch], Callable[[], Any]],
    onnx_part: Callable[[OnnxGraph], dict[str, Array]],
    dtypes: tuple[str, ...] = ("fp32", "fp16", "bf16"),
    **more: Any,
) -> Case:
    """Milane's variants and every peer's, in these types."""
    torch = torch_on(options.threads)
    variants = dict(own)
    missing = torch_missing(torch)
    if torch is not None:
        seq = expected.shape[-2]
        few = options.short or options.no_compile or len(dtypes) == 1
        variants |= torch_variants(
            torch,
            lambda dtype: torch_part(llama.Torch(torch, dtype, seq)),
            dtypes=dtypes,
            compiled=() if few else ("fp32", "bf16"),
        )
    halves = tuple(d for d in dtypes if d != "bf16")
    peers, refused = ort_variants(options.threads, onnx_part, dtypes=halves)
    variants |= peers
    return Case(name, variants, expected, missing=missing | refused, **more)


def norm(runtime: Runtime, options: Options, seq: int) -> Case:
    """RMSNorm."""
    w, x, x32 = _layer_and_input(seq)
    graph = Graph()
    made = llama.Milane(graph, seq)
    graph.output("y", made.norm(graph.input("x", (1, DIM, 1, seq)), w.rms_att))

    def torch_part(t: llama.Torch) -> Callable[[], Any]:
        weight, value = t.tensor(w.rms_att), t.tensor(x)
        return lambda: t.norm(value, weight)

    def onnx_part(g: OnnxGraph) -> dict[str, Array]:
        g.output(llama.Onnx(g, seq).norm(g.input("x", (seq, DIM)), w.rms_att))
        return {"x": x.astype(g.dtype)}

    return case(
        options,
        f"RMSNorm {seq}×{DIM}",
        {"milane": of_kernel(graph.compile(runtime), {"x": _channels(x)}, rows_of)},
        llama.NumPy(seq).norm(x32, w.rms_att),
        torch_part,
        onnx_part,
        roundings=ROUNDINGS["norm"],
    )


def attention(runtime: Runtime, options: Options, seq: int) -> Case:
    """Causal attention of heads that are there already."""
    rng = np.random.default_rng(1)
    q, k, v = rng.standard_normal((3, HEADS, seq, SIZE), np.float32).astype(np.float16)
    kernel = runtime.compile(gen_sdpa(SIZE, HEADS, seq, causal=True))
    inputs = {"a_q": q[None], "b_k": k[None], "c_v": v[None]}

    def torch_part(t: llama.Torch) -> Callable[[], Any]:
        a, b, c = (t.tensor(x)[None] for x in (q, k, v))
        return lambda: t.f.scaled_dot_product_attention(a, b, c, is_causal=True)[0]

    def onnx_part(g: OnnxGraph) -> dict[str, Array]:
        names = [g.input(n, q.shape) for n in "qkv"]
        g.output(llama.Onnx(g, seq).attention(*names))
        return {n: x.astype(g.dtype) for n, x in zip("qkv", (q, k, v), strict=True)}

    made = case(
        options,
        f"causal attention {HEADS}×{seq}×{SIZE}",
        {"milane": of_kernel(kernel, inputs, lambda y: y[0])},
        llama.NumPy(seq).attention(*(x.astype(np.float32) for x in (q, k, v))),
        torch_part,
        onnx_part,
        roundings=ROUNDINGS["attention"],
        limit="fma",
        work=llama.attention_flops(seq),
    )

    def fused(g: OnnxGraph) -> dict[str, Array]:
        names = [g.input(n, (1, *q.shape)) for n in "qkv"]
        g.output(g.op("Attention", *names, is_causal=1))
        return {n: x[None].astype(g.dtype) for n, x in zip("qkv", (q, k, v), strict=True)}

    own = "ONNX Runtime's Attention"
    peers, refused = ort_variants(options.threads, fused, lambda y: y[0], opset=23, name=own)
    made.variants |= peers
    made.missing |= refused
    return made


def attention_block(runtime: Runtime, options: Options, seq: int) -> Case:
    """Norm, projections, rotary positions, attention, projection, residual."""
    work = 8.0 * seq * DIM * DIM + llama.attention_flops(seq)
    return _block(runtime, options, seq, what="attention block", part="attention_block", work=work)


def ffn_block(runtime: Runtime, options: Options, seq: int) -> Case:
    """Norm, gate and up, SiLU, down, residual."""
    work = 6.0 * seq * DIM * llama.HIDDEN
    return _block(runtime, options, seq, what="SwiGLU block", part="ffn_block", work=work)


def _block(
    runtime: Runtime, options: Options, seq: int, *, what: str, part: str, work: float
) -> Case:
    """One half of a layer: the method `part` of every writer of the model."""
    w, x, x32 = _layer_and_input(seq)
    graph = Graph()
    made = getattr(llama.Milane(graph, seq), part)
    graph.output("y", made(graph.input("x", (1, DIM, 1, seq)), w))
    inputs = {"x": _channels(x)}

    def torch_part(t: llama.Torch) -> Callable[[], Any]:
        layer, value = t.layer(w), t.tensor(x)
        return lambda: getattr(t, part)(value, layer)

    def onnx_part(g: OnnxGraph) -> dict[str, Array]:
        g.output(getattr(llama.Onnx(g, seq), part)(g.input("x", (seq, DIM)), w))
        return {"x": x.astype(g.dtype)}

    return case(
        options,
        f"{what}, {seq} positions",
        {"milane": of_kernel(graph.compile(runtime), inputs, rows_of)}
        | bf16_of_graph(runtime, graph, inputs, rows_of),
        getattr(llama.NumPy(seq), part)(x32, w),
        torch_part,
        onnx_part,
        roundings=ROUNDINGS["block"],
        limit="fma",
        work=work,
    )


def forward(runtime: Runtime, options: Options, seq: int, layers: int = llama.LAYERS) -> Case:
    """Embedding, layers, last norm, all logits: one program."""
    weights = llama.random_weights(layers)
    tokens = np.random.default_rng(2).integers(0, llama.VOCAB, seq).astype(np.int32)
    graph = llama.milane_forward(weights, seq)
    inputs = {"tokens": tokens[None]}

    def torch_part(t: llama.Torch) -> Callable[[], Any]:
        made = [t.layer(w) for w in weights.layers]
        embed, last = t.tensor(weights.embed), t.tensor(weights.rms_final)
        index = t.torch.from_numpy(tokens).long()

        def run() -> Any:
            x = embed[index]
            for w in made:
                x = t.ffn_block(t.attention_block(x, w), w)
            return t.f.linear(t.norm(x, last), embed)

        return run

    def onnx_part(g: OnnxGraph) -> dict[str, Array]:
        made = llama.Onnx(g, seq)
        table = g.floats(weights.embed)
        x = g.op("Gather", table, g.input("tokens", (seq,), np.int64), axis=0)
        for w in weights.layers:
            x = made.ffn_block(made.attention_block(x, w), w)
        g.output(made.linear(made.norm(x, weights.rms_final), weights.embed))
        return {"tokens": tokens.astype(np.int64)}

    return case(
        options,
        f"stories110M shape, {seq} positions, {layers} layers",
        {"milane": of_kernel(graph.compile(runtime), inputs, rows_of)}
        | bf16_of_graph(runtime, graph, inputs, rows_of),
        llama.NumPy(seq).forward(weights, tokens),
        torch_part,
        onnx_part,
        roundings=ROUNDINGS["block"] * (2 * layers) ** 0.5,
        limit="fma",
        work=llama.forward_flops(seq, layers),
        note="errors of layers add up as their squares",
    )


def _layer_and_input(seq: int) -> tuple[llama.Layer, Array, Array]:
    w = llama.random_weights(1, vocab=1).layers[0]
    x = np.random.default_rng(1).standard_normal((seq, DIM), np.float32).astype(np.float16)
    return w, x, x.astype(np.float32)


def _channels(x: Array) -> Array:
    return np.ascontiguousarray(x.T)[None, :, None]


def cases(options: Options) -> Iterator[Case]:
    """From the smallest to the whole."""
    seq = 32 if options.short else SEQ
    with host() as runtime:
        for make in (norm, attention, attention_block, ffn_block):
            yield make(runtime, options, seq)
        if not options.short:
            yield forward(runtime, options, seq)


if __name__ == "__main__":
    main(__doc__ or "", cases)
