"""The project's tasks: `nox -s lint`, `tests`, `build`, `asan`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"

ROOT = Path(__file__).resolve().parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
BUILD_REQUIRES: list[str] = PYPROJECT["build-system"]["requires"]
RUNTIME_REQUIRES: list[str] = PYPROJECT["project"]["dependencies"]
NATIVE_SUFFIXES = {".h", ".cpp", ".mm", ".m"}


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, mypy and clang-format; nothing is compiled."""
    session.install(*RUNTIME_REQUIRES, *EXTRAS["dev"], *EXTRAS["test"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    native = (p for p in sorted((ROOT / "csrc").rglob("*")) if p.suffix in NATIVE_SUFFIXES)
    session.run("clang-format", "--dry-run", "-Werror", *map(str, native))


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite on a release build."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """The native library alone, warnings as errors: `nox -s build -- debug` (default: release)."""
    preset = session.posargs[0] if session.posargs else "release"
    session.install(*BUILD_REQUIRES)
    cmake_build(session, preset)


@nox.session
def asan(session: nox.Session) -> None:
    """The test suite under AddressSanitizer and UndefinedBehaviorSanitizer."""
    session.install(*BUILD_REQUIRES, *RUNTIME_REQUIRES, *EXTRAS["test"])
    cmake_build(session, "asan")
    site = ROOT / "build" / "asan" / "site"
    session.run("cmake", "--install", "build/asan", "--prefix", str(site))
    package = site / "milane"
    shutil.copytree(ROOT / "python" / "milane", package, dirs_exist_ok=True)
    compiler = os.environ.get("CXX", "c++")
    runtime = [shared_library(compiler, name) for name in ("libasan.so", "libstdc++.so")]
    session.run(
        "pytest",
        *session.posargs,
        env={
            "PYTHONPATH": str(site),
            "LD_PRELOAD": " ".join(runtime),
            # CPython itself does not free everything at exit.
            "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        },
    )


def cmake_build(session: nox.Session, preset: str) -> None:
    """Configures and builds a preset with this session's Python and pybind11."""
    where = session.run("python", "-m", "pybind11", "--cmakedir", silent=True)
    session.run(
        "cmake",
        "--preset",
        preset,
        f"-Dpybind11_DIR={str(where).strip()}",
        f"-DPython_EXECUTABLE={Path(session.bin) / 'python'}",
    )
    session.run("cmake", "--build", "--preset", preset)


def shared_library(compiler: str, name: str) -> str:
    """Path of a library that belongs to the compiler."""
    command = [compiler, f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
