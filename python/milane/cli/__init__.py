"""The command line: `milane quickstart`, `milane run`, `milane inspect`,
`milane draw`, `milane blob`, `milane lint`, `milane profile`, `milane train`,
`milane generate`, `milane convert`, `milane cache`, `milane doctor`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

import milane
from milane.cli import (
    blob,
    cache,
    convert,
    doctor,
    draw,
    generate,
    inspect,
    lint,
    profile,
    quickstart,
    run,
    train,
)
from milane.cli.output import CliError

__all__ = ["main"]

# Every sub-command is a module with add_parser(subparsers), which sets `handler`.
_COMMANDS = (
    quickstart,
    run,
    inspect,
    draw,
    blob,
    lint,
    profile,
    train,
    generate,
    convert,
    cache,
    doctor,
)

# What a hint tells a Python caller, and the option that does the same here.
_OPTIONS_FOR_HINTS = (
    (r"pass function= to compile\(\)", "give --function NAME"),
    (r"name one with function=", "give --function NAME"),
    (r"pass a larger max_ops=", "give a larger --max-ops N"),
    (r'pass shapes=\{"([^"]+)": \(\.\.\.\)\} to compile\(\)', r"give --shape \1=1,2,3"),
    (r'pass weight_files=\{"([^"]+)": \.\.\.\} to compile\(\)', r"give --weights \1=FILE"),
    (r'open\("host"\) runs', "MILANE_BACKEND=host runs"),
)


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
    args.arguments = sys.argv[1:] if argv is None else list(argv)  # for who starts itself again
    try:
        return int(args.handler(args))
    except BrokenPipeError:  # `milane inspect … | head`: whoever read has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (milane.AneError, CliError, OSError) as error:
        print(f"error: {_message(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


def _message(error: Exception) -> str:
    """The error's text. Milane's own errors carry their hint on the last line already."""
    if isinstance(error, OSError) and not isinstance(error, milane.AneError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = str(error)
    for pattern, option in _OPTIONS_FOR_HINTS:
        text = re.sub(pattern, option, text)
    return text
