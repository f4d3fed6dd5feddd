"""A spectrogram transformer: patches of the log-mel spectrogram that all see each other (Gong et al., AST, 2021)."""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.audio.spectral import MelSpec
from t2a.config import Config
from t2a.models.mel_frames import MelFrames, checked
from t2a.nn.positions import sinusoids
from t2a.nn.transformer import Encoder, Shape


class SpectrogramTransformerConfig(Config):
    """Sizes of a `SpectrogramTransformer`; the defaults are small enough for a CPU.

    mean, std: of the log-mel bands of the sounds it is trained on. What it sees has mean 0 and deviation 1/2, as in
    SSAST, whose losses have their weights by that.
    seconds: of sound that are seen at once, as many as in training; of a longer one part after part. None: all of it.
    """

    kind: Literal["transformer"] = "transformer"
    mel: MelSpec = MelSpec(n_fft=1024, hop=256, n_mels=64, log="ln")
    mean: float = -4.8
    std: float = Field(2.9, gt=0)
    patch: tuple[int, int] = (16, 8)  # mel bands and frames of a patch
    width: int = Field(192, gt=0, multiple_of=4)
    layers: int = Field(6, ge=1)
    heads: int = Field(3, ge=1)
    feedforward: float = Field(4, gt=0)  # times width
    dropout: float = Field(0.0, ge=0, lt=1)
    seconds: float | None = Field(None, gt=0)
    checkpoint_activations: bool = False  # in training: less memory, a third more computation

    @model_validator(mode="after")
    def _fits(self) -> "SpectrogramTransformerConfig":
        checked(self.mel, self.patch[0])
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads = {self.heads}")
        return self

    @property
    def bands(self) -> int:
        """Patches on top of each other."""
        return self.mel.n_mels // self.patch[0]

    def build(self) -> "SpectrogramTransformer":
        """Make the tower."""
        return SpectrogramTransformer(self)


class SpectrogramTransformer(nn.Module):
    """Turns a clip of any length into states of its patches; what fills the clip up is never looked at.

    Positions are fixed sinusoids of the band and of the time, so that no length is strange to it; the paper learns one
    for each place of a spectrogram of 10 s. A clip's vector is the mean of its states.
    """

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = MelFrames(config.mel)
        self.columns = None  # of patches that are seen at once
        if config.seconds:
            self.columns = -(-self.mel.most(round(config.seconds * config.mel.rate)) // config.patch[1])
        self.embed = nn.Linear(config.patch[0] * config.patch[1], config.width)
        hidden = round(config.feedforward * config.width)
        shape = Shape(config.width, config.heads, hidden, dropout=config.dropout)
        self.encoder = Encoder(shape, config.layers, config.checkpoint_activations)

    def forward(self, wave: Tensor, length: Tensor) -> Tensor:
        """Map waves [B, 1, T] with real lengths [B] to [B, D]."""
        patches, real = self.patches(wave, length)
        x, parts = self._parts(self.embedded(patches), real)
        states = self.states(x, parts | ~parts.any((1, 2), keepdim=True)).float()  # a part must have something to see
        total = (states * parts.flatten(1)[..., None]).sum(1).unflatten(0, (len(wave), -1)).sum(1)
        return total / real.sum((1, 2))[:, None]

    def patches(self, wave: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Cut the spectrogram: patches [B, N, P] float32, band by band, and which are real, bool [B, bands, L]."""
        high, wide = self.config.patch
        x, frames = self.mel(wave, length)
        inside = torch.arange(x.shape[-1], device=x.device) < frames[:, None]
        x = (x - self.config.mean) / (2 * self.config.std) * inside[:, None]
        x = nn.functional.pad(x, (0, -x.shape[-1] % wide))
        # [B, bands, high, L, wide] -> [B, bands, L, high, wide]
        patches = x.unflatten(2, (-1, wide)).unflatten(1, (-1, high)).transpose(2, 3)
        columns = torch.arange(patches.shape[2], device=x.device) < -(-frames // wide)[:, None]
        return patches.flatten(3).flatten(1, 2), columns[:, None].expand(-1, patches.shape[1], -1)

    def embedded(self, patches: Tensor) -> Tensor:
        """Embed patches [B, N, P] by themselves, [B, N, D] of the weights' type."""
        return self.embed(patches.to(self.embed.weight.dtype))

    def _parts(self, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Cut embedded patches [B, N, D] and what is real of them in time: [B W, N', D] and bool [B W, bands, L']."""
        if self.columns is None or real.shape[2] <= self.columns:
            return x, real
        cut, missing = (-1, self.columns), -real.shape[2] % self.columns
        x = nn.functional.pad(x.unflatten(1, real.shape[1:]), (0, 0, 0, missing)).unflatten(2, cut)
        parts = nn.functional.pad(real, (0, missing)).unflatten(2, cut)
        return x.transpose(1, 2).flatten(0, 1).flatten(1, 2), parts.transpose(1, 2).flatten(0, 1)

    def states(self, x: Tensor, real: Tensor) -> Tensor:
        """Let embedded patches [B, N, D] look at the real ones among them, bool [B, bands, L]: [B, N, D]."""
        bands, columns = real.shape[1:]
        band, column = torch.arange(bands, device=x.device), torch.arange(columns, device=x.device)
        half = self.config.width // 2
        above = sinusoids(band, half)[:, None].expand(-1, columns, -1)
        along = sinusoids(column, half)[None].expand(bands, -1, -1)
        places = torch.cat([above, along], dim=-1).flatten(0, 1)
        return self.encoder(x + places.to(x.dtype), real.flatten(1))
