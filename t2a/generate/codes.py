"""Precompute a codec's codes for a corpus, and what condition encoders make of it.

A language model then trains without decoding audio and without running a text encoder.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.audio.io import AudioError, decode
from t2a.audio.transform import resample, to_channels
from t2a.conditions.encoders import EncoderConfig
from t2a.data.schema import SPLITS, pack_codes
from t2a.data.shards import Manifest, read_manifest, read_rows, write_shards
from t2a.data.skips import Skips
from t2a.errors import ConfigError
from t2a.generate.states import StateEncoder
from t2a.models.codec import Codec
from t2a.models.pretrained import locate, read_config

WINDOW = 64  # clips in memory at a time, among which those of equal length are encoded together
BATCH_SECONDS = 80.0  # of sound that the codec sees at once


class CodeEncoder:
    """Encodes waves with a trained codec; a wave's codes do not depend on what is encoded beside it."""

    def __init__(self, model: str | Path, device: torch.device | str = "cpu"):
        folder = locate(model)
        model_type = read_config(folder).get("model_type")
        if model_type != "codec":
            raise ConfigError(f"{model} holds a {model_type}, codes are made by a codec: give the folder of one.")
        self.device = torch.device(device)
        self.codec = Codec.from_pretrained(folder).to(self.device)
        self.fingerprint = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()

    @torch.inference_mode()
    def __call__(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:
        """Turn waves [C, T] at the codec's rate and channels into codes [K, ceil(T / hop)].

        Padding a wave would change its last frames, so only waves of one length share a batch.
        """
        by_length: dict[int, list[int]] = defaultdict(list)
        for index, wave in enumerate(waves):
            by_length[wave.shape[1]].append(index)
        codes: dict[int, NDArray[np.int64]] = {}
        for length, indices in by_length.items():
            at_once = max(1, int(BATCH_SECONDS * self.codec.sample_rate / length))
            for begin in range(0, len(indices), at_once):
                chosen = indices[begin : begin + at_once]
                batch = torch.from_numpy(np.stack([waves[index] for index in chosen])).to(self.device)
                encoded = self.codec.encode(batch)
                codes |= zip(chosen, encoded.cpu().numpy(), strict=True)
        return [codes[index] for index in range(len(waves))]


def precompute_codes(
    corpus_uri: str,
    out_uri: str,
    codec: str,
    *,
    encoders: Mapping[str, EncoderConfig] | None = None,
    overwrite: bool = False,
    max_skipped: float = 0.05,
    device: torch.device | str = "cpu",
) -> Manifest:
    """Write the corpus of codes beside a corpus of audio: same ids, captions, splits and free columns.

    The states of `encoders` (by the condition's name) become columns: of every caption, or of the sound.
    Raises `DataError` when more than `max_skipped` of the clips cannot be decoded, `ConfigError` when `codec` is none.
    """
    source, encoder, skips = read_manifest(corpus_uri), CodeEncoder(codec, device), Skips()
    if source.kind != "audio":
        raise ConfigError(f"{corpus_uri} is a corpus of {source.kind}: give the corpus of audio it was made from.")
    made_from = {"corpus": corpus_uri, "codec": codec, "codec_sha256": encoder.fingerprint}
    states = StateEncoder(encoders or {}, device)
    rows = _code_rows(corpus_uri, source, encoder, states, skips, max_skipped)
    return write_shards(
        rows, out_uri, kind="codes", overwrite=overwrite, skips=skips, made_from=made_from, states=states.columns
    )


def _code_rows(
    uri: str, source: Manifest, encoder: CodeEncoder, states: StateEncoder, skips: Skips, max_skipped: float
) -> Iterator[dict[str, Any]]:
    """Rows of codes in the order of the corpus, behind a progress bar."""
    from rich.progress import track

    rows = (row for split in SPLITS for row in read_rows(uri, split))
    total = sum(shard.rows for shard in source.shards)
    rows = iter(track(rows, "Encoding", total=total, console=_stderr(), transient=True))
    while window := list(islice(rows, WINDOW)):
        readable = [(row, wave) for row in window if (wave := _wave(row, encoder.codec, skips)) is not None]
        waves = [wave for _, wave in readable]
        told = states([row["captions"] for row, _ in readable], waves, encoder.codec.sample_rate)
        for (row, _), codes, columns in zip(readable, encoder(waves), told, strict=True):
            yield _code_row(row, codes, encoder.codec.frame_rate) | columns
    skips.check(max_skipped, uri)


def _wave(row: Mapping[str, Any], codec: Codec, skips: Skips) -> NDArray[np.float32] | None:
    """The clip of a row as the codec wants it, or None, counted."""
    try:
        wave, rate = decode(row["audio"]["bytes"])
    except AudioError as error:
        skips.skip(error.reason, row["id"])
        return None
    skips.keep()
    return resample(to_channels(wave, codec.channels), rate, codec.sample_rate)


def _code_row(row: Mapping[str, Any], codes: NDArray[np.int64], frame_rate: float) -> dict[str, Any]:
    """A row of audio with codes in the place of the audio."""
    of_audio = {"audio", "sample_rate", "channels"}
    kept = {name: value for name, value in row.items() if name not in of_audio}
    return kept | {"codes": pack_codes(codes), "frame_rate": frame_rate}


def _stderr() -> Any:
    from rich.console import Console

    return Console(stderr=True)
