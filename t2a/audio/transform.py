"""Changes of a whole wave in numpy: channels, rate, length, level. Waves are [C, T] float32."""

from __future__ import annotations

import numpy as np
import soxr


def to_channels(wave: np.ndarray, channels: int) -> np.ndarray:
    """Mix or copy [C, T] to [channels, T]: the mean for mono, copies of mono, else the first channels.

    The first two of a surround recording are its front left and right. Raises ValueError when channels would have
    to be invented.
    """
    present = wave.shape[0]
    if present == channels:
        return wave
    if channels == 1:
        return wave.mean(axis=0, keepdims=True, dtype=np.float32)
    if present == 1:
        return np.repeat(wave, channels, axis=0)
    if present < channels:
        raise ValueError(f"cannot make {channels} channels out of {present}; use a recording with more, or mono")
    return wave[:channels]


def to_mono(wave: np.ndarray) -> np.ndarray:
    """Mix [C, T] to [1, T]."""
    return to_channels(wave, 1)


def resample(wave: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Resample [C, T] at `rate` to [C, about T * to / rate] at `to` (soxr, high quality)."""
    if rate == to:
        return wave
    return np.ascontiguousarray(soxr.resample(wave.T, rate, to, quality="HQ").T, dtype=np.float32)


def crop(wave: np.ndarray, start: int, length: int) -> np.ndarray:
    """Take [C, length] samples from `start`. Raises ValueError where the wave has none."""
    if not 0 <= start <= wave.shape[-1] - length:
        raise ValueError(f"no {length} samples from {start} in a wave of {wave.shape[-1]}")
    return wave[..., start : start + length]


def pad(wave: np.ndarray, length: int) -> np.ndarray:
    """Append silence up to [C, length]; a longer wave is a ValueError."""
    missing = length - wave.shape[-1]
    if missing < 0:
        raise ValueError(f"a wave of {wave.shape[-1]} samples cannot be padded to {length}; crop it")
    return np.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(0, missing)]) if missing else wave


def fit(wave: np.ndarray, length: int) -> np.ndarray:
    """Give exactly [C, length]: the beginning of a longer wave, a shorter one with silence after it."""
    return pad(wave[..., :length], length)


def peak(wave: np.ndarray) -> float:
    """Largest absolute sample, 0 for an empty wave."""
    return float(np.abs(wave).max(initial=0.0))


def rms(wave: np.ndarray) -> float:
    """Root mean square over all samples, 0 for an empty wave."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if wave.size else 0.0
