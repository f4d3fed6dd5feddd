from pathlib import Path

import pytest

from t2a import storage
from t2a.data.visit import DamagedError, read_row_group
from t2a.errors import StorageError

COLUMNS = ["id", "audio", "captions"]


def test_a_row_group_is_read_in_order_with_the_columns_asked_for(tones):
    uri, manifest = tones(40)
    rows = read_row_group(uri, manifest.shards[1], 1, [*COLUMNS, "unheard_of"])
    first = manifest.shards[0].rows + 5
    assert [row["id"] for row in rows] == [f"clip-{i:04d}" for i in range(first, first + 5)]
    assert set(rows[0]) == {*COLUMNS, "unheard_of"}
    assert rows[0]["audio"]["bytes"][:4] == b"fLaC"


def test_only_the_bytes_of_the_row_group_are_fetched(tones, monkeypatch):
    uri, manifest = tones(60, shard_bytes=10**9)
    read_row_group(uri, manifest.shards[0], 3, COLUMNS)
    filesystem = type(storage.filesystem(uri)[0])
    fetched = []

    def cat_file(self, path, start=None, end=None, whole=filesystem.cat_file):
        fetched.append(end - start)
        return whole(self, path, start, end)

    monkeypatch.setattr(filesystem, "cat_file", cat_file)
    read_row_group(uri, manifest.shards[0], 4, COLUMNS)
    assert len(fetched) == 1
    assert fetched[0] < manifest.shards[0].bytes / 10


def damage(uri: str, name: str, how) -> None:
    path = Path(uri) / name
    path.write_bytes(how(path.read_bytes()))


def flip(data: bytes) -> bytes:
    """Change one byte in the middle of the first row group's sound."""
    at = data.index(b"fLaC") + 2000
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (flip, "shard damaged"),
        (lambda data: data[: len(data) * 2 // 3], "shard cut off"),
        (lambda data: b"", "shard cut off"),
        (lambda data: bytes(len(data)), "shard damaged"),
        (lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1", "shard damaged"),
    ],
)
def test_a_damaged_shard_is_told_from_a_good_one(tones, how, reason):
    uri, manifest = tones(20)
    damage(uri, manifest.shards[0].name, how)
    with pytest.raises(DamagedError, match=reason):
        read_row_group(uri, manifest.shards[0], 0, COLUMNS)
    assert len(read_row_group(uri, manifest.shards[1], 0, COLUMNS)) == 5


def test_a_missing_and_an_exchanged_shard_are_damage(tones):
    uri, manifest = tones(20)
    (Path(uri) / manifest.shards[0].name).unlink()
    with pytest.raises(DamagedError, match="shard missing"):
        read_row_group(uri, manifest.shards[0], 0, COLUMNS)
    altered = manifest.shards[1].model_copy(update={"row_groups": (4, 6)})
    with pytest.raises(DamagedError, match="shard altered"):
        read_row_group(uri, altered, 0, COLUMNS)


def test_an_outage_is_never_damage(tones, monkeypatch):
    uri, manifest = tones(5)
    filesystem = type(storage.filesystem(uri)[0])

    def away(*arguments, **keywords):
        raise ConnectionResetError("the server went away")

    monkeypatch.setenv("T2A_STORAGE_PATIENCE", "0.2")
    monkeypatch.setattr(filesystem, "cat_file", away)
    with pytest.raises((StorageError, ConnectionError)):
        read_row_group(uri, manifest.shards[0], 0, COLUMNS)
