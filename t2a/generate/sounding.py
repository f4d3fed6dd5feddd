"""Frames of codes to sound, piece by piece, in memory that does not grow with the clip."""

import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2a.errors import CheckpointError, ConfigError
from t2a.models.codec import Codec
from t2a.models.streaming import StreamingDecoder
from t2a.tokens.channels import separate

PIECE_SECONDS = 10.0  # of a clip that are decoded at a time when nobody waits for them
FADE_SECONDS = 0.01
SILENCE = 1e-3  # peak below which a clip is called silent, -60 dB of full scale


def decoder(codec: Codec) -> StreamingDecoder:
    """Return a decoder for one clip; raises `ConfigError` for a codec that has to see all of it first."""
    try:
        return StreamingDecoder(codec)
    except ValueError as error:
        raise ConfigError(f"The clip cannot be decoded while it is made: {error}") from error


def decode(codec: Codec, codes: Tensor, samples: int, channels: int = 1) -> Tensor:
    """Return the wave [B, C, samples] of codes [B, K, L], decoded in pieces where it is long and the codec can.

    channels: that the codec codes one by one, their codebooks interleaved.
    """
    piece = max(1, round(PIECE_SECONDS * codec.frame_rate))
    if codes.shape[2] <= piece or codec.config.norm == "time_group":
        return _grouped(codec.decode(separate(codes, channels), samples), channels).cpu()
    return torch.cat(list(sounds(decoder(codec), codes.split(piece, dim=2), samples, channels)), dim=2)


def sounds(decoder: StreamingDecoder, pieces: Iterable[Tensor], samples: int, channels: int = 1) -> Iterator[Tensor]:
    """Turn codes [B, K, n] into waves [B, C, n] of `samples` samples in all, on the CPU; none of them is empty."""
    left = samples
    for wave in _decoded(decoder, (separate(piece, channels) for piece in pieces)):
        part = _grouped(wave, channels)[:, :, :left].cpu()
        left -= part.shape[2]
        if part.shape[2]:
            yield part


def _decoded(decoder: StreamingDecoder, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    for codes in pieces:
        yield decoder.push(codes)
    yield decoder.finish()


def _grouped(waves: Tensor, channels: int) -> Tensor:
    """[B * channels, C, n] -> [B, channels * C, n]."""
    return waves.unflatten(0, (-1, channels)).flatten(1, 2)


def gathered(frames: Iterable[Tensor], at_once: int) -> Iterator[Tensor]:
    """Join frames [B, K, n], n >= 0, to pieces of at least `at_once`; only the last one may be smaller."""
    waiting: list[Tensor] = []
    for fresh in frames:
        waiting.append(fresh)
        if sum(piece.shape[2] for piece in waiting) >= at_once:
            yield torch.cat(waiting, dim=2)
            waiting = []
    if waiting and (rest := torch.cat(waiting, dim=2)).shape[2]:
        yield rest


class Output:
    """Watches over a clip that leaves in pieces: finite, never above full scale, and not silent unremarked.

    A clip that stays within full scale is left as it is. Where one goes beyond, its gain falls and does not rise again.
    """

    def __init__(self, name: str, rate: int):
        self.name, self.fade = name, max(1, round(FADE_SECONDS * rate))
        self.gain, self.peak = 1.0, 0.0

    def next(self, wave: Tensor) -> NDArray[np.float32]:
        """Pass a piece [C, n]."""
        finite(wave, self.name)
        peak = float(wave.abs().max())
        self.peak = max(self.peak, peak)
        lower = min(self.gain, 1 / max(peak, 1.0))
        if lower < self.gain:
            ramp = torch.linspace(0, 1, self.fade)[: wave.shape[1]]
            gains = torch.full((wave.shape[1],), lower)
            gains[: len(ramp)] = self.gain + (lower - self.gain) * ramp
            wave = (wave * gains).clamp(-1, 1)  # what is loud within the ramp itself
            self.gain = float(gains[-1])
        elif self.gain < 1:
            wave = wave * self.gain
        return wave.numpy()

    def finish(self) -> None:
        """Say so if nothing was to be heard."""
        if self.peak < SILENCE:
            _silent(self.name, self.peak)


def finished(wave: Tensor, name: str) -> NDArray[np.float32]:
    """Scale a whole wave [C, T] down if it would clip; say so if nothing is to be heard."""
    finite(wave, name)
    peak = float(wave.abs().max())
    if peak < SILENCE:
        _silent(name, peak)
    return (wave / max(peak, 1.0)).numpy()


def finite(wave: Tensor, name: str) -> None:
    """Refuse a wave that no loudspeaker can play."""
    if not torch.isfinite(wave).all():
        raise CheckpointError(f"The clip for {name!r} is not finite, the model is broken: use another checkpoint.")


def _silent(name: str, peak: float) -> None:
    warnings.warn(f"the clip for {name!r} is silent (peak {peak:.1e}): try another seed", stacklevel=4)
