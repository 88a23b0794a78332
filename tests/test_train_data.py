"""Where training's tokens come from, and in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import milane
from milane.train.data import TokenData, load_data, stdlib_text, write_bin
from milane.train.tokenizer import ByteTokenizer


def numbered(pieces: int, positions: int = 8) -> np.ndarray:
    return np.arange(pieces * positions + 1, dtype=np.uint16)


def starts(data: TokenData, count: int, first: int = 0) -> list[int]:
    return [int(data.train(first + i)[0][0]) for i in range(count)]


def test_targets_are_the_tokens_one_further() -> None:
    tokens, targets = TokenData(numbered(10), 8).train(3)
    assert np.array_equal(targets, tokens + 1)
    assert tokens.shape == (8,)


def test_an_epoch_sees_every_training_piece_once_and_no_other() -> None:
    data = TokenData(numbered(20), 8, seed=1, validation=0.2)
    assert (data.train_pieces, data.validation_pieces) == (16, 4)
    held_back = {int(data.validate(i)[0][0]) for i in range(4)}
    for epoch in range(3):
        seen = starts(data, 16, 16 * epoch)
        assert sorted(seen) == [8 * i for i in range(16)]
        assert held_back.isdisjoint(seen)
    assert held_back == {8 * i for i in range(16, 20)}


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    one, two = (TokenData(numbered(50), 8, seed=seed) for seed in (1, 2))
    count = one.train_pieces
    assert starts(one, count) != starts(one, count, count)
    assert starts(one, count) != starts(two, count)
    assert starts(one, count) == starts(TokenData(numbered(50), 8, seed=1), count)


def test_files_of_uint16_are_mapped_and_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "tokens.bin"
    write_bin(range(1000), path)
    assert np.array_equal(np.fromfile(path, "<u2"), np.arange(1000))
    data = TokenData.from_bin(path, 16)
    assert isinstance(data.tokens, np.memmap)
    with pytest.raises(
        milane.InvalidArgumentError, match=r"tokens in \[0, 65536\), got 0 to 65536"
    ):
        write_bin([0, 65536], tmp_path / "other.bin")
    assert not (tmp_path / "other.bin").exists()


def test_text_and_pythons_library_become_bytes(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("Grüße! " * 40, encoding="utf-8")
    data = load_data(path, 8)
    assert ByteTokenizer().decode(data.tokens.tolist()) == "Grüße! " * 40
    assert len(stdlib_text(10_000)) >= 10_000
    assert load_data("stdlib", 64).train_pieces > 1000


def test_what_is_no_data_is_named(tmp_path: Path) -> None:
    odd, broken = tmp_path / "odd.bin", tmp_path / "broken.txt"
    odd.write_bytes(b"abc")
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(milane.ModelFileError, match="expected uint16 tokens, got 3 bytes"):
        load_data(odd, 8)
    with pytest.raises(milane.ModelFileError, match="expected text in UTF-8"):
        load_data(broken, 8)
    with pytest.raises(milane.ModelFileError, match="expected tokens to read"):
        load_data(tmp_path / "none.bin", 8)
    with pytest.raises(milane.InvalidArgumentError, match="at least 9 tokens to train on, got 8"):
        TokenData(np.arange(8), 8)
    with pytest.raises(milane.InvalidArgumentError, match="expected integers on one axis"):
        TokenData(np.ones(100), 8)
    with pytest.raises(milane.InvalidArgumentError, match=r"a piece in \[0, 1\), got 1"):
        TokenData(numbered(10), 8).validate(1)
