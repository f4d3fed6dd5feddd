"""A vocoder's figures, beside those of Griffin-Lim."""

import math

import pytest
import torch

from t2a.audio.spectral import MelSpec
from t2a.cli.figures import printed
from t2a.evaluate import evaluate
from t2a.metrics import quality
from t2a.models.vocoder import HifiGanConfig, VocosConfig
from tests.train.small import RATE, audio_corpus

MEL = MelSpec(rate=RATE, n_fft=256, hop=64, n_mels=32, log="ln")
SMALL = {
    "vocos": VocosConfig(mel=MEL, width=8, hidden=16, layers=1),
    "hifigan": HifiGanConfig(mel=MEL, width=8, rates=(8, 8), kernels=(16, 16)),
}


@pytest.mark.parametrize("kind", SMALL)
def test_it_is_measured_beside_its_baselines_clip_by_clip(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "available", lambda name: True)
    heard = []
    monkeypatch.setattr(quality, "visqol", lambda made, wave, rate: heard.append(made.shape) or math.nan)
    torch.manual_seed(1)
    SMALL[kind].build().save_pretrained(tmp_path / "vocoder")
    corpus = audio_corpus(str(tmp_path / "corpus"))
    found = evaluate(str(tmp_path / "vocoder"), corpus, split="valid", rows=6, listened=2)
    systems = found.by_system()
    difference = systems.pop("vocoder over griffin-lim")
    assert set(systems) == {"vocoder", "untrained", "griffin-lim"}
    assert heard == [(1, 3200)] * 6  # what ViSQOL cannot judge is no figure
    for figures in systems.values():
        assert set(figures) == {"mel_distance", "stft_distance", "phase_distance"}
        assert figures["mel_distance"].count == 6
    for metric in ("mel_distance", "stft_distance"):
        assert systems["griffin-lim"][metric].mean < 0.5 * systems["vocoder"][metric].mean
    both = [systems[name]["mel_distance"].mean for name in ("vocoder", "griffin-lim")]
    assert difference["mel_distance"].mean == pytest.approx(both[0] - both[1])
    assert "visqol" not in difference
    told = [part for part in printed(found, "x") if isinstance(part, str)]
    assert told[0].startswith("speed: vocodes ")
