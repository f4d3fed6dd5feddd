"""Encoded audio in and out: bytes or files to float32 samples and back. No torch here."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from t2a.errors import DataError

UNDECODABLE, EMPTY, NOT_FINITE = "undecodable", "empty", "not finite"
FULL_SCALE, CLIPPED_SHARE = 1 - 2**-15, 1e-3
WRITTEN = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "OPUS"), ".mp3": ("MP3", None)}


class ClippedWarning(UserWarning):
    """A recording was louder than its format can hold."""


class AudioError(DataError):
    """Audio that cannot be used; `reason` is the short phrase that skips are counted under."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class AudioInfo:
    """What a file says about itself; `frames` are samples of each channel."""

    rate: int
    channels: int
    frames: int
    format: str

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def probe(source: bytes | str | Path) -> AudioInfo:
    """Read the header only. Raises AudioError (a DataError) when it is none."""
    with _open(source) as file:
        return AudioInfo(file.samplerate, file.channels, file.frames, file.format)


def decode(source: bytes | str | Path) -> tuple[np.ndarray, int]:
    """Decode wav, flac, ogg, opus, mp3, aiff, ... to (wave [C, T] float32, rate).

    Raises AudioError (a DataError) when the data is no audio, holds no sample, or holds NaN or infinity.
    """
    with _open(source) as file:
        try:
            wave = file.read(dtype="float32", always_2d=True).T
        except soundfile.LibsndfileError as error:
            raise _undecodable(source, error) from error
        rate = file.samplerate
    _usable(wave, _name(source))
    return np.ascontiguousarray(wave), rate


def check(wave: np.ndarray, name: str, channels: int | None = None) -> None:
    """Raise AudioError (a DataError) for a wave [C, T] that is empty, not finite or of other than `channels` channels.

    Warns with `ClippedWarning` when more than a thousandth of the samples lie at full scale or beyond: what was cut
    off there is heard as distortion, and no coder brings it back.
    """
    _usable(wave, name)
    if channels is not None and wave.shape[0] != channels:
        raise AudioError("channels", f"{name} has {wave.shape[0]} channels, {channels} are needed; mix it first.")
    share = float(np.mean(np.abs(wave) >= FULL_SCALE))
    if share > CLIPPED_SHARE:
        words = f"{name} is clipped: {share:.1%} of its samples lie at full scale; take a quieter export if you can."
        warnings.warn(words, ClippedWarning, stacklevel=2)


def encode_flac(wave: np.ndarray, rate: int, bits: Literal[16, 24] = 16) -> bytes:
    """Encode a wave [C, T] or [T] float32 losslessly up to its rounding to `bits`; beyond [-1, 1] it is clipped."""
    return _encode(wave, rate, "FLAC", f"PCM_{bits}")


def encode_wav(wave: np.ndarray, rate: int, sample: Literal["pcm16", "float"] = "pcm16") -> bytes:
    """Encode a wave [C, T] or [T] float32 as WAV; only "pcm16" clips beyond [-1, 1]."""
    return _encode(wave, rate, "WAV", {"pcm16": "PCM_16", "float": "FLOAT"}[sample])


def wav_header(samples: int, channels: int, rate: int) -> bytes:
    """Return the beginning of a WAV file whose samples follow as `pcm16`."""
    data, frame = samples * channels * 2, channels * 2
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame, frame, 16)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + 8 + data, b"WAVE") + form + struct.pack("<4sI", b"data", data)


def pcm16(wave: np.ndarray) -> bytes:
    """Return samples [C, n] float32 as 16 bits each, as `encode_wav` writes them."""
    return _encode(wave, 1, "RAW", "PCM_16")


def format_of(path: Path) -> tuple[str, str | None]:
    """Return container and subtype that the ending of a file to write asks for. Raises DataError where it says none."""
    if path.suffix.lower() not in WRITTEN:
        raise DataError(f"{path} has no ending that says its format; use one of: {', '.join(WRITTEN)}.")
    return WRITTEN[path.suffix.lower()]


def write(path: str | Path, wave: np.ndarray, rate: int) -> None:
    """Write a wave [C, T] or [T] to a file whose ending says how (wav, flac, ogg, mp3); whole, or not at all."""
    path = Path(path)
    data = _encode(wave, rate, *format_of(path))
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another place.") from error


def _usable(wave: np.ndarray, name: str) -> None:
    if wave.size == 0:
        raise AudioError(EMPTY, f"{name} holds no samples; leave it out or record it again.")
    if not np.isfinite(wave).all():
        raise AudioError(NOT_FINITE, f"{name} holds NaN or infinite samples; export it again.")


def _encode(wave: np.ndarray, rate: int, container: str, subtype: str | None) -> bytes:
    if wave.ndim not in (1, 2) or wave.shape[-1] == 0:
        raise ValueError(f"a wave to encode is [C, T] or [T] with at least one sample, not {wave.shape}")
    if not np.isfinite(wave).all():
        raise ValueError("a wave to encode must be finite; it holds NaN or infinity")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.atleast_2d(wave).T.astype(np.float32), rate, format=container, subtype=subtype)
    return buffer.getvalue()


def _open(source: bytes | str | Path) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else str(source))
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: headerless names such as x.raw
        raise _undecodable(source, error) from error


def _undecodable(source: bytes | str | Path, error: Exception) -> AudioError:
    if not isinstance(source, bytes) and not Path(source).is_file():
        return AudioError(UNDECODABLE, f"There is no audio file {source}; check the path.")
    why = str(getattr(error, "error_string", error)).rstrip(".")
    return AudioError(UNDECODABLE, f"{_name(source)} cannot be decoded as audio ({why}); convert it to WAV or FLAC.")


def _name(source: bytes | str | Path) -> str:
    return f"Audio of {len(source)} bytes" if isinstance(source, bytes) else str(source)
