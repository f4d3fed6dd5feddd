"""Workers, machines and storage that are lost in mid-training: the run completes and misses and repeats no row."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from t2a.models.codec import Codec
from t2a.train.checkpoint import newest_complete
from t2a.train.fit import fit
from t2a.train.run import Run
from tests.cluster.history import check_exactly_once, logged
from tests.train.small import audio_corpus, codec_run

pytestmark = pytest.mark.ray


def workers() -> list[psutil.Process]:
    """The training workers below this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def once(run: Run, step: int, strike: Callable[[], None]) -> threading.Thread:
    """Strike once, as soon as a checkpoint of `step` or later is complete."""

    def wait() -> None:
        while True:
            found = newest_complete(run.folder)
            if found and found.step >= step:
                strike()
                return
            time.sleep(0.1)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def kill_a_worker() -> None:
    workers()[-1].kill()


def check_complete(run: Run, model_uri: str) -> None:
    check_exactly_once(run)
    assert Codec.from_pretrained(model_uri).config == run.task.model


def test_a_killed_worker_is_replaced_and_one_worker_ends_what_two_began(local_ray, tmp_path: Path) -> None:
    corpus = audio_corpus(str(tmp_path / "corpus"))
    run = codec_run(str(tmp_path / "runs"), corpus, steps=14)
    killer = once(run, 4, kill_a_worker)
    result = fit(run, progress=False)
    killer.join(timeout=1)
    assert not killer.is_alive()
    assert result.step == 14
    check_complete(run, result.model_uri)

    fewer = run.model_copy(update={"steps": 18, "workers": 1})
    result = fit(fewer, progress=False)
    assert result.step == 18
    check_complete(fewer, result.model_uri)
    assert set(logged(fewer)[2]) == {1, 2}


def test_a_lost_machine_is_done_without(tmp_path: Path) -> None:
    run = codec_run(str(tmp_path / "runs"), audio_corpus(str(tmp_path / "corpus")), steps=12)
    with machines(3) as cluster:

        def lose_a_machine() -> None:
            raylet = workers()[0].parent()
            lost = next(n for n in cluster.worker_nodes if raylet.pid == n.all_processes["raylet"][0].process.pid)
            cluster.remove_node(lost, allow_graceful=False)

        striker = once(run, 4, lose_a_machine)
        result = fit(run, progress=False)
        striker.join(timeout=1)
        assert not striker.is_alive()
        assert len(cluster.worker_nodes) == 2
    assert result.step == 12
    check_complete(run, result.model_uri)


def test_training_waits_for_the_storage_to_come_back(s3, bucket: str, local_ray) -> None:
    run = codec_run(f"{bucket}/runs", audio_corpus(f"{bucket}/corpus"), steps=12)

    def restart() -> None:
        s3.kill()
        time.sleep(30)
        s3.start()

    striker = once(run, 4, restart)
    result = fit(run, progress=False)
    striker.join(timeout=1)
    assert not striker.is_alive()
    assert result.step == 12
    check_complete(run, result.model_uri)


@contextmanager
def machines(count: int) -> Iterator[Cluster]:
    """A cluster of a head without CPUs and `count` machines with two each, all on this one."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(count):
            cluster.add_node(num_cpus=2)
        ray.init(address=cluster.address, log_to_driver=False)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
