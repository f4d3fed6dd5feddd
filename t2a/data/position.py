"""How far a run has come in the stream: exact, small, and independent of the number of workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from t2a.data.skips import Skips
from t2a.errors import DataError


class Position:
    """A cursor and the rows already consumed beyond it.

    `cursor` is the first visit not wholly consumed; every row of an earlier visit is consumed. `seen` maps a later
    visit to (its rows, bit mask of its consumed places). `skips` counts what was unusable in the history up to the
    checkpoint that the ranks started from, `fresh` what this rank has met since: so that merging the ranks counts
    each bad row once. `plan` is the fingerprint of the visit plan (None before the first row).
    """

    def __init__(self, cursor: int = 0, plan: int | None = None) -> None:
        self.cursor = cursor
        self.plan = plan
        self.seen: dict[int, tuple[int, int]] = {}
        self.skips = Skips()
        self.fresh = Skips()

    def belongs(self, plan: int) -> None:
        """Bind the position to a visit plan. Raises DataError when it is bound to another one."""
        if self.plan is None:
            self.plan = plan
        if self.plan != plan:
            raise DataError(
                "The checkpoint's data position belongs to another stream (the corpus, its split or the seed changed); "
                "restore them, or start a new run from the checkpoint's model."
            )

    def contains(self, visit: int, place: int) -> bool:
        """Say whether a row is already consumed."""
        if visit < self.cursor:
            return True
        _, mask = self.seen.get(visit, (0, 0))
        return bool(mask >> place & 1)

    def consumed(self, visits: Iterable[int], places: Iterable[int], rows: Iterable[int], plan: int) -> None:
        """Mark rows as consumed; `rows` is the number of rows of each row's visit.

        Raises DataError when the rows come from another plan than the rows before them.
        """
        self.belongs(plan)
        for visit, place, count in zip(visits, places, rows, strict=True):
            if visit >= self.cursor:
                _, mask = self.seen.get(visit, (count, 0))
                self.seen[visit] = (count, mask | 1 << place)
        self._advance()

    def copy(self) -> Position:
        """Give an independent copy."""
        return Position.from_json(self.to_json())

    @staticmethod
    def merge(positions: Sequence[Position]) -> Position:
        """Join the positions of all ranks, which started from one common position."""
        first, *_ = positions
        merged = Position(max(position.cursor for position in positions))
        merged.skips = Skips.from_json(first.skips.to_json())
        for position in positions:
            if position.plan is not None:
                merged.belongs(position.plan)
            merged.skips.merge(position.fresh)
            for visit, (rows, mask) in position.seen.items():
                if visit >= merged.cursor:
                    _, known = merged.seen.get(visit, (rows, 0))
                    merged.seen[visit] = (rows, known | mask)
        merged._advance()
        return merged

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values; `seen` as [visit, rows, hexadecimal mask]."""
        return {
            "version": 1,
            "plan": self.plan,
            "cursor": self.cursor,
            "seen": [[visit, rows, f"{mask:x}"] for visit, (rows, mask) in sorted(self.seen.items())],
            "skips": self.skips.to_json(),
            "fresh": self.fresh.to_json(),
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> Position:
        """Read what `to_json` gave. Raises DataError for a later format."""
        if values.get("version") != 1:
            raise DataError(
                f"The data position has format {values.get('version')!r}, this t2a reads 1; use the t2a that wrote it."
            )
        position = Position(values["cursor"], values["plan"])
        position.seen = {visit: (rows, int(mask, 16)) for visit, rows, mask in values["seen"]}
        position.skips = Skips.from_json(values["skips"])
        position.fresh = Skips.from_json(values["fresh"])
        return position

    def rows_beyond(self) -> int:
        """Count the rows consumed beyond the cursor."""
        return sum(mask.bit_count() for _, mask in self.seen.values())

    def _advance(self) -> None:
        while self.cursor in self.seen:
            rows, mask = self.seen[self.cursor]
            if mask != (1 << rows) - 1:
                return
            del self.seen[self.cursor]
            self.cursor += 1
