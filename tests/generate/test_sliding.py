import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2a.errors import ConfigError
from t2a.generate.session import Session
from t2a.generate.sliding import slide, spans, steps
from t2a.tokens.sampling import Sampling
from tests.generate.test_lm import sing, with_melody
from tests.generate.tiny import HOP, RATE, Letters, build

GREEDY = Sampling(3.0, temperature=0.0)


@settings(deadline=None)
@given(longest=st.integers(1, 60), more=st.integers(1, 300), overlap=st.floats(0, 0.99), data=st.data())
def test_windows_cover_a_clip_without_gaps_and_none_is_too_long(longest, more, overlap, data):
    known = data.draw(st.integers(0, longest - 1))
    planned = spans(known, known + more, longest, overlap)
    assert [planned[0].start, planned[0].begin, planned[-1].end] == [0, known, known + more]
    for before, after in itertools.pairwise(planned):
        assert after.begin == before.end
        assert after.begin - after.start == int(overlap * longest)
    assert all(span.begin < span.end and span.end - span.start <= longest for span in planned)


@pytest.mark.parametrize("pattern", ["parallel", "delay", "coarse_first"])
@torch.inference_mode()
def test_every_window_continues_the_end_of_the_last_one(pattern):
    model, told = build(pattern=pattern, max_frames=20).model, {"text": Letters()(["rain"])}
    begin = torch.randint(0, 32, (1, 3, 6))
    planned = spans(6, 50, 20)
    assert [tuple(span) for span in planned] == [(0, 6, 20), (12, 20, 32), (24, 32, 44), (36, 44, 50)]
    codes = torch.cat([begin, *slide(Session(model, told, [0], GREEDY), begin, planned)], dim=2)
    assert codes.shape[2] == 50
    for start, known, end in planned:
        alone = torch.cat([*Session(model, told, [0], GREEDY).window(codes[:, :, start:known], end - start)], dim=2)
        assert torch.equal(alone, codes[:, :, known:end])


def test_a_long_clip_begins_with_the_short_one_and_never_reads_more_than_a_window(monkeypatch):
    generator, started = build(max_frames=20), []
    start = generator.model.start
    monkeypatch.setattr(generator.model, "start", lambda *of: started.append(of[2]) or start(*of))
    short = generator.codes(["rain"], 20, [1], Sampling())
    told = []
    long = generator.codes(["rain"], 70, [1], Sampling(), progress=lambda *count: told.append(count))
    assert torch.equal(long[:, :, :20], short)
    assert max(started) == 22
    assert told == [(step + 1, len(told)) for step in range(len(told))]
    assert len(told) == steps(generator.model, spans(0, 70, 20))


def test_a_long_clip_is_exactly_as_long_as_asked_and_the_same_alone_and_in_a_batch():
    generator = build(max_frames=20)
    seconds = 33.4 * HOP / RATE
    together = generator.generate(["rain", "wind"], seconds, seeds=[0, 1])
    alone = generator.generate(["wind"], seconds, seeds=[1])
    assert [clip.shape for clip in together] == [(1, round(seconds * RATE))] * 2
    np.testing.assert_allclose(alone[0], together[1], atol=1e-5)


@pytest.mark.parametrize("overlap", [-0.1, 1.0, float("nan")])
def test_an_overlap_that_is_none_is_refused(overlap):
    with pytest.raises(ConfigError, match="overlap is"):
        build().generate(["rain"], 0.01, seeds=[0], overlap=overlap)


def test_a_melody_ends_with_the_window():
    generator = with_melody()
    with pytest.raises(ConfigError, match="with a melody is longer than the 0"):
        generator.generate(["rain"], 0.04, seeds=[0], melody=sing(220))


def test_a_duration_beyond_memory_is_refused():
    with pytest.raises(ConfigError, match="GiB are free: ask for less"):
        build().generate(["rain"], 1e7, seeds=[0])
