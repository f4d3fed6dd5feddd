"""Train a vocoder: make of a mel spectrogram the wave that it was made of, so that a critic is pleased."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.audio.spectral import MelSpec, MelSpectrogram
from t2a.config import Config
from t2a.errors import ConfigError
from t2a.losses.adversarial import CONTESTS
from t2a.losses.balancer import output_gradients, surrogate, weighted
from t2a.losses.spectral import MelLoss, MelLossConfig
from t2a.metrics.signal import mel_distance, stft_distance
from t2a.models.autoencoder import Autoencoder
from t2a.models.discriminators import Critic, CriticConfig
from t2a.models.pretrained import locate
from t2a.models.spectral_discriminators import ResolutionsConfig
from t2a.models.vocoder import VocoderConfig, VocosConfig
from t2a.models.wave_discriminators import PeriodsConfig
from t2a.tasks.hearing import check_heard, hear
from t2a.tasks.latents import autoencoder_config
from t2a.tasks.pairs import Pair, few, listened, pairs
from t2a.tasks.task import Network


class Weights(Config):
    """Weight of each loss by its name in the log; 0 switches it off. The defaults are near those of Vocos.

    Its losses are sums over the layers of features and means over the critics; ours are means over both, and features
    are compared relative to the real ones.
    """

    mel: float = Field(45.0, gt=0)
    """distance of the mel spectrograms"""
    adv: float = Field(1.0, ge=0)
    """what the critic says"""
    feat: float = Field(1.0, ge=0)
    """distance of the critic's features"""


class VocoderTaskConfig(Config):
    """A vocoder, its critic and the losses between them; by default all of Vocos."""

    kind: Literal["vocoder"] = "vocoder"
    model: VocoderConfig = VocosConfig()
    critic: CriticConfig | None = CriticConfig(ffts=(), periods=PeriodsConfig(), resolutions=ResolutionsConfig())
    critic_start: int = Field(0, ge=0)
    """step at which the critic begins to learn and to be heard"""
    contest: Literal["hinge", "lsgan"] = "hinge"
    """what the critic and the vocoder descend against each other; HiFi-GAN takes lsgan"""
    mel: MelLossConfig = MelLossConfig(windows=(1024,), mels=100, alpha=0, log=True)
    weights: Weights = Weights()
    autoencoder: str | None = None
    """an autoencoder whose reconstructions the vocoder gets in the place of mel spectrograms: a folder, a run, s3://..."""

    @model_validator(mode="after")
    def _has_what_it_weighs(self) -> "VocoderTaskConfig":
        check_heard(self.critic, self.weights.adv, self.weights.feat)
        return self

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the task's networks."""
        return ("vocoder", "critic") if self.critic else ("vocoder",)

    def build(self) -> "VocoderTask":
        """Return the task. Raises `ConfigError` for an autoencoder of other spectrograms."""
        return VocoderTask(self)


class VocoderTask:
    """Networks "vocoder" and "critic" (see `t2a.tasks.task.Task`)."""

    def __init__(self, config: VocoderTaskConfig) -> None:
        self.config = config
        self.weights = {name: weight for name, weight in config.weights.model_dump().items() if weight}
        self.contest = CONTESTS[config.contest]
        self.mel = MelLoss(config.model.sample_rate, config.mel)
        self.spectrogram = MelSpectrogram(config.model.mel)
        self.autoencoder_folder = locate(config.autoencoder) if config.autoencoder else None
        if self.autoencoder_folder:
            check_autoencoder(self.autoencoder_folder, str(config.autoencoder), config.model.mel)

    @cached_property
    def autoencoder(self) -> Autoencoder | None:
        """The frozen autoencoder, loaded on first use."""
        return Autoencoder.from_pretrained(self.autoencoder_folder) if self.autoencoder_folder else None

    def networks(self) -> dict[str, nn.Module]:
        nets: dict[str, nn.Module] = {"vocoder": self.config.model.build()}
        if self.config.critic is not None:
            nets["critic"] = Critic(self.config.critic)
        return nets

    def losses(
        self, nets: Mapping[str, Network], batch: dict[str, Any], step: int
    ) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield the critic's turn, then the vocoder's; both follow from what the critic says before its turn."""
        wave, output = self._copied(nets["vocoder"], batch)
        decoded = output.detach().requires_grad_()
        losses = {"mel": self.mel.to(wave.device)(decoded, wave)}
        gradients = output_gradients(losses, decoded)
        if "critic" in nets and step >= self.config.critic_start:
            heard = hear(nets["critic"], wave, decoded, self.weights, self.contest)
            losses, gradients = losses | heard.losses, gradients | heard.gradients
            yield "critic", heard.critic, {"loss/critic": heard.critic.detach()}
        logs = {f"loss/{name}": loss.detach() for name, loss in losses.items()}
        yield "vocoder", surrogate(output, weighted(gradients, self.weights)), logs

    @torch.no_grad()
    def evaluate(self, nets: Mapping[str, Network], batch: dict[str, Any]) -> dict[str, Tensor]:
        rate = self.config.model.sample_rate
        rows = [
            {"mel_distance": mel_distance(made, wave, rate), "stft_distance": stft_distance(made, wave)}
            for wave, made in self._round_trip(nets, batch)
        ]
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    @torch.no_grad()
    def samples(self, nets: Mapping[str, Network], batch: dict[str, Any]) -> dict[str, tuple[Tensor, int]]:
        return listened(self._round_trip(nets, few(batch)), "vocoded", self.config.model.sample_rate)

    def export(self, weights: dict[str, dict[str, Tensor]], folder: Path) -> None:
        with torch.device("meta"):
            vocoder = self.config.model.build()
        vocoder.load_state_dict(weights["vocoder"], assign=True)
        vocoder.save_pretrained(folder)

    def _copied(self, vocoder: Network, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return waves [B, 1, T] and what the vocoder makes of their spectrograms, as far as both reach."""
        wave = batch["audio"]
        with torch.no_grad():
            mel = self.spectrogram.to(wave.device)(wave[:, 0])
            if self.autoencoder is not None:
                autoencoder = self.autoencoder.to(wave.device)
                frames = self.config.model.mel.frames(batch["length"].to(wave.device))
                latents, length = autoencoder.encode(mel, frames), autoencoder.latent_length(frames)
                mel = autoencoder.decode(latents, length)[..., : mel.shape[-1]]
        made = vocoder(mel)
        samples = min(wave.shape[-1], made.shape[-1])
        return wave[..., :samples], made[..., :samples]

    def _round_trip(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> list[Pair]:
        return pairs(*self._copied(nets["vocoder"], batch), batch["length"])


def check_autoencoder(folder: Path, where: str, mel: MelSpec) -> None:
    """Refuse an autoencoder (a local folder, `where` to the user) whose spectrograms a vocoder cannot take."""
    if differing := mel.differing(autoencoder_config(folder, where).mel):
        raise ConfigError(
            f"task.model.mel and the autoencoder {where} make different spectrograms: {differing}; make "
            "task.model.mel equal to the autoencoder's."
        )
