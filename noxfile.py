"""The project's tasks: `nox -l` lists them."""

from __future__ import annotations

import platform
import re
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


# Left out under a sanitizer: what runs no native code, what replaces the allocator itself, and ten
# trillion operations of one program.
ASAN_TESTS = [
    "--ignore=tests/test_reference.py",
    "--ignore=tests/test_evaluation.py",
    "-k=not VAEDecoder",
]
# The tests that start threads.
TSAN_TESTS = ["tests/test_runtime.py"]


@nox.session
def asan(session: nox.Session) -> None:
    """Tests under AddressSanitizer and UndefinedBehaviorSanitizer: `nox -s asan -- tests/…`."""
    site = sanitized_package(session, "asan")
    session.run(
        *("python", "-m", "pytest"),
        *(session.posargs or ASAN_TESTS),
        env={
            "PYTHONPATH": str(site),
            "LD_PRELOAD": runtime_libraries(site, "libasan", "libubsan", "libstdc++"),
            # CPython itself does not free everything at exit.
            "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        },
    )


@nox.session
def tsan(session: nox.Session) -> None:
    """Tests that use several threads, under ThreadSanitizer: `nox -s tsan -- tests/…`."""
    site = sanitized_package(session, "tsan")
    session.run(
        *fixed_addresses(),
        *("python", "-m", "pytest"),
        *(session.posargs or TSAN_TESTS),
        env={
            "PYTHONPATH": str(site),
            "LD_PRELOAD": runtime_libraries(site, "libtsan", "libstdc++"),
            "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:suppressions=tools/tsan.supp",
        },
        external=True,
    )


@nox.session
def macos_wheel(session: nox.Session) -> None:
    """Builds and checks the macOS wheel on Linux (docs/macos-wheel.md); not for publication."""
    session.install(*BUILD_REQUIRES, *EXTRAS["cross"], *EXTRAS["test"])
    session.run("python", "tools/macos/build_wheel.py", *session.posargs)
    # The package itself is not installed here, so without what every other test shares.
    session.run("python", "-m", "pytest", "--noconftest", "tests/test_macos_tools.py")


@nox.session
def linux_aarch64(session: nox.Session) -> None:
    """Compiles the native library, without its bindings, for Linux on aarch64."""
    session.install(*BUILD_REQUIRES, *EXTRAS["cross"])
    session.run("python", "tools/macos/compile_linux.py", *session.posargs)


@nox.session
def workflows(session: nox.Session) -> None:
    """Checks .github/workflows: the schema, zizmor for security, and actionlint where it is."""
    session.install("check-jsonschema", "zizmor")
    found = sorted(str(p.relative_to(ROOT)) for p in (ROOT / ".github/workflows").glob("*.yml"))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *found)
    session.run("zizmor", "--offline", *found)
    if shutil.which("actionlint"):
        session.run("actionlint", *found, external=True)
    else:
        session.warn("expressions are not checked, for want of actionlint: see rhysd/actionlint")


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


def sanitized_package(session: nox.Session, preset: str) -> Path:
    """A folder to import the package from, with the native library built by a preset."""
    session.install(*BUILD_REQUIRES, *RUNTIME_REQUIRES, *EXTRAS["test"])
    cmake_build(session, preset)
    site = ROOT / "build" / preset / "site"
    session.run("cmake", "--install", f"build/{preset}", "--prefix", str(site))
    shutil.copytree(ROOT / "python" / "milane", site / "milane", dirs_exist_ok=True)
    return site


def runtime_libraries(site: Path, *names: str) -> str:
    """LD_PRELOAD with those of these libraries that the native library needs, in their order.

    A sanitizer has to be loaded before anything else, and Python was not linked with it.
    """
    native = next((site / "milane").glob("_core*.so"))
    listed = subprocess.run(["ldd", str(native)], check=True, capture_output=True, text=True).stdout
    found = dict(re.findall(r"(lib[\w+]+)\.so\S* => (\S+)", listed))
    return " ".join(found[name] for name in names if name in found)


def fixed_addresses() -> list[str]:
    """A prefix that turns address randomisation off where ThreadSanitizer cannot work with it."""
    bits = Path("/proc/sys/vm/mmap_rnd_bits")
    few = not bits.exists() or int(bits.read_text()) <= 28
    return [] if few else ["setarch", platform.machine(), "-R"]
