"""Causal transformer that predicts the codes of a neural codec, to code them in fewer bits (EnCodec, section 3.3).

Unlike EnCodec's it also sees the codebooks before each one in the same frame, which a residual quantizer makes worth
the most. It is made of what fixed-point arithmetic does exactly: no bias but in the softmax, the Euclidean norm,
ReLU^2, learned biases for relative positions. `t2a.models.fixedpoint` is the form that codes files.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.config import Config
from t2a.models.pretrained import Pretrained


class EntropyConfig(Config):
    """Sizes of an `EntropyModel`; width, layers and heads by default as in EnCodec."""

    codebooks: int = Field(4, gt=0)
    bins: int = Field(1024, gt=1, le=2**14)
    """codes of a codebook"""
    past: int = Field(175, gt=0)
    """frames that a layer looks at, its own among them: 3.5 s at 50 frames a second"""
    width: int = Field(200, gt=0)
    layers: int = Field(5, gt=0)
    heads: int = Field(8, gt=0)
    feedforward: int = Field(4, gt=0)
    """times width"""

    @model_validator(mode="after")
    def _fits(self) -> "EntropyConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads = {self.heads}")
        return self


class EntropyModel(Pretrained):
    """Predicts each code of [B, K, L] from the frames before its own and the codebooks before its own in its frame."""

    model_type: ClassVar[str] = "entropy"
    config_class = EntropyConfig
    config: EntropyConfig

    def __init__(self, config: EntropyConfig) -> None:
        super().__init__()
        self.config = config
        width, codebooks, hidden = config.width, config.codebooks, config.feedforward * config.width
        self.start = nn.Parameter(torch.randn(width))
        self.frame = nn.Embedding(codebooks * config.bins, width)
        self.blocks = nn.ModuleList(Block(width, hidden, config.heads, config.past) for _ in range(config.layers))
        self.place = nn.Parameter(torch.zeros(codebooks, width))
        self.earlier = nn.Embedding(codebooks * config.bins, width)
        self.mix = FeedForward(width, hidden)
        self.norm = Norm(width)
        self.heads = nn.Parameter(torch.randn(codebooks, config.bins, width) * 0.02)
        self.bias = nn.Parameter(torch.zeros(codebooks, config.bins))
        for table in (self.frame, self.earlier):
            nn.init.normal_(table.weight, std=codebooks**-0.5)
        for module in self.modules():  # the residual stream keeps its variance whatever the depth (GPT-2)
            if isinstance(module, Attention | FeedForward):
                with torch.no_grad():
                    module.outward.weight.mul_((2 * config.layers) ** -0.5)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits [B, L, K, V] of codes int64 [B, K, L], which may be the first codebooks only."""
        count = codes.shape[1]
        first = torch.arange(count, device=codes.device) * self.config.bins
        rows = (codes + first[:, None]).transpose(1, 2)  # [B, L, K]
        x = self.frame(rows).sum(2)
        x = torch.cat([self.start.to(x.dtype).expand(len(x), 1, -1), x[:, :-1]], dim=1)
        for block in self.blocks:
            x = block(x)
        seen = F.pad(self.earlier(rows[:, :, :-1]).cumsum(2), (0, 0, 1, 0))
        x = self.mix(x[:, :, None] + self.place[:count] + seen)
        return torch.einsum("blkd,kvd->blkv", self.norm(x), self.heads[:count]) + self.bias[:count]


class Block(nn.Module):
    """x + attention(norm x), + feed-forward(norm x)."""

    def __init__(self, width: int, hidden: int, heads: int, past: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads, past)
        self.feedforward = FeedForward(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.feedforward(self.attention(x))


class Attention(nn.Module):
    """Causal self-attention over the last `past` frames, with a learned bias for each distance; [B, L, D]."""

    def __init__(self, width: int, heads: int, past: int) -> None:
        super().__init__()
        self.heads, self.past = heads, past
        self.norm = Norm(width)
        self.inward = nn.Linear(width, 3 * width, bias=False)
        self.outward = nn.Linear(width, width, bias=False)
        self.distance = nn.Parameter(torch.zeros(heads, past))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.inward(self.norm(x)).chunk(3, dim=-1)
        queries, keys, values = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        scores = (queries / math.sqrt(queries.shape[-1])) @ keys.transpose(-1, -2)
        seen = scores.float() + self.bias(x.shape[1])
        return x + self.outward((seen.softmax(-1).to(values.dtype) @ values).transpose(1, 2).flatten(2))

    def bias(self, frames: int) -> Tensor:
        """[H, L, L], minus infinity where a frame must not look."""
        times = torch.arange(frames, device=self.distance.device)
        distance = times[:, None] - times
        hidden = (distance < 0) | (distance >= self.past)
        return self.distance[:, distance.clamp(0, self.past - 1)].float().masked_fill(hidden, -math.inf)


class FeedForward(nn.Module):
    """x + contract(relu(expand(norm x))^2) (So et al., Primer, 2021)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = Norm(width)
        self.inward = nn.Linear(width, hidden, bias=False)
        self.outward = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outward(self.inward(self.norm(x)).relu().square())


class Norm(nn.Module):
    """Scale the last axis to the same root mean square, then by a learned gain (Zhang and Sennrich, RMSNorm, 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return (F.normalize(x.float(), dim=-1) * (self.gain * math.sqrt(x.shape[-1]))).to(x.dtype)
