"""How well an autoencoder reconstructs spectrograms, and what is heard of them through a vocoder."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2a.data.skips import Skips
from t2a.errors import ConfigError, DataError
from t2a.evaluate.clips import sample, watched
from t2a.evaluate.evaluation import Evaluation
from t2a.metrics import quality
from t2a.metrics.interval import Interval, bootstrap
from t2a.metrics.signal import mel_distance, phase_distance, stft_distance
from t2a.metrics.spectrogram import detail, spectrogram_distance
from t2a.models.autoencoder import Autoencoder
from t2a.models.vocoder import GriffinLim, Vocoder, load_vocoder

LONGEST = 10.0  # seconds of each clip that are measured
TIMED_SECONDS, ROUNDS = 10.0, 3

Copy = Callable[[Tensor], Tensor]
"""What a system makes of a spectrogram [1, M, L]: another one, or a wave [1, 1, T]"""


@torch.inference_mode()
def evaluate_autoencoder(
    folder: Path, corpus: str, split: str, rows: int, *, listened: int = 16, vocoder: str | None = None, seed: int = 0
) -> Evaluation:
    """Figures of an autoencoder, of itself untrained and of each clip's mean frame, on whole clips.

    Of spectrograms: their distance in dB, and how much of their change from frame to frame is left. Of waves, for
    which Griffin-Lim, or a `vocoder`, makes sound of the spectrograms before and after: what is measured of a codec;
    ViSQOL hears `listened` of them. Raises `ConfigError` for a vocoder of other spectrograms.
    """
    model, skips = Autoencoder.from_pretrained(folder), Skips()
    spec, rate = model.config.mel, model.sample_rate
    copies, sounds, values = systems(model), heard(model, vocoder), defaultdict(list)
    scale = Moments(model.latent_shape[0])
    clips = sample(corpus, split, rows, seed, rate=rate, channels=1, longest=LONGEST, skips=skips)
    for clip in watched(clips, rows):
        wave = torch.from_numpy(clip.wave)[None]
        mel = model.mel(wave)
        scale.add(model.encode(mel))
        for system, copy in copies.items():
            for metric, value in spectrogram_figures(copy(mel), mel, spec.decibels).items():
                values[f"{metric}/{system}"].append(value)
        for system, sound in sounds.items():
            for metric, value in wave_figures(sound(mel), wave, rate, listens=clip.turn < listened).items():
                values[f"{metric}/{system}"].append(value)
    if not values:
        raise DataError(f"No clip of {corpus} ({split}) can be used: {skips.counts}; prepare it again.")
    conditions = {
        "split": split,
        "seed": seed,
        "vocoder": vocoder,
        "clips": len(values["detail/autoencoder"]),
        "sample": f"drawn with seed {seed}; the first {LONGEST:g} s of each clip at {rate} Hz",
        "skipped": skips.counts,
        "left_out": {} if quality.available("visqol") else {"visqol": "visqol is not installed (t2a[quality])"},
        "latents": {"shape": list(model.latent_shape), "frame_rate": model.frame_rate, **scale.told()},
        "speed": speed(model),
    }
    return Evaluation(intervals(values | within(values, rivals(list(sounds)))), conditions)


def systems(model: Autoencoder) -> dict[str, Copy]:
    """Name -> what it makes of a spectrogram [1, M, L]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = Autoencoder(model.config).eval()
    return {
        "autoencoder": lambda mel: model.decode(model.encode(mel))[..., : mel.shape[-1]],
        "untrained": lambda mel: untrained.decode(untrained.encode(mel))[..., : mel.shape[-1]],
        "mean frame": lambda mel: mel.mean(-1, keepdim=True).expand_as(mel),
    }


def heard(model: Autoencoder, vocoder: str | None = None) -> dict[str, Copy]:
    """Name -> the wave [1, 1, T] of a spectrogram [1, M, L]: of the original one, and of what is decoded.

    Both are vocoded by a `vocoder`, if any, and by Griffin-Lim. Raises `ConfigError` for one of other spectrograms.
    """
    decoded, vocoders, sounds = systems(model)["autoencoder"], {}, {}
    if vocoder is not None:
        own = _vocoder(vocoder, model)
        vocoders[own.model_type] = own
    for name, vocode in (vocoders | {"Griffin-Lim": GriffinLim(model.config.mel)}).items():
        sounds[f"original through {name}"] = vocode
        sounds[f"autoencoder through {name}"] = lambda mel, vocode=vocode: vocode(decoded(mel))
    return sounds


def rivals(sounds: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of the names of `heard`: what is heard through a vocoder, each beside the same through Griffin-Lim."""
    pairs = zip(sounds[:-2], sounds[-2:], strict=False)
    return {f"{name} over Griffin-Lim": (name, other) for name, other in pairs}


def spectrogram_figures(decoded: Tensor, mel: Tensor, decibels: float) -> dict[str, float]:
    """Compare one spectrogram [1, M, L] with its original."""
    length = torch.tensor([mel.shape[-1]])
    distance = spectrogram_distance(decoded, mel, length, decibels)
    return {"spectrogram_distance": float(distance), "detail": float(detail(decoded, mel, length))}


def wave_figures(made: Tensor, wave: Tensor, rate: int, *, listens: bool) -> dict[str, float]:
    """Compare one wave [1, 1, T] with its original, as far as both reach; `listens`: by ViSQOL as well."""
    samples = min(made.shape[-1], wave.shape[-1])
    made, wave = made[..., :samples], wave[..., :samples]
    found = {
        "mel_distance": float(mel_distance(made, wave, rate)),
        "stft_distance": float(stft_distance(made, wave)),
        "phase_distance": float(phase_distance(made, wave)),
    }
    if listens and quality.available("visqol"):
        found["visqol"] = quality.visqol(made[0].numpy(), wave[0].numpy(), rate)
    return found


def intervals(values: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    """Mean and interval of each metric over the clips; what ViSQOL cannot judge, a clip too short, is no figure."""
    heard = {name: [value for value in measured if np.isfinite(value)] for name, measured in values.items()}
    return {name: bootstrap(measured) for name, measured in heard.items() if measured}


def within(values: Mapping[str, Sequence[float]], differences: Mapping[str, tuple[str, str]]) -> dict[str, list[float]]:
    """How far, clip by clip, every figure of a system is over that of its rival; `differences`: name -> both names."""
    found = {}
    for title, (system, rival) in differences.items():
        for metric in [name.removesuffix(f"/{system}") for name in values if name.endswith(f"/{system}")]:
            pairs = zip(values[f"{metric}/{system}"], values[f"{metric}/{rival}"], strict=True)
            found[f"{metric}/{title}"] = [one - other for one, other in pairs]
    return found


class Moments:
    """Mean and standard deviation over all values [1, C, ...] that are added, channel by channel."""

    def __init__(self, channels: int) -> None:
        self.count, self.total, self.squares = 0, np.zeros(channels), np.zeros(channels)

    def add(self, values: Tensor) -> None:
        """Count some more."""
        flat = values[0].flatten(1).double().numpy()
        self.count += flat.shape[1]
        self.total += flat.sum(1)
        self.squares += (flat**2).sum(1)

    def told(self) -> dict[str, Any]:
        """Return the largest mean and the smallest and largest deviation; latents should have 0, 1 and 1."""
        mean = self.total / self.count
        std = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        return {"mean": float(np.abs(mean).max()), "std": [float(std.min()), float(std.max())]}


@torch.inference_mode()
def speed(model: Autoencoder) -> dict[str, Any]:
    """Seconds of sound whose spectrogram is coded and decoded in a second: the median of some rounds of noise."""
    random = torch.Generator().manual_seed(0)
    mel = model.mel(0.1 * torch.randn(1, 1, round(TIMED_SECONDS * model.sample_rate), generator=random))
    z = model.encode(mel)
    model.decode(z)
    seconds: dict[str, list[float]] = {"encode": [], "decode": []}
    for _ in range(ROUNDS):
        start = time.perf_counter()
        model.encode(mel)
        between = time.perf_counter()
        model.decode(z)
        seconds["encode"].append(between - start)
        seconds["decode"].append(time.perf_counter() - between)
    found: dict[str, Any] = {name: TIMED_SECONDS / float(np.median(taken)) for name, taken in seconds.items()}
    return found | {"threads": torch.get_num_threads(), "seconds": TIMED_SECONDS}


def _vocoder(where: str, model: Autoencoder) -> Vocoder:
    """Load a vocoder of the autoencoder's spectrograms. Raises `ConfigError`."""
    vocoder = load_vocoder(where)
    if differing := vocoder.mel_spec.differing(model.config.mel):
        raise ConfigError(f"The vocoder {where} and the autoencoder make different spectrograms: {differing}.")
    return vocoder
