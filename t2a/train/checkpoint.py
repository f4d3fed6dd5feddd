"""Checkpoints of a run: saved by all ranks, uploaded behind the training's back, complete once `trainer.json` is there.

<run>/step_XXXXXXXX/state/<network>/...     each rank's weights and optimizer state, and the whole float32 average
                    state/rng-00000.safetensors  the random state of each rank
                    model/                  what others use: config.json, model.safetensors, README.md
                    recipe.yaml
                    rows/                   the rows each rank took since the last checkpoint, if they are logged
                    trainer.json            written last: step, position, versions, and every other file with its size
"""

import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

from t2a import storage
from t2a.config import dump
from t2a.data.batch import Batches
from t2a.data.position import Position
from t2a.errors import CheckpointError, StorageError
from t2a.nn.lora import merged
from t2a.tasks.task import Task
from t2a.train.card import model_card
from t2a.train.ema import Ema
from t2a.train.facts import facts
from t2a.train.protocol import Engine
from t2a.train.ranks import Ranks
from t2a.train.run import Run

TRAINER, AVERAGE = "trainer.json", "average.safetensors"


class Found(NamedTuple):
    """A complete checkpoint in storage."""

    step: int
    uri: str
    trainer: dict[str, Any]

    @property
    def position(self) -> Position:
        return Position.from_json(self.trainer["position"])


def newest_complete(run_uri: str) -> Found | None:
    """Find the newest checkpoint of which every file is there in its full size."""
    for name in sorted(_steps(run_uri), reverse=True):
        found = _read(storage.join(run_uri, name))
        if found is not None:
            return found
    return None


def _steps(run_uri: str) -> list[str]:
    return [name for name in storage.folders(run_uri) if name.startswith("step_")]


def _read(uri: str) -> Found | None:
    """Read a step folder's trainer.json; None when it or a file that it lists is missing or cut off."""
    files = storage.files(uri)
    if TRAINER not in files:
        return None
    try:
        trainer = json.loads(storage.read_bytes(storage.join(uri, TRAINER)))
    except ValueError:
        return None
    except StorageError:
        if TRAINER in storage.files(uri):
            raise
        return None  # removed since it was listed, as newer ones had come
    whole = all(files.get(name) == size for name, size in trainer["files"].items())
    return Found(trainer["step"], uri, trainer) if whole else None


class Checkpoints:
    """Saves the checkpoints of one run. `save`, `complete` and `finish` are called by all ranks together.

    A rank writes its part to `scratch`, and a thread of its own uploads it. Once every rank has uploaded a checkpoint
    (`complete`), the first writes trainer.json and removes the oldest, in its thread again. Training waits only when
    a checkpoint is due while the one before is still on its way.
    """

    def __init__(
        self,
        run: Run,
        task: Task,
        engines: dict[str, Engine],
        emas: dict[str, Ema],
        source: Batches,
        ranks: Ranks,
        scratch: Path,
        resumed: Found | None,
    ):
        self.run, self.task, self.engines, self.emas = run, task, engines, emas
        self.source, self.ranks, self.scratch = source, ranks, scratch / f"rank-{ranks.rank}"
        self.uploaded = 0
        self.failure: Exception | None = None
        self.last = resumed.uri if resumed else None
        self._saved = self.last  # complete or on its way
        self._resumed = resumed
        self._completed = 0
        self._trainers: list[dict[str, Any]] = []  # of every checkpoint saved
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._work: Future[None] | None = None

    def save(self, step: int, metrics: Mapping[str, float], rows: list[tuple[int, list[str]]]) -> None:
        """Write the checkpoint after `step` steps to the local disk and begin to upload it."""
        self._wait()
        folder = self.scratch / f"step_{step:08d}"
        shutil.rmtree(folder, ignore_errors=True)
        for name, engine in self.engines.items():
            engine.save(folder / "state" / name)
        weights = {n: self.emas[n].export() if n in self.emas else e.full() for n, e in self.engines.items()}
        position = Position.merge([Position.from_json(p) for p in self.ranks.gather(self.source.position.to_json())])
        self.source.rebase(position)
        trainer = {
            **facts(self.run, self.engines, self.ranks.size),
            "step": step,
            "previous": self._saved,
            "position": position.to_json(),
            "metrics": dict(metrics),
        }
        save_file(_random_state(), folder / "state" / f"rng-{self.ranks.rank:05d}.safetensors")
        if self.run.log_rows:
            (folder / "rows").mkdir()
            (folder / "rows" / f"{self.ranks.rank:05d}.json").write_text(json.dumps(rows))
        self.ranks.each(lambda: self._write_once(folder, weights, trainer), self.ranks.first)
        trainer["files"] = {name: size for part in self.ranks.gather(_files(folder)) for name, size in part.items()}
        self._trainers.append(trainer)
        self._saved = self._uri(step)
        self._work = self._thread.submit(self._guard, self._upload, folder)

    def complete(self, uploaded: int) -> None:
        """Declare the first `uploaded` checkpoints complete: every rank has uploaded them."""
        for trainer in self._trainers[self._completed : uploaded]:
            self.last = self._uri(trainer["step"])
            self._completed += 1
            if self.ranks.first:
                self._work = self._thread.submit(self._guard, self._complete, trainer)

    def finish(self) -> None:
        """Wait until everything saved is complete in storage. Raises what an upload has failed with."""
        self._wait()
        self.ranks.settle(self.failure)
        self.complete(len(self._trainers))
        self._wait()
        self.ranks.settle(self.failure)
        self._thread.shutdown()

    def _write_once(self, folder: Path, weights: dict[str, dict[str, torch.Tensor]], trainer: dict[str, Any]) -> None:
        for name in self.engines:
            # Tied weights share memory, which safetensors refuses.
            tensors = {key: tensor.clone().contiguous() for key, tensor in weights[name].items()}
            save_file(tensors, folder / "state" / name / AVERAGE)
        model = folder / "model"
        model.mkdir()
        self.task.export({name: merged(tensors) for name, tensors in weights.items()}, model)
        (model / "README.md").write_text(model_card(self.run, trainer))
        (folder / "recipe.yaml").write_text(dump(self.run))

    def _upload(self, folder: Path) -> None:
        storage.upload(folder, self._uri(int(folder.name.removeprefix("step_"))))
        shutil.rmtree(folder)
        self.uploaded += 1

    def _complete(self, trainer: dict[str, Any]) -> None:
        """Write trainer.json and remove all but the newest checkpoints."""
        storage.write_bytes(storage.join(self._uri(trainer["step"]), TRAINER), json.dumps(trainer, indent=1).encode())
        known = [name for name in _steps(self.run.folder) if name <= f"step_{trainer['step']:08d}"]
        for name in sorted(known)[: -self.run.checkpoint.keep]:
            uri = storage.join(self.run.folder, name)
            if self._resumed is None or uri != self._resumed.uri:
                remove(uri)

    def _guard(self, work: Callable[[Any], None], argument: Any) -> None:
        """Keep what `work` fails with; after a failure nothing more is uploaded or declared complete."""
        try:
            if self.failure is None:
                work(argument)
        except Exception as error:
            self.failure = error

    def _wait(self) -> None:
        if self._work is not None:
            self._work.result()

    def _uri(self, step: int) -> str:
        return storage.join(self.run.folder, f"step_{step:08d}")


def restore(found: Found, engines: dict[str, Engine], emas: dict[str, Ema], ranks: Ranks, scratch: Path) -> None:
    """Load a checkpoint into fresh engines (collective); `resumable` has found nothing against it.

    The engines must be prepared for a universal checkpoint if `needs_conversion`.
    """
    folder = scratch / "restore"
    nearest = ranks.local_rank == 0
    ranks.each(lambda: storage.download(storage.join(found.uri, "state"), folder), nearest)
    for name, engine in engines.items():
        state = folder / name
        if needs_conversion(found, ranks.size):
            from t2a.train.engine import to_universal

            ranks.each(lambda name=name: to_universal(folder / name, folder / f"{name}-universal"), nearest)
            state = folder / f"{name}-universal"
        engine.load(state)
        whole = load_file(folder / name / AVERAGE)
        engine.fill(whole)  # DeepSpeed's conversion leaves behind buffers, as codebooks are, and frozen weights
        if name in emas:
            emas[name].restore(whole)
    random = folder / f"rng-{ranks.rank:05d}.safetensors"
    if found.trainer["workers"] == ranks.size:
        _set_random_state(load_file(random))
    ranks.gather(None)  # all have read
    if nearest:
        shutil.rmtree(folder)


def needs_conversion(found: Found | None, size: int) -> bool:
    """Whether a checkpoint's partitioned state comes from another number of ranks."""
    if found is None or found.trainer["workers"] == size:
        return False
    engine = found.trainer["engine"]
    return engine["kind"] == "deepspeed" and engine["zero"] > 0


def resumable(found: Found, run: Run, engines: dict[str, Engine]) -> None:
    """Raise `CheckpointError` when a checkpoint does not fit the run's networks and engines."""
    now = json.loads(json.dumps(facts(run, engines, found.trainer["workers"])))
    for what in ("engine", "networks"):
        if now[what] != found.trainer[what]:
            raise CheckpointError(
                f"{found.uri} was saved with other {what} ({_difference(found.trainer[what], now[what])}); "
                f"restore it in the recipe, or start a new run under another name."
            )


def clean(run_uri: str, newest: Found | None) -> None:
    """Remove what an interrupted run has left half-written."""
    for name in _steps(run_uri):
        uri = storage.join(run_uri, name)
        if (newest is None or uri != newest.uri) and _read(uri) is None:
            remove(uri)


def remove(uri: str) -> None:
    """Remove a checkpoint so that it is at no moment taken for a complete one."""
    storage.remove(storage.join(uri, TRAINER))
    storage.remove(uri)


def _difference(then: Any, now: Any) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
        return ", ".join(f"{key}: {then.get(key, 'none')} then, {now.get(key, 'none')} now" for key in keys[:3])
    return f"{then} then, {now} now"


def _files(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _set_random_state(state: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
