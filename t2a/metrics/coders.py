"""Opus and MP3 as yardsticks: a wave [C, T] after them, and the bits that they took."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from t2a.audio.transform import fit, resample

Name = Literal["opus", "mp3"]
Wave = NDArray[np.float32]

OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
DELAY = 2500  # samples: more than MP3's 1105, which its smallest files leave in


class Coded(NamedTuple):
    """A decoded wave, as long as the original, and its cost."""

    wave: Wave
    bits: float
    """what describes the sound"""
    container: float
    """bits of headers, tags and page tables around it"""
    bits_coded: float | None = None
    """bits after entropy coding, of a codec whose codes are coded further"""


def opus(wave: Wave, rate: int, bit_rate: float) -> Coded:
    """Code a wave with Opus at about `bit_rate` bits a second (6000 to 256000 a channel), variable rate, 20 ms frames.

    Where Opus has no such sample rate, the wave is resampled to its next higher one and back.
    """
    level = 1 - (bit_rate / len(wave) / 1000 - 6) / 250
    return _coded(wave, rate, _at_least(rate, OPUS_RATES), _opus_payload, format="OGG", subtype="OPUS", level=level)


def mp3(wave: Wave, rate: int, bit_rate: float) -> Coded:
    """Code a wave with MP3 (LAME) at the constant bit rate next to `bit_rate` bits a second of all channels.

    From 8000 (32000 from a sample rate of 32 kHz on) to 64000 (8 to 12 kHz), 160000 (to 24 kHz) or 320000. The delay
    that the format leaves in small files is found by correlation and taken out.
    """
    at = _at_least(rate, MP3_RATES)
    low, high = (32, 320) if at >= 32000 else (8, 160) if at >= 16000 else (8, 64)  # MPEG 1, 2 and 2.5
    level = (high - bit_rate / 1000) / (high - low)
    form = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
    return _coded(wave, rate, at, _mp3_payload, level=min(level, 0.999), **form)


def lowest(name: Name, rate: int, channels: int) -> float:
    """Return the smallest bit rate that `opus` or `mp3` can be asked for."""
    if name == "opus":
        return 6000.0 * channels
    return 32000.0 if _at_least(rate, MP3_RATES) >= 32000 else 8000.0


def _coded(wave: Wave, rate: int, at: int, payload: Callable[[bytes], int], *, level: float, **form: str) -> Coded:
    buffer = io.BytesIO()
    soundfile.write(buffer, resample(wave, rate, at).T, at, compression_level=float(np.clip(level, 0, 1)), **form)
    data = buffer.getvalue()
    decoded, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    decoded = resample(np.ascontiguousarray(decoded.T), at, rate)
    size = payload(data)
    return Coded(fit(aligned(decoded, wave), wave.shape[1]), 8.0 * size, 8.0 * (len(data) - size))


def aligned(late: Wave, wave: Wave) -> Wave:
    """Cut off the beginning of `late` [C, T'] by which it lags behind `wave` [C, T], at most `DELAY` samples."""
    if late.shape[1] <= wave.shape[1]:
        return late
    spectra = (np.fft.rfft(x.mean(0), 2 * late.shape[1]) for x in (late, wave))
    likeness = np.fft.irfft(next(spectra) * next(spectra).conj())
    return late[:, int(likeness[: min(DELAY, late.shape[1] - wave.shape[1]) + 1].argmax()) :]


def _opus_payload(data: bytes) -> int:
    """Count the bytes of the packets in an Ogg file's pages, without the first two, which hold the tags (RFC 7845)."""
    size, at, page = 0, 0, 0
    while data[at : at + 4] == b"OggS":
        table = data[at + 27 : at + 27 + data[at + 26]]
        size += sum(table) if page > 1 else 0
        at += 27 + len(table) + sum(table)
        page += 1
    return size


def _mp3_payload(data: bytes) -> int:
    """Count the bytes of the frames, without a tag before them and without the frame that only describes the file."""
    at = data.find(b"\xff")
    if not any(tag in data[at : at + 64] for tag in (b"Xing", b"Info")):
        return len(data) - at
    return len(data) - data.find(data[at : at + 2], at + 2)


def _at_least(rate: int, rates: tuple[int, ...]) -> int:
    """The lowest of some rates that loses nothing, or the highest."""
    return next((r for r in rates if r >= rate), rates[-1])
