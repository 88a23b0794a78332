"""Kernels of a model and the cache they share: tokens in, logits out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import milane
from milane.blob import tables
from milane.closing import Closing
from milane.errors import ClosedError, InvalidArgumentError
from milane.graph.graph import Dialect
from milane.kernel import Kernel
from milane.mil._parts import MASKED
from milane.requests import BoundRequest
from milane.runtime import Runtime
from milane.surface import Surface
from milane.train import decoder_program
from milane.train.decoder_program import StepShape
from milane.train.weights import Floats, ModelWeights


class Decoder(Closing):
    """A model with its cache: sequences side by side, each as long as it is. A context manager.

    Compiles once for one position of every sequence and once for ``prefill`` positions; both serve
    every length up to ``max_len``; nothing is compiled after that. One thread at a time uses it.

    Args:
        weights: the model; its arrays are rounded to fp16.
        runtime: where it runs; by default a new one (:func:`milane.open`).
        batch: how many sequences there are.
        max_len: how long each may become, ``seq_len`` by default.
        prefill: positions of a prompt that are evaluated together; 0 takes them one by one.
        layers_per_kernel: blocks in one program; all by default. The device refuses programs that
            are too large, and where that begins is not known: 2 GiB of weights are the most.
        classifier_rows: tokens in one piece of the logits.
        dialect: the programs' opset, as :class:`milane.Graph` takes it.
        options: fields of :class:`milane.CompileOptions`.

    Raises:
        InvalidArgumentError: a size below 1.
        CompileError: as :meth:`milane.Runtime.compile`, and what else it raises.
    """

    def __init__(
        self,
        weights: ModelWeights,
        runtime: Runtime | None = None,
        *,
        batch: int = 1,
        max_len: int | None = None,
        prefill: int = 64,
        layers_per_kernel: int | None = None,
        classifier_rows: int = 16384,
        dialect: Dialect = "ios18",
        **options: Any,
    ) -> None:
        config = weights.config
        max_len = config.seq_len if max_len is None else max_len
        layers_per_kernel = layers_per_kernel or config.n_layers
        sizes = {"batch": batch, "max_len": max_len, "layers_per_kernel": layers_per_kernel}
        for name, size in {**sizes, "classifier_rows": classifier_rows}.items():
            if size < 1:
                raise InvalidArgumentError(f"Decoder: expected {name} of 1 or more, got {size}")
        if prefill < 0:
            raise InvalidArgumentError(f"Decoder: expected prefill of 0 or more, got {prefill}")
        self.config, self.batch, self.max_len = config, batch, max_len
        self._embed = weights.embed
        self._lengths = [0] * batch
        angles = tables.rope_tables(max_len, config.head_dim, config.rope_theta, pairing="half")
        self._cos, self._sin = (t[0, 0, :, : config.head_dim // 2].T.copy() for t in angles)
        self._logits = np.zeros((batch, config.vocab_size), np.float32)
        runtime = milane.open() if runtime is None else runtime

        def steps(positions: int, logits: bool) -> _Steps:
            starts = range(0, config.n_layers, layers_per_kernel)
            groups = [range(s, min(s + layers_per_kernel, config.n_layers)) for s in starts]
            shapes = [
                StepShape(config, g, batch, positions, max_len, logits, classifier_rows)
                for g in groups
            ]
            return _Steps(shapes, weights, runtime, dialect, options)

        self._one = steps(1, True)
        self._many: _Steps | None = None
        try:
            if min(prefill, max_len) > 1:
                self._many = steps(min(prefill, max_len), False)
            shared = self._one.surfaces
            self._one.bind(shared)
            if self._many is not None:
                self._many.bind({n: s for n, s in shared.items() if n.startswith(("c", "m"))})
        except BaseException:
            self.close()
            raise
        self._mask = shared["mask"].array
        names = ("cache_k", "cache_v")
        self._caches = [
            [shared[f"{n}_{i:03}"].array for n in names] for i in range(config.n_layers)
        ]
        self.reset()

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many positions of each sequence the cache holds."""
        return tuple(self._lengths)

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels: those for one position, then those for many."""
        return [*self._one.kernels, *(self._many.kernels if self._many else [])]

    def reset(self, sequence: int | None = None) -> None:
        """Forget one sequence, or all of them: nothing of it is left in the cache."""
        self._check_open()
        for b in range(self.batch) if sequence is None else [sequence]:
            self._lengths[b] = self.max_len  # also of an evaluation that failed halfway
            self.truncate(0, b)

    def truncate(self, length: int, sequence: int = 0) -> None:
        """Forget what a sequence holds behind its first ``length`` positions.

        Raises:
            InvalidArgumentError: it holds fewer.
            ClosedError: the decoder is closed.
        """
        self._check_open()
        if not 0 <= length <= self._lengths[sequence]:
            raise InvalidArgumentError(
                f"truncate: expected a length in [0, {self._lengths[sequence]}], got {length}"
            )
        self._mask[sequence, ..., length:] = MASKED
        for cache in self._caches:
            for rows in cache:
                rows[sequence, :, length:] = 0  # 0 · inf, of one that overflowed, would be NaN
        self._lengths[sequence] = length

    def step(self, tokens: Sequence[int | None]) -> Floats:
        """The logits behind one more token of every sequence, ``[batch, vocab_size]``, float32.

        A sequence whose token is None rests: its row means nothing, and its cache stays. The array
        is used again by the next step.

        Raises:
            InvalidArgumentError: another number of tokens, one that the model does not have, or a
                sequence that is full.
            EvalError: the device failed.
            ClosedError: the decoder is closed.
        """
        self._append(self._one, [[] if t is None else [t] for t in tokens])
        for at, piece in self._one.logits:  # converted by the surface: NumPy takes 20 times as long
            piece.read_f32(out=self._logits[None, None, :, at : at + piece.shape[-1]])
        return self._logits

    def feed(self, tokens: Sequence[Sequence[int]]) -> Floats:
        """Append tokens to every sequence; the logits behind the last of each.

        All but the last token go through the kernel for many positions. A sequence without tokens
        rests. The array is that of :meth:`step`.

        Raises:
            InvalidArgumentError, EvalError, ClosedError: as :meth:`step`; nothing changes then.
        """
        self._check(tokens)
        if max(map(len, tokens)) <= 1:
            return self.step([given[0] if given else None for given in tokens])
        left = [list(given) for given in tokens]
        # One evaluation for many positions takes about as long as that many for one position each.
        while self._many is not None and max(map(len, left)) > 1 + self._many.positions // 8:
            size = self._many.positions
            self._append(self._many, [given[:-1][:size] for given in left])
            left = [given[len(given[:-1][:size]) :] for given in left]
        found = np.zeros_like(self._logits)
        while any(left):
            ready = self.step([given[0] if given else None for given in left])
            for b, given in enumerate(left):
                if len(given) == 1:
                    found[b] = ready[b]
            left = [given[1:] for given in left]
        np.copyto(self._logits, found)
        return self._logits

    def reload(self, weights: ModelWeights) -> None:
        """Take other weights for the same sizes, and forget all sequences.

        The surfaces stay; see :meth:`milane.Kernel.reload` for what it costs.

        Raises:
            InvalidArgumentError: a model of other sizes.
        """
        self._check_open()
        if weights.config != self.config:
            raise InvalidArgumentError(
                f"reload: expected a model of {self.config}, got one of {weights.config}"
            )
        for steps in filter(None, (self._one, self._many)):
            for shape, kernel in zip(steps.shapes, steps.kernels, strict=True):
                arrays = decoder_program.program_weights(shape, weights)
                kernel.reload(weights={n: _column(n, a) for n, a in arrays.items()})
        self._embed = weights.embed
        self.reset()

    def close(self) -> None:
        """Release the kernels; idempotent."""
        for steps in filter(None, (self._one, self._many)):
            steps.close()

    def _check_open(self) -> None:
        if self._one.closed:
            raise ClosedError("decoder: expected an open one, got a closed one")

    def _check(self, tokens: Sequence[Sequence[int]]) -> None:
        """Finds everything that could be wrong with some tokens."""
        self._check_open()
        if len(tokens) != self.batch:
            raise InvalidArgumentError(
                f"decoder: expected tokens for {self.batch} sequences, got {len(tokens)}"
            )
        for b, given in enumerate(tokens):
            if self._lengths[b] + len(given) > self.max_len:
                raise InvalidArgumentError(
                    f"decoder: expected at most {self.max_len - self._lengths[b]} more tokens in "
                    f"sequence {b} (it holds {self._lengths[b]} of {self.max_len}), "
                    f"got {len(given)}"
                )
            for token in given:
                if not 0 <= token < self.config.vocab_size:
                    raise InvalidArgumentError(
                        f"decoder: expected a token in [0, {self.config.vocab_size}), got {token}"
                    )

    def _append(self, steps: _Steps, tokens: Sequence[Sequence[int]]) -> None:
        """Evaluates at most ``steps.positions`` tokens of each sequence, and caches their rows."""
        self._check(tokens)
        if steps.positions > 1:
            steps.hidden[...] = 0  # of columns that no token has
        for b, given in enumerate(tokens):
            if given:
                first, at = b * steps.positions, self._lengths[b]
                columns, places = slice(first, first + len(given)), slice(at, at + len(given))
                steps.hidden[0, :, 0, columns] = self._embed[list(given)].T
                steps.cos[0, 0, :, columns] = self._cos[:, places]
                steps.sin[0, 0, :, columns] = self._sin[:, places]
        steps.eval()
        for b, given in enumerate(tokens):
            if given:
                self._store(steps, b, len(given))

    def _store(self, steps: _Steps, b: int, count: int) -> None:
        places = slice(self._lengths[b], self._lengths[b] + count)
        for layer, keys, values in steps.rows:
            cache_k, cache_v = self._caches[layer]
            cache_k[b, :, places] = keys[b, :, :count]
            cache_v[b, :, places] = values[b, :, :count]
        self._mask[b, 0, 0, places] = 0
        self._lengths[b] += count


class _Steps(Closing):
    """The kernels of one step, each with the layers behind those of the one before."""

    def __init__(
        self,
        shapes: list[StepShape],
        weights: ModelWeights,
        runtime: Runtime,
        dialect: Dialect,
        options: dict[str, Any],
    ) -> None:
        self.shapes = shapes
        self.positions = shapes[0].positions
        self.kernels: list[Kernel] = []
        self._requests: list[BoundRequest] = []
        try:
            for shape in shapes:
                arrays = decoder_program.program_weights(shape, weights)
                columns = {n: _column(n, a) for n, a in arrays.items()}
                made = decoder_program.program(shape, dialect=dialect)
                self.kernels.append(runtime.compile(made, weights=columns, **options))
        except BaseException:
            self.close()
            raise

    @property
    def surfaces(self) -> dict[str, Surface]:
        """The inputs' surfaces by name; of equal names that of the first kernel."""
        found: dict[str, Surface] = {}
        for kernel in self.kernels:
            for name, port in kernel.inputs.items():
                found.setdefault(name, port.surface)
        return found

    def bind(self, shared: dict[str, Surface]) -> None:
        """Fixes the surfaces: the given ones, and what a kernel leaves is the next one's input."""
        inputs = self.surfaces | shared
        for kernel in self.kernels:
            chosen = {n: inputs[n] for n in kernel.inputs}
            self._requests.append(kernel.bind(chosen))
            if "hidden_out" in kernel.outputs:
                inputs["hidden"] = kernel.outputs["hidden_out"].surface
        first = self._requests[0].inputs
        self.hidden = first["hidden"].array
        self.cos, self.sin = first["rope_cos"].array, first["rope_sin"].array
        self.rows = [
            row for s, k in zip(self.shapes, self.kernels, strict=True) for row in _rows(s, k)
        ]
        last = self.kernels[-1].outputs
        pieces = zip(
            self.shapes[-1].pieces, sorted(n for n in last if n.startswith("l")), strict=False
        )
        self.logits = [(piece.start, last[name].surface) for piece, name in pieces]

    def eval(self) -> None:
        """Runs all kernels once."""
        for request in self._requests:
            request.eval()

    @property
    def closed(self) -> bool:
        """Whether the kernels were released."""
        return not self.kernels or self.kernels[0].closed

    def close(self) -> None:
        """Releases requests and kernels; idempotent."""
        for request in self._requests:
            request.close()
        for kernel in self.kernels:
            kernel.close()


def _rows(shape: StepShape, kernel: Kernel) -> list[tuple[int, npt.NDArray[Any], npt.NDArray[Any]]]:
    """Each layer with views of its new keys and values."""
    rows, heads = kernel.outputs["new_rows"].array, shape.config.n_kv_heads
    half = len(shape.layers) * heads
    return [
        (
            layer,
            rows[:, n * heads : (n + 1) * heads],
            rows[:, half + n * heads : half + (n + 1) * heads],
        )
        for n, layer in enumerate(shape.layers)
    ]


def _column(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array in the shape of a 1x1 convolution's weight, or of a norm's."""
    if name == "causal":
        return array[None, None]
    return array[None, :, None, None] if array.ndim == 1 else array[:, :, None, None]
