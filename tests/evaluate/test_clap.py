"""A CLAP's retrieval figures, and how it judges a sound."""

import json

import numpy as np
import pytest

from t2a.evaluate import evaluate
from t2a.generate.judge import Judge
from tests.train.small import RATE, audio_corpus


def test_retrieval_is_measured_both_ways_beside_chance(clap, tmp_path):
    corpus = audio_corpus(str(tmp_path / "corpus"))
    found = evaluate(clap, corpus, split="valid", rows=8)
    assert found.figures["r@1/sound to caption, by chance"].mean == pytest.approx(1 / 8)
    assert found.figures["r@10/caption to sound"].mean == 1  # of eight
    assert {f"r@{k}/{way}" for k in (1, 5, 10) for way in ("sound to caption", "caption to sound")} <= set(
        found.figures
    )
    assert json.loads(json.dumps(found.plain()))["conditions"]["sample"] == "8 distinct captions"


def test_the_judge_hears_other_rates_and_channels_and_each_sound_by_itself(clap):
    judge, random = Judge.from_folder(clap), np.random.default_rng(0)
    waves = [random.standard_normal((1, n)).astype(np.float32) for n in (900, 4000, 2000)]
    together = judge.similarity(waves, RATE, ["a", "b"])
    assert together.shape == (3, 2)
    np.testing.assert_allclose(together[:1], judge.similarity(waves[:1], RATE, ["a", "b"]), atol=1e-5)
    stereo = np.repeat(waves[1], 2, 0)
    np.testing.assert_allclose(judge.sounds([stereo], RATE), judge.sounds([waves[1]], RATE), atol=1e-5)
    assert judge.sounds([waves[1]], 2 * RATE).shape == (1, 8)
