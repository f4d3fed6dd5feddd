"""How far a wave is from the one it stands for, clip by clip: every function returns [B] float32."""

import torch
from torch import Tensor
from torch.nn import functional

from t2a.audio.torchaudio_backend import mel_filterbank

WINDOWS = (256, 512, 1024, 2048)
"""samples; the hop is a quarter"""


@torch.no_grad()
def si_snr(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-noise ratio in dB of waves [B, C, T] (Le Roux et al., 2019), from -80 to 80."""
    estimate, target = (_centred(x) for x in (estimate, target))
    energy = target.square().sum(-1, keepdim=True)
    part = (estimate * target).sum(-1, keepdim=True) / energy.clamp_min(1e-10) * target
    signal, noise = part.square().sum(-1), (estimate - part).square().sum(-1)
    ratio = 10 * torch.log10(signal.clamp_min(1e-20) / noise.clamp_min(1e-20))
    return ratio.clamp(-80, 80)


@torch.no_grad()
def mel_distance(estimate: Tensor, target: Tensor, sample_rate: int, mels: int = 64) -> Tensor:
    """Mean absolute difference in dB of the mel spectrograms of waves [B, C, T], over windows of 256 to 2048 samples.

    Magnitudes are those of an STFT scaled by its window's norm; what is more than 100 dB below 1 counts as silence.
    """
    distances = []
    for n_fft in WINDOWS:
        bins, bands = n_fft // 2 + 1, min(mels, n_fft // 8)
        bank = mel_filterbank(bins, 0.0, sample_rate / 2, bands, sample_rate, norm=None, scale="htk").to(target.device)
        a, b = (20 * torch.log10((bank.T @ _magnitude(x, n_fft)).clamp_min(1e-5)) for x in (estimate, target))
        distances.append((a - b).abs().flatten(1).mean(1))
    return torch.stack(distances).mean(0)


@torch.no_grad()
def stft_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Multi-resolution STFT distance of waves [B, C, T] (Yamamoto et al., 2020), over windows of 256 to 2048 samples.

    Mean over the windows of spectral convergence plus the mean absolute difference of the natural logarithms.
    """
    distances = []
    for n_fft in WINDOWS:
        a, b = (_magnitude(x, n_fft).flatten(1) for x in (estimate, target))
        convergence = (a - b).norm(dim=1) / b.norm(dim=1).clamp_min(1e-5)
        logs = (a.clamp_min(1e-5).log() - b.clamp_min(1e-5).log()).abs().mean(1)
        distances.append(convergence + logs)
    return torch.stack(distances).mean(0)


def _centred(wave: Tensor) -> Tensor:
    wave = wave.float().flatten(1)
    return wave - wave.mean(-1, keepdim=True)


def _magnitude(wave: Tensor, n_fft: int) -> Tensor:
    """Return [B, n_fft / 2 + 1, C * frames] of a wave [B, C, T]."""
    batch, channels, samples = wave.shape
    flat = functional.pad(wave.float(), (0, max(0, n_fft - samples))).flatten(0, 1)
    window = torch.hann_window(n_fft, device=wave.device)
    window = window / window.square().sum().sqrt()
    z = torch.stft(flat, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)
    return z.abs().unflatten(0, (batch, channels)).transpose(1, 2).flatten(2)
