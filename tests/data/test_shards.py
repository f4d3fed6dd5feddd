import hashlib
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2a.data.schema import AudioRow, CodesRow, unpack_codes
from t2a.data.shards import MANIFEST, ShardBounds, read_manifest, read_rows, write_shards
from t2a.data.skips import Skips
from t2a.errors import DataError, StorageError


def rows(count, size=100, split=lambda i: "train"):
    for i in range(count):
        data = np.random.default_rng(i).bytes(size)
        yield AudioRow(
            f"r{i:04d}", data, f"r{i}.flac", 16000, 1, 0.5, [f"Sound {i}."], "test", "CC0", split(i)
        ).to_dict()


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "corpus")


def test_rows_come_back_as_they_went_in(uri):
    split = ["train", "valid", "train", "test"]
    manifest = write_shards(rows(20, split=lambda i: split[i % 4]), uri, bounds=ShardBounds(group_rows=3))
    assert read_manifest(uri) == manifest
    for name in ("train", "valid", "test"):
        expected = [row for row in rows(20, split=lambda i: split[i % 4]) if row["split"] == name]
        assert list(read_rows(uri, name)) == expected


def test_the_manifest_tells_the_truth_about_every_shard(uri):
    manifest = write_shards(
        rows(10, split=lambda i: "valid" if i == 4 else "train"), uri, bounds=ShardBounds(group_rows=4)
    )
    assert [(s.name, s.rows, s.row_groups) for s in manifest.shards] == [
        ("train-00000.parquet", 9, (4, 4, 1)),
        ("valid-00000.parquet", 1, (1,)),
    ]
    for shard in manifest.shards:
        data = (Path(uri) / shard.name).read_bytes()
        assert (shard.bytes, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert shard.seconds == 0.5 * shard.rows
        meta = pq.read_metadata(Path(uri) / shard.name)
        assert tuple(meta.row_group(g).num_rows for g in range(meta.num_row_groups)) == shard.row_groups


def test_row_groups_and_files_are_bounded_in_bytes(uri):
    manifest = write_shards(rows(12, size=1000), uri, bounds=ShardBounds(group_bytes=2000, shard_bytes=5000))
    assert [shard.row_groups for shard in manifest.shards] == [(2, 2), (2, 2), (2, 2)]
    assert [shard.name for shard in manifest.shards] == [f"train-0000{i}.parquet" for i in range(3)]


def test_the_writer_holds_no_more_than_a_row_group(uri):
    alive, most = set(), 0

    class Tracked(dict):
        def __del__(self):
            alive.discard(id(self))

    def stream():
        nonlocal most
        for row in rows(100):
            tracked = Tracked(row)
            alive.add(id(tracked))
            most = max(most, len(alive))
            yield tracked

    write_shards(stream(), uri, bounds=ShardBounds(group_rows=8))
    assert most <= 8 + 3  # the first row, the one in hand, and a group


def test_a_flipped_byte_is_noticed(uri):
    write_shards(rows(4, size=5000), uri)
    path = Path(uri) / "train-00000.parquet"
    data = bytearray(path.read_bytes())
    place = data.index(next(rows(1, size=5000))["audio"]["bytes"]) + 2500
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"train-00000\.parquet"):
        list(read_rows(uri, "train"))


def test_a_corpus_is_not_overwritten_unless_asked(uri):
    write_shards(rows(9), uri, bounds=ShardBounds(shard_bytes=1, group_rows=1))
    with pytest.raises(DataError, match="already"):
        write_shards(rows(2), uri)
    assert len(list(read_rows(uri, "train"))) == 9
    (Path(uri) / "notes.txt").write_text("mine")
    write_shards(rows(2), uri, overwrite=True)
    assert sorted(p.name for p in Path(uri).iterdir()) == [MANIFEST, "notes.txt", "train-00000.parquet"]
    assert len(list(read_rows(uri, "train"))) == 2


def test_an_interrupted_writing_leaves_no_corpus(uri):
    def broken():
        yield from rows(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(broken(), uri, bounds=ShardBounds(shard_bytes=1, group_rows=1))
    assert list(Path(uri).iterdir()) == []
    with pytest.raises(DataError, match="t2a prepare"):
        read_manifest(uri)


def test_a_source_that_cannot_begin_costs_no_old_corpus(uri):
    write_shards(rows(3), uri)

    def broken():
        raise DataError("no apt")
        yield

    with pytest.raises(DataError, match="no apt"):
        write_shards(broken(), uri, overwrite=True)
    with pytest.raises(DataError, match="no usable row"):
        write_shards(iter(()), uri, overwrite=True)
    assert len(list(read_rows(uri, "train"))) == 3


def test_skips_and_origin_are_told(uri):
    skips = Skips()

    def stream():
        yield from rows(2)
        skips.skip("silent", "x")  # sources count while they are read

    write_shards(stream(), uri, skips=skips, made_from={"source": "test"})
    assert read_manifest(uri).skipped == {"silent": 1}
    assert read_manifest(uri).made_from == {"source": "test"}


@pytest.mark.parametrize(
    "change", [{"captions": []}, {"captions": [" "]}, {"id": ""}, {"split": "training"}, {"mood": "calm"}]
)
def test_rows_that_break_the_schema_are_refused(uri, change):
    with pytest.raises(ValueError, match="row"):
        write_shards([*rows(1), {**next(rows(1)), **change}], uri)
    assert not (Path(uri) / MANIFEST).exists()


def test_code_corpora_have_the_same_form(uri):
    codes = np.random.default_rng(0).integers(0, 2048, (4, 50))
    row = CodesRow("a", codes, 50.0, 1.0, ["A beep."], "test", "CC0", "train").to_dict()
    assert write_shards([row], uri, "codes").kind == "codes"
    (back,) = read_rows(uri, "train")
    np.testing.assert_array_equal(unpack_codes(back["codes"]), codes)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"version": 2, "kind": "audio", "shards": []})])
def test_a_damaged_manifest_is_told(uri, text):
    Path(uri).mkdir()
    (Path(uri) / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=r"_manifest\.json is not the manifest"):
        read_manifest(uri)


def test_the_audio_column_has_the_hugging_face_layout(uri):
    write_shards(rows(1), uri)
    field = pq.read_schema(Path(uri) / "train-00000.parquet").field("audio")
    assert field.type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert b"huggingface" in pq.read_schema(Path(uri) / "train-00000.parquet").metadata


def test_a_full_disk_is_one_sentence(uri):
    def limit():  # a write beyond the limit fails like one on a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    code = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from test_shards import rows, write_shards, StorageError
try:
    write_shards(rows(50, size=5000), {uri!r})
except StorageError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True, check=True)
    assert "TMPDIR" in told.stdout, told
    assert StorageError.__name__ not in told.stderr
    assert not (Path(uri) / MANIFEST).exists()
