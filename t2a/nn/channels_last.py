"""Convolutions for inference on a CPU: the values of a frame lie side by side in memory.

Tensors are [B, C, T] as everywhere, with the strides of [B, T, C]. oneDNN then needs no copies into its own layout, and
a transposed convolution is a matrix product whose result already lies in order. Weights may have any strides; those of
`side_by_side` are read without a copy.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

TILE = 2**18  # values, 1 MB: what is done to a tile several times stays in the cache


def suits(x: Tensor) -> bool:
    """Tell whether these functions are for x: on a CPU, without gradients, in one type (autocast would mix two)."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def side_by_side(x: Tensor) -> Tensor:
    """Return [A, B, C] with the memory of [A, C, B]; a copy only where it must be."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def tiles(x: Tensor) -> list[tuple[int, int]]:
    """Cut the time of x [B, C, T] into tiles."""
    size = max(1, TILE // (len(x) * x.shape[1]))
    return [(start, min(start + size, x.shape[2])) for start in range(0, x.shape[2], size)]


def elu(x: Tensor) -> Tensor:
    """Return max(x, exp(min(x, 0)) - 1), up to a rounding of 1; torch's own takes the exact expm1, twice as long."""
    y = x.clamp(max=0).to(torch.promote_types(x.dtype, torch.float32)).mul_(1 / math.log(2)).exp2_().sub_(1)
    return torch.maximum(x, y.to(x.dtype), out=y if x.dtype == y.dtype else None)


def elu_(x: Tensor) -> Tensor:
    """Overwrite x [B, C, T] with its ELU."""
    for start, stop in tiles(x):
        x[..., start:stop] = elu(x[..., start:stop])
    return x


def join(parts: list[Tensor]) -> Tensor:
    """Concatenate [B, C, T] in time."""
    return torch.cat([part.transpose(1, 2) for part in parts], 1).transpose(1, 2)


def pad(x: Tensor, left: int, right: int, mode: str) -> Tensor:
    """Pad [B, C, T]; where the mode is "reflect", T is greater than both."""
    if mode == "constant":
        return functional.pad(x.transpose(1, 2), (0, 0, left, right)).transpose(1, 2)
    reach = max(left, right) + 1
    start, end = x[..., :reach], x[..., -reach:]
    start = functional.pad(start, (left, 0), mode)[..., :left]
    end = functional.pad(end, (0, right), mode)[..., end.shape[-1] :]
    return join([start, x, end])


def conv1d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, dilation: int) -> Tensor:
    """Convolve [B, C, T], with zeros on both sides, by whatever is quickest for the shapes."""
    outputs, channels, size = weight.shape
    if size * stride == 1:
        return functional.linear(x.transpose(1, 2), weight.squeeze(2), bias).transpose(1, 2)
    if outputs < 8 and stride == 1:
        return _few_outputs(x, weight, bias, padding, dilation)
    frames = (x.shape[-1] + 2 * padding - (size - 1) * dilation - 1) // stride + 1
    # oneDNN reorders the weight at every call, which takes longer than the convolution when there are few frames;
    # a first layer's few channels fill none of its registers.
    if frames < outputs or channels * size < 64:
        rows = functional.pad(x.transpose(1, 2), (0, 0, padding, padding))
        windows = rows.unfold(1, (size - 1) * dilation + 1, stride)[..., ::dilation].transpose(2, 3).flatten(2)
        return functional.linear(windows, weight.transpose(1, 2).flatten(1), bias).transpose(1, 2)
    x, weight = side_by_side(x).unsqueeze(2), side_by_side(weight).unsqueeze(2)
    return functional.conv2d(x, weight, bias, (1, stride), (0, padding), (1, dilation)).squeeze(2)


def add_product(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Add a convolution of kernel size 1 of x [B, C, T] to y [B, C', T], in place, which spares a pass over memory."""
    matrix = weight.squeeze(2).transpose(0, 1).expand(len(x), -1, -1)
    y.transpose(1, 2).baddbmm_(x.transpose(1, 2), matrix)
    return y if bias is None else y.add_(bias[:, None])


def _few_outputs(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, dilation: int) -> Tensor:
    """Take each tap's product with the whole signal, then add them up shifted, which costs next to nothing."""
    outputs, _, size = weight.shape
    products = functional.linear(x.transpose(1, 2), weight.permute(2, 0, 1).flatten(0, 1)).transpose(1, 2)
    products = functional.pad(products, (padding, padding)).unflatten(1, (size, outputs))
    frames = products.shape[-1] - (size - 1) * dilation
    y = sum(products[:, tap, :, tap * dilation :][..., :frames] for tap in range(size))
    return y if bias is None else y + bias[:, None]


def conv_transpose1d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolve [B, C, L] -> [B, C', (L - 1) stride + kernel], transposed; `stride` divides the kernel.

    The kernel has kernel / stride taps of `stride` samples: what comes out at frame l is the sum over taps j of
    x[l - j] times the matrix [C, stride C'] of tap j.
    """
    batch, outputs, frames = len(x), weight.shape[1], x.shape[2]
    taps = weight.shape[2] // stride
    matrices = weight.transpose(1, 2).unflatten(1, (taps, stride)).flatten(2)
    y = x.new_zeros(batch, frames + taps - 1, stride * outputs)
    if bias is not None:
        y += bias.repeat(stride)
    for tap in range(taps):
        y[:, tap : tap + frames].baddbmm_(x.transpose(1, 2), matrices[:, tap].expand(batch, -1, -1))
    return y.unflatten(2, (stride, -1)).flatten(1, 2).transpose(1, 2)
