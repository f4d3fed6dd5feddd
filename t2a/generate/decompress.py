"""Compressed files back to audio: all of it or a part, in memory that does not grow with its length.

A damaged chunk loses only itself: silence takes its place, and each run of intact chunks is decoded like a clip of its
own.
"""

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from t2a import storage
from t2a.errors import CheckpointError, ConfigError, DataError, StorageError
from t2a.generate.chunks import Chunk, Wave, chunk_coder, segments_of
from t2a.generate.coding import Coding, fingerprint, load_coding
from t2a.generate.compress import Progress
from t2a.generate.container import Header, Reader, checksum
from t2a.models.codec import Codec

AT_ONCE = 16  # chunks (of one stream) that an entropy model decodes side by side
FADE_SECONDS = 0.01


class Part(NamedTuple):
    """A chunk on its way to the file."""

    number: int
    wave: Wave
    """[C, T]"""
    intact: bool


class Decompressed(NamedTuple):
    """What has become of a file."""

    seconds: float
    """written"""
    lost: list[tuple[float, float]]
    """seconds of the clip, from and to, that were damaged and are silent now"""


def decompress(
    source: str | Path,
    out: str | Path,
    model: str | None = None,
    *,
    entropy: str | None = None,
    start: float = 0.0,
    end: float | None = None,
    progress: Progress | None = None,
) -> Decompressed:
    """Write the audio of a compressed file, or its seconds `start` to `end`, to the local file `out`.

    The suffix of `out` names the format. Models are by default those named in the file. Raises `DataError` for a
    foreign or truncated file, or when nothing of it is intact, `CheckpointError` for other models than compressed it;
    `out` is written whole or not at all.
    """
    with storage.reading(source) as file:
        reader = Reader(file, str(source))
        header = reader.header
        codec, coding = _models(header, str(source), model, entropy)
        begin, stop = _part(reader, start, end)
        size = header.step
        wanted = range(begin // size, -(-stop // size))
        lost = []
        with new_audio_file(Path(out), header.sample_rate, header.streams * codec.channels) as audio:
            fade = round(FADE_SECONDS * header.sample_rate)
            for done, part in enumerate(_faded(_waves(reader, codec, coding, wanted), fade), 1):
                first, last = max(begin - part.number * size, 0), min(stop - part.number * size, size)
                audio.write(np.clip(part.wave[:, first:last], -1, 1).T)
                if not part.intact:
                    lost.append(reader.seconds(part.number))
                if progress is not None:
                    progress(done, len(wanted))
            if len(lost) == len(wanted):
                raise DataError(f"{source}: nothing of what is asked for is intact; copy the file again.")
    return Decompressed((stop - begin) / header.sample_rate, _joined(lost))


def _models(header: Header, source: str, model: str | None, entropy: str | None) -> tuple[Codec, Coding]:
    """The models that compressed the file, and no others."""
    where = model or header.codec.where
    codec = Codec.from_pretrained(where)
    if fingerprint(codec) != header.codec.fingerprint:
        told = f"{source} was compressed by another codec than {where}; give the model {header.codec.where}."
        raise CheckpointError(told)
    if header.segments is not None and header.segments != segments_of(codec.config):
        told = f"{source} was cut into other segments than the codec {where} makes: give {header.codec.where}"
        raise CheckpointError(f"{told} with `segment_seconds`, `overlap` and `normalise` as they were.")
    if header.entropy is None:
        return codec.fold(), load_coding(None, codec)[0]
    where = entropy or header.entropy.where
    coding, identity = load_coding(where, codec)
    if identity is None or identity.fingerprint != header.entropy.fingerprint:
        told = f"{source} was compressed with another entropy model than {where}; give {header.entropy.where}."
        raise CheckpointError(told)
    return codec.fold(), coding


def _part(reader: Reader, start: float, end: float | None) -> tuple[int, int]:
    """First sample and the one after the last."""
    rate = reader.header.sample_rate
    seconds = reader.samples / rate
    stop = seconds if end is None else min(end, seconds)
    if not (0 <= start < stop and round(start * rate) < round(stop * rate)):
        asked = f"{start:g} to {'its end' if end is None else f'{end:g}'}"
        raise ConfigError(f"{reader.name} is {seconds:.2f} s long: seconds {asked} are no part of it.")
    return round(start * rate), round(stop * rate)


def _waves(reader: Reader, codec: Codec, coding: Coding, wanted: range) -> Iterator[Part]:
    """The waves of some chunks, which see their neighbours."""
    header = reader.header
    decoder = chunk_coder(codec, header.chunk, header.segments)
    before, after = decoder.around
    numbers = range(max(wanted.start - before, 0), min(wanted.stop + after, len(reader.spans)))
    number = iter(numbers)
    for intact, run in itertools.groupby(_chunks(reader, coding, numbers), key=lambda chunk: chunk is not None):
        for wave in decoder.decode(chunk for chunk in run if chunk is not None) if intact else (None for _ in run):
            if (n := next(number)) in wanted:
                start, stop = reader.spans[n]
                silence = np.zeros((header.streams * codec.channels, stop - start), np.float32)
                yield Part(n, silence, False) if wave is None else Part(n, wave[:, : stop - start], True)


def _chunks(reader: Reader, coding: Coding, numbers: range) -> Iterator[Chunk | None]:
    """Chunks of codes; None for a damaged one."""
    header = reader.header
    at_once = max(1, AT_ONCE // header.streams)
    for first in range(0, len(numbers), at_once):
        found: dict[int, Chunk] = {}
        payloads = {n: payload for n in numbers[first : first + at_once] if (payload := reader.read(n)) is not None}
        frames = {n: reader.frames(n) for n in payloads}
        for length in {sum(each) for each in frames.values()}:
            alike = [n for n in payloads if sum(frames[n]) == length]
            shape = (header.streams, header.codebooks, length)
            for n, codes in zip(alike, coding.decode([payloads[n].data for n in alike], shape), strict=True):
                if codes is None or checksum(codes.numpy()) != payloads[n].codes:
                    told = f"{reader.name}: chunk {n + 1} is whole but gives other codes than were compressed"
                    raise DataError(f"{told}; decompress it on another machine and report this one.")
                found[n] = Chunk(codes, frames[n], payloads[n].scales)
        yield from (found.get(n) for n in numbers[first : first + at_once])


def _faded(parts: Iterable[Part], fade: int) -> Iterator[Part]:
    """Lead intact parts into silence and out of it within `fade` samples."""
    ramp = np.linspace(0, 1, fade, endpoint=False, dtype=np.float32)
    before: Part | None = None
    for part in parts:
        if before is not None:
            if before.intact and not part.intact:
                length = min(fade, before.wave.shape[1])
                before.wave[:, -length:] *= ramp[::-1][-length:]
            if part.intact and not before.intact:
                length = min(fade, part.wave.shape[1])
                part.wave[:, :length] *= ramp[:length]
            yield before
        before = part
    if before is not None:
        yield before


def _joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans of seconds, adjacent ones as one."""
    joined: list[tuple[float, float]] = []
    for start, stop in spans:
        if joined and joined[-1][1] == start:
            start = joined.pop()[0]
        joined.append((start, stop))
    return joined


@contextmanager
def new_audio_file(out: Path, rate: int, channels: int) -> Iterator[soundfile.SoundFile]:
    """Open an audio file to be written in pieces; it appears under its name when it is complete."""
    kind = out.suffix.lstrip(".").upper()
    if kind not in soundfile.available_formats():
        raise ConfigError(f"{out}: no audio format goes by the suffix {out.suffix!r}; use .wav, .flac or .ogg.")
    partial: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=".", suffix=out.suffix, delete=False) as temporary:
            partial = Path(temporary.name)
            with soundfile.SoundFile(temporary, "w", rate, channels, format=kind) as file:
                yield file
        partial.chmod(0o644)
        partial.replace(out)
    except (OSError, soundfile.LibsndfileError) as error:
        raise StorageError(f"Cannot write {out}: {error}.") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
