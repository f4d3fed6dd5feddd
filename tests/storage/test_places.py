import errno
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2a import storage
from t2a.errors import StorageError


def tree(folder: Path, names: dict[str, bytes]) -> Path:
    for name, data in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_bytes_come_back_and_replace_what_was_there(place: str) -> None:
    uri = storage.join(place, "deep", "x.bin")
    assert not storage.exists(uri)
    for data in (b"first", b"", b"third" * 1000):
        storage.write_bytes(uri, data)
        assert storage.read_bytes(uri) == data
    assert storage.exists(uri)
    assert storage.exists(storage.join(place, "deep"))


def test_trees_go_up_and_come_back_whole(place: str, tmp_path: Path) -> None:
    names = {"a.txt": b"a", "sub/b.bin": os.urandom(300_000), "sub/deep/c": b"", "ünï code/d e+f%20.txt": b"d"}
    storage.upload(tree(tmp_path / "up", names), place)
    assert storage.files(place) == {name: len(data) for name, data in names.items()}
    assert storage.folders(place) == ["sub", "ünï code"]
    storage.download(place, tmp_path / "down")
    assert {n: (tmp_path / "down" / n).read_bytes() for n in storage.files(tmp_path / "down")} == names


def test_a_folder_is_not_confused_with_one_whose_name_goes_on(place: str) -> None:
    storage.write_bytes(storage.join(place, "step_1", "x"), b"1")
    storage.write_bytes(storage.join(place, "step_10", "x"), b"10")
    assert storage.files(storage.join(place, "step_1")) == {"x": 1}
    storage.remove(storage.join(place, "step_1"))
    assert storage.folders(place) == ["step_10"]
    assert not storage.exists(storage.join(place, "step_1"))


def test_what_another_process_wrote_is_seen_at_once(place: str) -> None:
    storage.write_bytes(storage.join(place, "a"), b"1")
    assert set(storage.files(place)) == {"a"}
    code = "import sys; from t2a import storage; storage.write_bytes(sys.argv[1], b'22')"
    subprocess.run([sys.executable, "-c", code, storage.join(place, "b")], check=True)
    assert storage.files(place) == {"a": 1, "b": 2}
    assert storage.exists(storage.join(place, "b"))


def test_removing_takes_files_and_trees_and_minds_nothing_missing(place: str) -> None:
    for name in ("keep", "tree/a", "tree/b/c"):
        storage.write_bytes(storage.join(place, name), b"x")
    storage.remove(storage.join(place, "tree"))
    storage.remove(storage.join(place, "tree"))
    assert set(storage.files(place)) == {"keep"}
    storage.remove(storage.join(place, "keep"))
    assert storage.files(place) == {}


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/", "/", "file:///"])
def test_a_whole_bucket_or_disk_is_never_removed(uri: str) -> None:
    with pytest.raises(ValueError, match="Refusing"):
        storage.remove(uri)


def test_missing_places_are_empty_to_list_and_errors_to_read(place: str, tmp_path: Path) -> None:
    nowhere = storage.join(place, "none")
    assert storage.files(nowhere) == {}
    assert storage.folders(nowhere) == []
    with pytest.raises(StorageError, match="no such file or folder"):
        storage.read_bytes(nowhere)
    with pytest.raises(StorageError, match="nothing is there"):
        storage.download(nowhere, tmp_path / "x")
    with pytest.raises(StorageError, match="no such folder"):
        storage.upload(tmp_path / "gone", place)


def test_join_adds_parts_and_never_leads_out() -> None:
    assert storage.join("s3://b/x/", "y", "z/") == "s3://b/x/y/z"
    assert storage.join("/", "tmp") == "/tmp"
    assert storage.join("rel", "", "a") == "rel/a"
    assert storage.join("s3://b") == "s3://b"
    for part in ("../x", "a/../../b", "/etc"):
        with pytest.raises(ValueError, match="leads out"):
            storage.join("s3://b/x", part)


def test_file_uris_and_plain_paths_are_the_same_place(tmp_path: Path) -> None:
    storage.write_bytes(f"file://{tmp_path}/a", b"1")
    assert storage.read_bytes(tmp_path / "a") == b"1"


@pytest.mark.parametrize(("uri", "part"), [("gs://b/x", "not supported"), ("s3://", "bucket is missing")])
def test_unusable_uris_get_a_sentence(uri: str, part: str) -> None:
    with pytest.raises(StorageError, match=part):
        storage.files(uri)


def test_names_that_lead_out_are_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tree(tmp_path / "s", {"ok": b"1"})
    monkeypatch.setattr("t2a.storage.places.files", lambda uri: {"ok": 1, "a/../../evil": 1})
    with pytest.raises(StorageError, match=r"a/\.\./\.\./evil"):
        storage.download(source, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_failed_local_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write_bytes(tmp_path / "a", b"old")

    def full(self: Path, data: bytes) -> int:
        self.open("wb").write(data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="the disk is full"):
        storage.write_bytes(tmp_path / "a", b"new")
    with pytest.raises(StorageError, match="the disk is full"):
        storage.check(tmp_path / "new", write=True)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert storage.files(tmp_path) == {"a": 3}
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_while_downloading_is_told(bucket: str, tmp_path: Path, monkeypatch) -> None:
    storage.write_bytes(storage.join(bucket, "a"), b"x" * 200_000)
    real = Path.with_name
    monkeypatch.setattr(Path, "with_name", lambda p, n: Path("/dev/full") if n.endswith(".part") else real(p, n))
    monkeypatch.setattr(Path, "unlink", lambda p, missing_ok=False: None)
    with pytest.raises(StorageError, match=r"s3://.*/a -> .*: the disk is full"):
        storage.download(bucket, tmp_path / "t")


def test_a_read_only_disk_is_told() -> None:
    with pytest.raises(StorageError, match=r"read-only|denied|no such"):
        storage.check("/proc/t2a", write=True)


def test_check_tells_what_is_wrong(s3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    storage.check(s3.uri, write=True)
    storage.check(f"{s3.uri}/not/yet", write=True)
    storage.check(tmp_path / "new", write=True)
    assert storage.files(tmp_path / "new") == {}
    with pytest.raises(StorageError, match="no such file or folder"):
        storage.check(tmp_path / "gone")
    with pytest.raises(StorageError, match=r"there is no bucket 'nope' at http://127.0.0.1:\d+; create it"):
        storage.check("s3://nope/x")
    for name, value, sentence in [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "refuses the secret key; check AWS_SECRET_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID", "wrong", "does not know this access key; check AWS_ACCESS_KEY_ID"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "no good answer from http://127.0.0.1:9 .*AWS_ENDPOINT_URL"),
    ]:
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(StorageError, match=sentence) as caught:
                storage.check(s3.uri, write=True)
        assert "\n" not in str(caught.value)
        assert s3.variables()["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


def test_check_tells_missing_credentials(s3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match="no S3 credentials; set AWS_ACCESS_KEY_ID"):
        storage.check(s3.uri)


def test_refusals_and_missing_things_are_not_tried_again(s3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fs, _ = storage.filesystem(bucket)
    calls: list[str] = []
    real = fs.s3._make_api_call

    async def counted(operation: str, parameters: dict) -> object:
        calls.append(operation)
        return await real(operation, parameters)

    monkeypatch.setattr(fs.s3, "_make_api_call", counted)
    with pytest.raises(StorageError):
        storage.read_bytes("s3://nope/x")
    with pytest.raises(StorageError):
        storage.read_bytes(f"{bucket}/none")
    assert len(calls) <= 4


def test_arrow_reads_and_writes_parquet_in_place(place: str) -> None:
    fs, path = storage.arrow_filesystem(place)
    fs.create_dir(path, recursive=True)
    table = pa.table({"x": list(range(1000))})
    pq.write_table(table, f"{path}/t.parquet", filesystem=fs)
    assert pq.read_table(f"{path}/t.parquet", filesystem=fs).equals(table)
    assert set(storage.files(place)) == {"t.parquet"}


def _read(fs_and_path: bytes) -> bytes:
    fs, path = pickle.loads(fs_and_path)
    with fs.open_input_file(path) as file:
        return file.read()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_through_a_pickled_filesystem_without_secrets(s3, bucket: str, method: str) -> None:
    storage.write_bytes(f"{bucket}/x", b"across")
    fs, path = storage.arrow_filesystem(f"{bucket}/x")
    pickled = pickle.dumps((fs, path))
    assert s3.variables()["AWS_SECRET_ACCESS_KEY"].encode() not in pickled
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(_read, (pickled,)).get(60) == b"across"
        assert pool.apply_async(storage.read_bytes, (f"{bucket}/x",)).get(60) == b"across"


def test_many_threads_share_one_server(bucket: str) -> None:
    def work(i: int) -> bool:
        storage.write_bytes(f"{bucket}/{i}", b"%d" % i)
        return storage.read_bytes(f"{bucket}/{i}") == b"%d" % i

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(64)))
    assert len(storage.files(bucket)) == 64


def test_an_outage_is_waited_for_and_told_once(
    s3, bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    big = os.urandom(3_000_000)
    storage.upload(tree(tmp_path / "up", {f"{i}.bin": big for i in range(8)}), f"{bucket}/before")
    s3.kill()
    restart = threading.Timer(3.0, s3.start)
    restart.start()
    try:
        jobs = [
            lambda: storage.write_bytes(f"{bucket}/a", b"1"),
            lambda: storage.download(f"{bucket}/before", tmp_path / "down"),
            lambda: storage.upload(tmp_path / "up", f"{bucket}/again"),
            lambda: storage.files(bucket),
            lambda: _read(pickle.dumps(storage.arrow_filesystem(f"{bucket}/before/0.bin"))),
        ]
        with ThreadPoolExecutor(len(jobs)) as pool:
            results = [future.result(90) for future in [pool.submit(job) for job in jobs]]
    finally:
        restart.join()
    assert results[4] == big
    assert storage.read_bytes(f"{bucket}/a") == b"1"
    assert set(storage.files(f"{bucket}/again").values()) == {len(big)}
    assert all((tmp_path / "down" / f"{i}.bin").read_bytes() == big for i in range(8))
    told = [r.message for r in caplog.records if r.name == "t2a.storage.s3"]
    waits, goes = [m for m in told if "waiting up to" in m], [m for m in told if "answers again" in m]
    assert len(waits) <= 2, told  # one for the shared filesystem, one for the pickled copy
    assert len(goes) == len(waits)
    assert waits


def test_patience_ends(s3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("T2A_STORAGE_PATIENCE", "1")
    with pytest.raises(StorageError, match="no good answer"):
        storage.read_bytes(f"{bucket}/x")


def test_a_server_that_dies_while_a_body_is_read_is_waited_for(s3, bucket: str, tmp_path: Path) -> None:
    big = os.urandom(60_000_000)  # over s3fs's block size: read in several requests at once
    storage.write_bytes(f"{bucket}/big", big)
    shutil.rmtree(tmp_path / "down", ignore_errors=True)

    def outage() -> None:
        s3.kill()
        s3.start()

    timer = threading.Timer(0.08, outage)
    timer.start()
    try:
        storage.download(bucket, tmp_path / "down")
    finally:
        timer.join()
    assert (tmp_path / "down" / "big").read_bytes() == big
