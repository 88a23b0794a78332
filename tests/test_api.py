"""The public surface: names that exist, docstrings that say something, stubs that tell the truth."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import milane
from milane import _core, blob, cache, draw, errors, graph, half, lint, mil, train

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "milane"

MODULES = {
    "milane": milane,
    "milane.mil": mil,
    "milane.blob": blob,
    "milane.half": half,
    "milane.lint": lint,
    "milane.blob.quantize": blob.quantize,
    "milane.cache": cache,
    "milane.draw": draw,
    "milane.graph": graph,
    "milane.graph.nn": graph.nn,
    "milane.graph.ops": graph.ops,
    "milane.train": train,
    "milane.train.ops": train.ops,
}

# Bound members without a docstring, to be written in csrc/bindings. The list may only shrink.
UNDOCUMENTED = {
    *(f"milane.mil.ArgSchema.{n}" for n in ("constant", "default", "domain", "dtypes", "kind")),
    *(f"milane.mil.ArgSchema.{n}" for n in ("name", "optional", "since", "variadic")),
    *(f"milane.mil.OpSchema.{n}" for n in ("args", "host", "name", "open", "since")),
    *(f"milane.mil.Difference.{n}" for n in ("function", "index_b", "kind", "text")),
    *(f"milane.mil.Function.{n}" for n in ("column", "line", "name", "opset")),
    *(f"milane.mil.NamedType.{n}" for n in ("column", "line", "name", "type")),
    *(f"milane.mil.Operation.{n}" for n in ("blocks", "column", "line")),
    "milane.mil.Program.source_name",
    *(f"milane.mil.Source.{n}" for n in ("model_folder", "name", "text")),
    *(f"milane.mil.Value.{n}" for n in ("column", "is_blob", "line", "type")),
    *(f"milane.blob.BlobFile.{n}" for n in ("check", "name", "nbytes", "open", "over")),
    *(f"milane.blob.BlobFile.{n}" for n in ("record_at", "records")),
    *(f"milane.blob.Problem.{n}" for n in ("expected", "got", "offset", "record")),
    *(f"milane.blob.Record.{n}" for n in ("array", "count", "data_offset", "dtype", "nbytes")),
    *(f"milane.blob.Record.{n}" for n in ("offset", "tobytes")),
}


def public_names(module: ModuleType) -> list[str]:
    """What a module offers: `__all__`, or the functions it defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    functions = inspect.getmembers(module, inspect.isfunction)
    return [n for n, f in functions if not n.startswith("_") and f.__module__ == module.__name__]


def documented_members(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of a class of this package, inherited ones of it too."""
    for base in cls.__mro__:
        if not base.__module__.startswith("milane"):
            continue
        for name, member in vars(base).items():
            is_field = dataclasses.is_dataclass(cls) and name in cls.__dataclass_fields__
            callable_or_property = isinstance(member, property) or callable(getattr(cls, name))
            if not name.startswith("_") and callable_or_property and not is_field:
                yield name, member if isinstance(member, property) else getattr(cls, name)


def everything_public() -> dict[str, Any]:
    """Functions, classes, and members of classes by their full name."""
    found: dict[str, Any] = {}
    for prefix, module in MODULES.items():
        for name in public_names(module):
            thing = getattr(module, name)
            if isinstance(thing, ModuleType):
                continue
            found[f"{prefix}.{name}"] = thing
            if inspect.isclass(thing):
                found |= {f"{prefix}.{name}.{m}": x for m, x in documented_members(thing)}
    return found


PUBLIC = everything_public()


def first_line(thing: Any) -> str:
    """The first line of a docstring; a bound function's own signature does not count."""
    doc = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    lines = doc.splitlines()
    if lines and re.match(r"\w+\(.*\) -> ", lines[0]):
        lines = [line for line in lines[1:] if line]
    return lines[0] if lines else ""


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - UNDOCUMENTED))
def test_a_public_name_has_a_docstring(name: str) -> None:
    assert first_line(PUBLIC[name])


def test_what_is_known_to_lack_a_docstring_still_does() -> None:
    assert set(PUBLIC) >= UNDOCUMENTED
    written = sorted(name for name in UNDOCUMENTED if first_line(PUBLIC[name]))
    assert not written, "take these off the list"


@pytest.mark.parametrize("module", MODULES.values(), ids=list(MODULES))
def test_a_module_says_what_it_is_and_offers_what_it_lists(module: ModuleType) -> None:
    assert first_line(module)
    names = list(getattr(module, "__all__", []))
    assert len(names) == len(set(names))
    assert [n for n in names if not hasattr(module, n)] == []


def functions_that_raise() -> Iterator[tuple[str, str]]:
    """(full name, docstring) of the package's public functions with a raise statement."""
    for path in sorted(PACKAGE.glob("*.py")):
        for scope in ast.walk(ast.parse(path.read_text())):
            if not isinstance(scope, ast.Module | ast.ClassDef):
                continue
            for node in scope.body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    raises = any(isinstance(n, ast.Raise) and n.exc for n in ast.walk(node))
                    if raises:
                        yield f"{path.stem}.{node.name}", ast.get_docstring(node) or ""


RAISING = dict(functions_that_raise())


@pytest.mark.parametrize("name", RAISING)
def test_a_function_that_raises_says_so(name: str) -> None:
    assert "Raises:" in RAISING[name]


@pytest.mark.parametrize("name", ["row_stride_for", "set_num_threads", "TensorLayout"])
def test_a_bound_function_that_raises_says_so(name: str) -> None:
    assert "Raises:" in (getattr(milane, name).__doc__ or "")


# --- stubs

STUBS = {
    "__init__.pyi": _core,
    "mil.pyi": _core.mil,
    "blob.pyi": _core.blob,
    "training.pyi": _core.training,
    "limits.pyi": _core.limits,
}
OPERATORS = {"__len__", "__getitem__", "__contains__", "__iter__", "__eq__", "__hash__"}


def stub_body(file: str) -> list[ast.stmt]:
    return ast.parse((PACKAGE / "_core" / file).read_text()).body


def stub_names(body: list[ast.stmt]) -> set[str]:
    """What a stub's module or class defines; imports count where they are re-exports."""
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname for a in node.names if a.asname == a.name}
    return names


def stub_members(cls: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> set[str]:
    """Members of a stub's class, with those of the mix-ins it names."""
    names = stub_names(cls.body)
    for base in cls.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            names |= stub_members(classes[base.id], classes)
    return names


def public(names: set[str]) -> set[str]:
    return {n for n in names if not n.startswith("_")}


@pytest.mark.parametrize("file", STUBS)
def test_a_stub_lists_the_names_of_its_module_and_no_others(file: str) -> None:
    assert public(stub_names(stub_body(file))) == public(set(dir(STUBS[file])))


def stub_classes() -> Iterator[Any]:
    for file, module in STUBS.items():
        classes = {n.name: n for n in stub_body(file) if isinstance(n, ast.ClassDef)}
        for name, node in classes.items():
            if not name.startswith("_"):
                yield pytest.param(node, classes, module, id=f"{module.__name__}.{name}")


@pytest.mark.parametrize(("node", "classes", "module"), list(stub_classes()))
def test_a_stub_lists_the_members_of_its_class_and_no_others(
    node: ast.ClassDef, classes: dict[str, ast.ClassDef], module: ModuleType
) -> None:
    bound = getattr(module, node.name)
    listed = stub_members(node, classes)
    assert public(listed) == public(set(dir(bound)) - set(dir(object)))
    own = {n for n in OPERATORS & set(vars(bound)) if getattr(bound, n) is not None}
    assert listed & OPERATORS == own
    if "__init__" not in listed:
        with pytest.raises(TypeError, match="No constructor defined"):
            bound()


# --- names that were promised

PROMISED = {
    "milane": "open probe row_stride_for AneError NoANEError CompileBudgetExhaustedError "
    "MapFailedError UnsupportedSelectorError ModelLoadError EvalError UnsupportedLayoutError "
    "UnsupportedError ClosedError CompileError UnsupportedOpError MILSyntaxError MILVerifyError "
    "BlobError ModelFileError DTypeError InvalidArgumentError CompileOptions WeightFile",
    "milane.half": "f32_to_fp16 fp16_to_f32",
    "milane.ModelType": "MIL PACKAGE",
    "milane.DeviceInfo": "has_ane num_cores architecture product build_version is_vm",
    "milane.EvalStats": "hw_execution_ns wall_ns",
    "milane.Runtime": "backend info compile compile_count reset_compile_count close",
    "milane.Kernel": "eval eval_with_stats close",
    "milane.TensorLayout": "channels width height elem_size row_stride plane_stride alloc_size "
    "logical_bytes logical_elements",
    "milane.Surface": "shape handle write read",
    "milane.blob": "BlobDataType BlobWriter build_fp16_blob build_weight_blob",
    "milane.blob.BlobWriter": "add_float16 add_float32 add_raw build count offset",
}
PROMISED_NAMES = [f"{where}.{name}" for where, names in PROMISED.items() for name in names.split()]


@pytest.mark.parametrize("name", PROMISED_NAMES)
def test_a_promised_name_exists(name: str) -> None:
    thing: Any = milane
    for part in name.split(".")[1:]:
        thing = getattr(thing, part)


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (
            milane.CompileOptions,
            "model_type mil_text weight_blob weight_path weight_files package_path model_key qos "
            "perf_stats_mask",
        ),
        (milane.WeightFile, "path data"),
        (milane.QuirkRule, "name effect scope source confidence"),
    ],
    ids=["CompileOptions", "WeightFile", "QuirkRule"],
)
def test_a_record_has_its_promised_fields(cls: type, fields: str) -> None:
    assert set(fields.split()) <= {f.name for f in dataclasses.fields(cls)}


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(milane.CompileOptions)])
def test_every_compile_option_is_documented(field: str) -> None:
    assert re.search(rf"^ +{field}: \S", milane.CompileOptions.__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("attribute", ["op", "cls", "code", "domain", "cause", "hint", "line"])
def test_an_error_has_its_attributes_before_anyone_sets_them(attribute: str) -> None:
    error = milane.AneError("text")
    assert getattr(error, attribute) in ("", 0, None)
    assert attribute in (milane.AneError.__doc__ or "")


def test_every_error_class_is_offered_by_the_package() -> None:
    classes = inspect.getmembers(errors, inspect.isclass)
    own = {n for n, c in classes if issubclass(c, milane.AneError)}
    assert own == {n for n in milane.__all__ if n.endswith("Error")}
