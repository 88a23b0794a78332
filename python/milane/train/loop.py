"""Training: steps, their learning rate, checkpoints, and going on after them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from milane.closing import Closing
from milane.errors import CompileBudgetExhaustedError, EvalError, InvalidArgumentError
from milane.runtime import Runtime
from milane.train import ops
from milane.train.checkpoint import Checkpoint, CheckpointHeader, ModelAdam, latest, save_step
from milane.train.config import ModelConfig
from milane.train.data import TokenData
from milane.train.model import Model, Route
from milane.train.weights import ModelWeights

# Loss scaling as torch.amp.GradScaler does it: halve after an overflow, double after so many steps
# without one. Beyond these bounds something else is wrong.
_GROW_AFTER = 1000
_SCALES = (1.0, 65536.0)


@dataclass(frozen=True)
class TrainOptions:
    """What a run is told.

    Attributes:
        steps: optimiser steps altogether.
        batch: sequences whose gradients make one step.
        lr: the highest learning rate.
        min_lr: where the cosine ends; a tenth of ``lr`` by default.
        warmup: steps over which the rate rises from zero.
        weight_decay: of matrices; norms have none.
        beta1, beta2, eps: Adam's.
        clip: the largest norm of all gradients together; 0 leaves them.
        loss_scale: what gradients are multiplied by in fp16, at first.
        eval_every: steps between validations; 0 for none.
        eval_batches: sequences of a validation.
        checkpoint_every: steps between checkpoints; 0 for one at the end.
        keep: checkpoints to keep; 0 for all.
        route: how the kernels get their weights (:class:`milane.train.Model`).
    """

    steps: int = 1000
    batch: int = 4
    lr: float = 5e-4
    min_lr: float | None = None
    warmup: int = 20
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    clip: float = 1.0
    loss_scale: float = 1024.0
    eval_every: int = 100
    eval_batches: int = 8
    checkpoint_every: int = 100
    keep: int = 3
    route: Route = "dynamic"

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InvalidArgumentError: one that makes no sense.
        """
        for name in ("steps", "batch", "eval_batches"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(
                    f"TrainOptions: expected {name} of 1 or more, got {getattr(self, name)}"
                )
        for name in ("lr", "eps", "loss_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidArgumentError(
                    f"TrainOptions: expected a positive {name}, got {getattr(self, name)}"
                )

    def rate(self, step: int) -> float:
        """The learning rate of a step, counting from 0: a linear warm-up, then a cosine."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        low = self.lr / 10 if self.min_lr is None else self.min_lr
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return low + (self.lr - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@dataclass(frozen=True)
class StepResult:
    """One step of a run.

    Attributes:
        step: its number, counting from 1.
        loss: the mean over its sequences.
        lr: the learning rate.
        grad_norm: of all gradients together, before clipping.
        loss_scale: what gradients were multiplied by.
        skipped: whether gradients overflowed in fp16, so that no weight changed.
        seconds: the step took.
        tokens: positions it saw.
        validation: the mean validation loss, in steps that had one.
    """

    step: int
    loss: float
    lr: float
    grad_norm: float
    loss_scale: float
    skipped: bool
    seconds: float
    tokens: int
    validation: float | None = None


class Trainer(Closing):
    """A training run: :meth:`run` does it, :meth:`step` one step of it.

    The same weights, data and options give the same losses, bit for bit on one backend, whether the
    run was interrupted or not.
    """

    def __init__(
        self,
        runtime: Runtime,
        weights: ModelWeights,
        data: TokenData,
        options: TrainOptions | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        """Start a run: compile the kernels, once each; write checkpoints to ``folder``.

        Raises:
            InvalidArgumentError: data for longer sequences than the model has.
            CompileError, CompileBudgetExhaustedError: as :meth:`Runtime.compile`.
        """
        self.options = options or TrainOptions()
        self.data = data
        self.folder = None if folder is None else Path(folder)
        self.adam = ModelAdam.zeros(weights.config)
        self.header = CheckpointHeader(**_sizes(weights.config))
        self._scale = self.options.loss_scale
        self._good = 0  # steps since the scale changed
        self._stale = False  # whether the kernels have older weights than `weights`
        start = time.perf_counter()
        self.model = Model(runtime, weights, data.positions, route=self.options.route)
        self._grads = ModelWeights.zeros(weights.config)
        self.header.cum_compile += (time.perf_counter() - start) * 1000

    @classmethod
    def resume(
        cls,
        runtime: Runtime,
        folder: str | os.PathLike[str],
        data: TokenData,
        options: TrainOptions | None = None,
    ) -> Trainer:
        """Go on from the newest sound checkpoint of a folder, with its options unless given.

        Raises:
            ModelFileError: there is no checkpoint, or none that is sound.
            InvalidArgumentError: the data has another length or order than that of the run.
        """
        found = latest(folder)
        if found is None:
            raise InvalidArgumentError(f"resume: expected a checkpoint in {folder}, got none")
        checkpoint, path = found
        extra = checkpoint.extra
        kept = extra.get("data", {})
        if kept and kept != _data_of(data):
            raise InvalidArgumentError(
                f"{path}: expected the data of that run, {kept}, got {_data_of(data)}\n"
                "hint: a resumed run needs the same data, sequence length and seed"
            )
        options = options or TrainOptions(**extra.get("options", {}))
        trainer = cls(runtime, checkpoint.weights, data, options, folder=folder)
        compiled = trainer.header.cum_compile
        trainer.header = replace(
            checkpoint.header, cum_compile=checkpoint.header.cum_compile + compiled
        )
        trainer.adam = checkpoint.adam
        trainer._scale = extra.get("loss_scale", options.loss_scale)
        trainer._good = extra.get("good_steps", 0)
        return trainer

    @property
    def weights(self) -> ModelWeights:
        """The model's weights, float32."""
        return self.model.weights

    @property
    def steps_done(self) -> int:
        """Steps so far, those before an interruption included."""
        return self.header.step

    def step(self) -> StepResult:
        """One optimiser step over the next sequences of the data.

        Raises:
            EvalError: the loss is not finite, or gradients overflow at the smallest loss scale; the
                weights stay as they were.
            CompileBudgetExhaustedError: on the static route, when no compile is left; a checkpoint
                saved now goes on in another process.
            InvalidArgumentError: the data holds tokens the model does not have.
        """
        start = time.perf_counter()
        options, number = self.options, self.header.step
        self._refresh()
        loss = self._accumulate(number)
        norm = self._norm() / self._scale
        skipped = not math.isfinite(norm)
        scale = self._scale
        rate = options.rate(number)
        with self.model.times.measure("optimizer"):
            if skipped:
                self._shrink(number)
            else:
                self._update(rate, norm)
        took = time.perf_counter() - start
        h = self.header
        h.step, h.total_steps = number + 1, options.steps
        h.lr, h.loss = rate, loss
        h.cum_train += took * 1000
        h.cum_wall += took * 1000
        h.cum_steps += options.batch
        h.cum_batches += 1
        validation = None
        if options.eval_every and h.step % options.eval_every == 0:
            with suppress(CompileBudgetExhaustedError):  # the next step will say so
                validation = self.validate()
        tokens = options.batch * self.model.positions
        return StepResult(h.step, loss, rate, norm, scale, skipped, took, tokens, validation)

    def run(self, report: Callable[[StepResult], None] | None = None) -> None:
        """All steps that are left, with checkpoints on the way and one at the end.

        ``report`` is called after every step.

        Raises:
            EvalError, InvalidArgumentError: as :meth:`step`; checkpoints stay as they are.
            ModelFileError: a checkpoint cannot be written.
        """
        every = self.options.checkpoint_every
        while self.header.step < self.options.steps:
            result = self.step()
            if report is not None:
                report(result)
            last = self.header.step == self.options.steps
            if self.folder is not None and (last or (every and self.header.step % every == 0)):
                self.save()

    def validate(self) -> float | None:
        """The mean loss over sequences that are held back; None where there are none."""
        self._refresh()
        count = min(self.options.eval_batches, self.data.validation_pieces)
        if count == 0:
            return None
        return sum(self.model.loss(*self.data.validate(i)) for i in range(count)) / count

    def save(self) -> Path:
        """Write a checkpoint to the run's folder, and drop those beyond ``keep``.

        Raises:
            ModelFileError: it cannot be written; older ones stay.
            InvalidArgumentError: the run has no folder.
        """
        if self.folder is None:
            raise InvalidArgumentError("save: expected a run with a folder, got one without")
        return save_step(self.checkpoint(), self.folder, self.options.keep)

    def checkpoint(self) -> Checkpoint:
        """Everything that going on needs."""
        extra: dict[str, Any] = {
            "options": asdict(self.options),
            "data": _data_of(self.data),
            "loss_scale": self._scale,
            "good_steps": self._good,
        }
        return Checkpoint(replace(self.header), self.weights, self.adam, extra)

    def close(self) -> None:
        """Close the kernels; idempotent."""
        self.model.close()

    def _refresh(self) -> None:
        """Gives the kernels the weights of the last step. A failure leaves the run as it was."""
        if self._stale:
            with self.model.times.measure("optimizer"):
                self.model.upload()
            self._stale = False

    def _accumulate(self, number: int) -> float:
        """Fills the gradients with those of a step's sequences; their mean loss."""
        batch = self.options.batch
        self._grads.zero_()
        total = 0.0
        for i in range(batch):
            tokens, targets = self.data.train(number * batch + i)
            total += self.model.accumulate(tokens, targets, self._grads, self._scale / batch)
        loss = total / batch
        if not math.isfinite(loss):
            raise EvalError(
                f"step {number + 1}: expected a finite loss, got {loss}\n"
                "hint: a lower learning rate, or a checkpoint from before"
            )
        return loss

    def _norm(self) -> float:
        return math.sqrt(sum(ops.sum_of_squares(g) for _, g in self._grads.named()))

    def _update(self, rate: float, norm: float) -> None:
        options = self.options
        self.header.adam_t += 1
        clipped = options.clip / norm if options.clip and norm > options.clip else 1.0
        moments = dict(self.adam.named())
        grads = dict(self._grads.named())
        for name, array in self.weights.named():
            ops.adam_update(
                array,
                grads[name],
                moments[name],
                self.header.adam_t,
                rate,
                beta1=options.beta1,
                beta2=options.beta2,
                eps=options.eps,
                weight_decay=options.weight_decay if array.ndim > 1 else 0.0,
                grad_scale=clipped / self._scale,
            )
        self._stale = True
        self._good += 1
        if self._good >= _GROW_AFTER and self._scale < _SCALES[1]:
            self._scale, self._good = self._scale * 2, 0

    def _shrink(self, number: int) -> None:
        if self._scale <= _SCALES[0]:
            raise EvalError(
                f"step {number + 1}: expected finite gradients, got an overflow at loss scale 1\n"
                "hint: a lower learning rate, or a checkpoint from before"
            )
        self._scale, self._good = self._scale / 2, 0


def _sizes(config: ModelConfig) -> dict[str, int]:
    names = ("n_layers", "vocab_size", "dim", "hidden_dim", "n_heads", "seq_len")
    return {name: getattr(config, name) for name in names}


def _data_of(data: TokenData) -> dict[str, Any]:
    """What a resumed run must find again."""
    return {
        "tokens": int(data.tokens.size),
        "positions": data.positions,
        "seed": data.seed,
        "validation": data.validation,
    }
