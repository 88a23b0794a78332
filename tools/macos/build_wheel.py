"""Builds the macOS arm64 wheel on Linux and checks it: docs/macos-wheel.md.

    python tools/macos/build_wheel.py --python 3.10 --python 3.14

It shows that the sources compile, link and import only known symbols; not that they run. The wheel
is never to be published: zig's C++ library is inside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import audit
from check_wheel import BRIDGE, native_name, wheel_faults
from cross import (
    HERE,
    MACOS,
    ROOT,
    CrossError,
    PythonVersion,
    environment,
    header_version,
    headers_for_mac,
    python_headers,
    run,
    step,
)
from link_stubs import read_symbol_lists, write_link_stubs

OLDEST, NEWEST = (3, 10), (3, 14)
HERE_PYTHON = sys.version_info[:2]
HEADERS_HINT = (
    "install that CPython, so that {} is on the PATH, "
    "or name a folder with its Python.h: --headers FOLDER"
)


def build(folder: Path, headers: Path) -> Path:
    """The wheel, built in `folder` against the headers of the Python that runs this."""
    link_stubs = folder / "link"
    write_link_stubs(link_stubs, read_symbol_lists())
    include = headers_for_mac(headers, _include(folder, HERE_PYTHON))
    defines = {
        "CMAKE_TOOLCHAIN_FILE": HERE / "zig.cmake",
        "CMAKE_EXPORT_COMPILE_COMMANDS": "ON",
        "MILANE_WERROR": "ON",
        "PYTHON_MODULE_EXTENSION": Path(native_name(HERE_PYTHON)).name.removeprefix("_core"),
        "Python_INCLUDE_DIR": include,
    }
    settings = [f"cmake.define.{name}={value}" for name, value in defines.items()]
    settings += [f"build-dir={folder / 'cmake'}", "install.strip=false", "build.tool-args=--quiet"]
    run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"),
            *(f"--config-settings={setting}" for setting in settings),
            *("--wheel-dir", folder, ROOT),
        ],
        env={**environment(MACOS, link_stubs), "_PYTHON_HOST_PLATFORM": "macosx-14.0-arm64"},
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def check(wheel: Path, folder: Path) -> list[str]:
    """The faults of a wheel and of the native libraries in it."""
    found = wheel_faults(wheel, ROOT / "python" / "milane", HERE_PYTHON)
    if found:
        return found
    for name, exports in ((native_name(HERE_PYTHON), audit.MODULE), (BRIDGE, audit.C_INTERFACE)):
        with zipfile.ZipFile(wheel) as archive:
            native = Path(archive.extract(name, folder / "unpacked"))
        library = audit.Library.read(native)
        print(f"{native.name}\n{audit.summary(library)}")
        faults = audit.faults(library, read_symbol_lists(), exports)
        found += [f"{native.name}: {fault}" for fault in faults]
    return found


def compile_bindings(folder: Path, headers: Path) -> None:
    """Compiles csrc/bindings, the only sources that see Python, against other headers.

    With the commands of the build before, in which nothing but the folder is another.
    """
    version = header_version(headers)
    include = headers_for_mac(headers, _include(folder, version))
    commands = []
    for entry in json.loads((folder / "cmake" / "compile_commands.json").read_text()):
        if Path(entry["file"]).parent != ROOT / "csrc" / "bindings":
            continue
        command = entry["command"].replace(str(_include(folder, HERE_PYTHON)), str(include))
        words = shlex.split(command)
        words[words.index("-o") + 1] = str(include / f"{Path(entry['file']).name}.o")
        commands.append(words)
    with ThreadPoolExecutor(_jobs()) as pool:
        list(pool.map(run, commands))


def _include(folder: Path, version: PythonVersion) -> Path:
    return folder / "python{}.{}".format(*version)


def _jobs() -> int:
    return int(os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "0")) or os.cpu_count() or 1


def _find_headers(args: argparse.Namespace) -> dict[PythonVersion, Path]:
    """Folders with Python.h, by version: those asked for, else of the oldest and the newest."""
    given = {header_version(folder): folder for folder in args.headers}
    wanted = {HERE_PYTHON, *given, *(args.python or (OLDEST, NEWEST))}
    found = {}
    for version in sorted(wanted):
        folder = given.get(version) or python_headers(version)
        if folder:
            found[version] = folder
            continue
        name = "python{}.{}".format(*version)
        if version == HERE_PYTHON or args.python:
            raise CrossError(f"expected headers of {name}, found none", HEADERS_HINT.format(name))
        print(f"NOT CHECKED: {name}: no headers; " + HEADERS_HINT.format(name))
    return found


def python_version(text: str) -> PythonVersion:
    """(3, 10) for 3.10."""
    major, minor = text.split(".")
    return int(major), int(minor)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--python",
        type=python_version,
        action="append",
        metavar="3.x",
        help="check against this CPython's headers (repeatable; default: 3.10 and 3.14, if here)",
    )
    parser.add_argument(
        "--headers",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="a folder with Python.h, for a CPython that is not installed (repeatable)",
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "macos")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when something does not compile or link, or the wheel has a fault."""
    args = _arguments(argv)
    folder = args.folder.resolve()
    try:
        headers = _find_headers(args)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with step("the wheel, for CPython {}.{}".format(*HERE_PYTHON)):
            wheel = build(folder, headers.pop(HERE_PYTHON))
        with step("its contents and symbols"):
            found = check(wheel, folder)
        for version, other in headers.items():
            with step("the bindings, for CPython {}.{}".format(*version)):
                compile_bindings(folder, other)
    except (CrossError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"{wheel}: compiles, links, imports only known symbols (whether it runs, only a Mac")
        print("can show). Not for publication: zig's C++ library is inside.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
