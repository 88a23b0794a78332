"""Where the C interface is: a shared library and its header, for ctypes, C and other languages.

Programs that load an ``ane_bridge`` library need another path and nothing else; ``docs/bridge.md``
has the functions and an example.
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import _core
from .errors import ModelFileError

__all__ = ["include_dir", "library_path"]

_LIBRARY = "libmilane_bridge.dylib" if sys.platform == "darwin" else "libmilane_bridge.so"
_HINT = "build and install the CMake target milane_bridge, as `pip install` does"


def library_path() -> Path:
    """The shared library that exports the ``ane_bridge_*`` functions; it needs no Python.

    >>> ctypes.CDLL(str(milane.bridge.library_path()))  # doctest: +SKIP

    Raises:
        ModelFileError: this build has none.
    """
    return _installed(_LIBRARY)


def include_dir() -> Path:
    """The folder of ``ane_bridge.h``, for a compiler's ``-I``.

    Raises:
        ModelFileError: this build has none.
    """
    return _installed("include/ane_bridge.h").parent


def _installed(name: str) -> Path:
    path = _package() / name
    if path.is_file():
        return path
    error = ModelFileError(f"bridge: expected {path}, got no such file\nhint: {_HINT}")
    error.hint = _HINT
    raise error


def _package() -> Path:
    # In an editable install the Python files are elsewhere.
    return Path(_core.__file__).parent
