"""Precompute an autoencoder's latents for a corpus: what a denoiser trains on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.conditions.encoders import EncoderConfig
from t2a.data.schema import Kind, pack_latents
from t2a.data.shards import Manifest
from t2a.errors import CheckpointError, ConfigError
from t2a.generate.precompute import of_equal_length, precompute
from t2a.models.autoencoder import Autoencoder
from t2a.models.pretrained import locate, read_config, weights_sha256


class LatentEncoder:
    """Encodes waves with a trained autoencoder; a wave's latents do not depend on what is encoded beside it."""

    kind: ClassVar[Kind] = "latents"
    channels = 1

    def __init__(self, model: str | Path, device: torch.device | str = "cpu"):
        folder = locate(model)
        model_type = read_config(folder).get("model_type")
        if model_type != "autoencoder":
            raise ConfigError(
                f"{model} holds a {model_type}, latents are made by an autoencoder: give the folder of one."
            )
        self.model, self.device = str(model), torch.device(device)
        self.autoencoder = Autoencoder.from_pretrained(folder).to(self.device)
        self.fingerprint = weights_sha256(folder)

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.autoencoder.sample_rate

    @property
    def frame_rate(self) -> float:
        """Frames of latents a second."""
        return self.autoencoder.frame_rate

    @torch.inference_mode()
    def __call__(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Turn waves [1, T] at the autoencoder's rate into standardised latents [C, (F,) L]."""
        latents: dict[int, NDArray[np.float32]] = {}
        for places, batch in of_equal_length(waves, self.sample_rate):
            made = self.autoencoder.encode(self.autoencoder.mel(batch.to(self.device)))
            latents |= zip(places, made.float().cpu().numpy(), strict=True)
        return [latents[index] for index in range(len(waves))]

    def columns(self, waves: Sequence[NDArray[np.float32]]) -> list[dict[str, Any]]:
        """Make the column `latents`. Raises `CheckpointError` where the autoencoder gives what cannot be stored."""
        try:
            return [{"latents": pack_latents(made)} for made in self(waves)]
        except ValueError as error:
            told = f"The latents of {self.model} cannot be stored: {error}"
            raise CheckpointError(f"{told}; the autoencoder is broken, use another checkpoint.") from error


def precompute_latents(
    corpus_uri: str,
    out_uri: str,
    autoencoder: str,
    *,
    encoders: Mapping[str, EncoderConfig] | None = None,
    overwrite: bool = False,
    max_skipped: float = 0.05,
    device: torch.device | str = "cpu",
) -> Manifest:
    """Write the corpus of latents beside a corpus of audio; see `precompute`.

    Raises what `precompute` raises, and `ConfigError` when `autoencoder` is none.
    """
    encoder = LatentEncoder(autoencoder, device)
    made_from = {"autoencoder": autoencoder, "autoencoder_sha256": encoder.fingerprint}
    options = {"encoders": encoders, "overwrite": overwrite, "max_skipped": max_skipped, "device": device}
    return precompute(corpus_uri, out_uri, encoder, made_from, **options)
