"""Clips that are wanted: captions out of a corpus, a CSV table or a text file, each with its id and seed."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from t2a import storage
from t2a.config import Config
from t2a.data.schema import SPLITS, Split
from t2a.data.shards import read_manifest
from t2a.data.skips import Skips
from t2a.data.visit import DamagedError, read_row_group
from t2a.errors import DataError


class Wanted(Config):
    """A clip that is to be made. The split is that of the row that the caption is of."""

    id: str
    caption: str
    seed: int
    split: Split = "test"


def read_wanted(where: str, split: str | None, seed: int, skips: Skips) -> list[Wanted]:
    """Read captions, local or on s3://: of `.txt` one a line, of `.csv` the column `caption`, else those of a corpus.

    A table may have columns `id`, `seed` and `split` besides. Of a corpus each row of `split` (None: of all) gives its
    first caption, and its id. What has no seed gets `seed` plus its place. What has no caption is counted in `skips`.
    Raises `DataError` for what cannot be read, for ids that are there twice, and when nothing is left.
    """
    rows = READERS.get(PurePosixPath(where).suffix.lower(), _corpus)(where, split)
    wanted = []
    try:
        for place, row in enumerate(rows):
            if not row["caption"]:
                skips.skip("no caption", row["id"])
                continue
            skips.keep()
            wanted.append(Wanted.model_validate({"seed": seed + place} | row))
    except ValueError as error:
        raise DataError(f"{where}: a row cannot be used: {error}") from error
    if not wanted:
        raise DataError(f"{where} holds no caption{f' in split {split!r}' if split else ''}: nothing would be made.")
    [(name, count)] = Counter(row.id for row in wanted).most_common(1)
    if count > 1:
        raise DataError(f"{where} has the id {name!r} {count} times: clips are kept by id, give each its own.")
    return wanted


def digest(wanted: Iterable[Wanted]) -> str:
    """Tell lists of wanted clips apart."""
    lines = "".join(f"{row.model_dump_json()}\n" for row in wanted)
    return hashlib.sha256(lines.encode()).hexdigest()


def _lines(where: str, split: str | None) -> Iterator[dict[str, str]]:
    for number, line in enumerate(_text(where).splitlines()):
        if line.strip():
            yield {"id": f"{number:06d}", "caption": line.strip()}


def _table(where: str, split: str | None) -> Iterator[dict[str, str]]:
    try:
        table = csv.DictReader(io.StringIO(_text(where)), strict=True)
        if "caption" not in (table.fieldnames or []):
            raise DataError(f"{where} has no column `caption`: it has {', '.join(table.fieldnames or ['none'])}.")
        for number, row in enumerate(table):
            own = {name: row[name].strip() for name in ("id", "seed", "split") if row.get(name)}
            if split in (None, own.get("split", split)):
                yield {"id": f"{number:06d}"} | own | {"caption": (row["caption"] or "").strip()}
    except csv.Error as error:
        raise DataError(f"{where} is not a CSV table ({error}); save it again with quoted captions.") from error


def _corpus(where: str, split: str | None) -> Iterator[dict[str, str]]:
    manifest = read_manifest(where)
    for shard in (shard for name in SPLITS if split in (None, name) for shard in manifest.of(name)):
        for group in range(len(shard.row_groups)):
            try:
                rows = read_row_group(where, shard, group, ["id", "captions"])
            except DamagedError as error:
                raise DataError(f"{where}/{shard.name} cannot be read ({error}); write the corpus again.") from error
            for row in rows:
                yield {"id": row["id"], "caption": ([*(row["captions"] or []), ""][0]).strip(), "split": shard.split}


READERS: dict[str, Callable[[str, str | None], Iterator[dict[str, str]]]] = {".txt": _lines, ".csv": _table}


def _text(where: str) -> str:
    try:
        return storage.read_bytes(where).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} cannot be read as UTF-8 text ({error}); save it again as UTF-8.") from error
