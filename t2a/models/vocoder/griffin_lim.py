"""A vocoder without weights: find phases that fit the magnitudes (Griffin and Lim, 1984; Perraudin et al., 2013)."""

import torch
from torch import Tensor, nn

from t2a.audio.spectral import INVERSE, MelSpec, MelSpectrogram, istft, stft
from t2a.models.vocoder.spectrograms import check_shape

UNMIXING = 30  # rounds that part mel bands into bins


class GriffinLim(nn.Module):
    """Mel spectrograms [B, M, L] -> waves [B, 1, L * hop], in float32.

    For want of a trained vocoder, and as the baseline of one: it sounds metallic. A clip's first phases are drawn from
    `seed`, the same for every clip.
    """

    def __init__(self, spec: MelSpec, rounds: int = 32, momentum: float = 0.99, seed: int = 0) -> None:
        super().__init__()
        self.spec, self.rounds, self.momentum, self.seed = spec, rounds, momentum, seed
        self.spectrogram = MelSpectrogram(spec)

    @property
    def mel_spec(self) -> MelSpec:
        """The mel spectrogram that it takes."""
        return self.spec

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.spec.rate

    @torch.no_grad()
    def forward(self, mel: Tensor, length: Tensor | None = None) -> Tensor:
        """Vocode mel spectrograms of which the first `length` int64 [B] frames are real; after them comes silence.

        Raises `ValueError` for tensors of another shape.
        """
        check_shape(mel, self.spec)
        frames = [mel.shape[-1]] * len(mel) if length is None else length.tolist()
        wave = mel.new_zeros(len(mel), 1, mel.shape[-1] * self.spec.hop, dtype=torch.float32)
        for row, count in enumerate(frames):
            if count:
                wave[row, 0, : count * self.spec.hop] = self._clip(mel[row, :, :count].float())
        return wave

    def _clip(self, mel: Tensor) -> Tensor:
        """One clip [M, L] -> [L * hop]."""
        magnitude = self._magnitude(mel)
        random = torch.Generator().manual_seed(self.seed)
        phase = 2 * torch.pi * torch.rand(magnitude.shape, generator=random).to(mel.device)
        angles, before = torch.polar(torch.ones_like(magnitude), phase), torch.zeros((), device=mel.device)
        for _ in range(self.rounds):
            fitted = self._spectrum(self._wave(magnitude * angles), magnitude.shape[1])
            angles = fitted - self.momentum / (1 + self.momentum) * before
            angles, before = angles / angles.abs().clamp(min=1e-16), fitted
        return self._wave(magnitude * angles)

    def _magnitude(self, mel: Tensor) -> Tensor:
        """Find non-negative magnitudes [F, L] that have these bands (Lee and Seung, 2001, for one known factor)."""
        bands, bank = INVERSE[self.spec.log](mel), self.spectrogram.bank.float()
        wanted = bank @ bands
        bins = (wanted / (bank @ bank.sum(0))[:, None].clamp(min=1e-10)).clamp(min=1e-10)
        for _ in range(UNMIXING):
            bins = bins * wanted / (bank @ (bank.mT @ bins)).clamp(min=1e-10)
        return bins if self.spec.power == 1 else bins.sqrt()

    def _wave(self, spectrum: Tensor) -> Tensor:
        spec = self.spec
        return istft(spectrum, spec.hop, self.spectrogram.window, normalised=spec.normalised, center=spec.center)

    def _spectrum(self, wave: Tensor, frames: int) -> Tensor:
        spec = self.spec
        window = self.spectrogram.window
        return stft(wave, spec.n_fft, spec.hop, window, normalised=spec.normalised, center=spec.center)[:, :frames]
