import numpy as np
import pytest

from t2a.data.corpora.kinds import KINDS
from t2a.data.corpora.request import Request
from t2a.data.corpora.synthetic import make, sounds


def test_there_are_many_kinds_with_many_captions():
    made = [make(0, i, 2.0, 8000) for i in range(10 * len(KINDS))]
    assert len(KINDS) >= 20
    assert len({caption for one in made for caption in one.captions}) > 6 * len(KINDS)
    assert len({one.category for one in made}) > 10


@pytest.mark.parametrize("index", range(len(KINDS)))
def test_every_kind_sounds_and_is_described(index):
    for turn in range(5):
        made = make(1, index + turn * len(KINDS), 3.0, 16000)
        assert made.wave.dtype == np.float32
        assert np.isfinite(made.wave).all()
        assert 0.29 < np.abs(made.wave).max() <= 0.95
        assert np.sqrt(np.mean(made.wave**2)) > 3e-3
        assert 1.0 <= len(made.wave) / 16000 <= 3.0
        assert abs(made.wave[0]) < 1e-3
        assert len(set(made.captions)) >= 2
        for caption in made.captions:
            assert caption[0].isupper()
            assert caption.endswith(".")
            assert "{" not in caption


def test_a_sound_depends_on_seed_and_index_alone():
    one, again = make(3, 17, 4.0, 16000), make(3, 17, 4.0, 16000)
    np.testing.assert_array_equal(one.wave, again.wave)
    assert one.captions == again.captions
    other = make(4, 17, 4.0, 16000)
    assert len(one.wave) != len(other.wave) or not np.array_equal(one.wave, other.wave)
    listed = list(sounds(Request(count=18, seed=3, seconds_max=4.0)))[17]
    np.testing.assert_array_equal(listed.read()[0][0], one.wave)


@pytest.mark.parametrize("kind", ["beeps", "claps", "knocks", "bell"])
def test_the_caption_tells_how_many(kind):
    words = {"once": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
    index = list(KINDS).index(kind)
    for turn in range(8):
        made = make(5, index + turn * len(KINDS), 3.0, 16000)
        (told,) = {words[word] for word in made.captions[1].rstrip(".").split() if word in words}
        # Fine envelope: events are where the energy in 10 ms jumps.
        frames = np.square(made.wave[: len(made.wave) // 160 * 160]).reshape(-1, 160).mean(1)
        before = np.array([frames[max(0, i - 6) : i].mean() if i else 0 for i in range(len(frames))])
        jumps = np.flatnonzero(frames > 2.0 * before + 0.02 * frames.max())
        assert 1 + np.count_nonzero(np.diff(jumps) > 8) == told, made.captions


def test_the_pitch_told_is_the_pitch_heard():
    made = make(0, 0, 4.0, 16000)
    hertz = np.argmax(np.abs(np.fft.rfft(made.wave))) * 16000 / len(made.wave)
    assert f"{round(hertz)} hertz" in made.captions[1] or abs(hertz - float(made.captions[1].split()[-2])) < 2


@pytest.mark.parametrize("seconds_max", [0.3, 1.0])
def test_short_clips_can_be_asked_for(seconds_max):
    for index in range(len(KINDS)):
        assert len(make(0, index, seconds_max, 8000).wave) <= seconds_max * 8000


def test_as_many_come_as_are_asked_for():
    assert len(list(sounds(Request(count=7)))) == 7
    assert len({sound.name for sound in sounds(Request(count=70))}) == 70
