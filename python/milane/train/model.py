"""A model being trained: forward and backward through the kernels, weight gradients on the CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from milane.closing import Closing
from milane.errors import InvalidArgumentError
from milane.runtime import Runtime
from milane.surface import Surface
from milane.train import ops
from milane.train.kernels import LayerKernels, LayerSurfaces, layer_surfaces
from milane.train.weights import Floats, LayerActs, LayerArrays, ModelWeights

Route = Literal["dynamic", "static"]

# What can be computed behind each of a layer's backward kernels: (weight, gradient of its product,
# what it multiplied).
_AFTER: tuple[tuple[tuple[str, str, str], ...], ...] = (
    (("w1", "dh1", "norm_ffn"), ("w3", "dh3", "norm_ffn")),
    (("rms_ffn", "dnorm_ffn", "mid"), ("wo", "dmid", "attn")),
    (),
    (("wq", "dq", "norm_att"), ("wk", "dk", "norm_att"), ("wv", "dv", "norm_att")),
    (("rms_att", "dnorm_att", "inp"),),
)


@dataclass
class StepTimes:
    """Where a step's time went, in seconds.

    Attributes:
        forward: evaluating the blocks' forward kernels.
        classifier: embedding, last norm, classifier and loss, forward and backward.
        backward: evaluating the blocks' backward kernels.
        gradients: products for weight gradients; they overlap with ``backward``.
        optimizer: clipping, Adam, and writing the weights into the surfaces.
    """

    forward: float = 0.0
    classifier: float = 0.0
    backward: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time of the block to a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - start)


class Model(Closing):
    """Weights, the kernels of their blocks, and gradients.

    The residual stream and the blocks run on the backend in fp16; the embedding, the last norm, the
    classifier and everything that sums over positions run on the CPU in fp32.
    """

    def __init__(
        self,
        runtime: Runtime,
        weights: ModelWeights,
        positions: int | None = None,
        *,
        route: Route = "dynamic",
    ) -> None:
        """Compile the kernels and upload the weights.

        ``positions`` is the length of training sequences, ``seq_len`` by default. ``route`` is
        ``"dynamic"``, weights as inputs of kernels that are compiled once for all layers, or
        ``"static"``, weights baked into kernels of every layer, reloaded when they change.

        Raises:
            InvalidArgumentError: more positions than the model has, or an unknown route.
            CompileError, CompileBudgetExhaustedError: as :meth:`Runtime.compile`.
        """
        config = weights.config
        self.positions = config.seq_len if positions is None else positions
        if not 1 <= self.positions <= config.seq_len:
            raise InvalidArgumentError(
                f"Model: expected positions in [1, {config.seq_len}], got {self.positions}"
            )
        self.weights = weights
        self.config = config
        self.times = StepTimes()
        self._route = route
        self._kernels = self._compiled(runtime, weights)
        self._layers = layer_surfaces(self._kernels, weights)
        # One worker: gradients add up in one order, whatever the timing.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="milane-gradients")
        if route == "dynamic":
            self.upload()

    def _compiled(self, runtime: Runtime, weights: ModelWeights) -> list[LayerKernels]:
        """The kernels of each layer; on the dynamic route the same for all."""
        config, positions = weights.config, self.positions
        if self._route == "dynamic":
            return [LayerKernels.compile(runtime, config, positions)] * config.n_layers
        if self._route != "static":
            raise InvalidArgumentError(
                f'Model: expected route "dynamic" or "static", got {self._route!r}'
            )
        with ExitStack() as opened:  # closes those that are made when one cannot be
            made = [
                opened.enter_context(LayerKernels.compile(runtime, config, positions, arrays))
                for arrays in weights.layers
            ]
            opened.pop_all()
        return made

    def upload(self) -> None:
        """Give the weights, rounded to fp16, to the kernels.

        Raises:
            CompileBudgetExhaustedError: on the static route, as :meth:`LayerKernels.reload`.
        """
        for kernels, surfaces in zip(self._kernels, self._layers, strict=True):
            if self._route == "static":
                kernels.reload(surfaces.weights)
                continue
            for name, array in surfaces.weights.named():
                surfaces[name].write(array.reshape(surfaces[name].shape))

    def loss(self, tokens: npt.ArrayLike, targets: npt.ArrayLike) -> float:
        """The mean loss of one sequence, without gradients.

        Shapes: tokens and targets ``[positions]``; a negative target does not count.

        Raises:
            InvalidArgumentError: another length, or a token beyond the vocabulary.
        """
        return ops.cross_entropy_loss(self.logits(tokens), targets)[0]

    def logits(self, tokens: npt.ArrayLike) -> Floats:
        """The logits of every position, float32 ``[vocab_size, positions]``.

        Raises:
            InvalidArgumentError: another length, or a token beyond the vocabulary.
        """
        hidden = self._forward(tokens)
        normed = ops.rmsnorm(hidden, self.weights.rms_final, eps=self.config.norm_eps)
        return ops.product(self.weights.output_table, normed)

    def activations(self, layer: int) -> LayerActs:
        """What the last forward pass left in a layer's surfaces, as float32 of its own.

        Raises:
            IndexError: there is no such layer.
        """
        s = self._layers[layer]
        inp, mid, out = (_matrix(s[name]) for name in ("inp", "mid", "out"))
        return LayerActs(
            layer_in=inp,
            xnorm=_matrix(s["norm_att"]),
            q=_matrix(s["q"]),
            k=_matrix(s["k"]),
            v=_matrix(s["v"]),
            attn_out=_matrix(s["attn"]),
            o_out=mid - inp,  # the kernels add the residual themselves
            x2=mid,
            x2norm=_matrix(s["norm_ffn"]),
            h1=_matrix(s["h1"]),
            h3=_matrix(s["h3"]),
            silu_out=_matrix(s["gate"]),
            ffn_out=out - mid,
        )

    def accumulate(
        self,
        tokens: npt.ArrayLike,
        targets: npt.ArrayLike,
        grads: ModelWeights,
        scale: float = 1.0,
    ) -> float:
        """The mean loss of one sequence; ``scale`` times its gradients are added to ``grads``.

        Shapes: tokens and targets ``[positions]``; a negative target does not count.

        Raises:
            InvalidArgumentError: another length, or a token beyond the vocabulary.
        """
        tokens = self._checked(tokens)
        hidden = self._forward(tokens)
        loss, dhidden = self._head(hidden, targets, grads, scale)
        dx = self._backward(dhidden, grads)
        with self.times.measure("classifier"):
            ops.embed_backward(grads.embed, dx, tokens)
        return loss

    def _checked(self, tokens: npt.ArrayLike) -> npt.NDArray[np.int32]:
        given = np.asarray(tokens)
        if given.shape != (self.positions,):
            raise InvalidArgumentError(
                f"Model: expected {self.positions} tokens, got shape {list(given.shape)}"
            )
        return given

    def _forward(self, tokens: npt.ArrayLike) -> Floats:
        """The residual stream behind the last block, ``[dim, positions]``."""
        with self.times.measure("classifier"):
            self._layers[0]["inp"].write(
                ops.embed_lookup(self.weights.embed, self._checked(tokens))
            )
        with self.times.measure("forward"):
            for layer in self._layers:
                for request in layer.forward:
                    request.eval()
        return _matrix(self._layers[-1]["out"])

    def _head(
        self, hidden: Floats, targets: npt.ArrayLike, grads: ModelWeights, scale: float
    ) -> tuple[float, Floats]:
        """The loss, and the gradient of the residual stream; last norm and classifier included."""
        weights, eps = self.weights, self.config.norm_eps
        with self.times.measure("classifier"):
            normed = ops.rmsnorm(hidden, weights.rms_final, eps=eps)
            logits = ops.product(weights.output_table, normed)
            loss, dlogits = ops.cross_entropy_loss(logits, targets, dlogits=logits, scale=scale)
            ops.product(dlogits, normed.T, out=grads.output_table, add=True)
            dnormed = ops.product(weights.output_table.T, dlogits)
            dhidden, _ = ops.rmsnorm_backward(
                dnormed, hidden, weights.rms_final, eps=eps, dx=dnormed, dw=grads.rms_final
            )
        return loss, dhidden

    def _backward(self, dhidden: Floats, grads: ModelWeights) -> Floats:
        """The gradient of the embeddings; the blocks' weight gradients on the way.

        A layer's kernels write one of two sets of gradient surfaces, while the worker still reads
        the other. Before a layer begins, the worker must be done with the set it will write: with
        all of the layer two before, and with what the layer before had as ``dout``.
        """
        with self.times.measure("backward"):
            self._layers[-1]["dout"].write(dhidden)
        submit = self._worker.submit
        done_with_set: Future[None] | None = None
        running: list[Future[None]] = []
        for number in reversed(range(len(self._layers))):
            layer, into = self._layers[number], grads.layers[number]
            with self.times.measure("gradients"):
                if done_with_set is not None:
                    done_with_set.result()
            done_with_set = submit(self._product, into, "w2", layer, "dout", "gate")
            running.append(done_with_set)
            for request, tasks in zip(layer.backward, _AFTER, strict=True):
                with self.times.measure("backward"):
                    request.eval()
                for name, dy, x in tasks:
                    task = self._norm if name.startswith("rms") else self._product
                    running.append(submit(task, into, name, layer, dy, x))
        with self.times.measure("gradients"):
            for future in running:
                future.result()
        return _matrix(self._layers[0]["dinp"])

    def _product(self, into: LayerArrays, name: str, layer: LayerSurfaces, dy: str, x: str) -> None:
        """Adds ``dy @ x.T`` to a weight's gradient, straight from the surfaces."""
        ops.product(_view(layer[dy]), _view(layer[x]).T, out=getattr(into, name), add=True)

    def _norm(self, into: LayerArrays, name: str, layer: LayerSurfaces, dy: str, x: str) -> None:
        """Adds to the gradient of a norm's scale."""
        dnorm, scale = _matrix(layer[dy]), getattr(layer.weights, name)
        eps = self.config.norm_eps
        ops.rmsnorm_backward(
            dnorm, _matrix(layer[x]), scale, eps=eps, dx=dnorm, dw=getattr(into, name)
        )

    def close(self) -> None:
        """Close kernels and surfaces; idempotent."""
        self._worker.shutdown(wait=True)
        for layer in self._layers:
            layer.close()
        for kernels in self._kernels:
            kernels.close()


def _matrix(surface: Surface) -> Floats:
    """A surface's channels by position, as float32 of its own."""
    values = surface.read_f32()
    return values.reshape(-1, values.shape[-1])


def _view(surface: Surface) -> ops.Matrix:
    """The same without a copy, as the surface holds them."""
    array: ops.Matrix = surface.array
    return array.reshape(-1, array.shape[-1]) if array.shape[1] == 1 else array[0, :, 0, :]
