"""What the cross builds share: zig, CPython's headers for another system, and running commands."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
STUBS = HERE / "stubs"

# 0.13 makes executables of modules; the libSystem stub of 0.17 lacks plain arm64.
ZIG_VERSION = "0.15.2"
MACOS = "aarch64-macos.14.0"
LINUX = "aarch64-linux-gnu.2.28"  # the glibc of manylinux_2_28

PythonVersion = tuple[int, int]


class CrossError(Exception):
    """Something that the build needs and does not find, or a command that failed."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)


def find_zig() -> Path:
    """The zig of the package ziglang. Raises CrossError where it is missing or another version."""
    hint = f"pip install ziglang=={ZIG_VERSION}"
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise CrossError("expected the package ziglang, found none", hint)
    found = importlib.metadata.version("ziglang")
    if found != ZIG_VERSION:
        raise CrossError(f"expected ziglang {ZIG_VERSION}, got {found}", hint)
    return Path(spec.origin).parent / "zig"


def environment(target: str, link_stubs: Path) -> dict[str, str]:
    """The environment in which CMake can use zig.cmake."""
    return {
        **os.environ,
        "MILANE_ZIG": str(find_zig()),
        "MILANE_ZIG_TARGET": target,
        "MILANE_LINK_STUBS": str(link_stubs),
    }


def run(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> None:
    """Runs a command, whose output is shown only when it fails: then CrossError."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        check=False,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise CrossError(f"{done.stdout}\nfailed with code {done.returncode}: {' '.join(words)}")


def header_version(include: Path) -> PythonVersion:
    """The version of the CPython whose headers a folder has."""
    file = include / "patchlevel.h"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    found = dict(re.findall(r"^#define PY_(MAJOR|MINOR)_VERSION\s+(\d+)", text, re.MULTILINE))
    if len(found) != 2:
        raise CrossError(f"{include}: expected a folder with Python.h and patchlevel.h")
    return int(found["MAJOR"]), int(found["MINOR"])


def python_headers(version: PythonVersion) -> Path | None:
    """The folder with Python.h of a CPython that is installed here, if there is one."""
    name = "python{}.{}".format(*version)
    ask = [name, "-c", "import sysconfig; print(sysconfig.get_path('include'))"]
    if version == sys.version_info[:2]:
        include = Path(sysconfig.get_path("include"))
    elif shutil.which(name):
        # Tools that switch between versions put programs on the PATH that do nothing but fail.
        answer = subprocess.run(ask, check=False, capture_output=True, text=True)
        include = Path(answer.stdout.strip() or os.devnull)
    else:
        return None
    return include if (include / "Python.h").is_file() else None


def headers_for_mac(include: Path, to: Path) -> Path:
    """A copy of CPython's headers with a Mac's pyconfig.h, in `to`.

    A copy, because Python.h finds the pyconfig.h of its own folder first.
    """
    shutil.copytree(include, to, ignore=shutil.ignore_patterns("pyconfig*.h"))
    shutil.copy(STUBS / "python" / "pyconfig.h", to)
    return to


@contextmanager
def step(what: str) -> Iterator[None]:
    """Prints what is done, and how long it took."""
    print(f"{what} ...", flush=True)
    start = time.monotonic()
    yield
    print(f"  {time.monotonic() - start:.1f} s", flush=True)
