"""The stream from S3 against a plain torch DataLoader: `pytest tests/benchmarks --benchmark-only -s`."""

import io
import shutil
import statistics
import time
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
import soundfile
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from t2a import storage
from t2a.data import pipeline
from t2a.data.batch import batches
from t2a.data.captions import CaptionConfig, caption
from t2a.data.position import Position
from t2a.data.rows import AudioConfig
from t2a.data.shards import ShardBounds, read_manifest, write_shards

CLIPS, SECONDS, RATE = 2048, 5, 16000
BATCH = 32
CORES = 2


@pytest.fixture(scope="module")
def config(s3) -> AudioConfig:
    """Five-second clips of noisy tones in FLAC, about 100 MB on a real S3 server."""
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(SECONDS * RATE) * rng.uniform(0.01, 0.5, (64, 1))) * 0.3
    files = []
    for voice in wave + rng.normal(0, 0.01, wave.shape):
        file = io.BytesIO()
        soundfile.write(file, voice, RATE, format="FLAC", subtype="PCM_16")
        files.append(file.getvalue())
    row = {"sample_rate": RATE, "channels": 1, "seconds": SECONDS, "captions": ["a tone"], "source": "made"}
    row |= {"licence": "CC0-1.0", "split": "train"}
    rows = (row | {"id": f"{i}", "audio": {"bytes": files[i % 64], "path": None}} for i in range(CLIPS))
    uri = f"{s3.uri}/benchmark"
    write_shards(rows, uri, bounds=ShardBounds(group_rows=128, shard_bytes=32 << 20))
    return AudioConfig(uri=uri, sample_rate=RATE, crop_seconds=1.0, window=512)


@pytest.fixture(scope="module")
def cluster(s3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = f"/tmp/t2a-ray-{tmp_path_factory.getbasetemp().name}"
    ray.init(address="local", num_cpus=CORES, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


class Shards(IterableDataset):
    """What one writes without t2a: row groups dealt out to the workers, the same random crops."""

    def __init__(self, config: AudioConfig) -> None:
        self.config = config
        self.groups = [(s.name, g) for s in read_manifest(config.uri).shards for g in range(len(s.row_groups))]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, str, str]]:
        worker = get_worker_info()
        rng = np.random.default_rng(worker.id)
        filesystem, root = storage.arrow_filesystem(self.config.uri)
        while True:
            for name, group in [self.groups[i] for i in rng.permutation(len(self.groups))][worker.id :: CORES]:
                with filesystem.open_input_file(f"{root}/{name}") as file:
                    rows = pq.ParquetFile(file).read_row_group(group, ["id", "audio", "captions"]).to_pylist()
                for i in rng.permutation(len(rows)):
                    values = self.config.example(rows[i], rng.random()).values
                    wave = torch.from_numpy(values).float() / 32768
                    yield wave, caption(rows[i], rng.random(), CaptionConfig()), rows[i]["id"]


def loader(config: AudioConfig) -> Iterable:
    return iter(DataLoader(Shards(config), batch_size=BATCH, num_workers=CORES, prefetch_factor=4))


def streamed(config: AudioConfig, steps: int) -> Iterable:
    dataset = pipeline.stream(config, 0, BATCH, steps, Position())
    (shard,) = dataset.streaming_split(1, equal=True)
    return batches(shard, config, BATCH, Position())


def clips_a_second(source: Iterator, count: int) -> float:
    """Throughput in the steady state: the start of either side is left out."""
    for _ in range(8):
        next(source)
    begin = time.perf_counter()
    for _ in range(count // BATCH):
        next(source)
    return count / (time.perf_counter() - begin)


@pytest.mark.timeout(600)
def test_the_stream_is_at_least_as_fast_as_a_plain_loader(config, cluster, benchmark):
    """Side by side in turns, since the speed of a machine drifts."""
    plain, ours = [], []

    def compare() -> None:
        for _ in range(3):
            source = loader(config)
            plain.append(clips_a_second(source, 4 * CLIPS))
            source._shutdown_workers()
            stream = streamed(config, steps=1000)
            ours.append(clips_a_second(stream, 4 * CLIPS))
            stream.close()

    benchmark.pedantic(compare, rounds=1)
    ratio = statistics.median(o / p for o, p in zip(ours, plain, strict=True))
    benchmark.extra_info |= {"plain clips/s": plain, "stream clips/s": ours, "ratio": ratio}
    print(f"\nstream {ours} clips/s, DataLoader {plain} clips/s, ratio {ratio:.2f}")
    assert ratio > 0.5  # a guard against a broken pipeline; the goal is 1


@pytest.mark.timeout(600)
def test_a_training_step_hardly_waits_for_data(config, cluster, benchmark, one_thread):
    """A step that computes for a while on one core, as a worker of Ray Train with one CPU does."""
    stream = streamed(config, steps=1000)
    matrix = torch.randn(512, 512)

    def step() -> float:
        next(stream)
        end = time.perf_counter() + 0.15
        while time.perf_counter() < end:
            matrix @ matrix
        return stream.wait

    for _ in range(8):
        step()
    waits: list[float] = []
    begin = time.perf_counter()
    benchmark.pedantic(lambda: waits.append(step()), rounds=100)
    share = sum(waits) / (time.perf_counter() - begin)
    stream.close()
    benchmark.extra_info["data wait share"] = share
    print(f"\nexposed data wait: {share:.2%} of a step")
    assert share < 0.05
