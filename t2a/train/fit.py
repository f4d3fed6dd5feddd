"""The driver of a run: check everything, start what is needed, hand over to Ray Train, tell how it ended."""

import functools
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ray
import ray.train
import yaml
from ray.train.torch import TorchTrainer
from rich.console import Console

from t2a import storage
from t2a.config import dump, validate
from t2a.data import pipeline
from t2a.data.position import Position
from t2a.errors import ConfigError, InterruptionError, T2AError
from t2a.train.board import hang
from t2a.train.checkpoint import Found, newest_complete
from t2a.train.display import shown
from t2a.train.facts import differing
from t2a.train.interrupt import interruptible
from t2a.train.ready import check_ready
from t2a.train.run import Run
from t2a.train.track import RunHandle, end_run, start_run
from t2a.train.worker import work

RUN = "run.json"  # beside the checkpoints: which MLflow run this is
FROZEN = ("codec", "autoencoder", "vocoder")  # models that a task may name


class Result(NamedTuple):
    """How a run ended."""

    step: int
    metrics: dict[str, float]
    model_uri: str
    run_uri: str
    mlflow_run_id: str | None


def fit(run: Run, progress: bool = True, quiet: bool | None = None) -> Result:
    """Train a run to its last step, from its newest checkpoint if it has one.

    With `progress` it tells how far it is. What its workers log is told too unless it is `quiet`, by default with
    `progress`.

    Uses the Ray that is initialised, the one at RAY_ADDRESS, or a local one of its own. Raises `ConfigError`,
    `DataError`, `StorageError` or `CheckpointError` before anything is started, or what ended the training:
    after Ctrl-C or SIGTERM an `InterruptionError`, as soon as a checkpoint is saved. A run that has come to its last
    step by another recipe is a `ConfigError` too; with more steps, training goes on by the new one.
    """
    run = absolute(run)
    check_ready(run)
    found = newest_complete(run.folder)
    if found and found.step >= run.steps:
        _check_finished(found, run)
        Console(stderr=True).print(f"{run.name} is finished: step {found.step} of {run.steps} at {found.uri}")
        return _result(run, _known(run))
    with cluster(run, quiet=progress if quiet is None else quiet):
        handle = start_run(run.track, run.name, dump(run), run.model_dump(mode="json"), run_id=_known(run))
        status = "FAILED"
        try:
            storage.write_bytes(
                storage.join(run.folder, RUN), json.dumps({"mlflow_run_id": handle and handle.run_id}).encode()
            )
            _train(run, handle, found.step if found else 0, progress)
            status = "FINISHED"
        except (InterruptionError, KeyboardInterrupt):
            status = "KILLED"
            raise
        finally:
            end_run(handle, status)
    return _result(run, handle and handle.run_id)


def _check_finished(found: Found, run: Run) -> None:
    """Refuse to take for the result of a recipe what another one has trained."""
    where = storage.join(found.uri, "recipe.yaml")
    then = validate(type(run), yaml.safe_load(storage.read_bytes(where)), where)
    if changes := differing(then, run):
        some = "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
        raise ConfigError(
            f"{run.name} has come to step {found.step} by another recipe ({where}): {some}. Give the run another name, "
            "or raise steps to go on from there."
        )


def _train(run: Run, handle: RunHandle | None, step: int, progress: bool) -> None:
    stamp = f"{time.time_ns():x}"
    board = hang(f"t2a-{run.name}-{stamp}", step)
    files, path = storage.arrow_filesystem(storage.join(run.folder, "ray"))
    plain = run.model_dump(mode="json")
    trainer = TorchTrainer(
        work,
        train_loop_config={
            "run": plain,
            "board": f"t2a-{run.name}-{stamp}",
            "track": handle and handle._asdict(),
        },
        datasets={"train": functools.partial(planned, plain)},
        # Ray Train replaces the data set's own options by these.
        dataset_config=ray.train.DataConfig(execution_options=pipeline.execution_options()),
        scaling_config=ray.train.ScalingConfig(
            num_workers=run.workers, use_gpu=run.gpu, resources_per_worker=_resources(run)
        ),
        run_config=ray.train.RunConfig(
            name=stamp,
            storage_path=path,
            storage_filesystem=files,
            failure_config=ray.train.FailureConfig(max_failures=run.max_failures),
        ),
    )
    try:
        with shown(run, lambda: ray.get(board.read.remote(), timeout=5), progress):
            interruptible(trainer.fit, lambda: _end(board))
        failure = ray.get(board.read.remote()).failure
    except ray.train.TrainingFailedError as error:
        newest = newest_complete(run.folder)
        raise T2AError(
            f"The training of {run.name} failed more than {run.max_failures} times, at last with: {_reason(error)}. "
            f"Run it again to go on from {newest.uri if newest else 'the beginning'}."
        ) from error
    finally:
        ray.kill(board)
        storage.remove(storage.join(run.folder, "ray"))
    if failure is not None:
        raise failure


def _end(board: Any) -> None:
    board.end.remote()
    Console(stderr=True, soft_wrap=True).print("ending: a checkpoint is saved after this step; once more ends at once")


def planned(plain: dict[str, Any]) -> "ray.data.Dataset":
    """Plan what is left of the stream; called in Ray's controller each time that it starts workers."""
    run = validate(Run, plain, "the run that the driver sent")
    newest = newest_complete(run.folder)
    done, position = (newest.step, newest.position) if newest else (0, Position())
    return pipeline.stream(run.data, run.seed, run.batch_size, max(1, run.steps - done), position)


@contextmanager
def cluster(run: Run, quiet: bool = True) -> Iterator[None]:
    """Have a Ray with room for the workers and for reading data; a local one is ended with the body."""
    ours = not ray.is_initialized()
    needed = run.workers * run.cpus + 1
    if quiet:
        logging.getLogger("ray").setLevel(logging.WARNING)
    if ours and os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level=logging.WARNING)
    elif ours:
        # CPUs are slots: a few more than there are cores let readers and workers share these.
        slots = max(os.cpu_count() or 1, int(needed) + 1)
        ray.init(
            address="local", num_cpus=slots, include_dashboard=False, log_to_driver=not quiet,
            logging_level=logging.WARNING, _system_config=starting(slots),
        )  # fmt: skip
    try:
        have = ray.cluster_resources()
        if have.get("CPU", 0) < needed:
            raise ConfigError(
                f"{run.name} needs {needed:g} CPU slots, workers x cpus = {run.workers} x {run.cpus:g} and one to read "
                f"data, but Ray has {have.get('CPU', 0):g}: lower workers or cpus, or add machines."
            )
        if run.gpu and have.get("GPU", 0) < run.workers:
            raise ConfigError(
                f"{run.name} needs a GPU for each of its {run.workers} workers, but Ray has {have.get('GPU', 0):g}: "
                "lower workers, set gpu=false, or add machines."
            )
        yield
    finally:
        if ours:
            ray.shutdown()


def starting(slots: int) -> dict[str, int]:
    """Let a process for every slot start at once: Ray's raylet warns on the terminal of four times that many.

    By default it is one a core, and on two cores half a CPU for each reader (`t2a.data.pipeline`) gets there.
    """
    return {"worker_maximum_startup_concurrency": slots}


def absolute(run: Run) -> Run:
    """Make local paths absolute: workers run in folders of their own."""
    changes: dict[str, Any] = {
        "out": _absolute(run.out),
        "data": run.data.model_copy(update={"uri": _absolute(run.data.uri)}),
    }
    if run.init is not None:
        changes["init"] = _absolute(run.init)
    parts = {name: part for name in FROZEN if isinstance(part := getattr(run.task, name, None), str)}
    changes["task"] = run.task.model_copy(update={name: _absolute(part) for name, part in parts.items()})
    return run.model_copy(update=changes)


def _absolute(uri: str) -> str:
    return uri if ":/" in uri else str(Path(uri).expanduser().absolute())


def _resources(run: Run) -> dict[str, float]:
    return {"CPU": run.cpus} | ({"GPU": 1} if run.gpu else {})


def _reason(error: BaseException) -> str:
    """The innermost cause of a failed training, in one line."""
    failures = getattr(error, "worker_failures", None)
    inner = next(iter(failures.values())) if failures else error
    return (str(inner).strip().splitlines() or [repr(inner)])[-1]


def _known(run: Run) -> str | None:
    """The MLflow run that this run has had so far."""
    uri = storage.join(run.folder, RUN)
    return json.loads(storage.read_bytes(uri))["mlflow_run_id"] if storage.exists(uri) else None


def _result(run: Run, mlflow_run_id: str | None) -> Result:
    newest = newest_complete(run.folder)
    assert newest is not None
    model = storage.join(newest.uri, "model")
    return Result(newest.step, newest.trainer["metrics"], model, run.folder, mlflow_run_id)
