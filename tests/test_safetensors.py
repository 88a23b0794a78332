"""Models as Hugging Face keeps them, against a Llama written in PyTorch from its own names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_witness
from milane.errors import InvalidArgumentError, ModelFileError, UnsupportedError
from milane.train import (
    Checkpoint,
    CheckpointHeader,
    LayerWeights,
    ModelAdam,
    ModelConfig,
    ModelWeights,
    huggingface,
    llama2c,
    load_model,
    load_tokenizer,
    save_model,
    save_step,
)
from milane.train.tokenizer import BPETokenizer, ByteTokenizer

st = pytest.importorskip("safetensors.numpy")
torch = pytest.importorskip("torch")

CONFIGS = {
    "tied, as many key heads as query heads": ModelConfig(24, 40, 2, 2, 2, 30, 16),
    "a classifier of its own, groups of two": ModelConfig(32, 48, 2, 4, 2, 30, 16, tied=False),
    "heads wider than the model": ModelConfig(
        24, 40, 1, 4, 1, 30, 16, head_dim=10, rope_theta=5e5, norm_eps=1e-6
    ),
}
ids = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def model(config: ModelConfig, seed: int = 3) -> ModelWeights:
    """Random weights, all different."""
    rng = np.random.default_rng(seed)
    weights = ModelWeights.zeros(config)
    weights.layers = [LayerWeights.zeros(config) for _ in range(config.n_layers)]
    for _, array in weights.named():
        array[...] = rng.standard_normal(array.shape) * 0.3
    return weights


def assert_equal(got: ModelWeights, want: ModelWeights) -> None:
    """The same sizes and arrays to the bit."""
    assert got.config == want.config
    for (name, a), (other, b) in zip(got.named(), want.named(), strict=True):
        assert name == other
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b, err_msg=name)


def torch_llama(tensors: dict[str, Any], config: dict[str, Any], tokens: list[int]) -> Any:
    """Logits of a LlamaForCausalLM, from tensors and config.json as they are named there."""
    t = {n: torch.as_tensor(a).double() for n, a in tensors.items()}
    heads, size = config["num_attention_heads"], config["head_dim"]
    kv, n = config["num_key_value_heads"], len(tokens)
    angle = torch.outer(
        torch.arange(n).double(),
        config["rope_theta"] ** (-torch.arange(0, size, 2).double() / size),
    )
    cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()

    def rotate(x: Any) -> Any:  # [heads, n, size]: halves, as rotate_half does
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat([-b, a], -1) * sin

    def norm(x: Any, name: str) -> Any:
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"])
        return x * scale * t[name]

    def split(x: Any, count: int) -> Any:
        return x.view(n, count, size).transpose(0, 1)

    x = t["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        y = norm(x, at + "input_layernorm.weight")
        q, k, v = (y @ t[f"{at}self_attn.{p}_proj.weight"].T for p in "qkv")
        k, v = rotate(split(k, kv)), split(v, kv)
        k, v = (a.repeat_interleave(heads // kv, 0) for a in (k, v))
        out = torch.nn.functional.scaled_dot_product_attention(
            rotate(split(q, heads)), k, v, is_causal=True
        )
        out = out.transpose(0, 1).reshape(n, heads * size)
        x = x + out @ t[at + "self_attn.o_proj.weight"].T
        y = norm(x, at + "post_attention_layernorm.weight")
        gate = torch.nn.functional.silu(y @ t[at + "mlp.gate_proj.weight"].T)
        up = y @ t[at + "mlp.up_proj.weight"].T
        x = x + (gate * up) @ t[at + "mlp.down_proj.weight"].T
    head = "model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"
    return (norm(x, "model.norm.weight") @ t[head].T).numpy()


@ids
def test_the_model_in_pytorch_under_their_names_gives_the_same_logits(
    config: ModelConfig, tmp_path: Path
) -> None:
    weights, tokens = model(config), [1, 5, 9, 29, 0, 5, 11]
    huggingface.save(weights, tmp_path / "model")
    tensors = st.load_file(tmp_path / "model" / "model.safetensors")
    about = json.loads((tmp_path / "model" / "config.json").read_text())
    want = torch_llama(tensors, about, tokens)
    got = llama_witness.logits(weights, tokens)
    # Both in float64, from the same float32 weights; sums of at most 48 terms.
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())


def test_stories260k_in_pytorch_gives_the_same_logits(corpus: Path) -> None:
    weights = llama2c.load(corpus / "llama2c" / "stories260K.bin")
    tokens = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426]
    about = huggingface.config_json(weights.config)
    want = torch_llama(dict(huggingface.named(weights)), about, tokens)
    got = llama_witness.logits(weights, tokens)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())
    assert want[:-1].argmax(1).tolist() == tokens[1:]  # greedy text, as llama2.c prints it


@ids
@pytest.mark.parametrize("name", ["model.safetensors", "a folder"])
def test_what_is_written_is_read_again_to_the_bit(
    config: ModelConfig, name: str, tmp_path: Path
) -> None:
    weights = model(config)
    save_model(weights, tmp_path / name)
    assert_equal(load_model(tmp_path / name), weights)
    left = [p.name for p in tmp_path.rglob(".*")]
    assert left == []


def test_the_order_of_rows_is_that_of_their_conversion_script(tmp_path: Path) -> None:
    """convert_llama_weights_to_hf.py: view(heads, D // 2, 2, dim).transpose(1, 2)."""
    config = CONFIGS["a classifier of its own, groups of two"]
    weights = model(config)
    layer, tensors = weights.layers[1], dict(huggingface.named(weights))
    for name, heads, array in (("q", 4, layer.wq), ("k", 2, layer.wk)):
        want = torch.tensor(array).view(heads, 4, 2, 32).transpose(1, 2).reshape(array.shape)
        got = tensors[f"model.layers.1.self_attn.{name}_proj.weight"]
        np.testing.assert_array_equal(got, want.numpy())
    np.testing.assert_array_equal(tensors["model.layers.1.self_attn.v_proj.weight"], layer.wv)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_files_of_every_float_are_read(dtype: str, tmp_path: Path) -> None:
    config = CONFIGS["a classifier of its own, groups of two"]
    weights = model(config)
    kind = getattr(torch, dtype)
    tensors = {n: torch.tensor(a).to(kind) for n, a in huggingface.named(weights)}
    from safetensors.torch import save_file  # noqa: PLC0415

    save_file(tensors, tmp_path / "model.safetensors")
    about = huggingface.config_json(config)
    (tmp_path / "config.json").write_text(json.dumps(about))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        got = dict(huggingface.named(huggingface.load(path)))
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(got[name], tensor.float().numpy(), err_msg=name)


def test_a_model_in_parts_is_read_by_its_index(tmp_path: Path) -> None:
    weights = model(CONFIGS["tied, as many key heads as query heads"])
    tensors = dict(huggingface.named(weights))
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2]}
    parts["model-00002-of-00002.safetensors"] = names[1::2]
    for file, held in parts.items():
        st.save_file({n: tensors[n] for n in held}, tmp_path / file)
    index = {"metadata": {}, "weight_map": {n: f for f, held in parts.items() for n in held}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    about = huggingface.config_json(weights.config)
    (tmp_path / "config.json").write_text(json.dumps(about))
    assert_equal(load_model(tmp_path), weights)

    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelFileError, match="model-00002-of-00002"):
        load_model(tmp_path)
    index["weight_map"]["model.norm.weight"] = "../elsewhere.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFileError, match="expected files of its folder"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelFileError, match="expected a weight_map"):
        load_model(tmp_path)


# --- what is refused

Change = dict[str, Any]
QK_NORM = "model.layers.0.self_attn.q_norm.weight"
BIAS = "model.layers.1.self_attn.k_proj.bias"


@pytest.mark.parametrize(
    ("tensors", "about", "error", "message"),
    [
        ({"model.norm.weight": None}, {}, ModelFileError, r"model.norm.weight \[24\], got no such"),
        (
            {"model.layers.1.mlp.up_proj.weight": np.ones((40, 23), np.float32)},
            {},
            ModelFileError,
            r"up_proj.weight \[40, 24\], got \[40, 23\]",
        ),
        ({"visual.weight": np.ones(1, np.float32)}, {}, ModelFileError, "got visual.weight"),
        (
            {"model.norm.weight": np.ones(24, np.int32)},
            {},
            UnsupportedError,
            "in one of F64, F32, F16, BF16, got I32",
        ),
        ({QK_NORM: np.ones(12, np.float32)}, {}, UnsupportedError, f"Qwen3 has them: {QK_NORM}"),
        ({BIAS: np.ones(24, np.float32)}, {}, UnsupportedError, f"Qwen2 has them: {BIAS}"),
        (
            {},
            {"num_hidden_layers": 1},
            ModelFileError,
            "weights of 1 Llama layers, got model.layers.1",
        ),
        ({}, {"num_hidden_layers": 3}, ModelFileError, "model.layers.2.*got no such tensor"),
        ({}, {"hidden_size": None}, ModelFileError, "expected the sizes of a model"),
        ({}, {"vocab_size": ...}, ModelFileError, "expected 'vocab_size' of a Llama model"),
        ({}, {"tie_word_embeddings": False}, ModelFileError, "lm_head.weight.*got no such tensor"),
        ({}, {"hidden_act": "gelu"}, UnsupportedError, "expected hidden_act silu, got gelu"),
        (
            {},
            {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
            UnsupportedError,
            "rotary frequencies that are not scaled, got llama3",
        ),
    ],
    ids=[
        "a missing tensor",
        "another shape",
        "an unknown tensor",
        "integers",
        "norms of queries",
        "a bias",
        "more layers than the config has",
        "fewer layers than the config has",
        "a size that is none",
        "a size that is missing",
        "a missing classifier",
        "another activation",
        "scaled frequencies",
    ],
)
def test_what_is_no_llama_is_refused_by_name(
    tensors: Change, about: Change, error: type[Exception], message: str, tmp_path: Path
) -> None:
    weights = model(CONFIGS["tied, as many key heads as query heads"])
    held = dict(huggingface.named(weights)) | tensors
    st.save_file({n: a for n, a in held.items() if a is not None}, tmp_path / "model.safetensors")
    content = huggingface.config_json(weights.config) | about
    content = {n: v for n, v in content.items() if v is not ...}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(error, match=message):
        huggingface.load(tmp_path)


def test_what_nobody_needs_is_overlooked(tmp_path: Path) -> None:
    weights = model(CONFIGS["tied, as many key heads as query heads"])
    held = dict(huggingface.named(weights))
    held["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(6, np.float32)
    held["lm_head.weight"] = held[
        "model.embed_tokens.weight"
    ].copy()  # tied, and stored all the same
    st.save_file(held, tmp_path / "model.safetensors")
    content = huggingface.config_json(weights.config)
    del content["head_dim"], content["rope_theta"]
    content["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0}
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert_equal(huggingface.load(tmp_path), weights)


@pytest.mark.parametrize("keep", [0, 7, 40, 400, -1])
def test_a_file_that_is_cut_short_is_refused(keep: int, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    huggingface.save(model(CONFIGS["tied, as many key heads as query heads"]), file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match="expected a safetensors file"):
        load_model(file)


def test_a_model_without_a_config_or_weights_is_refused(tmp_path: Path) -> None:
    weights = model(CONFIGS["tied, as many key heads as query heads"])
    with pytest.raises(ModelFileError, match="expected model.safetensors or model.safetensors.ind"):
        load_model(tmp_path)
    st.save_file(dict(huggingface.named(weights)), tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="expected config.json beside it"):
        load_model(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ModelFileError, match="expected a JSON object, got list"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelFileError, match="expected JSON"):
        load_model(tmp_path)


def test_without_the_package_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = model(CONFIGS["tied, as many key heads as query heads"])
    huggingface.save(weights, tmp_path / "model.safetensors")
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for attempt in (
        lambda: huggingface.load(tmp_path / "model.safetensors"),
        lambda: huggingface.save(weights, tmp_path / "other"),
    ):
        with pytest.raises(UnsupportedError, match=re.escape("pip install 'milane[models]'")):
            attempt()


# --- models of any kind


def test_every_kind_of_file_gives_the_same_model(tmp_path: Path) -> None:
    config = CONFIGS["a classifier of its own, groups of two"]
    weights = model(config)
    save_model(weights, tmp_path / "m.bin")
    save_model(load_model(tmp_path / "m.bin"), tmp_path / "m.safetensors")
    save_model(load_model(tmp_path / "m.safetensors"), tmp_path / "folder")
    save_model(load_model(tmp_path / "folder"), tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "m.bin").read_bytes()
    state = Checkpoint(CheckpointHeader(step=4), weights, ModelAdam.zeros(config), {})
    path = save_step(state, tmp_path / "run")
    assert_equal(load_model(path), weights)
    assert_equal(load_model(tmp_path / "run"), weights)


def test_names_of_no_kind_are_refused(tmp_path: Path) -> None:
    weights = model(CONFIGS["tied, as many key heads as query heads"])
    (tmp_path / "m.gguf").write_bytes(b"x")
    for path, got in (("m.gguf", "another name"), ("none.gguf", "none"), ("none", "none")):
        with pytest.raises(ModelFileError, match=rf"as .bin, .safetensors or .ckpt.*got {got}"):
            load_model(tmp_path / path)
    for path in ("none.safetensors", "none.bin", "none.ckpt"):
        with pytest.raises(ModelFileError, match="none"):
            load_model(tmp_path / path)
    with pytest.raises(InvalidArgumentError, match=r"ends in .bin or .safetensors.*got .gguf"):
        save_model(weights, tmp_path / "m.gguf")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelFileError, match="expected a folder to write"):
        huggingface.save(weights, tmp_path / "file" / "inside")


def test_the_tokenizer_beside_a_model_is_found(tmp_path: Path) -> None:
    def write(name: str, size: int) -> None:
        BPETokenizer([bytes([65 + i % 26]) for i in range(size)], [0.0] * size).save(
            tmp_path / name
        )

    file = tmp_path / "m.bin"
    with pytest.raises(ModelFileError, match=r"expected tok30.bin or tokenizer.bin beside"):
        load_tokenizer(file, 30)
    assert isinstance(load_tokenizer(file, 256), ByteTokenizer)
    write("tokenizer.bin", 40)
    with pytest.raises(ModelFileError, match="got neither for 30 tokens"):
        load_tokenizer(file, 30)
    assert load_tokenizer(tmp_path, 40).vocab_size == 40
    write("tok30.bin", 30)
    assert load_tokenizer(file, 30).vocab_size == 30
    assert load_tokenizer(file, 50, tmp_path / "tokenizer.bin").vocab_size == 40
    assert isinstance(load_tokenizer(file, 300, "bytes"), ByteTokenizer)
    with pytest.raises(ModelFileError, match="at most the model's 30 tokens, got one of 40"):
        load_tokenizer(file, 30, tmp_path / "tokenizer.bin")
