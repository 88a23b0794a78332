"""The way from the last activations to the vocabulary, and back."""

from __future__ import annotations

from milane.graph import ops
from milane.graph.graph import Dialect
from milane.mil._parts import begin, conv1x1
from milane.mil.program import MILProgram


def gen_classifier_forward(
    dim: int, vocab: int, seq: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of the logits: one convolution with the embedding for its weight.

    Formula: ``out[:, s] = embed @ x[:, s]``.

    Inputs: x fp16 ``[1, dim, 1, seq]``.
    Output: out fp16 ``[1, vocab, 1, seq]``.
    Weights: ``embed`` fp16 ``[vocab, dim, 1, 1]`` in ``weights/embed.bin``.
    Device: no axis may be longer than 65 536: split a larger vocabulary over several programs, 16
        of 9 496 for 151 936 words (ane_facts D 53). A logit of 32 768 or more becomes infinite (D
        66).

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenClassifierForward of tmc/apple x/ane/mil; gen_classifier_fwd of maderix/ANE.
    """
    graph = begin("gen_classifier_forward", dialect, dim=dim, vocab=vocab, seq=seq)
    x = graph.input("x", (1, dim, 1, seq))
    return graph._finished({"out": conv1x1(x, graph.weight("embed", (vocab, dim, 1, 1)), "out")})


def gen_classifier_backward(
    dim: int, vocab: int, seq: int, *, dialect: Dialect = "ios18"
) -> MILProgram:
    """The program of the logits' gradient with respect to the last activations.

    Formula: ``out[:, s] = embed_t @ x[:, s]``: x holds dlogits, out dx.

    Inputs: x fp16 ``[1, vocab, 1, seq]``.
    Output: out fp16 ``[1, dim, 1, seq]``.
    Weights: ``embed_t`` fp16 ``[1, dim, vocab]``, the embedding transposed, in
        ``weights/embed_t.bin`` (``build_transposed_weight_blob``).
    Device: a matmul, since the compiler refuses a convolution of 32 000 input channels (ane_facts D
        49). Chips before M4 take matrices of up to 16 384 only (D 52): there, add the products of
        parts of the vocabulary.

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenClassifierBackward of tmc/apple x/ane/mil; gen_classifier_bwd of maderix/ANE.
    """
    graph = begin("gen_classifier_backward", dialect, dim=dim, vocab=vocab, seq=seq)
    x = graph.input("x", (1, vocab, 1, seq))
    matrix = ops.reshape(x, [1, vocab, seq], name="dlogits")
    product = ops.matmul(graph.weight("embed_t", (1, dim, vocab)), matrix, name="dx")
    return graph._finished({"out": ops.reshape(product, [1, dim, 1, seq], name="out")})


def gen_softmax_vocab(vocab: int, seq: int, *, dialect: Dialect = "ios18") -> MILProgram:
    """The program of the probabilities: a softmax over the channels.

    Formula: ``out[v, s] = exp(x[v, s]) / sum over v of exp(x[v, s])``.

    Inputs: x fp16 ``[1, vocab, 1, seq]``.
    Output: out fp16 ``[1, vocab, 1, seq]``.
    Device: the largest logit is subtracted first, so that nothing overflows (ane_facts D 67);
        probabilities below 2^-24 are 0. No axis may be longer than 65 536 (D 53).

    Raises:
        InvalidArgumentError: a size below 1, or an unknown dialect.

    Source: GenSoftmaxVocab of tmc/apple x/ane/mil; gen_softmax_vocab of maderix/ANE.
    """
    graph = begin("gen_softmax_vocab", dialect, vocab=vocab, seq=seq)
    x = graph.input("x", (1, vocab, 1, seq))
    return graph._finished({"out": ops.softmax(x, axis=1, name="out")})
