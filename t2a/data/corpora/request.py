"""What a source of sounds is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import Progress

from t2a.data.skips import Skips


@dataclass(frozen=True)
class Request:
    """One call of `prepare`, as its source sees it.

    `count` None means all (or the source's own default); `folder` is only for the source that reads one. Recordings
    that a source leaves out itself are counted in `skips`; `progress` shows what takes time, such as downloads.
    """

    sample_rate: int = 16000
    seconds_max: float = 10.0
    count: int | None = None
    seed: int = 0
    folder: Path | None = None
    skips: Skips = field(default_factory=Skips)
    progress: Progress = field(default_factory=lambda: Progress(disable=True))
