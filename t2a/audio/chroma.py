"""Chromagrams: how much of each pitch class sounds, and which one leads (MusicGen, section 2.3)."""

from functools import lru_cache

import torch
from pydantic import Field
from torch import Tensor

from t2a.audio.spectral import stft
from t2a.config import Config

A0 = 27.5  # Hz


class ChromaSpec(Config):
    """How a chromagram is made; the defaults are MusicGen's. The hop is a quarter of the window."""

    sample_rate: int = Field(32000, ge=1000)
    window: int = Field(2**14, ge=256, multiple_of=4)  # samples
    bins: int = Field(12, gt=0, multiple_of=12)  # of an octave, from C upwards

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.window // 4

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop


def chromagram(wave: Tensor, spec: ChromaSpec) -> Tensor:
    """Map a wave [..., T] at the spec's rate to its chroma [..., bins, L], L = 1 + T // hop, in float32.

    The largest bin of a frame is 1; a silent frame is 0 throughout.
    """
    window = torch.hann_window(spec.window, device=wave.device)
    frames = 1 + wave.shape[-1] // spec.hop  # a wave too short to be reflected at its edges is padded: leave that out
    energy = stft(wave, spec.window, spec.hop, window, normalised=True)[..., :frames].abs().square()
    chroma = _filters(spec).to(wave.device) @ energy
    peaks = chroma.amax(-2, keepdim=True)
    return torch.where(peaks > 1e-6, chroma / peaks.clamp_min(1e-6), 0.0)


def leading(chroma: Tensor) -> Tensor:
    """Keep only which bin is the largest of each frame: one-hot [..., bins, L] of a chromagram.

    It carries the tune and little else, so that a model cannot copy its reference. A silent frame counts as C, the
    first bin, as it does in MusicGen.
    """
    return torch.zeros_like(chroma).scatter_(-2, chroma.argmax(-2, keepdim=True), 1.0)


@lru_cache(maxsize=8)
def _filters(spec: ChromaSpec) -> Tensor:
    """Weigh the F frequency bins of a spectrum into chroma, [bins, F] (Ellis, "Chroma feature analysis", 2007).

    A Gaussian of the distance from each pitch class, as wide as half a bin (of the spectrum where those are wider
    than bins of chroma), of unit norm over the classes, under a Gaussian two octaves wide around the fifth octave.
    """
    frequencies = torch.arange(1, spec.window // 2 + 2, dtype=torch.float64) * spec.sample_rate / spec.window
    pitch = spec.bins * torch.log2(frequencies / A0)  # bins of chroma above A0
    spacing = (pitch[1:] - pitch[:-1]).clamp_min(1.0)
    constant = pitch[:1] - 1.5 * spec.bins  # the direct current has no pitch: an octave and a half below all others
    first = (pitch[:1] - constant).clamp_min(1.0)
    pitch, spacing = torch.cat([constant, pitch[:-1]]), torch.cat([first, spacing])
    lowest = -9 * (spec.bins // 12)  # C lies 9 semitones below A
    classes = torch.arange(lowest, lowest + spec.bins, dtype=torch.float64)[:, None]
    distance = (pitch - classes + spec.bins / 2).remainder(spec.bins) - spec.bins / 2
    weights = torch.exp(-0.5 * (2 * distance / spacing).square())
    weights = weights / weights.norm(dim=0)
    return (weights * torch.exp(-0.5 * ((pitch / spec.bins - 5) / 2).square())).float()
