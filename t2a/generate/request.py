"""What can be asked of a generator, and which parts fit each other: everything else is refused before any work."""

import math
from collections.abc import Sequence

import psutil

from t2a.audio.spectral import MelSpec
from t2a.errors import CheckpointError, ConfigError
from t2a.models.autoencoder import Autoencoder
from t2a.models.codec import Codec
from t2a.models.denoiser import Denoiser
from t2a.models.lm import LM


def check_rows(prompts: Sequence[str], seeds: Sequence[int]) -> None:
    """Refuse prompts and seeds that do not make rows."""
    if isinstance(prompts, str) or not prompts:
        raise ConfigError("There is no prompt: give a list with at least one (it may be empty text).")
    if len(seeds) != len(prompts):
        raise ConfigError(f"There are {len(prompts)} prompts but {len(seeds)} seeds: give one seed for each.")
    check_seeds(seeds)


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that no generator of random numbers takes."""
    if wrong := [seed for seed in seeds if not 0 <= seed < 2**63]:
        raise ConfigError(f"The seed {wrong[0]} does not lie between 0 and 2^63 - 1: take one that does.")


def clip_samples(seconds: float, rate: int) -> int:
    """Return the samples of a clip of a duration, if there can be such a clip."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"A clip of {seconds} s cannot be made: ask for more than 0 s.")
    samples = round(seconds * rate)
    if samples == 0:
        raise ConfigError(f"{seconds:g} s is less than one sample at {rate} Hz: ask for more.")
    return samples


def check_seconds(seconds: float, longest: float) -> None:
    """Refuse clips that are longer than a model was trained on."""
    if seconds > longest:
        told = f"A clip of {seconds:g} s is longer than the {longest:g} s that this model was trained on"
        raise ConfigError(f"{told}: ask for less.")


def check_memory(needed: float, rows: int, seconds: float) -> None:
    """Refuse clips that need more bytes than are free."""
    if needed > (free := psutil.virtual_memory().available):
        told = f"{rows} clips of {seconds:g} s need {needed / 2**30:.1f} GiB of memory"
        raise ConfigError(f"{told}, {free / 2**30:.1f} GiB are free: ask for less.")


def check_guidance(guidance: float) -> None:
    """Refuse a guidance that means nothing."""
    if not 0 <= guidance <= 100:  # also when it is not a number
        raise ConfigError(f"guidance is {guidance}; it must be between 0 and 100.")


def check_codec(model: LM, codec: Codec) -> None:
    """Refuse a codec whose codes are not those of the model."""
    channels = model.config.channels  # that the codec codes one by one
    for name, own, found in (
        ("codebooks", model.config.codebooks, channels * codec.codebooks),
        ("bins", model.config.bins, codec.bins),
    ):
        fewer = channels == 1 and name == "codebooks" and own < found  # the first ones alone decode as well
        if own != found and not fewer:
            told = f"The language model has {own} {name}, the codec beside it gives {found}"
            raise CheckpointError(f"{told}: put the codec there that it was trained with.")
    if channels > 1 and codec.channels > 1:
        raise CheckpointError(f"The language model has {channels} channels of a mono codec, its codec is none.")
    if codec.config.normalise:
        raise CheckpointError("The codec beside the language model normalises the loudness, which codes do not hold.")


def check_latents(model: Denoiser, autoencoder: Autoencoder, vocoder: MelSpec) -> None:
    """Refuse an autoencoder whose latents are not those of the model, and a vocoder of other spectrograms."""
    own, found = model.config.latent, autoencoder.latent_shape
    if own != found:
        told = f"The denoiser takes latents with frames of {own}, the autoencoder beside it gives {found}"
        raise CheckpointError(f"{told}: put the autoencoder there that it was trained with.")
    if differing := autoencoder.config.mel.differing(vocoder):
        told = f"The autoencoder and the vocoder are made for different spectrograms: {differing}"
        raise CheckpointError(f"{told}; put a vocoder of the same spectrograms beside the model.")
