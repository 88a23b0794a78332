"""What `milane run` and `milane profile` have in common: a model, and values for its ports."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import milane
from milane.cli.arrays import read_for
from milane.cli.output import CliError, shape_text, whole_number
from milane.cli.weights import blob_references
from milane.options import Numerics

_MODEL_PATH = "@model_path/"


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds MODEL and what compiles it and fills its ports."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="a .mil file or a .mlmodelc")
    parser.add_argument("--input", **_pairs("NAME=FILE", "an input's values"))
    parser.add_argument("--state", **_pairs("NAME=FILE", "a state's first values (else zero)"))
    parser.add_argument(
        "--weights", **_pairs("PATH=FILE", "a weight file, by its path in the text")
    )
    parser.add_argument("--shape", **_pairs("NAME=1,3,224,224", "the shape of a flexible input"))
    parser.add_argument(
        "--function", metavar="NAME", help="which function (default: main, or the only one)"
    )
    parser.add_argument(
        "--numerics",
        choices=("fp16", "fp32", "ane", "bf16"),
        default="fp16",
        help="IEEE half (default), no half at all, half with the quirks of the device, or half "
        "with faster products of bf16",
    )


@dataclass(frozen=True)
class ModelCall:
    """A model, how it is compiled, and the files its ports are filled from."""

    model: Path
    function: str | None
    numerics: Numerics
    inputs: Mapping[str, str]
    states: Mapping[str, str]
    weights: Mapping[str, Path]
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, args: argparse.Namespace) -> ModelCall:
        """What the options say; a name given twice, or a file that is not there, is a CliError."""
        return cls(
            model=args.model,
            function=args.function,
            numerics=args.numerics,
            inputs=_by_name("--input", args.input),
            states=_by_name("--state", args.state),
            weights=_weight_files(args.weights, args.model),
            shapes=_shapes(args.shape),
        )

    def compile(self, runtime: milane.Runtime) -> milane.Kernel:
        """The kernel."""
        return runtime.compile(
            self.model,
            function=self.function,
            weight_files=self.weights,
            numerics=self.numerics,
            shapes=self.shapes,
        )

    def bind(self, kernel: milane.Kernel, *, fill: bool = False) -> None:
        """Fills the ports from their files; with `fill`, inputs without one with random numbers."""
        _bind("input", kernel.inputs, self.inputs, kernel._flexible, optional=fill)
        _bind("state", kernel.states, self.states, optional=True)
        if fill:
            random = np.random.default_rng(0)
            for name, port in kernel.inputs.items():
                if name not in self.inputs:
                    low, high = (0, 2) if port.dtype.kind in "iub" else (-1, 1)
                    port.array[...] = random.uniform(low, high, port.shape).astype(port.dtype)


def _pairs(metavar: str, text: str) -> dict[str, Any]:
    def pair(given: str) -> tuple[str, str]:
        name, equals, value = given.partition("=")
        if not (name and equals and value):
            raise argparse.ArgumentTypeError(f"expected {metavar}, got {given!r}")
        return name, value

    return {"action": "append", "default": [], "type": pair, "metavar": metavar, "help": text}


def count(text: str) -> int:
    """How often, for argparse: 1 or more."""
    return whole_number(text, 1)


def _by_name(option: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, value in pairs:
        if name in named:
            raise CliError(f"{option}: {name} is given twice")
        named[name] = value
    return named


def _shapes(pairs: list[tuple[str, str]]) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for name, text in _by_name("--shape", pairs).items():
        try:
            shapes[name] = tuple(int(d) for d in text.split(","))
        except ValueError:
            raise CliError(f"--shape: expected {name}=1,3,224,224, got {name}={text}") from None
    return shapes


def _weight_files(pairs: list[tuple[str, str]], model: Path) -> dict[str, Path]:
    """Weight files by their path in the text; "@model_path/" may be left out."""
    named = _by_name("--weights", pairs)
    if not named:
        return {}
    known = {r.path for r in blob_references(milane.mil.load(model).source)}
    files = {}
    for name, text in named.items():
        path = name if name in known else _MODEL_PATH + name
        if path not in known:
            wanted = ", ".join(sorted(known)) or "no weight file at all"
            raise CliError(f"--weights: expected a path of the program, {wanted}, got {name}")
        file = Path(text)
        if not file.is_file():
            raise CliError(f"--weights: {file}: expected a file, got none")
        files[path] = file
    return files


def _port_lines(ports: Mapping[str, milane.Port]) -> str:
    lines = (f"  {p.name}  {shape_text(p.shape)}  {p.dtype}" for p in ports.values())
    return "\n".join(lines)


def _bind(
    kind: str,
    ports: Mapping[str, milane.Port],
    files: Mapping[str, str],
    flexible: Collection[str] = (),
    *,
    optional: bool,
) -> None:
    """Reads each named file into its port; every fault is found before anything is evaluated."""
    unknown = [name for name in files if name not in ports]
    missing = [] if optional else [name for name in ports if name not in files]
    if unknown or missing:
        faults = [f"unknown: {', '.join(unknown)}"] if unknown else []
        faults += [f"missing: {', '.join(missing)}"] if missing else []
        hint = f"give each as --{kind} NAME=FILE:\n{_port_lines(ports)}"
        raise CliError(
            f"{kind}s: {'; '.join(faults)}", hint if ports else f"the program has no {kind}s"
        )
    for name, file in files.items():
        port = ports[name]
        port.array[...] = read_for(file, name, port.shape, port.dtype, flexible=name in flexible)
