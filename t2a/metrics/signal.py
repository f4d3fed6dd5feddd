"""How far a wave is from the one it stands for, clip by clip: every function returns [B] float32."""

from functools import lru_cache

import torch
from torch import Tensor

from t2a.audio.spectral import MelSpec, MelSpectrogram, stft

WINDOWS = (256, 512, 1024, 2048)
"""samples; the hop is a quarter"""


@torch.no_grad()
def si_snr(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-noise ratio in dB of waves [B, C, T] (Le Roux et al., 2019), from -80 to 80.

    Silence in the place of sound has -80: the formula, 0 / 0, would put it above every wrong sound.
    """
    estimate, target = (_centred(x) for x in (estimate, target))
    energy = target.square().sum(-1, keepdim=True)
    part = (estimate * target).sum(-1, keepdim=True) / energy.clamp_min(1e-10) * target
    signal, noise = part.square().sum(-1), (estimate - part).square().sum(-1)
    ratio = 10 * torch.log10(signal.clamp_min(1e-20) / noise.clamp_min(1e-20))
    silent = (estimate.square().sum(-1) < 1e-10) & (energy[:, 0] >= 1e-10)
    return ratio.clamp(-80, 80).masked_fill(silent, -80)


@torch.no_grad()
def mel_distance(estimate: Tensor, target: Tensor, sample_rate: int, mels: int = 64) -> Tensor:
    """Mean absolute difference in dB of the mel spectrograms of waves [B, C, T], over windows of 256 to 2048 samples.

    Windows have n_fft / 8 bands, at most `mels`. Magnitudes are those of an STFT divided by its window's norm; what is
    more than 100 dB below 1 counts as silence.
    """
    distances = []
    for n_fft in WINDOWS:
        mel = _mel(sample_rate, n_fft, min(mels, n_fft // 8)).to(target.device)
        distances.append(20 * (mel(estimate) - mel(target)).abs().flatten(1).mean(1))
    return torch.stack(distances).mean(0)


@torch.no_grad()
def stft_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Multi-resolution STFT distance of waves [B, C, T] (Yamamoto et al., 2020), over windows of 256 to 2048 samples.

    Mean over the windows of spectral convergence plus the mean absolute difference of the natural logarithms.
    """
    distances = []
    for n_fft in WINDOWS:
        window = torch.hann_window(n_fft, device=target.device)
        a, b = (stft(x, n_fft, n_fft // 4, window, normalised=True).abs().flatten(1) for x in (estimate, target))
        convergence = (a - b).norm(dim=1) / b.norm(dim=1).clamp_min(1e-5)
        logs = (a.clamp_min(1e-5).log() - b.clamp_min(1e-5).log()).abs().mean(1)
        distances.append(convergence + logs)
    return torch.stack(distances).mean(0)


@torch.no_grad()
def phase_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean error in radians of how phases go on in waves [B, C, T]; between unrelated noises it is 1.03.

    From bin to bin (where in a frame a sound is) and from frame to frame (how high a tone is), as in Ai and Ling,
    "Neural speech phase prediction", 2023; weighted by the target's energy, over windows of 256 to 2048 samples. What
    spectrograms leave out: an attack that is smeared, a tone that trembles.
    """
    distances = []
    for n_fft in WINDOWS:
        window = torch.hann_window(n_fft, device=target.device)
        spectra = [stft(x, n_fft, n_fft // 4, window) for x in (estimate, target)]
        for steps in (
            [x[..., 1:, :] * x[..., :-1, :].conj() for x in spectra],
            [x[..., 1:] * x[..., :-1].conj() for x in spectra],
        ):
            a, b = (step.flatten(1) for step in steps)
            errors, weights = (a * b.conj()).angle().abs(), b.abs()
            distances.append((errors * weights).sum(1) / weights.sum(1).clamp_min(1e-20))
    return torch.stack(distances).mean(0)


@lru_cache(maxsize=16)
def _mel(sample_rate: int, n_fft: int, mels: int) -> MelSpectrogram:
    return MelSpectrogram(
        MelSpec(rate=sample_rate, n_fft=n_fft, hop=n_fft // 4, n_mels=mels, norm=None, scale="htk", normalised=True)
    )


def _centred(wave: Tensor) -> Tensor:
    wave = wave.float().flatten(1)
    return wave - wave.mean(-1, keepdim=True)
