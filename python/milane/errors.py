"""The errors Milane raises. Each also is the builtin a caller would expect."""

from __future__ import annotations


class AneError(Exception):
    """Base of every error of this package.

    Attributes:
        op: the stage that failed (``"parse"``, ``"verify"``, ``"compile"``, ``"eval"``) or ``""``.
        cls: the class the device's own message gives, such as ``"InvalidMILProgram"``, or ``""``.
        code: the number in ``domain`` (0 where there is none).
        domain: the system's error domain, such as ``"com.apple.appleneuralengine.compiler"``.
        cause: the exception beneath, or None.
        hint: what to try, or ``""``; it is also the last line of the message.
        line, column: 1-based place in the MIL text, or None.
    """

    op: str = ""
    cls: str = ""
    code: int = 0
    domain: str = ""
    hint: str = ""
    line: int | None = None
    column: int | None = None

    @property
    def cause(self) -> BaseException | None:
        """The exception this one was raised from, or None."""
        return self.__cause__


class InvalidArgumentError(AneError, ValueError):
    """A caller's argument is out of range, misshapen or unknown."""


class DTypeError(AneError, TypeError):
    """An array or operand has the wrong element type."""


class MILSyntaxError(AneError, ValueError):
    """MIL text does not parse; ``line`` and ``column`` say where."""


class MILVerifyError(AneError, ValueError):
    """The text parses, but the program is not well formed."""


class CompileError(AneError, RuntimeError):
    """A well-formed program cannot be compiled by this backend."""


class UnsupportedOpError(CompileError, NotImplementedError):
    """The backend lacks an operation of the program."""


class CompileBudgetExhaustedError(AneError, RuntimeError):
    """The process has used up its compiles."""


class BlobError(AneError, ValueError):
    """A weight file is damaged or says what is not so."""


class ModelFileError(AneError, OSError):
    """A model or weight file is missing, unreadable or outside its model's folder."""


class NoANEError(AneError, RuntimeError):
    """There is no Apple Neural Engine to use here."""


class MapFailedError(AneError, RuntimeError):
    """The device could not map the surfaces of a request."""


class UnsupportedSelectorError(AneError, NotImplementedError):
    """The private framework of this system lacks a method."""


class ModelLoadError(AneError, RuntimeError):
    """A compiled program could not be loaded."""


class EvalError(AneError, RuntimeError):
    """An evaluation failed."""


class UnsupportedLayoutError(AneError, ValueError):
    """A surface's layout is not the one needed, or cannot exist."""


class UnsupportedError(AneError, NotImplementedError):
    """The feature does not exist on this platform."""


class ClosedError(AneError, RuntimeError):
    """Something was used after ``close()``."""


class WaitTimeoutError(AneError, TimeoutError):
    """Something was not free, or did not happen, in the time allowed."""
