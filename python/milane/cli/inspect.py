"""`milane inspect`: what is in a model, with or without its weight files."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import milane
from milane import lint
from milane.cli.output import CliError, Output, add_json_option, shape_text, size_text
from milane.cli.weights import BlobReference, blob_references

_LARGEST = 10


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `inspect`."""
    parser = commands.add_parser(
        "inspect", help="functions, inputs, operations and weights of a .mil file or .mlmodelc"
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a .mil file or a .mlmodelc")
    parser.add_argument(
        "--placement",
        action="store_true",
        help="where others say that each operation runs on the device: an estimate",
    )
    parser.add_argument("--chip", choices=lint.CHIPS, help="the chip of --placement")
    add_json_option(parser)
    parser.set_defaults(handler=_inspect)


def _inspect(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    with out.status(f"reading {args.model}"):
        program = milane.mil.load(args.model)
        folder = milane.mil.read_source(args.model).model_folder
        fault = _verify(program)
        functions = [_function(f) for f in program.functions]
        try:
            references = blob_references(program.source)
        except ValueError as error:
            raise CliError(f"{args.model}: {error}") from error
        files = [
            _weight_file(folder, path, of_path) for path, of_path in _by_path(references).items()
        ]
    report: dict[str, object] = {
        "model": str(args.model),
        "version": program.version,
        "verifies": fault is None,
        "fault": fault,
        "host_refuses": _refused(program),
        "functions": functions,
        "weights": _weights(references),
        "weight_files": files,
    }
    _print(out, report)
    if args.placement:
        placed = lint.placement(program, args.chip, model_folder=folder)
        report["placement"] = [p.to_dict() for p in placed]
        _print_placement(out, placed)
    out.json(report)
    return 0


def _verify(program: milane.mil.Program) -> str | None:
    """The first fault the verifier finds, or None."""
    try:
        program.verify()
    except milane.AneError as error:
        return str(error)
    return None


def _refused(program: milane.mil.Program) -> list[str]:
    """The operations that the host engine does not run, in any function."""
    refused = {op.name for op in milane.mil.ops() if op.host == "none"}
    used = {op.type for function in program.functions for op in _operations(function)}
    return sorted(refused & used)


def _type(type_: milane.mil.Type) -> dict[str, object]:
    return {"dtype": type_.dtype, "shape": list(type_.shape), "kind": type_.kind}


def _operations(
    block: milane.mil.Function | milane.mil.Block,
) -> Iterator[milane.mil.Operation]:
    """Every operation, those of nested blocks too."""
    for operation in block.operations:
        yield operation
        for nested in operation.blocks:
            yield from _operations(nested)


def _function(function: milane.mil.Function) -> dict[str, object]:
    types = {value.name: value.type for value in function.inputs}
    ops: Counter[str] = Counter()
    results: Counter[str] = Counter()
    for operation in _operations(function):
        ops[operation.type] += 1
        types.update((value.name, value.type) for value in operation.outputs)
        if operation.type != "const":
            results.update(value.type.dtype for value in operation.outputs)
    inputs = {value.name: _type(value.type) for value in function.inputs}
    return {
        "name": function.name,
        "opset": function.opset,
        "inputs": {n: t for n, t in inputs.items() if t["kind"] != "state"},
        "states": {n: t for n, t in inputs.items() if t["kind"] == "state"},
        "outputs": {n: _type(types[n]) if n in types else None for n in function.outputs},
        "ops": dict(ops.most_common()),
        "result_dtypes": dict(results.most_common()),
    }


def _by_path(references: Iterable[BlobReference]) -> dict[str, list[BlobReference]]:
    files: defaultdict[str, list[BlobReference]] = defaultdict(list)
    for reference in references:
        files[reference.path].append(reference)
    return dict(files)


def _weights(references: list[BlobReference]) -> dict[str, object]:
    """The largest records, and totals; a record that is used twice counts once."""
    records = {(r.path, r.offset): r for r in references}.values()
    largest = sorted(records, key=lambda r: (-r.size_bytes, r.path, r.offset))[:_LARGEST]
    by_dtype: Counter[str] = Counter()
    for record in records:
        by_dtype[record.dtype] += record.size_bytes
    return {
        "count": len(records),
        "total_bytes": by_dtype.total(),
        "bytes_by_dtype": dict(by_dtype.most_common()),
        "largest": [
            {
                "name": r.name,
                "dtype": r.dtype,
                "shape": list(r.shape),
                "bytes": r.size_bytes,
                "path": r.path,
                "offset": r.offset,
            }
            for r in largest
        ],
    }


def _weight_file(folder: str, path: str, references: list[BlobReference]) -> dict[str, object]:
    """Whether the file is there, and whether it holds the records that the text asks for."""
    row: dict[str, object] = {"path": path, "found": False, "problems": []}
    try:
        file = Path(milane.mil.resolve_weight_path(path, folder))
    except milane.AneError as error:
        return row | {"problems": [str(error)]}
    if not file.is_file():
        return row
    row |= {"found": True, "bytes": file.stat().st_size}
    try:
        dtypes = {record.offset: record.dtype for record in milane.blob.read(file).records()}
    except milane.AneError as error:
        return row | {"problems": [str(error)]}
    problems = [
        f"{r.name}: expected {r.dtype} at {r.offset}, got {dtypes.get(r.offset, 'no record')}"
        for r in references
        if dtypes.get(r.offset) != r.dtype
    ]
    return row | {"records": len(dtypes), "problems": problems}


def _print(out: Output, report: Mapping[str, object]) -> None:
    out.text(f"{report['model']}: program({report['version']})")
    well = "verifies: names, types and shapes fit"
    out.text(well if report["verifies"] else f"does not verify: {report['fault']}")
    refused = report["host_refuses"]
    assert isinstance(refused, list)
    if refused:
        out.text(f"host engine: refuses {', '.join(refused)}")
    functions = report["functions"]
    assert isinstance(functions, list)
    for function in functions:
        _print_function(out, function)
    weights, files = report["weights"], report["weight_files"]
    assert isinstance(weights, dict)
    assert isinstance(files, list)
    _print_weights(out, weights)
    for file in files:
        _print_file(out, file)


def _print_function(out: Output, function: Mapping[str, dict[str, object]]) -> None:
    out.text()
    out.text(f"func {function['name']}<{function['opset']}>")
    rows = [
        [kind.removesuffix("s"), name, *_type_cells(type_)]
        for kind in ("inputs", "states", "outputs")
        for name, type_ in function[kind].items()
    ]
    out.table("ports:", ["", "name", "dtype", "shape"], rows)
    out.table("operations:", ["op", "uses"], [[o, str(n)] for o, n in function["ops"].items()])
    mix = ", ".join(f"{d} {n}" for d, n in function["result_dtypes"].items())
    out.text(f"results by dtype, constants left out: {mix or 'none'}")


def _type_cells(type_: object) -> list[str]:
    if not isinstance(type_, dict):
        return ["?", "?"]
    return [str(type_["dtype"]), shape_text(type_["shape"])]


def _print_weights(out: Output, weights: Mapping[str, object]) -> None:
    out.text()
    if not weights["count"]:
        out.text("no weight files")
        return
    by_dtype, largest, total = weights["bytes_by_dtype"], weights["largest"], weights["total_bytes"]
    assert isinstance(by_dtype, dict)
    assert isinstance(largest, list)
    assert isinstance(total, int)
    mix = ", ".join(f"{d} {size_text(n)}" for d, n in by_dtype.items())
    out.text(f"weights: {weights['count']} records, {size_text(total)} ({mix})")
    rows = [
        [r["name"], r["dtype"], shape_text(r["shape"]), size_text(r["bytes"]), r["path"]]
        for r in largest
    ]
    out.table(f"largest {len(rows)}:", ["name", "dtype", "shape", "size", "file"], rows)


def _print_placement(out: Output, placed: Sequence[lint.Placement]) -> None:
    out.text()
    counts = Counter(p.where for p in placed)
    out.text(f"placement: {', '.join(f'{n} {where}' for where, n in counts.most_common())}")
    groups = Counter((p.where, p.operation, p.reason) for p in placed)
    rows = [[op, str(n), where, reason] for (where, op, reason), n in groups.most_common()]
    out.table("as others report it:", ["op", "uses", "where", "reason"], rows)


def _print_file(out: Output, file: Mapping[str, object]) -> None:
    problems = file["problems"]
    assert isinstance(problems, list)
    state = "found" if file["found"] else "missing: the file is not beside the model"
    out.text(f"{file['path']}: {problems[0] if problems and not file['found'] else state}")
    for problem in problems if file["found"] else []:
        out.text(f"  {problem}")
