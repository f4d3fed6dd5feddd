"""Linear layers and convolutions for inference on the CPU: weights in the order, and the precision, of its kernels.

A step of a language model multiplies few rows with every weight, so it lasts as long as reading the weights: half as
many bytes, half the time. A step of a denoiser multiplies many: there oneDNN is quicker than the library that torch
takes for linear layers, and need not bring the weights into order each time. Activations keep their type.
"""

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from t2a.errors import ConfigError

Precision = Literal["float32", "bfloat16", "int8"]

ROWS = 64  # that the order of the weights is chosen for; any number can be multiplied
PLACES = (64, 64)  # likewise of a convolution; without any, oneDNN is 15 times slower at kernels of size 1


class PackedLinear(nn.Module):
    """A linear layer whose weights oneDNN has put in its own order."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        weight = linear.weight.detach().to(dtype)
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(weight, ROWS), persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] -> [..., E]."""
        y = torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.weight, self.bias, "none", [], "")
        return y.to(x.dtype)


class PackedConv2d(nn.Module):
    """A convolution whose weights oneDNN has put in its own order."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        self.geometry = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        weight = conv.weight.detach().to(dtype)
        size = [1, conv.in_channels, *PLACES]
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.geometry, size)
        self.register_buffer("weight", packed, persistent=False)
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach().to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] -> [B, C', H', W'], channels side by side in memory."""
        x, dtype = x.contiguous(memory_format=torch.channels_last), x.dtype
        y = torch.ops.mkldnn._convolution_pointwise(
            x.to(self.dtype), self.weight, self.bias, *self.geometry, "none", [], ""
        )
        return y.to(dtype)


class Int8Linear(nn.Module):
    """A linear layer with weights in 8 bits, a scale for each output, and inputs in 8 bits, a scale for each row.

    The kernel takes one scale from the extremes of all rows. Rows are therefore brought to a peak of 1 and joined by
    one that reaches from -1 to 1: so a row's result does not depend on the others.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1).clamp(min=1e-12) / 127
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather have its quantized tensors made by another package
            zero = torch.zeros(len(scale), dtype=torch.int64)
            quantized = torch.quantize_per_channel(weight, scale.double(), zero, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(quantized, None)
        extremes = torch.zeros(1, linear.in_features)
        extremes[0, 0], extremes[0, -1] = 1.0, -1.0
        self.register_buffer("extremes", extremes, persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] -> [..., E]."""
        rows = x.reshape(-1, x.shape[-1]).float()
        peaks = rows.abs().amax(1, keepdim=True).clamp_(min=1e-12)
        y = torch.ops.quantized.linear_dynamic(torch.cat([rows / peaks, self.extremes]), self.packed)[:-1] * peaks
        y = y if self.bias is None else y + self.bias
        return y.to(x.dtype).view(*x.shape[:-1], -1)


PACKING: dict[Precision, Callable[[nn.Linear], nn.Module]] = {
    "float32": lambda linear: PackedLinear(linear, torch.float32),
    "bfloat16": lambda linear: PackedLinear(linear, torch.bfloat16),
    "int8": Int8Linear,
}

CONVOLUTIONS: dict[Precision, Callable[[nn.Conv2d], nn.Module]] = {
    "float32": lambda conv: PackedConv2d(conv, torch.float32),
    "bfloat16": lambda conv: PackedConv2d(conv, torch.bfloat16),
}


def pack(module: nn.Module, precision: Precision = "float32") -> nn.Module:
    """Put packed layers in the places of linear ones and 2-D convolutions, on the CPU and for inference only.

    Returns the module, or what stands for it where it is such a layer itself.

    Convolutions that are padded with anything but zeros, and all of them in int8, stay as they are. Raises
    `ConfigError` where the CPU or this torch has no such kernels.
    """
    if not available(precision):
        raise ConfigError(f"This torch has no {precision} kernels for this CPU: use precision float32.")
    if type(module) is nn.Linear:
        return PACKING[precision](module)
    if type(module) is nn.Conv2d and module.padding_mode == "zeros" and precision in CONVOLUTIONS:
        return CONVOLUTIONS[precision](module)
    for name, child in list(module.named_children()):
        setattr(module, name, pack(child, precision))
    return module


def available(precision: Precision) -> bool:
    """Whether the kernels of a precision can be called here."""
    if precision == "int8":
        return any(engine in torch.backends.quantized.supported_engines for engine in ("x86", "fbgemm"))
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
