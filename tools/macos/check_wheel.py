"""Whether a macOS wheel is complete and holds nothing else."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

_LEFTOVERS = {".so", ".pyc"}  # of a build in place
_METADATA = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


# The C interface: its library, and its header.
BRIDGE = "milane/libmilane_bridge.dylib"
_BRIDGE_HEADER = "milane/include/ane_bridge.h"


def native_name(python: Sequence[int]) -> str:
    """The native library's path in a wheel."""
    return "milane/_core.cpython-{}{}-darwin.so".format(*python)


def wheel_faults(wheel: Path, package: Path, python: Sequence[int]) -> list[str]:
    """What is wrong with a wheel of the folder `package` for a CPython, a sentence each."""
    cpython = "cp{}{}".format(*python)
    tag = f"{cpython}-{cpython}-macosx_14_0_arm64"
    name = re.fullmatch(r"milane-([\w.]+)-" + re.escape(tag) + r"\.whl", wheel.name)
    if name is None:
        return [f"{wheel.name}: expected the name milane-<version>-{tag}.whl"]
    info = f"milane-{name[1]}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        files = {file for file in archive.namelist() if not file.endswith("/")}
        tags = archive.read(f"{info}/WHEEL").decode() if f"{info}/WHEEL" in files else ""
    found = []
    if re.findall(r"^Tag: (.*)$", tags, re.MULTILINE) != [tag]:
        found.append(f"{wheel.name}: expected the one tag {tag} in WHEEL")
    expected = {f"milane/{file}" for file in _package_files(package)}
    expected |= {native_name(python), "milane/py.typed", BRIDGE, _BRIDGE_HEADER}
    expected |= {f"{info}/{file}" for file in _METADATA}
    found += [f"{wheel.name}: lacks {file}" for file in sorted(expected - files)]
    found += [f"{wheel.name}: has {file}, a stray" for file in sorted(files - expected)]
    return found


def _package_files(package: Path) -> set[str]:
    return {
        file.relative_to(package).as_posix()
        for file in package.rglob("*")
        if file.is_file() and file.suffix not in _LEFTOVERS
    }
