"""What a native library for macOS takes from the system, against the lists of `stubs/symbols`.

    python tools/macos/audit.py _core.cpython-311-darwin.so

The linker cannot find a misspelt function: with `-undefined dynamic_lookup`, which a Python module
needs, every name that no library has is looked up at run time. This finds it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lief
from link_stubs import SYMBOLS, SymbolList, read_symbol_lists

OLDEST_MACOS = [14, 0, 0]

# The linker knows every name of this library: zig brings a stub of it.
_LIBSYSTEM = "/usr/lib/libSystem.B.dylib"
# What only the process that loads the module has.
_PYTHON = re.compile(r"__?Py")
# Exported besides the module's entry point: allocation of zig's C++ library, marks of its linker.
_BY_ZIG = re.compile(r"__Zn[wa]|__Zd[la]|__mh_|___dso_handle$")
_PRIVATE_CLASS = re.compile(r"_OBJC_(META)?CLASS_\$__ANE")
_DYNAMIC_LOOKUP = -2  # BIND_SPECIAL_DYLIB_FLAT_LOOKUP


@dataclass(frozen=True)
class Library:
    """A native library, as far as the audit asks."""

    arm64: bool
    oldest_macos: list[int]
    imports: dict[str, set[str]]  # names, by where the other library is installed
    looked_up: set[str]  # names that any library of the process may have
    exports: set[str]
    defined: set[str]

    @staticmethod
    def read(path: Path) -> Library:
        """What a file has. Raises ValueError for one that is no Mach-O file of one architecture."""
        lief.logging.disable()
        fat = lief.MachO.parse(str(path)) if path.is_file() else None
        binary = fat.at(0) if fat is not None and fat.size == 1 else None
        if binary is None:
            raise ValueError(f"{path}: expected a Mach-O file of one architecture")
        oldest = list(binary.build_version.minos) if binary.build_version else []
        imports: dict[str, set[str]] = {
            str(library.name): set()
            for library in binary.libraries
            if library.command != lief.MachO.LoadCommand.TYPE.ID_DYLIB  # the library itself
        }
        looked_up: set[str] = set()
        # What the loader will do. The symbol table has names that nothing refers to any more.
        for binding in binary.bindings:
            if binding.symbol is None:
                continue
            if binding.library is not None:
                imports[str(binding.library.name)].add(str(binding.symbol.name))
            elif binding.library_ordinal == _DYNAMIC_LOOKUP:
                looked_up.add(str(binding.symbol.name))
        undefined = {str(symbol.name) for symbol in binary.imported_symbols}
        return Library(
            arm64=bool(binary.header.cpu_type == lief.MachO.Header.CPU_TYPE.ARM64),
            oldest_macos=oldest,
            imports=imports,
            looked_up=looked_up,
            exports={str(symbol.name) for symbol in binary.exported_symbols},
            defined={str(symbol.name) for symbol in binary.symbols} - undefined,
        )


# What a library is there for: a module's entry point, or the C interface. Mach-O has no list of
# exports that hides instances of standard templates as well.
MODULE = re.compile(r"_PyInit_")
C_INTERFACE = re.compile(r"_ane_bridge_|__Z\w*NSt|__ZN?K?St")


def faults(
    library: Library, lists: Sequence[SymbolList], exports: re.Pattern[str] = MODULE
) -> list[str]:
    """What is wrong with a library, a sentence each; nothing when it may go to a Mac.

    The module uses every name of the lists; another library may do with fewer.
    """
    found = []
    if not library.arm64:
        found.append("expected code for arm64")
    if library.oldest_macos != OLDEST_MACOS:
        found.append(f"expected macOS {OLDEST_MACOS} as the oldest, got {library.oldest_macos}")
    found += [
        f"{name} is in no list, so no library is known to have it; "
        "correct its name, or add it to its library's list in stubs/symbols"
        for name in sorted(library.looked_up)
        if not _PYTHON.match(name)
    ]
    found += [
        f"{name} is exported; only {exports.pattern} should be"
        for name in sorted(library.exports)
        if not exports.match(name) and not _BY_ZIG.match(name)
    ]
    found += [
        f"{name} is defined: the emulated framework must not be in a wheel"
        for name in sorted(library.defined)
        if _PRIVATE_CLASS.match(name)
    ]
    return found + _list_faults(library, lists, unused=exports is MODULE)


def _list_faults(library: Library, lists: Sequence[SymbolList], *, unused: bool) -> list[str]:
    """Where the imports and the lists differ: a list is exactly what is used."""
    listed = {symbols.install_name: symbols for symbols in lists}
    found = [
        f"{install_name} is linked, but has no list in stubs/symbols"
        for install_name in sorted(set(library.imports) - set(listed) - {_LIBSYSTEM})
    ]
    for install_name, symbols in listed.items():
        imported = library.imports.get(install_name, set())
        unlisted = sorted(imported - set(symbols.names))
        extra = sorted(set(symbols.names) - imported) if unused else []
        found += [f"{name} of {install_name} is not in {symbols.file.name}" for name in unlisted]
        found += [f"{symbols.file.name} lists {name}, which nothing uses" for name in extra]
    return found


def summary(library: Library) -> str:
    """How many names come from where, a line each."""
    counts = [(name.rsplit("/", 1)[-1], len(names)) for name, names in library.imports.items()]
    counts.append(("Python, looked up at run time", len(library.looked_up)))
    return "\n".join(f"  {count:4} from {name}" for name, count in sorted(counts))


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a library has a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("--symbols", type=Path, default=SYMBOLS, help="folder with the lists")
    args = parser.parse_args(argv)
    try:
        library, lists = Library.read(args.library), read_symbol_lists(args.symbols)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    found = faults(library, lists)
    print(summary(library))
    for fault in found:
        print(f"{args.library.name}: {fault}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
