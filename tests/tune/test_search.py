import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import ray
import yaml
from rich.console import Console

from t2a import registry
from t2a.config import dump, load, validate
from t2a.errors import ConfigError, StorageError, T2AError
from t2a.train.checkpoint import Found
from t2a.train.run import Run
from t2a.tune import search, training
from t2a.tune.search import conclude, fitting, ranked, table, tune
from t2a.tune.space import Point, Space
from t2a.tune.training import trial_run
from t2a.tune.trials import Trial
from tests.train.small import audio_corpus, codec_run

SPACE = {"metric": "eval/si_snr", "mode": "max", "space": {"optim.codec.lr": {"choice": [1e-4, 1e-3]}}}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    return audio_corpus(str(tmp_path_factory.mktemp("corpus")))


def written(folder: Path, run: Run, space: dict) -> tuple[Path, Path]:
    (folder / "recipe.yaml").write_text(dump(run))
    (folder / "space.yaml").write_text(yaml.safe_dump(space))
    return folder / "recipe.yaml", folder / "space.yaml"


def trial(value: float, score: float | None, stopped: bool = False) -> Trial:
    figures = {} if score is None else {"eval/si_snr": score, "step": 6}
    failure = "it was not to be: try again" if score is None else None
    return Trial(Point({"optim.codec.lr": value}), figures, 3.0, stopped, failure)


@pytest.fixture
def no_ray(monkeypatch):
    def fail(*_, **__):
        pytest.fail("Ray was started")

    monkeypatch.setattr(ray, "init", fail)


@pytest.fixture
def other_ray():
    """Another user's Ray on this machine."""
    code = "import ray, sys; ray.init(address='local', num_cpus=1, include_dashboard=False); print('up', flush=True)"
    command = [sys.executable, "-c", f"{code}; sys.stdin.read()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while (line := process.stdout.readline()) and b"up" not in line:
        pass
    yield
    process.communicate()


@pytest.mark.parametrize(
    ("dimension", "words"),
    [
        ({"optim.codec.lrr": {"choice": [1e-3]}}, "did you mean lr?"),
        ({"task.model.filters": {"choice": [4, 0]}}, "task.model.filters: should be greater than or equal to 1, not 0"),
        ({"workers": {"choice": [1, 3]}}, "batch_size 8 is not divisible by workers"),
    ],
)
def test_a_point_that_is_no_recipe_is_found_before_ray_starts(tmp_path, corpus, no_ray, dimension, words):
    recipe, space = written(tmp_path, codec_run(str(tmp_path), corpus), SPACE | {"space": dimension})
    with pytest.raises(ConfigError) as error:
        tune(recipe, space)
    assert words in str(error.value)
    assert "space.yaml" in str(error.value)


def test_a_missing_corpus_is_found_before_ray_starts(tmp_path, no_ray):
    recipe, space = written(tmp_path, codec_run(str(tmp_path), str(tmp_path / "nothing")), SPACE)
    with pytest.raises(T2AError):
        tune(recipe, space)


def test_a_trial_is_named_after_what_it_trains(tmp_path, corpus):
    base = codec_run(str(tmp_path), corpus)
    point = Point({"optim.codec.lr": 3e-4})
    first, again, other = (trial_run(base, p, "s") for p in (point, point, Point({"optim.codec.lr": 4e-4})))
    longer = trial_run(base.model_copy(update={"steps": 7}), point, "s")
    assert first == again
    assert len({first.name, other.name, longer.name}) == 3
    assert first.optim["codec"].lr == 3e-4
    assert first.folder.startswith(f"{tmp_path}/codec-search/trial-")


@pytest.mark.parametrize(("mode", "order"), [("max", [3.0, 2.0, 9.0, 0.5]), ("min", [2.0, 3.0, 0.5, 9.0])])
def test_those_that_ran_to_their_end_rank_first_and_failures_last(mode, order):
    plan = validate(Space, SPACE | {"mode": mode}, "s")
    stopped = [trial(1e-4, 9.0, stopped=True), trial(1e-4, 0.5, stopped=True)]
    found = ranked(plan, [*stopped, trial(1e-4, 2.0), trial(1e-4, None), trial(1e-4, 3.0)])
    assert [t.figures.get("eval/si_snr") for t in found] == [*order, None]


@pytest.mark.ray
@pytest.mark.slow
def test_the_cpus_of_a_stopped_trial_become_free_also_beside_another_ray(tmp_path, corpus, monkeypatch, other_ray):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    often = {"checkpoint": {"every": 10, "keep": 2}, "eval": {"every": 10, "rows": 8}, "log_every": 10}
    base = codec_run(str(tmp_path), corpus, steps=200, workers=1, engine={"kind": "plain"}, **often)
    scheduler = {"kind": "asha", "grace": 10, "reduction": 2}
    rates = {"optim.codec.lr": {"choice": [1e-3, 1e-7]}}  # the second is the worse one when less is better
    recipe, space = written(tmp_path, base, SPACE | {"mode": "min", "scheduler": scheduler, "space": rates})
    freed = []

    def wait_until_free(*arguments):
        end = time.monotonic() + 30
        while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"] and time.monotonic() < end:
            time.sleep(0.5)
        freed.append(ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"])

    monkeypatch.setattr(search, "close_stopped", wait_until_free)
    found = tune(recipe, space, progress=False)
    assert [t.stopped for t in found.trials] == [False, True]
    assert freed == [True]
    assert not ray.is_initialized()


def test_when_all_have_failed_the_reason_is_told_and_kept(tmp_path, corpus):
    base, plan = codec_run(str(tmp_path), corpus), validate(Space, SPACE, "s")
    with pytest.raises(T2AError, match=r"All 2 trials .* it was not to be: try again"):
        conclude(base, plan, [trial(1e-4, None), trial(1e-3, None)], str(tmp_path))
    assert [row["failure"] for row in json.loads((tmp_path / "results.json").read_text())]
    assert not (tmp_path / "best.yaml").exists()


def test_the_table_shows_values_metric_and_how_each_ended():
    console = Console(width=160, record=True, file=io.StringIO())
    plan = validate(Space, SPACE, "s")
    console.print(table(plan, [trial(1e-4, 2.5), trial(1e-3, 1.0, True), trial(1e-2, None)]))
    text = console.export_text()
    assert all(word in text for word in ("0.0001", "2.5", "stopped early", "it was not to be", "eval/si_snr"))


@pytest.mark.parametrize(
    ("cpus", "asked", "workers", "room"), [(8, 4, 1, 4), (8, 4, 2, 2), (3, 4, 2, 1), (100, 2, 1, 2)]
)
def test_no_more_trials_at_a_time_than_have_workers_and_a_reader_each(monkeypatch, cpus, asked, workers, room):
    monkeypatch.setattr(search.ray, "cluster_resources", lambda: {"CPU": cpus})
    assert fitting(asked, codec_run("out", "corpus", workers=workers)) == room


def test_figures_of_each_new_checkpoint_are_reported_once_and_storage_may_be_away(tmp_path, corpus, monkeypatch):
    run = codec_run(str(tmp_path), corpus, steps=6)
    seen = [None, Found(2, "u", {"metrics": {"eval/si_snr": 1.0}}), Found(2, "u", {"metrics": {"eval/si_snr": 1.0}})]
    seen += [StorageError("away"), Found(4, "u", {"metrics": {"eval/si_snr": 2.0}}), Found(6, "u", {"metrics": {}})]
    over = threading.Event()

    def newest(_):
        if not seen:
            over.set()
            return None
        found = seen.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(training, "newest_complete", newest)
    monkeypatch.setattr(training, "WATCH_SECONDS", 0.01)
    reports = []
    with training.watching(run, lambda step, figures: reports.append((step, figures["eval/si_snr"]))):
        assert over.wait(5)
    assert reports == [(2, 1.0), (4, 2.0)]


@pytest.mark.ray
def test_a_search_trains_every_point_nests_its_runs_and_goes_on_when_run_again(tmp_path, corpus, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    run = codec_run(str(tmp_path), corpus, steps=4, workers=1, engine={"kind": "plain"}, track={"experiment": "search"})
    recipe, space = written(tmp_path, run, SPACE)
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        found = tune(recipe, space, ["steps=4"], progress=False)
        again = tune(recipe, space, ["steps=4"], progress=False)
    finally:
        ray.shutdown()
    assert len(found.trials) == 2
    assert not any(t.failure or t.stopped for t in found.trials)
    assert found.metric == max(t.figures["eval/si_snr"] for t in found.trials)
    best = load(Run, found.recipe)
    assert (best.name, best.optim["codec"].lr) == ("codec-best", found.point.values["optim.codec.lr"])
    assert (Path(found.model) / "model.safetensors").exists()
    assert [t.figures["eval/si_snr"] for t in again.trials] == [t.figures["eval/si_snr"] for t in found.trials]
    assert max(t.seconds for t in again.trials) < min(t.seconds for t in found.trials)

    client = registry.client(registry.tracking_uri())
    experiment = client.get_experiment_by_name("search")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [r for r in runs if r.info.run_name == "codec-search"]
    children = [r for r in runs if r.info.run_name.startswith("trial-")]
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert len(children) == 2
    assert {r.data.tags["mlflow.parentRunId"] for r in children} <= {r.info.run_id for r in parents}
