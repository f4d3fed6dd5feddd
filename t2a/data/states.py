"""What condition encoders make of a clip, stored beside its codes, so that training need not run them again.

A column `states_NAME` holds a list: of the states of each caption, or of the one sound. numpy only, as in `rows`.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2a.config import Config
from t2a.data.skips import UnusableError

HEADER = struct.Struct("<I")  # D, before the states as little-endian float16 [S, D]
MISSING = b""


class StatesColumn(Config):
    """Which encoder made the states of a column. `rate` are states a second of sound, if they follow it."""

    encoder: dict[str, Any]
    fingerprint: str
    reads: Literal["captions", "sounds"]
    width: int
    rate: float | None = None


def column(name: str) -> str:
    """Name the column of a condition."""
    return f"states_{name}"


def made_by(name: str) -> str:
    """Name the column of a stream that tells the encoder's fingerprint."""
    return f"made_by_{name}"


def pack_states(states: ArrayLike) -> bytes:
    """Turn states [S, D] into an item of a cell. Raises ValueError for numbers that float16 cannot hold."""
    with np.errstate(over="ignore"):
        halves = np.asarray(states).astype("<f2")
    if halves.ndim != 2 or not np.isfinite(halves).all():
        raise ValueError(f"states are [S, D] numbers within the range of float16, not {halves.shape}")
    return HEADER.pack(halves.shape[1]) + halves.tobytes()


def unpack_states(item: bytes) -> NDArray[np.float16]:
    """Read an item of a cell as [S, D]. Raises ValueError when its bytes are none."""
    if len(item) < HEADER.size:
        raise ValueError(f"{len(item)} bytes are no states")
    (width,) = HEADER.unpack_from(item)
    return np.frombuffer(item, "<f2", offset=HEADER.size).reshape(-1, width)


def states_of(
    columns: Mapping[str, StatesColumn], row: Mapping[str, Any], text: str, start: int, length: int
) -> dict[str, bytes]:
    """Choose for every column what belongs to frames `start` to `start + length`: its text's states, its sound's part.

    `MISSING` where the text is none of the row's captions as they were stored. Raises UnusableError for a cell that
    is damaged.
    """
    found = {}
    try:
        for name, made in columns.items():
            items = row[column(name)] or []
            if made.reads == "captions":
                found[name] = _of_caption(made, items, row["captions"] or [], text)
            else:
                found[name] = _of_sound(made, items, start / row["frame_rate"], length / row["frame_rate"])
        return found
    except ValueError as error:
        raise UnusableError("undecodable states") from error


def none(made: StatesColumn) -> bytes:
    """Return the states of nothing, [0, D]."""
    return HEADER.pack(made.width)


def _of_caption(made: StatesColumn, items: Sequence[bytes], captions: Sequence[str], text: str) -> bytes:
    if not text:
        return none(made)
    return next((item for item, caption in zip(items, captions, strict=False) if caption == text), MISSING)


def _of_sound(made: StatesColumn, items: Sequence[bytes], start: float, seconds: float) -> bytes:
    if not items or made.rate is None:
        return items[0] if items else MISSING
    first, count = round(start * made.rate), 1 + math.floor(seconds * made.rate + 1e-6)
    return pack_states(unpack_states(items[0])[first : first + count])
