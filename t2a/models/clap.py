"""Contrastive language-audio pretraining: sounds and captions in one space (Elizalde et al., CLAP, 2022)."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from t2a.config import Config
from t2a.models.conv_tower import ConvTowerConfig
from t2a.models.pretrained import Pretrained
from t2a.models.spectrogram_transformer import SpectrogramTransformerConfig
from t2a.models.text_layers import TextLayers, TextLayersConfig
from t2a.nn.condition import Condition

MAX_SCALE = 100.0  # as in CLIP: a sharper softmax makes training unstable

TowerConfig = Annotated[ConvTowerConfig | SpectrogramTransformerConfig, Field(discriminator="kind")]


class ClapConfig(Config):
    """Sizes of a `Clap`; the defaults are small enough for a CPU."""

    tower: TowerConfig = ConvTowerConfig()
    text_width: int = Field(384, gt=0)  # of the text encoder's states
    text_layers: TextLayersConfig | None = None  # trained over it, where it does not know by itself what words mean
    dimension: int = Field(256, gt=0)  # of the common space
    dropout: float = Field(0.1, ge=0, lt=1)  # of the text tower
    temperature: float = Field(0.07, ge=1 / MAX_SCALE)  # at the start

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.tower.mel.rate

    @property
    def channels(self) -> int:
        """Audio channels."""
        return 1


class Clap(Pretrained):
    """A tower for waves and one for the states of a text encoder that is not trained; both end on the unit sphere."""

    model_type: ClassVar[str] = "clap"
    parts: ClassVar[Mapping[str, str]] = {"ssast": "tower"}
    config_class = ClapConfig
    config: ClapConfig

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.config = config
        self.tower = config.tower.build()
        self.head = nn.Sequential(nn.LayerNorm(config.tower.width), nn.Linear(config.tower.width, config.dimension))
        self.text_layers = TextLayers(config.text_layers, config.text_width) if config.text_layers else None
        width = config.text_layers.width if config.text_layers else config.text_width
        self.text_tower = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, config.dimension),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dimension, config.dimension),
        )
        self.log_scale = nn.Parameter(torch.full((1,), -math.log(config.temperature)))

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.config.sample_rate

    @property
    def scale(self) -> Tensor:
        """What similarities are multiplied by before a softmax: one over the temperature."""
        return _at_most(self.log_scale, math.log(MAX_SCALE)).exp()[0]

    def forward(self, wave: Tensor, length: Tensor, condition: Condition) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings of sounds [B, D] and captions [B, D], and the scale of their similarities."""
        return self.audio(wave, length), self.text(condition), self.scale

    def audio(self, wave: Tensor, length: Tensor) -> Tensor:
        """Embed waves [B, 1, T] of which the first `length` int64 [B] samples are real, [B, D] of norm 1."""
        heard = self.tower(wave, length).to(self.log_scale.dtype)
        return functional.normalize(self.head(heard).float(), dim=-1)

    def text(self, condition: Condition) -> Tensor:
        """Embed captions by the mean of their token states, [B, D] of norm 1."""
        states = self._read(condition)
        mask = condition.mask[..., None].to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        return functional.normalize(self.text_tower(mean).float(), dim=-1)

    def text_states(self, condition: Condition) -> Condition:
        """Project each token state by itself, for generators to attend to (Make-An-Audio), [B, S, D] of any norm."""
        return Condition(self.text_tower(self._read(condition)).float(), condition.mask)

    def _read(self, condition: Condition) -> Tensor:
        return condition.tokens if self.text_layers is None else self.text_layers(condition)


def _at_most(value: Tensor, most: float) -> Tensor:
    """Limit a parameter; beyond the limit only gradients that bring it back pass, where `clamp` would let none."""
    limited = value.detach().clamp(max=most) + (value - value.detach())
    if limited.requires_grad:
        beyond = value.detach() >= most
        limited.register_hook(lambda gradient: torch.where(beyond, gradient.clamp(min=0), gradient))
    return limited
