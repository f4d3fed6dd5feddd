"""How a CLAP judges what a language model makes, and the page about it."""

import shutil

import numpy as np
import pytest

from t2a.errors import ConfigError, DataError
from t2a.evaluate import evaluate
from t2a.evaluate.steering import ORIGINALS, System, evaluate_steering, generated, heard, titles
from t2a.generate.judge import Judge
from t2a.generate.loading import load
from t2a.models.entropy import EntropyConfig, EntropyModel
from t2a.models.pretrained import weights_sha256
from t2a.report.pages import check_page, write_page
from tests.train.small import RATE, audio_corpus, codes_corpus


def test_what_a_language_model_makes_is_ranked_beside_the_originals(clap, lm, tmp_path):
    corpus = codes_corpus(str(tmp_path / "codes"))
    found = evaluate_steering(lm, corpus, clap, split="valid", clips=5, takes=2, seconds=0.06, guidances=(0.0, 3.0))
    systems = [ORIGINALS, "guidance 0", "guidance 3"]
    assert [made.system for made in found.clips] == [name for name in systems for _ in range(5)]
    assert len({made.caption for made in found.clips}) == 5
    lengths = [made.wave.shape for made in found.clips]
    assert lengths == 3 * lengths[:5]  # as the originals
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


def test_it_is_told_who_judged_how_many_clips_of_what(clap, lm, tmp_path):
    """Scores of peers cannot be compared: the judge, its rate, the number of clips and their source are not told."""
    corpus = codes_corpus(str(tmp_path / "codes"))
    options = {"split": "valid", "clips": 3, "takes": 1, "seconds": 0.04, "guidances": (0.0,), "seed": 7}
    found = evaluate_steering(lm, corpus, clap, **options).evaluation
    told = found.plain()["conditions"]
    assert (told["clips"], told["corpus"], told["split"], told["seed"]) == (3, corpus, "valid", 7)
    assert (told["judge"], told["judge_rate"]) == (clap, RATE)
    assert told["judge_sha256"] == weights_sha256(clap)
    assert "1 takes each" in told["sample"]
    assert all(figure.count == 3 for name, figure in found.figures.items() if "seconds" not in name)


def test_silent_clips_are_ranked_by_chance(clap):
    captions = [f"sound {index}" for index in range(6)]
    takes = [[np.zeros((1, 800), np.float32)] * 6]
    found, _ = heard({"silence": System(takes, RATE, [])}, captions, Judge.from_folder(clap))
    assert found.figures["rank/silence"].mean == pytest.approx(0.5)
    assert found.figures["r@1/silence"].mean == pytest.approx(1 / 6)
    assert found.figures["clap_gain/silence"].mean == pytest.approx(0, abs=1e-6)


def test_models_of_both_kinds_make_the_same_captions_for_one_judge(clap, lm, denoiser, latents, tmp_path):
    options = {"split": "valid", "clips": 4, "takes": 2, "guidances": (0.0, 3.0)}
    found = evaluate_steering(denoiser, latents, clap, against=[lm], **options)
    models = ["diffusion model", "language model"]
    systems = [ORIGINALS, *(f"{model}, guidance {g}" for model in models for g in (0, 3))]
    assert list(dict.fromkeys(made.system for made in found.clips)) == systems
    seconds = {s: [m.wave.shape[1] / m.rate for m in found.clips if m.system == s] for s in systems}
    assert all(row == pytest.approx(seconds[ORIGINALS], abs=2e-4) for row in seconds.values())
    figures = found.evaluation.figures
    difference = figures[f"rank/{systems[4]}"].mean - figures[f"rank/{systems[2]}"].mean
    assert figures[f"gain/{systems[4]} over {systems[2]}"].mean == pytest.approx(difference)
    assert all(figures[f"seconds_a_clip/{name}"].mean > 0 for name in systems[1:])
    evaluation = evaluate(denoiser, latents, split="valid", rows=4, generated=2)
    told = {"loss/its caption", "loss/another caption", "loss/no caption", "gain/over no caption"}
    assert told | {"diversity/generated"} <= set(evaluation.figures)
    check_page(denoiser, clap, True)
    write_page(tmp_path / "page.html", evaluation, found, denoiser, latents, "valid")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<audio") == 20
    assert "language model, guidance 3 over diffusion model, guidance 3" in page


def test_models_are_told_apart_by_their_kind_or_else_by_their_places(lm, denoiser, tmp_path):
    shutil.copytree(lm, tmp_path / "lm")
    other = str(tmp_path / "lm")
    assert titles([lm]) == [""]
    assert titles([lm, denoiser]) == ["language model, ", "diffusion model, "]
    assert titles([lm, denoiser, other]) == [f"{lm}, ", "diffusion model, ", f"{other}, "]


def test_clips_are_as_long_as_asked_and_do_not_depend_on_the_clips_beside_them(lm):
    generator = load(lm)
    longest = round(generator.max_seconds * generator.sample_rate)
    lengths = [longest, 7, longest // 2, longest - 1]
    seconds = [length / generator.sample_rate for length in lengths]
    waves = generated(generator, list("abcd"), seconds, 3.0, seed=5)
    assert [wave.shape for wave in waves] == [(1, length) for length in lengths]
    (alone,) = generated(generator, ["c"], seconds[2:3], 3.0, seed=7)
    np.testing.assert_allclose(waves[2], alone, atol=1e-4)


def test_requests_that_make_no_sense_are_refused_before_any_work(clap, lm, tmp_path):
    entropy = tmp_path / "entropy"
    EntropyModel(EntropyConfig(codebooks=2, bins=16, width=8, layers=1)).save_pretrained(entropy)
    with pytest.raises(
        ConfigError, match=r"codec, clap, autoencoder, vocos, hifigan, lm, denoiser: leave --report out"
    ):
        check_page(str(entropy), None, True)
    with pytest.raises(ConfigError, match="leave --judge out"):
        check_page(clap, clap, False)
    with pytest.raises(ConfigError, match="give --judge"):
        check_page(lm, None, True)
    check_page(lm, clap, True)
    with pytest.raises(ConfigError, match="prepare codes"):
        evaluate_steering(lm, audio_corpus(str(tmp_path / "corpus")), clap, split="valid")
    with pytest.raises(DataError, match=r"0 captions in split 'test'"):
        evaluate_steering(lm, codes_corpus(str(tmp_path / "codes")), clap)
