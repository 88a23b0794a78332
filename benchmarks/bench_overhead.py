"""What does one evaluation cost beyond its arithmetic?

Peers: a C function that does next to nothing (getpagesize) called through ctypes, which also
releases the interpreter lock, and an empty Python function: the floor of any call from Python.
"""

from __future__ import annotations

import ctypes

import numpy as np
from common import alternate, markdown, parser, report, time_text

import milane

PROGRAM = """program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 1, 1, 32]> x) {
            tensor<fp16, [1, 1, 1, 32]> y = relu(x = x)[name = string("y")];
        } -> (y);
}
"""


def nothing() -> None:
    """The cheapest call there is."""


def main() -> None:
    """Measures and prints."""
    args = parser(__doc__ or "").parse_args()
    if args.threads:
        milane.set_num_threads(args.threads)
    page_size = ctypes.CDLL(None).getpagesize
    page_size.argtypes = []
    x = np.ones((1, 1, 1, 32), np.float16)
    with milane.open("host") as runtime, runtime.compile(PROGRAM) as kernel:
        results = alternate(
            {
                "kernel.eval(), 32 elements": kernel.eval,
                "kernel(x=array), 32 elements": lambda: kernel(x=x),
                "ctypes call of getpagesize()": page_size,
                "Python function that does nothing": nothing,
            },
            args.rounds,
        )
    base = results["kernel.eval(), 32 elements"].median
    rows = [
        [name, *(time_text(t) for t in (s.median, s.min, s.max)), f"{s.median / base:.2f}"]
        for name, s in results.items()
    ]
    columns = ["call", "median", "min", "max", "time / eval"]
    report("The cost of one call", results, markdown(columns, rows), args.json)


if __name__ == "__main__":
    main()
