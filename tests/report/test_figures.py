import io

import numpy as np
import pytest
from PIL import Image

from t2a.report import figures


def sine(hertz: float, rate: int, amplitude: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)).astype(np.float32)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("hertz", [1000, 5000])
def test_a_full_scale_sine_is_loudest_in_its_band_and_near_zero_decibels(rate, hertz):
    level, centres = figures.mel_decibels(sine(hertz, rate), rate, 80)
    average = level[:, 5:-5].mean(1)
    loudest = int(average.argmax())
    assert abs(centres[loudest] - hertz) <= (centres[loudest + 1] - centres[loudest - 1]) / 2
    assert -4 < average[loudest] < 3


def test_levels_are_absolute_so_a_quieter_clip_is_darker():
    loud, _ = figures.mel_decibels(sine(1000, 16000), 16000, 80)
    quiet, _ = figures.mel_decibels(sine(1000, 16000, 0.1), 16000, 80)
    assert loud.max() - quiet.max() == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("wave", [np.zeros((1, 16000)), np.zeros(3), sine(440, 16000)[None].repeat(2, 0)])
def test_mel_draws_silence_a_few_samples_and_stereo(wave):
    picture = figures.mel(wave, 16000)
    for data in (picture.light, picture.dark):
        assert opened(data).size == (picture.width * 2, picture.height * 2)


def test_themes_differ_in_paper():
    picture = figures.bars({"a": 1.0})
    light, dark = (opened(data).convert("L").getpixel((2, 2)) for data in (picture.light, picture.dark))
    assert light > 250
    assert dark < 40


def test_running_mean_is_the_mean_of_the_window_and_leaves_gaps_alone():
    values = np.array([1.0, 3.0, np.nan, 5.0, 7.0])
    smooth = figures.running_mean(values, 3)
    assert smooth[[0, 1, 3, 4]].tolist() == [2.0, 2.0, 6.0, 6.0]
    assert np.isnan(smooth[2])


def test_running_mean_keeps_the_length_when_the_window_is_longer_than_the_curve():
    assert figures.running_mean(np.arange(4.0), 9).tolist() == [1.5] * 4


def test_curves_bear_what_a_broken_run_writes():
    series = {"loss": [(0, 1.0), (1, float("nan")), (2, float("inf")), (3, -1.0)], "empty": [], "one": [(0, 2.0)]}
    for log in (False, True):
        assert opened(figures.curves(series, log=log).light).width == 720


def test_a_baseline_and_a_log_axis_change_the_drawing():
    series = {"loss": [(step, 2.0 + step) for step in range(5)]}
    drawings = {figures.curves(series, **k).light for k in ({}, {"log": True}, {"baselines": {"unigram": 3.0}})}
    assert len(drawings) == 3


@pytest.mark.parametrize(
    ("value", "text"), [(1574, "1574"), (12000, "12k"), (0.034567, "0.03457"), (2.5e6, "2.5M"), (float("nan"), "–")]
)
def test_short_writes_four_digits(value, text):
    assert figures.short(value) == text
