"""What a compile takes."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from ._core import mil as _mil
from .errors import InvalidArgumentError
from .mil.program import DEFAULT_WEIGHT_PATH, MILProgram

Numerics = Literal["fp16", "fp32", "ane", "bf16"]
Source = str | bytes | os.PathLike[str] | _mil.Program | MILProgram


class QoS(IntEnum):
    """Qualities of service, as the device's framework numbers them (ane_facts B.6).

    ``CompileOptions.qos`` takes any of them but ``REAL_TIME``, whose 0 means the default there:
    real-time evaluations are those inside of :meth:`Runtime.realtime`.
    """

    REAL_TIME = 0
    BACKGROUND = 9
    UTILITY = 17
    DEFAULT = 21  # what nearly every project passes
    USER_INITIATED = 25
    USER_INTERACTIVE = 33


class ModelType(Enum):
    """What a program comes as."""

    MIL = "mil"
    PACKAGE = "package"


@dataclass(frozen=True)
class WeightFile:
    """One weight file: its path in the program (``@model_path/…``) and its content or location."""

    path: str
    data: bytes | os.PathLike[str]


@dataclass(frozen=True)
class CompileOptions:
    """Everything :meth:`Runtime.compile` takes; each field is also a keyword of it.

    Attributes:
        model_type: MIL text, or a ``.mlmodelc`` package.
        mil_text: the program's text, when it is not given as ``source``.
        weight_blob: content of the file at ``weight_path``.
        weight_path: where the program looks for ``weight_blob``.
        weight_files: more weight files: bytes or paths by ``@model_path/…``.
        weights: arrays for the program's stored constants, by their names; Milane writes the files.
            A :class:`milane.mil.MILProgram` may know some or all of them itself.
        package_path: a ``.mlmodelc`` directory.
        model_key: the key of a package on the device.
        route: how the device gets a program: ``"memory"`` as data, ``"client"`` as a folder of
            files, which shared events need. Packages have a route of their own.
        use_cache: whether to load what was compiled before, which then counts as no compile: the
            device from what its system keeps, the host from :mod:`milane.cache`. Without it, the
            host leaves nothing there either.
        surface_style: how IOSurfaces are declared: ``"flat"`` as one row of bytes, ``"shaped"`` as
            rows of elements. The bytes are the same.
        qos: quality of service on the device (:class:`QoS`); 0 means its default, 21.
        perf_stats_mask: which counters the device is asked for.
        function: the function to compile; default ``main``, or the only one.
        numerics: ``"fp16"`` rounds every half result; ``"fp32"`` keeps half tensors as float32, to
            locate drift; ``"ane"`` adds the published quirks of the device; ``"bf16"`` rounds the
            operands of products with constant weights to bf16, for speed, where
            :func:`milane.cpu_has_bf16` (all but the first: host backend).
        quirks: the rules ``numerics="ane"`` applies, by name (:func:`milane.quirk_rules`);
            default: all that are reported for every chip.
        shapes: shapes of flexible inputs by name; default: the program's own defaults.
        fuse: whether the host runs elementwise chains in one pass; the results are the same.
    """

    model_type: ModelType = ModelType.MIL
    mil_text: str | bytes | None = None
    weight_blob: bytes | None = None
    weight_path: str = DEFAULT_WEIGHT_PATH
    weight_files: Mapping[str, bytes | os.PathLike[str]] | Sequence[WeightFile] = field(
        default_factory=dict
    )
    weights: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    package_path: str | os.PathLike[str] | None = None
    model_key: str = "s"
    route: Literal["memory", "client"] = "memory"
    use_cache: bool = True
    surface_style: Literal["flat", "shaped"] = "flat"
    qos: int = 0
    perf_stats_mask: int = 0
    function: str | None = None
    numerics: Numerics = "fp16"
    quirks: Collection[str] | None = None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    fuse: bool = True

    def native(self, package: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """What the native library takes; ``package`` is the folder of a package, or empty."""
        return {
            "function": self.function or "",
            "numerics": self.numerics,
            "quirks": None if self.quirks is None else list(self.quirks),
            "shapes": {name: list(shape) for name, shape in {**self.shapes, **shapes}.items()},
            "fuse": self.fuse,
            "route": "package" if package else self.route,
            "package": package,
            "model_key": self.model_key,
            "qos": int(self.qos or QoS.DEFAULT),
            "perf_stats_mask": self.perf_stats_mask,
            "use_cache": self.use_cache,
            "surface_style": self.surface_style,
        }


def merge(
    source: Source | CompileOptions | None, options: dict[str, Any]
) -> tuple[CompileOptions, Source]:
    """The options, and the program's source, from whichever argument holds them.

    Raises:
        InvalidArgumentError: an unknown option, or no program at all.
    """
    known = {f.name for f in fields(CompileOptions)}
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InvalidArgumentError(
            f"compile: expected options among {', '.join(sorted(known))}, got {', '.join(unknown)}"
        )
    base = source if isinstance(source, CompileOptions) else CompileOptions()
    chosen = replace(base, **options)
    if isinstance(source, CompileOptions) or source is None:
        found = chosen.package_path if chosen.mil_text is None else chosen.mil_text
        if found is None:
            raise InvalidArgumentError("compile: expected a program, got neither text nor a path")
        return chosen, found
    return chosen, source


def weight_files(
    blob: bytes | None,
    path: str,
    given: Mapping[str, bytes | os.PathLike[str]] | Sequence[WeightFile],
) -> dict[str, bytes | str]:
    """Weight files by path: bytes as they are, locations as strings; ``blob`` is that at ``path``.

    Raises:
        InvalidArgumentError: a path given twice, or one outside the model's folder.
    """
    files: dict[str, bytes | str] = {}

    def add(name: str, content: bytes | os.PathLike[str] | str) -> None:
        _check_weight_path(name)
        value = (
            bytes(content)
            if isinstance(content, bytes | bytearray | memoryview)
            else os.fspath(Path(content))
        )
        if name in files and files[name] != value:
            raise InvalidArgumentError(f"weight_files: expected {name} once, got it twice")
        files[name] = value

    if blob is not None:
        add(path, blob)
    pairs = given.items() if isinstance(given, Mapping) else [(w.path, w.data) for w in given]
    for name, content in pairs:
        add(name, content)
    return files


def _check_weight_path(path: str) -> None:
    # Some handwritten programs leave `@model_path/` out: any relative path is a name here.
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise InvalidArgumentError(
            f"weight_files: expected a path like {DEFAULT_WEIGHT_PATH}, got {path}"
        )
