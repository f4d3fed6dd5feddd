"""Melodies: the leading pitch class of a sound, moment by moment (MusicGen, section 2.3)."""

import hashlib
import math
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from t2a.audio.chroma import ChromaSpec, chromagram, leading
from t2a.audio.transform import resample
from t2a.conditions.encoder import Reads, Sounds
from t2a.nn.condition import Condition, padded


class ChromaConfig(ChromaSpec):
    """One-hot chroma, one state a frame; the sound may be a mix or any stem of it.

    With `seconds` every melody is made that long, cut or repeated: MusicGen knows melodies of 30 s only.
    """

    kind: Literal["chroma"]
    seconds: float | None = Field(None, gt=0)

    reads: ClassVar[Reads] = "sounds"

    @property
    def rate(self) -> float | None:
        """States a second; of a fixed length they do not follow the sound."""
        return self.frame_rate if self.seconds is None else None

    @property
    def frames(self) -> int | None:
        """States of every melody, where their number is fixed."""
        return None if self.seconds is None else 1 + int(self.seconds * self.sample_rate) // self.hop

    def build(self, device: torch.device | str = "cpu") -> "ChromaEncoder":
        """Make the encoder; there is nothing to load."""
        return ChromaEncoder(self, device)

    def exported(self, folder: Path, name: str) -> Self:
        """Keep the settings; there is nothing else."""
        return self

    def fingerprint(self) -> str:
        """Digest the settings."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class ChromaEncoder:
    """Turns sounds into the one-hot chroma of their frames; of several channels the mean is heard."""

    def __init__(self, config: ChromaConfig, device: torch.device | str = "cpu"):
        self.config, self.device = config, torch.device(device)

    @property
    def width(self) -> int:
        """D of the states: the bins of an octave."""
        return self.config.bins

    def to(self, device: torch.device) -> "ChromaEncoder":
        """Answer on another device from now on."""
        self.device = device
        return self

    def __call__(self, inputs: Sounds) -> Condition:
        """Encode B sounds as tokens [B, S, bins] and mask [B, S], one state for each frame of each sound."""
        return padded([self._frames(wave, inputs.rate) for wave in inputs.mono()], self.width).to(self.device)

    def _frames(self, wave: NDArray[np.float32], rate: int) -> Tensor:
        """Encode one sound [T] as [S, bins]."""
        if not len(wave):
            return torch.zeros(0, self.width)
        wave = resample(wave[None], rate, self.config.sample_rate)[0]
        frames = leading(chromagram(torch.from_numpy(wave), self.config)).mT
        wanted = self.config.frames
        if wanted is None:
            return frames
        return frames.repeat(math.ceil(wanted / len(frames)), 1)[:wanted]
