"""Read `.ecdc` files, which the encodec package writes (without its language model).

Layout: `ECDC`, version 0 (1 byte), length of the JSON (4, big-endian), JSON {m: model, al: samples, nc: codebooks,
lm: whether arithmetic-coded}; then for each segment, of a codec that normalises, its scale (float32, big-endian), and
its codes frame by frame, within a frame codebook by codebook, least significant bit first, filled up to a whole byte.
"""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2a import storage
from t2a.errors import CheckpointError, ConfigError, DataError
from t2a.models import segments
from t2a.models.codec import Codec, Encoded
from t2a.models.streaming import StreamingDecoder

MAGIC, VERSION, HEAD = b"ECDC", 0, struct.Struct(">4sBI")
PIECE_SECONDS = 10.0  # that are decoded at once, of a codec without segments
MODELS = {"encodec_24khz": (24000, 1, False, None), "encodec_48khz": (48000, 2, True, 1.0)}
"""Rate, channels, whether it normalises, and seconds of a segment, of encodec's codecs"""


class Clip(NamedTuple):
    """A file on its way to audio."""

    sample_rate: int
    channels: int
    length: int
    """samples of each channel"""
    waves: Iterator[NDArray[np.float32]]
    """[C, n], `length` samples together"""


class Header(NamedTuple):
    """What a file says about itself."""

    model: str
    length: int
    codebooks: int
    start: int
    """byte at which the codes begin"""


def read(source: str | Path, model: str | None) -> Clip:
    """Open a file to be decoded by the codec `model`; its waves come as they are asked for.

    Raises `DataError` for a damaged or truncated file and for one that needs a language model, `CheckpointError` for a
    codec of another kind than the one that wrote it, `ConfigError` for none.
    """
    data = storage.read_bytes(source)
    header = parse(data, str(source))
    if model is None:
        raise ConfigError(
            f"{source} was written by {header.model}: give that codec with --model "
            f"(`t2a import huggingface facebook/{header.model} OUT` makes one)."
        )
    codec = Codec.from_pretrained(model).fold()
    kind = (codec.sample_rate, codec.channels, codec.config.normalise, codec.config.segment_seconds)
    if kind != MODELS[header.model] or header.codebooks > codec.codebooks or codec.bins & (codec.bins - 1):
        raise CheckpointError(
            f"{source} was written by {header.model} with {header.codebooks} codebooks, and {model} is a codec of "
            f"{codec.sample_rate} Hz, {codec.channels} channels and {codec.codebooks} codebooks; give the one it names."
        )
    encoded = list(unpack(data, header, codec, str(source)))
    return Clip(codec.sample_rate, codec.channels, header.length, decode(codec, encoded, header.length))


def parse(data: bytes, name: str) -> Header:
    """Read the header. Raises `DataError`."""
    damaged = DataError(f"{name}: its header is damaged or cut off; copy the file again.")
    if len(data) < HEAD.size:
        raise damaged
    magic, version, size = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise DataError(f"{name} is no ECDC file; give one that the encodec package wrote.")
    if version != VERSION:
        raise DataError(f"{name} is an ECDC file of version {version}; only version {VERSION} can be read.")
    try:
        found = json.loads(data[HEAD.size : HEAD.size + size])
        model, length, codebooks, coded = found["m"], found["al"], found["nc"], found["lm"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged from error
    if not (_positive(length) and _positive(codebooks)):
        raise damaged
    if str(model) not in MODELS:
        raise DataError(f"{name} was written by a codec {model!r}; only {' and '.join(MODELS)} are known.")
    if coded:
        raise DataError(
            f"{name} is arithmetic-coded with encodec's language model, whose rounding differs from machine to "
            "machine; decompress it with the encodec package, or compress it again without --lm."
        )
    return Header(model, length, codebooks, HEAD.size + size)


def unpack(data: bytes, header: Header, codec: Codec, name: str) -> Iterator[Encoded]:
    """Yield the segments of a file. Raises `DataError` where it is cut off, or goes on after its last one."""
    place, bits = header.start, int(math.log2(codec.bins))
    if header.length // codec.hop * header.codebooks * bits > 8 * (len(data) - place):
        raise DataError(f"{name} is cut off: it holds fewer codes than its header says; copy the file again.")
    for start, stop in segments.spans(codec.config, header.length):
        scale, count = None, math.ceil((stop - start) / codec.hop) * header.codebooks
        size = (count * bits + 7) // 8
        if len(data) < place + size + 4 * codec.config.normalise:
            seconds = start / codec.sample_rate
            raise DataError(f"{name} is cut off in the segment that begins at {seconds:.2f} s; copy the file again.")
        if codec.config.normalise:
            scale = torch.tensor(struct.unpack_from(">f", data, place))
            place += 4
            if not (torch.isfinite(scale).all() and scale > 0):
                raise DataError(f"{name} holds the impossible loudness {scale.item()}; copy the file again.")
        packed = np.frombuffer(data, np.uint8, size, place)
        flags = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(-1, header.codebooks, bits)
        codes = (flags.astype(np.int64) << np.arange(bits)).sum(-1)
        place += size
        yield Encoded(torch.from_numpy(codes.T.copy())[None], scale)
    if place != len(data):
        raise DataError(f"{name} goes on for {len(data) - place} bytes after its last segment; copy the file again.")


def decode(codec: Codec, encoded: list[Encoded], length: int) -> Iterator[NDArray[np.float32]]:
    """Yield the waves [C, n] of a clip of `length` samples; what is held does not grow with it, but for the codes."""
    whole = codec.config.segment_seconds is None
    pieces, left = (stream(codec, encoded[0].codes) if whole else segments.pieces(codec, encoded)), length
    while left > 0:
        with torch.inference_mode():
            wave = next(pieces)[0, :, :left].numpy()
        left -= wave.shape[-1]
        yield wave


def stream(codec: Codec, codes: Tensor) -> Iterator[Tensor]:
    """Yield the wave [1, C, n] of codes [1, K, L] as of the whole, piece by piece."""
    decoder = StreamingDecoder(codec)
    for piece in codes.split(math.ceil(PIECE_SECONDS * codec.frame_rate), -1):
        yield decoder.push(piece)
    yield decoder.finish()


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
