"""Perceptual measures: best for the same sound, worse with noise, never good for silence."""

import warnings

import numpy as np
import pytest

from t2a.metrics import quality
from t2a.metrics.quality import MissingPackageError, pesq, stoi, visqol

RATE = 16000


def words(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """Harmonics of a moving pitch in bursts over a little noise, [1, T]: enough like speech for all three."""
    random, time = np.random.default_rng(0), np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(4 * np.pi * time)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 25)) * np.clip(np.sin(5 * np.pi * time), 0, 1)
    return (0.2 * voice + 0.02 * random.standard_normal(len(time)))[None].astype(np.float32)


def noisy(wave: np.ndarray, level: float) -> np.ndarray:
    return wave + level * np.random.default_rng(1).standard_normal(wave.shape).astype(np.float32)


MEASURES = {
    "visqol audio": (lambda a, b, rate: visqol(a, b, rate), "visqol", 4.732, 1.0),
    "visqol speech": (lambda a, b, rate: visqol(a, b, rate, "speech"), "visqol", 5.0, 1.0),
    "pesq": (pesq, "pesq", 4.644, 1.0),
    "stoi": (stoi, "pystoi", 1.0, 0.0),
}


@pytest.fixture(params=MEASURES)
def measure(request):
    """(function, its best, its lowest)"""
    function, package, best, lowest = MEASURES[request.param]
    pytest.importorskip(package)
    return function, best, lowest


def test_the_same_sound_scores_best_and_noise_scores_lower_and_lower(measure):
    function, best, lowest = measure
    wave = words()
    scores = [function(noisy(wave, level), wave, RATE) for level in (0, 0.01, 0.05, 0.3)]
    assert scores[0] == pytest.approx(best, abs=0.01)
    assert scores == sorted(scores, reverse=True)
    assert lowest <= scores[-1] < scores[0] - 0.15 * (best - lowest)


def test_silence_in_the_place_of_sound_has_the_lowest_mark(measure):
    function, _, lowest = measure
    wave = words()
    assert function(np.zeros_like(wave), wave, RATE) == lowest
    assert function(np.full_like(wave, 1e-6), wave, RATE) == lowest


def test_what_cannot_be_judged_is_no_number(measure):
    function, *_ = measure
    wave, blip = words(), np.zeros((1, 2 * RATE), np.float32)
    blip[:, 100:103] = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for target in (np.zeros_like(wave), wave[:, : RATE // 8]):
            for estimate in (target, noisy(target, 0.1)):
                assert np.isnan(function(estimate, target, RATE))
        score = function(np.zeros_like(blip), blip, RATE)
    assert np.isnan(score) or score <= 1


def test_channels_are_mixed_and_the_rate_brought_to_what_the_measure_needs(measure):
    function, best, _ = measure
    wave = words(rate=44100)
    stereo = np.concatenate([wave, 0.5 * wave])
    assert function(stereo, stereo, 44100) == pytest.approx(best, abs=0.01)
    mono, both = (function(noisy(x, 0.05), x, 44100) for x in (wave, np.concatenate([wave, wave])))
    assert both >= mono - 0.02  # the noise of two channels cancels in part


@pytest.mark.parametrize(
    ("estimate", "target", "message"),
    [(words(), words(1), "one shape"), (words() * np.nan, words(), "NaN"), (words(), words() + np.inf, "NaN")],
)
def test_waves_that_cannot_be_compared_are_refused(estimate, target, message):
    with pytest.raises(ValueError, match=message):
        stoi(estimate, target, RATE)


@pytest.mark.parametrize(("function", "package"), [(visqol, "visqol-python"), (pesq, "pesq")])
def test_a_package_that_is_missing_is_told_by_name(function, package, monkeypatch):
    monkeypatch.setattr(quality, "find_spec", lambda name: None)
    quality._visqol.cache_clear()
    assert not quality.available(function.__name__)
    with pytest.raises(MissingPackageError, match=rf"{package} is not installed: install t2a\[quality\]"):
        function(words(), words(), RATE)
