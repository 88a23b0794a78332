"""The next token, against PyTorch and plain loops; text that arrives token by token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milane.errors import EvalError, InvalidArgumentError
from milane.train import BPETokenizer, ByteTokenizer, Sampler, Sampling, TextStream

LOGITS = np.random.default_rng(0).standard_normal(300).astype(np.float32) * 3


def distribution(sampling: Sampling, logits: np.ndarray, seen: list[int]) -> np.ndarray:
    """Probabilities of all tokens."""
    sampler = Sampler(sampling, logits.size)
    sampler.see(seen)
    tokens, probs = sampler.distribution(logits)
    assert (np.diff(probs) <= 0).all()
    found = np.zeros(logits.size)
    found[tokens] = probs
    return found


def by_pytorch(sampling: Sampling, logits: np.ndarray, seen: list[int]) -> np.ndarray:
    """The same as the steps of Hugging Face's generation are documented, on float64 tensors."""
    torch = pytest.importorskip("torch")
    x = torch.tensor(logits, dtype=torch.float64)
    old = x[seen]
    penalty = sampling.repetition_penalty
    x[seen] = torch.where(old < 0, old * penalty, old / penalty)
    x = x / sampling.temperature
    if sampling.top_k:
        x[x < torch.topk(x, min(sampling.top_k, x.numel())).values[-1]] = -torch.inf
    ordered, index = torch.sort(x, descending=True)
    probs = torch.softmax(ordered, -1)
    before = probs.cumsum(-1) - probs
    if sampling.top_p < 1:
        ordered[before >= sampling.top_p] = -torch.inf
    return torch.zeros_like(x).scatter(0, index, torch.softmax(ordered, -1)).numpy()


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 5.0])
@pytest.mark.parametrize("top_k", [0, 1, 7, 300, 1000])
@pytest.mark.parametrize("top_p", [0.001, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("penalty", [0.8, 1.0, 1.3])
def test_probabilities_are_those_of_pytorch(
    temperature: float, top_k: int, top_p: float, penalty: float
) -> None:
    sampling = Sampling(temperature, top_k, top_p, penalty)
    seen = [int(LOGITS.argmax()), int(LOGITS.argmin()), 5, 17]
    got, want = distribution(sampling, LOGITS, seen), by_pytorch(sampling, LOGITS, seen)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(got > 0, want > 0)


def test_equal_logits_are_taken_in_order() -> None:
    flat = np.zeros(10, np.float32)
    got = distribution(Sampling(top_k=4, top_p=1), flat, [])
    np.testing.assert_allclose(got, [0.25] * 4 + [0] * 6)
    # Of ten equal tokens, two are the fewest that reach 0.15.
    np.testing.assert_allclose(distribution(Sampling(top_p=0.15), flat, []), [0.5] * 2 + [0] * 8)
    np.testing.assert_allclose(distribution(Sampling(top_p=0.05), flat, []), [1] + [0] * 9)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    sampling = Sampling(temperature=1.0, top_k=5, top_p=1, seed=11)
    sampler, want = Sampler(sampling, LOGITS.size), distribution(sampling, LOGITS, [])
    draws = 20000
    counts = np.bincount([sampler(LOGITS) for _ in range(draws)], minlength=LOGITS.size)
    # Five standard deviations of a binomial count.
    assert (np.abs(counts - draws * want) <= 5 * np.sqrt(draws * want * (1 - want))).all()


def test_greedy_takes_the_largest_and_draws_nothing() -> None:
    sampler = Sampler(Sampling(temperature=0, top_k=3, top_p=0.1), LOGITS.size)
    assert [sampler(LOGITS) for _ in range(3)] == [int(LOGITS.argmax())] * 3


def test_a_penalty_moves_greedy_on() -> None:
    logits = np.array([4.0, 3.0, -1.0, -1.5], np.float32)
    sampler = Sampler(Sampling(temperature=0, repetition_penalty=2.0), 4)
    # 4 → 2, then 3 → 1.5, then 2 is the largest again.
    assert [sampler(logits) for _ in range(3)] == [0, 1, 0]
    sampler = Sampler(Sampling(temperature=0, repetition_penalty=2.0), 4)
    sampler.see([0, 1, 2])
    scores = sampler._penalised(logits)
    np.testing.assert_array_equal(scores, [2.0, 1.5, -2.0, -1.5])


def test_infinite_logits_of_some_tokens_are_fine_and_of_all_are_not() -> None:
    logits = np.array([1.0, -np.inf, 0.0], np.float32)
    got = distribution(Sampling(top_p=1), logits, [])
    np.testing.assert_allclose(got, np.array([np.e, 0, 1]) / (np.e + 1))
    for bad in ([np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]):
        with pytest.raises(EvalError, match="expected finite logits"):
            Sampler(Sampling(), 2)(np.array(bad, np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature of 0 or more, got -0.1"),
        ({"temperature": float("nan")}, "temperature of 0 or more, got nan"),
        ({"top_k": -1}, "top_k of 0 or more"),
        ({"top_p": 0.0}, "top_p of more than 0 and at most 1"),
        ({"top_p": 1.1}, "top_p of more than 0 and at most 1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty of more than 0"),
        ({"seed": -1}, "seed of 0 or more"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Sampling(**options)


# --- text


def streamed(text: bytes, stop: list[str]) -> tuple[list[str], bool]:
    """What comes of each byte, and of the end; whether a stop string was met."""
    stream = TextStream(ByteTokenizer(), 0, stop)
    pieces = [stream.push(byte) for byte in text]
    return [*pieces, stream.finish()], stream.stopped


def test_a_character_comes_when_it_is_complete() -> None:
    pieces, _ = streamed("aé€😀".encode(), [])
    assert pieces == ["a", "", "é", "", "", "€", "", "", "", "😀", ""]


def test_a_character_that_never_becomes_complete_is_replaced() -> None:
    assert streamed("€".encode()[:2] + b"x", [])[0] == ["", "", "\ufffdx", ""]
    assert streamed("x€".encode()[:3], [])[0] == ["x", "", "", "\ufffd"]


def test_what_may_begin_a_stop_string_is_held_back() -> None:
    assert streamed(b"abxab\n\n", ["ab\n\n"])[0] == ["", "", "abx", "", "", "", "", ""]
    assert streamed(b"aab", ["aac"]) == (["", "", "aab", ""], False)
    assert streamed(b"stop", ["sto", "op"]) == (["", "", "", "", ""], True)
    assert streamed(b"sta", ["stop"]) == (["", "", "sta", ""], False)
    assert streamed(b"st", ["stop"]) == (["", "", "st"], False)


ALPHABET = st.text(alphabet="aab€\n", max_size=12)


@settings(max_examples=400, deadline=None)
@given(text=ALPHABET, stop=st.lists(st.text(alphabet="aab€\n", min_size=1, max_size=4), max_size=3))
def test_a_stream_is_the_text_up_to_the_first_stop_string(text: str, stop: list[str]) -> None:
    pieces, stopped = streamed(text.encode(), stop)
    # The plain way: look at all of the text after each character.
    want, met = text, False
    for end in range(len(text) + 1):
        places = [at for s in stop if (at := text[:end].find(s)) >= 0]
        if places:
            want, met = text[: min(places)], True
            break
    assert "".join(pieces) == want
    assert stopped == met
    # Nothing that was shown had to be taken back, and nothing was held back without a reason.
    shown = ""
    for end, piece in enumerate(pieces[:-1], 1):
        shown += piece
        assert want.startswith(shown)
        so_far = text.encode()[:end].decode(errors="ignore")
        longest = max((len(s) - 1 for s in stop), default=0)
        assert len(shown) >= min(len(want), len(so_far) - longest)


def test_stop_strings_begin_and_end_inside_of_tokens() -> None:
    pieces = [b"<unk>", b"<s>", b"</s>", *(f"<0x{b:02X}>".encode() for b in range(256))]
    words = [b" the", b" dog", b"gy bag"]
    tokenizer = BPETokenizer([*pieces, *words], [0.0] * (259 + 3))
    the, dog, bag = 259, 260, 261
    stream = TextStream(tokenizer, tokenizer.bos, ["oggy b"])
    # The space behind BOS is the tokenizer's own, not the text's.
    assert [stream.push(the), stream.push(dog), stream.push(bag)] == ["the", " d", ""]
    assert (stream.stopped, stream.push(the), stream.finish()) == (True, "", "")
    stream = TextStream(tokenizer, the, ["oggy z"])
    assert [stream.push(dog), stream.push(bag)] == [" d", "oggy bag"]
    with pytest.raises(InvalidArgumentError, match="expected a token"):
        stream.push(300)
