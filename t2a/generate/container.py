"""The file that holds a compressed clip: a header, then chunks of packed codes, each with its checksum.

Layout, integers little-endian: `T2AC`, version (1 byte), header length (4), header (JSON), its CRC-32 (4); then for
each chunk payload length (4), CRC-32 of the payload (4), payload. A payload holds codes frame by frame, within a frame
stream by stream, within a stream codebook by codebook, each in `ceil(log2(bins))` bits, least significant first.
"""

import json
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from t2a.config import Config
from t2a.errors import DataError

MAGIC, VERSION = b"T2AC", 1


class Header(Config):
    """What is needed to decode a file, and to find the model that can."""

    model: str
    """where the codec was when the file was made"""
    fingerprint: str
    """of the codec's weights"""
    sample_rate: int = Field(gt=0)
    length: int = Field(ge=1)
    """samples of each channel"""
    streams: int = Field(ge=1)
    """times the codec's channels: the channels of the clip"""
    codebooks: int = Field(ge=1)
    bins: int = Field(ge=2)
    hop: int = Field(ge=1)
    """samples a frame"""
    chunk: int = Field(ge=1)
    """frames of every chunk but the last"""

    @property
    def frames(self) -> int:
        """Frames of the clip."""
        return -(-self.length // self.hop)

    def spans(self) -> list[tuple[int, int]]:
        """First frame and the one after the last of every chunk."""
        return [(start, min(start + self.chunk, self.frames)) for start in range(0, self.frames, self.chunk)]


def write(header: Header, chunks: Sequence[NDArray[np.integer]]) -> bytes:
    """Return the file for codes [G, K, frames of the chunk] of every chunk."""
    text = json.dumps(header.model_dump()).encode()
    parts = [MAGIC, struct.pack("<BI", VERSION, len(text)), text, struct.pack("<I", zlib.crc32(text))]
    for codes in chunks:
        payload = pack(codes.transpose(2, 0, 1), header.bins)
        parts += [struct.pack("<II", len(payload), zlib.crc32(payload)), payload]
    return b"".join(parts)


def read(data: bytes, name: str) -> tuple[Header, list[NDArray[np.int64]]]:
    """Return header and codes [G, K, frames] of every chunk; `name` stands for the file in a `DataError`."""
    if data[: len(MAGIC)] != MAGIC:
        raise DataError(f"{name} is not a file that `t2a compress` wrote; give one that is.")
    header, place = _header(data, name)
    chunks = []
    spans = header.spans()
    for number, (start, stop) in enumerate(spans, 1):
        seconds = f"{start * header.hop / header.sample_rate:.2f} to {stop * header.hop / header.sample_rate:.2f} s"
        where = f"{name}: chunk {number} of {len(spans)} ({seconds})"
        head = data[place : place + 8]
        size, checksum = struct.unpack("<II", head) if len(head) == 8 else (0, 0)
        payload = data[place + 8 : place + 8 + size]
        shape = (stop - start, header.streams, header.codebooks)
        if len(head) < 8 or len(payload) < size:
            raise DataError(f"{where} is cut off; copy the file again.")
        if zlib.crc32(payload) != checksum or size != _size(shape, header.bins):
            raise DataError(f"{where} is damaged; copy the file again.")
        chunks.append(unpack(payload, shape, header.bins).transpose(1, 2, 0))
        place += 8 + size
    if place != len(data):
        raise DataError(f"{name} goes on for {len(data) - place} bytes after its last chunk; copy the file again.")
    return header, chunks


def pack(codes: NDArray[np.integer], bins: int) -> bytes:
    """Pack codes below `bins` into `ceil(log2(bins))` bits each, least significant first."""
    bits = (codes.reshape(-1, 1) >> np.arange(_bits(bins))) & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def unpack(payload: bytes, shape: tuple[int, ...], bins: int) -> NDArray[np.int64]:
    """Return the codes [shape] that `pack` packed."""
    width, count = _bits(bins), int(np.prod(shape))
    bits = np.unpackbits(np.frombuffer(payload, np.uint8), count=count * width, bitorder="little")
    return (bits.reshape(count, width).astype(np.int64) << np.arange(width)).sum(1).reshape(shape)


def _bits(bins: int) -> int:
    return (bins - 1).bit_length()


def _size(shape: tuple[int, ...], bins: int) -> int:
    return (int(np.prod(shape)) * _bits(bins) + 7) // 8


def _header(data: bytes, name: str) -> tuple[Header, int]:
    damaged = DataError(f"{name}: its header is damaged or cut off; copy the file again.")
    start = len(MAGIC) + 5
    if len(data) < start:
        raise damaged
    version, size = struct.unpack("<BI", data[len(MAGIC) : start])
    if version != VERSION:
        raise DataError(f"{name} has format {version}, this t2a reads format {VERSION}; use the t2a that wrote it.")
    text, checksum = data[start : start + size], data[start + size : start + size + 4]
    if len(checksum) < 4 or struct.unpack("<I", checksum)[0] != zlib.crc32(text):
        raise damaged
    try:
        return Header.model_validate_json(text), start + size + 4
    except ValidationError as error:
        raise damaged from error
