"""How fast do fp32 values get into an fp16 surface with padded rows, and back?

Rows of 1000 halves lie 2048 bytes apart. The limit is the copy bandwidth of the same rounds: bytes
read and written, 6 for each value. Peers do the same into, and from, the same padded rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from measure import Case, Options, Variant, main
from peers import Held, torch_missing, torch_on

import milane

ROWS, WIDTH = 16384, 1000


def cases(options: Options) -> Iterator[Case]:
    """There, and back."""
    rows = ROWS // 64 if options.short else ROWS
    shape = (1, rows, 1, WIDTH)
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    surface = milane.Surface(shape)
    stride = surface.layout.row_stride // 2
    padded = np.zeros((1, rows, 1, stride), np.float16)
    view = padded[..., :WIDTH]
    back = np.zeros_like(values)
    torch = torch_on(options.threads)
    work = 6.0 * values.size
    np.copyto(view, values, "same_kind")
    surface.write(values)
    expected = values.astype(np.float16).astype(np.float32)
    note = f"{values.nbytes / 1e6:.0f} MB of fp32"
    there = {
        "milane surface.write": Variant(
            lambda: surface.write(values), lambda: np.array(surface.array, np.float32)
        ),
        "NumPy copyto": Variant(
            lambda: np.copyto(view, values, "same_kind"), lambda: view.astype(np.float32)
        ),
    }
    home = {
        "milane surface.read_f32(out=)": Variant(lambda: surface.read_f32(out=back), back.copy),
        "milane surface.read_f32, a new array": Held(surface.read_f32, np.asarray).variant(),
        "NumPy astype, a new array": Held(lambda: view.astype(np.float32), np.asarray).variant(),
        "NumPy copyto": Variant(lambda: np.copyto(back, view), lambda: back),
    }
    if torch is not None:
        half, single, result = (
            torch.from_numpy(view),
            torch.from_numpy(values),
            torch.from_numpy(back),
        )
        there["PyTorch copy_"] = Variant(
            lambda: half.copy_(single), lambda: view.astype(np.float32)
        )
        home["PyTorch copy_"] = Variant(lambda: result.copy_(half), lambda: back)
    for name, variants in (("fp32 into padded fp16 rows", there), ("and back", home)):
        yield Case(name, variants, expected, limit="copy", work=work, note=note,
                   missing=torch_missing(torch))  # fmt: skip


if __name__ == "__main__":
    main(__doc__ or "", cases)
