"""The clips that a model is judged by: a seeded sample of a split."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2a.audio.io import AudioError, decode
from t2a.audio.transform import peak, resample, to_channels
from t2a.data.shards import read_manifest
from t2a.data.skips import Skips
from t2a.data.visit import DamagedError, read_row_group
from t2a.errors import DataError
from t2a.metrics.quality import SILENCE


@dataclass(frozen=True)
class Clip:
    """A wave [C, T] with what is said of it."""

    id: str
    wave: NDArray[np.float32]
    captions: list[str]
    turn: int
    """its place in the drawn order: those below n are a sample of n clips"""
    category: str = ""


def sample(
    corpus: str, split: str, rows: int, seed: int, *, rate: int, channels: int, longest: float, skips: Skips
) -> Iterator[Clip]:
    """Yield `rows` clips drawn from a split without repetition, in its order, the first `longest` seconds of each.

    What cannot be decoded and what is silent is counted in `skips`. Raises `DataError` when there are no rows.
    """
    for turn, row in draw(corpus, split, rows, seed):
        try:
            wave, source = decode(row["audio"]["bytes"])
            wave = resample(to_channels(wave, channels), source, rate)[:, : round(longest * rate)]
        except AudioError as error:
            skips.skip(error.reason, row["id"])
            continue
        except ValueError:
            skips.skip("too few channels", row["id"])
            continue
        if peak(wave) < SILENCE:
            skips.skip("silent", row["id"])
            continue
        skips.keep()
        yield Clip(row["id"], np.ascontiguousarray(wave), row["captions"] or [], turn, row["category"] or "")


def draw(
    corpus: str, split: str, rows: int, seed: int, columns: Sequence[str] = ("id", "audio", "captions", "category")
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield `rows` rows drawn from a split, each after its turn, reading only the row groups that they lie in."""
    manifest = read_manifest(corpus)
    if manifest.kind != "audio":
        raise DataError(f"{corpus} is a corpus of {manifest.kind}: give the corpus of audio it was made from.")
    groups = [(shard, i, n) for shard in manifest.of(split) for i, n in enumerate(shard.row_groups)]
    total = sum(count for *_, count in groups)
    if not total:
        raise DataError(f"{corpus} has no rows in split '{split}' to evaluate on; prepare it with one.")
    chosen = np.random.default_rng(seed).permutation(total)[:rows]
    turns = {int(place): turn for turn, place in enumerate(chosen)}
    first = 0
    for shard, group, count in groups:
        places = [place for place in range(first, first + count) if place in turns]
        begin, first = first, first + count
        if not places:
            continue
        try:
            stored = read_row_group(corpus, shard, group, list(columns))
        except DamagedError as error:
            raise DataError(f"{corpus}/{shard.name} cannot be read ({error}); write the corpus again.") from error
        yield from ((turns[place], stored[place - begin]) for place in places)


def watched(clips: Iterable[Clip], rows: int) -> Iterable[Clip]:
    """Show a progress bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    return track(clips, "Measuring", total=rows, console=Console(stderr=True), transient=True)
