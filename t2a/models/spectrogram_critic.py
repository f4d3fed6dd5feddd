"""Critics that tell recorded from decoded spectrograms: in random windows (Make-An-Audio), and patch by patch."""

import math
from typing import NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from t2a.config import Config
from t2a.nn.frames import mask_of, masked, spread
from t2a.nn.resnet import GroupNorm


class PatchConfig(Config):
    """Shape of the patch discriminator (Isola et al., 2017); every layer but the last two halves the picture."""

    width: int = Field(64, ge=4)
    layers: int = Field(3, ge=1)


class SpectrogramCriticConfig(Config):
    """Which discriminators judge; every clip has one voice, shared by those that can judge it."""

    windows: tuple[int, ...] = (32, 64, 128)
    """frames of the windows, each with a discriminator of its own"""
    width: int = Field(128, ge=4)
    """channels of their layers"""
    layers: int = Field(3, ge=1)
    """that halve a window's frames and bands"""
    patch: PatchConfig | None = None
    """the patch discriminator beside them, which sees whole clips; `{}` has the published shape"""

    @model_validator(mode="after")
    def _somebody_judges(self) -> Self:
        if not self.windows and self.patch is None:
            raise ValueError("windows is empty and there is no patch discriminator: nobody judges")
        if any(window < 2 ** (self.layers + 1) for window in self.windows):
            raise ValueError(
                f"windows must have at least {2 ** (self.layers + 1)} frames, which layers {self.layers} halve"
            )
        return self

    @property
    def bands(self) -> int:
        """How many mel bands the discriminators need at least."""
        return max(2**self.layers if self.windows else 1, self._patch)

    @property
    def frames(self) -> int:
        """How many frames a batch needs at least."""
        return max((*self.windows, self._patch))

    @property
    def _patch(self) -> int:
        return 3 * 2**self.patch.layers if self.patch else 1


class Opinion(NamedTuple):
    """What the critic thinks of a batch, one entry a discriminator."""

    logits: list[Tensor]
    """each [B, ...]; positive means recorded"""
    weights: list[Tensor]
    """of each logit within its clip, of the same shape; a clip's sum to 1 over all discriminators, or to 0"""


class SpectrogramCritic(nn.Module):
    """Judge spectrograms [B, M, L]."""

    def __init__(self, config: SpectrogramCriticConfig, mels: int) -> None:
        super().__init__()
        self.config = config
        self.windows = nn.ModuleList(WindowDiscriminator(window, mels, config) for window in config.windows)
        self.patch = PatchDiscriminator(config.patch) if config.patch else None
        self.shortest = config.frames

    def draw(self, length: Tensor) -> Tensor:
        """Draw where the windows begin, int64 [B, windows], for clips of `length` frames [B], by torch's generator.

        Give the same to the recorded and to the decoded batch. -1 stands for clips that are shorter than the window,
        which it does not judge.
        """
        sizes = torch.tensor(self.config.windows, device=length.device, dtype=torch.int64)
        room = length[:, None] - sizes + 1
        start = (torch.rand(room.shape, device=length.device) * room).long().clamp_max(room - 1)
        return start.where(room > 0, -1)

    def forward(self, mel: Tensor, length: Tensor, starts: Tensor) -> Opinion:
        """Judge spectrograms whose first `length` int64 [B] frames are real, in windows from `starts` on (see `draw`).

        Raises `ValueError` when the batch has fewer frames than a window.
        """
        if mel.shape[-1] < self.config.frames:
            raise ValueError(
                f"spectrograms of {mel.shape[-1]} frames are shorter than the critic's window of {self.config.frames}: "
                "make data.crop_seconds longer, or leave that window out of task.critic.windows"
            )
        logits, weights = [], []
        for window, start in zip(self.windows, starts.unbind(1), strict=True):
            logits.append(window(excerpt(mel, start, window.frames)))
            weights.append((start >= 0).to(mel.dtype)[:, None])
        if self.patch is not None:
            judged, weight = self.patch(mel, length)
            logits.append(judged)
            weights.append(weight)
        voices = torch.stack([weight.flatten(1).sum(1) for weight in weights]).sum(0).clamp_min(1)
        return Opinion(logits, [weight / voices.view(-1, *[1] * (weight.ndim - 1)) for weight in weights])


class WindowDiscriminator(nn.Module):
    """Judge windows [B, M, frames] by layers that halve both axes (Ye et al., SyntaSpeech, 2022): logits [B, 1]."""

    def __init__(self, frames: int, mels: int, config: SpectrogramCriticConfig) -> None:
        super().__init__()
        self.frames = frames
        width, size = config.width, (mels, frames)
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for index in range(config.layers):
            self.convs.append(nn.Conv2d(width if index else 1, width, 3, stride=2, padding=1))
            self.norms.append(nn.InstanceNorm2d(width, affine=True))
            size = (-(-size[0] // 2), -(-size[1] // 2))
        self.judge = nn.Linear(width * size[0] * size[1], 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(functional.leaky_relu(conv(x), 0.2))
        return self.judge(x.flatten(1))


class PatchDiscriminator(nn.Module):
    """Judge every patch of [B, M, L], with the norm of each clip's real part: logits [B, 1, M', L']."""

    def __init__(self, config: PatchConfig) -> None:
        super().__init__()
        width, wider = config.width, config.width
        self.first = nn.Conv2d(1, width, 4, stride=2, padding=1)
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for index in range(1, config.layers + 1):
            wider = config.width * min(2**index, 8)
            stride = 2 if index < config.layers else 1
            self.convs.append(nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=False))
            self.norms.append(GroupNorm(math.gcd(min(32, max(1, wider // 4)), wider), wider))
            width = wider
        self.judge = nn.Conv2d(width, 1, 4, padding=1)

    def forward(self, mel: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the share of each in its clip's judgement, 0 for those of what is not real."""
        x = masked(mel[:, None], mask_of(length, mel.shape[-1]))
        x = functional.leaky_relu(self.first(x), 0.2)
        length = length // 2
        for conv, norm in zip(self.convs, self.norms, strict=True):
            mask = mask_of(length, x.shape[-1])
            x = conv(masked(x, mask))
            length = (length + 2 - 4) // conv.stride[-1] + 1
            x = functional.leaky_relu(norm(x, mask_of(length, x.shape[-1])), 0.2)
        logits = self.judge(masked(x, mask_of(length, x.shape[-1])))
        real = torch.ones_like(logits)
        if (mask := mask_of(length - 1, logits.shape[-1])) is not None:
            real = real * spread(mask, real)
        return logits, real / real.flatten(1).sum(1).clamp_min(1)[:, None, None, None]


def excerpt(mel: Tensor, start: Tensor, frames: int) -> Tensor:
    """Cut `frames` frames out of each row of [B, M, L], from `start` int64 [B] on (from 0 where that is negative)."""
    place = start.clamp_min(0)[:, None] + torch.arange(frames, device=mel.device)
    return mel.gather(-1, place[:, None].expand(-1, mel.shape[1], -1))
