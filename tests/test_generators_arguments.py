"""What generators of layers refuse, and how they say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from milane import InvalidArgumentError, blob, mil
from milane._core import mil as core_mil
from milane.mil import MILProgram

Call = Callable[[], object]

SIZES: dict[Callable[..., MILProgram], int] = {
    **dict.fromkeys(
        [
            mil.gen_conv,
            mil.gen_conv_fp16,
            mil.gen_conv_fp16_io,
            mil.gen_conv_fp32,
            mil.gen_conv_dynamic_fp16,
            mil.gen_conv_int8,
            mil.gen_w8a8_chain,
            mil.gen_matmul,
            mil.gen_matmul_dynamic,
            mil.gen_dynamic_matmul,
            mil.gen_classifier_forward,
            mil.gen_classifier_backward,
            mil.gen_ffn_backward,
            mil.gen_ffn_backward_relu2,
            mil.gen_ffn_forward,
            mil.gen_ffn_forward_relu2,
            mil.gen_ffn_forward_rms,
            mil.gen_ffn_forward_rms_relu2,
            mil.gen_ffn_forward_taps,
            mil.gen_ffn_forward_taps_relu2,
            mil.gen_ffn_fwd_taps,
            mil.gen_ffn_up,
        ],
        3,
    ),
    **dict.fromkeys(
        [
            mil.gen_identity,
            mil.gen_identity_fp16_io,
            mil.gen_softmax_vocab,
            mil.gen_rmsnorm,
            mil.gen_final_rmsnorm,
            mil.gen_final_rmsnorm_dynamic,
            mil.gen_rmsnorm_backward,
            mil.gen_rmsnorm_backward_dynamic,
        ],
        2,
    ),
    mil.gen_scale_fp16_io: 1,
    mil.gen_gqa_expand: 4,
}
WITH_EPS = [
    mil.gen_rmsnorm,
    mil.gen_final_rmsnorm,
    mil.gen_final_rmsnorm_dynamic,
    mil.gen_rmsnorm_backward,
    mil.gen_rmsnorm_backward_dynamic,
    mil.gen_ffn_forward_rms,
    mil.gen_ffn_forward_rms_relu2,
    mil.gen_ffn_fwd_taps,
]


@pytest.mark.parametrize("generator", SIZES, ids=lambda g: g.__name__)
@pytest.mark.parametrize("size", [0, -3, 1.5, "4", True], ids=repr)
def test_sizes_are_positive_integers(generator: Callable[..., MILProgram], size: object) -> None:
    for place in range(SIZES[generator]):
        sizes: list[Any] = [2] * SIZES[generator]
        sizes[place] = size
        with pytest.raises(InvalidArgumentError) as caught:
            generator(*sizes)
        message = str(caught.value)
        assert message.startswith(f"{generator.__name__}: expected ")
        assert message.endswith(f"to be an integer of 1 or more, got {size!r}")


@pytest.mark.parametrize("generator", SIZES, ids=lambda g: g.__name__)
def test_sizes_may_be_numbers_of_numpy(generator: Callable[..., MILProgram]) -> None:
    count = SIZES[generator]
    assert str(generator(*[np.int64(2)] * count)) == str(generator(*[2] * count))


@pytest.mark.parametrize("generator", SIZES, ids=lambda g: g.__name__)
def test_a_dialect_is_one_of_those_there_are(generator: Callable[..., MILProgram]) -> None:
    with pytest.raises(InvalidArgumentError, match="expected a dialect of .*ios16.*'ios3'"):
        generator(*[2] * SIZES[generator], dialect="ios3")


@pytest.mark.parametrize("generator", WITH_EPS, ids=lambda g: g.__name__)
@pytest.mark.parametrize("eps", [0.0, -1e-5, 1e-9, 1e6, float("nan")])
def test_eps_is_positive_in_fp16(generator: Callable[..., MILProgram], eps: float) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{generator.__name__}: expected eps"):
        generator(*[2] * SIZES[generator], eps=eps)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mil.gen_gqa_expand(3, 8, 4, 5), "gen_gqa_expand: expected kv_heads to divide"),
        (lambda: mil.gen_conv_int8(4, 6, 2, scale=0.0), "gen_conv_int8: expected scale"),
        (lambda: mil.gen_w8a8_chain(4, 3, 2, act_scale=[1.0]), "1 number|one number or 2"),
        (lambda: mil.gen_w8a8_chain(4, 3, 2, act_scale=[1.0, -1.0]), r"act_scale\[1\]"),
        (lambda: mil.gen_w8a8_chain(4, 3, 2, weight_scale=1e9), "expected weight_scale"),
        (
            lambda: mil.gen_conv_compressed(blob.quantize.affine(np.ones((6, 4))), 2),
            r"expected a weight of shape \[out_ch, in_ch, 1, 1\], got \[6, 4\]",
        ),
        (
            lambda: mil.gen_conv_compressed(
                blob.quantize.affine(np.ones((6, 4, 1, 1)), scale_dtype="fp32"), 2
            ),
            "expected an fp16 weight, got fp32",
        ),
        (
            lambda: mil.gen_conv_compressed(blob.quantize.affine(np.ones((6, 4, 1, 1))), 0),
            "spatial",
        ),
    ],
)
def test_other_arguments_are_checked(call: Call, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        call()


def test_a_vocabulary_beyond_the_device_is_told_by_its_rule() -> None:
    broken = core_mil.broken_limits(mil.gen_classifier_forward(8, 151936, 2).program)
    assert {rule for rule, *_ in broken} == {"dimension"}
    assert core_mil.broken_limits(mil.gen_classifier_forward(8, 9496, 2).program) == []
