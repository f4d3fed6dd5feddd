"""The stream: visits of the plan, read, decoded, cropped and shuffled by Ray Data, in an order that can be resumed."""

import functools
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import ray.data

from t2a.data.captions import caption, join, normalise, said
from t2a.data.mixing import Draws, draw, partner
from t2a.data.plan import Plan, Visit
from t2a.data.position import Position
from t2a.data.rows import PATIENCE, AudioConfig, DataConfig, Example
from t2a.data.shards import read_manifest
from t2a.data.skips import UnusableError
from t2a.data.states import MISSING, column, made_by, states_of
from t2a.data.visit import DamagedError, read_row_group
from t2a.errors import DataError

BLOCK_BYTES = 16 << 20  # large enough that Ray's cost per block vanishes, small enough that ranks stay in step
BLOCK_ROWS = 256
PLANNED_AT_ONCE = 1024  # windows; each is an object that Ray makes before the first is read, about one a millisecond
WINDOWS_A_BLOCK = 128  # of a longer plan, which Ray unfolds as it goes
STEP_SECONDS = 0.02
READER_CPUS = 0.5  # two readers a core: one decodes while the other waits for the storage
AHEAD_BYTES = 512 << 20  # Ray Data would fill half the object store before the first step, at the step's expense


class Row(NamedTuple):
    """A stored row on its way to an example, or the reason why it cannot become one."""

    visit: Visit
    place: int
    stored: dict[str, Any]
    where: Sequence[float]  # two draws from [0, 1): the crop's and the caption's
    reason: str = ""
    mix: tuple[dict[str, Any], Draws] | None = None  # the stored row to mix it with, and how


def stream(config: DataConfig, seed: int, batch_size: int, steps: int, position: Position) -> ray.data.Dataset:
    """Plan and describe (nothing is read yet) a data set with the rows of `steps` batches from `position` on.

    `batch_size` is the rows of one step over all ranks. A row of the data set holds `visit, place, rows` (of its
    visit), `epoch, plan, id, reason, caption, length` and the tensor `audio [C, T] int16`, `codes [K, L] uint16` or
    `latents [C, (F,) L] float16`, and `states_NAME, made_by_NAME` for each condition whose states are in the corpus.
    An unusable row travels as well, with a reason and zeros, so that consuming it is recorded like any other.
    Raises DataError when the corpus is of another kind, has no such split, or is not the one `position` belongs to.
    """
    manifest = read_manifest(config.uri)
    if manifest.kind != config.kind:
        raise DataError(f"{config.uri} holds {manifest.kind}, the recipe asks for {config.kind}; change data.kind.")
    plan = Plan(manifest, config.split, seed)
    position = position.copy()
    position.belongs(plan.fingerprint)
    dataset = _windows(plan.windows(position.cursor, config.window, _rows_to_plan(config, batch_size, steps, position)))
    row_bytes = math.prod(config.shape) * 2
    block_rows = max(1, min(BLOCK_ROWS, BLOCK_BYTES // row_bytes))
    context = dataset.context  # of this data set alone
    context.execution_options = execution_options()
    context.enable_progress_bars = False
    context.custom_execution_callback_classes = [*context.custom_execution_callback_classes, Pace]
    # Ray joins what a reader yields until this is exceeded: just below a block, so that a block stays one.
    context.target_max_block_size = int(0.8 * block_rows * row_bytes)
    reader = functools.partial(_read, config=config, plan=plan, position=position, block_rows=block_rows)
    return dataset.map_batches(reader, batch_size=1, num_cpus=READER_CPUS)


class Pace:
    """Pauses Ray Data's scheduling loop between its steps.

    Once enough is read ahead, the loop has nothing to wait for and spins, half a core taken from the training step.
    """

    def before_execution_starts(self, executor: Any) -> None: ...

    def on_execution_step(self, executor: Any) -> None:
        time.sleep(STEP_SECONDS)

    def after_execution_succeeds(self, executor: Any) -> None: ...

    def after_execution_fails(self, executor: Any, error: Exception) -> None: ...


def _windows(windows: list[range]) -> ray.data.Dataset:
    """Give a data set with one window a block, in order, so that every reading task is one window long."""
    short = len(windows) <= PLANNED_AT_ONCE
    dataset = ray.data.from_items(
        [{"first": window.start, "stop": window.stop} for window in windows],
        override_num_blocks=len(windows) if short else math.ceil(len(windows) / WINDOWS_A_BLOCK),
    )
    return dataset if short else dataset.repartition(target_num_rows_per_block=1)


def execution_options() -> ray.data.ExecutionOptions:
    """Give the options that the stream's order rests on.

    Ray Train replaces a data set's own options: hand these to its DataConfig.
    """
    limits = ray.data.ExecutionResources.for_limits(object_store_memory=AHEAD_BYTES)
    return ray.data.ExecutionOptions(preserve_order=True, resource_limits=limits, verbose_progress=False)


def _rows_to_plan(config: DataConfig, batch_size: int, steps: int, position: Position) -> int:
    """Count rows for `steps` batches even when every rank meets as many unusable rows as it tolerates.

    Rows that are planned but never asked for cost nothing.
    """
    tolerated = min(config.max_skipped, 0.9)
    usable = steps * batch_size
    unusable = tolerated / (1 - tolerated) * usable + tolerated * PATIENCE * batch_size
    remainder = 2 * BLOCK_ROWS * min(batch_size, 64)  # an equal split among the ranks drops up to a block a rank
    return math.ceil(usable + unusable) + remainder + position.rows_beyond()


def _read(
    windows: dict[str, np.ndarray], *, config: DataConfig, plan: Plan, position: Position, block_rows: int
) -> Iterator[dict[str, np.ndarray]]:
    """Read windows of visits, shuffle each, and give its examples block by block."""
    for first, stop in zip(windows["first"].tolist(), windows["stop"].tolist(), strict=True):
        rows = _window(config, plan, [plan.visit(number) for number in range(first, stop)], position)
        order = np.random.default_rng([plan.seed, first]).permutation(len(rows))
        with ThreadPoolExecutor(config.threads) as threads:
            for begin in range(0, len(rows), block_rows):
                chosen = [rows[i] for i in order[begin : begin + block_rows]]
                yield _block(config, plan, chosen, threads)


def _window(config: DataConfig, plan: Plan, visits: list[Visit], position: Position) -> list[Row]:
    """Read the rows of a window that are not consumed yet, each with its partner if it is to be mixed."""
    begun = [visit for visit in visits if any(not position.contains(visit.number, i) for i in range(visit.rows))]
    # A partner may well be consumed: which one it is depends on the row alone.
    everything = [row for visit in (visits if config.mix and begun else begun) for row in _stored(config, plan, visit)]
    rows = [(i, row) for i, row in enumerate(everything) if not position.contains(row.visit.number, row.place)]
    return [_with_partner(config, plan.seed, everything, i) if config.mix else row for i, row in rows]


def _with_partner(config: DataConfig, seed: int, window: list[Row], own: int) -> Row:
    """Give row `own` of a window, with another one of it if it is to be mixed and both can be read."""
    row = window[own]
    draws = draw(seed, row.visit.number, row.place)
    if config.mix is None or draws.whether >= config.mix.probability or len(window) == 1:
        return row
    other = window[partner(draws, own, len(window))]
    return row if other.reason else row._replace(mix=(other.stored, draws))


def _stored(config: DataConfig, plan: Plan, visit: Visit) -> list[Row]:
    """Read the rows of a visit."""
    where = np.random.default_rng([plan.seed, visit.number]).random((visit.rows, 2)).tolist()
    try:
        columns = config.columns(plan.states if config.states else {})
        stored = read_row_group(config.uri, visit.shard, visit.row_group, columns)
        return [Row(visit, place, stored[place], where[place]) for place in range(visit.rows)]
    except DamagedError as damage:
        named = f"{visit.shard.name}[{visit.row_group}]"
        return [
            Row(visit, place, {"id": f"{named}[{place}]"}, where[place], str(damage)) for place in range(visit.rows)
        ]


def _block(config: DataConfig, plan: Plan, rows: list[Row], threads: ThreadPoolExecutor) -> dict[str, np.ndarray]:
    values = np.zeros((len(rows), *config.shape), config.dtype)
    columns = plan.states if config.states else {}

    def fill(index: int) -> tuple[str, str, str, int, dict[str, bytes]]:
        """Decode into the block: (reason, caption, all captions, length, states)."""
        row = rows[index]
        if row.reason:
            return row.reason, "", "[]", 0, dict.fromkeys(columns, MISSING)
        try:
            example, text, captions = _example(config, row)
            states = states_of(columns, row.stored, text, example.start, example.length)
        except UnusableError as reason:
            return str(reason), "", "[]", 0, dict.fromkeys(columns, MISSING)
        values[index] = example.values
        return "", text, json.dumps(captions), example.length, states

    reasons, texts, told, lengths, states = zip(*threads.map(fill, range(len(rows))), strict=True)
    return {
        "visit": np.array([row.visit.number for row in rows], np.int64),
        "place": np.array([row.place for row in rows], np.int64),
        "rows": np.array([row.visit.rows for row in rows], np.int64),
        "epoch": np.array([row.visit.epoch for row in rows], np.int64),
        "plan": np.full(len(rows), plan.fingerprint, np.int64),
        "id": np.array([row.stored["id"] or "" for row in rows], object),
        "reason": np.array(reasons, object),
        "caption": np.array(texts, object),
        "said": np.array(told, object),
        "length": np.array(lengths, np.int64),
        config.tensor: values,
        **{column(name): np.array([found[name] for found in states], object) for name in columns},
        **{made_by(name): np.full(len(rows), made.fingerprint, object) for name, made in columns.items()},
    }


def _example(config: DataConfig, row: Row) -> tuple[Example, str, list[str]]:
    """Make a row's example, its text, and all that is said of it. Raises UnusableError for the row itself.

    A partner that cannot be used leaves the row as it is: it is counted when its own turn comes. Of a mixture its own
    text alone is said.
    """
    text = caption(row.stored, row.where[1], config.captions)
    example = config.example(row.stored, row.where[0])
    if row.mix is not None and isinstance(config, AudioConfig):
        other, draws = row.mix
        try:
            words = caption(other, draws.caption, config.captions)
            mixture = config.mixed(example, config.example(other, draws.crop), draws)
        except UnusableError:
            mixture = None
        if mixture is not None:
            text = normalise(join(text, words), config.captions)
            return mixture, text, [text]
    return example, normalise(text, config.captions), said(row.stored, config.captions)
