"""Control flow: functions of Python make the nested blocks. No backend here runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from milane.graph.body import Nested, body_of
from milane.graph.gradients import no_gradient
from milane.graph.tensor import Tensor


@overload
def cond(
    pred: Tensor,
    then: Callable[[], Tensor],
    otherwise: Callable[[], Tensor],
    *,
    name: str | None = None,
) -> Tensor: ...
@overload
def cond(
    pred: Tensor,
    then: Callable[[], Sequence[Tensor]],
    otherwise: Callable[[], Sequence[Tensor]],
    *,
    name: str | None = None,
) -> tuple[Tensor, ...]: ...
def cond(
    pred: Tensor,
    then: Callable[[], Tensor | Sequence[Tensor]],
    otherwise: Callable[[], Tensor | Sequence[Tensor]],
    *,
    name: str | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """What ``then`` makes where ``pred`` is true, and what ``otherwise`` makes where it is not.

    Both are called once, now; they may use every tensor of the function, and give a tensor or a
    list of them, of the same types.

    Raises:
        InvalidArgumentError: their results differ, or ``pred`` is no scalar bool.
    """
    body = body_of("cond", {"pred": pred})
    if pred.rank or pred.dtype != "bool":
        raise body.mistake("cond", f"expected pred to be a bool, got {pred.type}")
    yes, no = body.nested(then), body.nested(otherwise)
    if _types(yes) != _types(no):
        raise body.mistake(
            "cond",
            f"expected both functions to give the same types, got {_types(yes)} and {_types(no)}",
        )
    results = body.results("cond", {"pred": pred}, name=name, blocks=(yes, no))
    return results[0] if yes.single else results


def while_loop(
    cond: Callable[..., Tensor],
    body: Callable[..., Tensor | Sequence[Tensor]],
    loop_vars: Sequence[Tensor],
    *,
    name: str | None = None,
) -> tuple[Tensor, ...]:
    """The loop variables once ``cond`` of them is false; ``body`` makes the next ones.

    Both functions are called once, now, with as many tensors as there are variables. ``cond`` gives
    a scalar bool, ``body`` a tensor for each variable, of its type.

    Raises:
        InvalidArgumentError: they give something else.
    """
    where = body_of("while_loop", {"loop_vars": list(loop_vars)})
    types = [tensor.type for tensor in loop_vars]
    test = where.nested(cond, types, "loop_var")
    step = where.nested(body, types, "loop_var")
    if _types(test) != ["bool"]:
        raise where.mistake("while_loop", f"expected cond to give a bool, got {_types(test)}")
    if _types(step) != [str(type) for type in types]:
        raise where.mistake(
            "while_loop",
            f"expected body to give {[str(type) for type in types]}, got {_types(step)}",
        )
    return where.results(
        "while_loop", {"loop_vars": tuple(loop_vars)}, name=name, blocks=(test, step)
    )


def _types(nested: Nested) -> list[str]:
    return [str(tensor.type) for tensor in nested.outputs]


no_gradient(
    "there is no rule for nested blocks, and no backend that runs them", "cond", "while_loop"
)
