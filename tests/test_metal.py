"""Metal over surfaces: the same bytes, and the same events (on Linux over the emulation)."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator

import numpy as np
import pytest

import milane
from milane import _testing

PROGRAM = """program(1.3)
[buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})]
{
    func main<ios18>(tensor<fp16, [1, 2, 1, 32]> x) {
        fp16 two = const()[name = string("two"), val = fp16(2)];
        tensor<fp16, [1, 2, 1, 32]> y = mul(x = x, y = two)[name = string("y")];
    } -> (y);
}
"""


@pytest.fixture
def metal() -> Iterator[milane.MetalDevice]:
    try:
        device = milane.open_metal()
    except milane.UnsupportedError as error:
        pytest.skip(str(error).splitlines()[0])
    with device:
        yield device


@pytest.mark.skipif(milane.probe().has_ane, reason="this machine may have Metal")
def test_without_metal_the_error_says_so() -> None:
    with pytest.raises(milane.UnsupportedError, match="expected macOS"):
        milane.open_metal()


def halves(buffer: milane.MetalBuffer, count: int) -> np.ndarray:
    """The bytes at a buffer's address, as a caller of Metal sees them."""
    memory = (ctypes.c_uint16 * count).from_address(buffer.contents)
    return np.frombuffer(memory, np.float16)


def test_a_buffer_is_the_surface_s_memory(
    metal: milane.MetalDevice, ane_runtime: milane.Runtime
) -> None:
    with ane_runtime.compile(PROGRAM) as kernel:
        x, y = kernel.metal_input_buffer(metal, 0), kernel.metal_output_buffer(metal, 0)
        assert x.handle
        assert x.length % 16384 == 0  # whole pages, which a buffer without a copy covers
        assert x.contents == kernel.inputs["x"].array.ctypes.data
        halves(x, 64)[:] = 3  # as a GPU would
        kernel.eval()
        assert (halves(y, 64) == 6).all()


def test_a_buffer_outlives_its_kernel(
    metal: milane.MetalDevice, ane_runtime: milane.Runtime
) -> None:
    kernel = ane_runtime.compile(PROGRAM)
    buffer = kernel.metal_input_buffer(metal, 0)
    kernel.inputs["x"].array[...] = 5
    kernel.close()
    del kernel
    gc.collect()
    assert (halves(buffer, 64) == 5).all()


def test_memory_of_the_host_backend_is_refused(
    metal: milane.MetalDevice, host_runtime: milane.Runtime
) -> None:
    with (
        host_runtime.compile(PROGRAM) as kernel,
        pytest.raises(milane.UnsupportedError, match="expected an IOSurface"),
    ):
        kernel.metal_input_buffer(metal, 0)
    assert metal.buffer(milane.Surface([4, 4])).length > 0  # a surface of no backend is shared


def test_a_port_that_is_not_there_is_an_index_error(
    metal: milane.MetalDevice, ane_runtime: milane.Runtime
) -> None:
    with ane_runtime.compile(PROGRAM) as kernel, pytest.raises(IndexError):
        kernel.metal_input_buffer(metal, 1)


def test_an_event_is_the_same_on_both_sides(metal: milane.MetalDevice) -> None:
    theirs, ours = metal.new_metal_shared_event()
    theirs.signal(4)
    assert ours.wait(4, timeout=10)
    ours.signal(9)
    assert theirs.signaled_value == 9
    again = metal.metal_shared_event(ours)
    assert again.signaled_value == 9
    assert again.handle


def test_an_evaluation_signals_metal_and_waits_for_it(
    metal: milane.MetalDevice, ane_runtime: milane.Runtime
) -> None:
    theirs, ours = metal.new_metal_shared_event()
    with ane_runtime.compile(PROGRAM, route="client") as kernel:
        kernel.inputs["x"].array[...] = 1
        theirs.signal(1)
        kernel.eval_bidirectional(
            ours, 1, ours, 2, milane.SharedEventEvalOptions(enable_fw_to_fw_signal=True)
        )
        assert theirs.signaled_value == 2
        assert (kernel.outputs["y"].array == 2).all()


def test_a_closed_device_says_so(metal: milane.MetalDevice) -> None:
    assert metal.name
    assert metal.handle
    metal.close()
    metal.close()
    with pytest.raises(milane.ClosedError, match="expected an open device"):
        metal.new_metal_shared_event()
    assert "closed" in repr(metal)


@pytest.mark.skipif(not _testing.available(), reason="faults are the emulation's")
def test_no_device_and_no_way_to_make_events_are_named(ane_runtime: milane.Runtime) -> None:
    with (
        _testing.faults("nil.metal", 1),
        pytest.raises(milane.UnsupportedError, match="Metal device"),
    ):
        milane.open_metal()
    with milane.open_metal() as metal, ane_runtime.compile(PROGRAM) as kernel:
        with (
            _testing.faults("nil.metal", 1),
            pytest.raises(milane.MapFailedError, match="a buffer over"),
        ):
            kernel.metal_input_buffer(metal, 0)
        with (
            _testing.faults("missing.selector", "newSharedEventWithMachPort:"),
            pytest.raises(milane.UnsupportedSelectorError, match="newSharedEventWithMachPort"),
        ):
            metal.new_metal_shared_event()


@pytest.mark.skipif(not _testing.available(), reason="live objects are the emulation's")
def test_nothing_of_metal_is_left(ane_runtime: milane.Runtime) -> None:
    def use() -> None:
        with milane.open_metal() as metal, ane_runtime.compile(PROGRAM) as kernel:
            kernel.metal_output_buffer(metal, 0)
            metal.new_metal_shared_event()

    use()
    gc.collect()
    before = _testing.live()
    for _ in range(20):
        use()
    gc.collect()
    assert _testing.live() == before
