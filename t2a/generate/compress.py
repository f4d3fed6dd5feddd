"""Audio files to compressed files, in chunks of 10 s and in memory that does not grow with their length."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from t2a import storage
from t2a.audio.io import probe
from t2a.errors import ConfigError, DataError
from t2a.generate.chunks import Wave, chunk_coder, segments_of
from t2a.generate.coding import fingerprint, load_coding
from t2a.generate.container import Header, Identity, Writer
from t2a.models.codec import Codec

Progress = Callable[[int, int], None]

CHUNK_SECONDS = 10.0


def compress(
    source: str | Path,
    out: str | Path,
    model: str,
    *,
    entropy: str | None = None,
    codebooks: int | None = None,
    chunk_seconds: float = CHUNK_SECONDS,
    progress: Progress | None = None,
) -> int:
    """Write the compressed form of an audio file to `out` and return its bytes.

    `model` is a codec's folder or URI, `entropy` an entropy model's, which makes the file smaller and both ways slower.
    Other rates are resampled to the codec's. A codec of one channel codes each channel by itself.
    Raises `DataError` for a file that is no usable audio, `ConfigError` for more codebooks than the codec has, an
    entropy model of another codec, and a codec that normalises without segments.
    """
    codec = Codec.from_pretrained(model)
    if codebooks is not None and not 1 <= codebooks <= codec.codebooks:
        raise ConfigError(f"{codebooks} codebooks are asked for, the codec {model} has 1 to {codec.codebooks}.")
    coding, identity = load_coding(entropy, codec)
    info = probe(source)
    if info.channels % codec.channels:
        raise DataError(f"{source} has {info.channels} channels, the codec {model} takes {codec.channels} at a time.")
    if not 1 <= chunk_seconds * codec.frame_rate < 2**31:
        raise ConfigError(f"Chunks of {chunk_seconds:g} s cannot be made with the codec {model}; 10 s are usual.")
    segments = segments_of(codec.config)
    coder = chunk_coder(codec, round(chunk_seconds * codec.frame_rate), segments)
    header = Header(
        codec=Identity(where=str(model), fingerprint=fingerprint(codec)),
        entropy=identity,
        sample_rate=codec.sample_rate,
        streams=info.channels // codec.channels,
        codebooks=codebooks or codec.codebooks,
        bins=codec.bins,
        hop=codec.hop,
        chunk=coder.frames,
        segments=segments,
    )
    codec.fold()  # after its fingerprint is taken
    expected = max(1, math.ceil(info.frames * codec.sample_rate / info.rate / header.step))
    done = length = 0
    with storage.writing(out) as file:
        writer = Writer(file, header)
        for chunk, count in coder.encode(samples(source, codec.sample_rate), codebooks):
            writer.add(coding.encode(chunk.codes), chunk.codes.numpy(), chunk.scales)
            length += count
            done += 1
            if progress is not None:
                progress(done, max(expected, done))
        if not length:
            raise DataError(f"{source} holds no samples; leave it out or record it again.")
        return writer.finish(length)


def samples(source: str | Path, rate: int) -> Iterator[Wave]:
    """Yield the waves [C, n] of an audio file piece by piece, at `rate`."""
    with soundfile.SoundFile(str(source)) as file:
        same = file.samplerate == rate
        resampler = None if same else soxr.ResampleStream(file.samplerate, rate, file.channels, dtype="float32")
        try:
            for block in file.blocks(file.samplerate * 10, dtype="float32", always_2d=True):
                if not np.isfinite(block).all():
                    raise DataError(f"{source} holds NaN or infinite samples; export it again.")
                yield (block if resampler is None else resampler.resample_chunk(block)).T
        except soundfile.LibsndfileError as error:
            raise DataError(f"{source} cannot be read to its end ({error.error_string}); convert it again.") from error
        if resampler is not None:
            yield resampler.resample_chunk(np.zeros((0, file.channels), np.float32), last=True).T
