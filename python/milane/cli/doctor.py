"""`milane doctor`: what this machine has, and whether a small program runs on it."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass

import numpy as np

import milane
from milane import _core
from milane.cli.output import Output, add_json_option

_TRIAL = """program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 4, 1, 5]> a, tensor<fp16, [1, 4, 1, 5]> b) {
        tensor<fp16, [1, 4, 1, 5]> s = add(x = a, y = b)[name = string("s")];
        tensor<fp16, [1, 4, 1, 5]> y = relu(x = s)[name = string("y")];
    } -> (y);
}
"""


@dataclass
class Trial:
    """A small program on a backend: whether it ran and gave the right numbers."""

    backend: str
    ok: bool
    message: str


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `doctor`."""
    parser = commands.add_parser(
        "doctor", help="the Neural Engine, its private framework, and a trial of each backend"
    )
    add_json_option(parser)
    parser.set_defaults(handler=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    out = Output(as_json=args.json)
    info, report = milane.probe(), _core.inspect_framework()
    device = {name: getattr(info, name) for name in _DEVICE_FIELDS}
    out.table("machine", ("what", "value"), [(n, str(v)) for n, v in device.items()])
    host = {name: getattr(milane, name)() for name in _HOST_FUNCTIONS}
    out.text()
    out.table("host engine", ("what", "value"), [(n, str(v)) for n, v in host.items()])
    out.text()
    out.text(f"framework: {report.path}")
    if report.error:
        out.text(f"  not opened: {report.error}")
    else:
        out.table(
            "private classes and selectors",
            ("state", "", "types"),
            [(_state(r), f"{r.cls} {r.selector}".rstrip(), _types(r)) for r in report.rows],
        )
        for row in report.rows:
            if _state(row) != "ok":
                out.text(f"{_state(row)}: {row.cls} {row.selector or '(class)'}: {row.absent}")
    out.text()
    backends = ("ane", "host") if info.has_ane else ("host",)
    with out.status("compiling and evaluating a small program"):
        trials = [_try(backend) for backend in backends]
    for trial in trials:
        out.text(f"{trial.backend}: {'ok' if trial.ok else 'FAILED'}: {trial.message}")
    if not info.has_ane:
        out.text(f"ane: not tried: {_why_no_ane()}")
    out.json(
        {
            "device": device,
            "host": host,
            "framework": {
                "path": report.path,
                "error": report.error,
                "rows": [
                    {name: getattr(row, name) for name in _ROW_FIELDS} | {"state": _state(row)}
                    for row in report.rows
                ],
            },
            "trials": [asdict(trial) for trial in trials],
        }
    )
    return 0 if all(trial.ok for trial in trials) else 1


_DEVICE_FIELDS = ("has_ane", "num_cores", "architecture", "product", "build_version", "is_vm")
_HOST_FUNCTIONS = ("cpu_isa", "cpu_has_bf16", "num_threads")
_ROW_FIELDS = ("cls", "selector", "encoding", "found", "required", "seen", "users", "absent")


def _types(row: _core.ApiRow) -> str:
    """The types, as the runtime spells them; both where they differ."""
    differs = row.present and not row.matches
    return f"expected {row.encoding}, got {row.found}" if differs else row.encoding


def _state(row: _core.ApiRow) -> str:
    if not row.present:
        return "missing"
    return "ok" if row.matches else "differs"


def _why_no_ane() -> str:
    try:
        milane.open("ane").close()
    except milane.NoANEError as error:
        return str(error).splitlines()[0]
    return "it can be opened now"


def _try(backend: str) -> Trial:
    a = np.linspace(-2, 2, 20, dtype=np.float16).reshape(1, 4, 1, 5)
    b = np.full_like(a, 0.25)
    try:
        with (
            milane.open(backend) as runtime,  # type: ignore[arg-type]
            runtime.compile(_TRIAL) as kernel,
        ):
            got = kernel(a=a, b=b)["y"]
    except milane.AneError as error:
        return Trial(backend, False, str(error))
    if not np.array_equal(got, np.maximum(a + b, 0)):
        return Trial(backend, False, "a + b came out wrong")
    return Trial(backend, True, "a small program compiled, ran and gave the right numbers")
