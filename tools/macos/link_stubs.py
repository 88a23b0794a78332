"""Link stubs for the cross build: what the linker needs to know of Apple's libraries.

Each file of `stubs/symbols` lists the names that this project takes from one library, one a line,
below a line that says where macOS keeps the library:

    install-name: /usr/lib/libobjc.A.dylib
    _objc_msgSend

`write_link_stubs` turns them into text-based stubs (TBD v4), which every Mach-O linker reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SYMBOLS = Path(__file__).resolve().parent / "stubs" / "symbols"
_INSTALL_NAME = "install-name:"


@dataclass(frozen=True)
class SymbolList:
    """The names that are taken from one library."""

    file: Path
    install_name: str
    names: tuple[str, ...]

    @property
    def stub(self) -> Path:
        """The stub's path below the folder it is written to, where `-F` or `-L` finds it."""
        library = self.file.stem
        if ".framework/" in self.install_name:
            return Path("Frameworks", f"{library}.framework", f"{library}.tbd")
        return Path("lib", f"{library}.tbd")


def read_symbol_list(file: Path) -> SymbolList:
    """The list in a file. Raises ValueError for one that is not sorted, or names no library."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or not lines[0].startswith(_INSTALL_NAME):
        raise ValueError(f"{file}:1: expected a line that starts with {_INSTALL_NAME}")
    names = lines[1:]
    if names != sorted(set(names)):
        raise ValueError(f"{file}: expected its names sorted, each of them once")
    return SymbolList(file, lines[0].removeprefix(_INSTALL_NAME).strip(), tuple(names))


def read_symbol_lists(folder: Path = SYMBOLS) -> list[SymbolList]:
    """Every list of a folder."""
    return [read_symbol_list(file) for file in sorted(folder.glob("*.txt"))]


def tbd(symbols: SymbolList) -> str:
    """The text of a library's stub."""
    targets = "[ arm64-macos ]"
    # Names such as _OBJC_CLASS_$_NSArray are quoted as in Apple's own stubs.
    names = ",\n                 ".join(f"'{name}'" for name in symbols.names)
    return (
        "--- !tapi-tbd\n"
        "tbd-version: 4\n"
        f"targets: {targets}\n"
        f"install-name: '{symbols.install_name}'\n"
        "exports:\n"
        f"  - targets: {targets}\n"
        f"    symbols: [ {names} ]\n"
        "...\n"
    )


def write_link_stubs(to: Path, lists: list[SymbolList]) -> None:
    """Writes `to`/Frameworks/*.framework/*.tbd and `to`/lib/*.tbd."""
    for symbols in lists:
        path = to / symbols.stub
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tbd(symbols), encoding="utf-8")
