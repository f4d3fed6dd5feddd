import numpy as np
import pytest

from t2a.data.corpora import synthesis
from t2a.data.corpora.synthesis import Take, faded, number, pace, pitch, sweep, times, told, tone

RATE = 8000


def take(seconds: float = 1.0, seed: int = 0) -> Take:
    return Take(np.random.default_rng(seed), seconds, RATE)


def power(wave: np.ndarray, low: float, high: float) -> float:
    """Share of the power between two frequencies."""
    found = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
    return found[(hertz >= low) & (hertz <= high)].sum() / found.sum()


def test_noise_lies_between_its_frequencies_and_falls_by_its_slope():
    flat, steep = take().noise(500, 2000), take().noise(500, 2000, slope=2.0)
    for wave in (flat, steep):
        assert power(wave, 499, 2001) > 0.999
        assert np.abs(wave).max() == pytest.approx(1)
    assert power(steep, 500, 1000) > 0.8 > 0.5 > power(flat, 500, 1000)


def test_noise_of_no_frequencies_is_silence_not_nan():
    assert np.array_equal(take().noise(5000, 6000), np.zeros(RATE))


def test_events_begin_at_their_times_and_add_up():
    wave = take().place([0.25, 0.5], lambda t: np.where(t < 0.4, 1.0, 0.0))
    at = [wave[round(second * RATE)] for second in (0.0, 0.2, 0.3, 0.55, 0.75, 0.95)]
    assert at == [0, 0, 1, 2, 1, 0]
    assert np.array_equal(take().place([], np.exp), np.zeros(RATE))


def test_bursts_die_away():
    wave = take().bursts([0.1], 40, 100, 3000)
    loud = [np.abs(wave[round(s * RATE) : round((s + 0.02) * RATE)]).max() for s in (0.05, 0.1, 0.2, 0.4)]
    assert loud[0] == 0
    assert loud[1] > 10 * loud[2] > 100 * loud[3]


@pytest.mark.parametrize("seed", range(5))
def test_as_many_events_as_fit_are_drawn_and_they_keep_their_order(seed):
    for seconds, most in ((0.5, 1), (1.0, 3), (9.0, 6)):
        counts = {take(seconds, 100 * seed + i).count(1, 6, 0.3) for i in range(60)}
        assert counts == set(range(1, most + 1))
    found = take(2.0, seed).even(5, 0.3)
    assert (np.diff(found) > 0).all()
    assert 0 <= found[0] < found[-1] < 2.0


def test_a_tone_has_its_partials_at_their_levels():
    wave = tone(take().time, 200, (1.0, 0.0, 0.5))
    found = np.abs(np.fft.rfft(wave)) / (RATE / 2)
    assert found[[200, 400, 600]] == pytest.approx([1, 0, 0.5], abs=1e-6)
    dying = tone(take().time, 200, (1.0, 1.0), decay=2.0)
    assert power(dying[: RATE // 4], 300, 500) > 1.5 * power(dying[-RATE // 4 :], 300, 500)


def test_a_sweep_follows_its_frequency():
    wave = sweep(np.where(take().time < 0.5, 300.0, 900.0), RATE)
    assert power(wave[: RATE // 2], 290, 310) > 0.95
    assert power(wave[RATE // 2 :], 890, 910) > 0.95


def test_both_ends_are_faded_and_the_middle_is_left():
    wave = faded(np.ones(RATE), RATE)
    assert wave[0] == wave[-1] == 0
    assert (wave[80:-80] == 1).all()
    assert (np.diff(wave[:80]) > 0).all()


def test_words_say_what_was_drawn():
    assert [pitch(hertz) for hertz in (100, 349, 350, 999, 1000)] == ["low", "low", "mid-range", "mid-range", "high"]
    assert [pace(speed, 1, 2) for speed in (0.5, 1, 2, 2.5)] == ["slow", "steady", "steady", "fast"]
    assert [number(1, "knock"), number(3, "knock")] == ["one knock", "three knocks"]
    assert [times(1), times(2)] == ["once", "two times"]
    assert len(set(synthesis.NUMBERS.values())) == 8
    assert told(np.zeros(1), "music", "an organ.", "it plays.").captions == ["An organ.", "It plays."]


def test_dice_are_the_generator_s_alone():
    def drawn(seed):
        one = take(seed=seed)
        return one.between(0, 1), one.choose("abcdef"), one.heads(), one.count(1, 8, 0.01), one.noise(10, 99).sum()

    assert drawn(1) == drawn(1) != drawn(2)
    assert {take(seed=seed).heads() for seed in range(20)} == {True, False}
