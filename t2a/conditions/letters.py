"""Captions letter by letter, for a model that learns to read by itself: nothing is frozen, nothing to download."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field
from torch.nn import functional

from t2a.conditions.encoder import Reads
from t2a.config import Config
from t2a.nn.condition import Condition, padded

VALUES = 256


class BytesConfig(Config):
    """The bytes of a caption in UTF-8, one-hot, states of width 256 (as ByT5 reads, without its transformer).

    What goes beyond `max_bytes` is not read.
    """

    kind: Literal["bytes"]
    max_bytes: int = Field(256, gt=0)

    reads: ClassVar[Reads] = "captions"
    rate: ClassVar[None] = None

    def build(self, device: torch.device | str = "cpu") -> "BytesEncoder":
        """Make the encoder; there is nothing to load."""
        return BytesEncoder(self, device)

    def exported(self, folder: Path, name: str) -> Self:
        """Keep the settings; there is nothing else."""
        return self

    def fingerprint(self) -> str:
        """Digest the settings."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class BytesEncoder:
    """Turns captions into one-hot bytes; a blank one has none."""

    def __init__(self, config: BytesConfig, device: torch.device | str = "cpu"):
        self.config, self.device = config, torch.device(device)

    @property
    def width(self) -> int:
        """D of the states: the values of a byte."""
        return VALUES

    def to(self, device: torch.device) -> "BytesEncoder":
        """Answer on another device from now on."""
        self.device = device
        return self

    def __call__(self, inputs: Sequence[str]) -> Condition:
        """Encode B captions as tokens [B, S, 256] and mask [B, S]."""
        read = [list(caption.strip().encode()[: self.config.max_bytes]) for caption in inputs]
        states = [functional.one_hot(torch.tensor(own, dtype=torch.int64), VALUES).float() for own in read]
        return padded(states, VALUES).to(self.device)
