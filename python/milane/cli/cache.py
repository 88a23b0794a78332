"""`milane cache`: what compiles left for the next process."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timedelta, timezone

import milane
from milane import cache
from milane.cli.output import Output, add_json_option, size_text

_DEVICE = (
    "the system keeps what it compiled for the Neural Engine, and deletes it as it sees fit; "
    "use_cache=False compiles anew"
)
_AGES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `cache`."""
    parser = commands.add_parser(
        "cache",
        help="compile results kept on disk: list them, see how many, delete them",
        description="Packed and decompressed weights of the host backend, one file per program.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("ls", help="each entry, the least recently used first")
    listing.set_defaults(handler=_ls)
    info = actions.add_parser("info", help="folder, limit, sizes, and what belongs to the device")
    info.set_defaults(handler=_info)
    clear = actions.add_parser("clear", help="delete entries: all, or those the options name")
    clear.add_argument(
        "--unused-for", type=_age, metavar="TIME", help="those not used for so long: 90s, 12h, 30d"
    )
    clear.add_argument(
        "--max-size",
        type=_size,
        metavar="SIZE",
        help="the least recently used, until at most so much is left: 500MB, 4GB",
    )
    clear.set_defaults(handler=_clear)
    for action in (listing, info, clear):
        add_json_option(action)


def _age(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a time like 90s, 15m, 12h or 30d, got {text!r}")
    return timedelta(**{_AGES[match[2]]: int(match[1])})


def _size(text: str) -> int:
    try:
        return cache.parse_size(text, "--max-size")
    except milane.InvalidArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _ls(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    found = cache.entries()
    out.table(
        str(cache.directory()),
        ("key", "size", "last used", "program"),
        [(e.key[:12], size_text(e.nbytes), _ago(e.last_used), e.label) for e in found],
    )
    if not found:
        out.text("  no entries")
    out.json({"directory": str(cache.directory()), "entries": [_fields(e) for e in found]})
    return 0


def _info(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    stats, folder, enabled = cache.stats(), cache.directory(), cache.enabled()
    kept = f"{stats.entries} entries, {size_text(stats.nbytes)} of {size_text(stats.limit)}"
    out.table(
        "compile results",
        ("backend", "kept", "where"),
        [
            ("host", kept, f"{folder}{'' if enabled else ' (off: MILANE_CACHE)'}"),
            ("ane", "by the system", _DEVICE),
        ],
    )
    out.json(
        {
            "host": {
                "directory": str(folder),
                "enabled": enabled,
                "entries": stats.entries,
                "bytes": stats.nbytes,
                "limit_bytes": stats.limit,
            },
            "ane": {"note": _DEVICE},
        }
    )
    return 0


def _clear(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    gone = cache.clear(unused_for=args.unused_for, max_bytes=args.max_size)
    nbytes = sum(entry.nbytes for entry in gone)
    out.text(f"deleted {len(gone)} entries, {size_text(nbytes)}, from {cache.directory()}")
    out.json(
        {
            "directory": str(cache.directory()),
            "deleted": [_fields(entry) for entry in gone],
            "bytes": nbytes,
        }
    )
    return 0


def _fields(entry: cache.Entry) -> dict[str, object]:
    return {
        "key": entry.key,
        "label": entry.label,
        "build": entry.build,
        "bytes": entry.nbytes,
        "created": entry.created.isoformat(),
        "last_used": entry.last_used.isoformat(),
    }


def _ago(then: datetime) -> str:
    seconds = max(0, (datetime.now(timezone.utc) - then).total_seconds())
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} seconds ago"
