"""Whole programs: against recorded results, and on the host engine against themselves unfused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import milane
from on_device import refused
from program_files import ProgramFile, all_programs, own_programs, random_inputs
from tolerance import program_tolerance

# What the host engine refuses, and why. A program that starts to run must leave this list.
REFUSED = {
    # Control flow is no part of the language the device takes (ane_facts D 9).
    "printed/adamsro__dtln-aec-coreml__DTLN_AEC_128_Part1": (
        milane.UnsupportedOpError,
        "while_loop|list",
    ),
    # Their BLOBFILE offsets are no multiples of 64, which the format asks for.
    "hand/christopherkarani__Espresso__Tests.MILGeneratorTests.Fixtures.fused_ffn": (
        milane.BlobError,
        "multiple of 64",
    ),
    "hand/christopherkarani__Espresso__Tests.MILGeneratorTests.Fixtures.fused_qkv": (
        milane.BlobError,
        "multiple of 64",
    ),
}


def _ids(programs: list[ProgramFile]) -> list[str]:
    return [p.id for p in programs]


WITH_RESULTS = [p for p in own_programs() if (p.folder / "io.npz").exists()]
TWINS = [p for p in own_programs() if (p.folder.parent / f"{p.folder.name}__decompressed").exists()]
# 1024 x 1024 pixels, ten trillion operations: half a minute a run.
HEAVY = "real/kepur__aislos__compiled.VAEDecoder"
RUNNABLE = [p for p in all_programs() if p.id not in REFUSED]
NOT_RUNNABLE = [p for p in all_programs() if p.id in REFUSED]  # none without the corpus


def _recorded(
    program: ProgramFile, kernel: milane.Kernel
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs by name (in0… is declaration order) and the outputs PyTorch computed, by position."""
    with np.load(program.folder / "io.npz") as io:
        inputs = {name: io[f"in{i}"] for i, name in enumerate(_declared_inputs(program))}
        outputs = {key: io[key] for key in io.files if key.startswith("out")}
    cast = {
        n: v.astype(kernel.inputs[n].dtype).reshape(kernel.inputs[n].shape)
        for n, v in inputs.items()
        if n in kernel.inputs
    }
    return cast, outputs


def _declared_inputs(program: ProgramFile) -> list[str]:
    parsed = milane.mil.parse(program.text)
    function = parsed["main"]
    return [i.name for i in function.inputs if i.type.kind != "state"]


@pytest.mark.parametrize("program", WITH_RESULTS, ids=_ids(WITH_RESULTS))
def test_program_gives_what_pytorch_recorded(program: ProgramFile, runtime: milane.Runtime) -> None:
    if refused(runtime, program.path):
        return
    kernel = runtime.compile(program.path)
    inputs, recorded = _recorded(program, kernel)
    got = kernel(**inputs)
    truth, limits = program_tolerance(program.text, program.folder, inputs)
    for i, (key, want) in enumerate(
        sorted(recorded.items(), key=lambda kv: int(kv[0][3:].split("__")[0]))
    ):
        name = list(got)[i]
        assert got[name].shape == want.shape, key
        if want.dtype.kind in "iub":
            np.testing.assert_array_equal(got[name], want, err_msg=key)
            continue
        # PyTorch computed in fp32 from unrounded weights; the witness in float64 from the program's.
        # The engine is held to the derived bound around float64, PyTorch's result to the same
        # bound plus one fp16 ulp per value for its own roundings.
        off = np.abs(got[name].astype(np.float64) - truth[name])
        worst = np.unravel_index(np.argmax(off - limits[name]), off.shape) if off.shape else ()
        assert (off <= limits[name]).all(), (
            f"{key} at {worst}: {off[worst]} > {limits[name][worst]}"
        )


@pytest.mark.parametrize("program", TWINS, ids=_ids(TWINS))
def test_compressed_program_equals_its_decompressed_twin(
    program: ProgramFile, runtime: milane.Runtime
) -> None:
    twin = program.folder.parent / f"{program.folder.name}__decompressed" / "model.mil"
    if refused(runtime, program.path) or refused(runtime, twin):
        return
    compressed, plain = runtime.compile(program.path), runtime.compile(twin)
    inputs = random_inputs(plain)
    a, b = compressed(**inputs), plain(**inputs)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name].view(np.uint8), b[name].view(np.uint8), err_msg=name)


@pytest.mark.parametrize("program", RUNNABLE, ids=_ids(RUNNABLE))
def test_fused_plan_equals_unfused_plan_bit_for_bit(
    program: ProgramFile, host_runtime: milane.Runtime, tmp_path: Path
) -> None:
    fused = program.compile(host_runtime, tmp_path)
    unfused = program.compile(host_runtime, tmp_path, fuse=False)
    inputs = random_inputs(fused)
    for _ in range(
        1 if program.id == HEAVY else 2
    ):  # twice: states and reused memory must not leak from one run to the next
        a, b = fused(**inputs), unfused(**inputs)
        for name in a:
            np.testing.assert_array_equal(
                a[name].view(np.uint8), b[name].view(np.uint8), err_msg=name
            )


@pytest.mark.parametrize("program", RUNNABLE, ids=_ids(RUNNABLE))
def test_program_runs_in_every_numerics_mode(
    program: ProgramFile, host_runtime: milane.Runtime, tmp_path: Path
) -> None:
    for numerics in ("fp32", "ane"):
        kernel = program.compile(host_runtime, tmp_path, numerics=numerics)
        if program.id == HEAVY:
            continue
        outputs = kernel(**random_inputs(kernel))
        assert outputs.keys() == kernel.outputs.keys()
        if numerics == "fp32":
            assert all(v.dtype != np.float16 for v in outputs.values())


@pytest.mark.parametrize("program", NOT_RUNNABLE, ids=_ids(NOT_RUNNABLE))
def test_refused_program_says_why_and_where(
    program: ProgramFile, runtime: milane.Runtime, tmp_path: Path
) -> None:
    error, message = REFUSED[program.id]
    with pytest.raises(error, match=message) as caught:
        program.compile(runtime, tmp_path)
    assert caught.value.line is not None
    assert caught.value.column is not None
