"""Batches of tensors for the loop, and the account of what the loop has taken."""

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2a.data.captions import caption, normalise, said
from t2a.data.position import Position
from t2a.data.rows import FULL_SCALE, PATIENCE, DataConfig, Example
from t2a.data.shards import Shard, read_manifest
from t2a.data.skips import Skips, UnusableError
from t2a.data.states import MISSING, StatesColumn, column, made_by, none, states_of, unpack_states
from t2a.data.visit import DamagedError, read_row_group
from t2a.errors import DataError
from t2a.nn.condition import StoredCondition, padded

log = logging.getLogger(__name__)

Batch = dict[str, Any]
Block = Mapping[str, np.ndarray]


class Batches:
    """Cut one rank's part of the stream into batches of `batch_size` usable rows.

    A batch is {"audio": float32 [B, C, T], "codes": int64 [B, K, L] or "latents": float32 [B, C, (F,) L], "length":
    int64 [B], "captions", "said": all that is said of each row's sound, "ids", "states": {name: StoredCondition}};
    states that one of its rows lacks are left out.
    `position` counts what was taken: rows fetched ahead are not consumed, and what is unusable is consumed with the
    next batch. `wait` is the time in seconds that the last take was blocked for want of data. Rows that the initial
    position holds already are left out, so that a stream planned from an older checkpoint is exact too.
    Raises DataError when more than `max_skipped` of the rows are unusable.
    """

    def __init__(self, blocks: Iterable[Block], config: DataConfig, batch_size: int, position: Position) -> None:
        self.config = config
        self.batch_size = batch_size
        self.position = position.copy()
        self.wait = 0.0
        self._start = position.copy()
        self._blocks = iter(blocks)
        self._rows = self._usable()
        self._taken: list[tuple[Block, int]] = []  # since the last batch, unusable rows among them
        self._skips = Skips()  # of this rank since its start
        self._epoch: int | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        self.wait = 0.0
        rows = [row for _, row in zip(range(self.batch_size), self._rows, strict=False)]
        if len(rows) < self.batch_size:
            raise StopIteration
        self._consume()
        values = np.stack([block[self.config.tensor][i] for block, i in rows])
        return {
            self.config.tensor: _tensor(values),
            "length": torch.tensor([int(block["length"][i]) for block, i in rows]),
            "captions": [str(block["caption"][i]) for block, i in rows],
            "said": [json.loads(block["said"][i]) for block, i in rows],
            "ids": [str(block["id"][i]) for block, i in rows],
            "states": _states(rows),
        }

    def rebase(self, merged: Position) -> None:
        """Go on from the merged position of all ranks, so that this rank's own record stays small.

        Call it at a moment when all ranks have merged theirs and none has taken a batch since.
        """
        self.position = merged.copy()

    def close(self) -> None:
        """Give up what was fetched ahead, so that Ray Data stops reading."""
        close: Callable[[], None] = getattr(self._blocks, "close", lambda: None)
        close()

    def _usable(self) -> Iterator[tuple[Block, int]]:
        while True:
            before = time.perf_counter()
            block = next(self._blocks, None)
            self.wait += time.perf_counter() - before
            if block is None:
                return
            for i in range(len(block["visit"])):
                if self._start.contains(int(block["visit"][i]), int(block["place"][i])):
                    continue
                self._check(int(block["epoch"][i]))
                self._taken.append((block, i))
                reason = str(block["reason"][i])
                if reason:
                    self._skips.skip(reason, str(block["id"][i]))
                else:
                    self._skips.keep()
                    yield block, i

    def _check(self, epoch: int) -> None:
        """Give a verdict at the end of an epoch, or before it once more is unusable than PATIENCE rows excuse."""
        over = self._epoch is not None and epoch != self._epoch
        self._epoch = epoch
        if over or self._skips.skipped > self.config.max_skipped * PATIENCE:
            self._skips.check(self.config.max_skipped, self.config.uri)

    def _consume(self) -> None:
        for block, i in self._taken:
            reason = str(block["reason"][i])
            if reason:
                self.position.fresh.skip(reason, str(block["id"][i]))
            else:
                self.position.fresh.keep()
        columns = [[int(block[name][i]) for block, i in self._taken] for name in ("visit", "place", "rows", "plan")]
        self.position.consumed(*columns[:3], plan=columns[3][0])
        self._taken = []


def batches(iterator: Any, config: DataConfig, batch_size: int, position: Position, ahead: int = 4) -> Batches:
    """Batch one rank's part of the stream: a Ray `DataIterator`, or any iterable of blocks of columns.

    `ahead` blocks are fetched in the background. `position` is the merged one of the checkpoint that the weights
    come from, a new one at the beginning.
    """
    if hasattr(iterator, "iter_batches"):
        iterator = iterator.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=ahead)
    return Batches(iterator, config, batch_size, position)


def held_out(config: DataConfig, split: str, batch_size: int, rank: int, world: int, limit: int) -> list[Batch]:
    """Read the first `limit` rows of a split for evaluation: centre crops, first captions, always the same.

    Every rank gets its own part in an equal number of batches; "weight" float32 [B] is 0 for rows that only fill up
    a batch, or that are unusable. Raises DataError for a corpus of another kind, and when the split is missing or too
    much of it is unusable.
    """
    manifest = read_manifest(config.uri)
    if manifest.kind != config.kind:
        raise DataError(f"{config.uri} is a corpus of {manifest.kind}: give one of {config.kind}.")
    shards, columns = list(manifest.of(split)), manifest.states if config.states else {}
    total = min(sum(shard.rows for shard in shards), limit)
    if not total:
        raise DataError(f"{config.uri} has no rows in split '{split}' to evaluate on; prepare it with one.")
    share = math.ceil(total / world)
    skips = Skips()
    begin = rank * share
    stored = _stored(config, shards, columns, begin, min(begin + share, total))
    rows = [_example(config, columns, *row, skips) for row in stored]
    skips.check(config.max_skipped, f"{config.uri} ({split})")
    if skips.skipped:
        log.warning("%s (%s): %d held-out rows are unusable: %s", config.uri, split, skips.skipped, skips.counts)
    count = math.ceil(share / batch_size)
    rows += [_filler(config, columns)] * (count * batch_size - len(rows))
    return [_evaluation_batch(config, columns, rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]


Held = tuple[Example, list[str], str, float, dict[str, bytes]]  # an example, its captions, its id, weight and states
Columns = Mapping[str, StatesColumn]


def _stored(
    config: DataConfig, shards: list[Shard], columns: Columns, begin: int, end: int
) -> Iterator[tuple[dict[str, Any], str]]:
    """Read rows `begin` to `end` of some shards in their order: (row, reason why there is none)."""
    first = 0
    for shard in shards:
        for group, count in enumerate(shard.row_groups):
            inside = range(max(begin - first, 0), min(end - first, count))
            first += count
            if not inside:
                continue
            try:
                stored = read_row_group(config.uri, shard, group, config.columns(columns))
                yield from ((stored[i], "") for i in inside)
            except DamagedError as damage:
                yield from (({"id": f"{shard.name}[{group}][{i}]"}, str(damage)) for i in inside)


def _example(config: DataConfig, columns: Columns, row: dict[str, Any], reason: str, skips: Skips) -> Held:
    try:
        if reason:
            raise UnusableError(reason)
        text = normalise(caption(row, 0.0, config.captions), config.captions)
        example = config.example(row, 0.5)
        states = states_of(columns, row, text, example.start, example.length)
    except UnusableError as unusable:
        skips.skip(str(unusable), row["id"])
        return _filler(config, columns)
    skips.keep()
    return example, [text, *said(row, config.captions)], row["id"], 1.0, states


def _filler(config: DataConfig, columns: Columns) -> Held:
    nothing = {name: none(made) for name, made in columns.items()}
    return Example(np.zeros(config.shape, config.dtype), config.shape[-1]), [""], "", 0.0, nothing


def _evaluation_batch(config: DataConfig, columns: Columns, rows: list[Held]) -> Batch:
    examples, captions, ids, weights, states = zip(*rows, strict=True)
    items = {name: [found[name] for found in states] for name in columns}
    return {
        config.tensor: _tensor(np.stack([example.values for example in examples])),
        "length": torch.tensor([example.length for example in examples]),
        "captions": [own[0] for own in captions],
        "said": [list(dict.fromkeys(text for text in own if text)) for own in captions],
        "ids": list(ids),
        "weight": torch.tensor(weights),
        "states": {
            name: _condition(items[name], made.fingerprint)
            for name, made in columns.items()
            if MISSING not in items[name]
        },
    }


def _states(rows: Sequence[tuple[Block, int]]) -> dict[str, StoredCondition]:
    """What condition encoders made of all these rows before."""
    prefix = column("")
    names = [name.removeprefix(prefix) for name in rows[0][0] if name.startswith(prefix)]
    found = {}
    for name in names:
        items = [block[column(name)][i] for block, i in rows]
        if all(item != MISSING for item in items):
            found[name] = _condition(items, str(rows[0][0][made_by(name)][rows[0][1]]))
    return found


def _condition(items: Sequence[bytes], fingerprint: str) -> StoredCondition:
    states = [torch.from_numpy(unpack_states(item).astype(np.float32)) for item in items]
    return StoredCondition(padded(states, states[0].shape[1]), fingerprint)


def _tensor(values: np.ndarray) -> Tensor:
    """Audio int16 [B, C, T] -> float32 in [-1, 1); codes uint16 [B, K, L] -> int64; latents float16 -> float32."""
    if values.dtype == np.int16:
        return torch.from_numpy(values).to(torch.float32).div_(FULL_SCALE)
    return torch.from_numpy(values.astype(np.int64 if values.dtype == np.uint16 else np.float32))
