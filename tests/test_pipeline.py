"""Loops over several kernels in C++, and evaluations paced by events."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import milane

WIDTH = 5


def scale(name: str, out: str, by: float, width: int = WIDTH) -> str:
    """out = name * by, and a second output that is out + 1."""
    kind = f"tensor<fp16, [1, 2, 1, {width}]>"
    return f"""program(1.3)
[buildInfo = dict<string, string>({{{{"coremlc-version", "3505.4.1"}}}})]
{{
    func main<ios18>({kind} {name}) {{
        fp16 by = const()[name = string("by"), val = fp16({by})];
        fp16 one = const()[name = string("one"), val = fp16(1)];
        {kind} {out} = mul(x = {name}, y = by)[name = string("{out}")];
        {kind} {out}_next = add(x = {out}, y = one)[name = string("{out}_next")];
    }} -> ({out}, {out}_next);
}}
"""


@pytest.fixture
def make(backend: str) -> Iterator[Callable[[str], milane.Kernel]]:
    with milane.open(backend, compile_budget=10**9) as runtime:  # type: ignore[arg-type]
        yield lambda text: runtime.compile(text, route="client")


STEPS = np.arange(7 * 2 * WIDTH, dtype=np.float16).reshape(7, 1, 2, 1, WIDTH) / 8


def test_linked_kernels_share_a_surface_and_every_step_is_tapped(
    make: Callable[[str], milane.Kernel],
) -> None:
    first, second = make(scale("x", "h", 2)), make(scale("h", "y", 3))
    with milane.Pipeline([first, second], links=[((0, "h"), (1, "h"))]) as pipeline:
        shared = pipeline._requests[1].inputs["h"].surface
        assert shared._native is first.outputs["h"].surface._native
        got = pipeline.run(7, feed={"x": STEPS}, taps=["y", (0, "h")])
    assert got["y"].shape == STEPS.shape
    assert (got[0, "h"] == STEPS * 2).all()
    assert (got["y"] == STEPS * 6).all()


def test_float32_feeds_are_converted_and_others_follow_the_rules_of_a_write(
    make: Callable[[str], milane.Kernel],
) -> None:
    with milane.Pipeline([make(scale("x", "y", 2))]) as pipeline:
        for dtype in (np.float32, np.float64):
            values = STEPS.astype(dtype) + dtype(1e-4)
            got = pipeline.run(7, feed={"x": values}, taps=["y"])["y"]
            assert (got == values.astype(np.float16) * 2).all()
        with pytest.raises(milane.DTypeError):
            pipeline.run(7, feed={"x": STEPS.astype(np.int32)})


def test_a_link_backwards_carries_over_to_the_next_step(
    make: Callable[[str], milane.Kernel],
) -> None:
    kernel = make(scale("x", "y", 2))
    with milane.Pipeline([kernel], links=[("y_next", "x")]) as pipeline:
        kernel.outputs["y_next"].array[...] = 1  # the shared surface: where the loop begins
        got = pipeline.run(5, taps=["y"])["y"]
    assert [float(v) for v in got[:, 0, 0, 0, 0]] == [2, 6, 14, 30, 62]


def test_a_kernel_may_be_several_stages(make: Callable[[str], milane.Kernel]) -> None:
    kernel = make(scale("x", "y", 2))
    with milane.Pipeline([kernel, kernel]) as pipeline:
        got = pipeline.run(7, feed={(0, "x"): STEPS}, taps=[(1, "y")])
    assert (got[1, "y"] == STEPS * 2).all()


def test_a_ring_of_surfaces_feeds_without_a_copy(make: Callable[[str], milane.Kernel]) -> None:
    kernel = make(scale("x", "y", 2))
    new = kernel._session.make_surface
    ring = [milane.Surface._wrap(new(kernel.inputs["x"].layout)) for _ in range(3)]
    for i, surface in enumerate(ring):
        surface.array[...] = i
    with milane.Pipeline([kernel]) as pipeline:
        got = pipeline.run(7, feed={"x": ring}, taps=["y"])["y"]
        assert [float(v) for v in got[:, 0, 0, 0, 0]] == [0, 2, 4, 0, 2, 4, 0]
        with pytest.raises(milane.InvalidArgumentError, match="without a link|one input among"):
            pipeline.run(7, feed={"z": ring})


def test_no_step_leaves_everything_as_it_was(make: Callable[[str], milane.Kernel]) -> None:
    kernel = make(scale("x", "y", 2))
    with milane.Pipeline([kernel]) as pipeline:
        got = pipeline.run(0, feed={"x": STEPS[:0]}, taps=["y"])
        assert got["y"].shape == (0, *STEPS.shape[1:])
        assert (kernel.outputs["y"].array == 0).all()


def test_what_does_not_fit_is_refused(make: Callable[[str], milane.Kernel]) -> None:
    one, other = make(scale("x", "y", 2)), make(scale("h", "y", 3, width=6))
    with pytest.raises(milane.InvalidArgumentError, match="several"):
        milane.Pipeline([one, other], links=[("y", "h")])
    with pytest.raises(milane.UnsupportedLayoutError, match="copy: expected fp16"):
        milane.Pipeline([one, other], links=[((0, "y"), "h")])
    with pytest.raises(milane.InvalidArgumentError, match="got two"):
        milane.Pipeline([one], links=[("y", "x"), ("y_next", "x")])
    with milane.Pipeline([one], links=[("y", "x")]) as pipeline:
        with pytest.raises(milane.InvalidArgumentError, match="without a link"):
            pipeline.run(7, feed={"x": STEPS})
        with pytest.raises(milane.InvalidArgumentError, match="0 steps or more"):
            pipeline.run(-1)
    with pytest.raises(milane.ClosedError, match="expected an open pipeline"):
        pipeline.run(1)
    with milane.Pipeline([one]) as pipeline:
        with pytest.raises(milane.InvalidArgumentError, match="expected shape"):
            pipeline.run(3, feed={"x": STEPS})
        one.close()
        with pytest.raises(milane.ClosedError):
            pipeline.run(1)


def test_the_counter_paces_evaluations(make: Callable[[str], milane.Kernel]) -> None:
    kernel = make(scale("x", "y", 2))
    kernel.inputs["x"].array[...] = 3
    with milane.Pipeline([kernel]) as pipeline:
        assert pipeline.counter == 0
        assert pipeline.metal is None
        assert pipeline.metal_event is None
        pipeline.ane_to_metal(kernel)
        assert pipeline.counter == pipeline.ane_event.signaled_value == 1
        pipeline.wait_on_ane(kernel)
        assert pipeline.counter == 1
        pipeline.bidirectional(kernel)
        assert pipeline.counter == pipeline.ane_event.signaled_value == 2
        assert (kernel.outputs["y"].array == 6).all()
    with pytest.raises(milane.ClosedError):
        pipeline.ane_to_metal(kernel)


def test_a_pipeline_of_a_gpu_shares_its_event(backend: str) -> None:
    try:
        metal = milane.open_metal()
    except milane.UnsupportedError as error:
        pytest.skip(str(error).splitlines()[0])
    with milane.Pipeline(metal) as pipeline:
        assert pipeline.metal is metal
        assert pipeline.metal_event is not None
        pipeline.ane_event.signal(7)
        assert pipeline.metal_event.signaled_value == 7
