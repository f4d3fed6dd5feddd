"""Codecs that cut clips into segments of their own loudness: chunks come back as the codec has them in one."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import EncodecConfig, EncodecModel

from t2a.errors import CheckpointError, ConfigError
from t2a.generate.compress import compress
from t2a.generate.container import Reader
from t2a.generate.decompress import decompress
from t2a.interop import huggingface
from t2a.models import segments
from t2a.models.codec import Codec
from tests.generate.test_compress import RATE, clip, codec
from tests.generate.test_decompress import damage, entropy_model, sound

SIZE, STRIDE = 400, 360
"""Samples of a segment, and to the next one; chunks of a second have five"""
SHAPE = {"norm": "time_group", "normalise": True, "segment_seconds": 0.2, "overlap": 0.1}


@pytest.fixture(scope="module")
def stereo(tmp_path_factory) -> str:
    return codec(tmp_path_factory.mktemp("models") / "stereo", channels=2, **SHAPE)


@pytest.fixture(scope="module")
def entropy(tmp_path_factory) -> str:
    return entropy_model(tmp_path_factory.mktemp("models") / "entropy")


def uneven(path: Path, samples: int, channels: int = 2, rate: int = RATE) -> Path:
    """A clip whose loudness changes from segment to segment."""
    wave, _ = soundfile.read(clip(path, samples, channels, rate), dtype="float32", always_2d=True)
    level = np.float32([0.02, 1.0, 0.2])[np.arange(samples) // (rate // 6) % 3]
    soundfile.write(path, wave * level[:, None], rate, subtype="FLOAT")
    return path


@torch.inference_mode()
def whole(model: str, source: Path, codebooks: int | None = None, first: int = 0) -> np.ndarray:
    """The clip [T, C] as the codec has it in one, from one of its segments on without those before."""
    loaded, wave = Codec.from_pretrained(model), torch.from_numpy(sound(source).T)
    parts = segments.encode(loaded, wave.unflatten(0, (-1, loaded.channels)), codebooks)
    decoded = segments.decode(loaded, parts[first:], wave.shape[1] - first * STRIDE)
    return decoded.flatten(0, 1).clamp(-1, 1).numpy().T


BORDERS = [1, 39, STRIDE - 1, STRIDE, STRIDE + 1, SIZE - 1, SIZE, SIZE + 1]
CHUNKS = [5 * STRIDE - 1, 5 * STRIDE, 5 * STRIDE + 1, 4 * STRIDE + SIZE, 5 * STRIDE + SIZE, 15 * STRIDE + 7]


@pytest.mark.parametrize("samples", BORDERS + CHUNKS)
def test_a_clip_of_any_length_comes_back_as_the_codec_has_it_in_one(stereo, tmp_path, samples):
    source = uneven(tmp_path / "in.wav", samples)
    compress(source, tmp_path / "x", stereo, chunk_seconds=1)
    assert decompress(tmp_path / "x", tmp_path / "out.wav") == (samples / RATE, [])
    assert sound(tmp_path / "out.wav").shape == (samples, 2)
    assert np.abs(sound(tmp_path / "out.wav") - whole(stereo, source)).max() < 1e-4
    with (tmp_path / "x").open("rb") as file:
        assert len(Reader(file, "x").spans) == -(-samples // (5 * STRIDE))


@pytest.mark.parametrize("overlap", [0.0, 0.01, 0.5, 0.9])
def test_segments_may_overlap_as_they_like(tmp_path, overlap):
    model = codec(tmp_path / "codec", **SHAPE | {"overlap": overlap})
    source = uneven(tmp_path / "in.wav", 3001, channels=1)
    compress(source, tmp_path / "x", model, chunk_seconds=0.3)
    decompress(tmp_path / "x", tmp_path / "out.wav")
    expected = whole(model, source)
    assert np.abs(sound(tmp_path / "out.wav") - expected).max() < 1e-4
    decompress(tmp_path / "x", tmp_path / "part.wav", start=1.0, end=1.1)
    assert np.abs(sound(tmp_path / "part.wav") - expected[2000:2200]).max() < 1e-4


def test_segments_without_a_scale_and_without_a_whole_number_of_frames(tmp_path):
    model = codec(tmp_path / "codec", segment_seconds=0.1025, overlap=0.1)
    source = uneven(tmp_path / "in.wav", 3001, channels=2)
    compress(source, tmp_path / "x", model, chunk_seconds=0.5)
    decompress(tmp_path / "x", tmp_path / "out.wav")
    assert np.abs(sound(tmp_path / "out.wav") - whole(model, source)).max() < 1e-4


@pytest.mark.parametrize("foreseen", [True, False])
@pytest.mark.parametrize("codebooks", [1, 3])
def test_entropy_coding_changes_no_sample_and_the_loudness_of_each_stream_stays(
    stereo, entropy, tmp_path, foreseen, codebooks
):
    source = uneven(tmp_path / "in.wav", 5000, channels=4)  # two streams of two channels
    used = entropy if foreseen else None
    compress(source, tmp_path / "x", stereo, entropy=used, codebooks=codebooks, chunk_seconds=1)
    decompress(tmp_path / "x", tmp_path / "out.wav")
    assert np.abs(sound(tmp_path / "out.wav") - whole(stereo, source, codebooks)).max() < 1e-4


@pytest.mark.parametrize(("start", "end"), [(0, 0.4), (0.89, 0.91), (0.9, 1.8), (1.7, None), (2.6, 9)])
def test_a_part_sounds_as_it_does_in_the_whole(stereo, entropy, tmp_path, start, end, monkeypatch):
    compress(uneven(tmp_path / "in.wav", 6000), tmp_path / "x", stereo, entropy=entropy, chunk_seconds=1)
    decompress(tmp_path / "x", tmp_path / "whole.wav")
    read = []
    monkeypatch.setattr(Reader, "read", lambda self, i, real=Reader.read: read.append(i) or real(self, i))
    decompress(tmp_path / "x", tmp_path / "part.wav", start=start, end=end)
    expected = sound(tmp_path / "whole.wav")[round(start * RATE) : None if end is None else round(end * RATE)]
    assert np.array_equal(sound(tmp_path / "part.wav"), expected)
    # Each chunk of 0.9 s is overlapped by the one before it, and by no other.
    touched = range(int(start * RATE) // 1800, -(-round(min(end or 3, 3) * RATE) // 1800))
    assert set(read) == set(range(max(touched.start - 1, 0), touched.stop))


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_damaged_chunk_loses_only_itself(stereo, tmp_path, lost):
    source, size = uneven(tmp_path / "in.wav", 6000), 5 * STRIDE
    compress(source, tmp_path / "x", stereo, chunk_seconds=1)
    damage(tmp_path / "x", lost)
    found = decompress(tmp_path / "x", tmp_path / "out.wav")
    stop = min((lost + 1) * size, 6000)
    assert found.lost == [(lost * size / RATE, stop / RATE)]
    out, fade = sound(tmp_path / "out.wav"), 20
    assert not out[lost * size : stop].any()
    before = slice(0, max(lost * size - fade, 0))
    assert np.abs(out[before] - whole(stereo, source)[before]).max(initial=0) < 1e-4
    # What the lost chunk would have faded into stands by itself.
    if stop < 6000:
        after = whole(stereo, source, first=5 * (lost + 1))
        assert np.abs(out[stop + fade :] - after[fade:]).max() < 1e-4


def test_a_codec_that_cuts_otherwise_is_refused(stereo, tmp_path):
    compress(uneven(tmp_path / "in.wav", 3000), tmp_path / "x", stereo)
    other = Codec.from_pretrained(stereo)
    other.config = other.config.model_copy(update={"overlap": 0.2})
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError, match="was cut into other segments"):
        decompress(tmp_path / "x", tmp_path / "out.wav", str(tmp_path / "other"))
    assert not (tmp_path / "out.wav").exists()


def test_a_codec_that_normalises_whole_clips_is_refused(tmp_path):
    model = codec(tmp_path / "codec", normalise=True)
    source = clip(tmp_path / "in.wav", 3000)
    with pytest.raises(ConfigError, match=r"loudness of a whole clip.*segment_seconds"):
        compress(source, tmp_path / "x", model)
    assert not (tmp_path / "x").exists()


def test_an_imported_codec_for_48_khz_goes_there_and_back(tmp_path):
    torch.manual_seed(0)
    shape = {"sampling_rate": 48000, "audio_channels": 2, "use_causal_conv": False, "norm_type": "time_group_norm"}
    shape |= {"normalize": True, "chunk_length_s": 1.0, "overlap": 0.01, "target_bandwidths": [1.5, 3.0]}
    small = {"num_filters": 2, "hidden_size": 8, "codebook_size": 32, "codebook_dim": 8, "num_lstm_layers": 1}
    EncodecModel(EncodecConfig(**shape | small)).save_pretrained(tmp_path / "theirs")
    huggingface.load(tmp_path / "theirs").save_pretrained(tmp_path / "ours")
    source = uneven(tmp_path / "in.wav", 12 * 48000 + 123, rate=48000)
    compress(source, tmp_path / "x", str(tmp_path / "ours"))
    decompress(tmp_path / "x", tmp_path / "out.wav")
    assert np.abs(sound(tmp_path / "out.wav") - whole(str(tmp_path / "ours"), source)).max() < 1e-4
