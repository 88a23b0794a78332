"""The house rules that a compiler does not check: who includes whom, and what lives where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"

# The arrow: a layer may include itself and what is listed.
_BELOW_BACKEND = {"core", "blob", "mil"}
_CONTRACT = {*_BELOW_BACKEND, "backend"}
MAY_INCLUDE = {
    "core": {"core"},
    "blob": {"core", "blob"},
    "mil": _BELOW_BACKEND,
    "backend": _CONTRACT,
    "host": {*_CONTRACT, "host"},
    "apple": {*_CONTRACT, "apple"},
    "training": {"core", "host", "training"},
    "backends": {*_CONTRACT, "host", "apple", "backends"},
    "bindings": {*_CONTRACT, "host", "apple", "training", "backends", "bindings"},
    "bridge": {*_CONTRACT, "backends", "bridge"},
    # Apple's framework as tests have it: below apple/, which must not know of it.
    "emulated": {*_CONTRACT, "host", "emulated"},
}

# A file above the limit is here with its reason, or it is split.
MAX_LINES = 500
LONG_FILES = {"mil/ops.def": "a table: one row per operation of the language"}

# Templates from these, instantiated under a wider instruction set, could replace the library's own.
CONTAINERS = {
    *("algorithm", "array", "deque", "functional", "list", "map", "memory", "numeric", "optional"),
    *("ranges", "set", "span", "string", "string_view", "tuple", "unordered_map"),
    *("unordered_set", "variant", "vector", "iostream", "sstream", "regex"),
}

SOURCE_SUFFIXES = {".h", ".cpp", ".mm", ".m", ".def"}
TEXT_SUFFIXES = {*SOURCE_SUFFIXES, ".py", ".pyi", ".md", ".toml", ".txt", ".json", ".yaml", ".cff"}
SKIPPED_FOLDERS = {"build", "dist", "__pycache__"}


def sources() -> list[Path]:
    return sorted(p for p in CSRC.rglob("*") if p.suffix in SOURCE_SUFFIXES)


def relative(path: Path) -> str:
    return path.relative_to(CSRC).as_posix()


def layer(path: str) -> str:
    """The layer of a path below csrc: its folder, or its stem for backends.h and backends.cpp."""
    return path.split("/", maxsplit=1)[0] if "/" in path else Path(path).stem


def includes(path: Path, brackets: str) -> list[str]:
    opening, closing = brackets
    found = re.findall(
        rf"^\s*#\s*include\s*{opening}([^{closing}]+){closing}", path.read_text(), re.MULTILINE
    )
    return [str(name) for name in found]


@pytest.fixture(scope="module")
def ops() -> dict[str, str]:
    """Operation -> how the host engine runs it, from the rows of ops.def."""
    text = (CSRC / "mil" / "ops.def").read_text()
    rows = re.findall(r"^MILANE_OP\(\s*(\w+)\s*,\s*(\w+)\s*,\s*(\w+)\s*,", text, re.MULTILINE)
    assert len(rows) > 100
    assert len({name for name, _, _ in rows}) == len(rows), "an operation has two rows"
    return {name: host for name, _, host in rows}


def defined_in_ops(*patterns: str) -> set[str]:
    """Operations that csrc/host/ops defines, each pattern's group being an operation's name."""
    text = "\n".join(p.read_text() for p in sorted((CSRC / "host" / "ops").glob("*.cpp")))
    return {name for pattern in patterns for name in re.findall(pattern, text, re.MULTILINE)}


def test_no_include_goes_against_the_arrow() -> None:
    faults = []
    for path in sources():
        here = layer(relative(path))
        if here not in MAY_INCLUDE:
            faults.append(f"{relative(path)}: the arrow does not know {here}/")
            continue
        faults += [
            f"{relative(path)}: {here} may not include {name}"
            for name in includes(path, '""')
            if layer(name) not in MAY_INCLUDE[here]
        ]
    assert not faults, "\n".join(faults)


def test_every_quoted_include_is_a_file_below_csrc() -> None:
    faults = [
        f"{relative(path)}: {name}"
        for path in sources()
        for name in includes(path, '""')
        if not (CSRC / name).is_file()
    ]
    assert not faults, "\n".join(faults)


def test_python_is_only_in_the_bindings() -> None:
    python = re.compile(r"#\s*include\s*[<\"](pybind11/|Python\.h)|\bpybind11::|\bpy::")
    faults = [
        relative(path)
        for path in sources()
        if layer(relative(path)) != "bindings" and python.search(path.read_text())
    ]
    assert not faults


OBJECTIVE_C = re.compile(
    r"^\s*(@(interface|implementation|protocol|class|autoreleasepool|try|end)\b|#\s*import\b)",
    re.MULTILINE,
)


def is_objective_c(path: Path) -> bool:
    """Whether only Objective-C can read a file, by what it holds or what it includes."""
    if path.suffix in {".mm", ".m"} or OBJECTIVE_C.search(path.read_text()):
        return True
    within = (CSRC / name for name in includes(path, '""'))
    return any(is_objective_c(header) for header in within if header.is_file())


def test_objective_c_stays_in_its_rooms() -> None:
    # Headers of it, too, may only be included by Objective-C, so that plain C++ never needs it.
    faults = [
        relative(path)
        for path in sources()
        if is_objective_c(path)
        and (layer(relative(path)) not in {"apple", "emulated"} or path.suffix == ".cpp")
    ]
    assert not faults


def test_one_file_catches_objective_c_exceptions() -> None:
    catching = [relative(p) for p in sources() if re.search(r"^\s*@try\b", p.read_text(), re.M)]
    assert [p for p in catching if layer(p) == "apple"] == ["apple/objc_guard.m"]


def reached_system_headers(path: Path, seen: set[Path]) -> Iterator[tuple[str, str]]:
    """(file, <header>) for everything that including `path` brings in from this project."""
    if path in seen or not path.is_file():
        return
    seen.add(path)
    for name in includes(path, "<>"):
        yield relative(path), name
    for name in includes(path, '""'):
        yield from reached_system_headers(CSRC / name, seen)


def test_kernel_sources_reach_no_standard_container() -> None:
    kernels = [p for p in sources() if p.parent.name == "kernels" and p.suffix == ".cpp"]
    assert kernels
    faults = [
        f"{relative(path)}: <{name}> through {through}"
        for path in kernels
        for through, name in reached_system_headers(path, set())
        if name in CONTAINERS
    ]
    assert not faults, "\n".join(faults)


def test_every_function_row_of_ops_def_has_its_op_function(ops: dict[str, str]) -> None:
    defined = defined_in_ops(r"\bRunFn\s+op_(\w+)\s*\(")
    wanted = {name for name, host in ops.items() if host == "function"}
    assert wanted - defined == set(), "rows without an op function"
    assert defined - set(ops) == set(), "op functions without a row"


def test_every_elementwise_row_of_ops_def_is_implemented(ops: dict[str, str]) -> None:
    # Written out, or one line of a table: MILANE_UNARY(abs, kAbs).
    defined = defined_in_ops(
        r"\bLowered\s+chain_(\w+)\s*\(", r"^MILANE_(?:UNARY|BINARY)\(\s*(\w+)\s*,"
    )
    wanted = {name for name, host in ops.items() if host == "elementwise"}
    assert wanted - defined == set(), "rows without an implementation"
    assert defined - set(ops) == set(), "implementations without a row"


def test_every_row_of_ops_def_names_a_known_host_kind(ops: dict[str, str]) -> None:
    assert set(ops.values()) <= {"function", "elementwise", "view", "plan", "none"}


def test_the_package_is_typed() -> None:
    package = ROOT / "python" / "milane"
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file() or (package / "_core" / "__init__.pyi").is_file()


def test_no_source_file_is_above_the_line_limit() -> None:
    long = {
        relative(path): lines
        for path in sources()
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert set(long) - set(LONG_FILES) == set(), long


def repository_texts() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        folders = path.relative_to(ROOT).parts[:-1]
        skipped = any(
            f in SKIPPED_FOLDERS or f.startswith((".venv", ".git", ".nox")) for f in folders
        )
        if path.suffix in TEXT_SUFFIXES and not skipped and path.is_file():
            yield path


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    # Written in pieces, so that this file does not hold what it looks for.
    machine = re.compile(r"(?<![\w.~-])/(" + "|".join(("work", "root", "home", "Users")) + r")/\w")
    faults = []
    for path in repository_texts():
        text = path.read_text(encoding="utf-8", errors="replace")
        faults += [f"{path.relative_to(ROOT)}: {m[0]}" for m in machine.finditer(text)]
    assert not faults, "\n".join(faults)
