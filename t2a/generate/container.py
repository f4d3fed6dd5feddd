"""The file that holds a compressed clip, written and read chunk by chunk.

Layout, integers little-endian: `T2AC`, version (1 byte), header length (4), samples of each channel (8), header (JSON),
CRC-32 of length, samples and header (4); then for each chunk payload length (4), CRC-32 of all that follows (4),
CRC-32 of the codes as 16 bits each (4), payload; then the index: the payload length of each chunk (4), CRC-32 of these
(4), `T2AX`. The lengths stand in two places, so that no single damage loses more than one chunk.

A payload is the coded codes; of a codec that normalises the loudness of segments, before them the scale of each stream
and segment of the chunk (float32, a stream's together). Version 2 knew no segments and is otherwise the same.
"""

import struct
import zlib
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from t2a.config import Config
from t2a.errors import DataError

Scales = NDArray[np.float32]

MAGIC, INDEX, VERSIONS = b"T2AC", b"T2AX", (2, 3)  # the last is written
FIXED, HEAD, CHECK = struct.Struct("<IQ"), struct.Struct("<III"), struct.Struct("<I")
OVERHEAD = HEAD.size + CHECK.size  # bytes of a chunk beside its payload: its head, and its place in the index
START = len(MAGIC) + 1 + FIXED.size  # of the header


class Identity(Config):
    """A model that is needed to decode: where it was when the file was made, and what it was."""

    where: str
    fingerprint: str


class Segments(Config):
    """How a codec cuts a clip that it does not code in one (`t2a.models.segments`), in samples."""

    size: int = Field(ge=1)
    """of every segment but the last"""
    stride: int = Field(ge=1)
    """from the start of one to the start of the next"""
    scaled: bool
    """whether each has a scale"""


class Header(Config):
    """What is needed to decode a file, and to find the models that can."""

    codec: Identity
    entropy: Identity | None = None
    """None: codes are packed without a model"""
    sample_rate: int = Field(gt=0)
    streams: int = Field(ge=1)
    """times the codec's channels: the channels of the clip"""
    codebooks: int = Field(ge=1)
    bins: int = Field(ge=2)
    hop: int = Field(ge=1)
    """samples a frame"""
    chunk: int = Field(ge=1)
    """frames of every chunk but the last, of all its segments together"""
    segments: Segments | None = None
    """None: the clip is coded in one, and may be cut at any frame"""

    @property
    def step(self) -> int:
        """Samples from the start of a chunk to the start of the next; a chunk has whole segments."""
        if self.segments is None:
            return self.chunk * self.hop
        return max(1, self.chunk // -(-self.segments.size // self.hop)) * self.segments.stride


class Payload(NamedTuple):
    """A chunk as it was stored, and the checksum that its codes must have."""

    data: bytes
    codes: int
    scales: Scales | None = None
    """[G, N] of a codec that normalises, N segments"""


class Writer:
    """Writes a clip into a new file that can seek; it is valid once `finish` has been called."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.file, self.header, self.lengths = file, header, []
        self._preamble(0)

    def add(self, payload: bytes, codes: NDArray[np.integer], scales: Scales | None = None) -> None:
        """Append the next chunk, made of codes [G, K, L], with the scales [G, N] of its segments if they have any."""
        payload = (b"" if scales is None else scales.astype("<f4").tobytes()) + payload
        rest = CHECK.pack(checksum(codes)) + payload
        self.file.write(CHECK.pack(len(payload)) + CHECK.pack(zlib.crc32(rest)) + rest)
        self.lengths.append(len(payload))

    def finish(self, samples: int) -> int:
        """Write what is known only now, the samples of each channel and the index; returns the bytes of the file."""
        index = np.array(self.lengths, "<u4").tobytes()
        self.file.write(index + CHECK.pack(zlib.crc32(index)) + INDEX)
        size = self.file.tell()
        self._preamble(samples)
        return size

    def _preamble(self, samples: int) -> None:
        text = self.header.model_dump_json().encode()
        body = FIXED.pack(len(text), samples) + text
        self.file.seek(0)
        self.file.write(MAGIC + bytes([VERSIONS[-1]]) + body + CHECK.pack(zlib.crc32(body)))


class Reader:
    """Reads the chunks of a file in any order; `name` stands for it in a `DataError`."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.header, self.samples = self._header()
        step, self._first = self.header.step, self.file.tell()
        self._size = self.file.seek(0, 2)
        if -(-self.samples // step) * OVERHEAD > self._size - self._first:
            raise DataError(f"{self.name} is cut off, it holds less than its header says; copy the file again.")
        self.spans = [(start, min(start + step, self.samples)) for start in range(0, self.samples, step)]
        """first sample and the one after the last of every chunk"""
        lengths = self._lengths()
        ends = np.cumsum([length + HEAD.size for length in lengths])
        self._places = [(self._first + int(end) - length, length) for end, length in zip(ends, lengths, strict=True)]

    def seconds(self, chunk: int) -> tuple[float, float]:
        """Where a chunk begins and ends."""
        start, stop = self.spans[chunk]
        return start / self.header.sample_rate, stop / self.header.sample_rate

    def frames(self, chunk: int) -> list[int]:
        """Frames of each segment of a chunk; without segments it is one."""
        header, (start, stop) = self.header, self.spans[chunk]
        size, stride = (header.segments.size, header.segments.stride) if header.segments else (header.step, header.step)
        return [-(-min(size, self.samples - first) // header.hop) for first in range(start, stop, stride)]

    def read(self, chunk: int) -> Payload | None:
        """Return a chunk, or None when it is damaged."""
        place, length = self._places[chunk]
        self.file.seek(place - HEAD.size)
        _, check, codes = HEAD.unpack(self.file.read(HEAD.size))
        data = self.file.read(length)
        if zlib.crc32(CHECK.pack(codes) + data) != check:
            return None
        segments = self.header.segments
        return self._scaled(chunk, data, codes) if segments and segments.scaled else Payload(data, codes)

    def _scaled(self, chunk: int, data: bytes, codes: int) -> Payload | None:
        """Part the scales of a chunk from its codes; None when they are no loudness."""
        shape = self.header.streams, len(self.frames(chunk))
        size = 4 * shape[0] * shape[1]
        if len(data) < size:
            return None
        scales = np.frombuffer(data[:size], "<f4").astype(np.float32).reshape(shape)
        return Payload(data[size:], codes, scales) if (np.isfinite(scales) & (scales > 0)).all() else None

    def _header(self) -> tuple[Header, int]:
        damaged = DataError(f"{self.name}: its header is damaged or cut off; copy the file again.")
        start = self.file.read(START)
        if start[: len(MAGIC)] != MAGIC:
            raise DataError(f"{self.name} is not a file that `t2a compress` wrote; give one that is.")
        if len(start) < START:
            raise damaged
        if start[len(MAGIC)] not in VERSIONS:
            found = f"has format {start[len(MAGIC)]}, this t2a reads formats {' and '.join(map(str, VERSIONS))}"
            raise DataError(f"{self.name} {found}; use the t2a that wrote it.")
        fixed = start[-FIXED.size :]
        size, samples = FIXED.unpack(fixed)
        text, check = self.file.read(min(size, 2**20)), self.file.read(CHECK.size)
        if check != CHECK.pack(zlib.crc32(fixed + text)) or not samples:
            raise damaged
        try:
            return Header.model_validate_json(text), samples
        except ValidationError as error:
            raise damaged from error

    def _lengths(self) -> list[int]:
        """Payload lengths by the index, or by the heads of the chunks when the index is damaged."""
        count, size = len(self.spans), self._size
        rest = size - self._first - count * OVERHEAD - CHECK.size - len(INDEX)
        if rest >= 0:
            self.file.seek(size - count * CHECK.size - CHECK.size - len(INDEX))
            index, check, magic = (self.file.read(part) for part in (count * 4, CHECK.size, len(INDEX)))
            if magic == INDEX and check == CHECK.pack(zlib.crc32(index)):
                lengths = np.frombuffer(index, "<u4").tolist()
                if sum(lengths) == rest:
                    return lengths
        lengths = self._scanned()
        if len(lengths) < count or sum(lengths) > rest:
            seconds = self.seconds(min(len(lengths), count - 1))[0]
            raise DataError(f"{self.name} is cut off, or overwritten, from about {seconds:.0f} s on; copy it again.")
        if sum(lengths) < rest:
            raise DataError(f"{self.name} goes on after its last chunk; copy the file again.")
        return lengths

    def _scanned(self) -> list[int]:
        """Payload lengths by the heads of the chunks, as many as there are whole."""
        lengths, place = [], self._first
        while len(lengths) < len(self.spans) and place + HEAD.size <= self._size:
            self.file.seek(place)
            length = HEAD.unpack(self.file.read(HEAD.size))[0]
            place += HEAD.size + length
            if place > self._size:
                break
            lengths.append(length)
        return lengths


def checksum(codes: NDArray[np.integer]) -> int:
    """CRC-32 of codes as unsigned 16 bits, in the order of the array."""
    return zlib.crc32(codes.astype("<u2").tobytes())
