"""A variational autoencoder over frames: the mel bands are channels, as in Make-An-Audio 2 (Huang et al., 2023)."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from t2a.config import Config
from t2a.nn.conv import ChannelNorm, Conv1d, ConvTranspose1d
from t2a.nn.frames import doubled, halved, masked


class Kl1dConfig(Config):
    """Sizes of a `Kl1d`; every stage after the first halves the frames."""

    kind: Literal["1d"] = "1d"
    latent: int = Field(16, ge=1)
    """channels of the latents"""
    widths: tuple[int, ...] = Field((256, 384, 512), min_length=1)
    """channels of the stages"""
    blocks: int = Field(2, ge=1)
    """residual blocks a stage"""

    @property
    def factor(self) -> int:
        """Mel frames per latent frame."""
        return 2 ** (len(self.widths) - 1)

    def latent_shape(self, mels: int) -> tuple[int, ...]:
        """Shape of the latents of one frame."""
        return (self.latent,)

    def build(self, mels: int) -> "Kl1d":
        """Return the network for spectrograms of `mels` bands."""
        return Kl1d(self, mels)


class Kl1d(nn.Module):
    """Spectrograms [B, M, L] <-> latents [B, C, L / factor]; masks are bool [B, frames] or None (`t2a.nn.frames`)."""

    kernel = (7,)  # of the last layer

    def __init__(self, config: Kl1dConfig, mels: int) -> None:
        super().__init__()
        widths, blocks = config.widths, config.blocks
        self.first = Conv1d(mels, widths[0], 7, norm="none")
        self.down = nn.ModuleList()
        for index, width in enumerate(widths):
            change = Conv1d(widths[index - 1], width, 4, stride=2, norm="none") if index else nn.Identity()
            self.down.append(nn.ModuleList([change, *(Block(width) for _ in range(blocks))]))
        self.norm = ChannelNorm(widths[-1])
        self.moments = Conv1d(widths[-1], 2 * config.latent, 3, norm="none")

        self.enter = Conv1d(config.latent, widths[-1], 7, norm="none")
        self.up = nn.ModuleList()
        for index in reversed(range(len(widths))):
            change = (
                ConvTranspose1d(widths[index], widths[index - 1], 4, stride=2, norm="none") if index else nn.Identity()
            )
            self.up.append(nn.ModuleList([*(Block(widths[index]) for _ in range(blocks)), change]))
        self.norm_last = ChannelNorm(widths[0])
        self.last = Conv1d(widths[0], mels, *self.kernel, norm="none")

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return mean and log-variance of the latents, side by side [B, 2 C, L / factor]."""
        x = self.first(masked(x, mask))
        for index, (change, *blocks) in enumerate(self.down):
            if index:
                x, mask = change(masked(x, mask)), halved(mask)
            for block in blocks:
                x = block(x, mask)
        return self.moments(masked(functional.silu(self.norm(x)), mask))

    def decode(self, z: Tensor, mask: Tensor | None) -> Tensor:
        """Return what `last` makes a spectrogram of, [B, D, L]."""
        x = self.enter(masked(z, mask))
        for index, (*blocks, change) in enumerate(self.up):
            for block in blocks:
                x = block(x, mask)
            if index < len(self.up) - 1:
                x, mask = change(masked(x, mask)), doubled(mask)
        return masked(functional.silu(self.norm_last(x)), mask)


class Block(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))) over [B, C, L], normalised over the channels of every frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_in, self.norm_out = ChannelNorm(width), ChannelNorm(width)
        self.conv_in = Conv1d(width, width, 3, norm="none")
        self.conv_out = Conv1d(width, width, 3, norm="none")
        nn.init.zeros_(self.conv_out.weight)  # a block begins as the identity

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.conv_in(masked(functional.silu(self.norm_in(x)), mask))
        return x + self.conv_out(masked(functional.silu(self.norm_out(y)), mask))
