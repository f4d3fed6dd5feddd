"""What the codec or autoencoder decides for a recipe that trains on its frames, filled in where it says null."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from t2a.errors import ConfigError, T2AError
from t2a.models.autoencoder import AutoencoderConfig
from t2a.models.pretrained import locate, read_config

OPEN = ("codebooks", "bins", "max_frames")
"""Settings of `task.model` that a codec can decide"""
OF_LATENTS = ("latent", "max_frames")
"""and those that an autoencoder can"""


def follow_codec(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the sizes that a recipe leaves to `task.codec`, so that one recipe serves any number of streams.

    `task.model.codebooks` and `task.model.bins` are the codec's where they are null, `data.codebooks` is the model's;
    `data.crop_frames` then follows from `data.crop_seconds`, `task.model.max_frames` from `task.model.max_seconds`.
    A recipe without nulls is returned as it is, and no codec is looked for. Raises `ConfigError`.
    """
    task, data = settings.get("task"), settings.get("data")
    if not isinstance(task, Mapping) or not isinstance(data, Mapping):
        return dict(settings)
    model = task.get("model")
    if not isinstance(model, Mapping) or not any(name in model and model[name] is None for name in OPEN):
        return dict(settings)
    codec = _config(task.get("codec"), "codec")
    quantizer, rate = codec["quantizer"], codec["sample_rate"] / math.prod(codec["ratios"])
    model, data = dict(model), dict(data)
    decided = {
        "codebooks": quantizer["codebooks"],
        "bins": quantizer["bins"],
        "max_frames": _frames(model.pop("max_seconds", None), rate, "task.model.max_seconds"),
    }
    model |= {name: value for name, value in decided.items() if model.get(name) is None and value is not None}
    if data.get("kind") == "codes":
        crop = {
            "codebooks": model.get("codebooks"),
            "crop_frames": _frames(data.pop("crop_seconds", None), rate, "data.crop_seconds"),
        }
        data |= {name: value for name, value in crop.items() if data.get(name) is None and value is not None}
    return {**settings, "task": {**task, "model": model}, "data": data}


def follow_autoencoder(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the sizes that a recipe leaves to `task.autoencoder`.

    `task.model.latent` and `data.latent` are the autoencoder's where they are null; `data.crop_frames` then follows
    from `data.crop_seconds`, `task.model.max_frames` from `task.model.max_seconds`.
    A recipe without nulls is returned as it is, and no autoencoder is looked for. Raises `ConfigError`.
    """
    task, data = settings.get("task"), settings.get("data")
    if not isinstance(task, Mapping) or not isinstance(data, Mapping) or "autoencoder" not in task:
        return dict(settings)
    model = task.get("model")
    if not isinstance(model, Mapping) or not any(name in model and model[name] is None for name in OF_LATENTS):
        return dict(settings)
    found = _config(task["autoencoder"], "autoencoder")
    config = AutoencoderConfig.model_validate({name: found[name] for name in AutoencoderConfig.model_fields})
    latent = config.network.latent_shape(config.mel.n_mels)
    model, data = dict(model), dict(data)
    longest = _latent_frames(config, model.pop("max_seconds", None), "task.model.max_seconds")
    decided = {"latent": latent, "max_frames": longest}
    model |= {name: value for name, value in decided.items() if model.get(name) is None and value is not None}
    if data.get("kind") == "latents":
        frames = _latent_frames(config, data.pop("crop_seconds", None), "data.crop_seconds")
        crop = {"latent": latent, "crop_frames": frames}
        data |= {name: value for name, value in crop.items() if data.get(name) is None and value is not None}
    return {**settings, "task": {**task, "model": model}, "data": data}


def _config(where: Any, kind: str) -> dict[str, Any]:
    """The config of a recipe's codec or autoencoder."""
    asked = f"The recipe leaves sizes to task.{kind} (null), so the {kind} must be there already"
    if not isinstance(where, str):
        raise ConfigError(f"{asked}: give task.{kind}.")
    try:
        config = read_config(locate(where))
    except T2AError as error:
        raise ConfigError(f"{asked}. {error}") from error
    if config.get("model_type") != kind:
        raise ConfigError(f"task.{kind}: {where} holds a {config.get('model_type')}, not the {kind}.")
    return config


def _latent_frames(config: AutoencoderConfig, seconds: Any, key: str) -> int | None:
    """Count the frames that the autoencoder makes of so many seconds of sound."""
    samples = _frames(seconds, config.mel.rate, key)
    if samples is None:
        return None
    return math.ceil(int(config.mel.frames(torch.tensor(samples))) / config.network.factor)


def _frames(seconds: Any, rate: float, key: str) -> int | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds * rate < math.inf:
        raise ConfigError(f"{key} is {seconds!r}; it must be a number above 0.")
    return max(1, round(seconds * rate))
