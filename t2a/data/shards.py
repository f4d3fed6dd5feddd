"""Corpora on disk and on S3: Parquet shards with page checksums, and a manifest written last."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from t2a import storage
from t2a.config import Config, validate
from t2a.data.schema import SPLITS, Kind, Split, full_schema
from t2a.data.skips import Skips
from t2a.data.states import StatesColumn, column
from t2a.errors import ConfigError, DataError, StorageError

MANIFEST = "_manifest.json"
# Files of a corpus, also of the parts that one was made in (`t2a.data.production`).
_OURS = re.compile(rf"(?:part-\d{{5}}/)?(?:(?:{'|'.join(SPLITS)})-\d{{5}}\.parquet|_manifest\.json|_plan\.json)")
_FEW_VALUES = ["source", "licence", "split"]  # worth a dictionary; audio bytes are not


class Shard(Config):
    """One Parquet file: clips of one split. `row_groups` lists the rows of each group, `sha256` covers the file."""

    name: str
    split: Split
    rows: int
    seconds: float
    bytes: int
    sha256: str
    row_groups: tuple[int, ...]


class Manifest(Config):
    """What a corpus holds. `skipped` counts what did not get in by reason, `made_from` says where it came from.

    `states` describes the columns of states of condition encoders, by the condition's name.
    """

    version: Literal[1] = 1
    kind: Kind
    shards: tuple[Shard, ...]
    skipped: dict[str, int] = Field(default_factory=dict)
    made_from: dict[str, Any] = Field(default_factory=dict)
    states: dict[str, StatesColumn] = Field(default_factory=dict)

    def of(self, split: str) -> tuple[Shard, ...]:
        return tuple(shard for shard in self.shards if shard.split == split)


class ShardBounds(Config):
    """When a row group and a file are full, whichever bound is met first. The file bound is checked per row group."""

    group_rows: int = 64
    group_bytes: int = 16 << 20
    shard_bytes: int = 64 << 20


def write_shards(
    rows: Iterable[Mapping[str, Any]],
    uri: str,
    kind: Kind = "audio",
    *,
    bounds: ShardBounds | None = None,
    overwrite: bool = False,
    skips: Skips | None = None,
    made_from: Mapping[str, Any] | None = None,
    states: Mapping[str, StatesColumn] | None = None,
) -> Manifest:
    """Write a corpus from a stream of rows, holding at most one row group and one local file a split.

    The first row fixes the free columns. `skips` is read when the rows are exhausted. When the stream raises, the
    shards written so far are removed again and no manifest is left, so nobody takes the rest for a corpus.
    Raises DataError when a corpus is there already and `overwrite` is not set, or when there is no row at all.
    """
    if not overwrite and storage.exists(storage.join(uri, MANIFEST)):
        raise DataError(f"There is a corpus at {uri} already; choose another place or ask to overwrite it.")
    stream = iter(rows)
    first = next(stream, None)  # before anything is removed: a source that cannot even begin costs no old corpus
    if first is None:
        raise DataError(f"{uri}: there was no usable row, so no corpus was written; look at the source.")
    schema = full_schema(kind, first)
    remove_corpus(uri)
    with tempfile.TemporaryDirectory(prefix="t2a-shards-") as folder:
        limits = bounds or ShardBounds()
        writers = {split: _SplitWriter(split, kind, schema, uri, Path(folder), limits) for split in SPLITS}
        try:
            for row in itertools.chain([first], stream):
                _check_row(row, schema)
                writers[row["split"]].add(row)
            shards = [shard for writer in writers.values() for shard in writer.finish()]
        except BaseException:
            for writer in writers.values():
                writer.abandon()
            with contextlib.suppress(StorageError):  # the first error is the one to tell
                remove_corpus(uri)
            raise
    skipped = dict(skips.counts) if skips else {}
    manifest = Manifest(
        kind=kind, shards=tuple(shards), skipped=skipped, made_from=dict(made_from or {}), states=dict(states or {})
    )
    storage.write_bytes(storage.join(uri, MANIFEST), manifest.model_dump_json(indent=1).encode())
    return manifest


def read_manifest(uri: str) -> Manifest:
    """Read what a corpus holds. Raises DataError when there is none at `uri` or it was written by another version."""
    where = storage.join(uri, MANIFEST)
    if not storage.exists(where):
        raise DataError(f"There is no corpus at {uri} (no {MANIFEST}); make one with `t2a prepare SOURCE {uri}`.")
    try:
        return validate(Manifest, json.loads(storage.read_bytes(where)), where)
    except (ValueError, TypeError, ConfigError) as error:
        raise DataError(
            f"{where} is not the manifest of a corpus; make it again with `t2a prepare`. {error}"
        ) from error


def read_rows(uri: str, split: str) -> Iterator[dict[str, Any]]:
    """Read the rows of a split in order, one row group in memory. Raises DataError when a page fails its checksum."""
    filesystem, root = storage.arrow_filesystem(uri)
    for shard in read_manifest(uri).of(split):
        try:
            with filesystem.open_input_file(f"{root.rstrip('/')}/{shard.name}") as source:
                file = pq.ParquetFile(source, page_checksum_verification=True)
                for group in range(file.num_row_groups):
                    yield from file.read_row_group(group).to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{uri}/{shard.name} cannot be read, write the corpus again: {error}") from error


class _SplitWriter:
    """Writes the shards of one split into a local file, which it uploads as soon as it is full."""

    def __init__(
        self, split: Split, kind: Kind, schema: pa.Schema, uri: str, folder: Path, bounds: ShardBounds
    ) -> None:
        self.split, self.schema, self.uri, self.folder, self.bounds = split, schema, uri, folder, bounds
        self.payload = kind
        self.states = [name for name in schema.names if name.startswith(column(""))]
        self.group: list[Mapping[str, Any]] = []
        self.group_bytes = 0
        self.shards: list[Shard] = []
        self.file: pq.ParquetWriter | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        self.group.append(row)
        self.group_bytes += len(row[self.payload]["bytes"])
        self.group_bytes += sum(len(item) for name in self.states for item in row[name])
        if len(self.group) >= self.bounds.group_rows or self.group_bytes >= self.bounds.group_bytes:
            self._write_group()

    @contextlib.contextmanager
    def _local_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"Cannot write a shard in {self.folder} ({error.strerror or error})"
            raise StorageError(f"{what}; free some space there or set TMPDIR to another disk.") from error

    def finish(self) -> list[Shard]:
        """Write what is left and name the shards."""
        if self.group:
            self._write_group()
        if self.file:
            self._close_shard()
        return self.shards

    def abandon(self) -> None:
        """Let go of the local file, which may be broken itself."""
        if self.file:
            with contextlib.suppress(OSError, pa.ArrowException):
                self.file.close()

    @property
    def _local(self) -> Path:
        return self.folder / self.split / f"{self.split}-{len(self.shards):05d}.parquet"

    def _write_group(self) -> None:
        if self.file is None:
            self._local.parent.mkdir()
            self.file = pq.ParquetWriter(
                self._local,
                self.schema,
                compression={f"{self.payload}.bytes": "none"} | {"captions.list.element": "zstd"},
                use_dictionary=_FEW_VALUES,
                write_statistics=["id", "seconds", *_FEW_VALUES],
                write_page_checksum=True,
            )
            self.rows, self.seconds, self.row_groups = 0, 0.0, []
        table = pa.Table.from_pylist(self.group, schema=self.schema)
        with self._local_disk():
            self.file.write_table(table, row_group_size=len(self.group))
        self.rows += len(self.group)
        self.seconds += sum(row["seconds"] for row in self.group)
        self.row_groups.append(len(self.group))
        self.group, self.group_bytes = [], 0
        if self._local.stat().st_size >= self.bounds.shard_bytes:
            self._close_shard()

    def _close_shard(self) -> None:
        assert self.file is not None
        with self._local_disk():
            self.file.close()
        self.file = None
        path = self._local
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        shard = Shard(
            name=path.name,
            split=self.split,
            rows=self.rows,
            seconds=round(self.seconds, 3),
            bytes=path.stat().st_size,
            sha256=digest,
            row_groups=tuple(self.row_groups),
        )
        storage.upload(path.parent, self.uri)
        shutil.rmtree(path.parent)
        self.shards.append(shard)


def _check_row(row: Mapping[str, Any], schema: pa.Schema) -> None:
    """A source that makes such rows is wrong itself; unusable clips are its business to skip."""
    if unknown := set(row) - set(schema.names):
        raise ValueError(f"row {row.get('id')}: columns that the first row did not have: {', '.join(sorted(unknown))}")
    if not row["id"] or row["split"] not in SPLITS or not any(caption.strip() for caption in row["captions"]):
        raise ValueError(f"row {row['id']!r} needs an id, a caption and a split out of {', '.join(SPLITS)}")


def check_apart(source: str, target: str) -> None:
    """Refuse to write a corpus over the one that it is made of."""
    places = [storage.filesystem(uri)[1].rstrip("/") for uri in (source, target)]
    if places[0] == places[1]:
        raise DataError(f"{target} is what would be read: choose another place for what is made of it.")


def remove_corpus(uri: str) -> None:
    """Remove only files that a corpus consists of: the folder may hold others."""
    ours = [name for name in storage.files(uri) if _OURS.fullmatch(name)]
    # That of the whole first, then those of parts: no manifest ever names a missing shard.
    for name in sorted(ours, key=lambda name: (not name.endswith(MANIFEST), name.count("/"), name)):
        storage.remove(storage.join(uri, name))
