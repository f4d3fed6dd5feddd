"""The objective of a recipe search: train the recipe with a point's values in it."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

from t2a import storage
from t2a.config import dump, validate
from t2a.errors import StorageError
from t2a.train.checkpoint import newest_complete
from t2a.train.fit import absolute, fit
from t2a.train.run import Run
from t2a.train.track import RunHandle
from t2a.tune.space import Point
from t2a.tune.trials import STEP, Figures, Report

WATCH_SECONDS = 2.0
MODEL = "model"


def trial_run(base: Run, point: Point, where: str, parent: RunHandle | None = None) -> Run:
    """The run of a point. Its name is made of what it trains, so that a search that is run again finds it."""
    mapping = point.applied_to(base.model_dump(mode="json"))
    run = absolute(validate(Run, mapping, f"{where}, {point.text}"))
    content = dump(run.model_copy(update={"name": "trial", "out": "", "track": base.track}))
    name = f"trial-{hashlib.sha256(content.encode()).hexdigest()[:10]}"
    track = run.track.model_copy(
        update={
            "uri": parent.tracking_uri if parent else run.track.uri,
            "parent": parent.run_id if parent else run.track.parent,
        }
    )
    return run.model_copy(update={"name": name, "out": search_folder(base), "track": track})


def search_folder(base: Run) -> str:
    return storage.join(base.out, f"{base.name}-search")


def train_point(base: Run, parent: RunHandle | None, watch: bool, point: Point, report: Report) -> Figures:
    """The objective: train a point, give its last figures; with `watch`, those of every checkpoint on the way."""
    run = trial_run(base, point, "the search", parent)
    with watching(run, report) if watch else nullcontext():
        result = fit(run, progress=False)
    return {**result.metrics, STEP: result.step, MODEL: result.model_uri}


@contextmanager
def watching(run: Run, report: Report) -> Iterator[None]:
    """Report the figures of each new checkpoint while the body runs."""
    over = threading.Event()

    def follow() -> None:
        known = 0
        while not over.wait(WATCH_SECONDS):
            with suppress(StorageError):  # the training waits for storage longer than we do, and tells of it
                found = newest_complete(run.folder)
                if found and known < found.step < run.steps:
                    known = found.step
                    report(found.step, found.trainer["metrics"])

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def slots(run: Run) -> float:
    """CPU slots that a trial takes: its workers, and one to read data."""
    return run.workers * run.cpus + 1
