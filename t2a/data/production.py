"""Make a corpus of clips with a pool of actors, part by part: what is written whole is never made again.

Each part is a small corpus of its own in a folder of the place, and counts from the moment that its manifest is there.
The manifest of the whole, written last, names the shards of all parts.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import ray.data
import ray.exceptions
from numpy.typing import NDArray
from pydantic import Field

from t2a import errors, storage
from t2a.audio.io import encode_flac
from t2a.config import Config
from t2a.data.schema import AudioRow
from t2a.data.shards import MANIFEST, Manifest, read_manifest, remove_corpus, write_shards
from t2a.data.wanted import Wanted, digest
from t2a.errors import ConfigError, DataError, T2AError

PLAN = "_plan.json"
LICENCE = "generated"
RESTARTS = 2  # of an actor that died; Ray Data would start a crashing one again for ever

Progress = Callable[[int, int], None]  # (clips done, clips in all)


class Maker(Protocol):
    """Makes clips; every actor has one of its own."""

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    def __call__(self, captions: Sequence[str], seeds: Sequence[int]) -> list[NDArray[np.float32]]:
        """Make one clip [C, T] of each caption, which does not depend on the others."""
        ...


class Pool(Config):
    """The actors that make clips: how many, and what each takes of the cluster."""

    actors: int = Field(1, ge=1)
    cpus: float = Field(1.0, ge=0, allow_inf_nan=False)
    gpus: float = Field(0.0, ge=0, allow_inf_nan=False)


def produce(
    wanted: Sequence[Wanted],
    uri: str,
    maker: Callable[[], Maker],
    made_from: Mapping[str, Any],
    *,
    part_rows: int = 64,
    pool: Pool | None = None,
    overwrite: bool = False,
    skipped: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Write the corpus of clips that are wanted; asked again for the same, it goes on where it was stopped.

    maker: builds, in an actor, what makes the clips. made_from: whatever decides how they sound, JSON-able.
    Raises `DataError` when another corpus is there, `ConfigError` for actors that the cluster has no room for, and
    what a maker raises.
    """
    plan = {"made_from": dict(made_from), "wanted": digest(wanted), "part_rows": part_rows}
    _begin(uri, plan, overwrite)
    parts = {f"part-{n:05d}": wanted[i : i + part_rows] for n, i in enumerate(range(0, len(wanted), part_rows))}
    left = {name: rows for name, rows in parts.items() if not storage.exists(storage.join(uri, name, MANIFEST))}
    done = len(wanted) - sum(map(len, left.values()))
    if progress is not None and done:
        progress(done, len(wanted))
    for clips in _made(left, uri, maker, dict(made_from), pool or Pool()) if left else ():
        done += clips
        if progress is not None:
            progress(done, len(wanted))
    return _finish(uri, list(parts), made_from, skipped or {})


def _begin(uri: str, plan: Mapping[str, Any], overwrite: bool) -> None:
    """Write down what is made here, unless it is written already; refuse a place that holds something else.

    What was planned there and never begun, as by a request that the model refused, gives way.
    """
    where = storage.join(uri, PLAN)
    text = json.dumps(plan, indent=1, sort_keys=True).encode()
    if overwrite:
        remove_corpus(uri)
    elif storage.exists(where):
        if storage.read_bytes(where) == text:
            return
        if any(storage.exists(storage.join(part, MANIFEST)) for part in (uri, *_parts(uri))):
            raise DataError(
                f"{uri} holds clips of another model, other captions or settings (see {PLAN} there); choose another "
                "place or ask to overwrite it."
            )
        remove_corpus(uri)
    elif storage.exists(storage.join(uri, MANIFEST)):
        raise DataError(f"There is a corpus at {uri} already; choose another place or ask to overwrite it.")
    storage.write_bytes(where, text)


def _parts(uri: str) -> list[str]:
    return [storage.join(uri, name) for name in storage.folders(uri)]


def _made(
    left: Mapping[str, Sequence[Wanted]], uri: str, maker: Callable[[], Maker], made_from: dict[str, Any], pool: Pool
) -> Iterator[int]:
    """Make parts in actors; yield the clips of each as it is written."""
    with _cluster(pool):
        items = [{"part": name, "rows": json.dumps([row.model_dump() for row in rows])} for name, rows in left.items()]
        dataset = ray.data.from_items(items, override_num_blocks=len(items))
        dataset.context.enable_progress_bars = False
        written = dataset.map_batches(
            PartWriter,
            fn_constructor_args=(uri, maker, made_from),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(pool.actors, len(items))),
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
        )
        try:
            for row in written.iter_rows():
                if row["error"]:
                    raise getattr(errors, row["kind"], T2AError)(row["error"])
                yield row["clips"]
        except ray.exceptions.RayActorError as error:
            raise T2AError(
                "An actor died, and so did what took its place, perhaps for want of memory: ask for fewer actors or "
                f"smaller batches; what is written stays, the same command goes on with it ({_brief(error)})."
            ) from error


class PartWriter:
    """An actor: makes the clips of one part after another and writes each as a corpus of its own."""

    def __init__(self, uri: str, maker: Callable[[], Maker], made_from: dict[str, Any]):
        self.uri, self.build, self.made_from = uri, maker, made_from
        self.maker: Maker | None = None

    def __call__(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, list[Any]]:
        """Make a part; an error that a user can cause travels as a row, Ray would wrap it beyond recognition."""
        ((name,), (rows,)) = batch["part"], batch["rows"]
        wanted = [Wanted.model_validate(row) for row in json.loads(rows)]
        try:
            self.maker = self.maker or self.build()
            clips = self.maker([row.caption for row in wanted], [row.seed for row in wanted])
            made = [self._row(row, clip, self.maker.sample_rate) for row, clip in zip(wanted, clips, strict=True)]
            write_shards(made, storage.join(self.uri, name), overwrite=True, made_from=self.made_from)
        except T2AError as error:
            return {"clips": [0], "error": [str(error)], "kind": [type(error).__name__]}
        return {"clips": [len(wanted)], "error": [""], "kind": [""]}

    def _row(self, wanted: Wanted, clip: NDArray[np.float32], rate: int) -> dict[str, Any]:
        return AudioRow(
            id=wanted.id,
            audio=encode_flac(clip, rate),
            path=f"{wanted.id.replace('/', '_')}.flac",
            sample_rate=rate,
            channels=clip.shape[0],
            seconds=clip.shape[1] / rate,
            captions=[wanted.caption],
            source=str(self.made_from["model"]),
            licence=LICENCE,
            split=wanted.split,
            extra={"seed": wanted.seed},
        ).to_dict()


def _finish(uri: str, parts: Sequence[str], made_from: Mapping[str, Any], skipped: Mapping[str, int]) -> Manifest:
    """Write the manifest of the whole."""
    shards = tuple(
        shard.model_copy(update={"name": f"{part}/{shard.name}"})
        for part in parts
        for shard in read_manifest(storage.join(uri, part)).shards
    )
    manifest = Manifest(kind="audio", shards=shards, made_from=dict(made_from), skipped=dict(skipped))
    storage.write_bytes(storage.join(uri, MANIFEST), manifest.model_dump_json(indent=1).encode())
    return manifest


def _brief(error: BaseException) -> str:
    """An error in one short line."""
    return " ".join(str(error).split())[:200]


@contextmanager
def _cluster(pool: Pool) -> Iterator[None]:
    """Join the Ray cluster of RAY_ADDRESS, or run one here for the time being; refuse actors that it cannot hold."""
    ours = not ray.is_initialized()
    if ours:
        ray.init(logging_level=logging.WARNING, log_to_driver=False)
    try:
        have = ray.cluster_resources()
        for name, wanted in (("CPU", pool.actors * pool.cpus), ("GPU", pool.actors * pool.gpus)):
            if wanted > have.get(name, 0):
                raise ConfigError(
                    f"{pool.actors} actors need {wanted:g} {name}s, the cluster has {have.get(name, 0):g}: ask for "
                    "fewer actors, or add nodes."
                )
        yield
    finally:
        if ours:
            ray.shutdown()
