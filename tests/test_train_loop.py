"""Training runs: PyTorch's loss curve, going on after an interruption, and what stops a run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import milane
from milane.train.checkpoint import Checkpoint, checkpoints, latest
from milane.train.config import ModelConfig
from milane.train.data import TokenData
from milane.train.loop import StepResult, Trainer, TrainOptions
from milane.train.weights import ModelWeights

torch = pytest.importorskip("torch")

from train_witness import loss_of, params_of  # noqa: E402

CONFIG = ModelConfig(32, 88, 2, 4, 2, 40, 16)


def text_like(count: int = 6000) -> np.ndarray:
    """Tokens that a small model can learn something of: a walk with a few likely steps."""
    rng = np.random.default_rng(8)
    steps = rng.choice([1, 3, 7], p=[0.6, 0.3, 0.1], size=count)
    return (np.cumsum(steps) % CONFIG.vocab_size).astype(np.uint16)


def data() -> TokenData:
    return TokenData(text_like(), CONFIG.seq_len, seed=3)


def options(**changes: object) -> TrainOptions:
    given = {"steps": 12, "batch": 2, "lr": 3e-3, "warmup": 3, "checkpoint_every": 4, "keep": 0}
    return TrainOptions(**{**given, "eval_every": 5, **changes})  # type: ignore[arg-type]


def run_of(runtime: milane.Runtime, folder: Path, **changes: object) -> list[StepResult]:
    seen: list[StepResult] = []
    start = ModelWeights.random(CONFIG, seed=1)
    with Trainer(runtime, start, data(), options(**changes), folder=folder) as trainer:
        trainer.run(seen.append)
    return seen


def bits(weights: ModelWeights) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in weights.named()}


# --- the same as PyTorch


@pytest.mark.parametrize("decay", [0.1])
def test_two_hundred_steps_stay_with_pytorch(host_runtime: milane.Runtime, decay: float) -> None:
    """Same data, same start, same optimiser, in float64 there and in fp16 kernels here.

    The band: losses of one step differ by the forward pass's rounding, 2^-11 a few times over; the
    weights drift apart by rounded gradients on top of that, which 200 steps may add up. One percent
    of the loss at every step is a tenth of what one wrong layer's gradient makes of it.
    """
    chosen = options(steps=200, batch=2, lr=2e-3, eval_every=0, weight_decay=decay)
    weights = ModelWeights.random(CONFIG, seed=1)
    params = params_of(weights)
    matrices = [p for p in params.values() if p.ndim > 1]
    vectors = [p for p in params.values() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}],
        betas=(chosen.beta1, chosen.beta2),
        eps=chosen.eps,
    )
    tokens = data()
    theirs = []
    for step in range(chosen.steps):
        optimizer.zero_grad()
        pieces = [tokens.train(step * chosen.batch + i) for i in range(chosen.batch)]
        loss = sum(loss_of(CONFIG, params, *piece) for piece in pieces) / chosen.batch
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(params.values()), chosen.clip)
        for group in optimizer.param_groups:
            group["lr"] = chosen.rate(step)
        optimizer.step()
        theirs.append(loss.item())
    ours: list[float] = []
    with Trainer(host_runtime, weights, tokens, chosen) as trainer:
        before = host_runtime.compile_count
        trainer.run(lambda r: ours.append(r.loss))
        assert host_runtime.compile_count == before, "no compile after the first"
    assert theirs[-1] < 0.6 * theirs[0], "there was something to learn"
    difference = np.abs(np.array(ours) - theirs) / theirs
    assert difference.max() <= 0.01, f"{difference.max()} at step {difference.argmax()}"


def test_both_backends_train_the_same_bits(both, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    losses = [
        [r.loss for r in run_of(runtime, tmp_path / runtime.backend)]
        for runtime in (both.host, both.ane)
    ]
    assert losses[0] == losses[1]


def test_the_rate_rises_and_falls_as_a_cosine() -> None:
    chosen = TrainOptions(steps=110, warmup=10, lr=1.0, min_lr=0.2)
    assert [chosen.rate(i) for i in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert chosen.rate(10) == pytest.approx(1.0)
    assert chosen.rate(60) == pytest.approx(0.6)
    assert chosen.rate(110) == pytest.approx(0.2)


# --- interruptions


class StoppedError(Exception):
    """What stands for an interruption."""


def test_a_run_interrupted_anywhere_ends_with_the_same_weights(
    runtime: milane.Runtime, tmp_path: Path
) -> None:
    whole = run_of(runtime, tmp_path / "whole", checkpoint_every=1)
    final = latest(tmp_path / "whole")
    assert final is not None
    rng = np.random.default_rng(0)
    for number in range(20):
        stop_at = int(rng.integers(1, 12))
        folder = tmp_path / f"run{number}"

        def stop(result: StepResult, stop_at: int = stop_at) -> None:
            if result.step == stop_at:
                raise StoppedError

        start = ModelWeights.random(CONFIG, seed=1)
        with Trainer(runtime, start, data(), options(), folder=folder) as trainer:
            with pytest.raises(StoppedError):
                trainer.run(stop)
            if not checkpoints(folder):  # nothing to go on from: begins again
                trainer.save()
        with Trainer.resume(runtime, folder, data()) as trainer:
            rest: list[StepResult] = []
            trainer.run(rest.append)
            losses = [r.loss for r in whole][-len(rest) :]
            assert [r.loss for r in rest] == losses
            assert bits(trainer.weights) == bits(final[0].weights)


_RUN = """
import sys
import milane
sys.path.insert(0, {tests!r})
import test_train_loop as t
from milane.train.checkpoint import checkpoints
from milane.train.loop import Trainer
from milane.train.weights import ModelWeights
folder, chosen = {folder!r}, t.options(steps=60, checkpoint_every=2)
with milane.open("host") as runtime:
    if checkpoints(folder):
        trainer = Trainer.resume(runtime, folder, t.data(), chosen)
    else:
        trainer = Trainer(runtime, ModelWeights.random(t.CONFIG, 1), t.data(), chosen, folder=folder)
    with trainer:
        print("running", flush=True)
        trainer.run(lambda r: None)
"""


def test_a_killed_process_loses_at_most_the_steps_behind_its_last_checkpoint(
    host_runtime: milane.Runtime, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    script = _RUN.format(tests=str(Path(__file__).parent), folder=str(folder))
    rng = np.random.default_rng(5)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"running"
        time.sleep(float(rng.uniform(0.0, 0.15)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for path in checkpoints(folder):
            Checkpoint.load(path)  # every one that has its name is whole
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)
    found = latest(folder)
    assert found is not None
    assert found[0].header.step == 60
    run_of(host_runtime, tmp_path / "whole", steps=60, checkpoint_every=0)
    whole = latest(tmp_path / "whole")
    assert whole is not None
    assert bits(found[0].weights) == bits(whole[0].weights)


def test_only_the_newest_checkpoints_are_kept(host_runtime: milane.Runtime, tmp_path: Path) -> None:
    run_of(host_runtime, tmp_path, checkpoint_every=2, keep=2)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000010.ckpt", "step-00000012.ckpt"]


def test_other_data_is_not_gone_on_with(host_runtime: milane.Runtime, tmp_path: Path) -> None:
    run_of(host_runtime, tmp_path)
    other = TokenData(text_like(), CONFIG.seq_len, seed=4)
    with pytest.raises(milane.InvalidArgumentError, match="expected the data of that run"):
        Trainer.resume(host_runtime, tmp_path, other)
    with pytest.raises(milane.InvalidArgumentError, match="expected a checkpoint in"):
        Trainer.resume(host_runtime, tmp_path / "nowhere", data())


# --- the static route


def test_baked_weights_train_the_same_bits(runtime: milane.Runtime, tmp_path: Path) -> None:
    losses = {
        route: [r.loss for r in run_of(runtime, tmp_path / route, route=route, steps=6)]
        for route in ("dynamic", "static")
    }
    assert losses["static"] == losses["dynamic"]
    ends = [latest(tmp_path / route) for route in losses]
    assert ends[0] is not None
    assert ends[1] is not None
    assert bits(ends[0][0].weights) == bits(ends[1][0].weights)


def test_a_budget_that_is_used_up_leaves_a_run_to_go_on_with(
    host_runtime: milane.Runtime, tmp_path: Path
) -> None:
    whole = run_of(host_runtime, tmp_path / "whole", steps=8)
    losses: list[float] = []
    folder = tmp_path / "static"
    chosen = options(steps=8, route="static", checkpoint_every=0)
    processes = 0
    while len(losses) < 8:
        processes += 1
        # 16 compiles to begin, 14 for each step behind the first
        with milane.open("host", compile_budget=50) as runtime:
            trainer = (
                Trainer.resume(runtime, folder, data(), chosen)
                if checkpoints(folder)
                else Trainer(runtime, ModelWeights.random(CONFIG, 1), data(), chosen, folder=folder)
            )
            with trainer:
                try:
                    trainer.run(lambda r: losses.append(r.loss))
                except milane.CompileBudgetExhaustedError:
                    trainer.save()
    assert processes > 1
    assert losses == [r.loss for r in whole]


def test_an_unknown_route_is_refused(host_runtime: milane.Runtime) -> None:
    with pytest.raises(milane.InvalidArgumentError, match='"dynamic" or "static", got \'other\''):
        Trainer(host_runtime, ModelWeights.random(CONFIG, 1), data(), options(route="other"))


# --- what stops a run, and what does not


def test_gradients_that_overflow_are_skipped_with_a_smaller_scale(
    host_runtime: milane.Runtime, tmp_path: Path
) -> None:
    seen = run_of(host_runtime, tmp_path, loss_scale=2.0**24, steps=16)
    skipped = [r for r in seen if r.skipped]
    assert skipped
    assert [r.loss_scale for r in seen[:2]] == [2.0**24, 2.0**23]
    assert not seen[-1].skipped
    assert all(np.isfinite(r.loss) for r in seen)
    found = latest(tmp_path)
    assert found is not None
    assert found[0].header.adam_t == len(seen) - len(skipped)
    assert all(np.isfinite(a).all() for _, a in found[0].weights.named())


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_its_checkpoints(
    host_runtime: milane.Runtime, tmp_path: Path
) -> None:
    with Trainer(
        host_runtime, ModelWeights.random(CONFIG, 1), data(), options(), folder=tmp_path
    ) as trainer:

        def spoil(result: StepResult) -> None:
            if result.step == 6:
                trainer.weights.embed[:] = np.nan

        with pytest.raises(milane.EvalError, match="step 7: expected a finite loss, got nan"):
            trainer.run(spoil)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000004.ckpt"]
    found = latest(tmp_path)
    assert found is not None
    assert all(np.isfinite(a).all() for _, a in found[0].weights.named())


def test_tokens_beyond_the_vocabulary_are_named(host_runtime: milane.Runtime) -> None:
    tokens = text_like()
    tokens[:] = 40
    foreign = TokenData(tokens, CONFIG.seq_len)
    with (
        Trainer(host_runtime, ModelWeights.random(CONFIG, 1), foreign, options()) as trainer,
        pytest.raises(milane.InvalidArgumentError, match=r"tokens in \[0, 40\), got 40"),
    ):
        trainer.step()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": float("nan")}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(milane.InvalidArgumentError, match=f"expected .*{next(iter(wrong))}"):
        TrainOptions(**wrong)  # type: ignore[arg-type]


# --- the command


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "milane.cli", "train", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


SMALL = ("--dim", 32, "--layers", 1, "--heads", 2, "--seq", 16, "--batch", 2, "--backend", "host")


def test_the_command_trains_goes_on_and_draws(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = command("-o", folder, *SMALL, "--steps", 6, "--checkpoint-every", 3, "--eval-every", 3)
    assert first.returncode == 0, first.stderr
    assert "6,656 parameters" in first.stdout or "parameters, 1 layers of 32" in first.stdout
    more = command(
        *("-o", folder, *SMALL, "--steps", 9, "--resume", "--json"),
        *("--plot", tmp_path / "chart.svg"),
    )
    assert more.returncode == 0, more.stderr
    told = json.loads(more.stdout)
    assert told["steps"] == 9
    assert told["compiles"] == 8
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert (tmp_path / "chart.svg").read_text().lstrip().startswith("<?xml")
    assert (folder / "model.bin").stat().st_size > 0


def test_the_command_starts_itself_again_when_its_compiles_are_used_up(tmp_path: Path) -> None:
    common = (*SMALL, "--steps", 7, "--eval-every", 0, "--json")
    static = command(
        *("-o", tmp_path / "static", *common, "--route", "static", "--compile-budget", 25),
    )
    assert static.returncode == 0, static.stderr
    dynamic = command("-o", tmp_path / "dynamic", *common)
    assert (tmp_path / "static" / "model.bin").read_bytes() == (
        tmp_path / "dynamic" / "model.bin"
    ).read_bytes()
    assert json.loads(static.stdout)["loss"] == json.loads(dynamic.stdout)["loss"]
    assert len((tmp_path / "static" / "log.jsonl").read_text().splitlines()) == 7
    hopeless = command(
        *("-o", tmp_path / "none", *common, "--route", "static", "--compile-budget", 3)
    )
    assert hopeless.returncode == 1
    assert "expected a compile to be left, got 3 of 3 used" in hopeless.stderr


def test_what_the_command_cannot_do_is_said_without_a_traceback(tmp_path: Path) -> None:
    for arguments, message in (
        (("--resume", "-o", tmp_path / "none"), "expected a checkpoint in"),
        (("--data", tmp_path / "none.bin"), "expected tokens to read"),
        (("--heads", 5), "expected n_heads that divides dim"),
        (("--tokenizer", tmp_path / "none"), "expected a tokenizer to read"),
    ):
        failed = command(*SMALL[:8], "--backend", "host", *arguments, "-o", tmp_path / "out")
        assert failed.returncode == 1
        assert message in failed.stderr
        assert "Traceback" not in failed.stderr
