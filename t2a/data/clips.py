"""From original recordings to the rows of a corpus: decode, mix, resample, cut, encode, in threads and in order."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from t2a.audio.io import AudioError, encode_flac
from t2a.audio.transform import peak, resample, rms, to_mono
from t2a.data.schema import AudioRow, Split
from t2a.data.skips import Skips
from t2a.data.splits import Drawn, split_of

SILENT, TOO_SHORT, DUPLICATE = "silent", "too short", "duplicate"
SECONDS_MIN = 0.1
QUIET = 1e-3  # -60 dB: below this peak or rms there is nothing to hear
LEAD_SECONDS, TAIL_SECONDS = 0.01, 0.05  # kept of the quiet before and after when trimming


@dataclass(frozen=True)
class Sound:
    """One original recording that is not read yet.

    `origin` names it within `source`; `read` gives (wave [C, T] float32, rate) or raises AudioError. The split
    unless given is drawn by `drawn_by` or the name, so all pieces of a recording share it. `trim` takes the quiet off
    both ends; `pieces` bounds how many clips a long recording may give.
    """

    origin: str
    read: Callable[[], tuple[np.ndarray, int]]
    captions: list[str]
    source: str
    licence: str
    split: Split | None = None
    drawn_by: str = ""
    trim: bool = False
    pieces: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.source}/{self.origin}"


class ClipShape(NamedTuple):
    """What every clip of a corpus looks like: mono at `sample_rate`, cut at `seconds_max`."""

    sample_rate: int
    seconds_max: float


def rows(sounds: Iterable[Sound], shape: ClipShape, skips: Skips, workers: int) -> Iterator[Drawn]:
    """Turn recordings into rows, in order, with a few under way in `workers` threads.

    What cannot be used is counted in `skips`: undecodable, silent, too short, and clips that were there already
    (which also keeps one sound from standing in two splits under two names).
    """
    known: set[bytes] = set()
    for sound, clips in _in_order(sounds, lambda sound: _clips(sound, shape), workers):
        for name, clip in clips:
            if isinstance(clip, str):
                skips.skip(clip, name)
            elif clip.digest in known:
                skips.skip(DUPLICATE, name)
            else:
                known.add(clip.digest)
                skips.keep()
                yield Drawn(_row(sound, name, clip, shape), sound.name, sound.split is None)


def cut(wave: np.ndarray, shape: ClipShape, trim: bool = False, pieces: int | None = None) -> list[np.ndarray]:
    """Cut a wave [C, T] into clips of `seconds_max`; a remainder under half of that is dropped.

    A wave up to a fifth longer stays whole, rather than leave a scrap. Levels are untouched, except that peaks above
    full scale are brought to 0.99. Raises AudioError when the wave is silent or shorter than 0.1 s.
    """
    loudest = peak(wave)
    if loudest < QUIET:
        raise AudioError(SILENT, f"a peak of {loudest:.1e} is silence")
    if trim:
        wave = _trim(wave, shape.sample_rate, max(QUIET, 0.005 * loudest))
    samples = wave.shape[1]
    if samples < SECONDS_MIN * shape.sample_rate:
        raise AudioError(TOO_SHORT, f"{samples} samples are less than {SECONDS_MIN} s")
    length = int(shape.seconds_max * shape.sample_rate)
    if samples <= 1.2 * length:
        parts = [wave]
    else:
        parts = [wave[:, start : start + length] for start in range(0, samples - length // 2, length)][:pieces]
    return [part / max(1.0, peak(part) / 0.99) for part in parts]


class _Clip(NamedTuple):
    flac: bytes
    digest: bytes
    seconds: float


def _clips(sound: Sound, shape: ClipShape) -> list[tuple[str, _Clip | str]]:
    """The named clips of a recording, each encoded, or the reason why it is left out."""
    try:
        wave, rate = sound.read()
        parts = cut(resample(to_mono(wave), rate, shape.sample_rate), shape, sound.trim, sound.pieces)
    except AudioError as error:
        return [(sound.name, error.reason)]
    names = [sound.name] if len(parts) == 1 else [f"{sound.name}#{i}" for i in range(len(parts))]
    return [(name, _encode(part, shape)) for name, part in zip(names, parts, strict=True)]


def _encode(part: np.ndarray, shape: ClipShape) -> _Clip | str:
    if rms(part) <= QUIET:
        return SILENT
    digest = hashlib.sha1(part.tobytes(), usedforsecurity=False).digest()
    return _Clip(encode_flac(part, shape.sample_rate), digest, part.shape[1] / shape.sample_rate)


def _row(sound: Sound, name: str, clip: _Clip, shape: ClipShape) -> dict[str, Any]:
    return AudioRow(
        id=name,
        audio=clip.flac,
        path=re.sub(r"[^\w.-]+", "_", name) + ".flac",
        sample_rate=shape.sample_rate,
        channels=1,
        seconds=round(clip.seconds, 3),
        captions=list(sound.captions),
        source=sound.source,
        licence=sound.licence,
        split=sound.split or split_of(sound.drawn_by or sound.name),
        extra=sound.extra,
    ).to_dict()


def _trim(wave: np.ndarray, rate: int, threshold: float) -> np.ndarray:
    """Take off what stays below the threshold at both ends, up to a short lead and tail."""
    loud = np.flatnonzero(np.abs(wave).max(axis=0) > threshold)
    return wave[:, max(0, loud[0] - round(LEAD_SECONDS * rate)) : loud[-1] + round(TAIL_SECONDS * rate)]


def _in_order(
    sounds: Iterable[Sound], work: Callable[[Sound], list[tuple[str, _Clip | str]]], workers: int
) -> Iterator[tuple[Sound, list[tuple[str, _Clip | str]]]]:
    """Apply `work` in threads and keep the order; only a few sounds are in memory at a time."""
    waiting: deque[tuple[Sound, Future[list[tuple[str, _Clip | str]]]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="t2a-clips") as pool:
        try:
            for sound in sounds:
                waiting.append((sound, pool.submit(work, sound)))
                if len(waiting) > 2 * workers:
                    done, clips = waiting.popleft()
                    yield done, clips.result()
            while waiting:
                done, clips = waiting.popleft()
                yield done, clips.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
