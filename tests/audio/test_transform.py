import numpy as np
import pytest

from t2a.audio.transform import crop, fit, pad, peak, resample, rms, to_channels, to_mono


def test_mono_is_the_mean_and_stereo_of_mono_its_copies():
    wave = np.array([[1, 0], [0, 0.5]], np.float32)
    np.testing.assert_array_equal(to_mono(wave), [[0.5, 0.25]])
    np.testing.assert_array_equal(to_channels(to_mono(wave), 2), [[0.5, 0.25]] * 2)
    assert to_mono(wave).dtype == np.float32
    np.testing.assert_array_equal(to_channels(np.arange(6.0)[:, None], 2), [[0.0], [1.0]])


def test_channels_are_not_invented():
    with pytest.raises(ValueError, match="6 channels out of 2"):
        to_channels(np.zeros((2, 4)), 6)


@pytest.mark.parametrize(("rate", "to"), [(44100, 16000), (8000, 16000), (16000, 16000)])
def test_a_resampled_tone_is_the_tone_at_the_new_rate(rate, to):
    time = np.arange(rate) / rate
    wave = np.stack([np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 1000 * time)]).astype(np.float32)
    got = resample(wave, rate, to)
    assert got.shape == (2, to)
    assert got.dtype == np.float32
    expected = np.stack([np.sin(2 * np.pi * f * np.arange(to) / to) for f in (440, 1000)])
    inner = slice(to // 10, -to // 10)
    np.testing.assert_allclose(got[:, inner], expected[:, inner], atol=2e-3)


def test_what_the_new_rate_cannot_hold_is_removed():
    time = np.arange(32000) / 32000
    got = resample(np.sin(2 * np.pi * 12000 * time)[None].astype(np.float32), 32000, 16000)
    assert rms(got[:, 1000:-1000]) < 1e-3


def test_lengths_are_cut_and_filled():
    wave = np.arange(1, 5.0)[None]
    np.testing.assert_array_equal(crop(wave, 1, 2), [[2, 3]])
    np.testing.assert_array_equal(pad(wave, 6), [[1, 2, 3, 4, 0, 0]])
    np.testing.assert_array_equal(fit(wave, 3), [[1, 2, 3]])
    np.testing.assert_array_equal(fit(wave, 5), [[1, 2, 3, 4, 0]])
    for start, length in ((-1, 2), (3, 2), (0, 5)):
        with pytest.raises(ValueError, match="no "):
            crop(wave, start, length)
    with pytest.raises(ValueError, match="crop it"):
        pad(wave, 3)


def test_levels():
    wave = np.array([[0.5, -1.0], [0.5, 0.0]], np.float32)
    assert peak(wave) == 1.0
    assert rms(wave) == pytest.approx(np.sqrt(1.5 / 4))
    assert peak(wave[:, :0]) == rms(wave[:, :0]) == 0.0
