"""A corpus that needs no network: procedurally made sounds, each determined by (seed, index)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from t2a.data.clips import Sound
from t2a.data.corpora.kinds import KINDS
from t2a.data.corpora.request import Request
from t2a.data.corpora.synthesis import Made, Take, faded

COUNT = 500
SECONDS_MIN = 1.0
LICENCE = "CC0-1.0"


def sounds(request: Request) -> Iterator[Sound]:
    """Give `request.count` sounds (500 when it is None), cycling through the kinds, 1 s to `seconds_max` long."""
    for index in range(COUNT if request.count is None else request.count):
        kind = list(KINDS)[index % len(KINDS)]
        made = make(request.seed, index, request.seconds_max, request.sample_rate)
        yield Sound(
            origin=f"{kind}-{request.seed}-{index:06d}",
            read=partial(_read, made, request.sample_rate),
            captions=made.captions,
            source="synthetic",
            licence=LICENCE,
            extra={"category": made.category},
        )


def make(seed: int, index: int, seconds_max: float, rate: int) -> Made:
    """Make one sound [T] float32 with a peak between 0.3 and 0.95; the same for the same arguments, on its own."""
    rng = np.random.default_rng([seed, index])
    seconds = float(rng.uniform(min(SECONDS_MIN, seconds_max), seconds_max))
    made = list(KINDS.values())[index % len(KINDS)](Take(rng, seconds, rate))
    wave = faded(made.wave, rate)
    wave = wave * (rng.uniform(0.3, 0.95) / np.abs(wave).max())
    return made._replace(wave=wave.astype(np.float32))


def _read(made: Made, rate: int) -> tuple[np.ndarray, int]:
    return made.wave[None], rate
