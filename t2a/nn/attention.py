"""Multi-head attention: causal self-attention with a preallocated cache, and cross-attention to a condition."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeyValue(NamedTuple):
    """Keys and values of one attention layer, each [B, H, N, D / H]."""

    keys: Tensor
    values: Tensor


class Cache:
    """Keys and values of the positions already seen by one layer, in buffers allocated once.

    Views of the filled part are handed out, so a step costs its own tokens and not the capacity.
    """

    def __init__(
        self, batch: int, heads: int, capacity: int, head_width: int, device: torch.device, dtype: torch.dtype
    ):
        self.keys = torch.zeros(batch, heads, capacity, head_width, device=device, dtype=dtype)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    def extend(self, new: KeyValue) -> KeyValue:
        """Append N positions and return all positions so far."""
        end = self.length + new.keys.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"the cache holds {self.keys.shape[2]} positions, {end} are needed: make it larger")
        self.keys[:, :, self.length : end] = new.keys
        self.values[:, :, self.length : end] = new.values
        self.length = end
        return KeyValue(self.keys[:, :, :end], self.values[:, :, :end])


class SelfAttention(nn.Module):
    """Causal self-attention; queries, keys and values by one fused matmul without bias."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.inward = nn.Linear(width, 3 * width, bias=False)
        self.outward = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Tensor, mask: Tensor | None, rotation: tuple[Tensor, Tensor] | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Map [B, N, D] -> [B, N, D].

        mask: bool [B or 1, 1, N, M], True = may look; None stands for plain causal attention over N = M positions.
        rotation: cosines and sines [B or 1, 1, N, D / H] of the N positions (see `rotary`).
        cache: M - N earlier positions; it is extended by these N.
        """
        queries, keys, values = (split_heads(part, self.heads) for part in self.inward(x).chunk(3, dim=-1))
        if rotation is not None:
            queries, keys = rotate(queries, *rotation), rotate(keys, *rotation)
        keys, values = cache.extend(KeyValue(keys, values)) if cache is not None else (keys, values)
        causal = mask is None and keys.shape[2] == queries.shape[2] > 1
        drop = self.dropout if self.training else 0.0
        return self.outward(join_heads(attend(queries, keys, values, mask, drop, causal)))


class CrossAttention(nn.Module):
    """Attention to a condition whose keys and values are computed once (`project`) and used at every step."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.outward = nn.Linear(width, width, bias=False)

    def project(self, context: Tensor) -> KeyValue:
        """Compute keys and values of a context [B, S, D]."""
        keys, values = (split_heads(part, self.heads) for part in self.key_value(context).chunk(2, dim=-1))
        return KeyValue(keys, values)

    def forward(self, x: Tensor, context: KeyValue, mask: Tensor) -> Tensor:
        """Map [B, N, D] -> [B, N, D]; mask: bool [B, S], True = real; every row needs one real token."""
        queries = split_heads(self.query(x), self.heads)
        drop = self.dropout if self.training else 0.0
        return self.outward(join_heads(attend(queries, context.keys, context.values, mask[:, None, None, :], drop)))


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, dropout: float, causal: bool = False
) -> Tensor:
    """Scaled dot-product attention over [B, H, N, D / H].

    On the CPU bfloat16 is computed in float32: torch's bfloat16 kernel is 4 times slower backward.
    """
    dtype = queries.dtype
    if queries.device.type == "cpu" and dtype == torch.bfloat16:
        with torch.autocast("cpu", enabled=False):
            queries, keys, values = queries.float(), keys.float(), values.float()
            return F.scaled_dot_product_attention(queries, keys, values, mask, dropout, causal).to(dtype)
    return F.scaled_dot_product_attention(queries, keys, values, mask, dropout, causal)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, N, D] -> [B, H, N, D / H]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[B, H, N, D / H] -> [B, N, D]."""
    return x.transpose(1, 2).flatten(2)


def sinusoids(positions: Tensor, width: int, period: float = 10_000.0) -> Tensor:
    """Encode positions [...] as [..., width]: cosines, then sines ("Attention Is All You Need", section 3.5).

    The exponent is i / (width / 2 - 1), as in the released AudioGen and MusicGen.
    """
    half = width // 2
    exponents = torch.arange(half, device=positions.device, dtype=torch.float32) / max(half - 1, 1)
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
