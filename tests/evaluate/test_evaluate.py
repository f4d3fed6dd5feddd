"""Held-out figures: the systems that are compared, and baselines that are what they say."""

import numpy as np
import pytest

from t2a.errors import ConfigError, DataError
from t2a.evaluate import evaluate
from t2a.evaluate.lm import unigram
from t2a.models.lm import LM
from t2a.tasks.lm import LMTaskConfig
from tests.train.small import audio_corpus, codes_corpus, lm_run, untrained_codec


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> str:
    return untrained_codec(tmp_path_factory.mktemp("codec"))


def test_a_codec_is_measured_beside_its_baselines_clip_by_clip(codec, tmp_path):
    found = evaluate(codec, audio_corpus(str(tmp_path / "corpus")), split="valid", rows=6)
    systems = {"codec", "codec, 1 of 2 codebooks", "untrained", "mu-law"}
    assert set(found) == {f"{m}/{s}" for m in ("si_snr", "mel_distance", "stft_distance") for s in systems}
    assert all(figure.count == 6 and figure.low <= figure.mean <= figure.high for figure in found.values())
    # The codec measured is itself untrained: only mu-law, which keeps the lowest tones, is far from the other two.
    assert abs(found["mel_distance/codec"].mean - found["mel_distance/untrained"].mean) < 10


def test_a_language_model_is_measured_against_the_frequencies_of_its_codes(codec, tmp_path):
    corpus = codes_corpus(str(tmp_path / "codes"))
    task = lm_run("runs", corpus, codec, {"kind": "minilm"}).task
    assert isinstance(task, LMTaskConfig)
    task.build().export({"lm": LM(task.model).state_dict()}, tmp_path)
    found = evaluate(str(tmp_path), corpus, split="valid", rows=8)
    # Uniform random codes out of 16: nothing can do better than about log 16, an untrained model is a little worse.
    assert found["nats/unigram"].mean == pytest.approx(np.log(16), abs=0.15)
    assert found["nats/its caption"].mean > found["nats/unigram"].mean
    gain = found["gain/over unigram"]
    assert gain.mean == pytest.approx(found["nats/unigram"].mean - found["nats/its caption"].mean)
    assert gain.high < 0


def test_unigram_cost_is_the_entropy_of_the_codes():
    import torch

    codes = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 9]]])
    batch = {"codes": codes, "length": torch.tensor([4, 3]), "weight": torch.ones(2)}
    shares = np.array([5 / 7, 2 / 7])
    cost = unigram([batch], codebooks=1, bins=10)
    assert (4 * cost[0] + 3 * cost[1]) / 7 == pytest.approx(-(shares * np.log(shares)).sum())
    filler = batch | {"weight": torch.tensor([1.0, 0.0])}
    assert len(unigram([filler], 1, 10)) == 1


def test_what_cannot_be_measured_is_told(codec, tmp_path):
    corpus = audio_corpus(str(tmp_path / "corpus"))
    with pytest.raises(DataError, match="split 'test'"):
        evaluate(codec, corpus, split="test")
    (tmp_path / "config.json").write_text('{"model_type": "vocoder"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="vocoder"):
        evaluate(str(tmp_path), corpus)
