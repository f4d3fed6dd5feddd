"""How well a codec reconstructs at each of its bit rates, beside what else there is, and how fast it is."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.data.skips import Skips
from t2a.errors import DataError
from t2a.evaluate.clips import Clip, sample, watched
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.systems import Entropy, compared
from t2a.metrics import codes as statistics
from t2a.metrics import quality
from t2a.metrics.coders import Coded, Wave
from t2a.metrics.interval import Interval, bootstrap
from t2a.metrics.signal import mel_distance, si_snr, stft_distance
from t2a.models import segments
from t2a.models.codec import Codec

LONGEST = 5.0  # seconds of each clip that are measured
SPEECH = re.compile(r"\b(speech|speak\w*|spoke\w*|talk\w*|voices?|says?|said|saying|conversation|narrat\w+)\b", re.I)
SPEECH_CLIPS = 5  # with fewer clips of speech than these, PESQ and STOI say nothing
TIMED_SECONDS, ROUNDS = 10.0, 3

Values = dict[str, list[float]]


def evaluate_codec(
    folder: Path,
    corpus: str,
    split: str,
    rows: int,
    *,
    listened: int = 16,
    seed: int = 0,
    entropy: Entropy | None = None,
) -> Evaluation:
    """Figures of the codec with 1, 2, ... codebooks and of all that `compared` has beside it, on whole clips.

    ViSQOL, which takes a tenth of a second for each second of sound, hears `listened` of the clips; PESQ and STOI
    those whose captions speak of speech. `conditions` also holds the use of each codebook on the held-out codes, and
    the speed of encoding and decoding.
    """
    codec = Codec.from_pretrained(folder)
    systems, skips = compared(codec, entropy), Skips()
    rate = codec.sample_rate
    clips = sample(corpus, split, rows, seed, rate=rate, channels=codec.channels, longest=LONGEST, skips=skips)
    listeners = {name: judge for name, judge in LISTENERS.items() if quality.available(name)}
    values: Values = defaultdict(list)
    counts = np.zeros((codec.codebooks, codec.bins), np.int64)
    first: list[Wave] = []
    for clip in watched(clips, rows):
        wanted = [name for name in listeners if (clip.turn < listened if name == "visqol" else _is_speech(clip))]
        for system, run in systems.items():
            coded = run(clip.wave)
            measured = signal_figures(coded, clip.wave, rate) | {
                name: listeners[name](coded.wave, clip.wave, rate) for name in wanted
            }
            for metric, value in measured.items():
                values[f"{metric}/{system}"].append(value)
        with torch.inference_mode():
            held_out = segments.joined(segments.encode(codec, torch.from_numpy(clip.wave)[None])).codes[0].numpy()
        counts += statistics.count([held_out], codec.codebooks, codec.bins)
        if sum(wave.shape[1] for wave in first) < TIMED_SECONDS * rate:
            first.append(clip.wave)
    if not values:
        raise DataError(f"No clip of {corpus} ({split}) can be used: {skips.counts}; prepare it again.")
    figures, left_out = summed_up(values, listeners)
    conditions = {
        "split": split,
        "seed": seed,
        "clips": len(values["si_snr/codec"]),
        "sample": f"drawn with seed {seed}; the first {LONGEST:g} s of each clip at {rate} Hz",
        "skipped": skips.counts,
        "left_out": left_out,
        "codebooks": codebook_use(counts),
        "speed": speed(codec, np.concatenate(first, 1)),
    }
    return Evaluation(figures, conditions)


LISTENERS: Mapping[str, Callable[[Wave, Wave, int], float]] = {
    "visqol": quality.visqol,
    "pesq": quality.pesq,
    "stoi": quality.stoi,
}


def signal_figures(coded: Coded, wave: Wave, rate: int) -> dict[str, float]:
    """Distances of a decoded wave [C, T] from its original, and its kbit/s."""
    estimate, target = (torch.from_numpy(x)[None] for x in (coded.wave, wave))
    seconds = wave.shape[1] / rate
    found = {
        "bit_rate": coded.bits / seconds / 1000,
        "si_snr": float(si_snr(estimate, target)),
        "mel_distance": float(mel_distance(estimate, target, rate)),
        "stft_distance": float(stft_distance(estimate, target)),
    }
    if coded.container:
        found["container_rate"] = coded.container / seconds / 1000
    if coded.bits_coded is not None:
        found["bit_rate_coded"] = coded.bits_coded / seconds / 1000
    return found


def summed_up(values: Values, installed: Iterable[str]) -> tuple[dict[str, Interval], dict[str, str]]:
    """Return the intervals over clips, and why a metric is missing or of how many clips it says nothing."""
    left_out = {
        name: f"{quality.PACKAGES[name]} is not installed (t2a[quality])" for name in LISTENERS if name not in installed
    }
    figures = {}
    for name, measured in values.items():
        metric, finite = name.split("/", 1)[0], [value for value in measured if np.isfinite(value)]
        least = SPEECH_CLIPS if metric in ("pesq", "stoi") else 1
        if len(finite) < len(measured):
            left_out[metric] = f"{len(measured) - len(finite)} of {len(measured)} clips are too short or have no sound"
        if len(finite) >= least:
            figures[name] = bootstrap(finite)
    for name in ("pesq", "stoi"):
        if name in installed and f"{name}/codec" not in figures:
            found = len(values.get(f"{name}/codec", []))
            left_out[name] = f"{found} clips have captions that name speech, it needs {SPEECH_CLIPS} it can judge"
    return figures, left_out


def codebook_use(counts: NDArray[np.int64]) -> list[dict[str, float]]:
    """Share of the codes that occur and perplexity of their frequencies, codebook by codebook, of counts [K, V]."""
    used, spread = statistics.usage(counts), statistics.perplexity(statistics.unigram_entropy(counts))
    frames = int(counts[0].sum())
    return [{"usage": float(u), "perplexity": float(p), "frames": frames} for u, p in zip(used, spread, strict=True)]


@torch.inference_mode()
def speed(codec: Codec, wave: Wave) -> dict[str, Any]:
    """Seconds of sound coded and decoded in a second, with all codebooks: the median of some rounds of one clip."""
    samples = round(TIMED_SECONDS * codec.sample_rate)
    repeated = np.tile(wave, (1, -(-samples // wave.shape[1])))
    batch = torch.from_numpy(repeated[None, :, :samples].copy())
    parts = segments.encode(codec, batch)
    segments.decode(codec, parts)
    seconds: dict[str, list[float]] = {"encode": [], "decode": []}
    for _ in range(ROUNDS):
        start = time.perf_counter()
        segments.encode(codec, batch)
        between = time.perf_counter()
        segments.decode(codec, parts)
        seconds["encode"].append(between - start)
        seconds["decode"].append(time.perf_counter() - between)
    found: dict[str, Any] = {name: TIMED_SECONDS / float(np.median(taken)) for name, taken in seconds.items()}
    return found | {"threads": torch.get_num_threads(), "seconds": TIMED_SECONDS}


def _is_speech(clip: Clip) -> bool:
    return any(SPEECH.search(caption) for caption in clip.captions)
