"""Train a language model on a codec's codes, conditioned on captions, melodies or other sounds."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from t2a.conditions.encoders import EncoderConfig, Encoders, EncodersFile
from t2a.conditions.text import MiniLMConfig
from t2a.config import Config
from t2a.errors import ConfigError
from t2a.models.codec import Codec
from t2a.models.lm import LM, LMConfig
from t2a.models.pretrained import locate, read_config
from t2a.nn.condition import Condition
from t2a.tasks.coding import encode
from t2a.tasks.conditioning import conditions, with_other_captions
from t2a.tasks.task import Network, check_codec, enclose
from t2a.tokens.patterns import Layout, layout


class LMTaskConfig(Config):
    """A language model, the encoders of its conditions by their names, and the codec whose codes it learns."""

    kind: Literal["lm"] = "lm"
    model: LMConfig = LMConfig()
    encoders: dict[str, EncoderConfig] = Field({"text": MiniLMConfig()})
    codec: str  # a codec's folder or run: local, s3:// or models:/; with more codebooks than the model, its first ones

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the task's networks."""
        return ("lm",)

    def build(self) -> "LMTask":
        """Make the task, or raise `ConfigError` when its parts do not fit each other."""
        return LMTask(self)


class LMTask:
    """Cross-entropy of the next codes; batches of codes or of sound as t2a.data makes them. One network, `lm`.

    Sound is encoded as it comes by the frozen codec: slower than codes, but what is mixed anew has none yet.
    """

    def __init__(self, config: LMTaskConfig):
        self.config = config
        self.codec_folder = locate(config.codec)
        codec = read_config(self.codec_folder)
        check_codec(codec, config.codec, config.model)
        self.sample_rate = int(codec["sample_rate"])
        widths = {name: condition.width for name, condition in config.model.conditions.items()}
        self.encoders = Encoders(config.encoders, widths)

    @cached_property
    def codec(self) -> Codec:
        """The frozen codec of batches of sound, loaded on first use."""
        return Codec.from_pretrained(self.codec_folder)

    def networks(self) -> dict[str, nn.Module]:
        """Make a fresh model."""
        return {"lm": LM(self.config.model)}

    def losses(
        self, nets: Mapping[str, Network], batch: Mapping[str, Any], step: int
    ) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield the mean over the rows of their cross-entropy, so that ranks with equal rows weigh the same."""
        inputs, targets, valid = self._sequence(batch)
        rows = cross_entropy(nets["lm"](inputs, self._conditions(batch, inputs.device)), targets, valid)
        loss = rows.mean()
        logs = {"loss/ce": loss.detach(), "loss/perplexity": loss.detach().exp()}
        for k, ce in enumerate(rows.detach().mean(0)):
            logs |= {f"loss/ce_{k + 1}": ce, f"loss/perplexity_{k + 1}": ce.exp()}
        yield "lm", loss, logs

    @torch.no_grad()
    def evaluate(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Cross-entropy of each row with its caption, with another row's caption and without any; per codebook too.

        What else the model is told stays the row's own in all three. `gap` is what the right caption is worth against
        another's.
        """
        inputs, targets, valid = self._sequence(batch)
        told = with_other_captions(self.encoders, self._conditions(batch, inputs.device), batch["captions"])
        values = {}
        for which, found in told.items():
            rows = cross_entropy(nets["lm"](inputs, found), targets, valid)
            values[f"ce{which}"] = rows.mean(1)
            if not which:
                values |= {f"ce_{k + 1}": ce for k, ce in enumerate(rows.unbind(1))}
        return values | {"gap": values["ce_shuffled"] - values["ce"]}

    def samples(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, tuple[Tensor, int]]:
        """Nothing: generation takes its own minutes and stands in t2a.generate."""
        return {}

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
        """Write the model, its encoders' configs and a copy of its codec: all that generation needs."""
        with torch.device("meta"):
            model = LM(self.config.model)
        model.load_state_dict(weights["lm"], assign=True)
        model.save_pretrained(folder)
        EncodersFile(encoders=self.config.encoders).write(folder)
        enclose(self.codec_folder, folder / "codec")

    def _layout(self, frames: int) -> Layout:
        return layout(self.config.model.pattern, self.config.model.codebooks, frames)

    def _sequence(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and which of them count, each [B, K, S], of codes [B, K, L]."""
        codes, length = self._codes(batch)
        limit = self.config.model.max_frames
        if codes.shape[2] > limit:
            raise ConfigError(
                f"The batches hold {codes.shape[2]} frames, the model is made for {limit}: "
                "raise task.model.max_frames or shorten the crops of data."
            )
        placed, special = self._layout(codes.shape[2]), self.config.model.bins
        targets = placed.build(codes, special, length)
        inputs = torch.cat([torch.full_like(targets[:, :, :1], special), targets[:, :, :-1]], dim=2)
        return inputs, targets, placed.valid(length)

    def _codes(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Codes [B, K, L] and frames [B] of a batch of either kind."""
        if "codes" in batch:
            return batch["codes"], batch["length"]
        model, audio = self.config.model, batch["audio"]
        return encode(self.codec.to(audio.device), audio, batch["length"], model.codebooks, model.channels)

    def _conditions(self, batch: Mapping[str, Any], device: torch.device) -> dict[str, Condition]:
        return conditions(self.encoders, batch, self.sample_rate, device)


def cross_entropy(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Mean nats a code over the valid steps of each row and codebook, [B, K].

    logits [B, K, S, V]; targets and valid [B, K, S]. A row without a valid step gives 0.
    """
    chosen = targets.where(valid, 0).transpose(1, 2)
    flat = logits.transpose(1, 2).reshape(-1, logits.shape[-1]).float()  # [B, S, K, V] is how the model computes them
    nats = F.cross_entropy(flat, chosen.reshape(-1), reduction="none").view(chosen.shape).transpose(1, 2)
    return (nats * valid).sum(2) / valid.sum(2).clamp(min=1)
