"""Train a spectrogram autoencoder: reconstruct, please a critic, keep the latents near a normal distribution."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.config import Config
from t2a.errors import ConfigError
from t2a.losses.adversarial import gradient_penalty, weighed_critic_loss, weighed_generator_loss
from t2a.losses.autoencoder import adaptive_weight, distance, divergence
from t2a.losses.balancer import surrogate
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig, AutoencoderOutput
from t2a.models.spectrogram_critic import SpectrogramCritic, SpectrogramCriticConfig
from t2a.nn.frames import mask_of, masked
from t2a.tasks.task import Network, frozen, partitioned, raw

Spectrograms = tuple[Tensor, Tensor]
"""[B, M, L] and how many frames [B] of them are real"""


class Weights(Config):
    """Weight of each loss by its name in the log; 0 switches it off. The defaults are Make-An-Audio's."""

    l1: float = Field(1.0, gt=0)
    """mean distance of the spectrograms"""
    kl: float = Field(1e-6, ge=0)
    """nats of all latents of a clip, for each value of its spectrogram"""
    adv: float = Field(0.5, ge=0)
    """what the critic says; 1 gives it as much of the gradient at the last layer as the distance has"""
    r1: float = Field(0.0, ge=0)
    """squared gradient of the critic at recorded spectrograms; in the critic's own loss, halved"""


class AutoencoderTaskConfig(Config):
    """A spectrogram autoencoder, its critic and the losses between them."""

    kind: Literal["autoencoder"] = "autoencoder"
    model: AutoencoderConfig = AutoencoderConfig()
    critic: SpectrogramCriticConfig | None = SpectrogramCriticConfig()
    critic_start: int = Field(0, ge=0)
    """step at which the critic begins to learn and to be heard"""
    weights: Weights = Weights()

    @model_validator(mode="after")
    def _has_what_it_weighs(self) -> "AutoencoderTaskConfig":
        if self.critic is None and (self.weights.adv or self.weights.r1):
            raise ValueError("weights.adv and weights.r1 need a critic: set them to 0 or give the critic's config")
        if self.critic is not None and not self.weights.adv:
            raise ValueError("the critic is not heard: set critic to null, or weights.adv above 0")
        if self.critic is not None and self.model.mel.n_mels < self.critic.bands:
            raise ValueError(f"the critic's layers need {self.critic.bands} mel bands, mel.n_mels is too few: fewer layers")
        return self

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the task's networks."""
        return ("autoencoder", "critic") if self.critic else ("autoencoder",)

    def build(self) -> "AutoencoderTask":
        """Return the task."""
        return AutoencoderTask(self)


class AutoencoderTask:
    """Networks "autoencoder" and "critic" (see `t2a.tasks.task.Task`)."""

    def __init__(self, config: AutoencoderTaskConfig) -> None:
        self.config = config

    def networks(self) -> dict[str, nn.Module]:
        nets: dict[str, nn.Module] = {"autoencoder": Autoencoder(self.config.model)}
        if self.config.critic is not None:
            nets["critic"] = SpectrogramCritic(self.config.critic, self.config.model.mel.n_mels)
        return nets

    def losses(
        self, nets: Mapping[str, Network], batch: dict[str, Any], step: int
    ) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield the critic's turn, then the autoencoder's; both follow from what the critic says before its turn."""
        weights, (mel, length) = self.config.weights, self._spectrograms(nets, batch)
        output: AutoencoderOutput = nets["autoencoder"](mel, length)
        model = raw(nets["autoencoder"])
        assert isinstance(model, Autoencoder)
        latent_length = -(-length // model.factor)
        model.latents.update(output.mean, mask_of(latent_length, output.mean.shape[-1]))

        decoded = output.mel.detach().requires_grad_()
        l1 = distance(decoded, mel, length).mean()
        (gradient,) = torch.autograd.grad(weights.l1 * l1, decoded)
        kl = (divergence(output.mean, output.logvar, latent_length) / (mel.shape[1] * length)).mean()
        logs = {"loss/l1": l1.detach(), "loss/kl": kl.detach()}
        if "critic" in nets and step >= self.config.critic_start:
            loss, adversarial, pull, heard = self._hear(nets["critic"], model, mel, decoded, length)
            yield "critic", loss, heard
            weight = weights.adv * self._adaptive(model, output, gradient, pull)
            gradient = gradient + weight * pull
            logs |= {"loss/adv": adversarial, "critic/weight": weight}
        yield "autoencoder", surrogate(output.mel, gradient) + weights.kl * kl, logs
