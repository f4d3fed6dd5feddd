from pathlib import Path

import numpy as np
import pytest

from t2a.audio.io import write
from t2a.demo import report
from t2a.demo.report import write_report
from t2a.demo.sections import by_system, listening
from t2a.demo.trainings import TRAININGS

METRICS = ("bit_rate", "mel_distance", "si_snr")
TOLD = ("its caption", "another caption", "no caption")


def figure(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "count": 9}


def gained(metric: str, gain: float, *others: str) -> dict:
    found = {f"{metric}/{system}": figure(2.5) for system in (*TOLD, *others)}
    return found | {"gain/over shuffled captions": figure(gain)}


@pytest.fixture
def facts(tmp_path: Path) -> dict:
    def clip(name: str) -> str:
        path = tmp_path / f"{name}.wav"
        write(path, np.random.default_rng(len(name)).uniform(-0.5, 0.5, (1, 4000)).astype(np.float32), 8000)
        return str(path)

    split = {"clips": 3, "hours": 0.1}
    clips = {"lm": {"file": clip("a"), "took": 1.5}, "denoiser": {"file": clip("bb"), "took": 0.4}}
    made = {"prompt": "A dog & a cat.", "seed": 3, "seconds": 0.5, "guidance": 3.0, "clips": clips}
    copies = {
        name: {"file": clip(name), "si_snr": 7.25, "mel_distance": distance}
        for name, distance in (("codec", 5.0), ("vocoder", 3.25), ("autoencoder", 4.75))
    }
    codec = {f"{m}/{s}": figure(4.0) for m in METRICS for s in ("codec", "untrained", "mu-law")}
    spectrograms = {f"{m}/{s}": figure(0.625) for m in ("spectrogram_distance", "detail") for s in ("autoencoder",)}
    heard = {
        f"mel_distance/{system} through vocos": figure(mean)
        for system, mean in (("original", 3.5), ("autoencoder", 6.5))
    }
    return {
        "corpus": {"source": "synthetic", "why": "There is no apt here.", "splits": {"train": split}, "skipped": {},
                   "categories": {"animals": 2.0}, "licences": {"CC0-1.0": 3}},
        **{name: {"mlflow_run": f"run of {name}"} for name in TRAININGS},
        "evaluate": {
            "codec": codec, "lm": gained("nats", 0.321, "unigram"), "autoencoder": spectrograms | heard,
            "vocoder": {f"mel_distance/{s}": figure(3.5) for s in ("vocoder", "untrained", "griffin-lim")},
            "denoiser": gained("loss", 0.076),
        },
        "generate": {
            "generated": [made], "reconstructed": [{"caption": "Rain.", "original": clip("ccc"), "copies": copies}],
        },
        "serve": {"prompt": "A dog.", "file": clip("dddd"), "took": 0.5},
    }  # fmt: skip


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


def test_models_stand_side_by_side_under_each_prompt(facts) -> None:
    _, row = listening(facts).html().split("<h3>A dog &amp; a cat.</h3>", 1)
    both = row.split("</div>", 1)[0]
    assert both.count("<audio") == 2
    assert both.index("<h3>language model</h3>") < both.index("<h3>diffusion model</h3>")


def test_figures_are_sorted_by_system_or_one_is_taken() -> None:
    found = {"mel/codec": figure(1), "snr/codec": figure(2), "mel/mu-law": figure(3)}
    assert {name: set(values) for name, values in by_system(found).items()} == {
        "codec": {"mel", "snr"}, "mu-law": {"mel"}
    }  # fmt: skip
    assert {name: measure.mean for name, measure in by_system(found, "mel").items()} == {"codec": 1, "mu-law": 3}
