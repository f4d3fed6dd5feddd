"""A spectrogram transformer that tells what the patches hold that are hidden from it (Gong et al., SSAST, 2022)."""

from typing import ClassVar, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from t2a.config import Config
from t2a.models.pretrained import Pretrained
from t2a.models.spectrogram_transformer import SpectrogramTransformerConfig


class SsastConfig(Config):
    """The transformer and what is hidden from it."""

    tower: SpectrogramTransformerConfig = SpectrogramTransformerConfig()
    hidden: float = Field(400 / 512, gt=0, lt=1)  # share of a clip's patches
    clusters: tuple[int, int] = (3, 5)  # least and greatest side of the squares that are hidden together

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.tower.mel.rate

    @property
    def channels(self) -> int:
        """Audio channels."""
        return 1

    @model_validator(mode="after")
    def _rises(self) -> "SsastConfig":
        if not 1 <= self.clusters[0] <= self.clusters[1]:
            raise ValueError(f"clusters {list(self.clusters)} is no range of sides: give the lower bound first")
        return self


class Prediction(NamedTuple):
    """What a model says of the hidden patches of B clips, whose P values it has not seen."""

    patches: Tensor
    """[B, N, P] float32, what is there"""
    hidden: Tensor
    """bool [B, N]"""
    matched: Tensor
    """[B, N, P], to be compared with all hidden patches of the clip"""
    reconstructed: Tensor
    """[B, N, P]"""


class Ssast(Pretrained):
    """A spectrogram transformer with two heads, of which one recognises hidden patches and one paints them."""

    model_type: ClassVar[str] = "ssast"
    config_class = SsastConfig
    config: SsastConfig

    def __init__(self, config: SsastConfig) -> None:
        super().__init__()
        self.config = config
        self.tower = config.tower.build()
        width, values = config.tower.width, config.tower.patch[0] * config.tower.patch[1]
        self.mask = nn.Parameter(0.02 * torch.randn(width))  # stands where a patch is hidden
        self.match = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, values))
        self.reconstruct = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, values))

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.config.sample_rate

    def forward(self, wave: Tensor, length: Tensor, generator: torch.Generator | None = None) -> Prediction:
        """Hide patches of waves [B, 1, T] with real lengths [B] and predict them.

        They are drawn from `generator`, from torch's global one of the waves' device without it.
        """
        patches, real = self.tower.patches(wave, length)
        hidden = clustered(real, self.config.hidden, self.config.clusters, generator).flatten(1)
        embedded = self.tower.embedded(patches)
        states = self.tower.states(torch.where(hidden[..., None], self.mask.to(embedded.dtype), embedded), real)
        return Prediction(patches, hidden, self.match(states), self.reconstruct(states))


def clustered(real: Tensor, share: float, sides: tuple[int, int], generator: torch.Generator | None = None) -> Tensor:
    """Choose a share of each row's real patches, bool [B, bands, L], in squares: bool of the same shape.

    A row's squares have one side, drawn from `sides`; they fall at random places, over the edges too, until enough is
    covered, and of the last one only a random part counts (SSAST, algorithm 1). One patch is chosen at least.
    """
    device, rows = real.device, len(real)
    side = torch.randint(sides[0], sides[1] + 1, (rows, 1, 1), generator=generator, device=device)
    when = torch.zeros(real.shape, device=device)  # a patch is covered by the first square that falls on it
    for each in range(sides[0], sides[1] + 1):
        falls = torch.rand(rows, real.shape[1] + each - 1, real.shape[2] + each - 1, generator=generator, device=device)
        when = torch.where(side == each, -functional.max_pool2d(-falls[:, None], each, stride=1)[:, 0], when)
    when += 1e-6 * torch.rand(when.shape, generator=generator, device=device)  # an order within a square
    order = when.masked_fill(~real, torch.inf).flatten(1).argsort(1).argsort(1).view(real.shape)
    return order < (share * real.sum((1, 2))).round().clamp(min=1)[:, None, None]
