"""Opening a backend and compiling programs for it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy.typing as npt

from . import _core, cache
from ._core import DeviceInfo
from ._core import mil as _mil
from .closing import Closing
from .dynamic import KernelFactory, Strategy, dynamic_factory
from .errors import ClosedError, InvalidArgumentError
from .kernel import Kernel, Shapes
from .mil.program import (
    MILProgram,
    Weight,
    blob_constants,
    blobs,
    default_function,
    is_text,
)
from .options import CompileOptions, ModelType, Source, merge, weight_files

# Plans kept per flexible kernel; the least recently used is dropped.
SHAPES_KEPT = 32
# Compiles after which processes are reported to fail (ane_facts D 75).
ANE_COMPILE_BUDGET = 119

_ShapeKey = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Realtime:
    """What the device answered to a wish for real-time scheduling.

    Attributes:
        granted: whether it agreed.
        reason: its answer in words.
    """

    granted: bool
    reason: str


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


def open(
    backend: Literal["auto", "ane", "host"] = "auto", *, compile_budget: int | None = None
) -> Runtime:
    """Return a runtime on the Neural Engine, or on the CPU.

    ``"auto"`` takes the engine where it answers, else the host engine; the environment variable
    ``MILANE_BACKEND`` overrides it. Once open, a runtime never falls back to another backend.
    ``compile_budget`` is how many programs may be compiled; on the engine, where about 119 compiles
    per process are reported to be the end, it is 119 by default and counts the whole process's.

    Raises:
        NoANEError: ``"ane"`` where there is none.
        InvalidArgumentError: an unknown name, or a negative budget.
    """
    name = os.environ.get("MILANE_BACKEND", backend) if backend == "auto" else backend
    if compile_budget is not None and compile_budget < 0:
        raise InvalidArgumentError(
            f"open: expected a compile_budget of at least 0, got {compile_budget}"
        )
    return Runtime(_core.open_backend(name), compile_budget)


class Runtime(Closing):
    """An open backend: compiles programs into kernels. A context manager; any thread may use it."""

    def __init__(self, native: _core.Backend, compile_budget: int | None = None) -> None:
        self._native = native
        if compile_budget is None and native.name == "ane":
            compile_budget = ANE_COMPILE_BUDGET
        self._compile_budget = compile_budget
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
        """Programs compiled so far: by this runtime, or on ``"ane"`` by the process.

        Each new shape of a flexible kernel counts; what a cache spares does not.
        """
        return self._native.compiles

    @property
    def compile_budget(self) -> int | None:
        """How many compiles there may be; None where nothing limits them."""
        return self._compile_budget

    def reset_compile_count(self) -> None:
        """Set :attr:`compile_count` to 0."""
        self._native.reset_compiles()

    def begin_realtime(self) -> Realtime:
        """Ask for real-time scheduling and return the answer; pair it with :meth:`end_realtime`.

        Until the end, evaluations of this runtime's kernels take the real-time path. A refusal is
        reported, not raised: evaluations then take whatever path the device offers. The host has
        one priority and grants everything.
        """
        self._check_open()
        return Realtime(*self._native.begin_realtime())

    def end_realtime(self) -> None:
        """End what :meth:`begin_realtime` began; without a begin it does nothing."""
        self._native.end_realtime()

    @contextmanager
    def realtime(self) -> Iterator[Realtime]:
        """A real-time section: ``with runtime.realtime() as section: ...``.

        See :meth:`begin_realtime`; sections nest.
        """
        section = self.begin_realtime()
        try:
            yield section
        finally:
            self.end_realtime()

    def compile(self, source: Source | CompileOptions | None = None, **options: Any) -> Kernel:
        """Return a kernel for one function of a program.

        ``source`` is MIL text, a path to a ``.mil`` file (its folder is ``@model_path``), a path to
        a ``.mlmodelc`` directory, a :class:`milane.mil.Program`, a :class:`milane.mil.MILProgram`,
        or a :class:`CompileOptions`.
        A string is text when it contains ``program`` followed by a parenthesis, else a path. The
        keywords are the fields of :class:`CompileOptions`.

        Raises:
            MILSyntaxError, MILVerifyError: the text is not a well-formed program.
            UnsupportedOpError: the backend lacks an operation; line and column are given.
            ModelFileError: a file is missing, or lies outside the model's folder.
            BlobError: a weight file does not hold what the program says.
            InvalidArgumentError: an unknown function, shape, path or option.
            CompileError, ModelLoadError, UnsupportedLayoutError, MapFailedError: the device refuses
                the program at this stage; ``domain``, ``code``, ``cls`` and ``op`` say how.
            CompileBudgetExhaustedError: no compile is left.
            ClosedError: the runtime is closed.
        """
        self._check_open()
        chosen, source = merge(source, options)
        loaded = _load(source)
        loaded.program.verify()
        return _Compiler(self, loaded, chosen, Kernel).kernel({})

    def compile_dynamic(
        self,
        source: Source | CompileOptions,
        n_inputs: int,
        strategy: Strategy = "auto",
        **options: Any,
    ) -> Kernel:
        """Return a kernel whose weights change without a compile.

        The parameters of the function after the first ``n_inputs`` are weights:
        ``kernel.weights[name]``, written by :meth:`Kernel.write_weight`, and kept between
        evaluations. The kernel is called with the others. Weights are zero at first.

        Args:
            source: as :meth:`compile`; ``options`` likewise.
            n_inputs: how many parameters are inputs.
            strategy: ``"inputs"``: each weight is a parameter. ``"packed"``: the one parameter
                holds weights beside the activations in width, ``[1, in, 1, batch + out]``, and the
                output is ``[1, out, 1, batch]``; the weight is ``"w"``, ``[1, in, 1, out]``.
                ``"auto"``: packed where there is one parameter of that form.

        Raises:
            InvalidArgumentError: no parameter is left to be a weight, or a weight is flexible.
            UnsupportedError: ``"packed"`` for a program of another form.
            MILSyntaxError, CompileError, ClosedError: as :meth:`compile`, and what else it raises.
        """
        self._check_open()
        chosen, source = merge(source, options)
        loaded = _load(source)
        program = loaded.program
        program.verify()
        name = chosen.function or default_function(program)
        # A function that is not there: compile says so.
        make = dynamic_factory(program[name], n_inputs, strategy) if name in program else Kernel
        return _Compiler(self, loaded, chosen, make).kernel({})

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("compile: expected an open runtime, got a closed one")

    def close(self) -> None:
        """Forbid further compiles; idempotent. Kernels stay usable until they are closed."""
        self._closed = True

    def __repr__(self) -> str:
        return f"<milane.Runtime {self.status}>"


class _Compiler:
    """Compiles one program for as many shapes as are asked for."""

    def __init__(
        self,
        runtime: Runtime,
        loaded: _Loaded,
        options: CompileOptions,
        make: KernelFactory,
    ) -> None:
        self._runtime = runtime
        self._program = loaded.program
        self._folder = loaded.folder
        self._options = options
        self._make = make
        self._files = weight_files(options.weight_blob, options.weight_path, options.weight_files)
        self._weights = _named_weights(loaded, options, self._files)
        self._data = {w.name: loaded.data[w.name] for w in self._weights if w.name in loaded.data}
        if self._weights or options.weights:
            self._files |= blobs(self._weights, {**self._data, **options.weights})
        # Sessions, not kernels: those refer to this compiler, and a cycle would keep programs
        # loaded until the garbage collector comes by.
        self._sessions: OrderedDict[_ShapeKey, _core.Session] = OrderedDict()
        self._handles: WeakValueDictionary[_ShapeKey, Kernel] = WeakValueDictionary()
        self._first: _core.Session | None = None  # whose states the others share
        self._lock = threading.Lock()

    def kernel(self, shapes: Shapes) -> Kernel:
        key = tuple(sorted(shapes.items()))
        with self._lock:
            if kept := self._kept(key):
                return kept
        session = self._compile(shapes)
        made = self._handle(session)
        if not made._flexible:  # the only one there can be
            return made
        key = tuple(sorted(made._shapes().items()))
        with self._lock:
            if kept := self._kept(key):  # another thread was faster
                return kept
            self._sessions[key], self._handles[key] = session, made
            if len(self._sessions) > SHAPES_KEPT:
                self._sessions.popitem(last=False)
        return made

    def _kept(self, key: _ShapeKey) -> Kernel | None:
        session = self._sessions.get(key)
        if session is None or session.closed:
            self._sessions.pop(key, None)
            return None
        self._sessions.move_to_end(key)
        handle = self._handles.get(key)
        if handle is None:
            handle = self._handles[key] = self._handle(session)
        return handle

    def _handle(self, session: _core.Session) -> Kernel:
        kernel = self._make(session, self.kernel, self._flexible_inputs(session.function))
        kernel._stored, kernel._known = self._weights, self._data
        return kernel

    def _compile(self, shapes: Shapes) -> _core.Session:
        runtime, options = self._runtime, self._options
        runtime._check_open()
        is_package = options.model_type is ModelType.PACKAGE
        kept = cache.for_compile(options.use_cache) if runtime.backend == "host" else None
        session = runtime._native.compile(
            self._program,
            model_folder=self._folder,
            files=self._files,
            options=options.native(self._folder if is_package else "", shapes),
            compile_budget=runtime._compile_budget,
            sibling=self._first,
            cache=kept,
        )
        cache.log_problem(kept)
        self._first = self._first or session
        return session

    def _flexible_inputs(self, function: str) -> frozenset[str]:
        inputs = self._program[function].inputs
        return frozenset(i.name for i in inputs if None in i.type.shape)


@dataclass(frozen=True)
class _Loaded:
    """A program of our own, its ``@model_path`` folder ("" when it has none), and its weights."""

    program: _mil.Program
    folder: str = ""
    made: bool = False  # a MILProgram: it has no folder, so all its weights are given
    data: Mapping[str, npt.ArrayLike] = field(default_factory=dict)


def _load(source: Source) -> _Loaded:
    # Copies: a kernel must not change when its caller edits the program.
    if isinstance(source, MILProgram):
        return _Loaded(source.program.copy(), made=True, data=source.data)
    if isinstance(source, _mil.Program):
        return _Loaded(source.copy())
    if isinstance(source, bytes) or (isinstance(source, str) and is_text(source)):
        return _Loaded(_mil.parse(source))
    path = os.fspath(source)
    return _Loaded(_mil.load(path), _mil.read_source(path).model_folder)


def _named_weights(
    loaded: _Loaded, options: CompileOptions, given: Collection[str]
) -> list[Weight]:
    """The stored constants whose arrays are given by name: those of no file given as it is."""
    if not loaded.made and not options.weights:
        return []
    weights = [w for w in blob_constants(loaded.program) if w.path not in given]
    if loaded.made:
        return weights
    paths = {w.path for w in weights if w.name in options.weights}
    return [w for w in weights if w.path in paths]
