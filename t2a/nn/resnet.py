"""Residual blocks, attention and changes of size over pictures [B, C, F, L], of which some frames may be no real ones.

`mask` is bool [B, L], True = real, or None where all are (`t2a.nn.frames`). What is not real may hold anything; every
layer that looks at several places or takes statistics puts it aside first.
"""

from torch import Tensor, nn
from torch.nn import functional

from t2a.nn.frames import masked, spread


class GroupNorm(nn.GroupNorm):
    """Group norm (Wu and He, 2018) with the statistics of the real frames alone, in float32."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return super().forward(x)
        real = spread(mask, x)[:, None]
        groups = x.float().unflatten(1, (self.num_groups, -1))
        within = tuple(range(2, groups.ndim))
        count = real.sum(within, keepdim=True).clamp_min(1) * (groups[0, 0].numel() // x.shape[-1])
        mean = (groups * real).sum(within, keepdim=True) / count
        centred = (groups - mean) * real
        variance = centred.square().sum(within, keepdim=True) / count
        y = (centred * (variance + self.eps).rsqrt()).flatten(1, 2)
        shape = (-1, *[1] * (x.ndim - 2))
        return (y * self.weight.float().view(shape) + self.bias.float().view(shape)).to(x.dtype)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), [B, C, F, L] -> [B, C', F, L] (He et al., 2016).

    embedding: width of a vector [B, E] that is added between the convolutions, as the noise level of diffusion is.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        embedding: int | None = None,
        groups: int = 32,
        eps: float = 1e-6,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm_in = GroupNorm(groups, channels, eps)
        self.conv_in = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.embed = nn.Linear(embedding, out_channels) if embedding else None
        self.norm_out = GroupNorm(groups, out_channels, eps)
        self.drop = nn.Dropout(dropout)
        self.conv_out = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None = None, embedding: Tensor | None = None) -> Tensor:
        y = self.conv_in(masked(functional.silu(self.norm_in(x, mask)), mask))
        if self.embed is not None:
            assert embedding is not None
            y = y + self.embed(functional.silu(embedding))[:, :, None, None]
        y = self.conv_out(self.drop(masked(functional.silu(self.norm_out(y, mask)), mask)))
        return self.shortcut(x) + y


class PictureAttention(nn.Module):
    """x + attention of every place of [B, C, F, L] to all the real ones (Esser et al., VQGAN, 2021)."""

    def __init__(self, channels: int, *, heads: int = 1, groups: int = 32, eps: float = 1e-6) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(groups, channels, eps)
        self.inward = nn.Linear(channels, 3 * channels)
        self.outward = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, channels, bands, frames = x.shape
        places = self.norm(x, mask).flatten(2).transpose(1, 2)
        queries, keys, values = self.inward(places).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        may = None if mask is None else mask[:, None].expand(-1, bands, -1).reshape(batch, 1, 1, bands * frames)
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=may)
        y = self.outward(found.transpose(1, 2).flatten(2))
        return x + y.transpose(1, 2).reshape(batch, channels, bands, frames)


class Downsample(nn.Module):
    """Halve both axes of [B, C, F, L]; a mask goes on as `mask[:, ::2]`.

    symmetric: pad on both sides, as U-Nets do, not only after the end, as autoencoders do.
    """

    def __init__(self, channels: int, *, symmetric: bool = False) -> None:
        super().__init__()
        self.margin = (1, 1, 1, 1) if symmetric else (0, 1, 0, 1)
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.conv(functional.pad(masked(x, mask), self.margin))


class Upsample(nn.Module):
    """Double both axes of [B, C, F, L]; `mask` is that of the result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.conv(masked(functional.interpolate(x, scale_factor=2.0, mode="nearest"), mask))
