"""The simplest codec as a yardstick: mu-law PCM (ITU-T G.711), resampled down until it fits a bit rate."""

import numpy as np
import soxr
from numpy.typing import NDArray

MU = 255


def encode(wave: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return 8-bit mu-law codes of samples in [-1, 1] (continuous companding, not G.711's segments)."""
    wave = np.clip(wave, -1, 1)
    companded = np.sign(wave) * np.log1p(MU * np.abs(wave)) / np.log1p(MU)
    return np.round((companded + 1) / 2 * MU).astype(np.uint8)


def decode(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the samples of 8-bit mu-law codes."""
    companded = codes.astype(np.float32) / MU * 2 - 1
    return (np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(MU)) / MU).astype(np.float32)


def at_bit_rate(wave: NDArray[np.float32], sample_rate: int, bit_rate: float) -> NDArray[np.float32]:
    """Return a wave [C, T] after mu-law PCM at `bit_rate` bits a second for all channels, 8 bits a sample.

    The rate is lowered to bit_rate / (8 C) Hz where it is higher; the result has the original rate and length.
    """
    channels, samples = wave.shape
    rate = min(float(sample_rate), bit_rate / 8 / channels)
    low = soxr.resample(wave.T, sample_rate, rate)
    high = soxr.resample(decode(encode(low)), rate, sample_rate).T
    return np.pad(high, ((0, 0), (0, max(0, samples - high.shape[1]))))[:, :samples]
