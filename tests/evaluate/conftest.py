"""Untrained models that several tests measure."""

import pytest
import torch

from t2a.audio.spectral import MelSpec
from t2a.models.clap import Clap, ClapConfig
from t2a.models.conv_tower import ConvTowerConfig
from t2a.tasks.clap import ClapTaskConfig
from tests.train.small import RATE, untrained_codec, untrained_lm


@pytest.fixture(scope="module")
def clap(tmp_path_factory) -> str:
    torch.manual_seed(0)
    mel = MelSpec(rate=RATE, n_fft=256, hop=128, n_mels=16, log="ln")
    tower = ConvTowerConfig(mel=mel, widths=(8, 16), blocks=1)
    task = ClapTaskConfig(model=ClapConfig(tower=tower, dimension=8)).build()
    folder = tmp_path_factory.mktemp("clap")
    task.export({"clap": Clap(task.config.model).state_dict()}, folder)
    return str(folder)


@pytest.fixture(scope="module")
def lm(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("lm")
    return untrained_lm(folder / "lm", untrained_codec(folder / "codec"))
