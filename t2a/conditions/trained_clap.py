"""A CLAP that t2a has trained, as an encoder of captions and of sounds."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from t2a.audio.transform import resample
from t2a.conditions.encoder import Encoder, Sounds
from t2a.conditions.encoders import EncodersFile
from t2a.models.clap import Clap
from t2a.nn.condition import Condition

AT_ONCE = 16  # sounds a pass


class TrainedClap:
    """Both towers of a model folder, without gradients, in float32; a row's vector does not depend on the others."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu"):
        self.folder, self.device = folder, torch.device(device)
        self.model = Clap.from_pretrained(folder).requires_grad_(False).to(self.device)

    @cached_property
    def text(self) -> Encoder:
        """The frozen encoder below the text tower, loaded on first use."""
        return EncodersFile.read(self.folder).encoders["text"].build(self.device)

    def to(self, device: torch.device) -> None:
        """Compute and answer on another device from now on."""
        if device != self.device:
            self.device = device
            self.model.to(device)

    @torch.no_grad()
    def captions(self, captions: Sequence[str]) -> Condition:
        """Embed captions as vectors of unit length [B, 1, D]; an empty one has none."""
        states = self.text.to(self.device)(captions)
        with torch.autocast(self.device.type, enabled=False):
            return Condition(self.model.text(states)[:, None], states.mask.any(1, keepdim=True))

    @torch.no_grad()
    def tokens(self, captions: Sequence[str]) -> Condition:
        """Embed the tokens of captions, [B, S, D]."""
        with torch.autocast(self.device.type, enabled=False):
            return self.model.text_states(self.text.to(self.device)(captions))

    @torch.no_grad()
    def sounds(self, sounds: Sounds) -> Tensor:
        """Embed sounds as vectors of unit length [B, D]; what a sound without samples gets means nothing."""
        rate = self.model.sample_rate
        waves = [resample(wave[None], sounds.rate, rate)[0] if len(wave) else wave for wave in sounds.mono()]
        vectors = []
        for begin in range(0, len(waves), AT_ONCE):
            group = waves[begin : begin + AT_ONCE]
            length = torch.tensor([len(wave) for wave in group])
            batch = torch.zeros(len(group), 1, max(int(length.max()), 1))
            for row, wave in zip(batch, group, strict=True):
                row[0, : len(wave)] = torch.as_tensor(wave)
            with torch.autocast(self.device.type, enabled=False):
                vectors.append(self.model.audio(batch.to(self.device), length.to(self.device)))
        return torch.cat(vectors)


class TrainedText:
    """The text tower as an encoder."""

    def __init__(self, clap: TrainedClap, form: Literal["vector", "tokens"]):
        self._clap = clap
        self._encode = {"vector": clap.captions, "tokens": clap.tokens}[form]

    @property
    def width(self) -> int:
        """D of the vectors and of the states."""
        return self._clap.model.config.dimension

    def to(self, device: torch.device) -> "TrainedText":
        """Compute and answer on another device from now on."""
        self._clap.to(device)
        return self

    def __call__(self, inputs: Sequence[str]) -> Condition:
        """Encode B captions as tokens [B, S, D] and mask [B, S]; S is 1 for vectors."""
        return self._encode(inputs)


class TrainedAudio:
    """The audio tower as an encoder."""

    def __init__(self, clap: TrainedClap):
        self._clap = clap

    @property
    def width(self) -> int:
        """D of the vectors."""
        return self._clap.model.config.dimension

    def to(self, device: torch.device) -> "TrainedAudio":
        """Compute and answer on another device from now on."""
        self._clap.to(device)
        return self

    def __call__(self, inputs: Sounds) -> Condition:
        """Encode B sounds as tokens [B, 1, D] and mask [B, 1]."""
        return Condition(self._clap.sounds(inputs)[:, None], (inputs.lengths > 0)[:, None].to(self._clap.device))
