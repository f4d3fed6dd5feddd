"""How far a run is, in the driver's terminal or in a job's log."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from t2a.train.board import Notice
from t2a.train.run import Run

EVERY_SECONDS = 0.5
LINE_SECONDS = 30.0  # between two lines of a log

Tell = Callable[[Notice], None]


@contextmanager
def shown(run: Run, read: Callable[[], Notice], visible: bool) -> Iterator[None]:
    """Show steps, loss, rows per second and the time that remains while the body runs.

    On stderr: a bar in a terminal, elsewhere a line every half minute.
    """
    if not visible:
        yield
        return
    console, over = Console(stderr=True, highlight=False, soft_wrap=True), threading.Event()
    with (_bar if console.is_terminal else _lines)(run, console) as tell:
        thread = threading.Thread(target=_follow, args=(read, tell, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            time.sleep(EVERY_SECONDS)  # for the last news
            over.set()
            thread.join()


def _follow(read: Callable[[], Notice], tell: Tell, over: threading.Event) -> None:
    """Tell of every notice until all is over."""
    while not over.wait(EVERY_SECONDS):
        try:
            notice = read()
        except Exception:  # the cluster is about to end
            return
        tell(notice)


@contextmanager
def _bar(run: Run, console: Console) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[news]}"))
    known: list[int] = []
    with Progress(*columns, TimeRemainingColumn(elapsed_when_finished=True), console=console) as bar:
        task = bar.add_task(run.name, total=run.steps, news="starting")

        def tell(notice: Notice) -> None:
            if not known:
                bar.reset(task, completed=notice.step, total=run.steps, news="starting")
            elif notice.metrics and notice.step != known[-1]:
                bar.update(task, completed=notice.step, news=news(run, notice))
            known[:] = [notice.step]

        yield tell


@contextmanager
def _lines(run: Run, console: Console) -> Iterator[Tell]:
    """Print a line now and then, and one about the last step."""
    told: list[tuple[float, int]] = []  # when, and of which step: the first and the newest
    newest: list[Notice] = []

    def tell(notice: Notice) -> None:
        newest[:] = [notice]
        now = time.monotonic()
        if not told:
            told[:] = [(now, notice.step)] * 2
        elif notice.metrics and notice.step != told[1][1] and now - told[1][0] >= LINE_SECONDS:
            (begun, first), told[1] = told[0], (now, notice.step)
            left = (run.steps - notice.step) * (now - begun) / (notice.step - first)
            console.print(f"{line(run, notice)}, {left / 60:.0f} min left")

    yield tell
    if newest and newest[0].step != told[1][1]:
        console.print(line(run, newest[0]))


def line(run: Run, notice: Notice) -> str:
    """All that a log tells of a step."""
    return f"{run.name}: step {notice.step} of {run.steps}, {news(run, notice)}"


def news(run: Run, notice: Notice) -> str:
    """The first loss and the speed, as one short text."""
    losses = [name for name in notice.metrics if name.startswith("loss/")]
    words = [f"{losses[0]} {notice.metrics[losses[0]]:.4g}"] if losses else []
    if notice.metrics.get("time/step"):
        words.append(f"{run.batch_size / notice.metrics['time/step']:.1f} rows/s")
    return "  ".join(words)
