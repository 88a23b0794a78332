"""States: counted, cleared, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import milane
from on_device import refused

# Two states; what goes in is added to one and replaces the other.
TEXT = """program(1.3)
{
    func main<ios18>(state<tensor<fp16, [2, 3]>> total, state<tensor<fp16, [70]>> last, tensor<fp16, [2, 3]> x, tensor<fp16, [70]> v) {
            tensor<fp16, [2, 3]> old = read_state(input = total)[name = string("old")];
            tensor<fp16, [2, 3]> sum = add(x = old, y = x)[name = string("sum")];
            write_state(data = sum, input = total)[name = string("w0")];
            write_state(data = v, input = last)[name = string("w1")];
            tensor<fp16, [2, 3]> now = read_state(input = total)[name = string("now")];
        } -> (now);
}
"""
OTHER = TEXT.replace("[70]", "[71]")
X, V = np.ones((2, 3), np.float16), np.arange(70, dtype=np.float16)


@pytest.fixture
def kernel(host_runtime: milane.Runtime) -> milane.Kernel:
    """On the host: of the device it is disputed whether it has states."""
    return host_runtime.compile(TEXT)


def test_the_device_refuses_states_or_keeps_them(runtime: milane.Runtime) -> None:
    if refused(runtime, TEXT):
        return
    with runtime.compile(TEXT) as kernel, milane.StateHandle(kernel, 10) as state:
        kernel(X, V)
        np.testing.assert_array_equal(kernel(X, V)["now"], 2 * X)
        state.reset()
        np.testing.assert_array_equal(kernel(X, V)["now"], X)


def test_positions_are_counted_up_to_the_last(kernel: milane.Kernel) -> None:
    state = milane.StateHandle(kernel, 10)
    assert (state.kernel, state.max_seq, state.position, state.remaining) == (kernel, 10, 0, 10)
    assert state.advance() == 1
    assert state.advance(0) == 1
    assert state.advance(9) == 10
    assert (state.position, state.remaining) == (10, 0)
    assert "10 of 10" in repr(state)


@pytest.mark.parametrize("n", [11, -1, 10**30])
def test_positions_that_are_not_there_are_refused(kernel: milane.Kernel, n: int) -> None:
    state = milane.StateHandle(kernel, 10)
    with pytest.raises(milane.InvalidArgumentError, match="0 to 10 positions"):
        state.advance(n)
    assert state.position == 0


def test_a_handle_has_room_for_one_position_at_least(kernel: milane.Kernel) -> None:
    with pytest.raises(milane.InvalidArgumentError, match="at least 1, got 0"):
        milane.StateHandle(kernel, 0)


def test_a_reset_clears_every_state(kernel: milane.Kernel) -> None:
    state = milane.StateHandle(kernel, 10)
    kernel(X, V)
    state.advance(3)
    assert (kernel.states["total"].array == 1).all()
    state.reset()
    assert state.position == 0
    assert not any(port.array.any() for port in kernel.states.values())
    np.testing.assert_array_equal(kernel(X, V)["now"], X)


def test_states_are_read_written_and_reset_without_a_handle(kernel: milane.Kernel) -> None:
    kernel.states["total"].surface.write(np.full((2, 3), 5, np.float32))
    np.testing.assert_array_equal(kernel(X, V)["now"], 5 + X)
    np.testing.assert_array_equal(kernel.states["last"].surface.read(), V)
    kernel.reset_states()
    np.testing.assert_array_equal(kernel(X, V)["now"], X)
    kernel.close()
    with pytest.raises(milane.ClosedError):
        kernel.reset_states()


def test_a_saved_state_goes_on_in_another_kernel(
    host_runtime: milane.Runtime, kernel: milane.Kernel, tmp_path: Path
) -> None:
    path = tmp_path / "cache.npz"
    with milane.StateHandle(kernel, 10) as state:
        kernel(X, V)
        state.advance(4)
        state.save(path)
        kernel(X, V)
        state.save(path)  # over the first
    with milane.StateHandle(host_runtime.compile(TEXT), 8) as state:
        state.load(path)
        assert (state.position, state.remaining) == (4, 4)
        np.testing.assert_array_equal(state.kernel(X, V)["now"], 3 * X)
    assert [p.name for p in tmp_path.iterdir()] == ["cache.npz"]


def test_another_programs_state_is_refused_and_changes_nothing(
    host_runtime: milane.Runtime, kernel: milane.Kernel, tmp_path: Path
) -> None:
    path = tmp_path / "cache.npz"
    with milane.StateHandle(kernel, 10) as state:
        kernel(X, V)
        state.advance(4)
        state.save(path)
    other = milane.StateHandle(host_runtime.compile(OTHER), 10)
    with pytest.raises(milane.InvalidArgumentError, match=r"last: float16 \[71\].*\[70\]"):
        other.load(path)
    short = milane.StateHandle(host_runtime.compile(TEXT), 3)
    with pytest.raises(milane.InvalidArgumentError, match=r"position in \[0, 3\], got 4"):
        short.load(path)
    for handle in (other, short):
        assert handle.position == 0
        assert not any(port.array.any() for port in handle.kernel.states.values())


@pytest.mark.parametrize("damage", ["missing", "cut", "other", "text", "bit"])
def test_a_damaged_file_is_refused_and_changes_nothing(
    kernel: milane.Kernel, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "cache.npz"
    state = milane.StateHandle(kernel, 10)
    kernel(X, V)
    state.save(path)
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "other":
        np.savez(path, other=np.zeros(3))
    elif damage == "text":
        path.write_text("states")
    else:
        content[content.index(V.tobytes()) + 5] ^= 1  # the archive's checksum finds it
        path.write_bytes(content)
    kernel(X, V)
    with pytest.raises(milane.ModelFileError, match="expected saved states"):
        state.load(path)
    assert (kernel.states["total"].array == 2).all()


def test_a_file_that_cannot_be_written_is_an_error(kernel: milane.Kernel, tmp_path: Path) -> None:
    with pytest.raises(milane.ModelFileError, match="expected to be written"):
        milane.StateHandle(kernel, 1).save(tmp_path / "nowhere" / "cache.npz")


def test_a_closed_handle_leaves_the_kernel_open(kernel: milane.Kernel, tmp_path: Path) -> None:
    with milane.StateHandle(kernel, 10) as state:
        pass
    state.close()
    for use in (state.advance, state.reset, lambda: state.kernel):
        with pytest.raises(milane.ClosedError, match="an open handle"):
            use()
    with pytest.raises(milane.ClosedError):
        state.save(tmp_path / "x.npz")
    assert not kernel.closed
    assert "closed" in repr(state)
    kernel.close()
    with pytest.raises(milane.ClosedError, match="an open kernel"):
        milane.StateHandle(kernel, 10)


def test_a_kernel_without_states_has_positions_all_the_same(runtime: milane.Runtime) -> None:
    text = 'program(1.3)\n{\n    func main<ios18>(tensor<fp16, [4]> x) {\n            tensor<fp16, [4]> y = add(x = x, y = x)[name = string("y")];\n        } -> (y);\n}\n'
    state = milane.StateHandle(runtime.compile(text), 2)
    state.advance(2)
    state.reset()
    assert state.remaining == 2
