"""Generation: logits against a NumPy evaluation, the cache, batches, streams, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import llama_witness
import milane
from milane.errors import ClosedError, EvalError, InvalidArgumentError
from milane.train import (
    BPETokenizer,
    ByteTokenizer,
    Decoder,
    Generator,
    ModelConfig,
    ModelWeights,
    Sampling,
    llama2c,
)
from on_device import Both

ROOT = Path(__file__).resolve().parent.parent
GREEDY = Sampling(temperature=0)
# What llama2.c's doc/stories260K.md prints for greedy sampling.
OPENING = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high."
)
SHAPES = {
    "one head": ModelConfig(16, 24, 1, 1, 1, 40, 24),
    "as many key heads as query heads": ModelConfig(32, 48, 2, 4, 4, 50, 24),
    "groups of four heads, a classifier of its own": ModelConfig(
        32, 40, 3, 8, 2, 70, 24, tied=False
    ),
    "heads that are wider than the model": ModelConfig(
        24, 40, 2, 4, 2, 60, 24, head_dim=16, rope_theta=1e6, norm_eps=1e-6
    ),
}


def model(config: ModelConfig, seed: int = 0) -> ModelWeights:
    """Random weights of the size that trained ones have, so that attention is not flat."""
    rng = np.random.default_rng(seed)
    weights = ModelWeights.random(config, seed)
    for name, array in weights.named():
        if array.ndim == 2:
            np.multiply(array, 1.5 / 0.02 / np.sqrt(array.shape[1]), out=array)
        elif "rms" in name:
            np.add(array, 0.2 * rng.standard_normal(array.shape), out=array, casting="same_kind")
    return weights


@cache
def expected(config: ModelConfig, tokens: tuple[int, ...]) -> tuple[Any, Any]:
    """Logits of :func:`model` in float64, and how far fp16 may be from them."""
    return llama_witness.bounded(model(config), tokens)


def every_logit(decoder: Decoder, tokens: list[int]) -> NDArray[np.float32]:
    """The logits behind each token of sequence 0, one step at a time."""
    rest = [None] * (decoder.batch - 1)
    return np.stack([decoder.step([token, *rest])[0].copy() for token in tokens])


def tokens_for(config: ModelConfig, count: int, seed: int = 1) -> list[int]:
    return np.random.default_rng(seed).integers(0, config.vocab_size, count).tolist()


@dataclass
class Stories:
    """The trained model of the corpus."""

    weights: ModelWeights
    tokenizer: BPETokenizer


@cache
def of_stories(corpus: Path, tokens: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Its logits in float64, how far fp16 may be from them, and its logits in float32."""
    weights = llama2c.load(corpus / "llama2c" / "stories260K.bin")
    single = llama_witness.logits(weights, tokens, dtype=np.float32)
    return (*llama_witness.bounded(weights, tokens), single)


@pytest.fixture
def stories(corpus: Path) -> Stories:
    folder = corpus / "llama2c"
    return Stories(
        llama2c.load(folder / "stories260K.bin"), BPETokenizer.load(folder / "tok512.bin")
    )


@pytest.fixture
def small(runtime: milane.Runtime) -> Iterator[Generator]:
    """Three sequences of a small random model over bytes."""
    config = ModelConfig(32, 48, 2, 4, 2, 256, 32)
    with Generator(model(config), runtime, tokenizer=ByteTokenizer(), batch=3) as generator:
        yield generator


# --- a trained model


def test_stories260k_tells_the_published_opening(runtime: milane.Runtime, stories: Stories) -> None:
    with Generator(stories.weights, runtime, tokenizer=stories.tokenizer) as generator:
        text = "".join(generator.stream("", sampling=GREEDY, max_tokens=120))
    assert text.startswith(OPENING)


def test_stories260k_logits_are_within_the_roundings_of_fp16_at_every_position(
    runtime: milane.Runtime, stories: Stories, corpus: Path
) -> None:
    weights = stories.weights
    assert (weights.config.n_heads, weights.config.n_kv_heads) == (8, 4)
    with Generator(weights, runtime, tokenizer=stories.tokenizer) as generator:
        (found,) = generator.generate("", sampling=GREEDY, max_tokens=160, stop_tokens=())
        tokens = [*found.prompt, *found.tokens]
        generator.decoder.reset()
        got = every_logit(generator.decoder, tokens[:-1])
    truth, limit, single = of_stories(corpus, tuple(tokens[:-1]))
    assert (np.abs(got - truth) <= limit).all()
    # Greedy tokens are those of an evaluation in float32, wherever roundings cannot decide.
    order = np.argsort(-single, axis=1)
    rows = np.arange(len(single))
    first, second = order[:, 0], order[:, 1]
    margin = single[rows, first] - single[rows, second]
    clear = margin > limit[rows, first] + limit.max(1)
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(np.array(tokens[1:])[clear], first[clear])


def test_both_backends_give_the_same_logits_to_the_bit(both: Both, stories: Stories) -> None:
    tokens = stories.tokenizer.encode(OPENING)
    found = []
    for runtime in (both.host, both.ane):
        with Decoder(stories.weights, runtime, max_len=128) as decoder:
            rows = every_logit(decoder, tokens)
            decoder.reset()
            found.append((rows, decoder.feed([tokens]).copy()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_a_long_prompt_goes_on_as_the_text_it_is_from(
    runtime: milane.Runtime, stories: Stories
) -> None:
    with Generator(stories.weights, runtime, tokenizer=stories.tokenizer) as generator:
        (whole,) = generator.generate("", sampling=GREEDY, max_tokens=200)
        (rest,) = generator.generate(
            [[*whole.prompt, *whole.tokens[:150]]], sampling=GREEDY, max_tokens=50
        )
    assert rest.tokens == whole.tokens[150:]


# --- the decoder


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prefill": 5},
        {"prefill": 0},
        {"layers_per_kernel": 1},
        {"classifier_rows": 17},
        {"dialect": "ios16"},
    ],
    ids=[
        "by default",
        "five positions at a time",
        "one by one",
        "a kernel a layer",
        "split logits",
        "for older chips",
    ],
)
def test_logits_are_those_of_numpy_at_every_position(
    runtime: milane.Runtime, config: ModelConfig, options: dict[str, Any]
) -> None:
    weights, tokens = model(config), tokens_for(config, 20)
    truth, limit = expected(config, tuple(tokens))
    with Decoder(weights, runtime, max_len=24, **options) as decoder:
        stepped = every_logit(decoder, tokens)
        assert (np.abs(stepped - truth) <= limit).all()
        decoder.reset()
        fed = decoder.feed([tokens])[0]
        assert (np.abs(fed - truth[-1]) <= limit[-1]).all()
        assert decoder.lengths == (20,)
        # The cache that the prompt has filled serves steps as well as the one that steps have.
        last = decoder.step([7])[0]
        more, limit = expected(config, (*tokens, 7))
        assert (np.abs(last - more[-1]) <= limit[-1]).all()


def test_a_prompt_in_pieces_is_the_prompt(runtime: milane.Runtime) -> None:
    config = SHAPES["as many key heads as query heads"]
    weights, tokens = model(config), tokens_for(config, 22)
    truth, limit = llama_witness.bounded(weights, tokens)
    with Decoder(weights, runtime, prefill=4) as decoder:
        for first, last in ((0, 1), (1, 10), (10, 12), (12, 22)):
            got = decoder.feed([tokens[first:last]])[0]
            assert (np.abs(got - truth[last - 1]) <= limit[last - 1]).all()


def test_sequences_of_different_lengths_share_a_batch(runtime: milane.Runtime) -> None:
    config = SHAPES["groups of four heads, a classifier of its own"]
    weights = model(config)
    prompts = [tokens_for(config, n, seed=n) for n in (1, 13, 6)]
    with Decoder(weights, runtime, batch=4, prefill=4) as decoder:
        together = decoder.feed([*prompts, []]).copy()
        assert decoder.lengths == (1, 13, 6, 0)
        rested = decoder.step([3, None, 5, None]).copy()
        assert decoder.lengths == (2, 13, 7, 0)
    for b, prompt in enumerate(prompts):
        truth, limit = llama_witness.bounded(weights, prompt)
        assert (np.abs(together[b] - truth[-1]) <= limit[-1]).all()
    for b, token in ((0, 3), (2, 5)):
        truth, limit = llama_witness.bounded(weights, [*prompts[b], token])
        assert (np.abs(rested[b] - truth[-1]) <= limit[-1]).all()


def test_nothing_is_compiled_after_the_first_step(runtime: milane.Runtime) -> None:
    config = SHAPES["one head"]
    with Decoder(model(config), runtime, use_cache=False) as decoder:
        assert runtime.compile_count == 2  # one position, and many
        for length in (1, 2, 3, 23):
            decoder.reset()
            decoder.feed([tokens_for(config, length)])
            decoder.step([0])
        assert runtime.compile_count == 2


def test_a_reset_leaves_nothing_of_a_sequence(runtime: milane.Runtime) -> None:
    config = SHAPES["groups of four heads, a classifier of its own"]
    with Decoder(model(config), runtime, batch=2) as decoder:
        first = decoder.feed([[5, 6, 7], [8]]).copy()
        for kernel in decoder.kernels:  # as an overflow leaves it
            for name, port in kernel.inputs.items():
                if name.startswith("cache"):
                    port.array[0] = np.nan
        assert np.isnan(decoder.step([1, 1])[0]).all()
        decoder.reset(0)
        assert decoder.lengths == (0, 2)
        again = decoder.feed([[5, 6, 7], []])
        np.testing.assert_array_equal(again[0], first[0])
        decoder.reset()
        np.testing.assert_array_equal(decoder.feed([[5, 6, 7], [8]]), first)


def test_a_sequence_goes_back_to_what_it_was(runtime: milane.Runtime) -> None:
    config = SHAPES["as many key heads as query heads"]
    with Decoder(model(config), runtime, batch=2) as decoder:
        want = decoder.feed([[5, 6, 7, 8], [8]]).copy()
        decoder.step([9, 10])
        decoder.truncate(3)
        assert decoder.lengths == (3, 2)
        np.testing.assert_array_equal(decoder.step([8, None])[0], want[0])
        for length in (-1, 5):
            with pytest.raises(InvalidArgumentError, match=r"expected a length in \[0, 4\]"):
                decoder.truncate(length)


def test_large_activations_do_not_overflow_the_norms(runtime: milane.Runtime) -> None:
    config = SHAPES["groups of four heads, a classifier of its own"]
    weights = model(config)
    weights.embed *= np.float32(1000)  # squares beyond fp16
    assert np.square(weights.embed).max() > np.finfo(np.float16).max
    truth, limit = llama_witness.bounded(weights, [3, 4, 5])
    with Decoder(weights, runtime) as decoder:
        got = every_logit(decoder, [3, 4, 5])
    assert (np.abs(got - truth) <= limit).all()


def test_other_weights_are_taken_without_new_surfaces(runtime: milane.Runtime) -> None:
    config = SHAPES["one head"]
    before, after = model(config, 1), model(config, 2)
    tokens = tokens_for(config, 12)
    with Decoder(before, runtime, prefill=4) as decoder, Decoder(after, runtime, prefill=4) as own:
        decoder.feed([tokens])
        decoder.reload(after)
        np.testing.assert_array_equal(decoder.feed([tokens]), own.feed([tokens]))
        other = model(SHAPES["as many key heads as query heads"])
        with pytest.raises(InvalidArgumentError, match="expected a model of"):
            decoder.reload(other)


# --- the generator


def test_a_batch_generates_what_single_prompts_do(small: Generator) -> None:
    prompts = ["one", "two and more", "x", "four", "5"]
    sampling = Sampling(temperature=0.8, top_k=12, seed=4)
    together = small.generate(prompts, sampling=sampling, max_tokens=15)
    for i, prompt in enumerate(prompts):
        alone = small.run([prompt], sampling=sampling, max_tokens=15, sequence=i)
        assert len(list(alone)) > 0
        assert alone.results[0] == together[i]
    assert len({tuple(g.tokens) for g in together}) == 5


def test_a_seed_repeats_a_text_and_another_changes_it(small: Generator) -> None:
    def text(seed: int | None) -> str:
        return small.generate("ab", sampling=Sampling(seed=seed), max_tokens=20)[0].text

    assert text(1) == text(1)
    assert text(1) != text(2)
    assert text(None) != text(None)


def test_each_sequence_stops_on_its_own(small: Generator) -> None:
    free = small.generate(["ab", "cd", "ef"], sampling=GREEDY, max_tokens=12, stop_tokens=())
    stop = free[1].tokens[4]
    found = small.generate(["ab", "cd", "ef"], sampling=GREEDY, max_tokens=12, stop_tokens=[stop])
    for before, after in zip(free, found, strict=True):
        if stop in before.tokens:
            assert after.reason == "stop_token"
            assert after.tokens == before.tokens[: before.tokens.index(stop)]
        else:
            assert after == before
            assert after.reason == "max_tokens"


def test_pieces_put_together_are_the_text(small: Generator) -> None:
    run = small.run(["ab", "cd"], sampling=Sampling(seed=3), max_tokens=14)
    texts, tokens = ["", ""], [[], []]
    for piece in run:
        texts[piece.sequence] += piece.text
        if piece.token is not None:
            tokens[piece.sequence].append(piece.token)
    assert texts == [g.text for g in run.results]
    assert tokens == [g.tokens for g in run.results]


def test_a_full_context_ends_a_sequence(small: Generator) -> None:
    prompt = list(range(1, 30))
    (found,) = small.generate([prompt], sampling=GREEDY, stop_tokens=())
    assert (found.reason, len(found.tokens)) == ("context", 3)
    (found,) = small.generate([list(range(1, 33))], sampling=GREEDY)
    assert (found.reason, found.tokens) == ("context", [])
    (found,) = small.generate([prompt], sampling=GREEDY, max_tokens=0)
    assert (found.reason, found.tokens) == ("max_tokens", [])


def test_a_stop_string_ends_a_text_before_it(small: Generator) -> None:
    (free,) = small.generate("ab", sampling=Sampling(seed=7), max_tokens=20, stop_tokens=())
    stop = bytes(free.tokens[5:8]).decode("latin-1")
    if not stop.isascii():
        stop = free.text[5:7]
    (found,) = small.generate(
        "ab", sampling=Sampling(seed=7), max_tokens=20, stop_tokens=(), stop=[stop, "never there"]
    )
    assert found.reason == "stop_string"
    assert found.text == free.text[: free.text.index(stop)]


def test_a_generator_without_a_tokenizer_takes_tokens(runtime: milane.Runtime) -> None:
    with Generator(model(SHAPES["one head"]), runtime) as generator:
        (found,) = generator.generate([3, 4], sampling=GREEDY, max_tokens=5)
        assert (found.prompt, len(found.tokens), found.text) == ([3, 4], 5, "")
        with pytest.raises(InvalidArgumentError, match="expected tokens, got a text"):
            generator.generate("text")
        with pytest.raises(InvalidArgumentError, match="expected a tokenizer for stop strings"):
            generator.generate([3], stop="x")


# --- errors


def test_what_does_not_fit_is_said(small: Generator) -> None:
    for prompt, message in (
        (list(range(33)), "expected a prompt of at most 32 tokens, got 33"),
        ([256], r"expected tokens in \[0, 256\), got 256"),
        ([-1], r"expected tokens in \[0, 256\), got -1"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            small.generate([prompt])
    with pytest.raises(InvalidArgumentError, match="expected a prompt of one token or more"):
        small.generate([[]])
    with pytest.raises(InvalidArgumentError, match=r"expected 1 to 3 prompts \(batch\), got 4"):
        small.run(["a"] * 4)
    with pytest.raises(InvalidArgumentError, match="expected max_tokens of 0 or more"):
        small.run(["a"], max_tokens=-1)
    with pytest.raises(InvalidArgumentError, match="one character or more"):
        small.run(["a"], stop=[""])


def test_a_decoder_says_which_sequence_is_full(runtime: milane.Runtime) -> None:
    with Decoder(model(SHAPES["one head"]), runtime, batch=2, max_len=4) as decoder:
        decoder.feed([[1, 2, 3], [1]])
        with pytest.raises(InvalidArgumentError, match=r"at most 1 more tokens in sequence 0"):
            decoder.feed([[1, 2], [1]])
        assert decoder.lengths == (3, 1)
        with pytest.raises(InvalidArgumentError, match="expected tokens for 2 sequences, got 1"):
            decoder.feed([[1]])
        with pytest.raises(InvalidArgumentError, match=r"expected a token in \[0, 40\), got 40"):
            decoder.step([40, None])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch of 1 or more"),
        ({"max_len": 0}, "max_len of 1 or more"),
        ({"prefill": -1}, "prefill of 0 or more"),
        ({"classifier_rows": 0}, "classifier_rows of 1 or more"),
    ],
)
def test_sizes_are_checked(host_runtime: milane.Runtime, options: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Decoder(model(SHAPES["one head"]), host_runtime, **options)


def test_a_tokenizer_of_another_model_is_refused(host_runtime: milane.Runtime) -> None:
    with pytest.raises(InvalidArgumentError, match="a tokenizer of at most the model's 40"):
        Generator(model(SHAPES["one head"]), host_runtime, tokenizer=ByteTokenizer())


def test_only_tokens_of_the_tokenizer_are_generated(host_runtime: milane.Runtime) -> None:
    weights = model(ModelConfig(16, 24, 1, 2, 2, 700, 24))
    with Generator(weights, host_runtime, tokenizer=ByteTokenizer()) as generator:
        (found,) = generator.generate("a", sampling=Sampling(9.0, top_p=1, seed=1), stop_tokens=())
        assert len(found.tokens) == 23
        assert max(found.tokens) < 256
        with pytest.raises(InvalidArgumentError, match=r"tokens in \[0, 256\), got 256"):
            generator.generate([256])


def test_a_run_that_another_replaced_says_so(small: Generator) -> None:
    first = small.run(["a"], sampling=GREEDY, max_tokens=5)
    next(first)
    small.run(["b"], sampling=GREEDY, max_tokens=5)
    with pytest.raises(InvalidArgumentError, match="expected to be the generator's latest"):
        list(first)


def test_logits_that_are_no_numbers_are_an_error(host_runtime: milane.Runtime) -> None:
    weights = model(SHAPES["one head"])
    weights.rms_final[3] = np.nan
    with (
        Generator(weights, host_runtime) as generator,
        pytest.raises(EvalError, match="expected finite logits, got nan"),
    ):
        generator.generate([1], sampling=GREEDY)


def test_a_closed_generator_says_so(runtime: milane.Runtime) -> None:
    generator = Generator(model(SHAPES["one head"]), runtime)
    generator.close()
    generator.close()
    with pytest.raises(ClosedError, match="expected an open one"):
        generator.generate([1])


# --- the documentation


def test_the_examples_about_generating_run_as_printed(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("safetensors")
    monkeypatch.setenv("MILANE_BACKEND", backend)
    page = (ROOT / "docs" / "generate.md").read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "generate"}
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    printed = re.findall(r"^prints\n\n```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for block, expected in zip(blocks, printed, strict=True):
        exec(compile(block, "generate.md", "exec"), names)
        assert capsys.readouterr().out == expected
