"""Latents of a batch of sound by a frozen autoencoder, and which autoencoders and vocoders fit a denoiser."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2a.audio.spectral import MelSpec
from t2a.config import validate
from t2a.data.shards import read_manifest
from t2a.errors import ConfigError
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.pretrained import read_config, weights_sha256
from t2a.models.vocoder.loading import VOCODERS


@torch.no_grad()
def encode(autoencoder: Autoencoder, audio: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Turn waves [B, 1, T] of `length` [B] real samples into latents [B, C, (F,) L] and their frames int64 [B].

    Those of a row are the ones of its clip by itself, as they would have been precomputed.
    """
    frames = autoencoder.config.mel.frames(length)
    z = autoencoder.encode(autoencoder.mel(audio, length), frames)
    return z.float(), -(-frames // autoencoder.factor)


def autoencoder_config(folder: Path, where: str) -> AutoencoderConfig:
    """Read what an autoencoder is, without its weights. Raises `ConfigError` where `folder` holds something else."""
    found = read_config(folder)
    if found.get("model_type") != "autoencoder":
        raise ConfigError(f"task.autoencoder: {where} holds a {found.get('model_type')}, not an autoencoder.")
    return validate(AutoencoderConfig, _settings(found), where)


def check_latent(config: AutoencoderConfig, where: str, latent: tuple[int, ...]) -> None:
    """Refuse an autoencoder whose latents have another shape than those that a model takes."""
    found = config.network.latent_shape(config.mel.n_mels)
    if found != latent:
        raise ConfigError(
            f"task.model.latent is {list(latent)}, but the autoencoder {where} makes latents of {list(found)}: set "
            f"task.model.latent={list(found)} or take another autoencoder."
        )


def check_made_by(corpus: str, folder: Path, where: str) -> None:
    """Refuse latents that other weights have made than those of an autoencoder's local folder, `where` to the user."""
    made_by = read_manifest(corpus).made_from.get("autoencoder_sha256")
    if made_by and made_by != weights_sha256(folder):
        raise ConfigError(
            f"The latents {corpus} were made by other weights than those of {where}: prepare them anew, or name the "
            "autoencoder that made them."
        )


def check_vocoder(folder: Path, vocoder: str, autoencoder: str, mel: MelSpec) -> None:
    """Refuse a vocoder that speaks other spectrograms than the autoencoder makes: it would give noise."""
    found = read_config(folder)
    if found.get("model_type") not in VOCODERS:
        raise ConfigError(f"task.vocoder: {vocoder} holds a {found.get('model_type')}, not a vocoder.")
    if differing := mel.differing(validate(MelSpec, found["mel"], vocoder)):
        raise ConfigError(
            f"The autoencoder {autoencoder} and the vocoder {vocoder} are made for different spectrograms: "
            f"{differing}; take a vocoder of the autoencoder's."
        )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model's `config.json` without what `save_pretrained` adds."""
    return {name: value for name, value in config.items() if name not in ("model_type", "t2a_version")}
