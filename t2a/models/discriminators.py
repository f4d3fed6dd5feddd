"""Critics that tell recorded from decoded audio: EnCodec's multi-scale STFT discriminator, and others beside it."""

from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.config import Config
from t2a.models.spectral_discriminators import BandDiscriminator, ResolutionsConfig, STFTDiscriminator
from t2a.models.wave_discriminators import (
    PeriodDiscriminator,
    PeriodsConfig,
    ScaleDiscriminator,
    ScalesConfig,
)


class CriticConfig(Config):
    """Which discriminators judge together, each with one voice; by default EnCodec's multi-scale STFT ones alone."""

    ffts: tuple[Annotated[int, Field(ge=4)], ...] = (2048, 1024, 512, 256, 128)
    """window lengths in samples, hop a quarter; a clip must be at least as long as the longest"""
    filters: int = Field(32, ge=1)
    dilations: tuple[int, ...] = (1, 2, 4)
    """in time, of the layers that halve the frequencies"""
    periods: PeriodsConfig | None = None
    """HiFi-GAN's multi-period discriminator beside them; `{}` has the published shape"""
    scales: ScalesConfig | None = None
    """HiFi-GAN's multi-scale discriminator beside them; `{}` has the published shape"""
    resolutions: ResolutionsConfig | None = None
    """Vocos' multi-resolution discriminator beside them; `{}` has the published shape"""

    @model_validator(mode="after")
    def _somebody_judges(self) -> Self:
        if not (self.ffts or self.periods or self.scales or self.resolutions):
            raise ValueError("ffts is empty and there are neither periods nor scales nor resolutions: nobody judges")
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


class Critic(nn.Module):
    """All discriminators of a config, for audio of `channels` channels."""

    def __init__(self, config: CriticConfig, channels: int = 1) -> None:
        super().__init__()
        self.config = config
        filters, dilations = config.filters, config.dilations
        made: list[nn.Module] = [STFTDiscriminator(n_fft, filters, dilations, channels) for n_fft in config.ffts]
        if config.periods:
            made += [PeriodDiscriminator(period, config.periods, channels) for period in config.periods.periods]
        if config.scales:
            made += [ScaleDiscriminator(halvings, config.scales, channels) for halvings in range(config.scales.scales)]
        if config.resolutions:
            made += [BandDiscriminator(n_fft, config.resolutions, channels) for n_fft in config.resolutions.ffts]
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
