from pathlib import Path

import numpy as np
import pytest

from t2a.audio.io import write
from t2a.demo import report
from t2a.demo.report import by_system, write_report

METRICS = ("bit_rate", "mel_distance", "si_snr")


def figure(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "count": 9}


@pytest.fixture
def facts(tmp_path: Path) -> dict:
    def clip(name: str) -> str:
        path = tmp_path / f"{name}.wav"
        write(path, np.random.default_rng(len(name)).uniform(-0.5, 0.5, (1, 4000)).astype(np.float32), 8000)
        return str(path)

    split = {"clips": 3, "hours": 0.1}
    made = {"prompt": "A dog & a cat.", "file": clip("a"), "seed": 3, "seconds": 0.5, "guidance": 3.0, "took": 1.0}
    pair = {"caption": "Rain.", "original": clip("bb"), "decoded": clip("ccc"), "si_snr": 7.25, "mel_distance": 5.0}
    codec = {f"{m}/{s}": figure(4.0) for m in METRICS for s in ("codec", "untrained", "mu-law")}
    lm = {f"nats/{s}": figure(2.5) for s in ("its caption", "shuffled", "unigram")}
    lm["gain/over shuffled captions"] = figure(0.321)
    return {
        "corpus": {"source": "synthetic", "why": "There is no apt here.", "splits": {"train": split}, "skipped": {},
                   "categories": {"animals": 2.0}, "licences": {"CC0-1.0": 3}},
        "codec": {"mlflow_run": "one"}, "lm": {"mlflow_run": "two"},
        "figures": {"codec": codec, "lm": lm},
        "clips": {"generated": [made], "reconstructed": [pair]},
        "served": {"prompt": "A dog.", "file": clip("dddd"), "took": 0.5},
    }  # fmt: skip


def test_the_page_holds_every_clip_figure_and_recipe(facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    points = {"loss/mel": [(1, 2.0), (2, 1.0)], "loss/ce_1": [(1, 9.0)], "eval/si_snr": [(2, 3.0)]}
    monkeypatch.setattr(report, "history", lambda run: asked.append(run) or points)
    write_report(tmp_path / "report.html", facts, {"codec": 60.0, "lm": 30.0}, {"codec": "steps: 5\n"})
    page = (tmp_path / "report.html").read_text()
    assert asked == ["one", "two"]
    assert page.count("<audio") == 4
    for words in ("A dog &amp; a cat.", "SI-SNR 7.2 dB", "0.321", "There is no apt here.", "steps: 5", "1.5 min"):
        assert words in page, words
    assert not list(tmp_path.glob("*.tmp"))


def test_figures_are_sorted_by_system_or_one_is_taken() -> None:
    found = {"mel/codec": figure(1), "snr/codec": figure(2), "mel/mu-law": figure(3)}
    assert {name: set(values) for name, values in by_system(found).items()} == {
        "codec": {"mel", "snr"}, "mu-law": {"mel"}
    }  # fmt: skip
    assert {name: measure.mean for name, measure in by_system(found, "mel").items()} == {"codec": 1, "mu-law": 3}
