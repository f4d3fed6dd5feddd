"""How well a codec reconstructs, against an untrained one and mu-law PCM at the same bit rate."""

from collections import defaultdict
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from t2a.audio.io import decode
from t2a.audio.transform import resample, to_channels
from t2a.data.shards import read_rows
from t2a.errors import DataError
from t2a.metrics import mulaw
from t2a.metrics.interval import Interval, bootstrap
from t2a.metrics.signal import mel_distance, si_snr, stft_distance
from t2a.models.codec import Codec

LONGEST = 5.0  # seconds of each clip that are measured

System = Callable[[Tensor], Tensor]


@torch.inference_mode()
def evaluate_codec(folder: Path, corpus: str, split: str, rows: int) -> dict[str, Interval]:
    """Figures of the codec with 1, 2, 4, ... codebooks, an untrained codec and mu-law PCM on whole clips."""
    codec = Codec.from_pretrained(folder)
    systems = compared(codec)
    values: dict[str, list[float]] = defaultdict(list)
    for clip in clips(corpus, split, rows, codec):
        for system, reconstruct in systems.items():
            estimate = reconstruct(clip)
            values[f"si_snr/{system}"].append(float(si_snr(estimate, clip)))
            values[f"mel_distance/{system}"].append(float(mel_distance(estimate, clip, codec.sample_rate)))
            values[f"stft_distance/{system}"].append(float(stft_distance(estimate, clip)))
    if not values:
        raise DataError(f"{corpus} has no rows in split '{split}' to evaluate on; prepare it with one.")
    return {name: bootstrap(measured) for name, measured in values.items()}


def compared(codec: Codec) -> dict[str, System]:
    """Name -> reconstruction of a wave [1, C, T], all exactly T samples long."""
    torch.manual_seed(0)
    untrained = Codec(codec.config).eval()
    systems: dict[str, System] = {"codec": lambda wave: codec(wave).audio}
    count = 1
    while count < codec.codebooks:
        systems[f"codec, {count} of {codec.codebooks} codebooks"] = lambda wave, k=count: codec(wave, k).audio
        count *= 2
    systems["untrained"] = lambda wave: untrained(wave).audio
    systems["mu-law"] = lambda wave: torch.from_numpy(
        mulaw.at_bit_rate(wave[0].numpy(), codec.sample_rate, codec.bit_rate)
    )[None]
    return systems


def clips(corpus: str, split: str, rows: int, codec: Codec):
    """The first `rows` clips [1, C, T] of a split, at the codec's rate and channels."""
    for row in islice(read_rows(corpus, split), rows):
        wave, rate = decode(row["audio"]["bytes"])
        wave = resample(to_channels(wave, codec.channels), rate, codec.sample_rate)
        yield torch.from_numpy(wave[None, :, : round(LONGEST * codec.sample_rate)].copy())
