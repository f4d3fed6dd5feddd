"""How near a vocoder comes to the waves that spectrograms are made of, beside Griffin-Lim, and how fast it is."""

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2a.audio.spectral import MelSpectrogram
from t2a.data.skips import Skips
from t2a.errors import DataError
from t2a.evaluate.autoencoder import LONGEST, ROUNDS, TIMED_SECONDS, intervals, wave_figures, within
from t2a.evaluate.clips import sample, watched
from t2a.evaluate.evaluation import Evaluation
from t2a.metrics import quality
from t2a.models.vocoder import GriffinLim, Vocoder, load_vocoder

RIVALS = {"vocoder over griffin-lim": ("vocoder", "griffin-lim")}

Vocode = Callable[[Tensor], Tensor]


@torch.inference_mode()
def evaluate_vocoder(
    folder: Path, corpus: str, split: str, rows: int, *, listened: int = 16, seed: int = 0
) -> Evaluation:
    """Figures of the waves that a vocoder, the same untrained and Griffin-Lim make of the clips' spectrograms.

    Distances of spectra and of how phases go on, since a spectrogram tells nothing of where they begin; ViSQOL hears
    `listened` of the clips.
    """
    model, skips = load_vocoder(folder), Skips()
    made_by, spectrogram, rate = systems(model), MelSpectrogram(model.mel_spec), model.sample_rate
    values = defaultdict(list)
    clips = sample(corpus, split, rows, seed, rate=rate, channels=1, longest=LONGEST, skips=skips)
    for clip in watched(clips, rows):
        wave = torch.from_numpy(clip.wave)[None]
        mel = spectrogram(wave[:, 0])
        for system, vocode in made_by.items():
            for metric, value in wave_figures(vocode(mel), wave, rate, listens=clip.turn < listened).items():
                values[f"{metric}/{system}"].append(value)
    if not values:
        raise DataError(f"No clip of {corpus} ({split}) can be used: {skips.counts}; prepare it again.")
    conditions = {
        "split": split,
        "seed": seed,
        "clips": len(values["mel_distance/vocoder"]),
        "sample": f"drawn with seed {seed}; the first {LONGEST:g} s of each clip at {rate} Hz",
        "skipped": skips.counts,
        "left_out": {} if quality.available("visqol") else {"visqol": "visqol is not installed (t2a[quality])"},
        "speed": speed(model) | {"griffin_lim": speed(GriffinLim(model.mel_spec))["vocode"]},
    }
    return Evaluation(intervals(values | within(values, RIVALS)), conditions)


def systems(model: Vocoder) -> dict[str, Vocode]:
    """Name -> what makes a wave [1, 1, T] of a spectrogram [1, M, L]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = type(model)(model.config).eval()
    return {"vocoder": model.fold(), "untrained": untrained, "griffin-lim": GriffinLim(model.mel_spec)}


@torch.inference_mode()
def speed(model: Vocoder | GriffinLim) -> dict[str, Any]:
    """Seconds of sound made in a second: the median of some rounds of one clip of noise."""
    random = torch.Generator().manual_seed(0)
    wave = 0.1 * torch.randn(1, round(TIMED_SECONDS * model.sample_rate), generator=random)
    mel = MelSpectrogram(model.mel_spec)(wave)
    model(mel)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        model(mel)
        seconds.append(time.perf_counter() - start)
    rate = TIMED_SECONDS / float(np.median(seconds))
    return {"vocode": rate, "threads": torch.get_num_threads(), "seconds": TIMED_SECONDS}
