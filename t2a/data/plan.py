"""The visit plan: which row group of which shard is read when, endlessly, as a function of the seed alone."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from t2a.data.shards import Manifest, Shard
from t2a.errors import DataError


@dataclass(frozen=True, slots=True)
class Visit:
    """One reading of one row group; `number` counts visits from 0 over all epochs."""

    number: int
    epoch: int
    shard: Shard
    row_group: int
    rows: int


class Plan:
    """Every row group of a split once per epoch, in an order drawn from (seed, epoch).

    Visit n is computed, not stored: readers anywhere agree on it, and a stream of any length costs nothing.
    """

    def __init__(self, manifest: Manifest, split: str, seed: int) -> None:
        shards = [shard for shard in manifest.shards if shard.split == split]
        # An empty row group would be a visit that no row can ever complete.
        groups = [(s, g, rows) for s in shards for g, rows in enumerate(s.row_groups) if rows > 0]
        if not groups:
            splits = ", ".join(sorted({shard.split for shard in manifest.shards})) or "none"
            raise DataError(f"The corpus has no rows in split '{split}' (it has: {splits}); choose one of these.")
        self.seed = seed
        self.states = manifest.states
        self.groups = groups
        self.rows_per_epoch = sum(rows for _, _, rows in groups)
        identity = [seed, split, *((s.name, s.sha256, tuple(s.row_groups)) for s in shards)]
        digest = hashlib.sha256(repr(identity).encode()).digest()
        self.fingerprint = int.from_bytes(digest[:7], "big")  # 7 bytes: fits an int64 column with its sign

    def visit(self, number: int) -> Visit:
        """Give visit `number`, the same on every machine."""
        epoch, turn = divmod(number, len(self.groups))
        shard, row_group, rows = self.groups[_order(self.seed, epoch, len(self.groups))[turn]]
        return Visit(number, epoch, shard, row_group, rows)

    def visits(self, start: int = 0) -> Iterator[Visit]:
        """Give the visits from `start` on, without end."""
        while True:
            yield self.visit(start)
            start += 1

    def windows(self, start: int, window: int, rows: int) -> list[range]:
        """Cut the visits into windows of at least `window` rows; give those with visit `start` or a later one.

        They hold at least `rows` rows from `start` on. Windows are cut from the beginning of each epoch and end with
        it: a row's window is the same wherever the stream is taken up, and no row comes back before every other has.
        """
        windows: list[range] = []
        total, first = 0, start // len(self.groups) * len(self.groups)
        while total < rows:
            epoch_end = (first // len(self.groups) + 1) * len(self.groups)
            stop, held, ahead = first, 0, 0
            while held < window and stop < epoch_end:
                size = self.visit(stop).rows
                held += size
                ahead += size if stop >= start else 0
                stop += 1
            if stop > start:
                windows.append(range(first, stop))
            first, total = stop, total + ahead
        return windows


def visits(manifest: Manifest, split: str, seed: int, start: int = 0) -> Iterator[Visit]:
    """Give the visits of a split from number `start` on, without end; each epoch visits every row group once."""
    return Plan(manifest, split, seed).visits(start)


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> list[int]:
    return np.random.default_rng([seed, epoch]).permutation(count).tolist()
