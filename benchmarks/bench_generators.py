"""How fast is the text of all programs of a 12-layer transformer made, forward and backward?

Peer: coremltools' builder and serialisation of the same operations, argument by argument, once per
program. Weights are inputs of the peer's programs, so that it has no data to look at or write:
milane's text names files and offsets only. Every program is made anew for every layer, as a trainer
that compiles one kernel per layer does.

A second pair makes the programs of one layer with their weight files, from fp16 arrays to files on
disk: there, weights are the peer's constants, as its users give them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import coremltools
import numpy as np
from common import alternate, markdown, parser, report, time_text
from coremltools.converters.mil import Builder
from coremltools.converters.mil.backend.mil.load import load
from coremltools.converters.mil.mil import types

from milane import mil

DIM, HIDDEN, HEADS, SEQ, VOCAB, LAYERS = 768, 2048, 12, 256, 32000, 12

# An operation: its type, its results' names, and its arguments: values' names, or constants.
Step = tuple[str, list[str], dict[str, Any]]


def layer() -> list[mil.MILProgram]:
    """The kernels of one layer, in the order a training step runs them."""
    return [
        mil.gen_sdpa_fwd_taps(DIM, HEADS, SEQ),
        mil.gen_ffn_fwd_taps(DIM, HIDDEN, SEQ),
        mil.gen_ffn_backward(DIM, HIDDEN, SEQ),
        mil.gen_rmsnorm_backward(DIM, SEQ),
        mil.gen_sdpa_backward1(DIM, HEADS, SEQ),
        mil.gen_sdpa_backward2(DIM, HEADS, SEQ),
        mil.gen_qkv_backward(DIM, HEADS, SEQ),
        mil.gen_rmsnorm_backward(DIM, SEQ),
    ]


def head() -> list[mil.MILProgram]:
    """The kernels behind the last layer."""
    return [
        mil.gen_final_rmsnorm(DIM, SEQ),
        mil.gen_classifier_forward(DIM, VOCAB, SEQ),
        mil.gen_softmax_vocab(VOCAB, SEQ),
        mil.gen_classifier_backward(DIM, VOCAB, SEQ),
        mil.gen_rmsnorm_backward(DIM, SEQ),
    ]


def texts() -> list[str]:
    """Every program of the model as text."""
    programs = [program for _ in range(LAYERS) for program in layer()] + head()
    return [str(program) for program in programs]


def random_weights(program: mil.MILProgram) -> dict[str, np.ndarray[Any, Any]]:
    """An fp16 array for each weight of a program."""
    rng = np.random.default_rng(0)
    return {w.name: rng.normal(size=w.shape).astype(np.float16) for w in program.weights}


def with_files(weights: list[dict[str, np.ndarray[Any, Any]]], folder: Path) -> list[str]:
    """The programs of a layer as text, and their weight files under a folder."""
    made = []
    for i, (program, arrays) in enumerate(zip(layer(), weights, strict=True)):
        for path, content in program.weight_files(arrays).items():
            file = folder / str(i) / path.removeprefix("@model_path/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        made.append(str(program))
    return made


class Replay:
    """A program as calls of coremltools' builder."""

    def __init__(
        self, program: mil.MILProgram, weights: Mapping[str, np.ndarray[Any, Any]] | None = None
    ) -> None:
        function = program.function
        inputs = {name: type.shape for name, type in program.inputs.items()}
        if weights is None:
            inputs |= {weight.name: weight.shape for weight in program.weights}
        self.weights = weights or {}
        self.specs = [Builder.TensorSpec(shape=s, dtype=types.fp16) for s in inputs.values()]
        self.inputs = list(inputs)
        self.outputs = function.outputs
        self.steps: list[Step] = []
        constants: dict[str, Any] = {}
        for op in function.operations:
            (name, *_) = names = [result.name for result in op.outputs]
            if op.type != "const":
                args = {key: _argument(key, items, constants) for key, items in op.inputs.items()}
                self.steps.append((op.type, names, args))
            elif op.value is not None and not op.value.is_blob:
                constants[name] = op.value.to_numpy()

    def build(self) -> Any:
        """coremltools' program."""
        return _built(self)

    def serialised(self, folder: str) -> bytes:
        """What coremltools writes into a model file."""
        program = load(self.build(), weights_dir=folder, specification_version=9)
        data: bytes = program.SerializeToString()
        return data


class _Name(str):
    """The name of a value."""

    __slots__ = ()


def _argument(key: str, items: Iterable[Any], constants: dict[str, Any]) -> Any:
    found = [constants[item] if item in constants else _Name(item) for item in items]
    return found if key == "values" else found[0]


def _built(replay: Replay) -> Any:
    def body(*given: Any) -> Any:
        values = {**replay.weights, **dict(zip(replay.inputs, given, strict=True))}

        def resolve(argument: Any) -> Any:
            if isinstance(argument, list):
                return [resolve(item) for item in argument]
            return values[argument] if isinstance(argument, _Name) else argument

        for kind, names, args in replay.steps:
            given_args = {key: resolve(argument) for key, argument in args.items()}
            values[names[0]] = getattr(Builder, kind)(name=names[0], **given_args)
        results = tuple(values[name] for name in replay.outputs)
        return results if len(results) > 1 else results[0]

    # The builder reads the parameters' names from the function.
    parameters = ", ".join(replay.inputs)
    named = eval(f"lambda {parameters}: body({parameters})", {"body": body})
    program: Callable[..., Any] = Builder.program(
        input_specs=replay.specs, opset_version=coremltools.target.iOS18
    )
    return program(named)


def same_operations(replay: Replay) -> bool:
    """Whether the peer's program has the operations that ours has."""
    block = replay.build().functions["main"]
    theirs = [op.op_type for op in block.operations if op.op_type != "const"]
    return theirs == [kind for kind, *_ in replay.steps]


def main() -> None:
    """Measures and prints."""
    args = parser(__doc__ or "").parse_args()
    one, last = [Replay(p) for p in layer()], [Replay(p) for p in head()]
    replays = one * LAYERS + last
    different = [i for i, replay in enumerate(one + last) if not same_operations(replay)]
    if different:
        raise SystemExit(f"error: expected the same operations in programs {different}")
    weights = [random_weights(program) for program in layer()]
    full = [Replay(p, w) for p, w in zip(layer(), weights, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        variants: dict[str, Callable[[], object]] = {
            "milane, all programs to text": texts,
            "coremltools, builder": lambda: [r.build() for r in replays],
            "coremltools, builder and serialisation": lambda: [
                r.serialised(folder) for r in replays
            ],
        }
        pair: dict[str, Callable[[], object]] = {
            "milane, one layer and its weight files": lambda: with_files(weights, Path(folder)),
            "coremltools, one layer and its weight files": lambda: [
                r.serialised(folder) for r in full
            ],
        }
        files = alternate(pair, args.rounds)
        results = alternate(variants, args.rounds)
    made = texts()
    count = sum(len(replay.steps) for replay in replays)
    rows = [
        [
            name,
            *(time_text(t) for t in (s.median, s.min, s.max)),
            time_text(s.median / programs),
            f"{s.median / next(iter(group.values())).median:.1f}",
        ]
        for group, programs in ((results, len(replays)), (files, len(full)))
        for name, s in group.items()
    ]
    columns = ["variant", "median", "min", "max", "per program", "time / milane"]
    print(
        f"{LAYERS} layers, dim {DIM}, hidden {HIDDEN}, heads {HEADS}, seq {SEQ}: {len(made)} "
        f"programs of {count} operations besides constants, {sum(map(len, made)) / 1e6:.2f} MB of "
        f"text; numpy {np.__version__}, coremltools {coremltools.__version__}\n"
    )
    report(
        "Making the text of every program of a model",
        {**results, **files},
        markdown(columns, rows),
        args.json,
        programs=len(made),
        operations=count,
    )


if __name__ == "__main__":
    main()
