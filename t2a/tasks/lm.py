"""Train a language model on a codec's codes, conditioned on captions."""

import shutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2a.conditions.text import MiniLMConfig, TextEncoder, TextEncoderConfig, TextFile
from t2a.config import Config
from t2a.errors import ConfigError
from t2a.models.lm import LM, LMConfig
from t2a.models.pretrained import locate, read_config
from t2a.nn.condition import Condition
from t2a.tasks.task import Network, check_codec
from t2a.tokens.patterns import Layout, layout


class LMTaskConfig(Config):
    """A language model, the text encoder that steers it, and the codec whose codes it learns."""

    kind: Literal["lm"] = "lm"
    model: LMConfig = LMConfig()
    text: TextEncoderConfig = MiniLMConfig()
    codec: str  # a codec's folder or run: local, s3:// or models:/

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the task's networks."""
        return ("lm",)

    def build(self) -> "LMTask":
        """Make the task, or raise `ConfigError` when its parts do not fit each other."""
        return LMTask(self)


class LMTask:
    """Cross-entropy of the next codes; batches of codes as t2a.data makes them. One network, `lm`."""

    def __init__(self, config: LMTaskConfig):
        self.config = config
        self.codec_folder = locate(config.codec)
        check_codec(read_config(self.codec_folder), config.codec, config.model)
        if list(config.model.conditions) != ["text"]:
            raise ConfigError(
                f"task.model.conditions are {list(config.model.conditions)}, but captions are all that this task has: "
                "give it `text` alone."
            )

    @cached_property
    def text(self) -> TextEncoder:
        """The text encoder, loaded on first use."""
        encoder, width = TextEncoder(self.config.text), self.config.model.conditions["text"].width
        if encoder.width != width:
            raise ConfigError(
                f"task.model.conditions.text.width is {width}, but the text encoder {self.config.text.kind} "
                f"gives states of width {encoder.width}: set it to {encoder.width}."
            )
        return encoder

    def networks(self) -> dict[str, nn.Module]:
        """Make a fresh model."""
        return {"lm": LM(self.config.model)}

    def losses(
        self, nets: Mapping[str, Network], batch: Mapping[str, Any], step: int
    ) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield the mean over the rows of their cross-entropy, so that ranks with equal rows weigh the same."""
        inputs, targets, valid = self._sequence(batch)
        rows = cross_entropy(nets["lm"](inputs, self._conditions(batch["captions"], inputs)), targets, valid)
        loss = rows.mean()
        logs = {"loss/ce": loss.detach(), "loss/perplexity": loss.detach().exp()}
        logs |= {f"loss/ce_{k + 1}": ce for k, ce in enumerate(rows.detach().mean(0))}
        yield "lm", loss, logs

    @torch.no_grad()
    def evaluate(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Cross-entropy of each row with its caption, with another row's caption and without any; per codebook too."""
        inputs, targets, valid = self._sequence(batch)
        captions = batch["captions"]
        readings = {"ce": captions, "ce_shuffled": derange(captions), "ce_null": [""] * len(captions)}
        values = {}
        for name, texts in readings.items():
            rows = cross_entropy(nets["lm"](inputs, self._conditions(texts, inputs)), targets, valid)
            values[name] = rows.mean(1)
            if name == "ce":
                values |= {f"ce_{k + 1}": ce for k, ce in enumerate(rows.unbind(1))}
        return values

    def samples(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, tuple[Tensor, int]]:
        """Nothing: generation takes its own minutes and stands in t2a.generate."""
        return {}

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
        """Write the model, its text encoder's config and a copy of its codec: all that generation needs."""
        with torch.device("meta"):
            model = LM(self.config.model)
        model.load_state_dict(weights["lm"], assign=True)
        model.save_pretrained(folder)
        TextFile(text=self.config.text).write(folder)
        (folder / "codec").mkdir(exist_ok=True)
        for file in self.codec_folder.iterdir():
            if file.is_file():
                shutil.copy2(file, folder / "codec" / file.name)

    def _layout(self, frames: int) -> Layout:
        return layout(self.config.model.pattern, self.config.model.codebooks, frames)

    def _sequence(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and which of them count, each [B, K, S], of codes [B, K, L]."""
        codes, length = batch["codes"], batch["length"]
        limit = self.config.model.max_frames
        if codes.shape[2] > limit:
            raise ConfigError(
                f"The batches hold {codes.shape[2]} frames, the model is made for {limit}: "
                "raise task.model.max_frames or lower data.crop_frames."
            )
        placed, special = self._layout(codes.shape[2]), self.config.model.bins
        targets = placed.build(codes, special, length)
        inputs = torch.cat([torch.full_like(targets[:, :, :1], special), targets[:, :, :-1]], dim=2)
        return inputs, targets, placed.valid(length)

    def _conditions(self, captions: list[str], like: Tensor) -> dict[str, Condition]:
        return {"text": self.text.to(like.device)(captions)}


def cross_entropy(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Mean nats a code over the valid steps of each row and codebook, [B, K].

    logits [B, K, S, V]; targets and valid [B, K, S]. A row without a valid step gives 0.
    """
    chosen = targets.where(valid, 0).transpose(1, 2)
    flat = logits.transpose(1, 2).reshape(-1, logits.shape[-1]).float()  # [B, S, K, V] is how the model computes them
    nats = F.cross_entropy(flat, chosen.reshape(-1), reduction="none").view(chosen.shape).transpose(1, 2)
    return (nats * valid).sum(2) / valid.sum(2).clamp(min=1)


def derange(captions: list[str]) -> list[str]:
    """Give each row the caption of the next row that has another one; its own only if there is none."""
    return [
        next((other for other in captions[row + 1 :] + captions[:row] if other.strip() and other != own), own)
        for row, own in enumerate(captions)
    ]
