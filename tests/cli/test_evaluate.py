"""`t2a evaluate`: one page and one file of figures about the whole way from text to sound."""

import json
import re

from typer.testing import CliRunner

from t2a.cli import app
from tests.train.small import audio_corpus


def test_a_denoiser_and_the_models_around_it_are_evaluated_into_one_page(
    denoiser, latents, clap, tmp_path, monkeypatch
):
    monkeypatch.setattr("t2a.report.measured.SOUNDS", 1)
    corpus, out, page = audio_corpus(str(tmp_path / "corpus")), tmp_path / "figures.json", tmp_path / "page.html"
    options = ["--judge", clap, "--originals", corpus, "--split", "valid", "--rows", 4, "--listened", 0, "--seed", 7]
    options += ["--clips", 3, "--takes", 1, "--generated", 2, "--out", out, "--report", page]
    shown = CliRunner().invoke(app, ["evaluate", denoiser, latents, *map(str, options)])
    assert shown.exit_code == 0, shown.output
    printed = "".join(shown.output.split())
    for words in (f"judgeon{corpus}", f"autoencoderon{corpus}", f"vocoderon{corpus}", "clap_gain"):
        assert words in printed, words
    found = json.loads(out.read_text())
    assert "loss/its caption" in found["figures"]
    assert "seed 7" in found["conditions"]["generated"]
    for part, figure in {
        "judge": "r@10/caption to sound",
        "autoencoder": "mel_distance/autoencoder through vocos",
        "vocoder": "mel_distance/vocoder",
        "steering": "rank/guidance 3",
    }.items():
        assert figure in found[part]["figures"], part
        assert (found[part]["conditions"]["seed"], found[part]["conditions"]["split"]) == (7, "valid"), part
    text = page.read_text()
    titles = ["Prediction", "The judge", "Autoencoder and vocoder", "Steering", "Sounds"]
    assert re.findall("<h2>(.*?)</h2>", text) == titles
    assert text.count("<audio") == 5 + 3 * 4  # a clip and its four copies; three captions, originals and guidances


def test_originals_are_heard_only_by_a_judge():
    told = CliRunner().invoke(app, ["evaluate", "model", "corpus", "--originals", "clips"])
    assert "--originals says how well the judge" in str(told.exception)


def test_what_a_kind_of_model_does_not_take_is_refused(denoiser, latents):
    for options, words in (
        (["--takes", "2"], "--clips and --takes say how much a judge hears"),
        (["--vocoder", "v"], "holds a denoiser: leave v out"),
    ):
        told = CliRunner().invoke(app, ["evaluate", denoiser, latents, *options])
        assert words in str(told.exception)
    told = CliRunner().invoke(app, ["evaluate", f"{denoiser}/autoencoder", latents, "--generated", "2"])
    assert "generates nothing" in str(told.exception)
