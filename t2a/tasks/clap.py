"""Train CLAP: bring a sound and its caption together, apart from those of the other rows."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from t2a.conditions.encoder import Encoder
from t2a.conditions.encoders import EncodersFile
from t2a.conditions.letters import BytesConfig
from t2a.conditions.text import MiniLMConfig, T5Config
from t2a.config import Config
from t2a.data.captions import normal
from t2a.errors import ConfigError
from t2a.losses.contrastive import contrastive, fits
from t2a.models.clap import Clap, ClapConfig
from t2a.nn.condition import Condition
from t2a.tasks.task import Network

MOST = 16  # captions of a clip that count; all processes must have as many


class ClapTaskConfig(Config):
    """The two towers and the text encoder below one of them; `bytes` wants `model.text_layers` that learn to read."""

    kind: Literal["clap"] = "clap"
    model: ClapConfig = ClapConfig()
    text: Annotated[MiniLMConfig | T5Config | BytesConfig, Field(discriminator="kind")] = MiniLMConfig()

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the task's networks."""
        return ("clap",)

    def build(self) -> "ClapTask":
        """Return the task."""
        return ClapTask(self)


class ClapTask:
    """One network, "clap"; batches of audio with captions."""

    def __init__(self, config: ClapTaskConfig) -> None:
        self.config = config

    @cached_property
    def text(self) -> Encoder:
        """The text encoder, loaded on first use."""
        encoder = self.config.text.build()
        if encoder.width != self.config.model.text_width:
            raise ConfigError(
                f"task.model.text_width is {self.config.model.text_width}, but the text encoder "
                f"{self.config.text.kind} gives states of width {encoder.width}: set it to {encoder.width}."
            )
        return encoder

    def networks(self) -> dict[str, nn.Module]:
        """Make a fresh model."""
        return {"clap": Clap(self.config.model)}

    def losses(
        self, nets: Mapping[str, Network], batch: Mapping[str, Any], step: int
    ) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield the contrastive loss over the rows of all processes."""
        audio, text, scale = self._heard(nets, batch)
        own, said = (numbers.to(audio.device) for numbers in numbered(batch["captions"], batch["said"]))
        loss = contrastive(audio, text, scale, own, said)
        yield "clap", loss, {"loss/contrastive": loss.detach(), "clap/scale": scale.detach()}

    @torch.no_grad()
    def evaluate(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Tell for each row whether the nearest caption of the batch fits, and how much nearer its own is.

        Rows without weight, which fill a batch up, are nobody's caption.
        """
        audio, text, _ = self._heard(nets, batch)
        similarity, right = audio @ text.T, fits(*numbered(batch["captions"], batch["said"])).to(audio.device)
        real = batch["weight"].to(audio.device) > 0
        wrong = ~right & real
        others = (similarity * wrong).sum(1) / wrong.sum(1).clamp(min=1)
        nearest = right.gather(1, similarity.masked_fill(~real, -torch.inf).argmax(1, keepdim=True))[:, 0]
        return {"r@1": nearest.float(), "margin": similarity.diagonal() - others}

    def samples(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, tuple[Tensor, int]]:
        """Nothing: this model makes no sound."""
        return {}

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
        """Write the model and the config of its text encoder."""
        with torch.device("meta"):
            model = Clap(self.config.model)
        model.load_state_dict(weights["clap"], assign=True)
        model.save_pretrained(folder)
        EncodersFile(encoders={"text": self.config.text}).write(folder)

    def _heard(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        wave = batch["audio"].double()  # which no precision casts: bfloat16 would drown what is quiet
        return nets["clap"](wave, batch["length"], self._states(batch))

    def _states(self, batch: Mapping[str, Any]) -> Condition:
        return self.text.to(batch["audio"].device)(batch["captions"])


def numbered(captions: Sequence[str], said: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
    """Number captions int64 [B] and all that is said of each row [B, MOST], equal ones alike, on every process.

    A row's own caption comes first. What is left of its places is 0.
    """
    every = torch.zeros(len(captions), MOST, dtype=torch.int64)
    for row, caption, others in zip(every, captions, said, strict=True):
        distinct = list(dict.fromkeys(_number(text) for text in (caption, *others)))[:MOST]
        row[: len(distinct)] = torch.tensor(distinct)
    return every[:, 0].clone(), every


def _number(caption: str) -> int:
    digest = hashlib.sha256(normal(caption).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
