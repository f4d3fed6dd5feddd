import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from mlflow import MlflowClient
from PIL import Image

from t2a.train.reporter import NullReporter, Reporter
from t2a.train.track import RunHandle, TrackConfig, start_run


@pytest.fixture
def handle(mlflow_server) -> RunHandle:
    return start_run(TrackConfig(uri=mlflow_server.uri, experiment="reporter"), "r", "", {})


def values(handle: RunHandle, key: str) -> list[tuple[int, float]]:
    found = MlflowClient(handle.tracking_uri).get_metric_history(handle.run_id, key)
    return sorted((m.step, m.value) for m in found)


def artifacts(handle: RunHandle, path: str | None = None) -> list[str]:
    found = MlflowClient(handle.tracking_uri).list_artifacts(handle.run_id, path)
    return sorted(name for f in found for name in (artifacts(handle, f.path) if f.is_dir else [f.path]))


def fetch(handle: RunHandle, path: str, folder: Path) -> bytes:
    return Path(MlflowClient(handle.tracking_uri).download_artifacts(handle.run_id, path, str(folder))).read_bytes()


def test_metrics_and_artifacts_arrive_and_the_run_ends(handle: RunHandle, tmp_path: Path) -> None:
    reporter = Reporter(handle, folder=tmp_path / "outbox")
    for step in range(30):
        reporter.metrics(step, {"loss/mel": step / 3, "odd:na#me": float("inf")})
    time_axis = np.arange(8000) / 16000
    wave = np.stack([np.sin(2 * np.pi * 440 * time_axis)] * 2).astype(np.float32) / 2
    reporter.audio(7, "recon/0", wave, 16000)
    figure = Figure()
    figure.subplots().plot([1, 2])
    reporter.figure(7, "curve", figure)
    reporter.text("notes/a.txt", "hello")
    reporter.json("facts.json", {"rows": 3})
    reporter.close()
    assert values(handle, "loss/mel") == [(step, step / 3) for step in range(30)]
    assert len(values(handle, "odd_na_me")) == 30
    audio = "audio/recon/0/step_00000007"
    assert artifacts(handle) == [
        f"{audio}.png", f"{audio}.wav", "facts.json", "figures/curve/step_00000007.png", "notes/a.txt", "recipe.yaml"
    ]  # fmt: skip
    heard, rate = soundfile.read(io.BytesIO(fetch(handle, f"{audio}.wav", tmp_path)), always_2d=True)
    assert rate == 16000
    np.testing.assert_allclose(heard.T, wave, atol=1e-4)
    picture = np.asarray(Image.open(io.BytesIO(fetch(handle, f"{audio}.png", tmp_path))).convert("L"))
    assert picture.std() > 10
    assert MlflowClient(handle.tracking_uri).get_run(handle.run_id).info.status == "FINISHED"
    assert not (tmp_path / "outbox").exists()


def test_a_wave_may_be_changed_after_it_was_handed_over(handle: RunHandle, tmp_path: Path) -> None:
    reporter = Reporter(handle, folder=tmp_path / "outbox")
    wave = np.full((1, 4000), 0.5, np.float32)
    reporter.audio(1, "x", wave, 16000)
    wave[:] = 0
    reporter.close()
    heard, _ = soundfile.read(io.BytesIO(fetch(handle, "audio/x/step_00000001.wav", tmp_path)))
    assert heard.min() > 0.49


def test_one_bad_artifact_does_not_stop_the_rest(handle: RunHandle, tmp_path: Path, caplog) -> None:
    reporter = Reporter(handle, folder=tmp_path / "outbox")
    reporter.audio(1, "bad", np.zeros((0, 0, 3), np.float32), 16000)
    reporter.text("good.txt", "x")
    reporter.metrics(1, {"x": 1})
    reporter.close()
    assert "good.txt" in artifacts(handle)
    assert values(handle, "x") == [(1, 1.0)]
    assert "Cannot log audio/bad/step_00000001" in caplog.text


def test_status_none_leaves_the_run_open(handle: RunHandle, tmp_path: Path, caplog) -> None:
    Reporter(handle, folder=tmp_path / "outbox").close(None)
    assert MlflowClient(handle.tracking_uri).get_run(handle.run_id).info.status == "RUNNING"
    assert not caplog.records


def test_the_machine_is_measured_too(handle: RunHandle, tmp_path: Path) -> None:
    reporter = Reporter(handle, system_seconds=0.2, folder=tmp_path / "outbox")
    reporter.metrics(5, {"x": 1})
    time.sleep(1.5)
    reporter.close()
    keys = {key for key in MlflowClient(handle.tracking_uri).get_run(handle.run_id).data.metrics if key != "x"}
    assert keys >= {f"system/{n}" for n in ("cpu_percent", "memory_percent", "disk_used_percent", "net_sent_mb_s")}
    assert 0 < values(handle, "system/memory_percent")[0][1] <= 100


def test_every_metric_arrives_once_through_a_killed_server(mlflow_server, handle, tmp_path: Path, caplog) -> None:
    reporter = Reporter(handle, system_seconds=1e9, folder=tmp_path / "outbox")
    longest = 0.0
    for step in range(400):
        began = time.perf_counter()
        reporter.metrics(step, {"loss/a": step / 7, "loss/b": -step})
        if step % 100 == 0:
            reporter.audio(step, "x", np.zeros((1, 1600), np.float32), 16000)
        longest = max(longest, time.perf_counter() - began)
        if step == 100:
            mlflow_server.kill()
        if step == 300:
            assert not reporter.outbox.empty
            mlflow_server.start()
        time.sleep(0.012)
    reporter.close(patience=60)
    assert values(handle, "loss/a") == [(step, step / 7) for step in range(400)]
    assert values(handle, "loss/b") == sorted((step, -step) for step in range(400))
    assert sum(name.endswith(".wav") for name in artifacts(handle)) == 4
    assert MlflowClient(handle.tracking_uri).get_run(handle.run_id).info.status == "FINISHED"
    told = [r.message for r in caplog.records if r.name == "t2a.train.reporter"]
    assert Counter("is back" in t for t in told) == {True: 1, False: 1}, told
    assert longest < 0.25
    assert not (tmp_path / "outbox").exists()


def test_what_could_not_be_sent_is_named_and_sent_by_the_next_reporter(
    handle: RunHandle, tmp_path: Path, caplog
) -> None:
    away = handle._replace(tracking_uri="http://127.0.0.1:9")
    reporter = Reporter(away, folder=tmp_path / "outbox")
    reporter.metrics(1, {"x": 1})
    reporter.text("note.txt", "n")
    began = time.monotonic()
    reporter.close(patience=1)
    assert time.monotonic() - began < 6
    assert f"is kept in {tmp_path / 'outbox'} and is sent when the run goes on here" in caplog.text
    again = Reporter(handle, folder=tmp_path / "outbox")
    again.metrics(2, {"x": 2})
    again.close()
    assert values(handle, "x") == [(1, 1.0), (2, 2.0)]
    assert "note.txt" in artifacts(handle)


def test_a_server_that_hangs_does_not_stall_and_loses_nothing(mlflow_server, handle, tmp_path: Path) -> None:
    reporter = Reporter(handle, system_seconds=1e9, folder=tmp_path / "outbox")
    os.killpg(mlflow_server.process.pid, signal.SIGSTOP)
    try:
        reporter.metrics(1, {"x": 1})
        time.sleep(1.5)
        reporter.metrics(2, {"x": 2})
        began = time.monotonic()
        reporter.close(patience=1)
        assert time.monotonic() - began < 4
    finally:
        os.killpg(mlflow_server.process.pid, signal.SIGCONT)
    Reporter(handle, system_seconds=1e9, folder=tmp_path / "outbox").close(patience=60)
    assert values(handle, "x") == [(1, 1.0), (2, 2.0)]


def test_metrics_of_a_killed_process_are_sent_by_its_successor(handle: RunHandle, tmp_path: Path) -> None:
    code = f"""
import os, signal, time
from pathlib import Path
from t2a.train.reporter import Reporter
from t2a.train.track import RunHandle
handle = RunHandle("http://127.0.0.1:9", {handle.experiment_id!r}, {handle.run_id!r})
reporter = Reporter(handle, folder=Path({str(tmp_path / "outbox")!r}))
reporter.metrics(1, {{"x": 1}})
while reporter.outbox.empty:
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    with (tmp_path / "outbox" / "metrics.jsonl").open("a") as file:
        file.write('["x", 1.0, 17')  # killed within a line
    Reporter(handle, folder=tmp_path / "outbox").close()
    assert values(handle, "x") == [(1, 1.0)]


def test_artifacts_that_pile_up_push_out_the_oldest(handle: RunHandle, tmp_path: Path, caplog) -> None:
    reporter = Reporter(handle, folder=tmp_path / "outbox")
    for i in range(70):
        reporter.text(f"t/{i}.txt", str(i))
    reporter.text("t/69.txt", "newer")
    reporter.close()
    found = artifacts(handle, "t")
    assert "t/69.txt" in found
    assert fetch(handle, "t/69.txt", tmp_path) == b"newer"
    assert len(found) + caplog.text.count("is not logged") == 70


def test_the_null_reporter_takes_everything() -> None:
    reporter = NullReporter()
    reporter.metrics(1, {"x": 1})
    reporter.audio(1, "x", np.zeros((1, 3)), 16000)
    reporter.text("a", "b")
    reporter.json("a", {})
    reporter.close()
