"""Every question in turn: python -m benchmarks. Each runs in a process of its own, pinned.

Questions are the files bench_*.py beside this one: nothing else lists them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from reports import compare, rows_of, write  # noqa: E402  # they are beside this file

# Limits first, as the rest is read against them; then what the project is about.
FIRST = ("limits", "gemm", "gemv", "transformer", "decode", "conv")


def questions() -> list[str]:
    """Names of all questions: bench_NAME.py."""
    found = sorted(p.stem.removeprefix("bench_") for p in FOLDER.glob("bench_*.py"))
    return sorted(found, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def thread_counts(text: str) -> list[int]:
    """ "1,2" as numbers."""
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError(f"expected counts of 1 or more, got {text}")
    return counts


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--out", type=Path, default=Path("benchmark-report"), metavar="FOLDER",
                         help="report.md, report.json and charts go here")  # fmt: skip
    options.add_argument("--only", action="append", metavar="NAME", help="this question; repeats")
    options.add_argument("--threads", type=thread_counts, help='such as "1,2", the default')
    options.add_argument("--rounds", type=int, default=9, help="7 or more")
    options.add_argument("--short", action="store_true", help="questions' short forms, for CI")
    options.add_argument("--compare", type=Path, metavar="OLD.json", help="report what is slower")
    options.add_argument("--no-compile", action="store_true", help="without torch.compile")
    options.add_argument("--corpus", type=Path, help="MIL programs for parse and models")
    options.add_argument("--list", action="store_true", help="names and questions, nothing else")
    args = options.parse_args(arguments)
    unknown = set(args.only or ()) - set(questions())
    if unknown:
        options.error(f"--only: expected of {', '.join(questions())}, got {', '.join(unknown)}")
    return args


def cpus() -> list[int]:
    """The CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def environment(threads: int, corpus: Path | None) -> dict[str, str]:
    """What a question's process finds: threads for libraries, and the package tested here."""
    counts = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)
    )
    return os.environ | counts | ({"MILANE_CORPUS": str(corpus)} if corpus else {})


def options_of(name: str) -> str:
    """A question's own help: it says which options it has."""
    path = FOLDER / f"bench_{name}.py"
    done = subprocess.run(
        [sys.executable, str(path), "--help"], capture_output=True, text=True, check=False
    )
    return done.stdout


def ask(name: str, threads: int, args: argparse.Namespace) -> dict[str, Any]:
    """One question's answer for a number of threads, or why there is none."""
    known = options_of(name)
    entry: dict[str, Any] = {"module": name, "threads": threads}
    if args.short and "--short" not in known:
        return entry | {"left_out": "no short form"}
    command = [sys.executable, str(FOLDER / f"bench_{name}.py"), "--rounds", str(args.rounds)]
    command += ["--threads", str(threads)]
    command += [flag for flag, given in (("--short", args.short), ("--no-compile", args.no_compile))
                if given and flag in known]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "answer.json"

        def pinned() -> None:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, cpus()[:threads])

        start = time.perf_counter()
        done = subprocess.run(
            [*command, "--json", str(path)],
            env=environment(threads, args.corpus),
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=pinned,
        )
        entry["seconds"] = time.perf_counter() - start
        if path.exists():
            entry |= json.loads(path.read_text())
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
            # 2 is argparse's: what this needs is not here, an option or a backend.
            entry["left_out" if done.returncode == 2 else "failed"] = lines[-1]
    return entry | {"threads": threads, "rows": rows_of(entry)}


def main() -> None:
    """Asks, writes, compares."""
    args = parse()
    if args.list:
        for name in questions():
            text = (FOLDER / f"bench_{name}.py").read_text(encoding="utf-8")
            print(f"{name:14} {text.splitlines()[0].strip(chr(34))}")
        return
    counts = args.threads or [n for n in (1, 2) if n <= len(cpus())]
    if max(counts) > len(cpus()):
        sys.exit(f"expected threads for {len(cpus())} CPUs, got {max(counts)}")
    answers = []
    for name in args.only or questions():
        for threads in counts:
            entry = ask(name, threads, args)
            answers.append(entry)
            state = entry.get("failed") or entry.get("left_out") or f"{len(entry['rows'])} rows"
            print(f"{name}, {threads} threads: {state}", flush=True)
            # Written as it grows: a long run that ends early still leaves a report.
            write(args.out, answers, args.compare)
    print(f"\n{args.out / 'report.md'}")
    if args.compare:
        print(compare(json.loads(args.compare.read_text()), {"answers": answers}))
    if any(a.get("failed") for a in answers):
        sys.exit(1)


if __name__ == "__main__":
    main()
