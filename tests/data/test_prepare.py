import shutil

import numpy as np
import pytest

from t2a.audio.io import decode, encode_flac, encode_wav
from t2a.data.prepare import SOURCES, prepare
from t2a.data.shards import ShardBounds, read_manifest, read_rows
from t2a.errors import ConfigError, DataError


def everything(uri):
    return [row for split in ("train", "valid", "test") for row in read_rows(uri, split)]


@pytest.fixture
def home(tmp_path):
    """Forty described clips."""
    folder = tmp_path / "home"
    folder.mkdir()
    for i in range(40):
        wave = np.random.default_rng(i).uniform(-0.5, 0.5, (2, 8000)).astype(np.float32)
        (folder / f"{i:02d}.flac").write_bytes(encode_flac(wave, 8000))
        (folder / f"{i:02d}.txt").write_text(f"Noise number {i}.")
    return folder


def test_a_synthetic_corpus_is_complete_and_repeatable(place):
    manifest = prepare("synthetic", place, count=60, seconds_max=1.5, sample_rate=8000, progress=False)
    rows = everything(place)
    assert len(rows) == sum(shard.rows for shard in manifest.shards) == 60
    assert read_manifest(place) == manifest
    for row in rows:
        wave, rate = decode(row["audio"]["bytes"])
        assert (rate, wave.shape[0]) == (8000, 1)
        assert wave.shape[1] / rate == pytest.approx(row["seconds"], abs=1e-3)
        assert row["seconds"] <= 1.5
        assert row["captions"]
    again = prepare("synthetic", place, count=60, seconds_max=1.5, sample_rate=8000, overwrite=True, workers=1)
    assert [shard.sha256 for shard in again.shards] == [shard.sha256 for shard in manifest.shards]


def test_a_folder_becomes_a_corpus_at_the_rate_asked_for(home, tmp_path):
    uri = str(tmp_path / "out")
    manifest = prepare("folder", uri, folder=home, sample_rate=4000, bounds=ShardBounds(group_rows=10))
    rows = everything(uri)
    assert sorted(row["captions"][0] for row in rows) == sorted(f"Noise number {i}." for i in range(40))
    assert {decode(row["audio"]["bytes"])[0].shape for row in rows} == {(1, 4000)}
    assert max(max(shard.row_groups) for shard in manifest.shards) <= 10
    assert manifest.made_from["source"] == "folder"


def test_a_few_bad_files_are_counted(home, tmp_path):
    uri = str(tmp_path / "out")
    (home / "00.flac").write_bytes(b"junk")
    (home / "01.txt").unlink()
    manifest = prepare("folder", uri, folder=home)
    assert manifest.skipped == {"undecodable": 1, "no caption": 1}
    assert len(everything(uri)) == 38


def test_too_many_bad_files_stop_it_and_leave_nothing(home, tmp_path):
    uri = tmp_path / "out"
    for i in range(3):
        (home / f"0{i}.flac").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"3 of 40 rows.*3 undecodable \(home/00\.flac, home/01\.flac"):
        prepare("folder", str(uri), folder=home)
    assert not uri.exists() or not list(uri.iterdir())
    assert prepare("folder", str(uri), folder=home, max_skipped=0.1).skipped == {"undecodable": 3}


def test_pieces_of_one_recording_never_part(tmp_path):
    folder = tmp_path / "long"
    folder.mkdir()
    for i in range(60):
        wave = np.random.default_rng(i).uniform(-0.5, 0.5, (1, 4000)).astype(np.float32)
        (folder / f"{i}.wav").write_bytes(encode_wav(wave, 1000))
        (folder / f"{i}.txt").write_text("Noise.")
    uri = str(tmp_path / "out")
    prepare("folder", uri, folder=folder, seconds_max=1.0, sample_rate=1000)
    splits = {}
    for row in everything(uri):
        splits.setdefault(row["id"].split("#")[0], set()).add(row["split"])
    assert len(splits) == 60
    assert all(len(split) == 1 for split in splits.values())
    assert set.union(*splits.values()) == {"train", "valid", "test"}


def test_the_count_bounds_what_is_taken(home, tmp_path):
    prepare("folder", str(tmp_path / "out"), folder=home, count=12)
    assert sorted(r["id"] for r in everything(str(tmp_path / "out"))) == [f"home/{i:02d}.flac" for i in range(12)]


def test_ten_clips_are_enough_to_train_on(home, tmp_path):
    for path in sorted(home.iterdir())[20:]:
        path.unlink()
    manifest = prepare("folder", str(tmp_path / "out"), folder=home)
    assert {shard.split: shard.rows for shard in manifest.shards} == {"train": 8, "valid": 1, "test": 1}


def test_two_clips_are_not(home, tmp_path):
    with pytest.raises(DataError, match="Only 2 recordings are usable"):
        prepare("folder", str(tmp_path / "out"), folder=home, count=2)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_an_old_corpus_survives_a_source_that_fails(home, tmp_path):
    uri = str(tmp_path / "out")
    prepare("folder", uri, folder=home)
    shutil.rmtree(home)
    with pytest.raises(DataError, match="no folder"):
        prepare("folder", uri, folder=home, overwrite=True)
    assert len(everything(uri)) == 40


def test_an_unknown_source_is_told():
    with pytest.raises(ConfigError, match="debian-sounds"):
        prepare("audiocaps", "/nowhere")
    assert {"debian-sounds", "synthetic", "folder"} <= set(SOURCES)
