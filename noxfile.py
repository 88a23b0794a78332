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


@nox.session
def emulated(session: nox.Session) -> None:
    """The test suite over the emulated framework (Linux; packages: docs/development.md)."""
    session.install(
        ".[test]",
        *(
            "-C",
            "cmake.define.MILANE_EMULATED_FRAMEWORK=ON",
            "-C",
            "build-dir=build/emulated-wheel",
        ),
    )
    session.run("pytest", *(session.posargs or ["--backend", "ane"]))


# Left out under a sanitizer: what runs no native code, what replaces the allocator itself, and ten
# trillion operations of one program.
ASAN_TESTS = [
    "--ignore=tests/test_reference.py",
    "--ignore=tests/test_evaluation.py",
    "-k=not VAEDecoder",
]
# The tests that start threads.
TSAN_TESTS = [
    "tests/test_ane_faults.py",
    "tests/test_bridge.py",
    "tests/test_dynamic_weights.py",
    "tests/test_linear.py",
    "tests/test_requests.py",
    "tests/test_runtime.py",
    "tests/test_threads.py",
]


# Over the emulated framework: what goes through Objective-C.
DEVICE_TESTS = [
    "tests/test_ane_faults.py",
    "tests/test_backends_agree.py",
    "tests/test_bridge.py",
    "tests/test_device_boundary.py",
    "tests/test_dynamic_weights.py",
    "tests/test_emulated_framework.py",
    "tests/test_linear.py",
    "tests/test_metal.py",
    "tests/test_pipeline.py",
    "tests/test_requests.py",
    "tests/test_runtime.py",
    "tests/test_surface.py",
    "tests/test_threads.py",
]


@nox.session
@nox.parametrize("preset", ["asan", "emulated-asan"])
def asan(session: nox.Session, preset: str) -> None:
    """Tests under AddressSanitizer and UndefinedBehaviorSanitizer: `nox -s asan -- tests/…`."""
    site = sanitized_package(session, preset)
    session.run(
        *("python", "-m", "pytest"),
        *(session.posargs or (ASAN_TESTS if preset == "asan" else DEVICE_TESTS)),
        env={
            "PYTHONPATH": str(site),
            "LD_PRELOAD": sanitizer_libraries(site, "asan"),
            # CPython itself does not free everything at exit.
            "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        },
    )


@nox.session
@nox.parametrize("preset", ["tsan", "emulated-tsan"])
def tsan(session: nox.Session, preset: str) -> None:
    """Tests that use several threads, under ThreadSanitizer: `nox -s tsan -- tests/…`."""
    site = sanitized_package(session, preset)
    session.run(
        *fixed_addresses(),
        *("python", "-m", "pytest"),
        *(session.posargs or TSAN_TESTS),
        env={
            "PYTHONPATH": str(site),
            "LD_PRELOAD": sanitizer_libraries(site, "tsan"),
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
        config = ".github/actionlint.yaml"
        session.run("actionlint", "-config-file", config, *found, external=True)
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


def sanitizer_libraries(site: Path, sanitizer: str) -> str:
    """LD_PRELOAD with the sanitizer's libraries, and C++'s, that the native library needs.

    A sanitizer has to be loaded before anything else, and Python was not linked with it.
    """
    native = next((site / "milane").glob("_core*.so"))
    listed = subprocess.run(["ldd", str(native)], check=True, capture_output=True, text=True).stdout
    wanted = re.findall(r"(lib(?:\w+san|clang_rt\.\w+san|stdc\+\+)\S*) => (\S+)", listed)
    # Clang's own are in a folder that only the compiler knows.
    clang = shutil.which("clang-19") or "clang"
    found = [
        path
        if path.startswith("/")
        else subprocess.run(
            [clang, f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name, path in wanted
    ]
    return " ".join(sorted(set(found), key=lambda path: (sanitizer not in path, path)))


def fixed_addresses() -> list[str]:
    """A prefix that turns address randomisation off where ThreadSanitizer cannot work with it."""
    bits = Path("/proc/sys/vm/mmap_rnd_bits")
    few = not bits.exists() or int(bits.read_text()) <= 28
    return [] if few else ["setarch", platform.machine(), "-R"]
