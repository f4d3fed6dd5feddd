"""`.ecdc` files that the encodec package wrote, decoded here and there."""

import json
import struct

import numpy as np
import pytest
import torch
from encodec.compress import MODELS
from encodec.compress import decompress as encodec_decompress
from rich.progress import Progress

from t2a.audio.io import decode
from t2a.cli.ecdc import decompress, recognised
from t2a.errors import CheckpointError, ConfigError, DataError
from t2a.interop import audiocraft, ecdc
from t2a.models.codec import Codec
from tests.interop import peers

LENGTHS = {"encodec_24khz": [1, 319, 5000, 250_000], "encodec_48khz": [1, 47_999, 48_001, 100_000]}


def imported(name: str, folder) -> tuple:
    """A model of the encodec package, and the folder of the same codec."""
    model = peers.build(name)
    torch.save(model.state_dict(), folder / "model.th")
    codec = audiocraft.load(
        folder / "model.th", sample_rate=model.sample_rate, causal=not model.normalize, pad_mode="reflect"
    )
    segments = {"normalise": True, "segment_seconds": 1.0} if model.normalize else {}
    changed = Codec(codec.config.model_copy(update=segments))
    changed.load_state_dict(codec.state_dict())
    changed.save_pretrained(folder / name)
    return model, folder / name


@pytest.fixture(scope="module", params=LENGTHS)
def peer(request, tmp_path_factory):
    return imported(request.param, tmp_path_factory.mktemp("peer"))


@pytest.fixture(scope="module")
def mono(tmp_path_factory):
    return imported("encodec_24khz", tmp_path_factory.mktemp("mono"))


def test_a_file_decodes_as_where_it_comes_from(peer, tmp_path, monkeypatch):
    model, folder = peer
    monkeypatch.setitem(MODELS, model.name, lambda: model)
    for length in LENGTHS[model.name]:
        data = peers.compressed(model, length)
        (tmp_path / "x.ecdc").write_bytes(data)
        theirs, rate = encodec_decompress(data)
        clip = ecdc.read(tmp_path / "x.ecdc", str(folder))
        ours = np.concatenate(list(clip.waves), -1)
        assert (clip.sample_rate, clip.channels, clip.length) == (rate, model.channels, length)
        assert theirs.abs().max() > 1e-3
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-4)


def test_it_becomes_an_audio_file(peer, tmp_path):
    model, folder = peer
    (tmp_path / "x.ecdc").write_bytes(peers.compressed(model, 60_000))
    assert recognised(tmp_path / "x.ecdc")
    with Progress(disable=True) as bar:
        seconds = decompress(tmp_path / "x.ecdc", tmp_path / "x.wav", str(folder), bar)
        assert bar.finished
    wave, rate = decode(tmp_path / "x.wav")
    assert seconds == 60_000 / model.sample_rate
    assert (wave.shape, rate) == ((model.channels, 60_000), model.sample_rate)
    assert not recognised(tmp_path / "x.wav")
    assert np.abs(wave).max() > 0.01


def head(data: bytes, **changes) -> bytes:
    """The same file with another header."""
    size = struct.unpack_from(">I", data, 5)[0]
    text = json.dumps(json.loads(data[9 : 9 + size]) | changes).encode()
    return data[:5] + struct.pack(">I", len(text)) + text + data[9 + size :]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d[:7], "header is damaged or cut off"),
        (lambda d: d[:20], "header is damaged or cut off"),
        (lambda d: d[:4] + b"\1" + d[5:], "version 1"),
        (lambda d: head(d, lm=True), "arithmetic-coded"),
        (lambda d: head(d, al=0), "header is damaged"),
        (lambda d: head(d, al="long"), "header is damaged"),
        (lambda d: head(d, nc=True), "header is damaged"),
        (lambda d: head(d, m="encodec_96khz"), "codec 'encodec_96khz'"),
        (lambda d: head(d, m=["x"]), "only encodec_24khz and"),
        (lambda d: head(d, al=10**15), "fewer codes than its header says"),
        (lambda d: d[:-1], "cut off"),
        (lambda d: d + b"\0", "goes on for 1 bytes"),
        (lambda d: b"RIFF" + d[4:], "no ECDC file"),
    ],
)
def test_a_damaged_file_is_refused_and_nothing_written(change, told, mono, tmp_path):
    model, folder = mono
    (tmp_path / "x.ecdc").write_bytes(change(peers.compressed(model, 5000)))
    with pytest.raises(DataError, match=told):
        decompress(tmp_path / "x.ecdc", tmp_path / "x.wav", str(folder), Progress(disable=True))
    assert [path.name for path in tmp_path.iterdir()] == ["x.ecdc"]


def test_a_segment_that_is_cut_off_is_named(tmp_path):
    model, folder = imported("encodec_48khz", tmp_path)
    data = peers.compressed(model, 100_000)
    (tmp_path / "x.ecdc").write_bytes(data[:-20])
    with pytest.raises(DataError, match=r"the segment that begins at 1.98 s"):
        ecdc.read(tmp_path / "x.ecdc", str(folder))
    start = 9 + struct.unpack_from(">I", data, 5)[0]
    (tmp_path / "x.ecdc").write_bytes(data[:start] + struct.pack(">f", float("nan")) + data[start + 4 :])
    with pytest.raises(DataError, match="impossible loudness nan"):
        ecdc.read(tmp_path / "x.ecdc", str(folder))


def test_another_codec_than_the_one_named_is_refused(mono, tmp_path):
    model, folder = mono
    data = peers.compressed(model, 5000)
    (tmp_path / "x.ecdc").write_bytes(data)
    with pytest.raises(ConfigError, match=r"give that codec with --model .*facebook/encodec_24khz"):
        ecdc.read(tmp_path / "x.ecdc", None)
    for changed in (head(data, m="encodec_48khz"), head(data, nc=5)):
        (tmp_path / "x.ecdc").write_bytes(changed)
        with pytest.raises(CheckpointError, match="give the one it names"):
            ecdc.read(tmp_path / "x.ecdc", str(folder))
