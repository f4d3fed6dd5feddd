"""`t2a tune`: search recipe overrides, each trial a whole training run nested in the search's MLflow run."""

import json
import logging
import math
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from t2a import storage
from t2a.config import dump, load
from t2a.errors import T2AError
from t2a.train.checkpoint import newest_complete
from t2a.train.fit import RUN, absolute, cluster, starting
from t2a.train.ready import check_ready
from t2a.train.run import Run
from t2a.train.track import RunHandle, end_run, start_run
from t2a.tune.space import AshaScheduler, Point, Space
from t2a.tune.training import MODEL, search_folder, slots, train_point, trial_run
from t2a.tune.trials import STEP, Trial, run_trials

DASHBOARD = "RAY_API_SERVER_ADDRESS"


class Found(NamedTuple):
    """What a search has found. `recipe` is the URI of best.yaml, `model` of what the best trial has trained."""

    point: Point
    metric: float
    recipe: str
    model: str
    trials: list[Trial]


def tune(recipe: str | Path, space: str | Path, overrides: Sequence[str] = (), *, progress: bool = True) -> Found:
    """Search `space` over `recipe`, print the trials, best first, and write results.json and best.yaml.

    Everything lies in `out/NAME-search`; the same search, run again, takes finished trials from there and resumes
    others. Raises `ConfigError` before Ray is started, `T2AError` when every trial has failed.
    """
    base, plan = absolute(load(Run, recipe, overrides)), load(Space, space)
    runs = [trial_run(base, point, str(space)) for point in plan.points() or map(Point, plan.corners())]
    check_ready(runs[0])
    widest = max(runs, key=slots)
    folder = search_folder(base)
    with local_ray(plan, widest), cluster(widest):
        concurrent = fitting(plan.concurrent, widest)
        params = {"recipe": str(recipe), "space": str(space), "trials": plan.count, "concurrent": concurrent}
        handle = start_run(base.track, f"{base.name}-search", dump(plan), params)
        status = "FAILED"
        try:
            with shown(plan, progress) as told:
                objective = partial(train_point, base, handle, isinstance(plan.scheduler, AshaScheduler))
                trials = run_trials(plan, objective, storage.join(folder, "ray"), concurrent=concurrent, told=told)
            close_stopped(base, trials, handle)
            found = conclude(base, plan, trials, folder)
            status = "FINISHED"
        finally:
            end_run(handle, status)
    Console().print(table(plan, ranked(plan, trials)))
    Console().print(f"best: {found.point.text}\n{found.recipe}", highlight=False, soft_wrap=True)
    return found


@contextmanager
def local_ray(plan: Space, widest: Run) -> Iterator[None]:
    """For a search that stops trials, a local Ray with its dashboard, unless there is a Ray already.

    A stopped trial's process is killed; what frees the CPUs of its workers then asks the dashboard who is alive.
    Without one they stay taken, and with a second Ray on the machine it has to be told which dashboard is ours.
    """
    stops = isinstance(plan.scheduler, AshaScheduler)
    if ray.is_initialized() or os.environ.get("RAY_ADDRESS") or not stops:
        yield
        return
    folder = tempfile.mkdtemp(prefix="t2a-tune-", dir="/tmp")  # sockets need a short path
    port = free_port()
    before = os.environ.get(DASHBOARD)
    os.environ[DASHBOARD] = f"http://127.0.0.1:{port}"
    try:
        cpus = max(os.cpu_count() or 1, math.ceil(slots(widest)) + 1)
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=port,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _temp_dir=folder,
            _system_config=starting(cpus),
        )
        yield
    finally:
        ray.shutdown()
        if before is None:
            del os.environ[DASHBOARD]
        else:
            os.environ[DASHBOARD] = before
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fitting(asked: int, run: Run) -> int:
    """How many trials at a time the cluster has room for, at most `asked`: too many would wait for each other."""
    have = ray.cluster_resources()
    room = int(have.get("CPU", 0) / slots(run))
    if run.gpu:
        room = min(room, int(have.get("GPU", 0) / run.workers))
    if room < asked:
        Console(stderr=True, soft_wrap=True).print(
            f"{asked} trials at a time were asked for, there is room for {room}: each takes {slots(run):g} CPU slots "
            f"of {have.get('CPU', 0):g}"
        )
    return max(1, min(asked, room))


def close_stopped(base: Run, trials: Sequence[Trial], handle: RunHandle | None) -> None:
    """End the MLflow runs of trials that the scheduler has stopped: their drivers could not any more."""
    for trial in trials:
        told = storage.join(trial_run(base, trial.point, "the search").folder, RUN)
        if handle and (trial.stopped or trial.failure) and storage.exists(told):
            run_id = json.loads(storage.read_bytes(told))["mlflow_run_id"]
            if run_id:
                end_run(handle._replace(run_id=run_id), "KILLED" if trial.stopped else "FAILED")


def ranked(plan: Space, trials: Sequence[Trial]) -> list[Trial]:
    """Best first; then those that were stopped, as others did better at the same step; failures last."""
    sign = -1 if plan.mode == "max" else 1

    def place(trial: Trial) -> tuple[bool, bool, float]:
        return trial.failure is not None, trial.stopped, 0 if trial.failure else sign * trial.figures[plan.metric]

    return sorted(trials, key=place)


def conclude(base: Run, plan: Space, trials: Sequence[Trial], folder: str) -> Found:
    """Write what was found; `T2AError` when there is nothing."""
    order = ranked(plan, trials)
    rows = [
        {"values": t.point.values, "figures": dict(t.figures), "seconds": t.seconds, "stopped": t.stopped,
         "failure": t.failure}
        for t in order
    ]  # fmt: skip
    storage.write_bytes(storage.join(folder, "results.json"), json.dumps(rows, indent=2, default=str).encode())
    if not order or order[0].failure:
        reason = order[0].failure if order else "there was none"
        raise T2AError(f"All {len(order)} trials of {folder} have failed, the first with: {reason}")
    best = order[0]
    run = trial_run(base, best.point, "the search")
    recipe = storage.join(folder, "best.yaml")
    again = run.model_copy(update={"name": f"{base.name}-best", "out": base.out, "track": base.track})
    storage.write_bytes(recipe, dump(again).encode())
    newest = newest_complete(run.folder)
    model = best.figures.get(MODEL) or (storage.join(newest.uri, "model") if newest else run.folder)
    return Found(best.point, best.figures[plan.metric], recipe, model, order)


def table(plan: Space, trials: Sequence[Trial]) -> Table:
    """The trials as a table."""
    drawn = Table(*plan.space, plan.metric, "steps", "seconds", "", title=f"{len(trials)} trials, best first")
    for trial in trials:
        values = [json.dumps(v) if not isinstance(v, float) else f"{v:.4g}" for v in trial.point.values.values()]
        metric = "–" if trial.failure else f"{trial.figures[plan.metric]:.4g}"
        state = trial.failure or ("stopped early" if trial.stopped else "")
        drawn.add_row(*values, metric, str(trial.figures.get(STEP, "–")), f"{trial.seconds:.0f}", state)
    return drawn


@contextmanager
def shown(plan: Space, visible: bool) -> Iterator[Any]:
    """A bar that counts trials; a line for each that ends."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True, soft_wrap=True)
    with Progress(*columns, transient=True, console=console, disable=not visible) as bar:
        task = bar.add_task("trials", total=plan.count)

        def told(trial: Trial) -> None:
            news = trial.failure or f"{plan.metric} {trial.figures[plan.metric]:.4g}"
            stopped = f", stopped at step {trial.figures.get(STEP)}" if trial.stopped else ""
            bar.advance(task)
            if visible:
                bar.console.print(f"{trial.point.text}: {news}{stopped}", highlight=False, markup=False)

        yield told
