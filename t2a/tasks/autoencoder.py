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
from t2a.errors import ConfigError
from t2a.losses.adversarial import gradient_penalty, weighed_critic_loss, weighed_generator_loss
from t2a.losses.autoencoder import adaptive_weight, distance, divergence
from t2a.losses.balancer import surrogate
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig, AutoencoderOutput
from t2a.models.spectrogram_critic import SpectrogramCritic, SpectrogramCriticConfig
from t2a.models.vocoder import GriffinLim
from t2a.nn.frames import mask_of
from t2a.tasks.task import Network, frozen, partitioned, raw

Spectrograms = tuple[Tensor, Tensor]
"""[B, M, L] and how many frames [B] of them are real"""
Hearing = tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]
"""The critic's loss, the autoencoder's, its gradient at the decoded spectrograms, and what to log of the critic"""


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
        logs = {"loss/l1": l1.detach(), "loss/kl": kl.detach()}
        if "critic" in nets and step >= self.config.critic_start:
            hear = self._hear_apart if partitioned(nets["critic"]) else self._hear
            loss, adversarial, pull, heard = hear(nets["critic"], model, mel, decoded, length)
            yield "critic", loss, heard
            weight = weights.adv * self._adaptive(model, output, gradient, pull)
            gradient = gradient + weight * pull
            logs |= {"loss/adv": adversarial, "critic/weight": weight}
        yield "autoencoder", surrogate(output.mel, gradient) + weights.kl * kl, logs

    @torch.no_grad()
    def evaluate(self, nets: Mapping[str, Network], batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return for each row the distance of its spectrogram in dB, its bits a second, and how much detail is left.

        mel_distance: mean absolute difference. detail: how much the decoded spectrogram changes from frame to frame,
        for what the original does; a blurred one stays below 1.
        """
        mel, length = self._spectrograms(nets, batch)
        output: AutoencoderOutput = nets["autoencoder"](mel, length)
        model, spec = _model(nets), self.config.model.mel
        nats = divergence(output.mean, output.logvar, model.latent_length(length))
        return {
            "mel_distance": spec.decibels * distance(output.mel, mel, length),
            "detail": (change(output.mel, length) + 1e-3) / (change(mel, length) + 1e-3),
            "bit_rate": nats / math.log(2) / (length * spec.hop / spec.rate),
        }

    @torch.no_grad()
    def samples(self, nets: Mapping[str, Network], batch: dict[str, Any]) -> dict[str, tuple[Tensor, int]]:
        """Return a few originals, and what Griffin-Lim makes of their spectrograms before and after."""
        spec, few = self.config.model.mel, {name: batch[name][:4] for name in ("audio", "length")}
        mel, length = self._spectrograms(nets, few)
        vocode = GriffinLim(spec).to(mel.device)
        heard = {"griffin-lim": vocode(mel, length), "decoded": vocode(nets["autoencoder"](mel, length).mel, length)}
        waves = {}
        for i, samples in enumerate(few["length"].tolist()):
            waves[f"{i}/original"] = few["audio"][i, :, :samples], spec.rate
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

    def _hear(self, net: Network, model: Autoencoder, mel: Tensor, decoded: Tensor, length: Tensor) -> Hearing:
        """Let the critic judge recorded and decoded spectrograms in the same windows, once for both networks.

        See `t2a.tasks.codec.CodecTask._hear` for why it is called past its engine.
        """
        critic = raw(net)
        assert isinstance(critic, SpectrogramCritic)
        starts, r1 = critic.draw(length), self.config.weights.r1
        recorded = model.scaled(mel).requires_grad_(r1 > 0)
        real, fake = critic(recorded, length, starts), critic(model.scaled(decoded), length, starts)
        adversarial = weighed_generator_loss(fake.logits, fake.weights)
        (pull,) = torch.autograd.grad(adversarial, decoded, retain_graph=True)
        loss = weighed_critic_loss(real.logits, fake.logits, real.weights)
        logs = {"loss/critic": loss.detach(), "critic/left_out": (starts < 0).float().mean()}
        if r1:
            penalty = gradient_penalty(real.logits, real.weights, recorded)
            loss, logs = loss + r1 / 2 * penalty, logs | {"loss/r1": penalty.detach()}
        return loss, adversarial.detach(), pull, logs

    def _hear_apart(self, net: Network, model: Autoencoder, mel: Tensor, decoded: Tensor, length: Tensor) -> Hearing:
        """Do the same where a pass can be followed back only once, because parameters go after use."""
        if self.config.weights.r1:
            raise ConfigError(
                "weights.r1 follows the critic back twice, which engine.zero 3 cannot: take zero 2 or r1 0."
            )
        starts = raw(net).draw(length)
        with frozen(net) as critic:
            fake = critic(model.scaled(decoded), length, starts)
            adversarial = weighed_generator_loss(fake.logits, fake.weights)
            (pull,) = torch.autograd.grad(adversarial, decoded)
        both = model.scaled(torch.cat([mel, decoded.detach()]))
        opinion = net(both, length.repeat(2), starts.repeat(2, 1))
        real, fake = zip(*(logits.chunk(2) for logits in opinion.logits), strict=True)
        loss = weighed_critic_loss(real, fake, [weights.chunk(2)[0] for weights in opinion.weights])
        logs = {"loss/critic": loss.detach(), "critic/left_out": (starts < 0).float().mean()}
        return loss, adversarial.detach(), pull, logs


def change(mel: Tensor, length: Tensor) -> Tensor:
    """Mean absolute difference of each frame of [B, M, L] from the one before, of the first `length` frames [B]."""
    return distance(mel[..., 1:], mel[..., :-1], length - 1)


def _model(nets: Mapping[str, Network]) -> Autoencoder:
    model = raw(nets["autoencoder"])
    assert isinstance(model, Autoencoder)
    return model
