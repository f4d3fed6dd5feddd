"""What a model is told of a training batch, and what it would have been told with other captions or with none."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from t2a.conditions.encoder import Reads, Sounds
from t2a.conditions.encoders import Encoders
from t2a.errors import ConfigError
from t2a.nn.condition import Condition

PRECOMPUTED = ("codes", "latents")
"""Tensors of batches from which no sound can be read"""


def conditions(
    encoders: Encoders, batch: Mapping[str, Any], sample_rate: int, device: torch.device
) -> dict[str, Condition]:
    """Encode what a batch holds for the encoders to read, unless these very encoders did it before.

    sample_rate: Hz of the batch's audio, where it has any. Raises `ConfigError` where there is nothing to read.
    """
    parts: dict[Reads, Any] = {"captions": batch["captions"]}
    if "audio" in batch:
        parts["sounds"] = Sounds(batch["audio"], batch["length"], sample_rate)
    encoders = encoders.to(device)
    stored = encoders.stored(batch.get("states", {}))
    found = stored | encoders(parts, without=stored)
    if lacking := encoders.configs.keys() - found.keys():
        name, holds = min(lacking), next(tensor for tensor in PRECOMPUTED if tensor in batch)
        raise ConfigError(
            f"task.encoders.{name} reads sounds, but the batches hold {holds} alone: prepare them "
            f"--with {name}={encoders.configs[name].kind}, or use data.kind=audio."
        )
    return found


def with_other_captions(
    encoders: Encoders, own: Mapping[str, Condition], captions: Sequence[str]
) -> dict[str, dict[str, Condition]]:
    """Return the conditions of a batch as they are (""), with another row's caption ("_shuffled"), without ("_null").

    What else the model is told stays the row's own in all three.
    """
    read = [name for name in own if encoders.configs[name].reads == "captions"]
    others = derange(captions)
    shuffled = {name: Condition(*(part[others] for part in own[name])) for name in read}
    without = {name: condition for name, condition in own.items() if name not in read}
    return {"": dict(own), "_shuffled": {**own, **shuffled}, "_null": without}


def derange(captions: Sequence[str]) -> list[int]:
    """Choose for each row the next row that has another caption; itself only if there is none."""
    rows = range(len(captions))
    return [
        next((other for other in (*rows[row:], *rows[:row]) if captions[other].strip() and captions[other] != own), row)
        for row, own in enumerate(captions)
    ]
