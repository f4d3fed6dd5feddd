"""The rows of a corpus: one clip each, as audio bytes, as a codec's codes or as an autoencoder's latents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import pyarrow as pa

Kind = Literal["audio", "codes", "latents"]
"""of a corpus, and the name of the column that holds the clips"""
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

_DESCRIPTION = [
    ("seconds", pa.float64()),
    ("captions", pa.list_(pa.string())),
    ("source", pa.string()),
    ("licence", pa.string()),
    ("split", pa.string()),
]
# Hugging Face's `datasets` decodes the column as audio when the schema carries this note.
_AUDIO_NOTE = {"huggingface": json.dumps({"info": {"features": {"audio": {"_type": "Audio"}}}})}

AUDIO_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("sample_rate", pa.int32()),
        ("channels", pa.int32()),
        *_DESCRIPTION,
    ],
    metadata=_AUDIO_NOTE,
)
CODES_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("codes", pa.struct([("bytes", pa.binary()), ("codebooks", pa.int32())])),
        ("frame_rate", pa.float64()),
        *_DESCRIPTION,
    ]
)
LATENTS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("latents", pa.struct([("bytes", pa.binary()), ("shape", pa.list_(pa.int32()))])),
        ("frame_rate", pa.float64()),
        *_DESCRIPTION,
    ]
)
SCHEMAS: dict[Kind, pa.Schema] = {"audio": AUDIO_SCHEMA, "codes": CODES_SCHEMA, "latents": LATENTS_SCHEMA}


@dataclass(frozen=True)
class AudioRow:
    """A clip: an encoded file (FLAC, Opus, WAV, ...) and what is known about it; `extra` holds free columns."""

    id: str
    audio: bytes
    path: str
    sample_rate: int
    channels: int
    seconds: float
    captions: list[str]
    source: str
    licence: str
    split: Split
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return _flat(self) | {"audio": {"bytes": self.audio, "path": self.path}}


@dataclass(frozen=True)
class CodesRow:
    """A clip as codes [K, L] (any integer type, values below 65536) at `frame_rate` frames a second."""

    id: str
    codes: np.ndarray
    frame_rate: float
    seconds: float
    captions: list[str]
    source: str
    licence: str
    split: Split
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return _flat(self) | {"codes": pack_codes(self.codes)}


def pack_codes(codes: np.ndarray) -> dict[str, Any]:
    """Turn codes [K, L] into the cell of a `codes` column. Raises ValueError for codes that need more than 16 bits."""
    if codes.ndim != 2 or (codes.size and not 0 <= codes.min() <= codes.max() < 1 << 16):
        raise ValueError(f"codes are [K, L] integers in 0..65535, not {codes.shape} {codes.dtype}")
    return {"bytes": np.ascontiguousarray(codes, dtype="<u2").tobytes(), "codebooks": codes.shape[0]}


def unpack_codes(cell: Mapping[str, Any]) -> np.ndarray:
    """Read a cell of a `codes` column as [K, L] int64. Raises ValueError when its bytes are no such array."""
    codes = np.frombuffer(cell["bytes"], dtype="<u2")
    if cell["codebooks"] < 1 or codes.size % cell["codebooks"]:
        raise ValueError(f"{codes.size} codes are no whole number of frames of {cell['codebooks']} codebooks")
    return codes.reshape(cell["codebooks"], -1).astype(np.int64)


def pack_latents(latents: np.ndarray) -> dict[str, Any]:
    """Turn latents [C, (F,) L] into the cell of a `latents` column: float16, the shape of a frame beside it.

    Raises ValueError for numbers that float16 cannot hold.
    """
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(latents, dtype="<f2")
    if halves.ndim not in (2, 3) or not np.isfinite(halves).all():
        raise ValueError(f"latents are [C, (F,) L] numbers within the range of float16, not {halves.shape}")
    return {"bytes": halves.tobytes(), "shape": list(halves.shape[:-1])}


def unpack_latents(cell: Mapping[str, Any]) -> np.ndarray:
    """Read a cell of a `latents` column as [C, (F,) L] float16. Raises ValueError when its bytes are no such array."""
    return np.frombuffer(cell["bytes"], dtype="<f2").reshape(*cell["shape"], -1)


UNPACKED: dict[Kind, Callable[[Mapping[str, Any]], np.ndarray]] = {"codes": unpack_codes, "latents": unpack_latents}
"""how a cell of frames becomes an array [..., L]"""


def full_schema(kind: Kind, row: Mapping[str, Any]) -> pa.Schema:
    """Extend the schema of `kind` by the free columns of an example row, their types inferred from its values."""
    schema = SCHEMAS[kind]
    for name in sorted(set(row) - set(schema.names)):
        schema = schema.append(pa.field(name, pa.array([row[name]]).type))
    return schema


def _flat(row: AudioRow | CodesRow) -> dict[str, Any]:
    named = {f.name: getattr(row, f.name) for f in fields(row) if f.name not in ("extra", "path")}
    return dict(row.extra) | named
