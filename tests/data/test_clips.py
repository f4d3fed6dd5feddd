import threading
from functools import partial

import numpy as np
import pytest

from t2a.audio.io import AudioError, decode
from t2a.data.clips import ClipShape, Sound, cut, rows
from t2a.data.skips import Skips
from t2a.data.splits import split_of

RATE = 1000
SHAPE = ClipShape(RATE, 2.0)


def noise(seconds, seed=0, rate=RATE):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (1, int(seconds * rate))).astype(np.float32)


def sound(name, wave, rate=RATE, **kwargs):
    read = wave if callable(wave) else partial(lambda wave: (wave, rate), wave)
    return Sound(name, read, [f"Sound {name}."], "here", "CC0", **kwargs)


def made(*sounds, shape=SHAPE, workers=2):
    skips = Skips()
    return [item.row for item in rows(sounds, shape, skips, workers)], skips


def test_a_recording_becomes_a_row():
    (row,), skips = made(sound("a/b.wav", noise(1.5), extra={"category": "noise"}, split="valid"))
    assert {k: v for k, v in row.items() if k != "audio"} == {
        "id": "here/a/b.wav",
        "sample_rate": RATE,
        "channels": 1,
        "seconds": 1.5,
        "captions": ["Sound a/b.wav."],
        "source": "here",
        "licence": "CC0",
        "split": "valid",
        "category": "noise",
    }
    wave, rate = decode(row["audio"]["bytes"])
    assert rate == RATE
    np.testing.assert_allclose(wave, noise(1.5), atol=2**-15)
    assert row["audio"]["path"] == "here_a_b.wav.flac"
    assert skips.kept == 1


def test_channels_and_rate_become_those_of_the_corpus():
    stereo = np.concatenate([noise(1, rate=4000), noise(1, 1, rate=4000)])
    (row,), _ = made(sound("a", stereo, rate=4000))
    assert decode(row["audio"]["bytes"])[0].shape == (1, RATE)
    assert row["seconds"] == 1.0


def test_long_recordings_are_cut_and_the_pieces_share_caption_and_split():
    for name in ("a", "b", "c", "d", "e", "f"):
        got, _ = made(sound(name, noise(7.5)))
        assert [(row["id"], row["seconds"]) for row in got] == [(f"here/{name}#{i}", s) for i, s in
                                                                enumerate((2.0, 2.0, 2.0, 1.5))]  # fmt: skip
        assert {row["split"] for row in got} == {split_of(f"here/{name}")}
        assert {tuple(row["captions"]) for row in got} == {(f"Sound {name}.",)}


@pytest.mark.parametrize(
    ("seconds", "pieces", "expected"),
    [(2.0, None, [2.0]), (2.4, None, [2.4]), (2.9, None, [2.0]), (3.1, None, [2.0, 1.1]), (9.0, 3, [2.0] * 3)],
)
def test_remainders_stay_or_go(seconds, pieces, expected):
    assert [part.shape[1] / RATE for part in cut(noise(seconds), SHAPE, pieces=pieces)] == expected


def test_quiet_ends_are_trimmed_only_when_asked():
    wave = np.concatenate([np.zeros((1, 500)), noise(1), np.zeros((1, 800))], axis=1).astype(np.float32)
    assert cut(wave, SHAPE)[0].shape[1] == 2300
    (part,) = cut(wave, SHAPE, trim=True)
    assert part.shape[1] == pytest.approx(10 + 1000 + 50, abs=5)


def test_levels_are_kept_unless_they_would_clip():
    np.testing.assert_array_equal(cut(noise(1), SHAPE)[0], noise(1))
    assert np.abs(cut(4 * noise(1), SHAPE)[0]).max() == pytest.approx(0.99)


def test_unusable_recordings_are_counted_and_the_others_kept():
    def broken():
        raise AudioError("undecodable", "no audio")

    mostly_silent = np.concatenate([noise(2), np.zeros((1, 2000))], axis=1).astype(np.float32)
    got, skips = made(
        sound("good", noise(1)),
        sound("broken", broken),
        sound("silent", 1e-4 * noise(1)),
        sound("short", noise(0.05)),
        sound("again", noise(1)),
        sound("half", mostly_silent),
        sound("other", noise(1, seed=1)),
    )
    assert [row["id"] for row in got] == ["here/good", "here/half#0", "here/other"]
    assert skips.examples == {
        "undecodable": ["here/broken"],
        "silent": ["here/silent", "here/half#1"],
        "too short": ["here/short"],
        "duplicate": ["here/again"],
    }
    assert skips.kept == 3


def test_faults_of_the_program_are_not_taken_for_bad_audio():
    def wrong():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        made(sound("a", noise(1)), sound("b", wrong))


def test_order_is_kept_and_few_recordings_are_open_at_a_time():
    taken, gate = [], threading.Event()

    def slow():
        gate.wait(5)
        return noise(1, 99), RATE

    def endless():
        for i in range(10_000):
            taken.append(i)
            yield sound(f"{i}", slow if i == 0 else noise(1, i))

    stream = rows(endless(), SHAPE, Skips(), workers=2)
    threading.Timer(0.1, gate.set).start()
    assert [next(stream).row["id"] for _ in range(6)] == [f"here/{i}" for i in range(6)]
    assert len(taken) <= 6 + 5
    stream.close()
