"""Import a whole AudioLDM in diffusers' layout: a local folder, or a model of the Hugging Face hub.

Its U-Net, autoencoder, vocoder and text encoder go into one model folder, which needs no network. What its scheduler
says of sampling is not taken over: that is asked for at each generation (there it is DDIM with a guidance of 2.5).
"""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from t2a.audio.spectral import MelSpec
from t2a.conditions import weights
from t2a.conditions.clap import ClapTextConfig
from t2a.conditions.encoders import EncodersFile
from t2a.config import dump, validate
from t2a.diffusion.process import DiffusionConfig
from t2a.errors import CheckpointError, ConfigError
from t2a.interop import diffusers_unet, diffusers_vae, hifigan, huggingface
from t2a.interop.encodec import refuse
from t2a.interop.folder import written
from t2a.models.autoencoder import Autoencoder
from t2a.models.denoiser import Denoiser
from t2a.models.vocoder import HifiGan

SECONDS = 10.24  # of the clips that the released models were trained on; their folders name half of it
TEXT = "text"  # the condition, and the folder of its encoder in the model folder
INDEX, SCHEDULER, TOKENIZER = "model_index.json", "scheduler/scheduler_config.json", "tokenizer"
PARTS = {
    "unet": diffusers_unet.WEIGHTS,
    "vae": diffusers_vae.WEIGHTS,
    "vocoder": huggingface.WEIGHTS,
    "text_encoder": huggingface.WEIGHTS,
}
FILES = (INDEX, SCHEDULER, *(f"{part}/{name}" for part, file in PARTS.items() for name in ("config.json", file)))
WORDS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
         "merges.txt")  # fmt: skip
PREDICTIONS = {"epsilon": "eps", "v_prediction": "v"}


class IndexSettings(BaseModel):
    """What of a pipeline's `model_index.json` matters here."""

    class_name: str = Field(alias="_class_name")


class SchedulerSettings(BaseModel):
    """The part of a scheduler's config that the model was trained with; the defaults are those of diffusers."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: list[float] | None = None
    prediction_type: str = "epsilon"
    rescale_betas_zero_snr: bool = False
    clip_sample: bool = False  # true in diffusers where a DDIM does not tell; every pipeline that is saved does
    thresholding: bool = False


class TextSettings(BaseModel):
    """Of a ClapTextModelWithProjection; the defaults are those of ClapTextConfig."""

    model_type: Literal["clap_text_model"]
    max_position_embeddings: int = 514
    pad_token_id: int = 1
    projection_dim: int = 512

    @property
    def max_tokens(self) -> int:
        """The longest caption: positions are counted from behind that of padding, as in RoBERTa."""
        return self.max_position_embeddings - self.pad_token_id - 1


class AudioLDM(NamedTuple):
    """The parts of a model, as they were written."""

    model: Denoiser
    autoencoder: Autoencoder
    vocoder: HifiGan


def convert(source: str, out: str, mel: Mapping[str, Any] | None = None, seconds: float = SECONDS) -> str:
    """Write the pipeline of a folder or hub id as the model folder `out`, local or on s3://, and say what it is.

    mel: settings of its `MelSpec` that are other than AudioLDM's; rate, hop and bands are those of its vocoder.
    seconds: of the longest clip. The folder appears whole or not at all. Raises `CheckpointError`, `ConfigError`.
    """
    model, autoencoder, vocoder = written(lambda folder: fill(folder, source, mel or {}, seconds), out)
    sizes = [sum(parameter.numel() for parameter in part.parameters()) / 1e6 for part in (model, autoencoder, vocoder)]
    return (
        f"a denoiser of {sizes[0]:.2f} M parameters with an autoencoder of {sizes[1]:.2f} M and a vocoder of "
        f"{sizes[2]:.2f} M, told text by clap_text; {autoencoder.sample_rate:,} Hz, {autoencoder.frame_rate:g} latent "
        f"frames/s of {' x '.join(map(str, autoencoder.latent_shape))}, up to "
        f"{model.config.max_frames / autoencoder.frame_rate:g} s"
    )


def fill(folder: Path, source: str, mel: Mapping[str, Any], seconds: float) -> AudioLDM:
    """Write all parts into a new local folder. Raises `CheckpointError`, `ConfigError`."""
    found = find(source)
    text = huggingface.read_settings(found / "text_encoder" / "config.json", TextSettings, "the text tower of a CLAP")
    vocoder = vocoder_of(found, mel, source)
    autoencoder = diffusers_vae.load(str(found / "vae"), vocoder.mel_spec)
    model = denoiser(found, autoencoder, text.projection_dim, seconds, source)
    encoder = ClapTextConfig(kind="clap_text", name=TEXT, max_tokens=text.max_tokens)
    folder.mkdir()
    copy_text(found, folder / TEXT)
    with torch.no_grad():
        model.nulls[TEXT].copy_(of_nothing(folder / TEXT, encoder))
    model.save_pretrained(folder)
    autoencoder.save_pretrained(folder / "autoencoder")
    vocoder.save_pretrained(folder / "vocoder")
    (folder / EncodersFile.NAME).write_text(dump(EncodersFile(encoders={TEXT: encoder})), encoding="utf-8")
    return AudioLDM(model, autoencoder, vocoder)


def find(source: str) -> Path:
    """Return the local folder of a whole AudioLDM, downloaded where `source` is an id of the hub.

    Raises `CheckpointError` for one that lacks a part, and for another pipeline.
    """
    folder = huggingface.fetch(source, [*FILES, f"{TOKENIZER}/*"], instead=FILES[0])
    missing = [name for name in FILES if not (folder / name).is_file()]
    words = {name for name in WORDS if (folder / TOKENIZER / name).is_file()}
    if "tokenizer.json" not in words and not {"vocab.json", "merges.txt"} <= words:
        missing.append(f"{TOKENIZER}/tokenizer.json")
    if missing:
        raise CheckpointError(
            f"{source} is no whole AudioLDM in diffusers' layout, it has no {', '.join(missing)}: save the pipeline "
            "again with all its parts, weights as safetensors; pickles are not read."
        )
    index = huggingface.read_settings(folder / INDEX, IndexSettings, "a pipeline of diffusers")
    refuse(source, {"_class_name": (index.class_name, "AudioLDMPipeline")})
    return folder


def vocoder_of(folder: Path, mel: Mapping[str, Any], where: str) -> HifiGan:
    """Load the vocoder; what its folder does not tell of its spectrogram is as AudioLDM's, but for `mel`."""
    place = folder / "vocoder"
    told = huggingface.read_settings(place / "config.json", hifigan.TransformersSettings, "a SpeechT5HifiGan").mel()
    spec = validate(MelSpec, diffusers_vae.AUDIOLDM.model_dump() | told | dict(mel), f"{where}: its spectrogram")
    return hifigan.load(str(place), spec.model_dump())


def denoiser(folder: Path, autoencoder: Autoencoder, width: int, seconds: float, where: str) -> Denoiser:
    """Load the U-Net, which is told vectors of a width. Raises `CheckpointError` where parts do not fit each other."""
    found = huggingface.read_settings(
        folder / "unet" / "config.json", diffusers_unet.Settings, "a UNet2DConditionModel"
    )
    channels, bands = autoencoder.latent_shape
    refuse(
        where,
        {
            "unet.class_embed_type": (found.class_embed_type, "simple_projection"),
            "unet.projection_class_embeddings_input_dim": (found.projection_class_embeddings_input_dim, width),
            "unet.in_channels": (found.in_channels, channels),
            "unet.out_channels": (found.out_channels, channels),
        },
    )
    frames = round(seconds * autoencoder.frame_rate) if math.isfinite(seconds) else 0
    if frames < 1:
        raise ConfigError(f"--seconds {seconds:g} is no frame of latents: give the longest clip's seconds.")
    return diffusers_unet.load(str(folder / "unet"), bands, frames, process(folder / SCHEDULER, where), condition=TEXT)


def process(path: Path, where: str) -> DiffusionConfig:
    """Return the process that a scheduler's config describes. Raises `CheckpointError`."""
    found = huggingface.read_settings(path, SchedulerSettings, "a scheduler of diffusers")
    refuse(
        where,
        {
            "scheduler.num_train_timesteps": (found.num_train_timesteps, 1000),  # what its U-Net tells apart
            "scheduler.trained_betas": (found.trained_betas, None),
            "scheduler.clip_sample": (found.clip_sample, False),
            "scheduler.thresholding": (found.thresholding, False),
        },
    )
    given = {
        "kind": "diffusion",
        "schedule": {"kind": found.beta_schedule, "start": found.beta_start, "end": found.beta_end},
        "prediction": PREDICTIONS.get(found.prediction_type, found.prediction_type),
        "zero_snr": found.rescale_betas_zero_snr,
    }
    try:
        return validate(DiffusionConfig, given, where)
    except ConfigError as error:
        raise CheckpointError(f"The scheduler of {where} describes no process that t2a has. {error}") from error


def copy_text(folder: Path, out: Path) -> None:
    """Put the text encoder and its tokenizer into one folder, as all text encoders lie."""
    out.mkdir()
    for place, names in (("text_encoder", ("config.json", PARTS["text_encoder"])), (TOKENIZER, WORDS)):
        for name in names:
            if (folder / place / name).is_file():
                shutil.copy2(folder / place / name, out / name)


@torch.no_grad()
def of_nothing(folder: Path, encoder: ClapTextConfig) -> Tensor:
    """Encode an empty caption [D], which is what AudioLDM tells its U-Net in the place of a caption."""
    tokenizer, network = weights.load(str(folder), "AutoTokenizer", encoder.network)
    return encoder.states(network, dict(tokenizer([""], return_tensors="pt")))[0][0, 0]
