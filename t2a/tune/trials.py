"""Trials under Ray Tune: points of a space go into an objective, figures come out. Knows nothing of training."""

import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune as ray_tune
from ray.tune import Callback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from t2a import storage
from t2a.errors import T2AError
from t2a.tune.space import AshaScheduler, Choice, LogUniform, Point, Space, Uniform

log = logging.getLogger(__name__)

STEP, INDEX = "step", "point"
NAMES, SECONDS, FAILURE, FINISHED = "t2a/names", "t2a/seconds", "t2a/failure", "t2a/finished"  # beside the figures
DRIVER = {"CPU": 0, "memory": 2**20}  # of a trial; it only waits, and Ray wants to hear of something

Figures = Mapping[str, Any]
Report = Callable[[int, Figures], None]
Objective = Callable[[Point, Report], Figures]
"""Takes a point and gives its figures, the space's metric among them; it may report some on the way, by step."""


@dataclass(frozen=True)
class Trial:
    """What came of one point. `figures` are the last ones; `failure` says in a sentence why there is no metric."""

    point: Point
    figures: Figures
    seconds: float
    stopped: bool = False
    failure: str | None = None


def run_trials(
    space: Space, objective: Objective, folder: str, *, concurrent: int, told: Callable[[Trial], None]
) -> list[Trial]:
    """Try the points of `space`, `concurrent` at a time, on the Ray that is initialised; `told` hears of each end.

    `folder` is a URI that all machines see, for Ray's own files; it is removed afterwards. The objective travels to
    other processes; what it starts there under Ray is not counted here, so `concurrent` has to fit the cluster.
    """
    points = space.points()
    files, path = storage.arrow_filesystem(folder)
    collector = Collector(space, points, told)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    # The figures go to MLflow and to `told`: no files of Tune's, and no tables (its new ones ignore `verbose`).
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}

    def trainable(config: dict[str, Any]) -> None:
        ray_tune.report(_figures(space, objective, point_of(space, points, config)))

    tuner = ray_tune.Tuner(
        ray_tune.with_resources(trainable, DRIVER),
        param_space={INDEX: ray_tune.grid_search(list(range(len(points))))} if points else domains(space),
        tune_config=ray_tune.TuneConfig(
            metric=space.metric,
            mode=space.mode,
            num_samples=1 if points else space.count,
            max_concurrent_trials=concurrent,
            search_alg=None if points else OptunaSearch(seed=space.search.seed),
            scheduler=_scheduler(space),
        ),
        run_config=ray_tune.RunConfig(
            name="tune", storage_path=path, storage_filesystem=files, verbose=0, callbacks=[collector]
        ),
    )
    try:
        tuner.fit()
    finally:
        storage.remove(folder)
    return collector.trials


def domains(space: Space) -> dict[str, Any]:
    """The space as Ray Tune draws from it; a choice is drawn by its number, as Optuna takes no mappings."""
    drawn: dict[str, Any] = {}
    for path, dimension in space.space.items():
        match dimension:
            case Choice():
                drawn[path] = ray_tune.choice(list(range(len(dimension.choice))))
            case Uniform():
                drawn[path] = ray_tune.uniform(*dimension.uniform)
            case LogUniform():
                drawn[path] = ray_tune.loguniform(*dimension.loguniform)
            case _:
                low, high = dimension.integer
                drawn[path] = ray_tune.randint(low, high + 1)
    return drawn


def point_of(space: Space, points: list[Point], config: Mapping[str, Any]) -> Point:
    """What a trial of Ray Tune's config tries."""
    if INDEX in config:
        return points[config[INDEX]]
    return Point(
        {path: d.choice[config[path]] if isinstance(d, Choice) else config[path] for path, d in space.space.items()}
    )


class Collector(Callback):
    """Hears from Ray Tune how trials end."""

    def __init__(self, space: Space, points: list[Point], told: Callable[[Trial], None]):
        self.space, self.points, self.told = space, points, told
        self.trials: list[Trial] = []

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray Tune keeps a copy to restore a search from; ours are not restored that way

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._add(trial, dict(trial.last_result))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        # What an objective raises never gets here: its process has gone, killed for want of memory more often than not.
        self._add(trial, dict(trial.last_result) | {FAILURE: "its process was killed or its machine was lost"})

    def _add(self, trial: Any, figures: dict[str, Any]) -> None:
        failure = figures.get(FAILURE)
        own = {} if failure else {name: figures[name] for name in figures.get(NAMES, ())}
        stopped = failure is None and FINISHED not in figures
        point = point_of(self.space, self.points, trial.config)
        self.trials.append(Trial(point, own, figures.get(SECONDS, 0.0), stopped, failure))
        self.told(self.trials[-1])


def _figures(space: Space, objective: Objective, point: Point) -> dict[str, Any]:
    """The last report of a trial; a failed one reports the worst of metrics, and the search goes on."""
    worst = {space.metric: -math.inf if space.mode == "max" else math.inf}
    began = time.monotonic()

    def told(figures: Figures) -> dict[str, Any]:
        return {**figures, NAMES: list(figures), SECONDS: time.monotonic() - began}

    def report(step: int, figures: Figures) -> None:
        if math.isfinite(figures.get(space.metric, math.nan)):
            ray_tune.report(told({**figures, STEP: step}))

    try:
        figures = objective(point, report)
    except T2AError as error:
        return told(worst) | {FAILURE: str(error)}
    except Exception as error:
        log.exception("trial %s", point.text)
        return told(worst) | {FAILURE: f"{type(error).__name__}: {error}"}
    if space.metric not in figures:
        return told(worst) | {FAILURE: f"no {space.metric} among its figures: {', '.join(sorted(figures))}"}
    if not math.isfinite(figures[space.metric]):
        return told(worst) | {FAILURE: f"{space.metric} is {figures[space.metric]}"}
    return told(figures) | {FINISHED: True}


def _scheduler(space: Space) -> ASHAScheduler | None:
    if not isinstance(space.scheduler, AshaScheduler):
        return None
    # Trials end by themselves: the rungs have no last one.
    return ASHAScheduler(
        time_attr=STEP, max_t=2**31, grace_period=space.scheduler.grace, reduction_factor=space.scheduler.reduction
    )
