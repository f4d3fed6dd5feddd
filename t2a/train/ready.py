"""What can be known to be wrong with a run before anything is started."""

import hashlib

from t2a import storage
from t2a.data.rows import AudioConfig, CodesConfig, LatentsConfig
from t2a.data.shards import read_manifest
from t2a.errors import ConfigError, DataError
from t2a.models.pretrained import WEIGHTS, locate, read_config
from t2a.train.run import Run
from t2a.train.start import check_start


def check_ready(run: Run) -> None:
    """Raise `StorageError`, `DataError`, `ConfigError` or what the task says unless all that `run` names is there."""
    storage.check(run.out, write=True)
    _check_data(run)
    task = run.task.build()
    _check_codec(run)
    _check_autoencoder(run)
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
        made_by = read_manifest(run.data.uri).made_from.get("autoencoder_sha256")
        if made_by and made_by != hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest():
            raise ConfigError(
                f"The latents {run.data.uri} were made by other weights than those of task.autoencoder, {autoencoder}: "
                "prepare them anew, or name the autoencoder that made them."
            )
