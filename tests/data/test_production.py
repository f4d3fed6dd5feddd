"""Clips made part by part by real actors, with a stand-in for the model."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import ray

from t2a import storage
from t2a.audio.io import decode
from t2a.data import production
from t2a.data.production import PLAN, Pool, produce
from t2a.data.shards import MANIFEST, read_manifest, read_rows, write_shards
from t2a.data.wanted import Wanted
from t2a.errors import ConfigError, DataError, T2AError

RATE = 8000
WANTED = [Wanted(id=f"clip/{i}", caption=f"sound {i}", seed=i, split="test") for i in range(7)]


class Hum:
    """A constant of seed / 100; it notes each caption in a file, and stops at the caption that `stop` names."""

    sample_rate = RATE

    def __init__(self, log: Path, stop: str = "", how: str = ""):
        self.log, self.stop, self.how = log, stop, how

    def __call__(self, captions, seeds):
        with self.log.open("a") as file:
            file.writelines(f"{caption}\n" for caption in captions)
        if self.stop in captions:
            {"refuse": self.refuse, "die": lambda: os._exit(1)}[self.how]()
        return [np.full((1, 400), seed / 100, np.float32) for seed in seeds]

    def refuse(self):
        raise ConfigError("this model cannot: ask another one.")


@pytest.fixture(scope="module")
def cluster(s3, tmp_path_factory):
    """Started after the S3 server, to which the environment of its processes then points."""
    folder = f"/tmp/t2a-ray-{tmp_path_factory.getbasetemp().name}-p"  # short: sockets lie in it
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    yield
    ray.shutdown()


def make(uri: str, log: Path, stop: str = "", how: str = "", **changes):
    options = {"part_rows": 2, "pool": Pool(actors=2)} | changes
    wanted = options.pop("wanted", WANTED)
    return produce(wanted, uri, partial(Hum, log, stop, how), {"model": "hum", "seconds": 0.05}, **options)


def content(uri: str) -> dict[str, float]:
    return {row["id"]: float(decode(row["audio"]["bytes"])[0].mean()) for row in read_rows(uri, "test")}


EXPECTED = {row.id: pytest.approx(row.seed / 100, abs=1e-4) for row in WANTED}


@pytest.mark.ray
def test_clips_become_a_corpus_of_which_only_what_is_missing_is_made_again(cluster, place, tmp_path):
    log, told = tmp_path / "log", []
    manifest = make(place, log, skipped={"no caption": 3}, progress=lambda *count: told.append(count))
    assert content(place) == EXPECTED
    assert list(content(place)) == [row.id for row in WANTED]
    row = next(read_rows(place, "test"))
    assert (row["captions"], row["seed"], row["sample_rate"], row["seconds"]) == (["sound 0"], 0, RATE, 0.05)
    assert manifest == read_manifest(place)
    assert (manifest.made_from["model"], manifest.skipped) == ("hum", {"no caption": 3})
    assert (sorted(told)[-1], len(told)) == ((7, 7), 4)
    make(place, log)  # all is there
    assert len(log.read_text().splitlines()) == 7
    for path in ([MANIFEST], ["part-00001", MANIFEST]):
        storage.remove(storage.join(place, *path))
    storage.write_bytes(storage.join(place, "part-00001", "test-00000.parquet"), b"PAR1 half")
    log.unlink()
    make(place, log)
    assert log.read_text().splitlines() == ["sound 2", "sound 3"]
    assert content(place) == EXPECTED
    with pytest.raises(DataError, match=f"other captions or settings .see {PLAN}"):
        make(place, log, wanted=WANTED[:3])
    storage.write_bytes(storage.join(place, "mine.txt"), b"kept")
    make(place, log, wanted=WANTED[:3], overwrite=True)
    assert len(content(place)) == 3
    left = {name.partition("/")[0] for name in storage.files(place)}
    assert left == {"part-00000", "part-00001", MANIFEST, PLAN, "mine.txt"}


@pytest.mark.ray
def test_what_was_written_before_a_stop_is_not_made_again(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(production, "RESTARTS", 0)
    uri, log = str(tmp_path / "out"), tmp_path / "log"
    with pytest.raises(T2AError, match="An actor died"):
        make(uri, log, stop="sound 4", how="die", pool=Pool(actors=1))
    with pytest.raises(ConfigError, match=r"^this model cannot: ask another one\.$"):
        make(uri, log, stop="sound 6", how="refuse", pool=Pool(actors=1))
    assert not storage.exists(storage.join(uri, MANIFEST))
    finished = [name for name in storage.folders(uri) if storage.exists(storage.join(uri, name, MANIFEST))]
    assert finished == ["part-00000", "part-00001", "part-00002"]
    log.unlink()
    told = []
    make(uri, log, progress=lambda *count: told.append(count))
    assert content(uri) == EXPECTED
    assert log.read_text().splitlines() == ["sound 6"]
    assert told == [(6, 7), (7, 7)]


@pytest.mark.ray
def test_more_actors_than_the_cluster_holds_are_refused(cluster, tmp_path):
    with pytest.raises(ConfigError, match="5 actors need 10 CPUs, the cluster has 3"):
        make(str(tmp_path), tmp_path / "log", pool=Pool(actors=5, cpus=2))


def test_a_corpus_that_was_not_made_so_is_refused_before_ray_starts(tmp_path, tone, monkeypatch):
    monkeypatch.setattr(production, "_cluster", lambda pool: pytest.fail("Ray was started"))
    write_shards([tone(0)], str(tmp_path))
    with pytest.raises(DataError, match="There is a corpus at"):
        make(str(tmp_path), tmp_path / "log")


def test_what_was_planned_and_never_begun_gives_way(tmp_path, tone, monkeypatch):
    monkeypatch.setattr(production, "_made", lambda *_: iter(()))
    monkeypatch.setattr(production, "_finish", lambda *_: None)
    make(str(tmp_path / "out"), tmp_path / "log")
    first = (tmp_path / "out" / PLAN).read_bytes()
    make(str(tmp_path / "out"), tmp_path / "log", wanted=WANTED[:3])
    assert (tmp_path / "out" / PLAN).read_bytes() != first
    write_shards([tone(0)], str(tmp_path / "out" / "part-00000"))
    with pytest.raises(DataError, match="holds clips of another model"):
        make(str(tmp_path / "out"), tmp_path / "log")
