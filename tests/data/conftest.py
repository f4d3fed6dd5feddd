"""Small corpora of tones, and stand-ins for what Ray does between the readers and the ranks."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from t2a.data.shards import Manifest, ShardBounds, write_shards

RATE = 8000


def flac(frequency: float, seconds: float, rate: int = RATE, channels: int = 1) -> bytes:
    time = np.arange(round(seconds * rate)) / rate
    wave = np.repeat(0.5 * np.sin(2 * np.pi * frequency * time)[:, None], channels, axis=1)
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def make_tone(index: int, split: str = "train", seconds: float = 0.3, **changes: object) -> dict:
    """A stored row: a tone of its own frequency, id `clip-<index>`."""
    row = {
        "id": f"clip-{index:04d}",
        "audio": {"bytes": flac(100 + index % 50 * 10, seconds), "path": f"{index}.flac"},
        "sample_rate": RATE,
        "channels": 1,
        "seconds": seconds,
        "captions": [f"a tone, number {index}", f"number {index} again"],
        "source": "made",
        "licence": "CC0-1.0",
        "split": split,
    }
    return row | changes


@pytest.fixture
def tone() -> Callable[..., dict]:
    """Make one stored row: `tone(index, split, seconds, **changes)`."""
    return make_tone


@pytest.fixture
def tones(tmp_path: Path) -> Callable[..., tuple[str, Manifest]]:
    """Write a corpus of `count` tones in row groups of `group` rows, `shard_groups` to a shard: (uri, manifest)."""

    def write(count: int, group: int = 5, shard_bytes: int = 20_000, rows: list[dict] | None = None):
        uri = str(tmp_path / "corpus")
        bounds = ShardBounds(group_rows=group, shard_bytes=shard_bytes)
        return uri, write_shards(rows or [make_tone(i) for i in range(count)], uri, bounds=bounds)

    return write
