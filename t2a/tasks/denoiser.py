"""Train a denoiser on an autoencoder's latents, conditioned on captions or sounds (Make-An-Audio)."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from t2a.conditions.encoders import EncoderConfig, Encoders, EncodersFile
from t2a.conditions.text import MiniLMConfig
from t2a.config import Config
from t2a.diffusion.masks import MaskConfig, beside, shown
from t2a.diffusion.noise import Noise
from t2a.errors import ConfigError
from t2a.models.autoencoder import Autoencoder
from t2a.models.denoiser import Denoiser, DenoiserConfig
from t2a.models.pretrained import locate
from t2a.nn.condition import Condition
from t2a.tasks.conditioning import conditions, with_other_captions
from t2a.tasks.latents import autoencoder_config, check_latent, check_vocoder, encode
from t2a.tasks.task import Network, enclose

QUANTILES = (0.125, 0.375, 0.625, 0.875)
"""Times of evaluation, as shares of the training times below them"""


class DenoiserTaskConfig(Config):
    """A denoiser, the encoders of its conditions by their names, and what its latents come from and go to."""

    kind: Literal["denoiser"] = "denoiser"
    model: DenoiserConfig
    encoders: dict[str, EncoderConfig] = Field({"text": MiniLMConfig()})
    autoencoder: str
    """whose latents it learns: a folder or a run, local, s3:// or models:/"""
    vocoder: str | None = None
    """of the autoencoder's spectrograms, taken along for generation; without one that takes Griffin-Lim"""
    mask: MaskConfig | None = None
    """what a model that learns to fill gaps is shown of each row; its `extra_channels` are the latents' and one more"""

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the task's networks."""
        return ("denoiser",)

    def build(self) -> "DenoiserTask":
        """Make the task, or raise `ConfigError` when its parts do not fit each other."""
        return DenoiserTask(self)


class DenoiserTask:
    """The loss of the model's process; batches of latents or of sound as t2a.data makes them. One network, `denoiser`.

    Sound is encoded as it comes by the frozen autoencoder: slower than latents, but what is mixed anew has none yet.
    """

    def __init__(self, config: DenoiserTaskConfig):
        self.config = config
        self.autoencoder_folder = locate(config.autoencoder)
        autoencoder = autoencoder_config(self.autoencoder_folder, config.autoencoder)
        check_latent(autoencoder, config.autoencoder, config.model.latent)
        _check_mask(config)
        self.vocoder_folder = locate(config.vocoder) if config.vocoder else None
        if self.vocoder_folder:
            check_vocoder(self.vocoder_folder, str(config.vocoder), config.autoencoder, autoencoder.mel)
        self.sample_rate = autoencoder.sample_rate
        widths = {name: condition.width for name, condition in config.model.conditions.items()}
        self.encoders = Encoders(config.encoders, widths)
        self.process = config.model.process.build()

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """The frozen autoencoder of batches of sound, loaded on first use."""
        return Autoencoder.from_pretrained(self.autoencoder_folder)

    def networks(self) -> dict[str, nn.Module]:
        """Make a fresh model."""
        return {"denoiser": Denoiser(self.config.model)}

    def losses(
        self, nets: Mapping[str, Network], batch: Mapping[str, Any], step: int
    ) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield the mean over the rows of their loss, so that ranks with equal rows weigh the same."""
        z, length = self._latents(batch)
        found = self._conditions(batch, z.device)
        network = _told(nets["denoiser"], length, found, self._beside(z, length, [None] * len(z)))
        loss = self.process.loss(network, z, length).mean()
        yield "denoiser", loss, {"loss/denoiser": loss.detach()}

    @torch.no_grad()
    def evaluate(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Loss of each row with its caption, with another row's caption and without any.

        Times and noise are the same in all three and at every evaluation; the loss at each of the times, from the
        least noise to the most, is given too. `gap` is what the right caption is worth against another's.
        A model that fills gaps is shown nothing for these; `loss_filling` is its loss with the right caption where it
        is shown as much as in training, the same at every evaluation.
        """
        z, length = self._latents(batch)
        noise = Noise(range(len(z)), z.shape[1:-1], length.tolist(), z.shape[-1], z.device)()
        times = self.process.schedule.quantile(torch.tensor(QUANTILES)).to(z.device)
        told = with_other_captions(self.encoders, self._conditions(batch, z.device), batch["captions"])
        values = {}

        def losses(found: Mapping[str, Condition], extra: Tensor | None = None) -> list[Tensor]:
            network = _told(nets["denoiser"], length, found, extra)
            return [self.process.loss_at(network, z, length, t.expand(len(z)), noise) for t in times]

        for which, found in told.items():
            parts = losses(found)
            values[f"loss{which}"] = torch.stack(parts).mean(0)
            if not which:
                values |= {f"loss_{k}": loss for k, loss in enumerate(parts, 1)}
        draws = [torch.Generator().manual_seed(row) for row in range(len(z))]
        if (extra := self._beside(z, length, draws)) is not None:
            values["loss_filling"] = torch.stack(losses(told[""], extra)).mean(0)
        return values | {"gap": values["loss_shuffled"] - values["loss"]}

    def samples(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> dict[str, tuple[Tensor, int]]:
        """Nothing: generation takes its own minutes and stands in t2a.generate."""
        return {}

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
        """Write the model, its encoders' configs and copies of its autoencoder and vocoder: all of a generator."""
        with torch.device("meta"):
            model = Denoiser(self.config.model)
        model.load_state_dict(weights["denoiser"], assign=True)
        model.save_pretrained(folder)
        EncodersFile(encoders=self.config.encoders).write(folder)
        enclose(self.autoencoder_folder, folder / "autoencoder")
        if self.vocoder_folder:
            enclose(self.vocoder_folder, folder / "vocoder")

    def _latents(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Latents [B, C, (F,) L] and frames [B] of a batch of either kind."""
        if "latents" in batch:
            z, length = batch["latents"], batch["length"]
        else:
            audio = batch["audio"]
            z, length = encode(self.autoencoder.to(audio.device), audio, batch["length"])
        limit = self.config.model.max_frames
        if z.shape[-1] > limit:
            raise ConfigError(
                f"The batches hold {z.shape[-1]} frames of latents, the model is made for {limit}: "
                "raise task.model.max_frames or shorten the crops of data."
            )
        return z, length

    def _beside(self, z: Tensor, length: Tensor, draws: Sequence[torch.Generator | None]) -> Tensor | None:
        """What the model reads beside noise, of latents [B, C, (F,) L]; None of one that does not fill gaps."""
        mask = self.config.mask
        return None if mask is None else beside(z, shown(mask, z.shape[1:], length, draws).to(z.device))

    def _conditions(self, batch: Mapping[str, Any], device: torch.device) -> dict[str, Condition]:
        return conditions(self.encoders, batch, self.sample_rate, device)


def _told(net: Network, length: Tensor, found: Mapping[str, Condition], extra: Tensor | None = None) -> Network:
    """Close over all but the noisy latents and their times; these are float64, which no engine rounds to bfloat16."""
    return lambda x, t: net(x, t.double(), length, found, extra=extra)


def _check_mask(config: DenoiserTaskConfig) -> None:
    """Refuse a model that cannot read what it is shown, or that reads what nobody gives it."""
    model, mask = config.model, config.mask
    wanted = model.latent[0] + 1 if mask else 0
    if model.extra_channels != wanted:
        why = "with task.mask a model reads latents and their mask" if mask else "without task.mask nothing fills them"
        raise ConfigError(
            f"task.model.extra_channels is {model.extra_channels}; {why}: set task.model.extra_channels={wanted}."
        )
    if mask and mask.boxes and len(model.latent) == 1:
        raise ConfigError("task.mask.boxes: latents of one dimension have no bands to cut boxes from: use gaps.")
