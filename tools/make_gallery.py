"""Writes docs/generators.md and its pictures from the generators of `milane.mil` themselves.

A section is the generator's docstring, the operations of an example, and the rules of the linter
that touch it; the picture is `milane.draw`'s of the same example.

    python tools/make_gallery.py            # write what is out of date
    python tools/make_gallery.py --check    # write nothing; exit 1 when something is
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from make_docs import DOCS
from milane import blob, draw, lint, mil
from milane.files import write_text

PAGE = "generators.md"
PICTURES = "generators"

# The sizes of a small Llama (stories110M): what the examples are made of.
SIZES: dict[str, Any] = {
    "batch": 64,
    "channels": 768,
    "dim": 768,
    "head_dim": 64,
    "heads": 12,
    "hidden": 2048,
    "in_ch": 768,
    "kv_heads": 4,
    "layers": 3,
    "n_heads": 12,
    "name": "cache",
    "out_ch": 768,
    "q_heads": 12,
    "seq": 256,
    "seq_len": 256,
    "shape": (1, 12, 256, 64),
    "spatial": 256,
    "vocab": 32000,
}
# Every program written in the newer dialect has it; the page says it once.
_EVERYWHERE = ("new_dialect",)

_HEAD = """\
<!-- Written by tools/make_gallery.py; edit the docstrings in python/milane/mil instead. -->
# Generators

`milane.mil.gen_*` return programs for layers of transformers, forward and backward, and for smaller
parts. A program knows its inputs, outputs, states and weights by name, so that arrays can be passed
by name:

```python
import numpy as np
import milane
from milane import mil

program = mil.gen_ffn_forward(64, 176, 16)
print(", ".join(f"{{w.name}} {{list(w.shape)}}" for w in program.weights))

rng = np.random.default_rng(0)
weights = {{w.name: rng.normal(size=w.shape) / 16 for w in program.weights}}
with milane.open() as runtime, runtime.compile(program, weights=weights) as kernel:
    x = rng.normal(size=program.inputs["x"].shape)
    print(kernel(x=x)["out"].shape)
```

prints

```text
w1 [176, 64, 1, 1], w3 [176, 64, 1, 1], w2 [64, 176, 1, 1]
(1, 64, 1, 16)
```

`str(program)` is its text, the same for the same arguments. Activations are `[1, channels, 1, S]`,
a position of the sequence per column. A single input is called `x` and a single output `out`;
several have names whose byte order is the order they are declared in, because the device numbers
them so. `dialect="ios16"` writes `program(1.0)`, which older chips want; the default is `"ios18"`,
`program(1.3)`. Weights without a file of their own name stand in `@model_path/weights/NAME.bin`.

References such as D 66 are to collected reports of other projects, as are the
[linter's rules](lint-rules.md) and the [device's limits](ane-limits.md): none of it was tried on a
device by this project. Sums and products of every generator were compared with PyTorch, and every
backward kernel with its autograd, in float64 (tests/test_generators_*.py).

{contents}
"""


def generators() -> dict[str, dict[str, Callable[..., mil.MILProgram]]]:
    """Every generator by the module it stands in, both in alphabetical order."""
    found: dict[str, dict[str, Callable[..., mil.MILProgram]]] = {}
    for name in sorted(n for n in mil.__all__ if n.startswith("gen_")):
        made = getattr(mil, name)
        found.setdefault(made.__module__, {})[name] = made
    return dict(sorted(found.items()))


def example(generator: Callable[..., mil.MILProgram]) -> tuple[str, mil.MILProgram]:
    """A call of it in words, and the program."""
    arguments, words = [], []
    for parameter in inspect.signature(generator).parameters.values():
        if parameter.default is not parameter.empty or parameter.kind is parameter.KEYWORD_ONLY:
            continue
        if parameter.name == "weight":
            arguments.append(blob.quantize.affine(np.eye(768)[:, :, None, None], "int4"))
            words.append('blob.quantize.affine(array, "int4")')
        else:
            arguments.append(SIZES[parameter.name])
            words.append(repr(SIZES[parameter.name]))
    return f"{generator.__name__}({', '.join(words)})", generator(*arguments)


def section(name: str, generator: Callable[..., mil.MILProgram]) -> tuple[str, str]:
    """The Markdown of one generator, and its picture."""
    call, program = example(generator)
    signature = str(inspect.signature(generator)).partition(" ->")[0].replace("'", '"')
    signature = re.sub(r": \"[^\"]*\"(?: = (\S+?)(?=[,)]))?", lambda m: _default(m[1]), signature)
    histogram = Counter(program.program.histogram())
    histogram.pop("const", None)
    operations = ", ".join(f"{n} {op}" if n > 1 else op for op, n in sorted(histogram.items()))
    rules = sorted({f.rule for f in lint.lint(program) if f.rule not in _EVERYWHERE})
    touched = ", ".join(f"`{rule}`" for rule in rules) or "none"
    text = (
        f"### {name}\n\n```python\n{name}{signature}\n```\n\n"
        f"{_markdown(inspect.getdoc(generator) or '')}\n"
        f"- **Example:** `{call}`: {operations}.\n"
        f"- **Rules of the [linter](lint-rules.md) that touch the example:** {touched}.\n\n"
        f"![the graph of {name}]({PICTURES}/{name}.svg)\n"
    )
    return text, draw.svg(program.program)


def _default(value: str | None) -> str:
    return f"={value}" if value else ""


_LABEL = re.compile(r"([A-Z]\w+(?:, [\w ]+)?(?: of \w+)?):(?:\s|$)")


def _markdown(doc: str) -> str:
    """A docstring in Markdown: labelled paragraphs become a list."""
    out: list[str] = []
    for line in doc.splitlines():
        label = _LABEL.match(line)
        if label and out:
            if out[-1] == "" and len(out) > 1 and out[-2].startswith(("- **", "  ")):
                out.pop()
            out.append(f"- **{label[1]}:**{line[label.end(1) + 1 :]}")
        elif line.startswith("    "):
            out.append(f"  {line.strip()}")
        else:
            out.append(line)
    return _inline("\n".join(out))


def _inline(text: str) -> str:
    text = re.sub(r":func:`\.?(gen_\w+)`", r"[`\1`](#\1)", text)
    text = re.sub(r":\w+:`[.~]?([^`]+)`", r"`\1`", text)
    return text.replace("``", "`")


def _introduction(module: str) -> tuple[str, str]:
    """The heading of a family, and what its module says below its first line."""
    doc = inspect.getdoc(sys.modules[module]) or ""
    first, _, rest = doc.partition("\n\n")
    heading = " ".join(first.split()).rstrip(".")
    blocks = []
    for block in re.split(r"\n\n+", rest):
        if re.search(r"^={3,}", block, re.MULTILINE) or block.startswith("    "):
            blocks.append(f"```text\n{inspect.cleandoc(block)}\n```")
        elif block:
            blocks.append(_inline(block.replace("::\n", ":\n").removesuffix(":") + _colon(block)))
    return heading, "\n\n".join(blocks)


def _colon(block: str) -> str:
    return ":" if block.endswith(":") and not block.endswith("::") else ""


def files(docs: Path = DOCS) -> dict[Path, str]:
    """The page and the pictures, with the text each should have."""
    contents, sections = [], []
    made: dict[Path, str] = {}
    for module, members in generators().items():
        heading, introduction = _introduction(module)
        links = ", ".join(f"[`{name}`](#{name})" for name in members)
        contents.append(f"- {heading}: {links}")
        sections.append(f"## {heading}\n" + (f"\n{introduction}\n" if introduction else ""))
        for name, generator in members.items():
            text, picture = section(name, generator)
            sections.append(text)
            made[docs / PICTURES / f"{name}.svg"] = picture
    page = _HEAD.format(contents="\n".join(contents)) + "\n" + "\n".join(sections)
    return {docs / PAGE: page, **made}


def out_of_date(docs: Path = DOCS) -> dict[Path, str | None]:
    """Files that are not what they should be; None for a picture of no generator."""
    wanted: dict[Path, str | None] = dict(files(docs))
    wanted |= {p: None for p in sorted((docs / PICTURES).glob("*.svg")) if p not in wanted}

    def is_stale(path: Path, text: str | None) -> bool:
        return text is None or not path.is_file() or path.read_text(encoding="utf-8") != text

    return {path: text for path, text in wanted.items() if is_stale(path, text)}


def main(argv: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    """The exit code: 1 when `--check` found a file out of date."""
    parser = argparse.ArgumentParser(description="Write docs/generators.md and its pictures.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    check = parser.parse_args(argv).check
    stale = out_of_date(docs)
    (docs / PICTURES).mkdir(exist_ok=True)
    for path, text in stale.items():
        if not check and text is None:
            path.unlink()
        elif not check:
            write_text(path, text or "")
        print(f"{path}: {'out of date: run tools/make_gallery.py' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
