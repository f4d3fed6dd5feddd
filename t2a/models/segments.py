"""Long clips in overlapping segments, each coded by itself (EnCodec at 48 kHz: 1 s at its own loudness, 1 % overlap).

A clip of any length costs the memory of one segment where its pieces are used as they come.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from t2a.models.codec import Codec, CodecConfig, Encoded


def spans(config: CodecConfig, length: int) -> list[tuple[int, int]]:
    """Return the first sample of every segment of a clip of `length` samples, and the one after its last."""
    if config.segment_seconds is None:
        return [(0, length)]
    return [(start, min(start + size(config), length)) for start in range(0, length, stride(config))]


def size(config: CodecConfig) -> int:
    """Return the samples of every segment but the last; the config must have segments."""
    assert config.segment_seconds is not None
    return int(config.segment_seconds * config.sample_rate)


def stride(config: CodecConfig) -> int:
    """Return the samples from the start of one segment to the start of the next; the config must have segments."""
    return max(1, int((1 - config.overlap) * size(config)))


def encode(codec: Codec, wave: Tensor, codebooks: int | None = None) -> list[Encoded]:
    """Return the segments of a wave [B, C, T]; a codec without segments makes one of it."""
    return [codec.encode_scaled(wave[..., a:b], codebooks) for a, b in spans(codec.config, wave.shape[-1])]


def joined(segments: Iterable[Encoded]) -> Encoded:
    """Return codes [B, K, L] of segments after one another, and their scales [B, N] if they have any."""
    codes, scales = zip(*segments, strict=True)
    return Encoded(torch.cat(codes, -1), torch.stack(scales, -1) if scales[0] is not None else None)


def decode(codec: Codec, segments: Iterable[Encoded], length: int | None = None) -> Tensor:
    """Return the wave [B, C, T] of the segments of a clip; T is `length`, by default all that their codes say."""
    return torch.cat(list(pieces(codec, segments)), -1)[..., :length]


def pieces(codec: Codec, segments: Iterable[Encoded]) -> Iterator[Tensor]:
    """Yield the wave [B, C, T] of the segments of a clip piece by piece, each as soon as nothing more adds to it."""
    waves = (codec.decode(segment.codes, scale=segment.scale) for segment in segments)
    return waves if codec.config.segment_seconds is None else overlap_add(waves, stride(codec.config))


def overlap_add(waves: Iterable[Tensor], stride: int) -> Iterator[Tensor]:
    """Join waves [..., T] that begin `stride` samples after one another, none longer than the first.

    Each weighs as a triangle does that is as long as the first, and the weights at a sample add up to 1; where two
    overlap, that is a linear cross-fade.
    """
    weight = total = mass = torch.zeros(0)
    for wave in waves:
        if not len(weight):
            rise = torch.arange(1, wave.shape[-1] + 1, device=wave.device, dtype=wave.dtype)
            weight = torch.minimum(rise, rise.flip(0))
            total, mass = torch.zeros_like(wave[..., :0]), torch.zeros_like(weight[:0])
        length = wave.shape[-1]
        # The wave before may reach further than this one: both end with a whole frame, not where the clip ends.
        missing = (0, max(0, length - len(mass)))
        total, mass = functional.pad(total, missing), functional.pad(mass, missing)
        total[..., :length] += weight[:length] * wave
        mass[:length] += weight[:length]
        yield total[..., :stride] / mass[:stride]
        total, mass = total[..., stride:], mass[stride:]
    if len(mass):
        yield total / mass
