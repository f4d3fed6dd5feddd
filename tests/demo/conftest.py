from pathlib import Path
from typing import NamedTuple

import pytest

from t2a.models.autoencoder import Autoencoder
from t2a.models.vocoder import Vocos, VocosConfig
from tests.train.small import audio_corpus, denoiser_run, untrained_autoencoder, untrained_codec, untrained_lm


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
