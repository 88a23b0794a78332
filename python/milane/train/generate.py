"""Text from a model: prompts in, a stream of pieces out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from milane.closing import Closing
from milane.errors import InvalidArgumentError
from milane.runtime import Runtime
from milane.train.config import ModelConfig
from milane.train.decoder import Decoder
from milane.train.sampling import Sampler, Sampling
from milane.train.text_stream import TextStream
from milane.train.tokenizer import Tokenizer
from milane.train.weights import ModelWeights

Prompt = str | Sequence[int]
Reason = Literal["", "stop_token", "stop_string", "max_tokens", "context"]


@dataclass
class Generation:
    """What came of one prompt.

    Attributes:
        prompt: the prompt's tokens.
        tokens: those that were generated; a token that ended the sequence is not among them.
        text: their text, without a stop string; "" where there is no tokenizer.
        reason: why it ended: ``"stop_token"``, ``"stop_string"``, ``"max_tokens"``, ``"context"``
            (the sequence is as long as the model allows), or "" where it has not.
    """

    prompt: list[int]
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    reason: Reason = ""


class Piece(NamedTuple):
    """A token as it comes, and the text that is certain with it.

    The text of a held-back character or stop string comes with a later piece; the last piece of a
    sequence has the token None, and whatever text was left.
    """

    sequence: int
    token: int | None
    text: str


class Generator(Closing):
    """A model, ready to generate. A context manager.

    Everything is compiled here; generating compiles nothing. One thread uses it at a time.

    Args:
        weights: the model; its arrays are rounded to fp16.
        runtime: where it runs; by default a new one (:func:`milane.open`).
        tokenizer: for prompts that are text, and for text to come out. Where it has fewer tokens
            than the model, only those are generated.
        batch: prompts that are evaluated at the same time.
        max_len: tokens of prompt and result together, ``seq_len`` by default.
        options: of :class:`Decoder`: ``prefill``, ``layers_per_kernel``, and fields of
            :class:`milane.CompileOptions`.

    Raises:
        InvalidArgumentError: a size below 1, or a tokenizer of more tokens than the model has.
        CompileError: as :meth:`milane.Runtime.compile`, and what else it raises.
    """

    def __init__(
        self,
        weights: ModelWeights,
        runtime: Runtime | None = None,
        *,
        tokenizer: Tokenizer | None = None,
        batch: int = 1,
        max_len: int | None = None,
        **options: Any,
    ) -> None:
        vocab = weights.config.vocab_size
        if tokenizer is not None and tokenizer.vocab_size > vocab:
            raise InvalidArgumentError(
                f"Generator: expected a tokenizer of at most the model's {vocab} tokens, "
                f"got one of {tokenizer.vocab_size}"
            )
        self._decoder = Decoder(weights, runtime, batch=batch, max_len=max_len, **options)
        self._tokenizer = tokenizer
        self._vocab = vocab if tokenizer is None else tokenizer.vocab_size
        self._run: object = None

    @property
    def config(self) -> ModelConfig:
        """The model's sizes."""
        return self._decoder.config

    @property
    def decoder(self) -> Decoder:
        """What evaluates tokens; its cache is that of the generation before."""
        return self._decoder

    @property
    def tokenizer(self) -> Tokenizer | None:
        """What prompts are encoded with."""
        return self._tokenizer

    def encode(self, prompt: Prompt) -> list[int]:
        """The prompt's tokens; of an empty text, the one that begins texts.

        Raises:
            InvalidArgumentError: a text where there is no tokenizer, or no token at all.
        """
        if not isinstance(prompt, str):
            tokens = [int(token) for token in prompt]
        elif self._tokenizer is None:
            raise InvalidArgumentError(
                "generate: expected tokens, got a text\nhint: Generator(tokenizer=...) takes texts"
            )
        else:
            tokens = self._tokenizer.encode(prompt) or [self._tokenizer.bos]
        if not tokens:
            raise InvalidArgumentError("generate: expected a prompt of one token or more, got none")
        return tokens

    def stream(self, prompt: Prompt, **options: Any) -> Iterator[str]:
        """The text behind a prompt, piece by piece as it comes; options as :meth:`run`.

        Raises:
            InvalidArgumentError, EvalError, ClosedError: as :meth:`run`.
        """
        return (piece.text for piece in self.run([prompt], **options) if piece.text)

    def generate(self, prompts: Prompt | Sequence[Prompt], **options: Any) -> list[Generation]:
        """What comes of each prompt, any number of them, ``batch`` at a time; options: :meth:`run`.

        A single prompt is a text or a list of tokens.

        Raises:
            InvalidArgumentError, EvalError, ClosedError: as :meth:`run`.
        """
        single = isinstance(prompts, str) or (
            len(prompts) > 0 and isinstance(prompts[0], int | np.integer)
        )
        listed: list[Any] = [prompts] if single else list(prompts)
        tokens = [self._checked(prompt) for prompt in listed]
        found: list[Generation] = []
        for first in range(0, len(tokens), self._decoder.batch):
            run = self.run(tokens[first : first + self._decoder.batch], sequence=first, **options)
            for _ in run:
                pass
            found += run.results
        return found

    def run(
        self,
        prompts: Sequence[Prompt],
        *,
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        stop_tokens: Sequence[int] | None = None,
        sequence: int = 0,
    ) -> Run:
        """An iterator of :class:`Piece` over all prompts, evaluated together.

        Args:
            prompts: at most ``batch`` texts or lists of tokens.
            sampling: how tokens are drawn, ``Sampling()`` by default.
            max_tokens: tokens to generate for each, by default as many as there is room for.
            stop: strings at which a text ends; they may begin and end inside of tokens.
            stop_tokens: tokens at which a sequence ends, by default the tokenizer's BOS and EOS.
            sequence: the number of the first prompt, which decides on its random numbers.

        Raises:
            InvalidArgumentError: too many prompts, one that is longer than ``max_len``, a token
                that the model does not have, or a stop string without a tokenizer.
            EvalError: the device failed, or the logits are not finite.
            ClosedError: the generator is closed.
        """
        if not 1 <= len(prompts) <= self._decoder.batch:
            raise InvalidArgumentError(
                f"run: expected 1 to {self._decoder.batch} prompts (batch), got {len(prompts)}"
            )
        if max_tokens is not None and max_tokens < 0:
            raise InvalidArgumentError(f"run: expected max_tokens of 0 or more, got {max_tokens}")
        strings = [stop] if isinstance(stop, str) else list(stop)
        tokenizer = self._tokenizer
        if strings and tokenizer is None:
            raise InvalidArgumentError("run: expected a tokenizer for stop strings, got none")
        if stop_tokens is None:
            stop_tokens = () if tokenizer is None else (tokenizer.bos, tokenizer.eos)
        sampling = Sampling() if sampling is None else sampling
        sequences = []
        for i, prompt in enumerate(prompts):
            tokens = self._checked(prompt)
            sampler = Sampler(sampling, self._vocab, sequence + i)
            sampler.see(tokens)
            text = None if tokenizer is None else TextStream(tokenizer, tokens[-1], strings)
            room = self._decoder.max_len - len(tokens)
            most = room if max_tokens is None else min(max_tokens, room)
            reason: Reason = "context" if max_tokens is None or room < max_tokens else "max_tokens"
            sequences.append(_Sequence(Generation(tokens), sampler, text, most, reason))
        self._decoder.reset()
        run = Run(self, sequences, frozenset(stop_tokens))
        self._run = run
        return run

    def close(self) -> None:
        """Release the kernels; idempotent."""
        self._decoder.close()

    def _checked(self, prompt: Prompt) -> list[int]:
        tokens = self.encode(prompt)
        if len(tokens) > self._decoder.max_len:
            raise InvalidArgumentError(
                f"generate: expected a prompt of at most {self._decoder.max_len} tokens, "
                f"got {len(tokens)}\nhint: a Generator with a larger max_len takes it"
            )
        for token in tokens:
            if not 0 <= token < self._vocab:
                raise InvalidArgumentError(
                    f"generate: expected tokens in [0, {self._vocab}), got {token}"
                )
        return tokens

    def __repr__(self) -> str:
        d = self._decoder
        return f"<milane.train.Generator batch {d.batch}, max_len {d.max_len}>"


@dataclass
class _Sequence:
    """One sequence on its way."""

    result: Generation
    sampler: Sampler
    text: TextStream | None
    most: int
    at_most: Reason

    def take(self, logits: npt.NDArray[np.float32], stop_tokens: frozenset[int]) -> Piece | None:
        """Draws the next token; None where the sequence ends instead."""
        result = self.result
        if len(result.tokens) == self.most:
            result.reason = self.at_most
            return None
        token = self.sampler(logits)
        if token in stop_tokens:
            result.reason = "stop_token"
            return None
        result.tokens.append(token)
        text = self.text.push(token) if self.text else ""
        if self.text is not None and self.text.stopped:
            result.reason = "stop_string"
        elif len(result.tokens) == self.most:
            result.reason = self.at_most
        result.text += text
        return Piece(0, token, text)

    def rest(self) -> str:
        """The text that was held back."""
        text = self.text.finish() if self.text else ""
        self.result.text += text
        return text


class Run:
    """Prompts on their way; an iterator of :class:`Piece`, made by :meth:`Generator.run`.

    Attributes:
        results: what has come of each prompt so far.
    """

    def __init__(
        self, generator: Generator, sequences: list[_Sequence], stop_tokens: frozenset[int]
    ) -> None:
        self._generator = generator
        self._sequences = sequences
        self._stop_tokens = stop_tokens
        self._pieces = self._made()
        self.results = [sequence.result for sequence in sequences]

    def __iter__(self) -> Run:
        return self

    def __next__(self) -> Piece:
        return next(self._pieces)

    def _made(self) -> Iterator[Piece]:
        decoder = self._generator.decoder
        idle: list[list[int]] = [[]] * (decoder.batch - len(self._sequences))
        logits = self._evaluated([*(s.result.prompt for s in self._sequences), *idle])
        while True:
            chosen: list[list[int]] = []
            for i, sequence in enumerate(self._sequences):
                result, tokens = sequence.result, []
                if not result.reason:
                    piece = sequence.take(logits[i], self._stop_tokens)
                    if piece is not None:
                        tokens = result.tokens[-1:]
                        yield piece._replace(sequence=i)
                    if result.reason:
                        yield Piece(i, None, sequence.rest())
                chosen.append([] if result.reason else tokens)
            if not any(chosen):
                return
            logits = self._evaluated([*chosen, *idle])

    def _evaluated(self, tokens: list[list[int]]) -> npt.NDArray[np.float32]:
        if self._generator._run is not self:
            raise InvalidArgumentError(
                "run: expected to be the generator's latest, got one that another has replaced"
            )
        return self._generator.decoder.feed(tokens)[:, : self._generator._vocab]
