"""Files of training: llama2.c's models and tokenizers, BLZT checkpoints, and their damage."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from milane.errors import InvalidArgumentError, ModelFileError
from milane.train import (
    BPETokenizer,
    ByteTokenizer,
    Checkpoint,
    CheckpointHeader,
    LayerWeights,
    Llama2Config,
    ModelAdam,
    ModelConfig,
    ModelWeights,
    checkpoints,
    latest,
    llama2c,
    save_step,
)

CONFIGS = {
    "tied": ModelConfig(8, 12, 2, 2, 2, 11, 6),
    "grouped, a classifier of its own": ModelConfig(16, 20, 1, 4, 2, 9, 5, tied=False),
}
ids = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def model(config: ModelConfig, seed: int = 0) -> ModelWeights:
    """Weights, all different."""
    rng = np.random.default_rng(seed)
    weights = ModelWeights.zeros(config)
    weights.layers = [LayerWeights.zeros(config) for _ in range(config.n_layers)]
    for _, array in weights.named():
        array[...] = rng.standard_normal(array.shape)
    return weights


def assert_equal(got: ModelWeights, want: ModelWeights) -> None:
    assert got.config == want.config
    for (name, a), (other, b) in zip(got.named(), want.named(), strict=True):
        assert name == other
        np.testing.assert_array_equal(a, b, err_msg=name)


# --- llama2.c models


def by_hand(weights: ModelWeights) -> bytes:
    """The file as llama2.c's export.py (legacy_export) writes it, put together here."""
    c = weights.config
    sign = 1 if weights.classifier is None else -1
    header = struct.pack(
        "<7i",
        c.dim,
        c.hidden_dim,
        c.n_layers,
        c.n_heads,
        c.n_kv_heads,
        sign * c.vocab_size,
        c.seq_len,
    )
    parts = [weights.embed]
    for group in (["rms_att"], ["wq"], ["wk"], ["wv"], ["wo"], ["rms_ffn"], ["w1"], ["w2"], ["w3"]):
        parts += [getattr(layer, group[0]) for layer in weights.layers]
    parts.append(weights.rms_final)
    size = c.dim // c.n_heads
    angle = np.outer(np.arange(c.seq_len), 10000.0 ** (-np.arange(0, size, 2) / size))
    parts += [np.cos(angle), np.sin(angle)]
    if weights.classifier is not None:
        parts.append(weights.classifier)
    return header + b"".join(p.astype("<f4").tobytes() for p in parts)


@ids
def test_a_llama2c_file_is_what_their_export_writes(config: ModelConfig, tmp_path: Path) -> None:
    weights = model(config)
    llama2c.save(weights, tmp_path / "m.bin")
    assert (tmp_path / "m.bin").read_bytes() == by_hand(weights)
    assert_equal(llama2c.load(tmp_path / "m.bin"), weights)


def test_stories260k_is_read_and_written_back(corpus: Path, tmp_path: Path) -> None:
    source = corpus / "llama2c" / "stories260K.bin"
    weights = llama2c.load(source)
    assert weights.config == ModelConfig(64, 172, 5, 8, 4, 512, 512)
    llama2c.save(weights, tmp_path / "m.bin")
    ours, theirs = (np.fromfile(p, "<f4") for p in (tmp_path / "m.bin", source))
    # The two tables of frequencies at the end are computed: by PyTorch in float32 there.
    tables = 2 * 512 * 4
    assert ours[:-tables].tobytes() == theirs[:-tables].tobytes()
    np.testing.assert_allclose(ours[-tables:], theirs[-tables:], atol=512 * 2.0**-23)


def test_a_negative_vocabulary_means_a_classifier_of_its_own() -> None:
    header = struct.pack("<7i", 16, 20, 1, 4, 2, -9, 5)
    config = Llama2Config.unpack(header)
    assert config.pack() == header
    assert config.model() == CONFIGS["grouped, a classifier of its own"]
    assert Llama2Config.of(config.model()) == config


@ids
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d[:20], "expected a header of 28 bytes, got 20"),
        (lambda d: d[:-4], "expected [0-9]+ bytes"),
        (lambda d: d + b"\0", "expected [0-9]+ bytes"),
        (lambda d: b"24ka" + d[4:], "expected a version 0 file"),
        (lambda d: bytes(28) + d[28:], "expected seven sizes between 1 and"),
        (lambda d: struct.pack("<i", 1 << 30) + d[4:], "expected seven sizes between 1 and"),
    ],
    ids=["no header", "cut short", "too long", "a later version", "zeros", "a size beyond reason"],
)
def test_a_damaged_llama2c_file_is_refused(
    config: ModelConfig, damage: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(damage(by_hand(model(config))))
    with pytest.raises(ModelFileError, match=message):
        llama2c.load(path)


def test_heads_that_the_format_cannot_say_are_refused(tmp_path: Path) -> None:
    config = ModelConfig(16, 20, 1, 4, 2, 9, 5, head_dim=8)
    with pytest.raises(InvalidArgumentError, match="head"):
        llama2c.save(model(config), tmp_path / "m.bin")
    assert list(tmp_path.iterdir()) == []


# --- tokenizers


def slow_encode(tokenizer: BPETokenizer, text: str) -> list[int]:
    """llama2.c's encode: look at all neighbours, join the best, begin again."""
    vocabulary: dict[bytes, int] = {}
    for i, piece in enumerate(tokenizer.pieces):
        vocabulary.setdefault(piece, i)
    tokens = [vocabulary[b" "]] if text else []
    for character in text:
        piece = character.encode()
        tokens += [vocabulary[piece]] if piece in vocabulary else [b + 3 for b in piece]
    while True:
        best, place, joined = -1e10, None, 0
        for i in range(len(tokens) - 1):
            both = vocabulary.get(tokenizer.pieces[tokens[i]] + tokenizer.pieces[tokens[i + 1]])
            if both is not None and tokenizer.scores[both] > best:
                best, place, joined = tokenizer.scores[both], i, both
        if place is None:
            return [1, *tokens]
        tokens[place : place + 2] = [joined]


def made_tokenizer() -> BPETokenizer:
    """A small one with merges that compete, equal scores among them."""
    pieces = [b"<unk>", b"<s>", b"</s>", *(f"<0x{b:02X}>".encode() for b in range(256))]
    pieces += [b" ", b"a", b"b", b"c", "é".encode()]
    scores = [0.0] * len(pieces)
    for piece, score in {
        "ab": -1, "bc": -1, "abc": -2, " a": -3, "aa": -1, "ba": -0.5, "aab": 1, "ca": -1,
        "éa": -2, " ab": 0,
    }.items():  # fmt: skip
        pieces.append(piece.encode())
        scores.append(float(score))
    return BPETokenizer(pieces, scores)


@settings(max_examples=400, deadline=None)
@given(text=st.text(alphabet="aaabbc é€\n", max_size=30))
@example(text="abcabc")
@example(text="aaaaaa")
def test_the_fast_encoder_joins_as_the_slow_one(text: str) -> None:
    tokenizer = made_tokenizer()
    tokens = tokenizer.encode(text)
    assert tokens == slow_encode(tokenizer, text)
    assert tokenizer.decode(tokens) == text


@pytest.fixture(params=["tok512.bin", "tokenizer.bin"])
def published(request: pytest.FixtureRequest, corpus: Path) -> Path:
    return corpus / "llama2c" / request.param


def test_published_tokenizers_encode_as_the_slow_algorithm_does(published: Path) -> None:
    tokenizer = BPETokenizer.load(published)

    @settings(max_examples=60, deadline=None)
    @given(text=st.text(max_size=25) | st.text(alphabet="the catsd.,\n Onceuponatim", max_size=40))
    @example(text="Once upon a time, there was a little girl named Lily.")
    @example(text="  two  spaces\tand 中文, 😀!\n\n")
    def agrees(text: str) -> None:
        tokens = tokenizer.encode(text)
        assert tokens == slow_encode(tokenizer, text)
        assert tokenizer.decode(tokens) == text

    agrees()


def test_published_tokenizers_are_written_back_to_the_byte(published: Path, tmp_path: Path) -> None:
    tokenizer = BPETokenizer.load(published)
    tokenizer.save(tmp_path / "t.bin")
    assert (tmp_path / "t.bin").read_bytes() == published.read_bytes()
    assert tokenizer.vocab_size == {"tok512.bin": 512, "tokenizer.bin": 32000}[published.name]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", [1]),
        ("I believe the meaning of life is", [1, 306, 4658, 278, 6593, 310, 2834, 338]),
        (
            "Simply put, the theory of relativity states that ",
            [1, 3439, 17632, 1925, 29892, 278, 6368, 310, 14215, 537, 5922, 393, 29871],
        ),
    ],
    ids=["nothing", "a sentence", "a sentence with a space at its end"],
)
def test_llama_s_tokenizer_gives_the_tokens_that_llama2c_tests(
    corpus: Path, text: str, tokens: list[int]
) -> None:
    """The vectors of llama2.c's test.c, which are Meta's own."""
    tokenizer = BPETokenizer.load(corpus / "llama2c" / "tokenizer.bin")
    assert tokenizer.encode(text) == tokens
    assert tokenizer.encode(text, bos=False, eos=True) == [*tokens[1:], 2]


def test_a_tokenizer_file_is_what_their_export_writes(tmp_path: Path) -> None:
    pieces, scores = [b"<unk>", b"<s>", b"</s>", " é".encode(), b""], [0.0, -1.5, 0.0, 3.25, 1.0]
    BPETokenizer(pieces, scores).save(tmp_path / "t.bin")
    want = struct.pack("<i", 5)
    for piece, score in zip(pieces, scores, strict=True):
        want += struct.pack("<f", score) + struct.pack("<i", len(piece)) + piece
    assert (tmp_path / "t.bin").read_bytes() == want
    again = BPETokenizer.load(tmp_path / "t.bin")
    assert (again.pieces, again.scores) == (pieces, scores)


def test_a_tokenizer_file_that_ends_anywhere_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.bin"
    made_tokenizer().save(path)
    data = path.read_bytes()
    starts, at = [4], 4
    while at < len(data):
        at += 8 + struct.unpack_from("<i", data, at + 4)[0]
        starts.append(at)
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        if end in starts[1:]:
            BPETokenizer.load(path)  # a whole number of tokens: there is no count to tell
        else:
            with pytest.raises(ModelFileError, match="expected (a tokenizer|token|tokens)"):
                BPETokenizer.load(path)
    path.write_bytes(data[:8] + struct.pack("<i", -5) + data[12:])
    with pytest.raises(ModelFileError, match="got length -5"):
        BPETokenizer.load(path)


def test_tokens_that_there_are_not_are_refused() -> None:
    tokenizer = made_tokenizer()
    for token in (-1, tokenizer.vocab_size):
        with pytest.raises(InvalidArgumentError, match=rf"got {token}"):
            tokenizer.decode([token])
    with pytest.raises(InvalidArgumentError, match="got token 256"):
        ByteTokenizer().decode([256])
    with pytest.raises(InvalidArgumentError, match="expected a score for each piece"):
        BPETokenizer([b"a"], [])


@given(text=st.text(max_size=40).filter(lambda t: "\0" not in t))
def test_bytes_are_tokens_and_back(text: str) -> None:
    tokenizer = ByteTokenizer()
    tokens = tokenizer.encode(text, bos=True, eos=True)
    assert tokens == [0, *text.encode(), 0]
    assert tokenizer.decode(tokens) == text


# --- checkpoints


def checkpoint(config: ModelConfig, step: int = 3, seed: int = 0) -> Checkpoint:
    """Weights, moments and progress, all different."""
    rng = np.random.default_rng(seed + 100)
    adam = ModelAdam.zeros(config)
    for _, state in adam.named():
        state.m[...] = rng.standard_normal(state.m.shape)
        state.v[...] = rng.random(state.v.shape)
    header = CheckpointHeader(
        step, 500, config.n_layers, config.vocab_size, config.dim, config.hidden_dim,
        config.n_heads, config.seq_len, 1.5e-3, 2.25, 1e3, 2e3, 4e3, 77, 8, step,
    )  # fmt: skip
    return Checkpoint(header, model(config, seed), adam, {"data": {"at": step}, "text": "é"})


def test_the_header_has_every_field_at_its_offset() -> None:
    header = CheckpointHeader(
        step=1, total_steps=2, n_layers=3, vocab_size=4, dim=5, hidden_dim=6, n_heads=7, seq_len=8,
        lr=0.5, loss=1.25, cum_compile=10.0, cum_train=20.0, cum_wall=30.0, cum_steps=9,
        cum_batches=10, adam_t=11,
    )  # fmt: skip
    data = header.pack()
    assert len(data) == CheckpointHeader.nbytes == 128
    assert data[:8] == b"TZLB\x02\0\0\0"
    for at, value in zip(range(8, 40, 4), range(1, 9), strict=True):
        assert struct.unpack_from("<i", data, at) == (value,)
    assert struct.unpack_from("<2f", data, 40) == (0.5, 1.25)
    assert struct.unpack_from("<3d", data, 48) == (10.0, 20.0, 30.0)
    assert struct.unpack_from("<3i", data, 72) == (9, 10, 11)
    assert data[84:] == bytes(44)
    assert CheckpointHeader.unpack(data) == header


@ids
def test_a_checkpoint_keeps_everything(config: ModelConfig, tmp_path: Path) -> None:
    state = checkpoint(config)
    state.save(tmp_path / "c.ckpt")
    got = Checkpoint.load(tmp_path / "c.ckpt")
    assert got.header.pack() == state.header.pack()
    assert got.extra == state.extra
    assert_equal(got.weights, state.weights)
    for (name, a), (other, b) in zip(got.adam.named(), state.adam.named(), strict=True):
        assert name == other
        np.testing.assert_array_equal(a.m, b.m)
        np.testing.assert_array_equal(a.v, b.v)
    got.save(tmp_path / "again.ckpt")
    assert (tmp_path / "again.ckpt").read_bytes() == (tmp_path / "c.ckpt").read_bytes()


def test_the_arrays_stand_in_the_order_that_is_documented(tmp_path: Path) -> None:
    state = checkpoint(CONFIGS["tied"])
    state.save(tmp_path / "c.ckpt")
    parts: list[Any] = []
    for layer, moments in zip(state.weights.layers, state.adam.layers, strict=True):
        names = ("wq", "wk", "wv", "wo", "w1", "w2", "w3", "rms_att", "rms_ffn")
        parts += [getattr(layer, n) for n in names]
        for n in names:
            parts += [getattr(moments, n).m, getattr(moments, n).v]
    for array, moment in (
        (state.weights.rms_final, state.adam.rms_final),
        (state.weights.embed, state.adam.embed),
    ):
        parts += [array, moment.m, moment.v]
    want = state.header.pack() + b"".join(p.astype("<f4").tobytes() for p in parts)
    assert (tmp_path / "c.ckpt").read_bytes()[: len(want)] == want
    # Where the format ends, as files of maderix/ANE do, it is a checkpoint as well.
    (tmp_path / "theirs.ckpt").write_bytes(want)
    theirs = Checkpoint.load(tmp_path / "theirs.ckpt")
    assert_equal(theirs.weights, state.weights)
    assert theirs.extra == {}


@ids
def test_a_checkpoint_that_is_cut_short_is_refused(config: ModelConfig, tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    checkpoint(config).save(path)
    data = path.read_bytes()
    ends = {0, 1, 127, 128, len(data) - 1, len(data) - 4, len(data) - 12, len(data) - 13}
    ends |= set(np.random.default_rng(0).integers(0, len(data) - 1, 60).tolist())
    # The one place where nothing is missing but what this package adds.
    ends.discard(128 + 12 * config.total_params)
    for end in sorted(ends):
        path.write_bytes(data[:end])
        with pytest.raises(ModelFileError, match=r"expected (a header|\d+ bytes|the)"):
            Checkpoint.load(path)


@ids
def test_a_checkpoint_with_one_bit_flipped_is_refused(config: ModelConfig, tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    checkpoint(config).save(path)
    data = path.read_bytes()
    places = {*range(0, 12), *range(len(data) - 30, len(data))}
    places |= set(np.random.default_rng(1).integers(0, len(data), 80).tolist())
    for place in sorted(places):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=r"expected (the|version|\d+ bytes)"):
            Checkpoint.load(path)


def test_each_damage_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    checkpoint(CONFIGS["tied"]).save(path)
    data = path.read_bytes()
    for damaged, message in (
        (data[:100], "expected a header of 128 bytes, got 100"),
        (b"\0" + data[1:], r"expected the magic number 0x424c5a54 \(BLZT\), got"),
        (data[:4] + b"\x03" + data[5:], "expected version 2, got 3"),
        (data[:200] + b"\0\1\2\3" + data[204:], "expected the checksum 0x.*: the file is damaged"),
        (data[:-500], "the file is cut short, or of another model"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=message):
            Checkpoint.load(path)
    with pytest.raises(ModelFileError, match=r"none.ckpt: expected a checkpoint to read"):
        Checkpoint.load(tmp_path / "none.ckpt")


# --- folders of checkpoints


def test_the_newest_sound_checkpoint_is_the_latest(tmp_path: Path) -> None:
    config = CONFIGS["tied"]
    assert latest(tmp_path) is None
    assert latest(tmp_path / "none") is None
    paths = [save_step(checkpoint(config, step), tmp_path) for step in (9, 10, 100)]
    (tmp_path / "notes.txt").write_text("no checkpoint")
    assert checkpoints(tmp_path) == paths
    found = latest(tmp_path)
    assert found is not None
    assert (found[0].header.step, found[1]) == (100, paths[2])
    paths[2].write_bytes(paths[2].read_bytes()[:-20])
    found = latest(tmp_path)
    assert found is not None
    assert (found[0].header.step, found[1]) == (10, paths[1])
    for path in paths[:2]:
        path.write_bytes(b"")
    with pytest.raises(ModelFileError, match="step-00000100"):
        latest(tmp_path)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    config = CONFIGS["tied"]
    for step in range(1, 7):
        save_step(checkpoint(config, step), tmp_path, keep=2)
        names = [p.name for p in checkpoints(tmp_path)]
        assert names == [f"step-{s:08}.ckpt" for s in range(max(1, step - 1), step + 1)]
    save_step(checkpoint(config, 7), tmp_path)
    assert len(checkpoints(tmp_path)) == 3


@pytest.mark.parametrize("fault", ["write", "rename"])
def test_a_write_that_fails_leaves_the_checkpoint_before(
    fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = checkpoint(CONFIGS["tied"])
    path = tmp_path / "c.ckpt"
    state.save(path)
    before = path.read_bytes()
    state.weights.embed += 1

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if fault == "rename":
            patch.setattr(Path, "replace", fail)
            patch.setattr(os, "replace", fail)
        else:
            patch.setattr("milane.train.checkpoint._TRAILER", None)  # fails behind the weights
        with pytest.raises(ModelFileError if fault == "rename" else AttributeError):
            state.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.ckpt"]


KILLED = """
import os, sys
from milane.train import checkpoint
from milane.train.checkpoint import Checkpoint, latest, save_step

folder, writes = sys.argv[1], int(sys.argv[2])
state, _ = latest(folder)
state.header.step += 1
write = checkpoint._Summed.write

def dying(self, data):
    global writes
    writes -= 1
    if writes < 0:
        self._file.flush()
        os._exit(9)
    write(self, data)

checkpoint._Summed.write = dying
save_step(state, folder, keep=1)
"""


@pytest.mark.parametrize("writes", [0, 1, 7, 40, 1000])
def test_a_process_that_dies_while_it_writes_loses_nothing(writes: int, tmp_path: Path) -> None:
    save_step(checkpoint(CONFIGS["tied"], 5), tmp_path)
    arguments = [sys.executable, "-c", KILLED, str(tmp_path), str(writes)]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    found = latest(tmp_path)
    assert found is not None
    if writes == 1000:  # more than there are: it lived
        assert done.returncode == 0, done.stderr
        assert [p.name for p in checkpoints(tmp_path)] == ["step-00000006.ckpt"]
    else:
        assert done.returncode == 9, done.stderr
        assert [p.name for p in checkpoints(tmp_path)] == ["step-00000005.ckpt"]
        assert found[0].extra == json.loads(json.dumps(checkpoint(CONFIGS["tied"], 5).extra))


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelFileError, match="expected a folder to write to"):
        save_step(checkpoint(CONFIGS["tied"]), tmp_path / "file")
    with pytest.raises(ModelFileError, match="none"):
        checkpoint(CONFIGS["tied"]).save(tmp_path / "none" / "c.ckpt")
