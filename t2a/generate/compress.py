"""Audio files to compressed files and back, in memory that does not grow with their length.

A clip is coded in chunks of 10 s. Each is computed together with as much of its neighbours on both sides as the
codec's convolutions see, and half a second more for LSTMs to settle, which is then cut away, in coding as in decoding;
only what an LSTM (or a norm over time) remembers from further away is lost at a seam. No sample is coded twice.
"""

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from t2a import storage
from t2a.audio.io import probe
from t2a.errors import CheckpointError, ConfigError, DataError, StorageError
from t2a.generate import container
from t2a.generate.container import Header
from t2a.models.codec import Codec
from t2a.models.streaming import context_frames
from t2a.models.windows import windows

Progress = Callable[[int, int], None]
Wave = NDArray[np.float32]

CHUNK_SECONDS = 10.0


def compress(
    source: str | Path, out: str | Path, model: str, *, codebooks: int | None = None, progress: Progress | None = None
) -> int:
    """Write the compressed form of an audio file to `out` and return its bytes; `model` is a codec's folder or URI.

    Other rates are resampled to the codec's. A codec of one channel codes each channel by itself.
    Raises `DataError` for a file that is no usable audio, `ConfigError` for more codebooks than the codec has.
    """
    codec = Codec.from_pretrained(model)
    if codebooks is not None and not 1 <= codebooks <= codec.codebooks:
        raise ConfigError(f"{codebooks} codebooks are asked for, the codec {model} has 1 to {codec.codebooks}.")
    info = probe(source)
    if info.channels % codec.channels:
        raise DataError(f"{source} has {info.channels} channels, the codec {model} takes {codec.channels} at a time.")
    chunk, context = round(CHUNK_SECONDS * codec.frame_rate), context_frames(codec)
    expected = max(1, math.ceil(info.frames * codec.sample_rate / info.rate / (chunk * codec.hop)))
    chunks, length = [], 0
    for window, lead, keep in windows(samples(source, codec.sample_rate), chunk * codec.hop, context * codec.hop):
        first, frames = lead // codec.hop, -(-keep // codec.hop)
        with torch.inference_mode():
            codes = codec.encode(torch.from_numpy(window).unflatten(0, (-1, codec.channels)), codebooks)
        chunks.append(codes[..., first : first + frames].numpy())
        length += keep
        if progress is not None:
            progress(len(chunks), max(expected, len(chunks)))
    if not length:
        raise DataError(f"{source} holds no samples; leave it out or record it again.")
    header = Header(
        model=str(model),
        fingerprint=fingerprint(codec),
        sample_rate=codec.sample_rate,
        length=length,
        streams=info.channels // codec.channels,
        codebooks=codebooks or codec.codebooks,
        bins=codec.bins,
        hop=codec.hop,
        chunk=chunk,
    )
    data = container.write(header, chunks)
    storage.write_bytes(out, data)
    return len(data)


def decompress(
    source: str | Path, out: str | Path, model: str | None = None, *, progress: Progress | None = None
) -> float:
    """Write the audio of a compressed file to the local file `out` (its suffix names the format); return its seconds.

    `model` is by default the one named in the file. Raises `DataError` for a foreign, damaged or truncated file and
    `CheckpointError` for a model other than the one that compressed it; `out` is written whole or not at all.
    """
    header, chunks = container.read(storage.read_bytes(source), str(source))
    where = model or header.model
    codec = Codec.from_pretrained(where)
    if fingerprint(codec) != header.fingerprint:
        raise CheckpointError(f"{source} was compressed by another codec than {where}; give the model {header.model}.")
    context = context_frames(codec)
    codes = torch.from_numpy(np.concatenate(chunks, -1))
    spans = header.spans()
    with new_audio_file(Path(out), header.sample_rate, header.streams * codec.channels) as file:
        for number, (start, stop) in enumerate(spans, 1):
            lead = min(start, context)
            with torch.inference_mode():
                wave = codec.decode(codes[..., start - lead : stop + context]).flatten(0, 1).numpy()
            end = min(stop * header.hop, header.length) - start * header.hop
            file.write(np.clip(wave[:, lead * header.hop :][:, :end], -1, 1).T)
            if progress is not None:
                progress(number, len(spans))
    return header.length / header.sample_rate


def fingerprint(codec: Codec) -> str:
    """Return 16 hexadecimal digits that change with any weight of the codec."""
    digest = hashlib.sha256()
    for name, tensor in sorted(codec.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


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
