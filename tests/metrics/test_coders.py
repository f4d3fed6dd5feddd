"""Opus and MP3 as yardsticks: as long as the original, in time with it, and at the bits they say."""

import io

import numpy as np
import pytest
import soundfile
import torch

from t2a.metrics import coders
from t2a.metrics.signal import si_snr


def sound(rate: int, channels: int, seconds: float = 2.0) -> np.ndarray:
    """Noise that falls with frequency, [C, T]."""
    spectrum = np.random.default_rng(0).standard_normal((channels, round(rate * seconds) // 2 + 1))
    hertz = np.fft.rfftfreq(round(rate * seconds), 1 / rate)
    wave = np.fft.irfft(spectrum / np.maximum(hertz, 50) ** 2)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (32000, 1), (44100, 2)])
@pytest.mark.parametrize("name", ["opus", "mp3"])
def test_it_comes_back_in_time_and_more_bits_bring_it_closer(name, rate, channels):
    code, wave = getattr(coders, name), sound(rate, channels)
    low = coders.lowest(name, rate, channels)
    made = [code(wave, rate, factor * low) for factor in (1, 4)]
    assert all(coded.wave.shape == wave.shape for coded in made)
    near = [si_snr(torch.from_numpy(coded.wave)[None], torch.from_numpy(wave)[None]).item() for coded in made]
    assert near[1] > max(near[0], 10)
    per_second = [coded.bits / 2 for coded in made]
    assert per_second == pytest.approx([low, 4 * low], rel=0.35)


def test_the_bits_are_those_of_the_file_without_its_tags():
    wave = sound(16000, 1)
    coded = coders.opus(wave, 16000, 24000)
    file = io.BytesIO()
    soundfile.write(file, wave.T, 16000, format="OGG", subtype="OPUS", compression_level=1 - 18 / 250)
    assert coded.bits + coded.container == 8 * len(file.getvalue())
    assert 0 < coded.container < 10_000
    constant = coders.mp3(wave, 16000, 32000)
    # Frames of 72 * 32000 / 16000 bytes, of 576 samples each: those of the sound and at most three of delay.
    frames = constant.bits / 8 / 144
    assert frames == int(frames)
    assert 0 <= frames - 32000 / 576 <= 4


def test_less_than_the_lowest_rate_is_the_lowest_rate():
    wave = sound(16000, 1)
    assert coders.opus(wave, 16000, 100).bits == coders.opus(wave, 16000, 6000).bits
    assert coders.mp3(wave, 16000, 100).bits == coders.mp3(wave, 16000, 8000).bits


def test_a_delay_is_found_and_cut():
    wave = sound(16000, 1)
    late = np.concatenate([np.zeros((1, 1105), np.float32), wave, np.zeros((1, 300), np.float32)], 1)
    np.testing.assert_array_equal(coders.aligned(late, wave)[:, : wave.shape[1]], wave)
