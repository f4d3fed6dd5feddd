"""Make a corpus out of a source of sounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from t2a.data.clips import ClipShape, Sound, rows
from t2a.data.corpora import debian, synthetic
from t2a.data.corpora import folder as own_folder
from t2a.data.corpora.request import Request
from t2a.data.shards import Manifest, ShardBounds, write_shards
from t2a.data.skips import Skips
from t2a.data.splits import every_split
from t2a.errors import ConfigError

SOURCES: dict[str, Callable[[Request], Iterator[Sound]]] = {
    "debian-sounds": debian.sounds,
    "debian-sounds-full": partial(debian.sounds, tier="full"),
    "synthetic": synthetic.sounds,
    "folder": own_folder.sounds,
}
GRACE = 100  # rows before an early verdict on their quality


def prepare(
    source: str,
    out: str,
    *,
    folder: str | Path | None = None,
    count: int | None = None,
    seed: int = 0,
    seconds_max: float = 10.0,
    sample_rate: int = 16000,
    max_skipped: float = 0.05,
    overwrite: bool = False,
    workers: int | None = None,
    bounds: ShardBounds | None = None,
    progress: bool = True,
) -> Manifest:
    """Write the sounds of a source as mono FLAC clips of at most `seconds_max` (and a fifth) to the corpus `out`.

    Sources are "debian-sounds", "synthetic" (`count` sounds from `seed`) and "folder" (the audio below `folder`);
    `count` bounds the recordings taken from any of them. `workers` threads decode and encode, all cores by default.
    Raises DataError, and leaves no corpus, when more than `max_skipped` of the clips are unusable, or too few are left
    for every split to have one.
    """
    if source not in SOURCES:
        raise ConfigError(f"There is no source {source!r}; choose one of: {', '.join(SOURCES)}.")
    skips = Skips()
    with _progress(progress) as bar:
        place = Path(folder) if folder is not None else None
        request = Request(sample_rate, seconds_max, count, seed, place, skips, bar)
        sounds = islice(SOURCES[source](request), count)
        shape = ClipShape(sample_rate, seconds_max)
        made = every_split(rows(sounds, shape, skips, workers or os.cpu_count() or 1))
        made_from = {
            "source": source,
            "sample_rate": sample_rate,
            "seconds_max": seconds_max,
            "seed": seed,
            "count": count,
        }
        return write_shards(
            _watched(made, skips, max_skipped, out, bar),
            out,
            bounds=bounds,
            overwrite=overwrite,
            skips=skips,
            made_from=made_from,
        )


def _watched(
    made: Iterator[dict[str, Any]], skips: Skips, max_skipped: float, out: str, bar: Progress
) -> Iterator[dict[str, Any]]:
    """Pass rows on, showing how many, and stop when too many others were skipped."""
    task = bar.add_task("clips", total=None)
    for row in made:
        yield row
        bar.advance(task)
        skips.check(max_skipped, out, GRACE)
    skips.check(max_skipped, out)
    bar.update(task, total=skips.kept)


def _progress(shown: bool) -> Progress:
    """A bar on stderr, where it does not disturb output; silent without a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console, disable=not shown or not console.is_terminal, transient=True)
