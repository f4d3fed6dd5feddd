"""The page about an autoencoder: figures of spectrograms and waves, and clips before and after it."""

from pathlib import Path

import pytest
import torch

from t2a.evaluate import evaluate
from t2a.report import measured
from t2a.report.pages import check_page, write_page
from tests.report.test_page import parsed
from tests.train.small import audio_corpus


@pytest.mark.parametrize(("vocoder", "through"), [("", "through Griffin-Lim"), ("vocoder", "through vocos")])
def test_clips_are_heard_through_what_they_were_measured_through(denoiser, vocoder, through, tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "SOUNDS", 2)
    folder, corpus = str(Path(denoiser) / "autoencoder"), audio_corpus(str(tmp_path / "corpus"))
    where = vocoder and str(Path(denoiser) / vocoder)
    evaluation = evaluate(folder, corpus, split="valid", rows=3, listened=0, vocoder=where or None)
    check_page(folder, None, True)
    write_page(tmp_path / "page.html", evaluation, None, folder, corpus, "valid")
    tree = parsed((tmp_path / "page.html").read_text())
    heard = 4 if vocoder else 2  # the spectrogram before and after the autoencoder, by Griffin-Lim in any case
    assert tree.tags.count("audio") == 2 * (1 + heard)
    for system in ("original", "autoencoder"):
        assert tree.texts.count(f"{system} {through}") == 1 + 2  # a column, and a card of each clip
    speed = f"decodes, x real time on {torch.get_num_threads()} threads"
    assert {"untrained", "mean frame", "detail", speed} <= set(tree.texts)
    assert tree.texts[tree.texts.index("spectrogram_distance ") :][:3] == ["spectrogram_distance ", "dB", " ↓"]
    assert (where or "Griffin-Lim") in tree.texts
    assert any(text.startswith("drawn with seed 0; the first 10 s") for text in tree.texts)
    assert sum(text.startswith("mel distance ") and text.endswith(" dB") for text in tree.texts) == 2 * heard
    assert tree.texts.count("autoencoder through vocos over Griffin-Lim") == bool(vocoder)
