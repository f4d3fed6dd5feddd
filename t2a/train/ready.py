"""What can be known to be wrong with a run before anything is started."""

import torch

from t2a import storage
from t2a.data.rows import AudioConfig, CodesConfig, LatentsConfig
from t2a.data.shards import read_manifest
from t2a.errors import ConfigError, DataError
from t2a.models.discriminators import Critic
from t2a.models.pretrained import locate, read_config
from t2a.models.spectrogram_critic import SpectrogramCritic
from t2a.tasks.autoencoder import AutoencoderTaskConfig
from t2a.tasks.latents import check_made_by
from t2a.tasks.task import Task
from t2a.tasks.vocoder import VocoderTaskConfig
from t2a.train.run import Run
from t2a.train.start import check_start


def check_ready(run: Run) -> None:
    """Raise `StorageError`, `DataError`, `ConfigError` or what the task says unless all that `run` names is there."""
    storage.check(run.out, write=True)
    _check_data(run)
    task = run.task.build()
    _check_codec(run)
    _check_autoencoder(run)
    _check_critic(run, task)
    check_start(run, task)


def _check_data(run: Run) -> None:
    manifest = read_manifest(run.data.uri)
    if manifest.kind != run.data.kind:
        raise DataError(f"{run.data.uri} holds {manifest.kind}, the recipe asks for {run.data.kind}; change data.kind.")
    splits = {shard.split for shard in manifest.shards}
    for key, split in (("data.split", run.data.split), ("eval.split", run.eval.split if run.eval else run.data.split)):
        if split not in splits:
            have = ", ".join(sorted(splits)) or "none"
            raise DataError(f"{run.data.uri} has no split '{split}' (it has: {have}); change {key}.")


def _check_codec(run: Run) -> None:
    """Refuse sound that the task's codec cannot encode; a codec's own training has none.

    Refuse codes of another number of channels, too, than the model has that a mono codec codes one by one.
    """
    codec, apart = getattr(run.task, "codec", None), getattr(getattr(run.task, "model", None), "channels", 1)
    if not isinstance(codec, str):
        return
    if isinstance(run.data, CodesConfig):
        made_of = read_manifest(run.data.uri).made_from.get("channels", apart)
        if made_of != apart:
            told = f"The codes {run.data.uri} are of {made_of} channels, coded one by one, the model is for {apart}"
            raise ConfigError(f"{told}: prepare codes --channels {apart}, or take a model of {made_of}.")
    if not isinstance(run.data, AudioConfig):
        return
    config = read_config(locate(codec))
    for name, asked in (("sample_rate", config["sample_rate"]), ("channels", apart * config["channels"])):
        given = getattr(run.data, name)
        if given != asked:
            raise ConfigError(f"data.{name} is {given}, but the codec {codec} codes {asked}: set data.{name}={asked}.")
    if config["normalise"]:
        raise ConfigError(
            f"The codec {codec} normalises the loudness, which its codes do not hold: take one with normalise=false."
        )


def _check_autoencoder(run: Run) -> None:
    """Refuse sound that the task's autoencoder cannot encode, and latents that another one has made."""
    autoencoder = getattr(run.task, "autoencoder", None)
    if not isinstance(autoencoder, str):
        return
    folder = locate(autoencoder)
    if isinstance(run.data, AudioConfig):
        for name, asked in (("sample_rate", read_config(folder)["mel"]["rate"]), ("channels", 1)):
            if (given := getattr(run.data, name)) != asked:
                told = f"data.{name} is {given}, but the autoencoder {autoencoder} takes {asked}"
                raise ConfigError(f"{told}: set data.{name}={asked}.")
    if isinstance(run.data, LatentsConfig):
        check_made_by(run.data.uri, folder, f"task.autoencoder, {autoencoder}")


def _check_critic(run: Run, task: Task) -> None:
    """Refuse crops that are shorter than what a critic judges at once."""
    if not isinstance(run.data, AudioConfig) or "critic" not in run.task.networks:
        return
    with torch.device("meta"):
        critic = task.networks()["critic"]
    given, unit = run.data.shape[1], "samples"
    if isinstance(run.task, AutoencoderTaskConfig):
        given, unit = int(run.task.model.mel.frames(torch.tensor(given))), "mel frames"
    elif isinstance(run.task, VocoderTaskConfig) and not run.task.model.mel.center:
        given -= given % run.task.model.mel.hop  # a frame makes one hop
    assert isinstance(critic, Critic | SpectrogramCritic)
    if given < critic.shortest:
        raise ConfigError(
            f"data.crop_seconds is {run.data.crop_seconds:g}, {given} {unit}, but task.critic judges {critic.shortest} "
            "at once: raise data.crop_seconds, or leave the critic's longest windows out."
        )
