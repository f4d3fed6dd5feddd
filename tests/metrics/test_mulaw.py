import numpy as np
import pytest
import torch

from t2a.metrics import mulaw
from t2a.metrics.signal import si_snr


def sine(hertz: float, rate: int = 16000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)).astype(np.float32)[None]


def test_all_codes_come_back():
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(mulaw.encode(mulaw.decode(codes)), codes)
    assert mulaw.decode(codes)[[0, -1]].tolist() == [-1, 1]


def test_it_costs_what_it_may_and_keeps_length_and_low_frequencies():
    def quality(hertz: float, bit_rate: float) -> float:
        wave = sine(hertz)
        decoded = mulaw.at_bit_rate(wave, 16000, bit_rate)
        assert decoded.shape == wave.shape
        return si_snr(torch.from_numpy(decoded)[None], torch.from_numpy(wave)[None]).item()

    assert quality(50, 8000) > 25  # 1 kHz sampling
    assert quality(700, 8000) < -10  # beyond half of that
    assert quality(3000, 128000) == pytest.approx(quality(3000, 1e9), abs=1)  # never resampled up
