"""The training loop: a generator task, its engines, a source of batches. It knows no task, no cluster, no storage."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from t2a.data.position import Position
from t2a.errors import DataError, InterruptionError, T2AError
from t2a.tasks.task import Task
from t2a.train.averages import Averages
from t2a.train.ema import Ema
from t2a.train.evaluation import evaluate, evaluating
from t2a.train.optim import lr_at
from t2a.train.protocol import Engine
from t2a.train.ranks import Ranks
from t2a.train.run import Run

Batch = dict[str, Any]
Progress = Callable[[int, dict[str, float]], None]


class NonFiniteError(T2AError):
    """A loss or a gradient is no longer a number."""


class Listener(Protocol):
    """Where metrics and sounds go; those of all but the first rank go nowhere."""

    def metrics(self, step: int, values: dict[str, float]) -> None: ...

    def audio(self, step: int, name: str, wave: Tensor, rate: int) -> None: ...


class Source(Protocol):
    """This rank's batches; `position` covers exactly those taken."""

    position: Position

    def __next__(self) -> Batch: ...


class Keeper(Protocol):
    """Who saves checkpoints; see `t2a.train.checkpoint.Checkpoints`."""

    uploaded: int
    failure: Exception | None
    last: str | None

    def save(self, step: int, metrics: Mapping[str, float], rows: list[tuple[int, list[str]]]) -> None: ...

    def complete(self, uploaded: int) -> None: ...

    def finish(self) -> None: ...


class Loop:
    """Trains `task` up to `run.steps`; every rank runs the same loop.

    `engines` and `emas` have the task's network names as keys. `source` gives this rank's share of each global batch,
    `held_out` its evaluation batches (equally many on every rank). `progress(step, metrics)` is called at each log.
    Once `asked` says on any rank that the run should end, all save after the step they are in, and leave.

    With accumulation a batch is cut into micro-batches, and a network descends when the task yields it for the last.
    """

    def __init__(
        self,
        run: Run,
        task: Task,
        engines: dict[str, Engine],
        emas: dict[str, Ema],
        source: Source,
        held_out: list[Batch],
        ranks: Ranks,
        reporter: Listener,
        keeper: Keeper,
        progress: Progress = lambda step, metrics: None,
        asked: Callable[[], bool] = lambda: False,
    ):
        self.run, self.task, self.engines, self.emas = run, task, engines, emas
        self.source, self.ranks = source, ranks
        self.held_out = [on_device(batch, ranks.device) for batch in held_out]
        self.reporter, self.keeper, self.progress, self.asked = reporter, keeper, progress, asked
        self.averages = Averages()
        self.metrics: dict[str, float] = {}  # the newest value of each
        self._rows: list[tuple[int, list[str]]] = []  # (step, ids) since the last checkpoint, when they are logged
        self._suspects: list[str] = []  # rows of this rank behind a non-finite number in the last step
        self._unfit = False
        self._leaving = False

    def train(self, start: int) -> dict[str, float]:
        """Run the steps from `start` on and return the newest metrics.

        Raises `NonFiniteError`, `DataError`, ..., and `InterruptionError` when asked to end.
        """
        run = self.run
        for engine in self.engines.values():
            engine.train()
        for step in range(start, run.steps):
            began = time.perf_counter()
            batch = self._take(step)
            self.averages.add("time/wait", time.perf_counter() - began)
            self._descend(step, batch)
            self.averages.add("time/step", time.perf_counter() - began)
            done, last = step + 1, step + 1 == run.steps
            if done % run.log_every == 0 or last:
                self._log(done)
            if run.eval and (done % run.eval.every == 0 or last):
                self._evaluate(done)
            if done % run.checkpoint.every == 0 or last or self._leaving:
                self._agree(done)  # weights are worth keeping only if this step was fit on every rank
                self.keeper.save(done, self.metrics, self._rows)
                self._rows = []
            if self._leaving and not last:
                self._leave(done)
        return self.metrics

    def _take(self, step: int) -> Batch:
        """Get the next batch; what went wrong since the last one, on any rank, is raised here on all of them."""
        batch, trouble = None, None
        try:
            batch = next(self.source)
        except StopIteration:
            trouble = DataError(f"The stream of rows ended before step {step + 1} of {self.run.steps}.")
        except Exception as error:
            trouble = error
        self._agree(step, trouble)
        assert batch is not None
        if self.run.log_rows:
            self._rows.append((step, batch["ids"]))
        return on_device(batch, self.ranks.device)

    def _descend(self, step: int, batch: Batch) -> None:
        """One optimizer step of every network the task yields."""
        unfit: list[tuple[Tensor, list[str]]] = []
        norms: dict[str, float] = {}
        for micro in split(batch, self.run.engine.accumulate):
            for name, loss, logs in self.task.losses(self.engines, micro, step):
                engine = self.engines[name]
                engine.backward(loss)
                lr = lr_at(self.run.optim[name], step, self.run.steps)
                if engine.step(lr):
                    norms[name] = engine.grad_norm or 0.0
                    self.averages.add(f"lr/{name}", lr)
                    if name in self.emas:
                        self.emas[name].update(step)
                unfit.append((~torch.isfinite(loss.detach()), micro["ids"]))
                for key, value in logs.items():
                    self.averages.add(key if "/" in key else f"loss/{key}", value)
        for name, norm in norms.items():
            self.averages.add(f"grad/{name}", norm)
        self._suspects = list(dict.fromkeys(row for bad, ids in unfit if bad.item() for row in ids))
        self._unfit = bool(self._suspects) or not all(math.isfinite(norm) for norm in norms.values())

    def _agree(self, step: int, trouble: Exception | None = None) -> None:
        """Find out whether any rank is in trouble or asked to end, and what all have uploaded (collective)."""
        trouble = trouble or self.keeper.failure
        told = [trouble is not None, self._unfit, -self.keeper.uploaded, self.asked()]
        failed, unfit, missing, leaving = self.ranks.highest(told)
        self._leaving = bool(leaving)
        if failed:
            self.ranks.settle(trouble)
        if unfit:
            self.keeper.finish()
            raise self._non_finite(step)
        self.keeper.complete(-missing)

    def _leave(self, step: int) -> None:
        self.keeper.finish()
        raise InterruptionError(
            f"{self.run.name} was asked to end after step {step} of {self.run.steps}; the same command goes on from "
            f"{self.keeper.last}."
        )

    def _non_finite(self, step: int) -> NonFiniteError:
        suspects = self.ranks.gather(self._suspects)
        rows = "; ".join(f"rank {rank}: {', '.join(ids)}" for rank, ids in enumerate(suspects) if ids)
        where = f"in these rows ({rows})" if rows else "in the gradients alone, the losses were finite"
        last = f"the last good checkpoint is {self.keeper.last}" if self.keeper.last else "there is no checkpoint yet"
        return NonFiniteError(
            f"Step {step} of {self.run.name} met a number that is not finite {where}; {last}. "
            "Look at the rows, lower optim.*.lr or engine.clip, then run it again."
        )

    def _log(self, step: int) -> None:
        values = self.averages.collect(self.ranks)
        values["data/wait"] = values.pop("time/wait") / values["time/step"]
        position = self.source.position
        values["data/skipped"] = position.skips.skipped + sum(self.ranks.gather(position.fresh.skipped))
        values["rows"] = step * self.run.batch_size
        self._report(step, values)
        self.progress(step, self.metrics)

    def _evaluate(self, step: int) -> None:
        began = time.perf_counter()
        values = evaluate(self.task, self.engines, self.held_out, self.ranks, self.run.seed)
        with evaluating(self.engines, self.ranks, self.run.seed):
            for name, (wave, rate) in self.task.samples(self.engines, self.held_out[0]).items():
                self.reporter.audio(step, name, wave, rate)
        self._report(step, values | {"time/eval": time.perf_counter() - began})

    def _report(self, step: int, values: dict[str, float]) -> None:
        self.metrics |= values
        self.reporter.metrics(step, values)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Move the tensors of a batch."""
    return {
        key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value for key, value in batch.items()
    }


def split(batch: Batch, count: int) -> Iterator[Batch]:
    """Cut the rows of a batch into `count` equal micro-batches: tensors, lists, mappings and tuples of them."""
    size = len(batch["ids"]) // count
    for first in range(0, size * count, size):
        yield _rows(batch, slice(first, first + size))


def _rows(value: Any, rows: slice) -> Any:
    if isinstance(value, Mapping):
        return {key: _rows(item, rows) for key, item in value.items()}
    if isinstance(value, tuple):  # a named one, as of states and their mask
        return type(value)(*(_rows(item, rows) for item in value))
    return value if isinstance(value, str) else value[rows]
