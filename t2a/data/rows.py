"""From a stored row to a fixed-size example: decode, resample, crop, pad. numpy only: readers load no torch."""

import io
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import soundfile
import soxr
from pydantic import Field, model_validator

from t2a.config import Config
from t2a.data.captions import CaptionConfig
from t2a.data.mixing import Draws, MixConfig, lay
from t2a.data.schema import Split, unpack_latents
from t2a.data.skips import UnusableError
from t2a.data.states import StatesColumn, column

PATIENCE = 4000  # rows that `max_skipped` is taken of at least, or one damaged row group would end a run at its start
FULL_SCALE = 32768  # int16 samples travel between processes, half the bytes of float32


class Example(NamedTuple):
    """One fixed-size example, the valid length along its last axis, and where in its row it was cut."""

    values: np.ndarray
    length: int
    start: int = 0  # frames; of codes and latents only


class RowsConfig(Config):
    """What every kind of corpus needs to be streamed."""

    uri: str
    split: Split = "train"
    window: int = Field(512, ge=1, description="rows that are shuffled together, at least")
    max_skipped: float = Field(0.05, ge=0, le=1, description="share of unusable rows above which the run stops")
    captions: CaptionConfig = CaptionConfig()
    threads: int = Field(2, ge=1, description="decoding threads of one reader")
    states: bool = Field(True, description="whether to read along what condition encoders made of the rows before")

    tensor: ClassVar[str]

    def columns(self, states: Mapping[str, StatesColumn]) -> list[str]:
        """Name the columns of a corpus with such states that examples are made of."""
        return ["id", self.tensor, "captions", *(["frame_rate", *map(column, states)] if states else [])]


class AudioConfig(RowsConfig):
    """Clips: random crops of `crop_seconds` at `sample_rate`, some of them mixed in training."""

    kind: Literal["audio"] = "audio"
    sample_rate: int = Field(16000, ge=1000)
    channels: int = Field(1, ge=1, le=2)
    crop_seconds: float = Field(gt=0, allow_inf_nan=False)
    mix: MixConfig | None = None

    tensor: ClassVar[str] = "audio"
    dtype: ClassVar[type] = np.int16

    @property
    def shape(self) -> tuple[int, int]:
        """[C, T] of an example."""
        return self.channels, round(self.crop_seconds * self.sample_rate)

    def example(self, row: Mapping[str, Any], where: float) -> Example:
        """Cut an example `[C, T] int16` out of a row; `where` in [0, 1) places the crop. Raises UnusableError."""
        audio = row["audio"]
        data = audio["bytes"] if audio else None
        if not data:
            raise UnusableError("empty")
        wave = _decode(data, self.channels, self.shape[1], self.sample_rate, where)
        values = np.zeros(self.shape, np.int16)
        values[:, : len(wave)] = _int16(_with_channels(wave, self.channels)).T
        return Example(values, len(wave))

    def mixed(self, first: Example, second: Example, draws: Draws) -> Example | None:
        """Mix two examples as `draws` say; None when one of them is silent where they overlap."""
        assert self.mix is not None
        waves = [example.values[:, : example.length] / np.float32(FULL_SCALE) for example in (first, second)]
        mixture = lay(self.mix, draws, *waves, length=self.shape[1])
        if mixture is None:
            return None
        values = np.zeros(self.shape, np.int16)
        values[:, : mixture.shape[1]] = _int16(mixture)
        return Example(values, mixture.shape[1])

    @model_validator(mode="after")
    def _has_samples(self) -> Self:
        if not self.shape[1]:
            raise ValueError(f"crop_seconds {self.crop_seconds:g} is less than one sample at {self.sample_rate} Hz")
        return self

    @model_validator(mode="after")
    def _mixes_in_training(self) -> Self:
        if self.mix is not None and self.split != "train":
            raise ValueError(f"data.mix is for the split 'train', not '{self.split}'; leave it out")
        return self


class CodesConfig(RowsConfig):
    """Precomputed codes: random crops of `crop_frames` frames of the first `codebooks` codebooks."""

    kind: Literal["codes"] = "codes"
    codebooks: int = Field(4, ge=1)
    crop_frames: int = Field(ge=1)

    tensor: ClassVar[str] = "codes"
    dtype: ClassVar[type] = np.uint16
    mix: ClassVar[None] = None  # codes do not add up: mix sound

    @property
    def shape(self) -> tuple[int, int]:
        """[K, L] of an example."""
        return self.codebooks, self.crop_frames

    def example(self, row: Mapping[str, Any], where: float) -> Example:
        """Cut an example `[K, L] uint16` out of a row; `where` in [0, 1) places the crop. Raises UnusableError."""
        codes = row["codes"]
        data = codes["bytes"] if codes else None
        if not data:
            raise UnusableError("empty")
        if (stored := codes["codebooks"]) < self.codebooks:
            raise UnusableError(f"{stored} codebooks, not {self.codebooks}")
        if len(data) % (2 * stored):
            raise UnusableError("undecodable")
        frames = np.frombuffer(data, "<u2").reshape(stored, -1)[: self.codebooks]
        return _crop(frames, self.crop_frames, where)


class LatentsConfig(RowsConfig):
    """Precomputed latents: random crops of `crop_frames` frames of the shape `latent`, (C,) or (C, F)."""

    kind: Literal["latents"] = "latents"
    latent: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1, max_length=2)
    crop_frames: int = Field(ge=1)

    tensor: ClassVar[str] = "latents"
    dtype: ClassVar[type] = np.float16
    mix: ClassVar[None] = None  # latents do not add up: mix sound

    @property
    def shape(self) -> tuple[int, ...]:
        """[C, (F,) L] of an example."""
        return *self.latent, self.crop_frames

    def example(self, row: Mapping[str, Any], where: float) -> Example:
        """Cut an example `[C, (F,) L]` out of a row; `where` in [0, 1) places the crop. Raises UnusableError."""
        cell = row["latents"]
        if not (cell and cell["bytes"]):
            raise UnusableError("empty")
        if tuple(cell["shape"]) != self.latent:
            raise UnusableError(f"latents of {tuple(cell['shape'])}, not {self.latent}")
        try:
            example = _crop(unpack_latents(cell), self.crop_frames, where)
        except ValueError as error:
            raise UnusableError("undecodable") from error
        if not np.isfinite(example.values).all():
            raise UnusableError("not finite")
        return example


DataConfig = Annotated[AudioConfig | CodesConfig | LatentsConfig, Field(discriminator="kind")]


def _decode(data: bytes, channels: int, samples: int, rate: int, where: float) -> np.ndarray:
    """Decode no more than the crop: wave [T, C] at `rate`, T <= `samples`.

    It is int16 where the file's samples are wanted as they are, else float32.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.frames == 0:
                raise UnusableError("empty")
            count = math.ceil(samples * file.samplerate / rate)
            start = _start(file.frames, count, where)
            margin = 0 if file.samplerate == rate else file.samplerate // 20
            # The resampler sees real sound beyond both edges; a whole number of samples is cut off again in front.
            step = file.samplerate // math.gcd(file.samplerate, rate)
            lead = min(start, margin) // step * step
            wanted = min(lead + count + margin, file.frames - start + lead)
            file.seek(start - lead)
            as_stored = file.subtype == "PCM_16" and file.samplerate == rate and file.channels == channels
            wave = file.read(wanted, dtype="int16" if as_stored else "float32", always_2d=True)
            source = file.samplerate
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        raise UnusableError("undecodable") from error
    if len(wave) < wanted:
        raise UnusableError("undecodable")
    if source != rate:
        wave = soxr.resample(wave, source, rate)[lead * rate // source :]
    return wave[:samples]


def _crop(stored: np.ndarray, frames: int, where: float) -> Example:
    """Cut `frames` frames out of an array [..., L]; what a shorter one lacks is zeros."""
    start = _start(stored.shape[-1], frames, where)
    crop = stored[..., start : start + frames]
    values = np.zeros((*stored.shape[:-1], frames), stored.dtype)
    values[..., : crop.shape[-1]] = crop
    return Example(values, crop.shape[-1], start)


def _start(total: int, count: int, where: float) -> int:
    return int(where * (max(total - count, 0) + 1))


def _int16(wave: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as int16; clipped, since an overshoot of the resampler would wrap around to the other sign."""
    if wave.dtype == np.int16:
        return wave
    if not np.isfinite(wave).all():
        raise UnusableError("not finite")
    return np.clip(np.rint(wave * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _with_channels(wave: np.ndarray, channels: int) -> np.ndarray:
    """[T, C] -> [T, channels]: mono is the mean, stereo the first two or mono twice."""
    if wave.shape[1] == channels:
        return wave
    if channels == 1:
        return wave.mean(axis=1, keepdims=True)
    return np.repeat(wave, channels, axis=1) if wave.shape[1] == 1 else wave[:, :channels]
