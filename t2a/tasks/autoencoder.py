"""Train a spectrogram autoencoder: reconstruct, please a critic, keep the latents near a normal distribution."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from t2a.config import Config
from t2a.losses.autoencoder import adaptive_weight, distance, divergence
from t2a.losses.balancer import surrogate
from t2a.metrics.spectrogram import detail, spectrogram_distance
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig, AutoencoderOutput
from t2a.models.spectrogram_critic import SpectrogramCritic, SpectrogramCriticConfig
from t2a.models.vocoder import GriffinLim
from t2a.nn.frames import mask_of
from t2a.tasks.judging import judge
from t2a.tasks.pairs import few
from t2a.tasks.task import Network, raw

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
        bands = self.model.mel.n_mels
        if self.critic is not None and bands < self.critic.bands:
            raise ValueError(f"the critic needs {self.critic.bands} mel bands, not {bands}: give it fewer layers")
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
        weights, model, (mel, length) = self.config.weights, _model(nets), self._spectrograms(nets, batch)
        output: AutoencoderOutput = nets["autoencoder"](mel, length)
        latent_length = model.latent_length(length)
        model.latents.update(output.mean, mask_of(latent_length, output.mean.shape[-1]))

        decoded = output.mel.detach().requires_grad_()
        l1 = distance(decoded, mel, length).mean()
        (gradient,) = torch.autograd.grad(weights.l1 * l1, decoded)
        kl = (divergence(output.mean, output.logvar, latent_length) / (mel.shape[1] * length)).mean()
        logs = {"loss/l1": l1.detach(), "loss/kl": kl.detach(), "latents/std": model.latents.std.mean()}
        if "critic" in nets and step >= self.config.critic_start:
            seen = model.scaled(decoded.detach()).requires_grad_()
            judged = judge(nets["critic"], model.scaled(mel), seen, length, weights.r1)
            yield "critic", judged.critic, judged.logs
            pull = judged.gradient / model.scale
            weight = weights.adv * self._adaptive(model, output, gradient, pull)
            gradient = gradient + weight * pull
            logs |= {"loss/adv": judged.adversarial, "critic/weight": weight}
        yield "autoencoder", surrogate(output.mel, gradient) + weights.kl * kl, logs

    @torch.no_grad()
    def evaluate(self, nets: Mapping[str, Network], batch: dict[str, Any]) -> dict[str, Tensor]:
        """Tell of each row how far its spectrogram is decoded from itself, how blurred, and what its latents hold.

        spectrogram_distance: in dB. detail: below 1 where it is blurred. latent_bits: the posterior's, a second.
        """
        mel, length = self._spectrograms(nets, batch)
        output: AutoencoderOutput = nets["autoencoder"](mel, length)
        model, spec = _model(nets), self.config.model.mel
        nats = divergence(output.mean, output.logvar, model.latent_length(length))
        return {
            "spectrogram_distance": spectrogram_distance(output.mel, mel, length, spec.decibels),
            "detail": detail(output.mel, mel, length),
            "latent_bits": nats / math.log(2) / (length * spec.hop / spec.rate),
        }

    @torch.no_grad()
    def samples(self, nets: Mapping[str, Network], batch: dict[str, Any]) -> dict[str, tuple[Tensor, int]]:
        """Return a few originals, and what Griffin-Lim makes of their spectrograms before and after."""
        spec, chosen = self.config.model.mel, few(batch)
        mel, length = self._spectrograms(nets, chosen)
        vocode = GriffinLim(spec).to(mel.device)
        heard = {"griffin-lim": vocode(mel, length), "decoded": vocode(nets["autoencoder"](mel, length).mel, length)}
        waves = {}
        for i, samples in enumerate(chosen["length"].tolist()):
            waves[f"{i}/original"] = chosen["audio"][i, :, :samples], spec.rate
            waves |= {f"{i}/{name}": (wave[i, :, :samples].clamp(-1, 1), spec.rate) for name, wave in heard.items()}
        return waves

    def export(self, weights: dict[str, dict[str, Tensor]], folder: Path) -> None:
        with torch.device("meta"):
            model = Autoencoder(self.config.model)
        model.load_state_dict(weights["autoencoder"], assign=True)
        model.save_pretrained(folder)

    def _spectrograms(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> Spectrograms:
        model, length = _model(nets), batch["length"].to(batch["audio"].device)
        with torch.no_grad():
            return model.mel(batch["audio"], length), self.config.model.mel.frames(length)

    def _adaptive(
        self, model: Autoencoder, output: AutoencoderOutput, reconstruction: Tensor, adversarial: Tensor
    ) -> Tensor:
        """Return what the adversarial gradient at the spectrogram is multiplied by, before its weight."""
        shape, lacking = output.last.shape[2:], output.last.shape[-1] - output.mel.shape[-1]
        pulls = [
            functional.pad(gradient, (0, lacking)).reshape(len(gradient), -1, *shape)
            for gradient in (reconstruction, adversarial)
        ]
        return adaptive_weight(output.last, model.network.kernel, *pulls)


def _model(nets: Mapping[str, Network]) -> Autoencoder:
    model = raw(nets["autoencoder"])
    assert isinstance(model, Autoencoder)
    return model
