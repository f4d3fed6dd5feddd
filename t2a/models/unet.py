"""U-Net that denoises 2-D latents, told a text by cross-attention (Rombach et al. 2022; Make-An-Audio)."""

from functools import partial
from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from t2a.config import Config
from t2a.nn.attention import Context
from t2a.nn.condition import Condition, pooled
from t2a.nn.embedding import NumberEmbedding
from t2a.nn.frames import masked
from t2a.nn.resnet import Downsample, GroupNorm, ResidualBlock, Upsample
from t2a.nn.spatial import ContextWidth, PlaceBlock, SpatialTransformer

EPS = 1e-5  # of the residual blocks' group norms


class UNetConfig(Config):
    """Sizes of a `UNet`; Make-An-Audio's by default, with 160,223,684 parameters for latents of 4 channels."""

    kind: Literal["unet"] = "unet"
    width: int = Field(320, gt=0)
    multipliers: tuple[Annotated[int, Field(gt=0)], ...] = Field((1, 2), min_length=1)  # of the width, level by level
    attention: tuple[bool, ...] | None = None  # whether a level has transformer blocks; None = all have
    blocks: int = Field(2, gt=0)  # residual blocks of a level on the way down; one more on the way up
    depth: int = Field(1, gt=0)  # transformer blocks after each residual block
    heads: int = Field(8, gt=0)
    context: int = Field(1024, gt=0)  # width of the token states that it is told
    told: Literal["cross", "film"] = "cross"  # attends to them, or takes their mean beside the time (AudioLDM)
    groups: int = Field(32, gt=0)  # of the group norms
    dropout: float = Field(0.0, ge=0, lt=1)
    checkpoint_activations: bool = False  # in training: less memory, a third more computation

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first."""
        return tuple(self.width * multiplier for multiplier in self.multipliers)

    @property
    def factor(self) -> int:
        """How much coarser the last level is than the first, along both axes."""
        return 2 ** (len(self.multipliers) - 1)

    def attends(self, level: int) -> bool:
        """Tell whether a level has transformer blocks."""
        return self.attention is None or self.attention[level]

    def check(self, latent: tuple[int, ...]) -> None:
        """Raise `ValueError` for frames of latents that it cannot take."""
        if len(latent) != 2 or latent[1] % self.factor:
            raise ValueError(
                f"a unet of {len(self.multipliers)} levels takes latents [C, F, L], F a multiple of {self.factor}, "
                f"not {latent}: choose a dit, or an autoencoder with such latents"
            )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        levels = len(self.multipliers)
        if self.attention is not None and len(self.attention) != levels:
            raise ValueError(f"attention has {len(self.attention)} entries for {levels} levels: give one a level")
        for width in self.widths:
            for name in ("heads", "groups"):
                if width % getattr(self, name):
                    raise ValueError(f"a level's width {width} must be a multiple of {name} = {getattr(self, name)}")
        return self


class Step(nn.Module):
    """A residual block told the time, then transformer blocks where there are any."""

    def __init__(
        self, channels: int, width: int, config: UNetConfig, embedding: int, context: ContextWidth, attends: bool
    ):
        super().__init__()
        shared = {"groups": config.groups, "dropout": config.dropout}
        self.residual = ResidualBlock(channels, width, embedding=embedding, eps=EPS, **shared)
        self.attention = SpatialTransformer(width, config.heads, config.depth, context, **shared) if attends else None

    def forward(self, x: Tensor, real: Tensor | None, embedding: Tensor, context: Context | None) -> Tensor:
        """Map [B, C, F, L] -> [B, C', F, L]."""
        x = self.residual(x, real, embedding)
        return x if self.attention is None else self.attention(x, real, context)


class UNet(nn.Module):
    """Levels of residual and transformer blocks down to a coarse picture and up again, with a skip for each step.

    What lies beyond a row's length is put aside before every convolution, group norm and attention, so a row's result
    is that of the row alone, at any length. A frame of a coarse level counts as real if one of its frames is.
    """

    def __init__(self, config: UNetConfig, latent: tuple[int, ...], extra: int = 0, told: bool = True):
        """As `DiT`; latent: (C, F), F a multiple of the coarsest level's factor."""
        super().__init__()
        config.check(latent)
        self.config, time = config, 4 * config.width
        self.time = NumberEmbedding(config.width, time)
        self.film = nn.Linear(config.context, time) if told and config.told == "film" else None
        self.inward = nn.Conv2d(latent[0] + extra, config.width, 3, padding=1)
        ways: dict[str, ContextWidth] = {"cross": config.context if told else None, "film": "self"}
        widths = config.widths
        step = partial(
            Step, config=config, embedding=time if self.film is None else 2 * time, context=ways[config.told]
        )
        skips, channels = [config.width], config.width
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            if level:
                self.shrink.append(Downsample(channels, symmetric=True))
                skips.append(channels)
            before = [channels] + [width] * (config.blocks - 1)
            self.down.append(nn.ModuleList(step(each, width, attends=config.attends(level)) for each in before))
            skips += [width] * config.blocks
            channels = width
        self.middle = step(channels, channels, attends=True)
        self.middle_end = step(channels, channels, attends=False)
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            if level < len(widths) - 1:
                self.grow.append(Upsample(channels))
            before = [channels] + [width] * config.blocks
            steps = [step(each + skips.pop(), width, attends=config.attends(level)) for each in before]
            self.up.append(nn.ModuleList(steps))
            channels = width
        self.norm = GroupNorm(config.groups, channels, EPS)
        self.outward = nn.Conv2d(channels, latent[0], 3, padding=1)
        for layer, block in enumerate(self._crossings()):
            block.layer = layer
        for last in (self.outward, *(m.conv_out for m in self.modules() if isinstance(m, ResidualBlock))):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.to(memory_format=torch.channels_last)  # as the pictures: convolutions then need not bring it into order

    @property
    def context_width(self) -> int:
        """Of what `read` takes."""
        return self.config.context

    def read(self, condition: Condition) -> Context:
        """Compute the keys and values of all cross-attention layers, or the mean of the tokens."""
        if self.film is not None:
            return Context((), condition.mask, pooled(condition))
        layers = tuple(block.cross_attention.project(condition.tokens) for block in self._crossings())
        return Context(layers, condition.mask)

    def forward(self, x: Tensor, t: Tensor, length: Tensor, real: Tensor | None, context: Context | None) -> Tensor:
        """Map [B, C + extra, F, L] -> [B, C, F, L]; arguments as of `DiT.forward`. L is filled up inside."""
        frames = x.shape[-1]
        if lacking := -frames % self.config.factor:
            x = F.pad(x, (0, lacking))
            within = torch.arange(frames + lacking, device=x.device) < frames
            real = within.expand(len(x), -1) if real is None else F.pad(real, (0, lacking))
        reals = [None if real is None else real[:, :: 2**level] for level in range(len(self.down))]
        told = (self._embed(t, x.dtype, context), context)
        x = self.inward(x.contiguous(memory_format=torch.channels_last))
        skips = [x]
        for level, steps in enumerate(self.down):
            if level:
                x = self.shrink[level - 1](x, reals[level - 1])
                skips.append(x)
            for step in steps:
                x = self._run(step, x, reals[level], *told)
                skips.append(x)
        for step in (self.middle, self.middle_end):
            x = self._run(step, x, reals[-1], *told)
        for index, (steps, here) in enumerate(zip(self.up, reversed(reals), strict=True)):
            if index:
                x = self.grow[index - 1](x, here)
            for step in steps:
                x = self._run(step, torch.cat([x, skips.pop()], dim=1), here, *told)
        return self.outward(masked(F.silu(self.norm(x, real)), real))[..., :frames]

    def _embed(self, t: Tensor, dtype: torch.dtype, context: Context | None) -> Tensor:
        embedding = self.time(t, dtype)
        if self.film is None or context is None:
            return embedding
        return torch.cat([embedding, self.film(context.pooled)], dim=-1)

    def _run(self, step: Step, *given: Tensor | Context | None) -> Tensor:
        again = self.config.checkpoint_activations and self.training and torch.is_grad_enabled()
        return checkpoint(step, *given, use_reentrant=False) if again else step(*given)

    def _crossings(self) -> list[PlaceBlock]:
        """The blocks that attend to what they are told, in the order of use."""
        blocks = [module for module in self.modules() if isinstance(module, PlaceBlock)]
        return [block for block in blocks if block.cross_attention is not None and not block.again]
