"""Critics that tell recorded from decoded audio: EnCodec's multi-scale STFT discriminator, and others beside it."""

from typing import NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from t2a.config import Config
from t2a.models.wave_discriminators import (
    PeriodDiscriminator,
    PeriodsConfig,
    ScaleDiscriminator,
    ScalesConfig,
)
from t2a.nn.conv import Norm, NormedWeight


class CriticConfig(Config):
    """Which discriminators judge together, each with one voice; by default EnCodec's multi-scale STFT ones alone."""

    ffts: tuple[int, ...] = (2048, 1024, 512, 256, 128)
    """window lengths in samples, hop a quarter; a clip must be at least as long as the longest"""
    filters: int = Field(32, ge=1)
    dilations: tuple[int, ...] = (1, 2, 4)
    """in time, of the layers that halve the frequencies"""
    periods: PeriodsConfig | None = None
    """HiFi-GAN's multi-period discriminator beside them; `{}` has the published shape"""
    scales: ScalesConfig | None = None
    """HiFi-GAN's multi-scale discriminator beside them; `{}` has the published shape"""

    @model_validator(mode="after")
    def _somebody_judges(self) -> Self:
        if not (self.ffts or self.periods or self.scales):
            raise ValueError("ffts is empty and there are neither periods nor scales: nobody judges")
        return self


class Verdict(NamedTuple):
    """What the critics think of a batch, one entry a discriminator."""

    logits: list[Tensor]
    """each [B, 1, frames, frequencies], [B, 1, rows, period] or [B, 1, frames]; positive means recorded"""
    features: list[list[Tensor]]
    """each layer's activations, with its width in the place of the 1"""

    def split(self, parts: int) -> list["Verdict"]:
        """Cut a batch made of equal parts into these."""
        logits = [x.chunk(parts) for x in self.logits]
        features = [[x.chunk(parts) for x in layers] for layers in self.features]
        return [Verdict([x[i] for x in logits], [[x[i] for x in layers] for layers in features]) for i in range(parts)]


class Conv2d(NormedWeight):
    """Convolve [B, C, frames, frequencies], padded to keep the size but for the stride."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        norm: Norm = "weight",
    ) -> None:
        super().__init__((out_channels, in_channels, *kernel), out_channels, in_channels * kernel[0] * kernel[1], norm)
        self.stride, self.dilation = stride, dilation
        self.padding = ((kernel[0] - 1) * dilation[0] // 2, (kernel[1] - 1) * dilation[1] // 2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel(), self.bias, self.stride, self.padding, self.dilation)


class STFTDiscriminator(nn.Module):
    """Judge the complex STFT of a wave [B, C, T], real and imaginary parts as channels."""

    window: Tensor

    def __init__(self, n_fft: int, config: CriticConfig, channels: int) -> None:
        super().__init__()
        self.n_fft = self.shortest = n_fft
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        width = config.filters
        # As in the released discriminator, the first layer alone is not weight-normalised.
        layers = [Conv2d(2 * channels, width, (3, 9), norm="none")]
        layers += [Conv2d(width, width, (3, 9), stride=(1, 2), dilation=(d, 1)) for d in config.dilations]
        layers += [Conv2d(width, width, (3, 3))]
        self.convs = nn.ModuleList(layers)
        self.conv_post = Conv2d(width, 1, (3, 3))

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.spectrum(wave)
        features = []
        for conv in self.convs:
            x = functional.leaky_relu(conv(x), 0.2)
            features.append(x)
        return self.conv_post(x), features

    def spectrum(self, wave: Tensor) -> Tensor:
        """Return [B, 2 C, frames, n_fft / 2 + 1], scaled by the window's norm, without padding."""
        batch, channels, _ = wave.shape
        with torch.autocast(wave.device.type, enabled=False):
            flat, window = wave.float().flatten(0, 1), self.window.float()
            z = torch.stft(flat, self.n_fft, self.n_fft // 4, window=window, center=False, return_complex=True)
        z = z.unflatten(0, (batch, channels)).transpose(-1, -2)
        # Channels side by side in memory, which the backward passes of few channels want most.
        return torch.cat([z.real, z.imag], 1).to(self.conv_post.bias.dtype, memory_format=torch.channels_last)


class Critic(nn.Module):
    """All discriminators of a config, for audio of `channels` channels."""

    def __init__(self, config: CriticConfig, channels: int = 1) -> None:
        super().__init__()
        self.config = config
        made: list[nn.Module] = [STFTDiscriminator(n_fft, config, channels) for n_fft in config.ffts]
        if config.periods:
            made += [PeriodDiscriminator(period, config.periods, channels) for period in config.periods.periods]
        if config.scales:
            made += [ScaleDiscriminator(halvings, config.scales, channels) for halvings in range(config.scales.scales)]
        self.discriminators = nn.ModuleList(made)
        self.shortest = max(discriminator.shortest for discriminator in made)

    def forward(self, wave: Tensor) -> Verdict:
        """Judge a wave [B, C, T] of at least `shortest` samples."""
        if wave.shape[-1] < self.shortest:
            raise ValueError(
                f"clips of {wave.shape[-1]} samples are shorter than the critic's window of {self.shortest}."
            )
        verdicts = [discriminator(wave) for discriminator in self.discriminators]
        return Verdict([logits for logits, _ in verdicts], [features for _, features in verdicts])
