from pathlib import Path
from typing import NamedTuple

import pytest

from tests.train.small import audio_corpus, untrained_codec, untrained_lm


class Models(NamedTuple):
    """Untrained models and a corpus for them."""

    codec: str
    lm: str
    corpus: str


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder: Path = tmp_path_factory.mktemp("models")
    codec = untrained_codec(folder / "codec")
    corpus = audio_corpus(str(folder / "corpus"), rows=30, held_out="test")
    return Models(codec, untrained_lm(folder / "lm", codec), corpus)
