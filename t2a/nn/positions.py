"""How a transformer knows where a token stands: sinusoids added to it, or a rotation of queries and keys."""

import torch
from torch import Tensor


def sinusoids(positions: Tensor, width: int, period: float = 10_000.0, shift: int = 1) -> Tensor:
    """Encode positions [...] as [..., width]: cosines, then sines ("Attention Is All You Need", section 3.5).

    The exponent is i / (width / 2 - shift): 1 as in the released AudioGen and MusicGen, 0 as in the paper and for the
    times of diffusion models.
    """
    half = width // 2
    exponents = torch.arange(half, device=positions.device, dtype=torch.float32) / max(half - shift, 1)
    angles = positions.to(torch.float32)[..., None] * period**-exponents
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def rotary(positions: Tensor, head_width: int, period: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines [B, 1, N, head_width] that `rotate` applies at positions [B, N] (RoFormer, equation 34)."""
    exponents = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32) / head_width
    angles = positions.to(torch.float32)[..., None] * period**-exponents
    angles = torch.cat([angles, angles], dim=-1)[:, None]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate the pairs (i, i + half) of x [B, H, N, D / H]; computed in float32, returned in x's type."""
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x.float() * cosines + turned * sines).to(x.dtype)
