import math
import os
import time

import pytest
import ray

from t2a.config import validate
from t2a.errors import DataError
from t2a.tune.space import Space
from t2a.tune.trials import run_trials

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def ray_here(tmp_path_factory):
    ray.init(
        address="local", num_cpus=4, include_dashboard=False, _temp_dir=f"/tmp/{tmp_path_factory.mktemp('r').name}"
    )
    yield
    ray.shutdown()


def space(**changes) -> Space:
    settings = {"metric": "eval/score", "mode": "max", "space": {"a": {"choice": [1, 2, 3]}}}
    return validate(Space, settings | changes, "space")


def search(found: Space, objective, folder, concurrent: int = 2, told=lambda trial: None):
    return run_trials(found, objective, str(folder / "ray"), concurrent=concurrent, told=told)


def test_a_grid_tries_every_combination_with_values_of_any_kind(tmp_path):
    dimensions = {"a": {"choice": [1, 2]}, "b.c": {"choice": [{"x": [1, 2]}, None, "word"]}}
    heard = []
    trials = search(
        space(space=dimensions),
        lambda point, report: {"eval/score": point.values["a"], "model": repr(point.values["b.c"])},
        tmp_path,
        told=heard.append,
    )
    assert sorted((t.point.values["a"], t.figures["model"]) for t in trials) == sorted(
        (a, repr(c)) for a in (1, 2) for c in ({"x": [1, 2]}, None, "word")
    )
    assert all(t.figures["eval/score"] == t.point.values["a"] and not t.stopped and not t.failure for t in trials)
    assert heard == trials
    assert not (tmp_path / "ray").exists()


def test_failures_are_told_and_the_others_go_on(tmp_path):
    def objective(point, report):
        match point.values["a"]:
            case 1:
                raise DataError("the shard is cut short: copy it again")
            case 2:
                return {"eval/other": 1.0}
            case 3:
                return {"eval/score": math.nan}
            case 4:
                raise RuntimeError("a fault of the program")
            case 5:
                os._exit(1)
        return {"eval/score": 0.5}

    trials = search(space(space={"a": {"choice": [1, 2, 3, 4, 5, 6]}}), objective, tmp_path)
    told = {t.point.values["a"]: t.failure for t in trials}
    assert told[1] == "the shard is cut short: copy it again"
    assert told[2] == "no eval/score among its figures: eval/other"
    assert told[3] == "eval/score is nan"
    assert told[4] == "RuntimeError: a fault of the program"
    assert told[5] == "its process was killed or its machine was lost"
    assert told[6] is None


def test_optuna_keeps_to_the_space_and_its_seed_decides_the_trials(tmp_path):
    dimensions = {
        "a": {"uniform": [0, 1]},
        "b": {"loguniform": [1e-4, 1]},
        "c": {"integer": [1, 3]},
        "d": {"choice": [{"v": 0}, {"v": 1}]},
    }
    found = space(space=dimensions, search={"kind": "optuna", "seed": 1}, trials=5, mode="min")
    first, again = (search(found, lambda point, report: {"eval/score": point.values["a"]}, tmp_path, 1) for _ in "12")
    assert [t.point for t in first] == [t.point for t in again]
    assert len({t.point.values["a"] for t in first}) == 5
    for trial in first:
        a, b, c, d = trial.point.values.values()
        assert 0 <= a <= 1
        assert 1e-4 <= b <= 1
        assert c in (1, 2, 3)
        assert d in ({"v": 0}, {"v": 1})


def test_asha_stops_the_worse_ones_and_keeps_what_they_had_reached(tmp_path):
    def objective(point, report):
        for step in range(1, 9):
            report(step, {"eval/score": point.values["a"] + step / 100})
            time.sleep(0.05)
        return {"eval/score": point.values["a"] + 1.0, "step": 8}

    dimensions = {"a": {"choice": [6, 5, 4, 3, 2, 1]}}
    trials = search(
        space(space=dimensions, scheduler={"kind": "asha", "grace": 2, "reduction": 2}), objective, tmp_path, 1
    )
    best = max(trials, key=lambda t: t.figures["eval/score"])
    assert (best.point.values["a"], best.figures["eval/score"], best.stopped) == (6, 7.0, False)
    stopped = [t for t in trials if t.stopped]
    assert len(stopped) >= 3
    assert all(t.figures["step"] < 8 for t in stopped)


def test_no_more_trials_run_at_a_time_than_are_asked_for(tmp_path):
    def objective(point, report):
        start = time.time()
        time.sleep(1.5)
        return {"eval/score": 0.0, "start": start, "end": time.time()}

    trials = search(space(), objective, tmp_path, concurrent=2)
    overlaps = [sum(o.figures["start"] <= t.figures["start"] < o.figures["end"] for o in trials) for t in trials]
    assert max(overlaps) == 2
    assert all(1.5 <= trial.seconds < 3 for trial in trials)
