"""What could not be sent yet: metrics and files kept on the local disk, in order, until somebody takes them."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class Record(NamedTuple):
    """One value of one metric. Sent twice it counts once: MLflow keeps one of records that are equal in all four."""

    key: str
    value: float
    timestamp: int
    """milliseconds since 1970"""
    step: int


class Outbox:
    """A folder that outlives the process: the next one to report for the same run sends what it finds there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept = folder / "metrics.jsonl"
        self._taken = folder / "metrics.taken.jsonl"
        self._files = folder / "files"
        self._lock = threading.Lock()

    @property
    def empty(self) -> bool:
        return not (self._kept.exists() or self._taken.exists() or next(self.files(), None))

    def keep(self, records: Sequence[Record]) -> None:
        """Add metrics to the end. Safe in several threads."""
        if not records:
            return
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._kept.open("a") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)

    def take(self) -> list[Record]:
        """All metrics kept; they stay here until `forget`, and until then further calls return the same."""
        if not self._taken.exists():
            with self._lock:
                if not self._kept.exists():
                    return []
                self._kept.rename(self._taken)
        records = []
        for line in self._taken.read_text().splitlines():
            try:
                records.append(Record(*json.loads(line)))
            except (ValueError, TypeError):
                continue  # the process was killed within its last line
        return records

    def forget(self) -> None:
        """Drop what `take` returned: it has arrived."""
        self._taken.unlink(missing_ok=True)

    def put(self, path: str, write: Callable[[Path], None]) -> None:
        """Let `write` make a file that will be sent as `path`; one of that name not sent yet is replaced."""
        part = self.folder / "part" / path
        target = self._files / path
        for folder in (part.parent, target.parent):
            folder.mkdir(parents=True, exist_ok=True)
        write(part)
        part.replace(target)

    def files(self) -> Iterator[tuple[str, Path]]:
        """(path to send as, local file), oldest first."""
        found = [p for p in self._files.rglob("*") if p.is_file()]
        for file in sorted(found, key=lambda p: p.stat().st_mtime_ns):
            yield file.relative_to(self._files).as_posix(), file

    def clear(self) -> None:
        """Remove the folder when nothing is left in it."""
        if self.empty:
            shutil.rmtree(self.folder, ignore_errors=True)
