"""Which family an operation belongs to, and the colours of a family."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Operations that are drawn in one colour.

    Attributes:
        name: the CSS class.
        label: what the legend says.
        hue, saturation: of the colour: degrees, 0 to 1.
        ops: the operations, as MIL names them.
    """

    name: str
    label: str
    hue: float
    saturation: float
    ops: tuple[str, ...] = ()

    def colour(self, lightness: float) -> str:
        """The colour at a lightness of 0 to 1, as ``#rrggbb``."""
        rgb = colorsys.hls_to_rgb(self.hue / 360, lightness, self.saturation)
        return "#" + "".join(f"{round(255 * c):02x}" for c in rgb)


def _ops(names: str) -> tuple[str, ...]:
    return tuple(names.split())


FAMILIES = (
    Family(
        "matrix",
        "matrix product, convolution, recurrence",
        212,
        0.68,
        _ops("conv conv_transpose einsum gru linear lstm matmul rnn scaled_dot_product_attention"),
    ),
    Family(
        "elementwise",
        "elementwise",
        125,
        0.42,
        _ops(
            "abs acos add asin atan atanh cast ceil cos cosh equal erf exp exp2 floor floor_div "
            "greater greater_equal inverse less less_equal log logical_and logical_not logical_or "
            "logical_xor maximum minimum mod mul not_equal pow real_div round rsqrt select sign "
            "sin sinh sqrt square sub tan tanh"
        ),
    ),
    Family(
        "activation",
        "activation",
        28,
        0.80,
        _ops(
            "clamped_relu clip elu gelu leaky_relu linear_activation prelu relu relu6 scaled_tanh "
            "sigmoid sigmoid_hard silu softmax softplus softplus_parametric softsign threshold "
            "thresholded_relu"
        ),
    ),
    Family(
        "reduction",
        "reduction, normalisation, pooling, sorting",
        266,
        0.48,
        _ops(
            "argsort avg_pool batch_norm cumsum instance_norm l2_norm l2_pool layer_norm "
            "local_response_norm max_pool non_zero reduce_argmax reduce_argmin reduce_l1_norm "
            "reduce_l2_norm reduce_log_sum reduce_log_sum_exp reduce_max reduce_mean reduce_min "
            "reduce_prod reduce_sum reduce_sum_square topk"
        ),
    ),
    Family(
        "movement",
        "shape and movement",
        215,
        0.10,
        _ops(
            "batch_to_space depth_to_space expand_dims flatten2d identity pad pixel_shuffle "
            "pixel_unshuffle reshape reshape_like reverse reverse_sequence space_to_batch "
            "space_to_depth squeeze tile transpose"
        ),
    ),
    Family(
        "slicing",
        "slicing, concatenation, gather, scatter",
        178,
        0.56,
        _ops(
            "band_part concat crop gather gather_along_axis gather_nd scatter scatter_along_axis "
            "scatter_nd slice_by_index slice_by_size slice_update sliding_windows split stack"
        ),
    ),
    Family(
        "image",
        "image resampling",
        328,
        0.55,
        _ops(
            "affine crop_resize non_maximum_suppression resample resize resize_bilinear "
            "resize_nearest_neighbor upsample_bilinear upsample_nearest_neighbor"
        ),
    ),
    Family(
        "quantised",
        "quantised constants, quantisation",
        50,
        0.78,
        _ops(
            "constexpr_affine_dequantize constexpr_blockwise_shift_scale constexpr_cast "
            "constexpr_lut_to_dense constexpr_lut_to_sparse "
            "constexpr_sparse_blockwise_shift_scale constexpr_sparse_to_dense dequantize quantize"
        ),
    ),
    Family(
        "new",
        "constants, new tensors",
        24,
        0.28,
        _ops(
            "const fill fill_like one_hot random_bernoulli random_categorical random_normal "
            "random_uniform range_1d shape"
        ),
    ),
    Family("state", "state", 4, 0.68, _ops("coreml_update_state read_state write_state")),
    Family(
        "control",
        "control flow, lists, buffers",
        238,
        0.38,
        _ops(
            "classify cond list_gather list_length list_read list_scatter list_write make_list "
            "tensor_buffer_to_tensor tensor_to_tensor_buffer while_loop"
        ),
    ),
)

# Operations that Milane does not know: a program may have them all the same.
OTHER = Family("other", "unknown operation", 0, 0.0)

_FAMILY_OF = {op: family for family in FAMILIES for op in family.ops}


def family_of(op: str) -> Family:
    """The family of an operation; `OTHER` for one that Milane does not know."""
    return _FAMILY_OF.get(op, OTHER)
