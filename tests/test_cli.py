"""The command line, in process: what it prints, what it writes, how it fails."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import milane
from milane.cli import main
from milane.cli.quickstart import swiglu_bound
from milane.cli.weights import blob_references
from on_device import open_backend

ROOT = Path(__file__).resolve().parent.parent

SUM = """program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 4, 1, 8]> a, tensor<fp16, [1, 4, 1, 8]> b) {
            tensor<fp16, [1, 4, 1, 8]> s = add(x = a, y = b)[name = string("s")];
        } -> (s);
}
"""

AUDIO = """program(1.3)
{
    func main<ios18>(tensor<fp32, [1, 2, 6]> samples) {
            tensor<fp32, [1, 2, 6]> file = relu(x = samples)[name = string("file")];
        } -> (file);
}
"""

WEIGHTED = """program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 4, 1, 8]> x) {
            tensor<fp16, [1, 4, 1, 1]> w = const()[name = string("w"), \
val = tensor<fp16, [1, 4, 1, 1]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), \
offset = uint64(64)))];
            tensor<fp16, [1, 4, 1, 8]> bias = const()[name = string("bias"), \
val = tensor<fp16, [1, 4, 1, 8]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), \
offset = uint64(320)))];
            tensor<fp16, [1, 4, 1, 8]> m = mul(x = x, y = w)[name = string("m")];
            tensor<fp16, [1, 4, 1, 8]> y = add(x = m, y = bias)[name = string("y")];
        } -> (y);
}
"""

Json = Callable[..., Any]


@pytest.fixture
def chosen(backend: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The backend under test, as a user of the command line chooses one."""
    monkeypatch.setenv("MILANE_BACKEND", backend)
    open_backend(backend).close()  # whatever other tests compiled does not count
    return backend


@pytest.fixture
def run_json(capsys: pytest.CaptureFixture[str]) -> Json:
    """Runs a sub-command with --json and returns the one object it prints."""

    def run(*args: object) -> Any:
        assert main([*map(str, args), "--json"]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return json.loads(captured.out)

    return run


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail with exit code 1, and returns its stderr."""

    def run(*args: object) -> str:
        assert main([*map(str, args)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        return captured.err

    return run


@pytest.fixture
def sum_model(tmp_path: Path) -> Path:
    path = tmp_path / "sum.mil"
    path.write_text(SUM)
    np.save(tmp_path / "a.npy", np.arange(32, dtype=np.float32).reshape(1, 4, 1, 8))
    np.save(tmp_path / "b.npy", np.full((1, 4, 1, 8), 0.5, np.float32))
    return path


@pytest.fixture(scope="session")
def write_synthetic_weights() -> Callable[..., dict[str, Path]]:
    spec = importlib.util.spec_from_file_location("synthblob", ROOT / "tools" / "synthblob.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., dict[str, Path]] = module.write_synthetic_weights
    return function


@pytest.fixture
def weighted(tmp_path: Path) -> Path:
    path = tmp_path / "model.mil"
    path.write_text(WEIGHTED)
    return path


# --- quickstart


def test_quickstart_passes_its_checks_with_one_compile(run_json: Json, chosen: str) -> None:
    for _ in range(2):  # what the device's system has compiled before is compiled again
        report = run_json("quickstart", "--channels", 32, "--hidden", 48, "--length", 20)
        assert report["passed"]
        assert report["compile_count"] == 1
        assert [c["passed"] for c in report["checks"]] == [True, True]
        assert report["backend"] == chosen
        assert report["backend"] in report["reason"]
        # A device's speed is not ours to tell.
        assert all(("host_median_us" in c) == (chosen == "host") for c in report["checks"])


def test_quickstart_trains_for_as_long_as_asked(run_json: Json, chosen: str) -> None:
    report = run_json("quickstart", "--channels", 32, "--hidden", 48, "--length", 20, "--train", 1)
    training = report["training"]
    assert training["compiles_while_training"] == 0
    # Eight kinds, for the trial and for the run, which a device's system has compiled before.
    assert training["compiles_to_begin"] == (16 if chosen == "host" else 8)
    assert training["steps"] >= 20
    assert training["validation_loss"] < 5.5, "no worse than guessing among 256 bytes"
    assert training["sample"]


def test_quickstart_runs_on_the_chosen_backend_in_a_process_of_its_own(chosen: str) -> None:
    sizes = ["--channels", "8", "--hidden", "16", "--length", "4"]
    command = [sys.executable, "-m", "milane.cli", "quickstart", "--json", *sizes]
    environment = os.environ | {"MILANE_BACKEND": chosen}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert (report["backend"], report["passed"], done.stderr) == (chosen, True, "")


def test_quickstart_says_which_backend_and_prints_a_table(
    capsys: pytest.CaptureFixture[str], chosen: str
) -> None:
    sizes = ("--channels", "16", "--hidden", "32", "--length", "8")
    assert main(["quickstart", *sizes, "--show-mil"]) == 0
    text = capsys.readouterr().out
    assert re.search(rf"^backend  {chosen}: ", text, re.MULTILINE)
    assert "program(1.3)" in text
    assert "compile_count 1" in text
    assert "all checks passed" in text


def test_the_quickstart_bound_holds_for_fp16_steps_and_rejects_a_wrong_result() -> None:
    rng = np.random.default_rng(1)
    shapes = {"W1": (1, 24, 1, 40), "W2": (1, 40, 1, 24), "W3": (1, 24, 1, 40), "x": (1, 24, 1, 9)}
    arrays = {n: (rng.standard_normal(s) * 0.2).astype(np.float16) for n, s in shapes.items()}
    bound = swiglu_bound(arrays)

    def half(values: Any) -> Any:
        return np.asarray(values).astype(np.float16).astype(np.float32)

    w1, w2, w3, x = (half(arrays[n]).reshape(shapes[n][1], -1) for n in ("W1", "W2", "W3", "x"))
    h1, h3 = half(w1.T @ x), half(w3.T @ x)
    h = half(half(h1 * half(1 / (1 + np.exp(-h1)))) * h3)
    assert np.all(np.abs(half(w2.T @ h) - bound.value) <= bound.error)
    swapped = half(half(h3 * half(1 / (1 + np.exp(-h3)))) * h1)
    assert np.any(np.abs(half(w2.T @ swapped) - bound.value) > bound.error)


# --- run


@pytest.mark.usefixtures("chosen")
def test_run_evaluates_npy_inputs_and_saves_the_outputs(
    run_json: Json, sum_model: Path, tmp_path: Path
) -> None:
    a, b, saved = tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "out.npz"
    report = run_json("run", sum_model, "--input", f"a={a}", "--input", f"b={b}", "--output", saved)
    row = report["outputs"]["s"]
    assert row["shape"] == [1, 4, 1, 8]
    assert (row["min"], row["max"], row["mean"], row["nan"]) == (0.5, 31.5, 16.0, 0)
    with np.load(saved) as archive:
        assert archive.files == ["s"]
        np.testing.assert_array_equal(archive["s"], np.load(a) + np.load(b))


@pytest.mark.usefixtures("chosen")
def test_run_prints_a_summary_table(
    capsys: pytest.CaptureFixture[str], sum_model: Path, tmp_path: Path
) -> None:
    a, b = tmp_path / "a.npy", tmp_path / "b.npy"
    arguments = [str(sum_model), "--input", f"a={a}", "--input", f"b={b}", "--repeat", "3"]
    assert main(["run", *arguments]) == 0
    text = capsys.readouterr().out
    assert re.search(r"s +\[1, 4, 1, 8\] +float16 +0\.5 +31\.5 +16 +0", text)


@pytest.mark.usefixtures("chosen")
def test_run_takes_the_only_key_of_an_npz_or_the_named_one(
    run_json: Json, sum_model: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "one.npz", only=np.ones((4, 8)))
    np.savez(tmp_path / "two.npz", p=np.zeros((4, 8)), q=np.full((4, 8), 2.0))
    report = run_json(
        *("run", sum_model, "--input", f"a={tmp_path / 'one.npz'}"),
        *("--input", f"b={tmp_path / 'two.npz'}:q"),
    )
    assert report["outputs"]["s"]["min"] == report["outputs"]["s"]["max"] == 3.0


@pytest.mark.usefixtures("chosen")
def test_run_counts_nans_and_prints_infinities_as_text(
    run_json: Json, sum_model: Path, tmp_path: Path
) -> None:
    a = np.zeros((1, 4, 1, 8), np.float32)
    a[0, 0, 0, :2] = np.nan, np.inf
    np.save(tmp_path / "odd.npy", a)
    report = run_json(
        *("run", sum_model, "--input", f"a={tmp_path / 'odd.npy'}"),
        *("--input", f"b={tmp_path / 'b.npy'}"),
    )
    assert report["outputs"]["s"]["nan"] == 1
    assert report["outputs"]["s"]["max"] == "inf"


@pytest.mark.usefixtures("chosen")
def test_run_feeds_a_stereo_wav_and_saves_an_output_called_file(
    run_json: Json, tmp_path: Path
) -> None:
    (tmp_path / "audio.mil").write_text(AUDIO)
    frames = np.array([[0, 16384], [32767, -32768], [1, 2], [3, 4], [5, 6], [7, 8]], "<i2")
    with wave.open(str(tmp_path / "s.wav"), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(frames.tobytes())
    saved = tmp_path / "out.npz"
    run_json(
        *("run", tmp_path / "audio.mil", "--input", f"samples={tmp_path / 's.wav'}"),
        *("--output", saved),
    )
    with np.load(saved) as archive:
        expected = np.maximum(frames.T[None] / 32768, 0).astype(np.float32)
        np.testing.assert_array_equal(archive["file"], expected)


@pytest.mark.usefixtures("chosen")
def test_run_finds_weights_beside_the_model_or_where_told(
    run_json: Json,
    weighted: Path,
    tmp_path: Path,
    write_synthetic_weights: Callable[..., dict[str, Path]],
) -> None:
    np.save(tmp_path / "x.npy", np.ones((1, 4, 1, 8), np.float32))
    given = ("--input", f"x={tmp_path / 'x.npy'}")
    files = write_synthetic_weights(weighted, tmp_path / "elsewhere", seed=3)
    (file,) = files.values()
    told = run_json("run", weighted, *given, "--weights", f"weights/weight.bin={file}")
    write_synthetic_weights(weighted, tmp_path, seed=3)
    beside = run_json("run", weighted, *given)
    assert told["outputs"] == beside["outputs"]
    assert beside["outputs"]["y"]["nan"] == 0


@pytest.mark.usefixtures("chosen")
def test_run_lists_what_an_incomplete_call_must_give(
    fails: Callable[..., str], sum_model: Path, tmp_path: Path
) -> None:
    text = fails("run", sum_model, "--input", f"a={tmp_path / 'a.npy'}", "--input", "c=c.npy")
    assert "unknown: c; missing: b" in text
    assert "b  [1, 4, 1, 8]  float16" in text
    assert "hint: give each as --input NAME=FILE" in text


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((4, 9), np.float32), "expected shape [1, 4, 1, 8] (32 elements), got [4, 9]"),
        (np.ones((8, 4), np.float32), "expected shape [1, 4, 1, 8] (32 elements), got [8, 4]"),
        (np.ones((4, 8), np.complex64), "expected numbers, got complex64"),
        (np.array([["a"] * 8] * 4), "expected numbers, got <U1"),
    ],
    ids=["too many elements", "transposed", "complex", "text"],
)
def test_run_refuses_an_array_that_does_not_fit(
    fails: Callable[..., str], sum_model: Path, tmp_path: Path, array: Any, message: str
) -> None:
    np.save(tmp_path / "bad.npy", array)
    bad, b, saved = tmp_path / "bad.npy", tmp_path / "b.npy", tmp_path / "out.npz"
    arguments = ("--input", f"a={bad}", "--input", f"b={b}", "--output", saved)
    assert message in fails("run", sum_model, *arguments)
    assert not saved.exists()


@pytest.mark.parametrize("name", ["no.npy", "text.npy", "text.npz", "text.wav", "x.csv"])
def test_run_names_an_input_file_that_it_cannot_read(
    fails: Callable[..., str], sum_model: Path, tmp_path: Path, name: str
) -> None:
    if name != "no.npy":
        (tmp_path / name).write_text("not an array")
    path = tmp_path / name
    text = fails("run", sum_model, "--input", f"a={path}", "--input", f"b={tmp_path / 'b.npy'}")
    assert str(path) in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "absent.mil"],
        ["run", "{model}", "--output", "out.txt"],
        ["run", "{model}", "--shape", "a=one"],
        ["run", "{model}", "--weights", "w.bin=absent.bin"],
        ["run", "{model}", "--input", "a=1.npy", "--input", "a=2.npy"],
        ["run", "{model}", "--output", "absent/out.npz"],
        ["run", "{model}", "--input", "a=."],
        ["inspect", "absent.mil"],
    ],
    ids=[
        *("no model", "output name", "shape", "no weights", "input twice", "output folder"),
        *("a folder as input", "inspect nothing"),
    ],
)
def test_a_bad_value_is_an_error_with_exit_code_1(
    fails: Callable[..., str], sum_model: Path, arguments: list[str]
) -> None:
    fails(*(a.format(model=sum_model) for a in arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["run"],
        ["run", "m.mil", "--input", "a"],
        ["run", "m.mil", "--repeat", "0"],
        ["run", "m.mil", "--numerics", "fp8"],
        ["run", "m.mil", "--repeat", "often"],
        ["quickstart", "--channels", "0"],
        ["quickstart", "--channels", "wide"],
        ["quickstart", "--seed", "-1"],
    ],
    ids=" ".join,
)
def test_bad_usage_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: milane" in capsys.readouterr().err


@pytest.mark.usefixtures("chosen")
def test_a_program_without_such_ports_says_so(
    fails: Callable[..., str], sum_model: Path, tmp_path: Path
) -> None:
    given = (f"--input=a={tmp_path / 'a.npy'}", f"--input=b={tmp_path / 'b.npy'}")
    assert "the program has no states" in fails("run", sum_model, *given, "--state", "h=h.npy")


@pytest.mark.usefixtures("chosen")
def test_run_refuses_weights_that_the_program_does_not_name(
    fails: Callable[..., str], weighted: Path, tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(b"")
    text = fails("run", weighted, "--weights", f"weight.bin={tmp_path / 'w.bin'}")
    assert "@model_path/weights/weight.bin, got weight.bin" in text


@pytest.mark.usefixtures("chosen")
def test_run_takes_weights_whose_path_has_no_prefix(
    run_json: Json, weighted: Path, tmp_path: Path
) -> None:
    weighted.write_text(WEIGHTED.replace("@model_path/weights/", ""))
    writer = milane.blob.BlobWriter(tmp_path / "elsewhere.bin")
    with writer:
        writer.add_float16(np.ones(4))
        writer.add_float16(np.ones(32))
    weighted.write_text(weighted.read_text().replace("uint64(320)", f"uint64({writer.offset(1)})"))
    np.save(tmp_path / "x.npy", np.ones((1, 4, 1, 8), np.float32))
    given = ("--input", f"x={tmp_path / 'x.npy'}")
    report = run_json(
        "run", weighted, *given, "--weights", f"weight.bin={tmp_path / 'elsewhere.bin'}"
    )
    assert report["outputs"]["y"]["min"] == report["outputs"]["y"]["max"] == 2


@pytest.mark.usefixtures("chosen")
def test_run_asks_for_the_shape_of_a_flexible_input(
    fails: Callable[..., str], run_json: Json, tmp_path: Path
) -> None:
    path, x = tmp_path / "flexible.mil", tmp_path / "x.npy"
    text = SUM.replace("[1, 4, 1, 8]", "[1, ?]").replace(", tensor<fp16, [1, ?]> b", "")
    path.write_text(text.replace("y = b", "y = a"))
    np.save(x, np.ones((1, 5), np.float32))
    assert "hint: give --shape a=" in fails("run", path, "--input", f"a={x}")
    other = fails("run", path, "--input", f"a={x}", "--shape", "a=1,3")
    assert "hint: a is flexible: --shape a=1,5" in other
    report = run_json("run", path, "--input", f"a={x}", "--shape", "a=1,5")
    assert report["outputs"]["s"]["shape"] == [1, 5]


def test_hints_name_the_option_and_not_the_python_argument(
    fails: Callable[..., str], sum_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "hint: give --function NAME" in fails("run", sum_model, "--function", "second")
    if not milane.probe().has_ane:
        monkeypatch.setenv("MILANE_BACKEND", "ane")
        assert "hint: MILANE_BACKEND=host runs the same" in fails("run", sum_model)


def test_a_file_that_is_no_text_is_an_error_that_says_where(
    fails: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "net.bin").write_bytes(b"\xf6\x00\x01")
    for command in ("run", "inspect"):
        assert "net.bin:1:1: expected UTF-8" in fails(command, tmp_path / "net.bin")


def test_output_into_a_closed_pipe_ends_quietly(sum_model: Path) -> None:
    command = [sys.executable, "-m", "milane.cli", "inspect", str(sum_model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_malformed_mil_is_an_error_that_says_where(
    fails: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "bad.mil").write_text(SUM.replace("add(x = a", "add(x = = a"))
    for command in ("run", "inspect"):
        assert "bad.mil:4:" in fails(command, tmp_path / "bad.mil")


def test_run_says_what_the_device_refuses_and_where(
    fails: Callable[..., str], chosen: str, tmp_path: Path
) -> None:
    (tmp_path / "net.mil").write_text(SUM.replace("add(x = a, y = b)", "cosh(x = a)"))
    np.save(tmp_path / "a.npy", np.ones((1, 4, 1, 8), np.float32))
    given = [f"--input={name}={tmp_path / 'a.npy'}" for name in "ab"]
    if chosen == "host":
        assert main(["run", str(tmp_path / "net.mil"), *given]) == 0
        return
    text = fails("run", tmp_path / "net.mil", *given)
    assert "CompilationFailure" in text
    assert "net.mil:4:44: expected an operation the device runs, got cosh" in text


# --- inspect


def test_inspect_describes_a_program_without_its_weights(run_json: Json, weighted: Path) -> None:
    report = run_json("inspect", weighted)
    (function,) = report["functions"]
    assert report["version"] == "1.3"
    assert report["verifies"]
    assert (function["name"], function["opset"]) == ("main", "ios18")
    assert function["inputs"]["x"]["shape"] == [1, 4, 1, 8]
    assert function["outputs"]["y"]["dtype"] == "fp16"
    assert function["ops"] == {"const": 2, "mul": 1, "add": 1}
    assert function["result_dtypes"] == {"fp16": 2}
    assert report["host_refuses"] == []
    assert report["weights"]["total_bytes"] == 2 * (4 + 32)
    assert [w["name"] for w in report["weights"]["largest"]] == ["bias", "w"]
    assert report["weight_files"][0]["found"] is False


def test_inspect_says_when_weight_files_are_missing(
    capsys: pytest.CaptureFixture[str], weighted: Path
) -> None:
    assert main(["inspect", str(weighted)]) == 0
    assert "@model_path/weights/weight.bin: missing" in capsys.readouterr().out


def test_inspect_names_the_operations_that_the_host_engine_refuses(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "net.mil").write_text(
        SUM.replace("[1, 4, 1, 8]> s = add(x = a, y = b)", "[?, 4]> s = non_zero(x = a)").replace(
            "tensor<fp16, [?", "tensor<int32, [?"
        )
    )
    assert main(["inspect", str(tmp_path / "net.mil")]) == 0
    text = capsys.readouterr().out
    assert "verifies" in text
    assert "host engine: refuses non_zero" in text


def test_inspect_compares_weight_files_with_the_text(
    run_json: Json,
    weighted: Path,
    tmp_path: Path,
    write_synthetic_weights: Callable[..., dict[str, Path]],
) -> None:
    write_synthetic_weights(weighted, tmp_path)
    (file,) = run_json("inspect", weighted)["weight_files"]
    assert file["found"]
    assert file["problems"] == []
    weighted.write_text(WEIGHTED.replace("uint64(320)", "uint64(384)"))
    (file,) = run_json("inspect", weighted)["weight_files"]
    assert file["problems"] == ["bias: expected fp16 at 384, got no record"]


def test_inspect_reads_a_compiled_model_folder(run_json: Json, tmp_path: Path) -> None:
    folder = tmp_path / "net.mlmodelc"
    folder.mkdir()
    (folder / "model.mil").write_text(SUM)
    assert run_json("inspect", folder)["functions"][0]["ops"] == {"add": 1}


def test_synthetic_weights_are_the_same_for_the_same_seed(
    weighted: Path, tmp_path: Path, write_synthetic_weights: Callable[..., dict[str, Path]]
) -> None:
    contents = [
        next(iter(write_synthetic_weights(weighted, tmp_path / str(i), seed).values())).read_bytes()
        for i, seed in enumerate((7, 7, 8))
    ]
    assert contents[0] == contents[1] != contents[2]


def test_synthetic_weights_stay_in_their_folder(
    tmp_path: Path, write_synthetic_weights: Callable[..., dict[str, Path]]
) -> None:
    path = tmp_path / "model.mil"
    path.write_text(WEIGHTED.replace("@model_path/weights", "@model_path/../weights"))
    with pytest.raises(ValueError, match="inside the model's folder"):
        write_synthetic_weights(path, tmp_path / "out")


def test_synthetic_sparse_masks_have_as_many_ones_as_there_are_values(
    tmp_path: Path, write_synthetic_weights: Callable[..., dict[str, Path]]
) -> None:
    path = tmp_path / "model.mil"
    path.write_text(
        "tensor<fp16, [10]> w = constexpr_sparse_to_dense(mask = tensor<uint1, [10]>(BLOBFILE("
        'path = string("@model_path/w.bin"), offset = uint64(64))), nonzero_data = '
        'tensor<fp16, [7]>(BLOBFILE(path = string("@model_path/w.bin"), offset = uint64(192))))'
    )
    (file,) = write_synthetic_weights(path, tmp_path).values()
    mask = np.unpackbits(np.frombuffer(file.read_bytes()[128:130], np.uint8), bitorder="little")
    assert mask.sum() == 7
    assert not mask[10:].any()


def test_blob_references_name_statement_argument_and_place() -> None:
    weight, bias = blob_references(WEIGHTED)
    assert (weight.name, weight.op, weight.argument) == ("w", "const", "val")
    assert (weight.dtype, weight.shape, weight.offset) == ("fp16", (1, 4, 1, 1), 64)
    assert (bias.path, bias.size_bytes) == ("@model_path/weights/weight.bin", 64)


# --- the README


def test_the_example_of_the_readme_runs_as_printed(
    capsys: pytest.CaptureFixture[str], chosen: str
) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    assert f"Runtime {chosen} " in capsys.readouterr().out


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.strip() == f"milane {milane.__version__}"
