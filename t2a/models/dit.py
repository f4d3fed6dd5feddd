"""Transformer that denoises latents, one token a frame (DiT, Peebles & Xie 2023), told a text by cross-attention."""

from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from t2a.config import Config
from t2a.nn.attention import Context, CrossAttention, KeyValue, SelfAttention
from t2a.nn.condition import Condition
from t2a.nn.embedding import NumberEmbedding
from t2a.nn.positions import rotary

SINUSOIDS = 256  # of the time and of the duration


class DiTConfig(Config):
    """Sizes of a `DiT`; the smallest that is of use on a CPU by default."""

    kind: Literal["dit"] = "dit"
    width: int = Field(256, gt=0)
    layers: int = Field(6, gt=0)
    heads: int = Field(4, gt=0)
    feedforward: float = Field(4, gt=0)  # times width
    qk_norm: bool = True  # normalise queries and keys by head: stable at large learning rates
    dropout: float = Field(0.0, ge=0, lt=1)
    checkpoint_activations: bool = False  # in training: less memory, a third more computation

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 * heads = {2 * self.heads}")
        return self


class DiTBlock(nn.Module):
    """Self-attention and feed-forward, shifted, scaled and gated by an embedding; cross-attention between them.

    Gates and the cross-attention begin at zero, so the block begins as the identity (adaLN-Zero). The cross-attention
    is not modulated (PixArt, Chen et al. 2023).
    """

    def __init__(self, config: DiTConfig, cross: bool):
        super().__init__()
        width, hidden = config.width, round(config.feedforward * config.width)
        shared = {"width": width, "heads": config.heads, "dropout": config.dropout, "qk_norm": config.qk_norm}
        self.modulation = nn.Linear(width, 6 * width)
        self.self_norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.self_attention = SelfAttention(**shared, causal=False)
        self.cross_norm = nn.LayerNorm(width) if cross else None
        self.cross_attention = CrossAttention(**shared) if cross else None
        self.feedforward_norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.drop = nn.Dropout(config.dropout)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        if self.cross_attention is not None:
            nn.init.zeros_(self.cross_attention.outward.weight)

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        mask: Tensor | None,
        rotation: tuple[Tensor, Tensor],
        context: KeyValue | None,
        context_mask: Tensor | None,
    ) -> Tensor:
        """Map [B, L, D] -> [B, L, D].

        embedding: [B, 1, D]; mask: bool [B, 1, 1, L], True = a real frame; the context as in `CrossAttention`.
        """
        shift, scale, gate, shift_hidden, scale_hidden, gate_hidden = self.modulation(embedding).chunk(6, dim=-1)
        y = self.self_attention(self.self_norm(x) * (1 + scale) + shift, mask, rotation)
        x = x + gate * self.drop(y)
        if self.cross_attention is not None and context is not None and context_mask is not None:
            x = x + self.drop(self.cross_attention(self.cross_norm(x), context, context_mask))
        y = self.expand(self.feedforward_norm(x) * (1 + scale_hidden) + shift_hidden)
        return x + gate_hidden * self.drop(self.contract(self.drop(F.gelu(y, approximate="tanh"))))


class DiT(nn.Module):
    """Blocks over the frames of latents; it is told the time, the clip's length, and by cross-attention the rest."""

    def __init__(self, config: DiTConfig, latent: tuple[int, ...], extra: int = 0, told: bool = True):
        """latent: the shape of a frame, (C,) or (C, F); extra: channels beside C that it reads and does not predict;
        told: whether there is anything to be told.
        """
        super().__init__()
        self.config, self.latent, width = config, latent, config.width
        rows = latent[1] if len(latent) > 1 else 1
        self.inward = nn.Linear((latent[0] + extra) * rows, width)
        self.time = NumberEmbedding(SINUSOIDS, width)
        self.duration = NumberEmbedding(SINUSOIDS, width)
        self.blocks = nn.ModuleList(DiTBlock(config, told) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 2 * width)
        self.outward = nn.Linear(width, latent[0] * rows)
        for last in (self.modulation, self.outward):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @property
    def context_width(self) -> int:
        """Of what `read` takes."""
        return self.config.width

    def read(self, condition: Condition) -> Context:
        """Compute the keys and values of all blocks."""
        found = tuple(block.cross_attention.project(condition.tokens) for block in self.blocks)
        return Context(found, condition.mask)

    def forward(self, x: Tensor, t: Tensor, length: Tensor, real: Tensor | None, context: Context | None) -> Tensor:
        """Map [B, C + extra, (F,) L] -> [B, C, (F,) L].

        t: [B] in [0, 1000); length: int64 [B] frames; real: bool [B, L], None = all; x is zero elsewhere.
        """
        y = self.inward(x.flatten(1, -2).transpose(1, 2))
        embedding = F.silu(self.time(t, x.dtype) + self.duration(length, x.dtype))[:, None]
        rotation = rotary(torch.arange(y.shape[1], device=y.device)[None], self.config.width // self.config.heads)
        mask = None if real is None else real[:, None, None, :]
        for index, block in enumerate(self.blocks):
            told = (None, None) if context is None else (context.layers[index], context.mask)
            given = (y, embedding, mask, rotation, *told)
            again = self.config.checkpoint_activations and self.training and torch.is_grad_enabled()
            y = checkpoint(block, *given, use_reentrant=False) if again else block(*given)
        shift, scale = self.modulation(embedding).chunk(2, dim=-1)
        y = self.outward(self.norm(y) * (1 + scale) + shift)
        return y.transpose(1, 2).unflatten(1, self.latent)
