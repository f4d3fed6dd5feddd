"""Precompute a codec's codes for a corpus: what a language model trains on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.conditions.encoders import EncoderConfig
from t2a.data.schema import Kind, pack_codes
from t2a.data.shards import Manifest
from t2a.errors import ConfigError
from t2a.generate.precompute import of_equal_length, precompute
from t2a.models import segments
from t2a.models.codec import Codec
from t2a.models.pretrained import locate, read_config, weights_sha256
from t2a.tokens.channels import interleave


class Codes(NamedTuple):
    """What a wave is decoded from."""

    codes: NDArray[np.int64]
    """[K, L]"""
    scales: list[float] | None = None
    """of each segment, of a codec that normalises"""


class CodeEncoder:
    """Encodes waves with a trained codec; a wave's codes do not depend on what is encoded beside it.

    apart: channels that a mono codec codes one by one; their codebooks are interleaved, see `t2a.tokens.channels`.
    Raises `ConfigError` when `model` is no codec, or no mono one of loudness as it is where channels are taken apart.
    """

    kind: ClassVar[Kind] = "codes"

    def __init__(self, model: str | Path, device: torch.device | str = "cpu", apart: int = 1):
        folder = locate(model)
        model_type = read_config(folder).get("model_type")
        if model_type != "codec":
            raise ConfigError(f"{model} holds a {model_type}, codes are made by a codec: give the folder of one.")
        self.device = torch.device(device)
        self.codec, self.apart = Codec.from_pretrained(folder).to(self.device), apart
        if apart > 1 and (self.codec.channels > 1 or self.codec.config.normalise):
            what = "codes its channels together" if self.codec.channels > 1 else "normalises each channel's loudness"
            raise ConfigError(f"{model} {what}: {apart} channels are coded one by one by a mono codec that does not.")
        self.fingerprint = weights_sha256(folder)

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.codec.sample_rate

    @property
    def channels(self) -> int:
        """C of the waves."""
        return self.apart * self.codec.channels

    @property
    def frame_rate(self) -> float:
        """Frames of codes a second."""
        return self.codec.frame_rate

    @torch.inference_mode()
    def __call__(self, waves: Sequence[NDArray[np.float32]]) -> list[Codes]:
        """Turn waves [C, T] at the codec's rate into codes [K, ceil(T / hop)], K of all channels that are taken apart.

        A codec with segments makes each segment's after the other.
        """
        codes: dict[int, Codes] = {}
        for places, batch in of_equal_length(waves, self.sample_rate):
            parts = batch.to(self.device).unflatten(1, (self.apart, -1)).flatten(0, 1)
            encoded = segments.joined(segments.encode(self.codec, parts))
            scales = [None] * len(places) if encoded.scale is None else encoded.scale.tolist()
            found = interleave(encoded.codes, self.apart).cpu().numpy()
            codes |= zip(places, map(Codes, found, scales), strict=True)
        return [codes[index] for index in range(len(waves))]

    def columns(self, waves: Sequence[NDArray[np.float32]]) -> list[dict[str, Any]]:
        """Make the column `codes`, and `scales` of a codec that normalises."""
        return [
            {"codes": pack_codes(made.codes)} | ({} if made.scales is None else {"scales": made.scales})
            for made in self(waves)
        ]


def precompute_codes(
    corpus_uri: str,
    out_uri: str,
    codec: str,
    *,
    channels: int = 1,
    encoders: Mapping[str, EncoderConfig] | None = None,
    overwrite: bool = False,
    max_skipped: float = 0.05,
    device: torch.device | str = "cpu",
) -> Manifest:
    """Write the corpus of codes beside a corpus of audio; see `precompute`.

    channels: that a mono codec codes one by one, for a language model with as many `channels`.
    Codes of a codec that normalises have a column `scales` more, a loudness a segment: an entropy model can do without,
    a language model cannot, and its task refuses such a codec.
    Raises what `precompute` raises, and `ConfigError` when `codec` is none, or none that codes channels one by one.
    """
    encoder = CodeEncoder(codec, device, channels)
    made_from = {"codec": codec, "codec_sha256": encoder.fingerprint, "channels": channels}
    options = {"encoders": encoders, "overwrite": overwrite, "max_skipped": max_skipped, "device": device}
    return precompute(corpus_uri, out_uri, encoder, made_from, **options)
