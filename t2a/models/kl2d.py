"""A variational autoencoder over pictures of sound (Rombach et al., Latent Diffusion, 2022; Make-An-Audio)."""

from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from t2a.config import Config
from t2a.nn.frames import doubled, halved, masked
from t2a.nn.resnet import Downsample, GroupNorm, PictureAttention, ResidualBlock, Upsample


class Kl2dConfig(Config):
    """Sizes of a `Kl2d`; the defaults are Make-An-Audio's. Every stage after the first halves frames and bands."""

    kind: Literal["2d"] = "2d"
    latent: int = Field(4, ge=1)
    """channels of the latents"""
    width: int = Field(128, ge=1)
    multipliers: tuple[int, ...] = Field((1, 2, 2, 4), min_length=1)
    """of the width, stage by stage"""
    blocks: int = Field(2, ge=1)
    """residual blocks a stage; the decoder has one more"""
    attention: tuple[int, ...] = (2, 3)
    """stages, counted from 0, whose blocks are each followed by attention; between encoder and decoder it always is"""
    groups: int = Field(32, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> "Kl2dConfig":
        if any(self.width * m % self.groups for m in self.multipliers):
            raise ValueError(f"every width x multiplier must be a multiple of groups {self.groups}")
        wrong = [stage for stage in self.attention if not 0 <= stage < len(self.multipliers)]
        if wrong:
            raise ValueError(f"attention names the stages {wrong}, there are 0 to {len(self.multipliers) - 1}")
        return self

    @property
    def factor(self) -> int:
        """Mel frames per latent frame."""
        return 2 ** (len(self.multipliers) - 1)

    def latent_shape(self, mels: int) -> tuple[int, ...]:
        """Shape of the latents of one frame."""
        if mels % self.factor:
            raise ValueError(f"mel.n_mels {mels} is no multiple of {self.factor}, the bands that become one")
        return (self.latent, mels // self.factor)

    def build(self, mels: int) -> "Kl2d":
        """Return the network."""
        return Kl2d(self)


class Kl2d(nn.Module):
    """Spectrograms [B, M, L] <-> latents [B, C, M / factor, L / factor]; masks are bool [B, frames] or None."""

    kernel = (3, 3)  # of the last layer

    def __init__(self, config: Kl2dConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.moments = nn.Conv2d(2 * config.latent, 2 * config.latent, 1)
        self.enter = nn.Conv2d(config.latent, config.latent, 1)
        self.decoder = Decoder(config)
        self.last = nn.Conv2d(config.width, 1, self.kernel, padding=1)

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return mean and log-variance of the latents, side by side [B, 2 C, M / factor, L / factor]."""
        return self.moments(self.encoder(x[:, None], mask))

    def decode(self, z: Tensor, mask: Tensor | None) -> Tensor:
        """Return what `last` makes a spectrogram of, [B, D, M, L]."""
        return self.decoder(self.enter(z), mask)


class Encoder(nn.Module):
    """Pictures [B, 1, F, L] -> moments [B, 2 C, F / factor, L / factor]."""

    def __init__(self, config: Kl2dConfig) -> None:
        super().__init__()
        width = config.width
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.stages = nn.ModuleList()
        for index, wider in enumerate(config.width * m for m in config.multipliers):
            self.stages.append(Stage(width, wider, config.blocks, index in config.attention, config.groups))
            width = wider
        self.downs = nn.ModuleList(Downsample(config.width * m) for m in config.multipliers[:-1])
        self.middle = Middle(width, config.groups)
        self.norm = GroupNorm(config.groups, width, eps=1e-6)
        self.last = nn.Conv2d(width, 2 * config.latent, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.first(masked(x, mask))
        for index, stage in enumerate(self.stages):
            x = stage(x, mask)
            if index < len(self.downs):
                x, mask = self.downs[index](x, mask), halved(mask)
        x = self.middle(x, mask)
        return self.last(masked(functional.silu(self.norm(x, mask)), mask))


class Decoder(nn.Module):
    """Latents [B, C, F / factor, L / factor] -> what the last layer sees, [B, D, F, L]."""

    def __init__(self, config: Kl2dConfig) -> None:
        super().__init__()
        width = config.width * config.multipliers[-1]
        self.first = nn.Conv2d(config.latent, width, 3, padding=1)
        self.middle = Middle(width, config.groups)
        self.stages = nn.ModuleList()
        for index, multiplier in reversed(list(enumerate(config.multipliers))):
            wider = config.width * multiplier
            self.stages.append(Stage(width, wider, config.blocks + 1, index in config.attention, config.groups))
            width = wider
        self.ups = nn.ModuleList(Upsample(config.width * m) for m in reversed(config.multipliers[1:]))
        self.norm = GroupNorm(config.groups, width, eps=1e-6)

    def forward(self, z: Tensor, mask: Tensor | None) -> Tensor:
        x = self.middle(self.first(masked(z, mask)), mask)
        for index, stage in enumerate(self.stages):
            x = stage(x, mask)
            if index < len(self.ups):
                mask = doubled(mask)
                x = self.ups[index](x, mask)
        return masked(functional.silu(self.norm(x, mask)), mask)


class Stage(nn.Module):
    """Residual blocks of one size, each followed by attention where `attends`."""

    def __init__(self, width: int, wider: int, blocks: int, attends: bool, groups: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(width if index == 0 else wider, wider, groups=groups) for index in range(blocks)
        )
        self.attentions = nn.ModuleList(PictureAttention(wider, groups=groups) for _ in range(blocks if attends else 0))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for index, block in enumerate(self.blocks):
            x = block(x, mask)
            if self.attentions:
                x = self.attentions[index](x, mask)
        return x


class Middle(nn.Module):
    """Attention between two residual blocks."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.before = ResidualBlock(width, width, groups=groups)
        self.attention = PictureAttention(width, groups=groups)
        self.after = ResidualBlock(width, width, groups=groups)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.after(self.attention(self.before(x, mask), mask), mask)
