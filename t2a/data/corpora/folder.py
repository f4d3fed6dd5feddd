"""One's own audio files with captions: tables (CSV, JSONL) in the folder, or a .txt or .json beside each file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from t2a.audio.io import decode
from t2a.data.clips import Sound
from t2a.data.corpora.request import Request
from t2a.data.schema import Split
from t2a.data.skips import Skips
from t2a.errors import ConfigError, DataError

# Containers that cannot be decoded are listed too: they are then counted, not overlooked.
AUDIO = {
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64",
    ".m4a", ".mp4", ".aac", ".wma", ".webm",
}  # fmt: skip
FILE_KEYS = ("file", "audio", "path", "file_name", "filename", "file_path", "audio_path", "wav")
CAPTION_KEY = re.compile(r"(captions?|text|description)(_?\d+)?")  # some sets number their captions
SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train", "dev": "valid", "val": "valid", "valid": "valid", "validation": "valid",
    "test": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
NO_CAPTION, MISSING, OUTSIDE, UNREADABLE = "no caption", "missing file", "outside the folder", "unreadable caption file"


@dataclass
class Entry:
    """What is known of one file."""

    captions: list[str] = field(default_factory=list)
    split: Split | None = None
    licence: str = ""
    category: str = ""

    def add(self, values: Mapping[str, Any], split: Split | None = None) -> None:
        """Take over a row of a table or the content of a .json; captions of several rows add up."""
        values = {str(key).strip().lower(): value for key, value in values.items() if value is not None}
        for key, value in values.items():
            if CAPTION_KEY.fullmatch(key):
                self.captions += [text for text in _texts(value) if text not in self.captions]
        self.split = SPLIT_NAMES.get(str(values.get("split", "")).strip().lower(), split or self.split)
        self.licence = str(values.get("licence", values.get("license", self.licence)))
        self.category = str(values.get("category", self.category))


def sounds(request: Request) -> Iterator[Sound]:
    """Give the sounds of `request.folder` in the order of their paths.

    Files that are nowhere described, described files that are missing, and paths that lead out of the folder are
    skipped and counted. A split column, or a table named after a split, decides the split; otherwise the path's hash.
    """
    if request.folder is None:
        raise ConfigError("The source `folder` needs a folder; write `t2a prepare folder DIR OUT`.")
    root = request.folder.expanduser()
    if not root.is_dir():
        raise DataError(f"There is no folder {root}; give the one that holds the audio files.")
    root = root.resolve()
    entries = _tables(root, request.skips)
    found = sorted(p for p in root.rglob("*") if p.suffix.lower() in AUDIO and p.is_file())
    if not found:
        raise DataError(f"There is no audio file below {root}; looked for {', '.join(sorted(AUDIO))}.")
    names = [path.relative_to(root).as_posix() for path in found]
    for name in sorted(set(entries) - set(names)):
        request.skips.skip(MISSING, name)
    for name, path in zip(names, found, strict=True):
        if not path.resolve().is_relative_to(root):
            request.skips.skip(OUTSIDE, name)
        elif entry := _usable(entries.get(name) or _beside(path, name, request.skips), name, request.skips):
            yield _sound(root, name, entry)


def _sound(root: Path, name: str, entry: Entry) -> Sound:
    return Sound(
        origin=name,
        read=partial(decode, root / name),
        captions=entry.captions,
        source=root.name,
        licence=entry.licence or "unknown",
        split=entry.split,
        drawn_by=name,
        extra={"category": entry.category},
    )


def _usable(entry: Entry | None, name: str, skips: Skips) -> Entry | None:
    if entry is not None and not entry.captions:
        skips.skip(NO_CAPTION, name)
        return None
    return entry


def _tables(root: Path, skips: Skips) -> dict[str, Entry]:
    """Read every CSV and JSONL directly in the folder: path below the folder -> what is known of it."""
    entries: dict[str, Entry] = {}
    for table in sorted(p for p in root.iterdir() if p.suffix.lower() in (".csv", ".jsonl") and p.is_file()):
        for row in _read_table(table, skips):
            key = next((k for k in row if str(k).strip().lower() in FILE_KEYS), None)
            if key is None:
                known = ", ".join(str(k) for k in row)
                raise DataError(
                    f"{table} names no files: it has {known}; call a column `file`, or move the table away."
                )
            path = (root / str(row[key]).strip()).resolve()
            if not path.is_relative_to(root):
                skips.skip(OUTSIDE, str(row[key]))
                continue
            entry = entries.setdefault(path.relative_to(root).as_posix(), Entry())
            entry.add(row, SPLIT_NAMES.get(table.stem.lower()))
    return entries


def _read_table(table: Path, skips: Skips) -> Iterator[Mapping[str, Any]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table} cannot be read as UTF-8 text ({error}); save it again as UTF-8.") from error
    if table.suffix.lower() == ".csv":
        try:
            # A row with too few cells has None in the others, one with too many has them under None.
            yield from csv.DictReader(text.splitlines(keepends=True))
        except csv.Error as error:
            raise DataError(f"{table} is not a CSV table ({error}); save it again with quoted captions.") from error
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield cast(Mapping[str, Any], dict(json.loads(line)))
            except (ValueError, TypeError):
                skips.skip(UNREADABLE, f"{table.name}:{number}")


def _beside(path: Path, name: str, skips: Skips) -> Entry | None:
    """Read the caption file beside an audio file; None, counted, when there is none or it cannot be read."""
    entry = Entry()
    try:
        if (text := path.with_suffix(".txt")).is_file():
            entry.add({"captions": text.read_text(encoding="utf-8-sig").splitlines()})
        elif (values := path.with_suffix(".json")).is_file():
            content = json.loads(values.read_text(encoding="utf-8-sig"))
            entry.add(content if isinstance(content, dict) else {"captions": content})
    except (OSError, ValueError):
        skips.skip(UNREADABLE, name)
        return None
    return entry


def _texts(value: Any) -> Iterable[str]:
    """The captions in a cell: a text or a list of texts, without empty ones."""
    values = value if isinstance(value, list) else [value]
    return [text.strip() for text in values if isinstance(text, str) and text.strip()]
