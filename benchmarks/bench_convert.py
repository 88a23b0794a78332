"""How fast do fp32 values get into an fp16 surface, next to NumPy and to copying the same bytes?

Peers: np.copyto from float32 into a float16 array that is already there, and np.copyto of bytes
(a plain copy) that reads and writes as much in all: n values are 4n bytes read and 2n written, so
the copy moves 3n bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from common import alternate, markdown, parser, report, time_text

import milane

SIZES_MB = (1, 16, 64)  # of fp32; 1 MB is 2**20 bytes
WIDTH = 1024  # fp16 rows of 2048 bytes: no padding

PROGRAM = """program(1.3)
{{
    func main<ios18>(tensor<fp16, [1, {rows}, 1, {width}]> x) {{
            tensor<fp16, [1, {rows}, 1, {width}]> y = relu(x = x)[name = string("y")];
        }} -> (y);
}}
"""


def main() -> None:
    """Measures and prints."""
    args = parser(__doc__ or "").parse_args()
    if args.threads:
        milane.set_num_threads(args.threads)
    results, rows = {}, []
    rng = np.random.default_rng(0)
    with milane.open("host") as runtime:
        for size_mb in SIZES_MB:
            count = size_mb * 2**20 // 4
            text = PROGRAM.format(rows=count // WIDTH, width=WIDTH)
            with runtime.compile(text) as kernel:
                port = kernel.inputs["x"]
                values = rng.standard_normal(port.shape, dtype=np.float32)
                halves = np.zeros(port.shape, np.float16)
                source, target = np.ones(3 * count, np.uint8), np.zeros(3 * count, np.uint8)
                variants: dict[str, Callable[[], object]] = {
                    "milane surface.write": lambda p=port, v=values: p.surface.write(v),  # type: ignore[misc]
                    "NumPy copyto fp16": lambda h=halves, v=values: np.copyto(h, v, "same_kind"),  # type: ignore[misc]
                    "copy of the same bytes": lambda t=target, s=source: np.copyto(t, s),  # type: ignore[misc]
                }
                spreads = alternate(variants, args.rounds)
                np.testing.assert_array_equal(port.array, halves)  # the same halves, bit for bit
            base = spreads["milane surface.write"].median
            for name, s in spreads.items():
                results[f"{name}, {size_mb} MB"] = s
                times = [time_text(t) for t in (s.median, s.min, s.max)]
                rate = f"{6 * count / s.median / 1e9:.2f}"
                rows.append([f"{size_mb} MB", name, *times, rate, f"{s.median / base:.2f}"])
    columns = [
        "fp32 size",
        "variant",
        "median",
        "min",
        "max",
        "GB/s read + written",
        "time / milane",
    ]
    report("fp32 values into an fp16 surface", results, markdown(columns, rows), args.json)


if __name__ == "__main__":
    main()
