"""Transformer blocks over the places of pictures [B, C, F, L] (latent diffusion, Rombach et al. 2022)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from t2a.nn.attention import Context, CrossAttention, SelfAttention
from t2a.nn.resnet import GroupNorm

ContextWidth = int | Literal["self"] | None


class PlaceBlock(nn.Module):
    """Self-attention, cross-attention, and a feed-forward part gated by GELU.

    context_width: of what the cross-attention looks at: "self" for the places once more (AudioLDM), None for no such
    attention. layer: which one of a context it takes.
    """

    def __init__(self, width: int, heads: int, context_width: ContextWidth, dropout: float = 0.0):
        super().__init__()
        self.again, self.layer = context_width == "self", 0
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = SelfAttention(width, heads, dropout, causal=False, bias=True)
        self.cross_norm = self.cross_attention = None
        if context_width is not None:
            looked_at = width if context_width == "self" else context_width
            self.cross_norm = nn.LayerNorm(width)
            self.cross_attention = CrossAttention(width, heads, dropout, context_width=looked_at, bias=True)
        self.feedforward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 8 * width)
        self.contract = nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, context: Context | None) -> Tensor:
        """Map [B, N, D] -> [B, N, D]; mask: bool [B, 1, 1, N], True = a real place."""
        x = x + self.drop(self.self_attention(self.self_norm(x), mask))
        if self.cross_attention is not None:
            y = self.cross_norm(x)
            if self.again:
                seen, which = self.cross_attention.project(y), None if mask is None else mask[:, 0, 0]
            else:
                seen, which = context.layers[self.layer], context.mask
            x = x + self.drop(self.cross_attention(y, seen, which))
        value, gate = self.expand(self.feedforward_norm(x)).chunk(2, dim=-1)
        return x + self.drop(self.contract(self.drop(value * F.gelu(gate))))


class SpatialTransformer(nn.Module):
    """x + blocks over its places, between two projections; only real frames are looked at.

    The outward projection begins at zero, so the whole begins as the identity.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        depth: int,
        context_width: ContextWidth,
        *,
        groups: int = 32,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.norm = GroupNorm(groups, channels, 1e-6)
        self.inward = nn.Linear(channels, channels)
        self.blocks = nn.ModuleList(PlaceBlock(channels, heads, context_width, dropout) for _ in range(depth))
        self.outward = nn.Linear(channels, channels)
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)

    def forward(self, x: Tensor, real: Tensor | None, context: Context | None) -> Tensor:
        """Map [B, C, F, L] -> [B, C, F, L]; real: bool [B, L], None = all."""
        y = self.inward(self.norm(x, real).permute(0, 2, 3, 1).flatten(1, 2))
        mask = None if real is None else real[:, None].expand(-1, x.shape[2], -1).reshape(len(x), 1, 1, -1)
        for block in self.blocks:
            y = block(y, mask, context)
        return x + self.outward(y).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
