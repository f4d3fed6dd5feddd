"""Spectra in torch: STFT, its inverse, and mel spectrograms whose exact recipe is a config. Always float32."""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.audio.torchaudio_backend import mel_filterbank
from t2a.config import Config

INVERSE = {"ln": torch.exp, "log10": lambda x: 10**x, "none": lambda x: x}
"""What undoes a spectrogram's logarithm"""


class MelSpec(Config):
    """How a mel spectrogram is made. `fmax` None is half the rate, `win` None is `n_fft`.

    `power` 1 takes magnitudes, 2 energies; `normalised` divides the spectrum by the window's norm, so that levels do
    not depend on its length; values below `floor` are raised to it before the logarithm.
    """

    rate: int = 16000
    n_fft: int = Field(1024, ge=2)
    win: int | None = None
    hop: int = Field(256, ge=1)
    n_mels: int = Field(80, ge=1)
    fmin: float = Field(0.0, ge=0)
    fmax: float | None = None
    norm: Literal["slaney"] | None = "slaney"
    scale: Literal["slaney", "htk"] = "slaney"
    power: Literal[1, 2] = 1
    normalised: bool = False
    center: bool = True
    log: Literal["none", "ln", "log10"] = "log10"
    floor: float = Field(1e-5, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.win or self.n_fft) > self.n_fft:
            raise ValueError(f"win {self.win} must not exceed n_fft {self.n_fft}")
        if not self.fmin < (self.fmax or self.rate / 2) <= self.rate / 2:
            raise ValueError(f"fmin {self.fmin} < fmax {self.fmax} <= rate/2 {self.rate / 2} must hold")
        if not self.center and (self.n_fft - self.hop) % 2:
            raise ValueError(f"n_fft {self.n_fft} less hop {self.hop} must be even: half of it is added on both sides")
        return self

    @property
    def decibels(self) -> float:
        """Decibels of one unit of the logarithm."""
        return (20 if self.power == 1 else 10) / (math.log(10) if self.log == "ln" else 1)

    @property
    def edge(self) -> int:
        """Samples by which a wave is reflected on both sides."""
        return self.n_fft // 2 if self.center else (self.n_fft - self.hop) // 2

    def frames(self, samples: Tensor) -> Tensor:
        """Return how many frames waves of so many samples int64 [B] have; very short ones are lengthened by `stft`."""
        return samples.clamp_min(self.edge + 1) // self.hop + self.center

    def differing(self, other: Self) -> str:
        """Say in what another recipe makes another spectrogram ("hop 256 and 160"); nothing where it makes the same."""
        own, its = (
            spec.model_dump() | {"win": spec.win or spec.n_fft, "fmax": spec.fmax or spec.rate / 2}
            for spec in (self, other)
        )
        return ", ".join(f"{name} {own[name]} and {its[name]}" for name in own if own[name] != its[name])


def stft(
    wave: Tensor, n_fft: int, hop: int, window: Tensor, *, normalised: bool = False, center: bool = True
) -> Tensor:
    """Short-time Fourier transform of [..., T]: complex64 [..., F, L], F = n_fft // 2 + 1 bins.

    With `center` the edges are reflected (waves too short to reflect are padded with zeros first) and frame l is
    centred on sample l * hop; without it the wave is reflected by (n_fft - hop) / 2 on both sides, which gives
    T // hop frames, as vocoders have it. `normalised` divides by the norm of the window.
    """
    batch, (length, edge) = wave.shape[:-1], (wave.shape[-1], n_fft // 2 if center else (n_fft - hop) // 2)
    flat = wave.reshape(-1, length).float()
    if length <= edge:
        flat = nn.functional.pad(flat, (0, edge + 1 - length))
    flat = nn.functional.pad(flat[:, None], (edge, edge), mode="reflect")[:, 0]
    with torch.autocast(wave.device.type, enabled=False):
        spectrum = torch.stft(flat, n_fft, hop, len(window), window.float(), center=False, return_complex=True)
    if normalised:
        spectrum = spectrum / window.float().square().sum().sqrt()
    return spectrum.reshape(*batch, *spectrum.shape[-2:])


def mirrored(wave: Tensor, length: Tensor, edge: int) -> Tensor:
    """Lengthen [B, C, T] by `edge` samples and mirror every row at the end of its first `length` int64 [B] samples.

    With the `edge` of a spectrogram, the frames of a row are then those of the row by itself, as `stft` would reflect
    it (and fill it with zeros first if it is too short for that).
    """
    place = torch.arange(wave.shape[-1] + edge, device=wave.device)
    end = length.clamp_min(edge + 1)[:, None]
    source = torch.where(place < end, place, 2 * (end - 1) - place)
    real = (source >= 0) & (source < length[:, None])
    picked = wave.gather(-1, source.clamp(0, wave.shape[-1] - 1)[:, None].expand(-1, wave.shape[1], -1))
    return picked * real[:, None]


def istft(
    spectrum: Tensor,
    hop: int,
    window: Tensor,
    *,
    normalised: bool = False,
    center: bool = True,
    real: Tensor | None = None,
) -> Tensor:
    """Inverse of `stft` in the sense of least squares (Griffin and Lim, 1984, equation 6).

    [..., F, L] complex -> [..., L * hop] float32: with `center` the last hop comes from the last frames alone.
    Frames that are not `real` [..., L] bool count for nothing: where there are none at all is silence.
    """
    n_fft, frames = 2 * (spectrum.shape[-2] - 1), spectrum.shape[-1]
    with torch.autocast(spectrum.device.type, enabled=False):
        window = _as_long_as(window.float(), n_fft)
        pieces = torch.fft.irfft(spectrum.transpose(-1, -2), n_fft) * window
        weights = window.square().expand(frames, n_fft)
        if real is not None:
            pieces, weights = pieces * real[..., None], weights * real[..., None]
        wave = overlap_add(pieces, hop) / overlap_add(weights, hop).clamp(min=1e-2)
    if normalised:
        wave = wave * window.square().sum().sqrt()
    first = n_fft // 2 if center else (n_fft - hop) // 2
    return wave[..., first : first + frames * hop]


def overlap_add(pieces: Tensor, hop: int) -> Tensor:
    """Lay pieces [..., L, N], each `hop` after the one before, over each other, [..., L * hop + surplus].

    The surplus is what the last piece has beyond one hop, filled up with zeros to whole hops.
    """
    parts = -(-pieces.shape[-1] // hop)
    pieces = nn.functional.pad(pieces, (0, parts * hop - pieces.shape[-1])).unflatten(-1, (parts, hop))
    frames = pieces.shape[-3]
    wave = pieces.new_zeros(*pieces.shape[:-3], frames + parts - 1, hop)
    for part in range(parts):
        wave[..., part : part + frames, :] += pieces[..., part, :]
    return wave.flatten(-2)


def _as_long_as(window: Tensor, n_fft: int) -> Tensor:
    """Fill a window up to the length of the transform, on both sides, as torch.stft does."""
    left = (n_fft - len(window)) // 2
    return nn.functional.pad(window, (left, n_fft - len(window) - left))


class MelSpectrogram(nn.Module):
    """Wave [..., T] to mel bands [..., M, L], differentiable, with L = 1 + T // hop frames when centred."""

    def __init__(self, spec: MelSpec) -> None:
        super().__init__()
        self.spec = spec
        bins, fmax = spec.n_fft // 2 + 1, spec.fmax or spec.rate / 2
        self.window: Tensor
        self.bank: Tensor
        # Made from the spec alone: not part of a checkpoint, and there also where a model is built without its weights.
        with torch.device("cpu"):
            bank = mel_filterbank(bins, spec.fmin, fmax, spec.n_mels, spec.rate, spec.norm, spec.scale)
            self.register_buffer("window", torch.hann_window(spec.win or spec.n_fft), persistent=False)
            self.register_buffer("bank", bank, persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        spec = self.spec
        spectrum = stft(wave, spec.n_fft, spec.hop, self.window, normalised=spec.normalised, center=spec.center)
        with torch.autocast(wave.device.type, enabled=False):
            # The gradient of |z| at 0 is undefined: the tiny constant, far below the floor, keeps silence trainable.
            energy = spectrum.real.square() + spectrum.imag.square()
            tiny = 1e-12 if spec.floor >= 1e-5 else 1e-4 * spec.floor**2
            values = energy if spec.power == 2 else (energy + tiny).sqrt()
            mel = self.bank.float().mT @ values
            if spec.log == "none":
                return mel
            mel = mel.clamp(min=spec.floor)
            return mel.log() if spec.log == "ln" else mel.log10()
