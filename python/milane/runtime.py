"""Opening a backend and compiling programs for it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from . import _core
from ._core import DeviceInfo
from ._core import mil as _mil
from .errors import ClosedError, InvalidArgumentError
from .kernel import Kernel, Shapes

DEFAULT_WEIGHT_PATH = "@model_path/weights/weight.bin"
# Plans kept per flexible kernel; the least recently used is dropped.
SHAPES_KEPT = 32

Numerics = Literal["fp16", "fp32", "ane"]
Source = str | bytes | os.PathLike[str] | _mil.Program


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
        package_path: a ``.mlmodelc`` directory.
        model_key: the key of a package on the device.
        qos: quality of service on the device; 0 means its default, 21.
        perf_stats_mask: which counters the device is asked for.
        function: the function to compile; default ``main``, or the only one.
        numerics: ``"fp16"`` rounds every half result; ``"fp32"`` keeps half tensors as float32, to
            locate drift; ``"ane"`` adds the published quirks of the device (host backend).
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
    package_path: str | os.PathLike[str] | None = None
    model_key: str = "s"
    qos: int = 0
    perf_stats_mask: int = 0
    function: str | None = None
    numerics: Numerics = "fp16"
    quirks: Collection[str] | None = None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    fuse: bool = True


@dataclass(frozen=True)
class QuirkRule:
    """A published numeric quirk of the device that ``numerics="ane"`` imitates."""

    name: str
    effect: str
    scope: str
    source: str
    confidence: str


def quirk_rules() -> list[QuirkRule]:
    """Return the rules that ``numerics="ane"`` knows, each with its source."""
    return [QuirkRule(*row) for row in _core.quirk_rules()]


def probe() -> DeviceInfo:
    """Return what this machine is; ``has_ane`` is False where there is no engine. Never raises."""
    return _core.probe()


def open(backend: Literal["auto", "ane", "host"] = "auto") -> Runtime:
    """Return a runtime on the Neural Engine, or on the CPU.

    ``"auto"`` takes the engine where it answers, else the host engine; the environment variable
    ``MILANE_BACKEND`` overrides it. Once open, a runtime never falls back to another backend.

    Raises:
        NoANEError: ``"ane"`` where there is none.
        InvalidArgumentError: an unknown name.
    """
    name = os.environ.get("MILANE_BACKEND", backend) if backend == "auto" else backend
    return Runtime(_core.open_backend(name))


class Runtime:
    """An open backend: compiles programs into kernels. A context manager; any thread may use it."""

    def __init__(self, native: _core.Backend) -> None:
        self._native = native
        self._lock = threading.Lock()
        self._compiles = 0
        self._closed = False

    @property
    def backend(self) -> str:
        """``"ane"`` or ``"host"``."""
        return self._native.name

    @property
    def info(self) -> DeviceInfo:
        """What the backend runs on."""
        return self._native.info

    @property
    def status(self) -> str:
        """One line: which backend runs, and why."""
        return f"{self._native.name} ({self._native.status}): {self._native.why}"

    @property
    def compile_count(self) -> int:
        """Programs compiled so far by this runtime; each new shape of a flexible kernel counts."""
        return self._compiles

    def reset_compile_count(self) -> None:
        """Set :attr:`compile_count` to 0."""
        with self._lock:
            self._compiles = 0

    def compile(self, source: Source | CompileOptions | None = None, **options: Any) -> Kernel:
        """Return a kernel for one function of a program.

        ``source`` is MIL text, a path to a ``.mil`` file (its folder is ``@model_path``), a path to
        a ``.mlmodelc`` directory, a :class:`milane.mil.Program`, or a :class:`CompileOptions`.
        A string is text when it contains ``program`` followed by a parenthesis, else a path. The
        keywords are the fields of :class:`CompileOptions`.

        Raises:
            MILSyntaxError, MILVerifyError: the text is not a well-formed program.
            UnsupportedOpError: the backend lacks an operation; line and column are given.
            ModelFileError: a file is missing, or lies outside the model's folder.
            BlobError: a weight file does not hold what the program says.
            InvalidArgumentError: an unknown function, shape, path or option.
            ClosedError: the runtime is closed.
        """
        self._check_open()
        chosen, source = _merge(source, options)
        program, folder = _load(source, chosen)
        program.verify()
        return _Compiler(self, program, folder, chosen).kernel({})

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("compile: expected an open runtime, got a closed one")

    def _count_compile(self) -> None:
        with self._lock:
            self._compiles += 1

    def close(self) -> None:
        """Forbid further compiles; idempotent. Kernels stay usable until they are closed."""
        self._closed = True

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<milane.Runtime {self.status}>"


class _Compiler:
    """Compiles one program for as many shapes as are asked for."""

    def __init__(
        self, runtime: Runtime, program: _mil.Program, folder: str, options: CompileOptions
    ) -> None:
        # A copy: the kernel must not change when its caller edits the program.
        self._runtime = runtime
        self._program = program.copy()
        self._folder = folder
        self._options = options
        self._files = _weight_files(options)
        self._kernels: OrderedDict[tuple[tuple[str, tuple[int, ...]], ...], Kernel] = OrderedDict()
        self._first: _core.Session | None = None  # whose states the others share
        self._lock = threading.Lock()

    def kernel(self, shapes: Shapes) -> Kernel:
        key = tuple(sorted(shapes.items()))
        with self._lock:
            if key in self._kernels:
                self._kernels.move_to_end(key)
                return self._kernels[key]
        made = self._compile(shapes)
        if not made._flexible:  # the only one there can be; keeping it would make a cycle
            return made
        key = tuple(sorted(made._shapes().items()))
        with self._lock:
            kept = self._kernels.setdefault(key, made)
            if len(self._kernels) > SHAPES_KEPT:
                self._kernels.popitem(last=False)
        return kept

    def _compile(self, shapes: Shapes) -> Kernel:
        options = self._options
        self._runtime._check_open()
        session = self._runtime._native.compile(
            self._program,
            model_folder=self._folder,
            files=self._files,
            function=options.function or "",
            numerics=options.numerics,
            quirks=None if options.quirks is None else list(options.quirks),
            shapes={name: list(shape) for name, shape in {**options.shapes, **shapes}.items()},
            fuse=options.fuse,
            sibling=self._first,
        )
        self._first = self._first or session
        self._runtime._count_compile()
        return Kernel(session, self.kernel, self._flexible_inputs(session.function))

    def _flexible_inputs(self, function: str) -> frozenset[str]:
        inputs = self._program[function].inputs
        return frozenset(i.name for i in inputs if None in i.type.shape)


def _merge(
    source: Source | CompileOptions | None, options: dict[str, Any]
) -> tuple[CompileOptions, Source]:
    """The options, and the program's source, from whichever argument holds them."""
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


def _load(source: Source, options: CompileOptions) -> tuple[_mil.Program, str]:
    """The parsed program and its ``@model_path`` folder ("" when it has none)."""
    if isinstance(source, _mil.Program):
        return source, ""
    is_text = isinstance(source, bytes) or (
        isinstance(source, str) and ("\n" in source or "program(" in source.replace(" ", ""))
    )
    if is_text:
        assert isinstance(source, str | bytes)
        return _mil.parse(source), ""
    assert isinstance(source, str | os.PathLike)
    path = os.fspath(source)
    return _mil.load(path), _mil.read_source(path).model_folder


def _weight_files(options: CompileOptions) -> dict[str, bytes | str]:
    """Weight files by path: bytes as they are, locations as strings."""
    files: dict[str, bytes | str] = {}

    def add(path: str, content: bytes | os.PathLike[str] | str) -> None:
        _check_weight_path(path)
        value = (
            bytes(content)
            if isinstance(content, bytes | bytearray | memoryview)
            else os.fspath(Path(content))
        )
        if path in files and files[path] != value:
            raise InvalidArgumentError(f"weight_files: expected {path} once, got it twice")
        files[path] = value

    if options.weight_blob is not None:
        add(options.weight_path, options.weight_blob)
    given = options.weight_files
    pairs = given.items() if isinstance(given, Mapping) else [(w.path, w.data) for w in given]
    for path, content in pairs:
        add(path, content)
    return files


def _check_weight_path(path: str) -> None:
    # Some handwritten programs leave `@model_path/` out: any relative path is a name here.
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise InvalidArgumentError(
            f"weight_files: expected a path like {DEFAULT_WEIGHT_PATH}, got {path}"
        )
