"""Import HiFi-GAN: transformers' SpeechT5HifiGan (the `vocoder` folder of an AudioLDM), and the authors' release."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel
from torch import Tensor

from t2a.config import validate
from t2a.errors import CheckpointError, ConfigError
from t2a.interop import pickles
from t2a.interop.encodec import WEIGHT_NORM
from t2a.interop.huggingface import CONFIG, INDEX, PICKLE, WEIGHTS, fetch, read_settings, read_weights
from t2a.models.pretrained import check_fit
from t2a.models.vocoder import HifiGan, HifiGanConfig

KIND = "speecht5_hifigan"
MEL = {"n_fft": 1024, "center": False, "log": "ln", "floor": 1e-5}
"""What most released models take, and no folder of transformers says; AudioLDM's do"""
RESIDUAL = re.compile(r"^resblocks\.(\d+)\.(convs1|convs2|convs)\.")
PARTS = {"convs1": "dilated", "convs": "dilated", "convs2": "plain"}


class TransformersSettings(BaseModel):
    """SpeechT5HifiGan's `config.json`; the defaults are those of SpeechT5HifiGanConfig."""

    model_type: Literal["speecht5_hifigan"]
    model_in_dim: int = 80
    sampling_rate: int = 16000
    upsample_initial_channel: int = 512
    upsample_rates: tuple[int, ...] = (4, 4, 4, 4)
    upsample_kernel_sizes: tuple[int, ...] = (8, 8, 8, 8)
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    leaky_relu_slope: float = 0.1
    normalize_before: bool = True

    def mel(self) -> dict[str, Any]:
        """Return what is known of its spectrogram."""
        return {"rate": self.sampling_rate, "hop": math.prod(self.upsample_rates), "n_mels": self.model_in_dim}


class ReleasedSettings(BaseModel):
    """The part of the `config.json` of the authors' release that describes the generator and its spectrogram."""

    resblock: Literal["1", "2"]
    num_mels: int
    n_fft: int
    hop_size: int
    win_size: int
    sampling_rate: int
    fmin: float
    fmax: float | None
    upsample_initial_channel: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    leaky_relu_slope: float = 0.1

    def mel(self) -> dict[str, Any]:
        """Return all that is known of its spectrogram."""
        return {
            "rate": self.sampling_rate,
            "n_fft": self.n_fft,
            "win": self.win_size,
            "hop": self.hop_size,
            "n_mels": self.num_mels,
            "fmin": self.fmin,
            "fmax": self.fmax,
        }


def load(source: str, mel: Mapping[str, Any] | None = None) -> HifiGan:
    """Return the vocoder of a SpeechT5HifiGan folder, of the pipeline folder around it or of a hub id, in eval mode.

    mel: settings of its `MelSpec`, where they are other than `MEL`: the folder does not tell them.
    Raises `CheckpointError`, `ConfigError`.
    """
    folder = fetch(source, [f"{place}{name}" for place in ("", "vocoder/") for name in (CONFIG, WEIGHTS, PICKLE)])
    for place in (folder, folder / "vocoder"):
        if any((place / name).exists() for name in (WEIGHTS, INDEX, PICKLE)):
            found = read_settings(place / CONFIG, TransformersSettings, "a SpeechT5HifiGan")
            tensors = read_weights(place)
            if not found.normalize_before:  # what is not used may be anything
                tensors["mean"], tensors["scale"] = torch.zeros(found.model_in_dim), torch.ones(found.model_in_dim)
            paired = not any(".convs." in name for name in tensors)
            return assemble(found, found.mel() | dict(mel or {}), tensors, source, paired=paired)
    raise CheckpointError(f"{source} holds no {WEIGHTS} nor {PICKLE}, nor a folder vocoder with one.")


def load_released(source: str, mel: Mapping[str, Any] | None = None) -> HifiGan:
    """Return the vocoder of a folder with the authors' `config.json` and one file of a generator, in eval mode.

    mel: settings of its `MelSpec`, where they are other than that `config.json` and `MEL` have it.
    Raises `CheckpointError`, `ConfigError`.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise ConfigError(f"{source} is no folder: give the one with {CONFIG} and the generator (generator_v1, g_...).")
    found = read_settings(folder / CONFIG, ReleasedSettings, "a HiFi-GAN")
    files = sorted(path for path in folder.iterdir() if re.match(r"g_|generator", path.name))
    if len(files) != 1:
        named = ", ".join(path.name for path in files) or "none"
        raise CheckpointError(f"{source} must hold one file of a generator (generator_v1, g_...), it holds: {named}.")
    values = pickles.read(files[0])
    inner = values.get("generator") if isinstance(values, Mapping) else None
    tensors = pickles.tensors(values if inner is None else inner, str(files[0]))
    bands = {"mean": torch.zeros(found.num_mels), "scale": torch.ones(found.num_mels)}
    renamed = {re.sub(r"^ups\.", "upsampler.", name): tensor for name, tensor in tensors.items()} | bands
    return assemble(found, found.mel() | dict(mel or {}), renamed, source, paired=found.resblock == "1")


def assemble(
    found: TransformersSettings | ReleasedSettings,
    mel: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    where: str,
    *,
    paired: bool,
) -> HifiGan:
    """Build the vocoder of settings and tensors. Raises `CheckpointError` unless these fit exactly."""
    settings = {
        "mel": MEL | dict(mel),
        "width": found.upsample_initial_channel,
        "rates": found.upsample_rates,
        "kernels": found.upsample_kernel_sizes,
        "residual_kernels": found.resblock_kernel_sizes,
        "dilations": found.resblock_dilation_sizes,
        "paired": paired,
        "slope": found.leaky_relu_slope,
    }
    try:
        config = validate(HifiGanConfig, settings, where)
    except ConfigError as error:
        raise CheckpointError(f"The settings of {where} are none that a HiFi-GAN can have. {error}") from error
    own = own_names(tensors, len(config.residual_kernels))
    with torch.device("meta"):
        model = HifiGan(config)
    check_fit(where, model.state_dict(), own)
    model.load_state_dict(own, assign=True)
    return model.eval()


def own_names(tensors: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Return tensors under the names that they have in a `HifiGan` of so many residual blocks a stage, in float32."""

    def block(match: re.Match) -> str:
        stage, place = divmod(int(match[1]), blocks)
        return f"stages.{stage}.blocks.{place}.{PARTS[match[2]]}."

    own = {}
    for name, tensor in tensors.items():
        name = re.sub(r"^upsampler\.(\d+)\.", r"stages.\1.up.", RESIDUAL.sub(block, name))
        for theirs, ours in WEIGHT_NORM.items():
            name = name.replace(theirs, ours)
        own[name] = tensor.float()
    for name in [name for name in own if name.endswith(".weight")]:  # saved without weight norm
        weight = own.pop(name)
        own[f"{name}_v"] = weight
        own[f"{name}_g"] = torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True)
    return own
