"""Contrastive language-audio pretraining: sounds and captions in one space (Elizalde et al., CLAP, 2022)."""

import math
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from t2a.audio.spectral import MelSpec, MelSpectrogram
from t2a.config import Config
from t2a.models.pretrained import Pretrained
from t2a.nn.condition import Condition

MAX_SCALE = 100.0  # as in CLIP: a sharper softmax makes training unstable


class ClapConfig(Config):
    """Sizes of a `Clap`; the defaults are small enough for a CPU."""

    mel: MelSpec = MelSpec(n_fft=1024, hop=256, n_mels=64, log="ln")
    patch: tuple[int, int] = (4, 4)  # mel bands and frames of a patch
    widths: tuple[int, ...] = Field((64, 128, 256), min_length=1)  # of the stages; every next one halves both axes
    blocks: int = Field(2, ge=1)  # residual blocks a stage
    text_width: int = Field(384, gt=0)  # of the text encoder's states
    dimension: int = Field(256, gt=0)  # of the common space
    dropout: float = Field(0.1, ge=0, lt=1)
    temperature: float = Field(0.07, gt=0)  # at the start

    @model_validator(mode="after")
    def _leaves_a_band(self) -> "ClapConfig":
        cut = self.patch[0] * 2 ** (len(self.widths) - 1)
        if self.mel.n_mels % cut:
            raise ValueError(f"mel.n_mels {self.mel.n_mels} must be a multiple of {cut}, the bands that become one")
        return self


class Clap(Pretrained):
    """A tower for waves and one for the token states of a frozen text encoder; both end on the unit sphere."""

    model_type: ClassVar[str] = "clap"
    config_class = ClapConfig
    config: ClapConfig

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.config = config
        self.tower = AudioTower(config)
        self.text_tower = nn.Sequential(
            nn.LayerNorm(config.text_width),
            nn.Linear(config.text_width, config.dimension),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dimension, config.dimension),
        )
        self.log_scale = nn.Parameter(torch.full((1,), -math.log(config.temperature)))

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.config.mel.rate

    @property
    def scale(self) -> Tensor:
        """What similarities are multiplied by before a softmax: one over the temperature."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)[0]

    def forward(self, wave: Tensor, length: Tensor, condition: Condition) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings of sounds [B, D] and captions [B, D], and the scale of their similarities."""
        return self.audio(wave, length), self.text(condition), self.scale

    def audio(self, wave: Tensor, length: Tensor) -> Tensor:
        """Embed waves [B, 1, T] of which the first `length` int64 [B] samples are real, [B, D] of norm 1."""
        return functional.normalize(self.tower(wave, length).float(), dim=-1)

    def text(self, condition: Condition) -> Tensor:
        """Embed captions by the mean of their token states, [B, D] of norm 1."""
        mask = condition.mask[..., None].to(condition.tokens.dtype)
        mean = (condition.tokens * mask).sum(1) / mask.sum(1).clamp(min=1)
        return functional.normalize(self.text_tower(mean).float(), dim=-1)


class AudioTower(nn.Module):
    """A residual convolutional network over the log-mel spectrogram; what fills a clip up changes nothing."""

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.mel = MelSpectrogram(config.mel)
        self.patch = config.patch
        first, *others = config.widths
        self.embed = nn.Conv2d(1, first, config.patch, config.patch)
        self.stages = nn.ModuleList()
        width = first
        for index, wider in enumerate((first, *others)):
            down = nn.Conv2d(width, wider, 2, 2) if index else nn.Identity()
            self.stages.append(nn.ModuleList([down, *(Block(wider, config.dropout) for _ in range(config.blocks))]))
            width = wider
        self.norm = nn.LayerNorm(2 * width)
        self.head = nn.Linear(2 * width, config.dimension)

    def forward(self, wave: Tensor, length: Tensor) -> Tensor:
        """Map waves [B, 1, T] with real lengths [B] to [B, D]."""
        x = self.mel(wave[:, 0])[:, None]
        spec = self.mel.spec
        frames = ((length - spec.n_fft // 2) // spec.hop + 1).clamp(min=1)  # whose windows end within the clip
        floor = math.log(spec.floor)
        x = masked((x - floor) / -floor, frames)  # silence is 0, as is padding; full scale is about 1
        x, frames = fitted(x, self.patch[1]), frames_after(frames, self.patch[1])
        x = masked(self.embed(x), frames)
        for index, (down, *blocks) in enumerate(self.stages):
            if index:
                x, frames = down(fitted(x, 2)), frames_after(frames, 2)
                x = masked(x, frames)
            for block in blocks:
                x = block(x, frames)
        mean = x.mean(2).sum(-1) / frames[:, None]
        peak = x.masked_fill(~real(x, frames), -torch.inf).amax((2, 3))
        return self.head(self.norm(torch.cat([mean, peak], 1)))


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


def real(x: Tensor, frames: Tensor) -> Tensor:
    """Tell which frames of [B, C, M, L] are real, bool [B, 1, 1, L], given their number int64 [B]."""
    return (torch.arange(x.shape[-1], device=x.device) < frames[:, None])[:, None, None]


def masked(x: Tensor, frames: Tensor) -> Tensor:
    """Zero what is not real, so that the next window sees padding there."""
    return x * real(x, frames)


def fitted(x: Tensor, size: int) -> Tensor:
    """Fill the frames of [B, C, M, L] up to a multiple of `size`."""
    return functional.pad(x, (0, -x.shape[-1] % size))


def frames_after(frames: Tensor, stride: int) -> Tensor:
    """Return how many frames are left when every `stride` become one, the last ones too."""
    return -(-frames // stride)
