"""Train a codec: reconstruct, please a critic, keep latents near their codes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from t2a.config import Config
from t2a.losses.balancer import Balancer, output_gradients, surrogate, weighted
from t2a.losses.spectral import MelLoss, MelLossConfig
from t2a.metrics.signal import mel_distance, si_snr, stft_distance
from t2a.models.codec import Codec, CodecConfig
from t2a.models.discriminators import Critic, CriticConfig
from t2a.tasks.hearing import check_heard, hear
from t2a.tasks.pairs import Pair, few, listened, pairs
from t2a.tasks.task import Network, raw


class Weights(Config):
    """Weight of each loss by its name in the log; 0 switches it off. The defaults are those of AudioGen's codec."""

    l1: float = Field(0.1, ge=0)
    """distance of the waves"""
    mel: float = Field(2.0, ge=0)
    """distance of the mel spectrograms"""
    adv: float = Field(4.0, ge=0)
    """what the critic says"""
    feat: float = Field(4.0, ge=0)
    """distance of the critic's features"""
    commit: float = Field(1.0, ge=0)
    """distance of latents and codes; outside the balancer"""


class CodecTaskConfig(Config):
    """A codec, its critic and the losses between them."""

    kind: Literal["codec"] = "codec"
    model: CodecConfig = CodecConfig()
    critic: CriticConfig | None = CriticConfig()
    critic_start: int = Field(0, ge=0)
    """step at which the critic begins to learn and to be heard"""
    mel: MelLossConfig = MelLossConfig()
    weights: Weights = Weights()
    balancer: bool = True
    """read the weights as shares of the gradient at the codec's output, not as factors of the losses"""

    @model_validator(mode="after")
    def _has_what_it_weighs(self) -> "CodecTaskConfig":
        check_heard(self.critic, self.weights.adv, self.weights.feat)
        if not (self.weights.l1 or self.weights.mel):
            raise ValueError("weights.l1 and weights.mel are both 0: nothing asks the codec to reconstruct")
        return self

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the task's networks."""
        return ("codec", "critic") if self.critic else ("codec",)

    def build(self) -> "CodecTask":
        """Return the task."""
        return CodecTask(self)


class BalancedCodec(Codec):
    """A codec with the state of the balancer of its losses, so that both are saved together."""

    def __init__(self, config: CodecConfig, weights: Mapping[str, float]) -> None:
        super().__init__(config)
        self.balancer = Balancer(weights)


class CodecTask:
    """Networks "codec" and "critic" (see `t2a.tasks.task.Task`)."""

    def __init__(self, config: CodecTaskConfig) -> None:
        self.config = config
        weights = config.weights.model_dump(exclude={"commit"})
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.mel = MelLoss(config.model.sample_rate, config.mel)

    def networks(self) -> dict[str, nn.Module]:
        nets: dict[str, nn.Module] = {"codec": BalancedCodec(self.config.model, self.weights)}
        if self.config.critic is not None:
            nets["critic"] = Critic(self.config.critic, self.config.model.channels)
        return nets

    def losses(
        self, nets: Mapping[str, Network], batch: dict[str, Any], step: int
    ) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield the critic's turn, then the codec's; both follow from what the critic says before its turn."""
        wave = batch["audio"]
        output = nets["codec"](wave)
        decoded = output.audio.detach().requires_grad_()
        losses = self._reconstruction(decoded, wave)
        gradients = output_gradients(losses, decoded)
        if "critic" in nets and step >= self.config.critic_start:
            heard = hear(nets["critic"], wave, decoded, self.weights)
            losses, gradients = losses | heard.losses, gradients | heard.gradients
            yield "critic", heard.critic, {"loss/critic": heard.critic.detach()}
        logs = {f"loss/{name}": loss.detach() for name, loss in losses.items()}

        codec = raw(nets["codec"])
        assert isinstance(codec, BalancedCodec)
        if self.config.balancer:
            gradient, norms = codec.balancer(gradients)
            logs |= {f"grad/{name}": norm for name, norm in norms.items()}
        else:
            gradient = weighted(gradients, self.weights)
        logs["loss/commit"] = output.commitment.detach()
        logs |= codebook_logs("usage", codec.quantizer.usage())
        logs |= codebook_logs("perplexity", codec.quantizer.perplexity())
        yield "codec", surrogate(output.audio, gradient) + self.config.weights.commit * output.commitment, logs

    @torch.no_grad()
    def evaluate(self, nets: Mapping[str, Network], batch: dict[str, Any]) -> dict[str, Tensor]:
        rate = self.config.model.sample_rate
        rows = [
            {
                "si_snr": si_snr(decoded, wave),
                "mel_distance": mel_distance(decoded, wave, rate),
                "stft_distance": stft_distance(decoded, wave),
            }
            for wave, decoded in self._round_trip(nets, batch)
        ]
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    @torch.no_grad()
    def samples(self, nets: Mapping[str, Network], batch: dict[str, Any]) -> dict[str, tuple[Tensor, int]]:
        return listened(self._round_trip(nets, few(batch)), "decoded", self.config.model.sample_rate)

    def export(self, weights: dict[str, dict[str, Tensor]], folder: Path) -> None:
        with torch.device("meta"):
            codec = Codec(self.config.model)
        state = {name: value for name, value in weights["codec"].items() if not name.startswith("balancer.")}
        codec.load_state_dict(state, assign=True)
        codec.save_pretrained(folder)

    def _reconstruction(self, decoded: Tensor, wave: Tensor) -> dict[str, Tensor]:
        losses = {}
        if "l1" in self.weights:
            losses["l1"] = functional.l1_loss(decoded, wave)
        if "mel" in self.weights:
            losses["mel"] = self.mel.to(wave.device)(decoded, wave)
        return losses

    def _round_trip(self, nets: Mapping[str, Network], batch: Mapping[str, Any]) -> list[Pair]:
        return pairs(batch["audio"], nets["codec"](batch["audio"]).audio, batch["length"])


def codebook_logs(name: str, values: Tensor) -> dict[str, Tensor]:
    """Return the mean of values [K] as codes/<name>, and the value of each codebook as codes/<name>_1, ..."""
    return {f"codes/{name}": values.mean()} | {f"codes/{name}_{k}": value for k, value in enumerate(values, 1)}
