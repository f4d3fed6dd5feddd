"""A convolutional audio tower: residual blocks over the log-mel spectrogram of a clip of any length."""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from t2a.audio.spectral import MelSpec
from t2a.config import Config
from t2a.models.mel_frames import MelFrames, checked
from t2a.nn.frames import real_frames


class ConvTowerConfig(Config):
    """Sizes of a `ConvTower`; the defaults are small enough for a CPU."""

    kind: Literal["conv"] = "conv"
    mel: MelSpec = MelSpec(n_fft=1024, hop=256, n_mels=64, log="ln")
    patch: tuple[int, int] = (4, 4)  # mel bands and frames of a patch
    widths: tuple[int, ...] = Field((64, 128, 256), min_length=1)  # of the stages; every next one halves both axes
    blocks: int = Field(2, ge=1)  # residual blocks a stage
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _leaves_a_band(self) -> "ConvTowerConfig":
        checked(self.mel, self.patch[0] * 2 ** (len(self.widths) - 1))
        return self

    @property
    def width(self) -> int:
        """What a clip is told by: the mean and the peak of every channel."""
        return 2 * self.widths[-1]

    def build(self) -> "ConvTower":
        """Make the tower."""
        return ConvTower(self)


class ConvTower(nn.Module):
    """Embeds patches of the spectrogram, then halves it stage by stage; what fills a clip up changes nothing."""

    def __init__(self, config: ConvTowerConfig) -> None:
        super().__init__()
        self.mel = MelFrames(config.mel)
        self.patch = config.patch
        first, *others = config.widths
        self.embed = nn.Conv2d(1, first, config.patch, config.patch)
        self.stages = nn.ModuleList()
        width = first
        for index, wider in enumerate((first, *others)):
            down = nn.Conv2d(width, wider, 2, 2) if index else nn.Identity()
            self.stages.append(nn.ModuleList([down, *(Block(wider, config.dropout) for _ in range(config.blocks))]))
            width = wider

    def forward(self, wave: Tensor, length: Tensor) -> Tensor:
        """Map waves [B, 1, T] with real lengths [B] to [B, width]."""
        x, frames = self.mel(wave, length)
        floor = self.mel.floor
        x = masked((x[:, None] - floor) / -floor, frames)  # silence is 0, as is padding; full scale is about 1
        x, frames = fitted(x, self.patch[1]), frames_after(frames, self.patch[1])
        x = masked(self.embed(x.to(self.embed.weight.dtype)), frames)
        for index, (down, *blocks) in enumerate(self.stages):
            if index:
                x, frames = down(fitted(x, 2)), frames_after(frames, 2)
                x = masked(x, frames)
            for block in blocks:
                x = block(x, frames)
        mean = x.mean(2).sum(-1) / frames[:, None]
        peak = x.masked_fill(~real_frames(frames, x), -torch.inf).amax((2, 3))
        return torch.cat([mean, peak], 1)


class Block(nn.Module):
    """x + conv(gelu(conv(norm(x)))) over [B, C, M, L], normalised over the channels of every place."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv_in = nn.Conv2d(width, width, 3, padding=1)
        self.conv_out = nn.Conv2d(width, width, 3, padding=1)
        self.drop = nn.Dropout2d(dropout)
        nn.init.zeros_(self.conv_out.weight)  # a block begins as the identity
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        """Map [B, C, M, L] with real frames [B] -> the same."""
        y = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        y = functional.gelu(self.conv_in(masked(y, frames)))
        return x + masked(self.drop(self.conv_out(masked(y, frames))), frames)


def masked(x: Tensor, frames: Tensor) -> Tensor:
    """Zero what is not real, so that the next window sees padding there."""
    return x * real_frames(frames, x)


def fitted(x: Tensor, size: int) -> Tensor:
    """Fill the frames of [B, C, M, L] up to a multiple of `size`."""
    return functional.pad(x, (0, -x.shape[-1] % size))


def frames_after(frames: Tensor, stride: int) -> Tensor:
    """Return how many frames are left when every `stride` become one, the last ones too."""
    return -(-frames // stride)
