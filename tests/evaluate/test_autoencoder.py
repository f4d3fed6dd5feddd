"""What is told of an autoencoder on held-out clips."""

import itertools
import json
import math

import pytest
import torch

from t2a.cli.figures import printed
from t2a.errors import ConfigError
from t2a.evaluate import evaluate
from t2a.metrics import quality
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.vocoder import Vocos, VocosConfig
from tests.train.small import RATE, audio_corpus

MEL = {"rate": RATE, "n_fft": 256, "hop": 64, "n_mels": 16, "log": "ln"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    return audio_corpus(str(tmp_path_factory.mktemp("data") / "corpus"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    torch.manual_seed(1)
    network = {"kind": "1d", "latent": 4, "widths": [8, 16], "blocks": 1}
    model = Autoencoder(AutoencoderConfig.model_validate({"mel": MEL, "network": network}))
    folder = tmp_path_factory.mktemp("model") / "autoencoder"
    model.save_pretrained(folder)
    return str(folder)


def test_what_visqol_cannot_judge_is_no_figure(folder, corpus, monkeypatch):
    monkeypatch.setattr(quality, "available", lambda name: True)
    answers = itertools.cycle([math.nan, 3.0])
    monkeypatch.setattr(quality, "visqol", lambda *_: next(answers))
    figures = evaluate(folder, corpus, split="valid", rows=2, listened=2).by_system()
    assert "visqol" not in figures["original through Griffin-Lim"]
    assert figures["autoencoder through Griffin-Lim"]["visqol"].mean == 3.0


def test_spectrograms_and_what_is_heard_of_them_are_measured_clip_by_clip(folder, corpus):
    found = evaluate(folder, corpus, split="valid", rows=6, listened=0)
    systems = found.by_system()
    heard = {f"{name} through Griffin-Lim" for name in ("original", "autoencoder")}
    assert set(systems) == {"autoencoder", "untrained", "mean frame"} | heard
    assert all(set(systems[name]) == {"mel_distance", "stft_distance", "phase_distance"} for name in heard)
    # The clips are steady tones: their mean frame is all but the clip, and has no detail at all.
    assert systems["mean frame"]["spectrogram_distance"].mean < 10 < systems["autoencoder"]["spectrogram_distance"].mean
    assert systems["mean frame"]["detail"].mean < 0.1
    lost = [systems[f"{name} through Griffin-Lim"]["mel_distance"].mean for name in ("original", "autoencoder")]
    assert lost[0] < 15 < lost[1]
    conditions = json.loads(json.dumps(found.plain(), allow_nan=False))["conditions"]
    assert (conditions["clips"], conditions["latents"]["shape"]) == (6, [4])
    assert conditions["latents"]["frame_rate"] == RATE / 64 / 2
    assert conditions["speed"]["decode"] > 0
    assert any("latents: 62.5 frames a second of 4" in str(part) for part in printed(found, "title"))


def test_it_is_heard_through_a_vocoder_of_its_spectrograms_alone(folder, corpus, tmp_path):
    for name, hop in (("right", 64), ("wrong", 128)):
        config = VocosConfig.model_validate({"mel": MEL | {"hop": hop}, "width": 8, "layers": 1})
        Vocos(config).save_pretrained(tmp_path / name)
    found = evaluate(folder, corpus, split="valid", rows=2, listened=0, vocoder=str(tmp_path / "right"))
    figures = {name: figure.mean for name, figure in found.figures.items() if name.startswith("mel_distance/")}
    for name in ("original", "autoencoder"):
        difference = figures.pop(f"mel_distance/{name} through vocos over Griffin-Lim")
        rivals = [figures.pop(f"mel_distance/{name} through {through}") for through in ("vocos", "Griffin-Lim")]
        assert difference == pytest.approx(rivals[0] - rivals[1])
    assert not figures
    with pytest.raises(ConfigError, match="different spectrograms: hop 128 and 64"):
        evaluate(folder, corpus, split="valid", rows=2, listened=0, vocoder=str(tmp_path / "wrong"))


def test_the_seed_draws_the_clips(folder, corpus):
    found = [evaluate(folder, corpus, split="valid", rows=2, listened=0, seed=seed) for seed in (0, 0, 1)]
    distances = [evaluation.figures["spectrogram_distance/autoencoder"].mean for evaluation in found]
    assert distances[0] == distances[1] != distances[2]
    assert found[2].conditions["sample"].startswith("drawn with seed 1;")
