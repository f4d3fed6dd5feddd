"""Train an entropy model on a codec's codes, so that compressed files get smaller."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from t2a.config import Config
from t2a.errors import CheckpointError, ConfigError
from t2a.models.entropy import EntropyConfig, EntropyModel
from t2a.models.fixedpoint import INTEGER, quantise
from t2a.models.pretrained import locate, read_config
from t2a.tasks.task import Network, check_codec


class EntropyTaskConfig(Config):
    """An entropy model and the codec whose codes it foresees."""

    kind: Literal["entropy"] = "entropy"
    model: EntropyConfig = EntropyConfig()
    codec: str  # a codec's folder or run: local, s3:// or models:/
    fewer: float = Field(0.25, ge=0, le=1)  # share of the steps that see only some of the codebooks, as files may hold

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the task's networks."""
        return ("entropy",)

    def build(self) -> "EntropyTask":
        """Make the task, or raise `ConfigError` when model and codec do not fit each other."""
        return EntropyTask(self)


class EntropyTask:
    """Bits a code; batches of codes as t2a.data makes them. One network, `entropy`."""

    def __init__(self, config: EntropyTaskConfig):
        self.config = config
        check_codec(read_config(locate(config.codec)), config.codec, config.model, decodes=False)

    def networks(self) -> dict[str, nn.Module]:
        """Make a fresh model."""
        return {"entropy": EntropyModel(self.config.model)}

    def losses(
        self, nets: Mapping[str, Network], batch: Mapping[str, Any], step: int
    ) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield the mean over the rows of their nats a code."""
        codes = batch["codes"]
        if codes.shape[2] < self.config.model.past:
            raise ConfigError(
                f"The batches hold {codes.shape[2]} frames, the model looks back on {self.config.model.past}: "
                "raise data.crop_frames or lower task.model.past."
            )
        count = self._codebooks(codes)
        rows = bits(nets["entropy"](codes[:, :count]), codes[:, :count], batch["length"])
        logs = {f"loss/bits_{k + 1}": value for k, value in enumerate(rows.detach().mean(0))}
        if count == self.config.model.codebooks:
            logs["loss/bits"] = rows.detach().mean()
        yield "entropy", rows.mean() * math.log(2), logs

    @torch.no_grad()
    def evaluate(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Bits a code of each row, of all codebooks and of each, and the share of log2(bins) that they save."""
        codes = batch["codes"]
        rows = bits(nets["entropy"](codes), codes, batch["length"])
        values = {"bits": rows.mean(1), "saving": 1 - rows.mean(1) / math.log2(self.config.model.bins)}
        return values | {f"bits_{k + 1}": value for k, value in enumerate(rows.unbind(1))}

    def samples(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, tuple[Tensor, int]]:
        """Nothing: codes come back as they were."""
        return {}

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
        """Write the model, and below it the integers that code files."""
        with torch.device("meta"):
            model = EntropyModel(self.config.model)
        model.load_state_dict(weights["entropy"], assign=True)
        model.save_pretrained(folder)
        try:
            quantise(model).save_pretrained(folder / INTEGER)
        except ValueError as error:
            raise CheckpointError(f"The entropy model cannot be made exact: {error}") from error

    def _codebooks(self, codes: Tensor) -> int:
        """How many codebooks this step sees; drawn from torch's global generator, as dropout is."""
        most = self.config.model.codebooks
        if most == 1 or float(torch.rand(())) >= self.config.fewer:
            return most
        return int(torch.randint(1, most, ()))


def bits(logits: Tensor, codes: Tensor, length: Tensor) -> Tensor:
    """Mean bits a code over the first `length` [B] frames of each row and codebook, [B, K].

    logits [B, L, K, V], codes int64 [B, K, L]. A row without frames gives 0.
    """
    targets = codes.transpose(1, 2)
    nats = F.cross_entropy(logits.float().flatten(0, 2), targets.flatten(), reduction="none").view(targets.shape)
    real = torch.arange(targets.shape[1], device=codes.device) < length[:, None]
    return (nats * real[..., None]).sum(1) / length.clamp(min=1)[:, None] / math.log(2)
