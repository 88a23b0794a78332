"""What does the way through Apple's framework add to an evaluation?

The same program on the host backend and on the ane backend. On Linux the framework is emulated
over the host engine, so the difference is the way: pool, exception guard, and the framework's
request; on a Mac it is the device, and the emulation's share is not comparable.
"""

from __future__ import annotations

from common import alternate, markdown, parser, report, time_text

import milane
from milane import _core

WIDTHS = (32, 4096, 65536)


def program(width: int) -> str:
    """One elementwise operation."""
    kind = f"tensor<fp16, [1, 1, 1, {width}]>"
    return (
        "program(1.3)\n{\n"
        f"    func main<ios18>({kind} x) {{\n"
        f'            {kind} y = relu(x = x)[name = string("y")];\n'
        "        } -> (y);\n}\n"
    )


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__ or "")
    args = options.parse_args()
    if not milane.probe().has_ane:
        options.error(
            "no ane backend here: build with -DMILANE_EMULATED_FRAMEWORK=ON, or use a Mac"
        )
    if args.threads:
        milane.set_num_threads(args.threads)
    calls = {}
    with milane.open("host") as host, milane.open("ane") as ane:
        for width in WIDTHS:
            for runtime in (host, ane):
                kernel = runtime.compile(program(width))
                calls[f"{runtime.backend}, {width} elements"] = kernel.eval
        results = alternate(calls, args.rounds)
    pool, guard, entry = min(_core.measure_entry(100_000) for _ in range(5))
    rows = []
    for width in WIDTHS:
        own, way = (results[f"{b}, {width} elements"] for b in ("host", "ane"))
        added = way.median - own.median
        rows.append(
            [
                str(width),
                *(time_text(t) for t in (own.median, way.median, added)),
                f"{way.median / own.median:.2f}",
                *(f"{part / 1e9 / added:.0%}" for part in (pool, guard, entry)),
                f"{1 - entry / 1e9 / added:.0%}",
            ]
        )
    columns = [
        *("elements", "host", "ane", "added", "ane / host"),
        *("pool", "guard", "entry (both)", "request and framework"),
    ]
    text = markdown(columns, rows) + (
        f"\n\npool {pool:.0f} ns, guard {guard:.0f} ns, entry {entry:.0f} ns; "
        f"the engine is {milane.probe().product}"
    )
    report("The way through the framework", results, text, args.json)


if __name__ == "__main__":
    main()
