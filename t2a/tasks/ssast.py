"""Pretrain a spectrogram transformer on sounds alone: recognise and reconstruct the patches that are hidden from it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from t2a.config import Config
from t2a.losses.masked import matching, reconstruction
from t2a.models.ssast import Ssast, SsastConfig
from t2a.tasks.task import Network

SEED = 0  # of what is hidden from held-out clips


class SsastTaskConfig(Config):
    """The transformer and the weight of its reconstruction beside its InfoNCE."""

    kind: Literal["ssast"] = "ssast"
    model: SsastConfig = SsastConfig()
    reconstruction: float = Field(10.0, ge=0)

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the task's networks."""
        return ("ssast",)

    def build(self) -> "SsastTask":
        """Return the task."""
        return SsastTask(self)


class SsastTask:
    """One network, "ssast"; batches of audio, whose captions are not read."""

    def __init__(self, config: SsastTaskConfig) -> None:
        self.config = config

    def networks(self) -> dict[str, nn.Module]:
        """Make a fresh model."""
        return {"ssast": Ssast(self.config.model)}

    def losses(
        self, nets: Mapping[str, Network], batch: Mapping[str, Any], step: int
    ) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield the joint loss, InfoNCE + weight x reconstruction."""
        rows = self._values(nets, batch)
        loss = (rows["matching"] + self.config.reconstruction * rows["reconstruction"]).mean()
        logs = {f"loss/{name}": value.detach().mean() for name, value in rows.items() if name != "found"}
        yield "ssast", loss, logs | {"ssast/found": rows["found"].mean()}

    @torch.no_grad()
    def evaluate(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Tell for each row nats and share of the hidden patches found, and their squared error; always the same."""
        return self._values(nets, batch, torch.Generator(batch["audio"].device).manual_seed(SEED))

    def samples(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, tuple[Tensor, int]]:
        """Nothing: this model makes no sound."""
        return {}

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
        """Write the model; a CLAP begins with it by `init`."""
        with torch.device("meta"):
            model = Ssast(self.config.model)
        model.load_state_dict(weights["ssast"], assign=True)
        model.save_pretrained(folder)

    def _values(
        self, nets: Mapping[str, Network], batch: Mapping[str, Any], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        wave = batch["audio"].double()  # which no precision casts: bfloat16 would drown what is quiet
        patches, hidden, matched, painted = nets["ssast"](wave, batch["length"], generator)
        nats, found = matching(matched, patches, hidden)
        return {"matching": nats, "reconstruction": reconstruction(painted, patches, hidden), "found": found}
