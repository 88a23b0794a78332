"""Resizing, cropping and sampling of images [.., H, W]."""

from __future__ import annotations

import math

import numpy as np

from ._args import Array, Ints, Number, ints, scalar


def grid_points(size_in: float, size_out: int, mode: str) -> Array:
    """Where the outputs lie on the input grid [0, size_in - 1], by the formulas of the documents.

    Their divisions by size_out - 1 cancel; for one output the first point is meant.
    """
    i = np.arange(size_out, dtype=np.float64)
    last = size_in - 1
    if mode == "ALIGN_CORNERS" and size_out == 1:
        return np.array([last / 2.0])
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        points = i * (last / max(size_out - 1, 1))
    elif mode == "DEFAULT":
        points = i * (size_in / size_out)
    elif mode == "OFFSET_CORNERS":
        points = (i + 0.5) * (max(1.0, last) / size_out)
    elif mode == "UNALIGN_CORNERS":
        points = (i + 0.5) * (size_in / size_out) - 0.5
    else:
        raise ValueError(f"unknown sampling mode {mode}")
    return np.clip(points, 0.0, last)


def _interpolate(x: Array, axis: int, points: Array) -> Array:
    """Linear interpolation along one axis."""
    low = np.floor(points).astype(int)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    part = (points - low).reshape(shape)
    return np.take(x, low, axis) * (1.0 - part) + np.take(x, high, axis) * part


def op_resize_bilinear(
    x: Array,
    target_size_height: Number = 1,
    target_size_width: Number = 1,
    sampling_mode: str = "DEFAULT",
) -> Array:
    """The last two dimensions resized by bilinear interpolation."""
    out = np.asarray(x)
    for axis, size in ((-2, target_size_height), (-1, target_size_width)):
        where = axis % out.ndim
        points = grid_points(out.shape[where], int(scalar(size)), sampling_mode)
        out = _interpolate(out, where, points)
    return out


def _nearest(x: Array, axis: int, size: int) -> Array:
    """Output i takes input floor(i · in / out)."""
    return np.take(x, np.arange(size) * x.shape[axis] // size, axis)


def op_resize_nearest_neighbor(
    x: Array, target_size_height: Number, target_size_width: Number
) -> Array:
    """The last two dimensions resized; output i takes input floor(i · in / out)."""
    tall = _nearest(np.asarray(x), -2, int(scalar(target_size_height)))
    return _nearest(tall, -1, int(scalar(target_size_width)))


def _scaled(x: Array, height: Number, width: Number) -> tuple[int, int]:
    rows, columns = np.shape(x)[-2:]
    return math.floor(rows * scalar(height)), math.floor(columns * scalar(width))


def op_upsample_nearest_neighbor(
    x: Array, scale_factor_height: Number = 1, scale_factor_width: Number = 1
) -> Array:
    """resize_nearest_neighbor to floor(size · factor)."""
    return op_resize_nearest_neighbor(x, *_scaled(x, scale_factor_height, scale_factor_width))


def op_upsample_bilinear(
    x: Array,
    scale_factor_height: Number = 1,
    scale_factor_width: Number = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Array:
    """resize_bilinear to floor(size · factor), with the factor recomputed from the sizes.

    Corners aligned, else pixel centres, else (neither) the DEFAULT grid.
    """
    aligned = bool(scalar(align_corners))
    centres = not aligned if half_pixel_centers is None else bool(scalar(half_pixel_centers))
    free = "UNALIGN_CORNERS" if centres else "DEFAULT"
    mode = "STRICT_ALIGN_CORNERS" if aligned else free
    height, width = _scaled(x, scale_factor_height, scale_factor_width)
    return op_resize_bilinear(x, height, width, mode)


def op_resize(
    x: Array,
    shape: Ints,
    resized_dims: Number,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Array:
    """The last `resized_dims` dimensions take the last sizes of `shape`; 0 keeps a dimension.

    NEAREST_NEIGHBOR takes floor(i · in / out) on the DEFAULT grid and the nearest point, halves
    up, on the others: the documents do not say.
    """
    out = np.asarray(x, dtype=np.float64)
    count = int(scalar(resized_dims))
    wanted = ints(shape)
    for i in range(1, count + 1):
        axis = out.ndim - i
        size = wanted[-i] or out.shape[axis]
        if interpolation_mode == "LINEAR":
            out = _interpolate(out, axis, grid_points(out.shape[axis], size, sampling_mode))
        elif sampling_mode == "DEFAULT":
            out = _nearest(out, axis, size)
        else:
            points = grid_points(out.shape[axis], size, sampling_mode)
            index = np.minimum(np.floor(points + 0.5).astype(int), out.shape[axis] - 1)
            out = np.take(out, index, axis)
    return out


def _fold(points: Array, low: float, high: float) -> Array:
    """Reflect points into [low, high]."""
    span = high - low
    if span <= 0:
        return np.zeros_like(points)
    away = np.mod(points - low, 2.0 * span)
    return low + np.where(away > span, 2.0 * span - away, away)


def _place(points: Array, size: int, padding_mode: str) -> Array:
    """Move coordinates that lie outside an axis as the padding mode says."""
    if padding_mode == "border":
        return np.clip(points, 0.0, size - 1)
    if padding_mode == "reflection":
        return _fold(points, 0.0, size - 1.0)
    if padding_mode == "symmetric":
        return np.clip(_fold(points, -0.5, size - 0.5), 0.0, size - 1)
    if padding_mode != "constant":
        raise ValueError(f"unknown padding mode {padding_mode}")
    return points


def _pick(image: Array, y: Array, x: Array, outside: float) -> Array:
    """image [C, H, W] at whole coordinates [h, w]; `outside` beyond the edges."""
    height, width = image.shape[-2:]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    rows = np.clip(y, 0, height - 1).astype(int)
    columns = np.clip(x, 0, width - 1).astype(int)
    return np.where(inside, image[:, rows, columns], outside)


def _sample(image: Array, y: Array, x: Array, outside: float, *, nearest: bool) -> Array:
    """image [C, H, W] at coordinates y, x [h, w] to [C, h, w]."""
    if nearest:
        return _pick(image, np.round(y), np.round(x), outside)
    top, left = np.floor(y), np.floor(x)
    down, right = y - top, x - left
    return (
        _pick(image, top, left, outside) * (1 - down) * (1 - right)
        + _pick(image, top, left + 1, outside) * (1 - down) * right
        + _pick(image, top + 1, left, outside) * down * (1 - right)
        + _pick(image, top + 1, left + 1, outside) * down * right
    )


def _pixels(points: Array, size: int, coordinates_mode: str, *, aligned: bool) -> Array:
    """Coordinates in pixels: 0 is the centre of the first."""
    if coordinates_mode == "unnormalized":
        return points
    unit = points if coordinates_mode == "normalized_zero_to_one" else (points + 1.0) / 2.0
    return unit * (size - 1) if aligned else unit * size - 0.5


def op_resample(
    x: Array,
    coordinates: Array,
    *,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Number,
    coordinates_mode: str,
    align_corners: bool,
) -> Array:
    """x [B, C, H, W] at coordinates [B, h, w, (x, y)] to [B, C, h, w], as grid_sample does.

    `reflection` mirrors at the centres of the edge pixels, `symmetric` at their outer edges.
    """
    x = np.asarray(x)
    height, width = x.shape[-2:]
    aligned, nearest = bool(scalar(align_corners)), sampling_mode == "nearest"
    out = []
    for image, points in zip(x, np.asarray(coordinates, dtype=np.float64), strict=True):
        across = _pixels(points[..., 0], width, coordinates_mode, aligned=aligned)
        down = _pixels(points[..., 1], height, coordinates_mode, aligned=aligned)
        across, down = _place(across, width, padding_mode), _place(down, height, padding_mode)
        out.append(_sample(image, down, across, float(scalar(padding_value)), nearest=nearest))
    return np.stack(out)


def op_affine(
    x: Array,
    transform_matrix: Array,
    *,
    output_height: Number,
    output_width: Number,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Number,
    coordinates_mode: str,
    align_corners: bool,
) -> Array:
    """x' = a0 x + a1 y + a2, y' = b0 x + b1 y + b2 on [-1, 1]², then resample at (x', y')."""
    x = np.asarray(x)
    height, width = int(scalar(output_height)), int(scalar(output_width))
    across = np.linspace(-1.0, 1.0, width) if width > 1 else np.zeros(1)
    down = np.linspace(-1.0, 1.0, height) if height > 1 else np.zeros(1)
    if not scalar(align_corners):
        across, down = across * (width - 1) / width, down * (height - 1) / height
    grid_x, grid_y = np.meshgrid(across, down)
    rows = np.broadcast_to(transform_matrix, (x.shape[0], 6))
    points = [
        np.stack([a * grid_x + b * grid_y + c, d * grid_x + e * grid_y + f], axis=-1)
        for a, b, c, d, e, f in rows
    ]
    return op_resample(
        x,
        np.stack(points),
        sampling_mode=sampling_mode,
        padding_mode=padding_mode,
        padding_value=padding_value,
        coordinates_mode=coordinates_mode,
        align_corners=align_corners,
    )


def _box_points(start: float, end: float, count: int, mode: str) -> Array:
    """Points of a box as grid_points puts them on an axis of end - start + 1 elements."""
    return start + grid_points(end - start + 1.0, count, mode)


def op_crop_resize(
    x: Array,
    boxes: Array | None = None,
    box_indices: Array | None = None,
    *,
    target_height: Number = 1,
    target_width: Number = 1,
    normalized_coordinates: bool = False,
    spatial_scale: Number = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: Number = 0.0,
    roi: Array | None = None,
) -> Array:
    """x [B, C, H, W], boxes [N, 4] to [N, C, h, w]: one box, one image, bilinear.

    With `roi` [N, 1, 5, 1, 1] (index first) the result is [N, 1, C, h, w], and with
    [N, 1, 4, 1, 1] each box is cut from each image: [N, B, C, h, w].
    """
    x = np.asarray(x)
    if roi is not None:
        flat = np.reshape(roi, (np.shape(roi)[0], -1)).astype(np.float64)
        four = flat[:, -4:]
        images = [[int(r[0])] if len(r) == 5 else list(range(len(x))) for r in flat]
    else:
        assert boxes is not None
        four = np.asarray(boxes, dtype=np.float64)
        index = np.arange(len(four)) if box_indices is None else np.asarray(box_indices)
        images = [[int(i)] for i in index]
    height, width = x.shape[-2:]
    size = int(scalar(target_height)), int(scalar(target_width))
    out = []
    for box, chosen in zip(four, images, strict=True):
        top, left, bottom, right = _corners(box, box_coordinate_mode)
        scale = np.array([1.0, 1.0])
        if scalar(normalized_coordinates):
            scale = np.array([height - 1.0, width - 1.0])
        scale = scale * float(scalar(spatial_scale))
        down = _box_points(top * scale[0], bottom * scale[0], size[0], sampling_mode)
        across = _box_points(left * scale[1], right * scale[1], size[1], sampling_mode)
        grid_x, grid_y = np.meshgrid(across, down)
        outside = float(scalar(pad_value))
        beyond = (grid_y < 0) | (grid_y > height - 1) | (grid_x < 0) | (grid_x > width - 1)
        cut = [_sample(x[i], grid_y, grid_x, outside, nearest=False) for i in chosen]
        out.append([np.where(beyond, outside, c) for c in cut])
    result = np.array(out)
    return result if roi is not None else result[:, 0]


def _corners(box: Array, mode: str) -> tuple[float, float, float, float]:
    """Top, left, bottom, right of a box in one of the four spellings."""
    a, b, c, d = (float(v) for v in box)
    if mode.endswith("WIDTH_FIRST"):
        a, b, c, d = b, a, d, c
    if mode.startswith("CENTER_SIZE"):
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, c, d
