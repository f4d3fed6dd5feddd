"""Compressed files back to audio: parts, damage, entropy coding, and what must be refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from t2a.errors import CheckpointError, ConfigError, DataError, StorageError
from t2a.generate.compress import compress
from t2a.generate.container import Reader
from t2a.generate.decompress import decompress
from t2a.models.entropy import EntropyConfig, EntropyModel
from t2a.models.fixedpoint import INTEGER, quantise
from tests.generate.test_compress import RATE, clip, codec


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return codec(tmp_path_factory.mktemp("models") / "codec")


def entropy_model(folder: Path, seed: int = 0, **changes) -> str:
    torch.manual_seed(seed)
    small = {"codebooks": 3, "bins": 30, "past": 20, "width": 8, "layers": 1, "heads": 2}
    made = EntropyModel(EntropyConfig.model_validate(small | changes))
    torch.nn.init.normal_(made.heads, std=0.3)
    made.save_pretrained(folder)
    quantise(made).save_pretrained(folder / INTEGER)
    return str(folder)


@pytest.fixture(scope="module")
def entropy(tmp_path_factory) -> str:
    return entropy_model(tmp_path_factory.mktemp("models") / "entropy")


def sound(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def damage(path: Path, chunk: int) -> None:
    """Flip a bit in the middle of a chunk."""
    with path.open("r+b") as file:
        place, length = Reader(file, "x")._places[chunk]
        file.seek(place + length // 2)
        byte = file.read(1)[0]
        file.seek(place + length // 2)
        file.write(bytes([byte ^ 4]))


@pytest.mark.parametrize("codebooks", [1, 3])
def test_an_entropy_model_changes_bytes_but_no_sample(model, entropy, tmp_path, codebooks):
    source = clip(tmp_path / "in.wav", 9 * RATE, channels=2)
    for name, used in {"plain": None, "coded": entropy}.items():
        compress(source, tmp_path / name, model, entropy=used, codebooks=codebooks, chunk_seconds=4)
        found = decompress(tmp_path / name, tmp_path / f"{name}.wav")
        assert found == (9, [])
    assert (tmp_path / "plain").read_bytes() != (tmp_path / "coded").read_bytes()
    assert (tmp_path / "plain.wav").read_bytes() == (tmp_path / "coded.wav").read_bytes()


@pytest.mark.parametrize(("start", "end"), [(0, 3.3), (5.99, 6.01), (4.0, 8.0), (9.7, None), (12.0, 99.0)])
def test_a_part_sounds_as_it_does_in_the_whole(model, entropy, tmp_path, start, end, monkeypatch):
    compress(clip(tmp_path / "in.wav", 13 * RATE), tmp_path / "x", model, entropy=entropy, chunk_seconds=2)
    decompress(tmp_path / "x", tmp_path / "whole.wav")
    read = []
    monkeypatch.setattr(Reader, "read", lambda self, i, real=Reader.read: read.append(i) or real(self, i))
    part = decompress(tmp_path / "x", tmp_path / "part.wav", start=start, end=end)
    expected = sound(tmp_path / "whole.wav")[round(start * RATE) : None if end is None else round(end * RATE)]
    assert part.seconds == len(expected) / RATE
    assert np.array_equal(sound(tmp_path / "part.wav"), expected)
    touched = range(int(start // 2), int(-(-min(end or 13, 13) // 2)))
    assert set(read) == set(range(max(touched.start - 1, 0), min(touched.stop + 1, 7)))


@pytest.mark.parametrize(
    ("lost", "foreseen"), [([0], True), ([3], False), ([6], False), ([2, 3], False), ([1, 4], True)]
)
def test_a_damaged_chunk_loses_only_itself(model, entropy, tmp_path, lost, foreseen):
    used = entropy if foreseen else None
    compress(clip(tmp_path / "in.wav", 13 * RATE), tmp_path / "x", model, entropy=used, chunk_seconds=2)
    decompress(tmp_path / "x", tmp_path / "whole.wav")
    for chunk in lost:
        damage(tmp_path / "x", chunk)
    found = decompress(tmp_path / "x", tmp_path / "out.wav")
    spans = [(2.0 * chunk, min(2.0 * chunk + 2, 13.0)) for chunk in lost]
    assert found.lost == ([(4.0, 8.0)] if lost == [2, 3] else spans)
    whole, damaged = sound(tmp_path / "whole.wav"), sound(tmp_path / "out.wav")
    assert len(damaged) == len(whole)
    near = round(0.5 * RATE)  # neighbours that a codec without an LSTM can feel
    silent, touched = np.zeros(len(whole), bool), np.zeros(len(whole), bool)
    for start, stop in spans:
        silent[round(start * RATE) : round(stop * RATE)] = True
        touched[max(round(start * RATE) - near, 0) : round(stop * RATE) + near] = True
    assert not damaged[silent].any()
    assert np.abs(damaged[~touched] - whole[~touched]).max() < 1e-4
    assert np.abs(damaged[~silent]).max() > 0.05
    for start, stop in spans:  # no click at the seams
        for seam in (round(start * RATE) - 1, round(stop * RATE)):
            assert not (0 <= seam < len(whole)) or abs(float(damaged[seam, 0])) <= 0.06


def test_chunks_are_read_as_they_are_needed(model, tmp_path, monkeypatch):
    compress(clip(tmp_path / "in.wav", 15 * RATE), tmp_path / "x", model, chunk_seconds=1)
    monkeypatch.setattr("t2a.generate.decompress.AT_ONCE", 2)
    read, ahead = [], []
    monkeypatch.setattr(Reader, "read", lambda self, i, real=Reader.read: read.append(i) or real(self, i))
    decompress(tmp_path / "x", tmp_path / "out.wav", progress=lambda done, total: ahead.append(len(read) - done))
    assert (read, len(ahead)) == (list(range(15)), 15)
    assert max(ahead) <= 4


def test_when_nothing_is_intact_nothing_is_written(model, tmp_path):
    compress(clip(tmp_path / "in.wav", 5000), tmp_path / "x", model)
    damage(tmp_path / "x", 0)
    before = set(tmp_path.iterdir())
    with pytest.raises(DataError, match="nothing of what is asked for is intact"):
        decompress(tmp_path / "x", tmp_path / "out.wav")
    assert set(tmp_path.iterdir()) == before


def test_a_cut_or_foreign_file_leaves_nothing_behind(model, entropy, tmp_path):
    compress(clip(tmp_path / "in.wav", 5000), tmp_path / "x", model, entropy=entropy)
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "cut").write_bytes(data[:-5])
    before = set(tmp_path.iterdir())
    with pytest.raises(DataError, match="cut is cut off"):
        decompress(tmp_path / "cut", tmp_path / "out.wav")
    with pytest.raises(DataError, match="not a file that `t2a compress` wrote"):
        decompress(tmp_path / "in.wav", tmp_path / "out.wav")
    with pytest.raises(StorageError, match="no such file"):
        decompress(tmp_path / "nowhere", tmp_path / "out.wav")
    assert set(tmp_path.iterdir()) == before


def test_other_models_than_compressed_it_are_refused(model, entropy, tmp_path):
    compress(clip(tmp_path / "in.wav", 5000), tmp_path / "x", model, entropy=entropy)
    with pytest.raises(CheckpointError, match="compressed by another codec"):
        decompress(tmp_path / "x", tmp_path / "out.wav", codec(tmp_path / "other", seed=1))
    with pytest.raises(CheckpointError, match="with another entropy model"):
        decompress(tmp_path / "x", tmp_path / "out.wav", entropy=entropy_model(tmp_path / "second", seed=1))
    assert not (tmp_path / "out.wav").exists()


def test_an_entropy_model_of_other_codes_is_refused(model, tmp_path):
    source = clip(tmp_path / "in.wav", 5000)
    for changes in ({"bins": 31}, {"codebooks": 2}):
        other = entropy_model(tmp_path / "other", **changes)
        with pytest.raises(ConfigError, match="the codec has 3 codebooks of 30"):
            compress(source, tmp_path / "x", model, entropy=other)
    with pytest.raises(ConfigError, match="holds a codec, not an entropy model"):
        compress(source, tmp_path / "x", model, entropy=model)
    assert not (tmp_path / "x").exists()


def test_codes_that_come_out_otherwise_than_they_went_in_are_never_played(model, entropy, tmp_path, monkeypatch):
    """As a machine whose arithmetic is not exact would decode them."""
    compress(clip(tmp_path / "in.wav", 5000), tmp_path / "x", model, entropy=entropy)
    monkeypatch.setattr("t2a.models.fixedpoint.STREAM", 11)
    with pytest.raises(DataError, match="chunk 1 is whole but gives other codes"):
        decompress(tmp_path / "x", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(("start", "end"), [(-1, None), (3, 2), (2, 2), (2.5, None), (0, 1e-9), (float("nan"), None)])
def test_seconds_that_are_no_part_are_refused(model, tmp_path, start, end):
    compress(clip(tmp_path / "in.wav", 5000), tmp_path / "x", model)
    with pytest.raises(ConfigError, match=r"is 2\.50 s long"):
        decompress(tmp_path / "x", tmp_path / "out.wav", start=start, end=end)


def test_a_failure_in_the_middle_keeps_the_old_file(model, tmp_path, monkeypatch):
    compress(clip(tmp_path / "in.wav", 50000), tmp_path / "x", model)
    decompress(tmp_path / "x", tmp_path / "out.wav")
    old, before = (tmp_path / "out.wav").read_bytes(), set(tmp_path.iterdir())

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decompress(tmp_path / "x", tmp_path / "out.wav", progress=stop)
    assert (tmp_path / "out.wav").read_bytes() == old
    assert set(tmp_path.iterdir()) == before


def test_a_place_that_cannot_be_written_and_a_foreign_suffix_are_said(model, tmp_path):
    compress(clip(tmp_path / "in.wav", 500), tmp_path / "x", model)
    with pytest.raises(ConfigError, match=r"no audio format goes by the suffix '\.xyz'"):
        decompress(tmp_path / "x", tmp_path / "out.xyz")
    with pytest.raises(StorageError, match="Cannot write"):
        decompress(tmp_path / "x", tmp_path / "nowhere" / "out.wav")
