from pathlib import Path

import pytest

from t2a.demo import report
from t2a.demo.report import write_report
from t2a.demo.trainings import TRAININGS


def test_the_page_holds_every_clip_figure_and_recipe(facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    points = {
        "loss/mel": [(1, 2.0), (2, 1.0)], "loss/ce_1": [(1, 9.0)], "eval/si_snr": [(2, 3.0)], "eval/stft": [(2, 5e4)],
    }  # fmt: skip
    drawn = []
    curves = report.figures.curves
    monkeypatch.setattr(report.figures, "curves", lambda series, **how: drawn.append(set(series)) or curves({}))
    monkeypatch.setattr(report, "history", lambda run: asked.append(run) or points)
    write_report(tmp_path / "report.html", facts, {"codec": 60.0, "lm": 30.0}, {"vocoder": "steps: 5\n"})
    page = (tmp_path / "report.html").read_text()
    assert asked == [f"run of {name}" for name in TRAININGS]
    assert page.count("<audio") == 2 + 1 + 2 + 3
    assert drawn[:2] == [{"loss/mel"}, {"si_snr"}]
    assert len(drawn) == 2 * len(TRAININGS)
    for words in (
        "A dog &amp; a cat.", "1.50 s to make", "0.40 s to make", "SI-SNR 7.2 dB", "0.321", "0.076", "6.5 dB (3.5)",
        "mel distance 3.2 dB", "mel distance 4.8 dB", "another caption", "griffin-lim", "0.625",
        "There is no apt here.", "The recipe of the vocoder", "steps: 5", "1.5 min",
    ):  # fmt: skip
        assert words in page, words
    for training in TRAININGS.values():
        assert f"{training.title}: training losses" in page
    assert not list(tmp_path.glob("*.tmp"))
