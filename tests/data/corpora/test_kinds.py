"""That what the captions tell is what is heard; that every kind sounds stands in test_synthetic."""

import re

import numpy as np
import pytest

from t2a.data.corpora import kinds
from t2a.data.corpora.synthesis import Take

RATE, SEEDS = 16000, range(12)


def takes(kind: str, seconds: float = 4.0):
    """Captions and waves of a kind, by several dice."""
    for seed in SEEDS:
        made = kinds.KINDS[kind](Take(np.random.default_rng(seed), seconds, RATE))
        yield made.captions, made.wave


def centre(wave: np.ndarray) -> float:
    """Mean frequency in Hz, by power."""
    found = np.abs(np.fft.rfft(wave)) ** 2
    return float((np.fft.rfftfreq(len(wave), 1 / RATE) * found).sum() / found.sum())


def levels(wave: np.ndarray, hertz: list[float]) -> list[float]:
    time = np.arange(len(wave)) / RATE
    return [abs((wave * np.exp(-2j * np.pi * h * time)).mean()) for h in hertz]


def beats(wave: np.ndarray) -> np.ndarray:
    """Seconds at which it becomes loud, at least 0.1 s from each other."""
    frames = np.square(wave[: len(wave) // 160 * 160]).reshape(-1, 160).mean(1)
    before = np.array([frames[max(0, i - 3) : i].mean() if i else 0 for i in range(len(frames))])
    jumps = np.flatnonzero(frames > 3.0 * before + 0.02 * frames.max())
    return jumps[np.diff(jumps, prepend=-99) > 10] / 100


def test_every_kind_is_named_by_what_makes_it():
    assert len(kinds.KINDS) == 30
    assert all(getattr(kinds, name) is make for name, make in kinds.KINDS.items())


@pytest.mark.parametrize(("kind", "more", "less"), [("rain", "heavy", "light"), ("wind", "strong", "gentle"),
                                                    ("thunder", "cracks", "rumbles")])  # fmt: skip
def test_the_stronger_of_two_weathers_is_the_louder_or_the_brighter(kind, more, less):
    found = {more: [], less: []}
    for captions, wave in takes(kind):
        value = np.sqrt(np.mean(wave**2)) if kind == "rain" else centre(wave)
        found[more if more in captions[0].lower() else less].append(value)
    assert min(found[more]) > max(found[less])


@pytest.mark.parametrize(("kind", "rises"), [("whistle", "rising"), ("engine", "revs")])
def test_what_rises_ends_higher_than_it_began(kind, rises):
    seen = set()
    for captions, wave in takes(kind):
        first, last = (centre(part) for part in (wave[: RATE // 2], wave[-RATE // 2 :]))
        seen.add(rises in captions[0])
        if rises in captions[0]:
            assert last > 1.2 * first
        else:
            assert last < 1.2 * first
    assert seen == {True, False}


def test_a_chord_has_the_third_that_it_is_named_for():
    seen = set()
    for captions, wave in takes("organ"):
        mode = re.search("major|minor", captions[0])[0]
        seen.add(mode)
        found = np.abs(np.fft.rfft(wave))
        root = np.flatnonzero(found > 0.4 * found.max())[0] / 4
        minor, major = levels(wave, [root * 2 ** (n / 12) for n in (3, 4)])
        assert (major > 2 * minor, minor > 2 * major) == (mode == "major", mode == "minor")
    assert seen == {"major", "minor"}


@pytest.mark.parametrize(("kind", "places"), [("heartbeat", (0, 0.3, 1)), ("drums", (0, 1))])
def test_beats_come_at_the_pace_that_is_told(kind, places):
    """places: where in a beat something may be heard."""
    for captions, wave in takes(kind, seconds=6.0):
        every = 60 / int(re.search(r"at (\d+) beats per minute", captions[1])[1])
        found = beats(wave)
        assert len(found) > 3 / every
        off = [min(abs(second / every % 1 - place) for place in places) * every for second in found]
        assert max(off) < 0.03, captions


def test_a_clock_ticks_as_often_as_told():
    words = {"once": 1, "two": 2, "four": 4}
    for captions, wave in takes("clock"):
        assert len(beats(wave)) == 4 * words[captions[0].split()[3]]


def test_pitch_and_hertz_are_of_one_tone():
    for captions, wave in takes("beep"):
        hertz = int(re.search(r"(\d+) hertz", captions[1])[1])
        assert abs(int(np.argmax(np.abs(np.fft.rfft(wave)))) / 4 - hertz) < 1
        assert {True: "low", False: "high"}.get(hertz < 350 or (False if hertz >= 1000 else None), "mid") in captions[0]


def test_large_things_are_lower_or_longer_than_small_ones():
    for kind in ("bell", "explosion"):
        found = {"large": [], "small": []}
        for captions, wave in takes(kind):
            found[re.search("large|small", captions[0])[0]].append(centre(wave))
        assert max(found["large"]) < min(found["small"])
