"""Which split a recording belongs to: drawn by its name, and mended where a corpus is too small for the draw."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from t2a.data.schema import SPLITS, Split
from t2a.errors import DataError

PATIENCE_BYTES = 512 << 20  # of encoded clips that wait for every split to appear


def split_of(name: str) -> Split:
    """Choose a split by the hash of a name: one in twenty each for test and valid."""
    place = _hash(name) % 20
    return "test" if place == 0 else "valid" if place == 1 else "train"


class Drawn(NamedTuple):
    """A row with the recording that it comes from, and whether that one's split was drawn rather than given."""

    row: dict[str, Any]
    recording: str
    drawn: bool


def every_split(rows: Iterable[Drawn]) -> Iterator[dict[str, Any]]:
    """Pass rows on in their order, with no split left empty: where the draw gave one nothing, a recording moves there.

    Rows wait until every split has appeared, which takes some dozens of recordings; larger corpora are what the draw
    makes of them. Which recording moves depends on the names alone. Splits that are given are left as they are.
    Raises DataError when there are not enough recordings for three splits.
    """
    waiting: list[Drawn] = []
    size = 0
    rows = iter(rows)
    for item in rows:
        if not waiting and not item.drawn:
            yield item.row
            continue
        waiting.append(item)
        size += len(item.row["audio"]["bytes"])
        if {each.row["split"] for each in waiting} == set(SPLITS) or size > PATIENCE_BYTES:
            break
    else:
        _fill(waiting)
    yield from (item.row for item in waiting)
    yield from (item.row for item in rows)


def _fill(rows: list[Drawn]) -> None:
    """Move a recording from the fullest split into each that is empty."""
    splits: dict[str, Split] = {item.recording: item.row["split"] for item in rows}
    movable = {item.recording for item in rows if item.drawn}
    for empty in (split for split in SPLITS if split not in set(splits.values())):
        counts = Counter(splits[name] for name in movable)
        fullest, count = counts.most_common(1)[0] if counts else (empty, 0)
        if count > 1:
            splits[min((name for name in movable if splits[name] == fullest), key=_hash)] = empty
        elif len(movable) == len(splits) > 0:
            raise DataError(
                f"Only {len(splits)} recordings are usable, too few for one each to train on, to validate with and to "
                "test with; add some, or put a split (train, valid, test) beside each."
            )
    for item in rows:
        item.row["split"] = splits[item.recording]


def _hash(name: str) -> int:
    return int(hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:12], 16)
