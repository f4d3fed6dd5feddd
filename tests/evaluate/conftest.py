"""Untrained models that several tests measure."""

import numpy as np
import pytest
import torch

from t2a.audio.spectral import MelSpec
from t2a.data.schema import pack_latents
from t2a.data.shards import write_shards
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.clap import Clap, ClapConfig
from t2a.models.conv_tower import ConvTowerConfig
from t2a.models.denoiser import DenoiserConfig
from t2a.models.dit import DiTConfig
from t2a.models.kl1d import Kl1dConfig
from t2a.models.vocoder import Vocos, VocosConfig
from t2a.tasks.clap import ClapTaskConfig
from t2a.tasks.denoiser import DenoiserTaskConfig
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


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory) -> str:
    """At another rate than the language model: 31.25 latents a second."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("denoiser")
    mel = MelSpec(rate=2 * RATE, n_fft=256, hop=128, n_mels=8, log="ln")
    network = Kl1dConfig(latent=3, widths=(8, 8, 8), blocks=1)
    Autoencoder(AutoencoderConfig(mel=mel, network=network)).save_pretrained(folder / "autoencoder")
    Vocos(VocosConfig(mel=mel, width=8, hidden=16, layers=1)).save_pretrained(folder / "vocoder")
    parts = {name: str(folder / name) for name in ("autoencoder", "vocoder")}
    model = DenoiserConfig(latent=(3,), max_frames=12, network=DiTConfig(width=16, layers=1, heads=2))
    task = DenoiserTaskConfig(model=model, **parts).build()
    (folder / "model").mkdir()
    task.export({"denoiser": task.networks()["denoiser"].state_dict()}, folder / "model")
    return str(folder / "model")


@pytest.fixture(scope="module")
def latents(tmp_path_factory) -> str:
    """A corpus of 10 clips of 8 to 12 frames."""
    uri, random = str(tmp_path_factory.mktemp("latents")), np.random.default_rng(0)
    rows = [
        {
            "id": f"{i}", "latents": pack_latents(random.standard_normal((3, 8 + i % 5))), "frame_rate": 31.25,
            "seconds": 0.3, "captions": [f"sound {i}"], "source": "made", "licence": "CC0-1.0", "split": "valid",
        }
        for i in range(10)
    ]  # fmt: skip
    write_shards(rows, uri, "latents")
    return uri
