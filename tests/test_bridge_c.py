"""The C interface as C sees it: the header, the symbols, and the program of docs/bridge.md."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from bridge_library import FUNCTIONS, declared
from milane import bridge

PAGE = Path(__file__).resolve().parent.parent / "docs" / "bridge.md"
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]


def compiler(variable: str, *names: str) -> list[str]:
    """A compiler's command: the one Python was built with if it is here, else one by name."""
    configured = shlex.split(sysconfig.get_config_var(variable) or "")[:1]
    for name in (*configured, *names):
        if found := shutil.which(name):
            return [found]
    pytest.skip(f"no compiler: none of {', '.join(names)} is here")


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def fenced(language: str) -> str:
    """The one block of a language in the page."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.M)
    return str(block)


def test_the_header_declares_the_functions_and_no_others() -> None:
    assert declared(bridge.include_dir() / "ane_bridge.h") == sorted(FUNCTIONS)


def test_the_library_exports_the_functions_and_nothing_else() -> None:
    nm = shutil.which("nm") or shutil.which("llvm-nm")
    if nm is None:
        pytest.skip("nm is not installed")
    mac = sys.platform == "darwin"
    only = ["-gU"] if mac else ["-D", "--defined-only"]
    rows = run([nm, *only, str(bridge.library_path())]).splitlines()
    names = [row.split()[-1].removeprefix("_" if mac else "") for row in rows]
    assert sorted(names) == sorted(FUNCTIONS)


@pytest.mark.parametrize("standard", ["c11", "c++11", "c++20"])
def test_the_header_is_strict_c_and_cpp(standard: str, tmp_path: Path) -> None:
    cpp = standard.startswith("c++")
    source = tmp_path / ("use.cpp" if cpp else "use.c")
    # Twice, and first: it needs nothing before it.
    include = '#include "ane_bridge.h"\n'
    calls = f"return ane_bridge_eval({'nullptr' if cpp else 'NULL'}) ? 1 : 0;"
    source.write_text(f"{include}{include}int use(void);\nint use(void) {{ {calls} }}\n")
    command = (
        compiler("CXX", "c++", "g++", "clang++") if cpp else compiler("CC", "cc", "gcc", "clang")
    )
    run([*command, f"-std={standard}", *STRICT, f"-I{bridge.include_dir()}", "-c", str(source), "-o", str(tmp_path / "use.o")])  # fmt: skip


@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_program_of_the_page_prints_what_the_page_says(
    backend: str, language: str, tmp_path: Path
) -> None:
    cpp = language == "c++"
    source = tmp_path / ("example.cpp" if cpp else "example.c")
    source.write_text(fenced("c"))
    command = (
        compiler("CXX", "c++", "g++", "clang++") if cpp else compiler("CC", "cc", "gcc", "clang")
    )
    library, program = bridge.library_path(), tmp_path / "example"
    run([*command, f"-std={'c++17' if cpp else 'c11'}", *STRICT, f"-I{bridge.include_dir()}", str(source), str(library), f"-Wl,-rpath,{library.parent}", "-o", str(program)])  # fmt: skip
    assert run([str(program)], MILANE_BACKEND=backend) == fenced("text")


def test_the_page_lists_every_function() -> None:
    assert [name for name in FUNCTIONS if f"`{name}`" not in PAGE.read_text()] == []
