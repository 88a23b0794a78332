"""The cross build's tools: link stubs, the symbol audit, the wheel check, and what must be refused.

What needs zig or lief is skipped without them: pip install ".[cross]".
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools" / "macos"
sys.path.insert(0, str(TOOLS))

import check_wheel  # noqa: E402
import cross  # noqa: E402
import link_stubs  # noqa: E402

FRAMEWORKS = TOOLS / "stubs" / "Frameworks"
APPLE_SOURCES = sorted(p for p in (ROOT / "csrc" / "apple").iterdir() if p.suffix in {".m", ".mm"})
NO_LIEF = "lief is not installed: pip install '.[cross]'"


# Link stubs.


def write_list(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.txt"
    path.write_text(text)
    return path


def test_a_link_stub_has_every_name_of_its_list(tmp_path: Path) -> None:
    write_list(
        tmp_path, "libx", "install-name: /usr/lib/libx.1.dylib\n# why\n_OBJC_CLASS_$_X\n_x\n"
    )
    link_stubs.write_link_stubs(tmp_path / "out", link_stubs.read_symbol_lists(tmp_path))
    stub = (tmp_path / "out" / "lib" / "libx.tbd").read_text()
    assert stub.startswith("--- !tapi-tbd\ntbd-version: 4\n")
    assert "install-name: '/usr/lib/libx.1.dylib'" in stub
    assert re.findall(r"'(_[^']+)'", stub) == ["_OBJC_CLASS_$_X", "_x"]


def test_a_frameworks_stub_lies_where_the_linker_looks_for_frameworks(tmp_path: Path) -> None:
    path = write_list(tmp_path, "X", "install-name: /S/X.framework/Versions/A/X\n_x\n")
    assert link_stubs.read_symbol_list(path).stub == Path("Frameworks", "X.framework", "X.tbd")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("_x\n", "install-name", id="without a library"),
        pytest.param("install-name: /x\n_b\n_a\n", "sorted", id="unsorted"),
        pytest.param("install-name: /x\n_a\n_a\n", "each of them once", id="with a name twice"),
    ],
)
def test_a_list_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        link_stubs.read_symbol_list(write_list(tmp_path, "x", text))


def test_every_framework_with_headers_has_a_list() -> None:
    listed = {
        s.file.stem for s in link_stubs.read_symbol_lists() if ".framework/" in s.install_name
    }
    assert listed == {folder.stem for folder in FRAMEWORKS.iterdir()}


@pytest.mark.parametrize("header", sorted(FRAMEWORKS.rglob("*.h")), ids=lambda path: path.stem)
def test_the_functions_and_constants_of_a_header_are_those_of_its_list(header: Path) -> None:
    exported = r"^[A-Z]+_EX\w+ [^;(]*?(\w+)(?:\(| API_AVAILABLE|;)"
    declared = {f"_{name}" for name in re.findall(exported, header.read_text(), re.MULTILINE)}
    assert declared
    listed = link_stubs.read_symbol_list(link_stubs.SYMBOLS / f"{header.stem}.txt").names
    # The rest are names that the compiler makes: of classes, and of literals.
    assert declared == {n for n in listed if not n.startswith(("_OBJC_", "__"))}


# The audit.

GOOD_LIST = link_stubs.SymbolList(Path("libx.txt"), "/usr/lib/libx.dylib", ("_x",))


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """The module `audit`; the test is skipped where it cannot be imported."""
    module = pytest.importorskip("audit", reason=NO_LIEF)
    assert isinstance(module, ModuleType)
    return module


# The fields of a library without a fault.
GOOD_LIBRARY = {
    "arm64": True,
    "oldest_macos": [14, 0, 0],
    "imports": {"/usr/lib/libx.dylib": {"_x"}, "/usr/lib/libSystem.B.dylib": {"_malloc"}},
    "looked_up": {"_PyList_New", "__Py_NoneStruct"},
    "exports": {"_PyInit__core", "__Znwm"},
    "defined": {"_PyInit__core", "_OBJC_CLASS_$_MilaneThing"},
}


def test_the_audit_accepts_what_the_lists_have(audit: ModuleType) -> None:
    assert audit.faults(audit.Library(**GOOD_LIBRARY), [GOOD_LIST]) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"arm64": False}, "arm64", id="another processor"),
        pytest.param({"oldest_macos": [15, 0, 0]}, "got [15, 0, 0]", id="a newer macOS"),
        pytest.param({"looked_up": {"_CFReleas"}}, "_CFReleas is in no list", id="a misspelt name"),
        pytest.param(
            {"imports": {"/usr/lib/libx.dylib": {"_x", "_y"}}},
            "_y of /usr/lib/libx.dylib is not in libx.txt",
            id="an unlisted name",
        ),
        pytest.param({"imports": {}}, "lists _x, which nothing uses", id="an unused name"),
        pytest.param(
            {"imports": {"/usr/lib/libx.dylib": {"_x"}, "/usr/lib/libz.dylib": set()}},
            "/usr/lib/libz.dylib is linked, but has no list",
            id="an unlisted library",
        ),
        pytest.param({"exports": {"_milane"}}, "_milane is exported", id="an export"),
        pytest.param(
            {"defined": {"_OBJC_CLASS_$__ANEModel"}}, "emulated framework", id="an emulated class"
        ),
    ],
)
def test_the_audit_reports(changes: dict[str, object], fault: str, audit: ModuleType) -> None:
    (found,) = audit.faults(audit.Library(**{**GOOD_LIBRARY, **changes}), [GOOD_LIST])
    assert fault in found


def test_the_audit_refuses_what_is_no_mach_o_file(audit: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(ValueError, match="expected a Mach-O file"):
        audit.Library.read(tmp_path / "x.so")


# The wheel.

TAG = "cp310-cp310-macosx_14_0_arm64"
PACKAGE_FILES = ("__init__.py", "py.typed", "mil/__init__.py")


def make_wheel(
    folder: Path, *, tag: str = TAG, inner_tag: str = TAG, without: str = "", also: str = ""
) -> Path:
    """A wheel as the cross build makes it, but for the changes."""
    info = "milane-0.1.0.dist-info"
    files = [f"milane/{file}" for file in PACKAGE_FILES]
    files += ["milane/_core.cpython-310-darwin.so", "milane/libmilane_bridge.dylib"]
    files += ["milane/include/ane_bridge.h"]
    files += [f"{info}/{file}" for file in ("METADATA", "RECORD", "entry_points.txt")]
    files += [f"{info}/licenses/LICENSE", *([also] if also else [])]
    path = folder / f"milane-0.1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {inner_tag}\n")
        for file in files:
            if file != without:
                archive.writestr(file, "")
    return path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "milane"
    for file in (*PACKAGE_FILES, "_core.cpython-310-x86_64-linux-gnu.so", "mil/x.pyc"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def test_a_complete_wheel_has_no_fault(tmp_path: Path, package: Path) -> None:
    assert check_wheel.wheel_faults(make_wheel(tmp_path), package, (3, 10)) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"tag": "cp310-cp310-linux_x86_64"}, "expected the name", id="another name"),
        pytest.param({"inner_tag": "cp310-cp310-any"}, "in WHEEL", id="another tag inside"),
        pytest.param(
            {"without": "milane/_core.cpython-310-darwin.so"}, "lacks milane/_core", id="no library"
        ),
        pytest.param({"without": "milane/libmilane_bridge.dylib"}, "lacks", id="no C interface"),
        pytest.param({"without": "milane/py.typed"}, "lacks milane/py.typed", id="no py.typed"),
        pytest.param({"without": "milane/mil/__init__.py"}, "lacks milane/mil", id="no module"),
        pytest.param({"also": "milane/AppleNeuralEngine.so"}, "a stray", id="the emulation"),
        pytest.param({"also": "tests/test_api.py"}, "a stray", id="a file beside the package"),
    ],
)
def test_a_wheel_has_a_fault(
    changes: dict[str, str], fault: str, tmp_path: Path, package: Path
) -> None:
    (found,) = check_wheel.wheel_faults(make_wheel(tmp_path, **changes), package, (3, 10))
    assert fault in found


# CPython's headers.


def test_headers_get_the_configuration_of_a_mac(tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "cpython").mkdir(parents=True)
    (here / "cpython" / "x.h").touch()
    (here / "pyconfig.h").write_text("#define _POSIX_C_SOURCE 200809L\n")
    (here / "pyconfig-64.h").touch()
    made = cross.headers_for_mac(here, tmp_path / "there")
    assert {p.name for p in made.rglob("*.h")} == {"x.h", "pyconfig.h"}
    assert "#define _DARWIN_C_SOURCE 1" in (made / "pyconfig.h").read_text()


def test_headers_tell_their_version(tmp_path: Path) -> None:
    text = "#define PY_MAJOR_VERSION  3\n#define PY_MINOR_VERSION\t14\n"
    (tmp_path / "patchlevel.h").write_text(text)
    assert cross.header_version(tmp_path) == (3, 14)
    with pytest.raises(cross.CrossError, match=r"expected a folder with Python\.h"):
        cross.header_version(tmp_path / "nowhere")


def test_a_python_that_is_not_here_has_no_headers() -> None:
    assert cross.python_headers((2, 99)) is None


def test_a_failed_command_shows_its_output() -> None:
    with pytest.raises(cross.CrossError, match=r"(?s)why it failed.*failed with code 3"):
        cross.run([sys.executable, "-c", "print('why it failed'); raise SystemExit(3)"])


# The compiler: what a Mac's compiler would refuse is refused here.


@pytest.fixture(scope="module")
def zig() -> Path:
    """The compiler; the test is skipped where it is missing."""
    try:
        return cross.find_zig()
    except cross.CrossError as error:
        pytest.skip(str(error).replace("\n", "; "))


def compile_apple(zig: Path, source: Path, to: Path) -> str:
    """What the compiler says; "" when it takes the file. With the flags of the build."""
    command: list[str | Path] = [
        *(zig, "c++" if source.suffix == ".mm" else "cc", "-target", cross.MACOS),
        *("-std=c++20",) * (source.suffix == ".mm"),
        *("-fno-objc-arc", "-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Werror"),
        *("-O0", "-fno-sanitize=undefined", "-fvisibility=hidden"),
        *("-iframework", FRAMEWORKS, "-I", ROOT / "csrc", "-c", source, "-o", to),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode or to.stat().st_size
    return done.stderr if done.returncode else ""


PROBE = """
#import <Foundation/Foundation.h>
#import <IOSurface/IOSurface.h>
#import <Metal/Metal.h>
API_AVAILABLE(macos(15.0)) void newer(void);
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param(
            "NSUInteger f(NSData *d) { return [d lenght]; }", "'-lenght' not found", id="a selector"
        ),
        pytest.param("void f(id x) { IOSurfaceCreat(x); }", "undeclared", id="a function"),
        pytest.param('NSNumber *f() { return @"x"; }', "cannot initialize", id="a result's class"),
        pytest.param(
            "IOSurfaceRef f(NSDictionary *d) { return IOSurfaceCreate(d); }",
            "no matching function",
            id="a missing bridge",
        ),
        pytest.param("void f() { newer(); }", "only available on macOS 15", id="a newer function"),
        pytest.param(
            "void f(NSMutableDictionary *d) { [d setObject:nil forKey:@1]; }",
            "requires a non-null",
            id="nil where an object must be",
        ),
        pytest.param("int f(NSArray *a) { return [a count]; }", "loses integer", id="a narrowing"),
        pytest.param(
            "void f(IOSurfaceRef s) { IOSurfaceLock(s, 0); }",
            "no matching function",
            id="a missing argument",
        ),
        pytest.param(
            "id<MTLBuffer> f() { return MTLCreateSystemDefaultDevice(); }",
            "cannot initialize",
            id="another protocol",
        ),
    ],
)
def test_the_compiler_refuses(code: str, message: str, zig: Path, tmp_path: Path) -> None:
    (tmp_path / "probe.mm").write_text(PROBE + code)
    assert message in compile_apple(zig, tmp_path / "probe.mm", tmp_path / "probe.o")


def test_the_compiler_takes_what_is_right(zig: Path, tmp_path: Path) -> None:
    (tmp_path / "probe.mm").write_text(
        PROBE + "IOSurfaceRef f(NSDictionary *d) {"
        "  if (@available(macOS 15.0, *)) newer();"
        "  return IOSurfaceCreate((__bridge CFDictionaryRef)d);"
        "}"
    )
    assert compile_apple(zig, tmp_path / "probe.mm", tmp_path / "probe.o") == ""


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for the package's Objective-C, compiled."""
    return tmp_path_factory.mktemp("apple")


@pytest.mark.parametrize("source", APPLE_SOURCES, ids=lambda path: path.name)
def test_the_compiler_takes(source: Path, zig: Path, objects: Path) -> None:
    assert compile_apple(zig, source, objects / f"{source.name}.o") == ""


def sent_selectors(objects: Path) -> set[str]:
    """The selectors that the objects of a folder send to anything."""
    lief = pytest.importorskip("lief", reason=NO_LIEF)
    names: set[str] = set()
    for path in objects.iterdir():
        file = lief.MachO.parse(str(path))  # owns the sections, so it needs a name
        for section in file.at(0).sections:
            if section.name == "__objc_methname":
                names.update(bytes(section.content).decode().split("\0"))
    return names


def declared_selectors(header: str) -> set[str]:
    """The selectors that a stub header declares: its methods' and its properties' getters."""
    methods = re.findall(r"^[-+] \((?:[^()]|\([^()]*\))*\)([^;]*);", header, re.MULTILINE)
    selectors = set()
    for method in methods:
        # Types and attributes away, what is left is "name:argument name:argument" or "name".
        bare = re.sub(r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", "", method)
        pieces = re.findall(r"(\w+:)", bare) or re.findall(r"^\w+", bare)
        selectors.add("".join(pieces))
    properties = re.findall(r"^@property\([^)]*\) [^;]*?(\w+)(?: NS_\w+)?;", header, re.MULTILINE)
    return selectors | set(properties)


# Declared for the compiler (copying keys, allocating with a zone), which sends them by itself.
IMPLIED = {"copyWithZone:", "mutableCopyWithZone:"}


def test_the_stub_headers_declare_only_what_is_used(zig: Path, objects: Path) -> None:
    for source in APPLE_SOURCES:  # from zig's cache, after the tests above
        compile_apple(zig, source, objects / f"{source.name}.o")
    sent = sent_selectors(objects)
    unused = {
        f"{header.name}: {selector}"
        for header in FRAMEWORKS.rglob("*.h")
        for selector in declared_selectors(header.read_text()) - IMPLIED
        # A property that is written is used, though it is never read.
        if not {selector, f"set{selector[:1].upper()}{selector[1:]}:"} & sent
    }
    assert sorted(unused) == []


def test_a_misspelt_function_links_but_fails_the_audit(
    zig: Path, audit: ModuleType, tmp_path: Path
) -> None:
    symbols = link_stubs.SymbolList(Path("X.txt"), "/S/X.framework/Versions/A/X", ("_XRelease",))
    link_stubs.write_link_stubs(tmp_path, [symbols])
    source, made = tmp_path / "x.c", tmp_path / "x.so"
    source.write_text(
        "void XRelease(void); void XReleas(void); void PyInit_x(void) { XRelease(); XReleas(); }"
    )
    cross.run(
        [
            *(zig, "cc", "-target", cross.MACOS, "-O1", "-shared", "-o", made, source),
            *(f"-F{tmp_path / 'Frameworks'}", "-framework", "X", "-Wl,-undefined,dynamic_lookup"),
        ]
    )
    (fault,) = audit.faults(audit.Library.read(made), [symbols])
    assert "_XReleas is in no list" in fault
