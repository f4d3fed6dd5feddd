"""What every worker of a run does: build, restore, train. Under Ray Train, or on its own in one process."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from t2a.config import validate
from t2a.data.batch import batches, held_out
from t2a.data.position import Position
from t2a.errors import T2AError
from t2a.train.checkpoint import Checkpoints, Found, clean, needs_conversion, newest_complete, restore, resumable
from t2a.train.ema import Ema
from t2a.train.loop import Listener, Loop, Progress
from t2a.train.plain import PlainEngine
from t2a.train.protocol import Engine
from t2a.train.ranks import Ranks
from t2a.train.reporter import NullReporter, Reporter
from t2a.train.run import Run
from t2a.train.start import networks, parameters
from t2a.train.track import RunHandle


@dataclass(frozen=True)
class Outcome:
    """Where a run has come to."""

    step: int
    metrics: dict[str, float]
    checkpoint: str | None


def train(
    run: Run,
    ranks: Ranks,
    rows: Callable[[], Any],
    reporter: Listener,
    progress: Progress = lambda step, metrics: None,
    asked: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train from the newest complete checkpoint to the last step; all ranks call it together.

    `rows` gives this rank's part of the stream, see `t2a.data.batch.batches`; `asked` says when to save and leave
    before the last step. A `T2AError` is raised on all ranks.
    """
    found = ranks.decide(lambda: _newest(run))
    start = found.step if found else 0
    if found and start >= run.steps:
        return Outcome(start, found.trainer["metrics"], found.uri)
    task = ranks.each(run.task.build)
    assert task is not None
    torch.manual_seed(run.seed)
    made = ranks.each(lambda: networks(run, task, resumed=found is not None))
    assert made is not None
    if not found:
        reporter.metrics(start, parameters(made))
    engines = _engines(run, made, ranks, universal=needs_conversion(found, ranks.size))
    emas = {name: Ema(engine, run.engine.ema) for name, engine in engines.items()} if run.engine.ema else {}
    torch.manual_seed(hash((run.seed, start, ranks.rank)))  # ranks must draw different dropout, crops, ...
    scratch = _scratch(run, ranks)
    try:
        if found:
            resumable(found, run, engines)
            restore(found, engines, emas, ranks, scratch)
        position = found.position if found else Position()
        source = batches(rows(), run.data, run.batch_size // ranks.size, position)
        keeper = Checkpoints(run, task, engines, emas, source, ranks, scratch, found)
        held = _held_out(run, ranks)
        loop = Loop(run, task, engines, emas, source, held, ranks, reporter, keeper, progress, asked)
        metrics = loop.train(start)
        keeper.finish()
        source.close()
        return Outcome(run.steps, metrics, keeper.last)
    finally:
        shutil.rmtree(scratch / f"rank-{ranks.rank}", ignore_errors=True)
        (scratch / f"pid-{os.getpid()}").unlink()
        if not _users(scratch):
            shutil.rmtree(scratch, ignore_errors=True)


def _newest(run: Run) -> Found | None:
    found = newest_complete(run.folder)
    clean(run.folder, found)
    return found


def _engines(run: Run, made: dict[str, nn.Module], ranks: Ranks, universal: bool) -> dict[str, Engine]:
    micro_batch = run.batch_size // ranks.size // run.engine.accumulate
    engines: dict[str, Engine] = {}
    for name, network in made.items():
        if run.engine.kind == "plain":
            engines[name] = PlainEngine(network, run.optim[name], run.engine, ranks.device)
        else:
            from t2a.train.engine import ZeroEngine

            engines[name] = ZeroEngine(network, run.optim[name], run.engine, ranks.device, micro_batch, universal)
    return engines


def _held_out(run: Run, ranks: Ranks) -> list[dict[str, Any]]:
    if run.eval is None:
        return []
    size = run.batch_size // ranks.size // run.engine.accumulate
    given = ranks.each(lambda: held_out(run.data, run.eval.split, size, ranks.rank, ranks.size, run.eval.rows))
    assert given is not None
    return given


def _scratch(run: Run, ranks: Ranks) -> Path:
    """Make a folder for this group of workers on each machine; what killed ones have left there is removed."""
    stamp = ranks.decide(lambda: f"{time.time_ns():x}")
    temporary = Path(tempfile.gettempdir())
    folder = temporary / f"t2a-{run.name}-{stamp}"
    (folder / f"rank-{ranks.rank}").mkdir(parents=True)
    (folder / f"pid-{os.getpid()}").touch()
    for other in temporary.glob(f"t2a-{run.name}-*"):
        pids = _users(other)
        if pids and not any(Path("/proc", pid).exists() for pid in pids):
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _users(scratch: Path) -> list[str]:
    """Ids of the processes that have a folder in use; none where another one has removed it just now."""
    try:
        return [file.name.removeprefix("pid-") for file in scratch.glob("pid-*")]
    except FileNotFoundError:
        return []


def work(settings: dict[str, Any]) -> None:
    """Be one worker of Ray Train; `settings` are plain values that `t2a.train.fit` has put together.

    A `T2AError` would be the same after a restart: it is left on the board for the driver, and the worker ends. All
    else is raised, and Ray replaces the workers.
    """
    import ray
    import ray.train

    run = validate(Run, settings["run"], "the run that the driver sent")
    board = ray.get_actor(settings["board"])
    ranks = Ranks()
    torch.set_num_threads(max(1, int(run.cpus)))
    handle = RunHandle(**settings["track"]) if settings["track"] and ranks.first else None
    reporter = Reporter(handle, run.track.system_seconds) if handle else NullReporter()

    def progress(step: int, metrics: dict[str, float]) -> None:
        if ranks.first:
            board.tell.remote(step, metrics)

    end = board.asked.remote()

    def asked() -> bool:
        return ranks.first and bool(ray.wait([end], timeout=0)[0])

    try:
        outcome = train(run, ranks, lambda: ray.train.get_dataset_shard("train"), reporter, progress, asked)
    except T2AError as error:
        if ranks.first:
            ray.get(board.fail.remote(error))
        return
    finally:
        reporter.close(status=None)
    ray.train.report({**outcome.metrics, "step": outcome.step, "checkpoint_path": outcome.checkpoint})
