"""What a condition encoder is to those who use it: something frozen that reads one part of a request or of a row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2a.nn.condition import Condition

Reads = Literal["captions", "sounds"]
"""What an encoder reads of each row: a caption (`list[str]`), or a sound (`Sounds`)"""


class Sounds(NamedTuple):
    """A sound for each row, at one rate."""

    waves: Tensor
    """[B, C, T] float32"""
    lengths: Tensor
    """int64 [B], samples; 0 = there is none"""
    rate: int
    """Hz"""

    def mono(self) -> Iterator[NDArray[np.float32]]:
        """Give each row's wave [T], without what pads it."""
        for wave, length in zip(self.waves.float().mean(1).cpu().numpy(), self.lengths.tolist(), strict=True):
            yield wave[:length]


class Encoder(Protocol):
    """Turns what it reads into states, without gradients; a row's states do not depend on its batch-mates."""

    @property
    def width(self) -> int:
        """D of the states."""
        ...

    def to(self, device: torch.device) -> "Encoder":
        """Compute and answer on another device from now on."""
        ...

    def __call__(self, inputs: Any) -> Condition:
        """Encode B rows as states [B, S, D] float32, S >= 1; a row without its part has no real state."""
        ...


class Buildable(Protocol):
    """The config of an encoder."""

    kind: str
    reads: ClassVar[Reads]

    @property
    def rate(self) -> float | None:
        """States a second of sound; None where they do not follow it."""
        ...

    def build(self, device: torch.device | str = "cpu") -> Encoder:
        """Load the encoder. Raises `ConfigError` where that cannot be."""
        ...

    def exported(self, folder: Path, name: str) -> "Buildable":
        """Give the config that a model folder keeps of it, and put there what that one needs, at `folder / name`."""
        ...

    def fingerprint(self) -> str:
        """Tell encoders apart whose states may differ: a digest of the settings and of the weights."""
        ...
