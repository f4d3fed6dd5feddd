"""The progress line of a run in the driver's terminal."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from t2a.train.board import Notice
from t2a.train.run import Run

EVERY_SECONDS = 0.5


@contextmanager
def shown(run: Run, read: Callable[[], Notice], visible: bool) -> Iterator[None]:
    """Show steps, loss, rows per second and the time that remains while the body runs."""
    if not visible:
        yield
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[news]}"))
    over = threading.Event()
    with Progress(*columns, TimeRemainingColumn(elapsed_when_finished=True)) as bar:
        task = bar.add_task(run.name, total=run.steps, news="starting")

        def follow() -> None:
            known = None
            while not over.wait(EVERY_SECONDS):
                try:
                    notice = read()
                except Exception:  # the cluster is about to end
                    return
                if known is None:
                    bar.reset(task, completed=notice.step, total=run.steps, news="starting")
                if notice.metrics and notice.step != known:
                    bar.update(task, completed=notice.step, news=news(run, notice))
                known = notice.step

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            time.sleep(EVERY_SECONDS)  # for the last news
            over.set()
            thread.join()


def news(run: Run, notice: Notice) -> str:
    """The first loss and the speed, as one short text."""
    losses = [name for name in notice.metrics if name.startswith("loss/")]
    words = [f"{losses[0]} {notice.metrics[losses[0]]:.4g}"] if losses else []
    if notice.metrics.get("time/step"):
        words.append(f"{run.batch_size / notice.metrics['time/step']:.1f} rows/s")
    return "  ".join(words)
