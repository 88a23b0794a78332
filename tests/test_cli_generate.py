"""`milane generate` and `milane convert`: what they print, what they write, how they fail."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from milane.cli import main
from milane.train import (
    BPETokenizer,
    Checkpoint,
    CheckpointHeader,
    Generator,
    ModelAdam,
    ModelConfig,
    ModelWeights,
    Sampling,
    load_model,
    save_model,
    save_step,
)

pytest.importorskip("safetensors")

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `milane` and returns what it prints to stdout and stderr."""

    def milane(*args: object, code: int = 0) -> tuple[str, str]:
        assert main([*map(str, args)]) == code
        captured = capsys.readouterr()
        return captured.out, captured.err

    return milane


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small random model over bytes, as llama2.c keeps it."""
    weights = ModelWeights.random(ModelConfig(32, 48, 2, 4, 2, 256, 64), seed=2)
    for _, array in weights.named():
        np.multiply(array, 10 if array.ndim == 2 else 1, out=array)
    path = tmp_path / "model.bin"
    save_model(weights, path)
    return path


def expected(model: Path, prompt: str, sampling: Sampling, **options: object) -> str:
    """The text as the library makes it."""
    from milane.train import ByteTokenizer  # noqa: PLC0415

    with Generator(load_model(model), tokenizer=ByteTokenizer()) as generator:
        (found,) = generator.generate(prompt, sampling=sampling, **options)
    return ByteTokenizer().decode(found.prompt) + found.text


def test_prompt_and_text_go_to_stdout_and_the_speed_to_stderr(
    run: Run, model: Path, backend: str
) -> None:
    out, err = run("generate", model, "-p", "ab", "-n", 12, "--seed", 3, "--backend", backend)
    assert out == expected(model, "ab", Sampling(seed=3), max_tokens=12) + "\n"
    assert re.fullmatch(
        rf"{backend}: 12 tokens, the first after \d+ ms, then \d+\.\d tokens/s\n", err
    )


def test_every_option_of_sampling_arrives(run: Run, model: Path) -> None:
    out, _ = run(
        *("generate", model, "-p", "ab", "-n", 20, "-t", 0.7, "--top-k", 9, "--top-p", 0.8),
        *("--repetition-penalty", 1.2, "--seed", 5, "--max-len", 40),
    )
    sampling = Sampling(0.7, 9, 0.8, 1.2, 5)
    assert out == expected(model, "ab", sampling, max_tokens=20) + "\n"
    greedy, _ = run("generate", model, "-p", "ab", "-n", 20, "-t", 0)
    assert greedy == expected(model, "ab", Sampling(temperature=0), max_tokens=20) + "\n"


def test_a_stop_string_ends_the_text(run: Run, model: Path) -> None:
    whole = expected(model, "ab", Sampling(seed=3), max_tokens=30)
    stop = whole[10:12]
    out, _ = run("generate", model, "-p", "ab", "-n", 30, "--seed", 3, "--stop", stop)
    assert out == "ab" + whole[2 : whole.index(stop, 2)] + "\n"


def test_json_is_one_object_with_tokens_and_speed(run: Run, model: Path) -> None:
    out, _ = run("generate", model, "-p", "ab", "-n", 8, "--seed", 1, "--json")
    report = json.loads(out)
    (found,) = report["generations"]
    assert found["prompt_tokens"] == [97, 98]
    assert len(found["tokens"]) == 8
    assert found["ended"] == "max_tokens"
    assert found["text"] == expected(model, "ab", Sampling(seed=1), max_tokens=8)
    assert report["backend"] in ("host", "ane")
    assert report["tokens_per_second"] > 0
    assert report["compile_count"] <= 2


def test_several_prompts_and_a_batch_of_one_are_listed(run: Run, model: Path) -> None:
    out, _ = run("generate", model, "-p", "ab", "-p", "cd", "-n", 5, "--seed", 1, "--json")
    texts = [g["text"] for g in json.loads(out)["generations"]]
    assert texts == [
        expected(model, "ab", Sampling(seed=1), max_tokens=5),
        expected(model, "cd", Sampling(seed=2), max_tokens=5),
    ]
    out, _ = run("generate", model, "-p", "ab", "--batch", 3, "-n", 5, "--seed", 1)
    parts = re.split(r"^--- \d\n", out, flags=re.MULTILINE)
    assert [p.removesuffix("\n") for p in parts[1:]] == [
        expected(model, "ab", Sampling(seed=1 + i), max_tokens=5) for i in range(3)
    ]
    # Three prompts, two at a time.
    three = ("-p", "ab", "-p", "ab", "-p", "ab", "--batch", 2)
    assert run("generate", model, *three, "-n", 5, "--seed", 1)[0] == out


def test_the_tokenizer_is_found_beside_the_model_or_given(run: Run, tmp_path: Path) -> None:
    pieces = [b"<unk>", b"<s>", b"</s>", *(f"<0x{b:02X}>".encode() for b in range(256)), b" "]
    tokenizer = BPETokenizer(pieces, [0.0] * len(pieces))
    weights = ModelWeights.random(ModelConfig(16, 24, 1, 2, 2, 260, 32))
    save_model(weights, tmp_path / "m.safetensors")
    _, err = run("generate", tmp_path / "m.safetensors", code=1)
    assert "expected tok260.bin or tokenizer.bin beside the model" in err
    tokenizer.save(tmp_path / "other.bin")
    given, _ = run(
        *("generate", tmp_path / "m.safetensors", "-n", 4, "-t", 0),
        *("--tokenizer", tmp_path / "other.bin"),
    )
    tokenizer.save(tmp_path / "tok260.bin")
    found, _ = run("generate", tmp_path / "m.safetensors", "-n", 4, "-t", 0)
    assert found == given


def test_a_checkpoint_and_its_folder_generate_what_the_model_does(
    run: Run, model: Path, tmp_path: Path
) -> None:
    weights = load_model(model)
    state = Checkpoint(CheckpointHeader(step=7), weights, ModelAdam.zeros(weights.config), {})
    path = save_step(state, tmp_path / "run")
    want, _ = run("generate", model, "-p", "x", "-n", 6, "-t", 0)
    for source in (path, tmp_path / "run"):
        assert run("generate", source, "-p", "x", "-n", 6, "-t", 0)[0] == want


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-p", "x" * 65], "expected a prompt of at most 64 tokens, got 65"),
        (["--top-p", "2"], "top_p of more than 0 and at most 1, got 2.0"),
        (["--stop", ""], "--stop: expected a string of one character or more"),
        (["--tokenizer", "none.bin"], "none.bin: expected a tokenizer to read"),
    ],
    ids=["a long prompt", "a probability of two", "an empty stop string", "no such tokenizer"],
)
def test_what_is_wrong_is_said_in_one_line(
    run: Run, model: Path, args: list[str], message: str
) -> None:
    out, err = run("generate", model, *args, code=1)
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err


def test_usage_errors_exit_with_2(model: Path) -> None:
    for args in (["-n", "0"], ["--batch", "x"], ["--backend", "gpu"], ["--seed", "-1"]):
        with pytest.raises(SystemExit) as caught:
            main(["generate", str(model), *args])
        assert caught.value.code == 2


# --- convert


def test_convert_goes_round_through_every_kind(run: Run, model: Path, tmp_path: Path) -> None:
    folder, file, back = tmp_path / "folder", tmp_path / "m.safetensors", tmp_path / "back.bin"
    out, _ = run("convert", model, folder)
    assert out == f"{folder}: 23712 parameters, 2 layers of 32, 256 tokens; 97.9 kB\n"
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    run("convert", folder, file)
    out, _ = run("convert", file, back, "--json")
    assert back.read_bytes() == model.read_bytes()
    report = json.loads(out)
    assert report["bytes"] == back.stat().st_size
    assert report["config"]["n_kv_heads"] == 2


def test_convert_writes_over_nothing_without_force(run: Run, model: Path, tmp_path: Path) -> None:
    target = tmp_path / "there.bin"
    target.write_bytes(b"mine")
    _, err = run("convert", model, target, code=1)
    assert "expected a new name, got one that is there" in err
    assert target.read_bytes() == b"mine"
    run("convert", model, target, "--force")
    assert target.read_bytes() == model.read_bytes()


def test_convert_says_what_it_cannot_read_or_write(run: Run, model: Path, tmp_path: Path) -> None:
    assert "expected a model as .bin" in run("convert", tmp_path / "no", "x", code=1)[1]
    assert "ends in .bin or .safetensors" in run("convert", model, tmp_path / "m.gguf", code=1)[1]
    wide = ModelWeights.random(ModelConfig(16, 24, 1, 2, 2, 32, 16, head_dim=16))
    save_model(wide, tmp_path / "wide")
    _, err = run("convert", tmp_path / "wide", tmp_path / "wide.bin", code=1)
    assert "head" in err
    assert not (tmp_path / "wide.bin").exists()
