import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from t2a.errors import T2AError
from t2a.train.outbox import Record
from t2a.train.redact import redact
from t2a.train.track import TrackConfig, end_run, history, send_metrics, start_run

SECRET = "s3cr3t-enough"


@pytest.fixture
def config(mlflow_server) -> TrackConfig:
    return TrackConfig(uri=mlflow_server.uri, experiment="spine")


@pytest.fixture
def client(mlflow_server) -> MlflowClient:
    return MlflowClient(mlflow_server.uri)


def test_a_run_holds_its_recipe_and_flat_parameters(config: TrackConfig, client: MlflowClient, tmp_path: Path) -> None:
    params = {"steps": 3, "task": {"kind": "lm", "model": {"heads": [1, 2]}}, "note": None, "empty": {}}
    params |= {f"p{i}": i for i in range(250)}
    handle = start_run(config, "first", "steps: 3\n", params)
    run = client.get_run(handle.run_id)
    assert run.info.run_name == "first"
    assert run.info.status == "RUNNING"
    assert client.get_experiment(handle.experiment_id).name == "spine"
    got = run.data.params
    assert (got["steps"], got["task.kind"], got["task.model.heads"]) == ("3", "lm", "[1, 2]")
    assert (got["note"], got["empty"], got["p249"]) == ("null", "{}", "249")
    assert Path(client.download_artifacts(handle.run_id, "recipe.yaml", str(tmp_path))).read_text() == "steps: 3\n"
    end_run(handle, "FAILED")
    assert client.get_run(handle.run_id).info.status == "FAILED"


def test_a_run_goes_on_with_other_parameters(config: TrackConfig, client: MlflowClient, tmp_path: Path) -> None:
    first = start_run(config, "r", "workers: 2\n", {"workers": 2})
    end_run(first, "KILLED")
    again = start_run(config, "r", "workers: 1\n", {"workers": 1, "new": "x"}, run_id=first.run_id)
    assert again == first
    run = client.get_run(first.run_id)
    assert run.info.status == "RUNNING"
    assert run.data.params == {"workers": "2", "new": "x"}
    assert Path(client.download_artifacts(first.run_id, "recipe.yaml", str(tmp_path))).read_text() == "workers: 1\n"


def test_a_run_that_is_gone_is_started_anew(config: TrackConfig, caplog: pytest.LogCaptureFixture) -> None:
    handle = start_run(config, "r", "", {}, run_id="0" * 32)
    assert handle.run_id != "0" * 32
    assert "is gone; a new one is started" in caplog.text


def test_secrets_of_the_environment_are_not_logged(
    config: TrackConfig, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN", "SOME_API_KEY"):
        monkeypatch.setenv(name, SECRET + name)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/me/token")
    recipe = "".join(f"{n}: {SECRET}{n}\n" for n in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN"))
    recipe += f"uri: https://me:{SECRET}@host/x\npath: /home/me/token\n"
    handle = start_run(config, "r", recipe, {"a": {"b": recipe}, "c": [SECRET + "SOME_API_KEY"]})
    text = Path(client.download_artifacts(handle.run_id, "recipe.yaml", str(tmp_path))).read_text()
    assert SECRET not in text
    assert SECRET not in str(client.get_run(handle.run_id).data.params)
    assert "uri: https://***@host/x\npath: /home/me/token" in text


def test_ordinary_text_is_not_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY_TOKEN", "")
    monkeypatch.setenv("SHORT_SECRET", "a")
    assert redact("a path s3://bucket/x:y and http://host:80/a@b") == "a path s3://bucket/x:y and http://host:80/a@b"


def test_an_unreachable_server_is_told_in_seconds() -> None:
    config = TrackConfig(uri="http://me:pass-word@127.0.0.1:9")
    with pytest.raises(
        T2AError, match=r"Cannot track the run at http://\*\*\*@127.0.0.1:9: .*track.enabled=false"
    ) as e:
        start_run(config, "r", "", {})
    assert "\n" not in str(e.value)
    assert "pass-word" not in str(e.value)


def test_tracking_can_be_off() -> None:
    assert start_run(TrackConfig(enabled=False, uri="http://127.0.0.1:9"), "r", "", {}) is None
    end_run(None, "FINISHED")


def test_a_server_that_is_away_at_the_end_is_only_warned_of(config, caplog: pytest.LogCaptureFixture) -> None:
    handle = start_run(config, "r", "", {})
    end_run(handle._replace(tracking_uri="http://127.0.0.1:9"), "FINISHED")
    assert "does not learn that the run ended" in caplog.text


def test_without_a_server_a_database_in_the_current_folder_serves_all_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "driver").mkdir()
    monkeypatch.chdir(tmp_path / "driver")
    handle = start_run(TrackConfig(), "r", "steps: 1\n", {})
    monkeypatch.chdir(tmp_path)
    send_metrics(MlflowClient(handle.tracking_uri), handle.run_id, [Record("loss/x", 1.0, 5, 2)])
    assert history(handle.run_id, handle.tracking_uri) == {"loss/x": [(2, 1.0)]}
    assert list((tmp_path / "driver").rglob("recipe.yaml"))
    assert not (tmp_path / "mlflow.db").exists()


def test_the_same_metrics_sent_twice_count_once(config: TrackConfig, client: MlflowClient) -> None:
    handle = start_run(config, "r", "", {})
    records = [Record("x", i / 7, 1000 + i, i) for i in range(1500)]
    send_metrics(client, handle.run_id, records[:700])
    send_metrics(client, handle.run_id, records)
    assert len(client.get_metric_history(handle.run_id, "x")) == 1500


def test_history_takes_the_newer_of_two_values_of_a_step(config: TrackConfig, client: MlflowClient) -> None:
    handle = start_run(config, "r", "", {})
    records = [Record("x", 1.0, 10, 1), Record("x", 2.0, 20, 2), Record("x", 9.0, 30, 1)]
    send_metrics(client, handle.run_id, records)
    assert history(handle.run_id, config.uri) == {"x": [(1, 9.0), (2, 2.0)]}


def test_drivers_that_create_one_experiment_at_once_share_it(mlflow_server) -> None:
    barrier = threading.Barrier(4)

    def start(i: int) -> str:
        barrier.wait()
        return start_run(TrackConfig(uri=mlflow_server.uri, experiment="crowd"), f"r{i}", "", {}).experiment_id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(start, range(4)))) == 1
