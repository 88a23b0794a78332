"""Compile results that outlive the process: hits, what decides them, damage, other processes."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import milane
from milane import _core, cache
from milane.blob import BlobWriter
from milane.cli import main
from on_device import open_backend
from program_files import corpus_programs, random_inputs

WEIGHTS = "@model_path/weights/weight.bin"
SIDE = 1024  # of the square matrices: 2 MiB of halves each

BODY = """program(1.3)
{{
    func main<ios18>(tensor<fp16, [1, {n}]> x) {{
            {half} a = const()[name = string("a"), val = {half}({a})];
            tensor<fp16, [1, {n}]> u = linear(x = x, weight = a)[name = string("u")];
            {half} q = constexpr_affine_dequantize()[axis = int32(0), name = string("q"), \
quantized_data = {byte}({q}), scale = fp16(0.0078125), zero_point = int8(3)];
            tensor<fp16, [1, {n}]> v = linear(x = u, weight = q)[name = string("v")];
            tensor<int32, [2]> turn = const()[name = string("turn"), \
val = tensor<int32, [2]>([1, 0])];
            {half} r = constexpr_affine_dequantize()[axis = int32(0), name = string("r"), \
quantized_data = {byte}({r}), scale = fp16(0.015625), zero_point = int8(0)];
            {half} t = transpose(perm = turn, x = r)[name = string("t")];
            tensor<fp16, [1, {n}]> s = matmul(x = v, y = t)[name = string("s")];
            tensor<fp16, [1, {n}]> w = matmul(x = s, y = r)[name = string("w")];
            {half} y = add(x = r, y = w)[name = string("y")];
        }} -> (y, s);
}}
"""


class Model:
    """A program in a folder: plain weights, and compressed ones that are packed, turned, read."""

    def __init__(self, folder: Path, *, side: int = SIDE, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.side = side
        self.text_path = folder / "model.mil"
        self.blob_path = folder / "weights" / "weight.bin"
        self.blob_path.parent.mkdir(parents=True, exist_ok=True)
        self.a = (rng.standard_normal((side, side)) / side**0.5).astype(np.float16)
        self.q = rng.integers(-5, 12, (side, side), dtype=np.int8)
        self.r = rng.integers(-4, 5, (side, side), dtype=np.int8)
        with BlobWriter(self.blob_path) as writer:
            for array in (self.a, self.q, self.r):
                writer.add(array)
        offsets = [record.offset for record in milane.blob.read(self.blob_path).records()]
        named = {
            name: f'BLOBFILE(path = string("{WEIGHTS}"), offset = uint64({offset}))'
            for name, offset in zip("aqr", offsets, strict=True)
        }
        half, byte = (f"tensor<{t}, [{side}, {side}]>" for t in ("fp16", "int8"))
        self.text = BODY.format(n=side, half=half, byte=byte, **named)
        self.text_path.write_text(self.text)
        self.x = rng.standard_normal((1, side)).astype(np.float16)

    def reference(self) -> npt.NDArray[np.float64]:
        """The second output in float64, with the weights as the file has them."""
        q = (self.q.astype(np.float64) - 3) / 128
        r = self.r.astype(np.float64) / 64
        u = self.x.astype(np.float64) @ self.a.astype(np.float64).T
        return np.asarray(u @ q.T @ r.T, np.float64)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    own = tmp_path / "cache"
    monkeypatch.setenv("MILANE_CACHE_DIR", str(own))
    return own


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(tmp_path / "model")


def outputs(kernel: milane.Kernel, model: Model) -> bytes:
    with kernel:
        found = kernel(x=model.x)
    return b"".join(found[name].tobytes() for name in ("y", "s"))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Compiles:
    """Compiles, and says what the cache had to do with it."""

    def __init__(self, runtime: milane.Runtime) -> None:
        self.runtime = runtime

    def __call__(self, model: Model, **options: object) -> tuple[bytes, str]:
        count, before = self.runtime.compile_count, cache.stats()
        kernel = self.runtime.compile(model.text_path, **options)
        after = cache.stats()
        hits, misses = after.hits - before.hits, after.misses - before.misses
        assert self.runtime.compile_count - count == (0 if hits else 1)
        return outputs(kernel, model), {(1, 0): "hit", (0, 1): "miss", (0, 0): "not asked"}[
            hits, misses
        ]


@pytest.fixture
def compiles(host_runtime: milane.Runtime) -> Compiles:
    return Compiles(host_runtime)


# --- the same results, and what counts


def test_a_program_compiled_before_gives_the_same_bits_and_counts_as_no_compile(
    folder: Path, compiles: Compiles, model: Model
) -> None:
    without, asked = compiles(model, use_cache=False)
    assert asked == "not asked"
    assert not folder.exists()
    assert compiles(model) == (without, "miss")
    assert compiles(model) == (without, "hit")
    assert compiles(model, use_cache=False) == (without, "not asked")
    assert len(files(folder)) == 1


def test_what_the_cache_gives_agrees_with_float64(
    folder: Path, host_runtime: milane.Runtime, model: Model
) -> None:
    host_runtime.compile(model.text_path).close()
    with host_runtime.compile(model.text_path) as kernel:
        assert host_runtime.compile_count == 1
        found = kernel(x=model.x)["s"].astype(np.float64)
    want = model.reference()
    # Two of the three results are rounded to half before they are used: relative 2^-11 each, on
    # sums of 1024 terms whose errors are independent; 2^-7 of the largest leaves an ample margin.
    assert np.abs(found - want).max() <= 2**-7 * np.abs(want).max()


def test_a_second_process_finds_what_the_first_compiled(folder: Path, model: Model) -> None:
    first, second = (run_in_process(model, folder) for _ in range(2))
    assert (first["compiles"], first["hits"], first["misses"]) == (1, 0, 1)
    assert (second["compiles"], second["hits"], second["misses"]) == (0, 1, 0)
    assert first["digest"] == second["digest"]


def test_weights_given_as_bytes_find_the_entry_of_the_same_file(
    folder: Path, host_runtime: milane.Runtime, compiles: Compiles, model: Model
) -> None:
    want, _ = compiles(model)
    kernel = host_runtime.compile(model.text, weight_blob=model.blob_path.read_bytes())
    assert host_runtime.compile_count == 1
    assert outputs(kernel, model) == want


def test_a_hit_needs_no_compile_to_be_left_in_the_budget(folder: Path, model: Model) -> None:
    with milane.open("host", compile_budget=1) as runtime:
        runtime.compile(model.text_path).close()
        runtime.compile(model.text_path).close()
        with pytest.raises(milane.CompileBudgetExhaustedError):
            runtime.compile(model.text_path, use_cache=False)


def test_reload_says_cached_for_weights_compiled_before(
    folder: Path, host_runtime: milane.Runtime, compiles: Compiles, tmp_path: Path
) -> None:
    one, other = Model(tmp_path / "one"), Model(tmp_path / "other", seed=1)
    want, _ = compiles(other)
    with host_runtime.compile(one.text_path) as kernel:
        count = host_runtime.compile_count
        assert kernel.reload(weight_files={WEIGHTS: other.blob_path}) == "cached"
        assert host_runtime.compile_count == count
        found = kernel(x=other.x)
    assert b"".join(found[name].tobytes() for name in ("y", "s")) == want


def test_a_kernel_keeps_its_weights_when_the_cache_is_cleared(
    folder: Path, host_runtime: milane.Runtime, compiles: Compiles, model: Model
) -> None:
    want, _ = compiles(model)
    kernel = host_runtime.compile(model.text_path)
    assert len(cache.clear()) == 1
    assert files(folder) == []
    assert outputs(kernel, model) == want


@pytest.mark.parametrize(
    "program",
    [p for p in corpus_programs("real") if "yolov8n" in p.id or "TextEncoder" in p.id],
    ids=lambda p: p.id,
)
def test_a_program_by_others_gives_the_same_bits(
    program: object, folder: Path, host_runtime: milane.Runtime, tmp_path: Path
) -> None:
    source, options = program.source(tmp_path)  # type: ignore[attr-defined]
    results = []
    for use_cache in (False, True, True):
        with host_runtime.compile(source, **options, use_cache=use_cache) as kernel:
            found = kernel(**random_inputs(kernel))
        results.append({name: array.tobytes() for name, array in found.items()})
    assert host_runtime.compile_count == 2
    assert results[0] == results[1] == results[2]


# --- what decides that a program is the same


def test_changed_weights_are_seen_even_when_the_file_looks_the_same(
    folder: Path, compiles: Compiles, model: Model
) -> None:
    before, _ = compiles(model)
    status = model.blob_path.stat()
    data = bytearray(model.blob_path.read_bytes())
    data[-2] ^= 0x40  # in place: same path, size, inode, and then the same times
    with model.blob_path.open("r+b") as file:
        file.write(data)
    os.utime(model.blob_path, ns=(status.st_atime_ns, status.st_mtime_ns))
    want, _ = compiles(model, use_cache=False)
    assert want != before
    assert compiles(model) == (want, "miss")


def test_changed_text_is_another_program(folder: Path, compiles: Compiles, model: Model) -> None:
    compiles(model)
    model.text_path.write_text(model.text.replace("scale = fp16(0.015625)", "scale = fp16(0.5)"))
    want, _ = compiles(model, use_cache=False)
    assert compiles(model) == (want, "miss")
    assert len(files(folder)) == 2


def test_layout_and_comments_of_the_text_do_not_matter(
    folder: Path, compiles: Compiles, model: Model
) -> None:
    compiles(model)
    model.text_path.write_text(model.text.replace("\n", "  \n\n"))
    assert compiles(model)[1] == "hit"


def test_numerics_have_entries_of_their_own_and_fp32_has_none(
    folder: Path, compiles: Compiles, model: Model
) -> None:
    assert compiles(model)[1] == "miss"
    assert compiles(model, numerics="ane")[1] == "miss"
    assert compiles(model, numerics="ane")[1] == "hit"
    assert compiles(model, numerics="fp32")[1] == "not asked"
    assert compiles(model, fuse=False)[1] == "hit"


def test_another_build_ignores_the_entry(
    folder: Path, compiles: Compiles, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiles(model)
    monkeypatch.setattr(cache, "_build", lambda: "0.0.0 of the test")
    assert compiles(model)[1] == "miss"
    assert compiles(model)[1] == "hit"
    assert {entry.build == "0.0.0 of the test" for entry in cache.entries()} == {True, False}


def test_a_narrower_instruction_set_has_an_entry_of_its_own(folder: Path, model: Model) -> None:
    if milane.cpu_isa() == "neon":
        pytest.skip("there is one instruction set")
    run_in_process(model, folder)
    again = run_in_process(model, folder, MILANE_ISA="v2")
    assert again["misses"] == (0 if milane.cpu_isa().endswith("v2") else 1)


def test_small_programs_do_not_touch_the_disk(
    folder: Path, compiles: Compiles, tmp_path: Path
) -> None:
    small = Model(tmp_path / "small", side=64)
    assert compiles(small)[1] == "not asked"
    assert not folder.exists()


def test_the_environment_turns_it_off(
    folder: Path, compiles: Compiles, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILANE_CACHE", "0")
    assert not cache.enabled()
    assert compiles(model)[1] == "not asked"
    assert not folder.exists()


# --- damage


def damage(data: bytearray, rng: random.Random, kind: str) -> bytearray:
    if kind == "truncated":
        return data[: rng.randrange(len(data))]
    if kind == "longer":
        return data + b"\0"
    at = {"header": rng.randrange(256), "table": 256 + rng.randrange(64)}.get(kind)
    at = rng.randrange(len(data)) if at is None else at
    data[at] ^= 1 << rng.randrange(8)
    return data


@pytest.mark.parametrize("kind", ["truncated", "longer", "header", "table", "flipped", "empty"])
def test_a_damaged_entry_is_rebuilt(
    kind: str, folder: Path, compiles: Compiles, model: Model
) -> None:
    want, _ = compiles(model)
    (name,) = files(folder)
    path, rng = folder / name, random.Random(kind)
    sound = path.read_bytes()
    for _ in range(6):
        # Written beside and renamed: kernels map the old file, which must not change under them.
        worse = folder / "worse"
        worse.write_bytes(b"" if kind == "empty" else damage(bytearray(sound), rng, kind))
        worse.replace(path)
        assert compiles(model) == (want, "miss")
        assert compiles(model) == (want, "hit")
    rebuilt = path.read_bytes()
    assert len(rebuilt) == len(sound)
    assert rebuilt[512:] == sound[512:]  # beyond the header, with its time, and the table


def test_an_entry_under_another_ones_name_is_not_taken(
    folder: Path, compiles: Compiles, tmp_path: Path
) -> None:
    one, other = Model(tmp_path / "one"), Model(tmp_path / "other", seed=1)
    compiles(one)
    (first,) = files(folder)
    want, _ = compiles(other)
    (second,) = set(files(folder)) - {first}
    shutil.copyfile(folder / first, folder / second)
    assert compiles(other) == (want, "miss")


def test_files_of_others_in_the_folder_are_left_alone(
    folder: Path, compiles: Compiles, model: Model
) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "folder.milane").mkdir()
    compiles(model)
    assert len(cache.clear()) == 1
    assert files(folder) == ["folder.milane", "notes.txt"]


# --- folders that cannot be used


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "milane.cache"]


def test_a_folder_that_cannot_be_made_is_told_once_and_compiles_go_on(
    compiles: Compiles,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MILANE_CACHE_DIR", str(tmp_path / "file" / "cache"))
    want, _ = compiles(model, use_cache=False)
    with caplog.at_level(logging.WARNING):
        assert compiles(model) == (want, "miss")
        assert compiles(model) == (want, "miss")
    (message,) = warnings_of(caplog)
    assert "not kept" in message
    assert str(tmp_path / "file") in message
    assert cache.entries() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told_once(
    folder: Path, compiles: Compiles, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(mode=0o500)
    with caplog.at_level(logging.WARNING):
        compiles(model)
        compiles(model)
    assert len(warnings_of(caplog)) == 1


def test_a_folder_removed_in_use_is_made_again(
    folder: Path, host_runtime: milane.Runtime, compiles: Compiles, model: Model
) -> None:
    want, _ = compiles(model)
    kernel = host_runtime.compile(model.text_path)
    shutil.rmtree(folder)
    assert outputs(kernel, model) == want
    assert compiles(model) == (want, "miss")
    assert compiles(model) == (want, "hit")


def test_a_full_disk_leaves_no_part_of_an_entry(folder: Path, model: Model) -> None:
    full = run_in_process(model, folder, file_bytes=1_000_000)
    assert files(folder) == []
    assert full["compiles"] == 1
    assert len(full["warnings"]) == 1
    assert "not kept" in full["warnings"][0]
    assert run_in_process(model, folder)["digest"] == full["digest"]
    assert len(files(folder)) == 1


def test_what_a_killed_process_left_behind_goes_in_time(
    folder: Path, compiles: Compiles, model: Model
) -> None:
    folder.mkdir()
    old, new = folder / ".1.1.0.part", folder / ".2.2.0.part"
    for path in (old, new):
        path.write_bytes(b"begun")
    os.utime(old, (0, 0))
    compiles(model)
    assert not old.exists()
    assert new.exists()


# --- several at a time


def test_eight_processes_at_once_are_all_right_and_leave_one_entry(
    folder: Path, model: Model
) -> None:
    running = [start_process(model, folder) for _ in range(8)]
    reports = [finish_process(process) for process in running]
    assert len({report["digest"] for report in reports}) == 1
    (name,) = files(folder)  # no part of a file either
    assert name.endswith(".milane")
    assert run_in_process(model, folder)["hits"] == 1


def test_threads_that_compile_clear_and_damage_never_get_wrong_weights(
    folder: Path, host_runtime: milane.Runtime, compiles: Compiles, model: Model
) -> None:
    want, _ = compiles(model)
    stop, wrong = threading.Event(), []

    def compile_often() -> None:
        for _ in range(8):
            if outputs(host_runtime.compile(model.text_path), model) != want:
                wrong.append("other bits")

    def disturb() -> None:
        rng = random.Random(0)
        while not stop.is_set():
            for path in folder.glob("*.milane"):
                try:
                    data = bytearray(path.read_bytes())
                    worse = folder / "worse"
                    worse.write_bytes(damage(data, rng, "flipped"))
                    worse.replace(path)
                except (FileNotFoundError, ValueError):
                    continue
            cache.clear(max_bytes=rng.choice([0, 10**9]))

    threads = [threading.Thread(target=compile_often) for _ in range(3)]
    vandal = threading.Thread(target=disturb)
    for thread in (*threads, vandal):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    vandal.join()
    assert wrong == []


# --- size, age, listing


@pytest.fixture
def three(folder: Path, compiles: Compiles, tmp_path: Path) -> list[Model]:
    """Three entries, used in this order, an hour apart."""
    models = [Model(tmp_path / f"m{i}", seed=i) for i in range(3)]
    seen: set[str] = set()
    for age, each in zip((3, 2, 1), models, strict=True):
        compiles(each)
        (name,) = set(files(folder)) - seen
        seen.add(name)
        used = (folder / name).stat().st_mtime - 3600 * age
        os.utime(folder / name, (used, used))
    return models


def test_the_least_recently_used_entry_goes_when_the_limit_is_reached(
    three: list[Model], compiles: Compiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = cache.entries()[0].nbytes
    assert compiles(three[0])[1] == "hit"  # now the second is the oldest
    monkeypatch.setenv("MILANE_CACHE_SIZE", str(3 * size + 100))
    assert compiles(Model(tmp_path / "fourth", seed=4))[1] == "miss"
    assert cache.stats().entries == 3
    assert cache.stats().nbytes <= cache.size_limit()
    assert compiles(three[0])[1] == "hit"
    assert compiles(three[2])[1] == "hit"
    assert compiles(three[1])[1] == "miss"


def test_an_entry_larger_than_the_limit_is_not_kept_and_removes_nothing(
    three: list[Model], compiles: Compiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILANE_CACHE_SIZE", "100kB")
    assert compiles(Model(tmp_path / "fourth", seed=4))[1] == "miss"
    assert len(cache.entries()) == 3


def test_clear_by_age_by_size_and_altogether(three: list[Model]) -> None:
    oldest, second, newest = cache.entries()
    assert oldest.last_used < second.last_used < newest.last_used
    assert cache.clear(unused_for=timedelta(hours=5)) == []
    assert cache.clear(unused_for=2.5 * 3600) == [oldest]
    assert cache.clear(max_bytes=newest.nbytes) == [second]
    assert cache.clear() == [newest]
    assert cache.stats().entries == 0


@pytest.mark.parametrize("wrong", [{"unused_for": -1}, {"max_bytes": -1}])
def test_clear_refuses_negative_numbers(wrong: dict[str, int], folder: Path) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="at least 0"):
        cache.clear(**wrong)


def test_an_entry_says_what_it_is(folder: Path, compiles: Compiles, model: Model) -> None:
    compiles(model)
    (entry,) = cache.entries()
    (name,) = files(folder)
    assert name == f"{entry.key}.milane"
    assert entry.label == "model/model.mil: main"
    assert entry.build.startswith(milane.__version__)
    assert entry.nbytes == (folder / name).stat().st_size
    assert entry.created <= entry.last_used + timedelta(seconds=1)
    assert (folder / name).stat().st_mode & 0o077 == 0, "weights are their owner's"
    # Packed: a, q, t; r itself, which is read, and as packed for matmul. q and t unpacked are not.
    assert 5 * 2 * SIDE * SIDE <= entry.nbytes < 5 * 2 * SIDE * SIDE + 1000


# --- settings


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("MILANE_CACHE_DIR", "~/own")
    assert cache.directory() == tmp_path / "own"
    monkeypatch.delenv("MILANE_CACHE_DIR")
    assert cache.directory() == tmp_path / "xdg" / "milane"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert cache.directory() == tmp_path / ".cache" / "milane"
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert cache.directory() == tmp_path / "Library" / "Caches" / "milane"


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("4096", 4096), ("500MB", 500_000_000), ("1.5 gb", 1_500_000_000), ("", 4_000_000_000)],
)
def test_sizes_are_read_with_their_units(
    text: str, nbytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILANE_CACHE_SIZE", text)
    assert cache.size_limit() == nbytes


@pytest.mark.parametrize("text", ["much", "-1", "5XB", "1e9"])
def test_what_is_no_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILANE_CACHE_SIZE", text)
    with pytest.raises(milane.InvalidArgumentError, match="MILANE_CACHE_SIZE"):
        cache.size_limit()


# --- the command line


def test_the_command_line_lists_counts_and_clears(
    three: list[Model], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> str:
        assert main(["cache", *words]) == 0
        return capsys.readouterr().out

    listing = json.loads(run("ls", "--json"))
    assert [e["key"] for e in listing["entries"]] == [e.key for e in cache.entries()]
    text = run("ls")
    assert text.count("model.mil: main") == 3
    assert "3 hours ago" in text
    info = json.loads(run("info", "--json"))
    assert info["host"]["entries"] == 3
    assert info["host"]["bytes"] == cache.stats().nbytes
    assert info["host"]["directory"] == str(cache.directory())
    assert "system" in info["ane"]["note"]
    assert "by the system" in run("info")
    assert "deleted 1 entries" in run("clear", "--unused-for", "150m")
    gone = json.loads(run("clear", "--max-size", "0", "--json"))
    assert len(gone["deleted"]) == 2
    assert "no entries" in run("ls")


@pytest.mark.parametrize("words", [["clear", "--unused-for", "old"], ["clear", "--max-size", "x"]])
def test_the_command_line_refuses_what_it_does_not_understand(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["cache", *words])
    assert stopped.value.code == 2


# --- the hash


def words_of_splitmix(count: int) -> Iterator[int]:
    mask = 2**64 - 1
    state = int.from_bytes(b"milane", "big")
    for _ in range(count):
        state = state + 0x9E3779B97F4A7C15 & mask
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        yield z ^ z >> 31


def hash_by_definition(data: bytes) -> str:
    """The hash as csrc/core/hash.h words it, in Python's integers."""
    *keys, low, high = words_of_splitmix(130)
    multiplier = high << 64 | low | 1
    word, wide = 2**64 - 1, 2**128 - 1

    def of_chunk(chunk: bytes, number: int) -> int:
        state = number

        def step(state: int, value: int) -> int:
            state = (state ^ value) * multiplier & wide
            return state << 64 & wide | state >> 64

        for at in range(0, len(chunk), 1024):
            block = chunk[at : at + 1024]
            block += bytes(-len(block) % 16)
            words = struct.unpack(f"<{len(block) // 8}Q", block)
            total = sum(
                (words[i] + keys[i] & word) * (words[i + 1] + keys[i + 1] & word)
                for i in range(0, len(words), 2)
            )
            state = step(state, total & wide)
        return step(step(state, len(chunk)), 0)

    size = 2**18
    chunks = [of_chunk(data[at : at + size], at // size) for at in range(0, len(data), size)]
    joined = b"".join(chunk.to_bytes(16, "little") for chunk in chunks)
    return f"{of_chunk(joined, ~len(data) & word):032x}"


@pytest.mark.parametrize("size", [0, 1, 7, 8, 16, 17, 1023, 1024, 1025, 2**18, 2**18 + 1, 600_001])
def test_the_hash_is_the_one_that_is_documented(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert _core.hash128(data) == hash_by_definition(data)


def test_known_answers_of_the_hash_stay() -> None:
    assert _core.hash128(b"") == KNOWN[0]
    assert _core.hash128(b"Milane") == KNOWN[1]
    assert _core.hash128(bytes(2**20)) == KNOWN[2]


KNOWN = (
    "d0d88370d75e9dd37a03e25655b3c3bc",
    "25da5229d7a2b4bdbfea77dd65ea5e63",
    "4e8edaf6a2754b08d12c6d220b0612b4",
)


def test_every_flipped_bit_and_every_length_changes_the_hash() -> None:
    data = bytearray(np.random.default_rng(0).bytes(1500))
    seen = {_core.hash128(bytes(n)) for n in range(300)} | {_core.hash128(data)}
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        seen.add(_core.hash128(data))
        data[bit // 8] ^= 1 << bit % 8
    assert len(seen) == 300 + 1 + len(data) * 8


# --- other processes

SCRIPT = textwrap.dedent(
    """
    import hashlib, json, logging, resource, sys
    import numpy as np
    import milane
    from milane import cache

    source, inputs, file_bytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
    warnings = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("milane").addHandler(handler)
    with milane.open("host") as runtime:
        with runtime.compile(source) as kernel:
            found = kernel(x=np.load(inputs))
        count = runtime.compile_count
    digest = hashlib.sha256(b"".join(found[n].tobytes() for n in sorted(found))).hexdigest()
    stats = cache.stats()
    print(json.dumps({"digest": digest, "compiles": count, "hits": stats.hits,
                      "misses": stats.misses, "warnings": warnings}))
    """
)


def start_process(
    model: Model, folder: Path, *, file_bytes: int = 0, **environment: str
) -> subprocess.Popen[str]:
    inputs = model.text_path.with_name("x.npy")
    np.save(inputs, model.x)
    package = Path(milane.__file__).parent.parent
    paths = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(model.text_path), str(inputs), str(file_bytes)],
        env=os.environ | {"MILANE_CACHE_DIR": str(folder), "PYTHONPATH": paths} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish_process(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


def run_in_process(model: Model, folder: Path, **more: object) -> dict[str, Any]:
    return finish_process(start_process(model, folder, **more))  # type: ignore[arg-type]


# --- the device


def test_the_devices_compiles_leave_nothing_in_the_hosts_cache(
    folder: Path, ane_runtime: milane.Runtime, model: Model
) -> None:
    before = cache.stats()
    ane_runtime.compile(model.text, weight_files={WEIGHTS: model.blob_path}).close()
    assert not folder.exists()
    assert cache.stats() == before


def compile_once(runtime: milane.Runtime, model: Model, *, use_cache: bool) -> None:
    files = {WEIGHTS: model.blob_path}
    runtime.compile(model.text, weight_files=files, use_cache=use_cache).close()


def test_use_cache_means_the_same_on_both_backends(
    backend: str, folder: Path, model: Model
) -> None:
    with open_backend(backend) as runtime:
        # Whether the first one finds something is up to what ran before.
        compile_once(runtime, model, use_cache=True)
        runtime.reset_compile_count()
        for use_cache, compiled in ((True, 0), (False, 1), (True, 1)):
            compile_once(runtime, model, use_cache=use_cache)
            assert runtime.compile_count == compiled
