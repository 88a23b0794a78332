"""What does a compile cost when milane.cache has its results, against one that has to make them?

For the model with the most bytes of weights and the one with the longest text in a folder of models
(the corpus, for one), and for a synthetic stack of matrices of the sizes of stories110M (219 MB).
Each compile runs in a process of its own, as the cache is there for the next process; the time is
that of `compile()`, parsing included, without importing Python or NumPy. "cold" does not use the
cache, "first" fills an empty one, "hit" finds everything. The bytes are in the system's page cache.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import Spread, markdown, parser, report, time_text

import milane
from milane.blob import BlobWriter, read

WEIGHTS = "@model_path/weights/weight.bin"

# Compiles argv[1], with the options argv[2], and prints seconds: of the compile, of an evaluation.
CHILD = """
import json, sys, time
import numpy as np
import milane
runtime = milane.open("host")
options = json.loads(sys.argv[2])
milane.set_num_threads(options.pop("threads"))
start = time.perf_counter()
kernel = runtime.compile(sys.argv[1], **options)
compiled = time.perf_counter() - start
for name in kernel.inputs:
    kernel.inputs[name].array[...] = 0
runs = []
if options.get("function") == "main" and "stack" in sys.argv[1]:
    for _ in range(9):
        start = time.perf_counter()
        kernel.eval()
        runs.append(time.perf_counter() - start)
counted = runtime.compile_count
print(json.dumps([compiled, sorted(runs)[4] if runs else 0.0, counted]))
"""


def stack(folder: Path) -> Path:
    """Matrices of the sizes of stories110M: 12 layers of 768 x 768 and 768 x 2048, 32000 words."""
    layers, width, hidden, words = 12, 768, 2048, 32000
    statements: list[str] = []
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    (folder / "weights").mkdir()
    blob = folder / "weights" / "weight.bin"
    shapes: list[tuple[int, int]] = []

    def linear(result: str, x: str, outputs: int, inputs: int) -> str:
        number = len(shapes)
        shapes.append((outputs, inputs))
        kind = f"tensor<fp16, [{outputs}, {inputs}]>"
        statements.append(
            f'{kind} w{number} = const()[name = string("w{number}"), val = {kind}(BLOBFILE('
            f'path = string("{WEIGHTS}"), offset = uint64(@{number}@)))];\n'
            f"tensor<fp16, [1, {outputs}]> {result} = linear(x = {x}, weight = w{number})"
            f'[name = string("{result}")];'
        )
        return result

    x = "x"
    for layer in range(layers):
        for i in range(4):
            x = linear(f"h{layer}_{i}", x, width, width)
        up, gate = (linear(f"{n}{layer}", x, hidden, width) for n in ("up", "gate"))
        statements.append(
            f"tensor<fp16, [1, {hidden}]> m{layer} = mul(x = {up}, y = {gate})"
            f'[name = string("m{layer}")];'
        )
        x = linear(f"down{layer}", f"m{layer}", width, hidden)
    linear("logits", x, words, width)
    with BlobWriter(blob) as writer:
        for shape in shapes:
            writer.add((rng.standard_normal(shape, np.float32) / 30).astype(np.float16))
    text = "\n".join(statements)
    for number, record in enumerate(read(blob).records()):
        text = text.replace(f"@{number}@", str(record.offset))
    path = folder / "model.mil"
    path.write_text(
        f"program(1.3)\n{{\nfunc main<ios18>(tensor<fp16, [1, {width}]> x) {{\n"
        f"{text}\n}} -> (logits);\n}}\n"
    )
    return path


def weight_bytes(path: Path) -> int:
    """Bytes of a model's weight files."""
    return sum(f.stat().st_size for f in path.parent.rglob("*.bin"))


def of_folder(models: Path) -> dict[str, Path]:
    """The models with the most weights and with the longest text, of those that compile."""
    found = [p for p in models.rglob("model.mil") if (p.parent / "weights").is_dir()]
    chosen: dict[str, Path] = {}
    with milane.open("host") as runtime:
        for what, key in (
            ("most weights", weight_bytes),
            ("longest text", lambda p: p.stat().st_size),
        ):
            for path in sorted(found, key=key, reverse=True):
                try:
                    runtime.compile(path, use_cache=False).close()
                except milane.AneError:
                    continue
                chosen[f"{what}: {path.parent.name}"] = path
                break
    return chosen


def compile_once(path: Path, cache: Path, *, use_cache: bool, threads: int) -> tuple[float, float]:
    """Seconds of a compile and of an evaluation, in a new process."""
    function = milane.mil.load(str(path)).functions[0].name
    options = {"use_cache": use_cache, "function": function, "threads": threads}
    package = Path(milane.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), json.dumps(options)],
        env=os.environ
        | {
            "MILANE_CACHE_DIR": str(cache),
            "PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]),
        },
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, evaluation, _ = json.loads(done.stdout)
    return float(seconds), float(evaluation)


def spread(times: list[float]) -> Spread:
    """Of the rounds."""
    return Spread(statistics.median(times), min(times), max(times), len(times))


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__ or "")
    options.add_argument("--models", type=Path, help="a folder with model.mil files and weights")
    args = options.parse_args()
    if args.threads:
        milane.set_num_threads(args.threads)
    threads = milane.num_threads()
    results, rows = {}, []
    with tempfile.TemporaryDirectory() as scratch:
        models = {"synthetic, sizes of stories110M": stack(Path(scratch) / "stack")}
        if args.models:
            models |= of_folder(args.models)
        for name, path in models.items():
            times: dict[str, list[float]] = {"cold": [], "first": [], "hit": []}
            evaluations: dict[str, list[float]] = {"cold": [], "first": [], "hit": []}
            for i in range(args.rounds):
                cache = Path(scratch) / f"cache{i}"
                for variant, seconds_of in times.items():
                    seconds, evaluation = compile_once(
                        path, cache, use_cache=variant != "cold", threads=threads
                    )
                    seconds_of.append(seconds)
                    evaluations[variant].append(evaluation)
                for entry in cache.glob("*.milane"):
                    entry.unlink()
            spreads = {variant: spread(t) for variant, t in times.items()}
            results.update({f"{name}, {variant}": s for variant, s in spreads.items()})
            for variant, s in spreads.items():
                evaluation = statistics.median(evaluations[variant])
                rows.append(
                    [
                        *(name, f"{weight_bytes(path) / 1e6:.0f} MB", variant),
                        *(time_text(t) for t in (s.median, s.min, s.max)),
                        f"{spreads['cold'].median / s.median:.2f}",
                        time_text(evaluation) if evaluation else "",
                    ]
                )
    columns = ["model", "weights", "compile", "median", "min", "max", "cold / this", "evaluation"]
    report("Compiles with and without milane.cache", results, markdown(columns, rows), args.json)


if __name__ == "__main__":
    main()
