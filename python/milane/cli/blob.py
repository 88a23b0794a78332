"""`milane blob`: what is in a weight file, whether it is sound, and its records as arrays."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from milane import blob
from milane.cli.output import CliError, Output, add_json_option, size_text, whole_number
from milane.files import replaced

_PIECE = 1 << 20  # elements looked at or printed at a time
_FORMATS = ("npy", "raw", "text")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `blob` and its three sub-commands."""
    parser = commands.add_parser("blob", help="list, check or dump a weight file")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    ls = actions.add_parser("ls", help="every record: offset, dtype, elements, bytes")
    check = actions.add_parser("check", help="all that is wrong; exit code 1 if anything is")
    dump = actions.add_parser("dump", help="one record's elements, as .npy, raw bytes or text")
    for action in (ls, check, dump):
        action.add_argument("file", metavar="FILE", type=Path, help="a MIL Blob Storage v2 file")
    add_json_option(ls)
    add_json_option(check)
    ls.set_defaults(handler=_list)
    check.set_defaults(handler=_check)

    index = functools.partial(whole_number, low=0)
    which = dump.add_mutually_exclusive_group()
    which.add_argument("--record", type=index, metavar="N", help="its number, from 0 on")
    which.add_argument("--offset", type=index, metavar="BYTES", help="what BLOBFILE says")
    dump.add_argument("--output", "-o", type=Path, metavar="FILE", help="default: text to stdout")
    dump.add_argument(
        "--format", choices=_FORMATS, help="default: npy for a FILE.npy, text for stdout, else raw"
    )
    dump.add_argument("--shape", metavar="N,N", help="the shape of the .npy array (default: 1-D)")
    dump.set_defaults(handler=_dump)


def _list(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    file = blob.read(args.file)
    records = file.records()
    rows = [
        {
            "record": i,
            "offset": r.offset,
            "dtype": r.dtype,
            "count": r.count,
            "bytes": r.nbytes,
            "data_offset": r.data_offset,
        }
        for i, r in enumerate(records)
    ]
    columns = ["record", "offset", "dtype", "count", "bytes"]
    out.table(
        f"{args.file}: {len(records)} records, {size_text(file.nbytes)}",
        columns,
        [[str(row[c]) for c in columns] for row in rows],
    )
    out.json({"file": str(args.file), "bytes": file.nbytes, "records": rows})
    return 0


def _check(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    file = blob.read(args.file)
    with out.status(f"checking {args.file}"):
        problems = file.check()
        notes = [] if problems else list(_not_finite(file.records()))
    for problem in problems:
        out.text(str(problem))
    for note in notes:
        out.text(f"note: {note}")
    if not problems:
        out.text(f"{args.file}: sound, {len(file.records())} records")
    out.json(
        {
            "file": str(args.file),
            "sound": not problems,
            "problems": [
                {"record": p.record, "offset": p.offset, "expected": p.expected, "got": p.got}
                for p in problems
            ],
            "notes": notes,
        }
    )
    return 1 if problems else 0


def _not_finite(records: list[blob.Record]) -> Iterator[str]:
    """What a file may hold, but hardly should."""
    for i, record in enumerate(records):
        if record.dtype not in ("fp16", "fp32"):
            continue
        array = record.array
        nan = infinite = 0
        for start in range(0, array.size, _PIECE):
            piece = array[start : start + _PIECE]
            nan += int(np.count_nonzero(np.isnan(piece)))
            infinite += int(np.count_nonzero(np.isinf(piece)))
        if nan or infinite:
            yield (
                f"record {i} at offset {record.offset}: {nan} NaN and {infinite} infinite "
                f"of {array.size} values"
            )


def _dump(args: argparse.Namespace) -> int:
    record = _chosen(args)
    form = args.format or _default_format(args.output)
    array = record.array
    if args.shape is not None:
        if form != "npy":
            raise CliError(f"--shape: expected --format npy, got {form}")
        array = array.reshape(_shape(args.shape, array.size))
    if args.output is None:
        if form != "text":
            raise CliError(f"dump: expected --output FILE for --format {form}")
        for line in _lines(array):
            sys.stdout.write(line)
        return 0
    with replaced(args.output) as file:
        if form == "npy":
            np.lib.format.write_array(file, array, allow_pickle=False)
        elif form == "raw":
            file.write(record.tobytes())
        else:
            for line in _lines(array):
                file.write(line.encode())
    return 0


def _chosen(args: argparse.Namespace) -> blob.Record:
    """The record that was asked for, or the only one."""
    file = blob.read(args.file)
    if args.offset is not None:
        return file.record_at(args.offset)
    records = file.records()
    if args.record is None and len(records) != 1:
        raise CliError(
            f"{args.file}: expected exactly one record, got {len(records)}",
            "name one with --record N or --offset BYTES",
        )
    index = args.record or 0
    if index >= len(records):
        raise CliError(f"--record: expected a record below {len(records)}, got {index}")
    return records[index]


def _default_format(output: Path | None) -> str:
    if output is None:
        return "text"
    return "npy" if output.suffix.lower() == ".npy" else "raw"


def _shape(text: str, size: int) -> tuple[int, ...]:
    dims = tuple(int(d) if d.strip().isdecimal() else -1 for d in text.split(","))
    if min(dims) < 0 or int(np.prod(dims, dtype=object)) != size:
        raise CliError(f"--shape: expected sizes like 64,32 for {size} elements, got {text!r}")
    return dims


def _lines(array: NDArray[Any]) -> Iterator[str]:
    """One element per line, in the shortest form that reads back to the same value."""
    for start in range(0, array.size, _PIECE):
        yield "".join(f"{value!s}\n" for value in array[start : start + _PIECE])
