"""Programs with state: operations that have no result of their own to compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .case import FP16, Array, uniform


@dataclass(frozen=True)
class StateCase:
    """A program, what it is fed in successive calls, and the operations that it covers."""

    id: str
    text: str
    calls: tuple[dict[str, Array], ...]
    covers: tuple[str, ...]

    def __str__(self) -> str:
        return self.id


def _program(statements: str, params: str, outputs: str) -> str:
    head = f"program(1.3)\n{{\n    func main<ios18>({params}) {{\n"
    return f"{head}{statements}    }} -> ({outputs});\n}}\n"


_SUM = """\
        tensor<fp16, [2, 3]> before = read_state(input = s)[name = string("before")];
        tensor<fp16, [2, 3]> after = add(x = before, y = x)[name = string("after")];
        write_state(data = after, input = s)[name = string("write")];
        tensor<fp16, [2, 3]> again = read_state(input = s)[name = string("again")];
"""
_CACHE = """\
        tensor<fp16, [1, 8, 4]> old = read_state(input = s)[name = string("old")];
        tensor<int32, [3]> stride = const()[name = string("stride"), \
val = tensor<int32, [3]>([1, 1, 1])];
        tensor<bool, [3]> begin_mask = const()[name = string("begin_mask"), \
val = tensor<bool, [3]>([false, false, false])];
        tensor<bool, [3]> end_mask = const()[name = string("end_mask"), \
val = tensor<bool, [3]>([true, false, true])];
        tensor<fp16, [1, 8, 4]> new = slice_update(begin = begin, begin_mask = begin_mask, \
end = end, end_mask = end_mask, stride = stride, update = x, x = old)[name = string("new")];
        write_state(data = new, input = s)[name = string("write")];
        tensor<fp16, [1, 8, 4]> all = read_state(input = s)[name = string("all")];
"""
_UPDATE = """\
        tensor<fp16, [4]> old = read_state(input = s)[name = string("old")];
        tensor<fp16, [4]> sum = add(x = old, y = x)[name = string("sum")];
        tensor<fp16, [4]> new = coreml_update_state(state = s, value = sum)[name = string("new")];
        tensor<fp16, [4]> twice = add(x = new, y = new)[name = string("twice")];
"""


def _row(place: int) -> dict[str, Array]:
    ends = {"begin": [0, place, 0], "end": [0, place + 1, 0]}
    vectors = {name: np.array(v, np.int32) for name, v in ends.items()}
    return {"x": uniform((1, 1, 4), seed=place), **vectors}


STATE_CASES = (
    StateCase(
        "a sum that starts at zero and grows with every call",
        _program(_SUM, "state<tensor<fp16, [2, 3]>> s, tensor<fp16, [2, 3]> x", "before, again"),
        tuple({"x": np.full((2, 3), v, FP16)} for v in (1.0, 2.5, -0.25)),
        ("read_state", "write_state"),
    ),
    StateCase(
        "a cache whose rows are filled one by one",
        _program(
            _CACHE,
            "tensor<int32, [3]> begin, tensor<int32, [3]> end, "
            "state<tensor<fp16, [1, 8, 4]>> s, tensor<fp16, [1, 1, 4]> x",
            "all",
        ),
        tuple(_row(place) for place in (0, 1, 5, 1)),
        ("read_state", "write_state"),
    ),
    StateCase(
        "an update that gives the new value",
        _program(_UPDATE, "state<tensor<fp16, [4]>> s, tensor<fp16, [4]> x", "twice"),
        tuple({"x": uniform((4,), seed=i)} for i in range(3)),
        ("read_state", "coreml_update_state"),
    ),
)
