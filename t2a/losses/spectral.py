"""Distance of two waves over mel spectrograms of several window lengths (Défossez et al., EnCodec, equation 3)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from t2a.audio.torchaudio_backend import mel_filterbank
from t2a.config import Config


class MelLossConfig(Config):
    """Which spectrograms are compared; the defaults are EnCodec's."""

    windows: tuple[int, ...] = Field(tuple(2**i for i in range(5, 12)), min_length=1)
    """window lengths in samples, hop a quarter"""
    mels: int = Field(64, ge=1)
    alpha: float = Field(1.0, ge=0)
    """weight of the L2 term against the L1 term"""
    log: bool = False
    """compare logarithms (of values above 1e-5) instead of magnitudes, which weighs quiet sounds like loud ones"""


class Mel(nn.Module):
    """Mel spectrogram [B, C, mels, frames] of a wave [B, C, T], of the magnitudes of a normalised STFT."""

    window: Tensor
    bank: Tensor

    def __init__(self, sample_rate: int, n_fft: int, mels: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        bank = mel_filterbank(n_fft // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate, norm=None, scale="htk")
        self.register_buffer("bank", bank.T.contiguous(), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        batch, channels, _ = wave.shape
        flat = wave.flatten(0, 1)
        z = torch.stft(flat, self.n_fft, self.n_fft // 4, window=self.window, pad_mode="constant", return_complex=True)
        # The gradient of a complex modulus at zero is zero in torch, so silence is safe.
        return (self.bank @ z.abs()).unflatten(0, (batch, channels))


class MelLoss(nn.Module):
    """l_f = 1 / |s| sum_i |S_i(x) - S_i(x^)|_1 + alpha |S_i(x) - S_i(x^)|_2 over the window lengths s.

    Both norms are divided by the number of values (the second by its root), for each clip; the loss is the mean over
    clips.
    """

    def __init__(self, sample_rate: int, config: MelLossConfig) -> None:
        super().__init__()
        self.config = config
        self.mels = nn.ModuleList(Mel(sample_rate, window, config.mels) for window in config.windows)

    def forward(self, decoded: Tensor, wave: Tensor) -> Tensor:
        """Compare two waves [B, C, T]; in float32, also under autocast."""
        with torch.autocast(wave.device.type, enabled=False):
            return torch.stack([self._distance(mel, decoded.float(), wave.float()) for mel in self.mels]).mean()

    def _distance(self, mel: nn.Module, decoded: Tensor, wave: Tensor) -> Tensor:
        a, b = mel(decoded), mel(wave.detach())
        if self.config.log:
            a, b = a.clamp_min(1e-5).log(), b.clamp_min(1e-5).log()
        difference = (a - b).flatten(1)
        l1 = difference.abs().mean(1)
        # The root's slope at zero is infinite; the small number keeps it finite where two clips are equal.
        l2 = (difference.square().mean(1) + 1e-12).sqrt()
        return (l1 + self.config.alpha * l2).mean()
