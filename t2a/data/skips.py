"""Rows that could not be used: counted by reason, with a few examples to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t2a.errors import DataError

EXAMPLES = 5


class UnusableError(Exception):
    """A row that no reading can rescue; the message is the reason it is counted under."""


class Skips:
    """Count kept rows and skipped rows by reason, remembering up to five ids for each reason."""

    def __init__(self) -> None:
        self.kept = 0
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}

    def keep(self, count: int = 1) -> None:
        """Count rows that were used."""
        self.kept += count

    def skip(self, reason: str, row: str, count: int = 1) -> None:
        """Count rows left out for `reason` (a short phrase); `row` is the id of one of them."""
        self._add(reason, count, [row])

    def merge(self, other: Skips) -> None:
        """Add the counts of another process to these."""
        self.kept += other.kept
        for reason, count in other.counts.items():
            self._add(reason, count, other.examples[reason])

    @property
    def skipped(self) -> int:
        return sum(self.counts.values())

    @property
    def share(self) -> float:
        """Skipped rows among all rows seen, 0 when none was seen."""
        return self.skipped / max(1, self.skipped + self.kept)

    def check(self, max_share: float, where: str = "", grace: int = 0) -> None:
        """Raise DataError when more than `max_share` of the rows were skipped.

        A verdict waits until more than `grace` rows were seen, so that one bad row at the start does not end a run.
        """
        seen = self.skipped + self.kept
        if seen <= grace or self.share <= max_share:
            return
        reasons = "; ".join(f"{self.counts[r]} {r} ({', '.join(self.examples[r])})" for r in self.counts)
        raise DataError(
            f"{where + ': ' if where else ''}{self.skipped} of {seen} rows are unusable, more than the accepted share "
            f"of {max_share:.1%}: {reasons}; repair them or raise max_skipped."
        )

    def to_json(self) -> dict[str, Any]:
        """Give plain values for a checkpoint or a manifest."""
        return {
            "kept": self.kept,
            "counts": dict(self.counts),
            "examples": {r: list(e) for r, e in self.examples.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Skips:
        skips = cls()
        skips.kept = int(values["kept"])
        for reason, count in values["counts"].items():
            skips._add(reason, int(count), values["examples"].get(reason, []))
        return skips

    def _add(self, reason: str, count: int, rows: list[str]) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + count
        known = self.examples.setdefault(reason, [])
        known.extend(row for row in rows[: EXAMPLES - len(known)])
