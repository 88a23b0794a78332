"""What can this machine do at most: multiply-adds, reads and copies, in and beyond its caches?"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from limits import buffer, probes
from measure import Case, Options, Variant, main

from milane._core import limits as _limits

SIZES = {"8 MB": 8 << 20}


def plain(call: object, work: float) -> Variant:
    """A probe as a variant; there is nothing to compare."""
    assert callable(call)
    assert work
    return Variant(call, lambda: np.zeros(1))


def cases(options: Options) -> Iterator[Case]:
    """One case for each limit: its probes are rows of their own."""
    registers = {"fma": "fp32 multiply-adds", "bf16": "bf16 dot products"}
    memory = {kind: f"{kind}, beyond the caches" for kind in ("read", "copy")}
    for kind, name in (registers | memory).items():
        found = probes(kind, options.bytes)
        if not found:  # no such instruction here
            continue
        variants = {n.removeprefix("limit: "): plain(p.call, p.work) for n, p in found.items()}
        work = next(iter(found.values())).work
        yield Case(name, variants, work=work)
    for name, nbytes in SIZES.items():
        source, target = buffer(nbytes, huge=True), buffer(nbytes, huge=True)
        read = functools.partial(_limits.read, source)
        copy = functools.partial(_limits.copy, target, source)
        yield Case(f"read, {name}", {"read": plain(read, nbytes)}, work=nbytes)
        yield Case(f"copy, {name}", {"copy": plain(copy, nbytes)}, work=2 * nbytes)


if __name__ == "__main__":
    main(__doc__ or "", cases)
