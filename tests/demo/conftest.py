from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from t2a.audio.io import write
from t2a.demo.trainings import TRAININGS
from t2a.models.autoencoder import Autoencoder
from t2a.models.vocoder import Vocos, VocosConfig
from tests.train.small import audio_corpus, denoiser_run, untrained_autoencoder, untrained_codec, untrained_lm

METRICS = ("bit_rate", "mel_distance", "si_snr")
TOLD = ("its caption", "another caption", "no caption")


def figure(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "count": 9}


def gained(metric: str, gain: float, *others: str) -> dict:
    found = {f"{metric}/{system}": figure(2.5) for system in (*TOLD, *others)}
    return found | {"gain/over shuffled captions": figure(gain)}


class Models(NamedTuple):
    """Untrained models and a corpus for them."""

    codec: str
    lm: str
    autoencoder: str
    vocoder: str
    denoiser: str
    corpus: str


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder: Path = tmp_path_factory.mktemp("models")
    codec = untrained_codec(folder / "codec")
    corpus = audio_corpus(str(folder / "corpus"), rows=30, held_out="test")
    autoencoder = untrained_autoencoder(folder / "autoencoder")
    vocoder = str(folder / "vocoder")
    mel = Autoencoder.from_pretrained(autoencoder).config.mel
    Vocos(VocosConfig(mel=mel, width=8, hidden=16, layers=1)).save_pretrained(folder / "vocoder")
    denoiser = untrained_denoiser(folder / "denoiser", autoencoder, vocoder)
    return Models(codec, untrained_lm(folder / "lm", codec), autoencoder, vocoder, denoiser, corpus)


def untrained_denoiser(folder: Path, autoencoder: str, vocoder: str) -> str:
    """A denoiser as a run exports it, with copies of its autoencoder and vocoder."""
    config = denoiser_run("out", "corpus", autoencoder).task
    task = config.model_copy(update={"vocoder": vocoder}).build()
    folder.mkdir()
    task.export({"denoiser": task.networks()["denoiser"].state_dict()}, folder)
    return str(folder)


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
