import warnings

import numpy as np
import pytest
import torch

from t2a.errors import CheckpointError, ConfigError
from t2a.generate import sounding
from t2a.generate.sounding import Output, decode, gathered
from tests.generate.tiny import HOP, RATE, build

SECONDS = 55.3 * HOP / RATE
CODECS = [
    {"causal": True},
    {"causal": True, "lstm_layers": 1},
    {"causal": False, "lstm_layers": 1},
    {"norm": "layer", "channels": 2},
]


@pytest.mark.parametrize("codec", CODECS, ids=str)
@pytest.mark.parametrize(("pattern", "longest"), [("delay", 60), ("delay", 20), ("coarse_first", 60)])
def test_a_stream_joined_is_the_whole_clip(codec, pattern, longest):
    generator = build(codec=codec, pattern=pattern, max_frames=longest)
    (whole,) = generator.generate(["rain"], SECONDS, seeds=[3])
    joined = np.concatenate(list(generator.stream("rain", SECONDS, seed=3)), axis=1)
    assert joined.shape == whole.shape
    np.testing.assert_allclose(joined, whole, atol=1e-4)


def test_channels_coded_one_by_one_are_heard_side_by_side():
    generator = build(codebooks=6, channels=2)
    beginning = (0.1 * np.random.default_rng(0).standard_normal((2, 20 * HOP)).astype(np.float32), RATE)
    (whole,) = generator.generate(["rain"], SECONDS, seeds=[3], beginning=beginning)
    joined = np.concatenate(list(generator.stream("rain", SECONDS, seed=3, beginning=beginning)), axis=1)
    assert whole.shape == (2, round(SECONDS * RATE))
    np.testing.assert_allclose(joined, whole, atol=1e-4)
    with torch.inference_mode():
        sides = [
            generator.codec.decode(generator.codec.encode(torch.from_numpy(side)[None, None])) for side in beginning[0]
        ]
    np.testing.assert_allclose(whole[:, : 15 * HOP], torch.cat(sides)[:, 0, : 15 * HOP], atol=1e-5)


def test_a_stream_begins_with_the_decoded_audio_that_it_continues():
    generator, beginning = build(), (0.1 * np.ones((1, 20 * HOP), np.float32), RATE)
    (whole,) = generator.generate(["rain"], SECONDS, seeds=[3], beginning=beginning)
    joined = np.concatenate(list(generator.stream("rain", SECONDS, seed=3, beginning=beginning)), axis=1)
    np.testing.assert_allclose(joined, whole, atol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
def test_the_first_sound_is_there_after_a_few_frames(monkeypatch, causal):
    monkeypatch.setattr("t2a.generate.lm.PIECE_SECONDS", 2 * HOP / RATE)
    generator, steps = build(codec={"causal": causal}), []
    advance = generator.model.advance
    monkeypatch.setattr(generator.model, "advance", lambda *of: steps.append(1) or advance(*of))
    pieces = generator.stream("rain", SECONDS, seed=0)
    assert not steps
    first = next(pieces)
    assert first.dtype == np.float32
    assert first.shape[1]
    assert len(steps) <= (4 if causal else 20)  # of 58
    assert sum(piece.shape[1] for piece in pieces) + first.shape[1] == round(SECONDS * RATE)


def test_a_clip_decoded_in_pieces_is_that_decoded_at_once(monkeypatch):
    generator = build(codec={"lstm_layers": 1})
    codes = torch.randint(0, 32, (2, 3, 50))
    with torch.inference_mode():
        whole = decode(generator.codec, codes, 397)
        monkeypatch.setattr(sounding, "PIECE_SECONDS", 7 * HOP / RATE)
        torch.testing.assert_close(decode(generator.codec, codes, 397), whole, rtol=0, atol=1e-5)


def test_a_codec_that_sees_all_of_a_clip_first_makes_clips_and_no_streams():
    generator = build(codec={"norm": "time_group"})
    assert generator.generate(["rain"], SECONDS, seeds=[0])[0].shape == (1, round(SECONDS * RATE))
    with pytest.raises(ConfigError, match="cannot be decoded while it is made"):
        generator.stream("rain", SECONDS, seed=0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"seed": -1}, "The seed -1"), ({"top_p": 2}, "top_p"), ({"seconds": 0}, "ask for more than 0")],
)
def test_a_stream_is_refused_when_asked_for_not_when_read(changes, told):
    with pytest.raises(ConfigError, match=told):
        build().stream("rain", **({"seconds": SECONDS, "seed": 0} | changes))


def test_frames_are_gathered_to_pieces_and_none_is_lost():
    frames = [torch.full((1, 2, n), value) for value, n in enumerate([0, 1, 1, 0, 1, 5, 1])]
    pieces = list(gathered(frames, 3))
    assert [piece.shape[2] for piece in pieces] == [3, 5, 1]
    assert torch.equal(torch.cat(pieces, dim=2), torch.cat(frames, dim=2))


def test_a_stream_that_goes_beyond_full_scale_is_turned_down_from_there_on():
    output, tone = Output("rain", 1000), torch.sin(torch.arange(100.0))[None]
    before, loud, after = (output.next(part * tone) for part in (0.9, 3.0, 0.9))
    np.testing.assert_array_equal(before, 0.9 * tone)
    assert np.abs(loud).max() <= 1
    np.testing.assert_allclose(loud[:, 10:], tone[:, 10:], atol=0.01)
    np.testing.assert_allclose(after, 0.3 * tone, atol=0.01)


def test_a_silent_stream_is_told_at_its_end_and_a_broken_one_at_once():
    output = Output("rain", RATE)
    output.next(torch.zeros(1, 10))
    with pytest.warns(UserWarning, match="'rain' is silent"):
        output.finish()
    with pytest.raises(CheckpointError, match="not finite"):
        output.next(torch.full((1, 10), torch.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output.next(torch.ones(1, 10))
        output.finish()
