"""Audio to be continued: brought to a codec's rate and channels, and turned into its codes."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2a.audio.io import check
from t2a.audio.transform import resample, to_channels
from t2a.errors import ConfigError
from t2a.models.codec import Codec
from t2a.tokens.channels import interleave


def prompt_codes(
    codec: Codec,
    wave: NDArray[np.float32],
    rate: int,
    longest: int,
    frames: int,
    channels: int = 1,
    codebooks: int | None = None,
) -> Tensor:
    """Return codes [1, K, P] of the whole frames of a wave [C, T] at any rate.

    What is left of its end would be half silence.
    longest: frames of the model's window. frames: of the clip that it will begin. channels: that the codec codes one
    by one, to be interleaved. codebooks: of each, by default all.
    Raises `ConfigError` for audio that has to be shorter than these, before anything is computed, and `DataError` for a
    wave that is none.
    """
    if wave.ndim != 2 or rate <= 0:
        told = f"{list(wave.shape)} at {rate} Hz"
        raise ConfigError(f"The audio to continue must be a wave [C, T] at a rate above 0, not {told}.")
    check(wave, "The audio to continue")
    seconds = wave.shape[1] / rate
    found = math.floor(seconds * codec.frame_rate + 1e-9)
    for limit, what, remedy in (
        (longest, "the model reads", "give its last part"),
        (frames, "the clip has", "ask for more seconds, all in all"),
    ):
        if found >= limit:
            length = f"{limit / codec.frame_rate:g} s"
            raise ConfigError(
                f"The audio to continue is {seconds:g} s, but must be shorter than the {length} that {what}: {remedy}."
            )
    if found == 0:
        raise ConfigError(f"The audio to continue is {seconds:g} s, less than one frame: give more of it.")
    try:
        wave = to_channels(wave, channels * codec.channels)
    except ValueError as error:
        raise ConfigError(f"The audio to continue does not fit the codec: {error}.") from error
    wave = resample(wave, rate, codec.sample_rate)[:, : found * codec.hop]
    wave = np.pad(wave, [(0, 0), (0, found * codec.hop - wave.shape[1])])  # resampling may be a sample short
    like = next(codec.encoder.parameters())
    rows = torch.from_numpy(wave).unflatten(0, (channels, -1)).to(like.device, like.dtype)
    return interleave(codec.encode(rows, codebooks), channels)
