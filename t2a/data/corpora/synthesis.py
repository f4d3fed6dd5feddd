"""Building blocks of made-up sounds: dice, noise, tones, sweeps, events, and the words for what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


class Made(NamedTuple):
    """A wave [T] of any level, its category, and true sentences about it."""

    wave: np.ndarray
    category: str
    captions: list[str]


@dataclass(frozen=True)
class Take:
    """One recording to be made: its length, its rate and its dice."""

    rng: np.random.Generator
    seconds: float
    rate: int

    @property
    def time(self) -> np.ndarray:
        return np.arange(round(self.seconds * self.rate)) / self.rate

    def choose(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def heads(self) -> bool:
        return bool(self.rng.integers(2))

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int, spacing: float) -> int:
        """How many events, at least `low`, so far as they fit with `spacing` seconds between them."""
        return int(self.rng.integers(low, max(low, min(high, int(self.seconds / spacing))) + 1))

    def noise(self, low: float, high: float, slope: float = 0.0) -> np.ndarray:
        """Noise between two frequencies in Hz, falling by `slope` powers of the frequency."""
        size = len(self.time)
        hertz = np.fft.rfftfreq(size, 1 / self.rate)
        band = ((hertz >= low) & (hertz <= high)) / np.maximum(hertz, 20.0) ** slope
        wave = np.fft.irfft(np.fft.rfft(self.rng.standard_normal(size)) * band, size)
        return wave / max(np.abs(wave).max(), 1e-9)

    def place(self, times: Sequence[float] | np.ndarray, make: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Add up `make(seconds since the event)` for events at `times`."""
        wave, time = np.zeros(len(self.time)), self.time
        for start in times:
            later = time >= start
            wave[later] += make(time[later] - start)
        return wave

    def bursts(self, times: Sequence[float] | np.ndarray, decay: float, low: float, high: float) -> np.ndarray:
        """Short noises between two frequencies, dying as exp(-decay * t)."""
        return self.noise(low, high) * np.clip(self.place(times, lambda t: np.exp(-decay * t)), 0, 1)

    def even(self, count: int, jitter: float = 0.0) -> np.ndarray:
        """Times of `count` events over the whole length, each a little off."""
        step = self.seconds / count
        return np.arange(count) * step + self.rng.uniform(0, 0.05 + jitter, count) * step


def tone(time: np.ndarray, hertz: float, partials: Sequence[float] = (1.0,), decay: float = 0.0) -> np.ndarray:
    """Harmonics of `hertz` at the given levels, the higher ones dying faster."""
    waves = [a * np.sin(2 * np.pi * hertz * (i + 1) * time - 0.1) * np.exp(-decay * (i + 1) * time)
             for i, a in enumerate(partials)]  # fmt: skip
    return np.sum(waves, axis=0)


def sweep(hertz: np.ndarray, rate: int) -> np.ndarray:
    """A sine whose frequency follows `hertz` [T]."""
    return np.sin(2 * np.pi * np.cumsum(hertz) / rate)


def faded(wave: np.ndarray, rate: int, seconds: float = 0.01) -> np.ndarray:
    """Take the clicks off both ends."""
    edge = np.minimum(np.arange(len(wave)), np.arange(len(wave))[::-1]) / (seconds * rate)
    return wave * np.minimum(edge, 1.0)


def pitch(hertz: float) -> str:
    return "low" if hertz < 350 else "mid-range" if hertz < 1000 else "high"


def pace(per_second: float, slow: float, fast: float) -> str:
    return "slow" if per_second < slow else "fast" if per_second > fast else "steady"


def number(count: int, thing: str) -> str:
    """`three knocks`, `one knock`."""
    return f"{NUMBERS[count]} {thing}{'' if count == 1 else 's'}"


def times(count: int) -> str:
    return "once" if count == 1 else f"{NUMBERS[count]} times"


def told(wave: np.ndarray, category: str, *captions: str) -> Made:
    """Complete a sound, its captions beginning with a capital."""
    return Made(wave, category, [caption[0].upper() + caption[1:] for caption in captions])
