"""How fast is MIL text parsed and verified, and does the time grow linearly with the text?

Peer: the strict parser in pure Python that comes with the corpus (tools/milparse.py). It checks
less: it makes a syntax tree and knows no types. Nothing else reads MIL text into a tree.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable
from pathlib import Path

from common import alternate, markdown, parser, report, time_text

import milane


def peer_parse(corpus: Path) -> Callable[[str], object]:
    """`parse` of the corpus's own parser."""
    spec = importlib.util.spec_from_file_location("milparse", corpus / "tools" / "milparse.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parse: Callable[[str], object] = module.parse
    return parse


def largest(corpus: Path) -> Path:
    """The largest MIL file that verifies."""
    for path in sorted(corpus.rglob("*.mil"), key=lambda p: -p.stat().st_size):
        try:
            milane.mil.parse(path.read_text(encoding="utf-8")).verify()
        except milane.AneError:
            continue
        return path
    raise SystemExit(f"error: no MIL file that verifies in {corpus}")


def repeated(text: str, times: int) -> str:
    """The program with every function `times` times, under other names."""
    start, end = text.index("func "), text.rindex("}")
    body = text[start:end]
    copies = [re.sub(r"\bfunc (\w+)<", rf"func \1_{i}<", body) for i in range(1, times)]
    return text[:start] + body + "".join(copies) + text[end:]


def parse_and_verify(text: str) -> None:
    """What compile does first."""
    milane.mil.parse(text).verify()


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__ or "")
    default = os.environ.get("MILANE_CORPUS")
    options.add_argument("--corpus", type=Path, default=default, required=default is None)
    args = options.parse_args()
    corpus = Path(args.corpus)
    path = largest(corpus)
    text = path.read_text(encoding="utf-8")
    peer = peer_parse(corpus)
    texts = {times: repeated(text, times) for times in (1, 2, 4)}
    variants: dict[str, Callable[[], object]] = {
        "milane parse": lambda: milane.mil.parse(text),
        "milparse.py parse": lambda: peer(text),
    }
    for times, longer in texts.items():
        variants[f"milane parse + verify, {times}x"] = lambda t=longer: parse_and_verify(t)  # type: ignore[misc]
    results = alternate(variants, args.rounds)
    sizes = {f"milane parse + verify, {t}x": len(longer) for t, longer in texts.items()}
    base = results["milane parse + verify, 1x"].median
    rows = [
        [
            name,
            f"{sizes.get(name, len(text)) / 1e3:.0f} kB",
            *(time_text(t) for t in (s.median, s.min, s.max)),
            f"{sizes.get(name, len(text)) / s.median / 1e6:.3g} MB/s",
            f"{s.median / base:.2f}",
        ]
        for name, s in results.items()
    ]
    columns = ["variant", "text", "median", "min", "max", "rate", "time / (parse + verify, 1x)"]
    table = markdown(columns, rows)
    print(f"{path.parent.name}/{path.name}, {text.count(';')} statements\n")
    report("Parsing MIL text", results, table, args.json, file=path.parent.name, bytes=sizes)


if __name__ == "__main__":
    main()
