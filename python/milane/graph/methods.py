"""Operations as methods of a graph, under the names of the Rust bindings for the same device."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from milane._core import mil as _mil
from milane.errors import InvalidArgumentError
from milane.graph import ops
from milane.graph.tensor import Operand, Tensor

if TYPE_CHECKING:
    from milane.graph.body import Body


class PadMode(str, Enum):
    """What convolutions and pools do at the edges."""

    VALID = "valid"  # only windows that fit
    SAME = "same"  # zeros around, so that there are ceil(size / stride) windows


class PadFillMode(str, Enum):
    """What :meth:`Graph.pad` puts around a tensor."""

    CONSTANT = "constant"
    REFLECT = "reflect"  # mirrored, without the edge
    REPLICATE = "replicate"  # the edge again


class Methods:
    """Operations over ``[N, C, H, W]``; every one gives a tensor of the graph.

    Numbers and arrays may stand for tensors. What does not fit raises :class:`MILVerifyError` with
    the caller's file and line. Operations under their MIL names are in :mod:`milane.graph.ops`.
    """

    _body: Body

    if TYPE_CHECKING:  # the graph's own

        def constant(
            self,
            data: npt.ArrayLike,
            shape: Sequence[int] | None = None,
            *,
            dtype: str | None = None,
            name: str | None = None,
        ) -> Tensor: ...

    # Values

    def placeholder(self, shape: Sequence[int]) -> Tensor:
        """An fp16 input of this shape; it names itself ``x000``, ``x001``, … in order.

        The device wants rows of 64 elements or more in some reports: pad shorter ones.
        """
        name = f"x{len(self._body.inputs):03d}"
        return self._body.input(name, _mil.Type.tensor("fp16", tuple(shape)))

    def constant_with_scalar(self, value: float, shape: Sequence[int]) -> Tensor:
        """A constant of this shape with one value everywhere."""
        return self.constant(np.full(tuple(shape), value, np.float16))

    def constant_with_f16_bytes(self, data: bytes, shape: Sequence[int]) -> Tensor:
        """A constant of little-endian half-precision numbers.

        Raises:
            InvalidArgumentError: two bytes for each element were expected.
        """
        if len(data) != 2 * int(np.prod(shape, dtype=np.int64)):
            raise InvalidArgumentError(
                f"constant_with_f16_bytes: expected 2 bytes for each element of {list(shape)}, "
                f"got {len(data)}"
            )
        return self.constant(np.frombuffer(data, "<f2"), shape)

    # Products

    def inner_product(
        self,
        source: Operand,
        weights: npt.ArrayLike,
        input_channels: int,
        output_channels: int,
    ) -> Tensor:
        """The product of every pixel's channels with ``weights`` ``[out, in]``, stored as fp16.

        ``[N, in, H, W]`` to ``[N, out, H, W]``: a convolution of one pixel.

        Raises:
            InvalidArgumentError: ``weights`` has another size.
        """
        array = np.asarray(weights, np.float16)
        if array.size != input_channels * output_channels:
            raise InvalidArgumentError(
                f"inner_product: expected {output_channels} × {input_channels} weights, "
                f"got {list(array.shape)}"
            )
        kernel = array.reshape(output_channels, input_channels, 1, 1)
        return ops.conv(source, kernel)

    def matrix_multiplication(
        self, x: Operand, y: Operand, transpose_x: bool = False, transpose_y: bool = False
    ) -> Tensor:
        """The product of matrices in the last two axes."""
        return ops.matmul(x, y, transpose_x=transpose_x, transpose_y=transpose_y)

    def convolution_2d(
        self,
        source: Operand,
        weights: Operand,
        bias: Operand | None = None,
        *,
        groups: int = 1,
        pad_mode: PadMode = PadMode.VALID,
    ) -> Tensor:
        """The convolution with ``weights`` ``[out, in / groups, kernel_h, kernel_w]``, stride 1.

        ``bias`` has ``out`` elements. It is added by an operation of its own, because the device
        takes none in the convolution (ane_facts D 32).
        """
        made = ops.conv(source, weights, pad_type=_one_of(PadMode, pad_mode), groups=groups)
        return self._biased(made, bias)

    def convolution_2d_1x1(
        self, source: Operand, weights: Operand, bias: Operand | None = None
    ) -> Tensor:
        """:meth:`convolution_2d` with ``weights`` ``[out, in, 1, 1]``."""
        return self.convolution_2d(source, weights, bias)

    def convolution_2d_1x1_dynamic(self, source: Tensor, weights: Tensor) -> Tensor:
        """The convolution of one pixel with ``weights`` ``[out, in, 1, 1]`` given at run time.

        Written as a product of matrices: a convolution with such weights is ignored or refused on
        several chips, and slower where it works (ane_facts D 38).
        """
        n, channels, height, width = source.shape
        out = weights.shape[0]
        product = ops.matmul(
            ops.reshape(weights, (1, out, -1)), ops.reshape(source, (n, channels, height * width))
        )
        return ops.reshape(product, (n, out, height, width))

    def convolution_transpose_2d(
        self,
        source: Operand,
        weights: Operand,
        bias: Operand | None = None,
        *,
        groups: int = 1,
        stride_height: int = 1,
        stride_width: int = 1,
        pad_mode: PadMode = PadMode.VALID,
    ) -> Tensor:
        """The transposed convolution with ``weights`` ``[in, out / groups, kernel_h, kernel_w]``.

        With ``SAME`` the result is the source's size times the stride. ``bias`` as in
        :meth:`convolution_2d`.
        """
        made = ops.conv_transpose(
            source,
            weights,
            strides=(stride_height, stride_width),
            pad_type=_one_of(PadMode, pad_mode),
            groups=groups,
        )
        return self._biased(made, bias)

    # Two operands: axes of size 1 are repeated.

    def addition(self, left: Operand, right: Operand) -> Tensor:
        """``left + right``."""
        return ops.add(left, right)

    def subtraction(self, left: Operand, right: Operand) -> Tensor:
        """``left - right``."""
        return ops.sub(left, right)

    def multiplication(self, left: Operand, right: Operand) -> Tensor:
        """``left × right``, element by element."""
        return ops.mul(left, right)

    def division(self, left: Operand, right: Operand) -> Tensor:
        """``left / right``."""
        return ops.real_div(left, right)

    def power(self, left: Operand, right: Operand) -> Tensor:
        """``left`` to the power of ``right``."""
        return ops.pow(left, right)

    def maximum(self, left: Operand, right: Operand) -> Tensor:
        """The larger one of both."""
        return ops.maximum(left, right)

    def minimum(self, left: Operand, right: Operand) -> Tensor:
        """The smaller one of both."""
        return ops.minimum(left, right)

    # One operand.

    def absolute(self, x: Operand) -> Tensor:
        """The absolute value."""
        return ops.abs(x)

    def square_root(self, x: Operand) -> Tensor:
        """The square root."""
        return ops.sqrt(x)

    def reciprocal_square_root(self, x: Operand) -> Tensor:
        """One over the square root."""
        return ops.rsqrt(x)

    def exponent(self, x: Operand) -> Tensor:
        """e to the power of ``x``."""
        return ops.exp(x)

    def logarithm(self, x: Operand) -> Tensor:
        """The natural logarithm."""
        return ops.log(x)

    def reciprocal(self, x: Operand) -> Tensor:
        """``1 / x``; MIL's own ``inverse`` adds an epsilon to ``x``."""
        return ops.real_div(1.0, x)

    def relu(self, x: Operand) -> Tensor:
        """``max(x, 0)``."""
        return ops.relu(x)

    def sigmoid(self, x: Operand) -> Tensor:
        """``1 / (1 + exp(-x))``."""
        return ops.sigmoid(x)

    def tanh(self, x: Operand) -> Tensor:
        """The hyperbolic tangent."""
        return ops.tanh(x)

    def leaky_relu(self, x: Operand, negative_slope: float) -> Tensor:
        """``x``, below 0 times ``negative_slope``."""
        return ops.leaky_relu(x, alpha=negative_slope)

    def elu(self, x: Operand, alpha: float) -> Tensor:
        """``x``, below 0 ``alpha (exp(x) - 1)``."""
        return ops.elu(x, alpha=alpha)

    def hard_sigmoid(self, x: Operand, alpha: float, beta: float) -> Tensor:
        """``alpha x + beta``, between 0 and 1."""
        return ops.sigmoid_hard(x, alpha=alpha, beta=beta)

    def linear(self, x: Operand, alpha: float, beta: float) -> Tensor:
        """``alpha x + beta``."""
        return ops.linear_activation(x, alpha=alpha, beta=beta)

    def softplus(self, x: Operand) -> Tensor:
        """``log(1 + exp(x))``."""
        return ops.softplus(x)

    def softsign(self, x: Operand) -> Tensor:
        """``x / (1 + |x|)``."""
        return ops.softsign(x)

    # Shapes and places.

    def reshape(self, x: Operand, shape: Sequence[int]) -> Tensor:
        """The elements in another shape of as many."""
        return ops.reshape(x, tuple(shape))

    def transpose(self, x: Operand, perm: Sequence[int]) -> Tensor:
        """Axis ``perm[i]`` as axis ``i``."""
        return ops.transpose(x, perm)

    def slice(self, x: Operand, begin: Sequence[int], size: Sequence[int]) -> Tensor:
        """``size[i]`` elements from ``begin[i]`` on along axis ``i``."""
        return ops.slice_by_size(x, begin, size)

    def concat(self, values: Sequence[Operand], axis: int) -> Tensor:
        """The tensors one after the other along an axis."""
        return ops.concat(values, axis=axis)

    def flatten_2d(self, x: Operand) -> Tensor:
        """All elements as channels: ``[1, total, 1, 1]``."""
        return ops.reshape(x, (1, -1, 1, 1))

    def pad(  # noqa: PLR0917  # as the bindings have it
        self,
        x: Operand,
        top: int,
        bottom: int,
        left: int,
        right: int,
        fill_mode: PadFillMode = PadFillMode.CONSTANT,
        value: float = 0.0,
    ) -> Tensor:
        """``x`` with so many rows and columns around it; ``value`` is that of ``CONSTANT``."""
        mode = _one_of(PadFillMode, fill_mode)
        return ops.pad(x, (top, bottom, left, right), mode=mode, constant_val=value)

    # Reductions: the axis stays, with size 1.

    def reduce_sum(self, x: Operand, axis: int) -> Tensor:
        """The sum along an axis."""
        return ops.reduce_sum(x, axes=[axis], keep_dims=True)

    def reduce_mean(self, x: Operand, axis: int) -> Tensor:
        """The mean along an axis."""
        return ops.reduce_mean(x, axes=[axis], keep_dims=True)

    def reduce_min(self, x: Operand, axis: int) -> Tensor:
        """The smallest element along an axis."""
        return ops.reduce_min(x, axes=[axis], keep_dims=True)

    def reduce_max(self, x: Operand, axis: int) -> Tensor:
        """The largest element along an axis."""
        return ops.reduce_max(x, axes=[axis], keep_dims=True)

    def soft_max(self, x: Operand, axis: int) -> Tensor:
        """The softmax along an axis; -1 is the last."""
        return ops.softmax(x, axis=axis)

    def instance_norm(self, source: Tensor, params: Operand, epsilon: float) -> Tensor:
        """Every channel of every instance with mean 0 and variance 1, times a scale, plus a bias.

        ``params`` holds ``2 C`` numbers in any shape: the scale of each channel, then the bias of
        each. The bindings do not say how theirs are packed; this is a choice.

        Raises:
            InvalidArgumentError: ``params`` has another number of elements.
        """
        channels = source.shape[1]
        size = int(np.prod(params.shape if isinstance(params, Tensor) else np.shape(params)))
        if size != 2 * channels:
            raise InvalidArgumentError(
                f"instance_norm: expected a scale and a bias for each of {channels} channels in "
                f"params, got {size} numbers"
            )
        given = params.value if isinstance(params, Tensor) else np.asarray(params)
        if isinstance(given, np.ndarray):
            gamma, beta = np.split(given.reshape(-1), 2)
            return ops.instance_norm(source, gamma, beta, epsilon=epsilon)
        column = (1, channels, *[1] * (source.rank - 2))
        flat = ops.reshape(params, (2, channels))
        scale = ops.reshape(ops.slice_by_size(flat, (0, 0), (1, channels)), column)
        offset = ops.reshape(ops.slice_by_size(flat, (1, 0), (1, channels)), column)
        return ops.instance_norm(source, epsilon=epsilon) * scale + offset

    # Pools.

    def max_pool(  # noqa: PLR0917
        self,
        x: Operand,
        kernel_h: int,
        kernel_w: int,
        stride_h: int,
        stride_w: int,
        pad_mode: PadMode = PadMode.VALID,
    ) -> Tensor:
        """The largest element of every window."""
        return ops.max_pool(
            x,
            kernel_sizes=(kernel_h, kernel_w),
            strides=(stride_h, stride_w),
            pad_type=_one_of(PadMode, pad_mode),
        )

    def avg_pool(  # noqa: PLR0917
        self,
        x: Operand,
        kernel_h: int,
        kernel_w: int,
        stride_h: int,
        stride_w: int,
        pad_mode: PadMode = PadMode.VALID,
    ) -> Tensor:
        """The mean of every window, of the elements inside of the input alone."""
        return ops.avg_pool(
            x,
            kernel_sizes=(kernel_h, kernel_w),
            strides=(stride_h, stride_w),
            pad_type=_one_of(PadMode, pad_mode),
            exclude_padding_from_average=pad_mode == PadMode.SAME,
        )

    def global_avg_pool(self, x: Operand) -> Tensor:
        """The mean of every channel: ``[N, C, 1, 1]``."""
        return ops.reduce_mean(x, axes=[2, 3], keep_dims=True)

    def _biased(self, x: Tensor, bias: Operand | None) -> Tensor:
        if bias is None:
            return x
        column = (1, x.shape[1], 1, 1)
        if isinstance(bias, Tensor):
            return x + (bias if bias.shape == column else ops.reshape(bias, column))
        return x + np.reshape(np.asarray(bias), column)


def _one_of(modes: type[Enum], given: Enum | str) -> Any:
    """The word of MIL for a mode.

    Raises:
        InvalidArgumentError: there is no such mode.
    """
    try:
        return modes(given).value
    except ValueError:
        known = ", ".join(str(mode.value) for mode in modes)
        raise InvalidArgumentError(
            f"{modes.__name__}: expected one of {known}, got {given!r}"
        ) from None
