"""Precompute what a frozen model makes of every clip of a corpus, and what condition encoders make of it.

A language model or a denoiser then trains without decoding audio and without running an encoder.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.audio.io import EMPTY, AudioError, decode
from t2a.audio.transform import resample, to_channels
from t2a.conditions.encoders import EncoderConfig
from t2a.data.schema import SPLITS, Kind
from t2a.data.shards import Manifest, check_apart, read_manifest, read_rows, write_shards
from t2a.data.skips import Skips
from t2a.errors import ConfigError
from t2a.generate.states import StateEncoder

WINDOW = 64  # clips in memory at a time, among which those of equal length are encoded together
BATCH_SECONDS = 80.0  # of sound that a model sees at once
OF_AUDIO = {"audio", "sample_rate", "channels"}  # columns that give way to what is computed


class ClipEncoder(Protocol):
    """A frozen model that makes columns of waves; those of one wave do not depend on what is encoded beside it."""

    kind: Kind
    """of the corpus that comes of it"""

    @property
    def sample_rate(self) -> int:
        """Hz of the waves that it takes."""
        ...

    @property
    def channels(self) -> int:
        """C of the waves that it takes."""
        ...

    @property
    def frame_rate(self) -> float:
        """Frames a second of what it makes."""
        ...

    def columns(self, waves: Sequence[NDArray[np.float32]]) -> list[dict[str, Any]]:
        """Make the columns of rows of their waves [C, T]."""
        ...


def precompute(
    corpus_uri: str,
    out_uri: str,
    encoder: ClipEncoder,
    made_from: Mapping[str, Any],
    *,
    encoders: Mapping[str, EncoderConfig] | None = None,
    overwrite: bool = False,
    max_skipped: float = 0.05,
    device: torch.device | str = "cpu",
) -> Manifest:
    """Write a corpus beside one of audio: same ids, captions, splits and free columns.

    The states of `encoders` (by the condition's name) become columns: of every caption, or of the sound.
    Raises `DataError` when more than `max_skipped` of the clips cannot be decoded or the corpus would be overwritten,
    `ConfigError` for a corpus of something else.
    """
    check_apart(corpus_uri, out_uri)
    source, skips = read_manifest(corpus_uri), Skips()
    if source.kind != "audio":
        raise ConfigError(f"{corpus_uri} is a corpus of {source.kind}: give the corpus of audio it was made from.")
    states = StateEncoder(encoders or {}, device)
    rows = _rows(corpus_uri, source, encoder, states, skips, max_skipped)
    made = {"corpus": corpus_uri, **made_from}
    kind = encoder.kind
    return write_shards(rows, out_uri, kind, overwrite=overwrite, skips=skips, made_from=made, states=states.columns)


def of_equal_length(waves: Sequence[NDArray[np.float32]], rate: int) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yield batches [B, C, T] of waves of one length, with their places: padding would change their last frames."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, wave in enumerate(waves):
        by_length[wave.shape[1]].append(index)
    for length, indices in by_length.items():
        at_once = max(1, int(BATCH_SECONDS * rate / length))
        for begin in range(0, len(indices), at_once):
            chosen = indices[begin : begin + at_once]
            yield chosen, torch.from_numpy(np.stack([waves[index] for index in chosen]))


def _rows(
    uri: str, source: Manifest, encoder: ClipEncoder, states: StateEncoder, skips: Skips, max_skipped: float
) -> Iterator[dict[str, Any]]:
    """Rows in the order of the corpus, behind a progress bar."""
    from rich.progress import track

    rows = (row for split in SPLITS for row in read_rows(uri, split))
    total = sum(shard.rows for shard in source.shards)
    rows = iter(track(rows, "Encoding", total=total, console=_stderr(), transient=True))
    while window := list(islice(rows, WINDOW)):
        readable = [(row, wave) for row in window if (wave := _wave(row, encoder, skips)) is not None]
        waves = [wave for _, wave in readable]
        told = states([row["captions"] for row, _ in readable], waves, encoder.sample_rate)
        for (row, _), made, columns in zip(readable, encoder.columns(waves), told, strict=True):
            kept = {name: value for name, value in row.items() if name not in OF_AUDIO}
            yield kept | {"frame_rate": encoder.frame_rate} | made | columns
    skips.check(max_skipped, uri)


def _wave(row: Mapping[str, Any], encoder: ClipEncoder, skips: Skips) -> NDArray[np.float32] | None:
    """The clip of a row as the model wants it, or None, counted."""
    try:
        wave, rate = decode(row["audio"]["bytes"])
    except AudioError as error:
        skips.skip(error.reason, row["id"])
        return None
    wave = resample(to_channels(wave, encoder.channels), rate, encoder.sample_rate)
    if not wave.shape[1]:  # a sample or two, at a lower rate
        skips.skip(EMPTY, row["id"])
        return None
    skips.keep()
    return wave


def _stderr() -> Any:
    from rich.console import Console

    return Console(stderr=True)
