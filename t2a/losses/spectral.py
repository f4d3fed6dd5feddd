"""Distance of two waves over mel spectrograms of several window lengths (Défossez et al., EnCodec, equation 3)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from t2a.audio.spectral import MelSpec, MelSpectrogram
from t2a.config import Config


class MelLossConfig(Config):
    """Which spectrograms are compared; the defaults are EnCodec's."""

    windows: tuple[Annotated[int, Field(ge=4)], ...] = Field(tuple(2**i for i in range(5, 12)), min_length=1)
    """window lengths in samples, hop a quarter"""
    mels: int = Field(64, ge=1)
    alpha: float = Field(1.0, ge=0)
    """weight of the L2 term against the L1 term"""
    log: bool = False
    """compare logarithms instead of magnitudes, which weighs quiet sounds like loud ones"""
    floor: float = Field(1e-5, gt=0)
    """magnitude that all below it are taken for before the logarithm (a full-scale sine has 0.4 sqrt(window))"""


class MelLoss(nn.Module):
    """l_f = 1 / |s| sum_i |S_i(x) - S_i(x^)|_1 + alpha |S_i(x) - S_i(x^)|_2 over the window lengths s.

    S_i holds mel magnitudes of an STFT that is divided by its window's norm. Both distances are divided by the number
    of values (the second by its root), for each clip; the loss is the mean over clips.
    """

    def __init__(self, sample_rate: int, config: MelLossConfig) -> None:
        super().__init__()
        self.alpha = config.alpha
        self.mels = nn.ModuleList(
            MelSpectrogram(
                MelSpec(
                    rate=sample_rate,
                    n_fft=window,
                    hop=window // 4,
                    n_mels=config.mels,
                    norm=None,
                    scale="htk",
                    normalised=True,
                    log="ln" if config.log else "none",
                    floor=config.floor,
                )
            )
            for window in config.windows
        )

    def forward(self, decoded: Tensor, wave: Tensor) -> Tensor:
        """Compare two waves [B, C, T]; in float32, also under autocast."""
        return torch.stack([self._distance(mel, decoded, wave.detach()) for mel in self.mels]).mean()

    def _distance(self, mel: nn.Module, decoded: Tensor, wave: Tensor) -> Tensor:
        difference = (mel(decoded) - mel(wave)).flatten(1)
        l1 = difference.abs().mean(1)
        # The root's slope at zero is infinite; the small number keeps it finite where two clips are equal.
        l2 = (difference.square().mean(1) + 1e-12).sqrt()
        return (l1 + self.alpha * l2).mean()
