"""The choice of the next token."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from milane.errors import EvalError, InvalidArgumentError

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; the defaults are llama2.c's.

    The steps come in the order of Hugging Face's generation: penalty, temperature, top-k, top-p.

    Attributes:
        temperature: what logits are divided by; 0 always takes the largest.
        top_k: only so many of the likeliest tokens are drawn from; 0 for all.
        top_p: only the fewest likeliest tokens are drawn from whose probabilities reach this sum;
            1 for all.
        repetition_penalty: positive logits of tokens that were there before, the prompt's included,
            are divided by it, others multiplied; 1 for none (CTRL, arXiv 1909.05858).
        seed: of the random numbers, None for a new one each time. Sequence ``i`` of a batch draws
            as a single one does with ``seed + i``.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.9
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InvalidArgumentError: a number outside of its range.
        """
        checks = [
            ("temperature", 0 <= self.temperature < math.inf, "0 or more"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("repetition_penalty", 0 < self.repetition_penalty < math.inf, "more than 0"),
            ("seed", self.seed is None or self.seed >= 0, "0 or more"),
        ]
        for name, fine, expected in checks:
            if not fine:
                raise InvalidArgumentError(
                    f"Sampling: expected {name} of {expected}, got {getattr(self, name)}"
                )


class Sampler:
    """Draws the tokens of one sequence, and remembers them for the penalty.

    Args:
        sampling: how.
        vocab_size: tokens of the model.
        sequence: which one of a batch it is.
    """

    def __init__(self, sampling: Sampling, vocab_size: int, sequence: int = 0) -> None:
        self._sampling = sampling
        self._seen = np.zeros(vocab_size, np.bool_)
        seed = None if sampling.seed is None else sampling.seed + sequence
        self._random = np.random.default_rng(seed)

    def see(self, tokens: npt.ArrayLike) -> None:
        """Count tokens as seen."""
        self._seen[np.asarray(tokens, np.int64)] = True

    def distribution(self, logits: Logits) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The tokens that may be drawn, likeliest first, and their probabilities.

        Shapes: logits ``[vocab_size]``, the results ``[n]``. Of equal logits the lower token comes
        first.

        Raises:
            EvalError: a logit is NaN, or none is finite.
        """
        s = self._sampling
        scores = self._penalised(logits)
        best = int(np.argmax(scores))
        if not np.isfinite(scores[best]):
            raise EvalError(
                f"sample: expected finite logits, got {scores[best]}: the model's numbers left "
                "the range of fp16, or its weights are damaged"
            )
        if s.temperature == 0:
            return np.array([best]), np.ones(1)
        kept = np.arange(scores.size)
        if 0 < s.top_k < scores.size:
            least = np.partition(scores, -s.top_k)[-s.top_k]
            kept = np.flatnonzero(scores >= least)
            kept = kept[np.argsort(-scores[kept], kind="stable")[: s.top_k]]
        weights = np.exp((scores[kept] - scores[best]) / s.temperature)
        probs = weights / weights.sum()
        if s.top_p < 1 and probs.size > 1:
            # Sorting is what takes long. All that is rarer than this sums up to less than
            # 1 - top_p, so that top_p is reached before it.
            rare = min((1 - s.top_p) / (probs.size - 1), float(probs.max())) * (1 - 1e-9)
            common = probs >= rare
            kept, probs = kept[common], probs[common]
        order = np.argsort(-probs, kind="stable")
        kept, probs = kept[order], probs[order]
        if s.top_p < 1:
            count = int(np.searchsorted(np.cumsum(probs), s.top_p)) + 1
            kept, probs = kept[:count], probs[:count]
        return kept, probs / probs.sum()

    def __call__(self, logits: Logits) -> int:
        """The next token, which counts as seen.

        Raises:
            EvalError: as :meth:`distribution`.
        """
        tokens, probs = self.distribution(logits)
        token = int(tokens[0])
        if tokens.size > 1:
            at = np.searchsorted(np.cumsum(probs), self._random.random(), side="right")
            token = int(tokens[min(int(at), tokens.size - 1)])
        self._seen[token] = True
        return token

    def _penalised(self, logits: Logits) -> npt.NDArray[np.float64]:
        scores = logits.astype(np.float64)
        penalty = self._sampling.repetition_penalty
        if penalty != 1:
            old = scores[self._seen]
            scores[self._seen] = np.where(old > 0, old / penalty, old * penalty)
        return scores
