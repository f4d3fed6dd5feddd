"""One-dimensional convolutions with exact lengths: `ceil(T / stride)` frames down, `L * stride` samples up."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from t2a.nn import channels_last

Norm = Literal["weight", "layer", "time_group", "none"]
PadMode = Literal["constant", "reflect", "replicate"]


class ChannelNorm(nn.LayerNorm):
    """Normalise over the channels of every frame of [B, C, T]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def output_norm(norm: Norm, channels: int) -> nn.Module:
    """Return what normalises a convolution's output; weight norm acts on the weight instead."""
    if norm == "layer":
        return ChannelNorm(channels)
    if norm == "time_group":
        return nn.GroupNorm(1, channels)
    return nn.Identity()


class NormedWeight(nn.Module):
    """A convolution's weight and bias; with `norm` "weight" it is stored as direction `weight_v` and length `weight_g`.

    Lengths are taken over all but the first dimension (Salimans and Kingma, 2016). Parameters lie in the module that
    uses them, so whatever gathers a module's parameters before its forward finds them.

    Weights start with variance 1 / `fan_in`, the number of values that an output sums up, which keeps the signal's
    level (LeCun et al., 1998). With torch's default, a third of that, a codec's thirty layers begin by muting it.
    """

    def __init__(self, shape: tuple[int, ...], out_channels: int, fan_in: float, norm: Norm) -> None:
        super().__init__()
        self.folded = False
        bound = math.sqrt(3 / fan_in)
        weight = torch.empty(shape).uniform_(-bound, bound)
        if norm == "weight":
            self.weight_g = nn.Parameter(_length(weight))
            self.weight_v = nn.Parameter(weight)
        else:
            self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.norm = output_norm(norm, out_channels)
        if norm in ("layer", "time_group"):
            # In silence only biases are left. Were they 0, a normalised output would have no variance in any layer, and
            # its gradient would grow by 1 / sqrt(eps) from layer to layer until it is infinite.
            nn.init.uniform_(self.bias, -bound, bound)

    def kernel(self) -> Tensor:
        """Return the weight as the convolution takes it."""
        if "weight" in self._parameters:
            return self.weight
        return torch._weight_norm(self.weight_v, self.weight_g, 0)

    @torch.no_grad()
    def fold(self) -> None:
        """Put the weight itself in the place of direction and length, for inference.

        Saved and loaded it is still direction and length, so that a folded model and its original read each other.
        """
        if "weight_v" in self._parameters:
            weight = self.kernel()
            weight = channels_last.side_by_side(weight) if weight.ndim == 3 else weight
            del self.weight_v, self.weight_g
            self.weight, self.folded = nn.Parameter(weight, requires_grad=False), True

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.folded:
            weight = destination.pop(f"{prefix}weight")
            destination[f"{prefix}weight_g"], destination[f"{prefix}weight_v"] = _length(weight), weight

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        g, v = f"{prefix}weight_g", f"{prefix}weight_v"
        if self.folded and g in state_dict and v in state_dict:
            state_dict[f"{prefix}weight"] = torch._weight_norm(state_dict.pop(v), state_dict.pop(g), 0)
        super()._load_from_state_dict(state_dict, prefix, *args)


class Conv1d(NormedWeight):
    """Convolve [B, C, T] -> [B, C', ceil(T / stride)].

    The `(kernel_size - 1) * dilation + 1 - stride` samples of padding lie all on the left when `causal`, on both sides
    otherwise; what the last window lacks is added on the right.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        causal: bool = False,
        pad_mode: PadMode = "constant",
        norm: Norm = "weight",
    ) -> None:
        super().__init__((out_channels, in_channels, kernel_size), out_channels, in_channels * kernel_size, norm)
        self.stride, self.dilation, self.causal, self.pad_mode = stride, dilation, causal, pad_mode
        self.kernel_size, self.padding = kernel_size, (kernel_size - 1) * dilation + 1 - stride

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, *self.margins(x.shape[-1]))

    def convolve(self, x: Tensor, left: int = 0, right: int = 0) -> Tensor:
        """Convolve [B, C, T] with that many samples of padding."""
        quick = channels_last.suits(x)
        zeros = left if quick and left == right and self.pad_mode == "constant" else 0
        if not zeros:
            x = pad(x, left, right, self.pad_mode)
        convolve = channels_last.conv1d if quick else functional.conv1d
        return self.norm(convolve(x, self.kernel(), self.bias, self.stride, zeros, self.dilation))

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        """Return y + self(x); without gradients y is overwritten."""
        if torch.is_grad_enabled():
            return y + self(x)
        if channels_last.suits(x) and self.kernel_size == self.stride == 1 and isinstance(self.norm, nn.Identity):
            return channels_last.add_product(y, x, self.kernel(), self.bias)
        return y.add_(self(x))

    def margins(self, samples: int) -> tuple[int, int]:
        """Return the padding on both sides that makes the output of `samples` ceil(samples / stride) long."""
        right = 0 if self.causal else self.padding // 2
        return self.padding - right, right + -samples % self.stride


class ConvTranspose1d(NormedWeight):
    """Convolve [B, C, L] -> [B, C', L * stride], transposed.

    The `kernel_size - stride` surplus samples are cut off on the right when `causal`, on both sides otherwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int,
        causal: bool = False,
        norm: Norm = "weight",
    ) -> None:
        fan_in = in_channels * kernel_size / stride
        super().__init__((in_channels, out_channels, kernel_size), out_channels, fan_in, norm)
        self.stride, self.surplus = stride, kernel_size - stride
        self.cut = 0 if causal else self.surplus - self.surplus // 2

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[-1] * self.stride
        # The norm comes before the cut: over time it would otherwise depend on the side that is cut.
        return self.norm(self.spread(x, self.bias))[..., self.cut : self.cut + length]

    def spread(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return all that [B, C, L] gives rise to, [B, C', (L - 1) * stride + kernel_size]."""
        quick = channels_last.suits(x) and self.surplus % self.stride == 0
        convolve = channels_last.conv_transpose1d if quick else functional.conv_transpose1d
        return convolve(x, self.kernel(), bias, self.stride)


def pad(x: Tensor, left: int, right: int, mode: PadMode) -> Tensor:
    """Pad [..., T]; a signal too short to be mirrored is lengthened with zeros for that."""
    if left == right == 0:
        return x
    lacking = max(left, right) - x.shape[-1] + 1
    if mode == "reflect" and lacking > 0:
        return pad(functional.pad(x, (0, lacking)), left, right, mode)[..., :-lacking]
    if channels_last.suits(x):
        return channels_last.pad(x, left, right, mode)
    return functional.pad(x, (left, right), mode)


def _length(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)
