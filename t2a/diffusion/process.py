"""Diffusion and flow matching behind one preconditioner, which owns the loss and the prediction of the clean latent."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor

from t2a.config import Config
from t2a.diffusion.schedule import (
    Discrete,
    Level,
    NoiseConfig,
    ScaledLinearConfig,
    Schedule,
    Straight,
    zero_terminal_snr,
)
from t2a.nn.frames import real_frames, row_mean

Network = Callable[[Tensor, Tensor], Tensor]
"""x_t [B, C, (F,) L] and t [B] -> prediction of the same shape; whatever else it is told, it already holds"""
Denoised = Callable[[Tensor, Level], Tensor]
"""x_t and its level -> the clean latent as it is foreseen, float32"""


class Prediction(NamedTuple):
    """What a network predicts, in terms of x_t = alpha x_0 + sigma noise."""

    target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    """x_0, noise, alpha, sigma -> what the network should say"""
    clean: Callable[[Tensor, Tensor, float, float], Tensor]
    """x_t, prediction, alpha, sigma -> x_0"""
    weight: Callable[[Tensor], Tensor]
    """signal-to-noise ratio -> how much a squared error of x_0 weighs as a squared error of the prediction"""


PREDICTIONS = {
    # Ho et al., 2020
    "eps": Prediction(
        target=lambda x0, noise, alpha, sigma: noise,
        clean=lambda x, out, alpha, sigma: (x - sigma * out) / alpha,
        weight=lambda snr: snr,
    ),
    # Salimans and Ho, 2022
    "v": Prediction(
        target=lambda x0, noise, alpha, sigma: alpha * noise - sigma * x0,
        clean=lambda x, out, alpha, sigma: alpha * x - sigma * out,
        weight=lambda snr: snr + 1,
    ),
    # Liu et al., 2023
    "velocity": Prediction(
        target=lambda x0, noise, alpha, sigma: noise - x0,
        clean=lambda x, out, alpha, sigma: (x - sigma * out) / (alpha + sigma),
        weight=lambda snr: (snr.sqrt() + 1) ** 2,
    ),
}


LEAST_LEFT = 4e-3
"""alpha of the last step for a model of eps: an error of its prediction is divided by it, as sampling begins"""


class DiffusionConfig(Config):
    """Diffusion in discrete steps.

    zero_snr: rescale the schedule so that the last step is pure noise.
    min_snr: cap of the signal-to-noise weighting (Hang et al., 2023; 5 is theirs); None weighs all times the same.
    """

    kind: Literal["diffusion"] = "diffusion"
    schedule: NoiseConfig = ScaledLinearConfig()
    steps: int = Field(1000, ge=2)
    prediction: Literal["eps", "v"] = "v"
    zero_snr: bool = False
    min_snr: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _foreseeable(self) -> "DiffusionConfig":
        if self.zero_snr and self.prediction == "eps":
            raise ValueError(
                "zero_snr leaves nothing of the latent in the last step, where eps says nothing: predict v"
            )
        if self.zero_snr and self.min_snr is not None:
            raise ValueError("min_snr weighs by what is left of the latent, in zero_snr's last step nothing: drop one")
        with torch.device("cpu"):  # also where a model is built without its weights
            left = float(self.schedule.alphas_cumprod(self.steps)[-1]) ** 0.5
        if self.prediction == "eps" and left < LEAST_LEFT:
            raise ValueError(
                f"the schedule leaves {left:.1g} of the latent in the last step, where an error of eps counts "
                f"{1 / left:,.0f} times: predict v"
            )
        return self

    def build(self) -> "Process":
        """Make the process."""
        bar = self.schedule.alphas_cumprod(self.steps)
        schedule = Discrete(zero_terminal_snr(bar) if self.zero_snr else bar)
        return Process(self.kind, schedule, PREDICTIONS[self.prediction], self.min_snr)


class FlowConfig(Config):
    """Rectified flow, trained at times whose logits are normal, or at uniform ones."""

    kind: Literal["flow"] = "flow"
    times: Literal["logit_normal", "uniform"] = "logit_normal"
    mean: float = 0.0  # of the logits: above 0 for more noise
    std: float = Field(1.0, gt=0)

    def build(self) -> "Process":
        """Make the process."""
        normal = (self.mean, self.std) if self.times == "logit_normal" else None
        return Process(self.kind, Straight(normal), PREDICTIONS["velocity"], None)


ProcessConfig = Annotated[DiffusionConfig | FlowConfig, Field(discriminator="kind")]


class Process:
    """A schedule of noise and what is predicted of it. All arithmetic is float32, whatever the network computes in."""

    def __init__(
        self,
        kind: Literal["diffusion", "flow"],
        schedule: Schedule,
        prediction: Prediction,
        min_snr: float | None,
    ):
        self.kind, self.schedule, self.prediction, self.min_snr = kind, schedule, prediction, min_snr

    @property
    def horizon(self) -> float:
        """The network is told times in [0, horizon): 1000 steps, or 1 (and 1 itself) of a flow."""
        return self.schedule.horizon

    def loss(self, network: Network, z: Tensor, length: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Weighted squared error at random times, [B]: see `loss_at`. None takes torch's global generator."""
        t = self.schedule.draw(len(z), generator, z.device)
        noise = torch.randn(z.shape, generator=generator, device=z.device)
        return self.loss_at(network, z, length, t, noise)

    def loss_at(self, network: Network, z: Tensor, length: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Weighted squared error of the prediction, the mean over the real frames of each row, float32 [B].

        z and noise [B, C, (F,) L]; length int64 [B], frames; t float [B]. What stands past the length is not read.
        """
        real = real_frames(length, z)
        z, noise = (part.float().masked_fill(~real, 0.0) for part in (z, noise))
        alpha, sigma = (_rowwise(part, z) for part in self.schedule.at(t))
        predicted = network(alpha * z + sigma * noise, t).float()
        error = row_mean((predicted - self.prediction.target(z, noise, alpha, sigma)) ** 2, real)
        return error * self.weight(t)

    def weight(self, t: Tensor) -> Tensor:
        """How much the squared error at times [B] counts, [B]: min(SNR, cap) in terms of x_0, as min-SNR has it."""
        if self.min_snr is None:
            return torch.ones_like(t)
        alpha, sigma = self.schedule.at(t)
        snr = (alpha / sigma) ** 2
        return snr.clamp(max=self.min_snr) / self.prediction.weight(snr)

    def noised(self, z: Tensor, level: Level, noise: Tensor) -> Tensor:
        """Bring a clean latent to a level of noise."""
        return level.alpha * z + level.sigma * noise

    def denoised(self, network: Network) -> Denoised:
        """Make of a network the function that samplers ask: x_t and its level -> x_0."""

        def clean(x: Tensor, level: Level) -> Tensor:
            t = torch.full((len(x),), level.t, dtype=torch.float32, device=x.device)
            return self.prediction.clean(x, network(x, t).to(x.dtype), level.alpha, level.sigma)

        return clean


def _rowwise(values: Tensor, like: Tensor) -> Tensor:
    """[B] -> [B, 1, (1,) 1]."""
    return values.view(-1, *(1,) * (like.ndim - 1))
