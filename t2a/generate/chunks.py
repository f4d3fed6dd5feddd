"""How a clip of any length is coded chunk by chunk, so that each can be sought and lost by itself.

Waves are numpy float32 [C, T] of all streams, G streams of the codec's channels each; codes are [G, K, L].
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2a.errors import ConfigError
from t2a.generate.container import Scales, Segments
from t2a.models import segments
from t2a.models.codec import Codec, CodecConfig, Encoded
from t2a.models.streaming import context_frames
from t2a.models.windows import windows

Wave = NDArray[np.float32]


class Chunk(NamedTuple):
    """What a part of a clip is decoded from."""

    codes: Tensor
    """[G, K, L] int64, of all its segments"""
    frames: list[int]
    """of each of its segments"""
    scales: Scales | None = None
    """[G, N] of a codec that normalises"""


class ChunkCoder(Protocol):
    """A codec at work on clips in chunks."""

    frames: int
    """of every chunk but the last"""
    around: tuple[int, int]
    """chunks before and after that one needs to be decoded as in the whole"""

    def encode(self, waves: Iterable[Wave], codebooks: int | None) -> Iterator[tuple[Chunk, int]]:
        """Yield the chunks of a clip that comes in pieces, each with its samples of a channel."""
        ...

    def decode(self, chunks: Iterable[Chunk]) -> Iterator[Wave]:
        """Yield the wave of each of consecutive chunks, up to a frame longer than its samples."""
        ...


def segments_of(config: CodecConfig) -> Segments | None:
    """Return how a codec cuts clips into segments; None where it does not.

    Raises `ConfigError` for a codec that normalises whole clips.
    """
    if config.segment_seconds is not None:
        return Segments(size=segments.size(config), stride=segments.stride(config), scaled=config.normalise)
    if config.normalise:
        raise ConfigError(
            "This codec takes the loudness of a whole clip, which a file in chunks cannot tell; "
            "set `segment_seconds` in its config.json (EnCodec's is 1), or use a codec that does not normalise."
        )
    return None


def chunk_coder(codec: Codec, frames: int, cut: Segments | None) -> ChunkCoder:
    """Return the codec at work on chunks of about so many frames."""
    return WindowCoder(codec, frames) if cut is None else SegmentCoder(codec, frames, cut)


class WindowCoder:
    """Chunks of a clip that is one to the codec.

    Each is computed together with as much of its neighbours on both sides as the codec's convolutions see, and half a
    second more for LSTMs to settle, which is then cut away, in coding as in decoding; only what an LSTM (or a norm over
    time) remembers from further away is lost at a seam. No sample is coded twice.
    """

    # Why not a stream (`t2a.models.streaming`), whose state passes the seams: a chunk would then need all those before
    # it, and what follows a damaged one, or is sought, would sound otherwise until the LSTMs have forgotten. Measured
    # with a causal codec of two LSTM layers a side, briefly trained on seconds, over 59 seams in 120 s of held-out
    # clips: there is nothing to gain, no code differs from the stream's and waves agree to 124 dB. With a longer memory
    # (forget gates biased by 2) 55 % of the codes behind a seam differ, yet are no further from the original (mel
    # distance 19.1 against 19.2 dB), while a stream's codes decoded from a seam on are off by 8 dB for half a second
    # and 22 dB after two.

    def __init__(self, codec: Codec, frames: int) -> None:
        self.codec, self.frames, self.context = codec, frames, context_frames(codec)
        self.around = (math.ceil(self.context / frames),) * 2

    def encode(self, waves: Iterable[Wave], codebooks: int | None) -> Iterator[tuple[Chunk, int]]:
        codec, hop = self.codec, self.codec.hop
        for window, lead, keep in windows(waves, self.frames * hop, self.context * hop):
            first, frames = lead // hop, -(-keep // hop)
            with torch.inference_mode():
                codes = codec.encode(_streams(window, codec.channels), codebooks)
            yield Chunk(codes[..., first : first + frames], [frames]), keep

    def decode(self, chunks: Iterable[Chunk]) -> Iterator[Wave]:
        codec, hop, streams = self.codec, self.codec.hop, 1

        def pieces() -> Iterator[NDArray]:
            nonlocal streams
            for chunk in chunks:
                streams = len(chunk.codes)
                yield chunk.codes.flatten(0, 1).numpy()

        for window, lead, keep in windows(pieces(), self.frames, self.context):
            with torch.inference_mode():
                wave = codec.decode(torch.from_numpy(window).unflatten(0, (streams, -1))).flatten(0, 1).numpy()
            yield wave[:, lead * hop : (lead + keep) * hop]


class SegmentCoder:
    """Chunks of whole segments (`t2a.models.segments`), each of which the codec codes by itself.

    A chunk's samples go from the start of its first segment to the start of the next chunk's. Its last segment reaches
    into that one, where both fade into each other.
    """

    def __init__(self, codec: Codec, frames: int, cut: Segments) -> None:
        self.codec, self.cut = codec, cut
        each = -(-cut.size // codec.hop)
        self.count = max(1, frames // each)
        self.frames = self.count * each
        # The decoder's segments end with a whole frame.
        self.around = (math.ceil((each * codec.hop - cut.stride) / (self.count * cut.stride)), 0)

    def encode(self, waves: Iterable[Wave], codebooks: int | None) -> Iterator[tuple[Chunk, int]]:
        size, stride = self.cut.size, self.cut.stride
        for window, lead, keep in windows(waves, self.count * stride, max(0, size - stride)):
            with torch.inference_mode():
                found = segments.encode(self.codec, _streams(window[:, lead:], self.codec.channels), codebooks)
            own = found[: -(-keep // stride)]  # what begins after the chunk belongs to the next one, and is whole there
            codes, scales = segments.joined(own)
            frames = [part.codes.shape[-1] for part in own]
            yield Chunk(codes, frames, None if scales is None else scales.numpy()), keep

    def decode(self, chunks: Iterable[Chunk]) -> Iterator[Wave]:
        waiting: deque[Encoded] = deque()
        pieces = segments.pieces(self.codec, iter(waiting.popleft, None))  # asked for no more than are waiting
        for chunk in chunks:
            scales = [None] * len(chunk.frames) if chunk.scales is None else torch.from_numpy(chunk.scales).unbind(1)
            waiting.extend(map(Encoded, chunk.codes.split(chunk.frames, -1), scales))
            with torch.inference_mode():
                wave = torch.cat(list(islice(pieces, len(chunk.frames))), -1).flatten(0, 1).numpy()
            yield wave


def _streams(wave: Wave, channels: int) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(wave)).unflatten(0, (-1, channels))
