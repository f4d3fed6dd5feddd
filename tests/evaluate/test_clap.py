"""A CLAP's retrieval figures, and how it judges what a language model makes."""

import json

import numpy as np
import pytest
import torch

from t2a.audio.spectral import MelSpec
from t2a.errors import ConfigError, DataError
from t2a.evaluate import evaluate
from t2a.evaluate.steering import ORIGINALS, evaluate_steering
from t2a.generate.judge import Judge
from t2a.models.clap import Clap, ClapConfig
from t2a.report.pages import check_page, write_page
from t2a.tasks.clap import ClapTaskConfig
from tests.train.small import RATE, audio_corpus, codes_corpus, untrained_codec, untrained_lm


@pytest.fixture(scope="module")
def clap(tmp_path_factory) -> str:
    torch.manual_seed(0)
    mel = MelSpec(rate=RATE, n_fft=256, hop=128, n_mels=16, log="ln")
    task = ClapTaskConfig(model=ClapConfig(mel=mel, widths=(8, 16), blocks=1, dimension=8)).build()
    folder = tmp_path_factory.mktemp("clap")
    task.export({"clap": Clap(task.config.model).state_dict()}, folder)
    return str(folder)


@pytest.fixture(scope="module")
def lm(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("lm")
    return untrained_lm(folder / "lm", untrained_codec(folder / "codec"))


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


def test_what_a_language_model_makes_is_ranked_beside_the_originals(clap, lm, tmp_path):
    corpus = codes_corpus(str(tmp_path / "codes"))
    found = evaluate_steering(lm, corpus, clap, split="valid", clips=5, seconds=0.06, guidances=(0.0, 3.0))
    systems = [ORIGINALS, "guidance 0", "guidance 3"]
    assert [made.system for made in found.clips] == [name for name in systems for _ in range(5)]
    assert len({made.caption for made in found.clips}) == 5
    assert {made.wave.shape for made in found.clips} <= {(1, 480)}
    figures = found.evaluation.figures
    for name in systems:
        ranks = [made.rank for made in found.clips if made.system == name]
        assert figures[f"rank/{name}"].mean == pytest.approx(np.mean(ranks))
    gain = figures["rank/guidance 3"].mean - figures["rank/guidance 0"].mean
    assert figures["gain/guidance 3 over 0"].mean == pytest.approx(gain)
    evaluation = evaluate(lm, corpus, split="valid", rows=4)
    write_page(tmp_path / "page.html", evaluation, found, lm, corpus, "valid")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<audio") == 15
    assert found.clips[0].caption in page


def test_requests_that_make_no_sense_are_refused_before_any_work(clap, lm, tmp_path):
    with pytest.raises(ConfigError, match="leave --report out"):
        check_page(clap, None, True)
    with pytest.raises(ConfigError, match="leave --judge out"):
        check_page(clap, clap, False)
    with pytest.raises(ConfigError, match="give --judge"):
        check_page(lm, None, True)
    check_page(lm, clap, True)
    with pytest.raises(ConfigError, match="prepare codes"):
        evaluate_steering(lm, audio_corpus(str(tmp_path / "corpus")), clap, split="valid")
    with pytest.raises(DataError, match=r"0 captions in split 'test'"):
        evaluate_steering(lm, codes_corpus(str(tmp_path / "codes")), clap)
