import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2a.audio.augment import PEAK, latest_offset, mix, overlap

sizes = st.integers(20, 400)


def noise(samples: int, seed: int, level: float, channels: int = 1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal((channels, samples))).astype(np.float32)


def decibels(wave: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(wave, dtype=np.float64)))


@given(sizes, sizes, st.floats(0, 1), st.floats(-5, 5), st.floats(1e-3, 0.3), st.floats(1e-3, 0.3), st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_the_ratio_is_exact_where_both_sound_whatever_their_levels(n, m, where, snr, a, b, channels):
    first, second = noise(n, 0, a, channels), noise(m, 1, b, channels)
    offset = int(where * latest_offset(n, m, 0.5))
    both = mix(first, second, snr, offset)
    assert both.shape == (channels, max(n, offset + m))
    assert both.dtype == np.float32
    assert np.abs(both).max() <= PEAK + 1e-6
    placed = np.zeros((2, *both.shape))
    placed[0, :, :n] = first
    placed[1, :, offset : offset + m] = second
    parts = placed.reshape(2, -1).T
    factors, *_ = np.linalg.lstsq(parts, both.ravel().astype(float), rcond=None)
    np.testing.assert_allclose(parts @ factors, both.ravel(), atol=1e-5)
    ours, theirs = overlap(first, second, offset)
    assert decibels(factors[0] * ours) - decibels(factors[1] * theirs) == pytest.approx(snr, abs=1e-2)
    assert factors[0] <= 1 + 1e-6


@given(sizes, sizes, st.floats(0.01, 1))
def test_the_latest_beginning_leaves_the_share_of_the_shorter_one_and_not_a_sample_more(n, m, share):
    latest = latest_offset(n, m, share)
    assert 0 <= latest < n
    together = overlap(np.zeros((1, n)), np.zeros((1, m)), latest)[0].shape[1]
    assert together >= share * min(n, m)
    later = overlap(np.zeros((1, n)), np.zeros((1, m)), latest + 1)[0].shape[1]
    assert later < share * min(n, m) or later < together


def test_the_first_keeps_its_level_unless_the_peak_would_be_too_high():
    first, second = noise(100, 0, 0.01), noise(50, 1, 0.3)
    both = mix(first, second, 5.0, 20)
    np.testing.assert_array_equal(both[:, :20], first[:, :20])
    np.testing.assert_array_equal(both[:, 70:], first[:, 70:])
    loud = mix(20 * first, second, 0.0, 20)
    assert np.abs(loud).max() == pytest.approx(PEAK, abs=1e-6) or np.abs(20 * first).max() < PEAK


def test_silence_has_no_loudness_to_set():
    with pytest.raises(ValueError, match="nothing to set the loudness by"):
        mix(noise(50, 0, 0.1), np.zeros((1, 50), np.float32), 0.0, 10)
    with pytest.raises(ValueError, match="nothing to set the loudness by"):
        mix(noise(50, 0, 0.1), noise(50, 1, 0.1), 0.0, 50)
