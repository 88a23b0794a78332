"""The command line: `milane quickstart`, `milane run`, `milane inspect`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import milane
from milane.cli import inspect, quickstart, run
from milane.cli.output import CliError

__all__ = ["main"]

# Every sub-command is a module with add_parser(subparsers), which sets `handler`.
_COMMANDS = (quickstart, run, inspect)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="milane",
        description="Run and read MIL programs, on the Apple Neural Engine or on any CPU.",
    )
    parser.add_argument("--version", action="version", version=f"milane {milane.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 it failed (the reason is on stderr); bad usage exits with 2."""
    args = _parser().parse_args(argv)
    try:
        return int(args.handler(args))
    except (milane.AneError, CliError, OSError) as error:
        print(f"error: {_message(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


def _message(error: Exception) -> str:
    """The error's text; milane's own errors carry their hint on a second line already."""
    if isinstance(error, OSError) and not isinstance(error, milane.AneError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
