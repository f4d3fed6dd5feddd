"""What the page of a model that generates tells of the models around it."""

import shutil

from t2a.evaluate.captions import FILLING, TOLD
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.parts import evaluate_parts
from t2a.metrics.interval import Interval
from t2a.report import measured
from t2a.report.generation import NO_VOCODER, around, prediction
from tests.report.test_page import parsed
from tests.train.small import audio_corpus


def test_a_denoiser_without_a_vocoder_is_heard_through_griffin_lim_and_that_is_said(
    denoiser, clap, tmp_path, monkeypatch
):
    monkeypatch.setattr(measured, "SOUNDS", 1)
    model, corpus = tmp_path / "model", audio_corpus(str(tmp_path / "corpus"))
    shutil.copytree(denoiser, model)
    shutil.rmtree(model / "vocoder")
    parts = evaluate_parts(str(model), corpus, clap, split="valid", rows=3, listened=0, seed=4)
    assert set(parts.plain()) == {"judge", "autoencoder"}
    assert "mel_distance/autoencoder through Griffin-Lim" in parts.plain()["autoencoder"]["figures"]
    assert {found.conditions["seed"] for found in parts.evaluations().values()} == {4}
    judge, both = around(parts, str(model), clap, "valid")
    assert [judge.title, both.title] == ["The judge", "Autoencoder and vocoder"]
    tree = parsed(both.html())
    assert tree.tags.count("audio") == 3
    assert NO_VOCODER in tree.texts
    assert {"r@1", "r@5", "r@10", "sound to caption", "caption to sound"} <= set(parsed(judge.html()).texts)


def test_around_a_language_model_the_judge_alone_is_measured(lm, clap, tmp_path):
    corpus = audio_corpus(str(tmp_path / "corpus"))
    parts = evaluate_parts(lm, corpus, clap, split="valid", rows=3, listened=0)
    assert list(parts.plain()) == ["judge"]
    assert parts.plain()["judge"]["corpus"] == corpus
    (judge,) = around(parts, lm, clap, "valid")
    assert corpus in judge.intro


def test_every_loss_has_a_column_also_that_of_filling_gaps():
    loss = Interval(0.5, 0.4, 0.6, 4)
    found = Evaluation({f"loss/{told}": loss for told in (*TOLD.values(), *FILLING.values())})
    texts = parsed(prediction(found).html()).texts
    assert {*TOLD.values(), *FILLING.values()} <= set(texts)
