"""Images: the last two axes are height and width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from milane.graph.body import Node, apply, apply_all
from milane.graph.gradients import (
    Gradients,
    RefusedError,
    argument,
    gradient,
    no_gradient,
    operand,
    reshaped,
)
from milane.graph.ops._parts import put
from milane.graph.tensor import Operand, Tensor

# Where the samples of a resized axis lie; what each means is in docs/ops.md.
Sampling: TypeAlias = Literal[
    "DEFAULT", "ALIGN_CORNERS", "STRICT_ALIGN_CORNERS", "UNALIGN_CORNERS", "OFFSET_CORNERS"
]
Box: TypeAlias = Literal[
    "CORNERS_HEIGHT_FIRST",
    "CORNERS_WIDTH_FIRST",
    "CENTER_SIZE_HEIGHT_FIRST",
    "CENTER_SIZE_WIDTH_FIRST",
]
Coordinates: TypeAlias = Literal[
    "unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one"
]


def upsample_nearest_neighbor(
    x: Operand,
    *,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    name: str | None = None,
) -> Tensor:
    """``x`` larger by these factors, every element repeated."""
    return apply(
        "upsample_nearest_neighbor",
        name,
        x=x,
        scale_factor_height=_factor(scale_factor_height),
        scale_factor_width=_factor(scale_factor_width),
    )


def upsample_bilinear(
    x: Operand,
    *,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
    name: str | None = None,
) -> Tensor:
    """``x`` larger by these factors, interpolated; ``half_pixel_centers`` came with ios16."""
    return apply(
        "upsample_bilinear",
        name,
        x=x,
        scale_factor_height=_factor(scale_factor_height),
        scale_factor_width=_factor(scale_factor_width),
        align_corners=align_corners,
        half_pixel_centers=half_pixel_centers,
    )


def resize(
    x: Operand,
    shape: Sequence[int] | Tensor,
    *,
    resized_dims: int,
    interpolation_mode: Literal["LINEAR", "NEAREST_NEIGHBOR"] = "LINEAR",
    sampling_mode: Sampling = "DEFAULT",
    name: str | None = None,
) -> Tensor:
    """``x`` with the last ``resized_dims`` sizes of ``shape``; 0 keeps one (ios17)."""
    return apply(
        "resize",
        name,
        x=x,
        shape=shape if isinstance(shape, Tensor) else [int(n) for n in shape],
        resized_dims=resized_dims,
        interpolation_mode=interpolation_mode,
        sampling_mode=sampling_mode,
    )


def resize_bilinear(
    x: Operand,
    *,
    target_size_height: int = 1,
    target_size_width: int = 1,
    sampling_mode: Sampling = "DEFAULT",
    name: str | None = None,
) -> Tensor:
    """``x`` in this height and width, interpolated."""
    return apply(
        "resize_bilinear",
        name,
        x=x,
        target_size_height=target_size_height,
        target_size_width=target_size_width,
        sampling_mode=sampling_mode,
    )


def resize_nearest_neighbor(
    x: Operand, *, target_size_height: int, target_size_width: int, name: str | None = None
) -> Tensor:
    """``x`` in this height and width, from the nearest elements."""
    return apply(
        "resize_nearest_neighbor",
        name,
        x=x,
        target_size_height=target_size_height,
        target_size_width=target_size_width,
    )


def crop(
    x: Operand,
    *,
    crop_height: Sequence[int],
    crop_width: Sequence[int],
    name: str | None = None,
) -> Tensor:
    """``x`` without so many rows above and below, and columns left and right."""
    return apply("crop", name, x=x, crop_height=list(crop_height), crop_width=list(crop_width))


@gradient("crop")
def _crop_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    for axis, name in ((x.rank - 2, "crop_height"), (x.rank - 1, "crop_width")):
        dy = put(dy, axis, argument(node, name)[0], x.shape[axis])
    return {"x": dy}


def crop_resize(
    x: Operand,
    boxes: Operand | None = None,
    box_indices: Operand | None = None,
    *,
    roi: Operand | None = None,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: Box = "CORNERS_HEIGHT_FIRST",
    sampling_mode: Sampling = "DEFAULT",
    pad_value: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Boxes of ``x``, each resized to the target: ``[boxes, C, height, width]``.

    From ios17 on ``boxes`` is ``[boxes, 4]`` and ``box_indices`` says which image each is of;
    before, ``roi`` ``[boxes, 1, 4 or 5, 1, 1]`` has both, and the result another axis.
    """
    return apply(
        "crop_resize",
        name,
        x=x,
        roi=roi,
        boxes=boxes,
        box_indices=box_indices,
        target_height=target_height,
        target_width=target_width,
        normalized_coordinates=normalized_coordinates,
        spatial_scale=spatial_scale,
        box_coordinate_mode=box_coordinate_mode,
        sampling_mode=sampling_mode,
        pad_value=pad_value,
    )


def affine(
    x: Operand,
    transform_matrix: Operand,
    *,
    output_height: int,
    output_width: int,
    sampling_mode: Literal["bilinear"] = "bilinear",
    padding_mode: Literal["constant"] = "constant",
    padding_value: float = 0.0,
    coordinates_mode: Literal["normalized_minus_one_to_one"] = "normalized_minus_one_to_one",
    align_corners: bool = True,
    name: str | None = None,
) -> Tensor:
    """``x`` under an affine map: ``transform_matrix`` ``[N or 1, 6]`` takes output to input places.

    MIL has no defaults for the modes; those here are the only ones it knows.
    """
    return apply(
        "affine",
        name,
        x=x,
        transform_matrix=transform_matrix,
        output_height=output_height,
        output_width=output_width,
        sampling_mode=sampling_mode,
        padding_mode=padding_mode,
        padding_value=padding_value,
        coordinates_mode=coordinates_mode,
        align_corners=align_corners,
    )


def resample(
    x: Operand,
    coordinates: Operand,
    *,
    sampling_mode: Literal["nearest", "bilinear"],
    padding_mode: Literal["constant", "border", "reflection", "symmetric"],
    padding_value: float = 0.0,
    coordinates_mode: Coordinates,
    align_corners: bool,
    name: str | None = None,
) -> Tensor:
    """``x`` at these places: ``coordinates`` ``[N, height, width, 2]`` are pairs of x and y.

    As PyTorch's ``grid_sample`` with ``"normalized_minus_one_to_one"``.
    """
    return apply(
        "resample",
        name,
        x=x,
        coordinates=coordinates,
        sampling_mode=sampling_mode,
        padding_mode=padding_mode,
        padding_value=padding_value,
        coordinates_mode=coordinates_mode,
        align_corners=align_corners,
    )


def non_maximum_suppression(
    boxes: Operand,
    scores: Operand,
    *,
    iou_threshold: float,
    max_boxes: int,
    score_threshold: float | None = None,
    per_class_suppression: bool = False,
    name: str | None = None,
) -> tuple[Tensor, ...]:
    """The boxes that are no copies of better ones: their corners, scores and positions.

    With ``score_threshold`` (before ios17) boxes are ``[N, boxes, 4]``, scores ``[N, boxes,
    classes]``, and there is a fourth result, how many were kept; without, the last two axes of both
    are swapped.
    """
    return apply_all(
        "non_maximum_suppression",
        name,
        boxes=boxes,
        scores=scores,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        max_boxes=max_boxes,
        per_class_suppression=per_class_suppression,
    )


# The gradients of resizing: along each axis it is a product with a matrix of a few numbers a row.


@gradient("resize_bilinear", "resize", "upsample_bilinear")
def _resize_gradient(node: Node, dy: Tensor) -> Gradients:
    """Along each axis the product with the transpose of the matrix that interpolates."""
    x, mode = operand(node, "x"), argument(node, "sampling_mode", "DEFAULT")
    if node.type == "upsample_bilinear":
        aligned = bool(argument(node, "align_corners", True))
        centres = argument(node, "half_pixel_centers")
        centres = not aligned if centres is None else centres
        mode = "UNALIGN_CORNERS" if centres else "DEFAULT"
        mode = "STRICT_ALIGN_CORNERS" if aligned else mode
    if argument(node, "interpolation_mode", "LINEAR") != "LINEAR" and mode != "DEFAULT":
        raise RefusedError("there is a rule for the nearest element with sampling_mode DEFAULT")
    nearest = argument(node, "interpolation_mode", "LINEAR") != "LINEAR"
    for axis in range(x.rank):
        if dy.shape[axis] != x.shape[axis] or mode == "OFFSET_CORNERS":
            size, count = x.shape[axis], dy.shape[axis]
            resized = node.type != "resize" or axis >= x.rank - argument(node, "resized_dims")
            if not resized or (node.type != "resize" and axis < x.rank - 2):
                continue
            weights = _nearest(size, count) if nearest else _linear(size, count, mode)
            dy = _mixed(dy, axis, weights)
    return {"x": dy}


@gradient("resize_nearest_neighbor", "upsample_nearest_neighbor")
def _nearest_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    for axis in (x.rank - 2, x.rank - 1):
        if dy.shape[axis] != x.shape[axis]:
            dy = _mixed(dy, axis, _nearest(x.shape[axis], dy.shape[axis]))
    return {"x": dy}


def _mixed(dy: Tensor, axis: int, weights: npt.NDArray[np.float64]) -> Tensor:
    """The product with ``weights`` ``[count, size]`` along an axis: from count to size."""
    outer, inner = dy.shape[:axis], dy.shape[axis + 1 :]
    count, size = weights.shape
    if not inner:
        flat = reshaped(dy, [math.prod(outer), count])
        made = apply("matmul", x=flat, y=weights, transpose_x=False, transpose_y=False)
    else:
        flat = reshaped(dy, [math.prod(outer), count, math.prod(inner)])
        left = np.ascontiguousarray(weights.T)
        made = apply("matmul", x=left, y=flat, transpose_x=False, transpose_y=False)
    return reshaped(made, [*outer, size, *inner])


def _linear(size: int, count: int, mode: str) -> npt.NDArray[np.float64]:
    """Row ``i``: how much of each of ``size`` elements is in element ``i`` of ``count``.

    Where the samples lie is in docs/ops.md.
    """
    i, last = np.arange(count, dtype=np.float64), size - 1
    points = {
        "DEFAULT": i * (size / count),
        "STRICT_ALIGN_CORNERS": i * (last / max(count - 1, 1)),
        "ALIGN_CORNERS": i * (last / (count - 1)) if count > 1 else i + last / 2,
        "OFFSET_CORNERS": (i + 0.5) * (max(1.0, last) / count),
        "UNALIGN_CORNERS": (i + 0.5) * (size / count) - 0.5,
    }[mode]
    points = np.clip(points, 0.0, last)
    low = np.floor(points).astype(int)
    weights = np.zeros((count, size))
    np.add.at(weights, (np.arange(count), low), 1.0 - (points - low))
    np.add.at(weights, (np.arange(count), np.minimum(low + 1, last)), points - low)
    return weights


def _nearest(size: int, count: int) -> npt.NDArray[np.float64]:
    weights = np.zeros((count, size))
    weights[np.arange(count), np.arange(count) * size // count] = 1.0
    return weights


no_gradient(
    "its samples lie where data says, and only scatter adds to places that are not known before",
    "affine",
    "crop_resize",
    "resample",
)
no_gradient("it chooses boxes", "non_maximum_suppression")


def _factor(factor: float) -> float:
    """Whole factors are int32 in the text, others fp32."""
    return int(factor) if float(factor).is_integer() else float(factor)
