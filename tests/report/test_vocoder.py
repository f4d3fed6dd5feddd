"""The page about a vocoder: figures beside Griffin-Lim's, and what both make of some clips."""

import numpy as np
import pytest
import torch

from t2a.audio.spectral import MelSpec
from t2a.evaluate import evaluate
from t2a.models.vocoder import HifiGanConfig, VocosConfig
from t2a.report import measured
from t2a.report.measured import copies
from t2a.report.pages import check_page, write_page
from tests.report.test_page import parsed
from tests.train.small import RATE, audio_corpus

MEL = MelSpec(rate=RATE, n_fft=256, hop=64, n_mels=32, log="ln")
SMALL = {
    "vocos": VocosConfig(mel=MEL, width=8, hidden=16, layers=1),
    "hifigan": HifiGanConfig(mel=MEL, width=8, rates=(8, 8), kernels=(16, 16)),
}


@pytest.mark.parametrize("kind", SMALL)
def test_the_page_holds_figures_and_players_of_every_kind_of_vocoder(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "SOUNDS", 2)
    SMALL[kind].build().save_pretrained(tmp_path / "vocoder")
    model, corpus = str(tmp_path / "vocoder"), audio_corpus(str(tmp_path / "corpus"))
    evaluation = evaluate(model, corpus, split="valid", rows=3, listened=0)
    check_page(model, None, True)
    write_page(tmp_path / "page.html", evaluation, None, model, corpus, "valid")
    tree = parsed((tmp_path / "page.html").read_text())
    assert tree.tags.count("audio") == 2 * 3  # the original, the vocoder, Griffin-Lim
    assert [tree.texts.count(name) for name in ("vocoder", "griffin-lim", "untrained")] == [3, 3, 1]
    assert f"vocodes, x real time on {torch.get_num_threads()} threads" in tree.texts


def test_copies_are_made_of_a_clips_spectrogram_and_are_as_long_as_the_clip(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "SOUNDS", 1)
    seen = []

    def longer(mel: torch.Tensor) -> torch.Tensor:
        seen.append(mel.shape)
        return torch.zeros(1, 1, mel.shape[-1] * MEL.hop + 5)

    (group,) = copies({"longer": longer}, MEL, audio_corpus(str(tmp_path / "corpus")), "valid", seed=0)
    original, copy = group.cards
    assert seen == [(1, 32, 51)]
    assert original.wave.shape == copy.wave.shape == (1, 3200)
    assert np.abs(original.wave).max() > 0.2
    assert group.title.startswith("a tone of")
