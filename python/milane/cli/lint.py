"""`milane lint`: what the device would refuse or get wrong in a program, and safe rewrites."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import milane
from milane import lint
from milane.cli.output import CliError, Output
from milane.files import replaced
from milane.lint.linter import Fixed
from milane.lint.report import sarif, summary
from milane.lint.rule import CHANGES, Rule

_MODEL_PATH = "@model_path/"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `lint`."""
    parser = commands.add_parser(
        "lint",
        help="what the device would refuse or get wrong, before it is compiled",
        description="Holds a program against what others report of the device. The exit code is 1 "
        "when something is refused or silently wrong.",
    )
    parser.add_argument(
        "model", metavar="MODEL", type=Path, nargs="?", help="a .mil file or a .mlmodelc"
    )
    parser.add_argument("--chip", choices=lint.CHIPS, help="the chip that the program is for")
    parser.add_argument(
        "--format", choices=("text", "json", "sarif"), default="text", help="how to tell"
    )
    parser.add_argument(
        "--json", action="store_const", const="json", dest="format", help="--format json"
    )
    rule: dict[str, Any] = {"action": "append", "metavar": "RULE", "type": _rule_name}
    parser.add_argument("--select", help="this rule alone (repeatable)", **rule)
    parser.add_argument("--ignore", help="all rules but this (repeatable)", default=[], **rule)
    parser.add_argument("--rules", action="store_true", help="list the rules and stop")
    parser.add_argument("--fix", action="store_true", help="mend what has a safe rewrite")
    parser.add_argument(
        "--changes",
        choices=CHANGES,
        default="rounding",
        help="what --fix may change: nothing, numbers by rounding (default), or inputs and "
        "outputs as well",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, help="where --fix writes (default: MODEL)"
    )
    parser.set_defaults(handler=_lint)


def _rule_name(text: str) -> str:
    if text not in {rule.id for rule in lint.rules()}:
        raise argparse.ArgumentTypeError(f"expected a rule of `milane lint --rules`, got {text!r}")
    return text


def _lint(args: argparse.Namespace) -> int:
    out = Output(as_json=args.format == "json")
    if args.rules:
        _print_rules(out, lint.rules())
        return 0
    if args.model is None:
        raise CliError("lint: expected a MODEL, got none", "milane lint --rules lists the rules")
    if args.output and not args.fix:
        raise CliError("lint: expected --fix beside --output, got --output alone")
    source = milane.mil.read_source(args.model)
    text, folder = source.text, source.model_folder
    fixed: Fixed | None = None
    if args.fix:
        fixed, text, folder = _fix(args, text, folder)
    program = milane.mil.parse(text, str(args.model if fixed is None else _target(args)))
    findings = lint.lint(
        program, args.chip, select=args.select, ignore=args.ignore, model_folder=folder
    )
    failing = any(finding.failing for finding in findings)
    path = str(_target(args) if fixed is not None and fixed.applied else args.model)
    if args.format == "sarif":
        print(json.dumps(sarif(findings, path), indent=2))
        return int(failing)
    for finding in findings:
        out.text(lint.format_finding(finding, path, program.source))
        out.text()
    if fixed is not None:
        _print_applied(out, fixed, path)
        if fixed.applied and _MODEL_PATH in text and _target(args).parent != args.model.parent:
            out.text(f"weight files stay in {folder}: the new text looks for them beside itself")
    counts = summary(findings)
    out.text(", ".join(f"{count} {severity}" for severity, count in counts.items()))
    out.json(
        {
            "model": str(args.model),
            "chip": args.chip,
            "findings": [finding.to_dict() for finding in findings],
            "counts": counts,
            "failing": failing,
            "applied": [done.to_dict() for done in fixed.applied] if fixed else [],
            "written": path if fixed is not None and (fixed.applied or args.output) else None,
        }
    )
    return int(failing)


def _target(args: argparse.Namespace) -> Path:
    """The file that --fix writes."""
    target: Path = args.output or args.model
    return target


def _fix(args: argparse.Namespace, text: str, folder: str) -> tuple[Fixed, str, str]:
    """Writes the mended program, and says what was done, its text, and where its weights are."""
    if args.output is None and args.model.is_dir():
        raise CliError(f"{args.model}: expected --output OUT.mil for a package, got none")
    fixed = lint.fix(
        milane.mil.parse(text, str(args.model)),
        args.chip,
        changes=args.changes,
        select=args.select,
        ignore=args.ignore,
        model_folder=folder,
    )
    if fixed.applied:
        text = str(fixed.program)
    if not fixed.applied and args.output is None:
        return fixed, text, folder
    target = _target(args)
    files = {target.parent / path.removeprefix(_MODEL_PATH): b for path, b in fixed.weights.items()}
    taken = [path for path in files if path.exists()]
    if taken:
        raise CliError(f"{taken[0]}: expected no such file, got one", "choose another --output")
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
    _write(target, text.encode())
    return fixed, text, folder


def _write(path: Path, content: bytes) -> None:
    """Puts a file under its name whole, or not at all; an old one keeps its permissions."""
    mode = path.stat().st_mode if path.exists() else None
    with replaced(path) as file:
        file.write(content)
        if mode is not None:
            os.chmod(file.fileno(), mode & 0o7777)


def _print_applied(out: Output, fixed: Fixed, path: str) -> None:
    for done in fixed.applied:
        numbers = {"nothing": "same numbers", "rounding": "rounds otherwise", "ports": "ports"}
        where = f"{done.function}: `{done.name}`" if done.name else done.function
        out.text(f"fixed [{done.rule}] {where}: {done.what} ({numbers[done.changes]})")
    made = "".join(f" and {name}" for name in fixed.weights)
    out.text(f"wrote {path}{made}" if fixed.applied else "nothing to fix")


def _print_rules(out: Output, rules: Sequence[Rule]) -> None:
    rows = [
        [r.id, r.severity, " ".join(r.chips) or "all", r.changes and f"fix: {r.changes}", r.rule]
        for r in rules
    ]
    out.table("rules:", ["rule", "severity", "chips", "", "what holds"], rows)
    out.json({"rules": [r.to_dict() for r in rules]})
